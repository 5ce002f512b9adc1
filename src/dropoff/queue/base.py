"""The queue: a durable log of byte strings between the door and the worker. It knows no domain."""

from collections.abc import Sequence, Set
from concurrent.futures import Future
from typing import NamedTuple, Protocol, runtime_checkable

from dropoff.errors import InvalidInput

MOST_EVENTS = 2**32 - 1


class Record(NamedTuple):
    """One appended payload. Within a partition offsets rise by order of append; gaps are allowed."""

    offset: int
    payload: bytes


class Lag(NamedTuple):
    """What is appended and not yet committed. `seconds` is the age of the oldest such record, 0 if there is none.

    All three are 0 if nothing waits. Of what waits far behind or is read elsewhere, a queue on other machines may
    estimate the size and not know the age.
    """

    events: int
    bytes: int
    seconds: float


class DeadLetter(NamedTuple):
    """A payload that could not be processed, and why. `id`: from 1, of a later one higher. `at`: seconds since 1970."""

    id: int
    at: float
    reason: str
    payload: bytes


class Queue(Protocol):
    """A log, in partitions that are read independently of one another.

    Durable: the future of `append` is done only when the record is safe from a crash (which crash, the adapter says);
    else it raises `Unavailable`, and then the record need not be in the log, but it may: its sender repeats it.
    At least once: `read` hands out the records of each partition in order of offset; after a restart it begins again
    behind the last `commit`, so the consumer has to tolerate a record it has already stored.
    Thread-safe: `append` and `lag` from any thread; `read` and `commit` from the consumer's thread only.
    """

    @property
    def partitions(self) -> int:
        """How many there are, numbered from 0: fixed when the log is made."""
        ...

    @property
    def max_bytes(self) -> int:
        """The largest payload that `append` takes."""
        ...

    @property
    def ordered(self) -> bool:
        """Whether no offset handed out is ever followed by a lower one that was not handed out before.

        Then a consumer that stores the last offset with its work knows a repeated record by it.
        """
        ...

    def append(self, payload: bytes, events: int, partition: int = 0) -> Future[int]:
        """Append one payload that stands for `events` events. The future gives its offset, once durable.

        Never waits. Raises `InvalidInput` for a payload, a number or a partition that cannot be.
        """
        ...

    def read(self, max_events: int, wait: float) -> Sequence[Record]:
        """The next unread records of together at most `max_events` events (but at least one record, if any).

        Waits up to `wait` seconds for the first one; returns an empty sequence when there is none.
        """
        ...

    def commit(self, offset: int) -> None:
        """The record with this offset and all that were handed out before it are safe elsewhere.

        `read` will not hand them out again.
        """
        ...

    def lag(self) -> Lag:
        """What waits to be committed. Where the queue is elsewhere it is asked, which may raise `Unavailable`."""
        ...

    def backlog(self) -> int:
        """The bytes that wait to be committed, as far as is known: asks nobody, and may be some seconds old."""
        ...

    def dead_letter(self, payload: bytes, reason: str) -> None:
        """Set aside a payload, durably, that no attempt could process. Of the same one, twice, the later stays."""
        ...

    def dead_letters(self, limit: int | None = 100) -> Sequence[DeadLetter]:
        """The latest dead letters, newest first; None: all of them."""
        ...

    def forget_dead_letters(self, last: int) -> None:
        """Forget the dead letters up to this id, which were appended once more; one that came back has a higher id."""
        ...

    def close(self) -> None:
        """Finish pending appends and close. Appending afterwards raises `Unavailable`."""
        ...


@runtime_checkable
class Shared(Protocol):
    """A queue whose readers agree among themselves, elsewhere, on who reads which partition."""

    def own(self, partitions: Set[int]) -> Set[int]:
        """Read these partitions and no others from now on; at first none is read. From any thread.

        Returns the partitions given up of which records are handed out and not committed: until they are, nobody else
        should read those. Raises `Unavailable`, and then what is read may be fewer than were asked for.
        """
        ...


def check_append(queue: Queue, payload: bytes, events: int, partition: int) -> None:
    """Raise `InvalidInput` for what `queue` cannot take."""
    if not 0 <= events <= MOST_EVENTS:
        raise InvalidInput("events", events, f"from 0 to {MOST_EVENTS}")
    if not 0 <= partition < queue.partitions:
        raise InvalidInput("partition", partition, f"from 0 to {queue.partitions - 1}")
    if len(payload) > queue.max_bytes:
        raise InvalidInput("payload", f"{len(payload)} bytes", f"at most {queue.max_bytes} bytes")
