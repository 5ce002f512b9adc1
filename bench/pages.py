"""Pages: how long until something stands on the screen, until every chart is drawn, and what comes over the wire.

Each page is opened by a browser on the same machine, once to warm up and then once a round, never from its cache and
in a window that stands: until a window has loaded its own bars, it takes what a page would take. What the server
takes for a page alone, answer and HTML, is measured over a store that has grown: views of what somebody has looked at
before, and the first view of a filter.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from playwright.sync_api import Browser, sync_playwright

from bench import grown
from bench.data import Timeline
from bench.processes import DROPOFF, Serving, run
from bench.rows import Plan, Row
from dropoff.dashboard.frame.navigation import NAVIGATION

CHROMIUM = Path("/usr/bin/chromium")
PATHS = [page.path for group in NAVIGATION for page in group.pages if page.path != "/api/docs"]
WINDOW_MILLISECONDS = 1500
"""So long a new window of the browser is left alone before a page is opened in it."""
VIEWS = 7
"""So often each page is looked at."""
FILTER = "where=channel%3Dsms"
UNFILTERED = ("/alerts", "/reports", "/definitions")
MEASURES = """async () => {
  await new Promise((done) => new PerformanceObserver((list) =>
    list.getEntriesByName("first-contentful-paint").length && done()).observe({ type: "paint", buffered: true }));
  const of = (name) => performance.getEntriesByName(name)[0]?.startTime ?? 0;
  const entries = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")];
  return [of("first-contentful-paint"), of("dropoff:charts"), entries.reduce((sum, one) => sum + one.transferSize, 0)];
}"""


class Loaded(NamedTuple):
    """A page: seconds to its first paint and until its charts are drawn (0: it has none), and its kilobytes."""

    path: str
    paint: float
    charts: float
    kilobytes: float


def measure(plan: Plan, timeline: Timeline, folder: Path) -> Iterator[Row]:
    """The slowest and the heaviest of all pages on the demo data; what the server takes for one of a large store."""
    if CHROMIUM.exists():
        yield from _on_screen(plan, folder / "data")
    yield from _of_server(plan, timeline, folder / "grown")


def _on_screen(plan: Plan, data: Path) -> Iterator[Row]:
    folder = data.parent
    events = folder / "events.ndjson"
    events.write_text(run(*DROPOFF, "demo", "--generate-only", "--conversations", str(plan.conversations)))
    run(*DROPOFF, "import", str(events), "--data", str(data))
    command = [*DROPOFF, "serve", "--port", "0", "--data", str(data)]
    with Serving(command, data) as server, sync_playwright() as started:
        browser = started.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"])
        found = []
        for path in ("/login", *PATHS):
            server.rest()  # what the page before has worked out may go on without it
            found.append(load(browser, f"http://{server.address}", path, plan.rounds))
    bare, *loaded = (one for one in found if one)
    for kind in KINDS:
        yield worst(kind, loaded, bare)


class Kind(NamedTuple):
    """What is measured of a page."""

    work: str
    unit: str
    bar: str
    value: Callable[[Loaded], float]


KINDS = (
    Kind("first paint", "s", "≤ 0.3 s", lambda one: one.paint),
    Kind("charts drawn", "s", "≤ 1 s", lambda one: one.charts),
    Kind("over the wire", "kB", "≤ 300 kB", lambda one: one.kilobytes),
)


def worst(kind: Kind, loaded: Sequence[Loaded], bare: Loaded) -> Row:
    """The page that has most of it, beside the login page, which asks nothing."""
    most, *rest = sorted(loaded, key=kind.value, reverse=True)
    row = Row(
        f"{kind.work}, worst of {len(loaded)} pages: {most.path}", kind.unit, kind.value(most), bar=kind.bar,
        note="then " + ", ".join(f"{one.path} {kind.value(one):.3g}" for one in rest[:3]),
    )  # fmt: skip
    peer = kind.value(bare)
    return row._replace(peer=peer, ratio=row.ours / peer, peer_name="the login page") if peer else row


def load(browser: Browser, server: str, path: str, rounds: int) -> Loaded | None:
    """The medians of a page; None where the server has none there."""
    found = []
    for _ in range(rounds + 1):
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        page = context.new_page()
        page.wait_for_timeout(WINDOW_MILLISECONDS)
        answer = page.goto(server + path)
        if not answer or not answer.ok:
            return None
        found.append(page.evaluate(MEASURES))
        context.close()
    paint, charts, size = (median(values) / 1000 for values in zip(*found[1:], strict=True))
    return Loaded(path, paint, charts, size)


# what the server takes


def _of_server(plan: Plan, timeline: Timeline, data: Path) -> Iterator[Row]:
    copies = plan.grown_events // 2 // timeline.events
    grown.seed(data, timeline)
    grown.grow(data / "store.duckdb", copies)
    grown.settle(data)
    with Serving([*DROPOFF, "serve", "--port", "0", "--data", str(data)], data) as server:
        server.drain()
        yield from of_server(server, copies * timeline.events, "≤ 100 ms")
        yield Row("memory of the server after that, peak", "MB", server.peak_bytes / 1e6, bar="≤ 700 MB")


def of_server(server: Serving, events: int, bar: str) -> Iterator[Row]:
    """What it takes for its pages over so many events: looked at again, for the first time, and with a filter.

    The first views come while the server makes them ahead, as they do when somebody waits for its start.
    """
    opened = {path: _milliseconds(server, path) for path in PATHS}
    server.rest()  # it has begun to make pages ahead
    views = {path: [_milliseconds(server, path) for _ in range(VIEWS)] for path in PATHS}
    filtered = {path: _milliseconds(server, f"{path}?{FILTER}") for path in PATHS if path not in UNFILTERED}
    every = sorted(one for each in views.values() for one in each)
    held = f"{events:,} events"
    p95 = every[-(-len(every) * 95 // 100) - 1]
    slow = ", ".join(f"{path} {median(each):.0f}" for path, each in _most(views, lambda path: median(views[path])))
    yield Row(f"a page again, p95 of {len(every)} views, {held}", "ms", p95, bar=bar, note=f"medians: {slow}")
    for work, found in (("the first view of a page", opened), ("the first view of a filter", filtered)):
        (worst, most), *rest = _most(found, found.__getitem__)
        note = "then " + ", ".join(f"{path} {one:.0f}" for path, one in rest)
        yield Row(f"{work}, worst: {worst}, {held}", "ms", most, note=note)


def _most(found: Mapping[str, Any], key: Callable[[str], float]) -> list[tuple[str, Any]]:
    return [(path, found[path]) for path in sorted(found, key=key, reverse=True)[:4]]


def _milliseconds(server: Serving, path: str) -> float:
    begin = time.perf_counter()
    server.ask(path)
    return (time.perf_counter() - begin) * 1e3
