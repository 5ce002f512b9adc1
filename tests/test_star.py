"""6,526 real conversations through queue and worker: the numbers that must come out, in any order."""

import gzip
import json
import os
from pathlib import Path
from random import Random

import pytest

from dropoff.analyse.analytics import Analytics
from dropoff.events import Receipt
from dropoff.intake import encode, read_events
from dropoff.process.fold import Rules
from dropoff.process.worker import Tally, Worker
from dropoff.queue.sqlite import SqliteQueue
from dropoff.store.base import Store
from dropoff.store.sql import STAGES
from worlds import RECEIVED, open_store

STAR = Path(os.environ.get("DROPOFF_SHARED", Path(__file__).parents[2] / "shared")) / "data" / "star"
TABLES = ("conversation_rows", "message_rows", "event_rows")

pytestmark = pytest.mark.skipif(
    not (STAR / "events.ndjson.gz").exists(), reason="the STAR conversations are not in $DROPOFF_SHARED/data/star"
)


@pytest.fixture(scope="module")
def lines() -> list[bytes]:
    with gzip.open(STAR / "events.ndjson.gz") as file:
        return file.read().splitlines(keepends=True)


@pytest.fixture(scope="module")
def expected() -> dict:
    return json.loads((STAR / "expected.json").read_text())


@pytest.fixture(scope="module")
def in_order(lines: list[bytes], tmp_path_factory: pytest.TempPathFactory, engine: str) -> Store:
    directory = tmp_path_factory.mktemp("star")
    assert stored(load(directory, engine, lines)) == 149_732
    return open_store(directory, engine)


def load(directory: Path, engine: str, lines: list[bytes], size: int = 10_000) -> list[Tally]:
    """Send lines through door, queue and worker; what became of each batch."""
    queue, store = SqliteQueue(directory / "queue.db"), open_store(directory, engine)
    tallies: list[Tally] = []
    worker = Worker(queue, store, Rules(), tallies.append)
    for at in range(0, len(lines), size):
        intake = read_events(b"".join(lines[at : at + size]), Receipt(RECEIVED, batch="star"), ndjson=True)
        assert not intake.rejections
        queue.append(encode(intake.events), len(intake.events)).result()
    while worker.step(0):
        pass
    assert not queue.dead_letters()
    queue.close()
    store.close()
    return tallies


def stored(tallies: list[Tally]) -> int:
    return sum(t.stored["star"] for t in tallies)


def digest(store: Store) -> list[tuple]:
    """One number for the contents of each table, whatever the order of its rows."""
    form = {
        "duckdb": ("* EXCLUDE (seq)", "sum(hash(t)::HUGEINT) FROM (SELECT {} FROM {}) t"),
        "chdb": ("* EXCEPT (seq)", "sum(sipHash64(toString(tuple(*)))) FROM (SELECT {} FROM {})"),
    }
    but_seq, hashed = form["chdb" if store.shared else "duckdb"]
    return [
        store.select(f"SELECT count(*), {hashed.format(but_seq if table == 'event_rows' else '*', table)}").rows[0]
        for table in TABLES
    ]


def test_the_recorded_funnel_is_as_expected(in_order: Store, expected: dict):
    counts = ", ".join(f"count({STAGES[stage]}) AS {stage}" for stage in expected["funnel_recorded"])
    assert in_order.select(f"SELECT {counts} FROM conversations").dicts() == [expected["funnel_recorded"]]


def test_the_reached_funnel_is_as_expected(in_order: Store, expected: dict):
    stages = list(STAGES)
    counts = ", ".join(
        f"count(*) FILTER (WHERE level >= {stages.index(stage)}) AS {stage}" for stage in expected["funnel_reached"]
    )
    assert in_order.select(f"SELECT {counts} FROM conversations").dicts() == [expected["funnel_reached"]]


def test_every_event_is_stored_once(in_order: Store, expected: dict):
    found = in_order.select("SELECT event_type, count(*) FROM events GROUP BY event_type").rows
    assert dict(found) == expected["event_types"]
    assert in_order.select("SELECT count(DISTINCT id) FROM events").rows == [(expected["events"],)]


@pytest.mark.one_store
def test_shuffled_with_duplicates_and_then_sent_again_the_tables_are_the_same(
    in_order: Store, lines: list[bytes], tmp_path: Path, engine: str
):
    random = Random(1)
    copies = lines + random.sample(lines, 15_000)
    random.shuffle(copies)
    tallies = load(tmp_path, engine, copies)
    assert stored(tallies) == 149_732
    assert sum(t.dropped["star", "duplicate"] for t in tallies) == 15_000
    again = load(tmp_path, engine, lines)
    assert (stored(again), sum(t.dropped["star", "duplicate"] for t in again)) == (0, 149_732)
    store = open_store(tmp_path, engine)
    assert digest(store) == digest(in_order)
    store.close()


def test_the_largest_drop_is_shown_with_what_precedes_it(in_order: Store, expected: dict):
    asked = {"from": ["2000-01-01"], "to": ["2030-01-01"], "sort": ["volume"], "explain": ["worst"]}
    drops = Analytics(in_order, "UTC").dropoffs(asked)["drop_offs"]
    recorded = [stage for stage, count in expected["funnel_recorded"].items() if count]
    assert {stage for drop in drops for stage in (drop["from"], drop["to"])} <= set(recorded)
    assert (drops[0]["from"], drops[0]["to"]) == ("responded", "qualified")
    why = drops[0]["explanation"]
    reached = expected["funnel_reached"]
    assert why["lost"] == drops[0]["volume_lost"] == reached["responded"] - reached["qualified"]
    silent = [message for message in why["messages"] if message["silent"]]
    assert len(silent) > 3
    assert all(message["intent"] != "(none)" and message["example"] for message in silent[:3])
    assert sum(one["share"]["numerator"] for one in why["instead"]) == why["lost"]
