"""What every page is made with: its templates, the files of the build, and the policy under which it is shown."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dropoff.dashboard.frame.navigation import NAVIGATION, navigation
from dropoff.phrases import differences, formats, utterances, words
from dropoff.phrases.addresses import common, conversation_url, form_day, url
from dropoff.query import COMMON, DIMENSIONS, Params

HERE = Path(__file__).parent.parent
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


def render(template: str, request: Request, status: int = 200, /, **context: Any) -> Response:
    """A page in the common frame."""
    context.setdefault("params", {})
    context["followed"] = followed(request)
    count = getattr(request.state, "firing", None)
    context["firing_count"] = count() if count else 0
    context["navigation"] = navigation(request.url.path, _known(request))
    text = (
        _templates()
        .get_template(template)
        .render(path=request.url.path, base_url=str(request.base_url).rstrip("/"), **context)
    )
    # Figures change with every event: a page may be kept, but is asked for again.
    return HTMLResponse(text, status, SECURITY_HEADERS | {"cache-control": "private, no-cache"})


def followed(request: Request) -> Params:
    """The period and the filters in the address of a page, which its links keep, also where it does not use them."""
    given = {name: request.query_params.getlist(name) for name in COMMON}
    return {name: found for name, texts in given.items() if (found := [text for text in texts if text.strip()])}


def _known(request: Request) -> set[str]:
    """The paths of the pages of this server; before it has been asked for one of them: of all."""
    if "app" not in request.scope:
        return {page.path for group in NAVIGATION for page in group.pages}
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


def island(value: object) -> Markup:
    """JSON that can stand inside a `<script>` element: it has no character that could end it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 — escaped above


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(formats.FILTERS | differences.FILTERS | utterances.FILTERS, island=island)
    environment.globals.update(url=url, conversation_url=conversation_url, asset=_asset, styles=_styles)
    environment.globals.update(
        words=words,
        dimensions=DIMENSIONS,
        is_small=formats.is_small,
        sample=formats.sample,
        common=common,
        form_day=form_day,
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
