"""The time lines of Prometheus' rule tests, replayed through our states. What is declined is named, with the reason."""

import json
import operator
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dropoff.alerts.files import Place
from dropoff.alerts.rules import parse
from dropoff.alerts.state import INACTIVE, transition

SHARED = Path(os.environ.get("DROPOFF_SHARED", Path(__file__).parents[3] / "shared"))
FILE = SHARED / "cases" / "alerts.jsonl"
CASES = [json.loads(line) for line in FILE.read_text().splitlines()] if FILE.exists() else []
OURS = ("rule_timeline", "rule_error", "rule_limit", "restart_restore")
TOLD = ("notify_timeline", "notify_dedup", "inhibition", "grouping")
"""What becomes of notices: tests/notify/test_notify_cases.py."""

DECLINED = {
    "al-duplicate-labels": "segments are the groups of one statement, so no two are alike; two rules of one name are "
    "refused when they are loaded (test_rules.py)",
    "al-limit-0": "there is no limit of alerts a rule: a split shows its 50 most frequent values",
    "al-limit-2": "there is no limit of alerts a rule: a split shows its 50 most frequent values",
    "al-restore-grace-period": "a restart changes nothing here: no grace is added to what was already waited",
}
ZERO = datetime(2024, 1, 1, tzinfo=UTC)
SIGNS = {">": operator.gt, "<": operator.lt, "==": operator.eq}


def of(kind):
    chosen = [case for case in CASES if case["kind"] == kind and case["id"] not in DECLINED]
    return pytest.mark.parametrize("case", chosen, ids=lambda case: case["id"])


def rule_of(case):
    given = case["rule"]
    table = {"metric": "response_rate", "condition": "drops_below", "threshold": 0.5, "window": "1_hour"}
    table |= {"for": f"{given['for_s']}s", "keep_firing_for": f"{given.get('keep_firing_for_s', 0)}s"}
    return parse([table], Place("case"))[0]


def value_at(samples, at, lookback):
    """What is seen at a moment: the latest sample, unless it is too old or says that there is none any more."""
    known = [sample for sample in samples if sample["t"] <= at]
    if not known or known[-1]["v"] == "stale" or at - known[-1]["t"] >= lookback:
        return None
    return known[-1]["v"]


def label_of(case, name, value):
    """A label that the value decides is, with us, a segment."""
    if "label_from_value" not in case["rule"]:
        return name
    assert case["rule"]["label_from_value"] == "value<80 -> critical else warning"
    return f"{name}|{'critical' if value < 80 else 'warning'}"


def found_at(case, at):
    """By segment whether it is breached; None where the query fails."""
    if at in case.get("query_error_at_s", ()):
        return None
    sign, threshold = SIGNS[case["rule"]["op"]], case["rule"]["threshold"]
    values = {one["name"]: value_at(one["samples"], at, case.get("lookback_s", 1)) for one in case["series"]}
    return {label_of(case, name, v): sign(v, threshold) for name, v in values.items() if v is not None}


def step(states, found, at, rule):
    """The states after an evaluation; a segment of which there is nothing has no data."""
    after = {}
    for segment in {*states, *(found or {})}:
        seen = "error" if found is None else found.get(segment, "no_data")
        after[segment] = transition(states.get(segment, INACTIVE), seen, ZERO + timedelta(seconds=at), rule)
    return after


@of("rule_timeline")
def test_a_time_line_gives_its_states(case):
    rule, states = rule_of(case), {}
    for expected in case["expected"]:
        before, states = states, step(states, found_at(case, expected["t"]), expected["t"], rule)
        active = {s: state.name for s, state in states.items() if state.name in ("pending", "firing")}
        over = [s for s in states if s in before and (before[s].name, states[s].name) == ("firing", "resolved")]
        assert (active, sorted(over)) == (expected["states"], expected["resolved"]), expected["t"]


@of("restart_restore")
def test_clocks_survive_a_restart(case):
    rule, states = rule_of(case), {}
    for at in case["evals_before_restart_s"]:
        states = step(states, found_at(case, at), at, rule)
    states = step(states, found_at(case, case["restore_at_s"]), case["restore_at_s"], rule)
    active = [state for state in states.values() if state.name in ("pending", "firing")]
    assert len(active) == case["expected"]["active_alerts"]
    if case["expected"].get("active_at") == "restore time":
        assert {state.began for state in active} == {ZERO + timedelta(seconds=case["restore_at_s"])}


@pytest.mark.skipif(not CASES, reason=f"{FILE} is missing (DROPOFF_SHARED names the folder that holds cases/)")
def test_every_case_is_run_or_declined_or_about_notices():
    assert len(CASES) == 25
    run = {case["id"] for case in CASES if case["kind"] in OURS and case["kind"] not in ("rule_error", "rule_limit")}
    told = {case["id"] for case in CASES if case["kind"] in TOLD}
    assert run | set(DECLINED) | told == {case["id"] for case in CASES}
    assert all(DECLINED.values())
    assert not set(DECLINED) & told
