"""The frame of every page: its address, its filters, what it is made with, and what it looks like when it fails.

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
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dropoff.dashboard import formats, words
from dropoff.dashboard.files import ROWS, csv_file, file_name
from dropoff.dashboard.meanings import known
from dropoff.dashboard.navigation import navigation
from dropoff.errors import DropoffError, InvalidInput, NotFound, Unauthorized, Unavailable
from dropoff.periods import MICROSECOND, last_days, parse_instant, parse_zone
from dropoff.query import DIMENSIONS, MULTIPLE, PROPERTY

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

RECENT = (7, 30, 90)
"""So many days, up to the latest that holds data, are one click away."""

_LATELY = timedelta(days=7)
"""So long after its end a period is still looked at for what comes late."""

COMMON = ("from", "to", "timezone", "where", "include_test", "as_of")
"""The parameters that follow from page to page."""
ONE = ("timezone", "as_of")
"""The parameters of the page of one conversation."""


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
        """A metric over time: period, as_of, definition, interval, total, points, previous, deploys, labellers."""
        ...

    def metrics(self, params: Params) -> dict:
        """The values of metrics: period, as_of, definition, metrics."""
        ...

    def definitions(self, params: Params) -> dict:
        """What every metric means."""
        ...

    def cohorts(self, params: Params) -> dict:
        """A triangle: period, as_of, definition, ages, cohorts, test_conversations."""
        ...

    def experiments(self, params: Params) -> dict:
        """Experiments with their decisions: period, as_of, definition, experiments, test_conversations."""
        ...

    def messages(self, params: Params) -> dict:
        """The bot's messages: definition, messages, best_performing, worst_performing, first_messages."""
        ...

    def operations(self, params: Params) -> dict:
        """How the bot is running: funnel, escalations, fallbacks, errors, response_times, opt_outs, health."""
        ...

    def unusual(self, params: Params) -> dict:
        """What stands out in operations: definition, and of each part `unusual`, without what is behind it."""
        ...

    def plan(self, params: Params) -> dict:
        """How many units an experiment needs."""
        ...

    def executive(self, params: Params) -> dict:
        """A few metrics: definition, interval, points, metrics, changes, deploys, annotations."""
        ...

    def segments(self, params: Params) -> dict:
        """A metric by segment: definition, segments, best_performing, significant_differences, notes, compare."""
        ...

    def explain(self, params: Params) -> dict:
        """Which segments account for a change: definition, compare, segments, offsetting."""
        ...

    def patterns(self, params: Params) -> dict:
        """What differs between won and failed: successful, failed, divergence_points, objections, flow, …"""
        ...

    def optimization(self, params: Params) -> dict:
        """What may be done better: experiments, best_messages, …, next_tests, worked_out."""
        ...

    def conversations(self, params: Params) -> dict:
        """One page of conversations: period, as_of, definition, conversations, total, next."""
        ...

    def conversation(self, key: str, params: Params, /, *, alike: bool = True) -> dict:
        """All facts of one conversation with its messages and events; `alike`: and the two that began most like it."""
        ...

    def filters(self) -> dict:
        """What can be filtered by: channels, timezone, funnels of one's own; has_data, and when the first and latest
        conversation began (held); metrics; the store's version."""
        ...


def question(
    analytics: Analytics,
    request: Request,
    template: str,
    params: dict[str, list[str]],
    ask: Callable[[], dict],
    show: Callable[[dict], dict[str, Any]],
    *,
    picked: Callable[[dict[str, list[str]]], dict[str, list[str]]] = dict,
    **more: Any,
) -> Response:
    """The page of one question: what `ask` answers, and what `show` makes of it.

    A question that is refused is shown with its form. `picked`: the parameters after somebody used the form; `more`
    is there with and without an answer.
    """
    if "until" in request.query_params:
        return _canonical(request, picked(_with_condition(request, params)))
    # Asked before the answer: what comes in between is seen as new.
    filters = analytics.filters()
    page = {
        "params": params,
        "filters": filters,
        "definitions": known(filters["metrics"]),
        "answer": None,
        "error": None,
        "chips": common_chips(params, request.url.path),
        "recent": recent(filters, params, request.url.path),
    }
    try:
        answer = ask()
    except InvalidInput as error:
        return render(template, request, 400, **page | more | {"error": error})
    if request.query_params.get("format") == "csv":
        return _file(request, params, answer)
    page["recent"] = recent(filters, params, request.url.path, answer)
    page |= {"answer": answer, "files": _files(request, params), "file": file_name(request.url.path, params, answer)}
    return render(template, request, **page | _live(params, answer, filters["version"]) | more | show(answer))


class Recent(NamedTuple):
    """The last so many days that hold data, and the page of them."""

    days: int
    url: str
    is_shown: bool


def recent(filters: Mapping, params: Params, path: str, answer: Mapping | None = None) -> list[Recent]:
    """The periods that are one click away; none where the zone or the moment is refused."""
    zone = params.get("timezone", [filters["timezone"]])[0]
    try:
        latest = _latest(filters, params, zone)
        spans = [(days, last_days(latest, zone, days)) for days in RECENT] if latest else []
    except (InvalidInput, OverflowError):
        return []
    shown = [datetime.fromisoformat(answer["period"][end]) for end in ("from", "to")] if answer else []
    found = []
    for days, span in spans:
        ends = {name: formats.day(end, zone) for name, end in (("from", span.start), ("to", span.end))}
        finer = {"interval": None} if params.get("interval") == ["hour"] and days > RECENT[1] else {}
        found.append(Recent(days, url(path, params, **ends, **finer, after=None), [span.start, span.end] == shown))
    return found


def _latest(filters: Mapping, params: Params, zone: str) -> datetime | None:
    """When the latest conversation began that is known on the page."""
    if filters["held"] is None:
        return None
    known = params.get("as_of", [""])[0]
    moments = [parse_instant("as_of", known, parse_zone(zone)) - MICROSECOND] if known else []
    return min([filters["held"][1], *moments])


def _file(request: Request, params: Params, answer: Mapping) -> Response:
    path = request.url.path
    return csv_file(path, request.query_params.get("rows", ""), answer, file_name(path, params, answer))


def _files(request: Request, params: Params) -> dict[str, str]:
    """Where the numbers of each chart of the page are."""
    path = request.url.path
    return {name: url(path, params, format="csv", rows=name) for name in ROWS.get(path, ())}


def _live(params: Params, answer: Mapping, version: str) -> dict[str, str]:
    """Which version of the store is shown, where a later one can change the page: its period is not long over."""
    end, now = (datetime.fromisoformat(text) for text in (answer["period"]["to"], answer["as_of"]))
    return {} if "as_of" in params or now - end > _LATELY else {"live": version}


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


def query(request: Request, names: Sequence[str]) -> dict[str, list[str]]:
    """The parameters of the URL that are named in `names`, without empty ones (an untouched form field)."""
    values = {name: [text for text in request.query_params.getlist(name) if text.strip()] for name in names}
    return {name: texts for name, texts in values.items() if texts}


def common(params: Params) -> dict[str, Sequence[str]]:
    """Of these parameters those that follow from page to page."""
    return {name: texts for name, texts in params.items() if name in COMMON}


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
    known = {name: params[name] for name in ONE if name in params and "as_of" in params}
    if key in (".", ".."):  # a browser takes them for steps in the path, escaped or not
        return url("/conversations/", {"id": [key], **known})
    return url(f"/conversations/{quote(key, safe='')}", known)


def island(value: object) -> Markup:
    """JSON that can stand inside a `<script>` element: it has no character that could end it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 — escaped above


def condition_chips(params: Params, path: str) -> list[dict[str, str]]:
    """The conditions among the filters, each as text and the address without it."""
    conditions = params.get("where", [])
    others = {text: [other for other in conditions if other != text] for text in conditions}
    return [{"text": formats.visible(text), "url": url(path, {**params, "where": others[text]})} for text in others]


def common_chips(params: Params, path: str) -> list[dict[str, str]]:
    """The conditions, the zone and the test traffic among the filters, likewise."""
    found = condition_chips(params, path)
    if "timezone" in params:
        text = f"Time zone: {formats.visible(params['timezone'][0])}"
        found.append({"text": text, "url": url(path, params, timezone=None)})
    if "include_test" in params:
        found.append({"text": "With test traffic", "url": url(path, params, include_test=None)})
    return found


def render(template: str, request: Request, status: int = 200, /, **context: Any) -> Response:
    """A page in the common frame."""
    context.setdefault("params", {})
    count = getattr(request.state, "firing", None)
    context["firing_count"] = count() if count else 0
    context["navigation"] = navigation(request.url.path, _known(request))
    text = (
        _templates()
        .get_template(template)
        .render(path=request.url.path, base_url=str(request.base_url).rstrip("/"), **context)
    )
    # Figures change with every event: a page may be kept, but is asked for again.
    return HTMLResponse(text, status, {"cache-control": "private, no-cache"})


def _known(request: Request) -> set[str]:
    """The paths of the pages of this server; before it has been asked for one of them: of all."""
    if "app" not in request.scope:
        return {page.path for group in words.NAVIGATION for page in group.pages}
    return {route.path for route in request.app.routes if isinstance(route, Route)}


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


def _with_condition(request: Request, params: dict[str, list[str]]) -> dict[str, list[str]]:
    """The form's pair of fields `dimension` and `value` is one more condition."""
    dimension, value = (request.query_params.get(name, "").strip() for name in ("dimension", "value"))
    if not (dimension and value):
        return params
    condition = dimension + value if dimension == PROPERTY else f"{dimension}={value}"
    return {**params, "where": [*params.get("where", ()), condition]}


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
        common=common,
        form_day=_form_day,
    )
    return environment


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
