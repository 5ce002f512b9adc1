"""Which worker reads which partitions of a queue: a table in the control state that every worker keeps renewing.

Each takes its fair share, gives up what is too much for the others, and takes over from those that were not heard of
for a while. That two read the same partition for a moment loses nothing and counts nothing twice: it costs double work.
"""

import time
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import suppress

import msgspec
import structlog

from dropoff.background import Background
from dropoff.control.base import Control
from dropoff.errors import Conflict, Unavailable

log = structlog.get_logger()

LEASE_SECONDS = 12.0
BEAT_SECONDS = 3.0


class Worker(msgspec.Struct, frozen=True):
    """What a worker says of itself: until when it counts as alive, what it reads, and whether its store is its own."""

    until: float
    partitions: Sequence[int]
    alone: bool = False


Table = Mapping[str, Worker]
_decode = msgspec.json.Decoder(dict[str, Worker]).decode


def share(table: Table, name: str, partitions: int, now: float) -> set[int]:
    """What the worker `name` should read: what it has, without what is too much, with what is free."""
    others = {other: worker for other, worker in table.items() if other != name and worker.until > now}
    rank, among = sorted([*others, name]).index(name), len(others) + 1
    quota = partitions // among + (rank < partitions % among)
    taken = {number for worker in others.values() for number in worker.partitions}
    mine = [number for number in (table[name].partitions if name in table else ()) if number not in taken]
    free = [number for number in range(partitions) if number not in taken and number not in mine]
    return set([*mine, *free][:quota])


class Shares(Background):
    """Keeps this worker's share of `partitions` current in a thread of its own; `own` tells the queue to read them.

    `alone`: the store takes only one worker, and `name` stays the same when it is started again.
    """

    def __init__(
        self, control: Control, key: str, name: str, partitions: int, own: Callable[[Set[int]], Set[int]],
        *, alone: bool = False, clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        super().__init__("shares")
        self._control, self._key, self._name, self._partitions, self._own = control, key, name, partitions, own
        self._alone, self._clock = alone, clock
        self._mine: Set[int] = set()

    def start(self) -> None:
        """Take a share. Raises `Unavailable` if control state or queue are, or if a store that takes one worker has
        another one."""
        self.beat()
        super().start()

    def stop(self) -> None:
        """Leave everything to the others: call it when the worker has committed its last batch."""
        super().stop()
        with suppress(Unavailable):  # what cannot be given up now, is free when the lease ends
            self._own(set())
            self._change(lambda table: {name: worker for name, worker in table.items() if name != self._name})

    def run(self) -> None:
        """Renew it again and again."""
        while not self.stopping.wait(BEAT_SECONDS):
            try:
                self.beat()
            except Unavailable as error:
                log.warning("this worker's share cannot be renewed, trying again", error=str(error))

    def beat(self) -> None:
        """Renew what is read here; give up what is too much, then take what is due."""
        table, _ = self._read()
        wanted = self._mine & share(table, self._name, self._partitions, self._clock())
        held = self._own(wanted)  # given up, and still worked on: ours until the next time

        def renewed(table: Table) -> Table:
            nonlocal wanted
            now = self._clock()
            others = {name: worker for name, worker in table.items() if name != self._name and worker.until > now}
            self._check_alone(others)
            wanted = share(table, self._name, self._partitions, now)
            return {**others, self._name: Worker(now + LEASE_SECONDS, sorted(wanted | held), self._alone)}

        self._change(renewed)
        self._mine = wanted
        self._own(wanted)

    def _check_alone(self, others: Table) -> None:
        for name, worker in others.items():
            if self._alone or worker.alone:
                raise Unavailable(
                    f"{self._key} has a worker, {name}, and {'this' if self._alone else 'its'} store takes only one"
                )

    def _read(self) -> tuple[dict[str, Worker], int]:
        found = self._control.get(self._key)
        return (_decode(found.value), found.version) if found else ({}, 0)

    def _change(self, change: Callable[[Table], Table]) -> None:
        while True:
            table, version = self._read()
            with suppress(Conflict):  # somebody was faster: look again
                self._control.put(self._key, msgspec.json.encode(change(table)), version)
                return
