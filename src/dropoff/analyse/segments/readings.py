"""From a metric to what is added up of each contact: as it stands, of conversations that are old enough, or cut at one
age."""

from collections.abc import Callable, Set
from datetime import datetime
from typing import NamedTuple

from dropoff.analyse import select
from dropoff.analyse.aggregates import written
from dropoff.analyse.contacts import Reading, Written
from dropoff.analyse.maturity import Maturity
from dropoff.analyse.metrics import MICROS, source_rows, wait_of
from dropoff.analyse.young import Step, Waits, at_minute, due_dates, waits_for_date
from dropoff.metrics import Metric, where
from dropoff.periods import MICROSECOND
from dropoff.query import Query
from dropoff.store.sql import reached_at

FACTS = "c.segment, c.cluster"
"""What rows have of their conversation."""

_AT = {"opt_out_rate": "opted_out_at", "escalation_rate": "escalated_at"}
"""Shares beside the rates between stages of which it is known when a conversation came to count."""


When = Callable[[select.Clause], str]
"""Writes which rows count."""


def always(_: select.Clause) -> str:
    """All rows count."""
    return "true"


def since(cutoff: datetime) -> When:
    """Those of conversations that started then or before."""
    return lambda clause: f"moment <= {clause.add(select.naive(cutoff))}"


def as_it_stands(metric: Metric, query: Query, when: When = always) -> Written:
    """The metric's own numerator and denominator. It has both, or is a median: then x counts those up to the median."""
    if metric.quantile is not None:
        return _around_median(metric, query, when)

    def reading(clause: select.Clause) -> Reading:
        rows = source_rows(metric.source, query, clause, FACTS)
        x, n = (written(clause.sql, part) for part in (metric.numerator, metric.denominator or "NULL"))
        if metric.by_currency:
            return Reading(rows, f"CAST({x} AS DOUBLE) / {MICROS}.0", n, when(clause), "currency")
        return Reading(rows, x, n, when(clause))

    return reading


def _around_median(metric: Metric, query: Query, when: When) -> Written:
    """n values of the segment, x of them up to its median."""

    def reading(clause: select.Clause) -> Reading:
        rows, value = source_rows(metric.source, query, clause, FACTS), metric.quantile or ""
        counts = f"{select.in_period('moment', query.period, clause)} AND {when(clause)}"
        middle = f"{clause.sql.quantiles(value, [0.5])}[1]"
        both = f"""SELECT r.*, m.middle FROM ({rows}) r
          JOIN (SELECT segment, {middle} AS middle FROM ({rows}) WHERE {counts} GROUP BY segment) m
          ON m.segment = r.segment"""
        return Reading(both, where(f"{value} <= middle"), f"count({value})", when(clause))

    return reading


def cutoff_of(query: Query, wait: Maturity) -> datetime:
    """Who entered then or before is old enough."""
    return at_minute(query).now - wait.micros * MICROSECOND


class Ages(NamedTuple):
    """As SQL over `rows` of conversations: who `entered` what a metric is of, and who did so long enough ago."""

    rows: str
    entered: str
    old: str


def ages(metric: Metric, query: Query, wait: Maturity, recorded: Set[str], clause: select.Clause) -> Ages:
    """Who is old enough for a cohort metric: entered the first stage of a rate `wait` ago or earlier, else started."""
    rows, cutoff = "SELECT *, started_at AS moment FROM c", cutoff_of(query, wait)
    if not metric.stages:
        return Ages(rows, "true", since(cutoff)(clause))
    if waits_for_date(_step(metric), recorded):
        rows = f"""SELECT c.*, c.started_at AS moment, due.due_at AS due FROM c
          LEFT JOIN {due_dates()} due ON due.key = c.key AND due.conversation_id = c.id"""
    moment, entered = clause.add(select.naive(at_minute(query).now)), _entered(metric, recorded)
    begun = f"{reached_at(_step(metric).source)} < {moment}"
    return Ages(rows, begun, f"{begun} AND {entered} < {moment} AND {entered} <= {clause.add(select.naive(cutoff))}")


def _step(metric: Metric) -> Step:
    target, source = metric.stages
    return Step(source, target)


def _entered(metric: Metric, recorded: Set[str]) -> str:
    """When the clock of a rate between stages starts."""
    reached = reached_at(_step(metric).source)
    if not waits_for_date(_step(metric), recorded):
        return reached
    return f"CASE WHEN due IS NULL THEN {reached} ELSE greatest(due, {reached}) END"


def when_old(metric: Metric, query: Query, wait: Maturity, recorded: Set[str]) -> Written:
    """A cohort metric of those that entered `wait` ago or earlier.

    A rate between stages is the matured one: of those that entered its first stage so long ago the share that went on
    within as long. Other metrics count conversations that started so long ago, as they stand.
    """
    if not metric.stages:
        return as_it_stands(metric, query, since(cutoff_of(query, wait)))

    def reading(clause: select.Clause) -> Reading:
        rows, _, old = ages(metric, query, wait, recorded, clause)
        moment, entered = clause.add(select.naive(at_minute(query).now)), _entered(metric, recorded)
        went_on = reached_at(_step(metric).target)
        won = f"{went_on} < {moment} AND date_diff('microsecond', {entered}, {went_on}) <= {wait.micros}"
        return Reading(rows, where(f"{old} AND {won}"), where(old))

    return reading


def wait_for(metric: Metric, waits: Waits) -> Maturity | None:
    """How long a metric's conversations are waited for: a rate between stages from its first stage on."""
    if metric.stages:
        return waits.of(_step(metric))
    return wait_of(metric, waits)


class Aged(NamedTuple):
    """How the conversations of two periods are made equally old.

    Only those count that started at `cutoff` or before, and with `follow` (microseconds) what they did within as long
    of their start; without it, as of now.
    """

    cutoff: datetime
    follow: int | None


def can_be_cut(metric: Metric) -> bool:
    """Whether it is known when each conversation came to count."""
    return bool(metric.stages) or metric.name in _AT


def at_one_age(metric: Metric, query: Query, aged: Aged | None) -> Written:
    """A metric of conversations that are equally old."""
    if aged is None:
        return as_it_stands(metric, query)
    cutoff, follow = aged

    def reading(clause: select.Clause) -> Reading:
        if follow is None:
            return as_it_stands(metric, query, since(cutoff))(clause)
        x, n = share_within(metric, follow)
        rows = "SELECT *, started_at AS moment FROM c"
        return Reading(rows, where(f"{x} AND {n}"), where(n), since(cutoff)(clause))

    return reading


def share_within(metric: Metric, follow: int) -> tuple[str, str]:
    """Of a metric that can be cut: which conversations have it within `follow` of their start, and which count."""
    if not metric.stages:
        return _within(_AT[metric.name], follow), "true"
    x, n = (within(stage, follow) for stage in metric.stages)
    return x, "true" if metric.stages[1] == "started" else n


def within(stage: str, follow: int) -> str:
    """Whether a conversation came to a stage within `follow` of its start."""
    return _within(reached_at(stage), follow)


def _within(at: str, follow: int) -> str:
    return f"date_diff('microsecond', started_at, {at}) <= {follow}"
