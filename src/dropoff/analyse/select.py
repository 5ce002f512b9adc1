"""From a `Query` to the rows it speaks of: the one place where filters become SQL."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl

from dropoff.errors import InvalidInput
from dropoff.periods import Period, last_days
from dropoff.query import MULTIPLE, NO_TEST_RULES, NONE, PROPERTY, REST, TIMES, TOP, Query, TestTraffic, Where
from dropoff.store.base import Store
from dropoff.store.sql import OF_MESSAGES, PHYSICAL, STAGES, Dialect


@dataclass(slots=True)
class Clause:
    """SQL in the making: the dialect in which it is written, and the values of its parameters."""

    sql: Dialect
    parameters: dict[str, Any] = field(default_factory=dict)

    def add(self, value: Any) -> str:
        """A parameter holding `value`, as it stands in the text."""
        name = f"p{len(self.parameters)}"
        self.parameters[name] = value
        return self.sql.parameter(name, value)


def conversations(
    query: Query, clause: Clause, *, started: bool = True, bounded: bool = True, named: bool = True,
    each: Sequence[str] = (),
) -> str:  # fmt: skip
    """The conversations of a query with all their facts, as a subquery; `segment` is the value of its `by`.

    Test traffic is out unless asked for. Without `started` it is those of all time. `bounded`: the rarer values of
    many are taken together. `named`: those of each of the query's named segments, else all of them. `each`: in place
    of a value `segment` is the list of the values of all these dimensions.
    """
    source = clause.sql.derived(clause.add(naive(query.now)), query.test)
    conditions = [] if query.include_test else ["NOT is_test"]
    if started:
        conditions.append(in_period("started_at", query.period, clause))
    conditions += [condition(where, query, clause) for where in query.where]
    whole = _with_properties(source, query, clause)
    segment = _segment(query, clause.sql) if named else "''"
    if each:
        segment = f"[{', '.join(dimension(clause.sql, name, query.period.timezone) for name in each)}]"
    rows = f"SELECT *, {segment} AS segment FROM ({whole}) WHERE {' AND '.join(conditions) or 'true'}"
    if query.segments and named:
        return f"(SELECT * FROM ({rows}) WHERE {_belongs(query, clause)})"
    return f"({_bounded(rows, query, clause)})" if query.by is not None and bounded else f"({rows})"


def _with_properties(source: str, query: Query, clause: Clause) -> str:
    """The conversations with those properties that the query filters or splits by."""
    conditions = (*query.where, *(where for segment in query.segments for where in segment.where))
    names = [name for name in (*(w.dimension for w in conditions), query.by or "") if name.startswith(PROPERTY)]
    for i, name in enumerate(dict.fromkeys(names)):
        values = clause.sql.properties(name.removeprefix(PROPERTY))
        source = f"""SELECT c{i}.*, p{i}.value AS "{_column(name)}" FROM ({source}) c{i}
            LEFT JOIN {values} p{i} ON p{i}.of_key = c{i}.key AND p{i}.of_id = c{i}.id"""
    return source


def check_properties(store: Store, query: Query) -> None:
    """Refuse a filter by a property that only messages have: it looks at all events, so ask where nothing was found."""
    for where in query.where:
        name = where.dimension.removeprefix(PROPERTY)
        if name == where.dimension or _has_event_with(store, name, "NOT IN"):
            continue
        if _has_event_with(store, name, "IN"):
            rule = f"of a property of events that are no messages: only messages have {name!r}"
            raise InvalidInput("where", f"{where.dimension}={where.values[0]}", rule)


def _has_event_with(store: Store, name: str, of_messages: str) -> bool:
    known = f"event_type {of_messages} {OF_MESSAGES} AND {store.dialect.property_text(name)} IS NOT NULL"
    return bool(store.select(f"SELECT 1 FROM {PHYSICAL['events']} WHERE {known} LIMIT 1").rows)


def _bounded(rows: str, query: Query, clause: Clause) -> str:
    """The same with the rarer values of many taken together: those that fewer conversations of the period have.

    A conversation with two of the rarer values is there once.
    """
    return f"""WITH found AS ({rows}),
      top AS (
        SELECT segment FROM found GROUP BY segment
        ORDER BY count(*) FILTER (WHERE {in_period("started_at", query.period, clause)}) DESC, count(*) DESC, segment
        LIMIT {TOP})
      SELECT {"DISTINCT ON (key, id, segment)" if query.by in MULTIPLE else ""} * FROM (
        SELECT * REPLACE (CASE WHEN segment IN (SELECT segment FROM top) THEN segment ELSE '{REST}' END AS segment)
        FROM found)"""


def _segment(query: Query, sql: Dialect) -> str:
    if query.segments:
        return sql.each(sql.list_of(segment.name for segment in query.segments))
    if query.by is None:
        return "''"
    if query.by in MULTIPLE:
        return sql.each(sql.several(LISTS[query.by], NONE))
    return dimension(sql, query.by, query.period.timezone)


def _belongs(query: Query, clause: Clause) -> str:
    """Whether a row lies in the named segment whose name it has."""
    cases = (f"WHEN {clause.sql.literal(one.name)} THEN {inside(one.where, query, clause)}" for one in query.segments)
    return f"CASE segment {' '.join(cases)} ELSE false END"


def inside(wheres: Sequence[Where], query: Query, clause: Clause) -> str:
    """Whether a conversation satisfies all of these."""
    return "(" + (" AND ".join(condition(where, query, clause) for where in wheres) or "true") + ")"


def condition(where: Where, query: Query, clause: Clause) -> str:
    """Whether a conversation has one of the values."""
    values = [clause.add(value) for value in where.values]
    if where.dimension in MULTIPLE:
        return clause.sql.one_of_list(LISTS[where.dimension], values, NONE)
    return f"{dimension(clause.sql, where.dimension, query.period.timezone)} IN ({', '.join(values)})"


LISTS = {"objection": "objections_raised"}
"""The column of each dimension of which a conversation can have several values."""


def dimension(sql: Dialect, name: str, zone: str = "UTC") -> str:
    """A dimension with one value as SQL; missing is a value of its own."""
    if name in TIMES:
        return sql.local_part(name, "started_at", zone)
    return f"""coalesce("{_column(name)}", '{NONE}')"""


def _column(name: str) -> str:
    return name.replace('"', '""')


def in_period(column: str, period: Period, clause: Clause) -> str:
    """Whether an instant lies in a period."""
    return f"({column} >= {clause.add(naive(period.start))} AND {column} < {clause.add(naive(period.end))})"


def naive(moment: datetime) -> datetime:
    """The store's form of an instant: UTC without saying so."""
    return moment.astimezone(UTC).replace(tzinfo=None)


def held(store: Store, test: TestTraffic = NO_TEST_RULES) -> tuple[datetime, datetime] | None:
    """When the first conversation and the latest began; test traffic counts where there is no other. None: no data."""
    first, latest = _ends(store, test, "ASC", "DESC")
    return (first, latest) if first and latest else None


def _ends(store: Store, test: TestTraffic, *orders: str) -> list[datetime | None]:
    """When the conversation began that is the first in each of these orders of time."""
    # A store that keeps the bounds of its blocks reads the few blocks at that end, where an aggregate would read all.
    real = f"(SELECT started_at FROM {PHYSICAL['conversations']} WHERE {{}} ORDER BY started_at {{}} LIMIT 1)"
    not_test = f"NOT {store.dialect.is_test(test)}"
    asked = ", ".join(f"coalesce({real.format(not_test, order)}, {real.format('true', order)})" for order in orders)
    found = store.select(f"SELECT {asked}").rows[0]
    return [moment.replace(tzinfo=UTC) if moment else None for moment in found]


def grouped_by(found: pl.DataFrame, place: int, many: int) -> pl.DataFrame:
    """Of GROUPING SETS by one of so many columns each, with their `grouping()` as `absent`, the rows by one of them."""
    # One bit for each column, the first the highest; 0 for the one by which a row is grouped.
    return found.filter(pl.col("absent") == 2**many - 1 - 2 ** (many - 1 - place))


def in_micros(found: pl.DataFrame, *names: str) -> pl.DataFrame:
    """A frame whose instants in these columns are Int64, microseconds since 1970."""
    return found.with_columns(pl.col(names).cast(pl.Datetime("us")).cast(pl.Int64))


def told_apart(found: pl.DataFrame) -> tuple[pl.DataFrame, str]:
    """A frame of conversations with `unit`, by which they are told apart, and the column that it is.

    Their 64-bit keys, where no two have the same: numbers are compared faster than ids.
    """
    unit = "key" if found["key"].is_unique().all() else "id"
    return found.with_columns(pl.col(unit).alias("unit")), unit


def has_shared_keys(store: Store) -> bool:
    """Whether any two conversations have one key."""
    # Sorted here: an engine would put each key into a table.
    keys = np.sort(store.frame(f"SELECT key FROM {PHYSICAL['conversations']}")["key"].to_numpy())
    return bool((keys[1:] == keys[:-1]).any())


def default_period(store: Store, timezone: str, now: datetime, test: TestTraffic = NO_TEST_RULES) -> Period:
    """The last 30 whole days that hold data; without data those up to `now`."""
    (latest,) = _ends(store, test, "DESC")
    return last_days(latest or now, timezone)


def recorded_stages(store: Store) -> set[str]:
    """The stages of which the project has any event at all."""
    # Of the latest a store that keeps the bounds of its blocks reads no row.
    columns = ", ".join(f"max({column}) IS NOT NULL" for column in STAGES.values())
    found = store.select(f"SELECT {columns} FROM {PHYSICAL['conversations']}").rows[0]
    return {stage for stage, given in zip(STAGES, found, strict=True) if given} | {"started"}
