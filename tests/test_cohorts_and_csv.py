"""Cohorts and exported lists are the same on every surface: API, page, command line with and without a server."""

import csv
import json
import re
from html import unescape
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
from typer.testing import CliRunner

from dropoff.cli import app
from dropoff.errors import InvalidInput
from dropoff.phrases import formats
from servers import Server
from sites import cells
from worlds import booked, qualified, received, sent, started

WEEK = 7 * 1440
ZONE = "Europe/Berlin"
ASKED = {"from": "2024-01-15", "to": "2024-03-04", "timezone": ZONE, "where": "channel=sms"}
HOSTILE = ['=HYPERLINK("http://evil.test")', "+1", "-1", "@x", "'=y", 'a,"b"\r\nc', "\x1b[31mred", "ü\u2028", "plain"]


def talk(name: str, start: int, ages: dict[str, int]) -> list[dict[str, Any]]:
    of = {"conversation_id": name, "contact_id": name[::-1]}
    made = [started(at=start, channel="sms", **of), sent("hi", at=start, **of)]
    makers = {"responded": received, "qualified": qualified, "booked": booked}
    return made + [makers[stage](at=start + age, **of) for stage, age in ages.items()]


EVENTS = [
    event
    for week in range(6)
    for i in range(32 if week == 2 else 4)
    for event in talk(
        HOSTILE[week * 4 + i] if week < 2 else f"c{week}-{i}", week * WEEK + i,
        {"responded": 5, **({"qualified": WEEK + 1} if i % 2 else {}), **({"booked": 3 * WEEK} if i == 3 else {})},
    )
] + talk(HOSTILE[8], 5 * WEEK + 9, {})  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lists")
    (folder / "events.ndjson").write_text("\n".join(map(json.dumps, EVENTS)))
    run("import", str(folder / "events.ndjson"), "--data", str(folder / "data"))
    return folder / "data"


@pytest.fixture(scope="module")
def server(data: Path):
    with Server(data) as running:
        yield running


def run(*words: str) -> bytes:
    found = CliRunner().invoke(app, words, catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.stdout_bytes


def command(data: Path, *words: str, asked: dict[str, str] = ASKED) -> bytes:
    options = [text for name, value in asked.items() for text in (f"--{name}", value)]
    return run(*words, *options, "--data", str(data))


def rows_of(text: bytes) -> list[list[str]]:
    return list(csv.reader(StringIO(text.decode(), newline=""), strict=True))


def test_cohorts_are_the_same_everywhere(data: Path, server: Server):
    api = server.get(f"/api/v1/cohorts?{urlencode(ASKED | {'stage': 'qualified'})}").json()
    served = json.loads(command(data, "cohorts", "--stage", "qualified", "--json"))
    assert {**api, "as_of": 0} == {**served, "as_of": 0}
    assert [(row["n"], row["total"]["numerator"]) for row in api["cohorts"][:4]] == [(4, 2), (4, 2), (32, 16), (4, 2)]
    assert api["ages"] == [0, 1]
    shown = command(data, "cohorts", "--stage", "qualified").decode()
    assert "2024-W05" in shown
    assert "50.0" in shown
    page = server.get(f"/cohorts?{urlencode(ASKED | {'stage': 'qualified'})}")
    assert page.status == 200
    found = cells(page.body.decode())
    assert [row[0] for row in found] == [formats.bucket(row["from"], "week", ZONE) for row in api["cohorts"]]
    for shown_row, row in zip(found, api["cohorts"], strict=True):
        assert shown_row[1].startswith(formats.number(row["n"]))
        for text, cell in zip(shown_row[2:], [*row["cells"], row["total"]], strict=True):
            wanted = "" if cell is None else formats.percent(cell["value"])
            assert text.startswith(wanted)
            assert cell is None or cell["interval"] is None or formats.interval(cell["interval"]) in text


def test_each_number_of_the_triangle_leads_to_as_many_conversations(server: Server):
    page = server.get(f"/cohorts?{urlencode(ASKED | {'stage': 'qualified'})}").body.decode()
    api = server.get(f"/api/v1/cohorts?{urlencode(ASKED | {'stage': 'qualified'})}").json()
    links = [unescape(link) for link in re.findall(r'<a href="(/conversations\?[^"]*from=[^"]+)"', page)]
    links = [link for link in links if "to=2024-03-04" not in link or "from=2024-02-26" in link]  # not the navigation's
    numbers = [
        n
        for row in api["cohorts"]
        for n in (row["n"], *(cell["numerator"] for cell in row["cells"] if cell), row["total"]["numerator"])
        if n
    ]
    assert [server.get("/api/v1" + link).json()["total"] for link in links] == numbers


@pytest.mark.parametrize("more", [{}, {"stage": "qualified"}, {"dropped": "responded"}, {"name": "mission"}])
def test_a_list_is_the_same_file_everywhere(data: Path, server: Server, more: dict[str, str]):
    asked = ASKED | more
    answer = server.get(f"/api/v1/conversations?{urlencode(asked | {'limit': '1000'})}").json()
    reply = server.get(f"/api/v1/conversations?{urlencode(asked | {'format': 'csv'})}")
    assert reply.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    assert reply.headers["content-disposition"] == 'attachment; filename="conversations.csv"'
    header, *rows = rows_of(reply.body)
    assert header == list(answer["conversations"][0])
    assert len(rows) == answer["total"] > 0
    assert [row[0].removeprefix("'") for row in rows] == [c["id"].removeprefix("'") for c in answer["conversations"]]
    assert command(data, "conversations", "list", "--csv", asked=asked) == reply.body
    page = server.get(f"/conversations?{urlencode(asked | {'limit': '3'})}").body.decode()
    (link,) = [unescape(link) for link in re.findall(r'href="(/api/v1/conversations\?[^"]+)" download', page)]
    assert dict(parse_qsl(link.partition("?")[2])) == asked | {"format": "csv"}
    assert server.get(link).body == reply.body


def test_no_cell_is_a_formula(server: Server):
    header, *rows = rows_of(server.get(f"/api/v1/conversations?{urlencode(ASKED | {'format': 'csv'})}").body)
    by_id = {row[0]: row for row in rows}
    for name in HOSTILE:
        shown = f"'{name}" if name[0] in "=+-@" else name
        contact = name[::-1]
        assert by_id[shown][header.index("contact_id")] == (f"'{contact}" if contact[0] in "=+-@" else contact)
    assert not [cell for row in rows for cell in row if cell[:1] in ("=", "+", "@", "\t", "\r")]


def test_a_funnel_of_ones_own_as_a_file(server: Server):
    own = {"steps": [{"event": "message_received"}, {"event": "qualified"}], "mode": "recorded"}
    asked = ASKED | {"definition": json.dumps(own), "mode": "ordered", "stage": "qualified"}
    answer = server.get(f"/api/v1/conversations?{urlencode(asked)}").json()
    _, *rows = rows_of(server.get(f"/api/v1/conversations?{urlencode(asked | {'format': 'csv'})}").body)
    assert len(rows) == answer["total"] > 10


@pytest.mark.parametrize(
    ("params", "refusal"),
    [
        ({"format": "xls"}, "format == 'xls', must be json or csv"),
        ({"format": "csv", "limit": "5"}, "limit == '5', must be left out: an export is the whole list"),
        ({"format": "csv", "stage": "won"}, "stage == 'won', must be one of"),
        ({"within": "2w"}, "within == '2w', must be left out where no stage is given"),
        ({"mode": "any"}, "mode == 'any', must be reached or left out"),
    ],
)
def test_what_is_refused_is_named(server: Server, params: dict[str, str], refusal: str):
    reply = server.get(f"/api/v1/conversations?{urlencode(params)}")
    assert reply.status == 400
    assert refusal in reply.json()["message"]


def test_the_page_of_cohorts_names_what_is_wrong(server: Server):
    page = server.get("/cohorts?stage=won")
    assert page.status == 400
    assert 'role="alert"' in page.body.decode()
    assert "This page has no “by”" in server.get("/cohorts?by=channel").body.decode()
    assert "This page has no" not in server.get("/cohorts?interval=day").body.decode()
    assert server.get("/cohorts?from=2000-01-01&to=2000-02-01").body.count(b"No conversations in this period") == 1


def test_the_command_line_without_a_server(tmp_path: Path):
    (tmp_path / "events.ndjson").write_text("\n".join(map(json.dumps, EVENTS)))
    run("import", str(tmp_path / "events.ndjson"), "--data", str(tmp_path / "data"))
    _, *rows = rows_of(command(tmp_path / "data", "conversations", "list", "--csv"))
    assert len(rows) == len({event["conversation_id"] for event in EVENTS})
    with pytest.raises(InvalidInput, match="limit == '5', must be left out"):
        command(tmp_path / "data", "conversations", "list", "--csv", "--limit", "5")
    with pytest.raises(InvalidInput, match="csv == True, must be left out with json"):
        command(tmp_path / "data", "conversations", "list", "--csv", "--json")


OWN = {"steps": [{"event": "message_received", "name": "<b>in</b>"}, {"event": "qualified"}, {"event": "never"}]}
OWN |= {"window": "20d"}


def test_the_page_of_a_funnel_of_ones_own_over_time(server: Server):
    asked = ASKED | {"definition": json.dumps(OWN), "interval": "week"}
    api = server.get(f"/api/v1/funnel?{urlencode(asked)}").json()
    page = server.get(f"/?{urlencode(asked)}").body.decode()
    assert "<b>in" not in page
    found = cells(page, 'aria-labelledby="over-time"')
    points = api["trend"]["points"]
    assert [row[0] for row in found] == [formats.bucket(p["from"], "week", ZONE) for p in points]
    assert [row[1] for row in found] == [formats.number(p["stages"][0]["count"]) for p in points]
    for row, point in zip(found, points, strict=True):
        rate = point["stages"][1]["rate_from_start"]
        assert row[2].startswith(formats.number(point["stages"][1]["count"]))
        assert rate["value"] is None or formats.percent(rate["value"]) in row[2]
    assert [row[1] for row in found][-1] == "0"  # nobody: the row is there all the same
    island = re.search(r'id="funnel-trend-option">(.*?)</script>', page, re.DOTALL)
    assert island is not None
    option = json.loads(island[1])
    (line,) = option["series"]  # of what is never recorded there is no line
    rates = [p["stages"][1]["rate_from_start"]["value"] for p in points]
    drawn = [item["value"] for item in line["data"]]
    assert drawn == [None if rate is None else pytest.approx(rate * 100, rel=1e-5) for rate in rates]


def test_the_page_shows_how_long_it_took(server: Server):
    steps = {"steps": OWN["steps"][:2]}
    asked = ASKED | {"definition": json.dumps(steps)}
    bins = server.get(f"/api/v1/funnel?{urlencode(asked)}").json()["time_to_convert"]["histogram"]
    page = server.get(f"/?{urlencode(asked)}").body.decode()
    found = cells(page, 'aria-labelledby="time-to-convert"')
    assert [row[1] for row in found] == [formats.number(one["count"]) for one in bins]
    assert [row[0].partition(" to ")[0].removesuffix(" and more") for row in found] == [
        formats.duration(one["from_seconds"]) for one in bins
    ]


@pytest.mark.parametrize(
    ("given", "kept"),
    [({"name": "mission"}, {"name": "mission"}), ({}, {}), ({"name": "sales", "threshold": "0.1"}, None)],
)
def test_what_only_ones_own_funnels_have_does_not_follow_to_dropoffs_own(server: Server, given, kept):
    sent_on = server.get(f"/?{urlencode(given | {'interval': 'week', 'mode': 'any', 'until': '2024-01-31'})}")
    location = dict(parse_qsl(sent_on.headers["location"].partition("?")[2]))
    assert location == {"to": "2024-02-01", **(given if kept is None else kept)}
    own = {"definition": json.dumps(OWN), "interval": "week", "mode": "any"}
    sent_on = server.get(f"/?{urlencode(own | {'until': '2024-01-31'})}")
    assert dict(parse_qsl(sent_on.headers["location"].partition("?")[2])) == own | {"to": "2024-02-01"}
