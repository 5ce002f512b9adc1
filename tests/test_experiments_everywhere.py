"""Experiments are the same on page, API and command line; what is planted in the demo is found, what is not is not."""

import json
import re
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from urllib.parse import urlencode

import msgspec
import pytest
from typer.testing import CliRunner

from dropoff.cli import app
from dropoff.demo import generate
from dropoff.demo.planted import VARIANTS
from dropoff.phrases import formats
from servers import Server
from sites import cells


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("experiments")
    made = generate(1500, 7, datetime(2026, 6, 1, tzinfo=UTC))
    (folder / "events.ndjson").write_bytes(b"\n".join(map(msgspec.json.encode, made)))
    run("import", str(folder / "events.ndjson"), "--data", str(folder / "data"))
    return folder / "data"


@pytest.fixture(scope="module")
def server(data: Path):
    with Server(data) as running:
        yield running


def run(*words: str) -> str:
    found = CliRunner().invoke(app, words, catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.output


def one(server: Server, name: str) -> dict:
    return server.get(f"/api/v1/experiments?{urlencode({'name': name})}").json()["experiments"][0]


def table(page: str, heading: str) -> list[list[str]]:
    """The table under a heading."""
    return cells(page, f'id="{heading}"')


def test_the_better_variant_of_the_demo_is_found_and_the_null_is_not(server: Server):
    found = one(server, VARIANTS.experiment)
    assert (found["decision"], found["variant"]) == ("ship", VARIANTS.better)
    (row,) = [row for row in found["comparisons"] if row["metric"] == "responded_per_unit"]
    rates = {arm["variant"]: arm["metrics"]["responded_per_unit"]["value"] for arm in found["arms"]}
    assert rates[VARIANTS.better] / rates[VARIANTS.worse] == pytest.approx(VARIANTS.ratio, rel=0.15)
    assert {row["a"], row["b"]} == {VARIANTS.better, VARIANTS.worse}
    nothing = one(server, VARIANTS.null_experiment)
    assert (nothing["decision"], nothing["variant"]) == ("keep running", None)
    assert {row["verdict"] for row in nothing["comparisons"]} <= {"unclear", "not enough data"}


@pytest.mark.parametrize(
    "asked", [{}, {"name": "first_message"}, {"name": "signature", "goal": "booked", "horizon": "fixed"}]
)
def test_api_and_command_line_agree(data: Path, server: Server, asked: dict[str, str]):
    api = server.get(f"/api/v1/experiments?{urlencode(asked)}").json()
    words = [asked[name] for name in ("name",) if name in asked]
    words += [text for name, value in asked.items() if name != "name" for text in (f"--{name}", value)]
    told = json.loads(run("experiments", *words, "--json", "--data", str(data)))
    assert {**api, "as_of": 0} == {**told, "as_of": 0}
    shown = run("experiments", *words, "--data", str(data))
    for trial in api["experiments"]:
        assert trial["experiment"] in shown
        assert all(
            formats.percent(m["value"]) in shown for arm in trial["arms"] for m in list(arm["metrics"].values())[:1]
        )


def test_the_page_has_the_numbers_of_the_api(server: Server):
    trial = one(server, "first_message")
    page = server.get("/experiments?name=first_message").body.decode()
    assert unescape(page).count(trial["reason"]) == 1
    differences = table(page, "differences")
    assert [row[0] for row in differences] == [
        formats.label(row["metric"].removesuffix("_per_unit")) for row in trial["comparisons"]
    ]
    for shown, row in zip(differences, trial["comparisons"], strict=True):
        assert shown[2] == formats.apart(row["difference"], row["metric"])
        assert shown[3] == formats.apart_interval(row["interval"], row["metric"])
        assert shown[4:6] == [formats.chance(row["p_value"]), formats.chance(row["q_value"])]
        assert shown[6] == row["verdict"]
    for place, arm in enumerate(trial["arms"]):
        for shown, row in zip(table(page, "arms"), trial["comparisons"], strict=True):
            metric = arm["metrics"][row["metric"]]
            assert shown[1 + 3 * place : 3 + 3 * place] == [*formats.in_arm(metric, row["metric"])]
            assert shown[3 + 3 * place].split()[0] == formats.number(metric["n"])
    listed = table(server.get("/experiments").body.decode(), "experiments")
    assert [row[0] for row in listed] == ["first_message", "signature", "first_message_variant"]
    assert listed[0][1].split() == ["Ship", "question"]


def test_the_command_line_has_steps_needs_and_both_tests_of_the_sample_ratio(data: Path, server: Server):
    trial = one(server, "first_message")
    rows = [line.split() for line in run("experiments", "first_message", "--data", str(data)).splitlines()]
    for need in trial["needed"]:
        wanted = [need["metric"], formats.number(need["have"]), formats.number(need["needed"])]
        (row,) = [row for row in rows if row[:3] == wanted]
        assert " ".join(row[3:]).startswith(formats.points(need["detectable"]).replace("\xa0", " "))
        assert row[-2:] == [formats.number(need["per_day"], 1), formats.number(need["days_left"])]
    for step in trial["descriptive"]:
        (row,) = [row for row in rows if row[:3] == [step["from"], "→", step["to"]]]
        assert row[6::4] == [formats.number(found["denominator"]) for found in step["arms"].values()]
    ratio = trial["sample_ratio"]
    chances = [formats.chance(ratio[name]) for name in ("p_value", "fixed_p_value")]
    assert ["ratio:", "p", chances[0], "at", "any", "look,", "p", chances[1]] in [row[1:9] for row in rows]
    worst = min(ratio["by_dimension"], key=lambda part: part["p_value"])
    (row,) = [row for row in rows if row[:3] == [worst["dimension"], "=", worst["value"]]]
    assert row[3 : 3 + len(worst["counts"])] == [formats.number(n) for n in worst["counts"]]


def test_each_count_of_the_page_leads_to_as_many_conversations(server: Server):
    trial = one(server, "first_message")
    page = server.get("/experiments?name=first_message").body.decode()
    links = [unescape(link) for link in re.findall(r'<a href="(/conversations\?[^"]*experiment=[^"]+)"', page)]
    arms = trial["arms"]
    metrics = [row["metric"] for row in trial["comparisons"]]
    numbers = [arm["units"] for arm in arms]
    numbers += [
        arm["metrics"][metric]["numerator"] for metric in metrics for arm in arms if arm["metrics"][metric]["numerator"]
    ]
    assert [server.get("/api/v1" + link).json()["total"] for link in links] == numbers


def test_a_plan_is_the_same_everywhere(server: Server):
    asked = {"base": "0.2", "effect": "0.05", "daily": "100", "arms": "3"}
    api = server.get(f"/api/v1/experiments/plan?{urlencode(asked)}").json()
    words = [text for name, value in asked.items() for text in (f"--{name}", value)]
    assert json.loads(run("experiments", "plan", *words, "--json")) == api
    assert formats.number(api["units_per_arm"]) in run("experiments", "plan", *words)
    page = server.get(f"/experiments?{urlencode(asked)}").body.decode()
    assert f"<strong>{formats.number(api['units_per_arm'])}</strong>" in page
    assert f"planned = {api['planned']}" in page
    assert server.get(f"/experiments?{urlencode(asked | {'base': '2'})}").status == 200
    assert (
        "must be a number from 0 to 1." in server.get(f"/experiments?{urlencode(asked | {'base': '2'})}").body.decode()
    )


def test_what_does_not_exist_is_said(server: Server):
    assert server.get("/api/v1/experiments?name=nope").status == 404
    assert server.get("/experiments?name=nope").status == 404
    assert server.get("/experiments?horizon=soon").status == 400


def test_where_nobody_was_exposed_the_period_is_all_time(server: Server):
    page = server.get("/experiments?where=bot_id%3Dnobody").body.decode()
    assert "<span>All time to 2" in page
    assert 'name="from" value=""' in page
