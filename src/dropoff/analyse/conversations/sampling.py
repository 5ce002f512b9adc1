"""A few conversations to read: some that succeeded and some that failed, unlike one another, the same at every look."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from heapq import nsmallest
from typing import Any

from dropoff.analyse import select
from dropoff.analyse.answers import instant
from dropoff.analyse.conversations import conversations
from dropoff.errors import InvalidInput
from dropoff.query import Params, Query, one, whole_number
from dropoff.store.base import Store
from dropoff.store.sql import STAGES

PARAMETERS = ("success", "limit")
SUCCESS = "booked"
EACH = 5
LINES = 8
"""So many messages of each are shown."""
_CHOSEN_FROM = 100
"""So many of each group are looked at: those with the smallest hash."""
FEATURES = ("stage", "outcome", "last_intent", "channel", "first_message_variant", "bot_version", "objection")
"""What two conversations can differ in."""
_TURNS = ("objection_raised", "fallback", "escalated", "qualified", "disqualified", "meeting_booked", "opted_out")
"""Events beside which the talk takes a turn."""


def answer(store: Store, query: Query, params: Params) -> dict[str, Any]:
    """`successful`: came to the stage `success`, or further; `failed`: ended before it. `limit` of each."""
    success = _success(store, one(params, "success"))
    limit = whole_number(params, "limit", EACH, 1, 20)
    level = list(STAGES).index(success)
    groups = {
        "failed": f"status = 'closed' AND level < {level} AND ending IS NOT NULL",
        "successful": f"level >= {level}",
    }
    return {
        "period": query.period.to_dict(),
        "as_of": instant(query.now),
        "definition": {
            "success": success,
            "text": f"Successful: came to {success} or further. Failed: ended before it. Chosen by lot, and then for "
            "being unlike one another; the same question is answered with the same ones.",
        },
        **{name: _group(store, query, condition, limit) for name, condition in groups.items()},
    }  # fmt: skip


def _success(store: Store, asked: str | None) -> str:
    recorded = [stage for stage in list(STAGES)[1:] if stage in select.recorded_stages(store)]
    if asked is not None:
        if asked not in list(STAGES)[1:]:
            raise InvalidInput("success", asked, f"one of {', '.join(list(STAGES)[1:])}")
        return asked
    return SUCCESS if SUCCESS in recorded or not recorded else recorded[-1]


def _group(store: Store, query: Query, condition: str, limit: int) -> dict[str, Any]:
    clause = select.Clause(store.dialect)
    rows = select.conversations(query, clause)
    ids = store.frame(f"SELECT id FROM {rows} WHERE {condition}", clause.parameters)["id"].to_list()
    lots = nsmallest(_CHOSEN_FROM, ids, key=lambda one: lot(one, query))
    chosen = diverse(_candidates(store, query, lots), limit)
    return {"total": len(ids), "conversations": [_told(store, query, row) for row in chosen]}


def lot(conversation_id: str, query: Query) -> bytes:
    """The lot that a conversation draws: another one in each period."""
    text = f"{query.period.start.isoformat()} {query.period.end.isoformat()} {conversation_id}"
    return hashlib.sha256(text.encode()).digest()


def _candidates(store: Store, query: Query, ids: Sequence[str]) -> list[dict[str, Any]]:
    if not ids:
        return []
    clause = select.Clause(store.dialect)
    rows = select.conversations(query, clause)
    listed = ", ".join(clause.add(one) for one in ids)
    columns = "id, stage, outcome, channel, first_message_variant, bot_version, path, objections_raised"
    found = store.select(f"SELECT {columns} FROM {rows} WHERE id IN ({listed})", clause.parameters).dicts()
    by_id = {row["id"]: _features(row) for row in found}
    return [by_id[one] for one in ids if one in by_id]  # an event may have taken one away meanwhile


def _features(row: Mapping[str, Any]) -> dict[str, Any]:
    said = [step.partition(":")[2] for step in row["path"] or () if step.startswith("bot:")]
    raised = row["objections_raised"]
    kept = {name: row[name] for name in ("id", "stage", "outcome", "channel", "first_message_variant", "bot_version")}
    return {**kept, "last_intent": said[-1] if said else None, "objection": raised[0] if len(raised or ()) else None}


def diverse(candidates: Sequence[Mapping[str, Any]], limit: int) -> list[Mapping[str, Any]]:
    """So many of them, each the one with the most that the chosen do not have, the earlier of equals."""
    left, chosen = list(candidates), []
    seen: set[tuple[str, Any]] = set()
    while left and len(chosen) < limit:
        best = max(left, key=lambda row: sum((name, row[name]) not in seen for name in FEATURES))
        chosen.append(best)
        left.remove(best)
        seen |= {(name, best[name]) for name in FEATURES}
    return chosen


def _told(store: Store, query: Query, row: Mapping[str, Any]) -> dict[str, Any]:
    whole = conversations.show(store, row["id"], query)
    kept = ("position", "timestamp", "sender", "intent", "content")
    places = turning(whole)
    lines = [{name: m[name] for name in kept} for m in whole["messages"] if m["position"] in places]
    return {**row, "started_at": whole["started_at"], "messages": len(whole["messages"]), "lines": lines}


def turning(conversation: Mapping[str, Any]) -> set[int]:
    """The positions of the messages that tell most: the end, the beginning, and beside each turn."""
    messages = conversation["messages"]
    return set(list(dict.fromkeys(_telling(messages, conversation["events"])))[:LINES])


def _telling(messages: Sequence[Mapping[str, Any]], events: Sequence[Mapping[str, Any]]) -> Iterator[int]:
    """The most telling first."""
    positions = [message["position"] for message in messages]
    yield from positions[-2:]
    yield from positions[:1]
    yield from [m["position"] for m in messages if m["sender"] == "prospect"][:1]
    for event in events:
        if event["event_type"] in _TURNS:
            before = [m["position"] for m in messages if m["timestamp"] <= event["timestamp"]]
            yield from before[-1:]
            yield from positions[len(before) : len(before) + 1]
    for place, message in enumerate(messages):
        if (message["intent"] or "").startswith("objection"):
            yield from positions[place : place + 2]
