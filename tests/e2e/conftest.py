"""Servers in processes of their own, and a browser that lets nothing pass: no error, no foreign request."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
PATIENCE = 60.0


class Site:
    """A running `dropoff serve` or `dropoff demo`, found as everybody finds it: through `server.json`."""

    def __init__(self, data: Path, *command: str) -> None:
        self.data = data
        self.log = data.parent / f"{data.name}.log"
        with self.log.open("wb") as log:
            arguments = [*DROPOFF, *command, "--port", "0", "--data", str(data)]
            self._process = subprocess.Popen(arguments, stdout=log, stderr=log)
        self.url = ""

    def wait(self, text: str = "") -> "Site":
        """Until it answers, and its output holds `text`."""
        end = time.monotonic() + PATIENCE
        while text not in self.log.read_text() or not self._answers():
            assert self._process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.05)
        return self

    def _answers(self) -> bool:
        try:
            self.url = json.loads((self.data / "server.json").read_text())["url"]
            return self.get("/readyz")["ready"]
        except (OSError, ValueError):
            return False

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=30) as response:
            return json.load(response)

    def send(self, *events: dict[str, Any]) -> None:
        """Through the door, and wait until they are processed."""
        body, headers = json.dumps(events).encode(), {"Content-Type": "application/json"}
        with urllib.request.urlopen(
            urllib.request.Request(f"{self.url}/v1/events", body, headers), timeout=30
        ) as answer:
            assert json.load(answer)["rejected"] == 0
        end = time.monotonic() + PATIENCE
        while self.get("/readyz")["lag_events"]:
            assert time.monotonic() < end
            time.sleep(0.02)

    def ask(self, *command: str) -> Any:
        """What the command line says, as JSON."""
        return json.loads(self.run(*command, "--json"))

    def run(self, *command: str) -> str:
        """What the command line prints."""
        arguments = [*DROPOFF, *command, "--data", str(self.data)]
        return subprocess.run(arguments, check=True, capture_output=True, timeout=PATIENCE, text=True).stdout

    def stop(self) -> int:
        """The exit code after SIGTERM."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(PATIENCE)


DROPOFF = (sys.executable, "-c", "from dropoff.cli import main; main()")


@pytest.fixture(scope="session")
def demo(tmp_path_factory) -> Iterator[Site]:
    """1,500 generated conversations."""
    data = tmp_path_factory.mktemp("demo") / "data"
    site = Site(data, "demo", "--conversations", "1500", "--no-browser")
    yield site.wait("The funnel:")
    site.stop()


@pytest.fixture
def empty(tmp_path) -> Iterator[Site]:
    """Nothing yet."""
    site = Site(tmp_path / "data", "serve")
    yield site.wait()
    site.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Not for the whole session: Playwright keeps an event loop running, and other tests bring their own."""
    if not CHROMIUM.exists():
        missing = f"{CHROMIUM} is missing (make system)"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield browser
        browser.close()


class Watch:
    """Everything that must not happen on a page."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.expected: set[str] = set()

    def over(self, page: Page) -> Page:
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.faults.append(f"page error: {error}"))
        page.on("request", self._asked)
        page.on("dialog", self._opened)
        return page

    def _said(self, message: ConsoleMessage) -> None:
        # Violations of the content security policy are told as errors, too.
        if message.type in ("error", "warning") and not any(text in message.text for text in self.expected):
            self.faults.append(f"console {message.type}: {message.text}")

    def _asked(self, request) -> None:
        where = urlsplit(request.url)
        if where.scheme not in ("data", "blob") and where.hostname != "127.0.0.1":
            self.faults.append(f"request to {request.url}")

    def _opened(self, dialog) -> None:
        self.faults.append(f"dialog: {dialog.message}")
        dialog.dismiss()


@pytest.fixture
def watch() -> Iterator[Watch]:
    """Fails the test for what happened on any of its pages; `expected` texts of the console are let pass."""
    watch = Watch()
    yield watch
    assert watch.faults == []


@pytest.fixture
def open_page(browser, watch):
    """`open_page(**options)`: a page in a context of its own, watched."""
    contexts = []

    def make(**options: Any) -> Page:
        contexts.append(browser.new_context(**{"viewport": {"width": 1280, "height": 900}} | options))
        contexts[-1].set_default_timeout(15_000)
        return watch.over(contexts[-1].new_page())

    yield make
    for context in contexts:
        context.close()


@pytest.fixture
def page(open_page) -> Page:
    return open_page()
