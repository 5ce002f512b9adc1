"""How large an experiment must be, what it can find, and how long it still takes, as pure functions.

A goal is a share of the exposed units; with `variance`, that of one unit's value, it is a mean. Arms are equally large
and `units` are those of one arm. With several arms against one, alpha is shared out evenly: that is what
Benjamini–Hochberg asks of a single discovery. `sequential` sizes are for the sequence that the experiment is read by,
with the same `planned`: what it finds at its last look, so that looking earlier can only help. Else they are for one
look at the end.
"""

from collections.abc import Callable
from math import ceil, inf, sqrt
from typing import NamedTuple

from dropoff.analyse.experiments.sequential import boundary, rho
from dropoff.analyse.stats import SIGNIFICANT
from dropoff.errors import InvalidInput
from dropoff.project.experiments import PLANNED


class Design(NamedTuple):
    """What an experiment is sized for: an effect is found with this `power`, and one that is none in `alpha` of all."""

    power: float = 0.8
    alpha: float = SIGNIFICANT
    arms: int = 2
    sequential: bool = True
    planned: float = PLANNED
    variance: float | None = None


USUAL = Design()
MOST = 10**18
"""Nobody has so many units; of far more not even the number can be told."""


def power_at(base: float, effect: float, units: float, design: Design = USUAL) -> float:
    """The probability to find an absolute effect on a base, with so many units in each arm.

    At one look: the z-test with the pooled variance as null, as R's power.prop.test, and both sides counted.
    """
    from scipy.special import ndtr, ndtri

    alpha = design.alpha / (design.arms - 1)
    null, actual = _variances(base, effect, design.variance)
    if design.sequential:
        null, threshold = actual, boundary(2 * units, rho(design.planned, alpha), alpha) / sqrt(2 * units)
    else:
        threshold = -float(ndtri(alpha / 2))
    error, critical = sqrt(actual / units), threshold * sqrt(null / units)
    return float(ndtr((abs(effect) - critical) / error) + ndtr((-abs(effect) - critical) / error))


def _variances(base: float, effect: float, variance: float | None) -> tuple[float, float]:
    """Of a difference of one unit each: without the effect, and with it."""
    if variance is not None:
        return 2 * variance, 2 * variance
    other, middle = base + effect, base + effect / 2
    return 2 * middle * (1 - middle), base * (1 - base) + other * (1 - other)


def sample_size(base: float, effect: float, design: Design = USUAL) -> int:
    """The units of each arm that find an absolute effect on a base."""
    _check(base, design)
    if not effect or (design.variance is None and not 0 < base + effect < 1):
        raise InvalidInput("effect", effect, "other than 0, and leave a share between 0 and 1")

    def enough(units: float) -> bool:
        return power_at(base, effect, units, design) >= design.power

    most = 2
    while not enough(most):
        most *= 2
        if most > MOST:
            raise InvalidInput("effect", effect, f"one that {MOST:,} units of each arm find")
    least = most // 2
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (least, middle) if enough(middle) else (middle, most)
    return most


def detectable(base: float, units: float, design: Design = USUAL) -> float | None:
    """The smallest rise that so many units in each arm find; None where no share is so high."""
    _check(base, design)
    if units <= 0:
        return None

    def enough(effect: float) -> bool:
        return power_at(base, effect, units, design) >= design.power

    most = (1 - base) * (1 - 1e-9) if design.variance is None else _first(enough, sqrt(design.variance / units))
    return _least(enough, most) if enough(most) else None


def _first(enough: Callable[[float], bool], start: float) -> float:
    """Of start, 2 start, 4 start, …"""
    while not enough(start):
        start *= 2
    return start


def _least(enough: Callable[[float], bool], most: float) -> float:
    """Where `enough` begins to hold, below a value at which it does: by halves, to the last digits."""
    least = 0.0
    for _ in range(60):
        middle = (least + most) / 2
        least, most = (least, middle) if enough(middle) else (middle, most)
    return most


def days_left(needed: float, have: float, per_day: float) -> int | None:
    """Whole days until an arm with so many units and so many more a day has what it needs; None if it never will."""
    if have >= needed:
        return 0
    return ceil((needed - have) / per_day) if per_day > 0 else None


def _check(base: float, design: Design) -> None:
    if design.variance is None and not 0 < base < 1:
        raise InvalidInput("base", base, "a share between 0 and 1")
    if design.variance is not None and not 0 < design.variance < inf:
        raise InvalidInput("variance", design.variance, "above 0")
    if not 0 < design.alpha < design.power < 1:
        raise InvalidInput("power", design.power, f"between alpha = {design.alpha} and 1, both exclusive")
    if design.arms < 2:
        raise InvalidInput("arms", design.arms, "2 or more")
