"""The embedded queue: one SQLite file, one connection, one thread that writes.

Appends that arrive while a commit waits for the disk form the next group and share its fsync. Waiting a while for more
of them was measured (up to 2 ms, until as many came as last time): no gain beyond noise with 1, 16 or 64 threads.
A group is one row: `sqlite3` lets go of the interpreter lock at every step of a statement and then queues for it, up to
5 ms while other threads are busy, so a row for each payload would make writing and reading hang on them.
"""

import hashlib
import os
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

from dropoff.errors import InvalidInput, StoreBusy, Unavailable
from dropoff.queue.base import DeadLetter, Lag, Record, check_append
from dropoff.sqlitefile import Schema, SqliteFile

# A row of `log` is a group: `offset` is that of its last record, `shape` the size and the events of each record, and
# `payload` all of them joined. AUTOINCREMENT: an offset never returns, not even after everything was deleted.
SCHEMA = Schema(
    version=1,
    # With the lock held exclusively no second connection can open the file, which is what the WAL-reset bug of
    # SQLite < 3.51 needs, and the WAL index stays in memory.
    first="PRAGMA locking_mode = EXCLUSIVE",
    settings="""
PRAGMA journal_mode = WAL;
PRAGMA secure_delete = FAST;
PRAGMA synchronous = FULL;
PRAGMA wal_autocheckpoint = 4000;
PRAGMA journal_size_limit = 67108864;
PRAGMA cache_size = -8000;
""",
    tables=(
        """CREATE TABLE log (
    offset INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    events INTEGER NOT NULL,
    shape BLOB NOT NULL,
    payload BLOB NOT NULL
)""",
        "CREATE TABLE position (only INTEGER PRIMARY KEY CHECK (only = 1), offset INTEGER NOT NULL)",
        """CREATE TABLE dead_letters (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    hash BLOB NOT NULL UNIQUE,
    at REAL NOT NULL,
    reason TEXT NOT NULL,
    payload BLOB NOT NULL
)""",
        "INSERT INTO position VALUES (1, 0)",
    ),
)
LAST_OFFSET = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'log'), 0)"
POSITION = "SELECT offset FROM position"
MOVE_POSITION = "UPDATE position SET offset = ?"
INSERT = "INSERT INTO log (offset, at, events, shape, payload) VALUES (?, ?, ?, ?, ?)"
READ = "SELECT offset, shape, payload FROM log WHERE offset > ? ORDER BY offset LIMIT 1"
TOTALS = "SELECT coalesce(sum(events), 0), coalesce(sum(length(payload)), 0) FROM log WHERE offset > ?"
OLDEST = "SELECT at FROM log WHERE offset > ? ORDER BY offset LIMIT 1"
TRIM = "DELETE FROM log WHERE offset IN (SELECT offset FROM log WHERE offset <= ? ORDER BY offset LIMIT ?) AND at < ?"
INSERT_DEAD = "INSERT OR REPLACE INTO dead_letters (hash, at, reason, payload) VALUES (?, ?, ?, ?)"
DEAD = "SELECT id, at, reason, payload FROM dead_letters ORDER BY id DESC LIMIT ?"
FORGET_DEAD = "DELETE FROM dead_letters WHERE id <= ?"

BITE_GROUPS = 20
BITE_PAUSE = 0.005
TRIM_PAUSE = 10.0
RETRY_PAUSE = 1.0
_SHAPE = struct.Struct("<II")  # of one record: bytes, events


class _Append(NamedTuple):
    payload: bytes
    events: int
    future: Future[int]


class _Entry(NamedTuple):
    offset: int
    events: int
    payload: bytes


class _Mark(NamedTuple):
    """A record that was handed out and is not committed yet."""

    offset: int
    events: int
    bytes: int


class SqliteQueue:
    """A `Queue` in the file `path`, which is created if it does not exist; its directory must exist.

    `group_bytes` bounds what one commit writes (a larger payload goes alone). Committed records are kept for
    `retention` seconds. `clock` gives seconds since the epoch.
    Raises `StoreBusy` while the file is open elsewhere, `NewerSchema`, or `Unavailable` if it cannot be opened.
    """

    partitions = 1
    max_bytes = 500_000_000
    ordered = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        group_bytes: int = 1_000_000,
        retention: float = 86400,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._group_bytes, self._retention, self._clock = group_bytes, retention, clock
        # Lock order: the file's lock, then this one. Never any I/O while holding this one: `append` takes it.
        lock = threading.Lock()
        self._work, self._arrived = threading.Condition(lock), threading.Condition(lock)
        self._pending: deque[_Append] = deque()
        self._closed = False
        self._unread: deque[_Entry] = deque()
        self._unread_events = 0
        self._handed: deque[_Mark] = deque()
        self._trim_due = self._position_due = time.monotonic()
        self._writer = threading.Thread(target=self._run, name="queue-writer", daemon=True)
        with ExitStack() as opened:
            self._log = opened.enter_context(closing(_Log(Path(path))))
            self._last, self._committed = self._log.last_offset(), self._log.position()
            self._stored = self._cursor = self._loaded = self._committed
            self._events, self._bytes = self._log.totals(self._committed)
            self._oldest = self._log.oldest(self._committed)
            self._writer.start()
            opened.pop_all()

    def append(self, payload: bytes, events: int, partition: int = 0) -> Future[int]:
        """Append one payload that stands for `events` events; never waits for the disk.

        The future gives its offset once it is durable, or raises `Unavailable`. Cancelling it before its group is
        written withdraws the payload.
        """
        check_append(self, payload, events, partition)
        future: Future[int] = Future()
        with self._work:
            if not self._closed:
                self._pending.append(_Append(payload, events, future))
                self._work.notify()
                return future
        future.set_exception(Unavailable("The queue is closed"))
        return future

    def read(self, max_events: int, wait: float) -> Sequence[Record]:
        """The next unread records of together at most `max_events` events, but at least one record if there is any.

        Waits up to `wait` seconds for the first. Raises `Unavailable` if the file cannot be read or is closed.
        """
        with self._arrived:
            self._check_open()
            self._arrived.wait_for(lambda: self._closed or self._last > self._cursor, wait)
            if self._closed or self._last <= self._cursor:
                return []
        self._load(max_events)
        return self._hand_out(max_events)

    def commit(self, offset: int) -> None:
        """All records up to and with `offset` are safe elsewhere.

        Takes effect at once; it reaches the disk with the next group, or alone soon after. A crash in between makes
        those records be read again. Raises `InvalidInput` for an offset that was never given out: the caller then has
        a position of another file, and following it would skip records.
        """
        with self._work:
            self._check_open()
            last = self._last
        if offset > last:
            raise InvalidInput("offset", offset, f"at most {last}, the last one appended")
        if offset > self._committed:
            self._skip(offset)
            with self._log.lock:
                self._move(offset, self._log.oldest(offset))

    def lag(self) -> Lag:
        """What waits to be committed; kept in memory."""
        with self._work:
            seconds = 0.0 if self._oldest is None else max(0.0, self._clock() - self._oldest)
            return Lag(self._events, self._bytes, seconds)

    def backlog(self) -> int:
        """The bytes of `lag`."""
        return self.lag().bytes

    def dead_letter(self, payload: bytes, reason: str) -> None:
        """Set `payload` aside, durably; the same payload again takes its place. Raises `Unavailable`."""
        self._log.dead_letter(payload, reason, self._clock())

    def dead_letters(self, limit: int | None = 100) -> Sequence[DeadLetter]:
        """The latest dead letters, newest first; None: all. Raises `Unavailable`."""
        return self._log.dead_letters(-1 if limit is None else limit)

    def forget_dead_letters(self, last: int) -> None:
        """Forget the dead letters up to the id `last`. Raises `Unavailable`."""
        self._log.forget_dead_letters(last)

    def close(self) -> None:
        """Finish pending appends and close the file. Idempotent."""
        with self._work:
            self._closed = True
            self._work.notify_all()
            self._arrived.notify_all()
        self._writer.join()
        self._log.close()

    def _check_open(self) -> None:
        if self._closed:
            raise Unavailable("The queue is closed")

    def _load(self, events: int) -> None:
        """Have at least `events` unread events in memory, if there are that many. What is loaded survives an error."""
        while self._unread_events < events or not self._unread:
            entries = self._log.group_behind(self._loaded)
            if not entries:
                return
            self._loaded = entries[-1].offset
            new = [entry for entry in entries if entry.offset > self._cursor]
            self._unread.extend(new)
            self._unread_events += sum(entry.events for entry in new)

    def _hand_out(self, max_events: int) -> list[Record]:
        records: list[Record] = []
        room = max_events
        while self._unread and (not records or self._unread[0].events <= room):
            offset, events, payload = self._unread.popleft()
            room -= events
            self._unread_events -= events
            self._cursor = offset
            self._handed.append(_Mark(offset, events, len(payload)))
            records.append(Record(offset, payload))
        return records

    def _skip(self, offset: int) -> None:
        """Read up to `offset`: a consumer may know, after a crash, that it stored more than was committed here."""
        while self._cursor < offset:
            self._load(1)
            if not self._hand_out(1):
                return

    def _move(self, offset: int, oldest: float | None) -> None:
        with self._work:
            while self._handed and self._handed[0].offset <= offset:
                mark = self._handed.popleft()
                self._events -= mark.events
                self._bytes -= mark.bytes
            self._committed, self._oldest = offset, oldest
            self._work.notify()

    def _run(self) -> None:
        while True:
            group, done = self._next_group()
            if group or self._committed > self._stored:
                self._write(group)
            if done:
                return
            self._trim()

    def _next_group(self) -> tuple[list[_Append], bool]:
        """The appends to write together, none when something else is due; and whether they are the last ones ever."""
        with self._work:
            self._work.wait_for(self._something_due, self._until_due())
            group = [entry for entry in self._take() if entry.future.set_running_or_notify_cancel()]
            return group, self._closed and not self._pending

    def _something_due(self) -> bool:
        position_due = self._committed > self._stored and time.monotonic() >= self._position_due
        return bool(self._pending) or self._closed or position_due

    def _until_due(self) -> float:
        due = min(self._trim_due, self._position_due) if self._committed > self._stored else self._trim_due
        return max(0.0, due - time.monotonic())

    def _take(self) -> list[_Append]:
        group: list[_Append] = []
        size = 0
        while self._pending and (not group or size + len(self._pending[0].payload) <= self._group_bytes):
            group.append(self._pending.popleft())
            size += len(group[-1].payload)
        return group

    def _write(self, group: list[_Append]) -> None:
        """Make a group and the position durable, or fail the futures of this group alone.

        What a failed fsync left in the write-ahead log is overwritten by the next group; only if the machine stops
        before that may a record be found later whose future had failed: its sender repeats it, as after any error.
        """
        first, position, at = self._last + 1, self._committed, self._clock()
        try:
            with self._log.lock:
                self._log.append(self._last + len(group), at, group, position)
                self._written(group, position, at)
        except Exception as error:  # whatever it is, the thread has to live: the next group may succeed
            self._position_due = time.monotonic() + RETRY_PAUSE
            for entry in group:
                entry.future.set_exception(Unavailable(f"The queue could not be written: {error}"))
        else:
            for offset, entry in enumerate(group, first):
                entry.future.set_result(offset)

    def _written(self, group: list[_Append], position: int, at: float) -> None:
        with self._work:
            self._stored = position
            if not group:
                return
            self._last += len(group)
            self._events += sum(entry.events for entry in group)
            self._bytes += sum(len(entry.payload) for entry in group)
            self._oldest = at if self._oldest is None else self._oldest
            self._arrived.notify()

    def _trim(self) -> None:
        """Delete one bite of old committed records, if it is time; the next soon if there may be more."""
        if time.monotonic() < self._trim_due:
            return
        try:
            more = self._log.trim(self._stored, self._clock() - self._retention)
        except Unavailable:
            more = False
        self._trim_due = time.monotonic() + (BITE_PAUSE if more else TRIM_PAUSE)


class _Log(SqliteFile):
    """The SQL of the queue's file."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, SCHEMA, timeout=1, busy=StoreBusy)

    def last_offset(self) -> int:
        return self.one(LAST_OFFSET)[0]

    def position(self) -> int:
        return self.one(POSITION)[0]

    def oldest(self, offset: int) -> float | None:
        """When the first record behind `offset` was written."""
        row = self.one(OLDEST, offset)
        return row[0] if row else None

    def totals(self, position: int) -> tuple[int, int]:
        """Events and bytes behind `position`, which may lie inside a group."""
        with self.lock:
            events, size = self.one(TOTALS, position)
            done = [entry for entry in self.group_behind(position) if entry.offset <= position]
            return events - sum(e.events for e in done), size - sum(len(e.payload) for e in done)

    def append(self, last: int, at: float, group: Sequence[_Append], position: int) -> None:
        """Write a group whose offsets end with `last`, and the position, in one durable transaction."""
        with self.transaction() as connection:
            if group:
                connection.execute(INSERT, (last, at, sum(entry.events for entry in group), *_pack(group)))
            connection.execute(MOVE_POSITION, (position,))

    def group_behind(self, offset: int) -> list[_Entry]:
        """The group that holds the first record behind `offset`, all of it; empty if there is none."""
        row = self.one(READ, offset)
        return _unpack(*row) if row else []

    def trim(self, position: int, before: float) -> bool:
        """Delete a bite of the groups up to `position` written before `before`; True if there may be more."""
        with self.transaction() as connection:
            return connection.execute(TRIM, (position, BITE_GROUPS, before)).rowcount == BITE_GROUPS

    def dead_letter(self, payload: bytes, reason: str, at: float) -> None:
        with self.transaction() as connection:
            connection.execute(INSERT_DEAD, (hashlib.sha256(payload).digest(), at, reason, payload))

    def dead_letters(self, limit: int) -> list[DeadLetter]:
        with self.opened() as connection:
            return [DeadLetter(*row) for row in connection.execute(DEAD, (limit,)).fetchall()]

    def forget_dead_letters(self, last: int) -> None:
        with self.transaction() as connection:
            connection.execute(FORGET_DEAD, (last,))


def _pack(group: Sequence[_Append]) -> tuple[bytes, bytes]:
    shape = [number for entry in group for number in (len(entry.payload), entry.events)]
    return struct.pack(f"<{len(shape)}I", *shape), b"".join(entry.payload for entry in group)


def _unpack(last: int, shape: bytes, payload: bytes) -> list[_Entry]:
    entries: list[_Entry] = []
    start = 0
    first = last - len(shape) // _SHAPE.size + 1
    for offset, (size, events) in enumerate(_SHAPE.iter_unpack(shape), first):
        entries.append(_Entry(offset, events, payload[start : start + size]))
        start += size
    return entries
