"""The pages of the conversations: the list behind a number, and one of them with all that happened."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from dropoff.analyse.troubles import BEHIND
from dropoff.dashboard import formats, words
from dropoff.dashboard.findings import chain
from dropoff.dashboard.frame import COMMON, ONE, Analytics, Params, common_chips, query, question, render, url
from dropoff.dashboard.funnel import with_one_funnel

_BEHIND = ("passed", "said", "last_intent", "instead", "reason")
_OF_EXPERIMENT = ("experiment", "variant", "goal")
_OF_PATTERN = ("pattern", "kind", "group", "success", "cut", "groups", "steps", "repeats")
_OF_MESSAGE = ("message", "position", "intent")
_PARAMETERS = (
    *COMMON, "name", "definition", "mode", "threshold", "stage", "within", "dropped", *_BEHIND, *_OF_EXPERIMENT,
    *_OF_PATTERN, *_OF_MESSAGE, *BEHIND, "limit", "after",
)  # fmt: skip


def conversations_page(analytics: Analytics, request: Request) -> Response:
    """`/conversations`: the conversations behind a number."""
    params = query(request, _PARAMETERS)
    whole = {name: texts for name, texts in params.items() if name not in ("limit", "after")}
    export = url("/api/v1/conversations", whole, format="csv")
    return question(
        analytics, request, "conversations.html", params, lambda: analytics.conversations(params),
        lambda _: {"export": export}, picked=with_one_funnel, chips=chips(params),
    )  # fmt: skip


def conversation_page(analytics: Analytics, request: Request) -> Response:
    """`/conversations/{id}`: the facts, the transcript, and everything else that happened."""
    params = query(request, ONE)
    conversation = analytics.conversation(request.path_params["id"] or request.query_params.get("id", ""), params)
    timezone = params.get("timezone", [analytics.filters()["timezone"]])[0]
    return render(
        "conversation.html",
        request,
        params=params,
        conversation=conversation,
        timezone=timezone,
        facts=fact_rows(conversation),
        days=timeline(conversation, timezone),
    )


def chips(params: Params) -> list[dict[str, str]]:
    """The active filters, each as text and the address without it. The place in the list is not a filter."""
    base = {name: texts for name, texts in params.items() if name != "after"}
    names = {
        "stage": "Reached", "within": "Before the age of", "dropped": "Dropped after", "passed": "Went on after",
        "said": "The bot said", "last_intent": "Silent after", "instead": "Instead", "reason": "Meanwhile",
        "name": "Funnel", "mode": "Mode", "experiment": "Experiment", "variant": "Variant", "goal": "Came to",
        "message": "Message", "position": "Message number", "intent": "Intent",
        "trigger": "Fallback", "utterance": "Not understood", "error": "Error", "escalation": "Handed over",
        "keyword": "Opted out with", "opted_out_after": "Opted out after", "health": "Data health",
    }  # fmt: skip
    gone = {"stage": {"stage": None, "within": None}}  # without a stage nothing was reached within a time
    gone |= dict.fromkeys(("experiment", "variant"), dict.fromkeys(_OF_EXPERIMENT))
    gone |= dict.fromkeys(("message", "position"), dict.fromkeys(_OF_MESSAGE))
    found = [
        {
            "text": f"{names[name]}: {formats.label(text)}",
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


# Those of one funnel are not those of another.
_NO_STAGE: dict[str, None] = dict.fromkeys(("stage", "within", "dropped", "mode", *_BEHIND))


def fact_rows(conversation: Mapping) -> list[tuple[str, str, Any]]:
    """(label, format, value) for each fact worth a line; facts unknown here come last, in plain form."""
    known = {fact.name for fact in words.FACTS} | words.HIDDEN_FACTS
    rows = [
        (fact.label, fact.kind, conversation.get(fact.name))
        for fact in words.FACTS
        if fact.always or conversation.get(fact.name) not in (None, [], "")
    ]
    others = [(name, value) for name, value in conversation.items() if name not in known]
    return rows + [
        (formats.label(name), _kind(name), value) for name, value in others if value not in (None, [], {}, "")
    ]


def timeline(conversation: Mapping, timezone: str) -> list[tuple[str, list[dict]]]:
    """Messages and other events in the order in which they happened, by local day."""
    items = [{"kind": "event", "event": event} | _when(event) for event in conversation["events"] if _is_marked(event)]
    items += [{"kind": "message", "message": message} | _when(message) for message in conversation["messages"]]
    days: dict[str, list[dict]] = {}
    for item in sorted(items, key=_happened):
        days.setdefault(formats.day(item["at"], timezone), []).append(item)
    return list(days.items())


def _kind(name: str) -> str:
    if name.endswith("_at"):
        return "instant"
    return "duration" if name.endswith("_seconds") else "plain"


def _is_marked(event: Mapping) -> bool:
    return event["event_type"] not in words.MESSAGE_EVENTS


def _when(item: Mapping) -> dict:
    return {"at": datetime.fromisoformat(item["timestamp"])}


def _happened(item: Mapping) -> tuple:
    starts = item["kind"] == "event" and item["event"]["event_type"] == words.STARTED
    return item["at"], 0 if starts else 1 if item["kind"] == "message" else 2
