-- Tables of Dropoff 0.1, for one server or a cluster: see docs/adr/0008.

CREATE TABLE IF NOT EXISTS event_log${local}${on_cluster} (
  "seq" Int64,
  "key" UInt64,
  "id" String,
  "conversation_id" Nullable(String),
  "contact_id" Nullable(String),
  "account_id" Nullable(String),
  "event_type" LowCardinality(String),
  "timestamp" DateTime64(6, 'UTC'),
  "received_at" DateTime64(6, 'UTC'),
  "skew" Int64,
  "stamped" Bool,
  "identity" LowCardinality(String),
  "message_id" Nullable(String),
  "channel" LowCardinality(Nullable(String)),
  "direction" LowCardinality(Nullable(String)),
  "bot_id" Nullable(String),
  "bot_version" LowCardinality(Nullable(String)),
  "sequence" Nullable(Int64),
  "revision" Int64,
  "is_test" Bool,
  "sender" LowCardinality(Nullable(String)),
  "intent" LowCardinality(Nullable(String)),
  "intent_confidence" Nullable(Float64),
  "sentiment" Nullable(Float64),
  "variant" LowCardinality(Nullable(String)),
  "label_source" Nullable(String),
  "keyword" Nullable(String),
  "facts" Nullable(String),
  "properties" String,
  INDEX key key TYPE bloom_filter(0.01) GRANULARITY 4
)
ENGINE = ${replicated}MergeTree PARTITION BY toYYYYMM(timestamp) ORDER BY (timestamp, key);

CREATE TABLE IF NOT EXISTS superseded${local}${on_cluster} (
  "seq" Int64
)
ENGINE = ${replicated}ReplacingMergeTree ORDER BY seq;

CREATE TABLE IF NOT EXISTS contact_keys${local}${on_cluster} (
  "contact_id" String,
  "key" UInt64,
  "live" Bool
)
ENGINE = ${replicated}ReplacingMergeTree ORDER BY (contact_id, key, live);

CREATE TABLE IF NOT EXISTS conversation_log${local}${on_cluster} (
  "key" UInt64,
  "id" String,
  "channel" Nullable(String),
  "direction" Nullable(String),
  "contact_id" Nullable(String),
  "account_id" Nullable(String),
  "bot_id" Nullable(String),
  "bot_version" Nullable(String),
  "is_test" Nullable(Bool),
  "started_at" Nullable(DateTime64(6, 'UTC')),
  "ended_at" Nullable(DateTime64(6, 'UTC')),
  "duration_seconds" Nullable(Float64),
  "message_count" Nullable(Int64),
  "bot_messages" Nullable(Int64),
  "human_messages" Nullable(Int64),
  "prospect_messages" Nullable(Int64),
  "agent_messages" Nullable(Int64),
  "counted_replies" Nullable(Int64),
  "delivered_bot_messages" Nullable(Int64),
  "sentiment_start" Nullable(Float64),
  "sentiment_end" Nullable(Float64),
  "sentiment_trend" Nullable(Float64),
  "intents_detected" Array(String),
  "objections_raised" Array(String),
  "qualification_score" Nullable(Float64),
  "qualification_path" Nullable(String),
  "escalated" Nullable(Bool),
  "escalation_reason" Nullable(String),
  "fallback_count" Nullable(Int64),
  "error_count" Nullable(Int64),
  "csat" Nullable(Float64),
  "first_response_seconds" Nullable(Float64),
  "first_message_variant" Nullable(String),
  "lead_score" Nullable(Float64),
  "source" Nullable(String),
  "medium" Nullable(String),
  "industry" Nullable(String),
  "company_size" Nullable(String),
  "role" Nullable(String),
  "country" Nullable(String),
  "path" Array(String),
  "responded_at" Nullable(DateTime64(6, 'UTC')),
  "qualified_at" Nullable(DateTime64(6, 'UTC')),
  "booked_at" Nullable(DateTime64(6, 'UTC')),
  "attended_at" Nullable(DateTime64(6, 'UTC')),
  "opportunity_at" Nullable(DateTime64(6, 'UTC')),
  "converted_at" Nullable(DateTime64(6, 'UTC')),
  "disqualified_at" Nullable(DateTime64(6, 'UTC')),
  "lost_at" Nullable(DateTime64(6, 'UTC')),
  "opted_out_at" Nullable(DateTime64(6, 'UTC')),
  "escalated_at" Nullable(DateTime64(6, 'UTC')),
  "final" Nullable(String),
  "reported_outcome" Nullable(String),
  "closes_at" Nullable(DateTime64(6, 'UTC')),
  "revenue" Nullable(String),
  "cost" Nullable(String),
  "taken_over" Nullable(Bool),
  "ends_in_fallback" Nullable(Bool),
  "touches" Nullable(Int64),
  "event_count" Nullable(Int64),
  "tied" Nullable(Bool),
  "messages.id" Array(Nullable(String)),
  "messages.event_id" Array(Nullable(String)),
  "messages.timestamp" Array(Nullable(DateTime64(6, 'UTC'))),
  "messages.sender" Array(Nullable(String)),
  "messages.intent" Array(Nullable(String)),
  "messages.intent_confidence" Array(Nullable(Float64)),
  "messages.sentiment" Array(Nullable(Float64)),
  "messages.response_seconds" Array(Nullable(Float64)),
  "messages.variant" Array(Nullable(String)),
  "messages.position" Array(Nullable(Int64)),
  "messages.turn" Array(Nullable(Int64)),
  "messages.counted" Array(Nullable(Bool)),
  "messages.delivered" Array(Nullable(Bool)),
  "messages.label_source" Array(Nullable(String)),
  "messages.understood" Array(Nullable(Bool)),
  "messages.opens_turn" Array(Nullable(Bool)),
  "messages.appropriateness" Array(Nullable(Float64)),
  "messages.cost_micros" Array(Nullable(Int64)),
  "messages.cost_currency" Array(Nullable(String)),
  "turns.timestamp" Array(Nullable(DateTime64(6, 'UTC'))),
  "turns.fallback" Array(Nullable(Bool)),
  "turns.error" Array(Nullable(Bool)),
  "turns.alone" Array(Nullable(Bool)),
  "meetings.meeting_id" Array(Nullable(String)),
  "meetings.booked_at" Array(Nullable(DateTime64(6, 'UTC'))),
  "meetings.due_at" Array(Nullable(DateTime64(6, 'UTC'))),
  "meetings.state" Array(Nullable(String)),
  "meetings.state_at" Array(Nullable(DateTime64(6, 'UTC'))),
  "meetings.by" Array(Nullable(String)),
  "meetings.reschedules" Array(Nullable(Int64)),
  "deals.deal_id" Array(Nullable(String)),
  "deals.state" Array(Nullable(String)),
  "deals.state_at" Array(Nullable(DateTime64(6, 'UTC'))),
  "deals.won_at" Array(Nullable(DateTime64(6, 'UTC'))),
  "deals.micros" Array(Nullable(Int64)),
  "deals.currency" Array(Nullable(String)),
  "version" UInt64
)
ENGINE = ${replicated}ReplacingMergeTree(version) ORDER BY (key, id);

CREATE TABLE IF NOT EXISTS contact_log${local}${on_cluster} (
  "key" UInt64,
  "contact_id" String,
  "attributions.event_id" Array(Nullable(String)),
  "attributions.event_type" Array(Nullable(String)),
  "attributions.timestamp" Array(Nullable(DateTime64(6, 'UTC'))),
  "attributions.conversation_key" Array(Nullable(UInt64)),
  "attributions.conversation_id" Array(Nullable(String)),
  "attributions.attributed_by" Array(Nullable(String)),
  "version" UInt64
)
ENGINE = ${replicated}ReplacingMergeTree(version) ORDER BY (key, contact_id);

CREATE TABLE IF NOT EXISTS conversation_slots${local}${on_cluster} (
  "key" UInt64,
  "slot" DateTime64(6, 'UTC')
)
ENGINE = ${replicated}ReplacingMergeTree ORDER BY (key, slot);

CREATE TABLE IF NOT EXISTS slot_marks${local}${on_cluster} (
  "slot" DateTime64(6, 'UTC'),
  "mark" UInt64,
  "done" Bool DEFAULT false,
  "at" DateTime DEFAULT now()
)
ENGINE = ${replicated}ReplacingMergeTree(done) ORDER BY (slot, mark) TTL at + INTERVAL 2 DAY DELETE WHERE done;

CREATE TABLE IF NOT EXISTS hour_log${local}${on_cluster} (
  "timestamp" DateTime64(6, 'UTC'),
  "date" Date32,
  "cells.metric_name" Array(String),
  "cells.segment" Array(String),
  "cells.value" Array(Nullable(Float64)),
  "cells.numerator" Array(Nullable(Decimal(38, 6))),
  "cells.denominator" Array(Nullable(Decimal(38, 6))),
  "version" UInt64
)
ENGINE = ${replicated}ReplacingMergeTree(version) ORDER BY timestamp;

CREATE TABLE IF NOT EXISTS rejected_log${local}${on_cluster} (
  "id" String,
  "received_at" DateTime64(6, 'UTC'),
  "reason" Nullable(String),
  "field" Nullable(String),
  "message" Nullable(String),
  "body" Nullable(String),
  "gone" Bool
)
ENGINE = ${replicated}ReplacingMergeTree(gone) PARTITION BY toYYYYMM(received_at) ORDER BY (received_at, id) TTL toDateTime(received_at) + INTERVAL 30 DAY;

CREATE TABLE IF NOT EXISTS progress${local}${on_cluster} (
  "name" String,
  "value" String,
  "version" UInt64
)
ENGINE = ${replicated}ReplacingMergeTree(version) ORDER BY name;
