"""Tiny worlds: events in a few words, and the pipeline that turns them into a store.

    given(started(), sent(at=1), received("hello", at=2), booked(at=5))

`at` is in minutes after `START`. Every other keyword is a field of the envelope, if there is one of that name, else a
property. Events have no id unless given one.
"""

import json
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

import polars as pl
from hypothesis import strategies as st

from dropoff.events import MICROS, Envelope, Receipt
from dropoff.intake import encode, read_events
from dropoff.process.fold import Rules
from dropoff.process.frames import frame_schema
from dropoff.process.worker import Worker
from dropoff.query import NO_TEST_RULES, TestTraffic
from dropoff.queue.sqlite import SqliteQueue
from dropoff.store import clickhouse, sql
from dropoff.store.base import Store
from dropoff.store.duckdb import DuckStore

Dict = dict[str, Any]

START = datetime(2024, 1, 15, 10, tzinfo=UTC)
START_MICROS = int(START.timestamp()) * MICROS
RECEIVED = START_MICROS + 3650 * 86_400 * MICROS
"""When the door takes what a world is made of: long after everything in it."""

_ENVELOPE = frozenset(Envelope.__struct_fields__)


def minute(at: float) -> int:
    """Microseconds since the epoch, `at` minutes after `START`."""
    return START_MICROS + round(at * 60 * MICROS)


def event(event_type: str, at: float | None = 0, conversation_id: str | None = "c", **fields: Any) -> Dict:
    """Any event. What is None is left out; for an explicit null give `properties` or update the result."""
    top = {k: v for k, v in fields.items() if k in _ENVELOPE and k != "properties" and v is not None}
    properties = {k: v for k, v in fields.items() if k not in _ENVELOPE and v is not None}
    made = {"event_type": event_type, **top, "properties": {**properties, **fields.get("properties", {})}}
    if conversation_id is not None:
        made["conversation_id"] = conversation_id
    if at is not None:
        made["timestamp"] = minute(at) // 1000
    return made


def started(at: float | None = 0, **fields: Any) -> Dict:
    return event("conversation_started", at, **fields)


def received(content: str | None = None, at: float = 2, **fields: Any) -> Dict:
    return event("message_received", at, content=content, **fields)


def sent(content: str | None = None, at: float = 1, **fields: Any) -> Dict:
    return event("message_sent", at, content=content, **fields)


def qualified(at: float = 3, **fields: Any) -> Dict:
    return event("qualified", at, **fields)


def disqualified(at: float = 3, **fields: Any) -> Dict:
    return event("disqualified", at, **fields)


def booked(at: float = 4, **fields: Any) -> Dict:
    return event("meeting_booked", at, **fields)


def rescheduled(at: float = 5, **fields: Any) -> Dict:
    return event("meeting_rescheduled", at, **fields)


def canceled(at: float = 5, **fields: Any) -> Dict:
    return event("meeting_canceled", at, **fields)


def attended(at: float = 60, **fields: Any) -> Dict:
    return event("meeting_attended", at, **fields)


def no_show(at: float = 60, **fields: Any) -> Dict:
    return event("meeting_no_show", at, **fields)


def opportunity(at: float = 70, **fields: Any) -> Dict:
    return event("opportunity_created", at, **fields)


def won(at: float = 80, **fields: Any) -> Dict:
    return event("deal_closed", at, **fields)


def lost(at: float = 80, **fields: Any) -> Dict:
    return event("deal_closed", at, won=False, **fields)


def reopened(at: float = 90, **fields: Any) -> Dict:
    return event("deal_reopened", at, **fields)


def escalated(at: float = 3, **fields: Any) -> Dict:
    return event("escalated", at, **fields)


def fallback(at: float = 3, **fields: Any) -> Dict:
    return event("fallback", at, **fields)


def error(at: float = 3, **fields: Any) -> Dict:
    return event("error", at, **fields)


def objected(objection: str, at: float = 3, **fields: Any) -> Dict:
    return event("objection_raised", at, objection=objection, **fields)


def rated(score: float, at: float = 9, **fields: Any) -> Dict:
    return event("feedback", at, score=score, **fields)


def opted_out(at: float = 3, **fields: Any) -> Dict:
    return event("opted_out", at, **fields)


def retracted(event_id: str, at: float = 99, own: str | None = None, **fields: Any) -> Dict:
    """The retraction of the event `event_id`, itself with the id `own`."""
    made = event("event_retracted", at, event_id=own, **fields)
    made["properties"]["event_id"] = event_id
    return made


def status(message_id: str, status: str = "delivered", at: float = 5, **fields: Any) -> Dict:
    return event("message_status", at, message_id=message_id, status=status, **fields)


def ended(at: float = 10, **fields: Any) -> Dict:
    return event("conversation_ended", at, **fields)


def payload(events: Iterable[Dict], received_at: int = RECEIVED) -> bytes:
    """What the door puts into the queue for these events; fails if it refuses one."""
    intake = read_events(json.dumps(list(events)).encode(), Receipt(received_at))
    assert not intake.rejections, intake.rejections
    return encode(intake.events)


EMBEDDED, CHDB = "duckdb", "chdb"
ENGINES = (EMBEDDED, CHDB)
"""What can keep a store, in this process."""


def open_store(directory: Path, engine: str = EMBEDDED, test: TestTraffic = NO_TEST_RULES) -> Store:
    """The store of a directory. All that are kept by chDB share one engine in memory, each in its own database."""
    if engine == EMBEDDED:
        return DuckStore(directory / "store.duckdb", test=test)
    return clickhouse.open_store(in_memory().at(directory), test=test)


IN_MEMORY = "chdb://memory?database={}"
"""The address of a database in the one engine of this process."""


class Databases:
    """The databases of one engine: lent to directories, and emptied before they are lent again.

    To make one takes four dozen statements, and for as long as it is there the engine looks after its tables; to empty
    one takes three. `address`: that of a store, with a place for the database's name.
    """

    def __init__(self, address: str, password: str | None = None) -> None:
        self._address = address
        self._pattern = clickhouse.open_store(address.format("pattern"), password=password)  # holds the engine, too
        self._schema = self._schema_of("pattern")
        self._lent: dict[Path, str] = {}
        self._free: list[str] = []

    def at(self, directory: Path) -> str:
        """The address of a directory's store, which is empty at first, or does not exist yet."""
        if directory not in self._lent:
            self._lent[directory] = self._free.pop() if self._free else f"d{secrets.token_hex(8)}"
        return self._address.format(self._lent[directory])

    def take_back(self, below: Path) -> None:
        """The stores of this directory and of those in it are closed, and nobody needs them any more."""
        for directory in [one for one in self._lent if one.is_relative_to(below)]:
            name = self._lent.pop(directory)
            if self._schema_of(name) == self._schema:
                self._empty(name)
                self._free.append(name)
            else:
                self._run(f"DROP DATABASE IF EXISTS {name}")

    def close(self) -> None:
        """The engine is no longer needed."""
        self._pattern.close()

    def _empty(self, name: str) -> None:
        self._run(f"TRUNCATE ALL TABLES FROM {name}")
        for table in ("schema_version", "progress"):  # what a new store has in them
            self._run(f"INSERT INTO {name}.{table} SELECT * FROM pattern.{table}")

    def _schema_of(self, name: str) -> list[tuple]:
        text = f"SELECT name, replaceAll(create_table_query, '{name}', '') FROM system.tables WHERE database = '{name}'"
        return sorted(self._pattern.select(text).rows)

    def _run(self, statement: str) -> None:
        self._pattern._client.command(statement)


@cache
def in_memory() -> Databases:
    """Those in the engine of this process."""
    return Databases(IN_MEMORY)


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory for a store, for the time of the block."""
    with TemporaryDirectory(prefix="dropoff-") as name:
        yield Path(name)
        give_back(Path(name))


def give_back(below: Path) -> None:
    """The stores in this directory are needed no more."""
    if in_memory.cache_info().currsize:
        in_memory().take_back(below)


def drain(
    directory: Path,
    payloads: Iterable[bytes],
    rules: Rules | None = None,
    *,
    apart: bool = False,
    engine: str = EMBEDDED,
) -> Store:
    """The store in `directory` after a worker has taken these payloads, too: all it can at once, or each apart."""
    store = open_store(directory, engine)
    queue = SqliteQueue(directory / "queue.db")
    try:
        worker = Worker(queue, store, rules or Rules())
        for one in payloads:
            queue.append(one, one.count(b"\n")).result()
            if apart:
                worker.step(0)
        while worker.step(0):
            pass
        assert not queue.dead_letters()
    finally:
        queue.close()
    return store


def given(*events: Dict, rules: Rules | None = None, directory: Path | None = None, engine: str = EMBEDDED) -> Store:
    """A store in which these events have arrived, through door, queue and worker. The caller closes it."""
    parts = [payload(events[at : at + 5000]) for at in range(0, max(len(events), 1), 5000)]
    return drain(directory or Path(mkdtemp(prefix="dropoff-")), parts, rules, engine=engine)


def refusals() -> pl.DataFrame:
    """No refused events."""
    return pl.DataFrame(schema=frame_schema("rejected_events"))


def rows(store: Store, table: str) -> list[Dict]:
    """All rows of a physical table, in an order that does not depend on how they came; without `seq`."""
    found = store.select(f"SELECT * FROM {table}").dicts()
    return sorted(({k: v for k, v in row.items() if k != "seq"} for row in found), key=repr)


MADE = ("conversations", "messages", "turns", "meetings", "deals", "attributions")
"""The tables that are made of events."""


def outcome(*restarts: list[list[Dict]], apart: bool = False, engine: str = EMBEDDED) -> dict[str, list[Dict]]:
    """All tables after these payloads, store and queue being opened anew before each group of them."""
    with scratch() as place:
        for group in restarts:
            drain(place, [payload(one) for one in group], apart=apart, engine=engine).close()
        store = open_store(place, engine)
        found = {table: rows(store, sql.PHYSICAL[table]) for table in (*MADE, "events")}
        store.close()
    return found


# Strategies

_IDS = st.none() | st.sampled_from([f"e{i}" for i in range(10)])
_MESSAGE_IDS = st.none() | st.sampled_from(["m1", "m2", "m3"])
_OBJECTS = st.none() | st.sampled_from(["o1", "o2"])
_AMOUNTS = st.fixed_dictionaries({}, optional={"amount": st.sampled_from(["0.1", "0.2", 1000, "99.99"])}).flatmap(
    lambda a: st.sampled_from(["EUR", "BHD"]).map(lambda c: {**a, "currency": c}) if a else st.just({})
)
_DATES = st.sampled_from(["2024-01-15", "2024-03-31", "2024-02-01T09:00:00+05:30", None])
_CONTENTS = st.sampled_from(["hello", "STOP", "stop it please", "End.", "nein", None])
_INTENTS = st.sampled_from(["interested", "objection_price", "Objection: too late", "objections", "ask_name", None])
_SENTIMENTS = st.none() | st.sampled_from([-1.0, -0.25, 0.0, 0.5, 1.0])


def _of(kind: str, **properties: st.SearchStrategy[Any]) -> st.SearchStrategy[Dict]:
    return st.fixed_dictionaries(properties).map(lambda p: {"event_type": kind, "properties": p})


def _with(kind: str, more: st.SearchStrategy[Dict], **properties: st.SearchStrategy[Any]) -> st.SearchStrategy[Dict]:
    both = st.tuples(st.fixed_dictionaries(properties), more)
    return both.map(lambda pair: {"event_type": kind, "properties": {**pair[0], **pair[1]}})


_MEETING = {"meeting_id": _OBJECTS, "meeting_date": _DATES, "by": st.sampled_from(["guest", "host", None])}
_TALK = st.one_of(
    _with(
        "message_sent", st.sampled_from([{}, {"cost": "0.01", "currency": "USD"}, {"cost": 2, "currency": "EUR"}]),
        content=_CONTENTS, intent=_INTENTS, sender=st.sampled_from(["bot", "agent", None]),
        variant=st.sampled_from(["a", "b", None]),
    ),
    _of(
        "message_received", content=_CONTENTS, intent=_INTENTS, sentiment=_SENTIMENTS,
        auto_reply=st.sampled_from([True, False, None]), intent_confidence=st.sampled_from([0.9, 0.5, 0.4, None]),
    ),
)  # fmt: skip
_KINDS = st.one_of(
    _TALK,
    _TALK,
    _of(
        "conversation_started", source=st.sampled_from(["form", "ads", None]), variant=st.sampled_from(["s", None]),
        lead_score=st.sampled_from([7, 70.5, None]), industry=st.sampled_from(["retail", None]),
        company_size=st.sampled_from([10, "11-50", None]),
    ),
    _of(
        "message_labelled", message_id=st.sampled_from(["m1", "m2", "m3", "e1", "e2"]), intent=_INTENTS,
        intent_confidence=st.sampled_from([0.9, None]), sentiment=_SENTIMENTS,
        label_source=st.sampled_from(["x@1", None]),
    ),
    _of("message_status", status=st.sampled_from(["delivered", "failed", "bounced"])),
    _of("qualified", score=st.sampled_from([1, 2.5, None]), path=st.sampled_from(["fast", None])),
    _of("disqualified", score=st.sampled_from([0, None])),
    _of("meeting_booked", **_MEETING),
    st.sampled_from(["rescheduled", "canceled", "attended", "no_show"]).flatmap(
        lambda kind: _of(f"meeting_{kind}", **_MEETING)
    ),
    _with("opportunity_created", _AMOUNTS, opportunity_id=_OBJECTS),
    _with("deal_closed", _AMOUNTS, deal_id=_OBJECTS, won=st.sampled_from([True, False, None])),
    _of("deal_reopened", deal_id=_OBJECTS),
    _of("escalated", reason=st.sampled_from(["angry", None])),
    st.sampled_from(["fallback", "error", "complained", "api_called", "meeting_reminder"]).flatmap(_of),
    _of("objection_raised", objection=st.sampled_from(["price", "time"])),
    _of("feedback", score=st.integers(1, 5)),
    _of("opted_out", keyword=st.sampled_from(["nein", None])),
    _of("enriched", industry=st.sampled_from(["finance", None]), role=st.sampled_from(["ceo", None])),
    _of("conversation_ended", outcome=st.sampled_from(["qualified", "Booked", "nonsense", None])),
    _of("event_retracted", event_id=st.sampled_from([f"e{i}" for i in range(10)])),
)  # fmt: skip
_TOP = st.fixed_dictionaries(
    {
        "conversation_id": st.sampled_from(["c1", "c2"]),
        "event_id": _IDS,
        "message_id": _MESSAGE_IDS,
        # few instants, so that many are equal; the last one is far behind
        "timestamp": st.sampled_from([*range(8), 3000]).map(lambda at: minute(at) // 1000),
    },
    optional={
        "sequence": st.sampled_from([1, 2, None]),
        "revision": st.sampled_from([0, 1, 2, None]),
        "channel": st.sampled_from(["sms", "chat", "E-Mail", "fax", None]),
        "direction": st.sampled_from(["inbound", "outbound", None]),
        "contact_id": st.sampled_from(["p1", "p2", "p3", None]),
        "bot_version": st.sampled_from(["1", "2", None]),
        "is_test": st.sampled_from([False, False, True, None]),
    },
)
_CONTACTS = st.sampled_from(["p1", "p2", "p3"])
_IDENTIFIED = st.lists(_CONTACTS, min_size=1, max_size=2).flatmap(
    lambda aliases: _of("contact_identified", aliases=st.just(aliases))
)
_OUTSIDE = st.one_of(
    _of("meeting_booked", **_MEETING),
    st.sampled_from(["rescheduled", "canceled", "attended", "no_show"]).flatmap(
        lambda kind: _of(f"meeting_{kind}", **_MEETING)
    ),
    _with("opportunity_created", _AMOUNTS, opportunity_id=_OBJECTS),
    _with("deal_closed", _AMOUNTS, deal_id=_OBJECTS, won=st.sampled_from([True, False, None])),
    _of("event_retracted", event_id=st.sampled_from([f"e{i}" for i in range(10)])),
    _IDENTIFIED,
    _KINDS,  # a contact event may be of any kind
)
_OUTSIDE_TOP = st.fixed_dictionaries(
    {
        "contact_id": _CONTACTS,
        "event_id": _IDS,
        "timestamp": st.sampled_from([*range(8), 3000]).map(lambda at: minute(at) // 1000),
    },
    optional={
        "message_id": _MESSAGE_IDS,
        "channel": st.sampled_from(["sms", "chat", None]),
        "sequence": st.sampled_from([1, 2, None]),
        "revision": st.sampled_from([0, 1, None]),
    },
)
_CONTACT_ONLY = st.tuples(_OUTSIDE_TOP, _OUTSIDE).map(lambda pair: {**pair[0], **pair[1]})


def histories(most: int = 24, *, outside: bool = False) -> st.SearchStrategy[list[Dict]]:
    """Events of two conversations and three contacts: equal ids and times, nulls, retractions, revisions, late ones.

    `outside`: half of them name only a contact.

    None of them is without any identity: the door stamps such an event anew each time.
    """
    one = st.tuples(_TOP, _KINDS | _KINDS | _KINDS | _IDENTIFIED).map(lambda pair: {**pair[0], **pair[1]})
    some = one | _CONTACT_ONLY if outside else one | one | one | one | one | one | _CONTACT_ONLY
    # Left alone, hypothesis makes short lists, in which little meets.
    return st.lists(some, max_size=most) | st.lists(some, min_size=most // 2, max_size=most)


def chunks(items: Sequence[Any], cuts: Iterable[int]) -> list[list[Any]]:
    """`items` cut before each of the given places."""
    places = [0, *sorted({c % (len(items) + 1) for c in cuts}), len(items)]
    return [list(items[a:b]) for a, b in pairwise(places)]
