"""What stands in front of every request: known hosts, no foreign origin, and who may read."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from dropoff.control import access
from dropoff.control.access import Access
from dropoff.dashboard.api.replies import refuse
from dropoff.dashboard.frame.frame import error_page
from dropoff.errors import DropoffError, Unauthorized
from dropoff.ingest.door import Door

Asgi = Callable[..., Awaitable[None]]
_FOR_PROGRAMS = ("/v1/", "/api/v1", "/api/openapi", "/metrics")


def problem(request: Request, error: Exception) -> Response:
    """An error as an answer: programs get JSON, people get a page."""
    if not request.url.path.startswith(_FOR_PROGRAMS):
        return error_page(request, error)
    return refuse(request, error)


class Guard:
    """In front of everything: only known hosts, no foreign origin, and nothing to read without a token or a login."""

    OPEN = ("/healthz", "/readyz", "/login", "/static/")
    LOOPBACK = ("127.0.0.1", "localhost", "[::1]")

    def __init__(self, door: Door | None, site: Starlette, reader: Access, hosts: set[str]) -> None:
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
        headers = dict(scope["headers"])
        refusal = self._foreign(scope, headers) or await self._locked(scope, headers)
        if refusal is not None:
            await refusal(scope, receive, send)
        elif scope["path"] == "/v1/events" and self._door is not None:
            await self._door(scope, receive, send)
        else:
            await self._site(scope, receive, send)

    def _foreign(self, scope: Any, headers: dict[bytes, bytes]) -> Response | None:
        host = headers.get(b"host", b"").decode("latin-1")
        if self._hosts is not None and _name(host) not in self._hosts:
            return _error(400, "unknown_host", f"Host == {host!r}, must be one of {', '.join(sorted(self._hosts))}")
        origin = headers.get(b"origin")
        if origin is not None and scope["method"] not in ("GET", "HEAD") and not _same(origin, host):
            return _error(403, "foreign_origin", f"Origin == {origin.decode('latin-1')!r}, must be this server's own")
        return None

    async def _locked(self, scope: Any, headers: dict[bytes, bytes]) -> Response | None:
        path = scope["path"]
        if path == "/v1/events" or path.startswith(self.OPEN):
            return None
        try:
            if await asyncio.to_thread(self._reads, scope, headers):  # a login is looked up in the control state
                return None
        except DropoffError as error:  # which is away
            return problem(Request(scope), error)
        if path.startswith(_FOR_PROGRAMS):
            refusal = _error(401, "unauthorized", "send the admin token: 'Authorization: Bearer da_…'")
            refusal.headers["www-authenticate"] = "Bearer"
            return refusal
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
