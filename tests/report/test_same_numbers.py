"""A report says what API, command line and pages say: every number is looked up again where it says it is from."""

import re
import shlex
from contextlib import contextmanager, nullcontext
from datetime import UTC, date, datetime
from types import SimpleNamespace
from unittest import mock
from zoneinfo import ZoneInfo

import msgspec
import pytest
from typer.testing import CliRunner

from dropoff import cli
from dropoff.dashboard.pages.reports_page import spans
from dropoff.demo import generate
from dropoff.project.settings import load
from dropoff.report.links import api_of, command_of, page_of
from dropoff.report.reports import FORMATS
from dropoff.report.value import Table, follow
from dropoff.server.connect import Local
from dropoff.server.engine import Engine
from sites import Site

END = datetime(2026, 6, 1, tzinfo=UTC)
ZONE = "America/New_York"
ASKED = {
    "weekly": {"from": ["2026-04-24"], "to": ["2026-05-01"], "where": ["channel=sms", "channel=chat"]},
    "monthly": {"from": ["2026-04-01"], "to": ["2026-05-01"], "where": ["channel=sms", "channel=chat"]},
}


class World:
    """The server of a small demo, and its reports."""

    def __init__(self, data):
        with Engine(load(data=data, timezone=ZONE, starter_alerts=False)) as engine:
            engine.analytics._now = engine.reports._now = lambda: END
            self.send = Site(engine)
            self.send.take(generate(400, 7, END))
            self.reports = {kind: engine.reports.report({"kind": [kind], **asked}) for kind, asked in ASKED.items()}
            self.answers = {api_of(one): self.send("GET", api_of(one)).json() for one in self._sources()}
            pages = [page_of(one) for one in self._sources() if one.question not in ("segments", "metrics")]
            self.pages = {path: self.send("GET", path).status_code for path in pages}
            self.shelf, self.held = self.send("GET", "/reports").text, engine.analytics.held()
            self.refused = self.send("GET", "/api/v1/report?kind=yearly").json()
            again = engine.reports.report({"kind": ["weekly"], **ASKED["weekly"]})
            self.twice = [engine.reports.written(report, "html") for report in (self.reports["weekly"], again)]
            self._formats(engine)

    def _sources(self):
        found = [source for report in self.reports.values() for source in report.sources()]
        return [source for source in found if source.question != "conversation"] + found[-1:]

    def _formats(self, engine):
        """The report is made once for all of them."""
        with mock.patch.object(engine.reports, "report", lambda params: self.reports[params["kind"][0]]):
            self.files = {name: self.send("GET", f"/api/v1/report?kind=weekly&format={name}") for name in FORMATS}
            with mock.patch("dropoff.server.connect.connect", return_value=nullcontext(Local(engine))):
                words = ["report", "weekly", "--format", "md", "--output", "-"]
                self.written = CliRunner().invoke(cli.app, words, catch_exceptions=False).stdout


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
        if api_of(run.source) in world.answers:  # of the conversations one
            assert plain(run.value) == follow(world.answers[api_of(run.source)], run.source.pointer), run


@pytest.mark.parametrize("kind", ASKED)
def test_every_number_in_a_column_of_numbers_has_its_query(world, kind):
    tables = [block for one in world.reports[kind].sections for block in one.blocks if isinstance(block, Table)]
    for table in tables:
        for row in table.rows:
            for column, cell in zip(table.columns, row, strict=True):
                bare = [run for run in cell if run.source is None and re.search(r"\d", run.text)]
                assert not (column.right and bare), (table.title, column.title, bare)


@pytest.mark.parametrize("kind", ASKED)
def test_a_change_is_the_difference_of_the_two_values_beside_it(world, kind):
    (found,) = [
        block
        for section in world.reports[kind].sections
        for block in section.blocks
        if isinstance(block, Table) and block.title == "Against the period before"
    ]
    assert found.rows
    for row in found.rows:
        _, now, before, _, change, *_ = ("".join(run.text for run in cell) for cell in row)
        one, other, apart = (
            float(text.split()[0].replace("−", "-").replace(",", "")) for text in (now, before, change)
        )
        assert apart == pytest.approx(one - other, abs=0.11)  # each is rounded


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

    monkeypatch.setattr("dropoff.server.connect.connect", connect)
    for source in world.reports[kind].sources():
        result = CliRunner().invoke(cli.app, shlex.split(command_of(source))[1:])
        assert isinstance(result.exception, Heard), (command_of(source), result.output)
        question, params = asked[-1]
        wanted = {name: list(texts) for name, texts in source.params}
        assert question == source.question
        assert {name: params[name] for name in wanted} == wanted


def test_a_month_has_what_a_week_has_not(world):
    titles = {kind: [one.title for one in report.sections] for kind, report in world.reports.items()}
    assert {"What changed", "What to test next", "Anomalies"} < set(titles["weekly"])
    assert {"Cohorts", "Segments", "Experiment portfolio"} == set(titles["monthly"]) - set(titles["weekly"])
    assert "only channel=sms" in world.reports["weekly"].subtitle


def test_the_same_question_at_one_moment_is_the_same_file(world):
    one, other = world.twice
    assert one == other
    assert b"made 2026-05-31 20:00" in one.body


def test_the_api_gives_each_format_as_a_file(world):
    for name, file in world.files.items():
        assert file.status_code == 200
        assert file.headers["content-type"] == FORMATS[name].media_type
        assert f'filename="dropoff-weekly-2026-04-24.{name}"' in file.headers["content-disposition"]
        assert "script" not in file.headers["content-security-policy"]
    assert world.files["pdf"].content.startswith(b"%PDF")
    assert world.files["json"].json()["sections"][0]["title"] == "Key metrics"
    assert world.refused["message"] == "kind == 'yearly', must be weekly or monthly"


def test_the_page_offers_those_that_hold_data(world):
    days = [moment.astimezone(ZoneInfo(ZONE)).date() for moment in world.held]
    offered = [one for kind in ASKED for one in spans(kind, datetime.now(ZoneInfo(ZONE)).date(), *days)]
    assert world.shelf.count("format=html") == world.shelf.count("format=pdf") == len(offered)
    assert all(f"from={start}&amp;to={end}" in world.shelf for start, end in offered)
    assert "No report is scheduled" in world.shelf


def test_no_week_or_month_is_offered_before_the_first_data_or_after_the_last():
    first, latest = date(2026, 2, 10), date(2026, 4, 1)
    assert spans("monthly", date(2026, 4, 2), first, latest) == [
        (date(2026, 3, 1), date(2026, 4, 1)), (date(2026, 2, 1), date(2026, 3, 1)),
    ]  # fmt: skip
    assert spans("monthly", date(2026, 12, 31), first, latest)[0] == (date(2026, 4, 1), date(2026, 5, 1))
    weeks = spans("weekly", date(2026, 12, 31), first, latest)
    assert weeks[0] == (date(2026, 3, 30), date(2026, 4, 6))
    assert weeks[-1] == (date(2026, 2, 9), date(2026, 2, 16))
    assert len(weeks) == 8
    assert spans("weekly", date(2026, 2, 15), first, date(2026, 2, 15)) == []


def test_the_command_line_writes_the_file_of_the_api(world):
    assert world.written == world.files["md"].text
    assert world.written.startswith("# Weekly report, 2026-04-24 to 2026-04-30\n")
