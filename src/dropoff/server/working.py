"""The worker's thread: its batches, and what it does between two of them."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

from dropoff.aggregate.rollups import Plan, refresh
from dropoff.background import Background
from dropoff.process.worker import Worker
from dropoff.server.imports import Imports
from dropoff.server.shares import Shares
from dropoff.store.base import Store

FIRST = 30.0
"""Under load a worker alone begins to roll up after so many seconds: an import that takes less is rolled up once."""
AT_REST = 0.5
"""After so many seconds without work it is at rest, and rolls up at once; a sender that pauses less goes on to send."""
SELDOM = 100
"""Under load it then rolls up for one part in so many of its time: events wait meanwhile, and no page needs it."""
LATEST = 600.0
"""But at the latest after so many seconds."""


class Rollups:
    """Keeps the rollups current in the worker's thread: at rest at once, under load with a hundredth of the time.

    Where several workers share a store, `may` says whether it is this one that rolls up, for all of them.
    """

    def __init__(self, store: Store, plan: Plan, may: Callable[[], bool] | None = None) -> None:
        self._store = store
        self._plan = plan
        self._may = may
        self._next = 0.0 if may else time.monotonic() + FIRST
        self._worked = 0.0
        self.current = False

    def between(self, idle: bool) -> None:
        """Called between two batches."""
        begin = time.monotonic()
        if not idle:
            self.current, self._worked = False, begin
        idle = begin - self._worked >= AT_REST
        if self._may is not None:
            # What the others have written is not known here: look again and again.
            if begin < self._next:
                return
        elif self.current or not (idle or begin >= self._next):
            return
        if self._may is None or self._may():
            refresh(self._store, self._plan, datetime.now(UTC))
        self.current = idle
        took = time.monotonic() - begin
        self._next = time.monotonic() + max(1.0, self._rest(idle, took))

    def _rest(self, idle: bool, took: float) -> float:
        """How long nothing is rolled up under load; of a shared store at rest neither, for as long as it took."""
        if not idle:
            return min(SELDOM * took, max(LATEST, 10 * took))
        return FIRST if self._may is None else took


class WorkerThread(Background):
    """The worker in a thread of its own, with what it does between two of its batches, and its share of the queue."""

    def __init__(self, worker: Worker, rollups: Rollups, shares: Shares | None, imports: Imports) -> None:
        super().__init__("worker")
        self.rollups = rollups
        self._worker = worker
        self._shares = shares
        self._imports = imports

    def start(self) -> None:
        """Take a share of the queue, and begin."""
        if self._shares:
            self._shares.start()
        super().start()

    def run(self) -> None:
        """Batch after batch."""
        self._worker.run(self.stopping, self._between)

    def stop(self) -> None:
        """Finish the batch, commit it, and leave the queue to others."""
        super().stop()
        if self._shares:
            self._shares.stop()

    def _between(self, idle: bool) -> None:
        self._imports.keep()
        self.rollups.between(idle)
