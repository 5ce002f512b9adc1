"""The funnels `sales` and `mission`: counts of stages, rates between them, and where people drop off."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np

from dropoff.analyse import select
from dropoff.analyse.answers import Matured, Number, Projected, instant, ratio, share
from dropoff.analyse.stats import wilson
from dropoff.analyse.young import Young, steps
from dropoff.errors import InvalidInput, did_you_mean
from dropoff.metrics import RATES
from dropoff.query import MULTIPLE, Query
from dropoff.store.base import Store
from dropoff.store.sql import STAGES, reached_at


@dataclass(frozen=True, slots=True)
class Definition:
    """A named funnel. Mode `reached`: a later stage implies the earlier ones; `recorded`: a stage's own event only."""

    name: str
    mode: str
    stages: tuple[str, ...]
    rates: Mapping[str, tuple[str, str]]
    text: str

    def reached_at(self, stage: str) -> str:
        """As SQL when a stage was reached: by its own event, in mode `reached` by that of a later one, too."""
        return STAGES[stage] if self.mode == "recorded" else reached_at(stage)


FUNNELS = {
    "sales": Definition(
        "sales",
        "reached",
        tuple(STAGES),
        RATES,
        "Conversations started in the period, by the furthest stage they reached: a later stage implies the earlier "
        "ones. Each rate is of the conversations of the stage before, with its Wilson 95 % interval.",
    ),
    "mission": Definition(
        "mission",
        "recorded",
        tuple(stage for stage in STAGES if stage != "opportunity"),
        {name: rate for name, rate in RATES.items() if name not in ("opportunity_rate", "win_rate")},
        "Conversations started in the period, a stage counted only by its own event. Plain quotients: they can exceed "
        "1 where a stage was skipped, so they have no interval.",
    ),
}


@dataclass(frozen=True, slots=True)
class Stage:
    """One row of a funnel. `is_recorded` is false where the project has no event of this stage at all."""

    stage: str
    count: int
    recorded: int
    implied: int
    is_recorded: bool
    rate_from_previous: Number
    rate_from_start: Number


@dataclass(frozen=True, slots=True)
class DropOff:
    """Between two consecutive stages: `drop_rate` = 1 - next/current, `volume_lost` = current - next.

    `matured` and `projected`: what those of the rate leave, as far as they are known.
    """

    source: str
    target: str
    drop_rate: float
    volume_lost: int
    interval: tuple[float, float] | None
    matured: Matured | None = None
    projected: Projected | None = None

    def to_dict(self) -> dict[str, Any]:
        """With the names `from` and `to`."""
        return {
            "from": self.source,
            "to": self.target,
            "drop_rate": self.drop_rate,
            "volume_lost": self.volume_lost,
            "interval": self.interval,
            "matured": self.matured,
            "projected": self.projected,
        }

    def with_age(self, rate: Number) -> "DropOff":
        """With what is known of the rate at which these two stages follow one another."""
        return replace(self, matured=_lost(rate.matured), projected=_lost(rate.projected))


Counts = Mapping[str, tuple[int, int]]
"""For each stage of `STAGES` how many conversations reached it, and how many have its own event."""


T = TypeVar("T")


def named(name: str, own: Mapping[str, T] = MappingProxyType({})) -> Definition | T:
    """The funnel of that name, `own` ones included; raises `InvalidInput` listing them otherwise."""
    known = {**own, **FUNNELS}
    if name not in known:
        hint = did_you_mean(name, known, "; ")
        raise InvalidInput("name", name, f"one of {', '.join([*FUNNELS, *own])}{hint}")
    return known[name]


def answer(
    store: Store, query: Query, definition: Definition, threshold: float = 0.0, young: Young | None = None
) -> dict[str, Any]:
    """The funnel of a query: the shape of DESIGN §6, with `segments` when the query has `by`.

    With `young`, in mode `reached`, `maturity` says how long each stage is waited for, and the rates are matured and
    projected, too. In mode `recorded` those who convert need not be among those who entered: there is no share of which
    to say what it will come to.
    """
    found = count(store, query)
    recorded = select.recorded_stages(store)
    reader = young if definition.mode == "reached" else None
    head = {
        "period": query.period.to_dict(),
        "as_of": instant(query.now),
        "definition": {"name": definition.name, "mode": definition.mode, "text": definition.text},
        "test_conversations": count_test(store, query),
    }
    if query.by in MULTIPLE:  # a conversation with two objections stands under both, and counts once
        whole = count(store, replace(query, by=None)).get("", dict.fromkeys(STAGES, (0, 0)))
    else:
        whole = {stage: _add([counts[stage] for counts in found.values()]) for stage in STAGES}
    rates = steps(recorded)
    cohorts = reader.cohorts(store, replace(query, by=None), recorded, rates) if reader else None
    body = describe(whole, recorded, definition, threshold, cohorts.of().beside if cohorts else _alone)
    if cohorts:
        head["maturity"] = cohorts.waits.to_dict()
    if query.by is None:
        return {**head, **body}
    by_value = sorted(found.items(), key=lambda item: (-item[1]["started"][0], item[0]))
    split = reader.cohorts(store, query, recorded, rates) if reader else None
    segments = {
        value: describe(counts, recorded, definition, threshold, split.of(value).beside if split else _alone)
        for value, counts in by_value
    }
    return {**head, **body, "by": query.by, "overlapping": query.overlapping, "segments": segments}


Beside = Callable[[Number, str, str], Number]
"""From a naive rate, and the stages from and to which it leads, to that with the matured and the projected one."""


def _alone(naive: Number, _source: str, _target: str) -> Number:
    return naive


def _add(pairs: Sequence[tuple[int, int]]) -> tuple[int, int]:
    return sum(a for a, _ in pairs), sum(b for _, b in pairs)


def count(store: Store, query: Query) -> dict[str, Counts]:
    """Conversations by stage, for each value of the query's `by` (one value, '', without it)."""
    clause = select.Clause(store.dialect)
    rows = select.conversations(query, clause)
    # Grouped by which of the stages have an event: a count of each stage would be an expression for each row.
    given = " + ".join(
        f"CASE WHEN {column} IS NULL THEN 0 ELSE {1 << i} END" for i, column in enumerate(STAGES.values())
    )
    found = store.select(f"SELECT segment, {given} AS given, count(*) FROM {rows} GROUP BY 1, 2", clause.parameters)
    totals = {value: np.zeros((len(STAGES), 2), int) for value, _, _ in found.rows}
    for value, bits, many in found.rows:
        own = [bits >> i & 1 for i in range(len(STAGES))]
        reached = [i == 0 or bits >> i > 0 for i in range(len(STAGES))]
        totals[value] += many * np.array([reached, own]).T
    return {value: dict(zip(STAGES, map(tuple, pairs.tolist()), strict=True)) for value, pairs in totals.items()}


def count_test(store: Store, query: Query) -> int:
    """How many conversations of the query are test traffic, whether it counts them or not."""
    clause = select.Clause(store.dialect)
    rows = select.conversations(replace(query, include_test=True, by=None), clause)
    return store.select(f"SELECT count(*) FROM {rows} WHERE is_test", clause.parameters).rows[0][0]


def describe(
    counts: Counts, recorded: set[str], definition: Definition, threshold: float, beside: Beside = _alone
) -> dict[str, Any]:
    """Stages, rates and drop-offs: a pure function of the counts, and of what stands `beside` a rate."""
    of_mode = 0 if definition.mode == "reached" else 1
    totals = {stage: counts[stage][of_mode] for stage in definition.stages}
    known = [stage for stage in definition.stages if stage in recorded]
    rate = share if definition.mode == "reached" else ratio

    def between(stage: str, earlier: str | None) -> Number:
        if earlier is None or stage not in recorded or earlier not in recorded:
            return Number(None, totals[stage], totals[earlier] if earlier else 0)
        naive = rate(totals[stage], totals[earlier])
        return naive if stage == earlier else beside(naive, earlier, stage)

    stages = [
        Stage(
            stage=stage,
            count=totals[stage],
            recorded=counts[stage][1],
            implied=totals[stage] - counts[stage][1],
            is_recorded=stage in recorded,
            rate_from_previous=between(stage, _previous(stage, known)),
            rate_from_start=between(stage, definition.stages[0]),
        )
        for stage in definition.stages
    ]
    numbers = {name: between(top, bottom) for name, (top, bottom) in definition.rates.items()}
    losses = drop_offs({stage: totals[stage] for stage in known}, threshold, definition.mode)
    return {
        "stages": stages,
        "rates": {name: number.value for name, number in numbers.items()},
        "numbers": numbers,
        "drop_offs": [loss.with_age(between(loss.target, loss.source)).to_dict() for loss in losses],
    }


Aged = TypeVar("Aged", Matured, Projected)


def _lost(rate: Aged | None) -> Aged | None:
    """The share that did not go on, where a rate is known."""
    if rate is None or rate.value is None:
        return rate
    interval = (1 - rate.interval[1], 1 - rate.interval[0]) if rate.interval else None
    return replace(rate, value=1 - rate.value, interval=interval)


def _previous(stage: str, known: Sequence[str]) -> str | None:
    """The recorded stage before: pairs skip what is never recorded."""
    if stage not in known or known.index(stage) == 0:
        return None
    return known[known.index(stage) - 1]


def drop_offs(totals: Mapping[str, int], threshold: float, mode: str = "recorded") -> list[DropOff]:
    """Consecutive stages with `drop_rate` above the threshold, highest first, then by volume.

    `totals` are the stages' counts in order. Where those at a stage are among those at the one before, the rate has an
    interval: in every mode but `recorded`.
    """
    found = []
    for (source, current), (target, following) in pairwise(totals.items()):
        if current == 0 or 1 - following / current <= threshold:
            continue
        interval = wilson(current - following, current) if mode != "recorded" else None
        found.append(DropOff(source, target, 1 - following / current, current - following, interval))
    return sorted(found, key=lambda d: (-d.drop_rate, -d.volume_lost))
