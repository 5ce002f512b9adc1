"""What every source gives: chunks of native NDJSON, and from which line of the file each event comes."""

import gzip
import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, NamedTuple, Self, cast

from dropoff.errors import InvalidEvent, InvalidInput
from dropoff.events import MAX_BATCH_EVENTS, MAX_EVENT_BYTES

MAX_CHUNK_BYTES = 8_000_000
_FLUSH_BYTES = MAX_CHUNK_BYTES - MAX_EVENT_BYTES
_BUFFER = 1 << 18
_GZIP_MAGIC = b"\x1f\x8b"


class Refused(NamedTuple):
    """One event that the source could not make: the line, why, and the first 32 kB of what stood there."""

    line: int
    error: InvalidEvent
    raw: bytes


@dataclass(frozen=True, slots=True)
class Chunk:
    """Native events as NDJSON: at most 10,000 of them and 8 MB.

    `lines`: the line of each event; empty where the lines of `body` are those of the file, from `first_line` on.
    `refused`: what never became an event. `unused`: rows of the file that no rule of the mapping applied to.
    """

    body: bytes
    first_line: int = 1
    lines: Sequence[int] = ()
    refused: Sequence[Refused] = ()
    unused: int = 0

    def line(self, index: int) -> int:
        """The line of the file in which event `index` of this chunk stands (blank lines hold no event)."""
        if self.lines:
            return self.lines[index]
        filled = (number for number, line in enumerate(self.body.split(b"\n")) if line.strip())
        return self.first_line + next(number for at, number in enumerate(filled) if at == index)


@dataclass
class Source:
    """An open input file, to be iterated once for its chunks and closed (it is a context manager).

    `unit` says what a chunk's line numbers count: "line", "record" (of a JSON array) or "row" (of Parquet). Iterating
    raises `InvalidInput` where the file as a whole cannot be read on; what came before has been given.
    """

    path: Path
    format: str
    unit: str
    size: int
    chunks: Iterator[Chunk]
    tell: Callable[[], int]
    close: Callable[[], object]

    @property
    def position(self) -> int:
        """How far the file has been read, in its own (compressed) bytes: `size` at the end."""
        return self.tell()

    def __iter__(self) -> Iterator[Chunk]:
        with unpacking(self.path):
            yield from self.chunks

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def unpacking(path: Path) -> Iterator[None]:
    """Gives the errors of a damaged gzip file as `InvalidInput`."""
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InvalidInput(str(path), str(error), "a complete gzip file") from error


class Opened(NamedTuple):
    """A file: as it lies on the disk, and unpacked."""

    raw: io.BufferedReader
    stream: io.BufferedReader


def open_bytes(path: Path) -> Opened:
    """The bytes of a file, unpacked if it is gzip (whatever its name); raises `InvalidInput`."""
    try:
        raw = cast("io.BufferedReader", path.open("rb", buffering=_BUFFER))
    except OSError as error:
        raise InvalidInput("file", str(path), f"a file that can be read ({error.strerror})") from None
    if raw.peek(2)[:2] != _GZIP_MAGIC:
        return Opened(raw, raw)
    unpacked = cast("io.RawIOBase", gzip.GzipFile(fileobj=cast("IO[bytes]", raw)))
    return Opened(raw, io.BufferedReader(unpacked, _BUFFER))


@dataclass(slots=True)
class Batch:
    """Gathers events until they fill a chunk."""

    events: list[bytes] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    unused: int = 0
    size: int = 0

    @property
    def full(self) -> bool:
        """Whether nothing more may be added."""
        return max(len(self.events), len(self.refused)) >= MAX_BATCH_EVENTS or self.size >= _FLUSH_BYTES

    def add(self, line: int, event: bytes) -> None:
        """One event; over the limit it is refused, for only then is a chunk's size bounded."""
        if len(event) > MAX_EVENT_BYTES:
            rule = f"at most {MAX_EVENT_BYTES} bytes"
            self.refuse(line, InvalidEvent("too_large", "event", f"{len(event)} bytes", rule), event)
            return
        self.events.append(event)
        self.lines.append(line)
        self.size += len(event) + 1

    def refuse(self, line: int, error: InvalidEvent, raw: bytes) -> None:
        """One event that could not be made."""
        kept = raw[:MAX_EVENT_BYTES]
        self.refused.append(Refused(line, error, kept))
        self.size += len(kept)

    def chunk(self) -> Chunk:
        """What was gathered."""
        return Chunk(b"\n".join(self.events), lines=self.lines, refused=self.refused, unused=self.unused)
