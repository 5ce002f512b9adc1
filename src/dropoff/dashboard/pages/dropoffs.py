"""The page of drop-offs: rows, and where their conversations are, as pure functions of the answer."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from dropoff.dashboard.frame.frame import Analytics, query, question
from dropoff.dashboard.pages.funnel import counts_conversations, with_one_funnel
from dropoff.phrases.addresses import url, with_condition
from dropoff.query import COMMON, REST, Params

_PARAMETERS = (*COMMON, "name", "definition", "mode", "threshold", "sort", "explain")
DEFAULTS: Params = {"sort": ["matured"], "explain": ["worst"]}
Link = Callable[..., str]
"""From parameters of the list of conversations, some replaced, to its address."""

SEGMENTS = 12
"""So many values are shown before the rest is folded away."""


def dropoffs_page(analytics: Analytics, request: Request) -> Response:
    """`/dropoffs`: between which stages conversations are lost, and of one drop-off why."""
    params = query(request, _PARAMETERS)
    listed = {name: texts for name, texts in params.items() if name not in ("sort", "explain")}

    def show(answer: dict) -> dict[str, Any]:
        drop = explained(answer)
        shown = {"listed": listed, "leads": counts_conversations(answer), "drop": drop}
        return shown if drop is None else shown | tables(drop, listed, _link)

    return question(
        analytics, request, "dropoffs.html", params, lambda: analytics.dropoffs({**DEFAULTS, **params}), show,
        picked=with_one_funnel,
    )  # fmt: skip


def _link(params: Params, **changes: str) -> str:
    return url("/conversations", params, **changes)


class Said(NamedTuple):
    """What the bot said, where those are that fell silent after it, and all in which it was said."""

    row: Mapping
    silent: str
    said: str


class Happened(NamedTuple):
    """Something that happened instead, or meanwhile; `went_on` leads to those to whom it happened and who went on."""

    row: Mapping
    lost: str
    went_on: str


class Segment(NamedTuple):
    """A value of a dimension; the values that are taken together have no list."""

    row: Mapping
    lost: str | None
    at: str | None


def explained(answer: Mapping) -> Mapping | None:
    """The drop-off that the answer explains, if one."""
    return next((drop for drop in answer["drop_offs"] if drop["explanation"] is not None), None)


def tables(drop: Mapping, params: Params, link: Link) -> dict[str, Any]:
    """The rows of an explanation; what did not happen to anybody is left out."""
    why, stage = drop["explanation"], drop["from"]
    segments = [_segment(row, stage, params, link) for row in why["segments"]]
    shown = sum(one.row["over_contributes"] for one in segments)
    return {
        "messages": [
            Said(
                row,
                link(params, dropped=stage, last_intent=row["intent"]),
                link(params, stage=stage, said=row["intent"]),
            )
            for row in why["messages"]
        ],
        "instead": [
            Happened(row, link(params, dropped=stage, instead=row["what"]), "")
            for row in why["instead"]
            if row["share"]["numerator"]
        ],
        "reasons": [
            Happened(
                row,
                link(params, dropped=stage, reason=row["reason"]),
                link(params, passed=stage, reason=row["reason"]),
            )
            for row in why["reasons"]
            if row["lost"]["numerator"] or row["went_on"]["numerator"]
        ],
        "segments": segments[: max(shown, SEGMENTS)],
        "more_segments": segments[max(shown, SEGMENTS) :],
    }


def _segment(row: Mapping, stage: str, params: Params, link: Link) -> Segment:
    if row["value"] == REST:
        return Segment(row, None, None)
    narrowed = with_condition(params, row["dimension"], row["value"])
    return Segment(row, link(narrowed, dropped=stage), link(narrowed, stage=stage))
