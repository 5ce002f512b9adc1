"""Tables and lines of a terminal. Text from events is shown, never interpreted: no markup, no escape sequence."""

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import zip_longest
from typing import Any

from rich.cells import cell_len, chop_cells, set_cell_size
from rich.console import Console
from rich.text import Text

from dropoff.phrases import formats
from dropoff.phrases.formats import visible

Answer = Mapping[str, Any]


def plain(value: object) -> str:
    """Any value as inert text: control characters become visible symbols."""
    return "–" if value is None else visible(value)


def output() -> Console:
    """Where answers go. What is no terminal has no width: a row is a line, however long."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else UNLIMITED)


def table(title: str, columns: Mapping[str, bool], rows: list[list[object]], console: Console) -> None:
    """Print a table; `columns` says which are right-aligned. Cells fold at spaces until the table fits.

    One that cannot fit is printed as records, a line for each value: nothing is ever cut.
    """
    lines(title, list(columns), list(columns.values()), rows, console)


def lines(title: str, names: list[str], rights: list[bool], rows: list[list[object]], console: Console) -> None:
    """The same of columns whose names may be alike, and come from anywhere."""
    heads, *cells = [[_inert(cell, console) for cell in row] for row in ([*names], *rows)]
    if title:
        console.print(Text(plain(title), style="bold"), soft_wrap=True)
    headed = any(name.strip() for name in heads)
    for gap in _GAPS:
        if widths := _widths([heads, *cells], console.width - len(gap) * (len(heads) - 1)):
            for place, row in enumerate([heads, *cells] if headed else cells, start=not headed):
                for line in _lines(row, widths, rights, gap):
                    console.print(Text(line, style="" if place else "dim"), soft_wrap=True)
            return
    _records(heads, cells, console)


def _inert(cell: object, console: Console) -> str:
    text = plain(cell).replace("\t", "    ")
    return text.replace("\n", "␊") if console.width >= UNLIMITED else text


def _widths(rows: list[list[str]], room: int) -> list[int] | None:
    """How wide each column is, the widest giving way first; None where no folding makes them fit."""
    columns = list(zip(*rows, strict=True))
    least = [min(_widest(column, re.compile("[ \n]")), _LONGEST_WORD) for column in columns]
    if sum(least) > room:
        return None
    widths = [min(_widest(column, re.compile("\n")), room) for column in columns]
    while (excess := sum(widths) - room) > 0:
        loose = [at for at, width in enumerate(widths) if width > least[at]]
        most = max(loose, key=lambda at: widths[at])
        others = [widths[at] for at in loose if widths[at] < widths[most]]
        widths[most] -= min(excess, max(1, widths[most] - max(others, default=0)), widths[most] - least[most])
    return widths


def _widest(column: Iterable[str], at: re.Pattern[str]) -> int:
    return max(cell_len(part) for cell in column for part in at.split(cell))


def _lines(row: list[str], widths: list[int], rights: list[bool], gap: str) -> Iterator[str]:
    """The lines of a row."""
    for parts in zip_longest(*map(_folded, row, widths), fillvalue=""):
        shown = [
            " " * (width - cell_len(part)) + part if right else set_cell_size(part, width)
            for part, width, right in zip(parts, widths, rights, strict=True)
        ]
        yield gap.join(shown).rstrip(" ")


def _folded(cell: str, width: int) -> list[str]:
    """A cell in lines of at most `width`, between words where that is possible."""
    found: list[str] = []
    for line in cell.split("\n"):
        found.append("")
        for number, word in enumerate(line.split(" ")):
            if number and cell_len(found[-1]) + 1 + cell_len(word) <= width:
                found[-1] += f" {word}"
            else:
                pieces = chop_cells(word, width) if word else [""]
                found += pieces if number else pieces[1:]
                found[-len(pieces)] = pieces[0]
    return found


def _records(names: list[str], cells: list[list[str]], console: Console) -> None:
    if not cells:
        console.print(Text(", ".join(names), style="dim"), soft_wrap=True)
    for row in cells:
        for name, cell in zip(names, row, strict=True):
            console.print(Text(f"{name}: {cell}" if name.strip() else cell), soft_wrap=True)
        console.print()


UNLIMITED = 1 << 20
_GAPS = ("  ", " ")
_LONGEST_WORD = 24  # a longer one, as an id, may be broken


def zone_of(answer: Answer) -> str:
    """The zone of an answer's days; of one that has none, the one it is shown in."""
    return answer["period"]["timezone"] if "period" in answer else answer.get("timezone", "UTC")


def zone_line(answer: Answer, console: Console) -> None:
    """The zone of the times below, where no period says it."""
    moment = f"{formats.instant(answer['as_of'], zone_of(answer))}, " if "as_of" in answer else ""
    console.print(Text(f"{moment}times in {zone_of(answer)}", style="dim"))


def head_line(answer: Answer, console: Console) -> None:
    """The period of an answer, and what of it is left out as test traffic."""
    period = answer["period"]
    text = f"{formats.days(period, ' – ')} ({period['timezone']})"
    console.print(Text(text, style="dim"))
    if answer.get("test_conversations"):
        count = formats.counted(answer["test_conversations"], "test conversation")
        console.print(Text(f"{count}, left out unless --include-test", style="dim"))


def rate(number: Mapping[str, Any]) -> str:
    """A rate with its interval, or how little there is to say."""
    if number["value"] is None:
        return "–"
    text = formats.percent(number["value"])
    if number["interval"] is None:
        return text
    small = " not enough data" if formats.is_small(number["denominator"]) else ""
    return f"{text} [{formats.interval(number['interval'])}]{small}"


def interval(drop: Mapping[str, Any]) -> str:
    """The interval of a drop-off; nothing where there is none."""
    return formats.interval(drop["interval"]) if drop["interval"] else ""


ROWS = 5  # of each table of an explanation: the page and --json have them all


def sayings(title: str, said: list[str], console: Console) -> None:
    """Sentences under a title."""
    console.print()
    console.print(Text(title, style="bold"))
    for text in said or ["none"]:
        console.print(Text(plain(text)))


@contextmanager
def progress(text: str, *, quiet: bool) -> Iterator[Callable[[float], None]]:
    """A bar on the error output, where that is a terminal: what is given is told which part is done."""
    from rich.progress import Progress

    console = Console(stderr=True, quiet=quiet)
    with Progress(console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task(text, total=1.0)
        yield lambda part: bar.update(task, completed=part)
