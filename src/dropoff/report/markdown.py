"""A report as Markdown (CommonMark with tables and footnotes), in which no text of an event is markup."""

import re
from collections.abc import Iterator

from dropoff.phrases.formats import visible
from dropoff.report.references import References
from dropoff.report.value import Block, Bullets, Paragraph, Report, Runs, Table, Talk

_MARKUP = re.compile(r"[\\`*_\[\]<>|~&#$]|:(?=//)|(?<=www)\.", re.IGNORECASE)
_NUMBERED = re.compile(r"^(\s*\d{1,9})([.)])(?=\s|$)")
_NO_BREAK = {**dict.fromkeys(map(ord, "\n\r\t\v\f\u2028\u2029"), " "), ord("@"): "＠"}


def write(report: Report, base: str | None) -> bytes:
    """The text, in UTF-8. Numbers lead to pages below `base`, else each line has the footnotes of its commands."""
    return ("\n".join(_lines(report, References(report, base))).rstrip() + "\n").encode()


def escape(text: str) -> str:
    """A text in which nothing is markup, a link, a mention or a line break."""
    plain = _MARKUP.sub(r"\\\g<0>", visible(text).translate(_NO_BREAK))
    return _NUMBERED.sub(r"\1\\\2", re.sub(r"^(\s*)([-+=])", r"\1\\\2", plain))


def _line(text: str) -> str:
    return escape(text).strip()


def _lines(report: Report, references: References) -> Iterator[str]:
    yield from (f"# {_line(report.title)}", "", _line(report.subtitle), "")
    for section in report.sections:
        yield from (f"## {_line(section.title)}", "")
        for block in section.blocks:
            yield from _block(block, references)
            yield ""
    yield from ("## Queries", "", "Every number is answered again by one of these.", "")
    for one in references.all:
        page = f" [page](<{one.url}>)" if one.url else ""
        yield from (f"[^{one.number}]: {_code(one.command)}{page}", "")


def _block(block: Block, references: References) -> Iterator[str]:
    match block:
        case Paragraph():
            text = _said(block.runs, references) + _notes([block.runs], references)
            yield f"*{text}*" if block.note and text and not _has_source(block.runs) else text
        case Bullets():
            yield from (f"* {_said(item, references)}{_notes([item], references)}" for item in block.items)
        case Table():
            yield from _table(block, references)
        case Talk():
            yield from _talk(block, references)


def _has_source(runs: Runs) -> bool:
    return any(run.source is not None for run in runs)


def _table(block: Table, references: References) -> Iterator[str]:
    if block.title:
        yield from (f"**{_line(block.title)}**", "")
    yield f"| {' | '.join(_line(column.title) or ' ' for column in block.columns)} |"
    yield f"|{'|'.join('---:' if column.right else '---' for column in block.columns)}|"
    for row in block.rows:
        cells = [_said(cell, references) or " " for cell in row]
        cells[0] += _notes(row, references)
        yield f"| {' | '.join(cells)} |"


def _talk(block: Talk, references: References) -> Iterator[str]:
    yield f"**{_said(block.title, references)}**{_notes([block.title], references)}: {_said(block.facts, references)}"
    yield ""
    for line in block.lines:
        if line.left_out:
            yield from (f"> *{line.left_out} {'message' if line.left_out == 1 else 'messages'} not shown*", ">")
        if line.who:
            yield from (f"> **{escape(line.who)}:** {_line(line.text)}", ">")


def _said(runs: Runs, references: References) -> str:
    return "".join(
        escape(run.text) if (url := references.url(run)) is None or not run.text else f"[{escape(run.text)}](<{url}>)"
        for run in runs
    ).strip()


def _notes(several: "list[Runs] | tuple[Runs, ...]", references: References) -> str:
    """The footnotes of the numbers, where they are no links."""
    numbers = {
        references.number(run): None for runs in several for run in runs if run.source and not references.url(run)
    }
    return "".join(f"[^{number}]" for number in numbers)


def _code(text: str) -> str:
    """A command as code; the fence is longer than any run of backticks in it."""
    plain = visible(text).translate(_NO_BREAK)
    fence = "`" * (max((len(run) for run in re.findall(r"`+", plain)), default=0) + 1)
    return f"{fence}{plain}{fence}" if "`" not in plain else f"{fence} {plain} {fence}"
