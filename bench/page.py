"""The page `docs/benchmarks.md`: a section a part, each replaced when the part was measured again."""

import re
from collections.abc import Mapping, Sequence

from bench.rows import Row

HEAD = """# Benchmarks

What `make bench` wrote when it was last run; nothing here is typed by hand. `python -m bench --only PART --page
docs/benchmarks.md` renews one section; `make bench-large` adds one of a store of 100 million events, with 11 GB of
disk. The peers are named: a bare server that only decodes and appends, DuckDB's own `read_json`, ClickHouse's
`windowFunnel` through chDB, pandas, retentioneering, prefixspan.

**Trust the ratios.** Two shared cores, other work beside: a single figure can be off by half, and the ratio of two that
were measured in turns in the same run by a tenth. `load` is the machine's load average when the row was done; above 2
the absolute figures say little. The bars are those of the design; a row that misses its bar shows it by its number.
"""
COLUMNS = ("work", "Dropoff", "peer", "ratio", "unit", "against", "bar", "load", "note")


def renewed(text: str, part: str, rows: Sequence[tuple[Row, float]], machine: Mapping[str, object], day: str) -> str:
    """The page `text` (empty: a new one) with the section of `part` made of `rows`, each with the load at its end."""
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    sections[part] = "\n" + "\n".join(_section(part, rows, machine, day)) + "\n"
    return HEAD + "".join(f"\n## {name}\n\n{body.strip()}\n" for name, body in sorted(sections.items()))


def _section(part: str, rows: Sequence[tuple[Row, float]], machine: Mapping[str, object], day: str) -> list[str]:
    facts = " · ".join(f"{name} {value}" for name, value in machine.items())
    lines = [
        f"`python -m bench --only {part}`, {day} · {facts}",
        "",
        f"| {' | '.join(COLUMNS)} |",
        "|---|" + "---|" * 8,
    ]
    return lines + [f"| {' | '.join(cells(row, load))} |" for row, load in rows]


def cells(row: Row, load: float) -> tuple[str, ...]:
    """A row as text, in the order of `COLUMNS`."""
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
    return (
        row.work, figure(row.ours), figure(row.peer), ratio, row.unit, row.peer_name, row.bar, f"{load:.1f}", row.note,
    )  # fmt: skip


def figure(value: float | None) -> str:
    """Three digits are enough: `127,350`, `8.4`."""
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
