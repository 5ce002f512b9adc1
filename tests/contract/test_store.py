"""What every `Store` does, whatever keeps it."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import polars as pl
import pytest

from clickhouse_http import PASSWORD, USER, endpoint
from dropoff.process import fold, frames, steps
from dropoff.process.fold import Rules
from dropoff.process.worker import made_by
from dropoff.store import clickhouse, tables
from dropoff.store.base import Change, SharedStore, Store
from worlds import ENGINES, RECEIVED, Databases, Dict, booked, event, payload, received, retracted, sent, started
from worlds import open_store as open_engine

Open = Callable[[], Store]


@pytest.fixture(scope="session")
def behind_a_socket() -> Iterator[Databases]:
    with endpoint() as address:
        databases = Databases(f"clickhouse://{USER}@{address}/{{}}", PASSWORD)
        yield databases
        databases.close()


@pytest.fixture(params=[*ENGINES, "clickhouse"])
def adapter(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Opens a store in DuckDB, in ClickHouse's engine in this process, or in one behind a socket."""
    if request.param != "clickhouse":
        yield lambda: open_engine(tmp_path, request.param)
        return
    databases: Databases = request.getfixturevalue("behind_a_socket")
    yield lambda: clickhouse.open_store(databases.at(tmp_path), password=PASSWORD)
    databases.take_back(tmp_path)


@pytest.fixture
def open_store(adapter: Open) -> Iterator[Open]:
    """Opens the same store again; close the one before."""
    opened: list[Store] = []

    def open_one() -> Store:
        opened.append(adapter())
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: Open) -> Store:
    return open_store()


@pytest.fixture
def alone(store: Store) -> Store:
    """A store with transactions, which only one worker writes."""
    if store.shared:
        pytest.skip("several workers write this store")
    return store


@pytest.fixture
def shared(store: Store) -> SharedStore:
    """A store that several workers write at once."""
    if not store.shared:
        pytest.skip("only one worker writes this store")
    return cast(SharedStore, store)


def change(store: Store, *events: Dict, offset: int = 1) -> Change:
    """What the worker would commit for these events."""
    work = made_by(store, Rules()).prepare(payload(events))
    refused = pl.DataFrame(schema=frames.frame_schema("rejected_events"))
    return Change(work.events, work.superseded, work.rows, refused, offset, work.versions)


def put(store: Store, *events: Dict, offset: int = 1) -> None:
    store.commit(change(store, *events, offset=offset))


def keys(*owners: str) -> pl.Series:
    events = [event("x", 0, None, contact_id=o[1:]) if o[0] == "p" else started(conversation_id=o[1:]) for o in owners]
    return frames.read_lines(payload(events))["key"].cast(pl.UInt64)


def ids(history: pl.DataFrame) -> list[str]:
    return sorted(history["id"])


def test_a_new_store_is_empty(store: Store):
    assert store.offset() == 0
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


def test_a_commit_replaces_conversations(store: Store):
    put(store, started())
    put(store, sent(at=1))
    assert store.select("SELECT id, message_count, event_count FROM conversations").rows == [("c", 1, 2)]


def test_a_commit_keeps_its_offset(alone: Store):
    put(alone, started(), offset=7)
    assert alone.offset() == 7
    refused = pl.DataFrame(schema=frames.frame_schema("rejected_events"))
    alone.commit(Change.of_nothing(9, refused))
    assert alone.offset() == 9


def test_messages_are_added_or_rewritten(store: Store):
    put(store, sent(at=2, event_id="a"))
    put(store, received(at=3, event_id="b"))
    put(store, sent(at=1, event_id="c"))
    rows = store.select("SELECT event_id, position FROM messages ORDER BY position").rows
    assert rows == [("c", 1), ("a", 2), ("b", 3)]


def test_superseded_events_are_gone(store: Store):
    put(store, booked(event_id="a", revision=0))
    put(store, booked(event_id="a", revision=1, at=9))
    put(store, booked(event_id="a", revision=0, at=7))
    assert store.select("SELECT revision FROM events").rows == [(1,)]
    standing = steps.run(frames.read_lines(payload([booked(event_id="a", revision=0)])), store.history(keys("cc"))).rows
    assert standing["revision"].to_list() == [1]


def test_seq_only_rises(alone: Store):
    assert alone.next_seq() == 0
    put(alone, started(), sent(at=1))
    assert alone.next_seq() == 2
    put(alone, received(at=2))
    assert sorted(alone.history(keys("cc"))["seq"]) == [0, 1, 2]


def test_a_failing_commit_changes_nothing(alone: Store):
    put(alone, started(), sent(at=1))
    before = snapshot(alone)
    good = change(alone, received(at=2), sent(at=0), offset=9)
    bad = good._replace(rejected=pl.DataFrame({"id": ["r"], "wrong": [1]}))
    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever the adapter says of a frame that does not fit
        alone.commit(bad)
    assert snapshot(alone) == before
    alone.commit(good)
    assert alone.offset() == 9
    assert len(alone.history(keys("cc"))) == 4


def snapshot(store: Store) -> list:
    contents = [sorted(map(repr, store.select(f"SELECT * FROM {table}").rows)) for table in tables.TABLES]
    return [*contents, store.offset(), sorted(store.history(keys("cc"))["seq"])]


# Several workers


def test_a_change_may_be_committed_again(shared: SharedStore):
    first = change(shared, started(contact_id="p"), sent(at=1), event("enriched", 2, None, contact_id="p"))
    shared.commit(first)
    before = snapshot(shared)
    shared.commit(first)
    assert snapshot(shared) == before


def test_a_batch_that_died_after_its_events_is_completed_when_it_comes_again(shared: SharedStore):
    batch = [started(contact_id="p"), sent(at=1), booked(at=2, conversation_id=None, contact_id="p")]
    change(shared, *batch)  # its events are stored, its rows are not
    assert shared.select("SELECT count(*) FROM events").rows == [(3,)]
    assert shared.select("SELECT * FROM conversations").rows == []
    put(shared, *batch)
    assert shared.select("SELECT id, event_count FROM conversations").rows == [("c", 3)]
    assert shared.select("SELECT count(*) FROM events").rows == [(3,)]
    assert len(shared.dirty_slots()) == 1


def test_a_contact_without_a_conversation_is_unmatched(store: Store):
    put(store, booked(at=1, conversation_id=None, contact_id="p"))
    found = "SELECT contact_id, conversation_id, attributed_by FROM attributions"
    assert store.select(found).rows == [("p", None, "unmatched")]
    put(store, started(contact_id="p"))
    assert store.select(found).rows == [("p", "c", "latest")]


def test_rows_made_of_fewer_events_never_win(shared: SharedStore):
    early = change(shared, sent(at=1, event_id="a"), event("x", 0, None, contact_id="p"))
    late = change(shared, retracted("a", contact_id="p"), received(at=1))
    shared.commit(late)
    after = snapshot(shared)
    shared.commit(early)
    assert snapshot(shared) == after
    assert shared.select("SELECT sender FROM messages").rows == [("prospect",)]


def test_events_that_two_workers_stored_at_once_count_once(shared: SharedStore):
    rows = frames.read_lines(payload([started(event_id="a"), sent(event_id="b", at=1)]))
    for first in (10, 20):
        shared.append(rows.with_columns(pl.int_range(pl.len()).alias("seq") + first))
    put(shared, received(at=2))
    assert shared.select("SELECT id FROM events ORDER BY timestamp LIMIT 2").rows == [("a",), ("b",)]
    assert shared.select("SELECT event_count FROM conversations").rows == [(3,)]


def test_only_what_a_live_contact_links_is_related(shared: SharedStore):
    links = [("p", 1, False), ("p", 2, True), ("q", 3, False), ("r", 4, True)]
    schema = {"contact_id": pl.String, "key": pl.UInt64, "live": pl.Boolean}
    shared.link(pl.DataFrame(links, schema=schema, orient="row"))
    assert sorted(shared.related(["p", "q", "unknown", "o'clock"]).rows()) == [("p", 1), ("p", 2)]
    assert shared.related([]).is_empty()


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
    put(store, started(conversation_id='\\t{p0:String}%s\n"ü$p0\\'))
    for name in ("c", "d'; DROP TABLE event_rows; --", '\\t{p0:String}%s\n"ü$p0\\'):
        query = f"SELECT id FROM conversations WHERE id = {store.dialect.parameter('id', name)}"
        assert store.select(query, {"id": name}).dicts() == [{"id": name}]
        assert store.select(f"SELECT {store.dialect.literal(name)}").rows == [(name,)]


def test_a_message_shows_its_text(store: Store):
    put(store, sent("<b>Hi</b> \x1b[31m", at=1), received(None, at=2))
    assert store.select("SELECT content FROM messages ORDER BY position").rows == [("<b>Hi</b> \x1b[31m",), (None,)]


def refused(names: str, received_at: int = RECEIVED) -> pl.DataFrame:
    row = {"received_at": received_at, "reason": "malformed", "field": "event", "message": "m", "body": "{"}
    return pl.DataFrame([{"id": name, **row} for name in names], schema=frames.frame_schema("rejected_events"))


def test_refused_events_are_kept_and_can_be_forgotten(store: Store):
    store.commit(Change.of_nothing(1, refused("ab")))
    store.delete_rejected(["a", "unknown"])
    assert store.select("SELECT id, reason FROM rejected_events").rows == [("b", "malformed")]


def test_only_the_latest_refused_events_are_kept(store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tables, "REJECTED_KEPT", 3)
    for offset, names in enumerate(("ab", "cd", "ef", "gh"), 1):
        store.commit(Change.of_nothing(offset, refused(names, RECEIVED + offset)))
        assert len(store.select("SELECT id FROM rejected_events").rows) <= 3
    store.delete_rejected(["h"])
    assert store.select("SELECT id FROM rejected_events ORDER BY id").rows == [("e",), ("g",)]
    store.commit(Change.of_nothing(5, refused("i", RECEIVED + 5)))
    assert store.select("SELECT id FROM rejected_events ORDER BY id").rows == [("e",), ("g",), ("i",)]


def test_the_steps_and_the_fold_take_what_history_gives(store: Store):
    put(store, started(), sent(at=1))
    history = store.history(keys("cc"))
    batch = steps.run(frames.read_lines(payload([received(at=2)])), history)
    assert fold.fold(batch.rows, Rules()).conversations["event_count"].to_list() == [3]


def test_a_frame_holds_what_select_gives(store: Store):
    sql = store.dialect
    text = f"""SELECT {sql.parameter("name", "x'y")} AS name, CAST({sql.literal("2024-01-15 10:00:00.000001")}
        AS {sql.types["instant"]}) AS moment, {sql.list_of(["a", "b"])} AS texts"""
    for rows in (1, 0):
        found = store.frame(f"SELECT * FROM ({text}) one LIMIT {rows}", {"name": "x'y"})
        assert found.columns == ["name", "moment", "texts"]
        assert found["moment"].dtype == pl.Datetime("us")
        assert len(found) == rows
    assert store.frame(text, {"name": "x'y"}).row(0) == (
        "x'y", datetime(2024, 1, 15, 10, microsecond=1, tzinfo=UTC).replace(tzinfo=None), ["a", "b"],
    )  # fmt: skip
