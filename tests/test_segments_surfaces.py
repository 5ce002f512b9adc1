"""Segments and explanations of a change are the same on every surface: Python, API, command line, page."""

import json
import re
from datetime import UTC, datetime
from html import unescape
from math import isclose

import msgspec
import pytest

from dropoff.demo import generate
from dropoff.metrics import METRICS
from dropoff.phrases import differences, formats
from dropoff.project.settings import load
from dropoff.server.engine import Engine
from sites import Site, command, options

END = datetime(2026, 6, 1, tzinfo=UTC)
COMMON = {"from": "2026-03-16", "to": "2026-05-01", "timezone": "America/New_York"}
NAMED = ["Referred: medium=referral", "Paid, on chat: medium=paid"]
QUESTIONS = {
    "share": ("segments", {"metric": "response_rate", "by": "channel", "compare": "previous", "follow": "3d"}),
    "matured": ("segments", {"metric": "booking_rate", "by": "medium", "units": "matured"}),
    "mean": ("segments", {"metric": "sentiment_average", "by": "objection"}),
    "median": ("segments", {"metric": "time_to_qualification", "by": "channel"}),
    "money": ("segments", {"metric": "revenue", "by": "medium"}),
    "named": ("segments", {"metric": "win_rate", "segment": NAMED, "units": "all"}),
    "explain": (
        "explain",
        {
            "metric": "qualification_rate", "by": "channel", "compare_from": "2026-02-01", "compare_to": "2026-03-16",
            "follow": "20d",
        },
    ),
}  # fmt: skip


class Surfaces:
    """The answers of one data directory; the command line's are asked once the engine has let go of it."""

    def __init__(self, data):
        self.data = data
        with Engine(load(data=data)) as engine:
            send = Site(engine)
            send.take(generate(800, 7, END))
            self.python, self.api, self.pages = {}, {}, {}
            for name, (question, params) in QUESTIONS.items():
                asked = COMMON | params
                listed = {key: [text] if isinstance(text, str) else text for key, text in asked.items()}
                self.python[name] = json.loads(msgspec.json.encode(getattr(engine.analytics, question)(listed)))
                self.api[name] = send("GET", f"/api/v1/{question}", params=asked).json()
                self.pages[name] = unescape(send("GET", "/segments", params=asked).text)
            self.listed = {
                name: send("GET", "/api/v1/conversations", params={**COMMON, "where": row["where"]}).json()["total"]
                for name in ("share", "matured", "named")
                for row in self.api[name]["segments"][:1]
            }
        self.cli = {name: self.ask(question, COMMON | params) for name, (question, params) in QUESTIONS.items()}

    def ask(self, question, asked):
        others = {name: given for name, given in asked.items() if name != "metric"}
        words = [question, asked["metric"], *options(others)]
        plain = command(*words, data=self.data)
        assert asked["metric"] in plain or "with the change" in plain
        answer = json.loads(command(*words, "--json", data=self.data))
        assert question == "explain" or differences.of_best(answer) in plain
        return answer


@pytest.fixture(scope="module")
def surfaces(kept, tmp_path_factory):
    return Surfaces(tmp_path_factory.mktemp("surfaces") / "data")


def same(one, other):
    """Equal, but for when they were asked and the last digits of sums that were added in another order."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(name == "as_of" or same(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return isclose(one, other, rel_tol=1e-9, abs_tol=1e-12) if isinstance(one, float) else one == other


@pytest.mark.parametrize("name", QUESTIONS)
def test_python_api_and_command_line_agree(surfaces, name):
    assert surfaces.python[name]["segments"]
    assert same(surfaces.python[name], surfaces.api[name])
    assert same(surfaces.python[name], surfaces.cli[name])


@pytest.mark.parametrize("name", [name for name in QUESTIONS if name != "explain"])
def test_the_page_has_the_numbers_of_the_api(surfaces, name):
    answer, page = surfaces.api[name], surfaces.pages[name]
    tables = re.findall(r"The values of the chart</caption>(.*?)</table>", page, re.DOTALL)
    body = "".join(table.partition("<tbody>")[2] for table in tables)
    rows = re.findall(r"<tr>(.*?)</tr>", body, re.DOTALL)
    shown = [[re.sub(r"<[^>]+>", "", cell).strip() for cell in re.findall(r"<t[hd].*?</t[hd]>", one)] for one in rows]
    expected = [
        [
            one["segment"], formats.measure(one), formats.bounds(one), formats.number(one["sample_size"]),
            formats.number(one["clusters"]), formats.number(one["conversations"]),
            differences.standing(one, best=one["segment"] == answer["best_performing"]),
        ]
        for one in answer["segments"]
    ]  # fmt: skip
    assert sorted(shown) == sorted(expected)
    for one in answer["significant_differences"]:
        assert differences.differs(one, answer["definition"]["unit"]) in page
        assert differences.of_mix(one) in page
    assert all(note in page for note in answer["notes"])
    assert METRICS[answer["metric"]].description in page


def test_the_page_has_both_periods_and_what_accounts_for_the_change(surfaces):
    answer, page = surfaces.api["share"], surfaces.pages["share"]
    assert differences.change(answer["compare"], "share") in page
    for row in answer["compare"]["segments"]:
        assert formats.span(row["interval"], "share") in page
        q = formats.chance(row["q_value"]) if row["enough"] else "not enough data"
        assert f'<td class="muted">{q}<' in page
        for side in (row["now"], row["before"]):
            assert f"{formats.span(side['interval'], 'share', signs=False)} of {side['denominator']:,.0f}" in page
    assert "Which segments account for it" in page


def test_a_segment_leads_to_its_conversations(surfaces):
    """The list behind a segment has as many conversations as it says."""
    for name, total in surfaces.listed.items():
        assert total == surfaces.api[name]["segments"][0]["conversations"] > 0
