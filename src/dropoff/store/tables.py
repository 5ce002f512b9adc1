"""The tables: every column once, with its type and meaning. Adapters, frames and the reference are made from this."""

from dataclasses import dataclass
from typing import Literal

Type = Literal["text", "int", "uint", "float", "bool", "instant", "texts", "date", "exact"]


@dataclass(frozen=True, slots=True)
class Column:
    """`type` is ours: an instant is in microseconds, UTC; texts is a list; exact has six decimals."""

    name: str
    type: Type
    meaning: str


def _columns(*rows: tuple[str, Type, str]) -> tuple[Column, ...]:
    return tuple(Column(*row) for row in rows)


EVENTS = _columns(
    ("seq", "int", "order of insertion: bookkeeping, not a fact"),
    ("key", "uint", "64-bit hash of conversation_id (else contact_id): for finding rows, never for telling them apart"),
    ("id", "text", "event_id as given, else derived"),
    ("conversation_id", "text", "null for an event that names only a contact"),
    ("contact_id", "text", ""),
    ("account_id", "text", ""),
    ("event_type", "text", "normalised"),
    ("timestamp", "instant", "when it happened, corrected for clock skew"),
    ("received_at", "instant", "when the door took it"),
    ("skew", "int", "microseconds added to the time as sent"),
    ("stamped", "bool", "the time was missing and is that of receipt"),
    ("identity", "text", "given, derived, or none (a random id: it cannot be recognised when sent again)"),
    ("message_id", "text", ""),
    ("channel", "text", ""),
    ("direction", "text", "inbound or outbound"),
    ("bot_id", "text", ""),
    ("bot_version", "text", ""),
    ("sequence", "int", ""),
    ("revision", "int", "of two events with one id the higher wins"),
    ("is_test", "bool", ""),
    ("sender", "text", "bot, agent or prospect"),
    ("intent", "text", ""),
    ("intent_confidence", "float", "0 to 1"),
    ("sentiment", "float", "-1 to 1"),
    ("variant", "text", ""),
    ("label_source", "text", "what labelled intent and sentiment"),
    ("keyword", "text", "opt-out keyword, or a short message in the form in which the two are compared"),
    ("facts", "text", "the typed facts that few events have, JSON: events.FACTS"),
    ("properties", "text", "all properties as sent, JSON"),
)

MESSAGES = _columns(
    ("key", "uint", "as in events"),
    ("id", "text", "message_id, else event_id"),
    ("event_id", "text", ""),
    ("conversation_id", "text", ""),
    ("timestamp", "instant", ""),
    ("sender", "text", "bot, agent or prospect"),
    ("intent", "text", ""),
    ("intent_confidence", "float", ""),
    ("sentiment", "float", ""),
    ("response_seconds", "float", "first message of a run of one side: since the last message of the other"),
    ("variant", "text", ""),
    ("position", "int", "1-based over all messages of the conversation"),
    ("turn", "int", "1-based rank of the run"),
    ("counted", "bool", "not an auto-reply, bounce or opt-out keyword"),
    ("delivered", "bool", "no later status says failed or bounced"),
    ("label_source", "text", ""),
    ("understood", "bool", "prospect: confidence of 0.5 or more and no fallback in the answering turn; null: unknown"),
    ("opens_turn", "bool", "bot: the first message of a turn"),
    ("appropriateness", "float", ""),
    ("cost_micros", "int", ""),
    ("cost_currency", "text", ""),
)

CONVERSATIONS = _columns(
    ("key", "uint", "as in events"),
    ("id", "text", ""),
    ("channel", "text", "first given"),
    ("direction", "text", "first given, never inferred"),
    ("contact_id", "text", "last given"),
    ("account_id", "text", "last given"),
    ("bot_id", "text", "first given"),
    ("bot_version", "text", "first given: the version the conversation began with"),
    ("is_test", "bool", "any of its events is test traffic"),
    ("started_at", "instant", "earliest conversation_started, else message, else event"),
    ("ended_at", "instant", "latest event of the conversation itself"),
    ("duration_seconds", "float", "ended_at - started_at"),
    ("message_count", "int", "bot_messages + human_messages"),
    ("bot_messages", "int", ""),
    ("human_messages", "int", "prospect_messages + agent_messages"),
    ("prospect_messages", "int", ""),
    ("agent_messages", "int", ""),
    ("counted_replies", "int", "counted prospect messages"),
    ("delivered_bot_messages", "int", ""),
    ("sentiment_start", "float", "of the first prospect message that has one"),
    ("sentiment_end", "float", "of the last prospect message that has one"),
    ("sentiment_trend", "float", "end - start; null with fewer than two"),
    ("intents_detected", "texts", "of prospect messages, distinct, by first use"),
    ("objections_raised", "texts", "distinct, by first use"),
    ("qualification_score", "float", "latest"),
    ("qualification_path", "text", "latest"),
    ("escalated", "bool", ""),
    ("escalation_reason", "text", "first"),
    ("fallback_count", "int", ""),
    ("error_count", "int", ""),
    ("csat", "float", "last feedback, 0 to 1"),
    ("first_response_seconds", "float", "of the first bot or agent message that answers a prospect"),
    ("first_message_variant", "text", "of the first delivered bot message, else of the start"),
    ("lead_score", "float", "last given"),
    ("source", "text", "first given"),
    ("medium", "text", "first given"),
    ("industry", "text", "last given"),
    ("company_size", "text", "last given"),
    ("role", "text", "last given"),
    ("country", "text", "last given"),
    ("path", "texts", "ordered steps: messages by side and intent, objections, fallbacks, escalations"),
    ("responded_at", "instant", "first counted prospect message; inbound: the first after the bot's first message"),
    ("qualified_at", "instant", "first"),
    ("booked_at", "instant", "first booking"),
    ("attended_at", "instant", "first among the meetings that were attended"),
    ("opportunity_at", "instant", "first"),
    ("converted_at", "instant", "first win among the deals that are won"),
    ("disqualified_at", "instant", "first"),
    ("lost_at", "instant", "first loss among the deals that are lost, where none is won"),
    ("opted_out_at", "instant", "first"),
    ("escalated_at", "instant", "first"),
    ("final", "text", "the ending that events alone give: converted, lost, opted_out, disqualified, or null"),
    ("reported_outcome", "text", "of the last conversation_ended"),
    ("closes_at", "instant", "from then on it is closed"),
    ("revenue", "text", "won amounts by currency, JSON of exact decimals"),
    ("cost", "text", "message costs by currency, JSON of exact decimals"),
    ("taken_over", "bool", "escalated, and later a message of an agent"),
    ("ends_in_fallback", "bool", "the bot's last turn has a fallback"),
    ("touches", "int", "messages of bot and agents up to converted_at; 0 where it is not converted"),
    ("event_count", "int", "standing events: own ones, and those of its contact that were attributed to it"),
    ("tied", "bool", "its path depends on the order of two events that nothing but their ids tells apart"),
)

TURNS = _columns(
    ("key", "uint", "as in events"),
    ("conversation_id", "text", ""),
    ("timestamp", "instant", "of its first message, else of its fallback or error"),
    ("fallback", "bool", ""),
    ("error", "bool", ""),
    ("alone", "bool", "a turn without a message: it is not among those that messages open"),
)
"""The bot's turns with a fallback or an error. All turns are these without a message, and `messages.opens_turn`."""

MEETINGS = _columns(
    ("key", "uint", "as in events"),
    ("conversation_id", "text", ""),
    ("meeting_id", "text", "null where its events named none"),
    ("booked_at", "instant", "null when its booking never came"),
    ("due_at", "instant", "a date without a time: the end of that day in the project's zone"),
    ("state", "text", "booked, canceled, attended or no_show: the latest word"),
    ("state_at", "instant", ""),
    ("by", "text", "who canceled or stayed away: guest or host"),
    ("reschedules", "int", ""),
)

DEALS = _columns(
    ("key", "uint", "as in events"),
    ("conversation_id", "text", ""),
    ("deal_id", "text", "null for the conversation's one unnamed deal"),
    ("state", "text", "won, lost or open (reopened): the latest word"),
    ("state_at", "instant", ""),
    ("won_at", "instant", "first win, where it is won now"),
    ("micros", "int", "latest amount in millionths of the currency's unit"),
    ("currency", "text", ""),
)

ATTRIBUTIONS = _columns(
    ("key", "uint", "of the contact, as in events"),
    ("contact_id", "text", "as the event names it"),
    ("event_id", "text", ""),
    ("event_type", "text", ""),
    ("timestamp", "instant", ""),
    ("conversation_key", "uint", ""),
    ("conversation_id", "text", "null: unmatched"),
    ("attributed_by", "text", "object_id, live_booking, opportunity, booking, latest or unmatched"),
)

HOURLY = _columns(
    ("timestamp", "instant", "when the local hour begins"),
    ("metric_name", "text", ""),
    ("segment", "text", "empty, or dimension=value"),
    ("value", "float", "numerator / denominator, or the numerator of a count"),
    ("numerator", "exact", ""),
    ("denominator", "exact", "null for a count"),
)
DAILY = (Column("date", "date", "local day"), *HOURLY[1:])

REJECTED = _columns(
    ("id", "text", "random"),
    ("received_at", "instant", ""),
    ("reason", "text", ""),
    ("field", "text", ""),
    ("message", "text", ""),
    ("body", "text", "the first 32 kB"),
)
REJECTED_KEPT = 100_000
REJECTED_DAYS = 30
"""Of the refused events the latest are kept, and none for longer."""

TABLES: dict[str, tuple[Column, ...]] = {
    "events": EVENTS,
    "messages": MESSAGES,
    "conversations": CONVERSATIONS,
    "turns": TURNS,
    "meetings": MEETINGS,
    "deals": DEALS,
    "attributions": ATTRIBUTIONS,
    "metrics_hourly": HOURLY,
    "metrics_daily": DAILY,
    "rejected_events": REJECTED,
}

OF_CONVERSATIONS = ("conversations", "messages", "turns", "meetings", "deals")
"""The tables that the fold makes; their rows are replaced by `key`."""

MOMENTS: dict[str, list[str]] = {
    "conversations": ["started_at"],
    "messages": ["timestamp"],
    "turns": ["timestamp"],
    "meetings": ["booked_at", "due_at"],
    "deals": ["won_at"],
}
"""The instants by which the rows of a table are counted: cohort metrics by start, activity by what happened when."""


def names(table: str) -> list[str]:
    """The columns of `table`, in order."""
    return [column.name for column in TABLES[table]]
