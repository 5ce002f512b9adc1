"""Operations are the same on every surface, the planted incident stands out, and no text is obeyed anywhere."""

import json
import re
from datetime import UTC, datetime
from html import escape, unescape
from itertools import pairwise

import msgspec
import pytest
from pydantic import TypeAdapter

from dropoff.dashboard.api.shapes import OperationsAnswer
from dropoff.dashboard.pages import executive
from dropoff.demo import generate
from dropoff.demo.planted import incident_window
from dropoff.phrases import formats, health, running
from dropoff.project.settings import load
from dropoff.server.engine import Engine
from sites import Site, command, options

END = datetime(2026, 6, 1, tzinfo=UTC)
SINCE = "2026-04-30"
"""What happened before is left out: a dense world costs no more than a thin one."""
ZONE = "America/New_York"
COMMON = {"timezone": ZONE}
QUESTIONS = {
    "month": {"from": "2026-05-02", "to": "2026-06-01"},
    "day": {"from": "2026-05-05", "to": "2026-05-06"},
    "past": {"from": "2026-05-02", "to": "2026-05-20", "where": "channel=sms", "as_of": "2026-05-15"},
}
EVIL = '<script>alert("x")</script> \x1b[31m'


@pytest.fixture(scope="module")
def surfaces(tmp_path_factory):
    data = tmp_path_factory.mktemp("surfaces") / "data"
    found = {}
    with Engine(load(data=data, annotations=[{"at": "2026-05-05", "text": "Service down"}])) as engine:
        events = [one for one in generate(5000, 7, END) if one.get("timestamp", "") >= SINCE]
        last = next(one for one in reversed(events) if one["event_type"] == "fallback")
        last["properties"] |= {"trigger": EVIL, "utterance": EVIL}
        send = Site(engine)
        send.take(events, most=10_000)
        send.take([*events[:7], {"event_type": ""}])
        for name, asked in QUESTIONS.items():
            params = COMMON | asked
            found[name] = {
                "python": engine.analytics.operations({key: [text] for key, text in params.items()}),
                "api": send("GET", "/api/v1/operations", params=params).json(),
                "page": send("GET", "/operations", params=params).text,
                "short": engine.analytics.unusual({key: [text] for key, text in params.items()}),
                "executive": unescape(send("GET", "/executive", params=params).text),
            }
        page = unescape(found["month"]["page"])
        found["links"] = {}
        for link, count in re.findall(r'<td class="n"><a href="/(conversations\?[^"]*)">([\d,]+)</a>', page):
            found["links"][link] = count, send("GET", f"/api/v1/{link}").json()["total"]
        found["ready"] = send("GET", "/readyz").json()
        found["clicked"] = send(
            "GET", re.findall(r'<li><a href="(/operations\?[^"]*)"', page.partition('class="said"')[2])[0]
        ).text
        found["why"] = send(
            "GET",
            re.findall(r'<a href="(/dropoffs\?explain=responded[^"]*|/dropoffs\?[^"]*explain=responded)"', page)[0],
        ).text
    words = ["operations", *options(COMMON | QUESTIONS["day"])]
    found["day"] |= {"json": command(*words, "--json", data=data), "plain": command(*words, data=data)}
    return found


def steady(answer):
    """What does not depend on which process was asked, and when."""
    live = ("lag_events", "lag_seconds", "since", "stored", "duplicates", "conflicts", "dead")
    kept = {name: value for name, value in answer.items() if name not in ("as_of", "annotations")}
    return kept | {"health": {name: value for name, value in answer["health"].items() if name not in live}}


def test_python_api_and_command_line_agree(surfaces):
    for name in QUESTIONS:
        assert steady(json.loads(msgspec.json.encode(surfaces[name]["python"]))) == steady(surfaces[name]["api"])
    assert steady(json.loads(surfaces["day"]["json"])) == steady(surfaces["day"]["api"])


def test_the_executive_page_says_what_stands_out_and_leads_there(surfaces):
    for name, asked in QUESTIONS.items():
        found, whole = surfaces[name]["short"], surfaces[name]["python"]
        for part in running.PARTS:
            short = [{key: one[key] for key in one if key != "leading"} for one in whole[part.key]["unusual"]]
            assert found[part.key]["unusual"] == short
        page = surfaces[name]["executive"]
        assert executive.odd(found) in page
        assert "None of them has a target" in page
        assert re.search(rf'<a href="/operations\?[^"]*from={asked["from"]}[^"]*">Operations</a>: ', page)
    assert "Tue 2026-05-05 (fallbacks, errors" in surfaces["month"]["executive"]


def test_the_answer_is_as_declared(surfaces):
    for name in QUESTIONS:
        answer = surfaces[name]["api"]
        TypeAdapter(OperationsAnswer).validate_python(answer)
        assert set(answer) == set(OperationsAnswer.__required_keys__)


@pytest.mark.parametrize("name", QUESTIONS)
def test_the_page_has_the_numbers_of_the_api(surfaces, name):
    answer, page = surfaces[name]["api"], unescape(surfaces[name]["page"])
    for part in running.PARTS:
        rate = answer[part.key]["rate"]
        assert f"<span>{formats.basis(rate)}</span>" in page
        for listed, _, _ in part.lists:
            for row in answer[part.key][listed]:
                assert re.search(rf'<td class="n">{formats.number(row["count"])}</td>', page)
                assert formats.interval(row["share"]["interval"]) in page
    for one in running.bins(answer):
        assert f'<th scope="row">{one.name}</th><td class="n">{formats.number(one.n)}</td>' in page
    for line in health.lines(answer, {}):
        assert line.value in page
        assert line.meaning in page
    for drop in answer["funnel"]["drop_offs"]:
        assert formats.number(drop["volume_lost"]) in page


def test_the_command_line_says_what_the_page_says(surfaces):
    plain = " ".join(surfaces["day"]["plain"].split())
    for part, text in running.parts_said(surfaces["day"]["api"]):
        assert " ".join(f"{part.name}, {text}".split()) in plain
    for row in surfaces["day"]["api"]["fallbacks"]["triggers"][:5]:
        assert f"{row['trigger']} {row['count']}" in plain
    for part in running.PARTS:
        for _, heading, _ in part.lists:
            assert f"{part.name.lower()}: {heading.lower()} " in plain


def test_every_count_of_the_page_leads_to_as_many_conversations(surfaces):
    assert len(surfaces["links"]) > 15
    for link, (count, total) in surfaces["links"].items():
        assert formats.number(total) == count, link


def test_the_incident_is_one_click_away(surfaces):
    start, _ = incident_window(END)
    for part, cause in (("fallbacks", "nlu_unavailable"), ("errors", "nlu_timeout")):
        span = surfaces["month"]["api"][part]["unusual"][0]
        assert formats.local(span["from"], ZONE).date() == formats.local(start, ZONE).date()
        assert running.value_of(span["leading"]) == cause
        assert f'title="{cause}"' in surfaces["clicked"]
    assert "Hour by hour" in surfaces["clicked"]
    assert "Service down" in surfaces["month"]["page"]


def test_the_planted_drop_off_is_one_click_away(surfaces):
    assert re.search(r'<span class="cut" title="ask_budget">', surfaces["why"])


def test_what_the_process_counts_stands_in_data_health(surfaces):
    now = surfaces["month"]["api"]["health"]
    assert (now["duplicates"], now["conflicts"], now["dead"], now["lag_events"]) == (7, 0, 0, 0)
    assert now["lag_events"] == surfaces["ready"]["lag_events"]
    assert now["stored"] > 10_000
    assert now["since"].endswith("Z")
    assert now["rejected"] == {"missing_event_type": 1}
    assert surfaces["past"]["api"]["health"]["duplicates"] is None
    assert "since the server started" in surfaces["month"]["page"]
    assert health.lines(surfaces["past"]["api"], {})[2].value == formats.NONE


def test_bars_follow_one_another(surfaces):
    given = surfaces["month"]["api"]["response_times"]["histogram"]
    assert all(one["to"] == other["from"] for one, other in pairwise(given))


def test_no_text_is_obeyed(surfaces):
    page = surfaces["month"]["page"]
    assert any("<script>" in row["trigger"] for row in surfaces["month"]["api"]["fallbacks"]["triggers"])
    assert "<script>alert" not in page
    assert escape("<script>alert") in page
    assert "\x1b[31m" not in page
