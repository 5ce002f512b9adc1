"""Dropoff against named peers, all in one run on one machine: trust the ratios more than the numbers.

python -m bench [--quick] [--only ingest|worker|grown|stores|funnels|patterns|sizing|import|star] [--json FILE]
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
from pathlib import Path

import duckdb
import polars
from rich.console import Console
from rich.table import Table

from bench import funnels, grown, imports, ingest, patterns, sizing, stores, worker
from bench.data import Timeline
from bench.rows import FULL, QUICK, Row

PARTS: dict[str, Callable[..., Iterable[Row]]] = {
    "ingest": ingest.measure,
    "worker": worker.measure,
    "grown": grown.measure,
    "stores": stores.measure,
    "funnels": funnels.measure,
    "patterns": patterns.measure,
    "sizing": sizing.measure,
    "import": imports.measure,
    "star": lambda _plan, _timeline, folder: imports.star(folder),
}


def main() -> None:
    """Measure, print the table, and write it as JSON if asked to."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the servers are stopped, too
    plan = QUICK if options.quick else FULL
    console, begin, rows = Console(stderr=True), time.monotonic(), []
    with tempfile.TemporaryDirectory(prefix="dropoff-bench-") as folder, console.status("generating") as status:
        timeline = Timeline(plan.conversations)
        for name in [options.only] if options.only else PARTS:
            part = Path(folder) / name
            part.mkdir()
            status.update(name)
            rows += [(row, os.getloadavg()[0]) for row in PARTS[name](plan, timeline, part)]
    machine = {
        "cores": os.cpu_count(), "python": platform.python_version(), "duckdb": duckdb.__version__,
        "polars": polars.__version__, "rounds": plan.rounds, "seconds": round(time.monotonic() - begin),
    }  # fmt: skip
    _print(rows, machine)
    if options.json:
        found = [row._asdict() | {"load": load} for row, load in rows]
        options.json.write_text(json.dumps({"machine": machine, "rows": found}, indent=2, ensure_ascii=False))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="a tenth of the data, one round: to see that it works")
    parser.add_argument("--only", choices=PARTS, help="one part alone")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the same as JSON")
    return parser.parse_args()


def _print(rows: list[tuple[Row, float]], machine: dict[str, object]) -> None:
    caption = " · ".join(f"{name} {value}" for name, value in machine.items())
    table = Table(box=None, caption=f"medians; {caption}", caption_justify="left", header_style="dim")
    for name in ("work", "Dropoff", "peer", "ratio", "unit", "against", "bar", "load", "note"):
        table.add_column(name, justify="right" if name in ("Dropoff", "peer", "ratio", "load") else "left")
    for row, load in rows:
        table.add_row(
            row.work, _figure(row.ours), _figure(row.peer), "" if row.ratio is None else f"{row.ratio:.2f}", row.unit,
            row.peer_name, row.bar, f"{load:.1f}", row.note,
        )  # fmt: skip
    Console(width=None if sys.stdout.isatty() else 200, highlight=False).print(table)


def _figure(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


if __name__ == "__main__":
    main()
