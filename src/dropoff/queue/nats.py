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
from typing import TYPE_CHECKING, NamedTuple
from uuid import uuid4

from dropoff.broker import LIST_SECONDS, Broker, Place
from dropoff.errors import InvalidInput, Unavailable
from dropoff.queue.base import DeadLetter, Lag, Record, check_append
from dropoff.queue.lane import RECORDS, SHAPE, Entry, Lane, Stream

if TYPE_CHECKING:
    from nats.js.api import StreamInfo

HEADROOM = 32_768  # for the headers, which count as payload, too
MOST_BYTES = 500_000
LEAST_BYTES = 250_000  # an event with its settled facts, or a refused one, written as JSON

_ON_ITS_WAY_SECONDS = 2.0
_TEND_SECONDS = 0.5
_TRIM_SECONDS = 3600.0
_TRY_SECONDS = 2.0
_ANOTHER_REVISION = 10071


class _Append(NamedTuple):
    payload: bytes
    events: int
    future: Future[int]


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
        self._lock = threading.Lock()
        self._arrived = threading.Condition(self._lock)
        self._pending: dict[int, deque[_Append]] = {number: deque() for number in range(partitions)}
        self._woken = self._closed = self._watched = False
        self._lanes: dict[int, Lane] = {}  # replaced, never changed: other threads look at it
        self._gauges: dict[int, Lane] = {}
        self._handed: deque[tuple[Entry, Lane]] = deque()
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
        with self._lock:
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
        with self._lock:
            return {lane.partition for _, lane in self._handed} - partitions

    def read(self, max_events: int, wait: float) -> Sequence[Record]:
        """The next unread records of the partitions read, in turn; at least one record if there is any.

        Waits up to `wait` seconds for the first; what is known to be on its way is waited for in any case.
        """
        with self._arrived:
            self._check_open()
            self._arrived.wait_for(self._known, _ON_ITS_WAY_SECONDS)
            self._arrived.wait_for(self._readable, wait)
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
        with self._lock:
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
        self.broker.call(self._bucket.put(key, about + b"\n" + payload))

    def dead_letters(self, limit: int | None = 100) -> Sequence[DeadLetter]:
        """The latest dead letters, newest first; None: all. Raises `Unavailable`."""
        found = self.broker.call(self.broker.entries(self._bucket, "dead.>"), LIST_SECONDS)
        found.sort(key=lambda entry: entry.revision or 0, reverse=True)
        return [_dead_letter(entry.revision or 0, entry.value or b"") for entry in found[:limit]]

    def forget_dead_letters(self, last: int) -> None:
        """Forget the dead letters up to the id `last`. Raises `Unavailable`."""
        self.broker.call(self._forget_dead_letters(last), LIST_SECONDS)

    def close(self) -> None:
        """Finish pending appends, save the positions and close the connection. Idempotent."""
        with self._lock:
            closed, self._closed = self._closed, True
            self._arrived.notify_all()
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

    def _hand_out(self, max_events: int) -> tuple[list[Record], list[Lane]]:
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

    def _commit(self, offset: int) -> Iterator[Lane]:
        while self._handed:
            entry, lane = self._handed.popleft()
            lane.commit(entry)
            yield lane
            if entry.offset == offset:
                return

    def _take(self) -> list[tuple[int, list[_Append]]]:
        """A message's worth of appends of each partition that has any."""
        with self._lock:
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
        found = len(info.config.subjects or ())
        if found != self.partitions:
            raise InvalidInput("queue_partitions", self.partitions, f"{found}, with which {self.name!r} was made")
        self._bucket = await self.broker.bucket(f"{self.name}-queue", self._replicas)
        self._stream = Stream(self.name, str(info.created), self.broker, self._bucket, self._arrived)

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
        lane = Lane(self._stream, partition)
        await lane.start()
        self._lanes = {**self._lanes, partition: lane}
        if partition in self._gauges:
            await self._gauges.pop(partition).end()

    async def _give_up(self, lanes: Iterable[Lane]) -> None:
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
            self._gauges.setdefault(number, Lane(self._stream, number, gauge=True))
        await asyncio.gather(*(self._gauges[number].follow() for number in others))
        end = time.monotonic() + _ON_ITS_WAY_SECONDS
        while any(lane.behind for lane in self._all()) and time.monotonic() < end:
            await asyncio.sleep(0.002)
        with self._lock:
            lags = [lane.lag(time.time()) for lane in self._all()]
        events, sizes, seconds = zip(*lags, strict=True)
        self._backlog = sum(sizes)
        return Lag(sum(events), sum(sizes), max(seconds))

    def _all(self) -> list[Lane]:
        """A lane or a gauge of each partition, as far as there are."""
        return list({**self._gauges, **self._lanes}.values())

    async def _forget_dead_letters(self, last: int) -> None:
        from nats.js.errors import APIError

        for entry in await self.broker.entries(self._bucket, "dead.>"):
            if (entry.revision or 0) <= last:
                try:
                    await self._bucket.delete(entry.key, last=entry.revision)
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
