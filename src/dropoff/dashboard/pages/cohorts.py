"""The page of cohorts: rows of cells, each with its shade and its list, as pure functions of the answer."""

from collections.abc import Callable, Mapping, Sequence
from math import ceil
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from dropoff.dashboard.frame.frame import Analytics, query, question
from dropoff.phrases import formats, words
from dropoff.phrases.addresses import common, ends, url
from dropoff.query import COMMON

_PARAMETERS = (*COMMON, "stage", "interval")
_STAGES = {"": "The last recorded", **{stage: formats.label(stage) for stage in words.STAGES}}
_INTERVALS = {name: words.INTERVALS[name] for name in ("day", "week", "month")}

SHADES = 6
"""From light to dark; 0 is none. The style sheet has a class `heat-1` … for each."""

Link = Callable[..., str]
"""From parameters to the address of a list of conversations."""


def cohorts_page(analytics: Analytics, request: Request) -> Response:
    """`/cohorts`: which share of those that began in each week had come to a stage at which age."""
    params = query(request, _PARAMETERS)

    def link(**changes: str) -> str:
        return url("/conversations", common(params), **changes)

    return question(
        analytics, request, "cohorts.html", params, lambda: analytics.cohorts(params),
        lambda answer: {"rows": rows(answer, link)}, stages=_STAGES, intervals=_INTERVALS,
    )  # fmt: skip


class Cell(NamedTuple):
    """A share of a row: its shade (0: none), and where the conversations are."""

    rate: Mapping[str, Any]
    shade: int
    incomplete: bool
    url: str | None


class Row(NamedTuple):
    """A cohort."""

    name: str
    n: int
    url: str | None
    partial: bool
    cells: list[Cell | None]
    total: Cell


def rows(answer: Mapping, link: Link) -> list[Row]:
    """The table, a row for each cohort, the earliest first."""
    zone, definition = answer["period"]["timezone"], answer["definition"]
    most = _most(answer["cohorts"])
    found = []
    for cohort in answer["cohorts"]:
        lists = _lists(link, ends(cohort, zone), definition["stage"]) if cohort["n"] else _no_list
        cells = [_cell(cell, cohort["n"], most, lists) for cell in cohort["cells"]]
        total = Cell(cohort["total"], 0, False, lists(cohort["total"]))
        name = formats.bucket(cohort["from"], definition["interval"], zone)
        found.append(Row(name, cohort["n"], lists(None), cohort["partial"], cells, total))
    return found


def _lists(link: Link, span: Mapping[str, str], stage: str) -> Callable[..., str | None]:
    def of(rate: Mapping[str, Any] | None, age: int | None = None) -> str | None:
        if rate is None:
            return link(**span)
        if not rate["numerator"]:
            return None
        return link(**span, stage=stage, **({} if age is None else {"within": f"{age + 1}w"}))

    return of


def _no_list(*_: object) -> None:
    return None


def _cell(cell: Mapping[str, Any] | None, n: int, most: float, lists: Callable[..., str | None]) -> Cell | None:
    if cell is None:
        return None
    # A share that can still grow, or one of few, is not to look low, or high.
    plain = cell["incomplete"] or formats.is_small(n) or not cell["value"]
    shade = 0 if plain else min(ceil(cell["value"] / most * SHADES), SHADES)
    return Cell(cell, shade, cell["incomplete"], lists(cell, cell["age"]))


def _most(cohorts: Sequence[Mapping[str, Any]]) -> float:
    """The highest share that is shaded."""
    shaded = (c for row in cohorts if not formats.is_small(row["n"]) for c in row["cells"] if c and not c["incomplete"])
    return max((cell["value"] or 0 for cell in shaded), default=0) or 1.0
