"""A funnel of one's own over time, and how long it took: rows and charts as pure functions of its answer."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from dropoff.dashboard.charts.charts import MOST_DOTS, inert, line_series, marks, over_time, short
from dropoff.phrases import formats
from dropoff.phrases.addresses import ends
from dropoff.phrases.running import Bin
from dropoff.project.funnels import UNTIMED

Link = Callable[..., str]
"""From the ends `from` and `to` to the address of the conversations that entered between them."""

COLORS = 6
"""The style sheet's `--chart-1` … and its classes `line-1` …"""
_DASHES = ("solid", "dashed", "dotted")
_SYMBOLS = ("circle", "rect", "triangle", "diamond")


class Line(NamedTuple):
    """A step with the style by which its line is known: a colour, from 1, and a dash."""

    name: str
    place: int
    color: int
    dash: str


class Row(NamedTuple):
    """A point: what it is called, how many entered, and where they are."""

    name: str
    n: int
    url: str | None
    stages: Sequence[Mapping[str, Any]]
    unsure: bool
    note: str


def lines(answer: Mapping) -> list[Line]:
    """The steps that are drawn: those after the first of which the project has events."""
    drawn = [i for i, stage in enumerate(answer["stages"]) if i and stage["is_recorded"]]
    return [
        Line(answer["stages"][place]["stage"], place, i % COLORS + 1, _DASHES[i // COLORS % len(_DASHES)])
        for i, place in enumerate(drawn)
    ]


def rows(answer: Mapping, link: Link | None) -> list[Row]:
    """The points, the earliest first. `link` where conversations are counted."""
    zone, interval = answer["period"]["timezone"], answer["trend"]["interval"]
    # Elsewhere an attempt of the list may be another than the one that counts in the whole period.
    linked = link if answer["definition"]["mode"] in UNTIMED else None
    found = []
    for point in answer["trend"]["points"]:
        n = point["stages"][0]["count"]
        found.append(
            Row(
                formats.bucket(point["from"], interval, zone),
                n,
                linked(**ends(point, zone)) if linked and n else None,
                point["stages"],
                point["partial"] or bool(point["immature"]) or formats.is_small(n),
                _note(point, n),
            )
        )
    return found


def _note(point: Mapping, n: int) -> str:
    said = (
        "not enough data" if n and formats.is_small(n) else "",
        "not over or cut" if point["partial"] else "",
        "immature" if point["immature"] else "",
    )
    return ", ".join(text for text in said if text)


def trend_chart(shown: Sequence[Row], drawn: Sequence[Line], trend: Mapping) -> dict:
    """A line for each step: which share of those that entered came to it; a vertical one for each annotation."""
    marked = [(one["at"], formats.visible(one["text"])) for one in trend["annotations"]]
    described = describe_trend(shown, drawn, trend["interval"])
    frame = over_time(described, [row.name for row in shown], " %", 30 if marked else 10)
    series = [_series(line, shown) for line in drawn]
    if series and marked:
        series[0]["markLine"] = marks(marked, [point["from"] for point in trend["points"]])
    return frame | {"series": series}


def describe_trend(shown: Sequence[Row], drawn: Sequence[Line], interval: str) -> str:
    """The chart in words."""
    names = ", ".join(formats.label(line.name) for line in drawn)
    return (
        f"Line chart by {interval}, {len(shown)} points: of those that entered, the share that came to {names}. "
        "The table below has the same numbers."
    )


def _series(line: Line, shown: Sequence[Row]) -> dict:
    data = [_item(line, row, dots=len(shown) <= MOST_DOTS) for row in shown]
    symbol = _SYMBOLS[(line.color - 1) % len(_SYMBOLS)]
    found = line_series(inert(formats.label(line.name)), data, line.color, symbol=symbol)
    return found | {"lineStyle": found["lineStyle"] | {"type": line.dash}}


def _item(line: Line, row: Row, *, dots: bool) -> dict:
    rate = row.stages[line.place]["rate_from_start"]
    if rate["value"] is None:
        return {"value": None}
    item: dict[str, Any] = {"value": short(rate["value"] * 100), "tooltip": {"formatter": _told(line, row, rate)}}
    if row.unsure:
        hollow = {"color": "var(--page)", "borderColor": f"var(--chart-{line.color})", "borderWidth": 2}
        item["itemStyle"] = hollow
    item |= {} if dots else {"symbolSize": 5 if row.unsure else 4}
    return item | ({"url": row.url} if row.url else {})


def _told(line: Line, row: Row, rate: Mapping) -> str:
    parts = [f"{formats.label(line.name)}, {row.name}: {formats.percent(rate['value'])}", formats.fraction(rate)]
    parts += [f"95 %: {formats.interval(rate['interval'])}"] if rate["interval"] else []
    parts += [row.note] if row.note else []
    return inert("\n".join(parts))


def bins(answer: Mapping) -> list[Bin]:
    """The histogram of the time to convert, the shortest first."""
    given = answer["time_to_convert"]["histogram"]
    starts = [formats.duration(one["from_seconds"]) for one in given]
    names = [*(f"{start} to {end}" for start, end in pairwise(starts)), *(f"{start} and more" for start in starts[-1:])]
    return [Bin(name, start, one["count"]) for name, start, one in zip(names, starts, given, strict=True)]
