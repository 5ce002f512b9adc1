"""The numbers of a page's charts as files: the rows of its answer, flat, with all digits."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import msgspec
from starlette.responses import Response

from dropoff.dashboard.frame import spreadsheet
from dropoff.errors import InvalidInput
from dropoff.phrases.formats import first_day, last_day

Answer = Mapping[str, Any]
Rows = Sequence[Mapping[str, Any]]

_INTERVALS = ("interval", "confidence")


def _cells(answer: Answer) -> Rows:
    """A row for each cohort and age."""
    return [
        {"from": cohort["from"], "n": cohort["n"], "week": age, **(cell or {"value": None})}
        for cohort in answer["cohorts"]
        for age, cell in zip(answer["ages"], cohort["cells"], strict=True)
    ]


def _said(conversation: Answer) -> Rows:
    names = ("position", "timestamp", "sender", "intent", "sentiment", "response_seconds")
    return [{name: message[name] for name in names} for message in conversation["messages"]]


def _comparisons(answer: Answer) -> Rows:
    return [{"experiment": one["experiment"], **row} for one in answer["experiments"] for row in one["comparisons"]]


OF_ONE = "/conversations/{id}"

ROWS: Mapping[str, Mapping[str, Callable[[Answer], Rows]]] = {
    "/": {
        "funnel": lambda answer: answer["stages"],
        "funnel-trend": lambda answer: answer["trend"]["points"] if "trend" in answer else [],
        "time": lambda answer: answer["time_to_convert"]["histogram"] if "time_to_convert" in answer else [],
    },
    "/executive": {"metrics": lambda answer: answer["metrics"]},
    "/operations": {
        "stages": lambda answer: answer["funnel"]["stages"],
        "fallbacks": lambda answer: answer["fallbacks"]["points"],
        "errors": lambda answer: answer["errors"]["points"],
        "times": lambda answer: answer["response_times"]["histogram"],
    },
    "/trends": {"trend": lambda answer: answer["points"]},
    "/cohorts": {"cohorts": _cells},
    "/segments": {"segments": lambda answer: answer["segments"]},
    "/experiments": {"differences": _comparisons},
    OF_ONE: {"sentiment": _said},
    "/patterns": {"flow": lambda answer: answer["flow"]},
}
"""By page, what each of its charts is drawn of."""


def csv_file(path: str, name: str, answer: Answer, file: str) -> Response:
    """The rows of one chart of a page, saved as `file`; raises `InvalidInput` for a chart that is not there."""
    charts = ROWS.get(path, {})
    if name not in charts:
        raise InvalidInput("rows", name, f"one of {', '.join(charts)}" if charts else "left out: this page has none")
    content = b"".join(flat_lines(charts[name](answer)))
    saved = {"content-disposition": f'attachment; filename="{file}_{name}.csv"'}
    return Response(content, 200, saved, media_type=spreadsheet.MEDIA_TYPE)


def file_name(path: str, params: Mapping[str, Sequence[str]], answer: Answer) -> str:
    """What is shown, and of which days: `dropoff_trends_win_rate_2026-10-30_2026-11-28`, of all time `…_until_…`."""
    period = answer["period"]
    said = [path.strip("/") or "funnel", *(params.get(name, [""])[0] for name in ("name", "metric", "by", "stage"))]
    return slug("dropoff", *said, first_day(period) or "until", last_day(period["to"], period["timezone"]))


def slug(*texts: str) -> str:
    """A name that any disk takes."""
    return "_".join(filter(None, (re.sub(r"[^A-Za-z0-9-]+", "_", text)[:40].strip("_") for text in texts)))


def flat_lines(rows: Rows) -> Iterator[bytes]:
    """A header and a line for each row; what is nested has its keys in the name of its column."""
    flat = [dict(_flat(row)) for row in rows]
    names = list(dict.fromkeys(chain.from_iterable(flat)))
    columns = [name for name in names if not any(other.startswith(f"{name}.") for other in names)]
    return spreadsheet.lines(columns, [[{name: row.get(name) for name in columns} for row in flat]])


def _flat(row: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in row.items():
        name = f"{before}{key}"
        match value:
            case Mapping():
                yield from _flat(value, f"{name}.")
            case [low, high] if key in _INTERVALS:
                yield from ((f"{name}.low", low), (f"{name}.high", high))
            case list() | tuple():
                yield name, msgspec.json.encode(value).decode()
            case _:
                yield name, value
