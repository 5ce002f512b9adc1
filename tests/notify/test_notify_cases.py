"""The shared cases of notifying, grouping and inhibition: those that Dropoff offers are met, the others declined."""

import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dropoff.alerts.rules import Rule
from dropoff.alerts.state import State, repeated
from dropoff.notify.outbox import Waiting, plan
from notices import NOON, notice

SHARED = Path(os.environ.get("DROPOFF_SHARED", Path(__file__).parents[3] / "shared"))
CASES = SHARED / "cases" / "alerts.jsonl"
KINDS = ("notify_timeline", "notify_dedup", "grouping", "inhibition")
DECLINED = {
    "al-dedup-no-entry-firing": "a notice is of one change of one alert; there is no set that was sent last",
    "al-dedup-no-entry-only-resolved": "as above; what was never told is not resolved: test_outbox",
    "al-dedup-other-firing": "as above",
    "al-dedup-zero-timestamp": "as above",
    "al-dedup-only-resolved-after-repeat": "as above",
    "al-dedup-all-resolved-send-resolved-false": "as above; resolves are always told to those who were told",
    "al-dedup-all-resolved-send-resolved-true": "as above",
    "al-inhibit-none": "no rule silences another one: people do",
    "al-inhibit-source-resolved": "as above",
    "al-group-wait-interval": "a group is told what is new, after 0.3 s, and not all of it again at an interval",
}


def cases() -> dict[str, dict[str, Any]]:
    if not CASES.exists():
        return {}
    found = map(json.loads, CASES.read_text().splitlines())
    return {case["id"]: case for case in found if case["kind"] in KINDS}


def test_every_case_is_met_or_declined():
    if not CASES.exists():
        pytest.skip(f"{CASES} is missing")
    assert set(cases()) == {*DECLINED, "al-notify-resend", "al-group-resolve-cleanup"}


def test_a_firing_alert_is_told_at_once_then_as_often_as_is_set_and_its_end_at_once():
    """al-notify-resend"""
    case = cases().get("al-notify-resend")
    if case is None:
        pytest.skip(f"{CASES} is missing")
    every = timedelta(seconds=case["rule"]["resend_delay_s"])
    rule = Rule("r", "fallback_rate", "exceeds", 1.0, timedelta(hours=1), "1_hour", repeat=every)
    first = NOON + timedelta(seconds=case["expected"][0]["t"])
    state = State("firing", since=first, fired=first, told=first)
    sent = {case["expected"][0]["t"]: 1}
    for expected in case["expected"][1:-1]:
        again = repeated(state, NOON + timedelta(seconds=expected["t"]), rule)
        sent[expected["t"]] = int(again is not None)
        state = again or state
    assert sent == {expected["t"]: expected["sent"] for expected in case["expected"][:-1]}
    end = notice("resolved", after=6)
    assert plan([Waiting(end, end.at)], lambda _: True, [], [], end.at + timedelta(seconds=1)).send


def test_what_has_resolved_is_told_once_and_then_forgotten():
    """al-group-resolve-cleanup: of a1, a2, a3 first one resolves, then the others; what fires on is not told again."""
    names = ("a=1", "a=2", "a=3")
    told: set[str] = set()

    def flush(*ended: str) -> list[str]:
        made = [notice("resolved", name, after=60) for name in ended]
        fresh = [Waiting(each, each.at) for each in made if each.id not in told]
        found = plan(fresh, lambda _: True, [], [], NOON + timedelta(seconds=61))
        told.update(each.notice.id for each in found.send)
        return [each.notice.segment or "" for each in found.send]

    assert flush(names[0]) == [names[0]]
    assert flush(*names) == [*names[1:]]
    assert flush(*names) == []
