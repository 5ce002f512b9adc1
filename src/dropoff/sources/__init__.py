"""Files that bring events: native ones as they are, CSV, Parquet and JSON records through a mapping.

with open_source(Path("export.csv"), mapping=load_mapping(Path("export.toml"))) as source:
    for chunk in source:
        intake = read_events(chunk.body, receipt, ndjson=True)
        # chunk.line(rejection.index) is the line of a refused event; chunk.refused never became events
"""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

from dropoff.errors import InvalidInput, Missing
from dropoff.sources import native
from dropoff.sources.base import Chunk, Opened, Refused, Source, open_bytes, unpacking
from dropoff.sources.columns import of_records, of_table
from dropoff.sources.mapped import ParquetTable, Table, json_lines, json_record, mapped
from dropoff.sources.mapping import MappingFile, load_mapping, parse_mapping

__all__ = ["FORMATS", "Chunk", "MappingFile", "Refused", "Source", "load_mapping", "open_source", "parse_mapping"]

FORMATS = ("auto", "ndjson", "json", "csv", "parquet")
SUFFIXES = {
    ".ndjson": "ndjson", ".jsonl": "ndjson", ".json": "json",
    ".csv": "csv", ".tsv": "csv", ".parquet": "parquet", ".pq": "parquet",
}  # fmt: skip


def open_source(path: Path, format: str = "auto", mapping: MappingFile | None = None) -> Source:  # noqa: A002
    """The events of a file, plain or gzip.

    `format` "auto" goes by the suffix. NDJSON and JSON hold native events, or records if there is a mapping; a JSON
    array is recognised under both names. CSV needs a mapping, and so does Parquet whose rows are not native events.
    Raises `InvalidInput`: an unknown format, a file that cannot be read, a column of the mapping that the file does
    not have.
    """
    kind = _format(path, format)
    if mapping is None and kind == "csv":
        raise Missing("mapping", "given for a csv file (docs/import.md)")
    opened = open_bytes(path)
    try:
        with unpacking(path):
            return _OPEN[kind](path, opened, mapping)
    except BaseException:
        opened.raw.close()
        raise


def _format(path: Path, name: str) -> str:
    if name not in FORMATS:
        raise InvalidInput("format", name, " or ".join(FORMATS))
    if name != "auto":
        return name
    suffixes = [suffix.lower() for suffix in path.suffixes]
    suffix = next((one for one in reversed(suffixes) if one != ".gz"), "")
    if suffix not in SUFFIXES:
        raise InvalidInput("file", str(path), f"named {', '.join(SUFFIXES)} (and .gz), or given with a format")
    return SUFFIXES[suffix]


def _json(path: Path, opened: Opened, mapping: MappingFile | None) -> Source:
    stream = opened.stream
    native.check_text(str(path), stream)
    if native.starts_array(stream) or (mapping and mapping.records):
        chunks, unit = _array(str(path), stream, mapping), "record"
    else:
        chunks, unit = native.ndjson(stream), "line"
        if mapping:
            chunks = mapped(json_lines(chunks), mapping.bind(of_records(mapping.settings.empty)))
    return _source(path, "ndjson" if unit == "line" else "json", unit, opened, chunks)


def _array(name: str, stream: io.BufferedReader, mapping: MappingFile | None) -> Iterator[Chunk]:
    if mapping is None:
        yield from native.events(native.array(name, stream))
        return
    row = mapping.bind(of_records(mapping.settings.empty))
    records = native.array(name, stream, mapping.records)
    yield from mapped(((number, json_record(one)) for number, one in enumerate(records, 1)), row)


def _csv(path: Path, opened: Opened, mapping: MappingFile | None) -> Source:
    assert mapping is not None  # noqa: S101
    native.check_text(str(path), opened.stream)
    table = Table(str(path), opened.stream)
    row = mapping.bind(of_table(table.header, mapping.settings.empty))
    source = _source(path, "csv", "line", opened, mapped(table, row, table.shown))
    # Holds on to the table: it closes its stream when it goes.
    source.close = lambda: (table.close(), opened.raw.close())
    return source


def _parquet(path: Path, opened: Opened, mapping: MappingFile | None) -> Source:
    table = ParquetTable(str(path), opened.stream)
    if mapping is not None:
        row = mapping.bind(of_records(mapping.settings.empty, table.header))
    elif native.is_table(table.header):
        row, table.columns = native.table_row, [name for name in native.COLUMNS if name in table.header]
    else:
        rule = "given for a parquet file without the columns event_type and conversation_id or contact_id"
        raise Missing("mapping", f"{rule} (docs/import.md)")
    source = _source(path, "parquet", "row", opened, mapped(table, row))
    source.tell = lambda: round(source.size * table.done)
    return source


def _source(path: Path, kind: str, unit: str, opened: Opened, chunks: Iterator[Chunk]) -> Source:
    size = path.stat().st_size
    return Source(
        path,
        kind,
        unit,
        size,
        chunks,
        tell=lambda: min(size, opened.raw.tell()),
        close=lambda: (opened.stream.close(), opened.raw.close()),
    )


_OPEN: dict[str, Callable[[Path, Opened, MappingFile | None], Source]] = {
    "ndjson": _json,
    "json": _json,
    "csv": _csv,
    "parquet": _parquet,
}
