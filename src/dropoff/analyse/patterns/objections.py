"""Objections: how often, how early, what the bot answered, and after which answers the conversation stays alive."""

from typing import Any, NamedTuple

import numpy as np
import polars as pl

from dropoff.analyse.answers import share
from dropoff.analyse.patterns.mining import rows_of
from dropoff.analyse.patterns.paths import FAILED, FAILED_LATE, WON, Paths, objection, side
from dropoff.analyse.stats import ENOUGH, Share, family, newcombe, p_value

LISTED = 20


class _Steps(NamedTuple):
    """Of the steps of all paths what every objection asks: made once, as there may be as many objections as texts.

    `rows`: the path of each; `named`: the number of the objection that it is, or -1. `hears`: which names are of a
    prospect; `heard`: the last place of such a step in each path, or -1. `counts`: by path and group; `totals`.
    """

    rows: np.ndarray
    named: np.ndarray
    hears: np.ndarray
    heard: np.ndarray
    counts: np.ndarray
    totals: np.ndarray


def answer(paths: Paths) -> dict[str, Any]:
    """`common_objections`, and for each of them the `objections` with the answers to its first time."""
    named = [objection(name) for name in paths.names]
    raised = sorted({name for name in named if name is not None})
    numbers = {name: number for number, name in enumerate(raised)}
    steps = _steps(paths, [-1 if name is None else numbers[name] for name in named])
    places = np.flatnonzero(steps.named >= 0)
    # Of each objection and path the first place.
    _, first = np.unique(steps.named[places] * np.int64(len(paths.starts)) + steps.rows[places], return_index=True)
    ends = np.searchsorted(steps.named[places := places[first]], np.arange(len(raised) + 1))
    found = [_objection(paths, steps, name, places[ends[i] : ends[i + 1]]) for i, name in enumerate(raised)]
    found.sort(key=lambda one: (-one["conversations"], one["objection"]))
    _judge(found)
    common = ("objection", "conversations", "share", "successful", "failed")
    return {
        "common_objections": [{name: one[name] for name in common} for one in found[:LISTED]],
        "objections": found[:LISTED],
    }


def _steps(paths: Paths, named: list[int]) -> _Steps:
    rows, hears = rows_of(paths.starts), np.array([side(name) == "prospect" for name in paths.names], bool)
    places = np.flatnonzero(hears[paths.items])
    heard = np.full(len(paths.starts) - 1, -1, np.int64)
    heard[rows[places]] = places
    counts = paths.counts.sum(1)
    return _Steps(rows, np.array(named, np.int64)[paths.items], hears, heard, counts, counts.sum(0))


def _objection(paths: Paths, steps: _Steps, name: str, places: np.ndarray) -> dict[str, Any]:
    """`places`: its first time in each path that has it."""
    of, counts = steps.rows[places], steps.counts
    won, n = int(counts[of, WON].sum()), int(counts[of].sum())
    all_won, all_n = int(steps.totals[WON]), int(steps.totals.sum())
    return {
        "objection": name,
        "conversations": n,
        "share": share(n, all_n),
        "successful": share(won, all_won),
        "failed": share(n - won, all_n - all_won),
        "steps_before": _quartiles(places - paths.starts[of], counts[of].sum(1)),
        "answers": _answers(paths, steps, places),
    }


def _quartiles(values: np.ndarray, weights: np.ndarray) -> list[int]:
    """The lower quartile, the median and the upper quartile: values that occur."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order])
    return [int(values[order[np.searchsorted(reached, part * reached[-1])]]) for part in (0.25, 0.5, 0.75)]


def _answers(paths: Paths, steps: _Steps, places: np.ndarray) -> list[dict[str, Any]]:
    """The first step of bot or agent after the objection, and whether the prospect then wrote, or it was won."""
    of, counts = steps.rows[places], steps.counts
    places, ends = places + 1, paths.starts[of + 1]
    while (waits := (places < ends) & steps.hears[paths.items[np.minimum(places, len(paths.items) - 1)]]).any():
        places = places + waits
    answered = places < ends
    places, of = places[answered], of[answered]
    frame = pl.DataFrame({
        "answer": paths.items[places], "alive": steps.heard[of] > places,
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
