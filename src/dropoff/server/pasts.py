"""The stores that answer questions `as_of`: made when first asked for, kept for the next question, and few."""

import fcntl
import os
import shutil
import threading
from collections import OrderedDict
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import gettempdir, mkdtemp
from typing import Any, NamedTuple

from dropoff.errors import Unavailable
from dropoff.process import past
from dropoff.process.fold import Rules
from dropoff.project.settings import Settings
from dropoff.server.parts import has_shared_store, open_past_store
from dropoff.store.base import Store

KEPT = 2
PREFIX = "dropoff-past-"


class _Kept(NamedTuple):
    store: Store
    state: tuple[Any, ...]


class Pasts:
    """The facts of a store as they were known at some moments, each in a store of its own. From any thread.

    One goes when `KEPT` others were asked for since, or an event before its moment was stored; but a question that has
    it is answered to its end.
    """

    def __init__(self, source: Store, settings: Settings, rules: Rules) -> None:
        self._source = source
        self._settings = settings
        self._rules = rules
        # A process with a store of its own has a directory for it, too; others may have no place but this.
        self._room = Room(Path(gettempdir()) if has_shared_store(settings) else settings.data)
        self._kept: OrderedDict[datetime, _Kept] = OrderedDict()
        self._lock = threading.Lock()
        self._making = threading.Lock()

    def at(self, until: datetime) -> Store:
        """The facts of the events before `until`. Who asks first makes them, and who asks meanwhile waits for that."""
        moment = until.astimezone(UTC).replace(tzinfo=None)
        store = self._find(moment)
        if store is None:
            with self._making:  # one at a time: it takes what the machine has
                store = self._find(moment) or self._make(moment)
        return store

    def close(self) -> None:
        """Forget all of them. Idempotent."""
        with self._lock:
            self._kept.clear()
        self._room.close()

    def _find(self, moment: datetime) -> Store | None:
        """The one that is kept, if nothing that belongs into it was stored since."""
        with self._lock:
            kept = self._kept.get(moment)
        if kept is None or kept.state != past.state(self._source, moment):
            return None
        with self._lock:
            if moment in self._kept:
                self._kept.move_to_end(moment)
        return kept.store

    def _make(self, moment: datetime) -> Store:
        with self._lock:
            self._kept.pop(moment, None)
            while len(self._kept) >= KEPT:
                self._kept.popitem(last=False)
        state = past.state(self._source, moment)  # before the events are read: the next question sees what came since
        store = open_past_store(self._room.place(), self._settings)
        past.fill(store, self._source, moment, self._rules)
        with self._lock:
            self._kept[moment] = _Kept(store, state)
        return store


class Room:
    """A directory of this process in `place`, made when it is needed. One whose process was killed the next removes."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._own: Path | None = None
        self._held = -1
        for left in place.glob(f"{PREFIX}*"):
            _remove_unless_held(left)

    def place(self) -> Path:
        """A new directory in it. Raises `Unavailable` where none can be made."""
        try:
            self._place.mkdir(parents=True, exist_ok=True, mode=0o700)
            while self._own is None:
                self._own = self._take(Path(mkdtemp(prefix=PREFIX, dir=self._place)))
            return Path(mkdtemp(dir=self._own))
        except OSError as error:
            raise Unavailable(f"there is no room for what was known then: {error}") from error

    def _take(self, own: Path) -> Path | None:
        """Hold it for as long as this process lives; None if one that has just started took it for a dead one's."""
        with suppress(FileNotFoundError):
            self._held = os.open(own, os.O_RDONLY)
            fcntl.flock(self._held, fcntl.LOCK_EX)
            if own.exists():
                return own
            os.close(self._held)
        return None

    def close(self) -> None:
        """Remove it. Idempotent."""
        if self._own is not None:
            shutil.rmtree(self._own, ignore_errors=True)
            os.close(self._held)
            self._own = None


def _remove_unless_held(directory: Path) -> None:
    with suppress(OSError):  # it belongs to somebody else, or has gone already
        held = os.open(directory, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(directory, ignore_errors=True)
        finally:
            os.close(held)
