"""Workers share the partitions of a queue: all are read, by one worker each, evenly, whoever comes and goes."""

from collections.abc import Iterator, Sequence, Set
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropoff.control.sqlite import SqliteControl
from dropoff.errors import Unavailable
from dropoff.server.shares import LEASE_SECONDS, Shares, Worker, share

PARTITIONS = 16


class Team:
    """Workers at one control state, without threads: their beats and the clock are ours."""

    def __init__(self, control: SqliteControl) -> None:
        self.control = control
        self.now = 1000.0
        self.read: dict[str, set[int]] = {}
        self.held: dict[str, set[int]] = {}
        self._shares: dict[str, Shares] = {}

    def join(self, name: str, partitions: int = PARTITIONS, *, alone: bool = False) -> None:
        def own(wanted: Set[int]) -> Set[int]:
            self.read[name] = set(wanted)
            return self.held.get(name, set()) - wanted

        self._shares[name] = Shares(
            self.control, "workers/q", name, partitions, own, alone=alone, clock=lambda: self.now
        )
        self._shares[name].beat()

    def beat(self, times: int = 3) -> None:
        for _ in range(times):
            self.now += 1
            for one in self._shares.values():
                one.beat()

    def leave(self, name: str) -> None:
        self._shares.pop(name).stop()

    def die(self, name: str) -> None:
        del self._shares[name], self.read[name]

    def check(self) -> list[int]:
        """Every partition is read once; how many each worker reads."""
        assert sorted(number for read in self.read.values() for number in read) == list(range(PARTITIONS))
        return sorted(len(read) for name, read in self.read.items() if name in self._shares)


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Team]:
    control = SqliteControl(tmp_path / "control.db")
    yield Team(control)
    control.close()


def test_one_worker_reads_everything_at_once(team: Team):
    team.join("a")
    assert team.check() == [16]


def test_workers_that_join_get_a_fair_share_and_nothing_is_read_twice(team: Team):
    for number, shares in enumerate([[16], [8, 8], [5, 5, 6], [4, 4, 4, 4], [3, 3, 3, 3, 4]]):
        team.join(f"w{number}")
        team.beat()
        assert team.check() == shares


def test_what_a_worker_still_works_on_is_not_read_by_another(team: Team):
    team.join("a")
    team.held["a"] = set(range(PARTITIONS))
    team.join("b")
    team.beat()
    assert team.read["a"] == set(range(8))
    assert team.read["b"] == set()
    team.held["a"] = set()
    team.beat()
    assert team.check() == [8, 8]


def test_a_worker_that_leaves_gives_its_share_back_at_once(team: Team):
    team.join("a")
    team.join("b")
    team.beat()
    team.leave("a")
    team.beat(1)
    assert team.check() == [16]


def test_a_dead_worker_is_replaced_when_its_lease_ends(team: Team):
    team.join("a")
    team.join("b")
    team.beat()
    team.die("a")
    team.now += LEASE_SECONDS - 2
    team.beat(1)
    assert len(team.read["b"]) == 8
    team.now += 2
    team.beat(1)
    assert team.check() == [16]


def test_more_workers_than_partitions(team: Team):
    for number in range(PARTITIONS + 2):
        team.join(f"w{number:02}")
    team.beat(4)
    assert team.check() == [0, 0, *[1] * PARTITIONS]


@pytest.mark.parametrize(("first", "second"), [(True, False), (False, True), (True, True)])
def test_a_store_of_one_worker_gets_no_second_one(team: Team, first: bool, second: bool):
    team.join("a", alone=first)
    with pytest.raises(Unavailable, match=r"has a worker, a, and (this|its) store takes only one"):
        team.join("b", alone=second)
    team.leave("a")
    team.join("b", alone=second)
    assert team.read["b"] == set(range(PARTITIONS))


def test_a_lone_worker_may_come_back_under_its_name(team: Team):
    team.join("a", alone=True)
    team.die("a")
    team.join("a", alone=True)
    assert team.check() == [16]


Workers = st.dictionaries(
    st.sampled_from("abcdef"),
    st.builds(Worker, st.sampled_from([0.0, 2.0]), st.lists(st.integers(0, 9), unique=True)),
)


@given(Workers, st.sampled_from("abcdef"))
def test_a_share_is_fair_and_takes_nothing_from_the_living(table: dict[str, Worker], name: str):
    partitions = 10
    wanted = share(table, name, partitions, now=1.0)
    others = [worker for other, worker in table.items() if other != name and worker.until > 1]
    assert not wanted & taken(others)
    assert wanted <= set(range(partitions))
    assert len(wanted) <= -(-partitions // (len(others) + 1))
    if not others:
        assert wanted == set(range(partitions))


def taken(workers: Sequence[Worker]) -> set[int]:
    return {number for worker in workers for number in worker.partitions}
