"""A report as plain data: what the JSON of the API holds, and what Typst is given."""

from typing import Any

import msgspec

from dropoff.phrases.formats import visible
from dropoff.report.links import api_of
from dropoff.report.references import References
from dropoff.report.value import Block, Bullets, Paragraph, Report, Run, Runs, Table, Talk


def write(report: Report, base: str | None) -> bytes:
    """The JSON: every number with the question it answers and the way to it in the answer."""
    return msgspec.json.encode(told(report, References(report, base), sources=True))


def told(report: Report, references: References, *, sources: bool = False) -> dict[str, Any]:
    """The report in dictionaries, lists and texts."""

    def runs(given: Runs) -> list[dict[str, Any]]:
        return [_run(run, references, sources=sources) for run in given if run.text]

    def block(given: Block) -> dict[str, Any]:
        match given:
            case Paragraph():
                return {"kind": "paragraph", "note": given.note, "runs": runs(given.runs)}
            case Bullets():
                return {"kind": "bullets", "items": [runs(item) for item in given.items]}
            case Table():
                rows = [[runs(cell) for cell in row] for row in given.rows]
                columns = [{"title": visible(column.title), "right": column.right} for column in given.columns]
                return {"kind": "table", "title": visible(given.title), "columns": columns, "rows": rows}
            case Talk():
                lines = [
                    {"who": line.who, "text": visible(line.text), "left_out": line.left_out} for line in given.lines
                ]
                return {"kind": "talk", "title": runs(given.title), "facts": runs(given.facts), "lines": lines}

    return {
        "report": report.kind,
        "title": visible(report.title),
        "subtitle": visible(report.subtitle),
        "period": dict(report.period),
        "as_of": report.as_of,
        "sections": [
            {"title": visible(one.title), "blocks": [block(each) for each in one.blocks]} for one in report.sections
        ],
        "references": [one._asdict() for one in references.all],
    }


def _run(run: Run, references: References, *, sources: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"text": visible(run.text), "number": references.number(run), "url": references.url(run)}
    if sources and run.source is not None:
        found |= {"query": api_of(run.source), "pointer": list(run.source.pointer)}
    return found
