"""Somebody's own SQL: one SELECT, nothing else, over views that leave test traffic out."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dropoff.analyse import own
from dropoff.errors import InvalidInput
from dropoff.query import TestTraffic
from dropoff.store.duckdb import DuckStore
from worlds import given, sent, started


@pytest.fixture
def store() -> Iterator[DuckStore]:
    found = given(started(), sent("hi", at=1), started(conversation_id="t", is_test=True), sent(conversation_id="t"))
    yield found
    found.close()


@pytest.mark.parametrize(
    "text",
    [
        "DELETE FROM event_rows",
        "WITH gone AS (DELETE FROM event_rows RETURNING *) SELECT * FROM gone",
        "SELECT 1; SELECT 2",
        "",
        "SET threads = 1",
        "ATTACH '/tmp/other.db'",
        "COPY event_rows TO '/tmp/out.csv'",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM glob('/*')",
        "INSTALL httpfs",
        "SELECT * FROM store",
        "SELECT nothing FROM nowhere",
        "PRAGMA database_list",
    ],
)
def test_what_is_not_one_harmless_select_is_refused(store: DuckStore, text: str):
    with pytest.raises(InvalidInput, match="query"):
        own.answer(store, text)
    assert store.select("SELECT count(*) FROM event_rows").rows == [(4,)]


def test_a_select_gives_columns_and_rows(store: DuckStore):
    found = own.answer(store, "SELECT id, started_at, 0.10::DECIMAL(9, 2) AS d, path FROM conversations")
    assert found["columns"] == ["id", "started_at", "d", "path"]
    assert found["rows"] == [["c", "2024-01-15T10:00:00Z", "0.10", ["bot"]]]


def test_the_views_leave_test_traffic_out_and_the_others_hold_everything(store: DuckStore):
    for table, real, everything in (("conversations", 1, 2), ("events", 2, 4), ("messages", 1, 2)):
        assert own.answer(store, f"SELECT count(*) FROM {table}")["rows"] == [[real]]
        assert own.answer(store, f"SELECT count(*) FROM {table}_all")["rows"] == [[everything]]


def test_a_rule_for_test_traffic_holds_for_the_past(tmp_path: Path):
    path = tmp_path / "store.duckdb"
    DuckStore(path).close()
    with_rule = DuckStore(path, test=TestTraffic(channels=("fax",), domains=("example.com",)))
    assert "fax" in with_rule.select("SELECT sql FROM duckdb_views() WHERE view_name = 'conversations_all'").rows[0][0]
    with_rule.close()


def test_no_more_than_so_many_rows(store: DuckStore):
    found = own.answer(store, "SELECT * FROM range(20000)")
    assert (len(found["rows"]), found["truncated"]) == (own.ROWS, True)


def test_no_longer_than_so_many_seconds(store: DuckStore):
    with pytest.raises(InvalidInput, match="within"):
        store.query("SELECT count(*) FROM range(10000000000) a, range(1000) b", 0.2, 10)
