"""Rates of conversations that are still young, adjusted for the time they have not had.

Of those that started in the last hour most may still do what a rate counts. So the rate is converted so far, over how
many of those who will convert would have done so by now: the sum of G(age) over the window, G(t) = F(t) / F(H) with the
incidence F that the last 12 months show (`dropoff.analyse.maturity`). This is the estimator of a delayed Bernoulli
outcome with a known delay (Brookmeyer and Gail, J. Am. Stat. Assoc. 83, 1988, 301-308, for counts).
"""

from collections.abc import Sequence, Set
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import polars as pl

from dropoff.alerts.judge import Sums
from dropoff.analyse import maturity, select, young
from dropoff.analyse.maturity import LEARNED_FROM, LONGEST, MEMORY, NEVER, Entries, Floats, Ints
from dropoff.analyse.young import Instants, Step
from dropoff.metrics import Metric
from dropoff.periods import MICROSECOND, Period, to_micros
from dropoff.query import Query
from dropoff.store.base import Store
from dropoff.store.sql import STAGES

TIMES = {"escalation_rate": "escalated_at", "opt_out_rate": "opted_out_at"}
"""Shares of all that started, beside the rates between stages, of which the facts know when each came true."""

_STAGES = tuple(STAGES)
_CUTS = 512
_DEFAULT_SPAN = 4
"""The default curve is kept for so many maturity times: by then it is within a ten-thousandth of 1."""


def is_timed(metric: Metric) -> bool:
    """Whether it is known when each conversation of a share began to count."""
    return bool(metric.stages) or metric.name in TIMES


class Timed(NamedTuple):
    """Conversations in the order of their starts, in microseconds; `NEVER` where it has not come. `entered`: when they
    came to what the rate is of; `converted`: when to what it counts."""

    started: Ints
    entered: Ints
    converted: Ints

    def between(self, start: int, end: int) -> "Timed":
        """Those that started in [start, end)."""
        first, last = np.searchsorted(self.started, (start, end))
        return Timed(*(times[first:last] for times in self))

    def sums(self, curve: "Curve", start: int, end: int, now: int) -> Sums:
        """Of those that started in [start, end), as it was known just before `now`: converted, and how many of those
        who will convert were to be expected by then, as a share of the entries."""
        _, entered, converted = self.between(start, end)
        there = entered < now
        expected = curve.at(now - entered[there])
        return Sums(float(np.count_nonzero(converted[there] < now)), float(expected.sum()))


NOBODY = Timed(*(np.zeros(0, np.int64) for _ in range(3)))


class Curve(NamedTuple):
    """G: at ascending ages the part of those who will convert that has; linear in between, `learned` or shipped."""

    ages: Ints
    parts: Floats
    learned: bool

    def at(self, ages: Ints) -> Floats:
        """G of each of these ages."""
        return np.interp(ages, self.ages, self.parts)


def shipped(wait: int) -> Curve:
    """Where too little is known: nine in ten of those who will convert have after `wait`, at a constant rate."""
    ages = np.linspace(0, _DEFAULT_SPAN * wait, _CUTS).astype(np.int64)
    return Curve(ages, 1 - 0.1 ** (ages / max(wait, 1)), learned=False)


def learn(entries: Entries, wait: int) -> Curve:
    """G from entries of the last 12 months; with fewer than 50 conversions the shipped curve of `wait`."""
    past = maturity.history(entries)
    rows = past.table.between(-1, past.horizon)
    if int(rows.converted.sum()) < LEARNED_FROM:
        return shipped(wait)
    grid = np.rint(np.geomspace(1_000_000, max(past.horizon, 2_000_000), _CUTS)).astype(np.int64)
    ages = np.unique(np.concatenate(([0], grid)))
    found = maturity.incidence(rows)
    return Curve(ages, found.at(ages) / found.value[-1], learned=True)


class Before(NamedTuple):
    """Of one metric the conversations of its history, and as what they entered and ended."""

    timed: Timed
    entries: Entries


def read(store: Store, query: Query, metrics: Sequence[Metric]) -> dict[str, dict[str, Timed]]:
    """For each metric by segment the conversations that started in the query's period."""
    found: dict[str, dict[str, Timed]] = {metric.name: {} for metric in metrics}
    staged = [metric for metric in metrics if metric.stages]
    if staged:
        recorded = select.recorded_stages(store)
        for segment, instants in young.read(store, query, query.period.start, query.period.end).items():
            for metric in staged:
                found[metric.name][segment] = _of_stages(metric, instants, recorded)
    for metric in metrics:
        if not metric.stages:
            found[metric.name] = _of_column(store, query, TIMES[metric.name])
    return found


def history(store: Store, query: Query, metrics: Sequence[Metric], recorded: Set[str]) -> dict[str, Before]:
    """For each metric what became of the conversations of the last 12 months, and of 180 days before these."""
    now = to_micros(query.now)
    since = query.now - (MEMORY + LONGEST) * MICROSECOND
    whole = replace(query, by=None, period=Period(since, query.now, query.period.timezone))
    found: dict[str, Before] = {}
    staged = [metric for metric in metrics if metric.stages]
    if staged:
        instants = young.read(store, whole, since, query.now).get("", young.NOBODY)
        known = young.Known(instants, now)
        for metric in staged:
            step = _step(metric)
            entries = known.entries(step, recorded)
            found[metric.name] = Before(_of_stages(metric, instants, recorded), entries)
    for metric in metrics:
        if not metric.stages:
            timed = _of_column(store, whole, TIMES[metric.name]).get("", NOBODY)
            found[metric.name] = Before(timed, maturity.follow(timed.entered, timed.converted, [], now))
    return found


def _step(metric: Metric) -> Step:
    target, source = metric.stages
    return Step(source, target)


def _of_stages(metric: Metric, instants: Instants, recorded: Set[str]) -> Timed:
    """The conversations of a rate between stages. The clock of an attendance starts when the meeting is due."""
    step = _step(metric)
    entered, converted = (instants.reached[_STAGES.index(stage)] for stage in step)
    if young.waits_for_date(step, recorded):
        is_due = (entered < NEVER) & (instants.due < NEVER)
        entered = np.where(is_due, np.maximum(instants.due, entered), entered)
    return _sorted(instants.started, entered, converted)


def _sorted(started: Ints, entered: Ints, converted: Ints) -> Timed:
    order = np.argsort(started, kind="stable")
    return Timed(started[order], entered[order], converted[order])


def _of_column(store: Store, query: Query, column: str) -> dict[str, Timed]:
    clause = select.Clause(store.dialect)
    rows = select.conversations(query, clause)
    found = store.frame(f"SELECT segment, started_at, {column} AS at FROM {rows}", clause.parameters)
    return {str(key[0]): _columns(part) for key, part in found.partition_by("segment", as_dict=True).items()}


def _columns(rows: pl.DataFrame) -> Timed:
    started, at = (rows[name].cast(pl.Datetime("us")).to_physical().fill_null(NEVER) for name in ("started_at", "at"))
    return _sorted(started.to_numpy(), started.to_numpy(), at.to_numpy())
