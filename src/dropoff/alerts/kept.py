"""What is read rarely, until it is too old."""

import time
from collections.abc import Callable, Hashable
from datetime import datetime, timedelta
from typing import Any, TypeVar

T = TypeVar("T")
_SHARE = 100
"""What is kept is read again after so many times as long as it took."""


class Kept:
    """What is read rarely, until it is too old: by what it is, when it was read, and for how long that holds."""

    def __init__(self) -> None:
        self._entries: dict[Hashable, tuple[datetime, timedelta, Any]] = {}

    def get(self, key: Hashable, life: timedelta, now: datetime, read: Callable[[], T]) -> T:
        """What is kept, if it was read within its `life` before `now`; else what `read` gives."""
        if (found := self._entries.get(key)) is not None and _lives(found, now):
            return found[2]
        begin = time.monotonic()
        value = read()
        took = timedelta(seconds=time.monotonic() - begin)
        # What nobody asks for any more is let go: rules that are only tried out can have any conditions.
        living = {other: entry for other, entry in list(self._entries.items()) if _lives(entry, now)}
        self._entries = {**living, key: (now, max(life, _SHARE * took), value)}
        return value


def _lives(entry: tuple[datetime, timedelta, Any], now: datetime) -> bool:
    made, life, _ = entry
    return timedelta(0) <= now - made < life
