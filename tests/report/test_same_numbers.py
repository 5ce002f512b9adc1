"""A report says what API, command line and pages say: every number is looked up again where it says it is from."""

import asyncio
import re
import shlex
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace

import httpx
import msgspec
import pytest
from typer.testing import CliRunner

from dropoff import cli
from dropoff.access import Access
from dropoff.analyse.analytics import Analytics
from dropoff.app import web
from dropoff.demo import generate
from dropoff.engine import Engine
from dropoff.report.links import api_of, command_of, page_of
from dropoff.report.reports import FORMATS, Reports
from dropoff.report.value import Table, follow
from dropoff.settings import load

END = datetime(2026, 6, 1, tzinfo=UTC)
ZONE = "America/New_York"
ASKED = {
    "weekly": {"from": ["2026-05-11"], "to": ["2026-05-18"], "where": ["channel=sms", "channel=chat"]},
    "monthly": {"from": ["2026-04-01"], "to": ["2026-05-01"]},
}


class World:
    """The server of a small demo, and its reports."""

    def __init__(self, data):
        self.data = data
        with Engine(load(data=data, timezone=ZONE, starter_alerts=False)) as engine:
            self._app = web(engine, Access(engine.control, "local", may_be_open=True))
            body = b"\n".join(map(msgspec.json.encode, generate(400, 7, END)))
            assert (
                self.send(
                    "POST", "/v1/events", content=body, headers={"content-type": "application/x-ndjson"}
                ).status_code
                == 202
            )
            engine.drain()
            self.reports = {kind: engine.reports.report({"kind": [kind], **asked}) for kind, asked in ASKED.items()}
            paths = {api_of(run.source) for report in self.reports.values() for run in report.runs() if run.source}
            self.answers = {path: self.send("GET", path).json() for path in paths}
            pages = {
                page_of(source) for source in self.reports["weekly"].sources() if source.question != "conversation"
            }
            self.pages = {path: self.send("GET", path).status_code for path in pages}
            self.shelf = self.send("GET", "/reports").text
            self.files = {
                name: self.send("GET", f"/api/v1/report?kind=weekly&format={name}&from=2026-05-11&to=2026-05-18")
                for name in FORMATS
            }
            self.refused = self.send("GET", "/api/v1/report?kind=yearly").json()
            fixed = Analytics(engine.store, ZONE, lambda: END)
            ask = lambda name, params: {"episodes": []} if name == "alerts/history" else getattr(fixed, name)(params)  # noqa: E731
            self.fixed = [
                Reports(ask, ZONE, None, lambda: END).file({"kind": ["weekly"], "format": ["html"]}) for _ in "ab"
            ]

    def send(self, method, path, **more):
        async def send():
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8787") as client:
                return await client.request(method, path, **more)

        return asyncio.run(send())


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("reports") / "data")


def plain(value):
    return msgspec.json.decode(msgspec.json.encode(value))


@pytest.mark.parametrize("kind", ASKED)
def test_every_number_is_that_of_the_api(world, kind):
    found = [run for run in world.reports[kind].runs() if run.source is not None]
    assert len(found) > 80
    for run in found:
        assert plain(run.value) == follow(world.answers[api_of(run.source)], run.source.pointer), run


@pytest.mark.parametrize("kind", ASKED)
def test_every_number_in_a_column_of_numbers_has_its_query(world, kind):
    tables = [block for one in world.reports[kind].sections for block in one.blocks if isinstance(block, Table)]
    for table in tables:
        for row in table.rows:
            for column, cell in zip(table.columns, row, strict=True):
                bare = [run for run in cell if run.source is None and re.search(r"\d", run.text)]
                assert not (column.right and bare), (table.title, column.title, bare)


def test_every_page_that_a_number_leads_to_is_there(world):
    assert set(world.pages.values()) == {200}


@pytest.mark.parametrize("kind", ASKED)
def test_every_command_asks_what_the_number_is_from(world, kind, monkeypatch):
    """What a command would ask is looked at where it would be sent."""
    asked = []

    class Heard(Exception):
        pass

    def ask(question, params, done=None):
        asked.append((question, params))
        raise Heard

    @contextmanager
    def connect(_):
        yield SimpleNamespace(ask=ask, conversation=lambda key, params: ask("conversation", {"id": [key], **params}))

    monkeypatch.setattr(cli, "_connect", connect)
    for source in world.reports[kind].sources():
        result = CliRunner().invoke(cli.app, shlex.split(command_of(source))[1:])
        assert isinstance(result.exception, Heard), (command_of(source), result.output)
        question, params = asked[-1]
        wanted = {name: list(texts) for name, texts in source.params}
        assert question == source.question
        assert {name: params[name] for name in wanted} == wanted


def test_a_month_has_what_a_week_has_not(world):
    titles = {kind: [one.title for one in report.sections] for kind, report in world.reports.items()}
    assert {"Cohorts", "Segments", "Experiment portfolio"} == set(titles["monthly"]) - set(titles["weekly"])
    assert "only channel=sms" in world.reports["weekly"].subtitle


def test_the_same_question_at_one_moment_is_the_same_file(world):
    one, other = world.fixed
    assert one == other
    assert one.name == "dropoff-weekly-2026-05-18.html"
    assert b"2026-05-18 to 2026-05-24" in one.body


def test_the_api_gives_each_format_as_a_file(world):
    for name, file in world.files.items():
        assert file.status_code == 200
        assert file.headers["content-type"] == FORMATS[name].media_type
        assert f'filename="dropoff-weekly-2026-05-11.{name}"' in file.headers["content-disposition"]
        assert "script" not in file.headers["content-security-policy"]
    assert world.files["pdf"].content.startswith(b"%PDF")
    assert world.files["json"].json()["sections"][0]["title"] == "Key metrics"
    assert world.refused["message"] == "kind == 'yearly', must be weekly or monthly"


def test_the_page_offers_the_last_ones(world):
    assert world.shelf.count("format=html") == world.shelf.count("format=pdf") == 14
    assert "No report is scheduled" in world.shelf


def test_the_command_line_writes_the_file_of_the_api(world, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["report", "weekly", "--format", "md", "--from", "2026-05-11", "--to", "2026-05-18", "--timezone", ZONE]
    found = CliRunner().invoke(cli.app, [*words, "--data", str(world.data)], catch_exceptions=False)
    assert found.exit_code == 0
    written = (tmp_path / "dropoff-weekly-2026-05-11.md").read_text()

    def without_moment(text):
        return re.sub(r"made [\d: -]+", "", text)

    assert without_moment(written) == without_moment(world.files["md"].text)
