"""Patterns are the same on every surface, and the demo's planted fork is what they say first."""

import json
import re
from datetime import UTC, datetime
from html import unescape

import msgspec
import pytest

from dropoff.demo import generate
from dropoff.demo.planted import DIVERGENCE, TIMEZONE
from dropoff.phrases import findings, formats
from dropoff.project.settings import load
from dropoff.server.engine import Engine
from sites import Site, command, options

END = datetime(2026, 6, 1, tzinfo=UTC)
ASKED = {"from": "2026-01-20", "to": "2026-06-01", "timezone": TIMEZONE, "success": "booked", "anchor": "bot:pitch"}


@pytest.fixture(scope="module")
def surfaces(kept, tmp_path_factory):
    """What Python, API, page and command line say of 3,000 conversations, and the lists behind the first finding."""
    data = tmp_path_factory.mktemp("surfaces") / "data"
    with Engine(load(data=data)) as engine:
        send = Site(engine)
        send.take(generate(3000, 7, END))
        params = {name: [text] for name, text in ASKED.items()}
        python = json.loads(msgspec.json.encode(engine.analytics.patterns(params)))
        page = send("GET", "/patterns", params=ASKED)
        young = {name: text for name, text in ASKED.items() if name != "success"} | {"from": "2026-05-18"}
        few = {
            "api": send("GET", "/api/v1/patterns", params=young).json(),
            "page": send("GET", "/patterns", params=young).text,
            "funnel": send("GET", "/api/v1/funnel", params={"from": young["from"], "to": young["to"],
                                                            "timezone": TIMEZONE}).json(),
        }  # fmt: skip
        links = re.findall(r'href="(/conversations\?[^"]*pattern=[^"]*)"', page.text)
        lists = [send("GET", "/api/v1" + unescape(link)).json() for link in links[:4]]
        found = {
            "python": python, "api": send("GET", "/api/v1/patterns", params=ASKED).json(), "page": unescape(page.text),
            "few": few, "lists": lists, "listed": send("GET", unescape(links[0])).text,
        }  # fmt: skip
    found["terminal"] = command("patterns", *options(ASKED), data=data)
    found["cli"] = json.loads(command("patterns", *options(ASKED), "--json", data=data))
    return found


def without_time(answer):
    return {name: value for name, value in answer.items() if name != "as_of"}


def test_python_api_and_command_line_agree(surfaces):
    assert without_time(surfaces["python"]) == without_time(surfaces["api"]) == without_time(surfaces["cli"])


def test_where_few_succeed_it_says_which_success_and_which_days_tell_more(surfaces):
    few = surfaces["few"]
    counts = {one["stage"]: one["count"] for one in few["funnel"]["stages"]}
    assert few["api"]["reached"] == {stage: n for stage, n in counts.items() if stage != "started"}
    assert findings.nothing_found(few["api"])
    told = findings.more_telling(few["api"])
    assert told
    assert all(n >= findings.TELLING for n in told.values())
    hint = unescape(re.findall(r"<p>More to tell by:(.*?)</p>", few["page"])[0])
    for stage, n in told.items():
        assert re.search(
            rf'href="/patterns\?[^"]*success={stage}[^"]*">{stage.capitalize()} as success</a> \({n}\)', hint
        )
    assert "the last 90 days</a>" in hint
    assert "More to tell by" not in surfaces["page"]
    enough = {"conversations": {"successful": findings.TELLING}, "definition": {"success": "booked"}, "reached": counts}
    assert findings.more_telling(enough) == {}


def test_the_planted_fork_comes_first(surfaces):
    first = surfaces["api"]["divergence_points"][0]
    assert first["after"][-1] == f"prospect:objection_{DIVERGENCE.objection}"
    assert {one["step"] for one in first["branches"]} == {f"bot:{DIVERGENCE.good}", f"bot:{DIVERGENCE.bad}"}
    assert first["branches"][0]["step"] == f"bot:{DIVERGENCE.good}"
    price = next(one for one in surfaces["api"]["objections"] if one["objection"] == DIVERGENCE.objection)
    alive = {one["answer"]: one["alive"]["interval"] for one in price["answers"]}
    assert alive[f"bot:{DIVERGENCE.good}"][0] <= 1 - DIVERGENCE.silent_good <= alive[f"bot:{DIVERGENCE.good}"][1]
    assert alive[f"bot:{DIVERGENCE.bad}"][0] <= 1 - DIVERGENCE.silent_bad <= alive[f"bot:{DIVERGENCE.bad}"][1]


def test_a_booking_confirmation_is_structural(surfaces):
    answer = surfaces["api"]
    assert {"bot:confirm_meeting", "prospect:confirm"} <= {one["step"] for one in answer["structural"]}
    steps = {step for name in ("successful", "failed") for one in answer[name] for step in one["pattern"]}
    steps |= {one["branch"] for one in answer["divergence_points"]}
    assert not steps & {"bot:confirm_meeting", "prospect:confirm"}


def test_page_and_terminal_say_the_sentences_of_the_answer(surfaces):
    answer, page = surfaces["api"], surfaces["page"]
    first = findings.of_point(answer["divergence_points"][0], "booked")
    assert first in page
    assert " ".join(first.split()) in " ".join(surfaces["terminal"].split())
    for name in ("successful", "failed"):
        for one in answer[name][:3]:
            assert findings.of_pattern(one, "booked") in page
    assert findings.HONEST in page
    assert "here the ways part" in page


def test_page_and_terminal_have_paths_transitions_and_both_matrices(surfaces):
    answer, page, terminal = surfaces["api"], surfaces["page"], surfaces["terminal"]
    assert findings.compared(answer) in page
    assert findings.compared(answer).endswith("around the first Bot: pitch")
    assert findings.compared(answer) in terminal
    for one in answer["common_paths"][:10]:
        assert findings.path(one["path"]) in page
        assert findings.path(one["path"]) in terminal
    for one in findings.transitions(answer)[:12]:
        assert f'<th scope="row">{one.step}</th><td>{one.then}</td><td class="n">{one.a}<' in page
        assert [one.a, one.each_a, one.b, one.each_b, one.difference] in [
            row.split()[-5:] for row in terminal.split("\n")
        ]
    for step, row in findings.shares(answer)[:12]:
        assert f'<th scope="row">{step}</th>' + "".join(f'<td class="n">{text}</td>' for text in row) in page
        assert all(text in terminal for text in row)
    assert "successful − failed, in percentage points" in terminal


def test_the_page_says_of_which_half_a_rate_is_and_labels_it_by_the_success_asked_for(surfaces):
    page = surfaces["page"]
    for one in surfaces["api"]["successful"][:10]:
        assert formats.fraction(one["with"]) in page
    assert 'With it, booked</abbr><span class="note">second half</span>' in page
    assert "Came to booked</th>" in page
    assert ">Won</th>" not in page
    assert "came to booked" in surfaces["terminal"]


def test_what_of_paths_only_the_address_said_is_in_the_form(surfaces):
    form = surfaces["page"].partition("</form>")[0]
    assert 'name="anchor" placeholder="the beginning" value="bot:pitch"' in form
    assert all(f'<select name="{name}"' in form for name in ("groups", "compare"))
    assert 'type="hidden" name="anchor"' not in form


def test_counts_lead_to_their_conversations(surfaces):
    totals = {
        one[name]["numerator"] for group in ("successful", "failed") for one in surfaces["api"][group]
        for name in ("successful", "failed")
    }  # fmt: skip
    totals |= {one["rate"]["denominator"] for p in surfaces["api"]["divergence_points"] for one in p["branches"]}
    assert surfaces["lists"]
    assert {one["total"] for one in surfaces["lists"]} <= totals
    assert "Pattern: " in surfaces["listed"]


def test_a_sentence_says_the_goal_and_no_rate_that_the_adjusted_difference_may_contradict():
    """Among conversations of one length it can be worse to have what is better over all lengths (Simpson)."""
    found = {
        "kind": "step", "pattern": ["bot:pitch"], "difference": -0.175, "interval": [-0.25, -0.1], "q_value": 4.9e-27,
        "with": {"value": 0.379, "denominator": 145}, "without": {"value": 0.209, "denominator": 900},
    }  # fmt: skip
    said = findings.of_pattern(found, "booked").replace("\u00a0", " ")
    assert said == (
        "Of the conversations with Bot: pitch 37.9 % (n = 145) came to booked; adjusted for length, "
        "−17.5 pp [−25.0 to −10.0 pp] beside the others, q < 0.001"
    )
