"""An event that crashes the fold ends alone in the dead letters; the rest of its batch is stored."""

import json
from pathlib import Path

import pytest

from dropoff.project.settings import load
from dropoff.queue.sqlite import SqliteQueue
from dropoff.server.connect import connect
from dropoff.store.duckdb import DuckStore
from servers import Server
from worlds import event

POISON = """
from dropoff.process import fold
real = fold.fold

def fragile(events, *others):
    if events["event_type"].str.starts_with("poison").any():
        raise ZeroDivisionError("poison")
    return real(events, *others)

fold.fold = fragile
"""


@pytest.mark.parametrize("positions", [(0,), (63,), (7, 8, 40)])
def test_poison_ends_alone_in_the_dead_letters(tmp_path: Path, positions: tuple[int, ...]):
    data = tmp_path / "data"
    events = [event("x", i, f"c{i % 4}", event_id=f"e{i:02}") for i in range(64)]
    for position in positions:
        events[position]["event_type"] = "poison"
    with Server(data, first=POISON) as server:
        assert server.post(json.dumps(events).encode()).json()["accepted"] == 64
        server.drain()
        assert f'dropped_total{{reason="dead"}} {len(positions)}.0' in server.get("/metrics").body.decode()
        server.kill()
        server.spawn()
        server.wait()
        assert server.post(json.dumps(event("x", 99, "c0", event_id="later")).encode()).status == 202
        server.drain()
    stored, dead = left(data)
    bad = [events[position]["event_id"] for position in positions]
    assert stored == sorted({*(one["event_id"] for one in events), "later"} - {*bad})
    assert dead == bad


def test_what_died_is_processed_by_a_dropoff_that_can(tmp_path: Path):
    settings = load(data=tmp_path / "data")
    events = [event("x", 0, "c", event_id="good"), event("poison", 1, "c", event_id="bad")]
    with Server(settings.data, first=POISON) as server:
        server.post(json.dumps(events).encode())
        server.drain()
        with connect(settings) as connection:
            assert connection.dead(10)["total"] == 1
            assert connection.replay_dead() == {"replayed": 1}
            server.drain()
            [letter] = connection.dead(10)["dead"]
            assert "poison" in letter["reason"]
            assert json.loads(letter["body"])["#id"] == "bad"
    with Server(settings.data) as server, connect(settings) as connection:
        assert connection.replay_dead() == {"replayed": 1}
        server.drain()
        assert connection.dead(10) == {"dead": [], "total": 0}
    assert left(settings.data) == (["bad", "good"], [])


def left(data: Path) -> tuple[list[str], list[str]]:
    """The ids of the stored events, and of the dead ones."""
    store, queue = DuckStore(data / "store.duckdb"), SqliteQueue(data / "queue.db")
    try:
        assert all("poison" in letter.reason for letter in queue.dead_letters())
        dead = sorted(json.loads(letter.payload)["#id"] for letter in queue.dead_letters())
        return sorted(name for (name,) in store.select("SELECT id FROM event_rows").rows), dead
    finally:
        store.close()
        queue.close()
