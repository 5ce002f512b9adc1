"""Messages are the same on every surface: Python, API, command line, page; and no text is obeyed anywhere."""

import json
from datetime import UTC, datetime
from html import escape, unescape

import msgspec
import pytest
from pydantic import TypeAdapter

from dropoff.dashboard.api.shapes import MessagesAnswer
from dropoff.demo import generate
from dropoff.phrases import formats, utterances
from dropoff.project.settings import load
from dropoff.server.engine import Engine
from sites import Site, command, options

END = datetime(2026, 6, 1, tzinfo=UTC)
COMMON = {"from": "2026-01-20", "to": "2026-06-01", "timezone": "America/New_York"}
QUESTIONS = {
    "all": {"limit": "1000"},
    "booking": {"rank": "booking_rate", "position": "1"},
    "sentiment": {"rank": "sentiment_change", "within": "position", "limit": "5"},
}
EVIL = '<script>alert("x")</script> \x1b[31m'


@pytest.fixture(scope="module")
def surfaces(kept, tmp_path_factory):
    data = tmp_path_factory.mktemp("surfaces") / "data"
    found = {}
    with Engine(load(data=data)) as engine:
        events = list(generate(600, 7, END))
        evil = [e for e in events if e["event_type"] == "message_sent" and "variant" not in e["properties"]]
        for one in evil[::50]:
            one["properties"]["content"] = EVIL
        send = Site(engine)
        send.take(events)
        for name, asked in QUESTIONS.items():
            params = COMMON | asked
            python = engine.analytics.messages({key: [text] for key, text in params.items()})
            found[name] = {
                "python": json.loads(msgspec.json.encode(python)),
                "api": send("GET", "/api/v1/messages", params=params).json(),
                "page": send("GET", "/messages", params=params).text,
            }
        row = found["all"]["api"]["messages"][0]
        place = {"message": row["message"], "position": row["position"]}
        found["listed"] = send("GET", "/api/v1/conversations", params=COMMON | place).json()["total"]
    for name, asked in QUESTIONS.items():
        words = ["messages", *options(COMMON | asked)]
        found[name] |= {"json": command(*words, "--json", data=data), "plain": command(*words, data=data)}
    return found


@pytest.mark.parametrize("name", QUESTIONS)
def test_python_api_command_line_and_page_agree(surfaces, name):
    one = surfaces[name]
    answer = one["api"]
    assert answer["messages"]
    strip = lambda found: {key: value for key, value in found.items() if key != "as_of"}  # noqa: E731
    assert strip(one["python"]) == strip(answer) == strip(json.loads(one["json"]))
    page = unescape(one["page"])
    for row in (*answer["best_performing"], *answer["worst_performing"]):
        assert utterances.said(row, answer["definition"]) in page
        assert utterances.said(row, answer["definition"])[:20] in one["plain"]
    rank = answer["definition"]["rank"]
    for row in answer["messages"][:20]:
        for measure in utterances.MEASURES:
            of = utterances.old_enough(row, measure)
            assert utterances.measured(row, measure) in page
            beside = f'{utterances.interval(row, measure)}</span><span class="note">of {of}</span>'
            assert row[measure] is None or beside in page
            assert of in one["plain"]
        assert utterances.interval(row, rank) in one["plain"]
    assert all(rule["name"] in page for rule in answer["definition"]["rules"])


def test_the_observed_rate_stands_with_its_n_and_is_told_from_what_it_is_shrunk_to(surfaces):
    answer = surfaces["all"]["api"]
    row = answer["best_performing"][0]
    found = row["reply_rate"]["matured"]
    observed = f"{found['value'] * 100:.1f}\xa0% are answered (95 %: {formats.interval(found['interval'])}; n = "
    assert utterances.said(row, answer["definition"]).startswith(observed)
    assert f"shrunk to its place {formats.percent(row['shrunk']['value'])}" in utterances.said(
        row, answer["definition"]
    )


def test_the_answer_is_as_declared(surfaces):
    for name in QUESTIONS:
        TypeAdapter(MessagesAnswer).validate_python(surfaces[name]["api"])


def test_a_message_leads_to_its_conversations(surfaces):
    assert surfaces["listed"] == surfaces["all"]["api"]["messages"][0]["n"]


def test_no_text_is_obeyed(surfaces):
    assert any("<script>" in row["message"] for row in surfaces["all"]["api"]["messages"])
    assert "<script>alert" not in surfaces["all"]["page"]
    assert escape("<script>alert") in surfaces["all"]["page"]
    assert all("\x1b[31m" not in surfaces[name][form] for name in QUESTIONS for form in ("plain", "page"))
