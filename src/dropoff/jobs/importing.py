"""`dropoff import` and `dropoff rejected replay`."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from dropoff.events import Receipt
from dropoff.intake import read_each, rejection
from dropoff.project.settings import Settings
from dropoff.server.connect import Connection, Import, connect
from dropoff.sources import MappingFile, load_mapping, open_source

_SHOWN = 20


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
        shown = 0
        for chunk in source:
            refused = [(refusal.line, str(refusal.error)) for refusal in chunk.refused]
            refused += [(chunk.line(error["index"]), error["message"]) for error in job.send(chunk.body)]
            job.refuse([rejection(line, error, raw) for line, error, raw in chunk.refused])
            for line, message in refused[: max(0, _SHOWN - shown)]:
                console.print(f"{path}:{line}: {message}", markup=False, soft_wrap=True)
            shown += len(refused)
            progress.update(task, completed=source.position)
        if shown > _SHOWN:
            console.print(f"{path}: {shown - _SHOWN} more refused (dropoff rejected list)", markup=False)


def replay(connection: Connection) -> dict[str, Any]:
    """Send again those refused events that pass now, and forget them."""
    found = connection.ask("rejected", {"limit": ["100000"]})["rejected"]
    passing = [r for r in found if not read_each([r["body"].encode()], Receipt(time.time_ns() // 1000)).rejections]
    job = Import(connection)
    for start in range(0, len(passing), 1000):
        part = passing[start : start + 1000]
        job.send(b"\n".join(r["body"].encode().replace(b"\n", b" ") for r in part))
        connection.delete_rejected([r["id"] for r in part])
    return job.finish() | {"kept": len(found) - len(passing)}
