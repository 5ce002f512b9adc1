"""Objections: how often, how early, what the bot answered, and after which answers the conversation stays alive."""

from typing import Any

import numpy as np
import polars as pl

from dropoff.analyse.answers import share
from dropoff.analyse.patterns.paths import FAILED, FAILED_LATE, WON, Paths, objection, side
from dropoff.analyse.stats import ENOUGH, Share, family, newcombe, p_value

LISTED = 20


def answer(paths: Paths) -> dict[str, Any]:
    """`common_objections`, and for each of them the `objections` with the answers to its first time."""
    named = [objection(name) for name in paths.names]
    raised = sorted({name for name in named if name is not None})
    found = [_objection(paths, name, np.array([one == name for one in named], bool)) for name in raised]
    found.sort(key=lambda one: (-one["conversations"], one["objection"]))
    _judge(found)
    common = ("objection", "conversations", "share", "successful", "failed")
    return {
        "common_objections": [{name: one[name] for name in common} for one in found[:LISTED]],
        "objections": found[:LISTED],
    }


def _objection(paths: Paths, name: str, is_it: np.ndarray) -> dict[str, Any]:
    rows = np.repeat(np.arange(len(paths.starts) - 1), np.diff(paths.starts))
    places = np.flatnonzero(is_it[paths.items])
    _, first = np.unique(rows[places], return_index=True)
    places = places[first]
    of = rows[places]
    counts = paths.counts.sum(1)
    won, n = int(counts[of, WON].sum()), int(counts[of].sum())
    all_won, all_n = int(counts[:, WON].sum()), int(counts.sum())
    steps = places - paths.starts[of] + 1
    return {
        "objection": name,
        "conversations": n,
        "share": share(n, all_n),
        "successful": share(won, all_won),
        "failed": share(n - won, all_n - all_won),
        "steps_before": _quartiles(steps - 1, counts[of].sum(1)),
        "answers": _answers(paths, places, of, counts),
    }


def _quartiles(values: np.ndarray, weights: np.ndarray) -> list[int]:
    """The lower quartile, the median and the upper quartile: values that occur."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order])
    return [int(values[order[np.searchsorted(reached, part * reached[-1])]]) for part in (0.25, 0.5, 0.75)]


def _answers(paths: Paths, places: np.ndarray, of: np.ndarray, counts: np.ndarray) -> list[dict[str, Any]]:
    """The first step of bot or agent after the objection, and whether the prospect then wrote, or it was won."""
    sides = [side(name) for name in paths.names]
    hears = np.array([one == "prospect" for one in sides], bool)
    places, ends = places + 1, paths.starts[of + 1]
    while (waits := (places < ends) & hears[paths.items[np.minimum(places, len(paths.items) - 1)]]).any():
        places = places + waits
    answered = places < ends
    places, of, ends = places[answered], of[answered], ends[answered]
    # The last place of a prospect's step in each path: later than the answer means that they wrote again.
    heard = np.flatnonzero(hears[paths.items])
    last = np.full(len(paths.starts) - 1, -1, np.int64)
    last[np.repeat(np.arange(len(last)), np.diff(paths.starts))[heard]] = heard
    frame = pl.DataFrame({
        "answer": paths.items[places], "alive": last[of] > places,
        "won": counts[of, WON], "failed": counts[of, FAILED] + counts[of, FAILED_LATE],
    })  # fmt: skip
    n = pl.col("won") + pl.col("failed")
    # Who is won after it without another word stayed alive, too.
    kept = pl.when("alive").then(n).otherwise("won")
    rows = frame.group_by("answer").agg(n.sum().alias("n"), kept.sum().alias("alive"), pl.col("won").sum())
    found = [
        {"answer": paths.names[item], "alive": share(alive, many), "won": share(won, many)}
        for item, many, alive, won in rows.rows()
    ]
    return sorted(found, key=lambda one: (-one["alive"].denominator, one["answer"]))[:LISTED]


def _judge(found: list[dict[str, Any]]) -> None:
    """Each answer against all others to the same objection: one family over all objections."""
    rows, chances = [], []
    for one in found:
        whole = [sum(getattr(row["alive"], part) for row in one["answers"]) for part in ("numerator", "denominator")]
        for row in one["answers"]:
            mine = Share(int(row["alive"].numerator), int(row["alive"].denominator))
            others = Share(int(whole[0]) - mine.successes, int(whole[1]) - mine.n)
            row["difference"] = mine.successes / mine.n - others.successes / others.n if others.n else None
            row["interval"] = newcombe(mine, others)
            rows.append(row)
            chances.append(p_value(mine, others) if min(mine.n, others.n) >= ENOUGH else None)
    for row, q_value in zip(rows, family(chances), strict=True):
        row["q_value"] = q_value
