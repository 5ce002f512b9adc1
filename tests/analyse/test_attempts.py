"""Custom funnels over events: any funnel on any small history is what trying everything says it is."""

import random
from typing import Any

import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brute_funnel import interpret
from dropoff.analyse.attempts import attempts, count
from dropoff.funnels import UNTIMED, Funnel, parse

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
    events = draw(st.lists(event, min_size=1, max_size=size))
    for each in events:
        each["started"] = 3 * SECOND if each["unit"] == "a" else 5 * SECOND
        if funnel.by == "channel":
            each["value"] = {"a": "sms", "b": None}[each["unit"]]
    return events


cases = funnels().flatmap(lambda funnel: st.tuples(st.just(funnel), histories(funnel)))
periods = st.sampled_from([(0, 99 * SECOND), (0, 4 * SECOND), (2 * SECOND, 6 * SECOND)])
several_cuts = st.sampled_from([None, None, [0, 2 * SECOND, 5 * SECOND]])
quick = settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow])


@quick
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
