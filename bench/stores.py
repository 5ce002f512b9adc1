"""The two stores side by side, through our adapters: DuckDB in a file, and ClickHouse (chDB) in this process."""

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import NamedTuple, cast

import polars as pl

from bench.data import Timeline, parts
from bench.rows import Plan, Row
from bench.worker import APPENDED, payload_of
from dropoff.aggregate import rollups
from dropoff.analyse.analytics import Analytics
from dropoff.process import frames
from dropoff.process.fold import Rules
from dropoff.process.worker import Worker
from dropoff.queue.sqlite import SqliteQueue
from dropoff.store import clickhouse, tables
from dropoff.store.base import Change, SharedStore, Store
from dropoff.store.duckdb import DuckStore

APPENDS = 100_000
LOOKED_UP = 1_000
ROUNDS = 7
Open = Callable[[str], Store]


class Found(NamedTuple):
    """What was measured, in which unit, how much of it; and the milliseconds of CPU of all threads (None: of size)."""

    work: str
    unit: str
    value: float
    cpu: float | None = None


def measure(plan: Plan, timeline: Timeline, folder: Path) -> Iterator[Row]:
    """1 M and 10 M events (quickly: a twentieth), each in a new store of both kinds."""
    stores: dict[str, Open] = {
        "DuckDB": lambda name: DuckStore(folder / f"{name}.duckdb"),
        "chDB": lambda name: clickhouse.open_store(f"chdb://{folder / 'chdb'}?database={name}"),
    }
    for events in (plan.grown_events // 20, plan.grown_events // 2):
        copies = max(events // timeline.events, 1)
        ours, peer = (list(_of(stores[kind], kind, copies, timeline, folder)) for kind in stores)
        for mine, its in zip(ours, peer, strict=True):
            cpu = "" if mine.cpu is None or its.cpu is None else f"; CPU {mine.cpu:,.0f} and {its.cpu:,.0f} ms"
            yield Row(
                f"{mine.work}, {copies * timeline.events:,} events", mine.unit, mine.value, its.value,
                mine.value / its.value, "chDB, the same adapter contract", note=f"DuckDB / chDB{cpu}",
            )  # fmt: skip


def _of(open_one: Open, kind: str, copies: int, timeline: Timeline, folder: Path) -> Iterator[Found]:
    name = f"s{copies}"
    store = open_one(name)
    queue = SqliteQueue(folder / f"{kind}-{copies}.db")
    yield _filled(store, queue, copies, timeline)
    queue.close()
    yield _appended(open_one(f"a{copies}"), timeline)
    keys = store.select(f"SELECT DISTINCT key FROM event_rows ORDER BY key LIMIT {LOOKED_UP}").rows
    wanted = pl.Series("key", [key for (key,) in keys], pl.UInt64)
    yield _typical(f"history of {LOOKED_UP:,} conversations", lambda: store.history(wanted))
    plan = rollups.Plan("UTC")
    yield _took("rollups, all made anew", lambda: rollups.refresh(store, plan, datetime.now(UTC)))
    yield from _asked(store)
    yield Found("disk, with the rollups", "bytes/event", _size(store, folder, name) / (copies * timeline.events))
    store.close()


def _size(store: Store, folder: Path, name: str) -> float:
    """The bytes of a checkpointed file, or of the engine's live parts: those that were merged away go later."""
    if isinstance(store, DuckStore):
        store.checkpoint()
        return (folder / f"{name}.duckdb").stat().st_size
    parts = f"SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = '{name}'"
    return float(store.select(parts).rows[0][0])


def _filled(store: Store, queue: SqliteQueue, copies: int, timeline: Timeline) -> Found:
    """Through the worker, one copy of the timeline after the other."""
    worker, seconds, cpu, events = Worker(queue, store, Rules()), 0.0, 0.0, 0
    for number in range(copies):
        for future in [queue.append(*payload_of(part)) for part in parts(timeline.copy(number), APPENDED)]:
            future.result()
        begin, busy = time.perf_counter(), time.process_time()
        while tally := worker.step(0.0):
            events += tally.events
        seconds += time.perf_counter() - begin
        cpu += time.process_time() - busy
    assert store.select("SELECT count(*) FROM event_rows").rows == [(events,)]
    return Found("queue → store (read back, fold, write)", "events/s", events / seconds, cpu * 1e3)


def _appended(store: Store, timeline: Timeline) -> Found:
    """One batch that is only kept."""
    payloads = [payload_of(part) for part in parts(timeline.copy(0)[:APPENDS], APPENDED)]
    lines = b"".join(lines for lines, _ in payloads)
    rows = frames.read_lines(lines).drop("batch").with_columns(pl.int_range(pl.len()).alias("seq"))
    refused = pl.DataFrame(schema=frames.frame_schema("rejected_events"))
    if store.shared:
        found = _took("", lambda: cast(SharedStore, store).append(rows))
    else:
        found = _took("", lambda: store.commit(Change(rows.select(tables.names("events")), (), {}, refused, 1)))
    store.close()
    return Found("events alone, written", "events/s", len(rows) / found.value * 1e3, found.cpu)


def _asked(store: Store) -> Iterator[Found]:
    """The questions of the pages, over everything."""
    analytics = Analytics(store, "UTC")
    first, total = store.select("SELECT min(started_at), count(*) FROM conversation_rows").rows[0]
    everything = {"from": [first.date().isoformat()], "to": ["2100-01-01"]}
    asked: Sequence[tuple[str, Callable[[], object]]] = (
        (f"default funnel, {total:,} conversations", lambda: analytics.funnel(everything)),
        ("funnel by channel", lambda: analytics.funnel({**everything, "by": ["channel"]})),
        ("win_rate", lambda: analytics.metrics({**everything, "metric": ["win_rate"]})),
        ("bot_messages", lambda: analytics.metrics({**everything, "metric": ["bot_messages"]})),
        ("response_time", lambda: analytics.metrics({**everything, "metric": ["response_time"]})),
        ("all metrics", lambda: analytics.metrics(everything)),
    )
    for name, question in asked:
        yield _typical(name, question)


def _took(work: str, question: Callable[[], object]) -> Found:
    begin, busy = time.perf_counter(), time.process_time()
    question()
    busy = time.process_time() - busy
    return Found(work, "ms", (time.perf_counter() - begin) * 1e3, busy * 1e3)


def _typical(work: str, question: Callable[[], object]) -> Found:
    """The medians of several times."""
    found = [_took(work, question) for _ in range(ROUNDS)]
    return Found(work, "ms", median(one.value for one in found), median(one.cpu or 0.0 for one in found))
