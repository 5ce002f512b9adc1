"""Queue payloads as frames in the columns of the table `events`."""

import io

import msgspec
import polars as pl

from dropoff.events import FACTS, Event
from dropoff.store import tables
from dropoff.store.keys import hashes

_TYPES = {
    "text": pl.String(), "int": pl.Int64(), "uint": pl.UInt64(), "float": pl.Float64(), "bool": pl.Boolean(),
    "instant": pl.Int64(), "texts": pl.List(pl.String), "date": pl.Date(), "exact": pl.Decimal(38, 6),
}  # fmt: skip

_FIELDS = {"properties": "raw"}
"""Where a column's name differs from the field of `Event` that fills it."""
_FACT_COLUMNS = {"event_id": "target_id", "size": "company_size"}
"""Where a fact's name differs from the column it becomes."""


def frame_schema(table: str) -> dict[str, pl.DataType]:
    """The polars types of a table's columns; instants are integers of microseconds."""
    return {column.name: _TYPES[column.type] for column in tables.TABLES[table]}


_LINE_NAMES = dict(zip(Event.__struct_fields__, Event.__struct_encode_fields__, strict=True))
_COLUMN_OF_LINE = {
    _LINE_NAMES[_FIELDS.get(name, name)]: name for name in tables.names("events") if name not in ("seq", "key")
}
_GIVEN = {field.name: field.default for field in msgspec.structs.fields(Event) if field.default is not None}
_DEFAULTS = {name: _GIVEN[field] for name in _COLUMN_OF_LINE.values() if (field := _FIELDS.get(name, name)) in _GIVEN}
"""What a line leaves out where it is so: the first moment of 1970 is 0, and one of these."""
_LINE = {line: frame_schema("events")[name] for line, name in _COLUMN_OF_LINE.items()} | {"#batch": pl.String()}


def read_lines(lines: bytes) -> pl.DataFrame:
    """The events of queue payloads: the columns of `events` without `seq`, and `batch`."""
    frame = pl.read_ndjson(io.BytesIO(lines), schema=_LINE).rename({**_COLUMN_OF_LINE, "#batch": "batch"})
    frame = frame.with_columns(pl.col(name).fill_null(value) for name, value in _DEFAULTS.items())
    return with_key(frame).select(*(n for n in tables.names("events") if n != "seq"), "batch")


def write_lines(events: pl.DataFrame) -> bytes:
    """Stored events, instants as datetimes, as the queue payload that makes the same of them again."""
    instants = pl.col(column.name for column in tables.EVENTS if column.type == "instant")
    lines = events.with_columns(instants.cast(pl.Datetime("us")).cast(pl.Int64))
    return lines.select(pl.col(name).alias(line) for line, name in _COLUMN_OF_LINE.items()).write_ndjson().encode()


def with_key(frame: pl.DataFrame) -> pl.DataFrame:
    """Add `key`, the hash of what owns the event."""
    owner = pl.coalesce(pl.concat_str(pl.lit("c"), "conversation_id"), pl.concat_str(pl.lit("p"), "contact_id"))
    owners = frame.select(owner.alias("owner"))["owner"]
    unique = owners.unique()
    keys = pl.DataFrame({"owner": unique, "key": pl.Series(hashes(unique), dtype=pl.UInt64)})
    found = owners.to_frame().join(keys, on="owner", how="left", maintain_order="left")
    return frame.with_columns(found["key"])


_FACT_TYPES = {
    str: pl.String(),
    float: pl.Float64(),
    int: pl.Int64(),
    bool: pl.Boolean(),
    list[str]: pl.List(pl.String),
}
_FACTS = pl.Struct({name: _FACT_TYPES[kind] for name, kind in FACTS.items()})


def with_facts(events: pl.DataFrame) -> pl.DataFrame:
    """Add the rarer typed facts, each as a column."""
    rows = events.with_row_index("row")
    given = rows.filter(pl.col("facts").is_not_null()).select("row", pl.col("facts").str.json_decode(_FACTS))
    return rows.join(given.unnest("facts").rename(_FACT_COLUMNS), on="row", how="left", maintain_order="left").drop(
        "row", "facts"
    )
