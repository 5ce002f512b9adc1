"""What an event means: typed once, at the door.

What leaves is an `Event`: a flat record in which spelling, units and identity are settled, so that no later stage looks
into JSON for a fact of its own. The properties travel along as the text they came in.
"""

import hashlib
import re
import secrets
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from operator import attrgetter

import msgspec

from dropoff.currencies import CURRENCIES, decimals_of
from dropoff.errors import InvalidEvent
from dropoff.events import (
    DEFAULT_SENDER,
    FACTS,
    MAX_ALIASES,
    MAX_FUTURE_SECONDS,
    MAX_ID_LENGTH,
    MAX_NAME_LENGTH,
    MEANING,
    MICROS,
    SENDERS,
    STATUSES,
    Envelope,
    Event,
    Label,
    Receipt,
    channel_of,
    direction_of,
    event_type_of,
    micros_of,
    one_of,
    underscored,
)

_Facts = msgspec.defstruct(
    "_Facts", [(name, kind | None, None) for name, kind in FACTS.items()], omit_defaults=True, gc=False
)
_rarer = attrgetter(*FACTS)
_encode = msgspec.json.Encoder().encode

_decode_properties = msgspec.json.Decoder(Event).decode


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

_WHO = {"message_sent": {**SENDERS, "human": "agent"}, "message_received": {**SENDERS, "human": "prospect"}}
_STATUS_OF = {"message_delivered": "delivered", "message_failed": "failed", "message_bounced": "bounced"}
_KEYWORD_LENGTH = 24


def _message(event: Event, _: str) -> None:
    sender = DEFAULT_SENDER[event.event_type]
    if event.sender is None:
        event.sender = sender
    elif event.sender != sender:
        event.sender = sender = one_of("properties.sender", event.sender, _WHO[event.event_type])
    event.keyword = None
    if sender == "prospect" and event.content is not None and len(event.content) <= _KEYWORD_LENGTH:
        event.keyword = keyword_of(event.content)
    if event.appropriate is not None:
        event.appropriateness, event.appropriate = float(event.appropriate), None
    if event.cost is not None:
        # What one message costs is a price, and prices are often below a cent.
        _money(event, "cost", event.cost, _MOST_DECIMALS)
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
    event.status = one_of("properties.status", event.status, {s: s for s in STATUSES})


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


_MOST_DECIMALS = 6


def _money(event: Event, field: str, amount: Decimal | None, decimals: int | None = None) -> None:
    """`decimals`: how many it may have; None: those of its currency."""
    if amount is None:
        return
    currency = (event.currency or "").strip().upper()
    if currency not in CURRENCIES:
        raise InvalidEvent("out_of_range", "properties.currency", event.currency, "an ISO 4217 code like 'EUR'")
    allowed = decimals_of(currency) if decimals is None else decimals
    try:
        micros = amount * MICROS
        exact = amount.is_finite() and abs(amount) < 10**12 and Decimal(int(micros)).scaleb(-6) == amount
        exact = exact and not int(micros) % 10 ** (_MOST_DECIMALS - allowed)
    except (InvalidOperation, ValueError, OverflowError):
        exact, micros = False, amount
    if not exact:
        rule = f"an exact amount of {currency}, with at most {allowed} decimals and 12 digits before them"
        raise InvalidEvent("out_of_range", f"properties.{field}", str(amount), rule)
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
        event.outcome = underscored(event.outcome)[:MAX_NAME_LENGTH]


def _objection(event: Event, _: str) -> None:
    given = (event.objection or "").strip()
    if not given:
        raise InvalidEvent("wrong_type", "properties.objection", event.objection, "a text")
    event.objection = given


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
