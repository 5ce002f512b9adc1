"""One experiment: its arms, what came of their units, how each differs from the control, and what is still needed.

A goal is the share of exposed units that reach a stage at or after their first exposure, within the stage's maturity
time; a unit counts once it was exposed as long ago. Rates from one stage to the next are shown, never tested: who
comes to the first of them depends on the variant already, so that those who do are not comparable.

A difference is read by a confidence sequence, which holds however often one looks; or, as an option, by the tests of
one look at a fixed horizon. Both take the variance off that a covariate explains which was known before the exposure
(CUPED: Deng, Xu, Kohavi & Walker 2013).
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property, partial
from itertools import pairwise
from math import ceil
from typing import Any, NamedTuple, Self

import numpy as np
import polars as pl

from dropoff.analyse import stats
from dropoff.analyse.answers import Number, instant, ratio, share
from dropoff.analyse.experiments import decisions, power, sequential, trust
from dropoff.analyse.experiments.exposures import WATCHED, experiment_of
from dropoff.analyse.maturity import DAY, NEVER, Floats, Ints
from dropoff.analyse.stats import ENOUGH, SIGNIFICANT, Comparison, Covaried, Moments, Share
from dropoff.analyse.young import Step, Waits
from dropoff.periods import MICROSECOND, to_micros
from dropoff.project.experiments import COVARIATES, GOALS, GUARDRAILS, Experiment, Goal
from dropoff.query import Query

CONTROLS = ("control", "baseline", "original", "default", "off")
"""What the control is called where no setting names the variants."""

RECENT = timedelta(days=14)
"""The time up to the end of the period, or to now if that is earlier, by which the inflow of units is measured."""


class Context(NamedTuple):
    """What all experiments of an answer share. `now`, and `span`: the days asked about so far, in microseconds."""

    planned: Mapping[str, Experiment]
    waits: Waits
    recorded: Set[str]
    now: int
    span: tuple[int, int]
    horizon: str

    @classmethod
    def of(
        cls, planned: Mapping[str, Experiment], waits: Waits, recorded: Set[str], query: Query, horizon: str
    ) -> Self:
        """What the experiments of this question share."""
        now, start, end = (to_micros(when) for when in (query.now, query.period.start, query.period.end))
        return cls(planned, waits, recorded, now, (start, min(end, now)), horizon)

    def wait(self, goal: Goal) -> int:
        """How long after its exposure a unit is waited for, in microseconds."""
        return self.waits.of(Step("started", goal.stage)).micros if goal.stage else WATCHED // MICROSECOND


@dataclass(frozen=True, eq=False)
class Arm:
    """The units of a variant: arrays of an element each, instants in microseconds (`NEVER`: it has not come)."""

    variant: str
    units: pl.DataFrame

    @cached_property
    def at(self) -> Ints:
        """When each was first exposed."""
        return self.times("at")

    def times(self, name: str) -> Ints:
        """When each came to a stage, opted out, …"""
        return self.units[name].cast(pl.Datetime("us")).to_physical().fill_null(NEVER).to_numpy()

    def covariate(self, name: str) -> Floats:
        """What was known of each before; NaN where nothing was."""
        return self.units[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()

    def values(self, goal: Goal, wait: int) -> Floats:
        """Of each unit: 1 where it came to the goal within the time, else 0; of the sentiment its mean, else 0."""
        if goal.name == GUARDRAILS["sentiment"].name:
            return np.nan_to_num(self.covariate("sentiment"))
        times = self.times(goal.stage or goal.name.removesuffix("_per_unit"))
        return ((times < NEVER) & (times - self.at <= wait)).astype(np.float64)

    def old(self, wait: int, now: int) -> np.ndarray:
        """Which of them were exposed that long ago."""
        return now - self.at >= wait


class Measured(NamedTuple):
    """A goal in an arm: the mature units, their sum and sum of squares, and how many are too young."""

    moments: Moments
    immature: int
    is_share: bool

    def to_dict(self) -> dict[str, Any]:
        """`value`, `n`, `interval` (of one look) and what they are made of."""
        n, total, _ = self.moments
        number = share(total, n) if self.is_share else ratio(total, n)
        interval = number.interval if self.is_share else stats.mean_interval(self.moments)
        return {"value": number.value, "n": n, "interval": interval, "numerator": total, "immature": self.immature}


@dataclass(frozen=True, eq=False)
class Trial:
    """One experiment: its arms, the control first, and the units that none of them takes in."""

    name: str
    settings: Experiment
    arms: tuple[Arm, ...]
    units: pl.DataFrame
    goals: tuple[Goal, ...]
    context: Context

    @classmethod
    def of(cls, name: str, units: pl.DataFrame, context: Context, goals: Sequence[str] = ()) -> "Trial":
        """From the units exposed to it. `goals`: stages, else those of its settings, else all that are recorded."""
        settings = experiment_of(context.planned, name)
        seen = sorted(str(variant) for variant in units["variant"].unique() if variant is not None)
        seen.sort(key=lambda variant: variant.lower() not in CONTROLS)
        parts = {variant: units.filter(pl.col("variant") == variant) for variant in settings.variants or seen}
        wanted = [stage for stage in (goals or settings.goals or GOALS) if stage in context.recorded]
        arms = tuple(Arm(variant, part) for variant, part in parts.items())
        return cls(name, settings, arms, units, tuple(GOALS[stage] for stage in wanted), context)

    @property
    def has_control(self) -> bool:
        """One arm is what there was before, by its place in the settings or by its name."""
        return bool(self.settings.variants) or (bool(self.arms) and self.arms[0].variant.lower() in CONTROLS)

    @cached_property
    def covariate(self) -> str | None:
        """What differences are adjusted by; chosen by who has it, never by what came out."""
        wanted = self.settings.covariate
        if wanted != "auto":
            return None if wanted == "none" else wanted
        known = self.units["lead_score"].count()
        if known and known >= self.units.height / 2:
            return COVARIATES[0]
        return COVARIATES[1] if (self.units["earlier_replies"] > 0).sum() >= ENOUGH else None

    @cached_property
    def filled(self) -> dict[str, Floats]:
        """The covariate of each arm's units; whoever has none counts as the mean of those that do."""
        if self.covariate is None:
            return {}
        found = {arm.variant: arm.covariate(self.covariate) for arm in self.arms}
        known = np.concatenate(list(found.values())) if found else np.zeros(0)
        known = known[~np.isnan(known)]
        middle = float(known.mean()) if len(known) else 0.0
        return {variant: np.where(np.isnan(values), middle, values) for variant, values in found.items()}

    @cached_property
    def _known(self) -> dict[tuple[str, str], Measured]:
        return {}

    def measured(self, arm: Arm, goal: Goal) -> Measured:
        """A goal in an arm."""
        if (arm.variant, goal.name) not in self._known:
            self._known[arm.variant, goal.name] = self._measure(arm, goal)
        return self._known[arm.variant, goal.name]

    def _measure(self, arm: Arm, goal: Goal) -> Measured:
        wait = self.context.wait(goal)
        old = arm.old(wait, self.context.now)
        values = arm.values(goal, wait)[old]
        moments = Moments(len(values), float(values.sum()), float((values * values).sum()))
        return Measured(moments, len(old) - len(values), goal.name != GUARDRAILS["sentiment"].name)

    def _covaried(self, arm: Arm, goal: Goal) -> Covaried:
        wait = self.context.wait(goal)
        old = arm.old(wait, self.context.now)
        y, x = arm.values(goal, wait)[old], self.filled[arm.variant][old]
        sums = (float(part.sum()) for part in (y, y * y, x, x * x, x * y))
        return Covaried(len(y), *sums)

    @property
    def planned(self) -> float:
        """Units of an arm and the control together that the sequence is made for."""
        return self.settings.planned * 2 / max(len(self.arms), 2)

    def compare(self, arm: Arm, goal: Goal) -> dict[str, Any]:
        """An arm against the control. With fewer than 30 units, or 5 of an outcome to be expected, nothing is said."""
        a, b = self.measured(arm, goal), self.measured(self.arms[0], goal)
        found = {"metric": goal.name, "a": arm.variant, "b": self.arms[0].variant, "good": goal.good}
        found |= {"n": a.moments.n + b.moments.n, "covariate": None, "variance_reduction": None, "unadjusted": None}
        plain = self._difference(a.moments, b.moments, is_share=a.is_share)
        if plain is None:
            simple = _minus(a.moments, b.moments)
            return found | {"difference": simple, "interval": None, "p_value": None, "test": None}
        adjusted = self._adjusted(arm, goal, is_share=a.is_share) if plain.p_value is not None else None
        if adjusted is not None:
            moments, reduction = adjusted
            exact = self._difference(*moments, is_share=False)
            if exact is not None:
                found |= {"covariate": self.covariate, "variance_reduction": reduction, "unadjusted": _shown(plain)}
                plain = exact
        return found | _shown(plain)

    def _difference(self, a: Moments, b: Moments, *, is_share: bool) -> Comparison | None:
        """By the way in which the experiment is read; None where there are too few."""
        if min(a.n, b.n) < ENOUGH:
            return None
        if self.context.horizon == "fixed":
            shares = (Share(round(a.total), a.n), Share(round(b.total), b.n))
            return stats.compare_shares(*shares) if is_share else stats.welch(a, b)
        if is_share and _has_small_cell(a, b):
            return None
        variance = a.variance / a.n + b.variance / b.n
        if not variance:
            return None
        return sequential.confidence_sequence(a.mean - b.mean, variance, a.n + b.n, self.planned)

    def _adjusted(self, arm: Arm, goal: Goal, *, is_share: bool) -> tuple[tuple[Moments, Moments], float] | None:
        """Both arms without what the covariate explains, and the part of the variance that this took."""
        if self.covariate is None:
            return None
        of_a, of_b = self._covaried(arm, goal), self._covaried(self.arms[0], goal)
        plain = [Moments(one.n, one.total, one.squares) for one in (of_a, of_b)]
        if is_share and _has_small_cell(*plain):
            return None
        found = stats.cuped(of_a, of_b)
        if found is None:
            return None
        a, b, _ = found
        before, after = (sum(one.variance / one.n for one in pair) for pair in (plain, (a, b)))
        return ((a, b), 1 - after / before) if before and after else None

    def to_dict(self) -> dict[str, Any]:
        """The experiment as every surface shows it."""
        goals = [self.compare(arm, goal) for goal in self.goals for arm in self.arms[1:]]
        guards = [self.compare(arm, GUARDRAILS[name]) for name in self.settings.guardrails for arm in self.arms[1:]]
        comparisons, guardrails = with_q_values(goals), with_q_values(guards)
        checks = {
            "sample_ratio": trust.sample_ratio({arm.variant: arm.units for arm in self.arms}, self.settings),
            "mixed_exposure": trust.mixed(self.units),
        }
        needs = self.needs()
        found = decisions.decide(self._facts(checks, comparisons, guardrails, needs))
        return {
            "experiment": self.name,
            "kind": "observational" if self.settings.is_observed() else "experiment",
            "property": self.settings.property,
            "decision": found.decision,
            "variant": found.variant,
            "reason": found.reason,
            "control": self.arms[0].variant if self.has_control else None,
            "units": self.units.height,
            "left_out": self.units.height - sum(arm.units.height for arm in self.arms),
            "first_exposed_at": instant(ends(self.units)[0]),
            "last_exposed_at": instant(ends(self.units)[1]),
            "arms": [self._arm(arm) for arm in self.arms],
            **checks,
            "comparisons": comparisons,
            "guardrails": guardrails,
            "descriptive": self.descriptive(),
            "covariate": self.covariate,
            "planned": self.settings.planned,
            "needed": needs,
        }

    def _facts(self, checks: Mapping[str, Any], goals: list, guards: list, needs: Sequence[Mapping]) -> decisions.Facts:
        return decisions.Facts(
            observed=self.settings.is_observed(),
            variants=tuple(arm.variant for arm in self.arms),
            has_control=self.has_control,
            sample_ratio=checks["sample_ratio"],
            mixed=checks["mixed_exposure"],
            goals=goals,
            guardrails=guards,
            values={
                goal.name: [self.measured(arm, goal).to_dict()["value"] for arm in self.arms] for goal in self.goals
            },
            needs=needs,
            too_early=self.context.horizon == "fixed" and any(not one["is_reached"] for one in needs[:1]),
        )

    def _arm(self, arm: Arm) -> dict[str, Any]:
        watched = (*self.goals, *(GUARDRAILS[name] for name in self.settings.guardrails))
        return {
            "variant": arm.variant,
            "units": arm.units.height,
            "metrics": {goal.name: self.measured(arm, goal).to_dict() for goal in watched},
        }

    def descriptive(self) -> list[dict[str, Any]]:
        """Of the units that came to a stage, those that came to the next one: shown, never tested."""
        stages = [GOALS[stage] for stage in GOALS if stage in self.context.recorded]
        return [
            {
                "from": first.stage,
                "to": then.stage,
                "arms": {arm.variant: self._step(arm, first, then) for arm in self.arms},
            }
            for first, then in pairwise(stages)
        ]

    def _step(self, arm: Arm, first: Goal, then: Goal) -> Number:
        wait = self.context.wait(then)
        old = arm.old(wait, self.context.now)
        came, went_on = (arm.values(goal, wait)[old] > 0 for goal in (first, then))
        return ratio(int((came & went_on).sum()), int(came.sum()))

    def needs(self) -> list[dict[str, Any]]:
        """For each goal: how many units of each arm it takes, what those there find, and the days left."""
        return [self._need(goal) for goal in self.goals] if len(self.arms) > 1 else []

    def _need(self, goal: Goal) -> dict[str, Any]:
        measured = [self.measured(arm, goal) for arm in self.arms]
        have, base = min(one.moments.n for one in measured), measured[0].moments
        rate = base.total / base.n if base.n else 0.0
        find = partial(power.detectable, rate, design=self._design) if 0 < rate < 1 else _nothing
        needed = self._needed_units(rate)
        left = power.days_left(needed, min(arm.units.height for arm in self.arms), self.inflow())
        is_reached = have >= needed
        return {
            "metric": goal.name,
            "have": have,
            "needed": needed,
            "is_reached": is_reached,
            "detectable": find(have) if have >= ENOUGH else None,
            "detectable_at_needed": find(needed),
            "per_day": self.inflow(),
            "days_left": 0 if is_reached else None if left is None else ceil(left + self.context.wait(goal) / DAY),
        }

    @property
    def _design(self) -> power.Design:
        is_sequential = self.context.horizon == "sequential"
        return power.Design(arms=len(self.arms), sequential=is_sequential, planned=self.planned)

    def _needed_units(self, rate: float) -> int:
        """Of each arm: to find the effect of the settings, else its part of the planned size."""
        effect = self.settings.effect
        if effect is not None and 0 < rate < 1 - effect:
            return power.sample_size(rate, effect, self._design)
        return ceil(self.settings.planned / len(self.arms))

    def inflow(self) -> float:
        """Units a day of the arm that gains the fewest, in the last 14 days asked about."""
        start, end = self.context.span
        since = max(start, end - RECENT // MICROSECOND)
        return min(int((arm.at >= since).sum()) for arm in self.arms) * DAY / (end - since) if end > since else 0.0


def _nothing(_: float) -> None:
    return None


def _has_small_cell(a: Moments, b: Moments) -> bool:
    return stats.has_small_cell(Share(round(a.total), a.n), Share(round(b.total), b.n))


def _minus(a: Moments, b: Moments) -> float | None:
    return a.mean - b.mean if a.n and b.n else None


def _shown(found: Comparison) -> dict[str, Any]:
    return {name: getattr(found, name) for name in ("difference", "interval", "p_value", "test")}


def with_q_values(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One family: with its q-values, and whether each difference is for better or worse."""
    q = stats.family([row["p_value"] for row in rows])
    return [row | _judged(row, q_value) for row, q_value in zip(rows, q, strict=True)]


def _judged(row: Mapping[str, Any], q: float | None) -> dict[str, Any]:
    if q is None:
        return {"q_value": None, "verdict": "not enough data"}
    if q >= SIGNIFICANT or not row["difference"]:
        return {"q_value": q, "verdict": "unclear"}
    return {"q_value": q, "verdict": "better" if (row["difference"] > 0) == (row["good"] == "up") else "worse"}


def ends(units: pl.DataFrame) -> tuple[Any, Any]:
    """When the first and the last of these units were exposed, in UTC without saying so."""
    return units["at"].min(), units["at"].max()
