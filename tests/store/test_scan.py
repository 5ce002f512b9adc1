"""A scan gives all rows, in frames, as they were at one moment, and survives its way over a socket."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import polars as pl
import pytest

from dropoff.errors import InvalidInput
from dropoff.process import frames
from dropoff.store import duckdb, stream
from dropoff.store.base import Change, Part, Store
from dropoff.store.duckdb import DuckStore
from dropoff.store.tables import TABLES, names
from worlds import START, booked, given, minute, payload, received, sent, started

EVERYTHING = [Part(table) for table in TABLES]


@pytest.fixture
def store(tmp_path: Path, engine: str) -> Iterator[Store]:
    made = given(started(), sent("hello", at=1), received("hi", at=2), booked(at=3), directory=tmp_path, engine=engine)
    yield made
    made.close()


def of(store: Store, part: Part) -> pl.DataFrame:
    return pl.concat(frame for _, frame in store.scan([part]))


def test_every_table_is_given_even_an_empty_one(store: Store):
    found = {part: frame for part, frame in store.scan(EVERYTHING)}  # noqa: C416 - the last frame of each
    assert list(found) == EVERYTHING
    for table, columns in TABLES.items():
        assert found[Part(table)].columns == [column.name for column in columns]
    assert found[Part("deals")].is_empty()
    assert of(store, Part("conversations"))["started_at"].to_list() == [START.replace(tzinfo=None)]


def test_events_come_in_the_order_of_their_arrival(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = given(started(), sent("hello", at=1), received("hi", at=2), booked(at=3), directory=tmp_path)
    monkeypatch.setattr(duckdb, "ROW_GROUP", 2)
    found = list(store.scan([Part("events")]))
    assert [frame["seq"].to_list() for _, frame in found] == [[0, 1], [2, 3]]
    assert of(store, Part("events", 1))["seq"].to_list() == [2, 3]
    assert of(store, Part("events", 2))["seq"].to_list() == [3]
    assert of(store, Part("events", 99))["seq"].to_list() == []
    store.close()


def test_views_are_as_a_reader_sees_them(store: Store):
    assert sorted(of(store, Part("messages_all"))["content"]) == ["hello", "hi"]
    assert of(store, Part("conversations_all"))["stage"].to_list() == ["booked"]


def test_what_is_committed_meanwhile_is_not_seen(tmp_path: Path):
    first = given(started(), received("hi"), directory=tmp_path)
    first.close()
    store = DuckStore(tmp_path / "store.duckdb")
    scan = store.scan([Part("events"), Part("conversations"), Part("messages")])
    begun = next(scan)[1]
    made = frames.read_lines(payload([received("more", at=5), started(conversation_id="other")]))
    numbered = made.with_columns(pl.int_range(pl.len()).alias("seq") + store.next_seq())
    none = pl.DataFrame(schema=frames.frame_schema("rejected_events"))
    store.commit(Change(numbered.select(names("events")), (), {}, none, 99))
    rest: dict[str, int] = {}
    for part, frame in scan:
        rest[part.table] = rest.get(part.table, 0) + len(frame)
    assert (len(begun), rest) == (2, {"conversations": 1, "messages": 1})
    assert len(of(store, Part("events"))) == 4
    store.close()


def test_an_unfinished_scan_holds_nothing_back(store: Store):
    scan = store.scan(EVERYTHING)
    next(scan)
    del scan  # as where the command line went away
    assert store.select("SELECT count(*) FROM events_all").rows == [(4,)]
    if isinstance(store, DuckStore):
        store.checkpoint()


def test_stored_events_become_the_same_events_again(store: Store):
    made = frames.read_lines(frames.write_lines(of(store, Part("events")))).drop("batch")
    again = of(store, Part("events")).drop("seq").with_columns(pl.col(pl.Datetime).cast(pl.Int64))
    assert made.equals(again.select(made.columns))
    assert again["timestamp"].min() == minute(0)


def test_what_travels_is_what_was_scanned(store: Store):
    parts = [*EVERYTHING, Part("events", 1), Part("messages_all")]
    sent_frames: dict[Part, list[pl.DataFrame]] = {}
    for part, frame in store.scan(parts):
        sent_frames.setdefault(part, []).append(frame)
    came: dict[Part, list[pl.DataFrame]] = {}
    for part, frame in stream.decode(BytesIO(b"".join(stream.encode(store.scan(parts)))), parts):
        came.setdefault(part, []).append(frame)
    assert list(came) == parts
    for part in parts:
        assert pl.concat(came[part]).equals(pl.concat(sent_frames[part])), part


@pytest.mark.parametrize(
    "text", ["event_rows", "progress", "events:x", "events:-1", "", "events; DROP TABLE event_rows"]
)
def test_only_tables_and_views_are_scanned(text: str):
    with pytest.raises(InvalidInput, match="must be one of events, "):
        Part.parse(text)


@pytest.mark.parametrize("part", [Part("events"), Part("events", 0), Part("events", 17), Part("conversations_all")])
def test_a_part_is_read_as_it_was_written(part: Part):
    assert Part.parse(str(part)) == part
