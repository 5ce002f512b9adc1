"""The application in this process, asked as by a browser and by programs; and the command line."""

import re
from collections.abc import Iterable, Mapping, Sequence
from html import unescape
from typing import Any

import httpx
import msgspec
from typer.testing import CliRunner

from asgi import request
from dropoff.cli import app
from dropoff.control.access import Access
from dropoff.server.app import web
from dropoff.server.engine import Engine

HOST = "127.0.0.1:8787"


class Site:
    """Requests to the application around an engine, whose faults it `raises`, or answers as a server does."""

    def __init__(self, engine: Engine, *, raises: bool = True) -> None:
        self.engine, self._raises = engine, raises
        self._app: Any = web(engine, Access(engine.control, "local"))

    def __call__(self, method: str, path: str, token: str = "", **more: Any) -> httpx.Response:
        headers = more.pop("headers", {}) | ({"authorization": f"Bearer {token}"} if token else {})
        return request(self._app, method, path, raising=self._raises, headers=headers, **more)

    def take(self, events: Iterable[Mapping[str, Any]], most: int = 5000) -> None:
        """Events through the door, so many at once, until they are processed."""
        told = list(events)
        for start in range(0, len(told), most):
            body = b"\n".join(map(msgspec.json.encode, told[start : start + most]))
            sent = self("POST", "/v1/events", content=body, headers={"content-type": "application/x-ndjson"})
            assert sent.status_code == 202, sent.text
        self.engine.drain()


def command(*words: str, data: Any) -> str:
    """What the command line prints about a data directory."""
    ran = CliRunner().invoke(app, [*words, "--data", str(data)], catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    return ran.output


def options(asked: Mapping[str, str | Sequence[str]]) -> list[str]:
    """Parameters of a URL as options of a command."""
    given = {name: [texts] if isinstance(texts, str) else texts for name, texts in asked.items()}
    return [word for name, texts in given.items() for text in texts for word in (f"--{name.replace('_', '-')}", text)]


def cells(page: str, after: str = "") -> list[list[str]]:
    """The cells of the body of the first table, or of the first one `after` a text, each as text."""
    body = page.partition(after)[2] if after else page
    rows = re.findall(r"<tr>.*?</tr>", body.partition("<tbody>")[2].partition("</tbody>")[0], re.DOTALL)
    return [
        [unescape(re.sub(r"<[^>]+>", " ", cell)).strip() for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)]
        for row in rows
    ]
