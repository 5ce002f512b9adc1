"""The queue on NATS JetStream: one stream, a subject for each partition, read from positions that are kept beside it.

Appends that arrive while a round of messages is on its way form the next round: one message for each partition, with
the payloads joined and their shape in a header. The position of a partition is ours, not a consumer's: consumers live
as long as a reader, acknowledge nothing, and begin where the position says. So nothing has to time out before the
records of a killed worker are handed out again, and a long batch is not taken for a lost one.
"""

import asyncio
import hashlib
import json
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from concurrent.futures import Future
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

from dropoff.broker import Broker, Place, entries
from dropoff.errors import InvalidInput, Unavailable
from dropoff.queue.base import DeadLetter, Lag, Record, check_append

if TYPE_CHECKING:
    from nats.aio.msg import Msg
    from nats.js.api import StreamInfo
    from nats.js.kv import KeyValue

SHAPE = "Dropoff-Shape"
"""The header with the size and the events of each record of a message: `12:1,345:20`."""
RECORDS = 1024
"""The most records of a message; an offset is the number of its message in the stream times this, plus its own."""
HEADROOM = 32_768  # for the headers, which count as payload, too
MOST_BYTES = 500_000
LEAST_BYTES = 250_000  # an event with its settled facts, or a refused one, written as JSON

_PULL = 16  # messages asked for at once, of at most MOST_BYTES
_PULL_SECONDS = 10.0
_IDLE_SECONDS = 60.0  # after which the server forgets a consumer
_BUFFER_BYTES = 4_000_000
_BUFFER_RECORDS = 20_000
_ON_ITS_WAY_SECONDS = 2.0
_TEND_SECONDS = 0.5
_TRIM_SECONDS = 3600.0
_TRY_SECONDS = 2.0
_ANOTHER_REVISION = 10071


class _Append(NamedTuple):
    payload: bytes
    events: int
    future: Future[int]


class _Entry(NamedTuple):
    """A record as it waits here; `payload` is None where only its size was asked for. `at`: seconds, when appended."""

    offset: int
    events: int
    size: int
    at: float
    payload: bytes | None


class NatsQueue:
    """A `Queue` in the stream `name`, made with its partitions if it does not exist; `own` says which of them to read.

    A record is safe once the stream has it: from a crash of the server, and with three `replicas` from the loss of
    one. Committed records are kept for `retention` seconds. An append that gets no answer is repeated for `patience`
    seconds under the same message id, which the stream takes once.
    Raises `InvalidInput` if the stream has another number of partitions, `Unavailable` if NATS does not answer.
    """

    ordered = False

    def __init__(
        self,
        place: Place,
        name: str,
        *,
        partitions: int = 16,
        replicas: int = 1,
        retention: float = 86_400,
        patience: float = 5.0,
    ) -> None:
        self.name, self.partitions = name, partitions
        self._replicas, self._retention, self._patience = replicas, retention, patience
        # Never any I/O while holding this lock: `append` takes it.
        self.lock = threading.Lock()
        self.arrived = threading.Condition(self.lock)
        self._pending: dict[int, deque[_Append]] = {number: deque() for number in range(partitions)}
        self._woken = self._closed = self._watched = False
        self._lanes: dict[int, _Lane] = {}  # replaced, never changed: other threads look at it
        self._gauges: dict[int, _Lane] = {}
        self._handed: deque[tuple[_Entry, _Lane]] = deque()
        self._turn = self._backlog = 0
        self.broker = Broker(place)
        try:
            self.broker.call(self._open())
        except BaseException:
            self.broker.close()
            raise
        self._tasks = [self.broker.start(work) for work in (self._write(), self._tend())]

    def append(self, payload: bytes, events: int, partition: int = 0) -> Future[int]:
        """Append one payload that stands for `events` events; never waits for the server.

        The future gives its offset once the stream has it, or raises `Unavailable`. Cancelling it before its message
        is sent withdraws the payload.
        """
        check_append(self, payload, events, partition)
        future: Future[int] = Future()
        with self.lock:
            if self._closed:
                future.set_exception(Unavailable("The queue is closed"))
                return future
            self._pending[partition].append(_Append(payload, events, future))
            wake, self._woken = not self._woken, True
        if wake:
            self.broker.soon(self._wake.set)
        return future

    def own(self, partitions: Set[int]) -> Set[int]:
        """Read these partitions and no others from now on. Returns those given up whose records are still in work."""
        self.broker.call(self._own(partitions))
        with self.lock:
            return {lane.partition for _, lane in self._handed} - partitions

    def read(self, max_events: int, wait: float) -> Sequence[Record]:
        """The next unread records of the partitions read, in turn; at least one record if there is any.

        Waits up to `wait` seconds for the first; what is known to be on its way is waited for in any case.
        """
        with self.arrived:
            self._check_open()
            self.arrived.wait_for(self._known, _ON_ITS_WAY_SECONDS)
            self.arrived.wait_for(self._readable, wait)
            if self._closed:
                return []
            records, relieved = self._hand_out(max_events)
        for lane in relieved:
            self.broker.start(lane.ask())
        return records

    def commit(self, offset: int) -> None:
        """The record with this offset and all handed out before it are safe elsewhere.

        Takes effect at once and reaches the server soon after, or with `close`; a crash in between makes those records
        be read again. An offset that is not one of a record in work changes nothing.
        """
        with self.lock:
            self._check_open()
            if not any(entry.offset == offset for entry, _ in self._handed):
                return
            lanes = {lane.partition: lane for lane in self._commit(offset)}
        for lane in lanes.values():
            self.broker.start(lane.save())

    def lag(self) -> Lag:
        """What waits to be committed, in all partitions: exact unless very much waits. Asks the server."""
        return self.broker.call(self._measure())

    def backlog(self) -> int:
        """The bytes that wait, as of about a second ago; from the first call on they are looked after."""
        self._watched = True
        return self._backlog

    def dead_letter(self, payload: bytes, reason: str) -> None:
        """Set `payload` aside, durably; the same payload again takes its place. Raises `Unavailable`."""
        about = json.dumps({"at": time.time(), "reason": reason[:10_000]}).encode()
        key = f"dead.{hashlib.sha256(payload).hexdigest()}"
        self.broker.call(self.bucket.put(key, about + b"\n" + payload))

    def dead_letters(self, limit: int | None = 100) -> Sequence[DeadLetter]:
        """The latest dead letters, newest first; None: all. Raises `Unavailable`."""
        found = self.broker.call(entries(self.bucket, "dead.>"))
        found.sort(key=lambda entry: entry.revision or 0, reverse=True)
        return [_dead_letter(entry.revision or 0, entry.value or b"") for entry in found[:limit]]

    def forget_dead_letters(self, last: int) -> None:
        """Forget the dead letters up to the id `last`. Raises `Unavailable`."""
        self.broker.call(self._forget_dead_letters(last))

    def close(self) -> None:
        """Finish pending appends, save the positions and close the connection. Idempotent."""
        with self.lock:
            closed, self._closed = self._closed, True
            self.arrived.notify_all()
        if closed:
            return
        self.broker.soon(self._wake.set)
        writing, tending = self._tasks
        with suppress(TimeoutError):
            writing.result(2 * self._patience)
        tending.cancel()
        with suppress(Unavailable):
            self.broker.call(self._give_up(self._lanes.values()))
        self.broker.close()
        for append in self._waiting():
            append.future.set_exception(Unavailable("The queue is closed"))

    # On any thread, under the lock

    def _check_open(self) -> None:
        if self._closed:
            raise Unavailable("The queue is closed")

    def _readable(self) -> bool:
        return self._closed or any(lane.buffer for lane in self._lanes.values())

    def _known(self) -> bool:
        return self._readable() or not any(lane.behind for lane in self._lanes.values())

    def _hand_out(self, max_events: int) -> tuple[list[Record], list["_Lane"]]:
        """Records, from another lane first each time; and the lanes that have room again."""
        records: list[Record] = []
        relieved = []
        room = max_events
        lanes = list(self._lanes.values())
        self._turn += 1
        for index in range(len(lanes)):
            lane = lanes[(self._turn + index) % len(lanes)]
            while lane.buffer and (not records or lane.buffer[0].events <= room):
                entry = lane.take()
                room -= entry.events
                self._handed.append((entry._replace(payload=None), lane))
                records.append(Record(entry.offset, entry.payload or b""))
            if not lane.asked:
                relieved.append(lane)
        return records, relieved

    def _commit(self, offset: int) -> Iterator["_Lane"]:
        while self._handed:
            entry, lane = self._handed.popleft()
            lane.commit(entry)
            yield lane
            if entry.offset == offset:
                return

    def _take(self) -> list[tuple[int, list[_Append]]]:
        """A message's worth of appends of each partition that has any."""
        with self.lock:
            groups = [(number, _group(waiting, self.max_bytes)) for number, waiting in self._pending.items() if waiting]
            self._woken = any(self._pending.values())
            if not self._woken:
                self._wake.clear()
        return [(number, group) for number, group in groups if group]

    def _waiting(self) -> Iterator[_Append]:
        for waiting in self._pending.values():
            while waiting:
                yield waiting.popleft()

    # On the connection's loop

    async def _open(self) -> None:
        self._wake = asyncio.Event()
        taken = self.broker.connection.max_payload
        if taken < LEAST_BYTES + HEADROOM:
            raise InvalidInput(f"max_payload of {self.broker.place!r}", taken, f"at least {LEAST_BYTES + HEADROOM}")
        self.max_bytes = min(taken - HEADROOM, MOST_BYTES)
        info = await self._made()
        self.made = str(info.created)
        found = len(info.config.subjects or ())
        if found != self.partitions:
            raise InvalidInput("queue_partitions", self.partitions, f"{found}, with which {self.name!r} was made")
        self.bucket: KeyValue = await self.broker.bucket(f"{self.name}-queue", self._replicas)

    async def _made(self) -> "StreamInfo":
        from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
        from nats.js.errors import BadRequestError, NotFoundError

        wanted = StreamConfig(
            name=self.name, subjects=[f"{self.name}.{number}" for number in range(self.partitions)],
            retention=RetentionPolicy.LIMITS, storage=StorageType.FILE, num_replicas=self._replicas,
            # What does not fit is refused, never what is there dropped; only what was committed is deleted.
            discard=DiscardPolicy.NEW, duplicate_window=120,
        )  # fmt: skip
        try:
            return await self.broker.stream.stream_info(self.name)
        except NotFoundError:
            with suppress(BadRequestError):  # somebody was faster, perhaps with another number of partitions
                return await self.broker.stream.add_stream(wanted)
            return await self.broker.stream.stream_info(self.name)

    async def _own(self, partitions: Set[int]) -> None:
        gone = [lane for number, lane in self._lanes.items() if number not in partitions]
        self._lanes = {number: lane for number, lane in self._lanes.items() if number in partitions}
        await self._give_up(gone)
        await asyncio.gather(*(self._begin(number) for number in partitions - self._lanes.keys()))

    async def _begin(self, partition: int) -> None:
        lane = _Lane(self, partition)
        await lane.start()
        self._lanes = {**self._lanes, partition: lane}
        if partition in self._gauges:
            await self._gauges.pop(partition).end()

    async def _give_up(self, lanes: Iterable["_Lane"]) -> None:
        await asyncio.gather(*(lane.end() for lane in lanes), *(lane.save() for lane in lanes))

    async def _write(self) -> None:
        """One round of messages after the other, until closed and nothing is pending."""
        while not self._closed or any(self._pending.values()):
            await self._wake.wait()
            await asyncio.gather(*(self._publish(number, group) for number, group in self._take()))

    async def _publish(self, partition: int, group: Sequence[_Append]) -> None:
        body = b"".join(append.payload for append in group)
        shape = ",".join(f"{len(append.payload)}:{append.events}" for append in group)
        headers = {"Nats-Msg-Id": uuid4().hex, SHAPE: shape}
        try:
            number = await self._repeat(f"{self.name}.{partition}", body, headers)
        except Exception as error:  # whatever it is, the writer has to live: the next message may succeed
            for append in group:
                append.future.set_exception(Unavailable(f"The queue could not be written: {_text(error)}"))
            return
        lane = self._lanes.get(partition) or self._gauges.get(partition)
        if lane:
            lane.expect(number)
        for index, append in enumerate(group):
            append.future.set_result(number * RECORDS + index)

    async def _repeat(self, subject: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Publish until the stream says that it has the message; its number there."""
        from nats.errors import Error

        end = time.monotonic() + self._patience
        while True:
            try:
                left = min(_TRY_SECONDS, max(0.1, end - time.monotonic()))
                return (await self.broker.stream.publish(subject, body, left, headers=dict(headers))).seq
            except (Error, TimeoutError, OSError):
                if time.monotonic() >= end:
                    raise
                await asyncio.sleep(0.1)

    async def _tend(self) -> None:
        """Begin anew what a lost connection or server has ended, save what could not be saved, delete what is old."""
        trim_due = time.monotonic()
        while True:
            await asyncio.sleep(_TEND_SECONDS)
            if not self.broker.connected:
                continue
            with suppress(Exception):  # it is tried again
                await asyncio.gather(*(lane.tend() for lane in self._all()))
                if self._watched:
                    await self._measure()
                if time.monotonic() >= trim_due:
                    await self._trim()
                    trim_due = time.monotonic() + _TRIM_SECONDS

    async def _measure(self) -> Lag:
        """Have gauges for the partitions that are not read here, and wait a moment for what is on its way."""
        others = [number for number in range(self.partitions) if number not in self._lanes]
        for number in others:
            self._gauges.setdefault(number, _Lane(self, number, gauge=True))
        await asyncio.gather(*(self._gauges[number].follow() for number in others))
        end = time.monotonic() + _ON_ITS_WAY_SECONDS
        while any(lane.behind for lane in self._all()) and time.monotonic() < end:
            await asyncio.sleep(0.002)
        with self.lock:
            lags = [lane.lag(time.time()) for lane in self._all()]
        events, sizes, seconds = zip(*lags, strict=True)
        self._backlog = sum(sizes)
        return Lag(sum(events), sum(sizes), max(seconds))

    def _all(self) -> "list[_Lane]":
        """A lane or a gauge of each partition, as far as there are."""
        return list({**self._gauges, **self._lanes}.values())

    async def _forget_dead_letters(self, last: int) -> None:
        from nats.js.errors import APIError

        for entry in await entries(self.bucket, "dead.>"):
            if (entry.revision or 0) <= last:
                try:
                    await self.bucket.delete(entry.key, last=entry.revision)
                except APIError as error:
                    if error.err_code != _ANOTHER_REVISION:  # it came back meanwhile: that one stays
                        raise

    async def _trim(self) -> None:
        """Delete the committed records of the partitions read here that are older than `retention`."""
        from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

        since = datetime.now(UTC) - timedelta(seconds=self._retention)
        search = ConsumerConfig(
            deliver_policy=DeliverPolicy.BY_START_TIME, opt_start_time=since, ack_policy=AckPolicy.NONE,
            inactive_threshold=1, mem_storage=True, headers_only=True,
        )  # fmt: skip
        found = await self.broker.stream.add_consumer(self.name, search)
        first = (found.delivered.stream_seq if found.delivered else 0) + 1
        for lane in self._lanes.values():
            keep_from = min(first, lane.position // RECORDS)
            if keep_from > 1:
                await self.broker.stream.purge_stream(self.name, seq=keep_from, subject=lane.subject)


class _Lane:
    """One partition as it is read, or as a gauge that looks at nothing but sizes, from its position on.

    Its coroutines run on the connection's loop; the rest runs under the queue's lock.
    """

    def __init__(self, queue: NatsQueue, partition: int, *, gauge: bool = False) -> None:
        self.partition, self.subject = partition, f"{queue.name}.{partition}"
        self.position = self._saved = self._revision = 0
        self.buffer: deque[_Entry] = deque()
        self._queue, self._broker, self._gauge = queue, queue.broker, gauge
        self._handed: deque[tuple[int, float]] = deque()  # offset and time of what is handed out
        self._events = self._bytes = self._buffered = 0
        self._cursor = 0  # the last message that came
        self._remaining = self._expected = 0
        self.asked = self._delivered = 0
        self.asked_at = 0.0
        self._generation = -1
        self._consumer = self._inbox = ""
        self._subscription: Any = None
        self._over = False
        self._saving = asyncio.Lock()

    @property
    def behind(self) -> bool:
        """Something is known to be in the stream that has not come yet, though there is room for it."""
        return not self._full and (self._remaining > 0 or self._cursor < self._expected)

    @property
    def _stale(self) -> bool:
        """Nothing more can come: the connection was another one, or the server owes an answer."""
        silent = self.asked > 0 and time.monotonic() - self.asked_at > _PULL_SECONDS + 2
        return self._subscription is None or self._generation != self._broker.generation or silent

    @property
    def _full(self) -> bool:
        return self._buffered >= _BUFFER_BYTES or len(self.buffer) >= _BUFFER_RECORDS

    def expect(self, message: int) -> None:
        """This message is in the stream."""
        self._expected = max(self._expected, message)

    def take(self) -> _Entry:
        """Hand out the next record."""
        entry = self.buffer.popleft()
        self._buffered -= 0 if self._gauge else entry.size
        self._handed.append((entry.offset, entry.at))
        return entry

    def commit(self, entry: _Entry) -> None:
        """A record that was handed out is safe elsewhere."""
        self.position = max(self.position, entry.offset)
        self._events -= entry.events
        self._bytes -= entry.size
        while self._handed and self._handed[0][0] <= entry.offset:
            self._handed.popleft()

    def lag(self, now: float) -> Lag:
        """What waits. Of what there is no room for here only the number of messages is known."""
        known = len(self._handed) + len(self.buffer)
        if not known:
            return Lag(self._remaining, self._remaining, 0.0)
        oldest = self._handed[0][1] if self._handed else self.buffer[0].at
        times = 1 + self._remaining / known
        return Lag(round(times * self._events), round(times * self._bytes), max(0.0, now - oldest))

    async def start(self) -> None:
        """Begin behind the last message that came, at first behind the position, with a new consumer."""
        from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

        await self._stop()
        if self._over:
            return
        self._generation = self._broker.generation
        if not self._cursor:
            await self._load()
            self._cursor = max(0, self.position // RECORDS - 1)
        # After a power cut the stream may end before the position: what comes next must not be skipped.
        last = (await self._broker.stream.stream_info(self._queue.name)).state.last_seq
        self._cursor = min(self._cursor, last)
        self.position = min(self.position, last * RECORDS + RECORDS - 1)
        config = ConsumerConfig(
            filter_subject=self.subject, ack_policy=AckPolicy.NONE, deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=self._cursor + 1, inactive_threshold=_IDLE_SECONDS, mem_storage=True,
            headers_only=self._gauge or None,
        )  # fmt: skip
        info = await self._broker.stream.add_consumer(self._queue.name, config)
        self._consumer, self._inbox = info.name, self._broker.connection.new_inbox()
        self._delivered, self.asked, self.asked_at = 0, 0, time.monotonic()
        self._remaining = info.num_pending or 0
        self._subscription = await self._broker.connection.subscribe(self._inbox, cb=self._came)
        await self.ask()

    async def end(self) -> None:
        """Read no more, for good."""
        self._over = True
        await self._stop()

    async def _stop(self) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription is not None and self._broker.connected:
            with suppress(Exception):  # what is not deleted now the server forgets by itself
                await subscription.unsubscribe()
                await self._broker.stream.delete_consumer(self._queue.name, self._consumer)

    async def tend(self) -> None:
        """Begin anew where that is needed, and keep what could not be kept."""
        if self._stale:
            await self.start()
        await self.save()

    async def follow(self) -> None:
        """As a gauge: forget what others have committed by now."""
        if self._cursor:
            await self._load()
        with self._queue.lock:
            while self.buffer and self.buffer[0].offset <= self.position:
                self.commit(self.take())
        passed = self.position // RECORDS - 1 > self._cursor
        if passed:
            self._cursor = self.position // RECORDS - 1
        if passed or self._stale:
            await self.start()
        await self.ask()

    async def ask(self) -> None:
        """Ask for the next messages, unless there is no room for them."""
        if self.asked or self._full or self._subscription is None:
            return
        if time.monotonic() - self.asked_at > _IDLE_SECONDS / 2:
            self._generation = -1  # the server may have forgotten the consumer: begin anew
            return
        self.asked, self.asked_at = _PULL, time.monotonic()
        request = json.dumps({"batch": _PULL, "expires": int(_PULL_SECONDS * 1e9)}).encode()
        to = f"$JS.API.CONSUMER.MSG.NEXT.{self._queue.name}.{self._consumer}"
        await self._broker.connection.publish(to, request, self._inbox)

    async def save(self) -> None:
        """Keep the position, unless somebody who took over has moved it further."""
        from nats.js.errors import KeyWrongLastSequenceError

        async with self._saving:
            position = self.position
            if self._gauge or position <= self._saved:
                return
            value = json.dumps({"made": self._queue.made, "offset": position}).encode()
            try:
                self._revision = await self._queue.bucket.update(self._key, value, self._revision)
                self._saved = position
            except KeyWrongLastSequenceError:
                await self._load()

    @property
    def _key(self) -> str:
        return f"position.{self.partition}"

    async def _load(self) -> None:
        """The position that was saved, if it is one of this very stream and ahead of what is known here."""
        from nats.js.errors import KeyNotFoundError

        with suppress(KeyNotFoundError):
            entry = await self._queue.bucket.get(self._key)
            self._revision = entry.revision or 0
            found = json.loads(entry.value or b"")
            if found["made"] == self._queue.made:
                self._saved = found["offset"]
                self.position = max(self.position, self._saved)

    async def _came(self, message: "Msg") -> None:
        """A message of the stream, or a word about the request for some."""
        status = message.headers and message.headers.get("Status")
        if status:
            if message.subject == self._inbox:
                self.asked = 0
                if status in ("404", "408"):  # no more came in time
                    await self.ask()
                else:
                    self._generation = -1
            return
        about = message.metadata
        if about.consumer != self._consumer:
            return
        if about.sequence.consumer != self._delivered + 1:  # one was lost on the way
            self._generation = -1
            return
        self._delivered += 1
        self.asked -= 1
        self._receive(about.sequence.stream, about.num_pending, message, about.timestamp.timestamp())
        await self.ask()

    def _receive(self, number: int, remaining: int, message: "Msg", at: float) -> None:
        start = 0
        with self._queue.arrived:
            if number <= self._cursor:
                return  # it has come already, over another consumer
            self._cursor, self._remaining = number, remaining
            shape = (message.headers or {}).get(SHAPE)  # somebody else's message has none, and is no record
            for index, record in enumerate(shape.split(",") if shape else ()):
                size, events = map(int, record.split(":"))
                payload = None if self._gauge else message.data[start : start + size]
                start += size
                if number * RECORDS + index > self.position:
                    self.buffer.append(_Entry(number * RECORDS + index, events, size, at, payload))
                    self._buffered += 0 if self._gauge else size
                    self._events += events
                    self._bytes += size
            self._queue.arrived.notify_all()


def _group(waiting: deque[_Append], most: int) -> list[_Append]:
    """The next appends that fit into one message, without those that were cancelled."""
    group: list[_Append] = []
    size = 0
    while waiting and len(group) < RECORDS and size + len(waiting[0].payload) <= most:
        append = waiting.popleft()
        if append.future.set_running_or_notify_cancel():
            group.append(append)
            size += len(append.payload)
    return group


def _dead_letter(revision: int, value: bytes) -> DeadLetter:
    about, _, payload = value.partition(b"\n")
    return DeadLetter(revision, payload=payload, **json.loads(about))


def _text(error: Exception) -> str:
    return str(error) or type(error).__name__
