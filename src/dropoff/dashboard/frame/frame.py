"""The frame of every page: its question, its filters, and what it looks like when it fails.

Every page is HTML made here from one answer of `Analytics`; its state lives in the URL, whose parameters are
those of the API. Only the form differs: people pick an inclusive last day, `until`, and are sent on to the
address with the exclusive `to`, so that `to` means one thing everywhere.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date, datetime, timedelta
from http import HTTPStatus
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dropoff.dashboard.frame.files import ROWS, csv_file, file_name
from dropoff.dashboard.frame.rendering import SECURITY_HEADERS, render
from dropoff.errors import DropoffError, InvalidInput, NotFound, Unauthorized, Unavailable
from dropoff.periods import MICROSECOND, last_days, parse_instant, parse_zone
from dropoff.phrases import formats
from dropoff.phrases.addresses import is_day, url
from dropoff.phrases.meanings import known
from dropoff.query import PROPERTY, Params

RECENT = (7, 30, 90)
"""So many days, up to the latest that holds data, are one click away."""

_OF_FORMS = ("until", "dimension", "value", "format", "rows", "refused")
"""What forms and files put into an address, beside the parameters of the API."""

_LATELY = timedelta(days=7)
"""So long after its end a period is still looked at for what comes late."""


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

    def conversation(self, key: str, params: Params, /) -> dict:
        """All facts of one conversation with its messages and events, and the two that began most like it."""
        ...

    def transcripts(self, ids: Collection[str], params: Params, /) -> dict[str, list[dict]]:
        """What was said in a few conversations, by id: position, sender, intent, content; empty of unknown ones."""
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
        "unknown": request.state.unknown,
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
    if status == 503:
        response.headers["retry-after"] = "5"
    return response


def query(request: Request, names: Sequence[str]) -> dict[str, list[str]]:
    """The parameters of the URL that are named in `names`, without empty ones (an untouched form field).

    Of others the page says that they change nothing.
    """
    given = {
        name: [text for text in request.query_params.getlist(name) if text.strip()] for name in request.query_params
    }
    request.state.unknown = [name for name, texts in given.items() if texts and name not in (*names, *_OF_FORMS)]
    return {name: given[name] for name in names if given.get(name)}


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
    end = (date.fromisoformat(until) + timedelta(days=1)).isoformat() if is_day(until) else until
    return RedirectResponse(url(request.url.path, params, to=end or None, after=None), 303)


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
