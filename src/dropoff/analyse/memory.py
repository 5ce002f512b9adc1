"""What takes long to learn of a store is remembered, and learned anew beside those who ask for it.

What was learned is fresh for a hundred times as long as that took, at most a minute. After that whoever asks waits for
the new, if it takes no longer than `PATIENCE`. Where it does they get what is known, up to an hour old, and another
thread learns, which spends a hundredth of the time on it; so only the first question about something waits for it.
"""

import time
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import RLock
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

from dropoff.background import give_way
from dropoff.store.base import Store

FRESH = 60.0
OLD = 3600.0
PATIENCE = 0.2
_PART = 0.01
_KEPT = 64

Value = TypeVar("Value")


@dataclass(slots=True)
class _Known(Generic[Value]):
    """What was learned of the world at `now`, when (by a clock that never goes back), and how long it took."""

    value: Value
    now: datetime
    at: float
    took: float
    is_renewed: bool = False

    def is_fresh(self, now: datetime, clock: float) -> bool:
        return self._is_within(now, FRESH, clock, min(FRESH, self.took / _PART))

    def will_do(self, now: datetime, clock: float) -> bool:
        return self.took > PATIENCE and self._is_within(now, OLD, clock, OLD)

    def is_due(self, clock: float) -> bool:
        """Whether it is time to learn it anew: what takes very long, before it is too old."""
        return clock >= self.at + min(self.took / _PART, OLD / 2)

    def _is_within(self, now: datetime, apart: float, clock: float, age: float) -> bool:
        return clock < self.at + age and abs(now - self.now) <= timedelta(seconds=apart)


class Memory(Generic[Value]):
    """What was learned by store and key. Called by any thread. `clock`: seconds, never going back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # A store of the past goes with the last question that has it: this must not hold it.
        self._known = WeakKeyDictionary[Store, dict[Hashable, _Known[Value]]]()
        self._lock = RLock()  # one thread learns at a time; what it learns may need something else
        self._aside = ThreadPoolExecutor(1, "learning", give_way)

    def get(self, store: Store, key: Hashable, now: datetime, learn: Callable[[], Value]) -> Value:
        """What is known, or else what `learn` says: the value for `key` as the world is at `now`."""
        known, clock = self._known.get(store, {}).get(key), self._clock()
        if known is not None and known.is_fresh(now, clock):
            return known.value
        if known is None or not known.will_do(now, clock):
            return self._learned(store, key, now, learn)
        if known.is_due(clock) and not known.is_renewed:
            known.is_renewed = True
            self._aside.submit(self._renew, known, store, key, now, learn)
        return known.value

    def _renew(
        self, known: _Known[Value], store: Store, key: Hashable, now: datetime, learn: Callable[[], Value]
    ) -> None:
        try:
            self._learned(store, key, now, learn)
        finally:  # where it failed the next question tries again, and an hour later shows why
            known.is_renewed = False

    def _learned(self, store: Store, key: Hashable, now: datetime, learn: Callable[[], Value]) -> Value:
        with self._lock:
            known = self._known.get(store, {}).get(key)
            if known is not None and known.is_fresh(now, self._clock()):  # by somebody else, meanwhile
                return known.value
            begin = self._clock()
            value = learn()
            self._keep(store, key, _Known(value, now, self._clock(), self._clock() - begin))
            return value

    def _keep(self, store: Store, key: Hashable, fresh: _Known[Value]) -> None:
        others = [(k, known) for k, known in self._known.get(store, {}).items() if k != key]
        self._known[store] = dict([*others[-_KEPT + 1 :], (key, fresh)])
