"""The store: where events and what is made of them rest. The worker writes it, every question reads it."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple, Protocol

import polars as pl

from dropoff.errors import InvalidInput
from dropoff.store import tables
from dropoff.store.sql import Dialect


class Rows(NamedTuple):
    """New rows of one table, after those of the keys in `gone` were deleted.

    `since`: of those that are to be deleted none has an earlier `timestamp` (microseconds), so that a store need not
    look at what is older; None where that is not known.
    """

    gone: pl.Series
    fresh: pl.DataFrame
    since: int | None = None


class Change(NamedTuple):
    """What one batch changes; `commit` applies all of it or nothing. Frames are in the columns of `tables`.

    `events` are inserted; `superseded` are the `seq` of stored events that they replace. `rows` are by table.

    In a shared store the events are there already, and `versions` says what the rows were made of: for each `key` that
    was folded the number of events then stored (`version`), with `contact_id` where it is a contact's.
    """

    events: pl.DataFrame
    superseded: Sequence[int]
    rows: Mapping[str, Rows]
    rejected: pl.DataFrame
    offset: int
    versions: pl.DataFrame = pl.DataFrame()

    @classmethod
    def of_nothing(cls, offset: int, rejected: pl.DataFrame) -> "Change":
        """No event: only refused ones, and the offset."""
        return cls(pl.DataFrame(), (), {}, rejected, offset)


class Answer(NamedTuple):
    """The rows of a SELECT. Instants are naive datetimes in UTC."""

    columns: list[str]
    rows: list[tuple[Any, ...]]

    def dicts(self) -> list[dict[str, Any]]:
        """The rows by column name."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


class Part(NamedTuple):
    """What a scan reads: all rows of a table as they are stored, or of a view `…_all` as a reader sees them.

    Of `events` only those with a `seq` above `after`.
    """

    table: str
    after: int = -1

    def __str__(self) -> str:
        return f"{self.table}:{self.after}" if self.after >= 0 else self.table

    @classmethod
    def parse(cls, text: str) -> "Part":
        """The part that `str` wrote; raises `InvalidInput` for what is neither a table nor a view."""
        table, _, after = text.partition(":")
        views = (f"{name}_all" for name in ("events", *tables.OF_CONVERSATIONS, "attributions"))
        if table not in (*tables.TABLES, *views, "dirty_slots") or not (after or "0").isdecimal():
            raise InvalidInput("table", text, f"one of {', '.join(tables.TABLES)}")
        return cls(table, int(after)) if after else cls(table)


class Store(Protocol):
    """Written by one worker, or where it is `shared` by several; read by many.

    `history` and `commit` are called by one thread; `select` and `frame` by any. A failed commit leaves everything as
    it was and raises `Unavailable` where trying again may help (a full disk).
    """

    @property
    def dialect(self) -> Dialect:
        """In which a statement for `select` is written."""
        ...

    @property
    def shared(self) -> bool:
        """Whether several workers may write at once: this is then a `SharedStore`, else a `SoleStore`."""
        ...

    def offset(self) -> int:
        """The queue offset of the last commit, 0 at first: what lies at or before it is already stored."""
        ...

    def next_seq(self) -> int:
        """The `seq` for the next event to insert."""
        ...

    def history(self, keys: pl.Series) -> pl.DataFrame:
        """All stored events of these keys, in the columns of `events`; instants as integers of microseconds."""
        ...

    def commit(self, change: Change) -> None:
        """Apply a change durably, and remember its queue offset with it."""
        ...

    def select(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Answer:
        """Run one SELECT in the store's dialect, with the named parameters of `Dialect.parameter`."""
        ...

    def frame(self, sql: str, parameters: Mapping[str, Any] | None = None) -> pl.DataFrame:
        """As `select`, for many rows: a column each, instants as naive datetimes in UTC, of microseconds."""
        ...

    def scan(self, parts: Sequence[Part]) -> Iterator[tuple[Part, pl.DataFrame]]:
        """The parts one after the other, in frames of bounded size, as they all were when the first was read.

        Each part gives at least one frame, if an empty one. Instants are naive datetimes in UTC, of microseconds;
        events of a store with one worker come in the order of `seq`. Called by any thread. Where the engine has no
        such snapshot over several tables, each is as it was when it was read.
        """
        ...

    def query(self, text: str, seconds: float, rows: int) -> Answer:
        """Run somebody's own SQL: one SELECT, which can change nothing and reach no file; so many seconds and rows.

        Raises `InvalidInput` for anything else.
        """
        ...

    def dirty_slots(self) -> list[datetime]:
        """The quarters of an hour (their beginnings) whose metrics may have changed since they were rolled up."""
        ...

    def forget_slots(self, slots: Sequence[datetime]) -> None:
        """These are rolled up. Called by the writer's thread, so none of them can have become dirty again."""
        ...

    def rollup_plan(self) -> str | None:
        """What the rollups were last made by."""
        ...

    def restart_rollups(self, plan: str) -> None:
        """Empty the rollups, mark every quarter of an hour that has data, and remember the new plan."""
        ...

    def replace_rollups(self, hours: Sequence[datetime], rows: pl.DataFrame, days: Sequence[date], zone: str) -> None:
        """Put rows of `metrics_hourly` in the place of those of these hours; days become the sums of their hours."""
        ...

    def delete_rejected(self, ids: Sequence[str]) -> None:
        """Forget refused events, after they were replayed."""
        ...

    def close(self) -> None:
        """Checkpoint and close. Idempotent."""
        ...


class SoleStore(Store, Protocol):
    """A store that one worker writes, which may therefore keep in memory what it has read."""

    def conversations_of(self, contacts: Sequence[str]) -> pl.Series:
        """The keys of the conversations whose contact is one of these ids."""
        ...

    def contact_events(self, types: Sequence[str]) -> pl.DataFrame:
        """All stored events of these (rare) types, in the columns of `events`."""
        ...

    def loose_contacts(self) -> set[str]:
        """The contacts that have events of their own, which name no conversation."""
        ...


class SharedStore(Store, Protocol):
    """A store that several workers write at once, without transactions. Every write may be repeated.

    A worker appends its events first, reads back all that bears on their conversations, folds, and commits rows with
    the number of events it saw: of two workers the one that saw more wins. `commit` is then not all or nothing, but
    what it leaves half-done a repetition completes; `offset` is 0; `history` also holds events that were superseded.
    """

    def link(self, links: pl.DataFrame) -> None:
        """Remember which contacts events name: `contact_id`, `key` of the event, and whether that makes it `live`.

        To be called before the events are appended: an event without its links would not be found again.
        """
        ...

    def append(self, events: pl.DataFrame) -> None:
        """Add events, in the columns of `events`. They are durable and seen by all workers when it returns."""
        ...

    def related(self, contacts: Sequence[str]) -> pl.DataFrame:
        """Of these contacts those that are live, each with every key it is linked to: `contact_id`, `key`."""
        ...
