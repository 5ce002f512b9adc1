"""A store of many events: what a further event costs, what the server takes for its pages, memory and disk."""

from collections.abc import Iterator
from pathlib import Path

from bench import grown, pages
from bench.data import Timeline, parts
from bench.processes import DROPOFF, Serving
from bench.rows import Plan, Row
from bench.worker import APPENDED, payload_of
from dropoff.store.duckdb import DuckStore

SMALL = 1_000_000
"""Events of the store beside it."""
PATIENCE = 1800.0
"""So many seconds anything may take: the first view of a page took 88."""


def measure(plan: Plan, timeline: Timeline, folder: Path) -> Iterator[Row]:
    """One store of `SMALL` events and one of `plan.large_events`; both take the same further batches."""
    small, large = folder / "small", folder / "large"
    for place, events in ((small, min(SMALL, plan.large_events // 20)), (large, plan.large_events)):
        grown.seed(place, timeline)
        grown.grow(place / "store.duckdb", max(events // timeline.events, 1))
    disk, held = (large / "store.duckdb").stat().st_size, _events(large)
    fresh = timeline.copy(0xFFFFFF)[: grown.BATCH * grown.BATCHES]
    payloads = [payload_of(part) for part in parts(fresh, APPENDED)]
    (few, before), (many, after) = (grown.next_batches(place, payloads) for place in (small, large))
    yield grown.cost_row(few, before, many, after)
    yield Row("disk, with what the fold makes", "bytes/event", disk / held, bar="≤ 100 bytes", note=f"{held:,} events")
    grown.settle(large)
    with Serving([*DROPOFF, "serve", "--port", "0", "--data", str(large)], large, PATIENCE) as server:
        server.drain()
        yield from pages.of_server(server, many, "≤ 400 ms")
        yield Row(f"memory of the server after that, peak, {many:,} events", "MB", server.peak_bytes / 1e6)


def _events(folder: Path) -> int:
    store = DuckStore(folder / "store.duckdb")
    try:
        return store.next_seq()
    finally:
        store.close()
