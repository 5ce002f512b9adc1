"""What won conversations do and failed ones do not: patterns, and the places where the ways part.

`findings` says what is confirmed; here are the question, the answer about it, and the conversations behind one finding.
It is association and no proof.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from dropoff.analyse import select
from dropoff.analyse.answers import instant, share
from dropoff.analyse.metrics import period_before
from dropoff.analyse.patterns import mining, objections
from dropoff.analyse.patterns.findings import Done, Found, failed_of, findings, ranked, sequences, won_of
from dropoff.analyse.patterns.flows import flows
from dropoff.analyse.patterns.forks import Kind, taken
from dropoff.analyse.patterns.mining import Sequences
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
from dropoff.analyse.stratified import mantel_haenszel
from dropoff.errors import InvalidInput
from dropoff.query import Params, Query, choice, one
from dropoff.store.base import Store
from dropoff.store.sql import PHYSICAL, STAGES

LISTED = 50
PATHS = 20
EXAMPLES = 2

PARAMETERS = ("success", "cut", "groups", "steps", "repeats", "anchor", "support", "segment", "compare")
BEHIND = ("pattern", "kind", "group", "success", "cut", "groups", "steps", "repeats")
"""What the list of conversations takes."""
KINDS = ("step", "run", "gapped", "beginning", "after")
OF_GROUP = ("successful", "failed")

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
        "successful": [_pattern(paths, one) for one in ranked(found.confirmed, 1)][:LISTED],
        "failed": [_pattern(paths, one) for one in ranked(found.confirmed, -1)][:LISTED],
        "divergence_points": _points(store, asked, paths, [one for one in found.confirmed if one.claim.fork]),
        "structural": [{"step": paths.names[item], **one._asdict()} for item, one in found.structural.items()],
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


# the answer


def _rates(found: Found) -> dict[str, Any]:
    """What the second half says: free of the choice that the first one made."""
    sides = {}
    for name, table in (("with", found.claim.with_), ("without", found.claim.without)):
        won, failed = int(won_of(table)[..., 1].sum()), int(failed_of(table)[..., 1].sum())
        sides[name] = share(won, won + failed)
    return {
        **sides, "difference": found.difference, "interval": found.interval, "p_value": found.p_value,
        "q_value": found.q_value,
    }  # fmt: skip


def _pattern(paths: Paths, found: Found) -> dict[str, Any]:
    sums = paths.counts.sum(0).reshape(6)
    table = found.claim.with_.sum(0)
    won, failed = int(won_of(table).sum()), int(failed_of(table).sum())
    all_won, all_failed = int(won_of(sums).sum()), int(failed_of(sums).sum())
    both = mantel_haenszel(
        *(one[None] for one in (
            won_of(found.claim.with_)[:, 1], won_of(found.claim.with_ + found.claim.without)[:, 1],
            failed_of(found.claim.with_)[:, 1], failed_of(found.claim.with_ + found.claim.without)[:, 1],
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


def _points(store: Store, asked: Asked, paths: Paths, found: Sequence[Found]) -> list[dict[str, Any]]:
    """The places, those first where the bot decides, then by how large the difference is at least."""
    rank = {"bot": 0, "agent": 1, "prospect": 2}
    ordered = sorted(
        found,
        key=lambda one: (
            rank.get(side(paths.names[one.claim.pattern[-1]]), 3), -one.bound, len(one.claim.pattern),
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
        won, n = int(won_of(sums).sum()), int(sums.sum())
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
