"""Custom funnels over events: any funnel on any small history is what trying everything says it is."""

import random
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brute_funnel import interpret
from dropoff.analyse.funnels.attempts import attempts, earlier, in_parts
from dropoff.analyse.funnels.tallies import Times, count, times, trend
from dropoff.errors import InvalidInput
from dropoff.project.funnels import UNTIMED, Funnel, parse

SECOND = 1_000_000


def frame(events: list[dict[str, Any]]) -> pl.DataFrame:
    bits = [
        {**e, "steps": sum(1 << i for i in e["steps"]), "exclusions": sum(1 << i for i in e["exclusions"])}
        for e in events
    ]
    schema = {"unit": pl.String, "at": pl.Int64, "steps": pl.UInt32, "exclusions": pl.UInt32}
    return pl.DataFrame(bits, schema | {"held": pl.String, "value": pl.String, "started": pl.Int64})


def rows(found: pl.DataFrame, funnel: Funnel) -> list[tuple]:
    """What `brute_funnel.interpret` gives."""
    every = ("unit", "value", "bucket", "entry", "furthest", *(f"at_{i}" for i in range(len(funnel.steps))))
    return sorted((tuple(row.get(name) for name in every) for row in found.iter_rows(named=True)), key=repr)


durations = st.sampled_from(["1s", "2s", "4s"])


@st.composite
def funnels(draw: st.DrawFn) -> Funnel:
    mode = draw(st.sampled_from(["ordered", "ordered", "ordered", "strict", "any", "reached", "recorded"]))
    length = draw(st.integers(2, 4))
    steps: list[dict[str, Any]] = [{"event": f"e{i}"} for i in range(length)]
    for step in steps[1:]:
        if mode in ("ordered", "strict") and draw(st.booleans()):
            step["within"] = draw(durations)
        if mode == "ordered" and draw(st.integers(0, 3)) == 0:
            step["optional"] = True
    definition: dict[str, Any] = {"steps": steps, "mode": mode}
    definition["by"] = draw(st.sampled_from([None, "channel", "event:p", "event:p"]))
    if (definition["by"] or "").startswith("event:"):
        at_step = st.integers(0, length - 1).map(lambda i: {"step": i})
        definition["attribution"] = draw(st.one_of(st.sampled_from(["first", "last", "all"]), at_step))
    if mode not in UNTIMED:
        definition |= {
            "window": draw(st.one_of(st.none(), durations)),
            "hold_constant": draw(st.sampled_from([[], [], ["h"]])),
            "re_entry": draw(st.sampled_from(["first", "first", "every"])),
        }
        required = [i for i, step in enumerate(steps) if not step.get("optional")]
        if len(required) > 1 and draw(st.booleans()):
            pairs = st.sampled_from([[a, b] for a in required for b in required if a < b])
            exclusion = st.builds(lambda i, pair: {"event": f"x{i}", "between": pair}, st.integers(0, 9), pairs)
            definition["exclusions"] = draw(st.lists(exclusion, max_size=2))
    return parse(definition)


@st.composite
def histories(draw: st.DrawFn, funnel: Funnel, size: int = 7) -> list[dict[str, Any]]:
    """Events of two units, many at one instant; most satisfy one step."""
    step = st.integers(0, len(funnel.steps) - 1)
    some_steps = st.one_of(st.builds(lambda i: {i}, step), st.builds(lambda i: {i}, step), st.sets(step))
    exclusions = (
        st.sets(st.integers(0, len(funnel.exclusions) - 1), max_size=1) if funnel.exclusions else st.just(set())
    )
    event = st.fixed_dictionaries(
        {
            "unit": st.sampled_from(["a", "a", "b"]),
            "at": st.integers(0, 8).map(lambda s: s * SECOND),
            "steps": some_steps,
            "exclusions": exclusions,
            "held": st.sampled_from([None, "x", "y"] if funnel.hold_constant else [None]),
            "value": st.sampled_from([None, "v", "w"]),
        }
    )
    events: list[dict[str, Any]] = draw(st.lists(event, min_size=1, max_size=size))
    for each in events:
        each["started"] = 3 * SECOND if each["unit"] == "a" else 5 * SECOND
        if funnel.by == "channel":
            each["value"] = {"a": "sms", "b": None}[each["unit"]]
    return events


cases = funnels().flatmap(lambda funnel: st.tuples(st.just(funnel), histories(funnel)))
periods = st.sampled_from([(0, 99 * SECOND), (0, 4 * SECOND), (2 * SECOND, 6 * SECOND)])
several_cuts = st.sampled_from([None, None, [0, 2 * SECOND, 5 * SECOND]])
quick = settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])


@settings(quick, max_examples=400)
@given(cases, periods, several_cuts)
def test_any_funnel_on_any_history_is_what_trying_everything_says(case, period, cuts):
    funnel, events = case
    assert rows(attempts(frame(events), funnel, period, cuts), funnel) == interpret(events, funnel, period, cuts)


@quick
@given(cases, st.randoms(use_true_random=False))
def test_the_order_of_the_events_changes_nothing(case, chance: random.Random):
    funnel, events = case
    shuffled = chance.sample(events, len(events))
    period = (0, 99 * SECOND)
    assert rows(attempts(frame(shuffled), funnel, period), funnel) == rows(
        attempts(frame(events), funnel, period), funnel
    )


@quick
@given(cases)
def test_counts_never_rise_from_one_required_step_to_the_next(case):
    funnel, events = case
    if funnel.mode == "recorded":
        return
    found = count(attempts(frame(events), funnel, (0, 99 * SECOND)), funnel)
    required = found["count"].gather(funnel.required).to_list()
    assert required == sorted(required, reverse=True)


def event(unit: str, at: int, *steps: int, **more: Any) -> dict[str, Any]:
    """An event `at` seconds that satisfies the steps."""
    blank = {"exclusions": set(), "held": None, "value": None, "started": 0}
    return {"unit": unit, "at": at * SECOND, "steps": set(steps), **blank, **more}


def funnel_of(length: int, **more: Any) -> Funnel:
    return parse({"steps": [{"event": f"e{i}"} for i in range(length)], **more})


def asked(funnel: Funnel, *events: dict[str, Any], **more: Any) -> pl.DataFrame:
    return attempts(frame(list(events)), funnel, (0, 99 * SECOND), **more)


@quick
@given(cases, several_cuts)
def test_units_are_done_in_parts_as_they_are_at_once(case, cuts):
    funnel, events = case
    events = events + [{**event, "unit": f"{event['unit']}{i}"} for event in events for i in range(3)]
    at_once = asked(funnel, *events, cuts=cuts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dropoff.analyse.funnels.attempts.CHUNK", 5)
        patch.setattr("dropoff.analyse.funnels.attempts.PIECE", 7)
        assert rows(asked(funnel, *events, cuts=cuts), funnel) == rows(at_once, funnel)


NUMBERS = {
    "small": lambda i: i,
    "alike but for the last bits": lambda i: 2**64 - 1 - i,
    "spread": lambda i: i * 0x9E3779B97F4A7C15 % 2**64,
}


def numbered(events: list[dict[str, Any]], kind: str) -> tuple[pl.DataFrame, dict[str, int]]:
    """The events with numbers for their units, and which."""
    known = sorted({event["unit"] for event in events})
    numbers = {unit: NUMBERS[kind](i + 1) for i, unit in enumerate(known)}
    unit = pl.Series("unit", [numbers[event["unit"]] for event in events], pl.UInt64)
    return frame(events).with_columns(unit), numbers


@pytest.mark.parametrize("kind", NUMBERS)
@quick
@given(cases, st.randoms(use_true_random=False))
def test_units_may_be_numbers_and_be_chosen_by_them(kind, case, chance: random.Random):
    funnel, events = case
    events = events + [{**event, "unit": f"{event['unit']}{i}"} for event in events for i in range(3)]
    given_events, numbers = numbered(chance.sample(events, len(events)), kind)
    chosen = chance.sample(sorted(numbers), chance.randint(0, len(numbers)))
    found = attempts(
        given_events, funnel, (0, 99 * SECOND), units=np.sort(np.array([numbers[unit] for unit in chosen], np.uint64))
    )
    name = {number: unit for unit, number in numbers.items()}
    named = found.with_columns(pl.Series("unit", [name[number] for number in found["unit"]], pl.String))
    alone = [event for event in events if event["unit"] in chosen]
    assert rows(named, funnel) == rows(asked(funnel, *alone), funnel)


@quick
@given(cases, periods, st.integers(0, 9).map(lambda s: s * SECOND))
def test_a_period_that_ends_earlier(case, period, end):
    funnel, events = case
    if funnel.mode in UNTIMED or not period[0] <= end <= period[1]:
        return
    found, before = attempts(frame(events), funnel, period), attempts(frame(events), funnel, (period[0], end))
    assert rows(earlier(found, frame(events), funnel, period, end), funnel) == rows(before, funnel)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dropoff.analyse.funnels.attempts.CHUNK", 3)
        patch.setattr("dropoff.analyse.funnels.attempts.PIECE", 5)
        parts = in_parts(frame(events))
    assert rows(earlier(found, parts, funnel, period, end), funnel) == rows(before, funnel)


@given(cases)
def test_units_with_one_hash_are_told_apart(case):
    funnel, events = case
    apart = asked(funnel, *events)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dropoff.analyse.funnels.rows.key_of", lambda unit: pl.Series("key", [7] * len(unit), pl.UInt64))
        assert rows(asked(funnel, *events), funnel) == rows(apart, funnel)


@quick
@given(cases)
def test_every_entry_holds_the_one_that_counts_alone(case):
    funnel, events = case
    if funnel.mode in UNTIMED or funnel.exclusions:
        return
    definition = msgspec.to_builtins(funnel)
    once, every = (parse({**definition, "re_entry": name}) for name in ("first", "every"))
    assert set(rows(asked(once, *events), once)) <= set(rows(asked(every, *events), every))


@pytest.mark.parametrize("mode", ["reached", "recorded", "ordered", "strict", "any"])
def test_nothing_happened(mode: str):
    funnel = funnel_of(2, mode=mode, by="event:p")
    found = asked(funnel)
    assert (found.height, trend(asked(funnel, cuts=[0, 1]), funnel, 2).tolist()) == (0, [[0, 0], [0, 0]])
    assert count(found, funnel)["count"].to_list() == [0, 0]
    assert times(found, 0, 1) == Times(0, None, None, None, ())


def test_a_later_step_implies_the_earlier_ones_where_reached():
    events = [event("a", 0, 0), event("b", 5, 2), event("b", 6, 0), event("c", 7)]
    counts = {}
    for mode in UNTIMED:
        funnel = funnel_of(3, mode=mode)
        counts[mode] = count(asked(funnel, *events), funnel).select("count", "recorded").rows()
    assert counts == {"reached": [(2, 2), (1, 0), (1, 1)], "recorded": [(2, 2), (0, 0), (1, 1)]}


def test_a_wait_is_counted_from_the_event_that_leads_on():
    """The first of two second steps is too early for the third: the other is taken."""
    funnel = parse({"steps": [{"event": "a"}, {"event": "b"}, {"event": "c", "within": "1s"}]})
    found = asked(funnel, event("u", 0, 0), event("u", 1, 1), event("u", 5, 1), event("u", 6, 2))
    assert found.select("at_0", "at_1", "at_2").row(0) == (0, 5 * SECOND, 6 * SECOND)


@pytest.mark.parametrize("mode", ["ordered", "strict", "any"])
def test_a_window_and_a_wait_include_their_last_instant(mode: str):
    limits = [{"window": "5s"}, {}] if mode != "any" else [{"window": "5s"}]
    for limit in limits:
        wait = {} if limit else {"within": "5s"}
        funnel = parse({"steps": [{"event": "a"}, {"event": "b", **wait}], "mode": mode, **limit})
        for seconds, came in ((5, 1), (6, 0)):
            found = asked(funnel, event("u", 0, 0), event("u", seconds, 1))
            assert count(found, funnel)["count"].to_list() == [1, came]


def test_a_void_attempt_takes_along_what_came_less_far_before_it():
    funnel = parse(
        {"steps": [{"event": "a"}, {"event": "b"}], "window": "9s", "exclusions": [{"event": "x", "between": [0, 1]}]}
    )
    late = [event("u", 20, 0), event("u", 21, exclusions={0}), event("u", 22, 1)]
    assert asked(funnel, event("u", 0, 0), *late).height == 0
    assert count(asked(funnel, event("u", 0, 0), event("u", 1, 1), *late), funnel)["count"].to_list() == [1, 1]
    assert count(asked(funnel, *late, event("u", 30, 0)), funnel)["count"].to_list() == [1, 0]


def test_an_exclusion_without_the_held_property_is_of_all_its_values():
    funnel = funnel_of(2, hold_constant=["m"], exclusions=[{"event": "x", "between": [0, 1]}])
    events = [event("u", 0, 0, held="m1"), event("u", 2, 1, held="m1")]
    for held, height in ((None, 0), ("m1", 0), ("m2", 1)):
        assert asked(funnel, *events, event("u", 1, held=held, exclusions={0})).height == height


def test_times_to_convert():
    funnel = funnel_of(2)
    taken = [1, 2, 2, 3, 10, 20, 30, 40]
    events = [e for i, s in enumerate(taken) for e in (event(f"u{i}", 0, 0), event(f"u{i}", s, 1))]
    found = times(asked(funnel, *events, event("never", 0, 0)), 0, 1)
    assert (found.n, found.average, found.median, found.p90) == (8, 13.5, 6.5, pytest.approx(33.0))
    assert found.histogram == ((1, 6), (21, 1), (40, 1))


@pytest.mark.parametrize("missing", ["unit", "at", "steps"])
def test_a_frame_that_lacks_a_column_is_refused_before_it_is_cut(missing: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("dropoff.analyse.funnels.attempts.CHUNK", 1)
    events = frame([event("u", 0, 0), event("v", 0, 0)]).drop(missing)
    with pytest.raises(InvalidInput, match="columns unit, at, steps"):
        attempts(events, funnel_of(2), (0, 1))


def test_a_frame_that_lacks_what_the_definition_asks_for_is_refused():
    with pytest.raises(InvalidInput, match="columns unit, at, steps, exclusions, held, value"):
        attempts(
            frame([]).select("unit", "at", "steps"),
            funnel_of(2, hold_constant=["m"], by="channel", exclusions=[{"event": "x", "between": [0, 1]}]),
            (0, 1),
        )
