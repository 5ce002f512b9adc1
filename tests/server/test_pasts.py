"""The stores that answer questions `as_of`: how long they are kept, and what is left of them."""

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from dropoff.process import past
from dropoff.process.fold import Rules
from dropoff.process.worker import made_by
from dropoff.project.settings import load
from dropoff.server.pasts import KEPT, PREFIX, Pasts, Room
from dropoff.store.base import Change, Store
from worlds import START, Dict, drain, payload, received, refusals, started


def moment(at: float) -> datetime:
    return START + timedelta(minutes=at)


def left(place: Path) -> int:
    """How many stores of the past there are in a directory."""
    return len([*place.glob(f"{PREFIX}*/*")])


@pytest.fixture
def pasts(tmp_path: Path):
    source = drain(tmp_path, [payload([started(), received("a", at=2), received("b", at=20)])])
    found = Pasts(source, load(data=tmp_path), Rules())
    yield found
    found.close()
    source.close()
    assert not [*tmp_path.glob(f"{PREFIX}*")]


def counted(one: Store) -> int:
    return one.select("SELECT count(*) FROM event_rows").rows[0][0]


def test_the_last_few_are_kept_and_others_go_once_nobody_has_them(pasts: Pasts, tmp_path: Path):
    first = pasts.at(moment(1))
    assert pasts.at(moment(1)) is first
    held = [pasts.at(moment(at)) for at in (5, 30)]
    assert [counted(one) for one in (first, *held)] == [1, 2, 3]
    assert pasts.at(moment(5)) is held[0]
    assert left(tmp_path) == KEPT + 1
    del first
    assert left(tmp_path) == KEPT
    assert counted(pasts.at(moment(1))) == 1


def test_many_who_ask_at_once_get_one(pasts: Pasts, monkeypatch: pytest.MonkeyPatch):
    filled, fill = [], past.fill
    monkeypatch.setattr(past, "fill", lambda *given: (filled.append(given), fill(*given)))
    with ThreadPoolExecutor(8) as pool:
        found = [*pool.map(pasts.at, [moment(5)] * 8)]
    assert len(filled) == len({*map(id, found)}) == 1


def test_one_is_made_anew_when_an_earlier_event_has_come_and_only_then(tmp_path: Path):
    source = drain(tmp_path, [payload([started()])])
    pasts = Pasts(source, load(data=tmp_path), Rules())
    before = pasts.at(moment(10))
    store(source, received("later", at=10))
    assert pasts.at(moment(10)) is before
    store(source, received("earlier", at=9))
    assert [counted(one) for one in (before, pasts.at(moment(10)))] == [1, 2]
    pasts.close()
    source.close()


def store(source: Store, new: Dict) -> None:
    """What a worker does with one event."""
    work = made_by(source, Rules()).prepare(payload([new]))
    source.commit(Change(work.events, work.superseded, work.rows, refusals(), 0, work.versions))


def test_what_a_killed_process_left_the_next_removes_and_nothing_else(tmp_path: Path):
    hold = "import sys; from pathlib import Path; from dropoff.server.pasts import Room; room = Room(Path(sys.argv[1]))"
    command = [sys.executable, "-c", f"{hold}; print(room.place(), flush=True); input()", str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        living = Room(tmp_path)
        assert left(tmp_path) == 1
        process.send_signal(signal.SIGKILL)
        process.wait()
    mine = living.place()
    Room(tmp_path)
    assert [*tmp_path.glob(f"{PREFIX}*/*")] == [mine]
    living.close()
    assert not [*tmp_path.iterdir()]
