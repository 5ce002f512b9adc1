"""The values of metrics: one statement for all metrics of a request, the maths a pure function of its sums."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import groupby
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import polars as pl

from dropoff.analyse import select
from dropoff.analyse.aggregates import written
from dropoff.analyse.answers import Number, instant
from dropoff.analyse.maturity import Maturity
from dropoff.analyse.stats import wilson
from dropoff.analyse.young import Cohorts, Step, Waits, Young
from dropoff.errors import InvalidInput
from dropoff.metrics import QUANTILES, Metric
from dropoff.periods import MICROSECOND, Period, midnight
from dropoff.query import MULTIPLE, Query
from dropoff.store.base import Store
from dropoff.store.sql import PHYSICAL, STAGES, Dialect

INTERVALS = ("hour", "day", "week", "month")
MAX_POINTS = 2000
MICROS = 1_000_000
_HOUR = timedelta(hours=1)


class Sums(NamedTuple):
    """What a metric is made of. `quantiles` by name where the metric is one; `numerator` is then their count.

    `amounts`: of money so many are added up.
    """

    numerator: Decimal | None
    denominator: Decimal | None
    quantiles: Mapping[str, float] | None = None
    beside: Decimal | None = None
    amounts: int = 0


class Cell(NamedTuple):
    """Of which segment, time bucket and currency the sums are."""

    segment: str = ""
    bucket: Any = None
    currency: str | None = None


def answer(store: Store, query: Query, metrics: Sequence[Metric], young: Young | None = None) -> dict[str, Any]:
    """`{"metrics": [{"metric", "segment", "value", "numerator", "denominator", "interval", "unit", "clock"}]}`.

    With `young` the rates between stages are matured and projected, too.
    """
    recorded = _recorded(store, metrics)
    cohorts = young.cohorts(store, query, recorded, steps(metrics)) if young and recorded is not None else None
    return {
        "period": query.period.to_dict(),
        "as_of": instant(query.now),
        "definition": {"by": query.by, "overlapping": query.by in MULTIPLE},
        "metrics": rows_of(store, query, metrics, recorded, cohorts),
    }


def rows_of(
    store: Store, query: Query, metrics: Sequence[Metric], recorded: Set[str] | None, cohorts: Cohorts | None
) -> list[dict[str, Any]]:
    """The row of each metric, segment and currency."""
    found = measure(store, query, metrics)
    return [
        beside(metric, describe(metric, cell, sums, recorded), cohorts)
        for metric in metrics
        for cell, sums in _cells(metric, found[metric.name], split=query.by is not None)
    ]


def _cells(metric: Metric, found: Mapping[Cell, Sums], *, split: bool) -> list[tuple[Cell, Sums]]:
    """The cells in the order in which they are shown; an overall number stands even where there is no row."""
    if not found and not split:
        return _empty(metric)
    place = currencies(found)
    return sorted(
        found.items(),
        key=lambda item: (
            place[item[0].currency or ""], -(item[1].denominator or item[1].numerator or 0), item[0].segment,
        ),
    )  # fmt: skip


def currencies(found: Mapping[Cell, Sums]) -> dict[str, int]:
    """The currencies ('' where there is none) with their places: the one with the most amounts first."""
    counts = Counter[str]()
    for cell, sums in found.items():
        counts[cell.currency or ""] += sums.amounts
    return {currency: place for place, currency in enumerate(sorted(counts, key=lambda one: (-counts[one], one)))}


def _empty(metric: Metric) -> list[tuple[Cell, Sums]]:
    """What stands where there is no row: nothing of a metric that is told by currency, else one zero."""
    if metric.by_currency:
        return []
    return [(Cell(), nothing_of(metric))]


def nothing_of(metric: Metric) -> Sums:
    """The sums of no rows."""
    return Sums(Decimal(0), None if metric.denominator is None else Decimal(0))


def steps(metrics: Sequence[Metric]) -> list[Step]:
    """Of the rates between stages which stage leads to which."""
    return [Step(source, target) for target, source in (metric.stages for metric in metrics if metric.stages)]


def _recorded(store: Store, metrics: Sequence[Metric]) -> set[str] | None:
    return select.recorded_stages(store) if any(metric.stages for metric in metrics) else None


def measure(
    store: Store, query: Query, metrics: Sequence[Metric], bucket: str | None = None, *, bounded: bool = True
) -> dict[str, dict[Cell, Sums]]:
    """The sums of metrics by segment and, with `bucket` (SQL over the row's `moment`), by time.

    `bounded`: the rarer values of many are taken together.
    """
    clause = select.Clause(store.dialect)
    text, groups = _statement(query, clause, metrics, bucket, bounded=bounded)
    found: dict[str, dict[Cell, Sums]] = {metric.name: {} for metric in metrics}
    for part, segment, moment, currency, numbers, quantiles in store.select(text, clause.parameters).rows:
        for metric, sums in _read(groups[part], numbers, quantiles):
            if sums.numerator or sums.denominator or sums.beside:
                found[metric.name][Cell(segment, moment, currency)] = sums
    return found


def measure_all(store: Store, query: Query, metrics: Sequence[Metric], bucket: str) -> pl.DataFrame:
    """The sums of metrics that can be added up, as rows: `bucket`, `segment`, `metric`, `numerator`, `denominator`.

    The denominator of a count is null, as is that of a rate of nothing; `counts` tells which. Rows of nothing are left
    out. The same statement as that of `measure`, for where there are so many that each by itself would take too long.
    """
    clause = select.Clause(store.dialect)
    text, groups = _statement(query, clause, metrics, bucket, bounded=False)
    rows = store.frame(text, clause.parameters)
    parts = [_long(rows.filter(pl.col("part") == part), group) for part, group in enumerate(groups)]
    return pl.concat(parts).filter((pl.col("numerator") != 0) | (pl.col("denominator") != 0))


def _long(rows: pl.DataFrame, metrics: Sequence[Metric]) -> pl.DataFrame:
    """A row for each metric, whose numbers `_part` wrote beside one another."""
    columns = [
        pl.lit(pl.Series([[metric.name for metric in metrics]])).first().alias("metric"),
        pl.lit(pl.Series([[metric.denominator is None for metric in metrics]])).first().alias("counts"),
        pl.col("numbers").list.gather_every(3).alias("numerator"),
        pl.col("numbers").list.gather_every(3, 1).alias("denominator"),
    ]
    each = ("metric", "counts", "numerator", "denominator")
    found = rows.select("bucket", "segment", *columns).explode(*each)
    exact = pl.col("numerator", "denominator").cast(pl.Decimal(38, 6))
    return found.with_columns(exact).with_columns(pl.col("numerator").fill_null(0))


def _statement(
    query: Query, clause: select.Clause, metrics: Sequence[Metric], bucket: str | None, *, bounded: bool
) -> tuple[str, list[list[Metric]]]:
    """One SELECT for all: a part for each source and kind of number, and the metrics of each part."""
    by_source = sorted(metrics, key=lambda m: (m.source, m.by_currency))
    parts, groups = [], []
    for (source, currency), group in groupby(by_source, key=lambda m: (m.source, m.by_currency)):
        of_group = list(group)
        parts.append(_part(len(groups), source, currency, of_group, query, clause, bucket))
        groups.append(of_group)
    base = select.conversations(query, clause, started=False, bounded=bounded)
    return f"WITH c AS {clause.sql.inline} {base} {' UNION ALL '.join(parts)}", groups


def _part(
    number: int, source: str, currency: bool, metrics: Sequence[Metric], query: Query, clause: select.Clause,
    bucket: str | None,
) -> str:  # fmt: skip
    """The SELECT of the metrics of one source: their sums as one list, their quantiles as another."""
    plain = [m for m in metrics if m.quantile is None]
    sums = [s for m in plain for s in (m.numerator, m.denominator or "NULL", m.beside[1] if m.beside else "NULL")]
    medians = [m.quantile for m in metrics if m.quantile is not None]
    sums += [f"count({q})" for q in medians] + (["count(micros)"] if currency else [])
    numbers = ", ".join(f"CAST({written(clause.sql, s)} AS DECIMAL(38,6))" for s in sums)
    quantiles = clause.sql.numbers(clause.sql.quantiles(q, QUANTILES.values()) for q in medians)
    return f"""SELECT {number} AS part, segment, {bucket or "NULL"} AS bucket,
      {"currency" if currency else "NULL"} AS currency, [{numbers}] AS numbers, {quantiles} AS quantiles
      FROM ({source_rows(source, query, clause)})
      WHERE {select.in_period("moment", query.period, clause)} GROUP BY ALL"""


def source_rows(source: str, query: Query, clause: select.Clause, facts: str = "c.segment") -> str:
    """The rows of a source, each with the `moment` by which it is counted and these `facts` of its conversation `c`."""
    if source == "conversations":
        return "SELECT *, started_at AS moment FROM c"
    if source == "costs":
        return _costs(query, clause, facts)
    table, moment = _source(source, clause.sql)
    past = (
        f"{moment} + INTERVAL 1 HOUR <= {clause.add(select.naive(query.now))}" if source == "due_meetings" else "NULL"
    )
    return f"""SELECT r.*, {facts}, {moment} AS moment, {past} AS past FROM {table} r
      JOIN c ON c.key = r.key AND c.id = r.conversation_id"""


def _costs(query: Query, clause: select.Clause, facts: str) -> str:
    """What each message cost, and each attended meeting once for every currency that the period's messages cost."""
    own = "JOIN c ON c.key = r.key AND c.id = r.conversation_id"
    return f"""
      SELECT {facts}, c.started_at AS moment, r.cost_currency AS currency, r.cost_micros AS micros, 0 AS attended
      FROM {PHYSICAL["messages"]} r {own} WHERE r.cost_micros IS NOT NULL
      UNION ALL
      SELECT {facts}, c.started_at, paid.currency, 0, 1 FROM {PHYSICAL["meetings"]} r {own}
      CROSS JOIN (
        SELECT DISTINCT r.cost_currency AS currency FROM {PHYSICAL["messages"]} r {own}
        WHERE r.cost_micros IS NOT NULL AND {select.in_period("c.started_at", query.period, clause)}) paid
      WHERE r.state = 'attended'"""


_TURNS = f"""(
  SELECT key, conversation_id, timestamp, 1 AS turn, false AS fallback, false AS error
  FROM {PHYSICAL["messages"]} WHERE opens_turn
  UNION ALL SELECT key, conversation_id, timestamp, CAST(alone AS INTEGER), fallback, error FROM {PHYSICAL["turns"]})"""
_SOURCES = {
    "messages": (PHYSICAL["messages"], "r.timestamp"),
    "turns": (_TURNS, "r.timestamp"),
    "meetings": (PHYSICAL["meetings"], "r.booked_at"),
    "due_meetings": (PHYSICAL["meetings"], "coalesce(r.due_at, r.state_at)"),
    "deals": (PHYSICAL["deals"], "r.won_at"),
}


def _source(source: str, sql: Dialect) -> tuple[str, str]:
    """The table of a source, and the instant by which its rows are counted."""
    if source in _SOURCES:
        return _SOURCES[source]
    return sql.standing_events(), "c.started_at" if source == "events_by_start" else "r.timestamp"


def _read(
    metrics: Sequence[Metric], numbers: Sequence[Decimal | None], quantiles: Sequence[Sequence[float] | None]
) -> Iterable[tuple[Metric, Sums]]:
    """The sums of each metric, in the order in which `_part` wrote them."""
    plain = [m for m in metrics if m.quantile is None]
    for i, metric in enumerate(plain):
        numerator, denominator, beside = numbers[3 * i : 3 * i + 3]
        yield (
            metric,
            Sums(numerator, denominator, beside=beside, amounts=int((metric.by_currency and numbers[-1]) or 0)),
        )
    for i, metric in enumerate(m for m in metrics if m.quantile is not None):
        levels = quantiles[i]
        shown = dict(zip(QUANTILES, levels, strict=True)) if levels else None
        yield metric, Sums(numbers[3 * len(plain) + i], None, shown)


def describe(metric: Metric, cell: Cell, sums: Sums, recorded: Set[str] | None = None) -> dict[str, Any]:
    """One number as every surface shows it. `recorded`: the stages of which the project has events; None: all."""
    numerator, denominator = sums.numerator or Decimal(0), sums.denominator
    if metric.by_currency:
        numerator /= MICROS
    known = recorded is None or recorded >= set(metric.stages)
    unit = metric.unit if metric.unit != "share" or numerator <= (denominator or 0) else "ratio"
    row = {
        "metric": metric.name,
        "segment": cell.segment,
        "value": value_of(metric, sums) if known else None,
        "numerator": float(numerator),
        "denominator": None if denominator is None else float(denominator),
        "interval": wilson(float(numerator), float(denominator)) if unit == "share" and denominator and known else None,
        "unit": unit,
        "clock": metric.clock,
    }
    if metric.by_currency:
        row |= {"currency": cell.currency, "amount": _amount(numerator)}
    if metric.beside is not None:
        row |= _beside(metric.beside[0], sums)
    if metric.quantile is not None:
        row |= {"n": int(numerator), **{name: (sums.quantiles or {}).get(name) for name in QUANTILES}}
        row |= {"numerator": None}
    return row


def beside(metric: Metric, row: dict[str, Any], cohorts: Cohorts | None, bucket: int | None = None) -> dict[str, Any]:
    """The row of a rate between stages with what it comes to; other rows as they are."""
    if cohorts is None or not metric.stages:
        return row
    if row["value"] is None and not cohorts.waits.recorded >= set(metric.stages):
        return row | {"matured": None, "projected": None}
    target, source = metric.stages
    naive = Number(row["value"], row["numerator"], row["denominator"], row["interval"])
    found = cohorts.of(row["segment"], bucket).beside(naive, source, target)
    return row | {"matured": found.matured, "projected": found.projected}


def _beside(name: str, sums: Sums) -> dict[str, float | None]:
    count = sums.beside or Decimal(0)
    if name == "unknown":
        return {name: float(count)}
    return {name: float((sums.denominator or 0) / count) if count else None}


def value_of(metric: Metric, sums: Sums) -> float | None:
    """The value of a metric; 0/0 is None, not 0."""
    if metric.quantile is not None:
        return (sums.quantiles or {}).get("p50")
    numerator = sums.numerator or Decimal(0)
    if metric.by_currency:
        numerator /= MICROS
    if metric.denominator is None:
        return float(numerator)
    # Divided as floats, as SQL does over the rollups: the same number to the last digit.
    return float(numerator) / float(sums.denominator) if sums.denominator else None


def _amount(amount: Decimal) -> str:
    """An exact amount as text: at least two decimals where there are any, and no more than needed."""
    whole, _, cents = f"{amount:.6f}".partition(".")
    cents = cents.rstrip("0")
    return f"{whole}.{cents:0<2}" if cents else whole


def definition(metric: Metric, waits: Waits) -> dict[str, Any]:
    """What a metric means, and how long its conversations are waited for."""
    wait = wait_of(metric, waits)
    return {
        "metric": metric.name, "unit": metric.unit, "clock": metric.clock, "good": metric.good,
        "maturity_days": wait.days if wait else 0.0, "maturity_source": wait.source if wait else None,
        "description": metric.description, "additive": metric.additive,
    }  # fmt: skip


def wait_of(metric: Metric, waits: Waits) -> Maturity | None:
    """How long after a conversation's start its part in a metric may still change; None for what counts events."""
    return waits.of(Step(next(iter(STAGES)), metric.matures)) if metric.matures else None


def period_before(period: Period, interval: str = "day") -> Period:
    """The period before: as many local days (of whole months, by month: as many months), whatever the clock does."""
    zone = ZoneInfo(period.timezone)
    first, last = period.start.astimezone(zone), period.end.astimezone(zone)
    if first.time() != time() or last.time() != time():
        return Period(period.start - (period.end - period.start), period.start, period.timezone)
    start = first.date() - (last.date() - first.date())
    if interval == "month" and first.day == last.day == 1:
        months = 2 * (first.year * 12 + first.month) - (last.year * 12 + last.month) - 1
        start = date(months // 12, months % 12 + 1, 1)
    return Period(midnight(start, zone), period.start, period.timezone)


def span_of(start: datetime, end: datetime, query: Query, wait: Maturity | None) -> dict[str, Any]:
    """The same as `part_of`, and whether it is old enough."""
    last = min(end, query.period.end)
    return part_of(start, end, query) | {"immature": wait is not None and last + wait.micros * MICROSECOND > query.now}


def part_of(start: datetime, end: datetime, query: Query) -> dict[str, Any]:
    """Of a bucket the part that lies in the period, and whether that is not all of it, or not over yet."""
    period = query.period
    return {
        "from": instant(max(start, period.start)),
        "to": instant(min(end, period.end)),
        "partial": start < period.start or end > min(period.end, query.now),
    }


def bucket_of(sql: Dialect, interval: str, zone: str) -> str:
    """The SQL of the bucket in which a row's `moment` lies, for `measure`: what `buckets` calls its key."""
    if interval == "hour":
        return sql.local_hour("moment", zone)
    return sql.local_date(interval, "moment", zone)


def cuts(period: Period, interval: str) -> list[tuple[Any, datetime, datetime]]:
    """`buckets` for an answer; raises `InvalidInput` for an unknown interval, and for more than `MAX_POINTS`."""
    if interval not in INTERVALS:
        raise InvalidInput("interval", interval, f"one of {', '.join(INTERVALS)}")
    many = -(-(period.end - period.start) // _HOUR) if interval == "hour" else 0  # told before so many are made
    if many > MAX_POINTS or (many := len(found := buckets(period, interval))) > MAX_POINTS:
        raise InvalidInput("interval", interval, f"one that gives at most {MAX_POINTS} points, not {many}")
    return found


def buckets(period: Period, interval: str) -> list[tuple[Any, datetime, datetime]]:
    """The buckets of a period: the key that SQL gives them, their start and their end. Days have 23 to 25 hours."""
    zone = ZoneInfo(period.timezone)
    if interval == "hour":
        return _hours(period, zone)
    day = first_day(period.start.astimezone(zone).date(), interval)
    found = []
    while (start := midnight(day, zone)) < period.end:
        after = next_day(day, interval)
        found.append((day, start, midnight(after, zone)))
        day = after
    return found


def _hours(period: Period, zone: ZoneInfo) -> list[tuple[Any, datetime, datetime]]:
    """Where clocks turn by half an hour one of them is half as long: its key is when it would have begun."""
    begin, found = period.start.astimezone(UTC), []
    while begin < period.end:
        local = begin.astimezone(zone)
        key = begin - timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
        found.append((select.naive(key), begin if found else key, key + _HOUR))
        begin = key + _HOUR
    return found


def first_day(day: date, interval: str) -> date:
    """The first day of the day, week or month in which a day lies."""
    if interval == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if interval == "month" else day


def next_day(day: date, interval: str) -> date:
    """The first day of the next one."""
    if interval == "month":
        return (day.replace(day=28) + timedelta(days=4)).replace(day=1)
    return day + timedelta(days=7 if interval == "week" else 1)


def deploys(store: Store, query: Query) -> list[dict[str, Any]]:
    """When each bot version was first seen, where that lies in the period."""
    clause = select.Clause(store.dialect)
    rows = select.conversations(replace(query, by=None), clause, started=False)
    found = store.select(
        f"""SELECT bot_id, bot_version, min(started_at) AS moment FROM {rows} WHERE bot_version IS NOT NULL GROUP BY ALL
            HAVING {select.in_period("moment", query.period, clause)} ORDER BY moment""",
        clause.parameters,
    )
    return [{"bot_id": bot, "bot_version": version, "at": instant(at)} for bot, version, at in found.rows]
