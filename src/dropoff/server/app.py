"""The web application around an engine."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route

from dropoff.control import access
from dropoff.control.access import Access
from dropoff.dashboard.api.api import api, params
from dropoff.dashboard.api.desk import Desk, with_desk
from dropoff.dashboard.api.filters import Filters, with_filters
from dropoff.dashboard.pages.alerts_page import Office
from dropoff.dashboard.pages.reports_page import Shelf
from dropoff.dashboard.pages.routes import login_page, pages, safe_path
from dropoff.errors import DropoffError, InvalidInput, Unauthorized
from dropoff.events import Receipt
from dropoff.ingest import metrics
from dropoff.ingest.dead import dead, replay_dead
from dropoff.ingest.door import Door, append
from dropoff.intake import Intake, Rejection
from dropoff.project.settings import Settings
from dropoff.query import number
from dropoff.server.engine import Engine
from dropoff.server.guard import Guard, problem
from dropoff.store import stream
from dropoff.store.base import Part

MEGABYTE = 1_000_000


def web(engine: Engine, reader: Access) -> Callable[..., Awaitable[None]]:
    """The ASGI application: what operators ask, and as the role has it the door, the API, the pages, and what the
    command line asks."""
    settings, jobs = engine.settings, engine.jobs
    routes: list[BaseRoute] = [*_for_operators(engine, reader)]
    if jobs.door:
        routes += _for_senders(engine)
    if jobs.read:
        desk = Desk(engine.control, {rule.name: rule.by for rule in engine.alerts.rules}, settings.zone)
        shelf = Shelf(
            engine.reports.file, engine.reports.shown, settings.reports, engine.sent.all, engine.analytics.held,
            settings.zone,
        )  # fmt: skip
        filters = Filters(engine.control)
        asked = api(engine.analytics, engine.of_alerts.ask, engine.reports.file)
        routes += [
            *_for_readers(engine),
            _login(reader),
            *pages(engine.analytics, Office(desk, engine.alerts, engine.outbox, engine.of_alerts.ask), shelf, filters),
            Mount("/api", with_filters(with_desk(asked, desk), filters)),
        ]
    site = Starlette(
        routes=routes, exception_handlers={HTTPException: problem, DropoffError: problem, Exception: problem}
    )
    door = Door(engine.queue, reader, settings.backlog_limit_mb * MEGABYTE) if jobs.door else None
    return Guard(door, site, reader, {settings.host, *settings.allowed_hosts})


def _for_operators(engine: Engine, reader: Access) -> list[Route]:
    def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    def readyz(_: Request) -> Response:
        missing, lag = engine.missing(), engine.lag()
        state: dict[str, Any] = {"ready": not missing, "role": engine.settings.role, "run": reader.run}
        if missing:
            state["missing"] = missing
        if lag is not None:
            state |= {"lag_events": lag.events, "lag_seconds": round(lag.seconds, 3)}
        return JSONResponse(state, 503 if missing else 200)

    def prometheus(_: Request) -> Response:
        lag = engine.lag()
        metrics.LAG_EVENTS.set(lag.events if lag else math.nan)
        metrics.LAG_SECONDS.set(lag.seconds if lag else math.nan)
        metrics.of_alerts(*engine.standing())
        return Response(generate_latest(metrics.REGISTRY), media_type=CONTENT_TYPE_LATEST)

    return [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", prometheus)]


def _for_senders(engine: Engine) -> list[Route]:
    async def keep(request: Request) -> Response:
        rejections = _body(await request.body(), list[Rejection], "a JSON array of refused rows")
        for future in append(engine.queue, Intake([], rejections), Receipt(time.time_ns() // 1000)):
            await asyncio.wrap_future(future)
        return JSONResponse({"kept": len(rejections)})

    def listed(request: Request) -> Response:
        return JSONResponse(dead(engine.queue, int(number(params(request), "limit", 100, 1, 100_000))))

    def replay(_: Request) -> Response:
        return JSONResponse(replay_dead(engine.queue))

    return [
        Route("/api/v1/rejected/keep", keep, methods=["POST"]),
        Route("/api/v1/dead", listed),
        Route("/api/v1/dead/replay", replay, methods=["POST"]),
    ]


def _for_readers(engine: Engine) -> list[Route]:
    def imported(request: Request) -> Response:
        return JSONResponse(engine.imports.get(request.path_params["name"]))

    async def forget(request: Request) -> Response:
        ids = _body(await request.body(), list[str], "a JSON array of ids")
        await run_in_threadpool(engine.store.delete_rejected, ids)
        return JSONResponse({"forgotten": len(ids)})

    def scan(request: Request) -> Response:
        parts = [Part.parse(text) for text in request.query_params.getlist("part")]
        return StreamingResponse(stream.encode(engine.store.scan(parts)), media_type=stream.MEDIA_TYPE)

    return [
        Route("/api/v1/imports/{name}", imported),
        Route("/api/v1/scan", scan),
        Route("/api/v1/rejected/forget", forget, methods=["POST"]),
    ]


def _body(body: bytes, kind: Any, rule: str) -> Any:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidInput("body", body[:80], rule) from None


def _login(reader: Access) -> Route:
    async def login(request: Request) -> Response:
        form = await request.form()
        goal = safe_path(str(form.get("next", "/")))
        try:
            session = await run_in_threadpool(reader.login, str(form.get("token", "")).strip())
        except Unauthorized as error:
            return login_page(request, str(error), goal)
        response = RedirectResponse(goal, 303)
        response.set_cookie(
            access.COOKIE, session, max_age=access.SESSION_SECONDS, httponly=True, samesite="lax",
            secure=request.url.scheme == "https",
        )  # fmt: skip
        return response

    return Route("/login", login, methods=["POST"])


def check_exposure(settings: Settings, engine: Engine) -> None:
    """Refuse to listen beyond this machine while anybody could read and write."""
    if not settings.is_loopback and not access.list_keys(engine.control):
        raise InvalidInput(
            "host", settings.host, "a loopback address while no key is configured (make one: dropoff keys create NAME)"
        )


def first_admin_token(engine: Engine) -> str | None:
    """Where keys are configured but nobody may read: a new admin token, to be printed once."""
    keys = access.list_keys(engine.control)
    if not engine.jobs.read or not keys or any(key.kind == access.ADMIN for key in keys):
        return None
    return access.create_key(engine.control, "admin", access.ADMIN, time.time())
