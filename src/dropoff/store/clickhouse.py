"""The store in ClickHouse, for many writers and more than one machine: `clickhouse-connect`, over HTTP or in-process.

There are no transactions, so nothing here needs one:

* Events are only ever added. One that lost to another with its id is named in `superseded`; what counts is a view.
* A conversation with all its messages, turns, meetings and deals is ONE row, and so is an hour of the rollups with all
  its cells: a row is replaced whole, by one of a higher version, or not at all. The tables that readers see unfold it.
* Whatever must not be missed is written before what depends on it, so that a batch that is repeated repairs it.

See docs/adr/0008.
"""

import hashlib
import secrets
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime
from importlib import resources
from importlib.util import find_spec
from string import Template
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

import polars as pl

from dropoff.errors import InvalidInput, NewerSchema, Unavailable
from dropoff.query import NO_TEST_RULES, TestTraffic
from dropoff.store import sql, tables
from dropoff.store.base import Answer, Change, Part
from dropoff.store.tables import OF_CONVERSATIONS, Column

try:
    import clickhouse_connect
    from clickhouse_connect.driver.client import Client
    from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError
except ImportError as error:  # pragma: no cover - the extra is part of the development environment
    raise ImportError("a store in ClickHouse needs an extra: pip install 'dropoff[clickhouse]'") from error

MARKS_DAYS = 2
DATABASE = "dropoff"
_CHILDREN = OF_CONVERSATIONS[1:]
_KEYS_AT_ONCE = 20_000

_UNKNOWN_DATABASE = 81
_PASSING = frozenset(
    (159, 160, 198, 202, 203, 209, 210, 236, 241, 242, 243, 252, 279, 285, 286, 289, 319, 394, 425, 439, 473, 516, 999)
)
"""Codes of errors that are the server's or the network's and not the data's: limits, memory, replicas, logins."""


def open_store(
    url: str, *, password: str | None = None, ca: str | None = None, test: TestTraffic = NO_TEST_RULES
) -> "ClickHouseStore":
    """The store at `clickhouse://user@host:8123/database`, `clickhouses://…` (TLS) or `chdb:///directory`.

    `?cluster=NAME` lays the tables out over a cluster; `?database=NAME` names the database of an in-process store.
    `ca` is a file of certificates to trust. What does not exist yet is created. Raises `InvalidInput` for another URL,
    `Unavailable` where nobody answers or lets us in.
    """
    place = Place.parse(url)
    with _told(place.shown):
        return ClickHouseStore(_connect(place, password, ca), test, place.cluster)


def _connect(place: "Place", password: str | None, ca: str | None) -> Client:
    """A client of the place's database, which is made only where there is none: who may use it may not make one."""
    try:
        return place.connect(password, ca, place.database)
    except DatabaseError as error:
        if error.code != _UNKNOWN_DATABASE:
            raise
    with closing(place.connect(password, ca, database=None)) as first:
        first.command(f"CREATE DATABASE IF NOT EXISTS {_name(place.database)}{place.on_cluster}")
        return place.connect(password, ca, place.database)


class Place(NamedTuple):
    """What a URL says."""

    scheme: str
    host: str
    port: int | None
    user: str | None
    path: str
    database: str
    cluster: str | None
    shown: str

    @classmethod
    def parse(cls, url: str) -> "Place":
        """Raises `InvalidInput`; what it shows of the URL holds no password."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise InvalidInput("store", _without_password(url), "a URL") from None
        options = parse_qs(parts.query)
        shown = _without_password(url)
        if parts.scheme not in ("clickhouse", "clickhouses", "chdb"):
            raise InvalidInput("store", shown, "a URL that begins with clickhouse://, clickhouses:// or chdb://")
        if parts.password:
            raise InvalidInput("store", shown, "without a password: it belongs into the environment or a file")
        unknown = options.keys() - {"cluster", "database"}
        if unknown:
            raise InvalidInput("store", shown, "with no other parameters than cluster and database")
        inside = parts.scheme == "chdb"
        named = options.get("database", [DATABASE if inside else parts.path.strip("/") or DATABASE])[0]
        return cls(
            parts.scheme, parts.hostname or "", port, unquote(parts.username) if parts.username else None,
            parts.path, named, options.get("cluster", [None])[0], shown,
        )  # fmt: skip

    @property
    def on_cluster(self) -> str:
        """What DDL has to say."""
        return f" ON CLUSTER {_name(self.cluster)}" if self.cluster else ""

    def connect(self, password: str | None, ca: str | None, database: str | None) -> Client:
        """A client; without a session of its own, so that several threads may use it."""
        settings = {**sql.CLICKHOUSE.SETTINGS, **_WIDE}
        if self.cluster:
            settings |= _CLUSTER
        if self.scheme == "chdb":
            if find_spec("chdb") is None:
                raise InvalidInput("store", self.shown, "chdb:// where it is installed: pip install chdb")
            path = ":memory:" if self.host == "memory" else self.path
            return clickhouse_connect.get_client(interface="chdb", path=path, database=database, settings=settings)
        secure = self.scheme == "clickhouses"
        return clickhouse_connect.get_client(
            interface="https" if secure else "http", host=self.host, port=self.port or (8443 if secure else 8123),
            username=self.user, password=password or "", database=database or "default", settings=settings,
            ca_cert=ca, autogenerate_session_id=False, compress="lz4", connect_timeout=10, send_receive_timeout=300,
        )  # fmt: skip


_WIDE = {
    # Statements hold the keys of a batch; a batch may bring the events of many months.
    "max_query_size": 1 << 30,
    "max_ast_elements": 10_000_000,
    "max_expanded_ast_elements": 10_000_000,
    "max_partitions_per_insert_block": 0,
}
_CLUSTER = {
    # What a worker has written all workers must see, on whichever replica they read.
    "insert_quorum": "auto",
    "insert_quorum_parallel": 0,
    "select_sequential_consistency": 1,
    "distributed_foreground_insert": 1,
    "distributed_product_mode": "global",
    "distributed_ddl_task_timeout": 180,
}


class ClickHouseStore:
    """The store behind this client, which it owns. See `open_store`."""

    dialect: sql.Dialect = sql.CLICKHOUSE
    shared = True

    def __init__(self, client: Client, test: TestTraffic = NO_TEST_RULES, cluster: str | None = None) -> None:
        self._client = client
        self._cluster = cluster
        self._marks: dict[datetime, list[int]] = {}
        self._asked = 0
        self._unpruned = tables.REJECTED_KEPT  # what others have added is not known: the first time it is looked at
        self._lock = threading.Lock()
        migrate(client, cluster)
        self._make_views(physical() | self.dialect.views(test))

    def _make_views(self, views: Mapping[str, str]) -> None:
        """Put these views in the place of others: they depend on this Dropoff's version and the project's rules."""
        fingerprint = hashlib.sha256(repr(views).encode()).hexdigest()
        if self._noted("views") == fingerprint:
            return
        on_cluster = f" ON CLUSTER {_name(self._cluster)}" if self._cluster else ""
        for name, text in views.items():
            self._command(f"CREATE OR REPLACE VIEW {name}{on_cluster} AS {text}")
        self._note("views", fingerprint)

    def _noted(self, name: str) -> str | None:
        found = self.select(f"SELECT value FROM progress FINAL WHERE name = {self.dialect.literal(name)}").rows
        return found[0][0] if found else None

    def _note(self, name: str, value: str) -> None:
        both = f"{self.dialect.literal(name)}, {self.dialect.literal(value)}"
        self._command(f"INSERT INTO progress SELECT {both}, toUnixTimestamp64Micro(now64(6))")

    # What the worker asks

    def offset(self) -> int:
        return 0  # every write may be repeated, so nothing has to be remembered

    def next_seq(self) -> int:
        # Workers do not know of one another: from a random number on.
        return secrets.randbits(62)

    def history(self, keys: pl.Series) -> pl.DataFrame:
        columns = ", ".join(_out(column) for column in tables.EVENTS)
        return self._arrow(f"SELECT {columns} FROM event_log WHERE key IN ({{}})", keys.to_list())

    def related(self, contacts: Sequence[str]) -> pl.DataFrame:
        statement = """SELECT DISTINCT contact_id, key FROM contact_keys WHERE contact_id IN
            (SELECT contact_id FROM contact_keys WHERE live AND contact_id IN ({}))"""
        return self._arrow(statement, [self.dialect.literal(contact) for contact in contacts])

    def _arrow(self, statement: str, values: Sequence[Any]) -> pl.DataFrame:
        """The rows of a statement over a list of values, which may be too long for one."""
        parts = [values[at : at + _KEYS_AT_ONCE] for at in range(0, len(values), _KEYS_AT_ONCE)] or [["NULL"]]
        with _told("the store"):
            return pl.concat(
                pl.DataFrame(self._client.query_arrow(statement.format(", ".join(map(str, part))))) for part in parts
            )

    # What the worker writes

    def link(self, links: pl.DataFrame) -> None:
        self._insert("contact_keys", links)

    def append(self, events: pl.DataFrame) -> None:
        self._insert("event_log", _with_instants(events.select(tables.names("events")), tables.EVENTS))

    def commit(self, change: Change) -> None:
        self._insert("superseded", pl.DataFrame({"seq": change.superseded}, schema={"seq": pl.Int64}))
        self._keep_rejected(change.rejected)
        if "attributions" in change.rows:
            self._insert("contact_log", _contacts(change))
        if "conversations" in change.rows:
            # All quarters of an hour that a conversation ever touched are kept: a crash between its new row and the
            # marks would else forget where the row before had counted.
            slots = _slots(change)
            self._insert("conversation_slots", slots)
            self._insert("conversation_log", _conversations(change))
            self._mark(slots["key"].unique().to_list())

    def _keep_rejected(self, rejected: pl.DataFrame) -> None:
        """Add refused events. When this store has added enough of them since it last looked, the oldest go."""
        rows = _with_instants(rejected, tables.REJECTED)
        self._insert("rejected_log", rows.with_columns(pl.lit(value=False).alias("gone")))
        self._unpruned += len(rows)
        if len(rows) and self._unpruned >= tables.REJECTED_KEPT // 10:
            self._prune_rejected()
            self._unpruned = 0

    def _prune_rejected(self) -> None:
        order = "ORDER BY received_at DESC, id"
        oldest = self.select(
            f"""SELECT toUnixTimestamp64Micro(received_at), id FROM rejected_rows {order}
                LIMIT 1 OFFSET {tables.REJECTED_KEPT - 1}"""
        ).rows
        for at, name in oldest:
            moment = f"fromUnixTimestamp64Micro({at}, 'UTC')"
            where = f"received_at < {moment} OR (received_at = {moment} AND id > {self.dialect.literal(name)})"
            self._command(f"DELETE FROM {self._local('rejected_log')} WHERE {where}")

    def _mark(self, keys: Sequence[int]) -> None:
        for at in range(0, len(keys), _KEYS_AT_ONCE):
            among = ", ".join(map(str, keys[at : at + _KEYS_AT_ONCE]))
            self._command(
                f"""INSERT INTO slot_marks (slot, mark) SELECT DISTINCT slot, {secrets.randbits(63)}
                    FROM conversation_slots WHERE key IN ({among})"""
            )

    def _insert(self, table: str, rows: pl.DataFrame) -> None:
        if len(rows):
            with _told("the store"):
                self._client.insert_arrow(table, rows.to_arrow(compat_level=pl.CompatLevel.oldest()))

    def _command(self, statement: str) -> None:
        with _told("the store"):
            self._client.command(statement)

    # What everybody asks

    def select(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Answer:
        with _told("the store"):
            return self._answer(sql, parameters)

    def _answer(self, text: str, parameters: Mapping[str, Any] | None = None, **settings: Any) -> Answer:
        values = dict(parameters) if parameters else None
        found = self._client.query(text, parameters=values, settings=settings or None)
        if not found.column_names:  # the engine in this process sends nothing at all where there is no row
            found = self._client.query(f"SELECT * FROM (\n{text}\n) LIMIT 0", parameters=values)
        return Answer(list(found.column_names), [tuple(row) for row in found.result_rows])

    def frame(self, sql: str, parameters: Mapping[str, Any] | None = None) -> pl.DataFrame:
        with _told("the store"):
            return _naive(self._client.query_arrow(sql, parameters=dict(parameters) if parameters else None))

    def scan(self, parts: Sequence[Part]) -> Iterator[tuple[Part, pl.DataFrame]]:
        with _told("the store"):
            for part in parts:
                where = f" WHERE seq > {part.after}" if part.after >= 0 else ""
                text = f"SELECT * FROM {sql.PHYSICAL.get(part.table, part.table)}{where}"
                yield part, _naive(self._client.query_arrow(f"{text} LIMIT 0"))
                with self._client.query_arrow_stream(text) as stream:
                    for batch in stream:
                        yield part, _naive(batch)

    def query(self, text: str, seconds: float, rows: int) -> Answer:
        limits = {
            "max_execution_time": seconds, "max_result_rows": rows, "result_overflow_mode": "break",
            "readonly": 1,
        }  # fmt: skip
        try:
            # Parsed as a value, so that nothing of it runs; what comes back is one statement without comments.
            whole = self._answer(
                f"SELECT formatQuerySingleLine({self.dialect.parameter('text', text)})", {"text": text}
            ).rows[0][0]
            _check_harmless(text, [row[0] for row in self._answer(f"EXPLAIN AST {whole}").rows])
            found = self._answer(whole, **limits)
            return Answer(found.columns, found.rows[:rows])
        except DatabaseError as error:
            if error.code == 159:  # TIMEOUT_EXCEEDED
                raise InvalidInput("query", text, f"done within {seconds:g} seconds") from None
            if error.code is None or error.code in _PASSING:
                raise Unavailable(f"the store does not answer: {error}") from error
            raise InvalidInput("query", text, f"SQL that ClickHouse can run: {error}") from None

    # The rollups

    def dirty_slots(self) -> list[datetime]:
        with self._lock:
            # Read before the facts are, so of two that roll up one hour the one that asked later wins.
            self._asked = self.select("SELECT toUnixTimestamp64Micro(now64(6))").rows[0][0]
            found = self.select("SELECT slot, groupArray(mark) FROM slot_marks FINAL WHERE NOT done GROUP BY slot").rows
            self._marks = {slot.replace(tzinfo=UTC): marks for slot, marks in found}
            return list(self._marks)

    def forget_slots(self, slots: Sequence[datetime]) -> None:
        with self._lock:
            done = [(slot, mark, True) for slot in slots for mark in self._marks.pop(slot, [])]
        self._insert(
            "slot_marks",
            pl.DataFrame(
                done, schema={"slot": pl.Datetime("us", "UTC"), "mark": pl.UInt64, "done": pl.Boolean}, orient="row"
            ),
        )

    def rollup_plan(self) -> str | None:
        return self._noted("rollup_plan")

    def restart_rollups(self, plan: str) -> None:
        self._command(
            f"INSERT INTO slot_marks (slot, mark) SELECT DISTINCT slot, {secrets.randbits(63)} FROM conversation_slots"
        )
        self._command(f"TRUNCATE TABLE {self._local('hour_log')}")
        self._note("rollup_plan", plan)

    def replace_rollups(
        self,
        hours: Sequence[datetime],
        rows: pl.DataFrame,
        days: Sequence[date],  # noqa: ARG002
        zone: str,
    ) -> None:
        """Days are a view over the hours, so `days` needs no care."""
        moments = pl.Series("timestamp", [hour.astimezone(UTC).replace(tzinfo=None) for hour in hours])
        found = rows.group_by("timestamp").agg(pl.col(column.name).alias(f"cells.{column.name}") for column in _CELLS)
        # An hour without any cell takes the place of one that had some, too.
        frame = moments.to_frame().join(found, "timestamp", "left").with_columns(pl.col("^cells.*$").fill_null([]))
        local = pl.col("timestamp").dt.replace_time_zone("UTC")
        self._insert(
            "hour_log",
            frame.select(
                local.alias("timestamp"), local.dt.convert_time_zone(zone).dt.date().alias("date"),
                pl.lit(self._asked, pl.UInt64).alias("version"), pl.col("^cells.*$"),
            ),
        )  # fmt: skip

    def delete_rejected(self, ids: Sequence[str]) -> None:
        if ids:
            names = ", ".join(f'"{column.name}"' for column in tables.REJECTED)
            among = ", ".join(map(self.dialect.literal, ids))
            gone = f"SELECT {names}, true FROM rejected_rows WHERE id IN ({among})"
            self._command(f"INSERT INTO rejected_log ({names}, gone) {gone}")

    def _local(self, table: str) -> str:
        """A table as a statement names it that a Distributed one does not take."""
        return f"{table}_local ON CLUSTER {_name(self._cluster)}" if self._cluster else table

    def close(self) -> None:
        self._client.close()


_CELLS = tables.HOURLY[1:]

# Frames


def _naive(rows: Any) -> pl.DataFrame:
    frame = pl.DataFrame(rows)
    instants = [name for name, kind in frame.schema.items() if isinstance(kind, pl.Datetime)]
    return frame.with_columns(pl.col(instants).dt.replace_time_zone(None).cast(pl.Datetime("us")))


def _with_instants(rows: pl.DataFrame, columns: Iterable[Column]) -> pl.DataFrame:
    instants = [c.name for c in columns if c.type == "instant"]
    return rows.with_columns(pl.col(instants).cast(pl.Datetime("us")).dt.replace_time_zone("UTC"))


def _conversations(change: Change) -> pl.DataFrame:
    """One row for each conversation that was folded, holding all that the fold made of it."""
    whole = _with_instants(change.rows["conversations"].fresh, tables.CONVERSATIONS)
    for table in _CHILDREN:
        whole = whole.join(
            _nested(table, change.rows[table].fresh),
            left_on=["key", "id"], right_on=["key", "conversation_id"], how="left",
        )  # fmt: skip
    lists = [name for name in whole.columns if "." in name]
    versions = change.versions.filter(pl.col("contact_id").is_null()).select("key", "version")
    return whole.with_columns(pl.col(lists).fill_null([])).join(versions, on="key", how="inner")


def _contacts(change: Change) -> pl.DataFrame:
    """One row for each contact with events of its own, holding where they belong."""
    owners = change.versions.filter(pl.col("contact_id").is_not_null())
    found = _nested("attributions", change.rows["attributions"].fresh)
    whole = owners.join(found, on=["key", "contact_id"], how="left")
    return whole.with_columns(pl.col([name for name in whole.columns if "." in name]).fill_null([]))


def _nested(table: str, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of each owner as lists, one for each column."""
    owner, columns = ["key", _OWNER[table]], _inner(table)
    ready = _with_instants(rows, tables.TABLES[table])
    return ready.group_by(owner, maintain_order=True).agg(
        pl.col(column.name).alias(f"{table}.{column.name}") for column in columns
    )


def _slots(change: Change) -> pl.DataFrame:
    """The quarters of an hour in which what each conversation holds is counted."""
    found = [
        rows.fresh.select("key", pl.col(name).cast(pl.Datetime("us", "UTC")).alias("slot"))
        for table, rows in change.rows.items()
        for name in tables.MOMENTS.get(table, ())
    ]
    return pl.concat(found).drop_nulls().with_columns(pl.col("slot").dt.truncate("15m")).unique()


# The schema


_OWNER = dict.fromkeys(_CHILDREN, "conversation_id") | {"attributions": "contact_id"}
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


def _inner(table: str) -> list[Column]:
    return [c for c in tables.TABLES[table] if c.name not in ("key", _OWNER[table])]


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
    cells = [f'"cells.{c.name}" Array({_type("metrics_hourly", c)})' for c in _CELLS]
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
                *(line for table in _CHILDREN for line in _lists(table, _inner(table))),
                '"version" UInt64',
            ],
            "ReplacingMergeTree(version) ORDER BY (key, id)",
        ),
        "contact_log": (
            [
                '"key" UInt64', '"contact_id" String', *_lists("attributions", _inner("attributions")),
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
    on_cluster = f" ON CLUSTER {_name(cluster)}" if cluster else ""
    parts = {"local": "_local", "replicated": "Replicated"} if cluster else {"local": "", "replicated": ""}
    text = Template(script).substitute(parts, on_cluster=on_cluster)
    bare = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
    return [one.strip() for one in bare.split(";\n") if one.strip(" ;\n")]


def distributed(cluster: str) -> list[str]:
    """The tables through which a cluster is read and written."""
    return [
        f"CREATE TABLE IF NOT EXISTS {name} ON CLUSTER {_name(cluster)} AS {name}_local "
        f"ENGINE = Distributed({_name(cluster)}, currentDatabase(), {name}_local, {by})"
        for name, by in SHARDED_BY.items()
    ]


def migrations() -> list[str]:
    """The migration scripts in the order of their numbers."""
    folder = resources.files("dropoff.store") / "migrations" / "clickhouse"
    return [f.read_text() for f in sorted(folder.iterdir(), key=lambda f: f.name) if f.name.endswith(".sql")]


def migrate(client: Client, cluster: str | None = None) -> None:
    """Bring the database to the newest schema; refuse one from a newer Dropoff.

    Every statement may be repeated, and several processes may do so at once.
    """
    on_cluster, replicated = (f" ON CLUSTER {_name(cluster)}", "Replicated") if cluster else ("", "")
    client.command(
        f"""CREATE TABLE IF NOT EXISTS schema_version{on_cluster} (version UInt32, applied_at DateTime DEFAULT now())
            ENGINE = {replicated}ReplacingMergeTree ORDER BY version"""
    )
    current = int(str(client.command("SELECT max(version) FROM schema_version") or 0).replace("\\N", "0"))
    scripts = migrations()
    if current > len(scripts):
        raise NewerSchema(
            f"the data has schema {current}, this Dropoff knows {len(scripts)}: use the Dropoff that wrote it, or newer"
        )
    for version, script in list(enumerate(scripts, 1))[current:]:
        for statement in statements(script, cluster):
            client.command(statement)
        for statement in distributed(cluster) if cluster else ():
            client.command(statement)
        client.command(f"INSERT INTO schema_version (version) VALUES ({version})")


def physical() -> dict[str, str]:
    """The tables of `tables` as views over what is stored: without what was replaced."""
    unfolded = {sql.PHYSICAL[table]: _unfolded(table, "conversation_log", "id") for table in _CHILDREN}
    cells = ", ".join(f'"cells.{c.name}" AS "{c.name}"' for c in _CELLS)
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
    outer = {"key": "owner.key", _OWNER[table]: f"owner.{owner}"}
    columns = ", ".join(f'{outer.get(name, f"`{table}.{name}`")} AS "{name}"' for name in tables.names(table))
    return f"SELECT {columns} FROM {source} AS owner FINAL ARRAY JOIN {table}"


def _out(column: Column) -> str:
    return f'toUnixTimestamp64Micro("{column.name}") AS "{column.name}"' if column.type == "instant" else _plain(column)


def _plain(column: Column) -> str:
    return (
        f'CAST("{column.name}" AS {_type("", column)}) AS "{column.name}"'
        if column.name in _WORDS
        else f'"{column.name}"'
    )


# Somebody's own SQL


_HARMLESS_TABLES = frozenset(("numbers", "zeros", "generate_series", "generateSeries", "values"))
_HARMFUL = ("file", "dict", "joinGet", "catboost", "sleep", "getServer", "getMerge", "filesystem", "executable")
"""Functions that begin so look outside of the database, or do nothing but take time."""


def _check_harmless(text: str, tree: Sequence[str]) -> None:
    """Refuse what is not a SELECT over our own tables. `tree` is the statement as the engine has parsed it."""
    if not tree[0].startswith("SelectWithUnionQuery"):
        raise InvalidInput("query", text, "one SELECT")
    above = ""
    for line in tree:
        word, _, rest = line.strip().partition(" ")
        name = rest.partition(" (")[0]
        if word == "Set" or line.startswith(" Literal"):  # SETTINGS; INTO OUTFILE
            raise InvalidInput("query", text, "a SELECT without SETTINGS and INTO OUTFILE")
        if word == "Function" and above == "TableExpression" and name not in _HARMLESS_TABLES:
            raise InvalidInput("query", text, f"a SELECT from tables, not from {name}()")
        if word == "Function" and name.startswith(_HARMFUL):
            raise InvalidInput("query", text, f"a SELECT without {name}()")
        if (word == "TableIdentifier" and "." in name) or name.lower().startswith(("system.", "information_schema.")):
            raise InvalidInput("query", text, f"a SELECT from the tables of Dropoff, not from {name}")
        above = word


# Errors


@contextmanager
def _told(what: str) -> Iterator[None]:
    """What the server or the network cannot do now is `Unavailable`; what is wrong with a statement stays as it is."""
    try:
        yield
    except ClickHouseError as error:
        code = getattr(error, "code", None)
        if code is None or code in _PASSING:
            raise Unavailable(f"{what} does not answer: {_short(error)}") from error
        raise


def _short(error: Exception) -> str:
    return str(error).splitlines()[0][:500]


def _name(name: str) -> str:
    """An identifier as SQL."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def _without_password(url: str) -> str:
    head, at, tail = url.rpartition("@")
    scheme, _, user = head.partition("://")
    return f"{scheme}://{user.partition(':')[0]}@{tail}" if at else url
