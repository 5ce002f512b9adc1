"""Where a conversation stands in the funnel, and which won and which failed one began most like it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from dropoff.analyse import select
from dropoff.analyse.answers import instant
from dropoff.query import Query
from dropoff.store.base import Store
from dropoff.store.sql import STAGES

LONGEST = 200
"""So many steps of two paths are compared."""
RECORDED_BY = {
    "responded": "message_received", "qualified": "qualified", "booked": "meeting_booked",
    "attended": "meeting_attended", "opportunity": "opportunity_created", "converted": "deal_closed",
}  # fmt: skip
"""The event by which a conversation comes to each stage."""
_SIDES = ("bot", "agent", "prospect")
_GROUPS = {"won": "ending = 'converted'", "lost": "ending <> 'converted'"}
_SHOWN = ("id", "channel", "first_message_variant", "started_at", "stage", "ending", "outcome", "path")


def standing(row: Mapping[str, Any]) -> dict[str, Any]:
    """Each stage: whether it was reached, when its own event came, and how long after the start; then what comes next.

    A stage that only a later one implies has no time. `next` is the stage after the furthest, and the event it takes.
    """
    furthest = list(STAGES).index(row["stage"])
    following = next(iter(list(STAGES)[furthest + 1 :]), None)
    return {
        "stages": [_stage(row, stage, reached=place <= furthest) for place, stage in enumerate(STAGES)],
        "next": {"stage": following, "event": RECORDED_BY[following]} if following else None,
    }


def _stage(row: Mapping[str, Any], stage: str, *, reached: bool) -> dict[str, Any]:
    at = row[STAGES[stage]]
    seconds = None if at is None else (at - row["started_at"]).total_seconds()
    return {"stage": stage, "reached": reached, "at": instant(at), "seconds": seconds}


def nearest(store: Store, query: Query, row: Mapping[str, Any]) -> dict[str, dict[str, Any] | None]:
    """Of the won and of the failed conversations, whenever they began, the one whose path begins most like this one's.

    Of those with as many steps in common one on the same channel, then one with the same first message, then the one
    that started nearest in time, then the smallest id; None where none begins alike. Test traffic only beside a
    conversation that is one itself.
    """
    among = replace(query, where=(), by=None, segments=(), include_test=bool(row["is_test"]))
    return {name: _nearest(store, among, row, ending) for name, ending in _GROUPS.items()}


def _nearest(store: Store, query: Query, row: Mapping[str, Any], ending: str) -> dict[str, Any] | None:
    clause = select.Clause(store.dialect)
    rows = select.conversations(query, clause, started=False)
    alike = [_same(clause, name, row[name]) for name in ("channel", "first_message_variant")]
    apart = f"abs(date_diff('microsecond', {clause.add(row['started_at'])}, started_at))"
    found = store.select(
        f"""SELECT {", ".join(_SHOWN)} FROM {rows} WHERE {ending} AND id <> {clause.add(row["id"])}
            ORDER BY {_shared(clause, row["path"])} DESC, {" DESC, ".join(alike)} DESC, {apart}, id LIMIT 1""",
        clause.parameters,
    ).dicts()
    alike_at_all = bool(found) and in_common(row["path"], found[0]["path"]) > 0
    return _neighbour(found[0], row["path"]) if alike_at_all else None


def _same(clause: select.Clause, name: str, value: str | None) -> str:
    known = f"{name} IS NULL" if value is None else f"coalesce({name} = {clause.add(value)}, false)"
    return f"CASE WHEN {known} THEN 1 ELSE 0 END"


def _shared(clause: select.Clause, path: Sequence[str]) -> str:
    """How many steps a path has in common with this one from the beginning."""
    # Never a bare 0: as a term of an order that would be the place of a column.
    steps = enumerate(path[:LONGEST])
    cases = " ".join(f"WHEN coalesce(path[{i + 1}], '') <> {clause.add(step)} THEN {i}" for i, step in steps)
    return f"CASE {cases} ELSE {min(len(path), LONGEST)} END" if cases else "CAST(0 AS BIGINT)"


def _neighbour(found: Mapping[str, Any], path: Sequence[str]) -> dict[str, Any]:
    """`position`: the message in either conversation with which the ways part, if both say more."""
    shared = in_common(path, found["path"])
    said = sum(step.partition(":")[0] in _SIDES for step in path[:shared])
    kept = {name: found[name] for name in _SHOWN if name != "path"}
    return kept | {"started_at": instant(found["started_at"]), "shared": list(path[:shared]), "position": said + 1}


def in_common(one: Sequence[str], other: Sequence[str]) -> int:
    """How many steps two paths have in common from the beginning."""
    pairs = zip(one[:LONGEST], other[:LONGEST], strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other), LONGEST))
