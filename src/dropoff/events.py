"""The event: its envelope, its vocabulary, and what each word of it may hold."""

import re
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, NamedTuple, get_args, get_type_hints

from msgspec import Meta, Raw, Struct

from dropoff.errors import InvalidEvent
from dropoff.periods import to_micros

MAX_EVENT_BYTES = 32_768
MAX_BODY_BYTES = 20_000_000
MAX_BATCH_EVENTS = 10_000
MAX_ID_LENGTH = 256
MAX_NAME_LENGTH = 64
MAX_DEPTH = 64
MAX_FUTURE_SECONDS = 86_400
MAX_SKEW_SECONDS = 60
MAX_ALIASES = 50

MICROS = 1_000_000

REASONS = {
    "malformed": "not JSON, or not UTF-8",
    "wrong_type": "a value of another type than its field has",
    "out_of_range": "a number or text outside of what its field allows",
    "missing_event_type": "no event_type",
    "missing_id": "neither conversation_id nor contact_id",
    "bad_timestamp": "not RFC 3339 with an offset, and not a number",
    "future_timestamp": "more than 24 hours in the future",
    "too_large": f"over {MAX_EVENT_BYTES} bytes",
    "too_deep": f"nested more than {MAX_DEPTH} levels",
    "nul_byte": "text with a NUL character",
}
"""Why an event can be refused. The keys are enumerated: they label counters and `rejected_events.reason`."""

Identifier = Annotated[str, Meta(min_length=1, max_length=MAX_ID_LENGTH, description="a text of 1 to 256 characters")]
Text = Annotated[str, Meta(description="a text")]
Number = Annotated[float, Meta(description="a number")]
Flag = Annotated[bool, Meta(description="true or false")]
Share = Annotated[float, Meta(ge=0, le=1, description="a number from 0 to 1")]
Sentiment = Annotated[float, Meta(ge=-1, le=1, description="a number from -1 to 1")]
Count = Annotated[int, Meta(ge=-(2**53), le=2**53, description="a whole number")]
Instant = Annotated[datetime, Meta(tz=True)] | int | float
Label = str | int | float
Money = Decimal


class Envelope(Struct, gc=False, forbid_unknown_fields=True):
    """What may stand at the top level of an event. Everything else belongs to `properties`."""

    event_type: Text | None = None
    conversation_id: Identifier | None = None
    contact_id: Identifier | None = None
    account_id: Identifier | None = None
    event_id: Identifier | None = None
    message_id: Identifier | None = None
    timestamp: Instant | None = None
    sent_at: Instant | None = None
    channel: Text | None = None
    direction: Text | None = None
    bot_id: Identifier | None = None
    bot_version: Identifier | None = None
    sequence: Count | None = None
    revision: Count | None = None
    is_test: Flag | None = None
    properties: Raw = Raw(b"{}")


class Properties(Struct, gc=False, omit_defaults=True):
    """The properties that have a meaning, typed.

    The same names hold for every event type; `MEANING` says where a wrong type is an error rather than ignored.
    """

    sender: Text | None = None
    intent: Text | None = None
    intent_confidence: Share | None = None
    sentiment: Sentiment | None = None
    variant: Text | None = None
    auto_reply: Flag | None = None
    label_source: Text | None = None
    status: Text | None = None
    score: Number | None = None
    reason: Text | None = None
    path: Text | None = None
    by: Text | None = None
    won: Flag | None = None
    currency: Text | None = None
    objection: Text | None = None
    outcome: Text | None = None
    source: Text | None = None
    medium: Text | None = None
    lead_score: Number | None = None
    industry: Text | None = None
    role: Text | None = None
    country: Text | None = None
    keyword: Text | None = None
    experiment: Text | None = None
    aliases: list[Identifier] | None = None
    event_id: Identifier | None = None
    message_id: Identifier | None = None
    contact_id: Identifier | None = None
    # given in one form, kept in another
    content: Text | None = None
    company_size: Label | None = None
    appropriate: bool | Share | None = None
    meeting_id: Label | None = None
    meeting_date: Text | None = None
    opportunity_id: Label | None = None
    deal_id: Label | None = None
    amount: Money | None = None
    cost: Money | None = None
    scale: list[float] | None = None


def _line_name(field: str) -> str:
    # In the queue's lines, so that no property can be taken for a settled fact.
    return field if field in Properties.__struct_fields__ else f"#{field}"


class Event(Properties, gc=False, omit_defaults=True, rename=_line_name):
    """One accepted event: what the queue carries, one flat JSON line each, and what the table `events` stores.

    It is decoded from the properties and completed by `normalise`. `timestamp`, `received_at`: microseconds since the
    epoch, UTC. `skew`: what was added to the time as sent. `stamped`: the time was missing and is that of receipt.
    `identity`: given | derived | none. `raw`: the properties as they came. `facts`: the rarer typed ones, `FACTS`.
    """

    id: str = ""
    event_type: str = ""
    timestamp: int = 0
    received_at: int = 0
    conversation_id: str | None = None
    account_id: str | None = None
    channel: str | None = None
    direction: str | None = None
    bot_id: str | None = None
    bot_version: str | None = None
    sequence: int | None = None
    revision: int = 0
    is_test: bool = False
    skew: int = 0
    stamped: bool = False
    identity: str = "given"
    raw: str = "{}"
    facts: str | None = None
    batch: str | None = None
    # what `normalise` makes of properties that are given in one form and kept in another
    size: str | None = None
    appropriateness: float | None = None
    object_id: str | None = None
    due: str | None = None
    micros: int | None = None
    csat: float | None = None


FACTS: dict[str, type] = {
    "status": str, "score": float, "reason": str, "path": str, "by": str, "won": bool, "micros": int, "currency": str,
    "objection": str, "outcome": str, "source": str, "medium": str, "lead_score": float, "industry": str, "size": str,
    "role": str, "country": str, "experiment": str, "aliases": list[str], "event_id": str, "object_id": str, "due": str,
    "csat": float, "auto_reply": bool, "appropriateness": float,
}  # fmt: skip
"""The typed facts that few events have: together one JSON text instead of a column each."""

_PROSPECT = ("source", "medium", "lead_score", "industry", "company_size", "role", "country")
_MEETING = ("meeting_id", "meeting_date", "by")

MEANING: dict[str, tuple[str, ...]] = {
    "conversation_started": (*_PROSPECT, "variant"),
    "message_sent": ("message_id", "sender", "content", "intent", "variant", "appropriate", "cost", "currency"),
    "message_received": (
        "message_id", "sender", "content", "intent", "intent_confidence", "sentiment", "auto_reply", "label_source",
    ),
    "message_labelled": ("message_id", "intent", "intent_confidence", "sentiment", "label_source"),
    "message_status": ("message_id", "status"),
    "qualified": ("score", "reason", "path"),
    "disqualified": ("score", "reason", "path"),
    "meeting_booked": _MEETING,
    "meeting_rescheduled": _MEETING,
    "meeting_canceled": _MEETING,
    "meeting_attended": _MEETING,
    "meeting_no_show": _MEETING,
    "opportunity_created": ("opportunity_id", "amount", "currency"),
    "deal_closed": ("deal_id", "won", "amount", "currency"),
    "deal_reopened": ("deal_id",),
    "escalated": ("reason",),
    "fallback": (),
    "error": (),
    "objection_raised": ("objection",),
    "feedback": ("score", "scale"),
    "opted_out": ("keyword",),
    "complained": ("keyword",),
    "experiment_exposed": ("experiment", "variant"),
    "conversation_ended": ("outcome", "reason"),
    "contact_identified": ("contact_id", "aliases"),
    "event_retracted": ("event_id",),
}  # fmt: skip
"""The vocabulary: event types with a meaning, and which of their properties are typed. Any other type is stored."""

ALIASES = {
    "deal_won": "deal_closed",
    "deal_lost": "deal_closed",
    "meeting_cancelled": "meeting_canceled",
    "message_delivered": "message_status",
    "message_failed": "message_status",
    "message_bounced": "message_status",
    "opt_out": "opted_out",
    "unsubscribed": "opted_out",
}
CHANNEL_ALIASES = {
    "e_mail": "email", "mail": "email", "webchat": "chat", "web_chat": "chat", "text": "sms", "whats_app": "whatsapp",
}  # fmt: skip
SENDERS = {
    "bot": "bot", "assistant": "bot", "ai": "bot",
    "agent": "agent", "rep": "agent",
    "prospect": "prospect", "user": "prospect", "customer": "prospect", "lead": "prospect", "contact": "prospect",
}  # fmt: skip
DEFAULT_SENDER = {"message_sent": "bot", "message_received": "prospect"}
MESSAGES = tuple(DEFAULT_SENDER)
"""The event types that are messages."""
DIRECTIONS = ("inbound", "outbound")
STATUSES = ("delivered", "failed", "bounced")
OBJECTION = r"(?i)^objection[\W_]+([^\W_].*?)\s*$"
"""The intent of a prospect who objects, and to what."""


class Receipt(NamedTuple):
    """The facts of one delivery, fixed at the door. `received_at` and `skew` in microseconds."""

    received_at: int
    skew: int = 0
    batch: str | None = None


_NAME = re.compile(r"[^\w]+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def micros_of(field: str, value: datetime | float) -> int:
    """Microseconds since the epoch: of an aware datetime, of seconds (below 10^11), or of milliseconds."""
    try:
        if isinstance(value, datetime):
            micros = to_micros(value)
        else:
            micros = round(value * (MICROS if abs(value) < 100_000_000_000 else 1000))
    except OverflowError:
        micros = -1
    if not 0 <= micros < 253_402_300_800 * MICROS:
        raise InvalidEvent("bad_timestamp", field, str(value), "a time between the years 1970 and 9999")
    return micros


@lru_cache(maxsize=4096)
def event_type_of(written: str) -> tuple[str, str]:
    """The event type that `written` means, and its own spelling in our form: `('deal_closed', 'deal_won')`."""
    spelling = name_of("event_type", written)
    return ALIASES.get(spelling, spelling), spelling


@lru_cache(maxsize=4096)
def channel_of(written: str) -> str:
    """The channel in our spelling: `E-Mail` is `email`."""
    name = name_of("channel", written)
    return CHANNEL_ALIASES.get(name, name)


@lru_cache(maxsize=256)
def direction_of(written: str) -> str:
    """inbound or outbound."""
    return one_of("direction", written, {d: d for d in DIRECTIONS})


def name_of(field: str, written: str) -> str:
    """`written` in lower case, with `_` for camelCase and anything else; refuses empty and over-long names."""
    name = underscored(_CAMEL.sub("_", written.strip()))
    if not name or len(name) > MAX_NAME_LENGTH:
        raise InvalidEvent("out_of_range", field, written, f"a name of 1 to {MAX_NAME_LENGTH} characters")
    return name


def underscored(written: str) -> str:
    """`written` in lower case, with `_` for all that cannot stand in a name."""
    return _NAME.sub("_", written.strip()).strip("_").lower()


def one_of(field: str, written: str, words: dict[str, str]) -> str:
    """What a written word means; refuses any that is not among `words`."""
    word = words.get(written.strip().lower())
    if word is None:
        raise InvalidEvent("out_of_range", field, written, " or ".join(dict.fromkeys(words)))
    return word


def _rule(hint: object) -> str:
    """The words for what a field may hold, from its type."""
    for part in (hint, *get_args(hint)):
        for meta in getattr(part, "__metadata__", ()):
            if meta.description:
                return meta.description
    if Decimal in get_args(hint):
        return "an exact amount like 12.50 or '12.50'"
    if datetime in (a for part in get_args(hint) for a in (part, *get_args(part))):
        return "RFC 3339 with an offset like '2024-01-15T10:00:00Z', or seconds or milliseconds since 1970"
    if any(getattr(a, "__origin__", None) is list for a in get_args(hint)):
        return "a list"
    return "a text or a number"


RULES = {
    **{name: _rule(hint) for name, hint in get_type_hints(Envelope, include_extras=True).items()},
    **{f"properties.{name}": _rule(hint) for name, hint in get_type_hints(Properties, include_extras=True).items()},
    "properties": "an object",
}
"""What each field of an event may hold, in words: for refusals and for the reference."""
