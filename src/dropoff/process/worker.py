"""The worker: takes batches from the queue, makes rows of them and puts both into the store.

Read → store → commit, in that order. A crash before the store's commit repeats the batch; one after it, before the
queue's commit, hands out records whose offset the store already holds, and those are skipped.
"""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
import polars as pl
import structlog

from dropoff.errors import Unavailable
from dropoff.process import fold, frames, steps
from dropoff.process.fold import Rules
from dropoff.queue.base import Queue, Record
from dropoff.store.base import Change, Store

log = structlog.get_logger()

REJECTIONS = b"!"
"""A payload that begins so holds refused events as one JSON array; any other holds events, a JSON line each."""

MIN_EVENTS = 1_000
MAX_EVENTS = 250_000
_RETRY_SECONDS = 1.0
# What a later event can change of a message that is already there.
_REACHES_BACK = ("message_status", "opted_out", "event_retracted")
_MESSAGES = ("message_sent", "message_received")


class Rejected(msgspec.Struct, frozen=True):
    """A refused event on its way through the queue, in the columns of `rejected_events`."""

    id: str
    received_at: int
    reason: str
    field: str
    message: str
    body: str


class Tally(NamedTuple):
    """What became of one batch: how many events of which import (or None) were stored, or dropped for which reason."""

    offset: int
    events: int
    stored: Counter[str | None]
    dropped: steps.Drops


class Worker:
    """Drains a queue into a store. `step` does one batch; `run` goes on until told to stop."""

    def __init__(
        self, queue: Queue, store: Store, rules: Rules, on_tally: Callable[[Tally], None] = lambda _: None
    ) -> None:
        self._queue = queue
        self._store = store
        self._rules = rules
        self._on_tally = on_tally
        self._size = MIN_EVENTS
        self._pending: Sequence[Record] = ()

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set. What the store cannot take now is tried again."""
        while not stop.is_set():
            try:
                self.step(0.2)
            except Unavailable as error:
                log.warning("the store is unavailable, trying again", error=str(error))
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
        lines, rejected = _sort_out([r.payload for r in records if r.offset > seen])
        tally = Tally(max(seen, records[-1].offset), sum(part.count(b"\n") for part in lines), Counter(), Counter())
        # Until its last part is stored the batch counts as unread, so only that one moves the offset.
        todo = [(b"".join(lines), rejected, tally.offset)]
        while todo:
            part, refused, offset = todo.pop()
            try:
                self._store_part(part, refused, offset, tally)
            except Unavailable:
                raise
            except Exception as error:  # noqa: BLE001 - whatever one event does to the fold must not stop the others
                events = part.splitlines(keepends=True)
                if len(events) <= 1:
                    self._set_aside(part, error, tally)
                    todo.append((b"", refused, offset))
                else:
                    half = len(events) // 2
                    todo += [(b"".join(events[half:]), refused, offset), (b"".join(events[:half]), [], seen)]
        return tally

    def _store_part(self, lines: bytes, rejected: Sequence[Rejected], offset: int, tally: Tally) -> None:
        change, stored, dropped = prepare(lines, rejected, offset, self._store, self._rules)
        self._store.commit(change)
        tally.stored.update(stored)
        tally.dropped.update(dropped)

    def _set_aside(self, line: bytes, error: Exception, tally: Tally) -> None:
        if not line:  # not an event's fault: a commit of nothing but refused events failed
            raise error
        log.error("an event cannot be processed; it is kept in the dead letters", error=repr(error))
        self._queue.dead_letter(line, repr(error))
        tally.dropped[batch_of(line), "dead"] += 1


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
        if payload.startswith(REJECTIONS):
            rejected += msgspec.json.decode(payload[1:], type=list[Rejected])
        else:
            lines.append(payload)
    return lines, rejected


def prepare(
    lines: bytes, rejected: Sequence[Rejected], offset: int, store: Store, rules: Rules
) -> tuple[Change, Counter[str | None], steps.Drops]:
    """What a batch changes in the store, how many events of which import are new, and what was dropped and why.

    Reads the store, writes nothing.
    """
    refused = pl.DataFrame(
        [msgspec.structs.astuple(r) for r in rejected], schema=frames.frame_schema("rejected_events"), orient="row"
    )
    if not lines:
        return Change.of_nothing(offset, refused), Counter(), Counter()
    rows = frames.read_lines(lines)
    history = store.history(rows["key"].unique())
    batch = steps.run(rows, history)
    fresh = batch.rows.filter(pl.col("seq").is_null())
    numbered = fresh.with_columns(pl.int_range(pl.len()).alias("seq") + store.next_seq())
    change = Change(
        events=numbered.select(history.columns),
        superseded=batch.superseded,
        **_folded(batch, fresh, history, rules),
        rejected=refused,
        offset=offset,
    )
    return change, Counter(dict(fresh["batch"].value_counts().rows())), batch.dropped


def _folded(batch: steps.Batch, fresh: pl.DataFrame, history: pl.DataFrame, rules: Rules) -> dict[str, Any]:
    """The rows of the conversations that changed; of their messages only those that can have changed."""
    lost = history.filter(pl.col("seq").is_in(batch.superseded)) if batch.superseded else history.clear()
    named = pl.col("conversation_id").is_not_null()
    dirty = pl.concat([fresh.filter(named)["key"], lost.filter(named)["key"]]).unique()
    touched = batch.rows.filter(named & pl.col("key").is_in(dirty.implode()))
    facts = fold.fold(touched, rules)
    rewritten = _rewritten(touched, lost["key"])
    keep = pl.col("key").is_in(rewritten.implode()) | pl.col("event_id").is_in(fresh["id"].implode())
    return {"conversations": facts.conversations, "messages": facts.messages.filter(keep), "rewritten": rewritten}


def _rewritten(touched: pl.DataFrame, superseded: pl.Series) -> pl.Series:
    """The keys whose stored messages a new event may change: it sorts before one of them, or reaches back to it.

    In-order traffic only adds messages, and deleting from a large table is what costs most.
    """
    new = pl.col("seq").is_null()
    stored_message = ~new & pl.col("event_type").is_in(_MESSAGES)
    spans = touched.group_by("key").agg(
        pl.when(stored_message).then("timestamp").max().alias("latest"),
        pl.when(new).then("timestamp").min().alias("earliest"),
        (new & pl.col("event_type").is_in(_REACHES_BACK)).any().alias("reaches_back"),
    )
    reached = spans.filter(
        pl.col("latest").is_not_null() & ((pl.col("earliest") <= pl.col("latest")) | pl.col("reaches_back"))
    )["key"]
    return pl.concat([reached, superseded]).unique()
