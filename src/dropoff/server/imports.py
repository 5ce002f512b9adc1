"""What became of the events of an import, in the control state, where the one who sent them can look."""

import json
import time
from collections import Counter
from urllib.parse import quote

from dropoff.control.base import Control
from dropoff.process.worker import Tally

_KEEP_SECONDS = 86_400


class Imports:
    """What became of the events of each import, so that it can tell duplicates from what is new.

    Each worker keeps its counts in the control state, where any process can add them up, for a day.
    """

    def __init__(self, control: Control, worker: str) -> None:
        self._control = control
        self._worker = quote(worker, safe="")
        self._counts: dict[str, Counter[str]] = {}
        self._changed: dict[str, float] = {}
        self._unkept: set[str] = set()
        self._met: set[str] = set()

    def add(self, tally: Tally) -> None:
        """Take in what became of a batch; `keep` writes it down. Both in the worker's thread."""
        for name, count in tally.stored.items():
            self._add(name, "stored", count)
        for (name, reason), count in tally.dropped.items():
            self._add(name, reason, count)

    def keep(self) -> None:
        """Write down what was added. Raises `Unavailable`, and the next call tries again."""
        for name in list(self._unkept):
            if name not in self._met:  # what this worker wrote before it was started again counts, too
                before = self._control.get(self._key(name))
                self._counts[name].update(json.loads(before.value) if before else {})
                self._met.add(name)
            self._control.put(self._key(name), json.dumps(self._counts[name]).encode())
            self._unkept.discard(name)
        now = time.monotonic()
        for name in [name for name, at in self._changed.items() if now - at > _KEEP_SECONDS]:
            self._control.delete(self._key(name))
            del self._counts[name], self._changed[name]
            self._met.discard(name)

    def get(self, name: str) -> dict[str, int]:
        """Counts of `stored` and of each drop reason so far, of all workers. From any process."""
        found = Counter[str]()
        for entry in self._control.list(self._folder(name)).values():
            found.update(json.loads(entry.value))
        return dict(found)

    def _add(self, name: str | None, what: str, count: int) -> None:
        if name is None:
            return
        self._counts.setdefault(name, Counter())[what] += count
        self._changed[name] = time.monotonic()
        self._unkept.add(name)

    def _folder(self, name: str) -> str:
        return f"import/{quote(name, safe='')}/"

    def _key(self, name: str) -> str:
        return self._folder(name) + self._worker
