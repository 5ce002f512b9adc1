"""A connection to NATS. It lives on an event loop in a thread of its own, behind plain calls from any thread."""

import asyncio
import ssl
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from dropoff.errors import InvalidInput, Unavailable

if TYPE_CHECKING:
    from nats.js import JetStreamContext
    from nats.js.kv import KeyValue

T = TypeVar("T")
CONNECT_SECONDS = 10.0
CALL_SECONDS = 5.0
LIST_SECONDS = 60.0
_RECONNECT_SECONDS = 0.25
_AT_ONCE = 100  # entries of a bucket that are asked for together
_NAMED = 100_000  # subjects that the server names at most, without a word of more


@dataclass(frozen=True, slots=True)
class Place:
    """Where NATS answers (`HOST:PORT`, one or several), and who asks. Secrets are not shown by `repr`."""

    servers: Sequence[str]
    user: str | None = None
    password: str | None = None
    credentials: Path | None = None
    tls: bool = False
    ca: Path | None = None

    def __repr__(self) -> str:
        return f"nats{'+tls' * self.tls}://{','.join(self.servers)}"

    def options(self) -> dict[str, Any]:
        """What the client's `connect` takes."""
        given: dict[str, Any] = {"user": self.user, "password": self.password}
        if self.credentials is not None:
            given["user_credentials"] = str(_readable("queue_credentials", self.credentials))
        if self.tls:
            ca = None if self.ca is None else str(_readable("queue_ca", self.ca))
            given["tls"] = ssl.create_default_context(cafile=ca)
        return {name: value for name, value in given.items() if value is not None}


def _readable(name: str, path: Path) -> Path:
    if not path.is_file():
        raise InvalidInput(name, str(path), "a file that can be read")
    return path


class Broker:
    """An open connection; it reconnects by itself, for ever. Raises `Unavailable` if nobody answers within 10 s.

    `connection` and `stream` (its JetStream side) are for coroutines that run here. `generation` rises with each
    reconnection: what the server kept for the one before may be gone.
    """

    def __init__(self, place: Place) -> None:
        try:
            from nats.aio.client import Client
        except ImportError:
            raise InvalidInput("queue", repr(place), "installed: pip install 'dropoff[nats]'") from None
        self.place = place
        self.generation = 0
        self.connection = Client()
        self.loop = asyncio.new_event_loop()
        self._closed = False
        self._thread = threading.Thread(target=self.loop.run_forever, name="nats", daemon=True)
        self._thread.start()
        try:
            options = place.options()
            with self._told():
                self._run(self._connect(options), CONNECT_SECONDS + 1)
        except BaseException:
            self.close()
            raise
        self.stream: JetStreamContext = self.connection.jetstream(timeout=CALL_SECONDS)

    @property
    def connected(self) -> bool:
        """The server is there, as far as is known."""
        return self.connection.is_connected

    def call(self, work: Coroutine[Any, Any, T], seconds: float = 2 * CALL_SECONDS) -> T:
        """The result of a coroutine that runs on the loop. Raises `Unavailable`, at once while not connected."""
        if self._closed or not self.connected:
            work.close()
            raise Unavailable(f"{self.place!r}: {'closed' if self._closed else 'not connected'}")
        with self._told():
            return self._run(work, seconds)

    def start(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        """Let a coroutine run on the loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def soon(self, work: Callable[[], object]) -> None:
        """Call a function on the loop, from any thread; nothing happens after `close`."""
        if not self._closed:
            self.loop.call_soon_threadsafe(work)

    async def bucket(self, name: str, replicas: int) -> "KeyValue":
        """The key–value bucket, made if it does not exist."""
        from nats.js.api import KeyValueConfig, StorageType
        from nats.js.errors import BucketNotFoundError

        try:
            return await self.stream.key_value(name)
        except BucketNotFoundError:
            wanted = KeyValueConfig(bucket=name, history=1, storage=StorageType.FILE, replicas=replicas)
            return await self.stream.create_key_value(wanted)

    async def entries(self, bucket: "KeyValue", keys: str) -> "list[KeyValue.Entry]":
        """All entries of a bucket whose key matches, in no particular order. Some 6,000 a second: `LIST_SECONDS`.

        Not what a watcher gives before it says that this is all: that word can overtake the entries (nats.py #842).
        Raises `Unavailable` where there are too many for the server to name.
        """
        name = (await bucket.status()).bucket
        place = f"$KV.{name}."
        info = await self.stream.stream_info(f"KV_{name}", subjects_filter=place + keys)
        names = [subject.removeprefix(place) for subject in info.state.subjects or ()]
        if len(names) >= _NAMED:
            raise Unavailable(f"{self.place!r}: {name} {keys}: {_NAMED:,} entries or more, which cannot be listed")
        found: list[KeyValue.Entry | None] = []
        for start in range(0, len(names), _AT_ONCE):
            found += await asyncio.gather(*(_entry(bucket, key) for key in names[start : start + _AT_ONCE]))
        return [entry for entry in found if entry is not None]

    def close(self) -> None:
        """Close the connection and end the thread. Idempotent."""
        if self._closed:
            return
        self._closed = True
        with suppress(Exception):  # a connection that cannot even be closed in order is given up
            self._run(self._disconnect(), CALL_SECONDS)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    async def _connect(self, options: dict[str, Any]) -> None:
        servers = [f"{'tls' if self.place.tls else 'nats'}://{server}" for server in self.place.servers]
        connecting = self.connection.connect(
            servers, name="dropoff", allow_reconnect=True, max_reconnect_attempts=-1, connect_timeout=2,
            reconnect_time_wait=_RECONNECT_SECONDS, ping_interval=5, max_outstanding_pings=2,  # type: ignore[arg-type]
            error_cb=_silent, reconnected_cb=self._reconnected, **options,
        )  # fmt: skip
        await asyncio.wait_for(connecting, CONNECT_SECONDS)

    async def _reconnected(self) -> None:
        self.generation += 1

    async def _disconnect(self) -> None:
        await self.connection.close()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _run(self, work: Coroutine[Any, Any, T], seconds: float) -> T:
        future = self.start(work)
        try:
            return future.result(seconds)
        except TimeoutError:
            future.cancel()
            raise

    @contextmanager
    def _told(self) -> Iterator[None]:
        """The client's errors as ours. A key that is not there is for the caller to understand."""
        from nats.errors import Error
        from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError

        try:
            yield
        except (KeyNotFoundError, KeyWrongLastSequenceError):
            raise
        except (Error, OSError, TimeoutError) as error:
            raise Unavailable(f"{self.place!r}: {str(error) or type(error).__name__}") from error


async def _entry(bucket: "KeyValue", key: str) -> "KeyValue.Entry | None":
    from nats.js.errors import KeyNotFoundError

    with suppress(KeyNotFoundError):  # deleted, of which a mark stays
        return await bucket.get(key)
    return None


async def _silent(_: Exception) -> None:
    """The client tells of every attempt to reconnect; who asks in the meantime is told by `Unavailable`."""
