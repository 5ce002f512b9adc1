"""Acknowledged is durable: SIGKILL at any moment loses nothing and counts nothing twice."""

import http.client
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dropoff.events import Receipt
from dropoff.intake import read_events, refused_payload
from dropoff.process import fold, worker
from dropoff.process.fold import Rules
from dropoff.queue.sqlite import SqliteQueue
from dropoff.store.base import Store
from dropoff.store.duckdb import DuckStore
from servers import Server
from worlds import Dict, drain, event, payload, rows

TABLES = ("event_rows", "conversation_rows", "message_rows")


def talk(chance: random.Random, event_id: str, conversation_id: str) -> Dict:
    """One event of a conversation, at a time that need not be the latest."""
    kind, fields = chance.choice(
        [
            ("conversation_started", {"channel": "sms", "source": "ads"}),
            ("message_sent", {"content": "hello", "message_id": f"m{chance.randrange(9)}"}),
            ("message_received", {"content": "yes", "sentiment": 0.5, "intent": "objection_price"}),
            ("message_status", {"message_id": f"m{chance.randrange(9)}", "status": "failed"}),
            ("qualified", {"score": chance.randrange(100)}),
            ("meeting_booked", {"meeting_id": "o"}),
            ("deal_closed", {"amount": "9.99", "currency": "EUR"}),
            ("opted_out", {"keyword": "yes"}),
            ("fallback", {}),
        ]
    )
    return event(kind, chance.randrange(5000) / 10, conversation_id, event_id=event_id, **fields)


class Sender(threading.Thread):
    """A client that posts until told to stop, and remembers what it sent and what was acknowledged."""

    def __init__(self, server: Server, number: int) -> None:
        super().__init__(daemon=True)
        self.server, self.number = server, number
        self.sent: dict[str, Dict] = {}
        self.acknowledged: set[str] = set()
        self.requests = 0
        self.done = threading.Event()
        self._chance = random.Random(number)

    def run(self) -> None:
        while not self.done.is_set():
            self._send(self._batch())
            self.done.wait(0.03)

    def _batch(self) -> list[Dict]:
        size = self._chance.choice([1, 1, 20, 200])
        return [self._event() for _ in range(size)]

    def _event(self) -> Dict:
        event_id = f"{self.number}-{len(self.sent)}"
        owner = self._chance.choice(
            [f"own{self.number}-{len(self.sent) // 20}", f"shared{self._chance.randrange(400)}"]
        )
        self.sent[event_id] = talk(self._chance, event_id, owner)
        return self.sent[event_id]

    def _send(self, batch: list[Dict]) -> None:
        """Every second batch that got no answer is sent again, the others are given up."""
        body = json.dumps(batch if len(batch) > 1 else batch[0]).encode()
        again = self._chance.random() < 0.5
        while not self._post(body) and again and not self.done.is_set():
            self.done.wait(0.02)
        if self._taken:
            self.acknowledged.update(one["event_id"] for one in batch)

    def _post(self, body: bytes) -> bool:
        self._taken = False
        if not self.server.address:
            self.done.wait(0.02)
            return False
        try:
            reply = self.server.post(body)
        except (OSError, ValueError, http.client.HTTPException):
            return False
        assert reply.status == 202, reply
        self.requests += 1
        self._taken = True
        return True


def storm(data: Path, kills: int, clients: int, seed: int) -> list[Sender]:
    """Kill the server again and again while clients send; at last let it finish its work."""
    chance, server = random.Random(seed), Server(data)
    senders = [Sender(server, number) for number in range(clients)]
    for sender in senders:
        sender.start()
    for _ in range(kills):
        server.spawn()
        if chance.random() < 0.2:  # while it is starting, and replays its logs
            time.sleep(chance.uniform(0, 1.5))
        else:
            server.wait()
            time.sleep(chance.uniform(0, 1.2))
        server.kill()
    for sender in senders:
        sender.done.set()
    for sender in senders:
        sender.join()
    with server:
        server.drain()
    return senders


def check_storm(data: Path, senders: list[Sender], clean: Path) -> dict[str, int]:
    sent = {event_id: one for sender in senders for event_id, one in sender.sent.items()}
    acknowledged = set[str]().union(*(sender.acknowledged for sender in senders))
    store = DuckStore(data / "store.duckdb")
    try:
        stored = [event_id for (event_id,) in store.select("SELECT id FROM event_rows").rows]
        assert len(stored) == len(set(stored)), "an event is stored twice"
        assert not acknowledged - set(stored), "an acknowledged event is lost"
        assert set(stored) <= sent.keys()
        ordered = [sent[event_id] for event_id in sorted(stored)]
        expected = drain(clean, [payload(ordered[i : i + 10_000]) for i in range(0, len(ordered), 10_000)])
        for table in TABLES:
            assert comparable(store, table) == comparable(expected, table)
        expected.close()
    finally:
        store.close()
    assert not dead_letters(data)
    return {
        "requests": sum(sender.requests for sender in senders), "sent": len(sent),
        "acknowledged": len(acknowledged), "stored": len(stored),
    }  # fmt: skip


def comparable(store: Store, table: str) -> list[Dict]:
    return [{k: v for k, v in row.items() if k != "received_at"} for row in rows(store, table)]


def dead_letters(data: Path) -> Any:
    queue = SqliteQueue(data / "queue.db")
    try:
        return queue.dead_letters()
    finally:
        queue.close()


@pytest.mark.timeout(240)
def test_a_killed_server_loses_and_repeats_nothing(tmp_path: Path):
    senders = storm(tmp_path / "data", kills=8, clients=3, seed=1)
    figures = check_storm(tmp_path / "data", senders, _made(tmp_path / "clean"))
    assert figures["acknowledged"] > 100


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_server_killed_sixty_times_loses_and_repeats_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    senders = storm(tmp_path / "data", kills=60, clients=4, seed=2)
    figures = check_storm(tmp_path / "data", senders, _made(tmp_path / "clean"))
    with capsys.disabled():
        sys.stdout.write(f"\n60 server kills: {figures}\n")


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory


# The worker, between any two of its steps: this file is also the program that is killed.

STEPS = ["read", "history", "fold", "store", "stored", "committed", "durable"]
"""Where it can be killed: after the first three, before the store's commit, after the rest. Inside of the commit its
statements are numbered, with its begin and end."""


def batches() -> Iterator[bytes]:
    """Six payloads that meet each other: late messages, revisions, retractions, copies, refused events."""
    chance = random.Random(3)
    events = [talk(chance, f"e{i}", f"c{i % 5}") for i in range(120)]
    for start in range(0, 120, 20):
        revised = [{**events[i], "revision": start} for i in range(0, start, 7)]
        undone = [event("event_retracted", 600, "c1", event_id=f"r{start}", properties={"event_id": f"e{start + 1}"})]
        yield payload([*events[start : start + 20], *revised, *undone, *events[start : start + 3]])
        refused = read_events(b'{"event_type": "x"}', Receipt(1_800_000_000_000_000 + start)).rejections
        yield refused_payload(refused, 1_800_000_000_000_000 + start)


class Deadly:
    """Ends this process without a word when `step` is reached in batch number `batch`."""

    def __init__(self, step: str, batch: int) -> None:
        self._step, self._left = step, batch

    def __call__(self, step: str) -> None:
        if step != self._step:
            return
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self._left -= 1

    def after(self, step: str, of: Any, name: str) -> None:
        """Be deadly after each call of `of.name`."""
        real = getattr(of, name)

        def called(*args: Any, **options: Any) -> Any:
            result = real(*args, **options)
            if step != "read" or result:
                self(step)
            return result

        setattr(of, name, called)


class DeadlyWriter:
    """The store's connection; the statements of each transaction are numbered from 0."""

    def __init__(self, real: Any, deadly: Callable[[str], None]) -> None:
        self._real, self._deadly, self._number = real, deadly, 0

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._real, name)
        return self._counted(name, real) if name in ("begin", "execute", "commit") else real

    def _counted(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        self._number = 0 if name == "begin" else self._number + 1

        def called(*args: Any) -> Any:
            self._deadly(f"statement {self._number}")
            return real(*args)

        return called


def work(data: Path, deadly: Deadly | None) -> None:
    """Take everything from the queue of `data` into its store, unless killed."""
    worker.MIN_EVENTS = 30  # a few batches out of few events
    store, queue = DuckStore(data / "store.duckdb"), SqliteQueue(data / "queue.db")
    if deadly is not None:
        arm(store, queue, deadly)
    working = worker.Worker(queue, store, Rules())
    while working.step(0):
        if deadly is not None:
            time.sleep(0.05)  # for the queue's commit to reach the disk
            deadly("durable")
    queue.close()
    store.close()


def arm(store: Any, queue: Any, deadly: Deadly) -> None:
    deadly.after("read", queue, "read")
    deadly.after("history", store, "history")
    deadly.after("fold", fold, "fold")
    deadly.after("stored", store, "commit")
    deadly.after("committed", queue, "commit")
    store._writer = DeadlyWriter(store._writer, deadly)
    real = store.commit

    def commit(change: Any) -> None:
        deadly("store")
        real(change)

    store.commit = commit


def fill(data: Path) -> None:
    queue = SqliteQueue(_made(data) / "queue.db")
    for future in [queue.append(one, one.count(b"\n")) for one in batches()]:
        future.result()
    queue.close()


def killed(data: Path, step: str, batch: int) -> bool:
    """Whether a worker process that dies there did so; it may have nothing left to do."""
    done = subprocess.run([sys.executable, __file__, str(data), step, str(batch)], env=_with_tests(), check=False)
    assert done.returncode in (0, -signal.SIGKILL)
    return done.returncode != 0


def _with_tests() -> dict[str, str]:
    paths = [str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def contents(data: Path) -> dict[str, list[Dict]]:
    work(data, None)
    store = DuckStore(data / "store.duckdb")
    found = {table: rows(store, table) for table in (*TABLES, "rejected_rows")}
    store.close()
    assert not dead_letters(data)
    # The refused are given a random name, in the payload: it tells whether one was stored twice.
    assert len({row.pop("id") for row in found["rejected_rows"]}) == len(found["rejected_rows"])
    found["rejected_rows"].sort(key=repr)
    return found


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Dict]]:
    data = tmp_path_factory.mktemp("worker") / "clean"
    fill(data)
    found = contents(data)
    assert len(found["rejected_rows"]) == 6
    return found


@pytest.mark.parametrize("step", STEPS)
def test_a_worker_killed_between_two_steps_repeats_nothing(step: str, tmp_path: Path, clean: dict[str, list[Dict]]):
    data = tmp_path / "data"
    fill(data)
    assert killed(data, step, 2)
    assert contents(data) == clean


def test_a_worker_killed_between_two_statements_of_a_commit_repeats_nothing(
    tmp_path: Path, clean: dict[str, list[Dict]]
):
    data = tmp_path / "data"
    fill(data)
    assert killed(data, "durable", 0)
    for number in range(8):  # a batch has at least so many
        assert killed(data, f"statement {number}", 0)
    assert contents(data) == clean


def kill_at_statements(directory: Path, batch: int, clean: dict[str, list[Dict]]) -> int:
    """Kill a worker before each statement of its commits that there is; returns how many there are."""
    for number in itertools.count():
        data = directory / f"{batch}-{number}"
        fill(data)
        if not killed(data, f"statement {number}", batch):
            return number
        assert contents(data) == clean
    return 0


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_worker_killed_at_every_step_of_every_batch(
    tmp_path: Path, clean: dict[str, list[Dict]], capsys: pytest.CaptureFixture[str]
):
    kills = sum(kill_at_statements(tmp_path, batch, clean) for batch in range(4))
    for seed in range(3):
        data = tmp_path / str(seed)
        fill(data)
        kills += sum(killed(data, step, batch) for step, batch in _shuffled(seed))
        assert contents(data) == clean
    with capsys.disabled():
        sys.stdout.write(f"\n{kills} worker kills\n")
    assert kills >= 50


def _shuffled(seed: int) -> Iterable[tuple[str, int]]:
    """Each step once; most in the first batch of the process, so that the work lasts."""
    chance = random.Random(seed)
    return [(step, int(chance.random() < 0.1)) for step in chance.sample(STEPS, len(STEPS))]


if __name__ == "__main__":
    work(Path(sys.argv[1]), Deadly(sys.argv[2], int(sys.argv[3])))
