"""One partition of the stream on NATS, as it is read from its position on."""

import asyncio
import json
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from dropoff.broker import Broker
from dropoff.queue.base import Lag

if TYPE_CHECKING:
    from nats.aio.msg import Msg
    from nats.js.kv import KeyValue

SHAPE = "Dropoff-Shape"
"""The header with the size and the events of each record of a message: `12:1,345:20`."""
RECORDS = 1024
"""The most records of a message; an offset is the number of its message in the stream times this, plus its own."""

_PULL = 16  # messages asked for at once, of at most MOST_BYTES
_PULL_SECONDS = 10.0
_IDLE_SECONDS = 60.0  # after which the server forgets a consumer
_BUFFER_BYTES = 4_000_000
_BUFFER_RECORDS = 20_000


class Stream(NamedTuple):
    """What all partitions have in common. `made`: when, which tells the stream from another one of its name.

    `bucket` holds the positions. `arrived` is told of every record that comes; its lock is the queue's.
    """

    name: str
    made: str
    broker: Broker
    bucket: "KeyValue"
    arrived: threading.Condition


class Entry(NamedTuple):
    """A record as it waits here; `payload` is None where only its size was asked for. `at`: seconds, when appended."""

    offset: int
    events: int
    size: int
    at: float
    payload: bytes | None


class Lane:
    """One partition as it is read, or as a gauge that looks at nothing but sizes, from its position on.

    Its coroutines run on the connection's loop; the rest runs under the queue's lock.
    """

    def __init__(self, stream: Stream, partition: int, *, gauge: bool = False) -> None:
        self.partition, self.subject = partition, f"{stream.name}.{partition}"
        self.position = self._saved = self._revision = 0
        self.buffer: deque[Entry] = deque()
        self._stream, self._broker, self._gauge = stream, stream.broker, gauge
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

    def take(self) -> Entry:
        """Hand out the next record."""
        entry = self.buffer.popleft()
        self._buffered -= 0 if self._gauge else entry.size
        self._handed.append((entry.offset, entry.at))
        return entry

    def commit(self, entry: Entry) -> None:
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
        last = (await self._broker.stream.stream_info(self._stream.name)).state.last_seq
        self._cursor = min(self._cursor, last)
        self.position = min(self.position, last * RECORDS + RECORDS - 1)
        config = ConsumerConfig(
            filter_subject=self.subject, ack_policy=AckPolicy.NONE, deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=self._cursor + 1, inactive_threshold=_IDLE_SECONDS, mem_storage=True,
            headers_only=self._gauge or None,
        )  # fmt: skip
        info = await self._broker.stream.add_consumer(self._stream.name, config)
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
                await self._broker.stream.delete_consumer(self._stream.name, self._consumer)

    async def tend(self) -> None:
        """Begin anew where that is needed, and keep what could not be kept."""
        if self._stale:
            await self.start()
        await self.save()

    async def follow(self) -> None:
        """As a gauge: forget what others have committed by now."""
        if self._cursor:
            await self._load()
        with self._stream.arrived:
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
        to = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream.name}.{self._consumer}"
        await self._broker.connection.publish(to, request, self._inbox)

    async def save(self) -> None:
        """Keep the position, unless somebody who took over has moved it further."""
        from nats.js.errors import KeyWrongLastSequenceError

        async with self._saving:
            position = self.position
            if self._gauge or position <= self._saved:
                return
            value = json.dumps({"made": self._stream.made, "offset": position}).encode()
            try:
                self._revision = await self._stream.bucket.update(self._key, value, self._revision)
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
            entry = await self._stream.bucket.get(self._key)
            self._revision = entry.revision or 0
            found = json.loads(entry.value or b"")
            if found["made"] == self._stream.made:
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
        with self._stream.arrived:
            if number <= self._cursor:
                return  # it has come already, over another consumer
            self._cursor, self._remaining = number, remaining
            shape = (message.headers or {}).get(SHAPE)  # somebody else's message has none, and is no record
            for index, record in enumerate(shape.split(",") if shape else ()):
                size, events = map(int, record.split(":"))
                payload = None if self._gauge else message.data[start : start + size]
                start += size
                if number * RECORDS + index > self.position:
                    self.buffer.append(Entry(number * RECORDS + index, events, size, at, payload))
                    self._buffered += 0 if self._gauge else size
                    self._events += events
                    self._bytes += size
            self._stream.arrived.notify_all()
