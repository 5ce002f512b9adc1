"""The queue: a durable log of byte strings between the door and the worker. It knows no domain."""

from collections.abc import Sequence
from concurrent.futures import Future
from typing import NamedTuple, Protocol


class Record(NamedTuple):
    """One appended payload. Offsets rise by order of append; gaps are allowed."""

    offset: int
    payload: bytes


class Lag(NamedTuple):
    """What is appended and not yet committed. `seconds` is the age of the oldest such record, 0 if there is none."""

    events: int
    bytes: int
    seconds: float


class DeadLetter(NamedTuple):
    """A payload that could not be processed, and why. `at` is in seconds since the epoch."""

    id: int
    at: float
    reason: str
    payload: bytes


class Queue(Protocol):
    """A log with one consumer.

    Durable: the future of `append` is done only when the record survives a power cut (fsync); if it cannot be
    written the future raises `Unavailable` and the record is not in the log.
    At least once: `read` hands every record out in order of offset; after a restart it begins again behind the last
    `commit`, so the consumer has to tolerate a record it has already stored.
    Thread-safe: `append` from any thread; `read` and `commit` from the consumer's thread only.
    """

    def append(self, payload: bytes, events: int) -> Future[int]:
        """Append one payload that stands for `events` events. The future gives its offset, once durable."""
        ...

    def read(self, max_events: int, wait: float) -> Sequence[Record]:
        """The next unread records of together at most `max_events` events (but at least one record, if any).

        Waits up to `wait` seconds for the first one; returns an empty sequence when there is none.
        """
        ...

    def commit(self, offset: int) -> None:
        """All records up to and with `offset` are safe elsewhere; `read` will not hand them out again."""
        ...

    def lag(self) -> Lag:
        """What waits to be committed."""
        ...

    def dead_letter(self, payload: bytes, reason: str) -> None:
        """Set a payload aside, durably, that no attempt could process. Setting the same one aside twice keeps one."""
        ...

    def dead_letters(self, limit: int = 100) -> Sequence[DeadLetter]:
        """The latest dead letters, newest first."""
        ...

    def close(self) -> None:
        """Finish pending appends and close. Appending afterwards raises `Unavailable`."""
        ...
