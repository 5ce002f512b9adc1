"""Somebody's own SQL: one SELECT, nothing else, over views that leave test traffic out."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dropoff.analyse import own
from dropoff.errors import InvalidInput
from dropoff.query import TestTraffic
from dropoff.store.base import Store
from dropoff.store.duckdb import DuckStore
from worlds import given, sent, started

EVENTS = (started(), sent("hi", at=1), started(conversation_id="t", is_test=True), sent(conversation_id="t"))


@pytest.fixture(scope="module")
def store(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    found = given(*EVENTS, directory=tmp_path_factory.mktemp("own"), engine=engine)
    yield found
    found.close()


HARMFUL = {
    "duckdb": [
        "DELETE FROM event_rows",
        "WITH gone AS (DELETE FROM event_rows RETURNING *) SELECT * FROM gone",
        "SET threads = 1",
        "ATTACH '/tmp/other.db'",
        "COPY event_rows TO '/tmp/out.csv'",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM glob('/*')",
        "INSTALL httpfs",
        "SELECT * FROM store",
        "PRAGMA database_list",
    ],
    "chdb": [
        "DROP TABLE event_log",
        "TRUNCATE TABLE event_log",
        "SELECT 1) ; DROP TABLE event_log; SELECT (1",
        "SELECT 1; DROP TABLE event_log",
        "INSERT INTO progress VALUES ('x', 'y', 1)",
        "ALTER TABLE event_log DELETE WHERE true",
        "SET max_threads = 1",
        "SYSTEM SHUTDOWN",
        "SELECT * FROM events SETTINGS max_execution_time = 0",
        "SELECT * FROM events INTO OUTFILE '/tmp/dropoff.csv'",
        "SELECT * FROM events FORMAT CSV",
        "SELECT * FROM file('/etc/passwd', 'LineAsString')",
        "SELECT file('/etc/passwd')",
        "SELECT id FROM events WHERE id IN (SELECT * FROM file('/etc/passwd', 'LineAsString'))",
        "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')",
        "SELECT * FROM remote('127.0.0.1:1', system.one)",
        "SELECT * FROM executable('true', 'LineAsString', 'x String')",
        "SELECT * FROM system.tables",
        "WITH x AS (SELECT * FROM system.settings) SELECT * FROM x",
        "SELECT 1 IN system.one",
        "SELECT * FROM information_schema.tables",
        "SELECT sleep(1)",
        "SHOW TABLES",
        "EXPLAIN SELECT 1",
    ],
}
NOT_ONE_SELECT = ["SELECT 1; SELECT 2", "", "-- nothing", "SELECT nothing FROM nowhere", "SELEC 1", "SELECT {x:String}"]
BOTH = [(engine, text) for engine in HARMFUL for text in (*HARMFUL[engine], *NOT_ONE_SELECT)]


@pytest.mark.parametrize(("engine", "text"), BOTH, indirect=["engine"], scope="session")
def test_what_is_not_one_harmless_select_is_refused(store: Store, text: str):
    with pytest.raises(InvalidInput, match="query"):
        own.answer(store, text)
    assert store.select("SELECT count(*) FROM event_rows").rows == [(4,)]


@pytest.mark.parametrize(
    "text", ["SELECT 'a;b', 1 -- done; really", " SELECT 1 /* ; */ ", "(SELECT 1)", "SELECT ';' ;"]
)
def test_what_only_looks_like_two_statements_is_one(store: Store, text: str):
    assert len(own.answer(store, text)["rows"]) == 1


def test_a_select_gives_columns_and_rows(store: Store):
    found = own.answer(store, "SELECT id, started_at, CAST('0.10' AS DECIMAL(9, 2)) AS d, path FROM conversations")
    assert found["columns"] == ["id", "started_at", "d", "path"]
    assert found["rows"] == [["c", "2024-01-15T10:00:00Z", "0.10", ["bot"]]]


ZONED = {
    "duckdb": ("started_at AT TIME ZONE 'Europe/Berlin'", "2024-01-15T09:00:00Z"),
    "chdb": ("toTimeZone(started_at, 'Europe/Berlin')", "2024-01-15T10:00:00Z"),
}


def test_an_instant_with_a_zone_is_that_instant(store: Store, engine: str):
    text, instant = ZONED[engine]
    found = own.answer(
        store, f"SELECT 1 AS one, {text} AS at, [{text}] AS ats, now() AS now, id FROM conversations -- ;"
    )
    assert found["columns"] == ["one", "at", "ats", "now", "id"]
    ((one, at, ats, now, name),) = found["rows"]
    assert (one, at, ats, name) == (1, instant, [instant], "c")
    assert now.endswith("Z")


def test_instants_with_a_zone_keep_the_order(store: Store, engine: str):
    zoned = {"duckdb": "to_timestamp(n)", "chdb": "toDateTime(n, 'Asia/Tokyo')"}[engine]
    numbers = {"duckdb": "range(9000) AS given(n)", "chdb": "(SELECT number AS n FROM numbers(9000))"}[engine]
    rows = own.answer(store, f"SELECT {zoned} AS at, n FROM {numbers} ORDER BY n DESC ; -- 'ä'")["rows"]
    assert [n for _, n in rows] == [*range(8999, -1, -1)]
    assert rows[-1][0] == "1970-01-01T00:00:00Z"


@pytest.mark.parametrize(("table", "said"), [("nope", "conversations"), ("convrsations", "conversations")])
def test_only_what_is_to_be_read_is_proposed(store: Store, table: str, said: str):
    with pytest.raises(InvalidInput, match="query") as refused:
        own.answer(store, f"SELECT * FROM {table}")
    told = str(refused.value).partition("must be")[2]
    assert said in told
    for hidden in ("progress", "event_", "system.", "Traceback", "Stack trace"):
        assert hidden not in told


def test_the_views_leave_test_traffic_out_and_the_others_hold_everything(store: Store):
    for table, real, everything in (("conversations", 1, 2), ("events", 2, 4), ("messages", 1, 2)):
        assert own.answer(store, f"SELECT count(*) FROM {table}")["rows"] == [[real]]
        assert own.answer(store, f"SELECT count(*) FROM {table}_all")["rows"] == [[everything]]


def test_a_rule_for_test_traffic_holds_for_the_past(tmp_path: Path):
    path = tmp_path / "store.duckdb"
    DuckStore(path).close()
    with_rule = DuckStore(path, test=TestTraffic(channels=("fax",), domains=("example.com",)))
    assert "fax" in with_rule.select("SELECT sql FROM duckdb_views() WHERE view_name = 'conversations_all'").rows[0][0]
    with_rule.close()


RANGES = {"duckdb": "range({})", "chdb": "numbers({})"}


def test_no_more_than_so_many_rows(store: Store, engine: str):
    found = own.answer(store, f"SELECT * FROM {RANGES[engine].format(20_000)}")
    assert (len(found["rows"]), found["truncated"]) == (own.ROWS, True)


def test_no_longer_than_so_many_seconds(store: Store, engine: str):
    many, some = RANGES[engine].format(10_000_000_000), RANGES[engine].format(1000)
    with pytest.raises(InvalidInput, match="within"):
        store.query(f"SELECT count(*) FROM {many} a, {some} b", 0.5, 10)
