"""What won conversations do and failed ones do not: patterns, and the places where the ways part.

One half of the contacts finds what may make a difference, the other half confirms it: all that is confirmed is one
family (Benjamini–Hochberg). Conversations are compared with others of the same length. It is association and no proof.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from dropoff.analyse import select
from dropoff.analyse.answers import instant, share
from dropoff.analyse.metrics import period_before
from dropoff.analyse.patterns import mining, objections
from dropoff.analyse.patterns.flows import flows
from dropoff.analyse.patterns.forks import Fork, Kind, forks, taken
from dropoff.analyse.patterns.mining import Pattern, Sequences
from dropoff.analyse.patterns.paths import (
    FAILED,
    FAILED_LATE,
    WON,
    Asked,
    Paths,
    of,
    parse,
    read,
    side,
    tokens,
    units_of,
)
from dropoff.analyse.patterns.stratified import mantel_haenszel, strata_of
from dropoff.analyse.stats import SIGNIFICANT, q_values
from dropoff.errors import InvalidInput
from dropoff.query import Params, Query, choice, one
from dropoff.store.base import Store
from dropoff.store.sql import PHYSICAL, STAGES

FEW = 5
"""A step that fewer have, or lack, in one of the groups belongs to what the groups are, and explains nothing."""
FIRST = 0.05
"""What the first half finds with a p above this the second half is not asked about."""
CANDIDATES = 200
"""So many patterns at most, and as many places, are given to the second half."""
MINED = 10_000
"""Where more are frequent, only what is twice as frequent is looked at, and so on."""
LISTED = 50
PATHS = 20
EXAMPLES = 2

PARAMETERS = ("success", "cut", "groups", "steps", "repeats", "anchor", "support", "segment", "compare")
BEHIND = ("pattern", "kind", "group", "success", "cut", "groups", "steps", "repeats")
"""What the list of conversations takes."""
KINDS = ("step", "run", "gapped", "beginning", "after")
OF_GROUP = ("successful", "failed")

_WORDS = {"bot": 0, "prospect": 1, "agent": 2}
Done = Callable[[float], None]


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


# the question


def answer(store: Store, query: Query, params: Params, done: Done = lambda _: None) -> dict[str, Any]:
    """Patterns, places where ways part, paths, objections and flows of a query. Raises `InvalidInput`."""
    asked = parse(params)
    paths = read(store, replace(query, segments=(), by=None), asked)
    found = findings(paths, asked.support, done)
    return {
        "period": query.period.to_dict(),
        "as_of": instant(query.now),
        "definition": _definition(asked),
        "conversations": _groups(paths),
        "reached": _reached(store, query),
        "tested": found.tested,
        "successful": [_pattern(paths, one) for one in _ranked(found.confirmed, 1)][:LISTED],
        "failed": [_pattern(paths, one) for one in _ranked(found.confirmed, -1)][:LISTED],
        "divergence_points": _points(store, asked, paths, [one for one in found.confirmed if one.claim.fork]),
        "structural": [_structural(paths, item, why) for item, why in found.structural.items()],
        "common_paths": _common_paths(paths),
        "common_drop_points": _drop_points(paths),
        **objections.answer(paths),
        **_flows(store, query, params, asked, paths),
    }  # fmt: skip


def _definition(asked: Asked) -> dict[str, Any]:
    failed = "the others that have ended" if asked.groups == "closed" else "those dropped or disqualified"
    return {
        "text": f"Successful: {asked.success}; failed: {failed}. Open ones are left out. A path ends before the first "
        f"of: {asked.cut}, or a later stage, lost, disqualified, opted out.",
        "success": asked.success, "cut": asked.cut, "groups": asked.groups, "steps": sorted(asked.steps),
        "repeats": "merged" if asked.merged else "kept", "support": asked.support,
    }  # fmt: skip


def _reached(store: Store, query: Query) -> dict[str, int]:
    """How many conversations came to each stage that could be the success, open ones included."""
    clause = select.Clause(store.dialect)
    counts = ", ".join(f"count(*) FILTER (WHERE level >= {level})" for level in range(1, len(STAGES)))
    rows = select.conversations(replace(query, segments=(), by=None), clause)
    found = store.select(f"SELECT {counts} FROM {rows}", clause.parameters).rows[0]
    return dict(zip(list(STAGES)[1:], map(int, found), strict=True))


def _groups(paths: Paths) -> dict[str, int]:
    failed, late, won = paths.counts.sum((0, 1)).tolist()
    return {"successful": won, "failed": failed + late, "left_out": paths.left_out}


# findings: a pure function of the paths


class Findings(NamedTuple):
    """What is confirmed, how much was tested for it, and the steps that cannot be: each with the reason."""

    confirmed: list[Found]
    tested: int
    structural: dict[int, str]


def findings(paths: Paths, support: float = 0.05, done: Done = lambda _: None) -> Findings:
    """The patterns and forks by which won and failed conversations differ.

    `support`: the share of the won or of the failed of the first half that has a pattern, at least.
    """
    data = sequences(paths)
    totals = _strata_totals(data)
    sums = totals.sum(0)
    if min(_won(sums).sum(), _failed(sums).sum()) < FEW:
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


def _won(table: np.ndarray) -> np.ndarray:
    """Of both halves the won: the last axis is half and group."""
    return table[..., [WON, 3 + WON]]


def _failed(table: np.ndarray) -> np.ndarray:
    return table[..., [FAILED, 3 + FAILED]] + table[..., [FAILED_LATE, 3 + FAILED_LATE]]


def _why_structural(table: np.ndarray, sums: np.ndarray) -> str | None:
    """Why a table of carriers says what the groups are; None where it does not."""
    won, failed = int(_won(table).sum()), int(_failed(table).sum())
    early, all_early = (int(one[..., [FAILED, 3 + FAILED]].sum()) for one in (table, sums))
    if won < FEW:
        return "absent_in_successful"
    if failed < FEW:
        return "absent_in_failed"
    if early < FEW <= all_early:
        return "only_of_those_that_went_on"
    if int(_won(sums).sum()) - won < FEW:
        return "in_all_successful"
    return "in_all_failed" if int(_failed(sums).sum()) - failed < FEW else None


def _structural_steps(data: Sequences, sums: np.ndarray) -> dict[int, str]:
    singles = mining.subsequences(data, lambda weights: weights.sum(1) > 0, 1)
    why = {pattern[0]: _why_structural(table.sum(0), sums) for pattern, table in singles.items()}
    return {item: reason for item, reason in why.items() if reason is not None}


def _barred(structural: Mapping[int, str]) -> set[int]:
    """The steps that nothing may hold; what all of a group have is no difference, and hides none."""
    return {item for item, why in structural.items() if not why.startswith("in_all")}


def _without(data: Sequences, items: Iterable[int]) -> Sequences:
    kept = ~np.isin(data.items, list(items))
    lengths = np.bincount(mining.rows_of(data.starts)[kept], minlength=len(data.starts) - 1)
    return data._replace(items=data.items[kept], starts=np.concatenate([[0], np.cumsum(lengths)]))


def _frequent(sums: np.ndarray, support: float) -> mining.Frequent:
    """What so large a share of the won, or of the failed, of the first half have."""
    least_won, least_failed = (max(FEW, support * of(sums)[0]) for of in (_won, _failed))
    return lambda weights: (_won(weights)[:, 0] >= least_won) | (_failed(weights)[:, 0] >= least_failed)


def _of_patterns(
    data: Sequences, totals: np.ndarray, support: float, structural: Mapping[int, str], done: Done
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


def _test(claims: Sequence[Claim], half: int) -> Any:
    """Win rates with and without, within strata, in one half."""
    strata = max((len(claim.with_) for claim in claims), default=1)
    sides = []
    for tables in ([claim.with_ for claim in claims], [claim.without for claim in claims]):
        padded = np.zeros((len(claims), strata, 6), np.int64)
        for i, table in enumerate(tables):
            padded[i, : len(table)] = table
        won = _won(padded)[..., half]
        sides += [won, won + _failed(padded)[..., half]]
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


def _bound(found: Found) -> float:
    """How large the difference is at least."""
    low, high = found.interval
    return low if found.difference > 0 else -high


def _ranked(found: Iterable[Found], sign: int) -> list[Found]:
    """Patterns of one direction, the surest large difference first."""
    mine = [one for one in found if one.claim.fork is None and one.difference * sign > 0]
    return sorted(mine, key=lambda one: (-_bound(one), len(one.claim.pattern), one.claim.pattern, one.claim.kind))


# the answer


def _rates(found: Found) -> dict[str, Any]:
    """What the second half says: free of the choice that the first one made."""
    sides = {}
    for name, table in (("with", found.claim.with_), ("without", found.claim.without)):
        won, failed = int(_won(table)[..., 1].sum()), int(_failed(table)[..., 1].sum())
        sides[name] = share(won, won + failed)
    return {
        **sides, "difference": found.difference, "interval": found.interval, "p_value": found.p_value,
        "q_value": found.q_value,
    }  # fmt: skip


def _pattern(paths: Paths, found: Found) -> dict[str, Any]:
    sums = paths.counts.sum(0).reshape(6)
    table = found.claim.with_.sum(0)
    won, failed = int(_won(table).sum()), int(_failed(table).sum())
    all_won, all_failed = int(_won(sums).sum()), int(_failed(sums).sum())
    both = mantel_haenszel(
        *(one[None] for one in (
            _won(found.claim.with_)[:, 1], _won(found.claim.with_ + found.claim.without)[:, 1],
            _failed(found.claim.with_)[:, 1], _failed(found.claim.with_ + found.claim.without)[:, 1],
        ))
    )  # fmt: skip
    return {
        "pattern": [paths.names[item] for item in found.claim.pattern],
        "kind": found.claim.kind,
        "successful": share(won, all_won),
        "failed": share(failed, all_failed),
        "lift": won / (won + failed) / (all_won / (all_won + all_failed)),
        "support_difference": float(both.difference[0]),
        "support_interval": (float(both.low[0]), float(both.high[0])),
        **_rates(found),
    }


def _structural(paths: Paths, item: int, why: str) -> dict[str, Any]:
    table = paths.counts[mining.carries(sequences(paths), (item,), contiguous=True)].sum((0, 1))
    return {
        "step": paths.names[item], "why": why, "successful": int(table[WON]),
        "failed": int(table[FAILED] + table[FAILED_LATE]),
    }  # fmt: skip


def _points(store: Store, asked: Asked, paths: Paths, found: Sequence[Found]) -> list[dict[str, Any]]:
    """The places, those first where the bot decides, then by how large the difference is at least."""
    rank = {"bot": 0, "agent": 1, "prospect": 2}
    ordered = sorted(
        found,
        key=lambda one: (
            rank.get(side(paths.names[one.claim.pattern[-1]]), 3), -_bound(one), len(one.claim.pattern),
            one.claim.pattern, one.claim.kind,
        ),
    )[:LISTED]  # fmt: skip
    data = sequences(paths)
    made = [_point(paths, data, one) for one in ordered]
    _place(store, asked, made)
    return made


def _point(paths: Paths, data: Sequences, found: Found) -> dict[str, Any]:
    fork, branch = found.claim.fork, found.claim.pattern[-1]
    assert fork is not None  # noqa: S101
    carriers = {item: taken(data, fork.kind, fork.after, item) for item in fork.branches}
    branches = []
    for item, table in fork.branches.items():
        sums = table.sum(0)
        won, n = int(_won(sums).sum()), int(sums.sum())
        branches.append({"step": paths.names[item], "rate": share(won, n)})
    branches.sort(key=lambda one: (-one["rate"].value, -one["rate"].denominator, one["step"]))
    others = np.zeros(len(paths.starts) - 1, bool)
    for item, carried in carriers.items():
        others |= carried if item != branch else False
    return {
        "after": [paths.names[item] for item in fork.after],
        "kind": "beginning" if fork.kind == "beginning" else "after",
        "side": side(paths.names[branch]),
        "branch": paths.names[branch],
        "branches": branches,
        **_rates(found),
        "examples": {"branch": _examples(paths, carriers[branch]), "others": _examples(paths, others)},
    }


def _examples(paths: Paths, carried: np.ndarray) -> dict[str, list[dict[str, Any]]]:
    """Of either outcome some conversations, the first by id: whoever chose, it was not their content."""
    mine = paths.units.filter(pl.Series(carried[paths.units["path"].to_numpy()]))
    return {
        name: [{"id": one, "position": None} for one in mine.filter(pl.col("group").is_in(groups))["id"].head(EXAMPLES)]
        for name, groups in (("successful", [WON]), ("failed", [FAILED, FAILED_LATE]))
    }


def _place(store: Store, asked: Asked, points: Sequence[dict[str, Any]]) -> None:
    """Say of each example at which message it came to the place, or of the last one before."""
    shown = [
        (point, example)
        for point in points
        for way in point["examples"].values()
        for examples in way.values()
        for example in examples
    ]
    ids = sorted({example["id"] for _, example in shown})
    if not ids or ("sentiment" in asked.steps and asked.merged):
        return
    clause = select.Clause(store.dialect)
    listed = ", ".join(map(clause.add, ids))
    rows = store.select(f"SELECT id, path FROM {PHYSICAL['conversations']} WHERE id IN ({listed})", clause.parameters)
    walked = {of: tokens(path, asked) for of, path in rows.rows}
    for point, example in shown:
        if (steps := walked.get(example["id"])) is None:
            continue  # taken back meanwhile
        first = len(point["after"])
        if point["kind"] == "after":
            anchor = point["after"][0].partition(" [")[0]
            first = 1 + next((i for i, (name, _) in enumerate(steps) if name == anchor), -1)
        example["position"] = steps[first][1] if 0 < first < len(steps) or not point["after"] else None


def _common_paths(paths: Paths) -> list[dict[str, Any]]:
    """The most frequent whole paths, and how many of each were won."""
    counts = paths.counts.sum(1)
    n = counts.sum(1)
    most = sorted(range(len(n)), key=lambda i: (-n[i], i))[:PATHS]
    all_n = int(n.sum())
    return [
        {
            "path": paths.path(i),
            "conversations": int(n[i]),
            "share": share(int(n[i]), all_n),
            "successful": int(counts[i, WON]),
            "failed": int(n[i] - counts[i, WON]),
            "rate": share(int(counts[i, WON]), int(n[i])),
        }
        for i in most
    ]


def _drop_points(paths: Paths) -> list[dict[str, Any]]:
    """The last step of failed conversations."""
    failed = paths.counts[:, :, [FAILED, FAILED_LATE]].sum((1, 2))
    lengths = np.diff(paths.starts)
    last = paths.items[paths.starts[1:][lengths > 0] - 1]
    counts = np.bincount(last, failed[lengths > 0], len(paths.names)).astype(np.int64)
    all_failed = int(failed.sum())
    found = [{"step": paths.names[i], "conversations": int(n), "share": share(int(n), all_failed)}
             for i, n in enumerate(counts.tolist()) if n]  # fmt: skip
    return sorted(found, key=lambda one: (-one["conversations"], one["step"]))[:PATHS]


def _flows(store: Store, query: Query, params: Params, asked: Asked, paths: Paths) -> dict[str, Any]:
    """Matrices, transitions and flows of two groups: successful and failed, two named segments, or now and before."""
    compare = one(params, "compare")
    whole = replace(query, segments=(), by=None)
    if compare not in (None, "previous"):
        raise InvalidInput("compare", compare, "previous, or left out")
    if query.segments and (compare or len(query.segments) != 2):
        raise InvalidInput("segment", [segment.name for segment in query.segments], "two, without compare")
    if query.segments:
        names = [segment.name for segment in query.segments]
        asked_of = [replace(whole, where=(*query.where, *segment.where)) for segment in query.segments]
    elif compare:
        names, asked_of = ["now", "before"], [whole, replace(whole, period=period_before(query.period))]
    else:
        return flows(paths, ("successful", "failed"), asked.anchor)
    both = [units_of(store, one_query, asked) for one_query in asked_of]
    units = pl.concat([frame.with_columns(pl.lit(group, pl.Int64).alias("group"))
                       for frame, group in zip(both, (WON, FAILED), strict=True)])  # fmt: skip
    return flows(of(units, asked._replace(steps=asked.steps - {"sentiment"})), (names[0], names[1]), asked.anchor)


# the conversations behind a finding


def parse_behind(params: Params) -> tuple[list[str], str, str | None] | None:
    """The steps, the kind of the pattern and the group of a list; None where none is meant."""
    steps = [text for text in params.get("pattern", ()) if text]
    if not steps:
        if given := [name for name in BEHIND if one(params, name) is not None]:
            raise InvalidInput(given[0], one(params, given[0]), "given with a pattern")
        return None
    kind, group = choice(params, "kind", KINDS, "gapped"), one(params, "group")
    if kind == "after" and len(steps) != 2:
        raise InvalidInput("pattern", steps, "two steps: what came first, and what came next")
    if group is not None and group not in OF_GROUP:
        raise InvalidInput("group", group, f"one of {', '.join(OF_GROUP)}")
    return steps, kind, group


def behind(store: Store, query: Query, params: Params, steps: Sequence[str], kind: str, group: str | None) -> list[str]:
    """The ids of the conversations whose path has it."""
    paths = read(store, query, parse({name: texts for name, texts in params.items() if name in BEHIND[3:]}))
    places = {name: i for i, name in enumerate(paths.names)}
    if not set(steps) <= set(places):
        return []
    data, pattern = sequences(paths), tuple(places[step] for step in steps)
    if kind in ("beginning", "after"):
        of_fork: Kind = "beginning" if kind == "beginning" else "step"
        carried = taken(data, of_fork, pattern[:-1], pattern[-1])
    else:
        carried = mining.carries(data, pattern, contiguous=kind == "run")
    groups = {"successful": [WON], "failed": [FAILED, FAILED_LATE], None: [FAILED, FAILED_LATE, WON]}[group]
    mine = paths.units.filter(pl.Series(carried[paths.units["path"].to_numpy()]) & pl.col("group").is_in(groups))
    return mine["id"].to_list()


def described(steps: Sequence[str], kind: str, group: str | None) -> str:
    """Which conversations `behind` gives, in words."""
    whole = " → ".join(steps)
    how = {
        "step": f"with the step {whole}", "run": f"with, one right after the other: {whole}",
        "gapped": f"with, in this order: {whole}", "beginning": f"that begin with {whole}",
        "after": f"in which {steps[-1]} came right after the first {steps[0]}",
    }[kind]  # fmt: skip
    return f"{f'{group.capitalize()} conversations' if group else 'Conversations'} {how}."
