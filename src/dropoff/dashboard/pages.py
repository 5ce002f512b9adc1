"""The pages: funnel, drop-offs, trends, cohorts, conversations, one conversation, login, API documentation, errors.

Every page is HTML made here from one answer of `Analytics`; its state lives in the URL, whose parameters are
those of the API. Only the form differs: people pick an inclusive last day, `until`, and are sent on to the
address with the exclusive `to`, so that `to` means one thing everywhere.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import cache
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dropoff.dashboard import dropoffs, formats, funnel_trend, trends, triangle, words
from dropoff.dashboard.charts import funnel_chart
from dropoff.errors import DropoffError, InvalidInput, NotFound, Unauthorized, Unavailable
from dropoff.funnels import EVENT
from dropoff.query import DIMENSIONS, MULTIPLE, REST

HERE = Path(__file__).parent
STATIC = HERE / "static"

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
}

Params = Mapping[str, Sequence[str]]

_COMMON = ("from", "to", "timezone", "where", "include_test", "as_of")  # what follows from page to page
_FUNNEL = (*_COMMON, "name", "definition", "mode", "threshold", "by", "interval")
_DROP_OFFS = (*_COMMON, "name", "definition", "mode", "threshold", "sort", "explain")
_COHORTS = (*_COMMON, "stage", "interval")
_TREND = (*_COMMON, "metric", "interval")
_BEHIND = ("passed", "said", "last_intent", "instead", "reason")
_LIST = (*_COMMON, "name", "definition", "mode", "threshold", "stage", "within", "dropped", *_BEHIND, "limit", "after")
_OF_OWN_FUNNELS = ("mode", "interval")
_ONE = ("timezone", "as_of")
_FIRST_METRIC = "response_rate"


class Analytics(Protocol):
    """The answers behind the pages. All methods block; `params` are the URL's query parameters.

    They raise `InvalidInput` (400), `NotFound` (404) and `Unavailable` (503).
    """

    def funnel(self, params: Params) -> dict:
        """The funnel answer: period, as_of, definition, stages, rates, drop_offs, test_conversations."""
        ...

    def dropoffs(self, params: Params) -> dict:
        """The drop-offs: period, as_of, definition, drop_offs, each with its explanation or None."""
        ...

    def trend(self, params: Params) -> dict:
        """A metric over time: period, as_of, definition, interval, total, points, previous, deploys."""
        ...

    def definitions(self, params: Params) -> dict:
        """What every metric means."""
        ...

    def cohorts(self, params: Params) -> dict:
        """A triangle: period, as_of, definition, ages, cohorts, test_conversations."""
        ...

    def conversations(self, params: Params) -> dict:
        """One page of conversations: period, as_of, definition, conversations, total, next."""
        ...

    def conversation(self, key: str, params: Params, /) -> dict:
        """All facts of one conversation with its messages and events."""
        ...

    def filters(self) -> dict:
        """What can be filtered by: channels, timezone, has_data, funnels of one's own."""
        ...


def pages(analytics: Analytics) -> list[BaseRoute]:
    """The routes of the dashboard. Endpoints are plain functions, which Starlette runs in its thread pool."""
    secured = [Middleware(SecurityHeaders)]

    def route(path: str, endpoint: Callable[[Analytics, Request], Response]) -> Route:
        def answer(request: Request) -> Response:
            try:
                return endpoint(analytics, request)
            except DropoffError as error:
                return error_page(request, error)

        return Route(path, answer, name=endpoint.__name__, middleware=secured)

    return [
        route("/", funnel_page),
        route("/dropoffs", dropoffs_page),
        route("/trends", trends_page),
        route("/cohorts", cohorts_page),
        route("/conversations", conversations_page),
        route("/conversations/{id:path}", conversation_page),
        route("/login", login),
        route("/api/docs", api_docs),
        Mount("/static/assets", BuiltFiles(directory=STATIC / "assets"), middleware=secured, name="static"),
    ]


def funnel_page(analytics: Analytics, request: Request) -> Response:
    """`/`: stages, rates and drop-offs of the conversations started in a period, or of a funnel of one's own."""
    params = query(request, _FUNNEL)
    if "until" in request.query_params:
        return _canonical(request, _with_one_funnel(params))
    page = {
        "params": params,
        "filters": analytics.filters(),
        "answer": None,
        "error": None,
        "chips": condition_chips(params, "/"),
        "is_own": _is_own(params),
    }
    try:
        answer = analytics.funnel(params)
    except InvalidInput as error:
        return render("funnel.html", request, 400, **page | {"error": error})
    listed = {name: texts for name, texts in params.items() if name not in ("by", "interval")}
    own = answer["definition"].get("funnel")
    leads = own is None or own.get("unit") != "contact"  # of contacts there is no list
    chart = funnel_chart(answer, (lambda **changes: url("/conversations", listed, **changes)) if leads else None)
    shown = {"answer": answer, "chart": chart, "counts": _counts(answer), "rates": rate_rows(answer)}
    shown |= {"listed": listed, "leads": leads, "own": own, "segments": segment_rows(answer, listed, leads)}
    return render("funnel.html", request, **page | shown | _own_funnel(answer, listed, leads))


def _own_funnel(answer: Mapping, listed: Params, leads: bool) -> dict[str, Any]:
    """What only funnels of one's own have: a trend, and how long it took."""
    shown: dict[str, Any] = {"trend": None, "bins": []}
    if "time_to_convert" in answer and answer["time_to_convert"]["n"]:
        bins = funnel_trend.bins(answer)
        shown |= {"bins": bins, "time_chart": funnel_trend.time_chart(bins)}
    if "trend" in answer:
        rows = funnel_trend.rows(answer, (lambda **ends: url("/conversations", listed, **ends)) if leads else None)
        drawn = funnel_trend.lines(answer)
        chart = funnel_trend.trend_chart(rows, drawn, answer["trend"]["interval"])
        shown |= {"trend": rows, "trend_lines": drawn, "trend_chart": chart}
    return shown


def cohorts_page(analytics: Analytics, request: Request) -> Response:
    """`/cohorts`: which share of those that began in each week had come to a stage at which age."""
    params = query(request, _COHORTS)
    if "until" in request.query_params:
        return _canonical(request, params)
    page = {
        "params": params,
        "filters": analytics.filters(),
        "answer": None,
        "error": None,
        "chips": condition_chips(params, "/cohorts"),
    }
    try:
        answer = analytics.cohorts(params)
    except InvalidInput as error:
        return render("cohorts.html", request, 400, **page | {"error": error})
    rows = triangle.rows(answer, lambda **changes: url("/conversations", _common(params), **changes))
    return render("cohorts.html", request, **page | {"answer": answer, "rows": rows})


def dropoffs_page(analytics: Analytics, request: Request) -> Response:
    """`/dropoffs`: between which stages conversations are lost, and of one drop-off why."""
    params = query(request, _DROP_OFFS)
    if "until" in request.query_params:
        return _canonical(request, _with_one_funnel(params))
    page = {
        "params": params,
        "filters": analytics.filters(),
        "answer": None,
        "error": None,
        "chips": condition_chips(params, "/dropoffs"),
    }
    try:
        answer = analytics.dropoffs({"explain": ["worst"]} | params)
    except InvalidInput as error:
        return render("dropoffs.html", request, 400, **page | {"error": error})
    listed = {name: texts for name, texts in params.items() if name not in ("sort", "explain")}
    own = answer["definition"].get("funnel")
    shown = {"answer": answer, "listed": listed, "leads": own is None or own.get("unit") != "contact"}
    drop = dropoffs.explained(answer)
    if drop is not None:
        shown |= dropoffs.tables(drop, listed, lambda given, **more: url("/conversations", given, **more))
    return render("dropoffs.html", request, **page | shown | {"drop": drop})


def trends_page(analytics: Analytics, request: Request) -> Response:
    """`/trends`: a metric over time."""
    params = query(request, _TREND)
    if "until" in request.query_params:
        return _canonical(request, params)
    asked = {"metric": [_FIRST_METRIC], "interval": ["day"]} | params
    page = {
        "params": params,
        "asked": asked,
        "filters": analytics.filters(),
        "metrics": analytics.definitions({})["metrics"],
        "answer": None,
        "error": None,
        "chips": condition_chips(params, "/trends"),
    }
    try:
        answer = analytics.trend(asked)
    except InvalidInput as error:
        return render("trends.html", request, 400, **page | {"error": error})
    return render("trends.html", request, **page | {"answer": answer} | _trend(answer, _common(params)))


def _trend(answer: Mapping, common: Params) -> dict[str, Any]:
    """Rows, charts and totals of a trend."""
    zone = answer["period"]["timezone"]

    def link(start: str, end: str) -> str:
        ends = {"from": trends.end_of_link(start, zone), "to": trends.end_of_link(end, zone)}
        return url("/conversations", common, **ends)

    lines = trends.lines(answer, link)
    charts = {currency: trends.trend_chart(rows, answer) for currency, rows in lines.items()}
    return {"lines": lines, "charts": charts, "totals": trends.totals(answer)}


def _with_one_funnel(params: dict[str, list[str]]) -> dict[str, list[str]]:
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
    others = [text for text in params.get("where", ()) if text.partition("=")[0].strip() != by]
    return [
        {
            "value": value,
            "started": part["stages"][0]["count"],
            "rates": part["numbers"] or {s["stage"]: s["rate_from_start"] for s in part["stages"][1:]},
            "url": None
            if value == REST or not has_list
            else url("/conversations", {**params, "where": [*others, f"{by}={value}"]}),
        }
        for value, part in answer.get("segments", {}).items()
    ]


def conversations_page(analytics: Analytics, request: Request) -> Response:
    """`/conversations`: the conversations behind a number."""
    params = query(request, _LIST)
    if "until" in request.query_params:
        return _canonical(request, _with_one_funnel(params))
    page = {"params": params, "filters": analytics.filters(), "answer": None, "error": None, "chips": chips(params)}
    try:
        answer = analytics.conversations(params)
    except InvalidInput as error:
        return render("conversations.html", request, 400, **page | {"error": error})
    whole = {name: texts for name, texts in params.items() if name not in ("limit", "after")}
    export = url("/api/v1/conversations", whole, format="csv")
    return render("conversations.html", request, **page | {"answer": answer, "export": export})


def conversation_page(analytics: Analytics, request: Request) -> Response:
    """`/conversations/{id}`: the facts, the transcript, and everything else that happened."""
    params = query(request, _ONE)
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


def login(_: Analytics, request: Request) -> Response:
    """`GET /login`: the form. The app answers the POST, and shows `login_page` again when the token is wrong."""
    return login_page(request)


def login_page(request: Request, problem: str | None = None, goal: str | None = None) -> Response:
    """The login form; `problem` says what was wrong, `goal` where to go afterwards (default: the URL's `next`)."""
    goal = safe_path(request.query_params.get("next") if goal is None else goal)
    return render("login.html", request, 401 if problem else 200, problem=problem, goal=goal)


def api_docs(_: Analytics, request: Request) -> Response:
    """`/api/docs`: the reference of the HTTP API, from `/api/openapi.json`."""
    return render("docs.html", request)


def error_page(request: Request, error: Exception) -> Response:
    """Any exception as a page in the usual frame; fits Starlette's `exception_handlers`."""
    if isinstance(error, Unauthorized):
        here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/login?{urlencode({'next': here})}", 303, SECURITY_HEADERS)
    status = _status(error)
    # What an unexpected exception says is for the log, not for whoever looks at the page.
    detail = str(error) if isinstance(error, DropoffError) else ""
    response = render("error.html", request, status, status=status, phrase=HTTPStatus(status).phrase, detail=detail)
    response.headers.update(SECURITY_HEADERS)
    if status == 503:
        response.headers["retry-after"] = "5"
    return response


def safe_path(target: str | None) -> str:
    """`target` when it is a path of this site, else `/`: where a login may send its user."""
    if not target or not target.startswith("/") or target[1:2] in ("/", "\\") or not target.isprintable():
        return "/"
    return target


def query(request: Request, names: Sequence[str]) -> dict[str, list[str]]:
    """The parameters of the URL that are named in `names`, without empty ones (an untouched form field)."""
    values = {name: [text for text in request.query_params.getlist(name) if text.strip()] for name in names}
    return {name: texts for name, texts in values.items() if texts}


def url(path: str, params: Params, **changes: str | None) -> str:
    """The address of `path` with `params`, some replaced, or removed by None."""
    merged = {name: [texts] if isinstance(texts, str) else list(texts) for name, texts in params.items()}
    for name, text in changes.items():
        merged.pop(name, None)
        if text is not None:
            merged[name] = [text]
    text = urlencode(merged, doseq=True, safe="=:,")
    return f"{path}?{text}" if text else path


def conversation_url(key: str, params: Params = MappingProxyType({})) -> str:
    """The page of a conversation, whatever characters its id has; as of the moment that `params` ask for."""
    known = {name: params[name] for name in _ONE if name in params and "as_of" in params}
    if key in (".", ".."):  # a browser takes them for steps in the path, escaped or not
        return url("/conversations/", {"id": [key], **known})
    return url(f"/conversations/{quote(key, safe='')}", known)


def island(value: object) -> Markup:
    """JSON that can stand inside a `<script>` element: it has no character that could end it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 — escaped above


def chips(params: Params) -> list[dict[str, str]]:
    """The active filters, each as text and the address without it. The place in the list is not a filter."""
    base = {name: texts for name, texts in params.items() if name != "after"}
    names = {
        "stage": "Reached", "within": "Before the age of", "dropped": "Dropped after", "passed": "Went on after",
        "said": "The bot said", "last_intent": "Silent after", "instead": "Instead", "reason": "Meanwhile",
        "name": "Funnel", "mode": "Mode",
    }  # fmt: skip
    gone = {"stage": {"stage": None, "within": None}}  # without a stage nothing was reached within a time
    found = [
        {
            "text": f"{names[name]}: {formats.label(text)}",
            "url": url("/conversations", base, **gone.get(name, {name: None})),
        }
        for name in names
        for text in base.get(name, [])
    ]
    if "definition" in base:
        found.append({"text": "Funnel: as defined", "url": url("/conversations", base, definition=None, **_NO_STAGE)})
    found += condition_chips(base, "/conversations")
    if "include_test" in base:
        found.append({"text": "With test traffic", "url": url("/conversations", base, include_test=None)})
    if "from" in base or "to" in base:
        without = {name: texts for name, texts in base.items() if name not in ("from", "to")}
        found.append({"text": "Period", "url": url("/conversations", without)})
    return found


# Those of one funnel are not those of another.
_NO_STAGE: dict[str, None] = dict.fromkeys(("stage", "within", "dropped", "mode", *_BEHIND))


def condition_chips(params: Params, path: str) -> list[dict[str, str]]:
    """The conditions among the filters, each as text and the address without it."""
    conditions = params.get("where", [])
    others = {text: [other for other in conditions if other != text] for text in conditions}
    return [{"text": formats.visible(text), "url": url(path, {**params, "where": others[text]})} for text in others]


def rate_rows(answer: Mapping) -> list[dict]:
    """The named rates with what each is of, their fractions and intervals."""
    return [
        dict(zip(("above", "below"), words.RATES.get(name, ("", "")), strict=True))
        | {"name": name, "value": number["value"], "rate": number}
        for name, number in answer["numbers"].items()
    ]


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


def render(template: str, request: Request, status: int = 200, /, **context: Any) -> Response:
    """A page in the common frame."""
    context.setdefault("params", {})
    text = (
        _templates()
        .get_template(template)
        .render(path=request.url.path, base_url=str(request.base_url).rstrip("/"), **context)
    )
    # Figures change with every event: a page may be kept, but is asked for again.
    return HTMLResponse(text, status, {"cache-control": "private, no-cache"})


class SecurityHeaders:
    """Adds the content security policy and its companions to every response."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""

        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(SECURITY_HEADERS)
            await send(message)

        await self.app(scope, receive, secured)


class BuiltFiles(StaticFiles):
    """What the web build made: names carry a hash of the content, and each file lies beside its gzip."""

    def file_response(self, full_path, stat_result, scope: Scope, status_code: int = 200) -> Response:
        """The file, compressed when the client takes that, to be kept for ever."""
        packed = Path(f"{full_path}.gz")
        accepts = "gzip" in Headers(scope=scope).get("accept-encoding", "") and packed.is_file()
        response = super().file_response(
            *(packed, packed.stat()) if accepts else (full_path, stat_result), scope, status_code
        )
        response.headers["cache-control"] = "public, max-age=31536000, immutable"
        response.headers["vary"] = "accept-encoding"
        if accepts and isinstance(response, FileResponse):
            response.headers["content-encoding"] = "gzip"
            response.headers["content-type"] = FileResponse(full_path).headers["content-type"]
        return response


def _canonical(request: Request, params: dict[str, list[str]]) -> Response:
    """The form's answer: its inclusive last day becomes the exclusive `to` of every other surface."""
    until = request.query_params["until"].strip()
    end = (date.fromisoformat(until) + timedelta(days=1)).isoformat() if _is_day(until) else until
    return RedirectResponse(url(request.url.path, params, to=end or None, after=None), 303)


def _is_day(text: str) -> bool:
    try:
        return date.min < date.fromisoformat(text) < date.max
    except ValueError:
        return False


def _form_day(params: Params, name: str) -> str:
    """What a date field shows when there is no answer to take it from; empty where the URL names no day."""
    text = params.get(name, [""])[0]
    if not _is_day(text):
        return ""
    return (date.fromisoformat(text) - timedelta(days=name == "to")).isoformat()


def _counts(answer: Mapping) -> dict[str, int]:
    return {stage["stage"]: stage["count"] for stage in answer["stages"]}


def _status(error: Exception) -> int:
    match error:
        case HTTPException():
            return error.status_code
        case NotFound():
            return 404
        case InvalidInput():
            return 400
        case Unavailable():
            return 503
        case _:
            return 500


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


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(formats.FILTERS, island=island)
    environment.globals.update(url=url, conversation_url=conversation_url, asset=_asset, styles=_styles)
    environment.globals.update(
        words=words,
        dimensions=DIMENSIONS,
        multiple=MULTIPLE,
        is_small=formats.is_small,
        sample=formats.sample,
        common=_common,
        form_day=_form_day,
    )
    return environment


def _common(params: Params) -> dict[str, Sequence[str]]:
    return {name: texts for name, texts in params.items() if name in _COMMON}


@cache
def _manifest() -> dict[str, dict]:
    return json.loads((STATIC / "manifest.json").read_text())


def _entry(name: str) -> dict:
    return next(entry for entry in _manifest().values() if entry.get("name") == name)


def _asset(name: str) -> str:
    """The address of a built entry: `main`, `filters` or `docs`."""
    return f"/static/{_entry(name)['file']}"


def _styles(name: str) -> list[str]:
    """The addresses of the style sheets of a built entry."""
    entry = _entry(name)
    files = [entry["file"]] if entry["file"].endswith(".css") else entry.get("css", [])
    return [f"/static/{file}" for file in files]
