"""A scan on its way from a server to the command line: one Arrow stream after the other, a part each."""

from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO
from itertools import groupby
from operator import itemgetter
from typing import IO, cast

import polars as pl
import pyarrow as pa

from dropoff.store.base import Part

MEDIA_TYPE = "application/vnd.apache.arrow.stream"


def encode(scan: Iterable[tuple[Part, pl.DataFrame]]) -> Iterator[bytes]:
    """The bytes of a scan, a frame at a time."""
    for _, frames in groupby(scan, key=itemgetter(0)):
        sink = BytesIO()
        writer = None
        for _, frame in frames:
            table = frame.to_arrow()
            writer = writer or pa.ipc.new_stream(sink, table.schema)
            writer.write_table(table)
            yield _taken(sink)
        cast("pa.RecordBatchStreamWriter", writer).close()
        yield _taken(sink)


def _taken(sink: BytesIO) -> bytes:
    taken = sink.getvalue()
    sink.seek(0)
    sink.truncate()
    return taken


def decode(stream: IO[bytes], parts: Sequence[Part]) -> Iterator[tuple[Part, pl.DataFrame]]:
    """The scan of these parts; raises `OSError` or `pa.ArrowInvalid` where the stream ends before it."""
    for part in parts:
        with pa.ipc.open_stream(stream) as reader:
            # Of an empty frame only its schema travels.
            yield part, cast("pl.DataFrame", pl.from_arrow(reader.schema.empty_table()))
            for batch in reader:
                yield part, cast("pl.DataFrame", pl.from_arrow(batch))
