"""`dropoff alerts test`, and what rules would have done, from the command line."""

import json
import re
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dropoff.alerts.backtest import backtest, coverage
from dropoff.alerts.files import Place
from dropoff.alerts.rules import parse
from dropoff.alerts.values import Reader
from dropoff.cli import app
from dropoff.errors import InvalidInput
from dropoff.metrics import METRICS
from dropoff.periods import Period
from worlds import START, fallback, given, received, sent, started

(EXAMPLE,) = (
    block
    for block in re.findall(r"```toml\n(.*?)```", (Path(__file__).parents[2] / "docs/alerts.md").read_text(), re.DOTALL)
    if "[[tests]]" in block
)
DAY = 24 * 60


def run(file, text):
    file.write_text(text)
    return CliRunner().invoke(app, ["alerts", "test", str(file), "--json"])


def test_the_example_of_the_docs_passes(tmp_path):
    result = run(tmp_path / "example.toml", EXAMPLE)
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "tests": [{"name": "an outage of a quarter of an hour", "ok": True, "expectations": 3, "failures": []}],
        "passed": 1,
        "failed": 0,
    }


def test_an_expectation_that_is_not_met_is_named(tmp_path):
    result = run(tmp_path / "example.toml", EXAMPLE.replace('state = "pending"', 'state = "firing"'))
    assert result.exit_code == 1
    (test,) = json.loads(result.stdout)["tests"]
    assert test["failures"] == [
        {"rule": "bot is lost", "segment": "", "at": "12m", "expected": "firing", "got": "pending"}
    ]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (('state = "pending"', 'state = "ill"'), "state == 'ill', must be one of inactive"),
        (("0.02/100 x 10", "0.02 x 10"), "values == '0.02', must be a value over how many"),
        (("threshold = 0.2", "threshold = 2"), "threshold == 2, must be a share"),
        (('rule = "bot is lost"', 'rule = "bot"'), "rule == 'bot', must be one of "),
        (('at = "12m"', 'at = "9999d"'), "at == '9999d', must be before evaluation 100,000"),
    ],
)
def test_bad_input_is_refused(tmp_path, wrong, message):
    assert wrong[0] in EXAMPLE
    result = run(tmp_path / "example.toml", EXAMPLE.replace(*wrong, 1))
    assert isinstance(result.exception, InvalidInput)
    assert message in str(result.exception)


def test_a_file_that_is_no_tests_is_refused_as_one(tmp_path):
    file = tmp_path / "lines.json"
    file.write_text('{"tests": []}\n{"tests": []}\n')
    result = CliRunner().invoke(app, ["alerts", "test", str(file)])
    assert isinstance(result.exception, InvalidInput)
    assert "must be a file of tests: " in str(result.exception)


def test_what_a_rule_would_have_done(engine, tmp_path):
    """Three days of a turn a minute, and an hour in which nothing is understood."""
    events = []
    for minute in range(0, 3 * DAY, 2):
        name = str(minute // 60)
        events += [started(minute, conversation_id=name)] if minute % 60 == 0 else []
        events += [fallback(minute, conversation_id=name)] if DAY <= minute < DAY + 60 else []
        events += [sent(at=minute + 0.5, conversation_id=name), received(at=minute + 1, conversation_id=name)]
    store = given(*events, directory=tmp_path, engine=engine)
    (rule,) = parse(
        [{"metric": "fallback_rate", "condition": "exceeds", "threshold": 0.2, "window": "2_hours", "for": "10m"}],
        Place("test"),
    )
    reader, now = Reader(store, "UTC", METRICS, {}), START + timedelta(days=3)
    (trial,) = backtest(reader, [rule], Period(START, now, "UTC"), now, per_month=30)
    (firing,) = trial.firings
    # Of 60 turns in two hours more than 12 must be fallbacks: 24 minutes of the outage. Broken at 25 minutes, it fires
    # ten later, and at 95 minutes after the outage only the last 12 are left.
    assert firing.fired - START == timedelta(minutes=DAY + 35)
    assert firing.resolved
    assert firing.resolved - START == timedelta(minutes=DAY + 60 + 95)
    assert firing.worst == pytest.approx(0.5, abs=0.02)
    assert (trial.suggested, trial.problem) == (0.2, None)
    (never,) = backtest(reader, [rule], Period(START, now, "UTC"), now, per_month=0)
    assert 0.4 < (never.suggested or 0) <= 0.5  # above it for less than the ten minutes
    (covered,) = coverage(reader, [rule], now)
    assert covered.window is None  # of four weeks there are three days
    assert covered.enough == pytest.approx(3 / 28, abs=0.01)
    store.close()


def test_what_keeps_no_past_says_so(engine, tmp_path):
    store = given(started(), directory=tmp_path, engine=engine)
    rule = {"metric": "response_time", "condition": "exceeds", "threshold": 9, "window": "1_hour"}
    reader = Reader(store, "UTC", METRICS, {})
    (trial,) = backtest(reader, parse([rule], Place("t")), Period(START, START + timedelta(days=1), "UTC"), START)
    assert trial.problem == "response_time cannot be added up over its past"
    store.close()
