"""Files whose rows a mapping turns into events: CSV, Parquet, JSON records."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec
import pyarrow.parquet as pq

from dropoff.errors import InvalidEvent, InvalidInput
from dropoff.sources.base import Batch, Chunk
from dropoff.sources.mapping import Row

DELIMITERS = (",", ";", "\t")
_encoder = msgspec.json.Encoder(decimal_format="number", order=None)
_PARQUET_ROWS = 4_000

Numbered = tuple[int, "Any | InvalidEvent"]
"""The line of a record, and the record, or why it cannot be read."""


def mapped(
    records: Iterable[Numbered], row: Row, raw: Callable[[Any], object] = lambda record: record
) -> Iterator[Chunk]:
    """The events of records, in chunks. `raw` makes of a record what is shown when it is refused."""
    batch = Batch()
    for number, (line, record) in enumerate(records, 1):
        events = iter([record]) if isinstance(record, InvalidEvent) else row(record, number)
        unused = True
        for event in events:
            unused = False
            _add(batch, line, event, record, raw)
            if batch.full:
                yield batch.chunk()
                batch = Batch()
        batch.unused += unused
    yield batch.chunk()


def _add(
    batch: Batch, line: int, event: dict[str, Any] | InvalidEvent, record: Any, raw: Callable[[Any], object]
) -> None:
    if not isinstance(event, InvalidEvent):
        try:
            batch.add(line, _encoder.encode(event))
            return
        except UnicodeEncodeError:
            event = InvalidEvent("malformed", "row", "bytes that are not UTF-8", "a text in UTF-8")
        except (TypeError, ValueError, RecursionError) as error:
            event = InvalidEvent("wrong_type", "row", str(error), "values that JSON can hold")
    batch.refuse(line, event, b"" if isinstance(record, InvalidEvent) else _shown(raw(record)))


def _shown(record: object) -> bytes:
    try:
        return _encoder.encode(record)
    except (TypeError, ValueError, RecursionError):
        return repr(record).encode("utf-8", "replace")


class Table:
    """A CSV file: its header, and its rows as lists of texts, each with the line it begins in.

    `close` also closes the stream.
    """

    def __init__(self, name: str, stream: io.BufferedReader) -> None:
        """Reads the header; raises `InvalidInput` for a file without one."""
        sample = stream.peek(1).decode("utf-8", "surrogateescape")
        # Bytes that are not UTF-8 are refused with their row, not with the file.
        text = io.TextIOWrapper(stream, encoding="utf-8", errors="surrogateescape", newline="")
        self.close = text.close
        self._reader = csv.reader(text, delimiter=_delimiter(sample), strict=True)
        try:
            self.header = [cell.strip() for cell in next(self._reader, [])]
        except csv.Error as error:
            raise InvalidInput(name, str(error), "a CSV file with a header line") from None
        if not any(self.header):
            raise InvalidInput(name, "no header", "a CSV file with a header line")

    def __iter__(self) -> Iterator[Numbered]:
        while True:
            line = self._reader.line_num + 1
            try:
                row = next(self._reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield line, InvalidEvent("malformed", "row", str(error), "a CSV record")
                continue
            if row:
                yield line, self._checked(row)

    def _checked(self, row: list[str]) -> list[str] | InvalidEvent:
        width = len(self.header)
        if len(row) == width or (len(row) > width and not any(row[width:])):
            return row
        return InvalidEvent("malformed", "row", f"{len(row)} cells: {row}", f"{width} cells, as the header has")

    def shown(self, row: Sequence[str]) -> dict[str, str]:
        """A row with the names of its columns."""
        return {name: cell.encode("utf-8", "replace").decode() for name, cell in zip(self.header, row, strict=False)}


def _delimiter(sample: str) -> str:
    """The delimiter that gives the header most columns."""

    def columns(delimiter: str) -> int:
        return len(next(csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter), []))

    return max(DELIMITERS, key=columns)


class ParquetTable:
    """A Parquet file, read some thousand rows at a time, all columns or those in `columns`.

    `done` is the share that has been read, 0 to 1.
    """

    def __init__(self, name: str, stream: io.BufferedReader) -> None:
        """Reads the schema; raises `InvalidInput` for a file that is not Parquet."""
        try:
            self._file = pq.ParquetFile(stream)
        except (OSError, ValueError) as error:
            raise InvalidInput(name, str(error), "a Parquet file") from None
        self._name = name
        self.header = self._file.schema_arrow.names
        self.columns: Sequence[str] | None = None
        self.done = 0.0

    def __iter__(self) -> Iterator[Numbered]:
        number, total = 0, max(1, self._file.metadata.num_rows)
        try:
            for batch in self._file.iter_batches(batch_size=_PARQUET_ROWS, columns=self.columns):
                for record in batch.to_pylist():
                    number += 1
                    yield number, record
                self.done = number / total
        except (OSError, ValueError) as error:
            raise InvalidInput(self._name, str(error), "a Parquet file whose values can be read") from None
        self.done = 1.0


def json_lines(chunks: Iterable[Chunk]) -> Iterator[Numbered]:
    """The records of an NDJSON file."""
    for chunk in chunks:
        yield from ((one.line, one.error) for one in chunk.refused)
        for line, text in enumerate(chunk.body.split(b"\n"), chunk.first_line):
            if text.strip():
                yield line, json_record(text)


def json_record(text: bytes | msgspec.Raw) -> dict[str, Any] | InvalidEvent:
    """One record, or why it is none."""
    try:
        record = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return InvalidEvent("malformed", "record", str(error), "JSON in UTF-8")
    if isinstance(record, dict):
        return record
    return InvalidEvent("wrong_type", "record", record, "an object")
