"""Whatever comes to the door: it is taken and stored, or refused with a reason. Nothing else."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asgi import request
from dropoff.analyse.analytics import Analytics
from dropoff.control import access
from dropoff.control.sqlite import SqliteControl
from dropoff.events import ALIASES, MEANING, Envelope, Properties
from dropoff.ingest.door import Door
from dropoff.process.fold import Rules
from dropoff.process.worker import Worker
from dropoff.queue.sqlite import SqliteQueue
from dropoff.store.duckdb import DuckStore


class Everything:
    """Door, queue, worker, store and the questions, over one directory."""

    def __init__(self, directory: Path) -> None:
        self.control = SqliteControl(directory / "control.db")
        self.queue = SqliteQueue(directory / "queue.db")
        self.store = DuckStore(directory / "store.duckdb")
        self.worker = Worker(self.queue, self.store, Rules())
        self.analytics = Analytics(self.store, "UTC")
        self.door = Door(self.queue, access.Access(self.control, ""), 10**9)
        self.asked = 0

    def close(self) -> None:
        self.queue.close()
        self.store.close()
        self.control.close()

    def send(self, body: bytes) -> httpx.Response:
        return request(self.door, "POST", "/v1/events", content=body)

    def work(self) -> tuple[int, int]:
        """How many events were stored, and how many were found to be copies."""
        stored = dropped = 0
        while tally := self.worker.step(0):
            stored += sum(tally.stored.values())
            dropped += sum(tally.dropped.values())
        assert not self.queue.dead_letters()
        return stored, dropped


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Everything]:
    made = Everything(tmp_path_factory.mktemp("fuzz"))
    yield made
    made.close()


# What may stand in the place of any value: what is right somewhere, and what is right nowhere.
FIGURES = """0 -0 -0.0 1 -1 0.5 1.5 7 72 100000000000 99999999999 1e308 -1e308 5e-324 1e-400 1e400 9007199254740993
    253402300799 253402300800 253402300799999 -1e-9 1e15 9223372036854775807 9223372036854775808 18446744073709551616
    999999999999.999999 999999999999.9999999 0.1234567 12.50 1e11 1E+2 0.30000000000000004"""
NUMBERS = st.sampled_from(FIGURES.split()) | st.integers(-(10**40), 10**40).map(str)
TIMES = """2024-01-15 2024-02-30 0001-01-01 9999-12-31 9990-12-31 1970-01-01 1969-12-31 2024-W03-1 20240115T100000Z
    0001-01-01T00:00:00+14:00 9999-12-31T23:59:59.999999-14:00 9999-12-31T23:59:59Z 2024-01-15T10:00:00Z
    2024-01-15T10:00:00.123456789+05:30 2024-01-15T24:00:00Z 2024-06-30T23:59:60Z 1970-01-01T00:00:00Z
    1969-12-31T23:59:59Z 2024-01-15T10:00:00"""
WORDS = """c e1 m1 true null EUR eur ÅÄÖ XXX € 12.5 1e999999999 -Infinity NaN sNaN 0x10 delivered Bot human prospect
    inbound İ ß objection_price #id " \\ {} STOP stop."""
ODD = [
    "", " ", "a" * 256, "é" * 256, "a" * 257, "\U0001f600" * 64, "line\nline", "a\rb", "\x1b[31m", "\x7f", "\u2028",
    "\u202e", "\ufeffx", "\ud800", "\udc00\ud800", "\x00", "objection: ", "objection \n\n x",
    "'; DROP TABLE event_rows; --",
]  # fmt: skip
TEXTS = st.sampled_from([*TIMES.split(), *WORDS.split(), *ODD]) | st.text(max_size=20)
WRITTEN = TEXTS.map(json.dumps) | st.text(max_size=20).map(lambda text: json.dumps(text, ensure_ascii=False))
FLAT = NUMBERS | WRITTEN | st.sampled_from(["true", "false", "null"])
LISTS = st.sampled_from(
    [
        "[]", "[1,5]", "[1,1]", "[-1e308,1e308]", "[5,1]", "[1]", "{}", '["a"]', '[""]', "[null]", '{"a":{"b":[1]}}',
        json.dumps([f"alias {i}" for i in range(50)]), json.dumps([f"alias {i}" for i in range(51)]),
        "[" * 70 + "]" * 70,
    ]
)  # fmt: skip
VALUES = FLAT | LISTS
TYPES = st.sampled_from([*MEANING, *ALIASES, "x", "Camel Case", "üñï", "a" * 64, "a" * 65, "__", "\n"])
TOP = [name for name in Envelope.__struct_fields__ if name not in ("event_type", "conversation_id", "properties")]
INNER = [*Properties.__struct_fields__, "anything", "#id", "#timestamp", "key", "seq"]


def an_object(fields: dict[str, str]) -> str:
    return "{" + ",".join(f"{json.dumps(name)}:{value}" for name, value in fields.items()) + "}"


@st.composite
def wild(draw: st.DrawFn) -> str:
    """An event whose type and conversation are most often right, and everything else rarely."""
    fields = {"event_type": json.dumps(draw(TYPES)), "conversation_id": json.dumps(draw(st.sampled_from("abc")))}
    fields |= draw(st.dictionaries(st.sampled_from(TOP), VALUES, max_size=2))
    meant = MEANING.get(json.loads(fields["event_type"]), ())
    names = st.sampled_from(INNER) | st.sampled_from([*meant, "anything"])
    fields["properties"] = an_object(draw(st.dictionaries(names, VALUES, max_size=3)))
    if draw(st.integers(0, 9)) == 0:
        fields[draw(st.sampled_from(list(fields)))] = draw(VALUES)
    return an_object(fields)


BATCHES = st.lists(wild(), min_size=1, max_size=2) | st.lists(wild(), min_size=1, max_size=25)
CALM = settings(suppress_health_check=[HealthCheck.too_slow])


@settings(CALM, max_examples=30)
@given(BATCHES)
def test_what_is_accepted_is_stored_and_can_be_read(everything: Everything, events: list[str]):
    check(everything, events)


@pytest.mark.long
@pytest.mark.timeout(1800)
@settings(CALM, max_examples=2000)
@given(BATCHES)
def test_what_is_accepted_is_stored_however_often_one_tries(everything: Everything, events: list[str]):
    check(everything, events)


def check(everything: Everything, events: list[str]) -> None:
    reply = everything.send(("[" + ",".join(events) + "]").encode("utf-8", "surrogatepass"))
    assert reply.status_code in (202, 400), reply.text
    answer = reply.json()
    assert answer["accepted"] + answer["rejected"] == len(events)
    stored, dropped = everything.work()
    assert stored + dropped == answer["accepted"]
    everything.asked += 1
    if everything.asked % 10 == 0:
        read_all(everything)


def test_everything_that_was_stored_can_be_read(everything: Everything):
    read_all(everything)


def read_all(everything: Everything) -> None:
    """As pages and API do."""
    for view in ("events", "messages", "conversations", "rejected_events"):
        everything.store.select(f"SELECT * FROM {view}")
    for (name,) in everything.store.select("SELECT DISTINCT id FROM conversation_rows").rows:
        json.dumps(everything.analytics.conversation(name), default=str, ensure_ascii=False).encode()


@settings(CALM, max_examples=150)
@given(st.binary(max_size=300) | st.text(alphabet='{}[]",:\\\n u0e1', max_size=60).map(str.encode))
def test_rubbish_is_refused(everything: Everything, body: bytes):
    reply = everything.send(body)
    assert reply.status_code in (202, 400), reply.text
    if reply.status_code == 400:
        assert {"code", "message"} <= reply.json().keys()
    everything.work()
