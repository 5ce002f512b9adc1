"""What the page of drop-offs shows, as pure functions of the answer: rows, and where their conversations are."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from dropoff.query import REST

Params = Mapping[str, Sequence[str]]
Link = Callable[..., str]
"""From parameters of the list of conversations, some replaced, to its address."""

SEGMENTS = 12
"""So many values are shown before the rest is folded away."""


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
    dimension = row["dimension"]
    others = [text for text in params.get("where", ()) if text.partition("=")[0].strip() != dimension]
    narrowed = {**params, "where": [*others, f"{dimension}={row['value']}"]}
    return Segment(row, link(narrowed, dropped=stage), link(narrowed, stage=stage))
