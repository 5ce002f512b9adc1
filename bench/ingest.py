"""Durable HTTP ingest, and what the server weighs afterwards."""

import json
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from statistics import median

import msgspec

from bench.data import Timeline, arrays
from bench.processes import DROPOFF, Serving, run
from bench.rows import Plan, Row, compare

BARE = "bare server"
BATCH = 1_000
BATCH_CONNECTIONS, SINGLE_CONNECTIONS = 4, 32
_worlds = count(0x100)  # every round sends events that no server has seen


def measure(plan: Plan, timeline: Timeline, folder: Path) -> Iterator[Row]:
    """Batches and single events against the bare server, in turns; then memory."""
    python = sys.executable
    targets = {
        "serve": Serving([*DROPOFF, "serve", "--port", "0", "--data", str(folder / "serve")], folder / "serve"),
        "door": Serving([python, "-m", "bench.door", str(folder / "door")], folder / "door"),
        "bare": Serving([python, "-m", "bench.peer", str(folder / "bare")], folder / "bare"),
    }
    with targets["serve"], targets["door"], targets["bare"]:
        for size, events, connections in (
            (BATCH, plan.batched_events, BATCH_CONNECTIONS),
            (1, plan.single_events, SINGLE_CONNECTIONS),
        ):
            yield from _rates(plan, timeline, targets, size, events, connections)
        ours, bare = targets["serve"].peak_bytes, targets["bare"].peak_bytes
        yield compare("memory of the server after that, peak", "MB", [ours / 1e6], [bare / 1e6], BARE, bar="≤ 700 MB")


def _rates(
    plan: Plan, timeline: Timeline, targets: dict[str, Serving], size: int, events: int, connections: int
) -> Iterator[Row]:
    rates: dict[str, list[float]] = {name: [] for name in targets}
    waits: dict[str, list[float]] = {name: [] for name in targets}
    drains = []
    for _ in range(plan.rounds):
        lines = timeline.copy(next(_worlds))[:events]
        bodies = lines if size == 1 else arrays(lines, size)
        for name, server in targets.items():
            sent = send(server, bodies, connections)
            rates[name].append(len(lines) / sent["seconds"])
            waits[name].append(sent["p99_ms"])
            if name == "serve":
                drains.append(len(lines) / (sent["seconds"] + server.drain()))
    what = "single events" if size == 1 else f"batches of {size:,}"
    bar = "≥ 0.8 ×, ≥ 10 k/s" if size == 1 else "≥ 0.8 ×, ≥ 250 k/s"
    note = f"p99 {median(waits['serve']):.0f} ms, bare {median(waits['bare']):.0f} ms"
    yield compare(
        f"HTTP ingest, {what}", "events/s", rates["serve"], rates["bare"], BARE, bar=bar,
        note=f"worker at work; {note}",
    )  # fmt: skip
    note = f"p99 {median(waits['door']):.0f} ms"
    yield compare(f"  the door alone, {what}", "events/s", rates["door"], rates["bare"], BARE, bar=bar, note=note)
    yield Row(f"  until all is stored, {what}", "events/s", median(drains))


def send(server: Serving, bodies: list[bytes], connections: int) -> dict[str, float]:
    """From a process of its own; what `bench.load` says of it."""
    path = Path(server.folder) / "bodies.msgpack"
    path.write_bytes(msgspec.msgpack.encode(bodies))
    answer = run(sys.executable, "-m", "bench.load", server.address, str(path), str(connections))
    path.unlink()
    return json.loads(answer)
