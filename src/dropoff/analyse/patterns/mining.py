"""Frequent runs and subsequences of many sequences, closed ones, with what carries them counted by stratum and group.

Level by level as in PrefixSpan (Pei et al. 2001), on arrays instead of projected lists: a pattern is grown by one step
at all its places at once. Supports count sequences, not occurrences. Nothing depends on the order of the sequences.
"""

from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import NamedTuple

import numpy as np

LONGEST = 5
"""So many steps a pattern has at most."""
AT_ONCE = 1 << 21
"""About so many places are grown at once: what the mining holds in memory."""

Pattern = tuple[int, ...]


class TooMany(Exception):
    """More patterns than were wanted: of long sequences with few different steps nearly everything is frequent."""


class Sequences(NamedTuple):
    """Sequence i is `items[starts[i]:starts[i + 1]]`; it lies in `strata[i]`, `weights[i]` of each group have it.

    `alone`, made where it is needed: the only group that has it, or -1.
    """

    items: np.ndarray
    starts: np.ndarray
    weights: np.ndarray
    strata: np.ndarray
    alone: np.ndarray | None = None


Frequent = Callable[[np.ndarray], np.ndarray]
"""From the weights of patterns by group, a row each, to which of them are frequent: what is grown must have been so."""


def sequences(paths: Sequence[Sequence[int]]) -> Sequences:
    """Plain lists, each counted once, in one group and stratum."""
    lengths = [len(path) for path in paths]
    items = np.array([item for path in paths for item in path], np.int32)
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Sequences(items, starts, np.ones((len(paths), 1), np.int64), np.zeros(len(paths), np.int64))


def at_least(support: float) -> Frequent:
    """Frequent is what so many sequences have, all groups together."""
    return lambda weights: weights.sum(1) >= support


def subsequences(
    data: Sequences,
    frequent: Frequent,
    longest: int = LONGEST,
    most: float = inf,
    done: Callable[[float], None] = lambda _: None,
) -> dict[Pattern, np.ndarray]:
    """All frequent subsequences, gaps allowed: weights by stratum and group of each.

    `done` is told which part is done, between 0 and 1. Raises `TooMany` instead of finding more than `most`.
    """
    data = _by_group(data)
    rows, before = rows_of(data.starts), previous(data)
    places = np.flatnonzero(before < 0)
    ends = data.starts[1:]
    found: dict[Pattern, np.ndarray] = {}

    def grow(patterns: list[Pattern], of: np.ndarray, at: np.ndarray, part: tuple[float, float]) -> None:
        """Patterns whose first place ends at `at`, pattern by pattern: grow each by all that may follow."""
        left = ends[rows[at]] - at - 1
        for first, last in _chunks(of, left, len(patterns)):
            mine = slice(*np.searchsorted(of, [first, last]))
            numbers = np.repeat(np.arange(mine.start, mine.stop), left[mine])
            steps = _ranges(left[mine]) + at[numbers] + 1
            new = before[steps] <= at[numbers]  # the first such step after the place
            steps, parents = steps[new], of[numbers[new]] - first
            share = (part[1] - part[0]) / max(len(patterns), 1)
            reach(patterns[first:last], parents, steps, (part[0] + share * first, part[0] + share * last))

    def reach(parents: list[Pattern], of: np.ndarray, steps: np.ndarray, part: tuple[float, float]) -> None:
        """Keep the frequent ones of the patterns that end with a step, and go on with them."""
        patterns, of, steps = _frequent(data, frequent, rows, parents, of, steps, found, most=most)
        if patterns and len(patterns[0]) < longest:
            grow(patterns, of, steps, part)
        done(part[1])

    reach([()], np.zeros(len(places), np.int64), places, (0.0, 1.0))
    return found


def runs(data: Sequences, frequent: Frequent, longest: int = LONGEST) -> dict[Pattern, np.ndarray]:
    """All frequent contiguous runs, in the same form."""
    data = _by_group(data)
    rows, ends = rows_of(data.starts), data.starts[1:]
    found: dict[Pattern, np.ndarray] = {}
    patterns: list[Pattern] = [()]
    of, steps = np.zeros(len(data.items), np.int64), np.arange(len(data.items), dtype=np.int64)
    for _ in range(longest):
        if not len(steps):
            break
        patterns, of, steps = _frequent(data, frequent, rows, patterns, of, steps, found, once=False)
        more = steps + 1 < ends[rows[steps]]
        of, steps = of[more], steps[more] + 1
    return found


def closed(found: Mapping[Pattern, np.ndarray], *, contiguous: bool) -> list[Pattern]:
    """Those that no longer one holds with the same support, in order.

    One longer by a step is enough to look at: of equal support in a longer one, so has one between them.
    """
    support = {pattern: table.sum() for pattern, table in found.items()}
    covered = set()
    for pattern, n in support.items():
        shorter = (pattern[1:], pattern[:-1]) if contiguous else _without_one(pattern)
        covered.update(part for part in shorter if support.get(part) == n)
    return sorted(pattern for pattern in found if pattern not in covered)


def carries(data: Sequences, pattern: Pattern, *, contiguous: bool) -> np.ndarray:
    """Which sequences have a pattern."""
    rows = rows_of(data.starts)
    carried = np.zeros(len(data.starts) - 1, bool)
    if contiguous:
        many = len(data.items) - len(pattern) + 1
        hit = np.ones(max(many, 0), bool)
        for i, item in enumerate(pattern):
            hit &= data.items[i : i + len(hit)] == item
        places = np.flatnonzero(hit)
        carried[rows[places[rows[places] == rows[places + len(pattern) - 1]]]] = True
        return carried
    never = len(data.items)
    at = np.full(len(carried), -1, np.int64)  # the place of the first embedding so far
    for item in pattern:
        places = np.flatnonzero(data.items == item)
        places = places[places > at[rows[places]]]
        following = np.full(len(carried), never, np.int64)
        np.minimum.at(following, rows[places], places)
        at = following
    return at < never


def _without_one(pattern: Pattern) -> set[Pattern]:
    return {pattern[:i] + pattern[i + 1 :] for i in range(len(pattern))}


def _frequent(
    data: Sequences,
    frequent: Frequent,
    rows: np.ndarray,
    parents: list[Pattern],
    of: np.ndarray,
    steps: np.ndarray,
    found: dict[Pattern, np.ndarray],
    *,
    once: bool = True,
    most: float = inf,
) -> tuple[list[Pattern], np.ndarray, np.ndarray]:
    """Of all patterns that are one of `parents` and a step at `steps` the frequent ones: counted into `found`.

    Gives them in order, and for each place the number of its pattern, sorted by it. `once`: no pattern has two places
    in a sequence.
    """
    if not len(steps):
        return [], of, steps
    many = int(data.items.max()) + 1
    keys, inverse = _numbered(of * many + data.items[steps], len(parents) * many)
    counted, counted_rows = inverse, rows[steps]
    if not once:
        both = np.sort(inverse * np.int64(len(data.starts)) + counted_rows)
        both = both[np.diff(both, prepend=-1) > 0]  # np.unique hashes, which takes five times as long
        counted, counted_rows = both // len(data.starts), both % len(data.starts)
    weights = sums(data, counted, counted_rows, len(keys))
    kept = frequent(weights)
    if not kept.any():
        return [], of[:0], steps[:0]
    if len(found) + kept.sum() > most:
        raise TooMany
    numbers = np.cumsum(kept) - 1
    patterns = [(*parents[key // many], int(key % many)) for key in keys[kept].tolist()]
    counted_kept = kept[counted]
    found.update(_tables(data, patterns, numbers[counted[counted_kept]], counted_rows[counted_kept]))
    keep = kept[inverse]
    of, steps = numbers[inverse[keep]], steps[keep]
    order = np.argsort(of, kind="stable")
    return patterns, of[order], steps[order]


def _tables(data: Sequences, patterns: list[Pattern], of: np.ndarray, rows: np.ndarray) -> dict[Pattern, np.ndarray]:
    strata = int(data.strata.max(initial=0)) + 1
    cells = of * strata + data.strata[rows]
    tables = sums(data, cells, rows, len(patterns) * strata).reshape(len(patterns), strata, -1)
    return dict(zip(patterns, tables.astype(np.int64), strict=True))


def sums(data: Sequences, cells: np.ndarray, rows: np.ndarray, size: int) -> np.ndarray:
    """The weights of these rows by cell and group. As floats they are exact: sums of integers far below 2^53."""
    if data.alone is None:
        return np.stack([np.bincount(cells, column[rows], size) for column in data.weights.T], axis=1)
    groups = data.weights.shape[1]
    whole, alone = data.weights.sum(1), data.alone[rows]
    single = alone >= 0
    if single.all():
        return np.bincount(cells * groups + alone, whole[rows], size * groups).reshape(size, groups)
    found = sums(data._replace(alone=None), cells[~single], rows[~single], size)
    cells, rows = cells[single] * groups + alone[single], rows[single]
    return found + np.bincount(cells, whole[rows], size * groups).reshape(size, groups)


def _by_group(data: Sequences) -> Sequences:
    """The same in the form in which `sums` is fast: of mostly distinct sequences each lies in one group."""
    weights = np.asfortranarray(data.weights, np.float64)
    groups = (weights > 0).sum(1)
    return data._replace(weights=weights, alone=np.where(groups == 1, weights.argmax(1), -1))


def _numbered(keys: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The distinct keys in order, and the number of each; by a table where there is room for one."""
    if size > 1 << 22:
        found, inverse = np.unique(keys, return_inverse=True)
        return found, inverse
    there = np.zeros(size, bool)
    there[keys] = True
    return np.flatnonzero(there), (np.cumsum(there) - 1)[keys]


def rows_of(starts: np.ndarray) -> np.ndarray:
    """The sequence of each place, by where the sequences start."""
    return np.repeat(np.arange(len(starts) - 1), np.diff(starts))


def previous(data: Sequences) -> np.ndarray:
    """Where the same item stood before in its sequence; -1 where it did not."""
    found = np.full(len(data.items), -1, np.int64)
    if len(found):
        keys = rows_of(data.starts) * (int(data.items.max()) + 1) + data.items
        order = np.argsort(keys, kind="stable")
        same = keys[order[1:]] == keys[order[:-1]]
        found[order[1:][same]] = order[:-1][same]
    return found


def _ranges(lengths: np.ndarray) -> np.ndarray:
    """0 … n - 1 for each n, one after the other."""
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)


def _chunks(of: np.ndarray, left: np.ndarray, many: int) -> list[tuple[int, int]]:
    """Spans of patterns that have about `AT_ONCE` places to look at, or one pattern with more."""
    work = np.cumsum(np.bincount(of, left, many)) if many else np.zeros(0)
    found, first, base = [], 0, 0.0
    while first < many:
        last = max(first + 1, int(np.searchsorted(work, base + AT_ONCE, "right")))
        found.append((first, last))
        first, base = last, float(work[last - 1])
    return found
