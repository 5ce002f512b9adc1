"""Statistics as pure functions of aggregates."""

from collections.abc import Mapping, Sequence
from math import erfc, exp, lgamma, sqrt
from typing import NamedTuple

Z95 = 1.959963984540054
"""The 0.975 quantile of the standard normal distribution."""

ENOUGH = 30
"""Below this denominator a rate says too little to be compared."""


def wilson(successes: float, n: float, z: float = Z95) -> tuple[float, float] | None:
    """The score interval of a share, in [0, 1]; None for n = 0 (Wilson 1927)."""
    if n <= 0:
        return None
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    # At the ends the bound is exactly 0 or 1; rounding must not move it.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return low, high


class Share(NamedTuple):
    """So many of n."""

    successes: int
    n: int


def newcombe(a: Share, b: Share, z: float = Z95) -> tuple[float, float] | None:
    """The interval of the difference a - b of two independent shares; None where one is of nothing.

    The hybrid of both score intervals, without continuity correction (Newcombe 1998, method 10).
    """
    of_a, of_b = wilson(*a, z), wilson(*b, z)
    if of_a is None or of_b is None:
        return None
    first, second = a.successes / a.n, b.successes / b.n
    below = sqrt((first - of_a[0]) ** 2 + (of_b[1] - second) ** 2)
    above = sqrt((of_a[1] - first) ** 2 + (second - of_b[0]) ** 2)
    return first - second - below, first - second + above


def p_value(a: Share, b: Share) -> float | None:
    """Two-sided, that two independent shares differ by chance; None where one is of nothing.

    Fisher's exact test where an expected cell is below 5, else the pooled z-test without continuity correction.
    """
    if not a.n or not b.n:
        return None
    n, hits = a.n + b.n, a.successes + b.successes
    if hits in (0, n):
        return 1.0
    if min(hits, n - hits) * min(a.n, b.n) / n < 5:
        return _fisher(a, b)
    pooled = hits / n
    spread = sqrt(pooled * (1 - pooled) * (1 / a.n + 1 / b.n))
    return erfc(abs(a.successes / a.n - b.successes / b.n) / spread / sqrt(2))


def _fisher(a: Share, b: Share) -> float:
    """The probability of all tables with these margins that are as improbable as this one, or more so."""
    n, hits = a.n + b.n, a.successes + b.successes
    whole = _log_choose(n, hits)

    def of(successes: int) -> float:
        return exp(_log_choose(a.n, successes) + _log_choose(b.n, hits - successes) - whole)

    seen = of(a.successes) * (1 + 1e-7)  # equally probable ones differ by rounding
    possible = (of(k) for k in range(max(0, hits - b.n), min(a.n, hits) + 1))
    return min(1.0, sum(one for one in possible if one <= seen))


def _log_choose(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)


def q_values(p_values: Sequence[float]) -> list[float]:
    """The smallest false discovery rate at which each of a family is a discovery (Benjamini & Hochberg 1995)."""
    falling = sorted(range(len(p_values)), key=p_values.__getitem__, reverse=True)
    found, least = [1.0] * len(p_values), 1.0
    for rank, place in zip(range(len(p_values), 0, -1), falling, strict=True):
        least = min(least, p_values[place] * len(p_values) / rank)
        found[place] = least
    return found


class Effect(NamedTuple):
    """What a group contributes to the change of a rate: by its own rate, and by its size."""

    rate: float
    mix: float


def kitagawa(now: Mapping[str, Share], before: Mapping[str, Share]) -> dict[str, Effect]:
    """The change of a rate between two periods, group by group (Kitagawa 1955, midpoint weights).

    Both effects of all groups add up to the difference of the two rates. The mix effect is measured from the middle of
    both rates: a growing group adds where its own rate lies above that, and the sum stays the same. A group that one
    period does not have has no rate of its own there: it counts as mix alone. Empty where a period has nothing.
    """
    n_now, n_before = sum(one.n for one in now.values()), sum(one.n for one in before.values())
    if not n_now or not n_before:
        return {}
    middle = (
        sum(one.successes for one in now.values()) / n_now + sum(one.successes for one in before.values()) / n_before
    ) / 2
    found = {}
    for group in {**now, **before}:
        new, old = now.get(group, Share(0, 0)), before.get(group, Share(0, 0))
        if not new.n and not old.n:
            continue
        rate_new = new.successes / new.n if new.n else old.successes / old.n
        rate_old = old.successes / old.n if old.n else rate_new
        weight_new, weight_old = new.n / n_now, old.n / n_before
        found[group] = Effect(
            rate=(weight_new + weight_old) / 2 * (rate_new - rate_old),
            mix=(weight_new - weight_old) * ((rate_new + rate_old) / 2 - middle),
        )
    return found
