"""The page of the funnel: what it shows, as pure functions of the answer, and its address."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from dropoff.analyse.funnels.dropoffs import ordered
from dropoff.dashboard.charts import funnel_trend
from dropoff.dashboard.charts.charts import histogram
from dropoff.dashboard.charts.funnel_chart import funnel_chart
from dropoff.dashboard.frame.frame import Analytics, query, question
from dropoff.phrases import formats, words
from dropoff.phrases.addresses import url, with_condition
from dropoff.project.funnels import EVENT
from dropoff.query import COMMON, REST, Params

_PARAMETERS = (*COMMON, "name", "definition", "mode", "threshold", "by", "interval")
_OF_OWN_FUNNELS = ("mode", "interval")


def funnel_page(analytics: Analytics, request: Request) -> Response:
    """`/`: stages, rates and drop-offs of the conversations started in a period, or of a funnel of one's own."""
    params = query(request, _PARAMETERS)

    def show(answer: dict) -> dict[str, Any]:
        listed = {name: texts for name, texts in params.items() if name not in ("by", "interval")}
        own = answer["definition"].get("funnel")
        leads = counts_conversations(answer)
        chart = funnel_chart(answer, (lambda **changes: url("/conversations", listed, **changes)) if leads else None)
        shown = {"chart": chart, "counts": _counts(answer), "rates": rate_rows(answer)}
        # So far a stage that most have only just come to loses the most: it is not what to look at first.
        shown["drop_offs"] = ordered(answer["drop_offs"], "matured")
        shown |= {"listed": listed, "leads": leads, "own": own, "segments": segment_rows(answer, listed, leads)}
        known = [] if own else [stage["stage"] for stage in answer["stages"]]
        shown["stages_explained"] = [(formats.label(stage), words.STAGES[stage]) for stage in known]
        return shown | _own_funnel(answer, listed, leads)

    return question(
        analytics, request, "funnel.html", params, lambda: analytics.funnel(params), show,
        picked=with_one_funnel, is_own=_is_own(params),
    )  # fmt: skip


def counts_conversations(answer: Mapping) -> bool:
    """Whether the funnel counts conversations: of contacts there is no list."""
    own = answer["definition"].get("funnel")
    return own is None or own.get("unit") != "contact"


def _own_funnel(answer: Mapping, listed: Params, leads: bool) -> dict[str, Any]:
    """What only funnels of one's own have: a trend, and how long it took."""
    shown: dict[str, Any] = {"trend": None, "bins": []}
    if "time_to_convert" in answer and answer["time_to_convert"]["n"]:
        bins = funnel_trend.bins(answer)
        shown |= {"bins": bins, "time_chart": histogram("the time to convert", bins)}
    if "trend" in answer:
        rows = funnel_trend.rows(answer, (lambda **ends: url("/conversations", listed, **ends)) if leads else None)
        drawn = funnel_trend.lines(answer)
        chart = funnel_trend.trend_chart(rows, drawn, answer["trend"])
        shown |= {"trend": rows, "trend_lines": drawn, "trend_chart": chart}
    return shown


def with_one_funnel(params: dict[str, list[str]]) -> dict[str, list[str]]:
    """A funnel that was picked by its name takes the place of the definition in the address; Dropoff's own have nothing
    that only funnels of one's own have."""
    kept = {name: texts for name, texts in params.items() if name != "definition" or "name" not in params}
    return kept if _is_own(kept) else {name: texts for name, texts in kept.items() if name not in _OF_OWN_FUNNELS}


def _is_own(params: Params) -> bool:
    return "definition" in params or params.get("name", ["sales"])[0] not in words.FUNNELS


def segment_rows(answer: Mapping, params: Params, leads: bool = True) -> list[dict[str, Any]]:
    """The segments of a split funnel: value, how many started, the rates, and where the conversations are."""
    by = answer.get("by") or ""
    # What a conversation has can be asked for; the value of one event cannot.
    has_list = leads and not by.startswith(EVENT)
    return [
        {
            "value": value,
            "started": part["stages"][0]["count"],
            "rates": part["numbers"] or {s["stage"]: s["rate_from_start"] for s in part["stages"][1:]},
            "url": None if value == REST or not has_list else url("/conversations", with_condition(params, by, value)),
        }
        for value, part in answer.get("segments", {}).items()
    ]


def rate_rows(answer: Mapping) -> list[dict]:
    """The named rates with their fractions and intervals."""
    return [{"name": name, "value": number["value"], "rate": number} for name, number in answer["numbers"].items()]


def _counts(answer: Mapping) -> dict[str, int]:
    return {stage["stage"]: stage["count"] for stage in answer["stages"]}
