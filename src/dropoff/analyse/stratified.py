"""Two groups compared within strata: the difference of two shares after Mantel and Haenszel, for many at once."""

from math import erfc, sqrt
from typing import NamedTuple

import numpy as np

from dropoff.analyse.stats import Z95

EXACT = 15
"""Up to this length each is a stratum of its own; longer ones are parted in `LONGER` of about the same size."""
LONGER = 5


class Differences(NamedTuple):
    """Of each table the difference of the two shares, the bounds of its interval, and p; NaN where nothing compares."""

    difference: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p_value: np.ndarray


def strata_of(lengths: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The stratum of each length: itself up to `EXACT`, then quintiles of the longer ones, `weights` of each."""
    strata = np.minimum(lengths, EXACT).astype(np.int64)
    longer = lengths > EXACT
    if longer.any():
        _, inverse = np.unique(lengths[longer], return_inverse=True)
        counts = np.bincount(inverse, weights[longer])
        middle = (np.cumsum(counts) - counts / 2) / max(counts.sum(), 1)
        strata[longer] = EXACT + 1 + np.minimum((middle * LONGER).astype(np.int64), LONGER - 1)[inverse]
    return strata


def mantel_haenszel(a: np.ndarray, n: np.ndarray, b: np.ndarray, m: np.ndarray) -> Differences:
    """The share of a of n less that of b of m: arrays of tables × strata, one result for each table.

    The difference has the weights of Mantel and Haenszel (1959), its interval the variance of Sato (1989), which holds
    for few large strata as for many sparse ones; p is that of the Mantel–Haenszel test, two-sided, without continuity
    correction.
    """
    a, n, b, m = (np.asarray(one, np.float64) for one in (a, n, b, m))
    whole = np.where(n + m > 0, n + m, 1.0)
    compares = (n > 0) & (m > 0)
    weight = np.where(compares, n * m / whole, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        total = weight.sum(1)
        difference = np.where(compares, (a * m - b * n) / whole, 0.0).sum(1) / total
        of_p = np.where(compares, (n**2 * b - m**2 * a + n * m * (m - n) / 2) / whole**2, 0.0).sum(1)
        of_q = np.where(compares, (a * (m - b) + b * (n - a)) / (2 * whole), 0.0).sum(1)
        spread = np.sqrt(np.maximum(difference * of_p + of_q, 0.0)) / total
        hits = a + b
        variance = np.where(
            compares & (whole > 1), n * m * hits * (whole - hits) / (whole**2 * np.maximum(whole - 1, 1.0)), 0.0
        ).sum(1)
        excess = np.where(compares, a - n * hits / whole, 0.0).sum(1)
        z = np.where(variance > 0, np.abs(excess) / np.sqrt(variance), 0.0)
    p = np.array([erfc(one / sqrt(2)) for one in z.tolist()])
    known = total > 0
    return Differences(
        np.where(known, difference, np.nan),
        np.where(known, np.maximum(difference - Z95 * spread, -1.0), np.nan),
        np.where(known, np.minimum(difference + Z95 * spread, 1.0), np.nan),
        np.where(known, p, np.nan),
    )
