"""What is special about the store in a DuckDB file."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

import duckdb
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dropoff.errors import NewerSchema, StoreBusy, Unavailable
from dropoff.process import frames
from dropoff.store import migrations, sql, tables
from dropoff.store.base import Change, Part
from dropoff.store.duckdb import DuckStore
from dropoff.store.spans import MAX_SPANS, ROW_GROUP, KeySpans
from worlds import RECEIVED, started
from worlds import given as world

OPEN = "import sys; from pathlib import Path; from dropoff.store.duckdb import DuckStore; DuckStore(Path(sys.argv[1]))"
CRASH = """
import os, sys
from itertools import pairwise
from pathlib import Path
from worlds import given, started
given(started(), directory=Path(sys.argv[1]))
os._exit(9)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.duckdb"


@pytest.fixture
def store(path: Path) -> Iterator[DuckStore]:
    store = DuckStore(path)
    yield store
    store.close()


# The schema


def test_the_migrated_schema_is_that_of_the_tables(store: DuckStore):
    for table, columns in tables.TABLES.items():
        found = store.select(f"SELECT column_name, column_type FROM (DESCRIBE {sql.PHYSICAL[table]})").rows
        assert found == [(c.name, sql.DUCKDB.types[c.type]) for c in columns]


def test_the_first_migration_creates_what_the_fragments_say():
    script = migrations.scripts()[0]
    for table in tables.TABLES:
        assert sql.create(table) in script


def test_there_is_no_index_and_no_key(store: DuckStore):
    assert store.select("SELECT * FROM duckdb_indexes()").rows == []
    assert store.select("SELECT * FROM duckdb_constraints() WHERE constraint_type <> 'NOT NULL'").rows == []


def test_each_migration_is_applied_once(path: Path):
    for _ in range(3):
        DuckStore(path).close()
    with duckdb.connect(str(path)) as connection:
        applied = connection.execute("SELECT version FROM schema_version").fetchall()
    assert applied == [(n + 1,) for n in range(len(migrations.scripts()))]


def test_a_newer_schema_is_refused_and_left_alone(path: Path):
    DuckStore(path).close()
    with duckdb.connect(str(path)) as connection:
        connection.execute("INSERT INTO schema_version VALUES (999, now()::TIMESTAMP)")
    with pytest.raises(NewerSchema, match="999") as refused:
        DuckStore(path)
    assert refused.value.__traceback__  # whoever holds on to it does not hold the file
    with duckdb.connect(str(path)) as connection:
        assert connection.execute("SELECT max(version) FROM schema_version").fetchall() == [(999,)]


# One process


def test_a_second_process_is_refused(store: DuckStore, path: Path):
    second = subprocess.run([sys.executable, "-c", OPEN, str(path)], capture_output=True, text=True, check=False)
    assert second.returncode != 0
    assert StoreBusy.__name__ in second.stderr


def test_a_closed_store_can_be_opened_by_another_process(path: Path):
    DuckStore(path).close()
    subprocess.run([sys.executable, "-c", OPEN, str(path)], check=True, capture_output=True)


def test_a_committed_batch_survives_a_process_that_never_closed(tmp_path: Path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    crashed = subprocess.run([sys.executable, "-c", CRASH, str(tmp_path)], check=False, env=environment)
    assert crashed.returncode == 9
    store = DuckStore(tmp_path / "store.duckdb")
    assert store.select("SELECT id FROM conversations").rows == [("c",)]
    store.close()


def test_a_file_that_is_no_database_is_unavailable(path: Path):
    path.write_bytes(b"not a database" * 1000)
    with pytest.raises(Unavailable):
        DuckStore(path)


# A machine that cannot


class Full:
    """A connection to a full disk."""

    def __getattr__(self, name: str) -> None:
        raise duckdb.IOException("no space left on device")


KEYS = pl.Series("key", [1], pl.UInt64)
HOUR = datetime(2024, 1, 15, 10, tzinfo=UTC)
WORK: dict[str, Callable[[DuckStore], object]] = {
    "offset": lambda store: store.offset(),
    "history": lambda store: store.history(KEYS),
    "conversations_of": lambda store: store.conversations_of(["p"]),
    "contact_events": lambda store: store.contact_events(["contact_identified"]),
    "loose_contacts": lambda store: store.loose_contacts(),
    "commit": lambda store: store.commit(Change.of_nothing(1, refused(1, RECEIVED))),
    "select": lambda store: store.select("SELECT 1"),
    "frame": lambda store: store.frame("SELECT 1"),
    "scan": lambda store: list(store.scan([Part("events")])),
    "dirty_slots": lambda store: store.dirty_slots(),
    "forget_slots": lambda store: store.forget_slots([HOUR]),
    "rollup_plan": lambda store: store.rollup_plan(),
    "restart_rollups": lambda store: store.restart_rollups("plan"),
    "replace_rollups": lambda store: store.replace_rollups([HOUR], pl.DataFrame(), [HOUR.date()], "UTC"),
    "delete_rejected": lambda store: store.delete_rejected(["a"]),
}


@pytest.mark.parametrize("work", WORK.values(), ids=WORK)
def test_what_the_machine_cannot_do_now_is_unavailable(
    store: DuckStore, monkeypatch: pytest.MonkeyPatch, work: Callable[[DuckStore], object]
):
    """Any other error the worker would take for a fault of an event."""
    for name, full in (("_connection", Full()), ("_writer", Full()), ("_cursor", Full)):
        monkeypatch.setattr(store, name, full)
    with pytest.raises(Unavailable, match="no space left"):
        work(store)


# Refused events


def refused(count: int, received_at: int) -> pl.DataFrame:
    row = {"received_at": received_at, "reason": "malformed", "field": "event", "message": "m", "body": "{"}
    rows = [{"id": f"{received_at}-{i}", **row} for i in range(count)]
    return pl.DataFrame(rows, schema=frames.frame_schema("rejected_events"))


def test_refused_events_are_kept_for_30_days(store: DuckStore):
    store.commit(Change.of_nothing(1, refused(1, RECEIVED)))
    store.commit(Change.of_nothing(2, refused(1, RECEIVED + 31 * 86_400_000_000)))
    assert len(store.select("SELECT id FROM rejected_events").rows) == 1


# Spans


def _far(key: int) -> int:
    """Keys as far from one another as those of conversations."""
    return key << 60


@settings(max_examples=200)
@given(
    st.lists(st.lists(st.tuples(st.integers(0, 12).map(_far), st.integers(0, 4)), min_size=1, max_size=8), max_size=12),
    st.sets(st.integers(0, 14).map(_far), max_size=6),
    st.sets(st.integers(0, 12)),
)
def test_the_spans_of_keys_hold_all_their_events(batches: list, wanted: set[int], absorbed: set[int]):
    """Against a plain dictionary; gaps between the events stand for other traffic."""
    spans, naive, seq = KeySpans(), dict[int, list[int]](), 0
    for number, batch in enumerate(batches):
        seqs = []
        for key, gap in batch:
            seq += 1 + gap * ROW_GROUP
            seqs.append(seq)
            naive.setdefault(key, []).append(seq)
        spans.add(np.array([key for key, _ in batch], np.uint64), np.array(seqs, np.int64))
        if number in absorbed and spans._recent:
            spans._absorb_recent()
    for one in (spans, _read_again(naive)):
        found, ranges = one.find(np.array(sorted(wanted), np.uint64))
        assert found.tolist() == sorted(wanted & naive.keys())
        for key in wanted & naive.keys():
            assert all(any(low <= at <= high for low, high in ranges) for at in naive[key])


def _read_again(events: dict[int, list[int]]) -> KeySpans:
    """The spans of these events as a store finds them when it is opened, a few events at once."""
    with duckdb.connect() as connection, patch("dropoff.store.spans.AT_ONCE", 5):
        connection.execute("CREATE TABLE event_rows (key UBIGINT, seq BIGINT)")
        if events:
            rows = [(key, at) for key in events for at in events[key]]
            connection.executemany("INSERT INTO event_rows VALUES (?, ?)", rows)
        return KeySpans(connection)


def test_spans_do_not_overlap_and_are_few():
    spans = KeySpans()
    keys = np.arange(200, dtype=np.uint64)
    spans.add(keys, np.arange(200) * 3 * ROW_GROUP)
    _, ranges = spans.find(keys)
    assert len(ranges) <= MAX_SPANS
    assert all(a[1] < b[0] for a, b in pairwise(ranges))


def test_spans_read_from_the_file_are_those_that_were_kept(tmp_path: Path):
    store = world(*(started(conversation_id=f"c{i}") for i in range(20)), directory=tmp_path)
    assert isinstance(store, DuckStore)
    keys = np.array(sorted(key for (key,) in store.select("SELECT key FROM event_rows").rows), np.uint64)
    kept = store._spans.find(keys)
    store.close()
    again = DuckStore(tmp_path / "store.duckdb")
    assert again._spans.find(keys)[1] == kept[1]
    again.close()
