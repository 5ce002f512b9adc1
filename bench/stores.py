"""The two stores side by side, through our adapters: DuckDB in a file, and ClickHouse (chDB) in this process."""

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import cast

import polars as pl

from bench.data import Timeline, parts
from bench.rows import Plan, Row
from bench.worker import APPENDED, milliseconds, payload_of
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


def measure(plan: Plan, timeline: Timeline, folder: Path) -> Iterator[Row]:
    """1 M and 10 M events (quickly: a twentieth), each in a new store of both kinds."""
    stores: dict[str, Open] = {
        "DuckDB": lambda name: DuckStore(folder / f"{name}.duckdb"),
        "chDB": lambda name: clickhouse.open_store(f"chdb://{folder / 'chdb'}?database={name}"),
    }
    for events in (plan.grown_events // 20, plan.grown_events // 2):
        copies = max(events // timeline.events, 1)
        ours, peer = (list(_of(stores[kind], kind, copies, timeline, folder)) for kind in stores)
        for (work, unit, ours_found), (_, _, peer_found) in zip(ours, peer, strict=True):
            yield Row(
                f"{work}, {copies * timeline.events:,} events", unit, ours_found, peer_found, ours_found / peer_found,
                "chDB, the same adapter contract", note="DuckDB / chDB",
            )  # fmt: skip


def _of(open_one: Open, kind: str, copies: int, timeline: Timeline, folder: Path) -> Iterator[tuple[str, str, float]]:
    """What, in which unit, and how much of it."""
    store = open_one(f"s{copies}")
    queue = SqliteQueue(folder / f"{kind}-{copies}.db")
    yield "queue → store (read back, fold, write)", "events/s", _filled(store, queue, copies, timeline)
    queue.close()
    yield "events alone, written", "events/s", _appended(open_one(f"a{copies}"), timeline)
    keys = store.select(f"SELECT DISTINCT key FROM event_rows ORDER BY key LIMIT {LOOKED_UP}").rows
    wanted = pl.Series("key", [key for (key,) in keys], pl.UInt64)
    yield f"history of {LOOKED_UP:,} conversations", "ms", _typical(lambda: store.history(wanted))
    yield "rollups, all made anew", "ms", _rebuilt(store)
    yield from _asked(store)
    store.close()


def _filled(store: Store, queue: SqliteQueue, copies: int, timeline: Timeline) -> float:
    """Events a second through the worker, one copy of the timeline after the other."""
    worker, seconds, events = Worker(queue, store, Rules()), 0.0, 0
    for number in range(copies):
        for future in [queue.append(*payload_of(part)) for part in parts(timeline.copy(number), APPENDED)]:
            future.result()
        begin = time.perf_counter()
        while tally := worker.step(0.0):
            events += tally.events
        seconds += time.perf_counter() - begin
    assert store.select("SELECT count(*) FROM event_rows").rows == [(events,)]
    return events / seconds


def _appended(store: Store, timeline: Timeline) -> float:
    """Events a second, of one batch that is only kept."""
    payloads = [payload_of(part) for part in parts(timeline.copy(0)[:APPENDS], APPENDED)]
    lines = b"".join(lines for lines, _ in payloads)
    rows = frames.read_lines(lines).drop("batch").with_columns(pl.int_range(pl.len()).alias("seq"))
    begin = time.perf_counter()
    if store.shared:
        cast(SharedStore, store).append(rows)
    else:
        refused = pl.DataFrame(schema=frames.frame_schema("rejected_events"))
        store.commit(Change(rows.select(tables.names("events")), (), {}, refused, 1))
    seconds = time.perf_counter() - begin
    store.close()
    return len(rows) / seconds


def _rebuilt(store: Store) -> float:
    plan = rollups.Plan("UTC")
    return milliseconds(lambda: rollups.refresh(store, plan, datetime.now(UTC)))


def _asked(store: Store) -> Iterator[tuple[str, str, float]]:
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
        yield name, "ms", _typical(question)


def _typical(question: Callable[[], object]) -> float:
    return median(milliseconds(question) for _ in range(ROUNDS))
