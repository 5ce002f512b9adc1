"""From bytes to events: a whole batch at once where all is well, event by event where something is not.

Both ways end in `normalise`; the second only finds out which events are wrong, and names for each its
index, field, value and rule.
"""

import re
import secrets
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, get_type_hints

import msgspec
from msgspec import Raw, Struct

from dropoff.errors import InvalidEvent
from dropoff.events import (
    MAX_BATCH_EVENTS,
    MAX_DEPTH,
    MAX_EVENT_BYTES,
    MAX_NAME_LENGTH,
    MAX_SKEW_SECONDS,
    MEANING,
    MICROS,
    RULES,
    Envelope,
    Event,
    Properties,
    Receipt,
    event_type_of,
    micros_of,
)
from dropoff.normalise import normalise


class Rejection(Struct, frozen=True, kw_only=True):
    """One refused event: where it stood, why, and the first 32 kB of what it was."""

    index: int
    reason: str
    field: str
    message: str
    body: str


class Rejected(Struct, frozen=True):
    """A refused event on its way through the queue, in the columns of `rejected_events`."""

    id: str
    received_at: int
    reason: str
    field: str
    message: str
    body: str


REFUSED = b"!"
"""A queue payload that begins so holds refused events as one JSON array; any other holds events, a JSON line each."""


class BadBody(Exception):
    """The body as a whole cannot be read: `code` for programs, the text for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Intake:
    """What came of one body, in the order it was sent."""

    events: list[Event]
    rejections: list[Rejection]


class Part(NamedTuple):
    """What is appended to one partition of the queue at once: a payload, and how many events it stands for."""

    payload: bytes
    events: int
    partition: int


_encoder = msgspec.json.Encoder()
_events_decoder = msgspec.json.Decoder(Event)
_batch_decoder = msgspec.json.Decoder(list[Envelope])
_line_decoder = msgspec.json.Decoder(Envelope)
_fields_decoder = msgspec.json.Decoder(dict[str, Raw])
_ENVELOPE = {name: msgspec.json.Decoder(hint) for name, hint in get_type_hints(Envelope, include_extras=True).items()}
# What a field is, whatever its range: what it does not take is of a wrong type.
_KINDS = {
    **{name: msgspec.json.Decoder(hint) for name, hint in get_type_hints(Envelope).items()},
    **{f"properties.{name}": msgspec.json.Decoder(hint) for name, hint in get_type_hints(Properties).items()},
}
_PROPERTY = {name: msgspec.json.Decoder(hint) for name, hint in get_type_hints(Properties, include_extras=True).items()}
# What is surely left for properties, in characters of up to four bytes, beside an envelope of full-length ids.
_ROOM = (MAX_EVENT_BYTES - 12_288) // 4


def encode(events: Iterable[Event]) -> bytes:
    """The line format of the queue."""
    return _encoder.encode_lines(events)


def decode(lines: bytes) -> list[Event]:
    """The events of a queue payload."""
    return _events_decoder.decode_lines(lines)


def read_events(body: bytes, receipt: Receipt, *, ndjson: bool = False, limit: int = MAX_BATCH_EVENTS) -> Intake:
    """The events of a body: one JSON object, an array, or NDJSON lines. Raises `BadBody` if it is none of them."""
    single = not ndjson and body.lstrip()[:1] == b"{"
    try:
        envelopes = _line_decoder.decode_lines(body) if ndjson or single else _batch_decoder.decode(body)
        if len(envelopes) <= limit:
            return Intake(_normalise_all(envelopes, body, receipt), [])
    except (msgspec.DecodeError, InvalidEvent, UnicodeDecodeError, RecursionError, _SuspectError):
        pass
    return read_each(_split(body, ndjson, single, limit), receipt)


class _SuspectError(Exception):
    """The batch holds something that only a look at each event by itself can judge."""


def _normalise_all(envelopes: list[Envelope], body: bytes, receipt: Receipt) -> list[Event]:
    if _is_suspect(body):
        raise _SuspectError
    receipt = _with_skew(envelopes, receipt)
    events = [normalise(e, receipt) for e in envelopes]
    if any(_may_exceed(e.raw) for e in events):
        raise _SuspectError
    return events


def _is_suspect(body: bytes) -> bool:
    """Whether it may hold a NUL, or a property whose name could be taken for a settled fact (`#`, also escaped)."""
    # The rare byte is looked for first: that costs a tenth.
    escaped = b"\\u00" in body and (b"\\u0000" in body or b"\\u0023" in body)
    return escaped or (b"#" in body and b'"#' in body)


def _may_exceed(properties: str) -> bool:
    return len(properties) > _ROOM or properties.count("{") + properties.count("[") > MAX_DEPTH


def _with_skew(envelopes: Iterable[Envelope], receipt: Receipt) -> Receipt:
    """One clock offset a request: the first `sent_at` against the time of receipt, if they are a minute apart.

    An import has no clock of its own to correct.
    """
    if receipt.batch is not None:
        return receipt
    sent = next((e.sent_at for e in envelopes if e.sent_at is not None), None)
    if sent is None:
        return receipt
    skew = receipt.received_at - micros_of("sent_at", sent)
    return receipt._replace(skew=skew) if abs(skew) > MAX_SKEW_SECONDS * MICROS else receipt


def _split(body: bytes, ndjson: bool, single: bool, limit: int) -> Sequence[bytes]:
    if ndjson or (single and not _is_one(body)):
        parts = [line for line in body.split(b"\n") if line.strip()]
    elif single:
        parts = [body]
    else:
        parts = _elements(body)
    if len(parts) > limit:
        raise BadBody("too_many_events", f"{len(parts)} events, must be at most {limit} in one request")
    return parts


def _is_one(body: bytes) -> bool:
    """Whether a body that begins as an object is one, rather than one on each line."""
    lines = [line for line in body.split(b"\n", 2) if line.strip()]
    if len(lines) < 2:
        return True
    try:
        msgspec.json.decode(lines[0], type=Raw)
    except (msgspec.DecodeError, RecursionError):
        return True
    return False


def _elements(body: bytes) -> list[bytes]:
    """The elements of an array, as they stand in it."""
    try:
        return [bytes(raw) for raw in msgspec.json.decode(body, type=list[Raw])]
    except msgspec.ValidationError:
        raise BadBody("wrong_type", "the body must be an event, an array of events, or NDJSON") from None
    except (msgspec.DecodeError, RecursionError) as error:
        parts = _cut(body)
        if parts is None:
            raise BadBody("malformed", f"the body is not JSON: {error}") from None
        return parts


_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{},]|"', re.DOTALL)


def _cut(body: bytes) -> list[bytes] | None:
    """An array cut at its outer commas, so that one broken element does not take the others with it.

    None where strings or brackets do not close.
    """
    text = body.strip()
    depth, begin, parts = 0, 1, list[bytes]()
    for token in _TOKEN.finditer(text):
        sign = token.group()
        if sign == b'"' or (depth == 0 and token.start() > 0):
            return None
        depth += (sign in b"[{") - (sign in b"]}")
        if (depth == 1 and sign == b",") or depth == 0:
            parts.append(text[begin : token.start()].strip())
            begin = token.end()
    return parts if depth == 0 and text[:1] == b"[" and begin == len(text) else None


def read_each(parts: Sequence[bytes], receipt: Receipt) -> Intake:
    """The same for events that stand apart already: each is judged by itself."""
    opened = [_open(part) for part in parts]
    receipt = _with_skew((one[0] for one in opened if not isinstance(one, InvalidEvent)), receipt)
    events, rejections = [], []
    for index, (part, one) in enumerate(zip(parts, opened, strict=True)):
        try:
            if isinstance(one, InvalidEvent):
                raise one
            envelope, typed = one
            events.append(normalise(envelope, receipt, typed))
        except InvalidEvent as error:
            rejections.append(rejection(index, error, part))
    return Intake(events, rejections)


def event_parts(events: Sequence[Event], partitions: int, most: int) -> list[Part]:
    """Accepted events as the queue carries them: those of a conversation always in the same partition and in order.

    An event without a conversation goes with its contact. `most`: bytes of a payload, enough for any one event.
    """
    if partitions == 1:
        return _fitting(events, 0, most)
    groups: dict[int, list[Event]] = {}
    for event in events:
        groups.setdefault(_partition(event, partitions), []).append(event)
    return [part for partition, group in groups.items() for part in _fitting(group, partition, most)]


def part_again(payload: bytes, partitions: int) -> Part:
    """What was in the queue before and ended in the dead letters, to be appended once more."""
    try:
        partition = _partition(decode(payload)[0], partitions)
    except (msgspec.DecodeError, IndexError):
        partition = 0  # no event, so it belongs nowhere
    return Part(payload, payload.count(b"\n"), partition)


def _partition(event: Event, partitions: int) -> int:
    # Never another hash: while the log holds events, a conversation must stay where it is.
    owner = event.conversation_id or event.contact_id or ""
    return zlib.crc32(owner.encode()) % partitions


def _fitting(events: Sequence[Event], partition: int, most: int) -> list[Part]:
    lines = encode(events)
    if len(lines) <= most or len(events) < 2:
        return [Part(lines, len(events), partition)] if events else []
    half = len(events) // 2
    return [*_fitting(events[:half], partition, most), *_fitting(events[half:], partition, most)]


def refused_parts(rejections: Sequence[Rejection], received_at: int, partitions: int, most: int) -> list[Part]:
    """Refused events as the queue carries them."""
    payload = refused_payload(rejections, received_at)
    if len(payload) <= most or len(rejections) < 2:
        return [Part(payload, 0, received_at % partitions)] if rejections else []
    half = len(rejections) // 2
    return [
        part for some in (rejections[:half], rejections[half:])
        for part in refused_parts(some, received_at, partitions, most)
    ]  # fmt: skip


def refused_payload(rejections: Sequence[Rejection], received_at: int) -> bytes:
    """The queue payload that carries refused events to the store."""
    kept = [Rejected(secrets.token_hex(16), received_at, r.reason, r.field, r.message, r.body) for r in rejections]
    return REFUSED + _encoder.encode(kept)


def rejection(index: int, error: InvalidEvent, body: bytes) -> Rejection:
    """The record of a refusal."""
    text = body[:MAX_EVENT_BYTES].decode("utf-8", "replace").encode()  # three bytes for each that is not UTF-8
    text = text[:MAX_EVENT_BYTES].decode("utf-8", "ignore")
    return Rejection(index=index, reason=error.reason, field=error.field, message=str(error), body=text)


def _open(part: bytes) -> tuple[Envelope, Event] | InvalidEvent:
    """The envelope and the typed properties of one event, or why it is refused."""
    try:
        _check_bytes(part)
        fields = _fields(part)
        given = fields.pop("properties", Raw(b"{}"))
        envelope = Envelope(**{name: _value(name, fields.pop(name)) for name in _ENVELOPE if name in fields})
        if envelope.sent_at is not None:
            micros_of("sent_at", envelope.sent_at)
        given = Raw(b"{}") if bytes(given) == b"null" else Raw(bytes(given))
        # What else stands at the top level belongs to the properties; what stands there already wins.
        properties = {**fields, **_fields(given, "properties")}
        envelope.properties = Raw(_encoder.encode(properties)) if fields else given
        known = event_type_of(envelope.event_type)[0] if envelope.event_type else ""
        return envelope, _typed(properties, MEANING.get(known, ()))
    except InvalidEvent as error:
        return error


def _check_bytes(part: bytes) -> None:
    if len(part) > MAX_EVENT_BYTES:
        rule = f"at most {MAX_EVENT_BYTES} bytes"
        raise InvalidEvent("too_large", "event", f"{len(part)} bytes", rule)
    try:
        value = msgspec.json.decode(part)
        part.decode()
    except RecursionError:
        raise InvalidEvent("too_deep", "event", "deeply nested", f"nested at most {MAX_DEPTH} levels") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidEvent("malformed", "event", str(error), "JSON in UTF-8") from None
    _check_value(value, 0, ())


def _check_value(value: Any, depth: int, path: tuple[str, ...]) -> None:
    """`path`: the first names that lead to a value."""
    if depth > MAX_DEPTH:
        raise InvalidEvent("too_deep", _field(path), "deeply nested", f"nested at most {MAX_DEPTH} levels")
    if isinstance(value, str):
        if "\x00" in value:
            raise InvalidEvent("nul_byte", _field(path), value, "text without NUL characters")
    elif isinstance(value, dict):
        for key, inner in value.items():
            _check_value(key, depth, path)
            _check_value(inner, depth + 1, (*path, key) if len(path) < _NAMED else path)
    elif isinstance(value, list):
        for inner in value:
            _check_value(inner, depth + 1, path)


_NAMED = 3
"""So many names tell where in an event something is."""


def _field(path: tuple[str, ...]) -> str:
    return ".".join(name[:MAX_NAME_LENGTH] for name in path) or "event"


def _fields(part: bytes | Raw, name: str = "event") -> dict[str, Raw]:
    try:
        return _fields_decoder.decode(part)
    except msgspec.ValidationError:
        raise InvalidEvent("wrong_type", name, msgspec.json.decode(part), "an object") from None


def _value(name: str, raw: Raw, prefix: str = "") -> Any:
    decoder = (_PROPERTY if prefix else _ENVELOPE)[name]
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, ValueError):
        field = prefix + name
        raise InvalidEvent(_reason(field, raw), field, msgspec.json.decode(raw), RULES[field]) from None


def _reason(field: str, raw: Raw) -> str:
    if field in ("timestamp", "sent_at"):
        return "bad_timestamp"
    try:
        _KINDS[field].decode(raw)
    except (msgspec.DecodeError, ValueError):
        return "wrong_type"
    return "out_of_range"


def _typed(properties: dict[str, Raw], meaning: Sequence[str]) -> Event:
    """The known properties; a wrong type is an error only where the event type gives the property a meaning."""
    values = {}
    for name in _PROPERTY.keys() & properties.keys():
        try:
            values[name] = _value(name, properties[name], "properties.")
        except InvalidEvent:
            if name in meaning:
                raise
    return Event(**values)
