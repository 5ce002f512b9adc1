"""From the queue to the store, by the worker; then the default funnel over what it stored."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from bench.data import Timeline, parts
from bench.rows import Plan, Row
from dropoff.analyse.analytics import Analytics
from dropoff.events import Receipt
from dropoff.intake import encode, read_events
from dropoff.process.fold import Rules
from dropoff.process.worker import Worker
from dropoff.queue.base import Record
from dropoff.queue.sqlite import SqliteQueue
from dropoff.store.duckdb import DuckStore

APPENDED = 1_000  # events of one queue record, as an HTTP batch brings them
QUERIES = 15
RAW = """SELECT event_type, count(DISTINCT conversation_id) FROM event_rows
         WHERE event_type IN ('conversation_started', 'message_received', 'qualified', 'meeting_booked',
                              'meeting_attended', 'opportunity_created', 'deal_closed') GROUP BY 1"""


class FixedBatches(SqliteQueue):
    """A queue that hands out batches of one size, whatever the worker asks for."""

    batch = APPENDED

    def read(self, max_events: int, wait: float) -> Sequence[Record]:
        """The next records of together `batch` events."""
        del max_events
        return super().read(self.batch, wait)


class Run(NamedTuple):
    """One drained queue: events/s, CPU microseconds an event, bytes of the file an event."""

    rate: float
    cpu: float
    size: float


def measure(plan: Plan, timeline: Timeline, folder: Path) -> Iterator[Row]:
    """Batch sizes in turns, each run into a new store."""
    payloads = [payload_of(part) for part in parts(timeline.copies(plan.copies), APPENDED)]
    few = payloads[: plan.small_batch_events // APPENDED]
    some = payloads[: len(payloads) // 2]
    cases = {"batches of 1,000": (1_000, few), "batches of 10,000": (10_000, some), "backlog": (None, payloads)}
    runs: dict[str, list[Run]] = {name: [] for name in cases}
    for turn in range(plan.rounds):
        for name, (size, lines) in cases.items():
            runs[name].append(_drain(lines, size, folder / f"{turn}-{size}"))
    for name, found in runs.items():
        bar = "≥ 120 k/s" if name == "backlog" else ""
        note = f"{median(r.cpu for r in found):.1f} µs CPU an event; {sum(n for _, n in cases[name][1]):,} events"
        yield Row(f"queue → store, {name}", "events/s", median(r.rate for r in found), bar=bar, note=note)
    yield Row("disk, stored", "bytes/event", median(r.size for r in runs["backlog"]), note="after a checkpoint")
    yield from _funnel(folder / f"{plan.rounds - 1}-None")


def payload_of(lines: Sequence[bytes]) -> tuple[bytes, int]:
    """What the door puts into the queue for these lines, and how many events that is."""
    intake = read_events(b"\n".join(lines), Receipt(time.time_ns() // 1000), ndjson=True)
    assert not intake.rejections
    return encode(intake.events), len(intake.events)


def _drain(payloads: Sequence[tuple[bytes, int]], size: int | None, folder: Path) -> Run:
    """Fill a queue, then empty it into a new store; the checkpoint counts."""
    folder.mkdir()
    queue = SqliteQueue(folder / "queue.db") if size is None else FixedBatches(folder / "queue.db")
    if isinstance(queue, FixedBatches) and size is not None:
        queue.batch = size
    for future in [queue.append(*payload) for payload in payloads]:
        future.result()
    store = DuckStore(folder / "store.duckdb")
    worker = Worker(queue, store, Rules())
    begin, cpu, events = time.perf_counter(), time.process_time(), 0
    while tally := worker.step(0.0):
        events += tally.events
    store.checkpoint()
    seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    stored = store.select("SELECT count(*) FROM event_rows").rows[0][0]
    queue.close()
    store.close()
    (folder / "queue.db").unlink()
    assert stored == events == sum(count for _, count in payloads)
    return Run(events / seconds, cpu / events * 1e6, (folder / "store.duckdb").stat().st_size / events)


def _funnel(folder: Path) -> Iterator[Row]:
    """The funnel that a page opens with, against counting the same stages from raw events in the same file."""
    store = DuckStore(folder / "store.duckdb")
    analytics = Analytics(store, "UTC")
    first, total = store.select("SELECT min(started_at), count(*) FROM conversation_rows").rows[0]
    everything = {"from": [first.date().isoformat()], "to": ["2100-01-01"]}
    ours, raw = [], []
    for _ in range(QUERIES):
        ours.append(milliseconds(lambda: analytics.funnel(everything)))
        raw.append(milliseconds(lambda: store.select(RAW)))
    month = median(milliseconds(lambda: analytics.funnel({})) for _ in range(QUERIES))
    store.close()
    yield Row(
        f"default funnel, {total:,} conversations", "ms", median(ours), median(raw), median(ours) / median(raw),
        "distinct counts of raw events", note=f"the last 30 days: {month:.0f} ms",
    )  # fmt: skip


def milliseconds(question: Callable[[], object]) -> float:
    """How long it takes to answer."""
    begin = time.perf_counter()
    question()
    return (time.perf_counter() - begin) * 1e3
