"""Lists of conversations, and one conversation with its messages and events."""

import base64
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import pairwise
from typing import Any, NamedTuple

import polars as pl

from dropoff.analyse import select
from dropoff.analyse.answers import instant
from dropoff.analyse.conversations import neighbours, search
from dropoff.analyse.conversations.search import Search
from dropoff.analyse.funnels.funnel import Definition
from dropoff.errors import InvalidInput, NotFound
from dropoff.periods import MICROSECOND, parse_duration
from dropoff.query import Params, Query, one
from dropoff.store import tables
from dropoff.store.base import Store
from dropoff.store.keys import key_of
from dropoff.store.sql import PHYSICAL, STAGES

LIMIT = 50
EXPORTED_AT_ONCE = 20_000
"""Rows of one statement of an export, more only where so many conversations began at once: what it holds in memory."""
_HIDDEN = ("key", "level")
COLUMNS = (
    "id", "channel", "direction", "contact_id", "started_at", "ended_at", "duration_seconds", "message_count",
    "stage", "ending", "outcome", "status", "sentiment_trend", "first_response_seconds", "escalated",
    "fallback_count", "is_test",
)  # fmt: skip


class Stages(NamedTuple):
    """Which conversations of a funnel are meant, all where nothing is given.

    `stage`: those that reached it, as the funnel's mode has it, and `within` a duration: before they were that old.
    `dropped`: those that reached it and not the next recorded stage of the funnel.
    """

    stage: str | None = None
    within: str | None = None
    dropped: str | None = None

    @classmethod
    def parse(cls, params: Params) -> "Stages":
        """From the parameters of a URL. Which stages there are the funnel says."""
        return cls(*(one(params, name) for name in cls._fields))

    def condition(self, store: Store, funnel: Definition) -> str:
        """As SQL over conversations; raises `InvalidInput` for what the funnel does not have."""
        stage, within, dropped = self
        conditions = [] if stage is None else [_reached(funnel, "stage", stage)]
        if within is not None:
            conditions.append(_reached_within(funnel, stage, within))
        if dropped is not None:
            conditions += [_reached(funnel, "dropped", dropped), f"NOT ({_reached_after(store, funnel, dropped)})"]
        return " AND ".join(conditions) or "true"

    def described(self) -> str:
        """In words."""
        parts = ["Conversations started in the period"]
        if self.stage:
            parts.append(f"that reached {self.stage}" + (f" before they were {self.within} old" if self.within else ""))
        if self.dropped:
            parts.append(f"that reached {self.dropped} and not the next stage")
        return " ".join(parts) + "."


def _reached(funnel: Definition, name: str, stage: str) -> str:
    if stage not in funnel.stages:
        raise InvalidInput(name, stage, f"one of {', '.join(funnel.stages)}")
    if funnel.mode == "recorded":
        return f"{STAGES[stage]} IS NOT NULL"
    return f"level >= {list(STAGES).index(stage)}"


def _reached_within(funnel: Definition, stage: str | None, within: str) -> str:
    if stage is None:
        raise InvalidInput("within", within, "left out where no stage is given")
    limit = parse_duration("within", within) // MICROSECOND
    return f"date_diff('microsecond', started_at, {funnel.reached_at(stage)}) < {limit}"


def _reached_after(store: Store, funnel: Definition, stage: str) -> str:
    recorded = select.recorded_stages(store)
    after = funnel.stages[funnel.stages.index(stage) + 1 :]
    following = next((name for name in after if name in recorded), None)
    if following is None:
        raise InvalidInput("dropped", stage, "a stage that is followed by a recorded one")
    return _reached(funnel, "dropped", following)


class Listed(NamedTuple):
    """The conversations of a list: `rows` of `id` and `started_at`, and `text` says which they are.

    `started`: all of them began in the period. `terms` are looked for in what was said in them.
    """

    rows: pl.DataFrame
    text: str
    started: bool = False
    terms: tuple[str, ...] = ()

    def with_what(self, found: pl.DataFrame, wanted: Search) -> "Listed":
        """Only those that are looked for, too."""
        text = f"{self.text.removesuffix('.')}; {search.described(wanted)}."
        return Listed(self.rows.join(found, on="id", how="semi"), text, self.started, wanted.terms)


def began(store: Store, ids: Collection[str], text: str) -> Listed:
    """These conversations, whenever they began."""
    every = store.frame(f"SELECT id, started_at FROM {PHYSICAL['conversations']}")
    return Listed(every.join(pl.DataFrame({"id": list(ids)}, {"id": pl.String}), on="id", how="semi"), text)


def at(store: Store, query: Query, funnel: Definition, stages: Stages) -> list[str]:
    """The ids of those of a query, as `listing` has them."""
    clause = select.Clause(store.dialect)
    rows = select.conversations(query, clause)
    text = f"SELECT id FROM {rows} WHERE {stages.condition(store, funnel)}"
    return store.frame(text, clause.parameters)["id"].to_list()


def searched(store: Store, query: Query, funnel: Definition, stages: Stages, wanted: Search) -> Listed:
    """Those of a query, as `listing` has them, with what is looked for."""
    text = f"{stages.described().removesuffix('.')} {search.described(wanted)}."
    found = search.matching(store, query, wanted, stages.condition(store, funnel))
    return Listed(found, text, started=True, terms=wanted.terms)


def listing(
    store: Store, query: Query, funnel: Definition, stages: Stages, *, limit: int = LIMIT, after: str | None = None
) -> dict[str, Any]:
    """Conversations of a query, the latest first. `after` is the `next` of the page before."""
    condition = stages.condition(store, funnel)
    clause = select.Clause(store.dialect)
    rows = select.conversations(query, clause)
    total = store.select(f"SELECT count(*) FROM {rows} WHERE {condition}", clause.parameters).rows[0][0]
    if after is not None:
        moment, last = _open_cursor(after)
        condition += f" AND (started_at, id) < ({clause.add(moment)}, {clause.add(last)})"
    found = store.select(
        f"""SELECT {", ".join(COLUMNS)} FROM {rows} WHERE {condition}
            ORDER BY started_at DESC, id DESC LIMIT {limit + 1}""",
        clause.parameters,
    ).dicts()
    page = [_present(row) for row in found[:limit]]
    return {
        "period": query.period.to_dict(),
        "as_of": instant(query.now),
        "definition": {"text": stages.described()},
        "conversations": page,
        "total": total,
        "next": _cursor(found[limit - 1]) if len(found) > limit else None,
    }


def export(store: Store, query: Query, funnel: Definition, stages: Stages) -> Iterator[list[dict[str, Any]]]:
    """All rows of the same list, some at a time; what is wrong with the question is raised at once."""
    return _pages(store, query, stages.condition(store, funnel))


def export_of(store: Store, query: Query, listed: Listed) -> Iterator[list[dict[str, Any]]]:
    """All rows of these conversations, some at a time."""
    wanted = frozenset(listed.rows["id"])
    for page in _pages(store, query, "true", started=listed.started):
        if kept := [row for row in page if row["id"] in wanted]:
            yield kept


def _pages(store: Store, query: Query, condition: str, *, started: bool = True) -> Iterator[list[dict[str, Any]]]:
    """The rows that satisfy a condition, the latest first, some at a time; what arrives meanwhile may be among them.

    They are cut by when conversations began, never between two that began at once. Page by page as in `listing`, each
    statement has to sort all that is left: of a million rows 10,000 took 4.8 s so, and 0.6 s this way.
    """
    for first, end in _spans(store, query, condition, started=started):
        clause = select.Clause(store.dialect)
        rows = select.conversations(query, clause, started=started)
        bounds = [f"started_at >= {clause.add(first)}"] if first is not None else []
        bounds += [f"started_at < {clause.add(end)}"] if end is not None else []
        found = store.select(
            f"""SELECT {", ".join(COLUMNS)} FROM {rows} WHERE {" AND ".join([condition, *bounds])}
                ORDER BY started_at DESC, id DESC""",
            clause.parameters,
        )
        yield [_present(row) for row in found.dicts()]


def _spans(
    store: Store, query: Query, condition: str, *, started: bool
) -> list[tuple[datetime | None, datetime | None]]:
    """Where to cut: [start, end) of each part, the latest first, open at both ends."""
    clause = select.Clause(store.dialect)
    rows = select.conversations(query, clause, started=started)
    moments = store.frame(f"SELECT started_at FROM {rows} WHERE {condition}", clause.parameters)["started_at"]
    cuts = moments.sort(descending=True).gather_every(EXPORTED_AT_ONCE)[1:].unique(maintain_order=True).to_list()
    return list(pairwise([None, *cuts[::-1], None]))[::-1]


def listing_of(
    store: Store, query: Query, listed: Listed, *, limit: int = LIMIT, after: str | None = None
) -> dict[str, Any]:
    """The same of these conversations. Where terms are looked for each has its `hit`: where they first stand."""
    left = listed.rows
    if after is not None:
        moment, last = _open_cursor(after)
        at = pl.col("started_at")
        left = left.filter((at < moment) | ((at == moment) & (pl.col("id") < last)))
    shown = left.sort(["started_at", "id"], descending=True).head(limit + 1)["id"].to_list()
    found = _rows_of(store, query, shown)
    page = [_present(row) for row in found[:limit]]
    if listed.terms:
        hits = search.hits(store, [row["id"] for row in page], listed.terms)
        page = [row | {"hit": hits.get(row["id"])} for row in page]
    return {
        "period": query.period.to_dict(),
        "as_of": instant(query.now),
        "definition": {"text": listed.text},
        "conversations": page,
        "total": len(listed.rows),
        "next": _cursor(found[limit - 1]) if len(found) > limit else None,
    }


def _rows_of(store: Store, query: Query, ids: Sequence[str]) -> list[dict[str, Any]]:
    if not ids:
        return []
    clause = select.Clause(store.dialect)
    rows = select.conversations(query, clause, started=False)
    listed = ", ".join(clause.add(one) for one in ids)
    text = f"SELECT {', '.join(COLUMNS)} FROM {rows} WHERE id IN ({listed}) ORDER BY started_at DESC, id DESC"
    return store.select(text, clause.parameters).dicts()


def _cursor(row: dict[str, Any]) -> str:
    text = json.dumps([row["started_at"].isoformat(), row["id"]])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _open_cursor(text: str) -> tuple[datetime, str]:
    """The beginning and the id of the last row before. Anybody may have made one up."""
    with suppress(ValueError, TypeError, RecursionError):
        moment, last = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        began = datetime.fromisoformat(moment)
        if began.tzinfo is None and str(last).encode():  # whole characters, as every id has
            return began, str(last)
    raise InvalidInput("after", text, "the 'next' of the page before")


def show(store: Store, conversation_id: str, query: Query, *, alike: bool = False) -> dict[str, Any]:
    """One conversation: its `ConversationMetrics`, its messages, all its events, and where it stands in the funnel.

    `alike`: also the won and the failed one that began most like it. Raises `NotFound`.
    """
    clause = select.Clause(store.dialect)
    source = clause.sql.derived(clause.add(select.naive(query.now)), query.test)
    of = f"key = {clause.add(key_of(conversation_id))} AND"
    found = store.select(
        f"SELECT * FROM ({source}) WHERE {of} id = {clause.add(conversation_id)}", clause.parameters
    ).dicts()
    if not found:
        raise NotFound(f"there is no conversation {conversation_id!r}")
    # Messages first: of what comes meanwhile the event is then there, too.
    messages, events = _messages(store, conversation_id), _events(store, conversation_id)
    # An id is one in a conversation, or a contact: other systems may count from 1, too.
    said = {(event["id"], event["timestamp"]): event.pop("content") for event in events}
    return {
        **_present(found[0]),
        "messages": [_present(row | {"content": said.get((row["event_id"], row["timestamp"]))}) for row in messages],
        "events": [{**_present(event), "properties": json.loads(event["properties"])} for event in events],
        "funnel": neighbours.standing(found[0]),
    } | ({"neighbours": neighbours.nearest(store, query, found[0])} if alike else {})


def transcripts(store: Store, ids: Collection[str]) -> dict[str, list[dict[str, Any]]]:
    """What was said in each of a few conversations: `position`, `sender`, `intent`, `content` of its messages.

    Nothing of one that is not there.
    """
    clause = select.Clause(store.dialect)
    keys, wanted = ", ".join(clause.add(key_of(one)) for one in ids), ", ".join(map(clause.add, ids))
    rows = store.select(
        f"""SELECT conversation_id AS id, event_id, timestamp, position, sender, intent FROM {PHYSICAL["messages"]}
            WHERE key IN ({keys}) AND conversation_id IN ({wanted}) ORDER BY position""",
        clause.parameters,
    ).dicts()
    contents = _contents(store, rows) if rows else {}
    said: dict[str, list[dict[str, Any]]] = {one: [] for one in ids}
    for row in rows:
        one = row.pop("id")
        said[one].append(row | {"content": contents.get((one, row.pop("event_id"), row.pop("timestamp")))})
    return said


def _contents(store: Store, rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str, datetime], str]:
    """The texts of messages, by conversation, event and instant.

    A part for each conversation: events lie in the order in which they came, so that a span of time is found at once.
    """
    clause, times = select.Clause(store.dialect), dict[str, list[datetime]]()
    for row in rows:
        times.setdefault(row["id"], []).append(row["timestamp"])
    parts = [
        f"""SELECT conversation_id, id, timestamp, {clause.sql.content} AS content FROM {PHYSICAL["events"]}
            WHERE key = {clause.add(key_of(one))} AND conversation_id = {clause.add(one)}
              AND timestamp BETWEEN {clause.add(min(of))} AND {clause.add(max(of))}"""
        for one, of in times.items()
    ]
    found = store.select(" UNION ALL ".join(parts), clause.parameters)
    return {(one, event, at): content for one, event, at, content in found.rows}


def _messages(store: Store, conversation_id: str) -> list[dict[str, Any]]:
    clause = select.Clause(store.dialect)
    found = store.select(
        f"""SELECT * FROM {PHYSICAL["messages"]}
            WHERE key = {clause.add(key_of(conversation_id))} AND conversation_id = {clause.add(conversation_id)}
            ORDER BY position""",
        clause.parameters,
    )
    return found.dicts()


def _events(store: Store, conversation_id: str) -> list[dict[str, Any]]:
    """The events that name the conversation, and those that name its contact and were found to be its own."""
    clause = select.Clause(store.dialect)
    key = key_of(conversation_id)
    found = store.select(
        f"""SELECT key, event_id, contact_id, attributed_by FROM {PHYSICAL["attributions"]}
            WHERE conversation_key = {clause.add(key)} AND conversation_id = {clause.add(conversation_id)}""",
        clause.parameters,
    )
    why = {(of, event, contact): by for of, event, contact, by in found.rows}
    # The keys as such: through a join every event would be looked at.
    clause = select.Clause(store.dialect)
    keys = ", ".join(map(clause.add, sorted({key, *(of for of, _, _ in why)})))
    ids = ", ".join(map(clause.add, sorted({event for _, event, _ in why}))) or "NULL"
    rows = store.select(
        f"""SELECT key, contact_id, conversation_id, id, event_type, timestamp, received_at, properties,
              {clause.sql.content} AS content
            FROM {PHYSICAL["events"]} WHERE key IN ({keys})
              AND (conversation_id = {clause.add(conversation_id)} OR conversation_id IS NULL AND id IN ({ids}))
            ORDER BY timestamp, sequence NULLS LAST, id""",
        clause.parameters,
    ).dicts()
    events = []
    for row in rows:
        of = row.pop("key"), row["id"], row.pop("contact_id")
        if row.pop("conversation_id") is not None or of in why:
            events.append(row | {"attributed_by": why.get(of)})
    return events


_MONEY = ("revenue", "cost")
_INSTANTS = {c.name for columns in tables.TABLES.values() for c in columns if c.type == "instant"}


def _present(row: dict[str, Any]) -> dict[str, Any]:
    """A row as readers get it: instants in RFC 3339, money as exact decimals by currency."""
    shown = {name: value for name, value in row.items() if name not in _HIDDEN}
    for name in shown.keys() & _INSTANTS:
        shown[name] = instant(shown[name])
    for name in shown.keys() & set(_MONEY):
        shown[name] = json.loads(shown[name]) if shown[name] else {}
    return shown
