"""The executive answer: a few metrics against target and the period before, and which changes are more than chance."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from math import erfc, sqrt
from typing import Any, NamedTuple

import msgspec

from dropoff.analyse import metrics, progress, select
from dropoff.analyse.answers import instant
from dropoff.analyse.metrics import Cell, Sums
from dropoff.analyse.segments import explain
from dropoff.analyse.stats import ENOUGH, SIGNIFICANT, Z95, q_values
from dropoff.analyse.young import Waits, Young
from dropoff.metrics import Metric
from dropoff.periods import MICROSECOND
from dropoff.project import annotations
from dropoff.project.annotations import Mark
from dropoff.project.targets import Target, adds_up, is_met
from dropoff.query import Query
from dropoff.store.base import Store

SHOWN = (
    "conversations_started", "qualified_leads", "meetings_booked", "meetings_attended", "deals_closed",
    "response_rate", "qualification_rate", "booking_rate", "show_rate", "conversion_rate", "win_rate",
    "revenue", "cost", "cost_per_meeting",
)  # fmt: skip
"""What is always shown; beside it whatever has a target."""

DAYS = 92
"""Of longer periods the points are weeks."""

CAUSES = 3
LEAST = 0.1
"""A cause adds at least so much of the change beyond its part of all."""

Key = tuple[str, str]
Rows = dict[Key, dict[str, Any]]


class Point(NamedTuple):
    """A day or week of a metric, and its value as `metrics` has it; None where it has not begun."""

    start: datetime
    end: datetime
    row: Mapping[str, Any] | None


def answer(
    store: Store, query: Query, registry: Mapping[str, Metric], targets: Mapping[str, Sequence[Target]], young: Young,
    marks: Sequence[Mark] = (),
) -> dict[str, Any]:  # fmt: skip
    """The shape `executive` of the API."""
    shown = [metric for name, metric in registry.items() if name in SHOWN or name in targets]
    shown.sort(key=lambda metric: SHOWN.index(metric.name) if metric.name in SHOWN else len(SHOWN))
    both = progress.spans(query)
    interval = "day" if len(metrics.buckets(query.period, "day")) <= DAYS else "week"
    bucket = metrics.bucket_of(store.dialect, interval, query.period.timezone)
    # Read beside one another: none of these rests on another, and each is a statement or two.
    with ThreadPoolExecutor(2, "executive") as aside:
        parts_of = aside.submit(metrics.measure, store, query, shown, bucket)
        previous_of = aside.submit(metrics.answer, store, replace(query, period=both.so_far), shown)
        deploys_of = aside.submit(metrics.deploys, store, query)
        waits = young.waits(store, query, select.recorded_stages(store))
        wanted = {(name, one.currency or ""): one for name, given in targets.items() for one in given}
        rows = _with_wanted(_keyed(metrics.answer(store, query, shown, young)), shown, wanted, waits)
        # Of days before the first data nothing is known: a rise from them is none.
        has_before = _has_data_since(store, query, both.so_far.start)
        previous, parts, deploys = _keyed(previous_of.result()), parts_of.result(), deploys_of.result()
    moved = progress.changes(store, query, shown, rows, previous, waits) if has_before else {}
    lines = _lines(query, shown, rows, interval, waits, parts)
    by_name = {metric.name: metric for metric in shown}
    return {
        "period": query.period.to_dict(),
        "as_of": instant(query.now),
        "definition": {
            "follow": _FOLLOW, "previous": both.so_far.to_dict(), "is_over": both.now == query.period,
            "has_before": has_before,
        },
        "interval": interval,
        "points": [instant(start) for _, start, _ in metrics.buckets(query.period, interval)],
        "metrics": [
            _row(by_name[key[0]], row, query, waits)
            | {"previous": previous.get(key), "change": moved.get(key)}
            | {"target": _target(by_name[key[0]], row, wanted.get(key), query, waits)}
            | {"spark": [point.row["value"] if point.row else None for point in lines[key]]}
            | {"immature_from": _immature_from(by_name[key[0]], query, interval, waits)}
            for key, row in rows.items()
        ],
        "changes": _changes(store, query, by_name, moved, lines, waits),
        "deploys": deploys,
        "annotations": annotations.shown(marks, query.period, query.now),
    }  # fmt: skip


def _has_data_since(store: Store, query: Query, start: datetime) -> bool:
    """Whether the first conversation began within a day of `start`, or before."""
    clause = select.Clause(store.dialect)
    rows = select.conversations(replace(query, where=(), by=None, segments=()), clause, started=False)
    first = store.select(f"SELECT min(started_at) FROM {rows}", clause.parameters).rows[0][0]
    return first is not None and first <= select.naive(start + timedelta(days=1))


_FOLLOW = (
    "Rates, and counts of stages, are compared at one age: in both periods counts what a conversation did within "
    "follow_days of its start; what began after until has not had that time and is left out."
)


def _keyed(answer: Mapping[str, Any]) -> Rows:
    return {(row["metric"], row.get("currency") or ""): row for row in msgspec.to_builtins(answer["metrics"])}


def _with_wanted(rows: Rows, shown: Sequence[Metric], wanted: Mapping[Key, Target], waits: Waits) -> Rows:
    """Also a row of nothing where money is wanted in a currency in which there is none."""
    found = dict(rows)
    for metric in shown:
        for name, currency in wanted:
            if name == metric.name and (name, currency) not in found:
                nothing = Sums(Decimal(0), None if metric.denominator is None else Decimal(0))
                found[name, currency] = metrics.describe(metric, Cell("", None, currency), nothing, waits.recorded)
    order = {metric.name: place for place, metric in enumerate(shown)}
    return dict(sorted(found.items(), key=lambda item: order[item[0][0]]))


def _row(metric: Metric, row: Mapping[str, Any], query: Query, waits: Waits) -> dict[str, Any]:
    """A value with what it means, without the segment it is not of."""
    kept = {name: value for name, value in row.items() if name != "segment"}
    return {**kept, "good": metric.good, "immature": _is_immature(metric, query, waits)}


def _is_immature(metric: Metric, query: Query, waits: Waits) -> bool:
    """Whether a conversation of the period may still do what the metric counts."""
    wait = metrics.wait_of(metric, waits)
    return wait is not None and min(query.period.end, query.now) + wait.micros * MICROSECOND > query.now


def _immature_from(metric: Metric, query: Query, interval: str, waits: Waits) -> int | None:
    """The first point that may still change: not over, or with conversations that are too young."""
    wait = metrics.wait_of(metric, waits)
    last = query.now - (wait.micros if wait else 0) * MICROSECOND
    ends = [min(end, query.period.end) for _, _, end in metrics.buckets(query.period, interval)]
    return next((place for place, end in enumerate(ends) if end > last), None)


# against the target


def _target(
    metric: Metric, row: Mapping[str, Any], wanted: Target | None, query: Query, waits: Waits
) -> dict[str, Any] | None:
    """Whether it is met, and by which of the row's values; null where that is not known yet."""
    if wanted is None:
        return None
    immature = _is_immature(metric, query, waits)
    scaled, by = wanted.scaled(query.period), _judged(row, immature)
    met, certain = None, None
    if adds_up(metric):
        met = _met_so_far(row["value"], scaled, metric.good, is_done=query.period.end <= query.now and not immature)
    elif by is not None:
        value, interval = (row["value"], row["interval"]) if by == "value" else (row[by]["value"], row[by]["interval"])
        met = is_met(value, scaled, metric.good)
        certain = None if interval is None else not interval[0] <= scaled <= interval[1]
    return {"value": wanted.value, "per": wanted.per, "scaled": scaled, "met": met, "by": by, "certain": certain}


def _judged(row: Mapping[str, Any], immature: bool) -> str | None:
    """What a rate is judged by: the value, or what young ones come to. None where too little is known."""
    if immature and "matured" in row:
        known = ((name, row[name]) for name in ("projected", "matured") if row[name] is not None)
        return next((name for name, one in known if one["value"] is not None and one["n"] >= ENOUGH), None)
    n = row.get("n", row["denominator"])
    return "value" if row["value"] is not None and (n is None or n >= ENOUGH) else None


def _met_so_far(value: float, wanted: float, good: str, *, is_done: bool) -> bool | None:
    """A sum that still grows has met a target that it is to reach, or missed one that it is not to exceed."""
    met = is_met(value, wanted, good)
    return met if is_done or met is (good != "down") else None


# over time


def _lines(
    query: Query, shown: Sequence[Metric], rows: Rows, interval: str, waits: Waits,
    found: Mapping[str, Mapping[Cell, Sums]],
) -> dict[Key, list[Point]]:  # fmt: skip
    """The points of each row, from the sums of each part; of one that has not begun nothing is said."""
    by_name, lines = {metric.name: metric for metric in shown}, {}
    for name, currency in rows:
        metric = by_name[name]
        nothing = Sums(Decimal(0), None if metric.denominator is None else Decimal(0))
        lines[name, currency] = [
            Point(
                start, end,
                None if start >= query.now else
                metrics.describe(metric, cell, found[name].get(cell, nothing), waits.recorded),
            )
            for key, start, end in metrics.buckets(query.period, interval)
            for cell in [Cell("", key, currency or None)]
        ]  # fmt: skip
    return lines


def standing_apart(points: Sequence[Point], before: float) -> dict[str, Any] | None:
    """Of a rate of what happened the day (or week) without which the change would be half as large, or less."""
    known = [p for p in points if p.row is not None and p.row["denominator"]]
    x, n = (sum(p.row[part] for p in known if p.row) for part in ("numerator", "denominator"))
    found = None
    for point in known:
        rest = n - (point.row or {})["denominator"]
        if not rest:
            continue
        without = (x - (point.row or {})["numerator"]) / rest
        if found is None or abs(without - before) < abs(found["without"] - before):
            ends = {"from": instant(point.start), "to": instant(point.end)}
            found = {**ends, "value": (point.row or {})["value"], "without": without}
    if found is None or abs(found["without"] - before) > abs(x / n - before) / 2:
        return None
    return found


# what changed


def _changes(
    store: Store,
    query: Query,
    by_name: Mapping[str, Metric],
    moved: Mapping[Key, Mapping[str, Any]],
    lines: Mapping[Key, Sequence[Point]],
    waits: Waits,
) -> list[dict[str, Any]]:
    """What changed by more than chance over the family of all that are shown, the surest first."""
    found = [(key, one) for key, one in moved.items() if one["q_value"] is not None and one["q_value"] < SIGNIFICANT]
    found.sort(key=lambda item: (item[1]["q_value"], item[0]))
    return [
        {"metric": name, "unit": by_name[name].unit, "good": by_name[name].good, "clock": by_name[name].clock}
        | {"change": one, "causes": _causes(store, query, by_name[name], one, waits)}
        | {"apart": standing_apart(lines[name, currency], one["before"]) if _is_of_events(by_name[name]) else None}
        for (name, currency), one in found
    ]


def _is_of_events(metric: Metric) -> bool:
    """Whether it is a rate that no age has a part in."""
    return metric.clock == "activity" and metric.unit in ("share", "score", "ratio")


def _causes(
    store: Store, query: Query, metric: Metric, change: Mapping[str, Any], waits: Waits
) -> list[dict[str, Any]]:
    """The segments that account for more of a change of a rate than their part of all, one of each dimension."""
    if metric.unit == "count":
        return []
    moves = explain.moves(store, progress.question(query, metric, waits), change["contacts"])
    found: dict[str, dict[str, Any]] = {}
    for row in standing_out([row for rows in moves.values() for row in rows], change["difference"]):
        found.setdefault(row["dimension"], row)
    kept = ("contribution", "interval", "rate_effect", "mix_effect", "q_value", "where")
    return [
        {"dimension": name, "value": row["segment"], **{key: row[key] for key in kept}}
        | {"now": row["now"]["value"], "before": row["before"]["value"], "weight": row["weight"]}
        for name, row in list(found.items())[:CAUSES]
    ]


def standing_out(moves: Sequence[Mapping[str, Any]], change: float) -> list[dict[str, Any]]:
    """Of segments that moved with a change those that add more than they would, were all alike; the most first.

    Each is tested for what it adds beyond that, all of them as one family: the larger part of everything always adds
    most of a change.
    """
    tested = [row for row in moves if row["p_value"] is not None and row["interval"]]
    q = q_values([_chance(row, change) for row in tested])
    found = [
        {**row, "q_value": q_value}
        for row, q_value in zip(tested, q, strict=True)
        if q_value < SIGNIFICANT and _beyond(row, change) * change >= LEAST * change * change
    ]
    return sorted(found, key=lambda row: _rank(row, change))


def _chance(row: Mapping[str, Any], change: float) -> float:
    """How often chance alone adds as much beyond its part; two-sided, by the width of the contribution's interval."""
    low, high = row["interval"]
    return erfc(abs(_beyond(row, change)) / ((high - low) / 2 / Z95) / sqrt(2))


def _beyond(row: Mapping[str, Any], change: float) -> float:
    """What a segment adds beyond what it would as a part of all, were all parts alike."""
    weight = row["weight"]
    return row["contribution"] - change * (min(weight["now"], weight["before"]) if weight else 0.0)


def _rank(row: Mapping[str, Any], change: float) -> tuple:
    """The largest first; of two that add as much the one that has become a larger part."""
    weight = row["weight"]
    grown = weight["now"] - weight["before"] if weight else 0.0
    return -round(abs(_beyond(row, change)), 9), -grown, row["dimension"], row["segment"]
