"""The page of trends: table rows, and a chart for each currency, as pure functions of the answer."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from dropoff.dashboard.charts.charts import HOLLOW, MOST_DOTS, inert, line_series, marks, over_time, short
from dropoff.dashboard.charts.funnel_trend import COLORS
from dropoff.dashboard.frame.frame import Analytics, query, question
from dropoff.phrases import formats
from dropoff.phrases.addresses import common, ends, url, with_condition
from dropoff.phrases.formats import bucket, label, visible
from dropoff.query import COMMON, REST, Params

_PARAMETERS = (*COMMON, "metric", "interval", "by")
_DEFAULTS: Params = {"metric": ["response_rate"], "interval": ["day"]}

Link = Callable[..., str]
"""From a point, and more parameters, to the address of the conversations behind it."""

_SCALES = (("d", 86400), ("h", 3600), ("min", 60))


def trends_page(analytics: Analytics, request: Request) -> Response:
    """`/trends`: a metric over time."""
    params = query(request, _PARAMETERS)
    asked = {**_DEFAULTS, **params}

    def show(answer: dict) -> dict[str, Any]:
        zone = answer["period"]["timezone"]

        def link(point: Mapping, **more: str) -> str:
            by = answer["definition"]["by"]
            known = common(params) if by is None else with_condition(common(params), by, point["segment"])
            return url("/conversations", {**known, "metric": asked["metric"]}, **ends(point, zone), **more)

        if answer["definition"]["by"] is not None:
            parts = segments(answer, link)
            charts = {currency: split_chart(drawn(found), answer) for currency, found in parts.items()}
            return {"lines": parts, "charts": charts, "drawn": drawn}
        found = lines(answer, link)
        charts = {currency: trend_chart(rows, answer) for currency, rows in found.items()}
        return {"lines": found, "charts": charts, "totals": totals(answer)}

    return question(
        analytics, request, "trends.html", params, lambda: analytics.trend(asked), show,
        asked=asked, metrics=analytics.definitions({})["metrics"],
    )  # fmt: skip


class Row(NamedTuple):
    """A point, the one as far into the period before, and where the conversations are that count in it.

    `of_url`: where those are of which they are a part.
    """

    name: str
    point: Mapping
    previous: Mapping | None
    url: str | None
    of_url: str | None


class Segment(NamedTuple):
    """A value of the dimension of a split: its number in the whole period, and in the one before, and its points.

    Only the largest have a line, of `color` from 1; of the others it is 0.
    """

    name: str
    total: Mapping
    previous: Mapping | None
    url: str | None
    of_url: str | None
    rows: Sequence[Row]
    color: int


def segments(answer: Mapping, link: Link) -> dict[str, list[Segment]]:
    """The segments of a split by currency ('' where there is none), the largest first."""
    before = {(row["segment"], row.get("currency") or ""): row for row in answer["previous"]["total"]}
    found: dict[str, list[Segment]] = {}
    for total in answer["total"]:
        name, currency = total["segment"], total.get("currency") or ""
        of_currency = found.setdefault(currency, [])
        color = len(of_currency) + 1 if len(of_currency) < COLORS else 0
        rows = lines(answer, link, name).get(currency, []) if color else []
        where = _lists(total | answer["period"], link)
        of_currency.append(Segment(name, total, before.get((name, currency)), *where, rows, color))
    return found


def drawn(found: Sequence[Segment]) -> list[Segment]:
    """Those that have a line."""
    return [one for one in found if one.color]


def lines(answer: Mapping, link: Link, segment: str = "") -> dict[str, list[Row]]:
    """The rows of each line by currency ('' where there is none), the earliest first; of a split those of a segment."""
    zone, interval = answer["period"]["timezone"], answer["interval"]
    points, earlier = (
        [point for point in one["points"] if point["segment"] == segment] for one in (answer, answer["previous"])
    )
    before = _by_currency(earlier)
    return {
        currency: [
            Row(
                bucket(point["from"], interval, zone),
                point,
                _at(before.get(currency, ()), place),
                *_lists(point, link),
            )
            for place, point in enumerate(points)
        ]
        for currency, points in _by_currency(points).items()
    }


def _lists(point: Mapping, link: Link) -> tuple[str | None, str | None]:
    """Where the conversations are that count, and those of which they are a part, as far as there are any."""
    if point["value"] is None or point["segment"] == REST:  # what is taken together has no name to filter by
        return None, None
    of_currency = {"currency": point["currency"]} if point.get("currency") else {}
    if "n" in point or point["unit"] == "score":  # made of values, not of some that count among others
        return link(point) if formats.sample(point) else None, None
    counting = link(point, **of_currency) if point["numerator"] else None
    return counting, link(point, **of_currency, part="denominator") if point["denominator"] else None


def totals(answer: Mapping) -> dict[str, dict[str, Any]]:
    """The value of the whole period beside that of the period before, by currency."""
    before = {row.get("currency") or "": row for row in answer["previous"]["total"]}
    return {
        currency: {"row": row, "previous": before.get(currency)}
        for row in answer["total"]
        for currency in [row.get("currency") or ""]
    }


def trend_chart(rows: Sequence[Row], answer: Mapping) -> dict:
    """A line with its points, the period before as a dashed one, and a vertical line for all that is `marked`."""
    unit = rows[0].point["unit"]
    factor, suffix = scale(unit, [row.point["value"] for row in rows])
    begins = [row.point["from"] for row in rows]
    drawn = [_before(rows, factor), _now(rows, factor) | {"markLine": marks(marked(answer), begins)}]
    top = 30 if marked(answer) else 10
    frame = over_time(describe_trend(rows, answer), [row.name for row in rows], suffix, top)
    return {"baseOption": frame | {"series": drawn}, "media": []}


def split_chart(shown: Sequence[Segment], answer: Mapping) -> dict:
    """A line for each segment, and a vertical one for all that is `marked`."""
    values = [row.point["value"] for one in shown for row in one.rows]
    factor, suffix = scale(shown[0].total["unit"], values)
    drawn = [
        line_series(inert(visible(one.name)), [_of_segment(one, row, factor) for row in one.rows], one.color)
        for one in shown
    ]
    drawn[0]["markLine"] = marks(marked(answer), [row.point["from"] for row in shown[0].rows])
    names, metric = ", ".join(visible(one.name) for one in shown), label(answer["definition"]["metric"])
    described = f"Line chart of {metric} by {answer['interval']}, a line for each of {names}."
    top = 30 if marked(answer) else 10
    frame = over_time(
        f"{described} The table below has the same numbers.", [row.name for row in shown[0].rows], suffix, top
    )
    return {"baseOption": frame | {"series": drawn}, "media": []}


def _of_segment(one: Segment, row: Row, factor: float) -> dict:
    item = _item(row, factor, dots=len(one.rows) <= MOST_DOTS)
    if "tooltip" in item:
        item["tooltip"] = {"formatter": f"{inert(visible(one.name))}\n{_told(row)}"}
    if "itemStyle" in item:
        item["itemStyle"] = HOLLOW | {"borderColor": f"var(--chart-{one.color})"}
    return item


def describe_trend(rows: Sequence[Row], answer: Mapping) -> str:
    """The chart in words, for those who do not see it."""
    name, known = label(answer["definition"]["metric"]), [row for row in rows if row.point["value"] is not None]
    if not known:
        return f"Line chart of {name}: no values."
    low, high = (pick(known, key=lambda row: row.point["value"]) for pick in (min, max))
    ends = f"from {formats.measure(known[0].point)} to {formats.measure(known[-1].point)}"
    return (
        f"Line chart of {name} by {answer['interval']}, {len(rows)} points {ends}; lowest {low.name} with "
        f"{formats.measure(low.point)}, highest {high.name} with {formats.measure(high.point)}. "
        "The table below has the same numbers."
    )


def is_unsure(point: Mapping) -> bool:
    """A bucket that is cut, not over or not old enough, or a rate of too few: shown hollow."""
    n = formats.sample(point)
    return point["partial"] or point["immature"] or (n is not None and formats.is_small(n))


def _by_currency(points: Sequence[Mapping]) -> dict[str, list[Mapping]]:
    found: dict[str, list[Mapping]] = {}
    for point in points:
        found.setdefault(point.get("currency") or "", []).append(point)
    return found


def _at(points: Sequence[Mapping], place: int) -> Mapping | None:
    return points[place] if place < len(points) else None


def scale(unit: str, values: Sequence[float | None]) -> tuple[float, str]:
    """What the axis multiplies by, and its unit: seconds are shown in the unit that suits the largest."""
    if unit == "share":
        return 100, " %"
    if unit != "seconds":
        return 1, ""
    most = max((value for value in values if value is not None), default=0)
    name, size = next(((name, size) for name, size in _SCALES if most >= 2 * size), ("s", 1))
    return 1 / size, f" {name}"


def _now(rows: Sequence[Row], factor: float) -> dict:
    return line_series("This period", [_item(row, factor, dots=len(rows) <= MOST_DOTS) for row in rows], z=3)


def _item(row: Row, factor: float, *, dots: bool) -> dict:
    point, value = row.point, row.point["value"]
    if value is None:
        return {"value": None}
    unsure = is_unsure(point)
    item: dict[str, Any] = {"value": short(value * factor), "tooltip": {"formatter": _told(row)}}
    item |= {"itemStyle": HOLLOW} if unsure else {}
    item |= {} if dots else {"symbolSize": 5 if unsure else 4}
    where = row.url or row.of_url
    return item | ({"url": where} if where else {})


def _told(row: Row) -> str:
    """The tooltip of a point."""
    point = row.point
    parts = [f"{row.name}: {formats.measure(point)}"]
    parts += [formats.basis(point)] if formats.sample(point) is not None else []
    parts += [f"95 %: {formats.interval(point['interval'])}"] if point["interval"] else []
    parts += [formats.remarks(point)] if formats.remarks(point) else []
    parts += [f"Before: {formats.measure(row.previous)}"] if row.previous else []
    return inert("\n".join(parts))


def _before(rows: Sequence[Row], factor: float) -> dict:
    values = [row.previous["value"] if row.previous else None for row in rows]
    return {
        "type": "line", "name": "The period before", "symbol": "none", "silent": True, "z": 2,
        "data": [None if value is None else short(value * factor) for value in values],
        "lineStyle": {"color": "var(--line-strong)", "width": 1, "type": "dashed"},
    }  # fmt: skip


def marked(answer: Mapping) -> list[tuple[str, str]]:
    """What has a vertical line: a version or a labeller where it was first seen, what the settings say happened."""
    found = [(one["at"], visible(one["bot_version"])) for one in answer["deploys"]]
    found += [(one["at"], f"labels: {visible(one['label_source'])}") for one in answer["labellers"]]
    return found + [(one["at"], visible(one["text"])) for one in answer["annotations"]]
