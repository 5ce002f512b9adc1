"""The SDK against a real HTTP server on loopback."""

import gzip
import json
import logging
import multiprocessing
import os
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dropoff
from dropoff import client as sdk
from dropoff.client import Answer, Client, Stats

MISSION = [
    {
        "event_type": "conversation_started",
        "conversation_id": "abc123",
        "channel": "sms",
        "timestamp": "2024-01-15T10:00:00Z",
        "properties": {"source": "website_form", "lead_score": 72},
    },
    {
        "event_type": "message_received",
        "conversation_id": "abc123",
        "message_id": "msg456",
        "timestamp": "2024-01-15T10:00:05Z",
        "properties": {
            "sender": "prospect",
            "content": "...",
            "intent": "interested",
            "intent_confidence": 0.87,
            "sentiment": 0.3,
        },
    },
    {
        "event_type": "meeting_booked",
        "conversation_id": "abc123",
        "timestamp": "2024-01-15T10:09:00Z",
        "properties": {"meeting_date": "2024-01-15", "meeting_type": "demo", "assigned_rep": "rep_789"},
    },
]

Reply = tuple[int, dict[str, str], bytes]
Script = Callable[[list[dict[str, Any]]], Reply | None]


def reply(status: int, document: object = None, **headers: str) -> Reply:
    return status, {name.replace("_", "-"): value for name, value in headers.items()}, json.dumps(document).encode()


class Server(ThreadingHTTPServer):
    """Takes events as Dropoff does. An entry of `script` answers one request instead, or lets it in by None."""

    daemon_threads = False  # closing waits for the handlers: no socket outlives its test

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.script: deque[Script] = deque()
        self.requests: list[tuple[str, dict[str, str], list[dict[str, Any]]]] = []
        self.events: list[dict[str, Any]] = []
        self.peers: dict[str, int] = {}  # conversation -> the port its connection came from
        self.lock = threading.Lock()
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def answer(self, path: str, headers: dict[str, str], batch: list[dict[str, Any]]) -> Reply:
        with self.lock:
            self.requests.append((path, headers, batch))
            script = self.script.popleft() if self.script else None
        scripted = script(batch) if script else None
        if scripted is not None and scripted[0] >= 300:
            return scripted
        with self.lock:
            self.events += batch
        return scripted or reply(202, {"accepted": len(batch), "rejected": 0, "errors": []})

    def stop(self) -> None:
        self.shutdown()
        self.thread.join()
        self.server_close()

    @property
    def ids(self) -> Counter[str]:
        return Counter(event["event_id"] for event in self.events)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server  # type: ignore[assignment]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Content-Encoding"] == "gzip":
            body = gzip.decompress(body)
        for event in json.loads(body):
            self.server.peers[event["conversation_id"]] = self.client_address[1]
        status, headers, content = self.server.answer(self.path, dict(self.headers), json.loads(body))
        try:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)
        except ConnectionError:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def make(server: Server) -> Iterator[Callable[..., Client]]:
    made: list[Client] = []

    def make(**options: Any) -> Client:
        made.append(Client(**{"url": server.url, "flush_interval": 0.01, **options}))
        return made[-1]

    yield make
    for client in made:
        client.close(5)


class Held:
    """A script that answers only when the test says so."""

    def __init__(self) -> None:
        self.arrived = threading.Event()
        self.released = threading.Event()

    def __call__(self, batch: list[dict[str, Any]]) -> None:
        self.arrived.set()
        assert self.released.wait(60)


class Losses(list[tuple[str, str, int]]):
    def __call__(self, reason: str, message: str, count: int) -> None:
        self.append((reason, message, count))

    @property
    def reasons(self) -> list[str]:
        return [reason for reason, _, _ in self]


def test_takes_the_missions_dictionaries_as_they_are(server: Server, make: Callable[..., Client]) -> None:
    client = make()
    before = json.dumps(MISSION)
    ids = [client.track_event(event) for event in MISSION]
    assert client.flush(10)
    assert json.dumps(MISSION) == before
    assert [{k: v for k, v in event.items() if k != "event_id"} for event in server.events] == MISSION
    assert [event["event_id"] for event in server.events] == ids
    assert client.stats == Stats(sent=3, dropped=0, failed=0, rejected=0, queued=0)


def test_stamps_id_and_time_in_the_call(server: Server, make: Callable[..., Client]) -> None:
    client = make(flush_interval=60)
    before = datetime.now(UTC)
    event_id = client.track("qualified", "abc123", score=80)
    after = datetime.now(UTC)
    assert client.flush(10)
    (event,) = server.events
    assert event["event_id"] == event_id
    assert uuid.UUID(hex=event_id).version == 4
    assert event["timestamp"].endswith("Z")
    assert before <= datetime.fromisoformat(event["timestamp"]) <= after
    assert len(event["timestamp"]) == len("2024-01-15T10:00:00.000000Z")


def test_keywords_become_properties_and_fields_stay_fields(server: Server, make: Callable[..., Client]) -> None:
    client = make()
    client.track(
        "message_sent", 17, event_id="e1", timestamp=1705312800, channel="chat", is_test=True, bot_version="2",
        revision=1, properties={"variant": "a", "content": "Hi"}, content="Hello", self="kept",
    )  # fmt: skip
    assert client.flush(10)
    assert server.events == [
        {
            "event_type": "message_sent",
            "conversation_id": "17",
            "channel": "chat",
            "timestamp": 1705312800,
            "event_id": "e1",
            "is_test": True,
            "bot_version": "2",
            "revision": 1,
            "properties": {"variant": "a", "content": "Hello", "self": "kept"},
        }
    ]


class Stage(Enum):
    DEMO = "demo"


class Scalar:
    def tolist(self) -> float:
        return 0.5


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (Decimal("1200.10"), "1200.10"),
        (date(2024, 1, 15), "2024-01-15"),
        (datetime(2024, 1, 15, 12, tzinfo=timezone(timedelta(hours=2))), "2024-01-15T10:00:00.000000Z"),
        (datetime(2024, 1, 15, 12), "2024-01-15T12:00:00"),  # noqa: DTZ001 (a local time of the prospect's is no instant)
        (timedelta(minutes=1), 60.0),
        (uuid.UUID(int=1), str(uuid.UUID(int=1))),
        (Stage.DEMO, "demo"),
        ({"b", "a"}, ["a", "b"]),
        ((1, 2), [1, 2]),
        (b"raw", "raw"),
        (Scalar(), 0.5),
        (float("nan"), None),
        ([{"x": float("inf")}], [{"x": None}]),
        ({1: "a", Stage.DEMO: "b", ("x",): "c"}, {"1": "a", "demo": "b", "('x',)": "c"}),
        ("half \ud800 pair, whole 😀", "half ? pair, whole 😀"),
    ],
)
def test_values_are_serialised(server: Server, make: Callable[..., Client], value: object, sent: object) -> None:
    client = make()
    client.track("feedback", "abc123", value=value)
    assert client.flush(10)
    assert [event["properties"]["value"] for event in server.events] == [sent]


def test_an_aware_time_is_sent_in_utc_and_a_naive_one_is_refused(server: Server, make: Callable[..., Client]) -> None:
    losses = Losses()
    client = make(on_error=losses)
    client.track("qualified", "abc123", timestamp=datetime(2024, 1, 15, 12, tzinfo=timezone(timedelta(hours=2))))
    assert client.track("qualified", "abc123", timestamp=datetime(2024, 1, 15, 12)) is None  # noqa: DTZ001
    assert client.flush(10)
    assert [event["timestamp"] for event in server.events] == ["2024-01-15T10:00:00.000000Z"]
    assert losses.reasons == ["naive_timestamp"]
    assert client.stats.dropped == 1


def circular() -> dict[str, Any]:
    event: dict[str, Any] = {"event_type": "x", "conversation_id": "c"}
    event["properties"] = event
    return event


class Hostile(dict[str, Any]):
    def items(self) -> Any:
        raise RuntimeError(self)

    def __repr__(self) -> str:
        raise RuntimeError


GARBAGE: list[Any] = [
    None, 7, "text", [], {}, circular(), Hostile(a=1), {"event_type": "x"}, {"conversation_id": "c"}, {1: 2},
    {"event_type": "x", "conversation_id": ["c"]}, {"event_type": "x", "conversation_id": True},
    {"event_type": "x", "conversation_id": "c", "properties": {"p": object()}},
    {"event_type": "x", "conversation_id": "c", "properties": {"p": Hostile(a=1)}},
    {"event_type": "x", "conversation_id": "c", "timestamp": date(2024, 1, 15)},
    {"event_type": "x", "conversation_id": "c", "properties": {"p": "x" * 32_768}},
]  # fmt: skip


@pytest.mark.parametrize("event", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_is_dropped_counted_and_told(server: Server, make: Callable[..., Client], event: Any) -> None:
    losses = Losses()
    client = make(on_error=losses)
    assert client.track_event(event) is None
    assert client.track("good", "c")
    assert client.flush(10)
    assert [count for _, _, count in losses] == [1]
    assert client.stats == Stats(sent=1, dropped=1, failed=0, rejected=0, queued=0)


def test_properties_that_are_no_mapping_are_dropped(make: Callable[..., Client]) -> None:
    client = make()
    assert client.track("x", "c", properties=[1]) is None  # type: ignore[arg-type]
    assert client.track(None) is None  # type: ignore[arg-type]
    assert client.stats.dropped == 2


JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.decimals() | st.datetimes(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers() | st.none(), inner),
)


@settings(max_examples=60)
@given(st.dictionaries(st.sampled_from(["event_type", "conversation_id", "timestamp", "properties", "x"]), JSONISH))
def test_any_dictionary_is_sent_as_json_or_refused(event: dict[str, Any]) -> None:
    bodies: list[bytes] = []

    def transport(body: bytes, headers: Any) -> Answer:
        bodies.append(gzip.decompress(body) if "Content-Encoding" in headers else body)
        return Answer(202, {}, b"{}")

    client = Client(transport=transport)
    event_id = client.track_event(event)
    assert client.close(10)
    assert (event_id is None) == (client.stats.dropped == 1)
    assert [sent["event_id"] for body in bodies for sent in json.loads(body)] == [event_id] * len(bodies)
    assert len(bodies) == client.stats.sent


def test_an_on_error_that_raises_is_survived(make: Callable[..., Client], caplog: pytest.LogCaptureFixture) -> None:
    client = make(on_error=lambda *_: 1 / 0)
    assert client.track_event(None) is None  # type: ignore[arg-type]
    assert "on_error raised" in caplog.text


def test_sends_one_json_array_a_batch_with_the_key(server: Server, make: Callable[..., Client]) -> None:
    client = make(url=server.url + "/prefix/", key=" secret\n", batch_size=10, flush_interval=60)
    for n in range(25):
        client.track("fallback", "abc123", n=n)
    assert client.flush(10)
    assert [len(batch) for _, _, batch in server.requests] == [10, 10, 5]
    assert [event["properties"]["n"] for event in server.events] == list(range(25))
    for path, headers, _ in server.requests:
        assert path == "/prefix/v1/events"
        assert headers["Authorization"] == "Bearer secret"
        assert headers["Content-Type"] == "application/json"


def test_only_large_bodies_are_gzipped(server: Server, make: Callable[..., Client]) -> None:
    client = make(flush_interval=60)
    client.track("fallback", "abc123")
    assert client.flush(10)
    client.track("fallback", "abc123", utterance="x" * 2000)
    assert client.flush(10)
    assert [headers.get("Content-Encoding") for _, headers, _ in server.requests] == [None, "gzip"]


def test_one_connection_is_kept_and_reopened_without_complaint(
    server: Server, make: Callable[..., Client], caplog: pytest.LogCaptureFixture
) -> None:
    client = make()
    for _ in range(3):
        client.track("fallback", "abc123")
        assert client.flush(10)
    server.script.append(lambda batch: reply(202, {"accepted": 1}, Connection="close"))
    for _ in range(2):
        client.track("fallback", "abc123")
        assert client.flush(10)
    assert len(server.events) == 5
    assert not caplog.records


def test_retries_until_taken_and_keeps_the_id(server: Server, make: Callable[..., Client]) -> None:
    server.script += [lambda batch: reply(503), lambda batch: reply(500), lambda batch: reply(408)]
    waits: list[float] = []
    client = make(sleep=waits.append)
    event_id = client.track("qualified", "abc123")
    assert client.flush(10)
    assert server.ids == {event_id: 1}
    assert [batch[0]["event_id"] for _, _, batch in server.requests] == [event_id] * 4
    assert [0 <= wait <= bound for wait, bound in zip(waits, (0.2, 0.4, 0.8), strict=True)] == [True] * 3
    assert client.stats.sent == 1


@pytest.mark.parametrize(
    ("asked", "least", "most"), [("7", 7, 7.2), ("100000", 60, 60.2), ("soon", 0, 0.2), ("-5", 0, 0.2)]
)
def test_waits_as_long_as_the_server_asks_within_a_minute(
    server: Server, make: Callable[..., Client], asked: str, least: float, most: float
) -> None:
    server.script.append(lambda batch: reply(429, Retry_After=asked))
    waits: list[float] = []
    client = make(sleep=waits.append)
    client.track("qualified", "abc123")
    assert client.flush(10)
    (wait,) = waits
    assert least <= wait <= most


def test_retry_after_may_be_a_date() -> None:
    later = datetime.now(UTC) + timedelta(seconds=30)
    assert 25 < sdk._retry_after(later.strftime("%a, %d %b %Y %H:%M:%S GMT")) <= 30


def test_backoff_stays_bounded_however_long_the_outage() -> None:
    assert max(sdk._delay(attempt, None) for attempt in range(5000)) <= sdk.MAX_BACKOFF


def test_gives_up_after_max_retries_if_told_to(server: Server, make: Callable[..., Client]) -> None:
    server.script += [lambda batch: reply(503)] * 3
    losses = Losses()
    client = make(max_retries=2, sleep=lambda _: None, on_error=losses)
    client.track("qualified", "abc123")
    assert client.flush(10)
    assert client.stats.failed == 1
    assert losses == [("gave_up", "HTTP 503", 1)]


def test_a_batch_that_is_too_large_is_split(server: Server, make: Callable[..., Client]) -> None:
    server.script += [lambda batch: reply(413) if len(batch) > 2 else None] * 20
    client = make(flush_interval=60)
    ids = [client.track("fallback", "abc123") for _ in range(9)]
    assert client.flush(10)
    assert [event["event_id"] for event in server.events] == ids
    assert client.stats.sent == 9


def test_a_single_event_too_large_for_the_server_is_rejected(server: Server, make: Callable[..., Client]) -> None:
    server.script.append(lambda batch: reply(413, {"code": "too_large", "message": "no"}))
    losses = Losses()
    client = make(on_error=losses)
    client.track("fallback", "abc123")
    assert client.flush(10)
    assert losses.reasons == ["too_large"]
    assert client.stats.rejected == 1


def test_rejected_events_are_counted_and_logged_once_a_reason(
    server: Server, make: Callable[..., Client], caplog: pytest.LogCaptureFixture
) -> None:
    error = {"index": 0, "field": "timestamp", "reason": "future", "message": "timestamp == '2999', must be past"}
    partial = reply(202, {"accepted": 1, "rejected": 2, "errors": [error, {**error, "index": 1}]})
    server.script += [lambda batch: partial] * 2
    losses = Losses()
    client = make(flush_interval=60, on_error=losses)
    for _ in range(2):
        for _ in range(3):
            client.track("fallback", "abc123")
        assert client.flush(10)
    assert client.stats == Stats(sent=2, dropped=0, failed=0, rejected=4, queued=0)
    assert losses == [("future", "timestamp == '2999', must be past", 2)] * 2
    assert len(caplog.records) == 1
    assert "must be past" in caplog.text


@pytest.mark.parametrize(
    ("status", "outcome", "reason"),
    [
        (400, "rejected", "bad_request"),
        (401, "failed", "unauthorized"),
        (403, "failed", "unauthorized"),
        (404, "failed", "bad_answer"),
        (301, "failed", "bad_answer"),
    ],
)
def test_what_cannot_succeed_is_not_repeated(
    server: Server,
    make: Callable[..., Client],
    caplog: pytest.LogCaptureFixture,
    status: int,
    outcome: str,
    reason: str,
) -> None:
    server.script += [lambda batch: reply(status, {"code": "x", "message": "because"})] * 2
    losses = Losses()
    client = make(on_error=losses, key="secret")
    for _ in range(2):
        client.track("fallback", "abc123")
        assert client.flush(10)
    assert losses.reasons == [reason] * 2
    assert len(server.requests) == 2
    assert getattr(client.stats, outcome) == 2
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "because" in caplog.text
    assert "secret" not in caplog.text


def test_a_page_that_is_no_receipt_is_not_taken_for_one(server: Server, make: Callable[..., Client]) -> None:
    server.script.append(lambda batch: (200, {}, b"<html>Welcome to the hotel's network"))
    client = make()
    client.track("fallback", "abc123")
    assert client.flush(10)
    assert client.stats.failed == 1


def test_events_wait_for_a_server_that_is_down(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "dropoff_client")
    gone = Server()
    port = gone.server_address[1]
    gone.stop()
    tried = threading.Event()

    def sleep(seconds: float) -> None:
        tried.set()
        time.sleep(0.01)

    with Client(gone.url, flush_interval=0.01, sleep=sleep) as client:
        ids = [client.track("fallback", "abc123") for _ in range(20)]
        assert tried.wait(10)
        assert not client.flush(0.05)
        assert client.stats.queued == 20
        server = Server(port)
        assert client.flush(10)
    server.stop()
    assert [event["event_id"] for event in server.events] == ids
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_memory_is_bounded_and_the_newest_are_dropped(server: Server, make: Callable[..., Client]) -> None:
    held = Held()
    server.script.append(held)
    losses = Losses()
    client = make(max_queue=5, batch_size=2, on_error=losses)
    kept = [client.track("fallback", "abc123") for _ in range(2)]
    assert held.arrived.wait(10)
    kept += [client.track("fallback", "abc123") for _ in range(3)]
    assert [client.track("fallback", "abc123") for _ in range(4)] == [None] * 4
    assert client.stats == Stats(sent=0, dropped=4, failed=0, rejected=0, queued=5)
    held.released.set()
    assert client.flush(10)
    assert [event["event_id"] for event in server.events] == kept
    assert losses.reasons == ["queue_full"] * 4
    assert client.track("fallback", "abc123")


def test_a_call_returns_while_the_server_hangs(server: Server, make: Callable[..., Client]) -> None:
    held = Held()
    server.script.append(held)
    client = make(max_queue=100)
    client.track("fallback", "abc123")
    assert held.arrived.wait(10)
    for _ in range(200):
        client.track("fallback", "abc123")
    assert not client.flush(0)
    assert not held.released.is_set()
    assert not server.events
    held.released.set()
    assert client.flush(10)
    assert client.stats == Stats(sent=100, dropped=101, failed=0, rejected=0, queued=0)


def test_closing_gives_up_what_a_hanging_server_holds(server: Server, make: Callable[..., Client]) -> None:
    held = Held()
    server.script.append(held)
    losses = Losses()
    client = make(batch_size=1, timeout=60, on_error=losses)
    for _ in range(3):
        client.track("fallback", "abc123")
    assert held.arrived.wait(10)
    assert not client.close(0.01)
    assert client.flush(10)
    held.released.set()
    assert client.stats.failed == 3
    assert losses.reasons == ["gave_up"] * 3
    assert client.track("fallback", "abc123") is None
    assert losses.reasons[-1] == "closed"


def test_flush_from_on_error_does_not_deadlock(server: Server, make: Callable[..., Client]) -> None:
    server.script.append(lambda batch: reply(400))
    flushed: list[bool] = []
    client = make(on_error=lambda *_: flushed.append(client.flush()))
    client.track("fallback", "abc123")
    assert client.flush(10)
    client.close(10)
    assert flushed == [False]


def test_a_transport_that_raises_anything_loses_only_its_batch(make: Callable[..., Client]) -> None:
    answers: Iterator[Any] = iter([KeyError("bug"), Answer(202, {}, b"{}")])

    def transport(body: bytes, headers: Any) -> Answer:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    client = make(transport=transport)
    for _ in range(2):
        client.track("fallback", "abc123")
        assert client.flush(10)
    assert client.stats == Stats(sent=1, dropped=0, failed=1, rejected=0, queued=0)


def test_many_threads_lose_and_double_nothing(server: Server, make: Callable[..., Client]) -> None:
    client = make(batch_size=97)
    ids: list[list[str | None]] = [[] for _ in range(8)]
    server.script += [lambda batch: reply(503) if len(server.requests) % 5 == 0 else None] * 200

    def work(mine: list[str | None]) -> None:
        mine += [client.track("fallback", "abc123") for _ in range(500)]

    threads = [threading.Thread(target=work, args=(mine,)) for mine in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.flush(60)
    assert server.ids == Counter(event_id for mine in ids for event_id in mine)
    assert len(server.ids) == 4000


def test_leaving_the_context_delivers(server: Server) -> None:
    with Client(server.url, flush_interval=60) as client:
        client.track("fallback", "abc123")
    assert len(server.events) == 1
    assert client.close()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "dropoff.example.com",
        "ftp://x",
        "http://",
        "http://a b",
        "http://x/a b",
        "http://x:y",
        "http://x/?key=1",
        "http://x/#1",
    ],
)
def test_an_unusable_url_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(ValueError, match=r"url|[Pp]ort"):
        Client(url)


def test_an_unusable_key_or_limit_is_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match="key holds") as error:
        Client(key="se\ncret")
    assert "cret" not in str(error.value)
    with pytest.raises(ValueError, match="batch_size == 0"):
        Client(batch_size=0)


# -- processes ---------------------------------------------------------------------------------------------------------


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    path = str(Path(sdk.__file__).parents[1])
    env = {**os.environ, "PYTHONPATH": path, **environment}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env=env, timeout=60, capture_output=True, text=True, check=True
    )


def test_what_is_queued_at_exit_is_delivered(server: Server) -> None:
    code = """
import dropoff
for n in range(3):
    dropoff.track_event({"event_type": "fallback", "conversation_id": "c", "properties": {"n": n}})
"""
    done = run(code, DROPOFF_URL=server.url, DROPOFF_KEY="k")
    assert [event["properties"]["n"] for event in server.events] == [0, 1, 2]
    assert server.requests[0][1]["Authorization"] == "Bearer k"
    assert done.stderr == ""


def test_exit_is_not_held_up_by_a_server_that_is_away() -> None:
    gone = Server()
    gone.stop()
    code = """
from dropoff import client
client.EXIT_SECONDS = 0.2
client.configure(on_error=lambda *loss: print(*loss[::2]))
client.track_event({"event_type": "fallback", "conversation_id": "c"})
"""
    assert run(code, DROPOFF_URL=gone.url).stdout == "gave_up 1\n"


def test_an_unusable_environment_never_raises_into_the_bot() -> None:
    code = """
import dropoff
print(dropoff.track_event({"event_type": "fallback", "conversation_id": "c"}), dropoff.flush(1))
"""
    done = run(code, DROPOFF_URL="nonsense")
    assert done.stdout == "None True\n"
    assert "DROPOFF_URL" in done.stderr


def test_importing_dropoff_imports_nothing_heavy() -> None:
    code = """
import sys, dropoff
assert "dropoff.client" not in sys.modules
dropoff.Client, dropoff.__version__
assert set(dropoff.__all__) <= set(dir(dropoff))
heavy = {"duckdb", "polars", "msgspec", "starlette", "pydantic"} & set(sys.modules)
assert not heavy, heavy
"""
    run(code)


def _child(client: Client, pipe: Any) -> None:
    before = client.stats
    client.track("fallback", "child")
    pipe.send((before, client.flush(10), client.stats))
    pipe.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_starts_empty_and_delivers_its_own(server: Server, make: Callable[..., Client]) -> None:
    held = Held()
    server.script += [lambda batch: None, held]
    client = make()
    client.track("fallback", "parent")
    assert client.flush(10)
    client.track("fallback", "parent")
    assert held.arrived.wait(10)
    client.track("fallback", "parent")
    here, there = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=_child, args=(client, there))
    child.start()
    there.close()
    assert here.poll(30)
    assert here.recv() == (Stats(0, 0, 0, 0, 0), True, Stats(1, 0, 0, 0, 0))
    child.join(10)
    here.close()
    held.released.set()
    assert client.flush(10)
    assert Counter(event["conversation_id"] for event in server.events) == {"parent": 3, "child": 1}
    assert set(server.ids.values()) == {1}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_does_not_speak_on_its_parents_connection(server: Server, make: Callable[..., Client]) -> None:
    client = make()
    client.track("fallback", "before")
    assert client.flush(10)
    here, there = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=_child, args=(client, there))
    child.start()
    there.close()
    assert here.poll(30)
    child.join(10)
    here.close()
    client.track("fallback", "after")
    assert client.flush(10)
    assert server.peers["before"] == server.peers["after"] != server.peers["child"]


# -- the default client ------------------------------------------------------------------------------------------------


def test_configure_replaces_and_closes_the_default_client(server: Server) -> None:
    first = dropoff.configure(server.url, flush_interval=60)
    dropoff.track_event(MISSION[0])
    second = dropoff.configure(server.url, key="k", flush_interval=60)
    assert [event["event_type"] for event in server.events] == ["conversation_started"]
    dropoff.track_event(MISSION[1])
    assert dropoff.flush(10)
    assert (first.stats.sent, second.stats.sent) == (1, 1)
    second.close()


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="nothing_here"):
        _ = dropoff.nothing_here  # type: ignore[attr-defined]
