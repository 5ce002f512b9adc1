"""A report as a value: sections of sentences, tables and talks, in which every number knows the question it answers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Literal

from dropoff.query import Params

Kind = Literal["weekly", "monthly"]
Pointer = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """Where a number comes from: a question with its parameters, and the way to it in the answer.

    `page`: the path and parameters of the page that shows it, where that is not the question's own.
    """

    question: str
    params: tuple[tuple[str, tuple[str, ...]], ...]
    pointer: Pointer
    page: str | None = None

    @property
    def query(self) -> tuple[str, tuple[tuple[str, tuple[str, ...]], ...]]:
        """The question alone, by which numbers of one answer are the same reference."""
        return self.question, self.params


@dataclass(frozen=True, slots=True)
class Run:
    """A piece of text. With a `source` it says what stands at its pointer, which is `value`."""

    text: str
    source: Source | None = None
    value: Any = None


Runs = tuple[Run, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its heading, and whether it is of numbers."""

    title: str
    right: bool = False


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Sentences; a `note` is said in a lower voice."""

    runs: Runs
    note: bool = False


@dataclass(frozen=True, slots=True)
class Bullets:
    """Findings, one after the other."""

    items: tuple[Runs, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Runs, ...], ...]


@dataclass(frozen=True, slots=True)
class Line:
    """What somebody said; `left_out`: so many messages before it are not shown."""

    who: str
    text: str
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Talk:
    """A conversation: what it is, and some of its lines."""

    title: Runs
    facts: Runs
    lines: tuple[Line, ...]


Block = Paragraph | Bullets | Table | Talk


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands below it."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """What is told of a period. `summary`: the few lines that a message holds."""

    kind: Kind
    title: str
    subtitle: str
    period: Mapping[str, str]
    as_of: str
    summary: tuple[Runs, ...]
    sections: tuple[Section, ...]

    def runs(self) -> Iterator[Run]:
        """Every piece of text, in order."""
        for section in self.sections:
            for block in section.blocks:
                for one in _of_block(block):
                    yield from one

    def sources(self) -> list[Source]:
        """One source of each question, in the order of their first use: the references, numbered from 1."""
        found: dict[object, Source] = {}
        for run in (*(run for runs in self.summary for run in runs), *self.runs()):
            if run.source is not None:
                found.setdefault(run.source.query, run.source)
        return list(found.values())


def _of_block(block: Block) -> Iterator[Runs]:
    match block:
        case Paragraph():
            yield block.runs
        case Bullets():
            yield from block.items
        case Table():
            for row in block.rows:
                yield from row
        case Talk():
            yield block.title
            yield block.facts


@dataclass(frozen=True, slots=True)
class Answered:
    """A question with its answer: what stands in a report is taken from here, so that it can be found again."""

    question: str
    params: Params
    answer: Mapping[str, Any]

    def at(self, *pointer: str | int) -> Any:
        """What stands there."""
        return follow(self.answer, pointer)

    def run(self, write: Callable[[Any], str], *pointer: str | int, page: str | None = None) -> Run:
        """What stands there, as text."""
        value = self.at(*pointer)
        params = tuple((name, tuple(texts)) for name, texts in self.params.items())
        return Run(write(value), Source(self.question, params, pointer, page), value)


def follow(answer: Any, pointer: Sequence[str | int]) -> Any:
    """What stands at a pointer."""
    return reduce(lambda inner, step: inner[step], pointer, answer)


Ask = Callable[[str, Params], Answered]


def words(*parts: str | Run) -> Runs:
    """Text and numbers, side by side."""
    return tuple(Run(part) if isinstance(part, str) else part for part in parts)


def paragraph(*parts: str | Run) -> Paragraph:
    """A paragraph of them."""
    return Paragraph(words(*parts))


def note(*parts: str | Run) -> Paragraph:
    """The same in a lower voice."""
    return Paragraph(words(*parts), note=True)


def table(title: str, columns: Mapping[str, bool], rows: Sequence[Sequence[str | Run | Runs]]) -> Table:
    """A table; `columns` says which are right-aligned."""
    cells = tuple(tuple(cell if isinstance(cell, tuple) else words(cell) for cell in row) for row in rows)
    return Table(title, tuple(Column(name, right) for name, right in columns.items()), cells)
