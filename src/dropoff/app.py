"""The composition root: the parts of one data directory, wired together, and the web application around them."""

import asyncio
import json
import os
import secrets
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from dropoff import access
from dropoff.access import Access
from dropoff.aggregate.rollups import Plan, refresh
from dropoff.analyse.analytics import Analytics
from dropoff.analyse.custom import registry
from dropoff.control.sqlite import SqliteControl
from dropoff.dashboard.api import api, refuse
from dropoff.dashboard.pages import error_page, login_page, pages, safe_path
from dropoff.errors import DropoffError, InvalidInput, Unauthorized
from dropoff.ingest import metrics
from dropoff.ingest.door import Door
from dropoff.intake import Rejection, refused_payload
from dropoff.process.fold import Rules
from dropoff.process.worker import Tally, Worker
from dropoff.queue.sqlite import SqliteQueue
from dropoff.settings import Settings
from dropoff.store import stream
from dropoff.store.base import Part
from dropoff.store.duckdb import DuckStore

SERVER_FILE = "server.json"
MEGABYTE = 1_000_000


def rules_of(settings: Settings) -> Rules:
    """What the fold goes by."""
    return Rules(settings.zone, settings.idle_seconds, settings.idle_default_seconds, settings.deal_horizon_days)


def plan_of(settings: Settings) -> Plan:
    """What is rolled up."""
    return Plan(settings.timezone, tuple(settings.rollups))


class Engine:
    """Queue, worker and store of one data directory, in this process. Raises `StoreBusy` while another holds it."""

    def __init__(self, settings: Settings) -> None:
        settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.settings = settings
        # The store first: it is what tells that another process is at work here.
        self.store = DuckStore(settings.data / "store.duckdb", settings.store_memory)
        self.queue = SqliteQueue(settings.data / "queue.db", retention=settings.queue_retention_hours * 3600)
        self.control = SqliteControl(settings.data / "control.db")
        self.imports = Imports()
        metrics_there_are = registry(settings.metrics)
        self.analytics = Analytics(self.store, settings.timezone, test=settings.test, registry=metrics_there_are)
        self.worker = Worker(self.queue, self.store, rules_of(settings), self._count)
        self._rollups = Rollups(self.store, plan_of(settings))
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self.worker.run, args=(self._stop, self._rollups.between), name="worker", daemon=True
        )

    def __enter__(self) -> "Engine":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.queue.close()
        self.store.close()
        self.control.close()

    def drain(self) -> None:
        """Wait until everything in the queue is processed and rolled up."""
        while self.working and (self.queue.lag().bytes or not self._rollups.current):
            time.sleep(0.01)

    @property
    def working(self) -> bool:
        """The worker is alive."""
        return self._thread.is_alive()

    def _count(self, tally: Tally) -> None:
        metrics.BATCH.observe(tally.events)
        metrics.STORED.inc(sum(tally.stored.values()))
        for (_, reason), count in tally.dropped.items():
            metrics.DROPPED.labels(reason).inc(count)
        metrics.DEAD.inc(tally.dead)
        self.imports.add(tally)


class Rollups:
    """Keeps the rollups current in the worker's thread: at rest at once, under load with a tenth of the time."""

    def __init__(self, store: DuckStore, plan: Plan) -> None:
        self._store = store
        self._plan = plan
        self._next = 0.0
        self.current = False

    def between(self, idle: bool) -> None:
        """Called between two batches."""
        begin = time.monotonic()
        if not idle:
            self.current = False
        if self.current or not (idle or begin >= self._next):
            return
        refresh(self._store, self._plan, datetime.now(UTC))
        self.current = idle
        self._next = time.monotonic() + max(1.0, 10 * (time.monotonic() - begin))


class Imports:
    """What became of the events of each running import, so that it can tell duplicates from what is new."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, Counter[str]] = {}

    def add(self, tally: Tally) -> None:
        """Take in what became of a batch."""
        with self._lock:
            for name, count in tally.stored.items():
                if name is not None:
                    self._counts.setdefault(name, Counter())["stored"] += count
            for (name, reason), count in tally.dropped.items():
                if name is not None:
                    self._counts.setdefault(name, Counter())[reason] += count

    def get(self, name: str) -> dict[str, int]:
        """Counts of `stored` and of each drop reason so far."""
        with self._lock:
            return dict(self._counts.get(name, {}))


def web(engine: Engine, reader: Access) -> Callable[..., Awaitable[None]]:
    """The ASGI application: the door, the API, the pages, and what operators and the command line ask."""
    settings = engine.settings
    door = Door(engine.queue, reader, settings.backlog_limit_mb * MEGABYTE)
    site = Starlette(
        routes=[
            *_for_operators(engine, reader),
            *_for_the_command_line(engine),
            _login(reader),
            *pages(engine.analytics),
            Mount("/api", api(engine.analytics)),
        ],
        exception_handlers={HTTPException: _problem, DropoffError: _problem, Exception: _problem},
    )
    return Guard(door, site, reader, {settings.host, *settings.allowed_hosts})


def _for_operators(engine: Engine, reader: Access) -> list[Route]:
    def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    def readyz(_: Request) -> Response:
        lag = engine.queue.lag()
        state = {"ready": engine.working, "lag_events": lag.events, "lag_seconds": round(lag.seconds, 3)}
        return JSONResponse(state | {"run": reader.run}, 200 if engine.working else 503)

    def prometheus(_: Request) -> Response:
        lag = engine.queue.lag()
        metrics.LAG_EVENTS.set(lag.events)
        metrics.LAG_SECONDS.set(lag.seconds)
        return Response(generate_latest(metrics.REGISTRY), media_type=CONTENT_TYPE_LATEST)

    return [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", prometheus)]


def _for_the_command_line(engine: Engine) -> list[Route]:
    def imported(request: Request) -> Response:
        return JSONResponse(engine.imports.get(request.path_params["name"]))

    async def forget(request: Request) -> Response:
        ids = _body(await request.body(), list[str], "a JSON array of ids")
        await run_in_threadpool(engine.store.delete_rejected, ids)
        return JSONResponse({"forgotten": len(ids)})

    async def keep(request: Request) -> Response:
        rejections = _body(await request.body(), list[Rejection], "a JSON array of refused rows")
        await asyncio.wrap_future(engine.queue.append(refused_payload(rejections, time.time_ns() // 1000), 0))
        return JSONResponse({"kept": len(rejections)})

    def scan(request: Request) -> Response:
        parts = [Part.parse(text) for text in request.query_params.getlist("part")]
        return StreamingResponse(stream.encode(engine.store.scan(parts)), media_type=stream.MEDIA_TYPE)

    return [
        Route("/api/v1/imports/{name}", imported),
        Route("/api/v1/scan", scan),
        Route("/api/v1/rejected/forget", forget, methods=["POST"]),
        Route("/api/v1/rejected/keep", keep, methods=["POST"]),
    ]


def _body(body: bytes, kind: Any, rule: str) -> Any:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise InvalidInput("body", body[:80], rule) from None


def _login(reader: Access) -> Route:
    async def login(request: Request) -> Response:
        form = await request.form()
        goal = safe_path(str(form.get("next", "/")))
        try:
            session = reader.login(str(form.get("token", "")).strip())
        except Unauthorized as error:
            return login_page(request, str(error), goal)
        response = RedirectResponse(goal, 303)
        response.set_cookie(
            access.COOKIE, session, max_age=access.SESSION_SECONDS, httponly=True, samesite="lax",
            secure=request.url.scheme == "https",
        )  # fmt: skip
        return response

    return Route("/login", login, methods=["POST"])


def _problem(request: Request, error: Exception) -> Response:
    """Programs get JSON, people get a page."""
    if not request.url.path.startswith(Guard.FOR_PROGRAMS):
        return error_page(request, error)
    return refuse(request, error)


class Guard:
    """In front of everything: only known hosts, no foreign origin, and nothing to read without a token or a login."""

    OPEN = ("/healthz", "/readyz", "/login", "/static/")
    LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
    FOR_PROGRAMS = ("/v1/", "/api/v1", "/api/openapi", "/metrics")

    def __init__(self, door: Door, site: Starlette, reader: Access, hosts: set[str]) -> None:
        self._door = door
        self._site = site
        self._access = reader
        # Bound to every address, the server cannot know its names.
        everywhere = hosts in ({"0.0.0.0"}, {"::"})  # noqa: S104
        self._hosts = None if everywhere else {*map(_bracketed, hosts), *self.LOOPBACK}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._site(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, send)
        elif scope["path"] == "/v1/events":
            await self._door(scope, receive, send)
        else:
            await self._site(scope, receive, send)

    def _refusal(self, scope: Any) -> Response | None:
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1")
        if self._hosts is not None and _name(host) not in self._hosts:
            return _error(400, "unknown_host", f"Host == {host!r}, must be one of {', '.join(sorted(self._hosts))}")
        origin = headers.get(b"origin")
        if origin is not None and scope["method"] not in ("GET", "HEAD") and not _same(origin, host):
            return _error(403, "foreign_origin", f"Origin == {origin.decode('latin-1')!r}, must be this server's own")
        path = scope["path"]
        if path == "/v1/events" or path.startswith(self.OPEN) or self._reads(scope, headers):
            return None
        if path.startswith(self.FOR_PROGRAMS):
            return _error(401, "unauthorized", "send the admin token: 'Authorization: Bearer da_…'")
        return error_page(Request(scope), Unauthorized("log in"))

    def _reads(self, scope: Any, headers: dict[bytes, bytes]) -> bool:
        if self._access.open:
            return True
        authorization = headers.get(b"authorization", b"").decode("latin-1")
        return self._access.may_read(authorization, Request(scope).cookies.get(access.COOKIE))


def _name(host: str) -> str:
    return (host.rsplit(":", 1)[0] if ":" in host and not host.endswith("]") else host).lower()


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host.lower()


def _same(origin: bytes, host: str) -> bool:
    return urlsplit(origin.decode("latin-1")).netloc == host


def _error(status: int, code: str, message: str) -> Response:
    return JSONResponse({"code": code, "message": message}, status)


def check_exposure(settings: Settings, engine: Engine) -> None:
    """Refuse to listen beyond this machine while anybody could read and write."""
    if not settings.is_loopback and not access.list_keys(engine.control):
        raise InvalidInput(
            "host", settings.host, "a loopback address while no key is configured (make one: dropoff keys create NAME)"
        )


def first_admin_token(engine: Engine) -> str | None:
    """Where keys are configured but nobody may read: a new admin token, to be printed once."""
    keys = access.list_keys(engine.control)
    if not keys or any(key.kind == access.ADMIN for key in keys):
        return None
    return access.create_key(engine.control, "admin", access.ADMIN, time.time())


class ServerFile:
    """`DATA/server.json`, 0600: how the command line finds the running server."""

    def __init__(self, data: Path, url: str) -> None:
        self.token = secrets.token_hex(16)
        self._path = data / SERVER_FILE
        self.url = url

    def __enter__(self) -> "ServerFile":
        text = json.dumps({"url": self.url, "pid": os.getpid(), "token": self.token})
        self._path.unlink(missing_ok=True)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        return self

    def __exit__(self, *_: object) -> None:
        self._path.unlink(missing_ok=True)
