"""The queue on NATS: what happens when the server goes away, and what is kept."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from brokers import NatsServer
from dropoff.broker import Place
from dropoff.errors import InvalidInput, Unavailable
from dropoff.events import Receipt
from dropoff.intake import read_events, refused_payload
from dropoff.process.fold import Rules
from dropoff.process.worker import Worker
from dropoff.queue.lane import RECORDS
from dropoff.queue.nats import NatsQueue
from dropoff.store.duckdb import DuckStore
from worlds import RECEIVED, event, payload, rows

Open = Callable[..., NatsQueue]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    """One of its own, to be killed."""
    with NatsServer(tmp_path) as running:
        yield running


@pytest.fixture
def open_queue(server: NatsServer) -> Iterator[Open]:
    opened = []

    def open_one(**options: Any) -> NatsQueue:
        opened.append(NatsQueue(Place([server.address]), "events", partitions=2, **options))
        opened[-1].own({0, 1})
        return opened[-1]

    yield open_one
    for queue in opened:
        queue.close()


def put(queue: NatsQueue, *payloads: bytes) -> list[int]:
    return [future.result(20) for future in [queue.append(payload, 1) for payload in payloads]]


def drain(queue: NatsQueue) -> list[bytes]:
    found, wait = [], 5.0
    while records := queue.read(1000, wait):
        found += [record.payload for record in records]
        queue.commit(records[-1].offset)
        wait = 0.5
    return found


def messages(queue: NatsQueue) -> int:
    return queue.broker.call(queue.broker.stream.stream_info("events")).state.messages


def test_while_the_server_is_away_it_is_unavailable_and_afterwards_all_is_there(server: NatsServer, open_queue: Open):
    queue = open_queue(patience=3)  # enough for a server that has just come back on a busy machine
    put(queue, b"a", b"b")
    server.kill()
    with pytest.raises(Unavailable, match="could not be written"):
        put(queue, b"lost")
    with pytest.raises(Unavailable, match="not connected"):
        queue.lag()
    server.spawn()
    until(lambda: queue.broker.connected)
    put(queue, b"c")
    found = drain(queue)
    assert [payload for payload in found if payload != b"lost"] == [b"a", b"b", b"c"]
    assert queue.lag() == (0, 0, 0)


def test_more_dead_letters_than_the_server_names_are_not_passed_off_as_all(open_queue: Open, monkeypatch: Any):
    monkeypatch.setattr("dropoff.broker._NAMED", 3)
    queue = open_queue()
    queue.dead_letter(b"a", "odd")
    queue.dead_letter(b"b", "odd")
    assert len(queue.dead_letters()) == 2
    queue.dead_letter(b"c", "odd")
    with pytest.raises(Unavailable, match=r"events-queue dead\.>: 3 entries or more, which cannot be listed"):
        queue.dead_letters()


def test_a_short_absence_is_not_noticed(server: NatsServer, open_queue: Open):
    queue = open_queue(patience=20)
    put(queue, b"a")
    server.kill()
    futures = [queue.append(b"%d" % number, 1, number % 2) for number in range(50)]
    threading.Timer(1.0, server.spawn).start()
    assert len({future.result(30) for future in futures}) == 50
    assert sorted(drain(queue)) == sorted([b"a", *(b"%d" % number for number in range(50))])


def test_a_killed_server_loses_nothing_and_hands_out_nothing_twice(server: NatsServer, open_queue: Open):
    """In the middle of reading: what was on its way is asked for again."""
    queue = open_queue(patience=20)
    sent = [b"%05d" % number for number in range(5000)]
    put(queue, *sent)
    found = [record.payload for record in queue.read(100, 5)]
    server.kill()
    server.spawn()
    until(lambda: queue.broker.connected)
    put(queue, *(b"later%d" % number for number in range(10)))
    while records := queue.read(100, 3):
        found += [record.payload for record in records]
    assert found == [*sent, *(b"later%d" % number for number in range(10))]


def test_a_position_is_never_set_back(open_queue: Open):
    slow, fast = open_queue(), open_queue()
    put(slow, b"a", b"b", b"c")
    first = slow.read(1, 5)
    assert drain(fast) == [b"a", b"b", b"c"]
    fast.close()
    slow.commit(first[-1].offset)
    slow.close()
    assert drain(open_queue()) == []


def test_a_repeated_message_is_taken_once(open_queue: Open):
    queue = open_queue()
    headers = {"Nats-Msg-Id": "one", "Dropoff-Shape": "1:1"}
    numbers = [queue.broker.call(queue._repeat("events.0", b"a", headers)) for _ in range(2)]
    assert numbers[0] == numbers[1]
    assert drain(queue) == [b"a"]


def test_a_batch_that_is_handed_out_again_changes_nothing(open_queue: Open, tmp_path: Path):
    """The store has no offset to know it by: a worker dies between the store's commit and the queue's."""
    queue, store = open_queue(), DuckStore(tmp_path / "store.duckdb")
    refused = read_events(b'[{"event_type": ""}]', Receipt(RECEIVED)).rejections
    put(queue, payload([event("x", n, event_id=f"e{n}") for n in range(20)]), refused_payload(refused, RECEIVED))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(queue, "commit", lambda _: None)
        while Worker(queue, store, Rules()).step(1):
            pass
    queue.close()
    again = open_queue()
    assert again.lag().events == 2  # payloads: `put` counts one for each
    worker = Worker(again, store, Rules())
    dropped = [tally.dropped for tally in iter(lambda: worker.step(1), None)]
    assert sum(sum(counts.values()) for counts in dropped) == 20
    assert [len(rows(store, table)) for table in ("event_rows", "rejected_rows")] == [20, 1]
    assert (again.lag(), store.offset()) == ((0, 0, 0), 0)
    store.close()


def test_appends_of_a_moment_share_a_message(open_queue: Open):
    queue = open_queue()
    offsets = put(queue, *(b"x" for _ in range(3000)))
    assert 3 <= len({offset // RECORDS for offset in offsets}) < 30
    assert messages(queue) < 30


def test_only_what_is_committed_and_old_is_deleted(open_queue: Open):
    queue = open_queue(retention=0)
    put(queue, b"a")
    put(queue, b"b")
    put(queue, b"c")
    (first,) = queue.read(1, 5)
    queue.broker.call(queue._trim())
    assert messages(queue) == 3
    queue.commit(first.offset)
    (second,) = queue.read(1, 5)
    queue.commit(second.offset)
    queue.broker.call(queue._trim())
    assert messages(queue) == 2  # that of the position itself stays: another record of it may not be committed
    assert [record.payload for record in queue.read(9, 5)] == [b"c"]
    kept = open_queue(retention=3600)
    kept.broker.call(kept._trim())
    assert messages(kept) == 2


def test_a_stream_made_anew_is_read_from_its_beginning(open_queue: Open):
    queue = open_queue()
    put(queue, b"a", b"b")
    assert drain(queue) == [b"a", b"b"]
    queue.close()
    again = open_queue()
    again.broker.call(again.broker.stream.delete_stream("events"))
    again.close()
    new = open_queue()
    put(new, b"c")
    assert drain(new) == [b"c"]


def test_a_server_that_takes_too_little_is_refused(tmp_path: Path):
    (tmp_path / "small").mkdir()
    rule = "max_payload of nats://.* == 65536, must be at least 282768"
    with NatsServer(tmp_path / "small", "max_payload: 65536") as server, pytest.raises(InvalidInput, match=rule):
        NatsQueue(Place([server.address]), "events")


def until(true: Callable[[], Any], patience: float = 20) -> None:
    end = time.monotonic() + patience
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)
