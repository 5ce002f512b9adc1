-- Tables of Dropoff 0.1. No key, no index: see docs/adr/0001.

CREATE TABLE event_rows (
  "seq" BIGINT,
  "key" UBIGINT,
  "id" VARCHAR,
  "conversation_id" VARCHAR,
  "contact_id" VARCHAR,
  "account_id" VARCHAR,
  "event_type" VARCHAR,
  "timestamp" TIMESTAMP,
  "received_at" TIMESTAMP,
  "skew" BIGINT,
  "stamped" BOOLEAN,
  "identity" VARCHAR,
  "message_id" VARCHAR,
  "channel" VARCHAR,
  "direction" VARCHAR,
  "bot_id" VARCHAR,
  "bot_version" VARCHAR,
  "sequence" BIGINT,
  "revision" BIGINT,
  "is_test" BOOLEAN,
  "sender" VARCHAR,
  "intent" VARCHAR,
  "intent_confidence" DOUBLE,
  "sentiment" DOUBLE,
  "variant" VARCHAR,
  "label_source" VARCHAR,
  "keyword" VARCHAR,
  "facts" VARCHAR,
  "properties" VARCHAR
);

CREATE TABLE message_rows (
  "key" UBIGINT,
  "id" VARCHAR,
  "event_id" VARCHAR,
  "conversation_id" VARCHAR,
  "timestamp" TIMESTAMP,
  "sender" VARCHAR,
  "intent" VARCHAR,
  "intent_confidence" DOUBLE,
  "sentiment" DOUBLE,
  "response_seconds" DOUBLE,
  "variant" VARCHAR,
  "position" BIGINT,
  "turn" BIGINT,
  "counted" BOOLEAN,
  "delivered" BOOLEAN,
  "label_source" VARCHAR,
  "understood" BOOLEAN,
  "opens_turn" BOOLEAN,
  "appropriateness" DOUBLE,
  "cost_micros" BIGINT,
  "cost_currency" VARCHAR
);

CREATE TABLE conversation_rows (
  "key" UBIGINT,
  "id" VARCHAR,
  "channel" VARCHAR,
  "direction" VARCHAR,
  "contact_id" VARCHAR,
  "account_id" VARCHAR,
  "bot_id" VARCHAR,
  "bot_version" VARCHAR,
  "is_test" BOOLEAN,
  "started_at" TIMESTAMP,
  "ended_at" TIMESTAMP,
  "duration_seconds" DOUBLE,
  "message_count" BIGINT,
  "bot_messages" BIGINT,
  "human_messages" BIGINT,
  "prospect_messages" BIGINT,
  "agent_messages" BIGINT,
  "counted_replies" BIGINT,
  "delivered_bot_messages" BIGINT,
  "sentiment_start" DOUBLE,
  "sentiment_end" DOUBLE,
  "sentiment_trend" DOUBLE,
  "intents_detected" VARCHAR[],
  "objections_raised" VARCHAR[],
  "qualification_score" DOUBLE,
  "qualification_path" VARCHAR,
  "escalated" BOOLEAN,
  "escalation_reason" VARCHAR,
  "fallback_count" BIGINT,
  "error_count" BIGINT,
  "csat" DOUBLE,
  "first_response_seconds" DOUBLE,
  "first_message_variant" VARCHAR,
  "lead_score" DOUBLE,
  "source" VARCHAR,
  "medium" VARCHAR,
  "industry" VARCHAR,
  "company_size" VARCHAR,
  "role" VARCHAR,
  "country" VARCHAR,
  "path" VARCHAR[],
  "responded_at" TIMESTAMP,
  "qualified_at" TIMESTAMP,
  "booked_at" TIMESTAMP,
  "attended_at" TIMESTAMP,
  "opportunity_at" TIMESTAMP,
  "converted_at" TIMESTAMP,
  "disqualified_at" TIMESTAMP,
  "lost_at" TIMESTAMP,
  "opted_out_at" TIMESTAMP,
  "escalated_at" TIMESTAMP,
  "final" VARCHAR,
  "reported_outcome" VARCHAR,
  "closes_at" TIMESTAMP,
  "revenue" VARCHAR,
  "cost" VARCHAR,
  "taken_over" BOOLEAN,
  "ends_in_fallback" BOOLEAN,
  "touches" BIGINT,
  "event_count" BIGINT,
  "tied" BOOLEAN
);

CREATE TABLE turn_rows (
  "key" UBIGINT,
  "conversation_id" VARCHAR,
  "timestamp" TIMESTAMP,
  "fallback" BOOLEAN,
  "error" BOOLEAN,
  "alone" BOOLEAN
);

CREATE TABLE meeting_rows (
  "key" UBIGINT,
  "conversation_id" VARCHAR,
  "meeting_id" VARCHAR,
  "booked_at" TIMESTAMP,
  "due_at" TIMESTAMP,
  "state" VARCHAR,
  "state_at" TIMESTAMP,
  "by" VARCHAR,
  "reschedules" BIGINT
);

CREATE TABLE deal_rows (
  "key" UBIGINT,
  "conversation_id" VARCHAR,
  "deal_id" VARCHAR,
  "state" VARCHAR,
  "state_at" TIMESTAMP,
  "won_at" TIMESTAMP,
  "micros" BIGINT,
  "currency" VARCHAR
);

CREATE TABLE attribution_rows (
  "key" UBIGINT,
  "contact_id" VARCHAR,
  "event_id" VARCHAR,
  "event_type" VARCHAR,
  "timestamp" TIMESTAMP,
  "conversation_key" UBIGINT,
  "conversation_id" VARCHAR,
  "attributed_by" VARCHAR
);

CREATE TABLE metrics_hourly (
  "timestamp" TIMESTAMP,
  "metric_name" VARCHAR,
  "segment" VARCHAR,
  "value" DOUBLE,
  "numerator" DECIMAL(38,6),
  "denominator" DECIMAL(38,6)
);

CREATE TABLE metrics_daily (
  "date" DATE,
  "metric_name" VARCHAR,
  "segment" VARCHAR,
  "value" DOUBLE,
  "numerator" DECIMAL(38,6),
  "denominator" DECIMAL(38,6)
);

CREATE TABLE rejected_rows (
  "id" VARCHAR,
  "received_at" TIMESTAMP,
  "reason" VARCHAR,
  "field" VARCHAR,
  "message" VARCHAR,
  "body" VARCHAR
);

CREATE TABLE progress (queue_offset BIGINT, rollup_plan VARCHAR);
INSERT INTO progress VALUES (0, NULL);

-- Quarters of an hour whose metrics are to be computed again.
CREATE TABLE dirty_slots (slot TIMESTAMP);
