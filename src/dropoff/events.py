"""The event: its envelope, its vocabulary, and what each word of it may hold.

An event is typed once, at the door, by `normalise`. What leaves is an `Event`: a flat record in which spelling,
units and identity are settled, so that no later stage looks into JSON for a fact of its own. The properties travel
along as the text they came in.
"""

import hashlib
import re
import secrets
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from operator import attrgetter
from typing import Annotated, NamedTuple, get_args, get_type_hints

import msgspec
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
    # given in one form, kept in another: see _FINISH
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
    # what _FINISH makes of properties that are given in one form and kept in another
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

_Facts = msgspec.defstruct(
    "_Facts", [(name, kind | None, None) for name, kind in FACTS.items()], omit_defaults=True, gc=False
)
_rarer = attrgetter(*FACTS)
_encode = msgspec.json.Encoder().encode

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
_WHO = {"message_sent": {**SENDERS, "human": "agent"}, "message_received": {**SENDERS, "human": "prospect"}}
DIRECTIONS = ("inbound", "outbound")
STATUSES = ("delivered", "failed", "bounced")
OBJECTION = r"(?i)^objection[\W_]+([^\W_].*)$"
"""The intent of a prospect who objects, and to what."""


class Receipt(NamedTuple):
    """The facts of one delivery, fixed at the door. `received_at` and `skew` in microseconds."""

    received_at: int
    skew: int = 0
    batch: str | None = None


_decode_properties = msgspec.json.Decoder(Event).decode
_NAME = re.compile(r"[^\w]+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def normalise(envelope: Envelope, receipt: Receipt, event: Event | None = None) -> Event:
    """The event that `envelope` means; raises `InvalidEvent`, or msgspec's errors for properties of wrong types.

    `event` holds its typed properties where the caller has decoded them already.
    """
    raw = envelope.properties
    if event is None:
        event = _decode_properties(raw)
    if not envelope.event_type:
        raise InvalidEvent("missing_event_type", "event_type", envelope.event_type, "given")
    event.event_type, spelling = event_type_of(envelope.event_type)
    _ids(event, envelope)
    _time(event, envelope.timestamp, receipt)
    if event.company_size is not None:
        event.size, event.company_size = str(event.company_size), None
    finish = _FINISH.get(event.event_type)
    if finish is not None:
        finish(event, spelling)
    if event.deal_id is not None or event.meeting_id is not None or event.opportunity_id is not None:
        # Of a type to which they mean nothing. As numbers they may be longer than a reader of the line can take.
        event.deal_id = event.meeting_id = event.opportunity_id = None
    event.id = envelope.event_id or _derive_id(event, envelope)
    _place(event, envelope)
    if receipt.batch is not None:
        event.batch = receipt.batch
    event.raw = str(raw, "utf-8")
    if event.event_type not in DEFAULT_SENDER or event.micros is not None or _has_rare(event):
        event.facts = _facts(event)
    event.content = None  # stored once, in `raw`
    return event


def _place(event: Event, envelope: Envelope) -> None:
    # Most of these are mostly absent, and to ask costs less than to set.
    if envelope.channel is not None:
        event.channel = channel_of(envelope.channel)
    if envelope.direction is not None:
        event.direction = direction_of(envelope.direction)
    if envelope.bot_id is not None:
        event.bot_id = envelope.bot_id
    if envelope.bot_version is not None:
        event.bot_version = envelope.bot_version
    if envelope.sequence is not None:
        event.sequence = envelope.sequence
    if envelope.revision:
        event.revision = envelope.revision
    if envelope.is_test:
        event.is_test = True


def _has_rare(message: Event) -> bool:
    # Three events in four are messages, and nearly none of them has any: a column each would cost more than it says.
    return message.auto_reply is not None or message.appropriateness is not None


def _facts(event: Event) -> str | None:
    text = _encode(_Facts(*_rarer(event)))
    return None if text == b"{}" else text.decode()


def _ids(event: Event, envelope: Envelope) -> None:
    # Where the vocabulary names an id as a property, it may stand there as well as at the top.
    if event.message_id is not None and "message_id" not in MEANING.get(event.event_type, ()):
        event.message_id = None
    if event.contact_id is not None and "contact_id" not in MEANING.get(event.event_type, ()):
        event.contact_id = None
    if envelope.message_id is not None:
        event.message_id = envelope.message_id
    if envelope.contact_id is not None:
        event.contact_id = envelope.contact_id
    if envelope.account_id is not None:
        event.account_id = envelope.account_id
    event.conversation_id = envelope.conversation_id
    if event.conversation_id is None and event.contact_id is None:
        raise InvalidEvent("missing_id", "conversation_id", None, "given, or contact_id")


def _time(event: Event, given: datetime | float | None, receipt: Receipt) -> None:
    received_at, skew, _ = receipt
    event.received_at = received_at
    if given is None:
        event.timestamp, event.stamped = received_at, True
        return
    at = micros_of("timestamp", given) + skew
    if at < 0:
        raise InvalidEvent("bad_timestamp", "sent_at", str(given), "near the timestamp of the event")
    if at > received_at + MAX_FUTURE_SECONDS * MICROS:
        raise InvalidEvent("future_timestamp", "timestamp", str(given), "at most 24 hours in the future")
    event.timestamp = at
    if skew:
        event.skew = skew


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
    return _one_of("direction", written, {d: d for d in DIRECTIONS})


def name_of(field: str, written: str) -> str:
    """`written` in lower case, with `_` for camelCase and anything else; refuses empty and over-long names."""
    name = _NAME.sub("_", _CAMEL.sub("_", written.strip())).strip("_").lower()
    if not name or len(name) > MAX_NAME_LENGTH:
        raise InvalidEvent("out_of_range", field, written, f"a name of 1 to {MAX_NAME_LENGTH} characters")
    return name


def _one_of(field: str, written: str, words: dict[str, str]) -> str:
    word = words.get(written.strip().lower())
    if word is None:
        raise InvalidEvent("out_of_range", field, written, " or ".join(dict.fromkeys(words)))
    return word


def _derive_id(event: Event, envelope: Envelope) -> str:
    """The derived id of an event that brings none, so that a retried payload never counts twice."""
    owner = (event.conversation_id, None if event.conversation_id else event.contact_id, event.event_type)
    event.identity = "derived"
    if event.message_id is not None:
        status = event.status if event.event_type == "message_status" else None
        return _digest((*owner, "message", event.message_id, status))
    if not event.stamped:
        return _digest((*owner, event.timestamp - event.skew, msgspec.json.decode(envelope.properties)))
    event.identity = "none"
    return secrets.token_hex(16)


def _digest(parts: object) -> str:
    # SHA-256 cut to 128 bits: an id is stored once an event, and 2^-64 is collision enough for one conversation.
    return hashlib.sha256(msgspec.json.encode(parts, order="sorted")).hexdigest()[:32]


# What is given in one form and kept in another, per event type. Each takes (event, spelling).

_STATUS_OF = {"message_delivered": "delivered", "message_failed": "failed", "message_bounced": "bounced"}
_KEYWORD_LENGTH = 24


def _message(event: Event, _: str) -> None:
    sender = DEFAULT_SENDER[event.event_type]
    if event.sender is None:
        event.sender = sender
    elif event.sender != sender:
        event.sender = sender = _one_of("properties.sender", event.sender, _WHO[event.event_type])
    event.keyword = None
    if sender == "prospect" and event.content is not None and len(event.content) <= _KEYWORD_LENGTH:
        event.keyword = keyword_of(event.content)
    if event.appropriate is not None:
        event.appropriateness, event.appropriate = float(event.appropriate), None
    if event.cost is not None:
        _money(event, "cost", event.cost)
        event.cost = None


def keyword_of(content: str) -> str:
    """The form in which an opt-out keyword and a short message are compared."""
    return content.strip(" \t\r\n.!").casefold()


def _labelled(event: Event, _: str) -> None:
    if event.message_id is None:
        raise InvalidEvent("missing_id", "message_id", None, "the message_id, else the event_id, of a message")


def _status(event: Event, spelling: str) -> None:
    if event.status is None:
        event.status = _STATUS_OF.get(spelling)
    if event.status is None:
        raise InvalidEvent("wrong_type", "properties.status", None, " or ".join(STATUSES))
    event.status = _one_of("properties.status", event.status, {s: s for s in STATUSES})


def _meeting(event: Event, _: str) -> None:
    event.object_id, event.meeting_id = _object_id("meeting_id", event.meeting_id), None
    if event.meeting_date is not None:
        event.due, event.meeting_date = _due(event.meeting_date), None


_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_FIRST_YEAR, _LAST_YEAR = 1970, 9990  # what follows from a meeting lies within a calendar, too


def _due(text: str) -> str:
    """`2024-01-15`, or the instant in UTC."""
    day = moment = None
    try:
        if _DATE.fullmatch(text):
            day = date.fromisoformat(text)
        else:
            moment = datetime.fromisoformat(text)
    except ValueError:
        pass
    if day is not None and _FIRST_YEAR <= day.year <= _LAST_YEAR:
        return text
    if moment is not None and moment.tzinfo is not None and _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        return str(micros_of("properties.meeting_date", moment))
    rule = "a date like '2024-01-15' or an instant with an offset like '2024-01-15T10:00:00Z'"
    raise InvalidEvent("bad_timestamp", "properties.meeting_date", text, rule)


def _opportunity(event: Event, _: str) -> None:
    event.object_id, event.opportunity_id = _object_id("opportunity_id", event.opportunity_id), None
    _money(event, "amount", event.amount)
    event.amount = None


def _deal(event: Event, spelling: str) -> None:
    event.object_id, event.deal_id = _object_id("deal_id", event.deal_id), None
    if event.won is None and event.event_type == "deal_closed":
        event.won = spelling != "deal_lost"
    _money(event, "amount", event.amount)
    event.amount = None


def _money(event: Event, field: str, amount: Decimal | None) -> None:
    if amount is None:
        return
    rule = "an exact amount with an ISO 4217 currency, at most 6 decimals and 12 digits before them"
    try:
        micros = amount * MICROS
        exact = amount.is_finite() and abs(amount) < 10**12 and Decimal(int(micros)).scaleb(-6) == amount
    except (InvalidOperation, ValueError, OverflowError):
        exact, micros = False, amount
    if not exact:
        raise InvalidEvent("out_of_range", f"properties.{field}", str(amount), rule)
    currency = (event.currency or "").strip().upper()
    if len(currency) != 3 or not currency.isascii() or not currency.isalpha():
        raise InvalidEvent("out_of_range", "properties.currency", event.currency, "an ISO 4217 code like 'EUR'")
    event.micros, event.currency = int(micros), currency


def _object_id(field: str, value: Label | None) -> str | None:
    """The id of a meeting or deal as text; an empty one is none."""
    if value is None or value == "":
        return None
    text = str(value)
    if len(text) > MAX_ID_LENGTH:
        raise InvalidEvent("out_of_range", f"properties.{field}", value, f"an id of at most {MAX_ID_LENGTH} characters")
    return text


def _feedback(event: Event, _: str) -> None:
    if event.score is None:
        return
    low, high = event.scale if event.scale and len(event.scale) == 2 else (1.0, 5.0)
    event.scale = None
    if not low <= event.score <= high or not 0 < high - low < float("inf"):
        raise InvalidEvent("out_of_range", "properties.score", event.score, f"on the scale {low:g} to {high:g}")
    event.csat = (event.score - low) / (high - low)


def _ended(event: Event, _: str) -> None:
    if event.outcome is not None:
        event.outcome = _NAME.sub("_", event.outcome.strip()).strip("_").lower()[:MAX_NAME_LENGTH]


def _objection(event: Event, _: str) -> None:
    if not event.objection:
        raise InvalidEvent("wrong_type", "properties.objection", event.objection, "a text")


def _opted_out(event: Event, _: str) -> None:
    if event.keyword is not None:
        event.keyword = keyword_of(event.keyword)


def _identified(event: Event, _: str) -> None:
    if not event.aliases or len(event.aliases) > MAX_ALIASES:
        raise InvalidEvent("out_of_range", "properties.aliases", event.aliases, f"a list of 1 to {MAX_ALIASES} ids")


def _retracted(event: Event, _: str) -> None:
    if event.event_id is None:
        raise InvalidEvent("missing_id", "properties.event_id", None, "the id of the event to undo")


_FINISH: dict[str, Callable[[Event, str], None]] = {
    "message_sent": _message,
    "message_received": _message,
    "message_labelled": _labelled,
    "message_status": _status,
    "feedback": _feedback,
    "objection_raised": _objection,
    "opportunity_created": _opportunity,
    "deal_closed": _deal,
    "deal_reopened": _deal,
    "conversation_ended": _ended,
    "opted_out": _opted_out,
    "complained": _opted_out,
    "contact_identified": _identified,
    "event_retracted": _retracted,
    **dict.fromkeys((t for t in MEANING if t.startswith("meeting_")), _meeting),
}


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
