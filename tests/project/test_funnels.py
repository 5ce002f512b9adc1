"""The definition of a funnel of one's own: what it may say, what is refused, and that nothing of it gets lost."""

import json
import re
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropoff.errors import InvalidInput
from dropoff.project.funnels import ATTRIBUTIONS, MODES, RE_ENTRIES, UNITS, Funnel, parse, parse_json

TWO = [{"event": "qualified"}, {"event": "meeting_booked"}]
WHOLE = {
    "steps": [
        {"event": "qualified", "where": {"score": {">=": 50}, "plan": "pro"}, "name": "Good enough"},
        {"event": "*", "where": {"intent": {"in": ["pricing", "demo"]}}, "optional": True},
        {"event": "meeting_booked", "within": "3d"},
    ],
    "window": "14d",
    "exclusions": [{"event": "opted_out", "between": [0, 2], "where": {"keyword": {"exists": True}}}],
    "unit": "contact",
    "hold_constant": ["meeting_id"],
    "re_entry": "every",
    "by": "event:variant",
    "attribution": {"step": 2},
}


def test_a_definition_is_read_and_written():
    funnel = parse(WHOLE)
    assert json.loads(funnel.to_json()) == WHOLE
    assert parse_json(funnel.to_json()) == funnel
    assert funnel.names == ("Good enough", "*", "meeting_booked")
    assert (funnel.required, funnel.window_micros) == ((0, 2), 14 * 86_400_000_000)
    assert funnel.within_micros == (None, None, 3 * 86_400_000_000)
    assert [tuple(c) for c in funnel.steps[0].conditions] == [("score", ">=", 50), ("plan", "=", "pro")]


def test_the_same_in_toml():
    funnel = parse(
        tomllib.loads("""
            window = "14d"
            exclusions = [{event = "opted_out", between = [0, 1]}]
            [[steps]]
            event = "qualified"
            where = {score = {">=" = 50}}
            [[steps]]
            event = "meeting_booked"
        """)
    )
    assert parse_json(funnel.to_json()) == funnel
    assert (funnel.mode, funnel.exclusions[0].between) == ("ordered", (0, 1))


def test_what_is_left_out():
    funnel = parse({"steps": TWO})
    assert funnel == Funnel(
        steps=funnel.steps, mode="ordered", unit="conversation", re_entry="first", attribution="first"
    )
    assert json.loads(funnel.to_json()) == {"steps": TWO}


def test_equal_events_are_told_apart_by_their_number():
    funnel = parse({"steps": [{"event": "message_sent"}, {"event": "message_sent"}, {"event": "qualified"}]})
    assert funnel.names == ("message_sent (1)", "message_sent (2)", "qualified")


def with_(**changes: Any) -> dict[str, Any]:
    return {"steps": TWO, **changes}


def second(**changes: Any) -> dict[str, Any]:
    return {"steps": [TWO[0], {**TWO[1], **changes}]}


AMBIGUOUS = {"steps": [{"event": "a"}, {"event": "a"}, {"event": "b", "name": "a (1)"}]}
OPTIONAL = {"steps": [TWO[0], {**TWO[1], "optional": True}, {"event": "deal_closed"}]}


@pytest.mark.parametrize(
    ("definition", "path", "value", "rule"),
    [
        ([], "f", [], "a table"),
        ({}, "f.steps", None, "given"),
        ({"steps": "qualified"}, "f.steps", "qualified", "a list of 2 to 20 steps"),
        ({"steps": TWO[:1]}, "f.steps", 1, "2 to 20 steps"),
        ({"steps": [{"event": f"e{i}"} for i in range(21)]}, "f.steps", 21, "2 to 20 steps"),
        ({"steps": [TWO[0], "qualified"]}, "f.steps[1]", "qualified", "a table"),
        ({"steps": [TWO[0], {}]}, "f.steps[1].event", None, "given"),
        (with_(stepz=1), "f.stepz", 1, "one of steps, mode, window"),
        (second(evnt="x"), "f.steps[1].evnt", "x", "one of event, where, name, optional, within"),
        (second(event=5), "f.steps[1].event", 5, "a text"),
        (second(event=" "), "f.steps[1].event", " ", "a name of 1 to 64 characters, or *"),
        (second(event="dealWon"), "f.steps[1].event", "dealWon", "'deal_closed'"),
        (second(optional="yes"), "f.steps[1].optional", "yes", "true or false"),
        (second(within=3), "f.steps[1].within", 3, "a duration like '90m'"),
        (second(within="soon"), "f.steps[1].within", "soon", "like '90m'"),
        (second(within="0s"), "f.steps[1].within", "0s", "longer than 0 and at most 3650d"),
        (second(name="x" * 65), "f.steps[1].name", "x" * 65, "at most 64 characters"),
        (AMBIGUOUS, "f.steps[0].name", "a (1)", "a name that no other step has"),
        (second(where=["score"]), "f.steps[1].where", ["score"], "conditions like"),
        (second(where={"score": {"~": 5}}), "f.steps[1].where.score.~", 5, "under one of =, !=, in"),
        (second(where={"score": {">": "5"}}), "f.steps[1].where.score.>", "5", "a number"),
        (second(where={"": 5}), "f.steps[1].where.", "", "a property's name"),
        ({"steps": [{**TWO[0], "optional": True}, TWO[1]]}, "f.steps[0].optional", True, "false"),
        ({"steps": [{**TWO[0], "within": "1d"}, TWO[1]]}, "f.steps[0].within", "1d", "left out"),
        ({**OPTIONAL, "mode": "strict"}, "f.steps[1].optional", True, "false in mode strict"),
        ({**second(within="1d"), "mode": "any"}, "f.steps[1].within", "1d", "left out: in mode any"),
        (with_(mode="random"), "f.mode", "random", f"one of {', '.join(MODES)}"),
        (with_(unit="account"), "f.unit", "account", f"one of {', '.join(UNITS)}"),
        (with_(re_entry="never"), "f.re_entry", "never", f"one of {', '.join(RE_ENTRIES)}"),
        (with_(window="4000d"), "f.window", "4000d", "at most 3650d"),
        (with_(exclusions=[{"event": "x"}]), "f.exclusions[0].between", None, "given"),
        (with_(exclusions=[{"event": "x", "between": [0]}]), "f.exclusions[0].between", [0], "two steps like [0, 1]"),
        (with_(exclusions=[{"event": "x", "between": [0, "1"]}]), "f.exclusions[0].between[1]", "1", "two steps like"),
        (with_(exclusions=[{"event": "x", "between": [1, 0]}]), "f.exclusions[0].between", [1, 0], "two steps in"),
        (with_(exclusions=[{"event": "x", "between": [0, 2]}]), "f.exclusions[0].between", [0, 2], "from 0 to 1"),
        (
            {**OPTIONAL, "exclusions": [{"event": "x", "between": [0, 1]}]},
            "f.exclusions[0].between", [0, 1], "required steps",
        ),
        (
            with_(exclusions=[{"event": "qualified", "between": [0, 1]}]),
            "f.exclusions[0].event", "qualified", "no step of the funnel",
        ),
        (with_(exclusions=[{"event": f"x{i}", "between": [0, 1]} for i in range(21)]), "f.exclusions", 21, "most 20"),
        (with_(hold_constant="a"), "f.hold_constant", "a", "a list of properties"),
        (with_(hold_constant=["a", "a"]), "f.hold_constant[1]", "a", "each once"),
        (with_(hold_constant=[5]), "f.hold_constant[0]", 5, "a text"),
        (with_(mode="reached", window="1d"), "f.window", "1d", "left out: in mode reached"),
        (with_(mode="recorded", hold_constant=["a"]), "f.hold_constant", ["a"], "left out: in mode recorded"),
        (with_(mode="reached", re_entry="every"), "f.re_entry", "every", "first: in mode reached"),
        (with_(by=5), "f.by", 5, "a dimension, property:<name> or event:<name>"),
        (with_(by="shoe_size"), "f.by", "shoe_size", "one of channel"),
        (with_(by="event:"), "f.by", "event:", "a property's name"),
        (with_(by="event:a", attribution="middle"), "f.attribution", "middle", "one of first, last, all"),
        (with_(by="event:a", attribution=5), "f.attribution", 5, "one of first, last, all"),
        (with_(by="event:a", attribution={"step": 2}), "f.attribution.step", 2, "from 0 to 1"),
        (with_(by="event:a", attribution={"step": "2"}), "f.attribution.step", "2", "a whole number"),
        (with_(by="event:a", attribution={"stage": 2}), "f.attribution.stage", 2, "one of step"),
        (with_(by="channel", attribution="last"), "f.attribution", "last", "left out, unless by is event:"),
        (with_(attribution={"step": 0}), "f.attribution", {"step": 0}, "left out, unless by is event:"),
    ],
)  # fmt: skip
def test_every_mistake_is_named_with_its_place_its_value_and_the_rule(definition, path, value, rule):
    with pytest.raises(InvalidInput, match=re.escape(rule)) as refused:
        parse(definition, "f")
    assert (refused.value.name, refused.value.value) == (path, value)


def test_what_is_no_json():
    for text in (b"{", b"\xff", ""):
        with pytest.raises(InvalidInput, match="JSON"):
            parse_json(text)


scalars = st.one_of(st.none(), st.booleans(), st.integers(-3, 30), st.text(max_size=3), st.sampled_from(["1d", *MODES]))
names = st.sampled_from([*Funnel.__struct_fields__, "event", "where", "optional", "within", "between", "step", "name"])
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4))


@given(st.dictionaries(names, values, max_size=5), st.sampled_from([*Funnel.__struct_fields__]), values)
def test_whatever_is_given_is_read_or_refused(given_, name, value):
    for definition in (given_, {**WHOLE, name: value}, {**with_(), name: value}):
        try:
            funnel = parse(definition)
        except InvalidInput:
            continue
        assert parse_json(funnel.to_json()) == funnel


def test_the_words_for_attribution_are_all_taken():
    assert [parse(with_(by="event:a", attribution=word)).attribution for word in ATTRIBUTIONS] == list(ATTRIBUTIONS)


def test_a_text_that_is_nested_too_deep_is_refused():
    with pytest.raises(InvalidInput, match=r"definition == '.*', must be JSON"):
        parse_json("[" * 100_000, "definition")
