"""The page of messages: rows with the list behind each, as pure functions of the answer."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from dropoff.dashboard.frame.frame import Analytics, query, question
from dropoff.phrases import formats, utterances
from dropoff.phrases.addresses import common, url
from dropoff.query import COMMON

_PARAMETERS = (*COMMON, "rank", "position", "within", "limit")

_RANKS = {name: formats.label(name) for name in utterances.MEASURES}

Link = Callable[[Mapping[str, Any]], str]
"""From a message to the address of its list of conversations."""


def messages_page(analytics: Analytics, request: Request) -> Response:
    """`/messages`: which of the bot's messages do best and worst at their place in the conversation."""
    params = query(request, _PARAMETERS)

    def link(row: Mapping[str, Any]) -> str:
        place = {"message": row["message"], "position": str(row["position"]), "intent": row["intent"]}
        return url("/conversations", common(params), **place)

    return question(
        analytics, request, "messages.html", params, lambda: analytics.messages(params),
        lambda answer: tables(answer, link), measures=utterances.MEASURES, ranks=_RANKS,
    )  # fmt: skip


class Row(NamedTuple):
    """A message, and where its conversations are."""

    message: Mapping[str, Any]
    url: str


def tables(answer: Mapping[str, Any], link: Link) -> dict[str, list[Row]]:
    """The rows of each part of the page."""
    parts = {"best": "best_performing", "worst": "worst_performing", "first": "first_messages", "rows": "messages"}
    return {name: [Row(row, link(row)) for row in answer[key]] for name, key in parts.items()}
