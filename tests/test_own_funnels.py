"""A funnel of one's own is the same on every surface: Python, API, command line, page; by name and by definition."""

import json
import re
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote

import msgspec
import pytest
from typer.testing import CliRunner

from dropoff.analyse.funnels.funnel import FUNNELS
from dropoff.cli import app
from dropoff.errors import InvalidInput
from dropoff.phrases import formats
from dropoff.project.funnels import BUILT_IN, parse_file
from dropoff.project.settings import load
from dropoff.server.connect import Local
from dropoff.server.engine import Engine
from servers import Server
from sites import Site
from worlds import attended, booked, opted_out, payload, qualified, sent, started

TOML = """
[funnels.fast]
window = "2h"
by = "channel"
steps = [
  { event = "message_sent", name = "<b>hi</b>" },
  { event = "qualified", where = { score = { ">=" = 50 } } },
  { event = "meeting_booked", optional = true },
  { event = "meeting_attended", within = "1h" },
]
exclusions = [{ event = "opted_out", between = [0, 3] }]
"""
NAMES = ["<b>hi</b>", "qualified", "meeting_booked", "meeting_attended"]
PERIOD = {"from": "2024-01-01", "to": "2024-02-01", "timezone": "UTC"}
ASKED = {**PERIOD, "interval": "week", "threshold": "0.1"}


def talk(name: str, channel: str, **more: Any) -> list[dict[str, Any]]:
    of: dict[str, Any] = {"conversation_id": name, "contact_id": f"p-{name}"}
    return [started(channel=channel, **of), sent("hi", at=1, **of), qualified(at=5, **of, **more)]


EVENTS = [
    *talk("a", "sms", score=60), booked(at=6, conversation_id="a"), attended(at=50, conversation_id="a"),
    *talk("b", "sms", score=50), attended(at=90, conversation_id="b"),
    *talk("c", "chat", score=70), opted_out(at=7, conversation_id="c"), attended(at=40, conversation_id="c"),
    *talk("d", "chat", score=10), attended(at=20, conversation_id="d"),
    *talk("e", "chat", score=51), attended(at=20, conversation_id="e"),
]  # fmt: skip
COUNTS = [4, 3, 1, 2]


class Surfaces:
    def __init__(self, folder: Path, engine: Engine) -> None:
        self.folder = folder
        self.engine = engine
        self.send = Site(engine)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    (folder / "dropoff.toml").write_text(TOML)
    (folder / "fast.toml").write_text(TOML.replace("[funnels.fast]\n", ""))
    (folder / "fast.json").write_bytes(parse_file(folder / "fast.toml").to_json())
    return folder


@pytest.fixture(scope="module")
def surfaces(kept: str, folder: Path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DROPOFF_CONFIG", str(folder / "dropoff.toml"))
        with Engine(load(data=folder / "data")) as engine:
            engine.queue.append(payload(EVENTS), len(EVENTS)).result()
            engine.drain()
            yield Surfaces(folder, engine)


def lists(params: dict[str, str]) -> dict[str, list[str]]:
    return {name: [value] for name, value in params.items()}


def without(answer: dict[str, Any]) -> dict[str, Any]:
    """What does not depend on when and under which name it was asked."""
    kept = {name: value for name, value in answer.items() if name not in ("as_of", "definition")}
    return json.loads(json.dumps(kept | {"funnel": answer["definition"]["funnel"]}))


def test_the_same_by_name_by_definition_and_in_a_body(surfaces: Surfaces):
    text = (surfaces.folder / "fast.json").read_text()
    python = surfaces.engine.analytics.funnel(lists(ASKED | {"name": "fast"}))
    assert [stage["stage"] for stage in python["stages"]] == NAMES
    assert [stage["count"] for stage in python["stages"]] == COUNTS
    assert {value: part["stages"][0]["count"] for value, part in python["segments"].items()} == {"chat": 2, "sms": 2}
    wanted = without(python)
    named = surfaces.send("GET", "/api/v1/funnel", params=ASKED | {"name": "fast"}).json()
    in_url = surfaces.send("GET", "/api/v1/funnel", params=ASKED | {"definition": text}).json()
    in_body = surfaces.send("POST", "/api/v1/funnel", params=ASKED, content=text).json()
    local = Local(surfaces.engine).ask("funnel", lists(ASKED | {"definition": text}))
    for answer in (named, in_url, in_body, local):
        assert without(answer) == wanted
    assert (named["definition"]["name"], in_url["definition"]["name"]) == ("fast", "definition")
    drops = surfaces.send("GET", "/api/v1/dropoffs", params=PERIOD | {"threshold": "0.1", "name": "fast"}).json()
    assert [{name: drop[name] for name in wanted["drop_offs"][0]} for drop in drops["drop_offs"]] == wanted["drop_offs"]


def cells(page: str) -> list[list[str]]:
    """The rows of the table of stages, as texts."""
    body = page.partition('aria-labelledby="stages"')[2].partition("<tbody>")[2].partition("</tbody>")[0]
    rows = re.findall(r"<tr>.*?</tr>", body, re.DOTALL)
    return [
        [unescape(re.sub(r"<[^>]+>", "", cell)).strip() for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)]
        for row in rows
    ]


@pytest.mark.parametrize("way", ["name", "definition"])
def test_the_page_shows_it(surfaces: Surfaces, way: str):
    value = "fast" if way == "name" else (surfaces.folder / "fast.json").read_text()
    answer = surfaces.send("GET", "/api/v1/funnel", params=PERIOD | {way: value}).json()
    response = surfaces.send("GET", "/", params=PERIOD | {way: value})
    assert response.status_code == 200
    assert "<b>hi" not in response.text
    rows = cells(response.text)
    assert [row[1] for row in rows] == [str(count) for count in COUNTS]
    for row, stage in zip(rows, answer["stages"], strict=True):
        assert row[0] == formats.label(stage["stage"]) + ("optional" if stage["optional"] else "")
        assert row[7] == formats.duration(stage["median_seconds"])
        if stage["rate_from_previous"]["value"] is not None:
            assert row[2].startswith(formats.percent(stage["rate_from_previous"]["value"]))
    assert formats.duration(answer["time_to_convert"]["p90_seconds"]) in response.text


def test_each_count_of_the_page_leads_to_as_many_conversations(surfaces: Surfaces):
    page = surfaces.send("GET", "/", params=PERIOD | {"name": "fast"}).text
    body = page.partition('aria-labelledby="stages"')[2].partition("</tbody>")[0]
    links = [unescape(link) for link in re.findall(r'href="(/conversations\?[^"]+)"', body)]
    assert len(links) == len(COUNTS)
    for link, count in zip(links, COUNTS, strict=True):
        found = surfaces.send("GET", "/api/v1" + link).json()
        assert found["total"] == len(found["conversations"]) == count
        assert surfaces.send("GET", link).status_code == 200
    everyone = surfaces.send("GET", "/api/v1/conversations", params=PERIOD | {"name": "fast"}).json()
    assert {row["id"] for row in everyone["conversations"]} == {"a", "b", "d", "e"}


def test_the_list_of_those_who_dropped_off_by_pages(surfaces: Surfaces):
    asked = PERIOD | {"name": "fast", "dropped": "qualified"}
    found = surfaces.send("GET", "/api/v1/conversations", params=asked).json()
    assert [row["id"] for row in found["conversations"]] == ["b"]
    first = surfaces.send("GET", "/api/v1/conversations", params=PERIOD | {"name": "fast", "limit": "3"}).json()
    rest = surfaces.send(
        "GET", "/api/v1/conversations", params=PERIOD | {"name": "fast", "limit": "3", "after": first["next"]}
    ).json()
    assert first["total"] == rest["total"] == 4
    assert [row["id"] for row in first["conversations"] + rest["conversations"]] == ["e", "d", "b", "a"]
    assert rest["next"] is None


def test_what_was_picked_takes_the_place_of_the_definition(surfaces: Surfaces):
    text = (surfaces.folder / "fast.json").read_text()
    page = surfaces.send("GET", "/", params=PERIOD | {"definition": text}).text
    assert f'<input type="hidden" name="definition" value="{unescape(text)}"' not in page  # escaped
    assert text in unescape(page)
    assert '<option value="sales"' in page
    sent_on = surfaces.send("GET", "/", params={"definition": text, "name": "mission", "until": "2024-01-31"})
    assert parse_qs(sent_on.headers["location"].partition("?")[2]) == {"name": ["mission"], "to": ["2024-02-01"]}


CONTACTS = {"steps": [{"event": "message_sent"}, {"event": "meeting_attended"}], "unit": "contact"}


def test_contacts_have_no_list(surfaces: Surfaces):
    asked = PERIOD | {"definition": json.dumps(CONTACTS)}
    page = surfaces.send("GET", "/", params=asked).text
    assert [row[1] for row in cells(page)] == ["5", "5"]
    assert "/conversations?" not in page.partition('aria-labelledby="stages"')[2].partition("</tbody>")[0]
    refused = surfaces.send("GET", "/api/v1/conversations", params=asked)
    assert refused.status_code == 400
    assert "definition.unit == 'contact', must be conversation" in refused.json()["message"]


@pytest.mark.parametrize(
    ("method", "params", "body", "refusal"),
    [
        ("GET", {"name": "slow"}, None, "name == 'slow', must be one of sales, mission, fast"),
        ("GET", {"definition": "{}"}, None, "definition.steps is missing: it must be given"),
        ("GET", {"definition": "{}", "name": "fast"}, None, "name == 'fast', must be left out where a definition is"),
        ("GET", {"definitions": "{}"}, None, "parameter == 'definitions', must be one of from, to,"),
        ("GET", {"interval": "day"}, None, "interval == 'day', must be left out: only a funnel of your own"),
        ("POST", {}, b"", "body == b'', must be a funnel as JSON"),
        ("POST", {}, b"\xff", "body == b'\\xff', must be a funnel as JSON"),
        ("POST", {}, b'{"steps": 1}', "definition.steps == 1, must be a list of 2 to 20 steps"),
        ("POST", {"definition": "{}"}, b"{}", "definition == '{}', must be left out of the URL: it is the body"),
        ("POST", {"name": "fast"}, b"{}", "name == 'fast', must be left out where a definition is given"),
    ],
)  # fmt: skip
def test_every_refusal_names_place_value_and_rule(surfaces, method, params, body, refusal):
    answer = surfaces.send(method, "/api/v1/funnel", params=params, content=body)
    assert answer.status_code == 400
    assert refusal in answer.json()["message"]
    if method == "GET" and "interval" not in params and "definitions" not in params:
        page = surfaces.send("GET", "/", params=params)
        assert page.status_code == 400
        assert 'role="alert"' in page.text


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        (TOML.replace("fast", "sales"), "funnels.sales == 'sales', must be a name that no funnel of Dropoff has"),
        (TOML.replace("fast", "Fast"), "funnels.Fast == 'Fast', must be a name of a to z, 0 to 9 and _"),
        (TOML.replace("2h", "soon"), "funnels.fast.window == 'soon', must be like '90m'"),
        (TOML.replace('">="', '"~"'), "funnels.fast.steps[1].where.score.~ == 50, must be under one of ="),
        ("[funnels]\nfast = 1", "funnels.fast == 1, must be a table"),
    ],
)
def test_a_mistake_in_the_settings_is_named(tmp_path, monkeypatch, text, refusal):
    (tmp_path / "dropoff.toml").write_text(text)
    monkeypatch.setenv("DROPOFF_CONFIG", str(tmp_path / "dropoff.toml"))
    with pytest.raises(InvalidInput) as caught:
        load()
    assert refusal in str(caught.value)


def test_the_names_of_dropoffs_own_funnels_are_taken():
    assert set(BUILT_IN) == set(FUNNELS)


def command(*words: str) -> dict[str, Any]:
    given = [text for name, value in PERIOD.items() for text in (f"--{name}", value)]
    run = CliRunner().invoke(app, [*words, *given, "--json"], catch_exceptions=False)
    assert run.exit_code == 0, run.output
    return msgspec.json.decode(run.stdout)


def test_the_command_line_gives_it_with_and_without_a_server(folder: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("DROPOFF_CONFIG", str(folder / "dropoff.toml"))
    events = tmp_path / "events.ndjson"
    events.write_text("\n".join(map(json.dumps, EVENTS)))
    data = tmp_path / "data"
    assert CliRunner().invoke(app, ["import", str(events), "--data", str(data)]).exit_code == 0
    ways = [
        ("--name", "fast"),
        ("--definition", str(folder / "fast.toml")),
        ("--definition", str(folder / "fast.json")),
    ]

    def ask() -> list[dict[str, Any]]:
        return [without(command("funnel", *way, "--interval", "week", "--data", str(data))) for way in ways]

    alone = ask()
    listed = command("conversations", "list", *ways[1], "--dropped", "qualified", "--data", str(data))
    shown = CliRunner().invoke(app, ["funnel", *ways[0], "--interval", "month", "--data", str(data)])
    with Server(data):
        served = ask()
    assert alone == served
    assert alone[0] == alone[1] == alone[2]
    assert [stage["count"] for stage in alone[0]["stages"]] == COUNTS
    assert [row["id"] for row in listed["conversations"]] == ["b"]
    assert shown.exit_code == 0, shown.output
    assert "first to last step" in shown.output


@pytest.mark.parametrize(
    ("name", "text", "refusal"),
    [
        ("none.json", None, "none.json', must be a text file that can be read"),
        ("bad.toml", "steps = ", "bad.toml is no TOML: "),
        ("bad.json", "{", "definition == '{', must be JSON"),
        ("one.json", '{"steps": []}', "definition.steps == 0, must be 2 to 20 steps"),
    ],
)
def test_a_file_that_holds_no_funnel_is_refused(tmp_path, name, text, refusal):
    if text is not None:
        (tmp_path / name).write_text(text)
    run = CliRunner().invoke(app, ["funnel", "--definition", str(tmp_path / name), "--data", str(tmp_path / "data")])
    assert isinstance(run.exception, InvalidInput)
    assert refusal in str(run.exception)


def test_a_long_definition_fits(surfaces: Surfaces):
    values = [f"{quote('é' * 20)}{i}" for i in range(3000)]
    steps = [{"event": "qualified", "where": {"score": {"in": [60, *values]}}}, {"event": "meeting_attended"}]
    answer = surfaces.send("POST", "/api/v1/funnel", params=PERIOD, content=json.dumps({"steps": steps}))
    assert [stage["count"] for stage in answer.json()["stages"]] == [1, 1]


def test_a_funnel_that_nobody_entered(surfaces: Surfaces):
    nothing = {"steps": [{"event": "never_sent"}, {"event": "qualified"}], "mode": "strict", "by": "channel"}
    asked = PERIOD | {"definition": json.dumps(nothing)}
    assert "Nobody in this funnel" in surfaces.send("GET", "/", params=asked).text
    answer = surfaces.send("GET", "/api/v1/funnel", params=asked | {"interval": "day"}).json()
    assert [stage["count"] for stage in answer["stages"]] == [0, 0]
    assert answer["segments"] == {}
    assert len(answer["trend"]["points"]) == 31
    assert surfaces.send("GET", "/api/v1/conversations", params=asked).json()["conversations"] == []
