"""Whether the data can be trusted: what waits, came late, twice or not at all, and what could not be told apart.

What the store has kept is counted in the period; what only the running process knows is told by `Live`, which the
composition root gives in: no analysis reaches into the queue.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

from dropoff.aliases import unmerged
from dropoff.analyse import select
from dropoff.analyse.answers import instant, share
from dropoff.query import NONE, Query
from dropoff.store.base import Store
from dropoff.store.sql import PHYSICAL

LATE_SECONDS = 3600
"""An event that was received longer after it happened came late."""
_WITHIN = (60, LATE_SECONDS, 86_400)
LISTED = 20


class Live(NamedTuple):
    """What a process knows of itself; None: it is no business of this one, or cannot be told now.

    `stored`, `duplicates`, `conflicts`, `dead`: what became of events since the instant `since`, when it was started.
    """

    lag_events: int | None = None
    lag_seconds: float | None = None
    since: datetime | None = None
    stored: int | None = None
    duplicates: int | None = None
    conflicts: int | None = None
    dead: int | None = None


def unknown() -> Live:
    """Of a store that no running process of ours fills."""
    return Live()


def fresh(store: Store, live: Live) -> dict[str, Any]:
    """What changes without any event being stored."""
    return live._asdict() | {"since": instant(live.since)} | _rejected(store)


def answer(store: Store, query: Query) -> dict[str, Any]:
    """What the store has kept. Of events, contact events and labels those of all traffic count, whatever the query
    filters."""
    parts: Sequence[Callable[[Store, Query], dict[str, Any]]] = (
        _events, _conversations, _contact_events, _contacts, _labels, _money,
    )  # fmt: skip
    return {name: value for part in parts for name, value in part(store, query).items()}


def _events(store: Store, query: Query) -> dict[str, Any]:
    """How events of the period came in, and when the last of all did."""
    clause = select.Clause(store.dialect)
    behind = [f"received_at <= timestamp + INTERVAL {seconds} SECOND" for seconds in _WITHIN]
    conditions = ("true", *behind, "identity = 'none'", "stamped", "skew <> 0")
    counts = ", ".join(f"count(*) FILTER (WHERE {condition})" for condition in conditions)
    n, *within, nameless, stamped, skewed = store.select(
        f"SELECT {counts} FROM {PHYSICAL['events']} WHERE {select.in_period('timestamp', query.period, clause)}",
        clause.parameters,
    ).rows[0]
    last = store.select(f"SELECT max(received_at), count(*) FROM {PHYSICAL['events']}").rows[0]
    spans = zip((*_WITHIN, None), (0, *within), (*within, n), strict=True)
    return {
        "last_received_at": instant(last[0]) if last[1] else None,
        "events": n,
        "arrival": [{"within_seconds": seconds, "count": upto - before} for seconds, before, upto in spans],
        "late": n - within[_WITHIN.index(LATE_SECONDS)],
        "late_seconds": LATE_SECONDS,
        "no_identity": nameless,
        "stamped": stamped,
        "skewed": skewed,
    }


def _conversations(store: Store, query: Query) -> dict[str, Any]:
    """Test traffic among the query's conversations, and of those that count the ones whose path depends on a tie."""
    clause = select.Clause(store.dialect)
    rows = select.conversations(replace(query, include_test=True, by=None), clause, named=False)
    counted = "true" if query.include_test else "NOT is_test"
    test, n, ties = store.select(
        f"""SELECT count(*) FILTER (WHERE is_test), count(*) FILTER (WHERE {counted}),
            count(*) FILTER (WHERE tied AND {counted}) FROM {rows}""",
        clause.parameters,
    ).rows[0]
    return {"test_conversations": test, "ties": share(ties, n)}


def _contact_events(store: Store, query: Query) -> dict[str, Any]:
    """Events of the period that name only a contact, and those of them that found no conversation."""
    clause = select.Clause(store.dialect)
    rows = store.select(
        f"""SELECT event_type, count(*), count(*) FILTER (WHERE attributed_by = 'unmatched')
            FROM {PHYSICAL["attributions"]} WHERE {select.in_period("timestamp", query.period, clause)}
            GROUP BY 1 ORDER BY 3 DESC, 1""",
        clause.parameters,
    ).rows
    return {
        "contact_events": sum(n for _, n, _ in rows),
        "unmatched_contacts": sum(lost for *_, lost in rows),
        "unmatched": [{"event_type": kind, "count": lost, "of": n} for kind, n, lost in rows if lost],
    }


def _contacts(store: Store, _: Query) -> dict[str, Any]:
    """Contacts of so many ids that they are not merged: a mistake of the sender, whenever it was made."""
    kind = "event_type = 'contact_identified'"
    if not store.select(f"SELECT count(*) FROM {PHYSICAL['events']} WHERE {kind}").rows[0][0]:
        return {"unmerged_contacts": 0, "unmerged": []}
    aliases = store.dialect.json_text("facts", "aliases")
    told = store.select(f"SELECT contact_id, {aliases} FROM {store.dialect.standing_events()} e WHERE {kind}").rows
    found = unmerged([*([] if own is None else [own]), *json.loads(ids or "[]")] for own, ids in told)
    return {
        "unmerged_contacts": len(found),
        "unmerged": [{"contact_id": min(ids), "ids": len(ids)} for ids in found[:LISTED]],
    }


def _rejected(store: Store) -> dict[str, Any]:
    """Refused events by reason, of those that are still kept: their own time may be what was wrong with them."""
    rows = store.select(f"SELECT reason, count(*) FROM {PHYSICAL['rejected_events']} GROUP BY 1 ORDER BY 2 DESC, 1")
    return {"rejected": dict(rows.rows)}


def _labels(store: Store, query: Query) -> dict[str, Any]:
    """Prospects' messages of the period by what labelled them; null: they have no label."""
    clause = select.Clause(store.dialect)
    bare = "label_source IS NULL AND intent IS NULL AND intent_confidence IS NULL AND sentiment IS NULL"
    rows = store.select(
        f"""SELECT CASE WHEN {bare} THEN NULL ELSE coalesce(label_source, '{NONE}') END AS source, count(*) AS n
            FROM {PHYSICAL["messages"]}
            WHERE sender = 'prospect' AND {select.in_period("timestamp", query.period, clause)}
            GROUP BY 1 ORDER BY n DESC, source""",
        clause.parameters,
    ).rows
    whole = sum(n for _, n in rows)
    return {"labels": [{"label_source": source, "messages": share(n, whole)} for source, n in rows]}


def _money(store: Store, query: Query) -> dict[str, Any]:
    """The deals won in the period by currency: no rate is configured, so those in another than the commonest currency
    are in no sum with it."""
    clause = select.Clause(store.dialect)
    rows = store.select(
        f"""SELECT currency, count(*) AS n FROM {PHYSICAL["deals"]}
            WHERE state = 'won' AND {select.in_period("won_at", query.period, clause)}
            GROUP BY 1 ORDER BY n DESC, currency""",
        clause.parameters,
    ).rows
    named = {currency: n for currency, n in rows if currency is not None}
    return {
        "currencies": named,
        "not_convertible": sum(named.values()) - max(named.values(), default=0),
        "without_amount": sum(n for currency, n in rows if currency is None),
    }
