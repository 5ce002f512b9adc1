"""Every metric is the same number on every surface: Python, API, command line, page."""

import asyncio
import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from html import unescape

import httpx
import msgspec
import pytest

from dropoff.access import Access
from dropoff.app import Engine, web
from dropoff.dashboard import formats
from dropoff.demo import generate
from dropoff.metrics import METRICS
from dropoff.settings import load

END = datetime(2026, 6, 1, tzinfo=UTC)
ZONE = "America/New_York"
ASKED = {"from": "2026-03-01", "to": "2026-04-20", "timezone": ZONE, "where": "direction=inbound"}
COMMAND = [sys.executable, "-c", "from dropoff.cli import main; main()"]


class Surfaces:
    """The answers of one data directory; the command line's are asked once the engine has let go of it."""

    def __init__(self, data):
        self.data = data
        with Engine(load(data=data)) as engine:
            self._app = web(engine, Access(engine.control, "local", may_be_open=True))
            events = list(generate(800, 7, END))
            for start in range(0, len(events), 5000):
                body = b"\n".join(map(msgspec.json.encode, events[start : start + 5000]))
                headers = {"content-type": "application/x-ndjson"}
                assert self._send("POST", "/v1/events", content=body, headers=headers).status_code == 202
            engine.drain()
            listed = {name: [value] for name, value in ASKED.items()}
            self.python = json.loads(json.dumps(engine.analytics.metrics(listed)))["metrics"]
            self.api = self._send("GET", "/api/v1/metrics", params=ASKED).json()["metrics"]
            week = {**ASKED, "interval": "week"}
            self.trends, self.pages = {}, {}
            for name in METRICS:
                self.trends[name] = self._send("GET", "/api/v1/trend", params={**week, "metric": name}).json()
                self.pages[name] = unescape(self._send("GET", "/trends", params={**week, "metric": name}).text)
        self.cli = self.ask("metrics")["metrics"]

    def ask(self, *words):
        options = [text for name, value in ASKED.items() for text in (f"--{name}", value)]
        run = subprocess.run(
            [*COMMAND, *words, *options, "--json", "--data", str(self.data)], capture_output=True, check=True,
            env={**os.environ, "COLUMNS": "200"},
        )  # fmt: skip
        return json.loads(run.stdout)

    def _send(self, method, path, **more):
        async def send():
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8787") as client:
                return await client.request(method, path, **more)

        return asyncio.run(send())


@pytest.fixture(scope="module")
def surfaces(tmp_path_factory):
    return Surfaces(tmp_path_factory.mktemp("surfaces") / "data")


def of(rows, name):
    return [row for row in rows if row["metric"] == name]


def cells(page):
    """The rows of the page's tables of points, as texts."""
    found = [section for section in page.split("<section>") if "The values of the chart" in section]
    rows = [row for section in found for row in re.findall(r"<tr>\s*<th scope=\"row\">.*?</tr>", section, re.DOTALL)]
    return [[re.sub(r"<[^>]+>", "", cell).strip() for cell in re.findall(r"<t[hd].*?</t[hd]>", row)] for row in rows]


@pytest.mark.parametrize("name", METRICS)
def test_python_api_command_line_and_page_agree(surfaces, name):
    rows = of(surfaces.python, name)
    assert rows
    assert rows == of(surfaces.api, name) == of(surfaces.cli, name) == surfaces.trends[name]["total"]
    page = surfaces.pages[name]
    for row in rows:
        assert f"<strong>{formats.measure(row)}</strong>" in page
        if formats.sample(row) is not None:
            assert formats.basis(row) in page


@pytest.mark.parametrize("name", METRICS)
def test_the_table_of_the_page_has_the_points_of_the_api(surfaces, name):
    trend = surfaces.trends[name]
    points = sorted(trend["points"], key=lambda p: (p.get("currency") or "", p["from"]))
    expected = [
        [formats.bucket(p["from"], "week", ZONE), formats.measure(p), formats.interval(p["interval"]), formats.basis(p)]
        for p in points
    ]
    assert [row[:4] for row in cells(surfaces.pages[name])] == expected
    assert [row[5] for row in cells(surfaces.pages[name])] == [formats.remarks(p) for p in points]
    if METRICS[name].additive and not METRICS[name].by_currency:
        (total,) = trend["total"]
        assert sum(p["numerator"] for p in points) == pytest.approx(total["numerator"], abs=1e-6)


def test_the_chart_has_the_points_of_the_api(surfaces):
    for name in ("response_rate", "conversations_started", "sentiment_average"):
        option = re.search(r'id="trend1-option">(.*?)</script>', surfaces.pages[name], re.DOTALL)
        assert option is not None
        drawn = json.loads(option[1])["baseOption"]["series"][1]["data"]
        factor = 100 if METRICS[name].unit == "share" else 1
        values = [p["value"] and p["value"] * factor for p in surfaces.trends[name]["points"]]
        assert [item["value"] for item in drawn] == pytest.approx(values, rel=1e-5)


def test_the_conversations_of_a_point_are_as_many(surfaces):
    """Each point of a cohort metric leads to the conversations that began in it."""
    page = surfaces.pages["conversations_started"]
    points = surfaces.trends["conversations_started"]["points"]
    links = re.findall(r'<td class="n"><a href="(/conversations\?[^"]+)">', page)
    assert len(links) == len(points)
    for link, point in zip(links, points, strict=True):
        assert f"where=direction=inbound&from={formats.local(point['from'], ZONE):%Y-%m-%d}" in link
        words = ["conversations", "list", "--json", "--data", str(surfaces.data)]
        for part in link.partition("?")[2].split("&"):
            name, _, value = part.partition("=")
            words += [f"--{name}", value.replace("%2F", "/")]
        found = json.loads(subprocess.run([*COMMAND, *words], capture_output=True, check=True).stdout)
        assert found["total"] == point["value"]
