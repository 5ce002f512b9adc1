"""The page for those with little time: what it shows, as pure functions of the answer."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from dropoff.dashboard.charts.sparks import Spark, spark
from dropoff.dashboard.frame.frame import Analytics, query, question
from dropoff.phrases import formats, running, verdicts
from dropoff.phrases.addresses import common, ends, url
from dropoff.phrases.formats import visible
from dropoff.query import COMMON, Params

TIMES = 3
"""So many times that stand out in operations are named."""


def executive_page(analytics: Analytics, request: Request) -> Response:
    """`/executive`: a few metrics against target and the period before, and what changed."""
    params = query(request, COMMON)

    def show(answer: dict) -> dict[str, Any]:
        return {
            "tiles": tiles(answer, params), "news": news(answer, params), "nothing": verdicts.nothing(answer),
            "odd": odd(analytics.unusual(params)), "operations": url("/operations", common(params)),
            "at_one_age": verdicts.AT_ONE_AGE,
        }  # fmt: skip

    return question(analytics, request, "executive.html", params, lambda: analytics.executive(params), show)


def odd(answer: Mapping) -> str:
    """When something stands out in operations, in one sentence."""
    found: dict[str, list[str]] = {}
    for part in running.PARTS:
        for span in answer[part.key]["unusual"]:
            found.setdefault(running.when(span, answer), []).append(part.name.lower())
    said = [f"{when} ({', '.join(names)})" for when, names in found.items()]
    if not said:
        return f"no {answer['definition']['interval']} of the period is far above what is usual."
    more = f", and {len(said) - TIMES} more" if len(said) > TIMES else ""
    return f"{'; '.join(said[:TIMES])}{more} {'stands' if len(said) == 1 else 'stand'} out."


class Tile(NamedTuple):
    """A metric with all that is said of it."""

    row: Mapping
    name: str
    url: str
    beside: Sequence[str]
    target: str
    standing: str
    before: str
    spark: Spark


def tiles(answer: Mapping, params: Params) -> list[Tile]:
    """One for each metric and currency, in the order of the answer."""
    marked = _marked(answer)
    return [
        Tile(
            row,
            formats.label(row["metric"]) + (f", {visible(row['currency'])}" if row.get("currency") else ""),
            url("/trends", common(params), metric=row["metric"], interval=answer["interval"]),
            _beside(row),
            verdicts.of_target(row) if row["target"] else "",
            _standing(row["target"]),
            verdicts.of_previous(row),
            spark(row, answer, marked, verdicts.side),
        )
        for row in answer["metrics"]
    ]


def _standing(target: Mapping | None) -> str:
    """The class of a target's verdict: a shape beside the word, which says it."""
    if target is None or target["met"] is None:
        return "unknown"
    return "met" if target["met"] else "missed"


def _beside(row: Mapping) -> list[str]:
    """What is to be known of a value: what it is of, its interval, and what it comes to where it is young."""
    parts = (
        formats.basis(row) if formats.sample(row) is not None else "",
        f"95 %: {formats.interval(row['interval'])}" if row["interval"] else "",
        formats.remarks(row),
    )
    said = [" · ".join(text for text in parts if text)]
    if row["immature"] and row.get("matured"):
        said.append(formats.matured_first(row))
    if row["immature"] and row.get("projected"):
        said.append(f"projected {formats.projected(row)}")
    return [text for text in said if text]


def _marked(answer: Mapping) -> list[tuple[str, str]]:
    found = [(one["at"], f"version {visible(one['bot_version'])}") for one in answer["deploys"]]
    return sorted(found + [(one["at"], visible(one["text"])) for one in answer["annotations"]])


class Cause(NamedTuple):
    """A segment that accounts for a part of a change, and its conversations."""

    text: str
    url: str | None


class News(NamedTuple):
    """A change as a sentence, the day that makes the most of it, what stands before its causes, those, and links."""

    text: str
    day: Cause | None
    why: str
    causes: Sequence[Cause]
    url: str


def news(answer: Mapping, params: Params) -> list[News]:
    """What changed, the surest first."""
    zone = answer["period"]["timezone"]
    return [
        News(
            verdicts.of_change(one, zone),
            _day(one, answer, params),
            verdicts.why(one),
            [Cause(verdicts.of_cause(cause, one), _listed(cause, params)) for cause in one["causes"]],
            _looked_at(one, params),
        )
        for one in answer["changes"]
    ]


def _day(one: Mapping, answer: Mapping, params: Params) -> Cause | None:
    """The day (week) that makes the most of a change, hour by hour (day by day)."""
    if one["apart"] is None:
        return None
    zone, finer = answer["period"]["timezone"], {"day": "hour", "week": "day"}[answer["interval"]]
    link = url("/trends", common(params), metric=one["metric"], interval=finer, **ends(one["apart"], zone))
    return Cause(verdicts.of_day(one, answer["interval"], zone), link)


def _listed(cause: Mapping, params: Params) -> str | None:
    """The conversations of a cause; None where conditions cannot say which, or there are none now."""
    if cause["where"] is None or cause["now"] is None:
        return None
    return url("/conversations", {**common(params), "where": cause["where"]})


def _looked_at(one: Mapping, params: Params) -> str:
    """The segments of both periods at the same age; of a count those of this period."""
    by = one["causes"][0]["dimension"] if one["causes"] else "channel"
    if one["unit"] == "count":
        return url("/segments", common(params), metric=one["metric"], by=by)
    days = one["change"]["follow_days"]
    follow = None if days is None else f"{round(days * 1440)}m"
    return url("/segments", common(params), metric=one["metric"], by=by, compare="previous", follow=follow) + "#periods"
