"""What an event costs at the door and in the queue, on SQLite and on NATS JetStream: the figures of docs/scale.md.

The rest of that arithmetic comes from `stores` (worker, bytes in the store). CPU time is that of the server's process:
what the client takes is not in it, and unlike a rate it hardly depends on what else the machine does.
"""

import shutil
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from statistics import median
from sys import executable

from bench.data import Timeline, arrays
from bench.ingest import BATCH_CONNECTIONS, SINGLE_CONNECTIONS, send
from bench.processes import PATIENCE, Serving, cpu_seconds
from bench.rows import Plan, Row

SIZES = (1, 20, 1_000)
NATS = shutil.which("nats-server") or shutil.which("nats-server", path="/usr/sbin:/usr/local/sbin")
_worlds = count(0x1000)


def measure(plan: Plan, timeline: Timeline, folder: Path) -> Iterator[Row]:
    """The door on both queues, in turns, for several sizes of a request."""
    with ExitStack() as stack:
        doors = {"SQLite": Serving([executable, "-m", "bench.door", str(folder / "sqlite")], folder / "sqlite")}
        nats = stack.enter_context(Nats(folder / "js")) if NATS else None
        if nats:
            address = f"nats://{nats.address}/events"
            doors["NATS"] = Serving([executable, "-m", "bench.door", str(folder / "nats"), address], folder / "nats")
        for door in doors.values():
            stack.enter_context(door)
        for size in SIZES:
            yield from _costs(plan, timeline, doors, nats, size)
    with sqlite3.connect(folder / "sqlite" / "queue.db") as log:
        log.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    events = sum(_events(plan, size) for size in SIZES) * plan.rounds
    for name in doors:
        place = folder / "js" if name == "NATS" else folder / "sqlite"
        note = f"{events:,} events, in requests of {', '.join(map(str, SIZES))}"
        yield Row(
            f"queue on {name}",
            "bytes/event",
            _bytes(place, "queue.db" if name == "SQLite" else "*") / events,
            note=note,
        )
    text = timeline.copy(0)[: plan.single_events]
    yield Row("the events themselves, as JSON", "bytes/event", sum(map(len, text)) / len(text))


def _events(plan: Plan, size: int) -> int:
    return plan.single_events if size < 1_000 else plan.batched_events


def _bytes(place: Path, files: str) -> int:
    return sum(file.stat().st_size for file in place.rglob(files) if file.is_file())


def _costs(plan: Plan, timeline: Timeline, doors: dict[str, Serving], nats: "Nats | None", size: int) -> Iterator[Row]:
    rates: dict[str, list[float]] = {name: [] for name in doors}
    costs: dict[str, list[float]] = {name: [] for name in doors}
    behind: list[float] = []
    for _ in range(plan.rounds):
        lines = timeline.copy(next(_worlds))[: _events(plan, size)]
        bodies = lines if size == 1 else arrays(lines, size)
        for name, door in doors.items():
            before, queue_before = cpu_seconds(door.pid), cpu_seconds(nats.pid) if nats else 0.0
            sent = send(door, bodies, BATCH_CONNECTIONS if size == 1_000 else SINGLE_CONNECTIONS)
            rates[name].append(len(lines) / sent["seconds"])
            costs[name].append((cpu_seconds(door.pid) - before) / len(lines) * 1e6)
            if nats and name == "NATS":
                behind.append((cpu_seconds(nats.pid) - queue_before) / len(lines) * 1e6)
    for name in doors:
        note = f"{median(rates[name]):,.0f} events/s here"
        if name == "NATS":
            note += f"; nats-server {median(behind):.1f} µs more"
        yield Row(f"door on {name}, requests of {size:,}", "µs CPU/event", median(costs[name]), note=note)


class Nats:
    """A `nats-server` with JetStream on a free port of the loopback, with its files in `folder`."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.address = f"127.0.0.1:{self._port}"
        self._folder = folder

    def __enter__(self) -> "Nats":
        command = [str(NATS), "-js", "-a", "127.0.0.1", "-p", str(self._port), "-sd", str(self._folder)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + PATIENCE
        while not self._listens():
            if time.monotonic() > end:
                raise RuntimeError("nats-server does not start")
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE)

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self._process.pid

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self._port), 1).close()
        except OSError:
            return False
        return True
