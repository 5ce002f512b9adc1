"""The queue on Kafka: one topic, whose partitions are ours too, and the offsets of one consumer group as positions.

The group keeps positions and assigns nothing: who reads what is agreed elsewhere (`own`), as for every shared queue.
"""

import hashlib
import logging
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence, Set
from concurrent.futures import Future
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dropoff.errors import InvalidInput, Unavailable
from dropoff.queue.base import DeadLetter, Lag, Record, check_append

if TYPE_CHECKING:
    from confluent_kafka import Message, TopicPartition

GROUP = "dropoff"
MOST_BYTES = 900_000
LEAST_RETENTION = 7 * 86_400.0  # Kafka deletes by age, processed or not

_CALL_SECONDS = 5.0
_SLICE_SECONDS = 0.1
_ON_ITS_WAY_SECONDS = 2.0
_BUFFER_BYTES = 32_000_000
_BUFFER_RECORDS = 20_000
_AT_ONCE = 500


class _Entry(NamedTuple):
    """A record as it waits here. `at`: seconds since the epoch, when appended."""

    partition: int
    number: int
    events: int
    payload: bytes
    at: float


class _Mark(NamedTuple):
    """A record that was handed out and is not committed yet."""

    partition: int
    number: int
    events: int
    bytes: int
    at: float


class KafkaQueue:
    """A `Queue` in the topic `name`, made with its partitions if it does not exist; `own` says which of them to read.

    A record is safe once all in-sync replicas have it. An append that gets no answer is repeated for `patience`
    seconds by an idempotent producer. Of partitions that are read elsewhere `lag` knows the number of records; their
    size it takes from those it has seen.
    Raises `InvalidInput` if the topic has another number of partitions, `Unavailable` if Kafka does not answer.
    """

    ordered = False
    max_bytes = MOST_BYTES

    def __init__(
        self,
        servers: Sequence[str],
        name: str,
        *,
        partitions: int = 16,
        replicas: int = 1,
        user: str | None = None,
        password: str | None = None,
        tls: bool = False,
        ca: Path | None = None,
        retention: float = 86_400,
        patience: float = 5.0,
    ) -> None:
        try:
            from confluent_kafka import Consumer, Producer
        except ImportError:
            raise InvalidInput("queue", f"kafka://{','.join(servers)}", "pip install 'dropoff[kafka]'") from None
        self.name, self.partitions = name, partitions
        self._dead = f"{name}-dead"
        self._place = f"kafka://{','.join(servers)}/{name}"
        self._common = _common(servers, user, password, tls, ca)
        self._lock = threading.Lock()  # of what is counted here; never held during a call to Kafka
        self._reading = threading.RLock()  # of the consumer
        self._buffer: deque[_Entry] = deque()
        self._handed: deque[_Mark] = deque()
        self._owned: set[int] = set()
        self._next: dict[int, int] = {}  # of each partition, the number of the next record to come
        self._expected: dict[int, int] = {}  # and of the last that is known to be there
        self._committed: dict[int, int] = {}
        self._seen = [0, 0, 0]  # records, events, bytes: for estimates
        self._backlog = 0
        self._watch: threading.Thread | None = None
        self._ended = threading.Event()
        self._poller = threading.Thread(target=self._poll, name="kafka", daemon=True)
        with self._told(), ExitStack() as opened:
            self._make(replicas, max(retention, LEAST_RETENTION))
            self._consumer = opened.enter_context(closing(Consumer(self._common | _CONSUMER)))
            self._producer = Producer(self._common | _producer(patience))
            self._poller.start()
            opened.pop_all()

    def append(self, payload: bytes, events: int, partition: int = 0) -> Future[int]:
        """Append one payload that stands for `events` events; never waits for Kafka.

        The future gives its offset once all in-sync replicas have it, or raises `Unavailable`. It cannot be cancelled.
        """
        check_append(self, payload, events, partition)
        future: Future[int] = Future()
        future.set_running_or_notify_cancel()

        def delivered(error: object, message: "Message") -> None:
            if error is not None:
                future.set_exception(Unavailable(f"{self._place}: {error}"))
                return
            number = message.offset() or 0
            with self._lock:
                self._count(events, len(payload))
                self._expected[partition] = max(self._expected.get(partition, -1), number)
            future.set_result(self._offset(partition, number))

        if self._closed:
            future.set_exception(Unavailable("The queue is closed"))
            return future
        try:
            with self._told():
                self._producer.produce(
                    self.name, payload, key=b"%d" % partition, partition=partition, on_delivery=delivered,
                    headers={"events": b"%d" % events},
                )  # fmt: skip
        except Unavailable as error:  # too much is on its way already
            future.set_exception(error)
        return future

    def own(self, partitions: Set[int]) -> Set[int]:
        """Read these partitions and no others from now on. Returns those given up whose records are still in work."""
        from confluent_kafka import TopicPartition

        with self._reading, self._told():
            gone, new = self._owned - partitions, sorted(partitions - self._owned)
            if gone:
                self._consumer.incremental_unassign([TopicPartition(self.name, number) for number in gone])
                self._owned -= gone
                self._buffer = deque(entry for entry in self._buffer if entry.partition in self._owned)
            for number, begin, end in self._where(new):
                self._consumer.incremental_assign([TopicPartition(self.name, number, begin)])
                self._owned.add(number)
                with self._lock:
                    self._next[number] = self._committed[number] = begin
                    self._expected[number] = max(self._expected.get(number, -1), end - 1)
        with self._lock:
            return {mark.partition for mark in self._handed} - partitions

    def read(self, max_events: int, wait: float) -> Sequence[Record]:
        """The next unread records of the partitions read; at least one if there is any.

        Waits up to `wait` seconds for the first; what is known to be on its way is waited for in any case.
        """
        self._check_open()
        begin = time.monotonic()
        while not self._buffer and not self._closed:
            waited = time.monotonic() - begin
            if waited >= wait and (waited >= _ON_ITS_WAY_SECONDS or not self._behind()):
                break
            with self._reading, self._told():
                self._fetch(_SLICE_SECONDS)
        with self._reading, self._lock:
            return [] if self._closed else self._hand_out(max_events)

    def commit(self, offset: int) -> None:
        """The record with this offset and all handed out before it are safe elsewhere.

        Takes effect at once and reaches Kafka soon after, or with `close`. An offset that is not one of a record in
        work changes nothing.
        """
        self._check_open()
        with self._lock:
            if not any(self._offset(mark.partition, mark.number) == offset for mark in self._handed):
                return
            moved = self._commit(offset)
        with self._told():
            self._consumer.commit(offsets=self._positions(moved), asynchronous=True)

    def lag(self) -> Lag:
        """What waits to be committed, in all partitions. Asks Kafka."""
        with self._reading, self._told():
            ends = {number: self._end(number) for number in range(self.partitions)}
            with self._lock:
                self._expected = {number: end - 1 for number, end in ends.items()}
            patience = time.monotonic() + _ON_ITS_WAY_SECONDS
            while self._behind() and not self._full and time.monotonic() < patience:
                self._fetch(_SLICE_SECONDS)
            others = [number for number in range(self.partitions) if number not in self._owned]
            begins = {number: begin for number, begin, _ in self._where(others)}
            with self._lock:
                rest = sum(ends[n] - min(ends[n], self._next[n]) for n in self._owned)
                rest += sum(ends[n] - begins[n] for n in others)
                lag = self._measured(rest)
        self._backlog = lag.bytes
        return lag

    def backlog(self) -> int:
        """The bytes that wait, as of about a second ago; from the first call on they are looked after."""
        if self._watch is None:
            self._watch = threading.Thread(target=self._look, name="kafka-backlog", daemon=True)
            self._watch.start()
        return self._backlog

    def dead_letter(self, payload: bytes, reason: str) -> None:
        """Set `payload` aside, durably; the same payload again takes its place. Raises `Unavailable`."""
        done: Future[None] = Future()

        def delivered(error: object, _: "Message") -> None:
            done.set_exception(Unavailable(f"{self._place}: {error}")) if error else done.set_result(None)

        self._check_open()
        headers: dict[str, str | bytes | None] = {"reason": reason[:10_000].encode()}
        with self._told():
            self._producer.produce(self._dead, payload, partition=0, headers=headers, on_delivery=delivered)
        done.result()

    def dead_letters(self, limit: int | None = 100) -> Sequence[DeadLetter]:
        """The latest dead letters, newest first; None: all. Raises `Unavailable`."""
        found: dict[bytes, DeadLetter] = {}
        with self._told():
            for message in self._dead_messages():
                payload = message.value() or b""
                reason = _bytes(dict(message.headers() or []).get("reason")).decode()
                digest = hashlib.sha256(payload).digest()
                found.pop(digest, None)
                found[digest] = DeadLetter((message.offset() or 0) + 1, _at(message), reason, payload)
        return list(reversed(found.values()))[:limit]

    def forget_dead_letters(self, last: int) -> None:
        """Forget the dead letters up to the id `last`: they stay in their topic, behind the position of the group."""
        from confluent_kafka import TopicPartition

        place = TopicPartition(self._dead, 0)
        with self._reading, self._told():
            if last > self._consumer.committed([place], timeout=_CALL_SECONDS)[0].offset:
                self._consumer.commit(offsets=[TopicPartition(self._dead, 0, last)], asynchronous=False)

    def close(self) -> None:
        """Finish pending appends, save the positions and close the connections. Idempotent."""
        if self._closed:
            return
        self._ended.set()
        with self._reading:
            self._producer.flush(2 * _CALL_SECONDS)
            self._poller.join()
            with suppress(Unavailable), self._told():  # positions that cannot be saved now: their records come again
                if self._owned:
                    self._consumer.commit(offsets=self._positions(self._owned), asynchronous=False)
            self._consumer.close()

    # Under the locks

    @property
    def _closed(self) -> bool:
        return self._ended.is_set()

    def _check_open(self) -> None:
        if self._closed:
            raise Unavailable("The queue is closed")

    def _offset(self, partition: int, number: int) -> int:
        """One number for both, rising within the partition."""
        return number * self.partitions + partition

    def _count(self, events: int, size: int) -> None:
        self._seen = [old + new for old, new in zip(self._seen, (1, events, size), strict=True)]

    @property
    def _full(self) -> bool:
        return len(self._buffer) >= _BUFFER_RECORDS or sum(len(e.payload) for e in self._buffer) >= _BUFFER_BYTES

    def _behind(self) -> bool:
        with self._lock:
            return any(self._next[number] <= self._expected.get(number, -1) for number in self._owned)

    def _fetch(self, seconds: float) -> None:
        """Take what has come into the buffer."""
        for message in self._consumer.consume(_AT_ONCE, seconds):
            number = message.partition()
            if message.error() is not None or number not in self._owned or number is None:
                continue
            with self._lock:
                self._next[number] = (message.offset() or 0) + 1
            events = dict(message.headers() or []).get("events")  # somebody else's message has none, and is no record
            if events is not None:
                self._keep(number, message, int(_bytes(events)))

    def _keep(self, partition: int, message: "Message", events: int) -> None:
        payload = message.value() or b""
        self._buffer.append(_Entry(partition, message.offset() or 0, events, payload, _at(message)))
        with self._lock:
            self._count(events, len(payload))

    def _hand_out(self, max_events: int) -> list[Record]:
        records: list[Record] = []
        room = max_events
        while self._buffer and (not records or self._buffer[0].events <= room):
            entry = self._buffer.popleft()
            room -= entry.events
            size = len(entry.payload)
            self._handed.append(_Mark(entry.partition, entry.number, entry.events, size, entry.at))
            records.append(Record(self._offset(entry.partition, entry.number), entry.payload))
        return records

    def _commit(self, offset: int) -> set[int]:
        """Forget what was handed out up to there; the partitions it was of."""
        moved = set()
        while self._handed:
            mark = self._handed.popleft()
            self._committed[mark.partition] = max(self._committed.get(mark.partition, 0), mark.number + 1)
            moved.add(mark.partition)
            if self._offset(mark.partition, mark.number) == offset:
                break
        return moved

    def _measured(self, rest: int) -> Lag:
        """What is known of, and `rest` records more."""
        known = [(m.events, m.bytes, m.at) for m in self._handed]
        known += [(e.events, len(e.payload), e.at) for e in self._buffer]
        records, events, size = self._seen
        each = (events / records, size / records) if records else (1.0, 1.0)
        seconds = max((time.time() - at for _, _, at in known), default=0.0)
        return Lag(
            sum(events for events, _, _ in known) + round(rest * each[0]),
            sum(size for _, size, _ in known) + round(rest * each[1]),
            max(0.0, seconds),
        )

    # Calls to Kafka

    def _positions(self, partitions: Set[int]) -> "list[TopicPartition]":
        from confluent_kafka import TopicPartition

        return [TopicPartition(self.name, number, self._committed[number]) for number in partitions]

    def _where(self, partitions: Sequence[int]) -> Iterator[tuple[int, int, int]]:
        """Of each partition, where the group is in it, and where it ends."""
        from confluent_kafka import TopicPartition

        wanted = [TopicPartition(self.name, number) for number in partitions]
        for place in self._consumer.committed(wanted, timeout=_CALL_SECONDS) if wanted else ():
            low, high = self._consumer.get_watermark_offsets(place, timeout=_CALL_SECONDS)
            yield place.partition, max(low, min(place.offset, high)), high

    def _end(self, partition: int) -> int:
        from confluent_kafka import TopicPartition

        return self._consumer.get_watermark_offsets(TopicPartition(self.name, partition), timeout=_CALL_SECONDS)[1]

    def _dead_messages(self) -> "Iterator[Message]":
        """Those behind the position of the group, in their order."""
        from confluent_kafka import Consumer, TopicPartition

        consumer = Consumer(self._common | _CONSUMER)
        try:
            [place] = consumer.committed([TopicPartition(self._dead, 0)], timeout=_CALL_SECONDS)
            begin, end = consumer.get_watermark_offsets(TopicPartition(self._dead, 0), timeout=_CALL_SECONDS)
            next_one, patience = max(begin, place.offset), time.monotonic() + _CALL_SECONDS
            consumer.assign([TopicPartition(self._dead, 0, next_one)])
            while next_one < end and time.monotonic() < patience:
                for message in consumer.consume(_AT_ONCE, _SLICE_SECONDS):
                    if message.error() is None:
                        next_one = (message.offset() or 0) + 1
                        yield message
        finally:
            consumer.close()

    def _make(self, replicas: int, retention: float) -> None:
        """Have the topics, with as many partitions as they should have."""
        from confluent_kafka import KafkaError, KafkaException
        from confluent_kafka.admin import AdminClient
        from confluent_kafka.cimpl import NewTopic

        admin = AdminClient(self._common)
        dead = self._dead
        safe = {"min.insync.replicas": str(max(1, replicas - 1))}
        wanted = {
            self.name: NewTopic(
                self.name, self.partitions, replicas, config=safe | {"retention.ms": str(int(retention * 1000))}
            ),
            dead: NewTopic(dead, 1, replicas, config=safe | {"retention.ms": "-1"}),
        }
        there = admin.list_topics(timeout=_CALL_SECONDS).topics
        missing = [topic for name, topic in wanted.items() if name not in there]
        for made in admin.create_topics(missing, request_timeout=_CALL_SECONDS).values() if missing else ():
            try:
                made.result()
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # somebody was faster
                    raise
        found = len(admin.list_topics(self.name, timeout=_CALL_SECONDS).topics[self.name].partitions)
        if found != self.partitions:
            raise InvalidInput("queue_partitions", self.partitions, f"{found}, with which {self.name!r} was made")

    def _poll(self) -> None:
        """Hear what became of appends."""
        while not self._closed or len(self._producer):
            self._producer.poll(_SLICE_SECONDS)

    def _look(self) -> None:
        while not self._ended.wait(1.0):
            with suppress(Unavailable):
                self.lag()

    @contextmanager
    def _told(self) -> Iterator[None]:
        from confluent_kafka import KafkaException

        try:
            yield
        except (KafkaException, BufferError, RuntimeError) as error:  # a full producer, a closed consumer
            raise Unavailable(f"{self._place}: {error}") from error


def _common(
    servers: Sequence[str], user: str | None, password: str | None, tls: bool, ca: Path | None
) -> dict[str, Any]:
    quiet = logging.getLogger("dropoff.kafka")
    quiet.addHandler(logging.NullHandler())
    quiet.propagate = False
    common: dict[str, Any] = {
        "bootstrap.servers": ",".join(servers), "client.id": "dropoff", "error_cb": lambda _: None, "logger": quiet,
        "socket.connection.setup.timeout.ms": 5000,
    }  # fmt: skip
    if user is not None:
        common |= {"sasl.mechanism": "PLAIN", "sasl.username": user, "sasl.password": password or ""}
    if ca is not None:
        common["ssl.ca.location"] = str(ca)
    return common | {"security.protocol": f"{'SASL_' if user is not None else ''}{'SSL' if tls else 'PLAINTEXT'}"}


def _producer(patience: float) -> dict[str, Any]:
    milliseconds = int(patience * 1000)
    return {
        "enable.idempotence": True, "acks": "all", "linger.ms": 2, "delivery.timeout.ms": milliseconds,
        "request.timeout.ms": milliseconds // 2,
    }  # fmt: skip


_CONSUMER: dict[str, Any] = {
    "group.id": GROUP, "enable.auto.commit": False, "enable.auto.offset.store": False,
    "auto.offset.reset": "earliest", "queued.max.messages.kbytes": 16_384, "fetch.wait.max.ms": 100,
}  # fmt: skip


def _at(message: "Message") -> float:
    return message.timestamp()[1] / 1000


def _bytes(value: str | bytes | None) -> bytes:
    return value if isinstance(value, bytes) else (value or "").encode()
