"""`metrics_hourly` and `metrics_daily`: the additive metrics, rebuilt for the hours and days that have changed.

A bucket is never added to: it is computed anew from the facts and replaced, so late, retracted and moved events need
no care of their own. Which buckets are due the store notes in the transaction that changes the facts.
"""

import hashlib
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import polars as pl

from dropoff.analyse import select
from dropoff.analyse.metrics import measure_all
from dropoff.metrics import METRICS, Metric
from dropoff.periods import Period
from dropoff.query import NO_TEST_RULES, Query, TestTraffic
from dropoff.store.base import Store

HOUR = timedelta(hours=1)
_DAYS_AT_ONCE = 31


@dataclass(frozen=True, slots=True)
class Plan:
    """What is rolled up: days and hours of this zone, overall and by these dimensions, without test traffic."""

    timezone: str
    dimensions: tuple[str, ...] = ("channel", "bot_version")
    test: TestTraffic = NO_TEST_RULES

    def metrics(self, recorded: Set[str]) -> list[Metric]:
        """What can be summed, without the rates of stages that the project does not record: those are null."""
        return [m for m in METRICS.values() if m.additive and recorded >= set(m.stages)]

    def fingerprint(self, recorded: Set[str]) -> str:
        """Changes when both tables have to be made anew."""
        return hashlib.sha256(repr([self, *self.metrics(recorded)]).encode()).hexdigest()[:16]


class Refreshed(NamedTuple):
    """How many buckets were computed anew."""

    hours: int
    days: int


def refresh(store: Store, plan: Plan, now: datetime) -> Refreshed:
    """Bring both tables up to date: only the buckets that the store has noted, or all after a change of plan."""
    recorded = select.recorded_stages(store)
    if store.rollup_plan() != plan.fingerprint(recorded):
        store.restart_rollups(plan.fingerprint(recorded))
    slots = store.dirty_slots()
    if not slots:
        return Refreshed(0, 0)
    zone = ZoneInfo(plan.timezone)
    hours = sorted({_hour(slot, zone) for slot in slots})
    days = sorted({hour.astimezone(zone).date() for hour in hours})
    for part in _runs(days):
        inside = [h for h in hours if part[0] <= h.astimezone(zone).date() <= part[-1]]
        rows = _hourly(store, plan, plan.metrics(recorded), inside, now)
        store.replace_rollups(inside, rows, part, plan.timezone)
    store.forget_slots(slots)
    return Refreshed(len(hours), len(days))


def _hour(slot: datetime, zone: ZoneInfo) -> datetime:
    """The instant at which the local hour of a slot begins."""
    local = slot.astimezone(zone)
    return slot - timedelta(minutes=local.minute, seconds=local.second)


def _runs(days: Sequence[date]) -> Iterator[list[date]]:
    """Neighbouring days together, so that one statement serves them."""
    run: list[date] = []
    for day in days:
        if run and (day - run[-1] > timedelta(days=1) or len(run) == _DAYS_AT_ONCE):
            yield run
            run = []
        run.append(day)
    if run:
        yield run


def _hourly(
    store: Store, plan: Plan, metrics: Sequence[Metric], hours: Sequence[datetime], now: datetime
) -> pl.DataFrame:
    """The rows of `metrics_hourly` of these hours. Days are the sums of their hours, and need no look at the facts."""
    period = Period(hours[0], hours[-1] + HOUR, plan.timezone)
    bucket = store.dialect.local_hour("moment", plan.timezone)
    wanted = pl.Series([hour.astimezone(UTC).replace(tzinfo=None) for hour in hours], dtype=pl.Datetime("us"))
    parts = []
    for dimension in (None, *plan.dimensions):
        found = measure_all(store, Query(period, now, by=dimension, test=plan.test), metrics, bucket)
        segment = pl.lit("") if dimension is None else pl.lit(f"{dimension}=") + pl.col("segment")
        parts.append(found.with_columns(segment.alias("segment"), pl.col("bucket").cast(pl.Datetime("us"))))
    n, d = (pl.col(name).cast(pl.Float64) for name in ("numerator", "denominator"))
    value = pl.when("counts").then(n).when(d != 0).then(n / d)
    return (
        pl.concat(parts)
        .filter(pl.col("bucket").is_in(wanted.implode()))
        .select(
            pl.col("bucket").alias("timestamp"), pl.col("metric").alias("metric_name"), "segment",
            value.alias("value"), "numerator", "denominator",
        )
    )  # fmt: skip
