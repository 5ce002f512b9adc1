"""What every `Queue` does, whatever keeps it."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brokers import kafka_queue, nats_queue
from dropoff.errors import InvalidInput, Unavailable
from dropoff.queue.base import Queue, Record
from dropoff.queue.sqlite import SqliteQueue

ADAPTERS: dict[str, Callable[[Path], Queue]] = {
    "sqlite": lambda directory: SqliteQueue(directory / "queue.db"),
    "nats": nats_queue,
    "kafka": kafka_queue,
}
Open = Callable[[], Queue]
SOON = 10.0


@pytest.fixture(params=ADAPTERS)
def adapter(request: pytest.FixtureRequest) -> str:
    if request.param != "sqlite":
        request.getfixturevalue(request.param)
    return request.param


@pytest.fixture
def open_queue(adapter: str, tmp_path: Path) -> Iterator[Open]:
    """Opens the same queue again; close the one before."""
    opened: list[Queue] = []

    def open_one() -> Queue:
        opened.append(ADAPTERS[adapter](tmp_path))
        return opened[-1]

    yield open_one
    for queue in opened:
        queue.close()


@pytest.fixture
def queue(open_queue: Open) -> Queue:
    return open_queue()


def put(queue: Queue, *payloads: bytes, events: int = 1) -> list[int]:
    """Append all, then wait for all: their offsets."""
    futures = [queue.append(payload, events) for payload in payloads]
    return [future.result(SOON) for future in futures]


def payloads(records: Sequence[Record]) -> list[bytes]:
    return [record.payload for record in records]


def drain(queue: Queue, max_events: int = 1000) -> list[Record]:
    records: list[Record] = []
    while batch := queue.read(max_events, 0):
        records.extend(batch)
    return records


def test_reads_what_was_appended_in_order(queue: Queue):
    offsets = put(queue, b"a", b"", b"\x00c")
    assert offsets == sorted(set(offsets))
    assert list(queue.read(10, 0)) == list(zip(offsets, [b"a", b"", b"\x00c"], strict=True))


def test_hands_out_each_record_once(queue: Queue):
    put(queue, b"a", b"b")
    assert payloads(queue.read(1, 0)) == [b"a"]
    put(queue, b"c")
    assert payloads(drain(queue)) == [b"b", b"c"]
    assert list(queue.read(10, 0)) == []


def test_max_events_bounds_the_sum(queue: Queue):
    put(queue, b"a", b"b", b"c", events=4)
    assert payloads(queue.read(9, 0)) == [b"a", b"b"]
    assert payloads(queue.read(9, 0)) == [b"c"]


def test_a_record_larger_than_max_events_comes_alone(queue: Queue):
    put(queue, b"small")
    put(queue, b"big", b"bigger", events=1000)
    assert [payloads(queue.read(10, 0)) for _ in range(3)] == [[b"small"], [b"big"], [b"bigger"]]


def test_large_payloads(queue: Queue):
    sent = [bytes([number]) * min(3_000_000, queue.max_bytes) for number in range(3)]
    put(queue, *sent, events=10_000)
    assert payloads(drain(queue)) == sent


def test_read_returns_empty_after_waiting(queue: Queue):
    before = time.monotonic()
    assert list(queue.read(10, 0.05)) == []
    assert time.monotonic() - before >= 0.04


def test_read_wakes_up_when_something_arrives(queue: Queue):
    threading.Timer(0.1, lambda: queue.append(b"a", 1)).start()
    before = time.monotonic()
    assert payloads(queue.read(10, SOON)) == [b"a"]
    assert time.monotonic() - before < SOON / 2


def test_what_is_not_committed_is_read_again(open_queue: Open):
    queue = open_queue()
    offsets = put(queue, b"a", b"b", b"c")
    drain(queue)
    queue.commit(offsets[0])
    queue.close()
    assert list(drain(open_queue())) == list(zip(offsets[1:], [b"b", b"c"], strict=True))


def test_what_is_committed_is_not_read_again(open_queue: Open):
    queue = open_queue()
    offsets = put(queue, b"a", b"b")
    drain(queue)
    queue.commit(offsets[1])
    queue.close()
    again = open_queue()
    assert drain(again) == []
    assert put(again, b"c")[0] > offsets[1]
    assert payloads(drain(again)) == [b"c"]


def test_an_old_commit_takes_nothing_back(open_queue: Open):
    queue = open_queue()
    offsets = put(queue, b"a", b"b", b"c")
    drain(queue)
    queue.commit(offsets[1])
    queue.commit(offsets[0])
    assert queue.lag().events == 1
    queue.close()
    assert payloads(drain(open_queue())) == [b"c"]


def test_what_cannot_be_is_refused(queue: Queue):
    for payload, events, partition in ((b"a", -1, 0), (b"a", 2**32, 0), (b"a", 1, -1), (b"a", 1, queue.partitions)):
        with pytest.raises(InvalidInput):
            queue.append(payload, events, partition)
    if queue.max_bytes < 10_000_000:
        with pytest.raises(InvalidInput, match=f"at most {queue.max_bytes} bytes"):
            queue.append(bytes(queue.max_bytes + 1), 1)
    assert drain(queue) == []


def test_commit_of_unread_records(queue: Queue):
    """Only a consumer of an ordered queue can know, after a crash, that it has stored more than it committed."""
    offsets = put(queue, b"a", b"b", b"c")
    if not queue.ordered:
        queue.commit(offsets[1])
        assert payloads(drain(queue)) == [b"a", b"b", b"c"]
        return
    queue.commit(offsets[1])
    assert queue.lag()[:2] == (1, 1)
    assert payloads(drain(queue)) == [b"c"]


def test_lag_counts_what_is_not_committed(queue: Queue):
    assert queue.lag() == (0, 0, 0)
    offsets = put(queue, b"aaa", b"bb", events=5)
    assert queue.lag()[:2] == (10, 5)
    drain(queue)
    assert queue.lag()[:2] == (10, 5)
    queue.commit(offsets[0])
    assert queue.lag()[:2] == (5, 2)
    queue.commit(offsets[1])
    assert queue.lag() == (0, 0, 0)


def test_lag_has_an_age(queue: Queue):
    put(queue, b"a")
    time.sleep(0.02)
    assert 0.01 < queue.lag().seconds < SOON


def test_lag_survives_reopening(open_queue: Open):
    queue = open_queue()
    offsets = put(queue, b"aaa", b"bb", b"c", events=5)
    drain(queue)
    queue.commit(offsets[0])
    before = queue.lag()
    queue.close()
    after = open_queue().lag()
    assert after[:2] == before[:2] == (10, 3)
    assert after.seconds >= before.seconds


def test_appends_from_many_threads_are_all_kept(queue: Queue):
    results: dict[int, bytes] = {}

    def send(thread: int) -> None:
        for number in range(25):
            payload = b"%d/%d" % (thread, number)
            results[queue.append(payload, 1).result(SOON)] = payload

    threads = [threading.Thread(target=send, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    received: list[Record] = []
    while len(received) < 200 and (batch := queue.read(30, SOON)):
        received.extend(batch)
    for thread in threads:
        thread.join()
    assert received == sorted(results.items())
    for number in range(8):
        own = [payload for _, payload in received if payload.startswith(b"%d/" % number)]
        assert own == [b"%d/%d" % (number, n) for n in range(25)]


def test_many_appends_need_not_wait_for_one_another(queue: Queue):
    offsets = put(queue, *(b"%d" % number for number in range(2000)))
    assert offsets == sorted(set(offsets))
    assert payloads(drain(queue)) == [b"%d" % number for number in range(2000)]


def test_dead_letters_newest_first(queue: Queue):
    queue.dead_letter(b"a", "too odd")
    queue.dead_letter(b"b", "too even")
    letters = queue.dead_letters()
    assert [(letter.payload, letter.reason) for letter in letters] == [(b"b", "too even"), (b"a", "too odd")]
    assert abs(letters[0].at - time.time()) < 60
    assert [letter.payload for letter in queue.dead_letters(limit=1)] == [b"b"]


def test_the_same_dead_letter_twice_is_one(open_queue: Open):
    queue = open_queue()
    queue.dead_letter(b"a", "first")
    queue.dead_letter(b"a", "second")
    queue.close()
    again = open_queue()
    again.dead_letter(b"b", "other")
    again.dead_letter(b"a", "third")
    letters = [(letter.payload, letter.reason) for letter in again.dead_letters()]
    assert letters == [(b"a", "third"), (b"b", "other")]


def test_dead_letters_are_forgotten_up_to_one_and_what_came_back_stays(open_queue: Open):
    queue = open_queue()
    queue.forget_dead_letters(0)
    for payload in (b"a", b"b", b"c"):
        queue.dead_letter(payload, "odd")
    newest, before, _ = queue.dead_letters(None)
    assert newest.id > before.id
    queue.dead_letter(b"a", "odd again")
    queue.forget_dead_letters(before.id)
    queue.close()
    again = open_queue()
    assert [letter.payload for letter in again.dead_letters(None)] == [b"a", b"c"]
    again.forget_dead_letters(again.dead_letters(1)[0].id)
    again.forget_dead_letters(before.id)
    assert again.dead_letters() == []
    again.dead_letter(b"b", "odd")
    assert [letter.payload for letter in again.dead_letters()] == [b"b"]


def test_dead_letters_are_no_records(queue: Queue):
    queue.dead_letter(b"a", "odd")
    assert drain(queue) == []
    assert queue.lag().events == 0


def test_close_finishes_pending_appends(open_queue: Open):
    queue = open_queue()
    futures = [queue.append(b"%d" % number, 1) for number in range(500)]
    queue.close()
    offsets = [future.result(0) for future in futures]
    assert [record.offset for record in drain(open_queue())] == offsets


def test_append_after_close_is_unavailable(queue: Queue):
    queue.close()
    queue.close()
    with pytest.raises(Unavailable):
        queue.append(b"a", 1).result(SOON)


def test_close_ends_a_waiting_read(queue: Queue):
    threading.Timer(0.5, queue.close).start()  # on a busy machine, too, the read has begun by then
    before = time.monotonic()
    assert list(queue.read(10, SOON)) == []
    assert time.monotonic() - before < SOON / 2


def test_a_cancelled_future_harms_nobody(queue: Queue):
    """A web server cancels what it waits for when the client hangs up."""
    futures = [queue.append(b"%d" % number, 1) for number in range(50)]
    cancelled = [future.cancel() for future in futures]
    put(queue, b"last")
    kept = [b"%d" % number for number, gone in enumerate(cancelled) if not gone]
    assert payloads(drain(queue)) == [*kept, b"last"]


Step = tuple[str, int]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 5)),
        st.tuples(st.just("burst"), st.integers(2, 20)),
        st.tuples(st.just("read"), st.integers(1, 12)),
        st.tuples(st.just("commit"), st.integers(0, 30)),
        st.tuples(st.just("reopen"), st.just(0)),
    ),
    max_size=25,
)


class Model:
    """A queue as a list: `log` of (record, events), how many are read, how many are committed."""

    def __init__(self) -> None:
        self.log: list[tuple[Record, int]] = []
        self.read = self.committed = 0

    def expect(self, max_events: int) -> list[Record]:
        end, room = self.read, max_events
        while end < len(self.log) and (end == self.read or self.log[end][1] <= room):
            room -= self.log[end][1]
            end += 1
        batch = [record for record, _ in self.log[self.read : end]]
        self.read = end
        return batch

    def lag(self) -> tuple[int, int]:
        waiting = self.log[self.committed :]
        return sum(events for _, events in waiting), sum(len(record.payload) for record, _ in waiting)


def append(queue: Queue, model: Model, count: int) -> None:
    """`count` records of 1 to 5 events, sent at once."""
    sent = [(b"x" * (len(model.log) + n), 1 + n % 5) for n in range(count)]
    futures = [queue.append(payload, events) for payload, events in sent]
    for future, (payload, events) in zip(futures, sent, strict=True):
        model.log.append((Record(future.result(SOON), payload), events))


def commit(queue: Queue, model: Model, index: int) -> None:
    if index < len(model.log):
        queue.commit(model.log[index][0].offset)
    if index < (len(model.log) if queue.ordered else model.read):
        model.committed = max(model.committed, index + 1)
        model.read = max(model.read, model.committed)


EXAMPLES = {"sqlite": 40, "nats": 20, "kafka": 4}  # opening a queue elsewhere takes its time


def test_behaves_like_a_list(adapter: str):
    @settings(max_examples=EXAMPLES[adapter])
    @given(STEPS)
    def check(steps: list[Step]) -> None:
        with TemporaryDirectory() as directory:
            behave(ADAPTERS[adapter], Path(directory), steps)

    check()


def behave(open_queue: Callable[[Path], Queue], directory: Path, steps: list[Step]) -> None:
    queue, model = open_queue(directory), Model()
    try:
        for name, number in steps:
            if name in ("append", "burst"):
                append(queue, model, number)
            elif name == "read":
                assert list(queue.read(number, 0)) == model.expect(number)
            elif name == "commit":
                commit(queue, model, number)
            else:
                queue.close()
                queue, model.read = open_queue(directory), model.committed
            assert queue.lag()[:2] == model.lag()
    finally:
        queue.close()
