"""Which conversations are looked for: by what was said in them, by an intent, and by facts of their own."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from dropoff.analyse import select
from dropoff.analyse.conversations import wanted
from dropoff.errors import InvalidInput
from dropoff.query import NONE, Params, Query, one
from dropoff.store.base import Store
from dropoff.store.keys import hashes
from dropoff.store.sql import OUTCOMES, PHYSICAL

PARAMETERS = ("text", "intent", "objection", "outcome", "ending", "status", "contact_id", "id")
ENDINGS = ("converted", "lost", "opted_out", "disqualified", "dropped")
_CHOICES = {"outcome": OUTCOMES, "ending": ENDINGS, "status": ("open", "closed")}
MESSAGES = "('message_sent', 'message_received')"


class Search(NamedTuple):
    """What is looked for. `terms`: each stands in some message; `intent`: some message has it; `facts` by column."""

    terms: tuple[str, ...]
    intent: str | None
    objection: str | None
    facts: Mapping[str, str]


def parse(params: Params) -> Search | None:
    """What is looked for; None where nothing is. Raises `InvalidInput`."""
    given = {name: text for name in PARAMETERS if (text := one(params, name)) is not None}
    if one(params, "message") is not None:  # whose intent it is then
        given.pop("intent", None)
    if not given:
        return None
    for name, known in _CHOICES.items():
        if given.get(name, known[0]) not in known:
            raise InvalidInput(name, given[name], f"one of {', '.join(known)}")
    terms = wanted.terms(given.pop("text")) if "text" in given else ()
    return Search(terms, given.pop("intent", None), given.pop("objection", None), given)


def described(search: Search) -> str:
    """It in words."""
    parts = [f"the words {', '.join(f'“{term}”' for term in search.terms)}"] if search.terms else []
    parts += [f"a message with the intent {search.intent}"] if search.intent else []
    parts += [f"the objection {search.objection}"] if search.objection else []
    parts += [f"the {name.removesuffix('_id')} {text}" for name, text in search.facts.items()]
    return f"with {', and '.join(parts)}"


def matching(
    store: Store, query: Query, search: Search, condition: str = "true", *, started: bool = True
) -> pl.DataFrame:
    """The conversations of a query with what is looked for, and a condition of their own: `id`, `started_at`.

    Without `started` whenever they began.
    """
    clause = select.Clause(store.dialect)
    rows = select.conversations(query, clause, started=started)
    conditions = [condition, *(f"{name} = {clause.add(text)}" for name, text in search.facts.items())]
    if search.objection:
        conditions.append(clause.sql.one_of_list("objections_raised", [clause.add(search.objection)], NONE))
    if search.intent:
        having = f"SELECT key, conversation_id FROM {PHYSICAL['messages']} WHERE intent = {clause.add(search.intent)}"
        conditions.append(f"(key, id) IN ({having})")
    if search.terms:
        own = select.Clause(store.dialect)
        bounds = _bounds(store, clause, _keys(query, own), own.parameters) if started else ""
        conditions.append(f"(key, id) IN ({_said(clause, search.terms, bounds)})")
    return store.frame(f"SELECT id, started_at FROM {rows} WHERE {' AND '.join(conditions)}", clause.parameters)


def _bounds(store: Store, clause: select.Clause, keys: str, parameters: Mapping[str, Any]) -> str:
    """A condition that the messages of the conversations with these keys satisfy: when they were sent.

    That is quick to find, and keeps the engine from reading the texts of other times.
    """
    text = f"SELECT min(timestamp), max(timestamp) FROM {PHYSICAL['messages']} WHERE key IN ({keys})"
    first, last = store.select(text, parameters).rows[0]
    return "" if first is None else f"AND timestamp >= {clause.add(first)} AND timestamp <= {clause.add(last)}"


def _keys(query: Query, clause: select.Clause) -> str:
    return f"SELECT key FROM {PHYSICAL['conversations']} WHERE {select.in_period('started_at', query.period, clause)}"


def _said(clause: select.Clause, terms: Sequence[str], bounds: str) -> str:
    """The keys and ids of the conversations in which each of the terms was said, in whichever message."""
    matches = [clause.sql.matches("said", clause.add(wanted.pattern(term))) for term in terms]
    columns = ", ".join(f"{match} AS said_{i}" for i, match in enumerate(matches))
    every = " AND ".join(f"count(*) FILTER (WHERE said_{i}) > 0" for i in range(len(matches)))
    texts = _texts(f"{clause.sql.content} AS said", bounds)
    found = f"SELECT key, id, conversation_id, {columns} FROM {texts} texts WHERE {' OR '.join(matches)}"
    return f"""
SELECT m.key, m.conversation_id FROM {PHYSICAL["messages"]} m JOIN ({found}) e
ON e.key = m.key AND e.id = m.event_id AND e.conversation_id = m.conversation_id
GROUP BY m.key, m.conversation_id HAVING {every}"""


def _texts(what: str, more: str, key: str = "true") -> str:
    """What was said, by conversation and event: also in messages that name only a contact, and were found to be its.

    `what` is read of the events, `key` a condition on the key of the conversation.
    """
    events = PHYSICAL["events"]
    return f"""(
    SELECT key, id, conversation_id, {what} FROM {events}
    WHERE event_type IN {MESSAGES} AND conversation_id IS NOT NULL AND {key} {more}
    UNION ALL
    SELECT a.key, e.id, a.conversation_id, e.said FROM (
      SELECT conversation_key AS key, key AS of_key, event_id, contact_id, conversation_id
      FROM {PHYSICAL["attributions"]} WHERE event_type IN {MESSAGES} AND conversation_id IS NOT NULL) a
    JOIN (
      SELECT key, id, contact_id, {what} FROM {events}
      WHERE event_type IN {MESSAGES} AND conversation_id IS NULL {more}) e
    ON e.key = a.of_key AND e.id = a.event_id AND e.contact_id = a.contact_id WHERE {key.replace("key", "a.key")})"""


def hits(store: Store, ids: Sequence[str], terms: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Of each of these conversations the first message in which any of the terms stands, with the part around it."""
    if not ids:
        return {}
    clause = select.Clause(store.dialect)
    keys = ", ".join(map(str, hashes("c" + one for one in ids)))
    said = wanted.any_of(terms)
    # Not in the inner statement: the engine would read the texts of all messages before it looks at their keys.
    content = clause.sql.json_text("e.said", "content")
    here, bounds = f"key IN ({keys})", _bounds(store, clause, keys, {})
    found = store.select(
        f"""SELECT m.conversation_id AS id, m.position AS position, m.sender AS sender, {content} AS content
            FROM {PHYSICAL["messages"]} m JOIN {_texts("properties AS said", bounds, here)} e
            ON e.key = m.key AND e.id = m.event_id AND e.conversation_id = m.conversation_id
            WHERE m.{here} ORDER BY m.conversation_id, m.position""",
        clause.parameters,
    ).dicts()
    first: dict[str, dict[str, Any]] = {}
    for row in found:
        if row["id"] not in first and said.search(row["content"] or ""):
            part = wanted.snippet(row["content"], said)
            first[row["id"]] = {"position": row["position"], "sender": row["sender"], **part._asdict()}
    return first
