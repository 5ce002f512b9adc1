"""The states: what a rule's clocks do, and what holds over any time line."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropoff.alerts.evaluate import changed
from dropoff.alerts.files import Place
from dropoff.alerts.rules import parse
from dropoff.alerts.state import INACTIVE, SHOWN, Blank, State, repeated, transition

START = datetime(2024, 1, 15, 10, tzinfo=UTC)


def rule(**more):
    more = {"for" if key == "hold" else key: value for key, value in more.items()}
    table = {"metric": "fallback_rate", "condition": "exceeds", "threshold": 0.2, "window": "1_hour", **more}
    return parse([table], Place("test"))[0]


def played(found: Sequence[bool | Blank], every: timedelta = timedelta(minutes=1), **more: Any) -> list[str]:
    """The names of the states after each finding."""
    state, names = INACTIVE, []
    for number, seen in enumerate(found):
        state = transition(state, seen, START + number * every, rule(**more))
        names.append(state.name)
    return names


def test_it_fires_at_once_and_resolves_at_once_unless_told_otherwise():
    assert played([False, True, True, False, False]) == ["inactive", "firing", "firing", "resolved", "resolved"]


def test_a_breach_has_to_last():
    assert played([True, True, False, True, True, True], hold="2m") == [
        "pending", "pending", "inactive", "pending", "pending", "firing",
    ]  # fmt: skip


def test_what_fires_keeps_firing_for_a_while():
    found = [True, False, True, False, False, False, False]
    assert played(found, keep_firing_for="2m") == ["firing"] * 5 + ["resolved"] * 2


@pytest.mark.parametrize(
    ("no_data", "after"), [("ok", ["firing", "resolved"]), ("keep", ["firing"] * 2), ("alert", ["firing"] * 2)]
)
def test_no_data_is_what_the_rule_says(no_data, after):
    assert played([True, "no_data"], no_data=no_data) == after
    assert played(["no_data"], no_data=no_data) == (["firing"] if no_data == "alert" else ["no_data"])


def test_too_little_data_is_no_recovery_and_no_breach():
    assert played([True, "insufficient", "insufficient", False]) == ["firing"] * 3 + ["resolved"]
    assert played([True, "insufficient", True, True], hold="1m") == [
        "pending", "insufficient", "pending", "firing",
    ]  # fmt: skip


def test_what_is_over_stands_as_resolved_for_a_while():
    found = [True, *[False] * 20]
    shown = played(found)
    assert shown.count("resolved") == SHOWN // timedelta(minutes=1)
    assert shown[-1] == "inactive"


def test_a_pause_interrupts_what_has_to_last_and_not_what_fires():
    every = timedelta(minutes=6)
    assert played([True, True, True], every, hold="5m") == ["pending"] * 3
    assert played([True, True, False], every) == ["firing", "firing", "resolved"]


def test_a_firing_alert_is_told_again_only_where_the_rule_says_so():
    fired = transition(INACTIVE, True, START, rule())
    assert repeated(fired, START + timedelta(days=1), rule()) is None
    often = rule(repeat="1h")
    assert repeated(fired, START + timedelta(minutes=59), often) is None
    again = repeated(fired, START + timedelta(hours=1), often)
    assert again
    assert (again.repeats, again.fired) == (1, START)
    assert repeated(again, START + timedelta(hours=1, minutes=59), often) is None


SEEN = st.sampled_from([True, True, False, False, "insufficient", "no_data", "error"])
STEPS = st.lists(st.tuples(SEEN, st.integers(1, 400)), min_size=1, max_size=60)
RULES = st.fixed_dictionaries(
    {
        "for": st.sampled_from(["0s", "1m", "5m"]),
        "keep_firing_for": st.sampled_from(["0s", "2m", "10m"]),
        "no_data": st.sampled_from(["ok", "keep", "alert"]),
    }
)


@given(STEPS, RULES, st.integers(0, 60))
def test_over_any_time_line(steps, options, restart):
    chosen, now, state = rule(**options), START, INACTIVE
    kinds, missing, told = [], None, None
    for number, (seen, seconds) in enumerate(steps):
        now += timedelta(seconds=seconds)
        if number == restart:  # written down and read again: nothing changes
            state = msgspec.json.decode(msgspec.json.encode(state), type=State)
        before, state = state, transition(state, seen, now, chosen)
        kind = changed(before, state)
        if kind is not None:
            kinds.append(kind)
        if state.name == "firing" and kind == "fired":
            told, missing = state.fired, None
        missed = seen is False or (seen == "no_data" and chosen.no_data == "ok")
        if before.name == "firing" and kind == "resolved":
            assert missed
            assert now - (missing or now) >= chosen.keep_firing_for or seconds > 300 or missing is None
            assert chosen.keep_firing_for == timedelta(0) or (missing and now - missing >= chosen.keep_firing_for)
        if seen is True or (seen == "no_data" and chosen.no_data == "alert"):
            missing = None
        elif missed and missing is None and seen != "error":
            missing = now
        if state.name == "firing":
            assert state.fired == told
    assert kinds == ["fired", "resolved"] * (len(kinds) // 2) + ["fired"] * (len(kinds) % 2)
