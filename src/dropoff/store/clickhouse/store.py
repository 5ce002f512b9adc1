"""The store itself: what the worker asks and writes, what everybody asks, and the rollups."""

import hashlib
import re
import secrets
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from dropoff.errors import InvalidInput, Unavailable
from dropoff.query import NO_TEST_RULES, TestTraffic
from dropoff.store import sql, tables
from dropoff.store.base import Answer, Change, Part
from dropoff.store.clickhouse.own_sql import check_harmless
from dropoff.store.clickhouse.place import PASSING, TIMEOUT_EXCEEDED, on_cluster, told
from dropoff.store.clickhouse.rows import contacts, conversations, naive, slots, with_instants
from dropoff.store.clickhouse.schema import CELLS, migrate, physical, selected

_KEYS_AT_ONCE = 20_000


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
        try:
            migrate(client, cluster)
            self._make_views(physical() | self.dialect.views(test))
        except BaseException:
            client.close()
            raise

    def _make_views(self, views: Mapping[str, str]) -> None:
        """Put these views in the place of others: they depend on this Dropoff's version and the project's rules."""
        fingerprint = hashlib.sha256(repr(views).encode()).hexdigest()
        if self._noted("views") == fingerprint:
            return
        for name, text in views.items():
            self._command(f"CREATE OR REPLACE VIEW {name}{on_cluster(self._cluster)} AS {text}")
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
        columns = ", ".join(selected(column) for column in tables.EVENTS)
        return self._arrow(f"SELECT {columns} FROM event_log WHERE key IN ({{}})", keys.to_list())

    def related(self, contacts: Sequence[str]) -> pl.DataFrame:
        statement = """SELECT DISTINCT contact_id, key FROM contact_keys WHERE contact_id IN
            (SELECT contact_id FROM contact_keys WHERE live AND contact_id IN ({}))"""
        return self._arrow(statement, [self.dialect.literal(contact) for contact in contacts])

    def _arrow(self, statement: str, values: Sequence[Any]) -> pl.DataFrame:
        """The rows of a statement over a list of values, which may be too long for one."""
        parts = [values[at : at + _KEYS_AT_ONCE] for at in range(0, len(values), _KEYS_AT_ONCE)] or [["NULL"]]
        with told("the store"):
            return pl.concat(
                pl.DataFrame(self._client.query_arrow(statement.format(", ".join(map(str, part))))) for part in parts
            )

    # What the worker writes

    def link(self, links: pl.DataFrame) -> None:
        self._insert("contact_keys", links)

    def append(self, events: pl.DataFrame) -> None:
        self._insert("event_log", with_instants(events.select(tables.names("events")), tables.EVENTS))

    def commit(self, change: Change) -> None:
        self._insert("superseded", pl.DataFrame({"seq": change.superseded}, schema={"seq": pl.Int64}))
        self._keep_rejected(change.rejected)
        if "attributions" in change.rows:
            self._insert("contact_log", contacts(change))
        if "conversations" in change.rows:
            # All quarters of an hour that a conversation ever touched are kept: a crash between its new row and the
            # marks would else forget where the row before had counted.
            touched = slots(change)
            self._insert("conversation_slots", touched)
            self._insert("conversation_log", conversations(change))
            self._mark(touched["key"].unique().to_list())

    def _keep_rejected(self, rejected: pl.DataFrame) -> None:
        """Add refused events. When this store has added enough of them since it last looked, the oldest go."""
        rows = with_instants(rejected, tables.REJECTED)
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
            with told("the store"):
                self._client.insert_arrow(table, rows.to_arrow(compat_level=pl.CompatLevel.oldest()))

    def _command(self, statement: str) -> None:
        with told("the store"):
            self._client.command(statement)

    # What everybody asks

    def select(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Answer:
        with told("the store"):
            return self._answer(sql, parameters)

    def _answer(self, text: str, parameters: Mapping[str, Any] | None = None, **settings: Any) -> Answer:
        values = dict(parameters) if parameters else None
        found = self._client.query(text, parameters=values, settings=settings or None)
        if not found.column_names:  # the engine in this process sends nothing at all where there is no row
            found = self._client.query(f"SELECT * FROM (\n{text}\n) LIMIT 0", parameters=values)
        return Answer(list(found.column_names), [tuple(row) for row in found.result_rows])

    def frame(self, sql: str, parameters: Mapping[str, Any] | None = None) -> pl.DataFrame:
        with told("the store"):
            return naive(self._client.query_arrow(sql, parameters=dict(parameters) if parameters else None))

    def scan(self, parts: Sequence[Part]) -> Iterator[tuple[Part, pl.DataFrame]]:
        with told("the store"):
            for part in parts:
                where = f" WHERE seq > {part.after}" if part.after >= 0 else ""
                text = f"SELECT * FROM {sql.PHYSICAL.get(part.table, part.table)}{where}"
                yield part, naive(self._client.query_arrow(f"{text} LIMIT 0"))
                with self._client.query_arrow_stream(text) as stream:
                    for batch in stream:
                        yield part, naive(batch)

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
            check_harmless(text, [row[0] for row in self._answer(f"EXPLAIN AST {whole}").rows])
            found = self._answer(whole, **limits)
            return Answer(found.columns, found.rows[:rows])
        except DatabaseError as error:
            if error.code == TIMEOUT_EXCEEDED:
                raise InvalidInput("query", text, f"done within {seconds:g} seconds") from None
            if error.code is None or error.code in PASSING:
                raise Unavailable(f"the store does not answer: {error}") from error
            raise InvalidInput("query", text, f"SQL that ClickHouse can run: {_said(error, self.dialect)}") from None

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
        found = rows.group_by("timestamp").agg(pl.col(column.name).alias(f"cells.{column.name}") for column in CELLS)
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
        return f"{table}_local{on_cluster(self._cluster)}" if self._cluster else table

    def close(self) -> None:
        self._client.close()


def _said(error: DatabaseError, dialect: sql.Dialect) -> str:
    """What is wrong with a query: with no table proposed but those that are to be read."""
    return _NO_TABLE.sub(lambda found: f"{found[1]} ({dialect.instead(found[2])}).", str(error))


_NO_TABLE = re.compile(r"(Unknown table expression identifier '([^']*)')(?:\. Maybe you meant[^?]*\?)?")
