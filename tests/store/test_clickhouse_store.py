"""What is special about the store in ClickHouse."""

import io
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from clickhouse_http import PASSWORD, USER, endpoint
from dropoff.errors import InvalidInput, NewerSchema, Unavailable
from dropoff.process import frames
from dropoff.process.fold import Rules
from dropoff.process.worker import made_by
from dropoff.query import TestTraffic
from dropoff.store import clickhouse, migrations, sql, tables
from dropoff.store.base import Change
from dropoff.store.clickhouse import ClickHouseStore, Place, schema
from dropoff.store.clickhouse.place import DATABASE
from worlds import (
    IN_MEMORY,
    RECEIVED,
    Databases,
    Dict,
    booked,
    event,
    in_memory,
    open_store,
    payload,
    refusals,
    retracted,
    sent,
    started,
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ClickHouseStore]:
    store = open_store(tmp_path, "chdb")
    assert isinstance(store, ClickHouseStore)
    yield store
    store.close()


def put(store: ClickHouseStore, *events: Dict) -> None:
    work = made_by(store, Rules()).prepare(payload(events))
    store.commit(Change(work.events, work.superseded, work.rows, refusals(), 0, work.versions))


# Where it is


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("postgres://h/db", "begins with clickhouse"),
        ("clickhouse://user:hunter2@h/db", "without a password"),
        ("clickhouse://h/db?secure=1", "no other parameters"),
        ("clickhouse://h:port/db", "a URL"),
    ],
)
def test_an_address_that_means_nothing_is_refused(url: str, rule: str):
    with pytest.raises(InvalidInput, match=rule) as refused:
        clickhouse.open_store(url)
    assert "hunter2" not in str(refused.value)


def test_an_address_says_where_and_what():
    place = Place.parse("clickhouses://re%40der@db.example:9440/sales?cluster=big")
    assert (place.host, place.port, place.user, place.database, place.cluster) == (
        "db.example", 9440, "re@der", "sales", "big",
    )  # fmt: skip
    assert Place.parse("clickhouse://h").database == DATABASE
    assert Place.parse("chdb:///var/lib/x?database=y")[4:6] == ("/var/lib/x", "y")


def test_nobody_there_is_unavailable_and_the_driver_is_quiet(monkeypatch):
    said = io.StringIO()
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # as in a process of its own
    monkeypatch.setattr(logging, "lastResort", logging.StreamHandler(said))
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
        clickhouse.open_store("clickhouse://u@127.0.0.1:1/db")
    assert said.getvalue() == ""


def test_a_server_that_goes_away_is_unavailable_and_a_wrong_password_is_told():
    with endpoint() as address:
        url = f"clickhouse://{USER}@{address}/db"
        with pytest.raises(Unavailable, match="Authentication"):
            clickhouse.open_store(url, password="wrong")
        store = clickhouse.open_store(url, password=PASSWORD)
        put(store, started())
        assert store.select("SELECT id FROM conversations").rows == [("c",)]
    with pytest.raises(Unavailable):
        store.select("SELECT 1")
    with pytest.raises(Unavailable):
        store.history(pl.Series("key", [1], pl.UInt64))
    with pytest.raises(Unavailable):
        put(store, sent())
    with pytest.raises(Unavailable):
        store.query("SELECT 1", 1, 1)
    store.close()


# The schema


def test_the_first_migration_is_what_the_tables_say():
    assert migrations.scripts(schema.FOLDER)[0].partition("\n\n")[2] == schema.create()


def test_the_views_have_the_columns_of_the_tables(store: ClickHouseStore):
    types = {"Int64": "int", "UInt64": "uint", "String": "text", "Float64": "float", "Bool": "bool",
             "DateTime64(6, 'UTC')": "instant", "Array(String)": "texts", "Date32": "date",
             "Decimal(38, 6)": "exact"}  # fmt: skip
    for table, columns in tables.TABLES.items():
        found = store.select(f"DESCRIBE TABLE {sql.PHYSICAL[table]}").rows
        bare = [(name, _bare(kind)) for name, kind, *_ in found]
        assert [(name, types[kind]) for name, kind in bare] == [(c.name, c.type) for c in columns], table


def _bare(kind: str) -> str:
    for wrapper in ("LowCardinality(", "Nullable("):
        kind = kind[len(wrapper) : -1] if kind.startswith(wrapper) else kind
    return kind


def test_a_newer_schema_is_refused(store: ClickHouseStore, tmp_path: Path):
    store._command("INSERT INTO schema_version (version) VALUES (999)")
    with pytest.raises(NewerSchema, match="999"):
        open_store(tmp_path, "chdb")


def test_a_cluster_gets_replicated_tables_and_distributed_ones_before_them():
    script = migrations.scripts(schema.FOLDER)[0]
    local, whole = schema.statements(script, "it's"), schema.distributed("it's")
    assert len(local) == len(whole) == len(schema.SHARDED_BY) == len(schema.statements(script, None))
    for statement in local:
        assert statement.startswith("CREATE TABLE IF NOT EXISTS ")
        assert "_local ON CLUSTER `it's` (" in statement
        assert "ENGINE = Replicated" in statement
    for statement, name in zip(whole, schema.SHARDED_BY, strict=True):
        assert f"{name} ON CLUSTER `it's` AS {name}_local ENGINE = Distributed(`it's`" in statement
    assert "$" not in "".join(schema.statements(script, None))


def test_the_statements_of_a_cluster_are_parsed_by_the_engine(store: ClickHouseStore):
    for statement in (*schema.statements(migrations.scripts(schema.FOLDER)[0], "big"), *schema.distributed("big")):
        store.select(f"SELECT formatQuery({sql.CLICKHOUSE.literal(statement)})")


def test_a_changed_rule_for_test_traffic_holds_for_the_past(store: ClickHouseStore, tmp_path: Path):
    put(store, started(channel="fax"))
    assert store.select("SELECT count(*) FROM conversations").rows == [(1,)]
    with_rule = open_store(tmp_path, "chdb", TestTraffic(channels=("fax",)))
    assert with_rule.select("SELECT count(*) FROM conversations").rows == [(0,)]
    assert with_rule.select("SELECT count(*) FROM conversations_all").rows == [(1,)]
    with_rule.close()


# What is kept


def test_what_was_replaced_is_gone_also_after_a_merge(store: ClickHouseStore):
    put(store, started(), sent(at=1, event_id="a"), booked(at=2, event_id="b", revision=0))
    put(store, retracted("a"), booked(at=3, event_id="b", revision=1))

    def rows() -> list[list[tuple]]:
        found = [store.select(f"SELECT * FROM {table}").rows for table in ("events", "messages", "meetings")]
        return [sorted(rows, key=repr) for rows in found]

    before = rows()
    assert [len(rows) for rows in before] == [4, 0, 1]
    for table in schema.SHARDED_BY:
        store._command(f"OPTIMIZE TABLE {table} FINAL")
    assert rows() == before


def test_a_batch_may_bring_the_events_of_many_years(store: ClickHouseStore):
    put(store, *(sent(at=60 * 24 * 31 * month, event_id=f"e{month}") for month in range(115)))
    assert store.select("SELECT message_count FROM conversations").rows == [(115,)]


def test_refused_events_go_after_30_days(store: ClickHouseStore):
    now = round(datetime.now(UTC).timestamp() * 1_000_000)
    row = {"reason": "malformed", "field": "event", "message": "m", "body": "{"}
    ages = {"old": now - timedelta(days=31) // timedelta(microseconds=1), "new": now}
    rejected = pl.DataFrame(
        [{"id": name, "received_at": at, **row} for name, at in ages.items()],
        schema=frames.frame_schema("rejected_events"),
    )
    store.commit(Change.of_nothing(0, rejected))
    store._command("OPTIMIZE TABLE rejected_log FINAL")
    assert store.select("SELECT id FROM rejected_events").rows == [("new",)]


def test_a_refused_event_that_was_forgotten_does_not_come_back(store: ClickHouseStore):
    row = {"id": "a", "received_at": RECEIVED, "reason": "malformed", "field": "event", "message": "m", "body": "{"}
    rejected = pl.DataFrame([row], schema=frames.frame_schema("rejected_events"))
    store.commit(Change.of_nothing(0, rejected))
    store.delete_rejected(["a"])
    store.commit(Change.of_nothing(0, rejected))
    assert store.select("SELECT id FROM rejected_events").rows == []


# The rollups


def test_a_slot_that_becomes_dirty_while_it_is_rolled_up_stays_so(store: ClickHouseStore):
    put(store, started())
    slots = store.dirty_slots()
    put(store, sent(at=1))
    store.forget_slots(slots)
    assert store.dirty_slots() == slots == [datetime(2024, 1, 15, 10, tzinfo=UTC)]
    store.forget_slots(slots)
    assert store.dirty_slots() == []


def hourly(*rows: tuple) -> pl.DataFrame:
    schema = frames.frame_schema("metrics_hourly") | {"timestamp": pl.Datetime("us")}
    return pl.DataFrame(rows, schema=schema, orient="row")


def test_of_two_that_roll_up_one_hour_the_later_wins_and_its_cells_alone_stand(tmp_path: Path):
    first, second = open_store(tmp_path, "chdb"), open_store(tmp_path, "chdb")
    hour = datetime(2024, 1, 15, 10, tzinfo=UTC)
    bare = hour.replace(tzinfo=None)
    first.dirty_slots()
    second.dirty_slots()
    early = hourly((bare, "old", "", 1.0, 1, None), (bare, "leads", "", 1.0, 1, None))
    second.replace_rollups([hour], hourly((bare, "leads", "", 2.0, 2, None)), [hour.date()], "UTC")
    first.replace_rollups([hour], early, [hour.date()], "UTC")
    for table in ("metrics_hourly", "metrics_daily"):
        assert second.select(f"SELECT metric_name, value FROM {table}").rows == [("leads", 2.0)]
    second.dirty_slots()
    second.replace_rollups([hour], hourly(), [hour.date()], "UTC")
    assert first.select("SELECT * FROM metrics_hourly").rows == []
    first.close()
    second.close()


# The databases of the tests


def test_each_directory_has_a_database_of_its_own(tmp_path: Path):
    assert in_memory().at(tmp_path) != in_memory().at(tmp_path / "other")


def counts(store: ClickHouseStore) -> dict[str, int]:
    """Rows of each table."""
    names = [name for (name,) in store.select("SHOW TABLES").rows]
    return {name: store.select(f"SELECT count() FROM {name}").rows[0][0] for name in names}


def test_a_database_that_is_lent_again_is_as_a_new_one(tmp_path: Path):
    databases = Databases(IN_MEMORY)
    address = databases.at(tmp_path)
    store = clickhouse.open_store(address)
    new = counts(store)
    assert {name for name, rows in new.items() if rows} == {"schema_version", "progress"}
    put(store, started(), event("x", 0, None, contact_id="p"))
    store.restart_rollups("a plan")
    assert counts(store) != new
    store.close()
    databases.take_back(tmp_path)
    assert databases.at(tmp_path / "other") == address
    again = clickhouse.open_store(address)
    assert counts(again) == new
    again._command("DROP VIEW events")
    again.close()
    databases.take_back(tmp_path)
    assert databases.at(tmp_path) != address
    databases.close()
