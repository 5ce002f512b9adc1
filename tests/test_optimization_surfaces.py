"""What may be done better is the same on every surface, and says the demo's planted truths first."""

import json
import re
from datetime import UTC, datetime
from html import unescape
from io import StringIO
from unittest import mock
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from pydantic import TypeAdapter
from rich.console import Console

from dropoff import terminal
from dropoff.analyse.experiments import plans
from dropoff.dashboard.api.shapes import OptimizationAnswer
from dropoff.dashboard.pages import optimization
from dropoff.demo import generate
from dropoff.demo.planted import DIVERGENCE, TIMEZONE
from dropoff.phrases import advice, findings, formats
from dropoff.project.settings import load
from dropoff.server.engine import Engine
from sites import Site, command, options

END = datetime(2026, 6, 1, tzinfo=UTC)
ASKED = {"from": "2026-01-20", "to": "2026-06-01", "timezone": TIMEZONE}
LONG = ("drop_offs", "segments", "divergence_points", "patterns", "objections", "next_tests")


def dear(ask):
    """What is said while so many conversations are too many to work them out unasked."""
    with mock.patch.object(optimization, "CHEAP", 1000):
        return ask()


def printed(answer):
    out = StringIO()
    terminal.optimization(answer, Console(file=out, width=1000))
    return out.getvalue()


@pytest.fixture(scope="module")
def surfaces(tmp_path_factory):
    """What Python, API, page and command line say of 3,000 conversations, and what the page says before it is asked."""
    data = tmp_path_factory.mktemp("surfaces") / "data"
    with Engine(load(data=data)) as engine:
        send = Site(engine)
        send.take(generate(3000, 7, END))
        early = {
            "ready": send("GET", "/api/v1/optimization", params=ASKED | {"work": "ready"}).json(),
            "page": send("GET", "/optimization", params=ASKED).text,
            "dear": dear(lambda: send("GET", "/optimization", params=ASKED).text),
            "refused": send("GET", "/optimization", params=ASKED | {"work": "all", "goal": "x"}),
        }
        work = send("GET", "/optimization", params=ASKED | {"work": "all"})
        python = engine.analytics.optimization({name: [text] for name, text in ASKED.items()})
        asked = {
            "experiments": {}, "messages": {}, "dropoffs": {}, "patterns": {"success": "booked"},
            "segments": {"metric": "booking_rate", "by": "medium"},
        }  # fmt: skip
        parts = {name: send("GET", f"/api/v1/{name}", params=ASKED | more).json() for name, more in asked.items()}
        page = send("GET", "/optimization", params=ASKED).text
        links = [unescape(link) for link in re.findall(r'href="(/[^"]*)"', page)]
        main = page.partition("<section>")[2]
        shown = dict.fromkeys(unescape(link) for link in re.findall(r'href="(/[^"#]*)', main))
        found = {
            "early": early, "work": work, "python": json.loads(msgspec.json.encode(python)), "parts": parts,
            "api": send("GET", "/api/v1/optimization", params=ASKED).json(), "page": unescape(page), "links": links,
            "answers": {link: send("GET", link).status_code for link in list(shown)[:: max(len(shown) // 12, 1)]},
            "lists": {
                link: send("GET", f"/api/v1{link}").json().get("total")
                for link in links if link.startswith("/conversations?") and "last_intent" in link
            },
        }  # fmt: skip
    found["cli"] = json.loads(command("optimization", *options(ASKED), "--json", data=data))
    found["terminal"] = printed(found["cli"])
    return found


def numbers(answer):
    return {name: value for name, value in answer.items() if name not in ("as_of", "quick", "worked_out")}


def test_python_api_and_command_line_agree(surfaces):
    assert numbers(surfaces["python"]) == numbers(surfaces["api"]) == numbers(surfaces["cli"])


def test_the_answer_is_as_declared(surfaces):
    TypeAdapter(OptimizationAnswer).validate_python(surfaces["api"])
    TypeAdapter(OptimizationAnswer).validate_python(surfaces["early"]["ready"])


def test_what_takes_long_is_worked_out_when_it_is_asked_for(surfaces):
    early = surfaces["early"]
    assert early["ready"]["worked_out"] is None
    assert all(early["ready"][name] is None for name in LONG)
    assert "Work them out" in early["page"]
    assert re.search(r'data-work="/optimization\?[^"]*work=all" data-said="Working out', early["page"])
    assert "Work them out" in early["dear"]
    assert "data-work" not in early["dear"] + surfaces["page"]
    assert early["ready"]["experiments"] == surfaces["api"]["experiments"]
    assert surfaces["work"].status_code == 303
    assert "work=" not in surfaces["work"].headers["location"]
    assert "Work them out" not in surfaces["page"]
    assert surfaces["api"]["worked_out"]["is_current"]
    assert early["refused"].status_code == 400
    assert "qualified, booked, attended" in early["refused"].text


def test_its_numbers_are_those_of_the_other_questions(surfaces):
    answer, parts = surfaces["api"], surfaces["parts"]
    decisions = {one["experiment"]: (one["decision"], one["units"]) for one in parts["experiments"]["experiments"]}
    assert {
        one["experiment"]: (one["decision"], one["units"]) for one in answer["experiments"]
    }.items() <= decisions.items()
    assert all(row in parts["messages"]["best_performing"] for row in answer["best_messages"])
    assert all(row in parts["messages"]["worst_performing"] for row in answer["worst_messages"])
    drops = {drop["from"]: drop for drop in parts["dropoffs"]["drop_offs"]}
    for row in answer["drop_offs"]:
        assert row["drop_rate"] == drops[row["from"]]["drop_rate"]
        assert all(one in drops[row["from"]]["explanation"]["messages"] for one in row["messages"])
    assert answer["divergence_points"] == parts["patterns"]["divergence_points"][:5]
    assert answer["objections"] == parts["patterns"]["objections"][:5]
    found = next(row for row in answer["segments"] if (row["metric"], row["by"]) == ("booking_rate", "medium"))
    medium = parts["segments"]
    assert found["tested"] == medium["tested"]
    assert any(row.items() <= found.items() for row in medium["significant_differences"])


def test_the_planted_truths_stand_first(surfaces):
    answer = surfaces["api"]
    # 1: the budget question
    first = answer["drop_offs"][0]
    assert (first["from"], first["to"]) == ("responded", "qualified")
    assert first["messages"][0]["intent"] == "ask_budget"
    # 2: the first message; the other experiment has nothing to tell
    best, *others = answer["experiments"]
    assert (best["experiment"], best["decision"], best["variant"]) == ("first_message", "ship", "question")
    assert [(one["experiment"], one["decision"], one["comparison"]["verdict"]) for one in others] == [
        ("signature", "keep running", "unclear")
    ]
    # 3: what is answered to a price objection
    point = answer["divergence_points"][0]
    assert point["after"][-1] == f"prospect:objection_{DIVERGENCE.objection}"
    assert answer["objections"][0]["objection"] == DIVERGENCE.objection
    test = answer["next_tests"][0]
    assert (test["now"], test["instead"]) == (f"bot:{DIVERGENCE.bad}", f"bot:{DIVERGENCE.good}")
    assert DIVERGENCE.silent_bad - DIVERGENCE.silent_good > test["effect"] > 0.1  # half of what is seen


def test_noise_is_no_test_and_no_finding(surfaces):
    answer = surfaces["api"]
    signature = [row for row in answer["next_tests"] if row["place"] == "signature"]
    assert all(row["reason"] == "too_small" for row in signature)
    # Where an experiment runs already nothing else is proposed.
    assert all({"question", "statement"}.isdisjoint({row["now"], row["instead"]}) for row in answer["next_tests"])


def test_page_and_terminal_say_the_sentences_of_the_answer(surfaces):
    answer, page = surfaces["api"], surfaces["page"]
    said = [advice.of_experiment(one) for one in answer["experiments"]]
    said += [advice.of_drop_off(row) for row in answer["drop_offs"]]
    said += [advice.of_said(row) for row in answer["drop_offs"][0]["messages"]]
    said += [advice.of_segment(row) for row in answer["segments"]]
    said += [findings.of_point(answer["divergence_points"][0], answer["definition"]["goal"])]
    said += [advice.of_test(row) for row in answer["next_tests"]]
    for text in said:
        assert text in page
        assert text in surfaces["terminal"]
    if worth := [row for row in answer["next_tests"] if row["reason"] == "worth_it"]:
        assert advice.of_size(worth[0], answer["definition"]["goal"]) in page
    assert advice.PROOF in page
    assert findings.HONEST in page


def test_links_lead_to_pages_and_to_as_many_conversations_as_they_say(surfaces):
    assert set(surfaces["answers"].values()) == {200}
    silent = [row["silent"] for drop in surfaces["api"]["drop_offs"] for row in drop["messages"]]
    assert list(surfaces["lists"].values()) == silent
    assert all(formats.number(n) in surfaces["page"] for n in silent)


def test_a_test_worth_it_says_its_size_and_leads_to_its_plan(surfaces):
    """In this small world hardly one is."""
    row = surfaces["api"]["next_tests"][0] | {"reason": "worth_it", "weeks": 3.0}
    answer = surfaces["api"] | {"next_tests": [row]}
    (shown,) = optimization.shown(answer, {})["long"]["tests"]
    assert shown.text == advice.of_test(row)
    assert shown.size == advice.of_size(row, "booked")
    asked = parse_qs(urlsplit(shown.plan).query)
    plan = plans.answer(asked)
    assert plan["units_per_arm"] == row["sample_per_arm"]
    assert plan["daily"] == pytest.approx(row["volume_per_week"] / 7, abs=0.05)
    assert f"{shown.text}. {shown.size}." in printed(answer)
