"""The numbered questions behind a report: each number refers to one."""

from typing import NamedTuple

from dropoff.report.links import command_of, page_of
from dropoff.report.value import Report, Run


class Reference(NamedTuple):
    """A question: its number, the command that answers it, and the address of its page where there is one."""

    number: int
    command: str
    url: str | None


class References:
    """The references of a report. `base`: where people reach the pages, if that is known."""

    def __init__(self, report: Report, base: str | None) -> None:
        self._base = base
        self._numbers = {source.query: number for number, source in enumerate(report.sources(), 1)}
        self.all = [
            Reference(number, command_of(source), self._url(page_of(source)))
            for number, source in enumerate(report.sources(), 1)
        ]

    def number(self, run: Run) -> int | None:
        """The number of the question that a piece of text answers."""
        return None if run.source is None else self._numbers[run.source.query]

    def url(self, run: Run) -> str | None:
        """The address of the page that shows it; None where nobody said where the pages are."""
        return None if run.source is None else self._url(page_of(run.source))

    def _url(self, path: str) -> str | None:
        return None if self._base is None else self._base + path
