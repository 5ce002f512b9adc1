"""`dropoff export`: every public table as a Parquet file, and a manifest that says what is in them.

A file keeps the ending `.part` until all of them are complete; then they get their names, and last of all the manifest
is written: a directory that has one is whole. What an interrupted export left is taken up again where it still holds
what the store holds.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pyarrow.parquet as pq
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dropoff import __version__
from dropoff.control.identity import identity
from dropoff.errors import InvalidInput, Unavailable
from dropoff.project.settings import Settings
from dropoff.server.connect import Connection, connect
from dropoff.server.parts import open_control
from dropoff.store.base import Part
from dropoff.store.tables import TABLES

MANIFEST = "manifest.json"
UNFINISHED = "unfinished.json"
PART = ".part"
TEST_TRAFFIC = "included; is_test in events and conversations tells it"

_AS_READ = {"messages": "messages_all", "conversations": "conversations_all"}
"""What a reader's view adds to the stored rows: the text of messages; outcome, stage and status of conversations."""

_COUNTS = {
    name: f"(SELECT count(*) FROM {name}_all)"
    for name in ("events", "conversations", "turns", "meetings", "deals", "attributions")
} | {"messages": "(SELECT coalesce(sum(message_count), 0) FROM conversations_all)"}
"""How many rows a table has, where it is not simply counted: its view joins the events."""

_STATE = """SELECT (SELECT max(version) FROM schema_version) AS schema,
  (SELECT count(*) FROM events_all) AS events, (SELECT max(seq) FROM events_all) AS last,
  (SELECT count(*) FROM rejected_events) AS rejected, (SELECT max(received_at) FROM rejected_events) AS newest,
  (SELECT count(*) FROM metrics_hourly) AS hourly, (SELECT sum(numerator) FROM metrics_hourly) AS total"""
"""Changes whenever a row of any table has: all others are made of events."""


class File(msgspec.Struct, frozen=True):
    """A complete file of the export."""

    file: str
    rows: int
    bytes: int
    sha256: str


class Unfinished(msgspec.Struct):
    """What an interrupted export leaves beside its files: whose data it is, as of which state, and what is complete."""

    instance: str
    state: list[Any]
    files: dict[str, File]


class Manifest(msgspec.Struct, frozen=True):
    """`manifest.json`. `exported_at` is also the moment as of which `conversations` says what is open or dropped."""

    dropoff: str
    schema: int
    exported_at: str
    test_traffic: str
    tables: dict[str, File]


def export(settings: Settings, to: Path, names: Sequence[str], console: Console) -> dict[str, Any]:
    """Write these tables (all of them if none is named) to the directory `to`; returns the manifest.

    Raises `InvalidInput` for an unknown table, and for a directory that holds anything but an unfinished export of
    the same data.
    """
    wanted = list(dict.fromkeys(names)) or list(TABLES)
    for name in wanted:
        if name not in TABLES:
            raise InvalidInput("tables", name, f"one of {', '.join(TABLES)}")
    with connect(settings) as connection, closing(open_control(settings)) as control:
        try:
            found = _found(to, identity(control))
            to.mkdir(parents=True, exist_ok=True, mode=0o700)
            return msgspec.to_builtins(_export(connection, to, found, wanted, console))
        except OSError as error:
            raise Unavailable(f"{to} cannot be written: {error}") from error


def _found(to: Path, instance: str) -> Unfinished:
    """What there is in the directory already."""
    if not to.exists() or (to.is_dir() and not any(to.iterdir())):
        return Unfinished(instance, [], {})
    try:
        found = msgspec.json.decode((to / UNFINISHED).read_bytes(), type=Unfinished)
    except (OSError, msgspec.DecodeError):
        raise InvalidInput("to", str(to), "a new or empty directory, or one with an unfinished export") from None
    if found.instance != instance:
        raise InvalidInput("to", str(to), "an unfinished export of this data; it is of another data directory")
    return found


def _export(connection: Connection, to: Path, found: Unfinished, wanted: Sequence[str], console: Console) -> Manifest:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        while True:
            state = _state(connection)
            if found.state != state:
                found.state, found.files = state, {}
            kept = [name for name in wanted if name in found.files]
            if kept:
                console.print(f"taken over from an unfinished export: {', '.join(kept)}", markup=False)
            now = datetime.now(UTC)
            _write_missing(connection, to, found, wanted, progress)
            # What was kept is of the state before; if that moved on in between, it is not of one moment with the rest.
            if not kept or _state(connection) == state:
                return _complete(to, found, wanted, now)
            console.print("the data changed meanwhile: all tables are written anew", markup=False)


def _state(connection: Connection) -> list[Any]:
    return connection.query(_STATE)["rows"][0]


def _write_missing(
    connection: Connection, to: Path, found: Unfinished, wanted: Sequence[str], progress: Progress
) -> None:
    missing = {Part(_AS_READ.get(name, name)): name for name in wanted if name not in found.files}
    _keep(to, found)
    if not missing:
        return
    counts = ", ".join(_COUNTS.get(name, f"(SELECT count(*) FROM {name})") for name in missing.values())
    totals = dict(zip(missing, connection.query(f"SELECT {counts}")["rows"][0], strict=True))
    for part, frames in groupby(connection.scan(list(missing)), key=itemgetter(0)):
        name = missing[part]
        task = progress.add_task(name, total=totals[part])
        path = to / f"{name}.parquet{PART}"
        rows = _write(path, (frame for _, frame in frames), lambda count, task=task: progress.advance(task, count))
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        found.files[name] = File(f"{name}.parquet", rows, path.stat().st_size, digest)
        _keep(to, found)


def _write(path: Path, frames: Iterator[pl.DataFrame], written: Callable[[int], None]) -> int:
    """A Parquet file of frames, on the disk when this returns; how many rows it has."""
    rows = 0
    first = _typed(next(frames)).to_arrow()
    with path.open("wb") as file:
        with pq.ParquetWriter(file, first.schema, compression="zstd") as writer:
            writer.write_table(first)
            rows += first.num_rows
            written(first.num_rows)
            for frame in frames:
                writer.write_table(_typed(frame).to_arrow())
                rows += len(frame)
                written(len(frame))
        file.flush()
        os.fsync(file.fileno())
    return rows


def _typed(frame: pl.DataFrame) -> pl.DataFrame:
    """Instants in UTC, which a reader of the file is told; and no engine's own width of what a view derives."""
    instants = [name for name, kind in frame.schema.items() if isinstance(kind, pl.Datetime)]
    short = [name for name, kind in frame.schema.items() if kind.is_integer() and kind not in (pl.Int64, pl.UInt64)]
    return frame.with_columns(pl.col(instants).dt.replace_time_zone("UTC"), pl.col(short).cast(pl.Int64))


def _keep(to: Path, found: Unfinished) -> None:
    _replace(to / UNFINISHED, msgspec.json.encode(found))


def _complete(to: Path, found: Unfinished, wanted: Sequence[str], now: datetime) -> Manifest:
    """Give every file its name, and only then say that they are whole."""
    files = {name: found.files[name] for name in wanted}
    for one in files.values():
        part = to / f"{one.file}{PART}"
        if part.exists():  # killed here before, some have their names already
            part.rename(to / one.file)
    manifest = Manifest(__version__, found.state[0], now.isoformat(), TEST_TRAFFIC, files)
    _replace(to / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
    for name in (UNFINISHED, *(f"{table}.parquet{PART}" for table in TABLES)):
        (to / name).unlink(missing_ok=True)
    for name in TABLES.keys() - files.keys():  # of an interrupted export of more tables
        (to / f"{name}.parquet").unlink(missing_ok=True)
    return manifest


def _replace(path: Path, content: bytes) -> None:
    """A file with this content, at once and durably."""
    fresh = path.with_name(path.name + PART)
    with fresh.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)
    directory = os.open(path.parent, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)
