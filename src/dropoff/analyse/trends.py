"""A metric over time: by hour, day, week or month, beside the equally long period before."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from dropoff.analyse import metrics, select
from dropoff.analyse.answers import instant
from dropoff.analyse.metrics import Cell
from dropoff.analyse.young import Cohorts, Waits, Young
from dropoff.metrics import Metric
from dropoff.periods import to_micros
from dropoff.project import annotations
from dropoff.project.annotations import Mark
from dropoff.query import NONE, Query
from dropoff.store.base import Store
from dropoff.store.sql import PHYSICAL

LABELLED = ("sentiment_average", "sentiment_trend", "understanding_rate")
"""Metrics that rest on what labelled the prospects' messages."""


def answer(
    store: Store, query: Query, metric: Metric, interval: str, young: Young | None = None, marks: Sequence[Mark] = ()
) -> dict[str, Any]:
    """A metric by hour, day, week or month of the period's zone, and of the equally long period before.

    Empty buckets are there, with 0 or null. A bucket that the period cuts, or that is not over yet, is `partial`; one
    whose conversations may still do what the metric counts is `immature`.
    """
    before = replace(query, period=metrics.period_before(query.period, interval))
    recorded = select.recorded_stages(store)
    young = young or Young()
    waits = young.waits(store, query, recorded)
    now, then = (_over_time(store, each, metric, interval, young, waits) for each in (query, before))
    return {
        "period": query.period.to_dict(),
        "as_of": instant(query.now),
        "definition": metrics.definition(metric, waits) | {"by": query.by, "overlapping": query.overlapping},
        "interval": interval,
        **now,
        "previous": {"period": before.period.to_dict(), **then},
        "deploys": metrics.deploys(store, query),
        "labellers": _labellers(store, query) if metric.name in LABELLED else [],
        "annotations": annotations.shown(marks, query.period, query.now),
    }


def _over_time(
    store: Store, query: Query, metric: Metric, interval: str, young: Young, waits: Waits
) -> dict[str, list[dict[str, Any]]]:
    """`total` and `points` of a period."""
    begins = [to_micros(start) for _, start, _ in metrics.cuts(query.period, interval)]
    steps = metrics.steps([metric])
    cohorts = young.over_time(store, query, waits.recorded, steps, begins) if steps else None
    return {
        "total": metrics.rows_of(store, query, [metric], waits.recorded, cohorts),
        "points": _points(store, query, metric, interval, waits, cohorts),
    }


def _points(
    store: Store, query: Query, metric: Metric, interval: str, waits: Waits, cohorts: Cohorts | None
) -> list[dict[str, Any]]:
    begins = metrics.bucket_of(store.dialect, interval, query.period.timezone)
    found = metrics.measure(store, query, [metric], begins)[metric.name]
    lines = {(cell.segment, cell.currency or "") for cell in found}
    if not lines and not metric.by_currency and query.by is None:
        lines = {("", "")}
    nothing, place, points = metrics.nothing_of(metric), metrics.currencies(found), []
    for bucket, (key, start, end) in enumerate(metrics.buckets(query.period, interval)):
        span = metrics.span_of(start, end, query, metrics.wait_of(metric, waits))
        for segment, currency in sorted(lines, key=lambda line: (line[0], place.get(line[1], 0))):
            cell = Cell(segment, key, currency or None)
            row = metrics.describe(metric, cell, found.get(cell, nothing), waits.recorded)
            points.append({**span, **metrics.beside(metric, row, cohorts, bucket)})
    return points


def _labellers(store: Store, query: Query) -> list[dict[str, Any]]:
    """When each `label_source` was first seen in the period, where messages had been labelled otherwise before."""
    clause = select.Clause(store.dialect)
    rows = select.conversations(replace(query, by=None), clause, started=False)
    found = store.select(
        f"""SELECT m.label_source AS label_source, min(m.timestamp) AS moment FROM {PHYSICAL["messages"]} m
            JOIN {rows} c ON c.key = m.key AND c.id = m.conversation_id
            WHERE m.sender = 'prospect' AND (m.intent_confidence IS NOT NULL OR m.sentiment IS NOT NULL)
            GROUP BY m.label_source ORDER BY moment, label_source""",
        clause.parameters,
    ).rows
    start, end = (select.naive(one) for one in (query.period.start, query.period.end))
    return [{"label_source": name or NONE, "at": instant(at)} for name, at in found[1:] if start <= at < end]
