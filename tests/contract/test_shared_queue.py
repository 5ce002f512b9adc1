"""What every queue does whose partitions several workers read."""

import threading
from collections.abc import Callable, Iterator, Set
from pathlib import Path
from typing import Any

import pytest

from brokers import MOCK_PARTITIONS, kafka_queue, nats_queue
from dropoff.errors import InvalidInput
from dropoff.queue.base import Shared

PARTITIONS = MOCK_PARTITIONS
ADAPTERS: dict[str, Callable[..., Any]] = {
    "nats": lambda directory, own: nats_queue(directory, PARTITIONS, own), "kafka": kafka_queue,
}  # fmt: skip
Open = Callable[[Set[int]], Any]
SOON = 10.0


@pytest.fixture(params=ADAPTERS)
def open_queue(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Opens the same queue once more, to read these partitions."""
    request.getfixturevalue(request.param)
    opened = []

    def open_one(own: Set[int]) -> Any:
        opened.append(ADAPTERS[request.param](tmp_path, own))
        return opened[-1]

    yield open_one
    for queue in opened:
        queue.close()


def put(queue: Any, *payloads: tuple[int, bytes]) -> None:
    for future in [queue.append(payload, 1, partition) for partition, payload in payloads]:
        future.result(SOON)


def drain(queue: Any, wait: float = 2.0) -> list[bytes]:
    """What there is to read, and to commit."""
    found = []
    while records := queue.read(10, wait):
        found += [record.payload for record in records]
        queue.commit(records[-1].offset)
        wait = 0.2
    return found


def test_it_is_a_shared_queue_without_a_common_order(open_queue: Open):
    queue = open_queue(set())
    assert (isinstance(queue, Shared), queue.ordered, queue.partitions) == (True, False, PARTITIONS)


def test_each_reader_gets_its_own_partitions_in_order(open_queue: Open):
    door, one, two = open_queue(set()), open_queue({0, 1}), open_queue({2, 3})
    put(door, *((number % PARTITIONS, b"%d" % number) for number in range(40)))
    for reader, partitions in ((one, {0, 1}), (two, {2, 3})):
        found = [int(payload) for payload in drain(reader)]
        assert sorted(found) == [number for number in range(40) if number % PARTITIONS in partitions]
        for partition in partitions:
            own = [number for number in found if number % PARTITIONS == partition]
            assert own == sorted(own)
    assert drain(door, 0) == []


def test_nothing_is_read_before_it_is_owned(open_queue: Open):
    queue = open_queue(set())
    put(queue, (0, b"a"))
    assert drain(queue, 0.2) == []
    assert queue.own({0}) == set()
    assert drain(queue) == [b"a"]


def test_who_takes_over_begins_behind_what_was_committed(open_queue: Open):
    first = open_queue({0, 1})
    put(first, (0, b"a"), (0, b"b"), (1, b"c"))
    records = first.read(1, SOON)
    first.commit(records[-1].offset)
    handed = {record.payload for record in records} | {record.payload for record in first.read(1, SOON)}
    assert len(handed) == 2
    first.close()
    assert sorted(drain(open_queue({0, 1}))) == sorted({b"a", b"b", b"c"} - {records[0].payload})


def test_a_partition_given_up_is_busy_until_its_records_are_committed(open_queue: Open):
    queue = open_queue({0, 1})
    put(queue, (0, b"a"), (0, b"b"))
    records = list(queue.read(1, SOON))
    assert queue.own({1}) == {0}
    queue.commit(records[-1].offset)
    assert queue.own({1}) == set()
    put(queue, (0, b"c"), (1, b"d"))
    assert drain(queue) == [b"d"]
    assert drain(open_queue({0})) == [b"b", b"c"]


def test_a_partition_may_come_back(open_queue: Open):
    queue = open_queue({0})
    put(queue, (0, b"a"))
    assert drain(queue) == [b"a"]
    queue.own(set())
    put(queue, (0, b"b"))
    queue.own({0})
    assert drain(queue) == [b"b"]


def test_lag_counts_all_partitions_whoever_reads_them(open_queue: Open):
    door, reader = open_queue(set()), open_queue({0, 1})
    put(door, *((number % PARTITIONS, b"xx") for number in range(8)))
    assert door.lag()[:2] == reader.lag()[:2] == (8, 16)
    assert len(drain(reader)) == 4
    assert reader.lag()[:2] == (4, 8)
    reader.close()
    assert door.lag()[:2] == (4, 8)
    assert len(drain(open_queue({2, 3}))) == 4
    door.backlog()
    waited = threading.Event()
    for _ in range(50):
        if door.lag() == (0, 0, 0) and door.backlog() == 0:
            break
        waited.wait(0.1)
    assert (door.lag(), door.backlog()) == ((0, 0, 0), 0)


def test_another_number_of_partitions_is_refused(open_queue: Open, request: pytest.FixtureRequest, tmp_path: Path):
    if "kafka" in request.node.callspec.id:
        pytest.skip("the mock has topics of one size only")
    open_queue(set())
    with pytest.raises(InvalidInput, match=f"queue_partitions == 5, must be {PARTITIONS}, with which"):
        nats_queue(tmp_path, 5)
