"""What every `Store` does, whatever keeps it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest

from dropoff.process import changes, fold, frames, steps
from dropoff.process.contacts import Contacts
from dropoff.process.fold import Rules
from dropoff.store import tables
from dropoff.store.base import Change, Store
from dropoff.store.duckdb import DuckStore
from worlds import RECEIVED, Dict, booked, event, payload, received, sent, started

ADAPTERS: dict[str, Callable[[Path], Store]] = {
    "duckdb": lambda directory: DuckStore(directory / "store.duckdb"),
}
Open = Callable[[], Store]


@pytest.fixture(params=ADAPTERS)
def adapter(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def open_store(adapter: str, tmp_path: Path) -> Iterator[Open]:
    """Opens the same store again; close the one before."""
    opened: list[Store] = []

    def open_one() -> Store:
        opened.append(ADAPTERS[adapter](tmp_path))
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: Open) -> Store:
    return open_store()


def change(store: Store, *events: Dict, offset: int = 1) -> Change:
    """What the worker would commit for these events."""
    work = changes.prepare(payload(events), store, Contacts(store), Rules())
    refused = pl.DataFrame(schema=frames.frame_schema("rejected_events"))
    return Change(work.events, work.superseded, work.rows, refused, offset)


def put(store: Store, *events: Dict, offset: int = 1) -> None:
    store.commit(change(store, *events, offset=offset))


def keys(*owners: str) -> pl.Series:
    events = [event("x", 0, None, contact_id=o[1:]) if o[0] == "p" else started(conversation_id=o[1:]) for o in owners]
    return frames.read_lines(payload(events))["key"].cast(pl.UInt64)


def ids(history: pl.DataFrame) -> list[str]:
    return sorted(history["id"])


def test_a_new_store_is_empty(store: Store):
    assert (store.offset(), store.next_seq()) == (0, 0)
    assert store.history(keys("cc")).is_empty()
    assert store.history(keys().clear() if len(keys("cc")) else keys("cc")).is_empty()
    for table in tables.TABLES:
        assert store.select(f"SELECT * FROM {table}").rows == []


def test_readers_find_all_columns_of_a_table(store: Store):
    for table in tables.TABLES:
        columns = store.select(f"SELECT * FROM {table}").columns
        assert set(tables.names(table)) <= set(columns)


def test_history_gives_all_events_of_the_keys_and_no_others(store: Store):
    put(store, started(event_id="a"), started(event_id="b", conversation_id="d"))
    put(store, sent(event_id="e"), event("x", 0, None, contact_id="p", event_id="f"), offset=2)
    assert ids(store.history(keys("cc"))) == ["a", "e"]
    assert ids(store.history(keys("cc", "pp", "cunknown"))) == ["a", "e", "f"]


def test_history_gives_events_as_they_were_put(store: Store):
    given = [
        started(event_id="a", company_size=10, direction="inbound", is_test=True, sequence=3, properties={"ü": "\n"}),
        event("contact_identified", 1, contact_id="p", aliases=["q", "r"], event_id="b"),
        event("deal_closed", 2, amount="0.1", currency="EUR", deal_id="d", event_id="c"),
    ]
    put(store, *given)
    expected = frames.read_lines(payload(given)).drop("batch").sort("id")
    found = store.history(keys("cc")).sort("id")
    assert found.columns == tables.names("events")
    assert found.drop("seq").to_dicts() == expected.to_dicts()
    assert found.schema == pl.Schema(frames.frame_schema("events"))


def test_a_commit_replaces_conversations_and_keeps_its_offset(store: Store):
    put(store, started())
    put(store, sent(at=1), offset=7)
    assert store.select("SELECT id, message_count, event_count FROM conversations").rows == [("c", 1, 2)]
    assert store.offset() == 7


def test_an_offset_alone_can_be_committed(store: Store):
    refused = pl.DataFrame(schema=frames.frame_schema("rejected_events"))
    store.commit(Change.of_nothing(5, refused))
    assert store.offset() == 5


def test_messages_are_added_or_rewritten(store: Store):
    put(store, sent(at=2, event_id="a"))
    put(store, received(at=3, event_id="b"))
    put(store, sent(at=1, event_id="c"))
    rows = store.select("SELECT event_id, position FROM messages ORDER BY position").rows
    assert rows == [("c", 1), ("a", 2), ("b", 3)]


def test_superseded_events_are_gone(store: Store):
    put(store, booked(event_id="a", revision=0))
    put(store, booked(event_id="a", revision=1, at=9))
    history = store.history(keys("cc"))
    assert history["revision"].to_list() == [1]
    assert store.select("SELECT count(*) FROM events").rows == [(1,)]


def test_seq_only_rises(store: Store):
    put(store, started(), sent(at=1))
    assert store.next_seq() == 2
    put(store, received(at=2))
    assert sorted(store.history(keys("cc"))["seq"]) == [0, 1, 2]


def test_a_failing_commit_changes_nothing(store: Store):
    put(store, started(), sent(at=1))
    before = snapshot(store)
    good = change(store, received(at=2), sent(at=0), offset=9)
    bad = good._replace(rejected=pl.DataFrame({"id": ["r"], "wrong": [1]}))
    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever the adapter says of a frame that does not fit
        store.commit(bad)
    assert snapshot(store) == before
    store.commit(good)
    assert store.offset() == 9
    assert len(store.history(keys("cc"))) == 4


def snapshot(store: Store) -> list:
    contents = [sorted(map(repr, store.select(f"SELECT * FROM {table}").rows)) for table in tables.TABLES]
    return [*contents, store.offset(), store.next_seq(), sorted(store.history(keys("cc"))["seq"])]


def test_everything_is_there_after_reopening(open_store: Open):
    first = open_store()
    put(first, started(), sent(at=1), offset=3)
    before = snapshot(first)
    first.close()
    first.close()
    second = open_store()
    assert snapshot(second) == before
    put(second, received(at=2), offset=4)
    assert len(second.history(keys("cc"))) == 3


def test_select_takes_named_parameters(store: Store):
    put(store, started(), started(conversation_id="d'; DROP TABLE event_rows; --"))
    query = "SELECT id FROM conversations WHERE id = $id"
    assert store.select(query, {"id": "c"}).rows == [("c",)]
    assert store.select(query, {"id": "d'; DROP TABLE event_rows; --"}).dicts() == [
        {"id": "d'; DROP TABLE event_rows; --"}
    ]


def test_a_message_shows_its_text(store: Store):
    put(store, sent("<b>Hi</b> \x1b[31m", at=1), received(None, at=2))
    assert store.select("SELECT content FROM messages ORDER BY position").rows == [("<b>Hi</b> \x1b[31m",), (None,)]


def test_refused_events_are_kept_and_can_be_forgotten(store: Store):
    row = {"received_at": RECEIVED, "reason": "malformed", "field": "event", "message": "m", "body": "{"}
    refused = pl.DataFrame([{"id": name, **row} for name in "ab"], schema=frames.frame_schema("rejected_events"))
    store.commit(Change.of_nothing(1, refused))
    store.delete_rejected(["a", "unknown"])
    assert store.select("SELECT id, reason FROM rejected_events").rows == [("b", "malformed")]


def test_the_steps_and_the_fold_take_what_history_gives(store: Store):
    put(store, started(), sent(at=1))
    history = store.history(keys("cc"))
    batch = steps.run(frames.read_lines(payload([received(at=2)])), history)
    assert fold.fold(batch.rows, Rules()).conversations["event_count"].to_list() == [3]
