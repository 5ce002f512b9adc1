"""The page of one conversation: its facts, where it stands, all that happened in it, and its nearest neighbours."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from dropoff.analyse.conversations import wanted
from dropoff.dashboard.charts.charts import inert, line_series, over_time
from dropoff.dashboard.frame.files import OF_ONE, csv_file, slug
from dropoff.dashboard.frame.frame import Analytics, query
from dropoff.dashboard.frame.rendering import render
from dropoff.dashboard.pages.conversations import pieces
from dropoff.dashboard.pages.sides import Side, around
from dropoff.errors import InvalidInput
from dropoff.phrases import findings, formats, words
from dropoff.phrases.addresses import ONE, conversation_url
from dropoff.query import COMMON, Params

LAST = 3
"""So many of the steps in common are named."""
GROUPS = {"won": "Nearest won", "lost": "Nearest lost or dropped"}
"""The neighbours, and what they are called."""


def conversation_page(analytics: Analytics, request: Request) -> Response:
    """`/conversations/{id}`; `text` is marked in what was said, `beside` names the neighbour that stands beside it."""
    params = query(request, (*COMMON, "text", "beside"))
    known = {name: texts for name, texts in params.items() if name in ONE}
    filters = analytics.filters()
    conversation = analytics.conversation(request.path_params["id"] or request.query_params.get("id", ""), known)
    file = slug("dropoff", "conversation", conversation["id"])
    if request.query_params.get("format") == "csv":
        return csv_file(OF_ONE, request.query_params.get("rows", ""), conversation, file)
    timezone = params.get("timezone", [filters["timezone"]])[0]
    said = "".join(params.get("text", []))

    def here(**more: str) -> str:
        return conversation_url(conversation["id"], params, text=said or None, **more)

    points = scored(conversation["messages"], timezone)
    return render(
        "conversation.html",
        request,
        params=params,
        conversation=conversation,
        timezone=timezone,
        facts=main_facts(conversation),
        more=more_facts(conversation),
        days=timeline(conversation, timezone, said),
        next_step=findings.next_step(conversation),
        points=points,
        chart=sentiment_chart(points),
        groups=GROUPS,
        sides=sides(analytics, conversation, params, known),
        beside={name: here(beside=name) + "#sides" for name in GROUPS},
        parted=in_common(conversation, params),
        file=file,
        files={"sentiment": here(format="csv", rows="sentiment")},
        live=filters["version"] if conversation["status"] == "open" and "as_of" not in params else None,
    )


def sides(analytics: Analytics, conversation: Mapping, params: Params, known: Params) -> list[Side]:
    """This conversation and the neighbour that is asked for, around the message with which their ways part."""
    name = "".join(params.get("beside", []))
    if not name:
        return []
    if name not in GROUPS:
        raise InvalidInput("beside", name, f"one of {', '.join(GROUPS)}")
    other = conversation["neighbours"][name]
    if other is None:
        return []
    messages = analytics.transcripts([other["id"]], known)[other["id"]]
    here = around(conversation["messages"], other["position"])
    this = Side("This conversation", _ended(conversation), conversation["id"], here, [])
    return [this, Side(GROUPS[name], _ended(other), other["id"], around(messages, other["position"]), [])]


def _ended(conversation: Mapping) -> str:
    return formats.label(conversation["ending"] or conversation["outcome"]).lower()


def in_common(conversation: Mapping, params: Params) -> str:
    """The last of the steps with which this conversation and the neighbour beside it began."""
    other = conversation["neighbours"].get("".join(params.get("beside", [])))
    shared = other["shared"] if other else []
    before = f"{len(shared)} equal steps, the last of them " if len(shared) > LAST else ""
    return before + findings.chain(shared[-LAST:]) if shared else ""


def scored(messages: Sequence[Mapping], timezone: str) -> list[dict[str, Any]]:
    """The messages that have a sentiment, by position."""
    found = [one for one in messages if one["sentiment"] is not None]
    return [{**one, "clock": formats.clock(one["timestamp"], timezone)} for one in found]


def sentiment_chart(points: Sequence[Mapping]) -> dict | None:
    """The sentiment from message to message; None with fewer than two, of which there is no line."""
    if len(points) < 2:
        return None
    first, last = (formats.signed(points[i]["sentiment"]) for i in (0, -1))
    described = (
        f"Line chart of the sentiment of {len(points)} messages, from {first} to {last}. "
        "The table below has the same numbers."
    )
    frame = over_time(described, [f"Message {one['position']}" for one in points], "")
    frame["grid"] |= {"bottom": 4}
    frame["yAxis"] |= {"min": -1, "max": 1, "interval": 0.5}
    zero = {"silent": True, "symbol": "none", "animation": False, "data": [{"yAxis": 0, "label": {"show": False}}],
            "lineStyle": {"color": "var(--line-strong)", "type": "solid", "width": 1}}  # fmt: skip
    data = [{"value": one["sentiment"], "tooltip": {"formatter": _told(one)}} for one in points]
    return frame | {"series": [line_series("Sentiment", data, markLine=zero)]}


def _told(point: Mapping) -> str:
    shown = formats.cut(formats.visible(point["content"] or ""), 60)
    return inert(f"Message {point['position']}, {point['clock']}: {formats.signed(point['sentiment'])}\n{shown}")


FactRow = tuple[str, str, Any]
"""The label of a fact, its format, its value."""


def main_facts(conversation: Mapping) -> list[FactRow]:
    """What one wants to know of a conversation first."""
    return _rows([fact for fact in words.FACTS if not fact.folded], conversation)


def more_facts(conversation: Mapping) -> list[FactRow]:
    """All else that is known; facts unknown here come last, in plain form."""
    known = {fact.name for fact in words.FACTS} | words.HIDDEN_FACTS
    others = [words.Fact(name, formats.label(name), _kind(name)) for name in conversation if name not in known]
    return _rows([*(fact for fact in words.FACTS if fact.folded), *others], conversation)


def _rows(facts: Iterable[words.Fact], conversation: Mapping) -> list[FactRow]:
    found = [(fact, conversation.get(fact.name)) for fact in facts]
    return [(fact.label, fact.kind, value) for fact, value in found if fact.always or value not in (None, [], {}, "")]


def timeline(conversation: Mapping, timezone: str, said: str = "") -> list[tuple[str, list[dict]]]:
    """Messages and other events in the order in which they happened, by local day; marked is what `said` looks for.

    The event of a message that was retracted has no message: it stands among the others.
    """
    own = {message["event_id"] for message in conversation["messages"]}
    items = [
        {"kind": "event", "event": event} | _when(event) for event in conversation["events"] if event["id"] not in own
    ]
    pattern = wanted.any_of(wanted.terms(said)) if said else None
    for message in conversation["messages"]:
        text = message["content"] or ""
        marked = pieces(text, wanted.marks(text, pattern) if pattern else [])
        items.append({"kind": "message", "message": message, "parts": marked} | _when(message))
    days: dict[str, list[dict]] = {}
    for item in sorted(items, key=_happened):
        days.setdefault(formats.day(item["at"], timezone), []).append(item)
    return list(days.items())


def _kind(name: str) -> str:
    if name.endswith("_at"):
        return "instant"
    return "duration" if name.endswith("_seconds") else "plain"


def _when(item: Mapping) -> dict:
    return {"at": datetime.fromisoformat(item["timestamp"])}


def _happened(item: Mapping) -> tuple:
    starts = item["kind"] == "event" and item["event"]["event_type"] == words.STARTED
    return item["at"], 0 if starts else 1 if item["kind"] == "message" else 2
