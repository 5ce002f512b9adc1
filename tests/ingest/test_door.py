"""The door: what it takes, what it refuses and how it says so, and that nothing else of the batch is lost."""

import asyncio
import gzip
import io
import json
import resource
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from prometheus_client import generate_latest

from dropoff.client import Answer, Client
from dropoff.control import access
from dropoff.control.sqlite import SqliteControl
from dropoff.errors import Unavailable
from dropoff.ingest import metrics
from dropoff.ingest.door import Door
from dropoff.jobs.importing import import_all
from dropoff.process.fold import Rules
from dropoff.process.worker import Worker
from dropoff.project.settings import load
from dropoff.queue.sqlite import SqliteQueue
from dropoff.server.connect import connect
from dropoff.store import tables
from dropoff.store.duckdb import DuckStore
from worlds import Dict, rows

URL = "http://door/v1/events"
JSON = "application/json"


class House:
    """A door with all that stands behind it."""

    def __init__(self, directory: Path) -> None:
        self.queue = SqliteQueue(directory / "queue.db")
        self.control = SqliteControl(directory / "control.db")
        self.key = access.create_key(self.control, "bot", access.WRITE, 0)
        self.access = access.Access(self.control, "local")
        self.door = Door(self.queue, self.access, 1_000_000_000)
        self._path = directory / "store.duckdb"

    @cached_property
    def store(self) -> DuckStore:
        return DuckStore(self._path)

    @cached_property
    def worker(self) -> Worker:
        return Worker(self.queue, self.store, Rules())

    def send(self, body: bytes, key: str | None = None, method: str = "POST", **headers: str) -> httpx.Response:
        given = {"content-type": JSON, "authorization": f"Bearer {key or self.key}"}
        return asyncio.run(self._send(method, body, given | {k.replace("_", "-"): v for k, v in headers.items()}))

    async def _send(self, method: str, body: bytes, headers: dict[str, str]) -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(cast(Any, self.door))) as client:
            return await client.request(method, URL, content=body, headers=headers)

    def stored(self) -> list[str]:
        self.work()
        return [row["id"] for row in rows(self.store, "event_rows")]

    def rejected(self) -> list[Dict]:
        self.work()
        return self.store.select("SELECT * FROM rejected_rows ORDER BY received_at").dicts()

    def work(self) -> None:
        while self.worker.step(0):
            pass
        assert not self.queue.dead_letters()

    def close(self) -> None:
        self.queue.close()
        self.control.close()
        if "store" in self.__dict__:
            self.store.close()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.close()


def an(event_id: str = "e", **fields: Any) -> Dict:
    return {"event_type": "x", "conversation_id": "c", "event_id": event_id, **fields}


def encoded(*events: Dict) -> bytes:
    return json.dumps(events).encode()


# What it takes


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (json.dumps(an("a")).encode(), JSON),
        (json.dumps(an("a"), indent=2).encode(), JSON),
        (json.dumps(an("a")).encode(), "text/plain"),
        (json.dumps(an("a")).encode(), "application/json; charset=utf-8"),
        (encoded(an("a"), an("b")), JSON),
        (json.dumps([an("a"), an("b")], indent=2).encode(), "Application/JSON"),
        (b"\n".join(json.dumps(an(i)).encode() for i in "ab"), "application/x-ndjson"),
        (b"\r\n".join(json.dumps(an(i)).encode() for i in "ab") + b"\r\n\r\n", "application/x-ndjson"),
        (b"\n".join(json.dumps(an(i)).encode() for i in "ab"), JSON),
    ],
)
def test_one_event_an_array_and_lines_are_taken(house: House, body: bytes, content_type: str):
    for sent, more in ((body, {}), (gzip.compress(body), {"content_encoding": "gzip"})):
        reply = house.send(sent, content_type=content_type, **more)
        count = body.count(b"event_id")
        assert (reply.status_code, reply.json()) == (
            202,
            {"accepted": count, "rejected": 0, "reasons": {}, "errors": []},
        )
    assert house.stored() == ["a", "b"][:count]


def test_an_empty_array_is_nothing(house: House):
    reply = house.send(b"[]")
    assert (reply.status_code, reply.json()["accepted"]) == (202, 0)


def test_a_gzip_body_of_several_members_is_taken_whole(house: House):
    lines = [json.dumps(an(i)).encode() + b"\n" for i in "abc"]
    reply = house.send(
        b"".join(map(gzip.compress, lines)), content_encoding="gzip", content_type="application/x-ndjson"
    )
    assert (reply.status_code, reply.json()["accepted"]) == (202, 3)
    assert house.stored() == ["a", "b", "c"]


def test_the_answer_waits_for_the_disk(house: House, monkeypatch: pytest.MonkeyPatch):
    written: Future[int] = Future()
    monkeypatch.setattr(house.queue, "append", lambda *_: written)

    async def early() -> bool:
        reply = asyncio.create_task(house._send("POST", encoded(an()), {"authorization": f"Bearer {house.key}"}))
        done, _ = await asyncio.wait([reply], timeout=0.2)
        written.set_result(1)
        assert (await reply).status_code == 202
        return bool(done)

    assert not asyncio.run(early())


# Bad events: each named, none takes another with it

DEEP = '{"a":' * 1000 + "1" + "}" * 1000
BAD: list[tuple[str, bytes, str, str, str, str]] = [
    # name, event, reason, field, value in the message, rule in the message
    ("broken JSON", b'{"event_type": "x", conversation_id}', "malformed", "event", "", "JSON in UTF-8"),
    ("no object", b"17", "wrong_type", "event", "17", "an object"),
    ("wrong type", b'{"event_type":"x","conversation_id":17}', "wrong_type", "conversation_id", "17", "a text"),
    ("wrong list", b'{"event_type":["x"],"conversation_id":"c"}', "wrong_type", "event_type", "x", "a text"),
    ("no type", b'{"conversation_id":"c"}', "missing_event_type", "event_type", "is missing", "given"),
    ("no id", b'{"event_type":"x"}', "missing_id", "conversation_id", "is missing", "contact_id"),
    (
        "text for a flag",
        b'{"event_type":"x","conversation_id":"c","is_test":"yes"}',
        "wrong_type",
        "is_test",
        "yes",
        "t",
    ),
    (
        "text for a number",
        b'{"event_type":"x","conversation_id":"c","revision":"2"}',
        "wrong_type",
        "revision",
        "2",
        "n",
    ),
    ("NUL in an id", b'{"event_type":"x","conversation_id":"c\\u0000"}', "nul_byte", "conversation_id", "c", "NUL"),
    (
        "NUL in a name",
        b'{"event_type":"x","conversation_id":"c","properties":{"a\\u0000":1}}',
        "nul_byte",
        "properties",
        "a",
        "NUL",
    ),
    (
        "deep",
        b'{"event_type":"x","conversation_id":"c","properties":{"a":%s}}' % (b"[" * 65 + b"]" * 65),
        "too_deep",
        "properties.a",
        "nested",
        "64",
    ),
    ("empty id", b'{"event_type":"x","conversation_id":""}', "out_of_range", "conversation_id", "''", "1 to 256"),
    (
        "long id",
        b'{"event_type":"x","conversation_id":"%s"}' % (b"c" * 257),
        "out_of_range",
        "conversation_id",
        "ccc",
        "256",
    ),
    (
        "naive time",
        b'{"event_type":"x","conversation_id":"c","timestamp":"2024-01-15T10:00:00"}',
        "bad_timestamp",
        "timestamp",
        "2024-01-15T10:00:00",
        "offset",
    ),
    (
        "no time",
        b'{"event_type":"x","conversation_id":"c","timestamp":"yesterday"}',
        "bad_timestamp",
        "timestamp",
        "yesterday",
        "RFC 3339",
    ),
    (
        "far future",
        b'{"event_type":"x","conversation_id":"c","timestamp":"2999-01-15T10:00:00Z"}',
        "future_timestamp",
        "timestamp",
        "2999",
        "24 hours",
    ),
    (
        "sentiment",
        b'{"event_type":"message_received","conversation_id":"c","properties":{"sentiment":7}}',
        "out_of_range",
        "properties.sentiment",
        "7",
        "from -1 to 1",
    ),
    (
        "confidence",
        b'{"event_type":"message_received","conversation_id":"c","properties":{"intent_confidence":"high"}}',
        "wrong_type",
        "properties.intent_confidence",
        "high",
        "from 0 to 1",
    ),
    (
        "too large",
        b'{"event_type":"x","conversation_id":"c","properties":{"a":"%s"}}' % (b"a" * 33_000),
        "too_large",
        "event",
        "33",
        "32768",
    ),
    (
        "too deep",
        b'{"event_type":"x","conversation_id":"c","properties":%s}' % DEEP.encode(),
        "too_deep",
        "event",
        "nested",
        "64",
    ),
    (
        "NUL",
        b'{"event_type":"x","conversation_id":"c","properties":{"a":"b\\u0000"}}',
        "nul_byte",
        "properties.a",
        "b",
        "NUL",
    ),
    (
        "a raw NUL",
        b'{"event_type":"x","conversation_id":"c","properties":{"a":"b\x00"}}',
        "malformed",
        "event",
        "",
        "JSON",
    ),
    (
        "not UTF-8",
        b'{"event_type":"x","conversation_id":"c","properties":{"a":"\xff\xfe"}}',
        "malformed",
        "event",
        "",
        "UTF-8",
    ),
    (
        "lone surrogate",
        b'{"event_type":"x","conversation_id":"c","properties":{"a":"\\ud800"}}',
        "malformed",
        "event",
        "",
        "JSON",
    ),
]


def around(bad: bytes) -> list[tuple[bytes, str]]:
    """A bad event between two good ones, in an array and in lines."""
    good = [json.dumps(an(i)).encode() for i in "abcd"]
    lines = b"\n".join([good[2], bad, good[3]])
    return [(b"[" + b",".join([good[0], bad, good[1]]) + b"]", JSON), (lines, "application/x-ndjson")]


@pytest.mark.parametrize(("name", "bad", "reason", "field", "value", "rule"), BAD, ids=[case[0] for case in BAD])
def test_a_bad_event_is_named_and_the_others_are_kept(
    house: House, name: str, bad: bytes, reason: str, field: str, value: str, rule: str
):
    error: Dict = {}
    for body, content_type in around(bad):
        reply = house.send(body, content_type=content_type)
        answer = reply.json()
        [error] = answer["errors"]
        assert (reply.status_code, answer["accepted"], answer["reasons"]) == (202, 2, {reason: 1})
        assert (error["index"], error["reason"], error["field"]) == (1, reason, field)
        assert value in error["message"]
        assert rule in error["message"]
    alone = house.send(b"[" + bad + b"]")
    assert (alone.status_code, alone.json()["code"], alone.json()["message"]) == (400, reason, error["message"])
    assert house.stored() == ["a", "b", "c", "d"]
    kept = house.rejected()
    assert [(row["reason"], row["field"], row["message"]) for row in kept] == [(reason, field, error["message"])] * 3
    assert all(len(row["body"].encode()) <= 32_768 for row in kept)
    assert {row["body"].encode() for row in kept} == {bad} or name in ("too large", "not UTF-8")


def test_what_is_kept_of_a_refused_event_is_at_most_32_kb_however_it_is_written(house: House):
    house.send(b'[{"event_type":"x","a":"' + b"\xff" * 40_000 + b'"}]')
    [kept] = house.rejected()
    assert len(kept["body"].encode()) <= 32_768


def test_only_the_first_hundred_errors_are_told_but_all_are_counted_and_kept(house: House):
    reply = house.send(encoded(an("good"), *({"event_type": "x"} for _ in range(150))))
    answer = reply.json()
    assert (answer["rejected"], len(answer["errors"]), answer["reasons"]) == (150, 100, {"missing_id": 150})
    assert len(house.rejected()) == 150


def test_refused_events_are_counted_by_reason(house: House):
    before, bodies = counted("missing_id"), counted("missing_id", "bodies")
    house.send(encoded(an("good"), {"event_type": "x"}))
    house.send(encoded({"event_type": "x"}))
    assert (counted("missing_id"), counted("missing_id", "bodies")) == (before + 2, bodies)
    assert b'dropoff_events_rejected_total{reason="missing_id"}' in generate_latest(metrics.REGISTRY)


def counted(reason: str, what: str = "events") -> float:
    return metrics.REGISTRY.get_sample_value(f"dropoff_{what}_rejected_total", {"reason": reason}) or 0


# Bodies that are refused as a whole


def refused(house: House, status: int, code: str, words: str, body: bytes = b"", **more: Any) -> httpx.Response:
    """The JSON refusal of a request of which nothing is kept."""
    before = counted(code, "bodies")
    reply = house.send(body or encoded(an()), **more)
    answer = reply.json()
    assert (reply.status_code, answer["code"]) == (status, code)
    assert counted(code, "bodies") == before + 1
    assert reply.headers["content-type"] == "application/json"
    assert words in answer["message"]
    assert house.queue.lag().bytes == 0
    return reply


@pytest.mark.parametrize("body", [b"[" + b'{"event_type":"x"', b"hello", b"[1,", b"\xff", b"[\x00]", b"["])
def test_a_body_that_is_no_json_is_refused(house: House, body: bytes):
    reply = house.send(body)
    assert (reply.status_code, reply.json()["code"]) == (400, "malformed")


@pytest.mark.parametrize("body", [b"17", b'"text"', b"null", b"true"])
def test_a_body_that_is_no_event_is_refused(house: House, body: bytes):
    refused(house, 400, "wrong_type", "an array of events", body)


def test_an_empty_body_is_refused(house: House):
    reply = house.send(b" ")
    assert (reply.status_code, reply.json()["code"]) == (400, "malformed")


def test_more_than_ten_thousand_events_are_refused(house: House):
    lines = b'{"event_type":"x","conversation_id":"c"}\n' * 10_001
    refused(house, 413, "too_many_events", "10001", lines, content_type="application/x-ndjson")
    refused(house, 413, "too_many_events", "10001", b"[" + lines.replace(b"\n", b",")[:-1] + b"]")


def test_ten_thousand_are_taken(house: House):
    body = (
        b"[" + b",".join(b'{"event_type":"x","conversation_id":"c","event_id":"%d"}' % i for i in range(10_000)) + b"]"
    )
    assert house.send(body).json()["accepted"] == 10_000
    assert len(house.stored()) == 10_000


def test_a_body_of_21_megabytes_is_refused_before_and_after_gunzip(house: House):
    body = b"[" + b" " * 21_000_000 + b"]"
    refused(house, 413, "too_large", "20000000", body)
    refused(house, 413, "too_large", "20000000", gzip.compress(body, 1), content_encoding="gzip")


def test_a_body_without_a_length_is_measured_as_it_comes(house: House):
    sent = 0

    async def receive() -> Dict:
        nonlocal sent
        sent += 1_000_000
        return {"type": "http.request", "body": b" " * 1_000_000, "more_body": True}

    assert answered(house, receive)[0]["status"] == 413
    assert sent <= 21_000_000


def test_a_gzip_bomb_is_refused_in_bounded_memory(house: House):
    bomb = gzip.compress(bytes(100_000_000), 6)
    many = gzip.compress(bytes(1_000_000)) * 500
    assert len(bomb) + len(many) < 1_000_000
    tracemalloc.start()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for body in (bomb, many):
        refused(house, 413, "too_large", "gunzip", body, content_encoding="gzip")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 70_000_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


def test_gzip_that_ends_early_or_is_none_is_refused(house: House):
    whole = gzip.compress(encoded(an()))
    refused(house, 400, "malformed", "ends early", whole[:-4], content_encoding="gzip")
    refused(house, 400, "malformed", "not gzip", encoded(an()), content_encoding="gzip")
    refused(house, 400, "malformed", "not gzip", whole + b"rubbish", content_encoding="gzip")


def test_unknown_types_and_encodings_are_refused(house: House):
    refused(house, 415, "unsupported_media_type", "'text/csv'", content_type="text/csv")
    refused(house, 415, "unsupported_encoding", "'br'", content_encoding="br")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_only_post_is_known(house: House, method: str):
    assert refused(house, 405, "method_not_allowed", method, method=method).headers["allow"] == "POST"


@pytest.mark.parametrize("key", ["dw_unknown", "", "da_" + "0" * 32])
def test_without_a_known_key_nothing_is_taken_or_kept(house: House, key: str):
    before = counted("unauthorized", "bodies")
    body = encoded({"event_type": "x"})
    for authorization in (f"Bearer {key}", f"Basic {house.key}", house.key, "Bearer"):
        reply = house.send(body, authorization=authorization)
        assert (reply.status_code, reply.json()["code"]) == (401, "unauthorized")
        assert reply.headers["www-authenticate"] == "Bearer"
        assert house.key not in reply.text
    assert house.queue.lag().bytes == 0
    assert counted("unauthorized", "bodies") == before + 4


def test_an_admin_token_does_not_write(house: House):
    token = access.create_key(house.control, "admin", access.ADMIN, 0)
    refused(house, 401, "unauthorized", "write key", key=token)


def test_above_the_backlog_limit_it_says_when_to_come_again(house: House):
    assert house.send(encoded(an("a"))).status_code == 202
    narrow = Door(house.queue, house.access, 10)
    house.door, wide = narrow, house.door
    reply = house.send(encoded(an("b")))
    assert (reply.status_code, reply.json()["code"]) == (429, "backlog")
    assert int(reply.headers["retry-after"]) > 0
    house.work()
    assert house.send(encoded(an("b"))).status_code == 202
    house.door = wide
    assert house.stored() == ["a", "b"]


def test_a_queue_that_cannot_be_written_is_a_503(house: House, monkeypatch: pytest.MonkeyPatch):
    failed: Future[int] = Future()
    failed.set_exception(Unavailable("disk full"))
    monkeypatch.setattr(house.queue, "append", lambda *_: failed)
    reply = refused(house, 503, "unavailable", "disk full")
    assert int(reply.headers["retry-after"]) > 0


def test_a_client_that_leaves_in_the_middle_leaves_nothing(house: House):
    messages = iter(
        [{"type": "http.request", "body": encoded(an())[:20], "more_body": True}, {"type": "http.disconnect"}]
    )

    async def receive() -> Dict:
        return next(messages)

    assert answered(house, receive)[0]["status"] == 400
    assert house.queue.lag().bytes == 0


def answered(house: House, receive: Callable[[], Any]) -> list[Dict]:
    """What the door sends to a client that speaks ASGI by hand."""
    said: list[Dict] = []

    async def send(message: Dict) -> None:
        said.append(message)

    headers = [(b"authorization", b"Bearer " + house.key.encode())]
    asyncio.run(house.door({"type": "http", "method": "POST", "headers": headers}, receive, send))
    return said


# What is kept of refused events


def test_only_the_newest_refused_events_are_kept(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tables, "REJECTED_KEPT", 5)
    for number in range(4):
        house.send(encoded(*({"event_type": f"x{number}-{i}"} for i in range(3))))
        house.work()
    kept = [json.loads(row["body"])["event_type"] for row in house.rejected()]
    assert len(kept) == 5
    assert {"x3-0", "x3-1", "x3-2"} < set(kept)
    assert all(name.startswith(("x2", "x3")) for name in kept)


def test_refused_events_are_kept_for_thirty_days(house: House, monkeypatch: pytest.MonkeyPatch):
    day = 86_400
    for number, at in enumerate((0, 20 * day, 31 * day)):
        clock = SimpleNamespace(time_ns=lambda at=at: (1_700_000_000 + at) * 10**9, time=lambda: 0.0)
        monkeypatch.setattr("dropoff.ingest.door.time", clock)
        house.send(encoded({"event_type": f"x{number}"}))
        house.work()
    assert [json.loads(row["body"])["event_type"] for row in house.rejected()] == ["x1", "x2"]


# The mission's own events, by every way in

MISSION: list[Dict] = [
    {"event_type": "conversation_started", "conversation_id": "abc123", "channel": "sms",
     "timestamp": "2024-01-10T09:00:00Z", "properties": {"source": "website_form", "lead_score": 72}},
    {"event_type": "message_received", "conversation_id": "abc123", "message_id": "msg456",
     "timestamp": "2024-01-10T09:01:00Z",
     "properties": {"sender": "prospect", "content": "...", "intent": "interested",
                    "intent_confidence": 0.87, "sentiment": 0.3}},
    {"event_type": "meeting_booked", "conversation_id": "abc123", "timestamp": "2024-01-10T09:05:00Z",
     "properties": {"meeting_date": "2024-01-15", "meeting_type": "demo", "assigned_rep": "rep_789"}},
]  # fmt: skip


def test_the_missions_events_give_the_same_rows_by_http_sdk_and_file(tmp_path: Path):
    found = {}
    for way, send in {"http": by_http, "sdk": by_sdk, "file": by_file}.items():
        data = tmp_path / way
        data.mkdir()
        send(data)
        found[way] = facts(data)
    assert found["http"] == found["sdk"] == found["file"]
    [conversation] = found["http"]["conversation_rows"]
    assert (conversation["id"], conversation["channel"], conversation["lead_score"]) == ("abc123", "sms", 72)
    assert [message["id"] for message in found["http"]["message_rows"]] == ["msg456"]


def by_http(data: Path) -> None:
    house = House(data)
    assert house.send(encoded(*MISSION)).json()["accepted"] == 3
    house.work()
    house.close()


def by_sdk(data: Path) -> None:
    house = House(data)

    def deliver(body: bytes, headers: Any) -> Answer:
        reply = house.send(body, **{name.lower().replace("-", "_"): value for name, value in headers.items()})
        return Answer(reply.status_code, dict(reply.headers), reply.content)

    with Client(key=house.key, transport=deliver) as client:
        for one in MISSION:
            assert client.track_event(one)
        assert client.flush(10)
        assert client.stats.sent == 3
    house.work()
    house.close()


def by_file(data: Path) -> None:
    from rich.console import Console

    file = data / "events.ndjson"
    file.write_bytes(b"\n".join(json.dumps(one).encode() for one in MISSION))
    settings = load(data=data)
    result = import_all(settings, [file], "auto", None, Console(file=io.StringIO()))
    assert (result["accepted"], result["rejected"]) == (3, 0)
    with connect(settings):
        pass


def facts(data: Path) -> dict[str, list[Dict]]:
    """All rows but what differs by nature: when they came, and the id, which the SDK gives and the door derives."""
    store = DuckStore(data / "store.duckdb")
    found = {table: rows(store, table) for table in ("conversation_rows", "message_rows", "event_rows")}
    store.close()
    by_nature = {
        "event_rows": ("id", "identity", "received_at"),
        "message_rows": ("event_id",),
        "conversation_rows": (),
    }
    cut = {t: [{k: v for k, v in row.items() if k not in by_nature[t]} for row in of] for t, of in found.items()}
    for of in cut.values():
        of.sort(key=repr)
    for row in cut["event_rows"]:
        row["properties"] = json.loads(row["properties"])
    return cut
