"""The routes of the dashboard, and the pages that ask nothing: login and the reference of the API."""

from collections.abc import Callable
from functools import partial

from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from dropoff.dashboard.api import filters as saved
from dropoff.dashboard.frame.frame import Analytics, error_page
from dropoff.dashboard.frame.rendering import STATIC, BuiltFiles, SecurityHeaders, render
from dropoff.dashboard.pages import dropoffs, optimization, segments
from dropoff.dashboard.pages.alerts_page import Office, alerts_page, forms
from dropoff.dashboard.pages.cohorts import cohorts_page
from dropoff.dashboard.pages.conversation import conversation_page
from dropoff.dashboard.pages.conversations import conversations_page
from dropoff.dashboard.pages.definitions import definitions_page
from dropoff.dashboard.pages.dropoffs import dropoffs_page
from dropoff.dashboard.pages.executive import executive_page
from dropoff.dashboard.pages.experiments import experiments_page
from dropoff.dashboard.pages.funnel import funnel_page
from dropoff.dashboard.pages.messages import messages_page
from dropoff.dashboard.pages.operations import operations_page
from dropoff.dashboard.pages.optimization import optimization_page
from dropoff.dashboard.pages.patterns import patterns_page
from dropoff.dashboard.pages.reports_page import Shelf, reports_page
from dropoff.dashboard.pages.segments import segments_page
from dropoff.dashboard.pages.trends import trends_page
from dropoff.errors import DropoffError
from dropoff.query import Params

OPENED: tuple[tuple[str, Params], ...] = (
    ("executive", {}), ("unusual", {}), ("operations", {}), ("optimization", optimization.DEFAULTS),
    ("dropoffs", dropoffs.DEFAULTS),
    ("segments", {**segments.DEFAULTS, **segments.BY}), ("cohorts", {}), ("messages", {}), ("experiments", {}),
    ("patterns", {}),
)  # fmt: skip
"""What pages that take long ask when they are opened from the navigation."""

OF_ANALYTICS = {
    "/": funnel_page, "/operations": operations_page, "/executive": executive_page, "/dropoffs": dropoffs_page,
    "/optimization": optimization_page, "/trends": trends_page, "/segments": segments_page, "/patterns": patterns_page,
    "/cohorts": cohorts_page, "/experiments": experiments_page, "/messages": messages_page,
    "/conversations/{id:path}": conversation_page, "/definitions": definitions_page,
}  # fmt: skip
"""The pages of answers."""


def pages(analytics: Analytics, office: Office, shelf: Shelf, filters: saved.Filters) -> list[BaseRoute]:
    """The routes of the dashboard. Endpoints are plain functions, which Starlette runs in its thread pool."""
    secured = [Middleware(SecurityHeaders)]

    # Files of the build lie compressed already; what is made anew for each request is compressed lightly.
    packed = [*secured, Middleware(GZipMiddleware, compresslevel=4)]

    def route(path: str, page: Callable[[Request], Response]) -> Route:
        def answer(request: Request) -> Response:
            request.state.firing = office.firing
            try:
                return page(request)
            except DropoffError as error:
                return error_page(request, error)

        return Route(path, answer, middleware=packed)

    return [
        *(route(path, partial(page, analytics)) for path, page in OF_ANALYTICS.items()),
        route("/conversations", partial(conversations_page, analytics, filters)),
        route("/alerts", partial(alerts_page, office, analytics)),
        route("/reports", partial(reports_page, shelf)),
        *forms(office, analytics),
        *saved.forms(filters),
        route("/login", login),
        route("/api/docs", api_docs),
        Mount("/static/assets", BuiltFiles(directory=STATIC / "assets"), middleware=secured, name="static"),
    ]


def login(request: Request) -> Response:
    """`GET /login`: the form. The app answers the POST, and shows `login_page` again when the token is wrong."""
    return login_page(request)


def login_page(request: Request, problem: str | None = None, goal: str | None = None) -> Response:
    """The login form; `problem` says what was wrong, `goal` where to go afterwards (default: the URL's `next`)."""
    goal = safe_path(request.query_params.get("next") if goal is None else goal)
    return render("login.html", request, 401 if problem else 200, problem=problem, goal=goal)


def api_docs(request: Request) -> Response:
    """`/api/docs`: the reference of the HTTP API, from `/api/openapi.json`."""
    return render("docs.html", request)


def safe_path(target: str | None) -> str:
    """`target` when it is a path of this site, else `/`: where a login may send its user."""
    if not target or not target.startswith("/") or target[1:2] in ("/", "\\") or not target.isprintable():
        return "/"
    return target
