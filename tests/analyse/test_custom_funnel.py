"""Funnels of one's own from the store: what the core says of the same events, told in a funnel's shape."""

import json
import random
from datetime import UTC, datetime

import polars as pl
import pytest

from dropoff.analyse.analytics import Analytics
from dropoff.analyse.funnels.attempts import attempts
from dropoff.analyse.funnels.tallies import count, times, trend
from dropoff.errors import InvalidInput
from dropoff.project.funnels import MODES, UNTIMED, Funnel, parse
from worlds import attended, booked, event, given, minute, objected, qualified, received, retracted, started

JANUARY = {"from": "2024-01-01", "to": "2024-02-01"}
DAY = 1440


def definition(*steps, **more):
    return {"steps": [{"event": step} if isinstance(step, str) else step for step in steps], **more}


def ask(analytics, funnel, **params):
    texts = {**JANUARY, **{name.rstrip("_"): text for name, text in params.items()}, "definition": json.dumps(funnel)}
    return analytics.funnel({name: [text] for name, text in texts.items()})


def counts(answer):
    return [stage["count"] for stage in answer["stages"]]


WORLD = [
    started(contact_id="p", channel="sms"), qualified(score=60, at=3), objected("price", at=4), objected("time", at=4),
    booked(at=5), attended(at=65, conversation_id=None, contact_id="p"),
    started(conversation_id="d", channel="chat", contact_id="q"), qualified(score=10, conversation_id="d", at=2),
    qualified(score=70, conversation_id="d", at=30), booked(conversation_id="d", at=20),
    started(conversation_id="t", is_test=True), qualified(conversation_id="t", score=90),
    started(conversation_id="f", contact_id="q", channel="sms", at=DAY), booked(conversation_id="f", at=DAY + 9),
]  # fmt: skip
SCORED = {"event": "qualified", "where": {"score": {">=": 50}}}


def test_stages_rates_times_and_drop_offs(asked):
    answer = ask(asked(*WORLD), definition(SCORED, "meeting_booked", "meeting_attended", window="2h"))
    assert counts(answer) == [2, 1, 1]
    first, second, third = answer["stages"]
    assert first["stage"] == "qualified"
    assert first["rate_from_previous"]["value"] is None
    assert first["median_seconds"] is None
    assert (second["rate_from_previous"]["value"], second["rate_from_previous"]["denominator"]) == (0.5, 2)
    assert second["rate_from_previous"]["interval"][0] < 0.5 < second["rate_from_previous"]["interval"][1]
    assert [second[f"{name}_seconds"] for name in ("median", "average", "p90")] == [120, 120, 120]
    assert third["median_seconds"] == 3600
    assert third["rate_from_start"]["value"] == 0.5
    (drop,) = answer["drop_offs"]
    wanted = {"from": "qualified", "to": "meeting_booked", "drop_rate": 0.5, "volume_lost": 1}
    assert {name: drop[name] for name in wanted} == wanted
    assert drop["interval"] is not None
    assert (drop["matured"]["value"], drop["matured"]["n"], drop["projected"]) == (0.5, 2, None)
    assert answer["time_to_convert"]["n"] == 1
    assert answer["time_to_convert"]["median_seconds"] == 62 * 60
    assert answer["time_to_convert"]["histogram"][0] == {"from_seconds": 3720, "count": 1}
    assert answer["definition"]["mode"] == "ordered"
    assert answer["definition"]["funnel"]["window"] == "2h"
    assert answer["test_conversations"] == 1


def test_filters_and_test_traffic(asked):
    analytics, funnel = asked(*WORLD), definition("qualified", "meeting_booked")
    assert counts(ask(analytics, funnel)) == [2, 2]
    assert counts(ask(analytics, funnel, include_test="1")) == [3, 2]
    assert counts(ask(analytics, funnel, where="channel=chat")) == [1, 1]
    assert counts(ask(analytics, funnel, threshold="0.5")) == [2, 2]


def test_an_event_of_a_contact_without_a_conversation_is_of_no_unit(asked):
    lonely = attended(at=70, conversation_id=None, contact_id="nobody")
    analytics = asked(*WORLD, lonely)
    assert counts(ask(analytics, definition("meeting_attended", "qualified"))) == [1, 0]
    assert counts(ask(analytics, definition("meeting_attended", "qualified"), where="channel=sms")) == [1, 0]


def test_the_period_holds_for_the_first_step_and_not_for_what_follows(asked):
    late = [started(), qualified(at=10), booked(at=3 * DAY)]
    analytics, first_day = asked(*late), {"from_": "2024-01-15", "to": "2024-01-16"}
    assert counts(ask(analytics, definition("qualified", "meeting_booked"), **first_day)) == [1, 1]
    assert counts(ask(analytics, definition("qualified", "meeting_booked", window="1d"), **first_day)) == [1, 0]
    assert counts(ask(analytics, definition("meeting_booked", "qualified"), **first_day)) == [0, 0]
    reached = definition("qualified", "meeting_booked", mode="reached")
    assert counts(ask(analytics, reached, **first_day)) == [1, 1]
    assert counts(ask(analytics, reached, from_="2024-01-16", to="2024-01-20")) == [0, 0]


def test_a_contact_is_one_whatever_its_conversations(asked):
    funnel = definition("qualified", "meeting_booked", {"event": "meeting_booked", "name": "again"}, unit="contact")
    answer = ask(asked(*WORLD), funnel | {"by": "channel"})
    assert counts(answer) == [2, 2, 1]
    # The conversation in which it was entered says under which value a contact counts.
    assert {value: counts(part) for value, part in answer["segments"].items()} == {"chat": [1, 1, 1], "sms": [1, 1, 0]}
    began = definition("conversation_started", "meeting_booked", unit="contact", mode="reached")
    assert counts(ask(asked(*WORLD), began, from_="2024-01-16", to="2024-01-17")) == [0, 0]


def test_a_conversation_stands_under_each_of_its_objections(asked):
    answer = ask(asked(*WORLD), definition("qualified", "meeting_booked"), by="objection")
    assert counts(answer) == [2, 2]
    assert {value: counts(part) for value, part in answer["segments"].items()} == {
        "(none)": [1, 1], "price": [1, 1], "time": [1, 1],
    }  # fmt: skip


def test_values_of_events_by_step(asked):
    funnel = definition("qualified", "meeting_booked", by="event:score")
    assert set(ask(asked(*WORLD), funnel)["segments"]) == {"60", "10"}
    at_step = ask(asked(*WORLD), funnel | {"attribution": {"step": 1}})
    assert set(at_step["segments"]) == {"(none)"}


def test_the_rarer_values_of_many_are_taken_together(asked):
    events = [
        made
        for i in range(60)
        for made in (started(conversation_id=f"c{i}"), qualified(conversation_id=f"c{i}", score=i if i < 55 else 0))
    ]
    segments = ask(asked(*events), definition("qualified", "meeting_booked"), by="event:score")["segments"]
    assert len(segments) == 51
    assert counts(segments["0"]) == [6, 0]
    assert counts(segments["(rest)"]) == [5, 0]
    assert sum(part["stages"][0]["count"] for part in segments.values()) == 60


def test_what_was_retracted_did_not_happen(asked):
    events = [started(), qualified(event_id="e1"), retracted("e1", at=4), booked(at=5)]
    assert counts(ask(asked(*events), definition("qualified", "meeting_booked"))) == [0, 0]
    # … and that it did not is no event between two steps.
    events = [started(), qualified(), booked(event_id="e1", at=5), retracted("e1", at=4), attended(at=6)]
    strict = definition("qualified", "meeting_attended", mode="strict")
    assert counts(ask(asked(*events), strict)) == [1, 1]


def test_a_step_that_is_never_recorded_has_no_rate(asked):
    answer = ask(asked(*WORLD), definition("qualified", "never_sent", "meeting_booked", mode="recorded"))
    assert [stage["is_recorded"] for stage in answer["stages"]] == [True, False, True]
    assert answer["stages"][1]["rate_from_start"]["value"] is None
    assert answer["stages"][2]["rate_from_previous"] == {
        "value": 1.5, "numerator": 3, "denominator": 2, "interval": None, "matured": None, "projected": None,
    }  # fmt: skip
    assert answer["drop_offs"] == []


def test_in_mode_any_the_stages_are_how_many(asked):
    answer = ask(asked(*WORLD), definition("meeting_booked", "meeting_attended", "nothing_such", mode="any"))
    assert [stage["stage"] for stage in answer["stages"]] == ["1 of 3", "2 of 3", "3 of 3"]
    assert counts(answer) == [3, 1, 0]


def test_every_step_over_time(asked):
    funnel = definition("conversation_started", "meeting_booked", window="14d")
    answer = ask(asked(*WORLD), funnel, from_="2024-01-14", to="2024-01-18", interval="day", timezone="Asia/Tokyo")
    points = answer["trend"]["points"]
    assert [[stage["count"] for stage in point["stages"]] for point in points] == [[0, 0], [2, 2], [1, 1], [0, 0]]
    assert points[1]["from"] == "2024-01-14T15:00:00Z"
    assert points[1]["stages"][1]["rate_from_previous"]["value"] == 1
    assert not any(point["partial"] or point["immature"] for point in points)


# The same as the core says of events that are looked at one by one.


def world():
    draw = random.Random(5)
    events = []
    for i in range(60):
        name, at = f"c{i}", draw.randrange(0, 20 * DAY)
        events.append(started(at, conversation_id=name, contact_id=f"p{i % 25}", channel=draw.choice(["sms", "chat"])))
        for _ in range(draw.randrange(18)):
            kind, seats = draw.choice(["a", "b", "c", "x"]), draw.choice([1, 5, 50, "many", None])
            plan = draw.choice(["pro", "pro plus", "basic", None])
            moment = at + draw.randrange(0, 5000)
            events.append(event(kind, moment, name, seats=seats, plan=plan))
    return events


ABC = ("a", {"event": "b", "where": {"seats": {">": 1}}}, {"event": "c", "where": {"plan": {"contains": "pro"}}})
DEFINITIONS = [
    definition(*ABC, by="channel"),
    definition(*ABC, window="2d", by="event:plan", attribution="all"),
    definition(*ABC, exclusions=[{"event": "x", "between": [0, 2], "where": {"plan": {"!=": "basic"}}}]),
    definition("a", "b", unit="contact", re_entry="every", by="channel"),
    definition("a", {"event": "*", "where": {"seats": {"in": [5, "many"]}}}, "c", hold_constant=["plan"]),
    definition("a", "*", hold_constant=["plan", "seats"]),
    definition("a", {"event": "b", "optional": True}, {"event": "c", "within": "1d"}, by="event:seats"),
    definition(*ABC, mode="any", window="1d"),
    definition("a", "b", mode="strict"),
    definition(*ABC, mode="reached", by="event:plan", attribution={"step": 1}),
    definition(*ABC, mode="recorded", unit="contact", by="channel"),
]
SIGNS = {
    ">": lambda value, limit: isinstance(value, int) and value > limit,
    "contains": lambda value, part: value is not None and part in value,
    "!=": lambda value, other: value != other,
    "in": lambda value, some: value in some,
}


def is_one(made, happening):
    fits = happening.event in ("*", made["event_type"])
    return fits and all(SIGNS[c.sign](made["properties"].get(c.property), c.value) for c in happening.conditions)


def looked_at(events, funnel: Funnel) -> pl.DataFrame:
    """The columns of the core, made from the events themselves."""
    begins = [made for made in events if made["event_type"] == "conversation_started"]
    contact = {made["conversation_id"]: made["contact_id"] for made in begins}
    channel = {made["conversation_id"]: made["channel"] for made in begins}
    unit = contact if funnel.unit == "contact" else {name: name for name in contact}
    start = {}
    for made in begins:
        of = unit[made["conversation_id"]]
        start[of] = min(start.get(of, made["timestamp"]), made["timestamp"])
    rows = []
    for made in events:
        name, properties = made["conversation_id"], made["properties"]
        held = [properties.get(one) for one in funnel.hold_constant]
        value = properties.get((funnel.by or "").removeprefix("event:")) if funnel.by != "channel" else channel[name]
        rows.append({
            "unit": unit[name], "at": made["timestamp"] * 1000, "started": start[unit[name]] * 1000,
            "steps": sum(1 << i for i, step in enumerate(funnel.steps) if is_one(made, step)),
            "exclusions": sum(1 << i for i, one in enumerate(funnel.exclusions) if is_one(made, one)),
            "held": None if not any(one is not None for one in held) else repr(list(map(str, held))),
            "value": None if value is None else str(value),
        })  # fmt: skip
    schema = {"unit": pl.String, "at": pl.Int64, "started": pl.Int64, "steps": pl.UInt32, "exclusions": pl.UInt32}
    return pl.DataFrame(rows, schema | {"held": pl.String, "value": pl.String})


@pytest.fixture(scope="module")
def analytics(engine, tmp_path_factory):
    store = given(*world(), directory=tmp_path_factory.mktemp("funnels"), engine=engine)
    yield Analytics(store, "UTC", lambda: datetime(2024, 3, 1, tzinfo=UTC))
    store.close()


@pytest.mark.parametrize("given", DEFINITIONS, ids=json.dumps)
def test_the_answer_is_what_the_core_says_of_the_events(analytics, given):
    funnel, period = parse(given), (minute(0), minute(14 * DAY))
    whole = parse({name: value for name, value in given.items() if name not in ("by", "attribution")})
    events = looked_at(world(), funnel)
    asked_for = {"from_": "2024-01-15T10:00Z", "to": "2024-01-29T10:00Z", "interval": "week"}
    answer = ask(analytics, given, **asked_for)
    found = attempts(events, whole, period)
    assert counts(answer) == count(found, whole)["count"].to_list()
    assert [stage["recorded"] for stage in answer["stages"]] == count(found, whole)["recorded"].to_list()
    assert counts(answer)[1] > 0
    assert answer["stages"][1]["median_seconds"] == times(found, 0, 1).median
    cuts = [minute(days * DAY - 600) for days in (0, 7, 14)]
    over_time = trend(attempts(events, whole, period, cuts), whole, 3).tolist()
    assert [[stage["count"] for stage in point["stages"]] for point in answer["trend"]["points"]] == over_time
    if funnel.by:
        split = attempts(events, funnel, period).with_columns(pl.col("value").fill_null("(none)"))
        expected = {
            value: count(part, funnel)["count"].to_list()
            for (value,), part in split.partition_by("value", as_dict=True).items()
        }
        assert {value: counts(part) for value, part in answer["segments"].items()} == expected
        assert len(expected) > 1
    assert funnel.mode in UNTIMED or answer["time_to_convert"]["n"] > 0


BOOKED = definition("qualified", "meeting_booked")


@pytest.mark.parametrize(
    ("funnel", "params", "refusal"),
    [
        (BOOKED, {"name": "sales"}, "name == 'sales', must be left out where a definition is given"),
        (BOOKED, {"by": "colour"}, "by == 'colour', must be one of channel,"),
        (BOOKED, {"by": "event:"}, "by == 'event:', must be event: and a property's name"),
        (BOOKED, {"interval": "year"}, "interval == 'year', must be one of hour, day, week, month"),
        (BOOKED, {"interval": "hour", "to": "2034-01-01"}, "must be one that gives at most 2000 points, not"),
        (BOOKED, {"where": "channel"}, "where == 'channel', must be like 'channel=sms'"),
        (definition("qualified"), {}, "definition.steps == 1, must be 2 to 20 steps"),
        (definition("qualified", {"event": "x", "wher": {}}), {}, "definition.steps[1].wher == {}, must be one of"),
        ([], {}, "definition == [], must be a table"),
    ],
)  # fmt: skip
def test_every_refusal_names_place_value_and_rule(asked, funnel, params, refusal):
    with pytest.raises(InvalidInput) as caught:
        ask(asked(received()), funnel, **params)
    assert refusal in str(caught.value)


def test_what_is_no_json_is_refused(asked):
    with pytest.raises(InvalidInput) as caught:
        asked(received()).funnel({"definition": ["{steps"]})
    assert "definition == '{steps', must be JSON" in str(caught.value)


def test_only_a_funnel_of_ones_own_has_a_trend(asked):
    with pytest.raises(InvalidInput, match="interval == 'day', must be left out"):
        asked(received()).funnel({"interval": ["day"]})


def test_another_mode_for_the_same_steps(asked):
    analytics = asked(*WORLD)
    steps = ["meeting_booked", "qualified"]
    for mode in MODES:
        assert counts(ask(analytics, definition(*steps), mode=mode)) == counts(
            ask(analytics, definition(*steps, mode=mode))
        )
    wanted = {name: [text] for name, text in {**JANUARY, "definition": json.dumps(definition(*steps))}.items()}
    for mode, n in (("ordered", 1), ("reached", 2)):
        found = analytics.conversations({**wanted, "mode": [mode], "stage": ["qualified"]})
        assert found["total"] == n
        assert counts(ask(analytics, definition(*steps), mode=mode))[1] == n
    assert analytics.dropoffs({**wanted, "mode": ["ordered"]})["definition"]["funnel"]["steps"]


@pytest.mark.parametrize(
    ("params", "refusal"),
    [
        ({"mode": "fast"}, "mode == 'fast', must be one of reached, recorded, ordered, strict, any"),
        ({"mode": "reached"}, "definition.steps[1].within == '1h', must be left out: in mode reached"),
        ({"mode": "any"}, "definition.steps[1].within == '1h', must be left out: in mode any"),
    ],
)
def test_a_mode_that_does_not_fit_is_refused(asked, params, refusal):
    with pytest.raises(InvalidInput) as caught:
        ask(asked(), definition("qualified", {"event": "meeting_booked", "within": "1h"}, window="2h"), **params)
    assert refusal in str(caught.value)


@pytest.mark.parametrize(
    ("name", "own", "other"), [("sales", "reached", "ordered"), ("mission", "recorded", "reached")]
)
def test_dropoffs_own_funnels_have_their_mode(asked, name, own, other):
    analytics = asked(started())
    for question in (analytics.funnel, analytics.dropoffs, analytics.conversations):
        question({"name": [name], "mode": [own]})
        with pytest.raises(InvalidInput, match=f"mode == '{other}', must be {own} or left out"):
            question({"name": [name], "mode": [other]})
