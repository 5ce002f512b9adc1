"""The starter set over generated worlds: the planted incident is found, and nothing else is told."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest

from dropoff.alerts.backtest import Trial, backtest
from dropoff.alerts.rules import Rule
from dropoff.alerts.starters import starters
from dropoff.alerts.values import Reader
from dropoff.demo import DEFAULT_END, generate
from dropoff.demo.planted import TIMEZONE, incident_window
from dropoff.metrics import METRICS
from dropoff.periods import Period, parse_period
from dropoff.project.settings import load
from dropoff.server.serve import in_its_zone
from worlds import drain, payload

QUARTER = timedelta(weeks=13)
MOST_EVENTS = 10_000
"""Of one request."""
FOUND = timedelta(minutes=30)
BEGIN, END = incident_window(DEFAULT_END)
RULES = {rule.name: rule for rule in starters()}


def tried(
    events: Iterable[dict[str, Any]], names: Iterable[str], period: Period, directory: Path, now: datetime = DEFAULT_END
) -> list[Trial]:
    told = list(events)
    store = drain(directory, [payload(told[start : start + MOST_EVENTS]) for start in range(0, len(told), MOST_EVENTS)])
    try:
        reader = Reader(store, period.timezone, METRICS, {})
        return backtest(reader, [RULES[name] for name in names], period, now)
    finally:
        store.close()


def when(event: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(event["timestamp"])


def between(start: datetime, end: datetime) -> Period:
    return parse_period(start.isoformat(), end.isoformat(), TIMEZONE)


def is_false(rule: Rule, fired: datetime) -> bool:
    """Nothing of the incident lies in its window."""
    return not BEGIN <= fired < END + rule.window + rule.hold


def test_the_incident_is_found_within_half_an_hour_and_the_day_before_is_quiet(tmp_path: Path):
    """Of the demo's world the day of the incident and the one before, which is what the rules with thresholds need."""
    period = between(BEGIN - timedelta(days=1), END)
    until_then = takewhile(lambda one: when(one) < END or one["event_type"] != "conversation_started", generate())
    events = [one for one in until_then if period.start - timedelta(hours=6) <= when(one) < END]
    names = [name for name, rule in RULES.items() if rule.condition != "anomaly"]
    trials = tried(events, names, period, tmp_path)
    fired = {trial.name: [firing.fired for firing in trial.firings] for trial in trials}
    assert {"fallbacks", "errors", "sentiment_drop"} == fired.keys()
    assert all(at > BEGIN for moments in fired.values() for at in moments)
    assert len(fired["errors"]) == len(fired["fallbacks"]) == 1
    assert min(fired["errors"] + fired["fallbacks"]) <= BEGIN + FOUND


@pytest.mark.parametrize(("zone", "fired"), [(in_its_zone(load()).timezone, 0), ("UTC", 1)])
def test_a_change_of_the_clocks_is_none_in_the_zone_in_which_the_demo_is_served(tmp_path: Path, zone: str, fired: int):
    end = datetime(2026, 11, 30, tzinfo=UTC)
    starts = [one for one in generate(end=end) if one["event_type"] == "conversation_started"]
    period = parse_period("2026-11-01", "2026-11-09", zone)
    assert [len(trial.firings) for trial in tried(starts, ["volume_drop"], period, tmp_path, end)] == [fired]


@pytest.mark.long
@pytest.mark.parametrize("seed", range(20))
def test_over_a_quarter_each_rule_raises_at_most_one_false_alarm(tmp_path: Path, seed: int):
    trials = tried(generate(20_000, seed), RULES, between(DEFAULT_END - QUARTER, DEFAULT_END), tmp_path)
    false = {
        trial.name: [firing.fired for firing in trial.firings if is_false(RULES[trial.name], firing.fired)]
        for trial in trials
    }
    found = [firing.fired - BEGIN for trial in trials for firing in trial.firings if BEGIN <= firing.fired < END]
    assert all(len(moments) <= 1 for moments in false.values()), false
    assert [trial.problem for trial in trials] == [None] * len(trials)
    assert min(found) <= FOUND
