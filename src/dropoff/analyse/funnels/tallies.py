"""What attempts come to: how many came to each step, over time, and how long it took them."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import Any

import numpy as np
import polars as pl

from dropoff.analyse.funnels.rows import Array
from dropoff.events import MICROS
from dropoff.project.funnels import Funnel


def count(found: pl.DataFrame, funnel: Funnel, by: Sequence[str] = ()) -> pl.DataFrame:
    """How many of `attempts` came to each step, for each combination of the columns `by` (`value`, `bucket`).

    Gives `by`, `step` (from 0), `count`, and `recorded`: those that have an event of the step. The two differ in mode
    `reached`, where a later step implies the earlier ones.
    """
    steps = []
    for i in range(len(funnel.steps)):
        recorded = pl.col(f"at_{i}").is_not_null()
        came = pl.col("furthest") >= i if funnel.mode == "reached" else recorded
        columns = [pl.lit(i).alias("step"), came.sum().alias("count"), recorded.sum().alias("recorded")]
        steps.append(found.group_by(by).agg(columns) if by else found.select(columns))
    return pl.concat(steps).sort(*by, "step")


def trend(found: pl.DataFrame, funnel: Funnel, buckets: int) -> Array:
    """The counts of `attempts` with `cuts`, as (buckets, steps): 0 where nobody entered."""
    counts = np.zeros((buckets, len(funnel.steps)), np.int64)
    by_bucket = count(found, funnel, ["bucket"])
    counts[by_bucket["bucket"].to_numpy(), by_bucket["step"].to_numpy()] = by_bucket["count"].to_numpy()
    return counts


@dataclass(frozen=True, slots=True)
class Times:
    """How long it took from one step to another, in seconds; None where nobody came.

    `histogram`: (start, count) of bins of equal width, as many as the cube root of `n`, and one from the maximum on.
    """

    n: int
    average: float | None
    median: float | None
    p90: float | None
    histogram: tuple[tuple[int, int], ...]


def times(found: pl.DataFrame, source: int, target: int) -> Times:
    """The times between two steps (from 0) of the attempts that filled both in this order."""
    taken = (found[f"at_{target}"] - found[f"at_{source}"]).drop_nulls()
    # In order, so that the average does not depend on that of the attempts, and nothing is sorted again.
    seconds = pl.Series(np.sort(taken.filter(taken >= 0).to_numpy()) / MICROS).set_sorted()
    if not len(seconds):
        return Times(0, None, None, None, ())
    return Times(
        n=len(seconds),
        average=_float(seconds.mean()),
        median=_float(seconds.median()),
        p90=_float(seconds.quantile(0.9, "linear")),
        histogram=_histogram(seconds.to_numpy()),
    )


def _float(value: Any) -> float:
    return float(value)


def _histogram(seconds: Array) -> tuple[tuple[int, int], ...]:
    low, high = floor(seconds.min()), floor(seconds.max())
    bins = ceil(round(len(seconds) ** (1 / 3), 9))
    width = ceil((high - low) / bins) or 60
    starts = [*range(low, max(high, low + 1), width), max(high, low + width)]
    counts = np.histogram(seconds, [*starts, np.inf])[0]
    return tuple(zip(starts, counts.tolist(), strict=True))
