"""Experiments: which variant is really better, per exposed unit, and what to do about it (SEMANTICS §7).

`exposures` says who was exposed and what came of it, `trials` measures and compares, `trust` says whether that can be
believed, `decisions` what to do. Here are the question, the answer, and the conversations behind a count.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import polars as pl

from dropoff.analyse import select
from dropoff.analyse.answers import instant
from dropoff.analyse.experiments import exposures
from dropoff.analyse.experiments.plans import HORIZONS, horizon_of
from dropoff.analyse.experiments.trials import Arm, Context, Trial, ends
from dropoff.analyse.maturity import DAY
from dropoff.analyse.young import Young
from dropoff.errors import InvalidInput, Missing, NotFound
from dropoff.periods import Period, midnight
from dropoff.project.experiments import GOALS, GUARDRAILS, Experiment, Goal, stage_of
from dropoff.query import Params, Query, one
from dropoff.store.base import Store


class Asked(NamedTuple):
    """What of experiments is asked: of one or all, which goals (all where none is named), read in which way."""

    name: str | None = None
    goals: tuple[str, ...] = ()
    horizon: str = HORIZONS[0]


def parse(params: Params) -> Asked:
    """From the parameters of a URL; raises `InvalidInput` for a goal or horizon that does not exist."""
    goals = tuple(stage_of(name) for name in params.get("goal", ()) if name)
    return Asked(one(params, "name"), goals, horizon_of(params))


BEHIND = ("experiment", "variant", "goal")
"""What leads from a count to its conversations."""


def parse_behind(params: Params) -> tuple[str, str, str | None] | None:
    """Experiment, variant and goal of a list, None where it is of no experiment; raises `InvalidInput` for a part."""
    name, variant, goal = (one(params, key) for key in BEHIND)
    if name is None and variant is None and goal is None:
        return None
    if name is None:
        raise Missing("experiment", "given where a variant or a goal is")
    if variant is None:
        raise Missing("variant", "given where an experiment is")
    for key in ("stage", "within", "dropped"):
        if (text := one(params, key)) is not None:
            raise InvalidInput(key, text, "left out where an experiment is given")
    return name, variant, goal if goal is None else stage_of(goal)


def answer(
    store: Store, query: Query, planned: Mapping[str, Experiment], young: Young, asked: Asked, *, whole: bool = False
) -> dict[str, Any]:
    """The experiments of units first exposed in the period; `whole`: the period is cut to where there are any."""
    recorded = select.recorded_stages(store)
    waits = young.waits(store, query, recorded)
    context = Context.of(planned, waits, recorded, query, asked.horizon)
    found, spans = {}, []
    for name, (units, _) in exposures.each(store, query, planned, asked.name):
        if asked.name is not None and units.is_empty() and asked.name not in planned:
            raise NotFound(f"nobody was exposed to an experiment {asked.name!r} in this period")
        found[name] = Trial.of(name, units, context, asked.goals).to_dict()
        spans += [] if units.is_empty() else [ends(units)]
        del units  # while the next are read
    return {
        "period": (_span(spans, query) if whole else query.period).to_dict(),
        "as_of": instant(query.now),
        "definition": {
            "unit": "contact, else conversation",
            "horizon": asked.horizon,
            "text": _text(asked.horizon),
            "goals": [_goal(goal, context) for goal in GOALS.values() if goal.stage in recorded],
            "guardrails": [_goal(goal, context) for goal in GUARDRAILS.values()],
        },
        "experiments": sorted(found.values(), key=lambda one: (one["kind"] == "observational", one["experiment"])),
    }


def _span(spans: Sequence[tuple[Any, Any]], query: Query) -> Period:
    """The whole days in which units were exposed; the query's period where there are none."""
    if not spans:
        return query.period
    zone = ZoneInfo(query.period.timezone)
    moments = min(first for first, _ in spans), max(last for _, last in spans)
    first, last = (moment.replace(tzinfo=ZoneInfo("UTC")).astimezone(zone).date() for moment in moments)
    return Period(midnight(first, zone), midnight(last + timedelta(days=1), zone), query.period.timezone)


def _goal(goal: Goal, context: Context) -> dict[str, Any]:
    return {"metric": goal.name, "good": goal.good, "maturity_days": context.wait(goal) / DAY}


def _text(horizon: str) -> str:
    how = "by a sequence that holds at every look" if horizon == "sequential" else "by tests of one look at the end"
    return (
        "Exposed units that reach a stage at or after their first exposure, within its maturity time, of those exposed "
        f"as long ago. Differences from the control are read {how}."
    )


def behind(
    store: Store,
    query: Query,
    planned: Mapping[str, Experiment],
    young: Young,
    name: str,
    variant: str,
    goal: str | None,
) -> list[str]:
    """The conversations behind a count: of first exposures, or those in which mature units came to a goal."""
    [(_, (units, talks))] = exposures.each(store, query, planned, name)
    of_arm = units.filter(pl.col("variant") == variant)
    if goal is None:
        return exposures.ids(store, of_arm["talk"])
    recorded = select.recorded_stages(store)
    context = Context.of(planned, young.waits(store, query, recorded), recorded, query, HORIZONS[0])
    aim = GOALS[stage_of(goal)]
    if aim.stage not in recorded:
        return []
    arm, wait = Arm(variant, of_arm), context.wait(aim)
    kept = of_arm.filter(pl.Series(arm.old(wait, context.now) & (arm.values(aim, wait) > 0)))
    return exposures.ids(store, exposures.reached_in(exposures.Read(kept, talks), aim.stage))


def listed(name: str, variant: str, goal: str | None) -> str:
    """What such a list holds."""
    if goal is None:
        return f"Conversations in which units were first exposed to {variant} of {name}."
    return f"Conversations in which units exposed to {variant} of {name} first came to {stage_of(goal)} afterwards."
