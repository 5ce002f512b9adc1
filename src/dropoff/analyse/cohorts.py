"""Cohorts: of the conversations that began in the same week, how many had come to a stage at which age."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from dropoff.analyse import metrics, select
from dropoff.analyse.answers import Number, instant, share
from dropoff.analyse.funnels.funnel import count_test
from dropoff.errors import InvalidInput
from dropoff.periods import MICROSECOND, Period, midnight
from dropoff.query import Params, Query, choice
from dropoff.store.base import Store
from dropoff.store.sql import STAGES, reached_at

WEEK = timedelta(weeks=1)
LAST = {"day": 30, "week": 12, "month": 12}
"""The intervals that conversations can be put together by, and how many are shown where no period is given."""

MOST_AGES = 53
"""Columns of a triangle at most: whoever came to the stage later still counts in `total`."""


class Cohort(NamedTuple):
    """Conversations that began in one interval: how many, the first and last beginning, and at which age (in whole
    weeks of 168 hours) how many came to the stage."""

    n: int
    first: datetime
    last: datetime
    came: Mapping[int, int]


def answer(store: Store, query: Query, stage: str | None, interval: str) -> dict[str, Any]:
    """The triangle of a stage: a row for each interval of the period, a column for each age in weeks.

    A cell says which share of the row's conversations came to the stage (or a later one) before they were age + 1
    weeks old. It is `incomplete` while one of them is younger than that, and null where all are younger than `age`, or
    there is none. `total`: those that came to it by now, at whichever age, as the funnel counts them. Without `stage`
    the last one is meant of which the project has an event. The query's `by` is not used.
    """
    recorded = select.recorded_stages(store)
    chosen = _stage(stage, recorded)
    cuts = metrics.cuts(query.period, interval)
    found = read(store, query, chosen, interval)
    columns = ages(list(found.values()), query.now)
    known = chosen in recorded
    return {
        "period": query.period.to_dict(),
        "as_of": instant(query.now),
        "definition": {"stage": chosen, "interval": interval, "is_recorded": known, "text": _text(chosen, interval)},
        "test_conversations": count_test(store, query),
        "ages": list(columns),
        "cohorts": [
            metrics.part_of(start, end, query) | triangle_row(found.get(key), columns, query.now, known)
            for key, start, end in cuts
        ],
    }


def read(store: Store, query: Query, stage: str, interval: str) -> dict[Any, Cohort]:
    """The cohorts that there are, by the key of their interval (see `metrics.buckets`)."""
    clause = select.Clause(store.dialect)
    rows = select.conversations(replace(query, by=None), clause)
    bucket = clause.sql.local_date(interval, "started_at", query.period.timezone)
    weeks = f"date_diff('microsecond', started_at, {reached_at(stage)}) / {WEEK / MICROSECOND}"
    found = store.select(
        f"""SELECT {bucket} AS bucket, CAST(floor({weeks}) AS BIGINT) AS age, count(*), min(started_at), max(started_at)
            FROM {rows} GROUP BY 1, 2""",
        clause.parameters,
    )
    parts: dict[Any, list[tuple]] = {}
    for key, *part in found.rows:
        parts.setdefault(key, []).append(tuple(part))
    return {key: _cohort(of_one) for key, of_one in parts.items()}


def _cohort(parts: Sequence[tuple]) -> Cohort:
    first, last = (pick(part[i] for part in parts).replace(tzinfo=UTC) for pick, i in ((min, 2), (max, 3)))
    came: dict[int, int] = {}
    for age, n, *_ in parts:
        if age is not None:  # a stage event may carry an earlier time than the start
            came[max(age, 0)] = came.get(max(age, 0), 0) + n
    return Cohort(sum(part[1] for part in parts), first, last, came)


def ages(found: Sequence[Cohort], now: datetime) -> range:
    """The columns: from 0 to the last age at which somebody came to the stage, and that somebody has begun."""
    latest = max((age for cohort in found for age in cohort.came), default=0)
    oldest = max((-((cohort.first - now) // WEEK) for cohort in found), default=1)
    return range(max(1, min(latest + 1, oldest, MOST_AGES)))


def triangle_row(cohort: Cohort | None, columns: range, now: datetime, known: bool = True) -> dict[str, Any]:
    """`n`, `total` and `cells` of a cohort; `known`: whether the stage is recorded, else there are no rates."""
    if cohort is None:
        return {"n": 0, "total": Number(None, 0, 0), "cells": [None] * len(columns)}
    cells, so_far = [], 0
    for age in columns:
        so_far += cohort.came.get(age, 0)
        if cohort.first + age * WEEK >= now:
            cells.append(None)
            continue
        incomplete = cohort.last + (age + 1) * WEEK > now
        cells.append({"age": age, **asdict(_rate(so_far, cohort.n, known)), "incomplete": incomplete})
    return {"n": cohort.n, "total": _rate(sum(cohort.came.values()), cohort.n, known), "cells": cells}


def _rate(numerator: int, denominator: int, known: bool) -> Number:
    return share(numerator, denominator) if known else Number(None, numerator, denominator)


def _stage(stage: str | None, recorded: set[str]) -> str:
    if stage is None:
        return next(name for name in reversed(STAGES) if name in recorded)
    if stage not in STAGES:
        raise InvalidInput("stage", stage, f"one of {', '.join(STAGES)}")
    return stage


def interval_of(params: Params) -> str:
    """An interval of `LAST`, weeks where none is given; raises `InvalidInput` for another."""
    return choice(params, "interval", LAST, "week")


def whole(period: Period, interval: str) -> Period:
    """The last whole intervals of `LAST`, up to the one in which the period ends: where cohorts begin by default."""
    zone = ZoneInfo(period.timezone)
    last = metrics.first_day((period.end - MICROSECOND).astimezone(zone).date(), interval)
    day = last
    for _ in range(LAST[interval] - 1):
        day = metrics.first_day(day - timedelta(days=1), interval)
    return Period(midnight(day, zone), midnight(metrics.next_day(last, interval), zone), period.timezone)


def _text(stage: str, interval: str) -> str:
    return (
        f"Conversations by the {interval} in which they began, and which share of them had reached {stage} or a later "
        "stage before they were so many weeks old: column 0 is their first week."
    )
