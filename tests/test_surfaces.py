"""Every metric is the same number on every surface: Python, API, command line, page."""

import json
import re
from datetime import UTC, datetime
from html import unescape

import msgspec
import pytest
from typer.testing import CliRunner

from dropoff.cli import app as cli
from dropoff.demo import generate
from dropoff.metrics import METRICS
from dropoff.phrases import formats, verdicts
from dropoff.project.settings import load
from dropoff.server.engine import Engine
from sites import Site, options

END = datetime(2026, 6, 1, tzinfo=UTC)
ZONE = "America/New_York"
ASKED = {"from": "2026-03-01", "to": "2026-04-20", "timezone": ZONE, "where": "direction=inbound"}

TARGETS = {
    "response_rate": 0.99, "meetings_booked": {"value": 1, "per": "day"}, "opt_out_rate": 0.9, "fallback_rate": 0.5,
    "revenue": {"value": 10, "currency": "CHF"},
}  # fmt: skip

_ASKED = "direction = 'inbound'"
_SPAN = "BETWEEN '2026-03-01 05:00:00' AND '2026-04-20 03:59:59.999999'"  # midnights of New York


def _of_conversations(value, more="true"):
    return f"SELECT {value} FROM conversations WHERE {_ASKED} AND started_at {_SPAN} AND {more}"


def _of(view, moment, value, more="true"):
    return f"""SELECT {value} FROM {view} r JOIN (SELECT id FROM conversations WHERE {_ASKED}) c
        ON r.conversation_id = c.id WHERE {moment} {_SPAN} AND {more}"""


def _share(condition):
    return f"avg(CASE WHEN {condition} THEN 1.0 ELSE 0.0 END)"


def _of_turns(condition):
    """A bot turn begins with the message that opens it; one that is a fallback or an error alone has none."""
    return f"""SELECT ({_of("turns", "timestamp", "count(*)", condition)})
        / (({_of("messages", "timestamp", "count(*)", "opens_turn")})
          + ({_of("turns", "timestamp", "count(*)", "alone")}))"""


SELECTS = {
    "conversations_started": _of_conversations("count(*)"),
    "inbound_conversations": _of_conversations("count(*)"),
    "outbound_conversations": _of_conversations("count(*)", "direction = 'outbound'"),
    "leads": _of_conversations("count(DISTINCT contact_id) + count(*) FILTER (WHERE contact_id IS NULL)"),
    "qualified_leads": _of_conversations(
        "count(DISTINCT contact_id) + count(*) FILTER (WHERE contact_id IS NULL)",
        "stage NOT IN ('started', 'responded')",
    ),
    "messages_per_conversation": _of_conversations("avg(message_count)"),
    "bot_messages": _of("messages", "timestamp", "count(*)", "sender = 'bot'"),
    "human_messages": _of("messages", "timestamp", "count(*)", "sender <> 'bot'"),
    "response_rate": _of_conversations(_share("level >= 1")),
    "qualification_rate": _of_conversations(_share("level >= 2"), "level >= 1"),
    "booking_rate": _of_conversations(_share("level >= 3"), "level >= 2"),
    "show_rate": _of_conversations(_share("level >= 4"), "level >= 3"),
    "opportunity_rate": _of_conversations(_share("level >= 5"), "level >= 4"),
    "conversion_rate": _of_conversations(_share("level >= 6"), "level >= 4"),
    "win_rate": _of_conversations(_share("stage = 'converted'")),
    "engagement_rate": _of_conversations(_share("counted_replies >= 2")),
    "delivery_rate": _of_conversations(_share("delivered_bot_messages > 0"), "bot_messages > 0"),
    "delivered_response_rate": _of_conversations(_share("level >= 1"), "delivered_bot_messages > 0"),
    "meetings_booked": _of("meetings", "booked_at", "count(*)"),
    "meetings_attended": _of("meetings", "coalesce(due_at, state_at)", "count(*)", "state = 'attended'"),
    "deals_closed": _of("deals", "won_at", "count(*)", "state = 'won'"),
    "revenue": _of("deals", "won_at", "sum(micros) / 1000000.0", "state = 'won' GROUP BY currency ORDER BY currency"),
    "meeting_show_rate": _of(
        "meetings", "coalesce(due_at, state_at)", _share("state = 'attended'"), "state IN ('attended', 'no_show')"
    ),
    "sentiment_average": _of("messages", "timestamp", "avg(sentiment)", "sender = 'prospect'"),
    "sentiment_trend": _of_conversations("avg(sentiment_trend)"),
    "csat": _of_conversations("avg(csat)"),
    "escalation_rate": _of_conversations(_share("escalated")),
    "human_takeover_rate": _of_conversations(_share("taken_over")),
    "human_intervention_rate": _of_conversations(_share("agent_messages > 0")),
    "automation_rate": _of_conversations(_share("agent_messages = 0 AND NOT escalated"), "bot_messages > 0"),
    "resolution_rate": _of_conversations(
        _share(
            "NOT escalated AND agent_messages = 0 AND NOT ends_in_fallback AND ending NOT IN ('dropped', 'opted_out')"
        ),
        "status = 'closed'",
    ),
    "understanding_rate": _of("messages", "timestamp", _share("understood"), "understood IS NOT NULL"),
    "fallback_rate": _of_turns("fallback"),
    "error_rate": _of_turns("error"),
    "appropriateness_rate": _of("messages", "timestamp", "avg(appropriateness)", "sender = 'bot'"),
    "opt_out_rate": _of_conversations(_share("opted_out_at IS NOT NULL")),
    "response_time": _of("messages", "timestamp", "median(response_seconds)", "sender = 'bot'"),
    "time_to_qualification": _of_conversations(
        "median(date_diff('microsecond', started_at, qualified_at)) / 1000000.0"
    ),
    "time_to_booking": _of_conversations("median(date_diff('microsecond', started_at, booked_at)) / 1000000.0"),
    "conversation_duration": _of_conversations("median(duration_seconds)", "status = 'closed'"),
    "touches_per_conversion": _of_conversations("avg(touches)", "converted_at IS NOT NULL"),
    "cost": f"""
        SELECT sum(r.cost_micros) / 1000000.0 FROM messages r JOIN conversations c ON c.id = r.conversation_id
        WHERE {_ASKED} AND c.started_at {_SPAN} AND cost_currency IS NOT NULL
        GROUP BY cost_currency ORDER BY cost_currency""",
    "cost_per_meeting": f"""
        SELECT sum(r.cost_micros) / 1000000.0 / (
          SELECT count(*) FROM meetings JOIN conversations c ON c.id = conversation_id
          WHERE {_ASKED} AND c.started_at {_SPAN} AND state = 'attended')
        FROM messages r JOIN conversations c ON c.id = r.conversation_id
        WHERE {_ASKED} AND c.started_at {_SPAN} AND cost_currency IS NOT NULL
        GROUP BY cost_currency ORDER BY cost_currency""",
}
"""Every metric as an analyst would write it over the views, without a look at how Dropoff does."""


def said(*words):
    """What the command line answers as JSON."""
    found = CliRunner().invoke(cli, [*words, "--json"], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


BEHIND = ("conversations_started", "response_rate", "win_rate", "delivered_response_rate", "resolution_rate")
_LISTS = re.compile(r'<a href="/conversations(\?[^"]+metric=[^"]+)">')


def listed_behind(send, page):
    """How many conversations each cell of a page's table of points leads to, None where it leads nowhere."""
    links = [[_LISTS.search(cell) for cell in row[1:]] for row in rows_of(page)]
    ask = "/api/v1/conversations{}".format
    return [[send("GET", ask(link[1])).json()["total"] if link else None for link in row] for row in links]


class Surfaces:
    """The answers of one data directory; the command line's are asked once the engine has let go of it."""

    def __init__(self, data):
        self.data = data
        with Engine(load(data=data)) as engine:
            send = Site(engine)
            send.take(generate(800, 7, END))
            listed = {name: [value] for name, value in ASKED.items()}
            self.selected = {name: engine.analytics.query(text)["rows"] for name, text in SELECTS.items()}
            self.python = json.loads(json.dumps(engine.analytics.metrics(listed)))["metrics"]
            self.api = send("GET", "/api/v1/metrics", params=ASKED).json()["metrics"]
            week = {**ASKED, "interval": "week"}
            self.trends, self.pages = {}, {}
            for name in METRICS:
                self.trends[name] = send("GET", "/api/v1/trend", params={**week, "metric": name}).json()
                self.pages[name] = unescape(send("GET", "/trends", params={**week, "metric": name}).text)
            self.lists = {name: listed_behind(send, self.pages[name]) for name in BEHIND}
            self.executive = {
                "python": json.loads(msgspec.json.encode(engine.analytics.executive(listed))),
                "api": send("GET", "/api/v1/executive", params=ASKED).json(),
            }
            self.brief = unescape(send("GET", "/executive", params=ASKED).text)
        self.cli = self.ask("metrics")["metrics"]
        self.executive["cli"] = self.ask("executive")
        words = ["executive", *options(ASKED), "--data", str(self.data)]
        self.told = CliRunner().invoke(cli, words, catch_exceptions=False, env={"COLUMNS": "1000"}).output

    def ask(self, *words):
        return said(*words, *options(ASKED), "--data", str(self.data))


@pytest.fixture(scope="module")
def surfaces(kept, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("DROPOFF_TARGETS", json.dumps(TARGETS))
        patched.setenv("DROPOFF_ANNOTATIONS", json.dumps([{"at": "2026-04-02", "text": "<b>A fair</b>"}]))
        yield Surfaces(tmp_path_factory.mktemp("surfaces") / "data")


def of(rows, name):
    return [row for row in rows if row["metric"] == name]


def rows_of(page):
    """The cells of the page's tables of points."""
    found = [section for section in page.split("<section>") if "The values of the chart" in section]
    rows = [row for section in found for row in re.findall(r"<tr>\s*<th scope=\"row\">.*?</tr>", section, re.DOTALL)]
    return [re.findall(r"<t[hd].*?</t[hd]>", row) for row in rows]


def cells(page):
    """The same as texts."""
    return [[re.sub(r"<[^>]+>", "", cell).strip() for cell in row] for row in rows_of(page)]


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
def test_a_select_gives_the_number_of_the_page(surfaces, name):
    rows = sorted(of(surfaces.python, name), key=lambda row: row.get("currency") or "")
    assert [value for (value,) in surfaces.selected[name]] == pytest.approx([row["value"] for row in rows], rel=1e-9)


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


@pytest.mark.parametrize("name", BEHIND)
def test_a_point_leads_to_those_that_count_and_to_all_of_them(surfaces, name):
    for point, (value, _, of, *_) in zip(surfaces.trends[name]["points"], surfaces.lists[name], strict=True):
        assert (value, of) == (point["numerator"] or None, point["denominator"] or None)


def test_the_conversations_of_a_point_are_as_many(surfaces):
    """The command line has the same list."""
    page = surfaces.pages["conversations_started"]
    points = surfaces.trends["conversations_started"]["points"]
    links = re.findall(r'<td class="n"><a href="(/conversations\?[^"]+)">', page)
    assert len(links) == len(points)
    for link, point in zip(links, points, strict=True):
        assert f"&from={formats.local(point['from'], ZONE):%Y-%m-%d}" in link
        words = ["conversations", "list", "--data", str(surfaces.data)]
        for part in link.partition("?")[2].split("&"):
            name, _, value = part.partition("=")
            words += [f"--{name}", value.replace("%2F", "/")]
        assert said(*words)["total"] == point["value"]


def _settled(answer):
    """An answer without what depends on the minute in which it was asked."""
    if isinstance(answer, dict):
        moving = ("as_of", "follow_days", "until")
        return {name: _settled(value) for name, value in answer.items() if name not in moving}
    return [_settled(one) for one in answer] if isinstance(answer, list) else answer


def test_the_executive_answer_is_the_same_everywhere(surfaces):
    found = surfaces.executive
    assert _settled(found["python"]) == _settled(found["api"]) == _settled(found["cli"])
    rows = {(row["metric"], row.get("currency")): row for row in found["api"]["metrics"]}
    for row in surfaces.api:
        if (key := (row["metric"], row.get("currency"))) in rows:
            assert {name: rows[key][name] for name in row if name != "segment"} == {
                name: value for name, value in row.items() if name != "segment"
            }
    assert {name for name, _ in rows} >= {*TARGETS}
    assert rows["revenue", "CHF"]["target"]["met"] is False
    for (name, currency), row in rows.items():
        assert (row["target"] is not None) == (name in TARGETS and currency in (None, "CHF")), name
        points = surfaces.trends[name]["points"]
        assert row["spark"] is not None
        assert len(row["spark"]) == len(found["api"]["points"])
        if METRICS[name].additive and row["unit"] == "count":
            assert sum(row["spark"]) == sum(point["value"] for point in points) == row["value"]


def test_the_executive_page_and_the_command_line_say_what_the_api_has(surfaces):
    answer = surfaces.executive["api"]
    assert [one["text"] for one in answer["annotations"]] == ["<b>A fair</b>"]
    assert "None of them has a target" not in surfaces.brief
    assert "<b>A fair" not in surfaces.brief.replace("<title><b>A fair</b></title>", "").partition("</svg>")[0]
    for text in (surfaces.brief, surfaces.told):
        for row in answer["metrics"]:
            assert formats.measure(row) in text
            assert row["target"] is None or verdicts.of_target(row) in text
        for one in answer["changes"]:
            assert verdicts.of_change(one, ZONE).partition(", each")[0] in text
        assert answer["changes"] or verdicts.nothing(answer) in text
