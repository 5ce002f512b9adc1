"""`dropoff import` and `dropoff rejected replay`."""

import secrets
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from dropoff.errors import Unavailable
from dropoff.events import Receipt
from dropoff.intake import Rejection, read_each, rejection
from dropoff.project.settings import Settings
from dropoff.server.connect import Connection, connect
from dropoff.sources import MappingFile, load_mapping, open_source
from dropoff.sources.base import Batch

_SHOWN = 20
_DONE = ("stored", "duplicate", "conflict", "dead")


class Import:
    """One import: what was read, and what became of it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._batch = secrets.token_hex(8)
        self._sent = 0
        self.rejected: Counter[str] = Counter()

    @property
    def refused(self) -> int:
        """How many events were refused so far."""
        return self.rejected.total()

    def send(self, lines: bytes) -> list[dict[str, Any]]:
        """Send a chunk; returns the refused events by `index` in it, with their `message` (the first 100)."""
        answer = self._connection.send(lines, self._batch)
        self._sent += answer["accepted"]
        self.rejected.update(answer.get("reasons", {}))
        return answer.get("errors", [])

    def refuse(self, rejections: Sequence[Rejection]) -> None:
        """Keep and count rows that could not even become an event."""
        if rejections:
            self._connection.keep_refused(rejections)
            self.rejected.update(r.reason for r in rejections)

    def finish(self, patience: float = 60.0) -> dict[str, Any]:
        """Wait until all is processed; the counts of `dropoff import`. Raises `Unavailable` when nothing moves."""
        done, last, moved = {}, -1, time.monotonic()
        while sum(done.get(name, 0) for name in _DONE) < self._sent:
            done = self._connection.imported(self._batch)
            processed = sum(done.get(name, 0) for name in _DONE)
            if processed != last:
                last, moved = processed, time.monotonic()
            elif time.monotonic() - moved > patience:
                raise Unavailable(f"{processed} of {self._sent} accepted events are processed, and nothing moves")
            time.sleep(0.02)
        return {
            "read": self._sent + self.refused,
            "accepted": done.get("stored", 0),
            "duplicates": done.get("duplicate", 0) + done.get("conflict", 0),
            "rejected": self.refused + done.get("dead", 0),
            "reasons": dict(self.rejected) | ({"dead": done["dead"]} if done.get("dead") else {}),
        }


def import_all(
    settings: Settings, files: Sequence[Path], form: str, mapping: Path | None, console: Console
) -> dict[str, Any]:
    """Import files one after the other; `{"read", "accepted", "duplicates", "rejected", "reasons"}`."""
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    rules = load_mapping(mapping) if mapping else None
    with connect(settings, create=True) as connection:
        job = Import(connection)
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
            for path in files:
                _import(job, path, form, rules, progress, console)
        return job.finish()


def _import(
    job: Import, path: Path, form: str, mapping: MappingFile | None, progress: Progress, console: Console
) -> None:
    with open_source(path, form, mapping) as source:
        task = progress.add_task(path.name, total=source.size)
        before, shown = job.refused, 0
        for chunk in source:
            refused = [(refusal.line, str(refusal.error)) for refusal in chunk.refused]
            refused += [(chunk.line(error["index"]), error["message"]) for error in job.send(chunk.body)]
            job.refuse([rejection(line, error, raw) for line, error, raw in chunk.refused])
            for line, message in refused[: _SHOWN - shown]:
                console.print(f"{path}:{line}: {message}", markup=False, soft_wrap=True)
                shown += 1
            progress.update(task, completed=source.position)
    more = job.refused - before - shown
    if more:
        console.print(f"{path}: {more} more refused (dropoff rejected list)", markup=False)


_CHANGED = ("malformed", "too_large")
"""Why what is kept of an event may not be what came: bytes that are no UTF-8 are replaced, and a long one is cut."""


def replay(connection: Connection) -> dict[str, Any]:
    """Send again those refused events that pass now, and forget them."""
    found = connection.ask("rejected", {"limit": ["100000"]})["rejected"]
    passing = [r for r in found if r["reason"] not in _CHANGED and _passes(r["body"].encode())]
    job = Import(connection)
    for lines, ids in _parts(passing):
        job.send(lines)
        connection.delete_rejected(ids)
    return job.finish() | {"kept": len(found) - len(passing)}


def _passes(event: bytes) -> bool:
    return not read_each([event], Receipt(time.time_ns() // 1000)).rejections


def _parts(refused: Sequence[dict[str, Any]]) -> Iterator[tuple[bytes, list[str]]]:
    """As many at a time as the door takes: the lines, and the ids under which they were kept."""
    batch, ids = Batch(), list[str]()
    for number, one in enumerate(refused, 1):
        # A line break can only stand between the tokens of valid JSON.
        batch.add(number, one["body"].encode().replace(b"\n", b" "))
        ids.append(one["id"])
        if batch.full or number == len(refused):
            yield batch.chunk().body, ids
            batch, ids = Batch(), []
