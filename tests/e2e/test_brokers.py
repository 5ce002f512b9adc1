"""Beyond one machine: SIGKILL of any process at any moment, the broker included, loses nothing and repeats nothing."""

import http.client
import json
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from brokers import NatsServer
from dropoff.broker import Place
from dropoff.control.nats import NatsControl
from dropoff.server.shares import BEAT_SECONDS
from dropoff.store.duckdb import DuckStore
from servers import Server
from worlds import Dict, event


class Sender(threading.Thread):
    """Sends its events in batches, each until it is acknowledged. `pause` seconds lie between two batches."""

    def __init__(self, server: Server, number: int, count: int, pause: float) -> None:
        super().__init__(daemon=True)
        self.server, self.pause = server, pause
        self._chance = random.Random(number)
        self.todo = [self._event(f"{number}-{index}") for index in range(count)]
        self.refused = 0

    def run(self) -> None:
        while self.todo:
            size = self._chance.choice([1, 20, 300])
            body = json.dumps(self.todo[:size]).encode()
            while not self._taken(body):
                time.sleep(0.05)
            del self.todo[:size]
            time.sleep(self.pause)

    def _event(self, event_id: str) -> Dict:
        kind = self._chance.choice(["message_sent", "message_received", "qualified", "fallback"])
        return event(kind, self._chance.randrange(50_000) / 10, f"c{self._chance.randrange(500)}", event_id=event_id)

    def _taken(self, body: bytes) -> bool:
        if not self.server.address:
            return False
        try:
            reply = self.server.post(body)
        except (OSError, ValueError, http.client.HTTPException):
            return False
        assert reply.status in (202, 429, 503), reply
        self.refused += reply.status != 202
        return reply.status == 202


def storm(nats: NatsServer, servers: Sequence[Server], senders: Sequence[Sender], kills: int, seed: int) -> None:
    """Kill each process `kills` times, in any order, while the senders send; at last let all of them finish."""
    chance = random.Random(seed)
    victims: list[Any] = [nats, *servers] * kills
    chance.shuffle(victims)
    for server in servers:
        server.spawn()
        server.wait()
    for sender in senders:
        sender.start()
    for victim in victims:
        time.sleep(chance.uniform(0.2, 2.0))
        victim.kill()
        time.sleep(chance.uniform(0, 1.0))
        revive(victim)
    for sender in senders:
        sender.join(300)
        assert not sender.todo, [server.log.read_text()[-2000:] for server in servers]
    for server in servers:
        server.wait()


def revive(victim: Any) -> None:
    victim.spawn()
    if isinstance(victim, Server):
        victim.wait()


@pytest.mark.timeout(180)
def test_nats_and_server_are_killed_and_nothing_is_lost_or_repeated(tmp_path: Path):
    (tmp_path / "nats").mkdir()
    with NatsServer(tmp_path / "nats") as nats:
        server = Server(tmp_path / "data", options=["--queue", f"nats://{nats.address}/events"])
        senders = [Sender(server, number, 3_400, pause=0.1) for number in range(3)]
        expected = sorted(one["event_id"] for sender in senders for one in sender.todo)
        storm(nats, [server], senders, kills=3, seed=1)
        server.drain()
        server.stop()
        assert "dead letters" not in server.log.read_text()
    store = DuckStore(tmp_path / "data" / "store.duckdb")
    stored = sorted(row[0] for row in store.select("SELECT id FROM event_rows").rows)
    store.close()
    assert stored == expected


# With a store that several workers share


@pytest.fixture
def shared_store() -> Iterator[dict[str, str]]:
    """ClickHouse's engine behind a socket, as settings in the environment."""
    engine = pytest.importorskip("clickhouse_http", reason="there is no store yet that workers can share")
    with engine.endpoint() as address:
        yield {
            "DROPOFF_STORE": f"clickhouse://{engine.USER}@{address}/dropoff", "DROPOFF_STORE_PASSWORD": engine.PASSWORD,
        }  # fmt: skip


def started(directory: Path, nats: NatsServer, role: str, name: str, store: Mapping[str, str]) -> Server:
    return Server(
        directory / name, options=["--role", role],
        environment={**store, "DROPOFF_QUEUE": f"nats://{nats.address}/events"},
    )  # fmt: skip


def run_roles(directory: Path, store: Mapping[str, str], events: int, kills: int, pause: float) -> dict[str, Any]:
    """One ingest, two workers, and at last a web process that is asked what is stored."""
    (directory / "nats").mkdir()
    with NatsServer(directory / "nats") as nats:
        ingest = started(directory, nats, "ingest", "ingest", store)
        workers = [started(directory, nats, "worker", f"worker{number}", store) for number in range(2)]
        senders = [Sender(ingest, number, events // 3, pause) for number in range(3)]
        try:
            storm(nats, [ingest, *workers], senders, kills, seed=2)
            ingest.drain()
            with started(directory, nats, "web", "web", store) as web:
                counts = count(web)
        finally:
            for server in (ingest, *workers):
                server.stop()
        for server in (ingest, *workers):
            assert "dead letters" not in server.log.read_text()
    return {"refused": sum(sender.refused for sender in senders), "counts": counts}


def count(web: Server) -> list[int]:
    """How many events are stored, and how many different ones."""
    sql = {"sql": "SELECT count(*), count(DISTINCT id) FROM events_all"}
    answer = web.request("POST", "/api/v1/query", json.dumps(sql).encode(), {"Content-Type": "application/json"})
    return answer.json()["rows"][0]


def until(true: Callable[[], bool], patience: float = 30) -> None:
    end = time.monotonic() + patience
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.timeout(180)
def test_roles_share_the_work_and_nothing_is_lost_or_repeated(tmp_path: Path, shared_store: dict[str, str]):
    found = run_roles(tmp_path, shared_store, events=3_000, kills=1, pause=0.1)
    assert found["counts"] == [3_000, 3_000]


@pytest.mark.timeout(180)
def test_a_restart_in_turn_loses_nothing_and_hands_over_at_once(tmp_path: Path, shared_store: dict[str, str]):
    (tmp_path / "nats").mkdir()
    with NatsServer(tmp_path / "nats") as nats, ExitStack() as running:
        names = ("ingest", "worker0", "worker1")
        servers = [started(tmp_path, nats, name.rstrip("01"), name, shared_store) for name in names]
        for server in servers:
            running.enter_context(server)
        sender = Sender(servers[0], 0, 3_000, pause=0.1)
        sender.start()
        until(lambda: shares(nats) == [8, 8])
        for server in servers:
            server.stop()
            assert server.process is not None
            assert server.process.returncode == 0
            if server is not servers[0]:
                until(lambda: shares(nats) == [16], BEAT_SECONDS + 2)  # long before a lease would end
            server.spawn()
            server.wait()
        sender.join(120)
        servers[0].drain()
        with started(tmp_path, nats, "web", "web", shared_store) as web:
            assert count(web) == [3_000, 3_000]


def shares(nats: NatsServer) -> list[int]:
    """How many partitions each worker reads."""
    control = NatsControl(Place([nats.address]), "events-control")
    found = control.get("workers/events")
    control.close()
    return sorted(len(worker["partitions"]) for worker in json.loads(found.value).values()) if found else []


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_roles_killed_twenty_times_each(
    tmp_path: Path, shared_store: dict[str, str], capsys: pytest.CaptureFixture[str]
):
    found = run_roles(tmp_path, shared_store, events=300_000, kills=20, pause=0.05)
    with capsys.disabled():
        sys.stdout.write(f"\n80 kills of four processes, 300,000 events: {found}\n")
    assert found["counts"] == [300_000, 300_000]
