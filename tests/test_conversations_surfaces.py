"""What is looked for is found alike on every surface; filters are saved on each; and no text is obeyed anywhere."""

import csv
import io
import json
from html import escape, unescape
from typing import Any

import pytest
from typer.testing import CliRunner

from dropoff.cli import app as cli
from dropoff.control.access import ADMIN, create_key
from dropoff.errors import InvalidInput
from dropoff.project.settings import load
from dropoff.server.engine import Engine
from sites import Site
from worlds import received, retracted, sent, started, won

EVIL = '<script>alert("x")</script> & "quoted" \x1b[31m'
PERIOD = {"from": "2024-01-15", "to": "2024-01-22"}
SEARCHES = [
    {"text": 'café "<script>alert("'}, {"text": "cafe", "intent": "ask"}, {"intent": "reply", "outcome": "converted"},
    {"objection": "price"}, {"id": "a/b"}, {"text": "nowhere"},
    {"contact_id": "p", "status": "closed", "ending": "converted"},
]  # fmt: skip


def world():
    talk: dict[str, Any] = {"conversation_id": "a/b"}
    return [
        started(**talk, contact_id="p"), sent("Hello", intent="ask", sentiment=None, **talk),
        received(f"A Café: {EVIL}", intent="reply", sentiment=0.5, **talk),
        received("No, no", at=5, intent="objection_price", sentiment=-0.5, **talk),
        received("taken back", at=6, event_id="gone", **talk), retracted("gone", at=7, **talk), won(**talk),
        started(conversation_id="other", at=1), sent("Hello", intent="ask", conversation_id="other"),
        received("Cafe!", at=3, conversation_id="other", intent="reply"), received("x", at=4, conversation_id="other"),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tmp_path_factory.mktemp("search") / "data"


@pytest.fixture(scope="module")
def site(data):
    with Engine(load(data=data)) as engine:
        site = Site(engine)
        site.take(world())
        yield site


@pytest.fixture(scope="module")
def answers(site):
    """What API, page and CSV say to each search."""
    found = []
    for search in SEARCHES:
        asked = PERIOD | search
        answer = site("GET", "/api/v1/conversations", params=asked).json()
        page = site("GET", "/conversations", params=asked).text
        sheet = site("GET", "/api/v1/conversations", params=asked | {"format": "csv"}).text
        found.append((answer, page, [row["id"] for row in csv.DictReader(io.StringIO(sheet))]))
    return found


def test_api_page_and_csv_find_the_same(answers):
    assert [[row["id"] for row in answer["conversations"]] for answer, _, _ in answers] == [
        ["a/b"], ["other", "a/b"], ["a/b"], ["a/b"], ["a/b"], [], ["a/b"],
    ]  # fmt: skip
    for answer, page, sheet in answers:
        assert sheet == [row["id"] for row in answer["conversations"]]
        shown = f"{answer['total']} conversation{'s' if answer['total'] != 1 else ''}"
        assert (shown if answer["total"] else "No conversations") in page
        assert unescape(answer["definition"]["text"])


def test_what_was_found_is_marked_and_never_obeyed(site, answers):
    page = answers[0][1]
    assert "<script>alert" not in page
    assert f"A <mark>Café</mark>: <mark>{escape('<script>alert(')}</mark>" in page
    shown = site("GET", "/conversations/a%2Fb", params={"text": 'cafe "<script>"', "beside": "lost"}).text
    assert "<script>alert" not in shown
    assert f"A <mark>Café</mark>: <mark>{escape('<script>')}</mark>alert(" in shown
    assert "\x1b" not in page + shown
    assert 'href="/conversations/a%2Fb?from=2024-01-15&to=2024-01-22&text=caf%C3%A9' in unescape(page)
    plain = site("GET", "/conversations/a%2Fb").text
    assert "<mark>" not in plain
    refused = site("GET", "/conversations", params={"text": '"'})
    assert (refused.status_code, 'aria-invalid="true"' in refused.text) == (400, True)
    assert site("GET", "/conversations/a%2Fb", params={"beside": "x"}).status_code == 400


def test_the_page_of_one_has_every_event_and_the_numbers_of_the_api(site):
    answer = site("GET", "/api/v1/conversations/a%2Fb").json()
    page = unescape(site("GET", "/conversations/a%2Fb", params={"beside": "lost"}).text)
    assert [message["content"] for message in answer["messages"]][-1] == "No, no"
    assert "taken back" in page  # retracted: among the other events
    assert page.count('<li class="message') == 2 * len(answer["messages"]) + 3
    assert page.count('<li class="event">') == len(answer["events"]) - len(answer["messages"])
    assert "It reached the last stage." in page
    assert "Nearest won" in page
    assert "None alike." in page
    assert answer["neighbours"]["won"] is None
    assert answer["neighbours"]["lost"]["shared"] == ["bot:ask", "prospect:reply"]
    assert "Both began with Bot: ask → Prospect: reply." in page
    assert "Line chart of the sentiment of 2 messages, from +0.50 to −0.50." in page


def test_filters_are_saved_listed_and_removed_on_every_surface(site, data):
    params = {"text": ['"too expensive"'], "where": ["channel=sms", "country=CH"]}
    made = site("POST", "/api/v1/filters", json={"name": "A/Ä <b>", "params": params, "by": "Ann"})
    assert (made.status_code, made.json()["params"]) == (200, params)
    assert site("GET", "/api/v1/filters").json() == {"filters": [made.json()]}
    page = site("GET", "/conversations").text
    assert (
        '<a href="/conversations?text=%22too+expensive%22&amp;where=channel=sms&amp;where=country=CH">A/Ä &lt;b&gt;</a>'
        in page
    )
    back = site("POST", "/filters/save", data={"name": "won", "query": "ending=converted&limit=5&text="})
    assert (back.status_code, back.headers["location"]) == (
        303,
        "/conversations?ending=converted&limit=5&text=#filters",
    )
    twice = site("POST", "/filters/save", data={"name": "won", "query": "ending=lost"})
    assert twice.headers["location"] == "/conversations?ending=lost&refused=name#filters"
    assert "no other filter has it" in site("GET", "/conversations?ending=lost&refused=name").text
    assert 'aria-current="true">won</a>' in site("GET", "/conversations?ending=converted").text

    def run(*words):
        found = CliRunner().invoke(cli, ["conversations", "filters", *words, "--data", str(data)])
        return found.exit_code, found.output

    code, text = run("--json")
    assert (code, [(one["name"], one["params"]) for one in json.loads(text)["filters"]]) == (
        0, [("A/Ä <b>", params), ("won", {"ending": ["converted"]})],
    )  # fmt: skip
    assert "ending=converted" in run()[1]
    assert run("--remove", "won")[0] == 0
    assert site("DELETE", "/api/v1/filters/won").status_code == 404
    assert site("DELETE", "/api/v1/filters/A%2F%C3%84%20%3Cb%3E").status_code == 204
    assert site("GET", "/api/v1/filters").json() == {"filters": []}
    assert site("POST", "/filters/remove", data={"name": "won", "query": ""}).status_code == 303


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"name": "", "params": {"text": ["x"]}}, "name"), ({"name": "x" * 65, "params": {"text": ["x"]}}, "name"),
        ({"name": "a\nb", "params": {"text": ["x"]}}, "name"), ({"name": "a", "params": {}}, "params"),
        ({"name": "a", "params": {"txt": ["x"]}}, "parameter"),
        ({"name": "a", "params": {"text": ["x" * 9000]}}, "params"),
        ({"name": "a", "params": {"text": "x"}}, "params.text"), ({"params": {"text": ["x"]}}, "name"),
        ({"name": "a", "params": {"text": ["x"]}, "more": 1}, "more"), ([], "body"),
        ({"name": "a", "params": {"text": ["\ud800"]}}, "params"),
        ({"name": "a", "params": {"text": ["x"]}, "by": "\ud800"}, "by"),
    ],
)  # fmt: skip
def test_a_filter_that_cannot_be_saved_is_refused_by_name_value_and_rule(site, given, named):
    refused = site("POST", "/api/v1/filters", content=json.dumps(given), headers={"content-type": "application/json"})
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_input")
    assert refused.json()["message"].startswith((f"{named} == ", f"{named} is missing: it "))
    assert " must be " in refused.json()["message"]


def test_only_readers_see_and_change_filters(tmp_path):
    with Engine(load(data=tmp_path / "data")) as engine:
        site = Site(engine)
        token = create_key(engine.control, "admin", ADMIN, 0)
        body = {"name": "a", "params": {"text": ["x"]}}
        assert site("POST", "/api/v1/filters", json=body).status_code == 401
        assert site("GET", "/filters/save").headers["location"].startswith("/login")
        known = {"authorization": f"Bearer {token}"}
        assert site("POST", "/api/v1/filters", json=body, headers=known).status_code == 200
        foreign = known | {"origin": "https://example.com"}
        assert site("POST", "/filters/remove", data={"name": "a"}, headers=foreign).status_code == 403
        assert len(site("GET", "/api/v1/filters", headers=known).json()["filters"]) == 1


def test_the_command_line_finds_and_saves(tmp_path):
    with Engine(load(data=tmp_path / "data")) as engine:
        site = Site(engine)
        site.take(world())
        asked = PERIOD | {"text": "cafe"}
        api = site("GET", "/api/v1/conversations", params=asked).json()["conversations"]
        one = site("GET", "/api/v1/conversations/other").json()

    def run(*words):
        found = CliRunner().invoke(cli, ["conversations", *words, "--data", str(tmp_path / "data")])
        assert found.exit_code == 0, found.output
        return found.output

    words = ["list", "--from", PERIOD["from"], "--to", PERIOD["to"], "--text", "cafe", "--save", "coffee"]
    assert json.loads(run(*words, "--json"))["conversations"] == api
    assert [each["params"] for each in json.loads(run("filters", "--json"))["filters"]] == [
        {"from": [PERIOD["from"]], "to": [PERIOD["to"]], "text": ["cafe"]}
    ]
    table = run(*words[:-2])
    assert "A Café: <script>" in " ".join(table.split())
    assert "\x1b[31m" not in table
    shown = json.loads(run("show", "other", "--json"))
    assert {name: shown[name] for name in ("funnel", "neighbours")} == {
        name: one[name] for name in ("funnel", "neighbours")
    }
    assert "Both" not in (told := run("show", "other"))
    assert "It ended as dropped before qualified" in told
    assert "a/b" in told
    for wrong in (["--stage", "nope"], ["--csv", "--json"]):
        words = ["conversations", "list", *wrong, "--save", "wrong", "--data", str(tmp_path / "data")]
        assert isinstance(CliRunner().invoke(cli, words).exception, InvalidInput)
    assert "wrong" not in run("filters")
