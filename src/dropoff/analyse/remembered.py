"""Answers that take long, kept for whoever asks next: by store, question, and how much the store held.

An answer is *current* while nothing has been stored since and it is at most `LIFE` old: what becomes old enough to
count meanwhile is not in it. Up to `MANY` events `get` gives only what is current and of the same minute. A larger
store shows at once what it has, its age with it (`as_of`), for at most `SHOWN`, and another thread makes it anew.

What is learned of a history, and goes into many answers, is remembered by other rules: `memory.py`.
"""

import time
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from threading import Lock
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import structlog

from dropoff.background import give_way
from dropoff.store.base import Store
from dropoff.store.sql import PHYSICAL

log = structlog.get_logger()

LIFE = timedelta(minutes=10)
SHOWN = timedelta(hours=1)
PART = 0.01
"""Where events come all the time, about this part of the time is spent on making an answer anew."""
KEPT = 64
"""So many answers of a store are kept, the latest."""
MANY = 1_000_000
"""From so many events on an answer may be shown that is not current."""
PATIENCE = timedelta(seconds=0.1)
"""Whatever takes no longer is always made anew."""


class Kept(NamedTuple):
    """An answer, when it was made, how much the store held then, and how long making it took."""

    answer: Any
    at: datetime
    version: tuple[int, ...]
    cost: timedelta


def version(store: Store) -> tuple[int, ...]:
    """What changes with every event that is stored."""
    return tuple(int(n or 0) for n in store.select(f"SELECT count(*), max(seq) FROM {PHYSICAL['events']}").rows[0])


def is_large(store: Store) -> bool:
    """Whether an answer may be shown that is not current."""
    return version(store)[0] >= MANY


class Remembered:
    """Called by any thread; of two that ask the same at once one waits for the other."""

    def __init__(self) -> None:
        # A store of the past goes with the last question that has it: this must not hold it.
        self._kept = WeakKeyDictionary[Store, dict[Hashable, Kept]]()
        self._locks: dict[Hashable, Lock] = {}
        self._guard = Lock()
        self._aside = ThreadPoolExecutor(1, "answering", give_way)
        self._renewed: set[tuple[int, Hashable]] = set()

    def get(self, store: Store, key: Hashable, now: datetime, make: Callable[[], Any]) -> Kept:
        """The current answer; of a large store the last one, which is made anew beside whoever asks.

        About `PART` of the time is spent on that, for each question.
        """
        kept, held = self.shown(store, key, now), version(store)
        # Within a minute, as young rates go by whole ones: what other questions answer is to agree with it.
        if kept is not None and kept.version == held and _minute(kept.at) == _minute(now):
            return kept
        if kept is None or held[0] < MANY or kept.cost <= PATIENCE:
            return self.ask(store, key, now, make, _minute(now))
        if abs(now - kept.at) > kept.cost / PART:
            self._renew(store, key, now, make)
        return kept

    def _renew(self, store: Store, key: Hashable, now: datetime, make: Callable[[], Any]) -> None:
        """In another thread, once at a time. Where it fails the next question tries again, at last itself."""
        which = (id(store), key)

        def renew() -> None:
            try:
                self.ask(store, key, now, make)
            except Exception as error:  # whoever asks has the last answer meanwhile, so nobody else would say it
                log.warning(
                    "an answer could not be made anew, trying again", question=str(key)[:200], error=repr(error)
                )
            finally:
                self._renewed.discard(which)

        with self._guard:
            if which in self._renewed:
                return
            self._renewed.add(which)
        self._aside.submit(renew)

    def shown(self, store: Store, key: Hashable, now: datetime) -> Kept | None:
        """The latest answer to a question, if it is young enough to be shown."""
        with self._guard:
            kept = self._kept.get(store, {}).get(key)
        return kept if kept is not None and abs(now - kept.at) <= SHOWN else None

    def current(self, store: Store, key: Hashable, now: datetime) -> Kept | None:
        """The answer to a question, if it would be no other now."""
        kept = self.shown(store, key, now)
        return kept if kept is not None and is_current(kept, store, now) else None

    def ask(
        self, store: Store, key: Hashable, now: datetime, make: Callable[[], Any], since: datetime | None = None
    ) -> Kept:
        """The current answer, made where there is none, or none from `since` on."""
        with self._lock(key):
            if (kept := self.current(store, key, now)) is not None and (since is None or kept.at >= since):
                return kept
            # What is stored while it is made is not surely in it.
            before, begin = version(store), time.monotonic()
            answer = make()
            cost = timedelta(seconds=time.monotonic() - begin)
            return self._keep(store, key, Kept(answer, now, before, cost))

    def _lock(self, key: Hashable) -> Lock:
        with self._guard:
            if len(self._locks) > KEPT and not any(lock.locked() for lock in self._locks.values()):
                self._locks.clear()
            return self._locks.setdefault(key, Lock())

    def _keep(self, store: Store, key: Hashable, made: Kept) -> Kept:
        with self._guard:
            others = {k: kept for k, kept in self._kept.get(store, {}).items() if k != key}
            self._kept[store] = dict([*list(others.items())[-KEPT + 1 :], (key, made)])
        return made


def _minute(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0)


def is_current(kept: Kept, store: Store, now: datetime) -> bool:
    """Whether an answer would be no other now."""
    return abs(now - kept.at) <= LIFE and kept.version == version(store)
