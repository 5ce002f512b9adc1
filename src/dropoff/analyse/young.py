"""Young cohorts beside their histories: from the store to matured and projected rates of the funnel's stages.

A conversation enters a stage when it reached it or a later one (mode `reached`), leaves it for the next recorded stage
in the same way, or ends otherwise: opted out, lost, disqualified, where that is how it stands (`final`). As nothing of
a stage follows such an end, it lies at or after the latest stage, whenever its first sign came.

From booked to attended the clock starts when the meeting is due: at the earliest date among those that were not called
off (among all, where all were), never before the booking; at the booking where no date is known. A meeting that is not
due yet is not waited for, even where it was kept early, or the early ones would count before the others can.

Maturity times come from the whole real traffic of the project, so that segments are compared at one age. What a
projection borrows comes from the query's own population, its filters included: others convert otherwise. Both are read
from conversations that started in the 12 months and 180 days before `now`, as no event is attributed later than that.
Both see the world as it was at a whole minute, so that questions asked one after the other agree: the last one, or up
to an hour before it where they take long to read (`memory.py`).
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from dropoff.analyse import maturity, select
from dropoff.analyse.answers import Number
from dropoff.analyse.maturity import (
    DAY,
    LONGEST,
    MATURE,
    MEMORY,
    NEVER,
    NO_ENTRIES,
    Entries,
    History,
    Ints,
    Maturity,
    Outlook,
    Rest,
)
from dropoff.analyse.memory import Memory
from dropoff.analyse.remembered import Remembered
from dropoff.metrics import HORIZON, STEP_DAYS
from dropoff.periods import MICROSECOND, to_micros
from dropoff.query import Query
from dropoff.store.base import Store
from dropoff.store.sql import PHYSICAL, STAGES

_NAMES = tuple(STAGES)
_NAMED_RATES = (("attended", "converted"),)  # of which no other stage is the one before
_CALENDAR = ("week", "month")


class Step(NamedTuple):
    """From one stage to a later one."""

    source: str
    target: str


class Instants(NamedTuple):
    """Conversations, an element each, in microseconds; `NEVER` where it has not come.

    `reached`: for each stage when it or a later one came; `due`: the meeting's date; `ended`: opted out and so on.
    """

    started: Ints
    reached: tuple[Ints, ...]
    due: Ints
    ended: Ints

    def entered(self, stage: str, places: Ints, *, when_due: bool) -> Ints:
        """When those at these places entered a stage; `when_due`: the clock waits for the meeting's date."""
        entered = self.reached[_NAMES.index(stage)][places]
        if not when_due:
            return entered
        due = self.due[places]
        return np.where(due < NEVER, np.maximum(due, entered), entered)

    def cut(self, starts: Sequence[int]) -> Iterator["Instants"]:
        """Those that started in each of the buckets that begin at these ascending instants."""
        if not starts:
            return
        order = np.argsort(self.started, kind="stable")
        ends = np.searchsorted(self.started[order], [*starts, NEVER])
        for first, last in pairwise(ends):
            yield self.at(order[first:last])

    def at(self, places: Ints) -> "Instants":
        """Those at these places."""
        return Instants(
            self.started[places], tuple(times[places] for times in self.reached), self.due[places], self.ended[places]
        )


class Known:
    """What was known of conversations just before `now`: who had come to which stage, and who had ended.

    From stage to stage fewer are looked at. Not for several threads at once.
    """

    def __init__(self, instants: Instants, now: int) -> None:
        self._instants, self._now = instants, now
        there = np.arange(len(instants.started))
        self._there = [there := there[reached[there] < now] for reached in instants.reached]
        self._ended = np.flatnonzero(instants.ended < now)
        self._ages: dict[tuple[str, bool], Ints] = {}

    def entries(self, step: Step, recorded: Set[str]) -> Entries:
        """The entries into a step of a project that records these stages."""
        when_due = waits_for_date(step, recorded)
        source, target = (self._instants.reached[_NAMES.index(stage)] for stage in step)
        gone = self._ended[(source[self._ended] < self._now) & (target[self._ended] >= self._now)]
        over = np.concatenate((self._there[_NAMES.index(step.target)], gone))
        return maturity.follow(
            self._instants.entered(step.source, over, when_due=when_due), target[over], [self._instants.ended[over]],
            self._now, self._ages_of(step.source, when_due),
        )  # fmt: skip

    def _ages_of(self, stage: str, when_due: bool) -> Ints:
        """Of all entries into a stage, for every step from it."""
        if (stage, when_due) not in self._ages:
            entered = self._instants.entered(stage, self._there[_NAMES.index(stage)], when_due=when_due)
            self._ages[stage, when_due] = maturity.ages_of(entered, self._now)
        return self._ages[stage, when_due]


def read(store: Store, query: Query, since: datetime, until: datetime, *, started: bool = True) -> dict[str, Instants]:
    """By segment the conversations of a query that started in [since, until). One statement.

    `started`: the segments are those of the query's period as a funnel counts them; otherwise as a history does.
    """
    clause = select.Clause(store.dialect)
    period = replace(query.period, start=since, end=until)
    rows = select.conversations(replace(query, period=period) if started else query, clause, started=started)
    stages = ", ".join(f"c.{column} AS {stage}" for stage, column in STAGES.items())
    span = select.in_period("started_at", period, clause)
    found = store.frame(
        f"""SELECT c.segment, {stages}, due.due_at AS due,
          CASE c.final WHEN 'opted_out' THEN c.opted_out_at WHEN 'lost' THEN c.lost_at
            WHEN 'disqualified' THEN c.disqualified_at END AS ended
        FROM {rows} c
        LEFT JOIN {due_dates(f"key IN (SELECT key FROM {PHYSICAL['conversations']} WHERE {span})")} due
        ON due.key = c.key AND due.conversation_id = c.id
        WHERE {span}""",
        clause.parameters,
    )
    if query.by is None and not query.segments:  # nothing has to be copied
        return {"": _instants(found)} if len(found) else {}
    parts = found.partition_by("segment", as_dict=True)
    return {str(segment): _instants(part) for (segment,), part in parts.items()}


def due_dates(where: str = "true") -> str:
    """When the meeting of a conversation is due: `key`, `conversation_id`, `due_at`."""
    return f"""(
      SELECT key, conversation_id, coalesce(min(due_at) FILTER (WHERE state <> 'canceled'), min(due_at)) AS due_at
      FROM {PHYSICAL["meetings"]} WHERE {where} GROUP BY key, conversation_id)"""


def _instants(rows: pl.DataFrame) -> Instants:
    filled = rows.select(pl.col(*_NAMES, "due", "ended").cast(pl.Datetime("us")).to_physical().fill_null(NEVER))
    times = {column.name: column.to_numpy() for column in filled}
    reached = [times[_NAMES[-1]]]
    for stage in reversed(_NAMES[:-1]):
        reached.append(np.minimum(times[stage], reached[-1]))
    over = np.flatnonzero(times["ended"] < NEVER)
    latest = times["ended"][over]
    for stage in _NAMES:
        came = times[stage][over]
        latest = np.where(came < NEVER, np.maximum(came, latest), latest)
    ended = np.full(len(rows), NEVER)
    ended[over] = latest
    return Instants(times["started"], tuple(reversed(reached)), times["due"], ended)


NOBODY = _instants(pl.DataFrame(schema=dict.fromkeys((*_NAMES, "due", "ended"), pl.Datetime("us"))))


@dataclass(frozen=True, slots=True)
class Waits:
    """How long each stage is waited for after the recorded one before it; `lead`: how long meetings are booked ahead.

    Nine in ten meetings were due within the lead of their booking; it is 0 where none has a date.
    """

    stages: Mapping[str, Maturity]
    recorded: Set[str]
    lead: int = 0

    def of(self, step: Step) -> Maturity:
        """M of a step: added up along its recorded stages, with the lead where its clock does not wait for the date."""
        path = _path(step, self.recorded)
        found = maturity.chain([self.stages[stage] for stage in path])
        ahead = "booked" in path and "attended" in path
        return replace(found, micros=found.micros + self.lead) if ahead else found

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """For each recorded stage but the first `{"days", "source", "conversions"}`; `lead_days` of the attendance."""
        return {
            stage: {"days": wait.days, "source": wait.source, "conversions": wait.conversions}
            | ({"lead_days": self.lead / DAY} if stage == "attended" and "booked" in self.recorded else {})
            for stage, wait in self.stages.items()
            if stage in self.recorded
        }


def _path(step: Step, recorded: Set[str]) -> list[str]:
    """The stages that a step passes: the recorded ones after its source, and its target."""
    first, last = (_NAMES.index(stage) for stage in step)
    return [stage for stage in _NAMES[first + 1 : last] if stage in recorded] + [step.target]


def waits_for_date(step: Step, recorded: Set[str]) -> bool:
    """Whether the clock of a step starts when the meeting is due."""
    return step.source == "booked" and _path(step, recorded)[0] == "attended"


def _before(stage: str, recorded: Set[str]) -> Step:
    """The step into a stage, from the recorded one before it."""
    return Step(next(s for s in reversed(_NAMES[: _NAMES.index(stage)]) if s in recorded), stage)


def steps(recorded: Set[str]) -> list[Step]:
    """All steps of which there are rates."""
    known = [stage for stage in _NAMES[1:] if stage in recorded]
    found = [_before(stage, recorded) for stage in known] + [Step(_NAMES[0], stage) for stage in known]
    return list(dict.fromkeys(found + [Step(*rate) for rate in _NAMED_RATES if recorded >= set(rate)]))


@dataclass(frozen=True, slots=True)
class Population:
    """What the last 12 months say: M of each step, the rest of a history by segment and step, and the lead."""

    learned: Mapping[Step, Maturity]
    rests: Mapping[str, Mapping[Step, Rest]]
    lead: int


@dataclass(frozen=True, slots=True)
class Cohort:
    """What the rates of the conversations behind one cell come to."""

    waits: Waits
    outlooks: Mapping[Step, Outlook]

    def beside(self, naive: Number, source: str, target: str) -> Number:
        """The naive rate from one stage to another with the matured and the projected one. The naive one stays."""
        step = Step(source, target)
        found = self.outlooks.get(step) or maturity.outlook(NO_ENTRIES, None, self.waits.of(step))
        return replace(naive, matured=found.matured, projected=found.projected)


@dataclass(frozen=True, slots=True)
class Cohorts:
    """The cohorts of an answer by segment and bucket; that of all buckets stands under None."""

    waits: Waits
    _cells: Mapping[tuple[str, int | None], Mapping[Step, Outlook]]

    def of(self, segment: str = "", bucket: int | None = None) -> Cohort:
        """The cohort of a cell; of nobody where there is none."""
        return Cohort(self.waits, self._cells.get((segment, bucket), {}))


class Young:
    """Matured and projected rates; histories are remembered, and what takes long to make of them.

    `settings`: days by stage, and `horizon`, as in `[maturity]` of `dropoff.toml`. Called by any thread.
    """

    def __init__(self, settings: Mapping[str, float] = MappingProxyType({})) -> None:
        self._settings = settings
        self._memory = Memory[Population]()
        self._kept = Remembered()

    def waits(self, store: Store, query: Query, recorded: Set[str]) -> Waits:
        """M of every stage, for the project as a whole: the query says which time is now and what is test traffic."""
        project = replace(at_minute(query), where=(), by=None, segments=(), include_test=False)
        whole = self._population(store, project, recorded)
        found = {stage: self._wait(stage, whole.learned.get(_before(stage, recorded)), recorded) for stage in STEP_DAYS}
        return Waits(found, recorded, whole.lead)

    def _wait(self, stage: str, learned: Maturity | None, recorded: Set[str]) -> Maturity:
        if stage in self._settings:
            days, conversions = self._settings[stage], learned.conversions if learned else 0
            return Maturity(round(days * DAY), "configured", conversions)
        return learned or Maturity(round(_default_days(_before(stage, recorded)) * DAY), "default")

    def cohorts(self, store: Store, query: Query, recorded: Set[str], rates: Sequence[Step]) -> Cohorts:
        """The cohort of each segment of a query; kept as answers are, where it takes long (`remembered.py`)."""
        key = (replace(query, now=query.period.start), frozenset(recorded), tuple(rates))  # whenever it is asked
        return self._kept.get(store, key, query.now, lambda: self.over_time(store, query, recorded, rates)).answer

    def over_time(
        self, store: Store, query: Query, recorded: Set[str], rates: Sequence[Step], starts: Sequence[int] = ()
    ) -> Cohorts:
        """The same made anew, and in each segment the cohort of each bucket that begins at one of `starts`."""
        query = at_minute(query)
        waits, population = self.waits(store, query, recorded), self._population(store, query, recorded)
        cells: dict[tuple[str, int | None], dict[Step, Outlook]] = {}
        for segment, instants in read(store, query, query.period.start, query.period.end).items():
            # A week or a month is a cohort itself: it goes on like the others, not like itself.
            rests = population.rests.get("" if query.by in _CALENDAR else segment, {})
            for bucket, part in [(None, instants), *enumerate(instants.cut(starts))]:
                known = Known(part, to_micros(query.now))
                cells[segment, bucket] = {
                    step: maturity.outlook(known.entries(step, recorded), rests.get(step), waits.of(step))
                    for step in rates
                }
        return Cohorts(waits, cells)

    def _population(self, store: Store, query: Query, recorded: Set[str]) -> Population:
        """What is remembered of the query's population, or what the store says now."""
        if query.by in _CALENDAR:
            return self._population(store, replace(query, by=None), recorded)
        period = query.period if query.by is not None else None  # it says which segments there are
        key = (query.where, query.by, period, query.include_test, query.test, frozenset(recorded))
        return self._memory.get(store, key, query.now, lambda: self._learn(store, query, recorded))

    def _horizons(self, store: Store, query: Query, recorded: Set[str]) -> dict[Step, int]:
        """Segments are projected to one age, that of all of them together."""
        whole = self._population(store, replace(query, by=None), recorded)
        return {step: rest.horizon for step, rest in whole.rests.get("", {}).items()}

    def _learn(self, store: Store, query: Query, recorded: Set[str]) -> Population:
        horizons = {} if query.by is None else self._horizons(store, query, recorded)
        now = to_micros(query.now)
        since = query.now - (MEMORY + LONGEST) * MICROSECOND
        found = read(store, query, since, query.now, started=query.by is None)
        learned: dict[Step, Maturity] = {}
        rests: dict[str, dict[Step, Rest]] = {}
        for segment, instants in found.items():
            rests[segment], known = {}, Known(instants, now)
            for step in steps(recorded):
                past = maturity.history(known.entries(step, recorded))
                if query.by is None:
                    learned[step] = maturity.learned(past, _default_days(step))
                if horizon := horizons.get(step, 0) if query.by is not None else self._horizon(past):
                    rests[segment][step] = maturity.beyond(past, horizon)
        return Population(learned, rests, _lead(found.get("", NOBODY), now))

    def _horizon(self, past: History) -> int:
        """The age for which rates are projected, in whole days; 0 where there is no history of a day."""
        return round(self._settings[HORIZON] * DAY) if HORIZON in self._settings else past.oldest // DAY * DAY


def at_minute(query: Query) -> Query:
    """The same question at the last whole minute."""
    return replace(query, now=query.now.replace(second=0, microsecond=0))


def _default_days(step: Step) -> int:
    first, last = (_NAMES.index(stage) for stage in step)
    return sum(STEP_DAYS[stage] for stage in _NAMES[first + 1 : last + 1])


def _lead(instants: Instants, now: int) -> int:
    """Within how long of the booking nine in ten meetings of the last 12 months were due."""
    booked = instants.reached[_NAMES.index("booked")]
    dated = (booked >= now - MEMORY) & (booked < now) & (instants.due < NEVER)
    ahead = np.sort(np.maximum(instants.due - booked, 0)[dated])
    return int(ahead[int(np.ceil(MATURE * len(ahead))) - 1]) if len(ahead) else 0
