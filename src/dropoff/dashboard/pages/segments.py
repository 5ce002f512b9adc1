"""The page of segments: dots with intervals, rows and sentences, as pure functions of the answers."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from dropoff.dashboard.charts.charts import Dot, dot_chart
from dropoff.dashboard.frame.frame import Analytics, query, question
from dropoff.dashboard.pages.trends import scale
from dropoff.phrases import differences, formats
from dropoff.phrases.addresses import common, url
from dropoff.phrases.formats import label, visible
from dropoff.query import COMMON, Params

_PARAMETERS = (*COMMON, "metric", "by", "segment", "units", "compare", "compare_from", "compare_to", "follow")
DEFAULTS: Params = {"metric": ["response_rate"]}
BY: Params = {"by": ["channel"]}

DIFFERENCES = 10
"""So many sentences are shown before the rest is folded away; of moves as many rows."""

Link = Callable[[Sequence[str]], str]
"""From conditions to the address of a list of conversations."""


def segments_page(analytics: Analytics, request: Request) -> Response:
    """`/segments`: a metric by segment, and which segments truly differ."""
    params = query(request, _PARAMETERS)
    asked = {**DEFAULTS, **({} if "segment" in params else BY), **params}

    def link(where: Sequence[str]) -> str:
        return url("/conversations", {**common(params), "where": list(where)})

    def show(answer: dict) -> dict[str, Any]:
        shown = {
            "tables": tables(answer, link),
            "differences": [
                (differences.differs(row, answer["definition"]["unit"]), differences.of_mix(row))
                for row in answer["significant_differences"]
            ],
        }
        return shown | (_change(analytics, params, asked, answer, link) if "compare" in answer else {})

    return question(
        analytics, request, "segments.html", params, lambda: analytics.segments(asked), show,
        picked=_picked, asked=asked, metrics=analytics.definitions({})["metrics"], shown=DIFFERENCES,
    )  # fmt: skip


def _picked(params: dict[str, list[str]]) -> dict[str, list[str]]:
    """The parameters after somebody used the form: a dimension takes the place of named segments."""
    dropped = ("segment",) if "by" in params else ()
    return {name: texts for name, texts in params.items() if name not in dropped}


class Row(NamedTuple):
    """A segment, what is to be said of it, and where its conversations are."""

    segment: Mapping
    note: str
    is_best: bool
    url: str | None


class Table(NamedTuple):
    """The segments of one currency ('' where there is none), and their chart where they have intervals."""

    currency: str
    rows: list[Row]
    chart: dict
    height: str


def tables(answer: Mapping, link: Link) -> list[Table]:
    """One for each currency."""
    best = answer["best_performing"]
    by_currency: dict[str, list[Row]] = {}
    for segment in answer["segments"]:
        is_best = best is not None and segment["segment"] == best
        listed = link(segment["where"]) if segment["where"] is not None and segment["conversations"] else None
        row = Row(segment, differences.standing(segment, best=is_best), is_best, listed)
        by_currency.setdefault(segment.get("currency") or "", []).append(row)
    return [
        Table(currency, rows, _chart(rows, answer), f"rows-{min(-(-len(rows) // 5) * 5, 55)}")
        for currency, rows in by_currency.items()
    ]


def _chart(rows: Sequence[Row], answer: Mapping) -> dict:
    """A dot for each value, the largest on top."""
    known = [row for row in rows if row.segment["value"] is not None]
    factor, suffix = scale(rows[0].segment["unit"], [row.segment["value"] for row in known])
    return dot_chart(describe(rows, answer), [_dot(row, factor) for row in known], suffix)


def _dot(row: Row, factor: float) -> Dot:
    segment = row.segment
    ends = segment["confidence"]
    return Dot(
        segment["segment"],
        segment["value"] * factor,
        None if ends is None else [bound * factor for bound in ends],
        _told(row),
        url=row.url,
        hollow=not segment["enough"] and segment["clusters"] is not None,
        best=row.is_best,
    )


def describe(rows: Sequence[Row], answer: Mapping) -> str:
    """The chart in words, for those who do not see it."""
    name = label(answer["metric"])
    said = "; ".join(f"{visible(row.segment['segment'])} {formats.measure(row.segment)}" for row in rows[:8])
    more = f"; and {len(rows) - 8} more" if len(rows) > 8 else ""
    return f"Dots with intervals of {name}: {said}{more}. The table below has the same numbers."


def _told(row: Row) -> str:
    """The tooltip of a dot."""
    segment = row.segment
    parts = [f"{visible(segment['segment'])}: {formats.measure(segment)}"]
    parts += [f"95 %: {formats.bounds(segment)}"] if segment["confidence"] else []
    if segment["sample_size"] is not None:
        parts.append(f"n = {formats.number(segment['sample_size'])}, {formats.number(segment['clusters'])} contacts")
    parts += [row.note] if row.note else []
    return "\n".join(parts)


class Move(NamedTuple):
    """A segment in two periods, what it is called, and where its conversations of this period are."""

    row: Mapping
    name: str
    url: str | None


def moves(rows: Sequence[Mapping], link: Link) -> list[Move]:
    """The rows of a table of moves."""
    return [
        Move(
            row,
            f"{label(row['dimension'])}: {visible(row['segment'])}" if row["dimension"] else visible(row["segment"]),
            link(row["where"]) if row["where"] is not None and row["now"]["denominator"] else None,
        )
        for row in rows
    ]


def _change(analytics: Analytics, params: Params, asked: Params, answer: Mapping, link: Link) -> dict[str, Any]:
    """The section on two periods: each segment in both, and over all dimensions which account for the change."""
    names = ("metric", *COMMON, "compare_from", "compare_to", "follow")
    why = analytics.explain({name: texts for name, texts in asked.items() if name in names})
    both = answer["compare"]
    wait = answer["definition"]["maturity_days"] or 0
    follow = f"{round(wait * 24 + 0.5)}h" if both["follow_days"] is not None and both["follow_days"] < wait else None
    return {
        "moved": moves(both["segments"], link),
        "causes": moves(why["segments"][:DIFFERENCES], link),
        "offsets": moves(why["offsetting"][:DIFFERENCES], link),
        "longer": None if follow is None else url("/segments", params, follow=follow),
    }
