"""The page of operations: charts, rows and where their conversations are, as pure functions of the answer."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from dropoff.dashboard import formats, words
from dropoff.dashboard.addresses import common, ends, url
from dropoff.dashboard.charts import HOLLOW, MUTED, funnel_chart, inert, marks, over_time, short
from dropoff.dashboard.frame import Analytics, query, question
from dropoff.dashboard.health import lines
from dropoff.dashboard.trends import MOST_DOTS
from dropoff.query import COMMON, Params

_PARAMETERS = (*COMMON, "interval")


class Part(NamedTuple):
    """A rate of the page: its key in the answer, its name, its lists (key, heading, parameter of a list), a chart?"""

    key: str
    name: str
    lists: tuple[tuple[str, str, str], ...]
    drawn: bool


PARTS = (
    Part(
        "fallbacks", "Fallbacks", (("triggers", "Trigger", "trigger"), ("utterances", "Not understood", "utterance")),
        drawn=True,
    ),
    Part("errors", "Errors", (("kinds", "Kind", "error"),), drawn=True),
    Part("escalations", "Escalations", (("reasons", "Reason", "escalation"),), drawn=False),
    Part(
        "opt_outs", "Opt-outs", (("keywords", "Word", "keyword"), ("after", "Said before", "opted_out_after")),
        drawn=False,
    ),
)  # fmt: skip


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

    return {
        "stages": funnel_chart(answer["funnel"], listed),
        "drops": [Drop(row, url("/dropoffs", params, explain=row["from"]), listed(dropped=row["from"]))
                  for row in answer["funnel"]["drop_offs"]],
        "unusual": list(unusual(answer, params)),
        "sections": [section(part, answer, params) for part in PARTS],
        "times": bins(answer),
        "times_chart": times_chart(answer),
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


def value_of(row: Mapping) -> str:
    """The trigger, the reason, … of a listed row: what its other keys count."""
    return next(iter(row.values()))


def narrowed(span: Mapping, answer: Mapping, params: Params) -> str:
    """This page of a part of the period alone."""
    return url("/operations", params, **ends(span, answer["period"]["timezone"]))


def _name(span: Mapping, answer: Mapping) -> str:
    return formats.bucket(span["from"], answer["definition"]["interval"], answer["period"]["timezone"])


# what stands out


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


def when(span: Mapping, answer: Mapping) -> str:
    """When a span was: `Tue 2026-05-05`, `2026-05-05 09:00 to 13:00`."""
    zone, interval = answer["period"]["timezone"], answer["definition"]["interval"]
    if interval == "hour":
        start, end = (formats.local(span[name], zone) for name in ("from", "to"))
        return f"{start:%Y-%m-%d %H:%M} to {end:%H:%M}" + ("" if start.date() == end.date() else f" ({end:%Y-%m-%d})")
    first, last = (f"{formats.local(moment, zone):%a %Y-%m-%d}" for moment in (span["from"], _before(span["to"])))
    return first if first == last else f"{first} to {last}"


def _before(end: str) -> datetime:
    return datetime.fromisoformat(end) - timedelta(microseconds=1)


_OF = {
    "fallbacks": "bot turns were fallbacks", "errors": "bot turns had an error",
    "escalations": "conversations were handed to a human", "opt_outs": "conversations opted out",
}  # fmt: skip


def said(key: str, span: Mapping) -> str:
    """What stood out in a span, as a sentence without its time."""
    rate, others = span["rate"], span["others"]
    return (
        f"{formats.percent(rate['value'])} of {formats.number(rate['denominator'])} {_OF[key]} "
        f"(95 %: {formats.interval(rate['interval'])}), otherwise {formats.percent(others['value'])} of "
        f"{formats.number(others['denominator'])} ({formats.sure(span['q_value'])})"
    )


def most(span: Mapping) -> str:
    """What was behind most of it: `nlu_unavailable (80 of 94)`."""
    leading = span["leading"]
    if leading is None:
        return ""
    count, whole = (formats.number(leading["share"][name]) for name in ("numerator", "denominator"))
    return f"{formats.visible(value_of(leading))} ({count} of {whole})"


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
    color = {"color": "var(--chart-1)"}
    line = {
        "type": "line", "name": part.name, "data": data, "showAllSymbol": True, "symbol": "circle", "symbolSize": 7,
        "lineStyle": color | {"width": 2}, "itemStyle": color,
        "markLine": marks(told, [point["from"] for _, point, _ in points]),
    }  # fmt: skip
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


class Bin(NamedTuple):
    """How many answers took as long as `name` says."""

    name: str
    start: str
    n: int


def bins(answer: Mapping) -> list[Bin]:
    """The histogram of the response times up to the last bar that is not empty, the shortest first."""
    given = answer["response_times"]["histogram"]
    last = max((i for i, one in enumerate(given) if one["count"]), default=-1)
    return [Bin(_took(one), formats.duration(one["from"]), one["count"]) for one in given[: last + 1]]


def _took(one: Mapping) -> str:
    if one["to"] is None:
        return f"{formats.duration(one['from'])} and more"
    return (
        f"{formats.duration(one['from'])} to {formats.duration(one['to'])}"
        if one["from"]
        else f"under {formats.duration(one['to'])}"
    )


def times_chart(answer: Mapping) -> dict | None:
    """Bars: how many answers took how long."""
    shown = bins(answer)
    if not shown:
        return None
    most = max(shown, key=lambda one: one.n)
    text = f"Bar chart of response times: {len(shown)} spans, most ({formats.number(most.n)}) {most.name}."
    frame = over_time(f"{text} The table below has the same numbers.", [one.start for one in shown], "")
    items = [{"value": one.n, "tooltip": {"formatter": f"{one.name}: {formats.number(one.n)}"}} for one in shown]
    frame["xAxis"] |= {"boundaryGap": True, "axisLabel": MUTED}
    frame["yAxis"]["minInterval"] = 1
    bars = {"type": "bar", "barCategoryGap": "12%", "itemStyle": {"color": "var(--chart-1)"}, "data": items}
    return {"baseOption": frame | {"series": [bars]}, "media": []}


def parts_said(answer: Mapping) -> Iterator[tuple[Part, str]]:
    """What stands out, a sentence each, for where there are no links."""
    for part in PARTS:
        for span in answer[part.key]["unusual"]:
            more = f"; mostly {most(span)}" if span["leading"] else ""
            yield part, f"{when(span, answer)}: {said(part.key, span)}{more}."
