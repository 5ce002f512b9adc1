"""Whether an experiment can be trusted at all: units fell to the arms by their weights, and met one variant each."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from dropoff.analyse.answers import divide
from dropoff.analyse.experiments.exposures import DIMENSIONS
from dropoff.analyse.experiments.sequential import FAIR
from dropoff.analyse.experiments.sequential import sample_ratio as ratio_of
from dropoff.analyse.stats import ENOUGH
from dropoff.project.experiments import Experiment
from dropoff.query import NONE

MIXED = 0.01
"""Above this share of units that were exposed to more than one variant nothing can be said."""

SHOWN = 20
"""So many values of a dimension are looked at for their sample ratio, the largest."""


def mixed(units: pl.DataFrame) -> dict[str, Any]:
    """Units that were exposed to more than one variant; they count for the first."""
    n = int((units["variants"] > 1).sum())
    part = divide(n, units.height)
    return {"units": n, "share": part, "limit": MIXED, "ok": part is None or part <= MIXED}


def sample_ratio(arms: Mapping[str, pl.DataFrame], settings: Experiment) -> dict[str, Any]:
    """Whether units fell to the arms by their weights, overall and in each value of each dimension.

    Beside the p-value that holds at every look stands that of one look. The values share out the limit.
    """
    counts = [units.height for units in arms.values()]
    weights = settings.weights or [1.0] * len(counts)
    found = {"counts": counts, "weights": weights, "limit": FAIR}
    if len(counts) < 2:
        none = {"p_value": None, "fixed_p_value": None, "ok": True}
        return none | found | {"by_dimension": [], "by_dimension_limit": FAIR}
    parts = _of_values(arms, weights, settings.planned)
    limit = FAIR / max(len(parts), 1)
    judged = [part | {"ok": part["p_value"] >= limit} for part in parts]
    whole = ratio_of(counts, weights, settings.planned)
    is_fair = whole.p_value >= FAIR and all(part["ok"] for part in judged)
    return {
        "p_value": whole.p_value,
        "fixed_p_value": whole.fixed_p_value,
        "ok": is_fair,
        **found,
        "by_dimension": judged,
        "by_dimension_limit": limit,
    }


def _of_values(arms: Mapping[str, pl.DataFrame], weights: Sequence[float], planned: float) -> list[dict[str, Any]]:
    units, found = pl.concat(arms.values()), []
    for dimension in DIMENSIONS:
        table = _counts(units, dimension, list(arms))
        # Where every value belongs to one arm alone, the dimension is what is tried.
        if len(table) < 2 or all(sum(count > 0 for count in counts) < 2 for counts in table.values()):
            continue
        for value, counts in table.items():
            if sum(counts) >= ENOUGH:
                p_value, fixed = ratio_of(counts, weights, planned)
                row = {"dimension": dimension, "value": value, "counts": counts}
                found.append(row | {"p_value": p_value, "fixed_p_value": fixed})
    return found


def _counts(units: pl.DataFrame, dimension: str, variants: Sequence[str]) -> dict[str, list[int]]:
    """For each value, the largest first, the units of each variant."""
    found: dict[str, list[int]] = {}
    for value, variant, n in units.group_by(dimension, "variant").len().rows():
        found.setdefault(NONE if value is None else value, [0] * len(variants))[variants.index(variant)] += n
    largest = sorted(found.items(), key=lambda item: (-sum(item[1]), item[0]))
    return dict(largest[:SHOWN])
