"""The store: where events and what is made of them rest. The worker writes it, every question reads it."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import polars as pl


class Change(NamedTuple):
    """What one batch changes; `commit` applies all of it or nothing. Frames are in the columns of `tables`.

    `events` are inserted; `superseded` are the `seq` of stored events that they replace. The rows of `conversations`
    replace those of the same key; `messages` are inserted after all messages of the keys in `rewritten` were deleted.
    """

    events: pl.DataFrame
    superseded: Sequence[int]
    conversations: pl.DataFrame
    messages: pl.DataFrame
    rewritten: pl.Series
    rejected: pl.DataFrame
    offset: int

    @classmethod
    def of_nothing(cls, offset: int, rejected: pl.DataFrame) -> "Change":
        """No event: only refused ones, and the offset."""
        none, keys = pl.DataFrame(), pl.Series("key", [], pl.UInt64)
        return cls(none, (), none, none, keys, rejected, offset)


class Answer(NamedTuple):
    """The rows of a SELECT. Instants are naive datetimes in UTC."""

    columns: list[str]
    rows: list[tuple[Any, ...]]

    def dicts(self) -> list[dict[str, Any]]:
        """The rows by column name."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


class Store(Protocol):
    """One writer, many readers.

    `history` and `commit` are called by one thread; `select` by any. A failed commit leaves everything as it was and
    raises `Unavailable` where trying again may help (a full disk).
    """

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
        """Run one SELECT with named parameters (`$name`)."""
        ...

    def delete_rejected(self, ids: Sequence[str]) -> None:
        """Forget refused events, after they were replayed."""
        ...

    def close(self) -> None:
        """Checkpoint and close. Idempotent."""
        ...
