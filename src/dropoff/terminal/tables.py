"""Tables and lines of a terminal. Text from events is shown, never interpreted: no markup, no escape sequence."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dropoff.dashboard import formats
from dropoff.dashboard.formats import visible

Answer = Mapping[str, Any]


def plain(value: object) -> str:
    """Any value as inert text: control characters become visible symbols."""
    return "–" if value is None else visible(value)


def table(title: str, columns: Mapping[str, bool], rows: list[list[object]], console: Console) -> None:
    """Print a table; `columns` says which are right-aligned."""
    heading = Text(title, style="bold")
    shown = Table(title=heading, title_justify="left", title_style="", header_style="dim", box=None, pad_edge=False)
    first = min(max((len(plain(row[0])) for row in rows), default=0), 26)  # a name is cut last of all
    for name, right in columns.items():
        shown.add_column(
            Text(name), justify="right" if right else "left", overflow="fold",
            min_width=None if shown.columns else first,
        )  # fmt: skip
    for row in rows:
        shown.add_row(*(Text(plain(cell)) for cell in row))
    console.print(shown)


def head_line(answer: Answer, console: Console) -> None:
    period = answer["period"]
    zone = period["timezone"]
    text = f"{formats.day(period['from'], zone)} – {formats.last_day(period['to'], zone)} ({zone})"
    console.print(Text(text, style="dim"))
    if answer.get("test_conversations"):
        count = formats.number(answer["test_conversations"])
        console.print(Text(f"{count} test conversations, left out unless --include-test", style="dim"))


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
