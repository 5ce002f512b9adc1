"""Events in our own form: NDJSON, whose bytes pass through undecoded, JSON arrays, and rows of Parquet."""

import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Raw, Struct

from dropoff.errors import InvalidEvent, InvalidInput
from dropoff.events import MAX_BATCH_EVENTS, MAX_EVENT_BYTES, Envelope
from dropoff.sources.base import MAX_CHUNK_BYTES, Batch, Chunk, Refused

MAX_DOCUMENT_BYTES = 1_000_000_000
T = TypeVar("T")
BOM = b"\xef\xbb\xbf"
ENVELOPE = Envelope.__struct_fields__
_BLOCK = 2_000_000
_LONGEST_LINE = MAX_CHUNK_BYTES - _BLOCK


def check_text(name: str, stream: io.BufferedReader) -> None:
    """Steps over a byte order mark; raises `InvalidInput` for a file in UTF-16."""
    head = stream.peek(3)[:3]
    if head == BOM:
        stream.read(3)
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise InvalidInput(name, "a file in UTF-16", "UTF-8")


def starts_array(stream: io.BufferedReader) -> bool:
    """Whether the file is one JSON array rather than lines."""
    return stream.peek(1).lstrip()[:1] == b"["


def ndjson(stream: io.BufferedReader) -> Iterator[Chunk]:
    """The lines as they are, in chunks. A line over 6 MB is refused without being held in memory."""
    line = 1
    while block := stream.read(_BLOCK):
        block += stream.readline(_LONGEST_LINE)
        overlong = not block.endswith(b"\n") and bool(stream.peek(1))
        body, rest = _cut(block) if overlong else (block, b"")
        for part in _parts(body):
            yield Chunk(part, first_line=line)
            line += part.count(b"\n")
        if overlong:
            yield Chunk(b"", refused=[_overlong(line, rest, len(rest) + _skip_line(stream))])
            line += 1


def _cut(block: bytes) -> tuple[bytes, bytes]:
    end = block.rfind(b"\n") + 1
    return block[:end], block[end:]


def _parts(body: bytes) -> Iterator[bytes]:
    """`body` cut after each 10,000th line."""
    while body.count(b"\n") >= MAX_BATCH_EVENTS:
        rest = len(body.split(b"\n", MAX_BATCH_EVENTS)[-1])
        yield body[: len(body) - rest]
        body = body[len(body) - rest :]
    if body:
        yield body


def _overlong(line: int, start: bytes, size: int) -> Refused:
    error = InvalidEvent("too_large", "event", f"{size} bytes", f"at most {MAX_EVENT_BYTES} bytes")
    return Refused(line, error, start[:MAX_EVENT_BYTES])


def _skip_line(stream: io.BufferedReader) -> int:
    skipped = 0
    while part := stream.readline(_BLOCK):
        skipped += len(part)
        if part.endswith(b"\n"):
            break
    return skipped


def array(name: str, stream: io.BufferedReader, records: str | None = None) -> list[Raw]:
    """The elements of a JSON array, or of the one found in a document under the path `records`.

    Raises `InvalidInput` for anything else, and above 1 GB: an array has to be held in memory, NDJSON does not.
    """
    document = stream.read(MAX_DOCUMENT_BYTES + 1)
    if len(document) > MAX_DOCUMENT_BYTES:
        raise InvalidInput(name, "over 1 GB of JSON in one document", "smaller, or NDJSON (one object a line)")
    for key in records.split(".") if records else ():
        document = _decoded(name, document, dict[str, Raw], f"an object with {records!r}").get(key, Raw(b"null"))
    return _decoded(name, document, list[Raw], f"an array under {records!r}" if records else "a JSON array")


def _decoded(name: str, document: bytes | Raw, kind: type[T], rule: str) -> T:
    try:
        return msgspec.json.decode(document, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(name, str(error), rule) from None


def is_table(header: Sequence[str]) -> bool:
    """Whether rows with these columns are native events, as `dropoff export` writes them."""
    return "event_type" in header and not {"conversation_id", "contact_id"}.isdisjoint(header)


COLUMNS = (*(name for name in ENVELOPE if name != "event_id"), "id", "event_id", "facts")
"""What is read of such a row: the envelope, its id under either name, and the stored facts."""


def table_row(record: dict[str, Any], _: int) -> Iterator[dict[str, Any]]:
    """The event of a row: the fields of the envelope, and the properties as JSON text or as a value of their own."""
    event = {name: record[name] for name in ENVELOPE if record.get(name) is not None}
    properties = event.get("properties", "{}")
    if isinstance(properties, str):
        # A line break can only stand between the tokens of valid JSON.
        event["properties"] = Raw(properties.replace("\n", " ").encode())
    if record.get("id") is not None:
        event.setdefault("event_id", record["id"])
    if record.get("facts") is not None and event.get("event_type") in ("deal_closed", "message_status"):
        event["event_type"] = _spelling(event["event_type"], record["facts"], properties)
    yield event


class _Told(Struct):
    """What a spelling alone may have told."""

    won: bool | None = None
    status: Literal["delivered", "failed", "bounced"] | None = None


def _spelling(event_type: str, facts: Any, properties: Any) -> str:
    """The event type as it was sent, where nothing but its spelling told a fact: `deal_lost`, `message_delivered`."""
    try:
        told = msgspec.json.decode(facts, type=_Told)
        given = msgspec.json.decode(properties) if isinstance(properties, str) else properties
    except (msgspec.DecodeError, TypeError, RecursionError):  # no facts of ours; the door judges the properties
        return event_type
    if not isinstance(given, dict):
        return event_type
    if event_type == "deal_closed":
        return "deal_lost" if told.won is False and given.get("won") is None else event_type
    return event_type if given.get("status") is not None or told.status is None else f"message_{told.status}"


def events(records: Iterable[Raw]) -> Iterator[Chunk]:
    """The elements of an array of native events; their line numbers count the elements from 1."""
    batch = Batch()
    for number, record in enumerate(records, 1):
        # A line break can only stand between the tokens of valid JSON.
        batch.add(number, bytes(record).replace(b"\n", b" "))
        if batch.full:
            yield batch.chunk()
            batch = Batch()
    yield batch.chunk()
