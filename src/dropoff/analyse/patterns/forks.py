"""Where paths part: the steps that follow one beginning, or one step, and how often each way is won."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np

from dropoff.analyse.patterns import mining
from dropoff.analyse.patterns.mining import Pattern, Sequences
from dropoff.analyse.stratified import strata_of

DEEPEST = 15
"""Beginnings have at most so many steps."""
LEAST = 30
"""So many conversations go on by a branch, or it is none of its own."""

Kind = Literal["beginning", "step"]


class Fork(NamedTuple):
    """A place where paths part, and what of one side comes next.

    `kind`: after a whole beginning, or after the first time of one step. `branches`: of each next step its weights by
    stratum (how late the place is) and group.
    """

    kind: Kind
    after: Pattern
    branches: dict[int, np.ndarray]


def forks(data: Sequences, sides: np.ndarray) -> Iterator[Fork]:
    """All places where at least two steps of one side (a number for each item) come next often enough."""
    yield from _parted("beginning", _beginnings(data), sides)
    yield from _parted("step", _after_steps(data), sides)


def taken(data: Sequences, kind: Kind, after: Pattern, branch: int) -> np.ndarray:
    """Which sequences come to the place and go on by this branch."""
    lengths = np.diff(data.starts)
    if kind == "beginning":
        wanted = (*after, branch)
        found = lengths >= len(wanted)
        for i, item in enumerate(wanted):
            found[found] = data.items[data.starts[:-1][found] + i] == item
        return found
    places = np.flatnonzero((data.items == after[0]) & (mining.previous(data) < 0))
    rows = mining.rows_of(data.starts)
    places = places[places + 1 < data.starts[1:][rows[places]]]
    found = np.zeros(len(lengths), bool)
    found[rows[places[data.items[places + 1] == branch]]] = True
    return found


Branches = Iterator[tuple[Pattern, dict[int, np.ndarray]]]


def _parted(kind: Kind, places: Branches, sides: np.ndarray) -> Iterator[Fork]:
    for after, branches in places:
        for one in sorted({int(sides[item]) for item in branches}):
            mine = {item: table for item, table in branches.items() if sides[item] == one and table.sum() >= LEAST}
            if len(mine) > 1:
                yield Fork(kind, after, mine)


def _beginnings(data: Sequences) -> Branches:
    """Level by level in the tree of common beginnings; a place is as far in all of its paths, so it is one stratum."""
    many = int(data.items.max(initial=0)) + 1
    rows = np.arange(len(data.starts) - 1)
    nodes, known = np.zeros(len(rows), np.int64), [()]
    lengths = np.diff(data.starts)
    for depth in range(DEEPEST + 1):
        goes_on = lengths[rows] > depth
        rows, nodes = rows[goes_on], nodes[goes_on]
        if not len(rows):
            return
        steps = data.items[data.starts[rows] + depth]
        keys, inverse = np.unique(nodes * many + steps, return_inverse=True)
        tables = mining.sums(data, inverse, rows, len(keys)).astype(np.int64)
        large = tables.sum(1) >= LEAST
        by_node: dict[int, dict[int, np.ndarray]] = {}
        for key, table in zip(keys[large].tolist(), tables[large], strict=True):
            by_node.setdefault(key // many, {})[key % many] = table[None]
        yield from ((known[node], branches) for node, branches in by_node.items())
        known = [(*known[key // many], int(key % many)) for key in keys[large].tolist()]
        numbers = np.cumsum(large) - 1
        kept = large[inverse]
        rows, nodes = rows[kept], numbers[inverse[kept]]


def _after_steps(data: Sequences) -> Branches:
    """After the first time of each step; how late that is is the stratum."""
    many = int(data.items.max(initial=0)) + 1
    rows = mining.rows_of(data.starts)
    places = np.flatnonzero(mining.previous(data) < 0)
    places = places[places + 1 < data.starts[1:][rows[places]]]
    if not len(places):
        return
    of = rows[places]
    strata = strata_of(places - data.starts[of], data.weights[of].sum(1))
    wide = int(strata.max()) + 1
    keys, inverse = np.unique(data.items[places] * np.int64(many) + data.items[places + 1], return_inverse=True)
    tables = mining.sums(data, inverse * wide + strata, of, len(keys) * wide).astype(np.int64)
    by_step: dict[int, dict[int, np.ndarray]] = {}
    for key, table in zip(keys.tolist(), tables.reshape(len(keys), wide, -1), strict=True):
        by_step.setdefault(key // many, {})[key % many] = table
    yield from (((step,), branches) for step, branches in by_step.items())
