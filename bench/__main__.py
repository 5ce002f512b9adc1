"""Dropoff against named peers, all in one run on one machine: trust the ratios more than the numbers.

python -m bench [--quick] [--only ingest|fresh|worker|grown|stores|funnels|patterns|pages|sizing|import|star|large]
                [--json FILE] [--page docs/benchmarks.md]
"""

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import polars
from rich.console import Console
from rich.table import Table

from bench import fresh, funnels, grown, imports, ingest, large, pages, patterns, sizing, stores, worker
from bench.data import Timeline
from bench.page import COLUMNS, cells, renewed
from bench.rows import FULL, QUICK, Plan, Row

PARTS: dict[str, Callable[..., Iterable[Row]]] = {
    "ingest": ingest.measure,
    "fresh": fresh.measure,
    "worker": worker.measure,
    "grown": grown.measure,
    "stores": stores.measure,
    "funnels": funnels.measure,
    "patterns": patterns.measure,
    "pages": pages.measure,
    "sizing": sizing.measure,
    "import": imports.measure,
    "star": lambda _plan, _timeline, folder: imports.star(folder),
    "large": large.measure,
}
ASKED_FOR = ("large",)
"""What is measured only where it is named: it takes long, and at some 110 bytes an event much disk."""


def main() -> None:
    """Measure one part after the other; each is printed, and its section renewed, as soon as it is known."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the servers are stopped, too
    plan = QUICK if options.quick else FULL
    console, known = Console(stderr=True), []
    with tempfile.TemporaryDirectory(prefix="dropoff-bench-") as folder:
        with console.status("generating"):
            timeline = Timeline(plan.conversations)
        for name in [options.only] if options.only else [part for part in PARTS if part not in ASKED_FOR]:
            part, begin = Path(folder) / name, time.monotonic()
            part.mkdir()
            with console.status(name):
                rows = [(row, os.getloadavg()[0]) for row in PARTS[name](plan, timeline, part)]
            machine = _machine(plan, round(time.monotonic() - begin))
            _print(name, rows, machine)
            known += [row._asdict() | {"part": name, "load": load} for row, load in rows]
            if options.page:
                text = options.page.read_text() if options.page.exists() else ""
                options.page.write_text(renewed(text, name, rows, machine, f"{datetime.now(UTC):%Y-%m-%d}"))
            if options.json:
                found = {"machine": machine, "rows": known}
                options.json.write_text(json.dumps(found, indent=2, ensure_ascii=False))


def _machine(plan: Plan, seconds: int) -> dict[str, object]:
    return {
        "cores": os.cpu_count(), "python": platform.python_version(), "duckdb": duckdb.__version__,
        "polars": polars.__version__, "rounds": plan.rounds, "seconds": seconds,
    }  # fmt: skip


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="a tenth of the data, one round: to see that it works")
    parser.add_argument("--only", choices=PARTS, help="one part alone")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the same as JSON")
    parser.add_argument("--page", type=Path, metavar="FILE", help="renew its sections of what was measured")
    return parser.parse_args()


def _print(part: str, rows: list[tuple[Row, float]], machine: dict[str, object]) -> None:
    caption = " · ".join(f"{name} {value}" for name, value in machine.items())
    table = Table(
        box=None,
        title=part,
        title_justify="left",
        caption=f"medians; {caption}",
        caption_justify="left",
        header_style="dim",
    )
    for name in COLUMNS:
        table.add_column(name, justify="right" if name in ("Dropoff", "peer", "ratio", "load") else "left")
    for row, load in rows:
        table.add_row(*cells(row, load))
    Console(width=None if sys.stdout.isatty() else 200, highlight=False).print(table)


if __name__ == "__main__":
    main()
