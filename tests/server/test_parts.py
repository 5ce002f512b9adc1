"""Addresses, secrets and roles: what is opened, and what is refused and how it says so."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from asgi import request
from brokers import NatsServer
from dropoff.control.access import ADMIN, WRITE, Access, create_key
from dropoff.errors import InvalidInput, Unavailable
from dropoff.jobs.importing import Import
from dropoff.project.settings import Settings, load
from dropoff.server.app import web
from dropoff.server.connect import connect
from dropoff.server.engine import Engine
from dropoff.server.parts import control_address, open_control, open_queue, open_store, parse
from worlds import event

NATS = "nats://127.0.0.1:4222/events"
STORE = "clickhouse://127.0.0.1:8123/dropoff"


@pytest.mark.parametrize(
    ("text", "servers", "user"),
    [
        (NATS, ("127.0.0.1:4222",), None),
        ("nats+tls://dropoff@a.example:4222,b.example:4223/events", ("a.example:4222", "b.example:4223"), "dropoff"),
        ("nats://[::1]:4222/events", ("[::1]:4222",), None),
    ],
)
def test_an_address_is_taken_apart(text: str, servers: tuple[str, ...], user: str | None):
    found = parse("queue", text, ("nats", "nats+tls"))
    assert (found.servers, found.user, found.name) == (servers, user, "events")


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("amqp://a:1/x", "embedded, or an address that begins nats or nats"),
        ("nats", "embedded, or"),
        ("nats://a:4222", "ends with /NAME"),
        ("nats://a:4222/a.b", "ends with /NAME"),
        ("nats://a:4222/x?y=1", "ends with /NAME"),
        ("nats://a/x", "nats://HOST:PORT/NAME"),
        ("nats://a:4222,b/x", "nats://HOST:PORT/NAME"),
    ],
)
def test_another_address_is_refused(text: str, rule: str):
    with pytest.raises(InvalidInput, match=rule):
        open_queue(load(queue=text))


def test_the_engine_in_the_process_is_asked_for_where_it_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setitem(sys.modules, "chdb", None)
    with pytest.raises(InvalidInput, match="pip install chdb"):
        open_store(load(store=f"chdb://{tmp_path}", data=tmp_path))


@pytest.mark.parametrize("setting", ["queue", "store", "control"])
def test_a_password_has_no_place_in_an_address(setting: str):
    scheme = "clickhouse" if setting == "store" else "nats"
    settings = load(**{setting: f"{scheme}://me:hunter2@a:4222/x"})
    opening: dict[str, Callable[[Settings], Any]] = {
        "queue": open_queue, "store": open_store, "control": open_control,
    }  # fmt: skip
    with pytest.raises(InvalidInput, match=r"me:…@a:4222/x.*without a password") as caught:
        opening[setting](settings)
    assert "hunter2" not in str(caught.value)


def test_secrets_come_from_environment_or_file_and_are_not_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("DROPOFF_QUEUE_PASSWORD", "hunter2")
    file = tmp_path / "secret"
    file.write_text("hunter3\n")
    settings = load(store_password_file=file)
    assert (settings.secret("queue_password"), settings.secret("store_password")) == ("hunter2", "hunter3")
    assert "hunter" not in repr(settings) + str(settings.model_dump())
    assert load(store_password_file=None).secret("store_password") is None
    with pytest.raises(InvalidInput, match=r"store_password_file == .*gone"):
        load(store_password_file=tmp_path / "gone").secret("store_password")


def test_control_is_beside_the_queue():
    assert control_address(load()) == "embedded"
    assert control_address(load(queue=NATS)) == NATS
    assert control_address(load(queue="kafka://a:9092/x")) == "embedded"
    assert control_address(load(queue="kafka://a:9092/x", control=NATS)) == NATS


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({"role": "ingest"}, "all while queue is embedded, which lives in one process"),
        ({"role": "worker", "queue": NATS}, "all while store is embedded"),
        ({"role": "worker", "queue": NATS, "store": "chdb:///tmp/x"}, "all while store is chdb:///tmp/x"),
        ({"role": "web", "store": STORE}, "all while control is embedded"),
        ({"role": "ingest", "queue": "kafka://a:9092/x"}, "all while control is embedded"),
        ({"role": "alerts"}, "all while store is embedded"),
    ],
)
def test_a_role_that_has_nothing_to_share_is_refused(given: dict[str, str], rule: str, tmp_path: Path):
    with pytest.raises(InvalidInput, match=rule):
        Engine(load(data=tmp_path / "data", **given))
    assert not (tmp_path / "data").exists()


def test_an_unknown_role_is_refused():
    with pytest.raises(InvalidInput, match="role == 'janitor', must be 'all', 'ingest', 'worker', 'web' or 'alerts'"):
        load(role="janitor")


def test_a_broker_that_is_not_there_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("dropoff.broker.CONNECT_SECONDS", 0.5)
    with pytest.raises(Unavailable, match=r"nats://127.0.0.1:1"):
        Engine(load(data=tmp_path / "data", queue="nats://127.0.0.1:1/events"))


# With a real broker


class Client:
    """Requests to the application of an engine."""

    def __init__(self, engine: Engine) -> None:
        self.app = web(engine, Access(engine.control, "local", may_be_open=False))

    def __call__(self, method: str, path: str, body: Any = None, token: str = "local") -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        return request(self.app, method, path, content=json.dumps(body).encode(), headers=headers)


@pytest.fixture
def queue(nats: NatsServer, request: pytest.FixtureRequest) -> str:
    """The address of a queue of this test."""
    return f"nats://{nats.address}/t{abs(hash(request.node.nodeid))}"


@pytest.fixture
def ingest(queue: str, tmp_path: Path) -> Iterator[Engine]:
    with Engine(load(data=tmp_path / "ingest", role="ingest", queue=queue)) as engine:
        yield engine


def test_an_ingest_process_has_a_door_and_nothing_else(ingest: Engine, tmp_path: Path):
    client, key = Client(ingest), create_key(ingest.control, "bot", WRITE, 0)
    assert client("POST", "/v1/events", [event("x", n, f"c{n}") for n in range(100)], key).status_code == 202
    ready = client("GET", "/readyz")
    assert (ready.status_code, ready.json()["role"], ready.json()["lag_events"]) == (200, "ingest", 100)
    assert client("GET", "/healthz").status_code == 200
    assert "dropoff_queue_lag_events 100.0" in client("GET", "/metrics").text
    assert [client("GET", path).status_code for path in ("/", "/api/v1/funnel", "/login")] == [404, 404, 404]
    assert not (tmp_path / "ingest").exists()


def test_events_of_a_conversation_are_in_one_partition(ingest: Engine):
    client = Client(ingest)
    create_key(ingest.control, "bot", WRITE, 0)
    for part in range(5):
        assert client("POST", "/v1/events", [event("x", part, f"c{n}") for n in range(30)]).status_code == 202
    places: dict[str, set[int]] = {}
    for partition in range(16):
        ingest.queue.own({partition})  # type: ignore[attr-defined]
        for record in ingest.queue.read(1000, 0):
            for line in record.payload.splitlines():
                places.setdefault(json.loads(line)["#conversation_id"], set()).add(partition)
    assert len(places) == 30
    assert {len(partitions) for partitions in places.values()} == {1}
    assert len(set.union(*places.values())) > 8


def test_all_processes_know_the_same_keys(ingest: Engine, queue: str, tmp_path: Path):
    with Engine(load(data=tmp_path / "all", queue=queue)) as engine:
        key, token = create_key(engine.control, "bot", WRITE, 0), create_key(engine.control, "me", ADMIN, 0)
        assert Client(ingest)("POST", "/v1/events", event("x", 0), key).status_code == 202
        assert Client(ingest)("POST", "/v1/events", event("x", 0), "dw_other").status_code == 401
        engine.drain()
        assert Client(engine)("GET", "/api/v1/conversations/c", token=token).status_code == 200


def test_a_store_of_one_worker_gets_no_second_one(queue: str, tmp_path: Path):
    with Engine(load(data=tmp_path / "one", queue=queue)):
        second = Engine(load(data=tmp_path / "two", queue=queue))
        with pytest.raises(Unavailable, match=r"has a worker, .*one, and this store takes only one"), second:
            pass
    with Engine(load(data=tmp_path / "two", queue=queue)) as engine:
        assert engine.missing() == {}


def test_an_import_over_a_broker_knows_its_duplicates(queue: str, tmp_path: Path):
    lines = b"\n".join(json.dumps(event("x", n, f"c{n}", event_id=f"e{n}")).encode() for n in range(50))
    counts = []
    for _ in range(2):
        with connect(load(data=tmp_path / "data", queue=queue), create=True) as connection:
            job = Import(connection)
            job.send(lines)
            counts.append({k: v for k, v in job.finish().items() if k in ("accepted", "duplicates")})
    assert counts == [{"accepted": 50, "duplicates": 0}, {"accepted": 0, "duplicates": 50}]
