"""The embedded store: one DuckDB file, one process, no index and no key."""

import re
import shutil
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl

from dropoff.errors import InvalidInput, StoreBusy, Unavailable
from dropoff.query import NO_TEST_RULES, TestTraffic
from dropoff.store import migrations, sql, tables
from dropoff.store.base import Answer, Change, Part, Rows
from dropoff.store.room import Room, furnish, reading
from dropoff.store.spans import ROW_GROUP, KeySpans

_SCANNED = 65_536
_FRAMED = 1_000_000
_SCANNED_LARGE = 2_048  # of refused events, which may have 32 kB each

_AT_PLACES = "rowid IN ({})"
"""With a condition on anything else all columns of a row group are read, however few of its rows meet it: many columns
of few rows are asked for by where they are."""

_CONFIG = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    # Nobody's SQL reaches files, the network or this process.
    "enable_external_access": "false",
    "python_enable_replacements": "false",
    # A checkpoint inside a commit would cost it 0.4 s; the WAL is replayed at start.
    "checkpoint_threshold": "256MB",
    "preserve_insertion_order": "false",
}


_PASSING = (duckdb.IOException, duckdb.OutOfMemoryException, duckdb.TransactionException, duckdb.FatalException)


class DuckStore:
    """The store in the DuckDB file `path`, which takes `memory_limit`, or what `room` says. Raises `StoreBusy` while
    another process holds it."""

    dialect: sql.Dialect = sql.DUCKDB
    shared = False

    def __init__(self, path: Path, memory_limit: str | None = None, test: TestTraffic = NO_TEST_RULES) -> None:
        try:
            self._connection = duckdb.connect(str(path), config=dict(_CONFIG))
        except duckdb.IOException as error:
            if "lock" in str(error).lower():
                raise StoreBusy(f"{path} is held by another process") from None
            raise Unavailable(f"{path} cannot be opened: {error}") from error
        self._local = threading.local()
        self._touched: set[datetime] = set()
        self._room = Room()
        try:
            with _told("opened"):
                furnish(self._connection, path, memory_limit)
                self._prepare(test)
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self, test: TestTraffic) -> None:
        migrate(self._connection)
        for name, text in self.dialect.views(test).items():
            self._connection.execute(f"CREATE OR REPLACE VIEW {name} AS {text}")
        self._writer = self._connection.cursor()
        self._spans = KeySpans(self._writer)
        self._next_seq = _one(self._writer, "SELECT coalesce(max(seq) + 1, 0) FROM event_rows")

    def offset(self) -> int:
        with _told("read"):
            return _one(self._writer, "SELECT max(queue_offset) FROM progress")

    def next_seq(self) -> int:
        return self._next_seq

    def history(self, keys: pl.Series) -> pl.DataFrame:
        wanted, spans = self._spans.find(keys.to_numpy())
        columns = ", ".join(_out(column) for column in tables.EVENTS)
        where = " OR ".join(f"seq BETWEEN {low} AND {high}" for low, high in spans) or "false"
        with _told("read"):
            self._writer.register("wanted", pl.DataFrame({"key": wanted}).to_arrow())
            places = f"SELECT rowid FROM event_rows SEMI JOIN wanted USING (key) WHERE {where}"
            found = self._writer.sql(f"SELECT {columns} FROM event_rows WHERE {_AT_PLACES.format(places)}")
            return pl.DataFrame(found.to_arrow_table())

    def conversations_of(self, contacts: Sequence[str]) -> pl.Series:
        statement = "SELECT DISTINCT key FROM conversation_rows WHERE list_contains($1, contact_id)"
        with _told("read"):
            found = self._writer.execute(statement, [list(contacts)]).fetchall()
        return pl.Series("key", [row[0] for row in found], pl.UInt64)

    def contact_events(self, types: Sequence[str]) -> pl.DataFrame:
        columns = ", ".join(_out(column) for column in tables.EVENTS)
        places = "SELECT rowid FROM event_rows WHERE list_contains($1, event_type)"
        statement = f"SELECT {columns} FROM event_rows WHERE {_AT_PLACES.format(places)}"
        with _told("read"):
            return pl.DataFrame(self._writer.sql(statement, params=[list(types)]).to_arrow_table())

    def loose_contacts(self) -> set[str]:
        statement = "SELECT DISTINCT contact_id FROM event_rows WHERE conversation_id IS NULL"
        with _told("read"):
            return {row[0] for row in self._writer.execute(statement).fetchall()}

    def commit(self, change: Change) -> None:
        self._touched.clear()
        with self._transaction():
            self._apply(change)
        if len(change.events):
            self._spans.add(change.events["key"].to_numpy(), change.events["seq"].to_numpy())
            self._next_seq += len(change.events)

    def _apply(self, change: Change) -> None:
        if change.superseded:
            self._writer.execute("DELETE FROM event_rows WHERE list_contains($1, seq)", [list(change.superseded)])
        for table, rows in change.rows.items():
            self._delete(table, rows)
            self._insert(table, rows.fresh)
        self._insert("events", change.events)
        if len(change.rejected):
            # A batch that is handed out again brings the same ids.
            ids = [change.rejected["id"].to_list()]
            self._writer.execute("DELETE FROM rejected_rows WHERE id IN (SELECT unnest($1))", ids)
            self._insert("rejected_events", change.rejected)
            self._prune_rejected()
        self._keep_marks()
        self._writer.execute("UPDATE progress SET queue_offset = $1", [change.offset])

    def _delete(self, table: str, rows: Rows) -> None:
        if not len(rows.gone):
            return
        name, moments = sql.PHYSICAL[table], tables.MOMENTS.get(table, [])
        bound = "true" if rows.since is None else f"timestamp >= make_timestamp({rows.since})"
        self._writer.register("gone", rows.gone.to_frame("key").to_arrow())
        # RETURNING would read every column of the table.
        columns = ", ".join(["rowid AS place", *moments])
        self._writer.execute(f"SELECT {columns} FROM {name} SEMI JOIN gone USING (key) WHERE {bound}")
        found = self._writer.fetchnumpy()
        if not len(found["place"]):
            return
        self._writer.register("places", pl.DataFrame({"place": np.asarray(found["place"])}).to_arrow())
        self._writer.execute(f"DELETE FROM {name} WHERE {_AT_PLACES.format('SELECT place FROM places')}")
        for moment in moments:
            self._mark(pl.Series(np.ma.compressed(found[moment])))

    def _mark(self, moments: pl.Series) -> None:
        """Note the quarters of an hour whose numbers may change: in every zone hours begin on one."""
        self._touched.update(moments.cast(pl.Datetime("us")).drop_nulls().dt.truncate("15m").unique())

    def _keep_marks(self) -> None:
        if self._touched:
            slots = pl.DataFrame({"slot": list(self._touched)}, schema={"slot": pl.Datetime("us")})
            self._writer.register("slots", slots.to_arrow())
            self._writer.execute("INSERT INTO dirty_slots SELECT slot FROM slots ANTI JOIN dirty_slots USING (slot)")

    def _insert(self, table: str, rows: pl.DataFrame) -> None:
        if len(rows):
            columns = tables.TABLES[table]
            instants = [c.name for c in columns if c.type == "instant"]
            ready = rows.select(c.name for c in columns).with_columns(pl.col(instants).cast(pl.Datetime("us")))
            self._writer.register("fresh", ready.to_arrow(compat_level=pl.CompatLevel.newest()))
            self._writer.execute(f"INSERT INTO {sql.PHYSICAL[table]} SELECT * FROM fresh")
            for name in tables.MOMENTS.get(table, ()):
                self._mark(ready[name])

    def _prune_rejected(self) -> None:
        newest, count = self._writer.execute("SELECT max(received_at), count(*) FROM rejected_rows").fetchall()[0]
        old = newest - timedelta(days=tables.REJECTED_DAYS)
        self._writer.execute("DELETE FROM rejected_rows WHERE received_at < $1", [old])
        if count > tables.REJECTED_KEPT:
            self._writer.execute(
                "DELETE FROM rejected_rows WHERE id NOT IN "
                f"(SELECT id FROM rejected_rows ORDER BY received_at DESC, id LIMIT {tables.REJECTED_KEPT})"
            )

    def select(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Answer:
        def answer() -> Answer:
            cursor = self._cursor()
            cursor.execute(sql, dict(parameters) if parameters else None)
            rows = cursor.fetchall()
            return Answer([column[0] for column in cursor.description or ()], rows)

        with _told("read"):
            return self._room.run(answer)

    def frame(self, sql: str, parameters: Mapping[str, Any] | None = None) -> pl.DataFrame:
        def answer() -> pl.DataFrame:
            found = self._cursor().sql(sql, params=dict(parameters) if parameters else None)
            # Read as it comes: a table would first be held a second time by the engine.
            with reading():
                return pl.DataFrame(found.to_arrow_reader(_FRAMED))

        with _told("read"):
            return self._room.run(answer)

    def scan(self, parts: Sequence[Part]) -> Iterator[tuple[Part, pl.DataFrame]]:
        with _told("read"), closing(self._connection.cursor()) as cursor:
            cursor.execute("BEGIN TRANSACTION READ ONLY")
            for part in parts:
                frames = _stored_events(cursor, part.after) if part.table == "events" else _rows(cursor, part.table)
                for frame in frames:
                    yield part, frame

    def query(self, text: str, seconds: float, rows: int) -> Answer:
        with _told("read"):
            return self._room.run(lambda: self._query(text, seconds, rows))

    def _query(self, text: str, seconds: float, rows: int) -> Answer:
        cursor = self._connection.cursor()
        timer = threading.Timer(seconds, cursor.interrupt)
        try:
            statements = cursor.extract_statements(text)
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                raise InvalidInput("query", text, "one SELECT")
            cursor.execute("SET TimeZone = 'UTC'")  # else an instant without a zone is read in that of the machine
            # The parser takes a DELETE inside a WITH for a SELECT; the transaction does not.
            cursor.execute("BEGIN TRANSACTION READ ONLY")
            timer.start()
            cursor.execute(statements[0])
            columns = [(name, str(kind)) for name, kind, *_ in cursor.description or ()]
            names, kinds = [name for name, _ in columns], [kind for _, kind in columns]
            if any(_ZONED in kind for kind in kinds):
                cursor.abort()
                return Answer(
                    names, _in_utc(cursor.sql(_without_end(statements[0].query)), kinds).limit(rows).fetchall()
                )
            return Answer(names, cursor.fetchmany(rows))
        except duckdb.InterruptException:
            raise InvalidInput("query", text, f"done within {seconds:g} seconds") from None
        except duckdb.OutOfMemoryException:
            raise
        except duckdb.Error as error:
            said = _said(error, self.dialect)
            raise InvalidInput("query", text, f"SQL that DuckDB can run: {said}") from None
        finally:
            timer.cancel()
            cursor.close()

    def dirty_slots(self) -> list[datetime]:
        with _told("read"):
            rows = self._writer.execute("SELECT slot FROM dirty_slots").fetchall()
        return [slot.replace(tzinfo=UTC) for (slot,) in rows]

    def forget_slots(self, slots: Sequence[datetime]) -> None:
        with _told("written"):
            self._writer.execute("DELETE FROM dirty_slots WHERE list_contains($1, slot)", [_naive(slots)])

    def rollup_plan(self) -> str | None:
        with _told("read"):
            return _one(self._writer, "SELECT max(rollup_plan) FROM progress")

    def restart_rollups(self, plan: str) -> None:
        moments = " UNION ALL ".join(
            f"SELECT {name} AS moment FROM {sql.PHYSICAL[table]}"
            for table, names in tables.MOMENTS.items()
            for name in names
        )
        with self._transaction():
            for table in ("metrics_hourly", "metrics_daily", "dirty_slots"):
                self._writer.execute(f"DELETE FROM {table}")
            self._writer.execute(
                f"""INSERT INTO dirty_slots SELECT DISTINCT time_bucket(INTERVAL 15 MINUTE, moment)
                    FROM ({moments}) WHERE moment IS NOT NULL"""
            )
            self._writer.execute("UPDATE progress SET rollup_plan = $1", [plan])

    def replace_rollups(self, hours: Sequence[datetime], rows: pl.DataFrame, days: Sequence[date], zone: str) -> None:
        day = self.dialect.local_date("day", "timestamp", zone)
        with self._transaction():
            self._writer.execute("DELETE FROM metrics_hourly WHERE list_contains($1, timestamp)", [_naive(hours)])
            self._writer.execute("DELETE FROM metrics_daily WHERE list_contains($1, date)", [list(days)])
            self._insert("metrics_hourly", rows)
            self._writer.execute(
                f"""INSERT INTO metrics_daily
                    SELECT day, metric_name, segment,
                      CASE WHEN d IS NULL THEN n::DOUBLE WHEN d <> 0 THEN n::DOUBLE / d::DOUBLE END, n, d
                    FROM (SELECT {day} AS day, metric_name, segment, sum(numerator) AS n, sum(denominator) AS d
                          FROM metrics_hourly WHERE list_contains($1, {day}) GROUP BY ALL)""",
                [list(days)],
            )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with _told("written"):
            self._writer.begin()
            try:
                yield
                self._writer.commit()
            except BaseException:
                _roll_back(self._writer)
                raise

    def delete_rejected(self, ids: Sequence[str]) -> None:
        with _told("written"):
            self._cursor().execute("DELETE FROM rejected_rows WHERE list_contains($1, id)", [list(ids)])

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        # A cursor is a connection of its own to the same file, and must not be shared by threads.
        if not hasattr(self._local, "cursor"):
            self._local.cursor = self._connection.cursor()
        return self._local.cursor

    def checkpoint(self) -> None:
        """Write the WAL into the file."""
        self._connection.execute("CHECKPOINT")

    def close(self) -> None:
        self._connection.close()


class PassingStore(DuckStore):
    """A store of what can be made again. Its directory goes with it: when it is closed, or nobody has it any more."""

    def __init__(self, directory: Path, memory_limit: str, test: TestTraffic = NO_TEST_RULES) -> None:
        super().__init__(directory / "store.duckdb", memory_limit, test)
        self._writer.execute("PRAGMA disable_checkpoint_on_shutdown")
        self._goes = weakref.finalize(self, _discard, directory, self._writer, self._connection)

    def close(self) -> None:
        self._goes()


def _discard(directory: Path, *connections: duckdb.DuckDBPyConnection) -> None:
    for connection in connections:
        connection.close()
    shutil.rmtree(directory, ignore_errors=True)


def migrate(connection: duckdb.DuckDBPyConnection) -> None:
    """Bring the file to the newest schema, one numbered file at a time; refuse one from a newer Dropoff."""
    connection.execute("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER, applied_at TIMESTAMP)")
    current = _one(connection, "SELECT coalesce(max(version), 0) FROM schema_version")
    for version, script in migrations.later(migrations.scripts(), current):
        connection.begin()
        connection.execute(script)
        connection.execute("INSERT INTO schema_version VALUES ($1, current_timestamp::TIMESTAMP)", [version])
        connection.commit()


def _stored_events(cursor: duckdb.DuckDBPyConnection, after: int) -> Iterator[pl.DataFrame]:
    """The events after a `seq`, in order: row group by row group, so that nothing large is sorted."""
    table = sql.PHYSICAL["events"]
    first, last = cursor.execute(f"SELECT min(seq), max(seq) FROM {table} WHERE seq > $1", [after]).fetchall()[0]
    if first is None:
        yield pl.DataFrame(cursor.sql(f"SELECT * FROM {table} WHERE false").to_arrow_table())
        return
    for group in range(first // ROW_GROUP, last // ROW_GROUP + 1):
        low, high = max(after + 1, group * ROW_GROUP), (group + 1) * ROW_GROUP - 1
        found = cursor.sql(f"SELECT * FROM {table} WHERE seq BETWEEN {low} AND {high} ORDER BY seq")
        yield pl.DataFrame(found.to_arrow_table())


def _rows(cursor: duckdb.DuckDBPyConnection, table: str) -> Iterator[pl.DataFrame]:
    """All rows of a table or view, as they come; a relation's reader streams, where a cursor's makes a copy of all."""
    size = _SCANNED_LARGE if table == "rejected_events" else _SCANNED
    reader = cursor.sql(f"SELECT * FROM {sql.PHYSICAL.get(table, table)}").to_arrow_reader(size)
    yield pl.DataFrame(reader.schema.empty_table())
    for batch in reader:
        yield pl.DataFrame(batch)


def _out(column: tables.Column) -> str:
    return f'epoch_us("{column.name}") AS "{column.name}"' if column.type == "instant" else f'"{column.name}"'


def _in_utc(query: duckdb.DuckDBPyRelation, kinds: Sequence[str]) -> duckdb.DuckDBPyRelation:
    """The query with instants as those of all other columns are: without a zone, in UTC. Python is given no others
    without a package of zones."""
    shown = [
        f"#{place}::{kind.replace(_ZONED, 'TIMESTAMP')}" if _ZONED in kind else f"#{place}"
        for place, kind in enumerate(kinds, 1)
    ]
    return query.project(", ".join(shown))


def _without_end(query: str) -> str:
    """One statement without its semicolon and the comments behind it, which no relation takes."""
    text = query.strip("; \t\r\n").encode()
    ends = (at for at, kind in duckdb.tokenize(text.decode()) if kind == duckdb.token_type.operator)
    return text[: next((at for at in ends if text[at : at + 1] == b";"), None)].decode()


def _said(error: duckdb.Error, dialect: sql.Dialect) -> str:
    """What is wrong with a query: without a traceback, and with no table proposed but those that are to be read."""
    said = str(error).partition("\nTraceback ")[0]
    if unknown := _NO_TABLE.search(said):
        rest = _HINT.sub("", said[unknown.end() :])
        return f"{said[: unknown.end()]} ({dialect.instead(unknown['name'])}){rest}"
    return said


_ZONED = "TIMESTAMP WITH TIME ZONE"
_NO_TABLE = re.compile(r"Table with name (?P<name>\S+) does not exist!")
_HINT = re.compile(r"\nDid you mean [^\n]*\?")


def _one(connection: duckdb.DuckDBPyConnection, query: str) -> Any:
    return connection.execute(query).fetchall()[0][0]


def _naive(moments: Sequence[datetime]) -> list[datetime]:
    return [moment.astimezone(UTC).replace(tzinfo=None) for moment in moments]


@contextmanager
def _told(what: str) -> Iterator[None]:
    """What is the machine's fault and not the data's is `Unavailable`; any other error stays as it is."""
    try:
        yield
    except _PASSING as error:
        raise Unavailable(f"the store cannot be {what}: {error}") from error


def _roll_back(connection: duckdb.DuckDBPyConnection) -> None:
    # The failed statement may have ended the transaction already, and the error may have ended the database.
    with suppress(duckdb.TransactionException, duckdb.FatalException):
        connection.rollback()
