"""Estimates of one group drawn towards their mean: parametric empirical Bayes with intervals (Morris 1983).

Of many rates the highest is partly the luckiest. Each estimate is moved towards the mean of its group by as much as its
own variance says against how much the group truly varies, and the interval has what estimating both costs. Shares are
taken to a scale on which their variance does not depend on them, the arcsine of the root (Efron & Morris 1975), with
Anscombe's constants (1948); intervals come back into [0, 1].
"""

from collections.abc import Sequence
from math import asin, pi, sin, sqrt
from typing import NamedTuple

from dropoff.analyse.stats import Z95, Interval

FROM = 4
"""Below so many estimates the mean and the spread of their group are not known well enough to move one."""

_ROUNDS = 200


class Estimate(NamedTuple):
    """A value, its 95 % interval, and the part of the way to the mean of its group that it was moved, in [0, 1)."""

    value: float
    interval: Interval
    weight: float


class Shrunk(NamedTuple):
    """The estimates of a group in its order, and what they were drawn to."""

    mean: float
    estimates: list[Estimate]


def shrink(values: Sequence[float], variances: Sequence[float]) -> Shrunk:
    """Normal estimates with known variances > 0, at least one (Morris 1983, section 5, unequal variances).

    Below `FROM` estimates nothing is moved.
    """
    k = len(values)
    spread, mean = _spread(values, variances)
    weights = [1 / (v + spread) for v in variances]
    if k < FROM:
        return Shrunk(mean, [_estimate(y, v, 0.0) for y, v in zip(values, variances, strict=True)])
    typical = sum(w * v for w, v in zip(weights, variances, strict=True)) / sum(weights)
    found = []
    for y, v, w in zip(values, variances, weights, strict=True):
        b = (k - 3) / (k - 1) * v * w
        part = k * w / sum(weights)
        added = 2 / (k - 3) * b * b * (typical + spread) * w * (y - mean) ** 2
        found.append(_estimate((1 - b) * y + b * mean, (1 - (k - part) / k * b) * v + added, b))
    return Shrunk(mean, found)


def _estimate(value: float, variance: float, weight: float) -> Estimate:
    half = Z95 * sqrt(variance)
    return Estimate(value, (value - half, value + half), weight)


def _spread(values: Sequence[float], variances: Sequence[float]) -> tuple[float, float]:
    """The variance of what is estimated, at least 0, and its mean: by fixed-point iteration of Morris's equation."""
    k = len(values)
    spread, mean = 0.0, 0.0
    for _ in range(_ROUNDS):
        weights = [1 / (v + spread) for v in variances]
        total = sum(weights)
        mean = sum(w * y for w, y in zip(weights, values, strict=True)) / total
        if k < 2:
            break
        parts = (k / (k - 1) * (y - mean) ** 2 - v for y, v in zip(values, variances, strict=True))
        before, spread = spread, max(0.0, sum(w * part for w, part in zip(weights, parts, strict=True)) / total)
        if abs(spread - before) <= 1e-12 * (spread + before):
            break
    return spread, mean


def shrink_shares(shares: Sequence[tuple[float, float]]) -> Shrunk:
    """The same for shares: so many (x, a fraction where contacts repeat) of n > 0 each."""
    angles = [asin(sqrt((x + 0.375) / (n + 0.75))) for x, n in shares]
    found = shrink(angles, [1 / (4 * n + 2) for _, n in shares])
    return Shrunk(
        _share(found.mean),
        [
            Estimate(_share(one.value), (_share(one.interval[0]), _share(one.interval[1])), one.weight)
            for one in found.estimates
        ],
    )


def _share(angle: float) -> float:
    return sin(min(max(angle, 0.0), pi / 2)) ** 2
