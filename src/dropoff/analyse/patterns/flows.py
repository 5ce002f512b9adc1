"""How two groups of conversations move from step to step: transitions, steps by position, and flows."""

from typing import Any

import numpy as np
import polars as pl

from dropoff.analyse.patterns.mining import rows_of
from dropoff.analyse.patterns.paths import FAILED, FAILED_LATE, WON, Paths
from dropoff.errors import InvalidInput

START, END, OTHER = "(start)", "(end)", "(other)"
POSITIONS = 10
"""So many positions of a path are shown, of an anchored one on either side."""
STEPS = 24
"""So many steps stand by themselves in a matrix, the rest together."""
TRANSITIONS = 100
AROUND = 5


def flows(paths: Paths, names: tuple[str, str], anchor: str | None) -> dict[str, Any]:
    """`transitions`, `step_matrix`, `difference_matrix` and `flow` of two groups, the first one being `WON` in `paths`.

    `anchor`: a step; positions are then counted from its first time, before it and after it, of the paths that have it.
    """
    weights = np.stack([paths.counts[:, :, WON].sum(1), paths.counts[:, :, [FAILED, FAILED_LATE]].sum((1, 2))], axis=1)
    at, kept = _anchored(paths, anchor)
    rows = rows_of(paths.starts)
    places = np.flatnonzero(kept[rows])
    rows = rows[places]
    frame = pl.DataFrame({
        "position": places - at[rows] + (0 if anchor else 1),
        "step": paths.items[places].astype(np.int64),
        "next": np.where(places + 1 < paths.starts[rows + 1], paths.items[np.minimum(places + 1, len(paths.items) - 1)],
                         -1).astype(np.int64),
        "a": weights[rows, 0], "b": weights[rows, 1],
    })  # fmt: skip
    totals = weights[kept].sum(0).tolist()
    return {
        "compared": {"a": names[0], "b": names[1], "conversations": totals, "anchor": anchor},
        "transitions": _transitions(paths, frame, weights, kept),
        **_matrices(paths, frame, totals, anchor),
        "flow": _flow(paths, frame, anchor),
    }


def _anchored(paths: Paths, anchor: str | None) -> tuple[np.ndarray, np.ndarray]:
    """The place from which positions count, in each path, and which paths have one."""
    if anchor is None:
        return paths.starts[:-1], np.ones(len(paths.starts) - 1, bool)
    if anchor not in paths.names:
        raise InvalidInput("anchor", anchor, f"a step of these paths: {', '.join(paths.names) or 'there are none'}")
    rows = rows_of(paths.starts)
    places = np.flatnonzero(paths.items == paths.names.index(anchor))
    _, first = np.unique(rows[places], return_index=True)
    at, kept = np.zeros(len(paths.starts) - 1, np.int64), np.zeros(len(paths.starts) - 1, bool)
    at[rows[places[first]]] = places[first]
    kept[rows[places]] = True
    return at, kept


def _transitions(paths: Paths, frame: pl.DataFrame, weights: np.ndarray, kept: np.ndarray) -> list[dict[str, Any]]:
    """How often one step follows another, beginnings and ends among them: every time counts."""
    moves = frame.select("step", "next", "a", "b")
    begins = kept & (np.diff(paths.starts) > 0)
    first = pl.DataFrame({
        "step": np.full(begins.sum(), -2), "next": paths.items[paths.starts[:-1][begins]].astype(np.int64),
        "a": weights[begins, 0], "b": weights[begins, 1],
    })  # fmt: skip
    counted = pl.concat([first, moves]).group_by("step", "next").agg(pl.col("a", "b").sum())
    found = [
        {"from": START if step == -2 else paths.names[step], "to": END if after == -1 else paths.names[after],
         "counts": [a, b]}
        for step, after, a, b in counted.rows()
    ]  # fmt: skip
    return sorted(found, key=lambda one: (-sum(one["counts"]), one["from"], one["to"]))[:TRANSITIONS]


def _matrices(paths: Paths, frame: pl.DataFrame, totals: list[int], anchor: str | None) -> dict[str, Any]:
    """Which share of each group is at which step at each position; and the difference of both."""
    low, high = (-AROUND, AROUND) if anchor else (1, POSITIONS)
    shown = frame.filter(pl.col("position").is_between(low, high))
    both = (pl.col("a") + pl.col("b")).sum().alias("n")
    most = shown.group_by("step").agg(both).sort(["n", "step"], descending=[True, False])
    top = most["step"].head(STEPS).to_list()
    rest = most.height > len(top)
    place = {step: i for i, step in enumerate(top)}
    counts = np.zeros((2, len(top) + rest, high - low + 1), np.int64)
    for position, step, a, b in shown.group_by("position", "step").agg(pl.col("a", "b").sum()).rows():
        counts[:, place.get(step, len(top)), position - low] += (a, b)
    shares = counts / np.maximum(totals, 1)[:, None, None]
    steps = [paths.names[step] for step in top] + ([OTHER] if rest else [])
    both = {"steps": steps, "positions": list(range(low, high + 1))}
    return {
        "step_matrix": {**both, "a": counts[0].tolist(), "b": counts[1].tolist()},
        "difference_matrix": {**both, "values": (shares[0] - shares[1]).tolist()},
    }


def _flow(paths: Paths, frame: pl.DataFrame, anchor: str | None) -> list[dict[str, Any]]:
    """Who goes from which step at a position to which at the next."""
    low, high = (-3, 3) if anchor else (1, 6)
    shown = frame.filter(pl.col("position").is_between(low, high - 1))
    counted = shown.group_by("position", "step", "next").agg(pl.col("a", "b").sum())
    found = [
        {"position": position, "from": paths.names[step], "to": END if after == -1 else paths.names[after],
         "counts": [a, b]}
        for position, step, after, a, b in counted.rows()
    ]  # fmt: skip
    return sorted(found, key=lambda one: (one["position"], -sum(one["counts"]), one["from"], one["to"]))
