"""The page of operations: charts, rows and where their conversations are, as pure functions of the answer."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from dropoff.dashboard.charts.charts import HOLLOW, MOST_DOTS, histogram, inert, line_series, marks, over_time, short
from dropoff.dashboard.charts.funnel_chart import funnel_chart
from dropoff.dashboard.frame.frame import Analytics, query, question
from dropoff.phrases import formats, words
from dropoff.phrases.addresses import common, ends, url
from dropoff.phrases.health import lines
from dropoff.phrases.running import PARTS, Part, bins, narrowed, said, value_of, when
from dropoff.query import COMMON, Params

_PARAMETERS = (*COMMON, "interval")


def operations_page(analytics: Analytics, request: Request) -> Response:
    """`/operations`: how the bot is running, what stands out, and whether the data is whole."""
    params = query(request, _PARAMETERS)
    return question(
        analytics, request, "operations.html", params, lambda: analytics.operations(params),
        lambda answer: shown(answer, common(params)), terms=words.OPERATION_TERMS,
    )  # fmt: skip


def shown(answer: Mapping, params: Params) -> dict[str, Any]:
    """All that the page has beside the answer."""

    def listed(**changes: str) -> str:
        return url("/conversations", params, **changes)

    times = bins(answer)
    return {
        "stages": funnel_chart(answer["funnel"], listed),
        "drops": [Drop(row, url("/dropoffs", params, explain=row["from"]), listed(dropped=row["from"]))
                  for row in answer["funnel"]["drop_offs"]],
        "unusual": list(unusual(answer, params)),
        "sections": [section(part, answer, params) for part in PARTS],
        "times": times,
        "times_chart": histogram("response times", times) if times else None,
        "times_url": url("/trends", params, metric="response_time"),
        "health": lines(answer, params),
    }  # fmt: skip


class Drop(NamedTuple):
    """A drop-off, why it is, and who was lost."""

    row: Mapping
    why: str
    lost: str


class Listed(NamedTuple):
    """A value and where the conversations are that have it."""

    value: str
    row: Mapping
    url: str


class Section(NamedTuple):
    """A rate, where its trend is, its chart if it has one, and its lists: their heading and rows."""

    key: str
    name: str
    rate: Mapping
    immature: bool
    url: str
    chart: dict | None
    points: list[tuple[str, Mapping, str]]
    lists: list[tuple[str, str, list[Listed]]]


def section(part: Part, answer: Mapping, params: Params) -> Section:
    """A part of the page."""
    found, interval = answer[part.key], answer["definition"]["interval"]
    points = [(_name(point, answer), point, narrowed(point, answer, params)) for point in found["points"]]
    return Section(
        part.key,
        part.name,
        found["rate"],
        any(point["immature"] and point["denominator"] for point in found["points"]),
        url("/trends", params, metric=found["rate"]["metric"], interval=interval),
        rate_chart(part, answer, points) if part.drawn else None,
        points,
        [
            (name, heading, [_listed(row, parameter, params) for row in found[name]])
            for name, heading, parameter in part.lists
        ],
    )


def _listed(row: Mapping, parameter: str, params: Params) -> Listed:
    value = value_of(row)
    return Listed(value, row, url("/conversations", params, **{parameter: value}))


def _name(span: Mapping, answer: Mapping) -> str:
    return formats.bucket(span["from"], answer["definition"]["interval"], answer["period"]["timezone"])


class Unusual(NamedTuple):
    """When what stands out, in words; the page of that time; and those conversations that are most of it."""

    when: str
    said: str
    url: str
    leading: Listed | None


def unusual(answer: Mapping, params: Params) -> Iterator[Unusual]:
    """What stands out, the most above what is usual first in each part."""
    zone = answer["period"]["timezone"]
    for part in PARTS:
        for span in answer[part.key]["unusual"]:
            inside = {**params, **{name: [text] for name, text in ends(span, zone).items()}}
            leading = span["leading"] and _listed(span["leading"], part.lists[0][2], inside)
            yield Unusual(when(span, answer), said(part.key, span), narrowed(span, answer, params), leading)


# charts


def rate_chart(part: Part, answer: Mapping, points: Sequence[tuple[str, Mapping, str]]) -> dict:
    """A rate over time; what stands out as a diamond in the colour of what is lost."""
    odd, dots = answer[part.key]["unusual"], len(points) <= MOST_DOTS
    data = [
        _point(name, point, address, any(_in(point, span) for span in odd), dots=dots)
        for name, point, address in points
    ]
    told = [(one["at"], formats.visible(one["text"])) for one in answer["annotations"]]
    frame = over_time(describe(part, answer, points), [name for name, *_ in points], " %", 30 if told else 10)
    line = line_series(part.name, data, symbolSize=7, markLine=marks(told, [point["from"] for _, point, _ in points]))
    return {"baseOption": frame | {"series": [line]}, "media": []}


def _in(point: Mapping, span: Mapping) -> bool:
    return span["from"] <= point["from"] < span["to"]


def _point(name: str, point: Mapping, address: str, odd: bool, *, dots: bool) -> dict:
    if point["value"] is None:
        return {"value": None}
    told = [
        f"{name}: {formats.percent(point['value'])}",
        formats.fraction(point),
        f"95 %: {formats.interval(point['interval'])}",
    ]
    told += ["stands out"] if odd else []
    item: dict[str, Any] = {
        "value": short(point["value"] * 100), "tooltip": {"formatter": inert("\n".join(told))}, "url": address,
    }  # fmt: skip
    if odd:
        return item | {"symbol": "diamond", "symbolSize": 14, "itemStyle": {"color": "var(--chart-2)"}}
    unsure = point["partial"] or point["immature"] or formats.is_small(point["denominator"])
    item |= {"itemStyle": HOLLOW} if unsure else {}
    return item if dots else item | {"symbolSize": 4}


def describe(part: Part, answer: Mapping, points: Sequence[tuple[str, Mapping, str]]) -> str:
    """The chart in words."""
    known = [(point["value"], name) for name, point, _ in points if point["value"] is not None]
    if not known:
        return f"Line chart of {part.name.lower()}: no values."
    value, name = max(known)
    odd = "; ".join(when(span, answer) for span in answer[part.key]["unusual"]) or "nothing"
    return (
        f"Line chart of the share of {part.name.lower()} by {answer['definition']['interval']}, {len(points)} points; "
        f"highest {name} with {formats.percent(value)}; stands out: {odd}. The table below has the same numbers."
    )
