"""What a store costs once it has grown: the next event, a dirty day, any metric over a year."""

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import duckdb
import msgspec

from bench.data import Timeline, parts
from bench.rows import Plan, Row
from bench.worker import APPENDED, RAW, FixedBatches, milliseconds, payload_of
from dropoff.aggregate import rollups
from dropoff.analyse.analytics import Analytics
from dropoff.metrics import METRICS
from dropoff.process.fold import Rules
from dropoff.process.worker import Worker
from dropoff.project.settings import load
from dropoff.queue.sqlite import SqliteQueue
from dropoff.server.engine import plan_of
from dropoff.store import sql, tables
from dropoff.store.duckdb import DuckStore

BATCH = 10_000
BATCHES = 8
A_YEAR_HOLDS = 50  # copies of the timeline
_IDS = ("id", "event_id", "conversation_id", "contact_id")
_GROWING = ("events", "messages", "conversations", "turns", "meetings", "deals", "attributions")


def measure(plan: Plan, timeline: Timeline, folder: Path) -> Iterator[Row]:
    """One store of a twentieth of the events, one of all; both take the same further batches."""
    small, large = folder / "small", folder / "large"
    copies = plan.grown_events // timeline.events
    for place, number in ((small, max(copies // 20, 1)), (large, copies)):
        seed(place, timeline)
        grow(place / "store.duckdb", number)
    fresh = [payload_of(part) for part in parts(timeline.copy(0xFFFFFF)[: BATCH * BATCHES], APPENDED)]
    (few, before), (many, after) = next_batches(small, fresh), next_batches(large, fresh)
    yield cost_row(few, before, many, after)
    yield from _questions(large)


def seed(folder: Path, timeline: Timeline) -> None:
    folder.mkdir(exist_ok=True)
    _drain(folder, [payload_of(part) for part in parts(timeline.copy(0), APPENDED)])


def grow(file: Path, copies: int) -> None:
    """Copy what is stored, each copy under other keys and ids and a week or so earlier; nothing of it is new work."""
    connection = duckdb.connect(str(file))
    events = connection.execute("SELECT max(seq) + 1 FROM event_rows").fetchall()[0][0]
    for table in _GROWING:
        connection.execute(f"CREATE TEMP TABLE first AS SELECT * FROM {sql.PHYSICAL[table]}")
        for number in range(1, copies):
            values = ", ".join(_copied(column, number, events) for column in tables.TABLES[table])
            connection.execute(f"INSERT INTO {sql.PHYSICAL[table]} SELECT {values} FROM first")
        connection.execute("DROP TABLE first")
    connection.execute("CHECKPOINT")
    connection.close()


def settle(folder: Path) -> None:
    """Leave nothing to be rolled up: what was stored in the course of time has been, what was copied has not."""
    store = DuckStore(folder / "store.duckdb")
    store.restart_rollups(plan_of(load(data=folder)).fingerprint(rollups.select.recorded_stages(store)))
    store.forget_slots(store.dirty_slots())
    store.close()


def _copied(column: tables.Column, number: int, events: int) -> str:
    """A column of a copied row: another conversation and contact, earlier by so many parts of a year."""
    name = column.name
    if column.type == "instant":
        return f"{name} - INTERVAL {number * 365 * 24 // A_YEAR_HOLDS} HOUR"
    if name == "seq":
        return f"seq + {number * events}"
    if column.type == "uint":
        return f"xor({name}, {number << 20}::UBIGINT)"
    return f"{name} || '~{number}'" if name in _IDS else f'"{name}"'


def next_batches(folder: Path, payloads: Sequence[tuple[bytes, int]]) -> tuple[int, list[float]]:
    """How many events are stored, and the CPU microseconds an event of each further batch."""
    store = DuckStore(folder / "store.duckdb")
    stored = store.next_seq()
    store.close()
    return stored, _drain(folder, payloads)[1:]


def cost_row(few: int, before: Sequence[float], many: int, after: Sequence[float]) -> Row:
    """What further events cost where `many` are stored beside where `few` are."""
    return Row(
        f"queue → store, {many:,} events stored", "µs CPU/event", median(after), median(before),
        median(after) / median(before), f"{few:,} stored", "≤ 1.5 ×", f"batches of {BATCH:,}",
    )  # fmt: skip


def _drain(folder: Path, payloads: Sequence[tuple[bytes, int]]) -> list[float]:
    queue = FixedBatches(folder / "queue.db")
    queue.batch = BATCH
    for future in [queue.append(*payload) for payload in payloads]:
        future.result()
    store = DuckStore(folder / "store.duckdb")
    worker = Worker(queue, store, Rules())
    found, begin = [], time.process_time()
    while tally := worker.step(0.0):
        found.append((time.process_time() - begin) / tally.events * 1e6)
        begin = time.process_time()
    store.checkpoint()
    queue.close()
    store.close()
    return found


def _touch(store: DuckStore, folder: Path, day: datetime) -> None:
    """One late conversation in each hour of a day."""
    late = [
        {"event_type": "conversation_started", "conversation_id": f"{hour}", "timestamp": hour.isoformat()}
        for hour in (day + timedelta(hours=h) for h in range(24))
    ]
    queue = SqliteQueue(folder / "queue.db")
    queue.append(*payload_of([msgspec.json.encode(event) for event in late])).result()
    worker = Worker(queue, store, Rules())
    while worker.step(0.0):
        pass
    queue.close()


def _questions(folder: Path) -> Iterator[Row]:
    settle(folder)
    store = DuckStore(folder / "store.duckdb")
    now = datetime.now(UTC)
    plan = plan_of(load(data=folder))
    last = store.select("SELECT max(started_at) FROM conversation_rows").rows[0][0].replace(tzinfo=UTC)
    day = last.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=40)
    rebuilt = []
    for back in range(5):
        _touch(store, folder, day - timedelta(days=back))
        rebuilt.append(milliseconds(lambda: rollups.refresh(store, plan, now)))
    year = {
        "from": [(last - timedelta(days=366)).date().isoformat()],
        "to": [(last - timedelta(days=1)).date().isoformat()],
    }
    analytics = Analytics(store, "UTC")
    asked = {name: milliseconds(lambda n=name: analytics.metrics({**year, "metric": [n]})) for name in METRICS}
    together = milliseconds(lambda: analytics.metrics(year))
    raw = median(milliseconds(lambda: store.select(RAW)) for _ in range(3))
    held = analytics.metrics({**year, "metric": ["conversations_started"]})["metrics"][0]["value"]
    store.close()
    yield Row("rollups, one dirty day", "ms", median(rebuilt), note=f"all 24 hours, {len(plan.dimensions)} dimensions")
    slowest = max(asked, key=lambda name: asked[name])
    yield Row(
        f"any metric, a year of {held:,.0f} conversations", "ms", median(asked.values()), raw,
        median(asked.values()) / raw, "distinct counts of all raw events", "",
        f"slowest {asked[slowest]:.0f} ms ({slowest}); all {len(METRICS)} together {together:.0f} ms",
    )  # fmt: skip
