"""How large an experiment has to be, before it begins."""

from collections.abc import Callable
from math import ceil
from typing import Any

from dropoff.analyse.experiments import power
from dropoff.errors import Missing
from dropoff.project.experiments import PLANNED
from dropoff.query import Params, choice, number, one, whole_number

HORIZONS = ("sequential", "fixed")


def horizon_of(params: Params) -> str:
    """How differences are read: by a sequence that holds at every look, or once at the end."""
    return choice(params, "horizon", HORIZONS, HORIZONS[0])


def answer(params: Params) -> dict[str, Any]:
    """What it takes to find `effect`, an absolute difference, on `base`, the control's share of units.

    `planned` is what to write into `dropoff.toml`: the size for which the sequence is narrowest, all arms together.
    Unless it is given, it is the size that comes out. `days` at `daily` new units, all arms together.
    """
    base, effect = _needed(params, "base", 0), _needed(params, "effect", -1)
    arms, horizon = whole_number(params, "arms", 2, 2, 20), horizon_of(params)
    wanted, daily = number(params, "power", 0.8, 0.051, 0.999), number(params, "daily", 0, 0, 1e9)
    given = None if one(params, "planned") is None else number(params, "planned", PLANNED, 60, 1e9)
    design = power.Design(power=wanted, arms=arms, sequential=horizon == "sequential")

    def per_arm(planned: float) -> int:
        return power.sample_size(base, effect, design._replace(planned=planned * 2 / arms))

    planned = given or _settled(per_arm, arms)
    units = per_arm(planned)
    return {
        "base": base,
        "effect": effect,
        "relative_effect": effect / base,
        "power": wanted,
        "alpha": design.alpha,
        "arms": arms,
        "horizon": horizon,
        "planned": ceil(planned),
        "units_per_arm": units,
        "units": units * arms,
        "daily": daily or None,
        "days": ceil(units * arms / daily) if daily else None,
    }


def _needed(params: Params, name: str, least: float) -> float:
    if one(params, name) is None:
        raise Missing(name, "given: a number")
    return number(params, name, 0, least, 1)


def _settled(per_arm: Callable[[float], int], arms: int) -> int:
    """The size that is the plan for itself: a sequence is narrowest at the size for which it is made."""
    planned = PLANNED
    for _ in range(12):
        found = per_arm(planned) * arms
        if abs(found - planned) <= 1e-3 * planned:
            break
        planned = max(found, 60)
    return planned
