"""The page of conversations: those behind a number, and those that are looked for."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from dropoff.analyse import counted
from dropoff.analyse.troubles import BEHIND
from dropoff.dashboard.api.filters import REFUSED, Filters
from dropoff.dashboard.frame.frame import Analytics, common_chips, query, question
from dropoff.dashboard.pages.funnel import with_one_funnel
from dropoff.phrases import formats
from dropoff.phrases.addresses import conversation_url, url
from dropoff.phrases.findings import chain
from dropoff.query import COMMON, Params
from dropoff.store.sql import OUTCOMES

_BEHIND = ("passed", "said", "last_intent", "instead", "reason")
_OF_EXPERIMENT = ("experiment", "variant", "goal")
_OF_PATTERN = ("pattern", "kind", "group", "success", "cut", "groups", "steps", "repeats")
_OF_MESSAGE = ("message", "position", "intent")
_FACTS = ("objection", "outcome", "ending", "status", "contact_id", "id")
_PARAMETERS = (
    *COMMON, "name", "definition", "mode", "threshold", "stage", "within", "dropped", *_BEHIND, *_OF_EXPERIMENT,
    *_OF_PATTERN, *_OF_MESSAGE, *BEHIND, *counted.BEHIND, "text", *_FACTS, "limit", "after",
)  # fmt: skip


def conversations_page(analytics: Analytics, filters: Filters, request: Request) -> Response:
    """`/conversations`: the conversations behind a number, or those that are looked for; and the saved filters."""
    params = query(request, _PARAMETERS)
    kept = {name: texts for name, texts in params.items() if name not in ("limit", "after")}
    not_saved = REFUSED.get(request.query_params.get("refused", ""))

    def show(answer: dict) -> dict[str, Any]:
        return {
            "export": url("/api/v1/conversations", kept, format="csv"),
            "rows": [Row.of(row, params) for row in answer["conversations"]],
            "saved": [(each.name, url("/conversations", each.params), each.params == kept) for each in filters.all()],
            "kept": url("", kept).removeprefix("?"),
            "not_saved": not_saved,
        }

    return question(
        analytics, request, "conversations.html", params, lambda: analytics.conversations(params), show,
        picked=with_one_funnel, chips=chips(params), outcomes=OUTCOMES,
    )  # fmt: skip


class Row(NamedTuple):
    """A row of the list: its facts, its address, and the part of a message in which something was found."""

    facts: Mapping[str, Any]
    url: str
    found: list[tuple[str, bool]]

    @classmethod
    def of(cls, facts: Mapping[str, Any], params: Params) -> "Row":
        """With the words that were looked for going along."""
        hit = facts.get("hit")
        if hit is None:
            return cls(facts, conversation_url(facts["id"], params), [])
        address = conversation_url(facts["id"], params, text=params["text"][0])
        return cls(facts, address, pieces(hit["text"], hit["marks"]))


def pieces(text: str, marks: Iterable[Sequence[int]]) -> list[tuple[str, bool]]:
    """A text cut where something was found: each part, and whether it is what was looked for."""
    found, last = [], 0
    for start, end in marks:
        found += [(text[last:start], False), (text[start:end], True)]
        last = end
    return [(part, marked) for part, marked in [*found, (text[last:], False)] if part]


def chips(params: Params) -> list[dict[str, str]]:
    """The active filters, each as text and the address without it. The place in the list is not a filter."""
    base = {name: texts for name, texts in params.items() if name != "after"}
    names = {
        "stage": "Reached", "within": "Before the age of", "dropped": "Dropped after", "passed": "Went on after",
        "said": "The bot said", "last_intent": "Silent after", "instead": "Instead", "reason": "Meanwhile",
        "name": "Funnel", "mode": "Mode", "experiment": "Experiment", "variant": "Variant", "goal": "Came to",
        "message": "Message", "position": "Message number", "text": "Said", "intent": "Intent",
        "objection": "Objection", "outcome": "Outcome", "ending": "Ending", "status": "Status",
        "contact_id": "Contact", "id": "Conversation",
        "trigger": "Fallback", "utterance": "Not understood", "error": "Error", "escalation": "Handed over",
        "keyword": "Opted out with", "opted_out_after": "Opted out after", "health": "Data health",
        "metric": "Metric", "part": "Part", "currency": "Currency",
    }  # fmt: skip
    gone = {"stage": {"stage": None, "within": None}}  # without a stage nothing was reached within a time
    gone |= dict.fromkeys(("experiment", "variant"), dict.fromkeys(_OF_EXPERIMENT))
    gone["metric"] = dict.fromkeys(counted.BEHIND)
    gone |= dict.fromkeys(("message", "position"), dict.fromkeys(_OF_MESSAGE))
    found = [
        {
            "text": f"{names[name]}: {formats.visible(text) if name in _AS_TYPED else formats.label(text)}",
            "url": url("/conversations", base, **gone.get(name, {name: None})),
        }
        for name in names
        for text in base.get(name, [])
    ]
    if "pattern" in base:
        without = {name: texts for name, texts in base.items() if name not in _OF_PATTERN}
        group = f" ({base['group'][0]})" if "group" in base else ""
        found.append({"text": f"Pattern: {chain(base['pattern'])}{group}", "url": url("/conversations", without)})
    if "definition" in base:
        found.append({"text": "Funnel: as defined", "url": url("/conversations", base, definition=None, **_NO_STAGE)})
    found += common_chips(base, "/conversations")
    if "from" in base or "to" in base:
        without = {name: texts for name, texts in base.items() if name not in ("from", "to")}
        found.append({"text": "Period", "url": url("/conversations", without)})
    return found


_AS_TYPED = ("text", "contact_id", "id")

# Those of one funnel are not those of another.
_NO_STAGE: dict[str, None] = dict.fromkeys(("stage", "within", "dropped", "mode", *_BEHIND))
