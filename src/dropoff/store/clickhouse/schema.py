"""The schema in ClickHouse: tables that only grow, and the tables of `store.tables` as views over them."""

from collections.abc import Sequence
from string import Template

from clickhouse_connect.driver.client import Client

from dropoff.store import migrations, sql, tables
from dropoff.store.clickhouse.place import on_cluster, quoted
from dropoff.store.tables import OF_CONVERSATIONS, Column

FOLDER = "clickhouse"
"""Where among the migrations those of this engine are."""
MARKS_DAYS = 2
CHILDREN = OF_CONVERSATIONS[1:]
CELLS = tables.HOURLY[1:]


OWNER = dict.fromkeys(CHILDREN, "conversation_id") | {"attributions": "contact_id"}
"""The column that, beside `key`, says whose rows these are."""
_NEVER_NULL = {
    "events": {"seq", "key", "id", "event_type", "timestamp", "received_at", "skew", "stamped", "identity", "revision",
               "is_test", "properties"},
    "conversations": {"key", "id"},
    "rejected_events": {"id", "received_at"},
    "metrics_hourly": {"timestamp", "metric_name", "segment"},
}  # fmt: skip
_WORDS = frozenset(("event_type", "channel", "direction", "sender", "identity", "bot_version", "intent", "variant"))
"""Columns of events with few values."""


def inner(table: str) -> list[Column]:
    return [c for c in tables.TABLES[table] if c.name not in ("key", OWNER[table])]


def _type(table: str, column: Column) -> str:
    kind = sql.CLICKHOUSE.types[column.type]
    nullable = column.name not in _NEVER_NULL.get(table, ()) and column.type != "texts"
    kind = f"Nullable({kind})" if nullable else kind
    return f"LowCardinality({kind})" if table == "events" and column.name in _WORDS else kind


def _columns(table: str) -> list[str]:
    return [f'"{c.name}" {_type(table, c)}' for c in tables.TABLES[table]]


def _lists(table: str, columns: Sequence[Column]) -> list[str]:
    return [f'"{table}.{c.name}" Array({_type(table, c)})' for c in columns]


def create() -> str:
    """The DDL of all tables, with `$` placeholders for what a cluster changes."""
    cells = [f'"cells.{c.name}" Array({_type("metrics_hourly", c)})' for c in CELLS]
    index = "INDEX {0} {0} TYPE bloom_filter(0.01) GRANULARITY 4"
    made = {
        "event_log": (
            [*_columns("events"), index.format("key")],
            "MergeTree PARTITION BY toYYYYMM(timestamp) ORDER BY (timestamp, key)",
        ),
        "superseded": (['"seq" Int64'], "ReplacingMergeTree ORDER BY seq"),
        "contact_keys": (
            ['"contact_id" String', '"key" UInt64', '"live" Bool'],
            "ReplacingMergeTree ORDER BY (contact_id, key, live)",
        ),
        "conversation_log": (
            [
                *_columns("conversations"),
                *(line for table in CHILDREN for line in _lists(table, inner(table))),
                '"version" UInt64',
            ],
            "ReplacingMergeTree(version) ORDER BY (key, id)",
        ),
        "contact_log": (
            [
                '"key" UInt64', '"contact_id" String', *_lists("attributions", inner("attributions")),
                '"version" UInt64',
            ],
            "ReplacingMergeTree(version) ORDER BY (key, contact_id)",
        ),
        "conversation_slots": (
            ['"key" UInt64', "\"slot\" DateTime64(6, 'UTC')"],
            "ReplacingMergeTree ORDER BY (key, slot)",
        ),
        "slot_marks": (
            [
                "\"slot\" DateTime64(6, 'UTC')", '"mark" UInt64', '"done" Bool DEFAULT false',
                '"at" DateTime DEFAULT now()',
            ],
            f"ReplacingMergeTree(done) ORDER BY (slot, mark) TTL at + INTERVAL {MARKS_DAYS} DAY DELETE WHERE done",
        ),
        "hour_log": (
            ["\"timestamp\" DateTime64(6, 'UTC')", '"date" Date32', *cells, '"version" UInt64'],
            "ReplacingMergeTree(version) ORDER BY timestamp",
        ),
        "rejected_log": (
            [*_columns("rejected_events"), '"gone" Bool'],
            "ReplacingMergeTree(gone) PARTITION BY toYYYYMM(received_at) ORDER BY (received_at, id) "
            f"TTL toDateTime(received_at) + INTERVAL {tables.REJECTED_DAYS} DAY",
        ),
        "progress": (
            ['"name" String', '"value" String', '"version" UInt64'],
            "ReplacingMergeTree(version) ORDER BY name",
        ),
    }  # fmt: skip
    return "\n\n".join(_table(name, *parts) for name, parts in made.items()) + "\n"


def _table(name: str, columns: Sequence[str], engine: str) -> str:
    lines = ",\n  ".join(columns)
    return (
        f"CREATE TABLE IF NOT EXISTS {name}${{local}}${{on_cluster}} (\n  {lines}\n)\nENGINE = ${{replicated}}{engine};"
    )


SHARDED_BY = {
    "event_log": "key", "contact_keys": "key", "conversation_log": "key", "contact_log": "key",
    "conversation_slots": "key", "superseded": "cityHash64(seq)", "slot_marks": "cityHash64(slot)",
    "hour_log": "cityHash64(timestamp)", "rejected_log": "cityHash64(id)", "progress": "cityHash64(name)",
}  # fmt: skip
"""On a cluster, by what the rows of a table are spread: all versions of one on one shard."""


def statements(script: str, cluster: str | None) -> list[str]:
    """The statements of a migration, for one server or for a cluster."""
    parts = {"local": "_local", "replicated": "Replicated"} if cluster else {"local": "", "replicated": ""}
    text = Template(script).substitute(parts, on_cluster=on_cluster(cluster))
    bare = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
    return [one.strip() for one in bare.split(";\n") if one.strip(" ;\n")]


def distributed(cluster: str) -> list[str]:
    """The tables through which a cluster is read and written."""
    return [
        f"CREATE TABLE IF NOT EXISTS {name}{on_cluster(cluster)} AS {name}_local "
        f"ENGINE = Distributed({quoted(cluster)}, currentDatabase(), {name}_local, {by})"
        for name, by in SHARDED_BY.items()
    ]


def migrate(client: Client, cluster: str | None = None) -> None:
    """Bring the database to the newest schema; refuse one from a newer Dropoff.

    Every statement may be repeated, and several processes may do so at once.
    """
    replicated = "Replicated" if cluster else ""
    client.command(
        f"""CREATE TABLE IF NOT EXISTS schema_version{on_cluster(cluster)} (
              version UInt32, applied_at DateTime DEFAULT now())
            ENGINE = {replicated}ReplacingMergeTree ORDER BY version"""
    )
    current = int(str(client.command("SELECT max(version) FROM schema_version") or 0).replace("\\N", "0"))
    for version, script in migrations.later(migrations.scripts(FOLDER), current):
        for statement in statements(script, cluster):
            client.command(statement)
        for statement in distributed(cluster) if cluster else ():
            client.command(statement)
        client.command(f"INSERT INTO schema_version (version) VALUES ({version})")


def physical() -> dict[str, str]:
    """The tables of `tables` as views over what is stored: without what was replaced."""
    unfolded = {sql.PHYSICAL[table]: _unfolded(table, "conversation_log", "id") for table in CHILDREN}
    cells = ", ".join(f'"cells.{c.name}" AS "{c.name}"' for c in CELLS)
    return {
        "event_rows": f"SELECT {_list('events')} FROM event_log WHERE seq NOT IN (SELECT seq FROM superseded)",
        "conversation_rows": f"SELECT {_list('conversations')} FROM conversation_log FINAL WHERE event_count > 0",
        **unfolded,
        "attribution_rows": _unfolded("attributions", "contact_log", "contact_id"),
        "dirty_slots": "SELECT DISTINCT slot FROM slot_marks FINAL WHERE NOT done",
        "rejected_rows": f"SELECT {_list('rejected_events')} FROM rejected_log FINAL WHERE NOT gone",
        "metrics_hourly": f"SELECT timestamp, {cells} FROM hour_log FINAL ARRAY JOIN cells",
        "metrics_daily": f"""SELECT date, metric_name, segment,
            multiIf(d IS NULL, toFloat64(n), d <> 0, toFloat64(n) / toFloat64(d), NULL) AS value,
            n AS numerator, d AS denominator
            FROM (SELECT date, metric_name, segment, sum(numerator) AS n, sum(denominator) AS d
                  FROM (SELECT date, {cells} FROM hour_log FINAL ARRAY JOIN cells)
                  GROUP BY date, metric_name, segment)""",
    }


def _list(table: str) -> str:
    return ", ".join(f'"{name}"' for name in tables.names(table))


def _unfolded(table: str, source: str, owner: str) -> str:
    outer = {"key": "owner.key", OWNER[table]: f"owner.{owner}"}
    columns = ", ".join(f'{outer.get(name, f"`{table}.{name}`")} AS "{name}"' for name in tables.names(table))
    return f"SELECT {columns} FROM {source} AS owner FINAL ARRAY JOIN {table}"


def selected(column: Column) -> str:
    """A column of events as the worker takes it: instants as integers of microseconds."""
    return f'toUnixTimestamp64Micro("{column.name}") AS "{column.name}"' if column.type == "instant" else _plain(column)


def _plain(column: Column) -> str:
    return (
        f'CAST("{column.name}" AS {_type("", column)}) AS "{column.name}"'
        if column.name in _WORDS
        else f'"{column.name}"'
    )
