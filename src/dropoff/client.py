"""Send a bot's events to Dropoff without ever slowing the bot down or raising into it.

    import dropoff_client

    dropoff_client.configure(url="https://dropoff.example.com", key="…")  # or DROPOFF_URL and DROPOFF_KEY
    dropoff_client.track_event({"event_type": "conversation_started", "conversation_id": "abc123", "channel": "sms"})

    with dropoff_client.Client(key="…") as client:
        client.track("message_received", "abc123", message_id="msg456", sender="prospect", sentiment=0.3)

An event is encoded and given its id and time in the call; one daemon thread delivers batches and repeats them until
the server has answered. A repeated event keeps its id, so it is counted once. This file needs the standard library
alone: it is also shipped by itself, as the module `dropoff_client`.
"""

from __future__ import annotations

import atexit
import gzip
import http.client
import itertools
import json
import logging
import os
import random
import re
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta, timezone
from datetime import time as time_of_day
from decimal import Decimal
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from uuid import UUID, uuid4
from weakref import WeakSet

__all__ = ["Answer", "Client", "Stats", "configure", "flush", "track_event"]

DEFAULT_URL = "http://127.0.0.1:8787"
MAX_EVENT_BYTES = 32_768
MAX_BODY_BYTES = 16_000_000  # the server takes 20 MB
MAX_BATCH = 10_000
GZIP_FROM_BYTES = 1_000
FIRST_BACKOFF, MAX_BACKOFF, MAX_RETRY_AFTER = 0.2, 30.0, 60.0  # seconds
EXIT_SECONDS = 5.0

_UTC = timezone.utc  # noqa: UP017 (datetime.UTC is newer than the oldest Python this file runs on)
_IDS = ("conversation_id", "contact_id", "event_id", "message_id", "account_id")
_RARE = frozenset({"account_id", "direction", "bot_id", "bot_version", "sequence", "revision"})
_RETRIED = frozenset({408, 425, 429})
_REFUSED = frozenset({400, 413, 422})
_OUTAGE = frozenset({"unreachable", "queue_full"})
_URL = re.compile(r"https?://[^\s\x00-\x20\x7f/?#]+(/[!\"$->@-~]*)?")
_log = logging.getLogger("dropoff_client")


class Answer(NamedTuple):
    """What a transport brought back: HTTP status, headers with lower-case names, body."""

    status: int
    headers: Mapping[str, str] = {}
    body: bytes = b""


class Stats(NamedTuple):
    """Counts of events since the client was made (in a forked child: since the fork).

    `dropped` never entered the queue (it was full, the client was closed, or the event was unusable); `rejected` was
    refused by the server; `failed` was given up: no access, retries exhausted, or closed before the server answered.
    """

    sent: int
    dropped: int
    failed: int
    rejected: int
    queued: int


class Client:
    """A bounded queue of events and the one thread that empties it. Safe to share between threads and across a fork.

    `url` is where Dropoff listens and `key` its ingest key. `max_queue` counts events, `batch_size` events a request;
    `flush_interval` (how long a batch waits for company) and `timeout` (of one network step) are seconds.
    `max_retries=None` repeats until the server answers. `on_error(reason, message, count)` hears of every loss, in the
    thread that met it. `transport(body, headers) -> Answer` and `sleep(seconds)` replace the network and the clock.
    Raises `ValueError` for an unusable url, key or limit; nothing raises after that.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        key: str | None = None,
        *,
        max_queue: int = 10_000,
        batch_size: int = 500,
        flush_interval: float = 0.5,
        timeout: float = 10.0,
        max_retries: int | None = None,
        on_error: Callable[[str, str, int], object] | None = None,
        transport: Callable[[bytes, Mapping[str, str]], Answer] | None = None,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        if max_queue < 1 or not 1 <= batch_size <= MAX_BATCH:
            raise ValueError(f"max_queue == {max_queue}, batch_size == {batch_size}, must be 1 or more (≤ {MAX_BATCH})")
        self._connection = _Connection(url, timeout)
        self._transport = transport or self._connection
        self._headers = _headers(key)
        self._max_queue, self._batch_size = max_queue, batch_size
        self._flush_interval, self._max_retries = flush_interval, max_retries
        self._on_error, self._custom_sleep = on_error, sleep
        self._closed = False
        self._reset()
        _clients.add(self)

    def _reset(self) -> None:
        self._changed = threading.Condition()  # an RLock: a signal handler may track while its thread holds it
        self._abandoned = threading.Event()
        self._queue: deque[bytes] = deque()
        self._counts: Counter[str] = Counter()
        self._taken = self._settled = self._flush_target = 0
        self._told: set[str] = set()
        self._thread: threading.Thread | None = None

    # -- the bot's side --------------------------------------------------------------------------------------------

    def track(
        self,
        /,
        event_type: str,
        conversation_id: str | int | UUID | None = None,
        *,
        contact_id: str | int | UUID | None = None,
        channel: str | None = None,
        timestamp: datetime | str | float | None = None,
        message_id: str | int | UUID | None = None,
        event_id: str | int | UUID | None = None,
        is_test: bool | None = None,
        properties: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> str | None:
        """Queue one event; every other keyword becomes a property. Returns its event id, or None if it was dropped.

        `timestamp` is an aware datetime, RFC 3339 text or a number of seconds; without one it is now. Pass your own
        `event_id` where your code may call twice for one event (a webhook delivered again): it is then counted once.
        The rarer fields of an event (`account_id`, `bot_version`, `revision`, …) are keywords too.
        """
        event: dict[str, Any] = {
            "event_type": event_type,
            "conversation_id": conversation_id,
            "contact_id": contact_id,
            "channel": channel,
            "timestamp": timestamp,
            "message_id": message_id,
            "event_id": event_id,
            "is_test": is_test,
        }
        event.update((name, more.pop(name)) for name in _RARE & more.keys())
        return self._submit(event, properties, more)

    def track_event(self, event: Mapping[str, Any]) -> str | None:
        """Queue one event given as a dictionary, which is not changed. Returns as `track` does."""
        return self._submit(event)

    def flush(self, timeout: float | None = None) -> bool:
        """Wait up to `timeout` seconds (None: without limit) until all events queued so far were delivered or given up.

        Returns whether they were. Called by `on_error` in the delivering thread it cannot wait, and returns False.
        """
        if threading.current_thread() is self._thread:
            return False
        with self._changed:
            target = self._flush_target = self._taken
            self._changed.notify_all()
            return self._changed.wait_for(lambda: self._settled >= target, timeout)

    def close(self, timeout: float | None = 10.0) -> bool:
        """Deliver what is queued for up to `timeout` seconds, then give up the rest. Returns whether all was settled.

        Later events are dropped. May be called twice.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        done = self.flush(timeout)
        self._abandoned.set()
        if not done:
            self._connection.interrupt()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(1.0)
        return done

    @property
    def stats(self) -> Stats:
        """The counts so far; `queued` includes the batch under way."""
        with self._changed:
            counts = (self._counts[name] for name in ("sent", "dropped", "failed", "rejected"))
            return Stats(*counts, queued=self._taken - self._settled)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _submit(self, event: Any, properties: Any = None, more: Mapping[str, Any] | None = None) -> str | None:
        try:
            if properties or more:
                event = {**event, "properties": {**(properties or {}), **(more or {})}}
            event_id, line = _encode(event)
            self._enqueue(line)
        except _UnusableError as error:
            return self._drop(error.reason, str(error))
        except Exception as error:  # whatever the event's objects do when they are read, the bot goes on
            return self._drop("unreadable", f"reading the event raised {type(error).__name__}")
        return event_id

    def _enqueue(self, line: bytes) -> None:
        with self._changed:
            if self._closed:
                raise _UnusableError("closed", "the client is closed")
            if self._taken - self._settled >= self._max_queue:
                raise _UnusableError("queue_full", f"{self._max_queue} events are waiting, new ones are dropped")
            self._ensure_thread()
            self._queue.append(line)
            self._taken += 1
            if len(self._queue) in (1, self._batch_size):
                self._changed.notify_all()

    def _ensure_thread(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            thread = threading.Thread(target=self._run, name="dropoff-client", daemon=True)
            thread.start()
            self._thread = thread

    def _drop(self, reason: str, message: str) -> None:
        with self._changed:
            self._counts["dropped"] += 1
        self._report(reason, message, 1)

    def _report(self, reason: str, message: str, count: int) -> None:
        self._tell(reason, "%d event(s) lost, %s: %s", count, reason, message)
        if self._on_error is None:
            return
        try:
            self._on_error(reason, message, count)
        except Exception:
            self._tell("on_error", "on_error raised", exc_info=True)

    def _tell(self, reason: str, text: str, *args: object, exc_info: bool = False) -> None:
        if reason not in self._told:  # once: a bot's log must not fill because its analytics are away
            self._told.add(reason)
            _log.warning(text, *args, exc_info=exc_info)

    # -- the delivering thread -------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while batch := self._next_batch():
                self._deliver_safely(batch)
        finally:
            self._connection.close()

    def _next_batch(self) -> list[bytes]:
        """The next events in order; empty once the client is closed and the queue is too."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closed)
            self._changed.wait_for(self._due, self._flush_interval)
            batch, size = [], 0
            while self._queue and len(batch) < self._batch_size and size + len(self._queue[0]) <= MAX_BODY_BYTES:
                batch.append(self._queue.popleft())
                size += len(batch[-1]) + 1
            return batch

    def _due(self) -> bool:
        return self._closed or self._flush_target > self._settled or len(self._queue) >= self._batch_size

    def _deliver_safely(self, batch: list[bytes]) -> None:
        before = self._settled
        try:
            self._deliver(batch)
        except Exception as error:
            self._give_up("failed", "internal", repr(error), len(batch) - (self._settled - before))

    def _deliver(self, batch: list[bytes]) -> None:
        answer = self._exchange(batch)
        if answer is None:
            return
        if 200 <= answer.status < 300:
            self._delivered(answer, len(batch))
        elif answer.status == 413 and len(batch) > 1:
            half = len(batch) // 2
            self._deliver(batch[:half])
            self._deliver(batch[half:])
        else:
            self._refused(answer, len(batch))

    def _exchange(self, batch: list[bytes]) -> Answer | None:
        """The server's verdict on a batch, however often it takes; None when it was given up."""
        body, headers = _pack(batch, self._headers)
        trouble = "the client was closed before the server answered"
        for attempt in itertools.count():
            if self._abandoned.is_set():
                break
            try:
                answer = self._transport(body, headers)
            except (OSError, http.client.HTTPException) as error:
                answer, trouble = None, f"{type(error).__name__}: {error}"
            else:
                if answer.status < 500 and answer.status not in _RETRIED:
                    return answer
                trouble = f"HTTP {answer.status}"
            if attempt == self._max_retries:
                break
            self._tell("unreachable", "%s does not take events now, they wait: %s", self._connection.url, trouble)
            self._sleep(_delay(attempt, answer))
        self._give_up("failed", "gave_up", trouble, len(batch))
        return None

    def _sleep(self, seconds: float) -> None:
        (self._custom_sleep or self._abandoned.wait)(seconds)

    def _delivered(self, answer: Answer, count: int) -> None:
        document = _document(answer.body)
        if document is None:
            message = f"{self._connection.url} answered HTTP {answer.status} without a receipt: is it Dropoff?"
            return self._give_up("failed", "bad_answer", message, count)
        errors = [error for error in document.get("errors") or () if isinstance(error, dict)]
        rejected = min(count, document.get("rejected", len(errors)))
        if not self._told.isdisjoint(_OUTAGE):
            self._told -= _OUTAGE
            _log.info("events are delivered again")
        self._report_rejected(errors, rejected)
        return self._settle(sent=count - rejected, rejected=rejected)

    def _report_rejected(self, errors: list[dict[str, Any]], rejected: int) -> None:
        by_reason: dict[str, list[dict[str, Any]]] = {}
        for error in errors:
            by_reason.setdefault(str(error.get("reason", "rejected")), []).append(error)
        for reason, group in by_reason.items():
            field, message = str(group[0].get("field")), str(group[0].get("message"))
            self._report(reason, message if message.startswith(field) else f"{field}: {message}", len(group))
        if rejected > len(errors):
            self._report("rejected", "refused by the server", rejected - len(errors))

    def _refused(self, answer: Answer, count: int) -> None:
        said = (_document(answer.body) or {}).get("message", "")
        message = f"{self._connection.url} answered HTTP {answer.status} {said}".rstrip()
        if answer.status in (401, 403):
            self._give_up("failed", "unauthorized", f"{message} (is the key right?)", count)
        elif answer.status in _REFUSED:
            self._give_up("rejected", "too_large" if answer.status == 413 else "bad_request", message, count)
        else:
            self._give_up("failed", "bad_answer", message, count)

    def _give_up(self, outcome: str, reason: str, message: str, count: int) -> None:
        self._report(reason, message, count)  # first: who waits in flush() has then heard of every loss
        self._settle(**{outcome: count})

    def _settle(self, **counts: int) -> None:
        with self._changed:
            self._counts.update(counts)
            self._settled += sum(counts.values())
            self._changed.notify_all()

    def _after_fork(self) -> None:
        # What was queued is the parent's to send; so is the connection, which must not be spoken on or shut down here.
        self._connection.forget()
        self._reset()
        if self._closed:
            self._abandoned.set()


class _UnusableError(Exception):
    """The event cannot be queued; told to `on_error` and the log, never to the caller."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


# -- one event ---------------------------------------------------------------------------------------------------------


def _encode(event: Any) -> tuple[str, bytes]:
    """The event's id and its JSON line, stamped; raises `_UnusableError`, or anything the event's own objects raise."""
    if not isinstance(event, Mapping):
        raise _UnusableError("not_an_event", f"event is {type(event).__name__}, must be a dictionary")
    fields = {name: value for name, value in event.items() if value is not None}
    for name in _IDS:
        if name in fields:
            fields[name] = _id(name, fields[name])
    if not fields.get("event_type"):
        raise _UnusableError("missing_field", "event_type is missing")
    if not (fields.get("conversation_id") or fields.get("contact_id")):
        raise _UnusableError("missing_field", "conversation_id and contact_id are both missing")
    fields["event_id"] = fields.get("event_id") or uuid4().hex
    fields["timestamp"] = _timestamp(fields.get("timestamp"))
    line = _json(fields)
    if len(line) > MAX_EVENT_BYTES:
        raise _UnusableError("too_large", f"the event has {len(line)} bytes, must be at most {MAX_EVENT_BYTES}")
    return fields["event_id"], line


def _id(name: str, value: Any) -> str:
    plain = value.value if isinstance(value, Enum) else value
    if isinstance(plain, bool) or not isinstance(plain, (str, int, UUID)):
        raise _UnusableError("bad_id", f"{name} is {type(value).__name__}, must be text")
    return str(plain)


def _timestamp(value: Any) -> Any:
    if value is None or value == "":
        return _rfc3339(datetime.now(_UTC))
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise _UnusableError("naive_timestamp", f"timestamp == {value!r}, must have a time zone")
        return _rfc3339(value)
    if isinstance(value, (bool, date)):
        raise _UnusableError("bad_timestamp", f"timestamp == {value!r}, must be an aware datetime")
    return value


def _rfc3339(instant: datetime) -> str:
    return instant.astimezone(_UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _json(fields: dict[str, Any]) -> bytes:
    try:
        text = _encoder.encode(fields)
    except (TypeError, ValueError):  # a rarity of Python's, NaN or an odd key, is worth a slower second look
        text = _encoder.encode(_tame(fields))
    return text.encode("utf-8", "replace")  # half a surrogate pair becomes "?"


def _tame(value: Any) -> Any:
    """NaN and infinity, which JSON has not, become null; keys that are no text become text."""
    if isinstance(value, Mapping):
        return {str(_key(key)): _tame(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_tame(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value


def _key(key: Any) -> Any:
    return key.value if isinstance(key, Enum) else key


def _plain(value: Any) -> Any:
    """JSON's own types for those of Python's that bots meet; others make the event unusable."""
    if isinstance(value, datetime):
        return _rfc3339(value) if value.utcoffset() is not None else value.isoformat()
    for kinds, convert in _PLAIN:
        if isinstance(value, kinds):
            return convert(value)
    if hasattr(type(value), "tolist"):  # the numbers and arrays of numpy and its kin
        return _tame(value.tolist())
    raise _UnusableError("not_serialisable", f"a property is {type(value).__name__}, which has no JSON form")


_PLAIN: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    ((Decimal, UUID, os.PathLike), str),
    ((date, time_of_day), lambda value: value.isoformat()),
    (timedelta, timedelta.total_seconds),
    (Enum, lambda value: value.value),
    (Mapping, dict),
    ((set, frozenset), lambda value: sorted(value, key=str)),
    (bytes, lambda value: value.decode("utf-8", "replace")),
)
_encoder = json.JSONEncoder(default=_plain, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


# -- one request -------------------------------------------------------------------------------------------------------


def _headers(key: str | None) -> dict[str, str]:
    headers = {"Content-Type": "application/json", "User-Agent": "dropoff-client"}
    if key and (key := key.strip()):
        if not (key.isascii() and key.isprintable()):
            raise ValueError("key holds characters that no HTTP header can carry")  # never shown: it is a secret
        headers["Authorization"] = f"Bearer {key}"
    return headers


def _pack(batch: list[bytes], headers: Mapping[str, str]) -> tuple[bytes, Mapping[str, str]]:
    body = b"[" + b",".join(batch) + b"]"
    if len(body) <= GZIP_FROM_BYTES:
        return body, headers
    return gzip.compress(body, 6), {**headers, "Content-Encoding": "gzip"}


def _document(body: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(body)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _delay(attempt: int, answer: Answer | None) -> float:
    """Seconds to wait: exponential with full jitter, after whatever the server asked for."""
    backoff = min(MAX_BACKOFF, FIRST_BACKOFF * 2 ** min(attempt, 16))
    asked = _retry_after(answer.headers.get("retry-after", "")) if answer is not None else 0.0
    return min(MAX_RETRY_AFTER, asked) + random.uniform(0.0, backoff)  # noqa: S311 (not a secret)


def _retry_after(text: str) -> float:
    try:
        return max(
            0.0, float(text) if text.strip().isdigit() else parsedate_to_datetime(text).timestamp() - time.time()
        )
    except (TypeError, ValueError, IndexError, OverflowError):
        return 0.0


class _Connection:
    """One kept-alive HTTP connection, opened when needed. Raises `OSError` or `HTTPException` for network trouble."""

    def __init__(self, url: str, timeout: float) -> None:
        parts = urlsplit(url.strip())
        if not _URL.fullmatch(url.strip()) or not parts.hostname:
            raise ValueError(f"url == {url!r}, must be like 'https://dropoff.example.com'")
        self.url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        self._target = parts.path.rstrip("/") + "/v1/events"
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._make = lambda: kind(parts.hostname or "", parts.port, timeout=timeout)
        self._http = self._make()

    def __call__(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        reused = self._http.sock is not None
        try:
            return self._request(body, headers)
        except (http.client.RemoteDisconnected, ConnectionError):
            if not reused:
                raise
            return self._request(body, headers)  # the server had closed the idle connection: no fault of its

    def _request(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        try:
            self._http.request("POST", self._target, body, dict(headers))
            with self._http.getresponse() as response:
                content = response.read()
                return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, content)
        except BaseException:
            self._http.close()
            raise

    def close(self) -> None:
        self._http.close()

    def interrupt(self) -> None:
        """From another thread: make a request under way fail now."""
        sock = self._http.sock
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                _log.debug("the connection was closed already")

    def forget(self) -> None:
        """After a fork: release our copy of the socket, past any buffer another thread may have locked."""
        sock, self._http = self._http.sock, self._make()
        if sock is not None and sock.fileno() >= 0:
            os.close(sock.detach())


# -- the default client, and the ends of processes ---------------------------------------------------------------------

_clients: WeakSet[Client] = WeakSet()
_default: Client | None = None
_default_lock = threading.RLock()


def configure(url: str | None = None, key: str | None = None, **options: Any) -> Client:
    """Make (anew) the client that `track_event` uses; `options` are those of `Client`, whose errors it raises.

    What is not given comes from DROPOFF_URL and DROPOFF_KEY. A client configured before is closed.
    """
    global _default
    url = url or os.environ.get("DROPOFF_URL") or DEFAULT_URL
    client = Client(url, key or os.environ.get("DROPOFF_KEY"), **options)
    with _default_lock:
        former, _default = _default, client
    if former is not None:
        former.close()
    return client


def track_event(event: Mapping[str, Any]) -> str | None:
    """Queue one event dictionary with the default client. Returns its event id, or None if it was dropped."""
    client = _default or _first_default()
    return client.track_event(event)


def flush(timeout: float | None = None) -> bool:
    """`Client.flush` of the default client, which is given `timeout` seconds."""
    return _default is None or _default.flush(timeout)


def _first_default() -> Client:
    with _default_lock:
        if _default is not None:
            return _default
        try:
            return configure()
        except ValueError as error:
            _log.error("DROPOFF_URL or DROPOFF_KEY is unusable, events are dropped: %s", error)
            client = configure(DEFAULT_URL, "unusable")
            client.close(0)
            return client


def _at_exit() -> None:
    deadline = time.monotonic() + EXIT_SECONDS
    for client in list(_clients):
        client.close(max(0.0, deadline - time.monotonic()))


def _in_child() -> None:
    global _default_lock
    _default_lock = threading.RLock()
    for client in list(_clients):
        client._after_fork()


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
