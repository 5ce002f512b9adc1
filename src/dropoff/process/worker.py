"""The worker: takes batches from the queue, makes rows of them and puts both into the store.

Read → store → commit, in that order. A crash before the store's commit repeats the batch; one after it, before the
queue's commit, hands out records that the store already holds: they are skipped by their offset where the queue is one
log, and where it is not, their events are copies of stored ones.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import msgspec
import polars as pl
import structlog

from dropoff.errors import Unavailable
from dropoff.intake import REFUSED, Rejected
from dropoff.process import frames, steps
from dropoff.process.changes import Alone
from dropoff.process.fold import Rules
from dropoff.process.shared import Among
from dropoff.queue.base import Queue, Record
from dropoff.store.base import Change, SharedStore, SoleStore, Store

log = structlog.get_logger()

MIN_EVENTS = 1_000
MAX_EVENTS = 65_536
"""Twice as many cost as much an event and take a quarter more memory; half as many cost an eighth more."""
MAX_DEAD = 20
"""After so many dead letters of a batch of which nothing could be stored, the worker waits for help instead."""
_RETRY_SECONDS = 1.0
_REST_SECONDS = 0.25


class Tally(NamedTuple):
    """What became of one batch: how many events of which import (or None) were stored, or dropped for which reason."""

    offset: int
    events: int
    stored: Counter[str | None]
    dropped: steps.Drops

    @property
    def dead(self) -> int:
        """How many ended in the dead letters."""
        return sum(count for (_, reason), count in self.dropped.items() if reason == "dead")


class Worker:
    """Drains a queue into a store. `step` does one batch; `run` goes on until told to stop."""

    def __init__(
        self, queue: Queue, store: Store, rules: Rules, on_tally: Callable[[Tally], None] = lambda _: None
    ) -> None:
        self._queue = queue
        self._store = store
        self._changes = made_by(store, rules)
        self._on_tally = on_tally
        self._size = MIN_EVENTS
        self._pending: Sequence[Record] = ()

    def run(self, stop: threading.Event, between: Callable[[bool], None] = lambda _: None) -> None:
        """Work until `stop` is set. What the store cannot take now is tried again.

        After each batch, and at rest, `between` is called in this thread; it is told whether there was nothing to do.
        """
        while not stop.is_set():
            begin = time.monotonic()
            try:
                tally = self.step(0.2)
                between(tally is None)
                if tally is not None and tally.events < MIN_EVENTS:
                    # A trickle gathers while we rest as long as we worked: the door keeps half of the time.
                    stop.wait(min(time.monotonic() - begin, _REST_SECONDS))
            except Unavailable as error:
                log.error("queue or store is unavailable, trying again", error=repr(error))
                stop.wait(_RETRY_SECONDS)

    def step(self, wait: float) -> Tally | None:
        """Take, process and commit one batch; None when nothing came within `wait` seconds.

        Raises `Unavailable` when the store cannot be written; the next step tries the same batch again.
        """
        records = self._pending or self._queue.read(self._size, wait)
        if not records:
            self._size = MIN_EVENTS
            return None
        self._pending = records
        tally = self._absorb(records)
        self._queue.commit(records[-1].offset)
        self._pending = ()
        self._adapt(tally)
        self._on_tally(tally)
        return tally

    def _adapt(self, tally: Tally) -> None:
        # Under backlog large batches cost least an event; at rest small ones are visible soonest.
        full = tally.events >= self._size // 2
        self._size = min(self._size * 4, MAX_EVENTS) if full else max(self._size // 2, MIN_EVENTS)

    def _absorb(self, records: Sequence[Record]) -> Tally:
        """Store a batch; where that fails, ever smaller parts of it, until the one event that fails stands alone."""
        seen = self._store.offset()
        if self._queue.ordered:
            records, last = [r for r in records if r.offset > seen], max(seen, records[-1].offset)
        else:
            last = seen  # a repeated record is known by the ids in it
        lines, rejected = _sort_out([r.payload for r in records])
        tally = Tally(last, sum(part.count(b"\n") for part in lines), Counter(), Counter())
        # Until its last part is stored the batch counts as unread, so only that one moves the offset.
        todo = [(b"".join(lines), rejected, tally.offset)]
        while todo:
            part, refused, offset = todo.pop()
            try:
                self._store_part(part, refused, offset, tally)
            except Unavailable:
                raise
            except Exception as error:  # whatever one event does to the fold must not stop the others
                events = part.splitlines(keepends=True)
                if len(events) <= 1:
                    self._set_aside(part, error, tally)
                    todo.append((b"", refused, offset))
                else:
                    half = len(events) // 2
                    todo += [(b"".join(events[half:]), refused, offset), (b"".join(events[:half]), [], seen)]
        return tally

    def _store_part(self, lines: bytes, rejected: Sequence[Rejected], offset: int, tally: Tally) -> None:
        refused = pl.DataFrame(
            [msgspec.structs.astuple(r) for r in rejected], schema=frames.frame_schema("rejected_events"), orient="row"
        )
        if not lines:
            self._store.commit(Change.of_nothing(offset, refused))
            return
        work = self._changes.prepare(lines)
        self._store.commit(Change(work.events, work.superseded, work.rows, refused, offset, work.versions))
        self._changes.keep(work)
        tally.stored.update(work.stored)
        tally.dropped.update(work.dropped)

    def _set_aside(self, line: bytes, error: Exception, tally: Tally) -> None:
        if not line:  # not an event's fault: a commit of nothing but refused events failed
            raise error
        if tally.dead >= MAX_DEAD and not tally.stored:
            raise Unavailable(f"no event of a batch can be processed, so the fault is not theirs: {error!r}") from error
        log.error("an event cannot be processed; it is kept in the dead letters", error=repr(error))
        self._queue.dead_letter(line, repr(error))
        tally.dropped[batch_of(line), "dead"] += 1


def made_by(store: Store, rules: Rules) -> Alone | Among:
    """Makes the changes of a worker of this store: its only one, or one of several."""
    return Among(cast(SharedStore, store), rules) if store.shared else Alone(cast(SoleStore, store), rules)


def batch_of(line: bytes) -> str | None:
    """The import a queue line belongs to, if it can be told."""
    try:
        return msgspec.json.decode(line, type=_Batch).name
    except msgspec.DecodeError:
        return None


class _Batch(msgspec.Struct):
    name: str | None = msgspec.field(default=None, name="#batch")


def _sort_out(payloads: Sequence[bytes]) -> tuple[list[bytes], list[Rejected]]:
    """Payloads of events, and refused events."""
    lines, rejected = [], []
    for payload in payloads:
        if payload.startswith(REFUSED):
            rejected += msgspec.json.decode(payload[1:], type=list[Rejected])
        else:
            lines.append(payload)
    return lines, rejected
