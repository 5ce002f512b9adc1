"""The worker: takes batches from the queue, makes rows of them and puts both into the store.

Read → store → commit, in that order. A crash before the store's commit repeats the batch; one after it, before the
queue's commit, hands out records whose offset the store already holds, and those are skipped.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
import polars as pl
import structlog

from dropoff.errors import Unavailable
from dropoff.process import fold, frames, steps
from dropoff.process.fold import Rules
from dropoff.queue.base import Queue
from dropoff.store.base import Change, Store
from dropoff.store.tables import REJECTED

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
    """What became of one batch. `dropped`: how many events of which import (or None) were dropped for which reason."""

    offset: int
    events: int
    stored: int
    dropped: Counter[tuple[str | None, str]]
    dead: int


@dataclass(slots=True)
class _Work:
    """The payloads of some records, apart by kind."""

    lines: list[bytes] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)


class Worker:
    """Drains a queue into a store. `step` does one batch; `run` goes on until told to stop."""

    def __init__(self, queue: Queue, store: Store, rules: Rules, on_tally: Callable[[Tally], None] | None = None):
        self._queue = queue
        self._store = store
        self._rules = rules
        self._on_tally = on_tally or (lambda _: None)
        self._size = MIN_EVENTS

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set. What the store cannot take now is tried again."""
        while not stop.is_set():
            try:
                self.step(0.2)
            except Unavailable as error:
                log.warning("store unavailable, trying again", error=str(error))
                stop.wait(_RETRY_SECONDS)

    def step(self, wait: float) -> Tally | None:
        """Take, process and commit one batch; None when nothing came within `wait` seconds.

        Raises `Unavailable` when the store cannot be written; the same batch is then read again.
        """
        records = self._pending or self._queue.read(self._size, wait)
        if not records:
            self._size = MIN_EVENTS
            return None
        self._pending = records
        seen = self._store.offset()
        work = _sort_out([r.payload for r in records if r.offset > seen])
        offset = max(seen, records[-1].offset)
        dead, dropped, stored = 0, Counter[tuple[str | None, str]](), 0
        for part in self._attempts(work, seen, offset):
            if isinstance(part, int):
                dead += part
            else:
                stored += part[0]
                dropped += part[1]
        self._queue.commit(records[-1].offset)
        self._pending = ()
        tally = Tally(offset, len(work.lines) and _count(work.lines), stored, dropped, dead)
        self._adapt(tally)
        self._on_tally(tally)
        return tally

    _pending: Sequence = ()

    def _adapt(self, tally: Tally) -> None:
        # Under backlog large batches cost least an event; at rest small ones are visible soonest.
        full = tally.events >= self._size // 2
        self._size = min(self._size * 4, MAX_EVENTS) if full else max(self._size // 2, MIN_EVENTS)

    def _attempts(self, work: _Work, seen: int, offset: int) -> Iterator[tuple[int, Counter] | int]:
        """Store the whole batch; where that fails, ever smaller parts, until the one event that fails stands alone."""
        todo: list[tuple[_Work, int]] = [(work, offset)]
        while todo:
            part, reached = todo.pop()
            try:
                yield self._store_part(part, reached)
            except Unavailable:
                raise
            except Exception as error:  # whatever an event can do to the fold must not stop the others
                lines = b"".join(part.lines).splitlines(keepends=True)
                if len(lines) <= 1:
                    log.error("event cannot be processed", error=repr(error))
                    self._queue.dead_letter(b"".join(part.lines), repr(error))
                    yield self._store_part(_Work([], part.rejected), reached) and 1
                    continue
                half = len(lines) // 2
                # Only the last part may move the offset: until then the batch counts as unread.
                todo.append((_Work(lines[half:], part.rejected), reached))
                todo.append((_Work(lines[:half]), seen))

    def _store_part(self, work: _Work, offset: int) -> tuple[int, Counter[tuple[str | None, str]]]:
        change, dropped = prepare(work.lines, work.rejected, offset, self._store, self._rules)
        self._store.commit(change)
        return len(change.events), dropped


def _sort_out(payloads: Sequence[bytes]) -> _Work:
    work = _Work()
    for payload in payloads:
        if payload.startswith(REJECTIONS):
            work.rejected += msgspec.json.decode(payload[1:], type=list[Rejected])
        else:
            work.lines.append(payload)
    return work


def _count(lines: Sequence[bytes]) -> int:
    return sum(payload.count(b"\n") for payload in lines)


def prepare(
    lines: Sequence[bytes], rejected: Sequence[Rejected], offset: int, store: Store, rules: Rules
) -> tuple[Change, Counter[tuple[str | None, str]]]:
    """What these payloads change in the store, and what was dropped on the way. Reads the store, writes nothing."""
    refused = pl.DataFrame(
        [msgspec.structs.asdict(r) for r in rejected], schema=frames.frame_schema(REJECTED_TABLE), orient="row"
    )
    if not lines:
        empty = {name: pl.DataFrame(schema=frames.frame_schema(name)) for name in ("events", "conversations", "messages")}
        none = pl.Series("key", [], pl.UInt64)
        return Change(**empty, superseded=(), rewritten=none, rejected=refused, offset=offset), Counter()
    rows = frames.read_lines(b"".join(lines))
    history = store.history(rows["key"].unique())
    batch = steps.run(rows, history)
    fresh = batch.rows.filter(pl.col("seq").is_null())
    events = fresh.with_columns(pl.int_range(pl.len()).alias("seq") + store.next_seq())
    conversations, messages, rewritten = _folded(batch, fresh, history, rules)
    change = Change(
        events=events.select(history.columns),
        superseded=batch.superseded,
        conversations=conversations,
        messages=messages,
        rewritten=rewritten,
        rejected=refused,
        offset=offset,
    )
    return change, batch.dropped


REJECTED_TABLE = "rejected_events"
assert [c.name for c in REJECTED] == list(Rejected.__struct_fields__)  # noqa: S101 - two spellings of one table


def _folded(
    batch: steps.Batch, fresh: pl.DataFrame, history: pl.DataFrame, rules: Rules
) -> tuple[pl.DataFrame, pl.DataFrame, pl.Series]:
    """The rows of the conversations that changed; of their messages only those that can have changed."""
    lost = history.filter(pl.col("seq").is_in(batch.superseded)) if batch.superseded else history.clear()
    named = pl.col("conversation_id").is_not_null()
    dirty = pl.concat([fresh.filter(named)["key"], lost.filter(named)["key"]]).unique()
    touched = batch.rows.filter(named & pl.col("key").is_in(dirty.implode()))
    facts = fold.fold(touched, rules)
    rewritten = _rewritten(touched, lost["key"])
    keep = pl.col("key").is_in(rewritten.implode()) | pl.col("event_id").is_in(fresh["id"].implode())
    return facts.conversations, facts.messages.filter(keep), rewritten


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
