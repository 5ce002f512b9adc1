"""`dropoff import` of a file against DuckDB's own `read_json`; and a real corpus, where it is at hand."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb

from bench.data import Timeline
from bench.processes import DROPOFF, run, timed
from bench.rows import Plan, Row, compare

STAR = Path(__file__).resolve().parents[2] / "shared" / "data" / "star" / "events.ndjson.gz"
READ_JSON = """
import duckdb, sys
with duckdb.connect(sys.argv[2]) as connection:
    lines = "read_json($1, format = 'newline_delimited')"
    connection.execute(f"CREATE TABLE events AS SELECT * FROM {lines}", sys.argv[1:2])
"""


def measure(plan: Plan, timeline: Timeline, folder: Path) -> Iterator[Row]:
    """Both as processes, from start to exit: open, read, write, checkpoint, close."""
    lines = timeline.copy(0)
    path = folder / "events.ndjson"
    path.write_bytes(b"\n".join(lines))
    ours, peer = [], []
    for turn in range(plan.rounds):
        data, table = str(folder / f"data-{turn}"), str(folder / f"table-{turn}.duckdb")
        ours.append(len(lines) / timed(*DROPOFF, "import", str(path), "--data", data, "--json"))
        peer.append(len(lines) / timed(sys.executable, "-c", READ_JSON, str(path), table))
    yield compare(
        "import of NDJSON", "events/s", ours, peer, "read_json", bar="≥ 0.1 ×, ≥ 120 k/s",
        note=f"{len(lines):,} events, whole processes",
    )  # fmt: skip
    yield _disk(folder / f"data-{plan.rounds - 1}", "disk, imported")


def star(folder: Path) -> Iterator[Row]:
    """STAR: 149,732 events of people who talk to an assistant."""
    if not STAR.exists():
        return
    data = folder / "star"
    seconds = timed(*DROPOFF, "import", str(STAR), "--data", str(data), "--json")
    answer = json.loads(run(*DROPOFF, "import", str(STAR), "--data", str(data), "--json"))
    note = f"a second time: {answer['duplicates']:,} duplicates, {answer['accepted']} new"
    yield Row("import of STAR", "events/s", answer["read"] / seconds, note=note)
    yield _disk(data, "disk, STAR")._replace(bar="≤ 100")


def _disk(data: Path, work: str) -> Row:
    """The size of the store, closed and so checkpointed, per stored event."""
    path = data / "store.duckdb"
    with duckdb.connect(str(path), read_only=True) as connection:
        (events,) = connection.execute("SELECT count(*) FROM event_rows").fetchall()[0]
    return Row(work, "bytes/event", path.stat().st_size / events, note=f"{events:,} events, after a checkpoint")
