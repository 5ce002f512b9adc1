"""What is confirmed of how won and failed conversations differ: a pure function of their paths.

One half of the contacts finds what may make a difference, the other half confirms it: all that is confirmed is one
family (Benjamini–Hochberg). Conversations are compared with others of the same length.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from dropoff.analyse.patterns import mining
from dropoff.analyse.patterns.forks import Fork, forks
from dropoff.analyse.patterns.mining import Pattern, Sequences
from dropoff.analyse.patterns.paths import FAILED, FAILED_LATE, WON, Paths, side
from dropoff.analyse.stats import SIGNIFICANT, q_values
from dropoff.analyse.stratified import Differences, mantel_haenszel, strata_of

FEW = 5
"""A step that fewer have, or lack, in one of the groups belongs to what the groups are, and explains nothing."""
FIRST = 0.05
"""What the first half finds with a p above this the second half is not asked about."""
CANDIDATES = 200
"""So many patterns at most, and as many places, are given to the second half."""
MINED = 10_000
"""Where more are frequent, only what is twice as frequent is looked at, and so on."""

_WORDS = {"bot": 0, "prospect": 1, "agent": 2}
Done = Callable[[float], None]
"""Is told which part is done, between 0 and 1."""


class Claim(NamedTuple):
    """A difference that the first half found: tables of those with and without, strata × half and group."""

    with_: np.ndarray
    without: np.ndarray
    fork: Fork | None
    pattern: Pattern
    kind: str


class Found(NamedTuple):
    """A claim that the second half confirmed: win rates with and without, and their difference within strata."""

    claim: Claim
    difference: float
    interval: tuple[float, float]
    p_value: float
    q_value: float

    @property
    def bound(self) -> float:
        """How large the difference is at least."""
        low, high = self.interval
        return low if self.difference > 0 else -high


class Structural(NamedTuple):
    """Why a step can be no finding, and how many of the won and of the failed have it."""

    why: str
    successful: int
    failed: int


class Findings(NamedTuple):
    """What is confirmed, how much was tested for it, and the steps that cannot be, by their numbers."""

    confirmed: list[Found]
    tested: int
    structural: dict[int, Structural]


def findings(paths: Paths, support: float = 0.05, done: Done = lambda _: None) -> Findings:
    """The patterns and forks by which won and failed conversations differ.

    `support`: the share of the won or of the failed of the first half that has a pattern, at least.
    """
    data = sequences(paths)
    totals = _strata_totals(data)
    sums = totals.sum(0)
    if min(won_of(sums).sum(), failed_of(sums).sum()) < FEW:
        done(1.0)
        return Findings([], 0, {})
    structural = _structural_steps(data, sums)
    claims = _of_patterns(data, totals, support, structural, done) + _of_forks(data, paths, _barred(structural))
    return Findings(_confirmed(claims), len(claims), structural)


def sequences(paths: Paths) -> Sequences:
    """The paths as they are mined: a column for each half and group, strata by length."""
    weights = paths.counts.reshape(len(paths.starts) - 1, 6)
    return Sequences(paths.items, paths.starts, weights, strata_of(np.diff(paths.starts), weights.sum(1)))


def _strata_totals(data: Sequences) -> np.ndarray:
    strata = int(data.strata.max(initial=0)) + 1
    every = np.arange(len(data.strata))
    return mining.sums(data, data.strata, every, strata).astype(np.int64)


def won_of(table: np.ndarray) -> np.ndarray:
    """Of both halves the won: the last axis is half and group."""
    return table[..., [WON, 3 + WON]]


def failed_of(table: np.ndarray) -> np.ndarray:
    """Of both halves the failed."""
    return table[..., [FAILED, 3 + FAILED]] + table[..., [FAILED_LATE, 3 + FAILED_LATE]]


def _why_structural(table: np.ndarray, sums: np.ndarray) -> str | None:
    """Why a table of carriers says what the groups are; None where it does not."""
    won, failed = int(won_of(table).sum()), int(failed_of(table).sum())
    early, all_early = (int(one[..., [FAILED, 3 + FAILED]].sum()) for one in (table, sums))
    if won < FEW:
        return "absent_in_successful"
    if failed < FEW:
        return "absent_in_failed"
    if early < FEW <= all_early:
        return "only_of_those_that_went_on"
    if int(won_of(sums).sum()) - won < FEW:
        return "in_all_successful"
    return "in_all_failed" if int(failed_of(sums).sum()) - failed < FEW else None


def _structural_steps(data: Sequences, sums: np.ndarray) -> dict[int, Structural]:
    singles = mining.subsequences(data, lambda weights: weights.sum(1) > 0, 1)
    return {
        item: Structural(why, int(won_of(table).sum()), int(failed_of(table).sum()))
        for (item,), table in singles.items()
        if (why := _why_structural(table.sum(0), sums)) is not None
    }


def _barred(structural: Mapping[int, Structural]) -> set[int]:
    """The steps that nothing may hold; what all of a group have is no difference, and hides none."""
    return {item for item, one in structural.items() if not one.why.startswith("in_all")}


def _without(data: Sequences, items: Iterable[int]) -> Sequences:
    kept = ~np.isin(data.items, list(items))
    lengths = np.bincount(mining.rows_of(data.starts)[kept], minlength=len(data.starts) - 1)
    return data._replace(items=data.items[kept], starts=np.concatenate([[0], np.cumsum(lengths)]))


def _frequent(sums: np.ndarray, support: float) -> mining.Frequent:
    """What so large a share of the won, or of the failed, of the first half have."""
    least_won, least_failed = (max(FEW, support * of(sums)[0]) for of in (won_of, failed_of))
    return lambda weights: (won_of(weights)[:, 0] >= least_won) | (failed_of(weights)[:, 0] >= least_failed)


def _of_patterns(
    data: Sequences, totals: np.ndarray, support: float, structural: Mapping[int, Structural], done: Done
) -> list[Claim]:
    sums, barred = totals.sum(0), _barred(structural)
    # A gap may hold anything, so also what all of a group have: it would only stand between the others.
    informative, told = _without(data, structural), lambda part: done(0.8 * part)
    while True:
        frequent = _frequent(sums, support)
        try:
            gapped = mining.subsequences(informative, frequent, most=MINED, done=told)
        except mining.TooMany:
            support *= 2
        else:
            break
    contiguous = mining.runs(data, frequent)
    kept = [("gapped" if len(p) > 1 else "step", p, gapped[p]) for p in mining.closed(gapped, contiguous=False)]
    # A run that all carry who have its steps with gaps is the same finding, and says more.
    same = {p for p, table in contiguous.items() if len(p) > 1 and p in gapped and table.sum() == gapped[p].sum()}
    kept = [(kind if p not in same else "run", p, table) for kind, p, table in kept]
    kept += [("run", p, contiguous[p]) for p in mining.closed(contiguous, contiguous=True)
             if len(p) > 1 and p not in same]  # fmt: skip
    tested = [
        Claim(table, totals - table, None, pattern, kind)
        for kind, pattern, table in kept
        if not barred & set(pattern) and _why_structural(table.sum(0), sums) is None
    ]
    done(1.0)
    return _strongest(_once(tested))


def _once(claims: Iterable[Claim]) -> list[Claim]:
    """Of patterns with the same numbers everywhere, so the same carriers, one: a run, else the longest."""
    ranked = sorted(claims, key=lambda claim: (claim.kind != "run", -len(claim.pattern), claim.pattern))
    return list({claim.with_.tobytes(): claim for claim in reversed(ranked)}.values())


def _of_forks(data: Sequences, paths: Paths, barred: set[int]) -> list[Claim]:
    sides = np.array([_WORDS.get(side(name), 3) for name in paths.names], np.int64)
    claims = []
    for fork in forks(data, sides):
        branches = {item: table for item, table in fork.branches.items() if item not in barred}
        whole = sum(branches.values(), np.zeros((1, 6), np.int64))
        ways = [
            Claim(table, whole - table, fork._replace(branches=branches), (*fork.after, item), fork.kind)
            for item, table in branches.items()
            if _why_structural(table.sum(0), whole.sum(0)) in (None, "in_all_failed", "in_all_successful")
        ]
        ways = [way for way in ways if min(_halves(way.with_), _halves(way.without)) >= FEW]
        claims += _strongest(ways, 1)  # one for each place: of two ways the other is its mirror image
    # A beginning of one step may be the same place as the first time of that step.
    once = {
        (claim.pattern[-1], claim.with_.sum(0).tobytes(), claim.without.sum(0).tobytes()): claim for claim in claims
    }
    return _strongest(list(once.values()))


def _halves(table: np.ndarray) -> int:
    """How many there are in the smaller half."""
    return int(min(table[..., :3].sum(), table[..., 3:].sum()))


def _strongest(claims: Sequence[Claim], most: int = CANDIDATES) -> list[Claim]:
    """Those that the first half finds, the smallest p first."""
    tested = _test(claims, 0)
    chosen = [(p, claim.pattern, claim.kind, i) for i, (claim, p) in enumerate(zip(claims, tested.p_value.tolist(),
              strict=True)) if p < FIRST]  # fmt: skip
    return [claims[i] for *_, i in sorted(chosen)[:most]]


def _test(claims: Sequence[Claim], half: int) -> Differences:
    """Win rates with and without, within strata, in one half."""
    strata = max((len(claim.with_) for claim in claims), default=1)
    sides = []
    for tables in ([claim.with_ for claim in claims], [claim.without for claim in claims]):
        padded = np.zeros((len(claims), strata, 6), np.int64)
        for i, table in enumerate(tables):
            padded[i, : len(table)] = table
        won = won_of(padded)[..., half]
        sides += [won, won + failed_of(padded)[..., half]]
    return mantel_haenszel(*sides)


def _confirmed(claims: Sequence[Claim]) -> list[Found]:
    """Those of one family that the second half confirms, in the same direction."""
    first, second = _test(claims, 0), _test(claims, 1)
    p = [1.0 if np.isnan(one) else one for one in second.p_value.tolist()]
    q = q_values(p)
    return [
        Found(claim, float(second.difference[i]), (float(second.low[i]), float(second.high[i])), p[i], q[i])
        for i, claim in enumerate(claims)
        if q[i] < SIGNIFICANT and first.difference[i] * second.difference[i] > 0
    ]


def ranked(found: Iterable[Found], sign: int) -> list[Found]:
    """Patterns of one direction, the surest large difference first."""
    mine = [one for one in found if one.claim.fork is None and one.difference * sign > 0]
    return sorted(mine, key=lambda one: (-one.bound, len(one.claim.pattern), one.claim.pattern, one.claim.kind))
