import json
from itertools import pairwise

import pytest

from dropoff.analyse.funnels import funnel
from dropoff.errors import InvalidInput
from worlds import (
    attended,
    booked,
    event,
    opportunity,
    qualified,
    received,
    sent,
    started,
    won,
)

STAGES = {"responded": received, "qualified": qualified, "booked": booked, "attended": attended, "converted": won}
MISSION = ("started", *STAGES)
WEEK = {"from": ["2024-01-15"], "to": ["2024-01-22"]}


def conversation(name, *stages, **start):
    """A conversation with an event of its own for each of these stages; `+opportunity` adds that one."""
    made = [started(conversation_id=name, **start)]
    made += [make(conversation_id=name) for stage, make in STAGES.items() if stage in stages]
    return made + ([opportunity(conversation_id=name)] if "opportunity" in stages else [])


def table(**rows):
    """Conversations by their stages: `table(a="responded booked")`, each several times with `a=(3, "…")`."""
    made = []
    for name, row in rows.items():
        count, stages = row if isinstance(row, tuple) else (1, row)
        for number in range(count):
            made += conversation(f"{name}{number}", *stages.split())
    return made


# In one place, as the mission writes them: each stage counted by its own event, plain quotients.
def calculate_funnel_metrics(counts):
    started, responded, qualified, booked, attended, converted = (counts[stage] for stage in MISSION)
    return {
        "response_rate": quotient(responded, started),
        "qualification_rate": quotient(qualified, responded),
        "booking_rate": quotient(booked, qualified),
        "show_rate": quotient(attended, booked),
        "conversion_rate": quotient(converted, attended),
    }


def find_drop_off_points(counts, threshold):
    found = []
    for a, b in pairwise(MISSION):
        if counts[a] and 1 - counts[b] / counts[a] > threshold:
            rate = 1 - counts[b] / counts[a]
            found.append({"from": a, "to": b, "drop_rate": rate, "volume_lost": counts[a] - counts[b]})
    return sorted(found, key=lambda d: -d["drop_rate"])


def quotient(a, b):
    return a / b if b else None


# Nobody of "late" answered, yet they booked and bought: quotients above 1.
TABLE = table(
    silent=(7, ""),
    answered=(4, "responded"),
    fit=(1, "responded qualified"),
    late=(5, "booked"),
    met=(2, "qualified booked attended"),
    bought=(3, "responded qualified booked attended opportunity converted"),
    direct=(1, "converted"),
)
COUNTS = {"started": 23, "responded": 8, "qualified": 6, "booked": 10, "attended": 5, "converted": 4}


def test_the_missions_funnel_to_the_last_digit(asked):
    answer = asked(*TABLE).funnel({"name": ["mission"], **WEEK})
    assert {s["stage"]: s["count"] for s in answer["stages"]} == COUNTS
    assert answer["rates"] == calculate_funnel_metrics(COUNTS)
    assert answer["rates"]["booking_rate"] == 10 / 6
    assert all(number["interval"] is None for number in answer["numbers"].values())


@pytest.mark.parametrize("threshold", [0, 0.2, 0.3, 0.5, 0.99])
def test_the_missions_drop_offs_to_the_last_digit(asked, threshold):
    answer = asked(*TABLE).dropoffs({"name": ["mission"], "threshold": [str(threshold)], **WEEK})
    expected = find_drop_off_points(COUNTS, threshold)
    assert [
        {name: drop[name] for name in ("from", "to", "drop_rate", "volume_lost")} for drop in answer["drop_offs"]
    ] == expected


def test_a_rate_at_the_threshold_is_not_above_it(asked):
    half = table(a=(2, "responded"), b=(2, ""))
    assert asked(*half).dropoffs({"threshold": ["0.5"], **WEEK})["drop_offs"] == []
    assert asked(*half).dropoffs({"threshold": ["0.4999"], **WEEK})["drop_offs"]


def test_nothing_over_nothing_is_null(asked):
    # Every stage is recorded in the project, but in this week nobody answered.
    elsewhere = [e | {"timestamp": 1_600_000_000_000} for e in conversation("old", *STAGES)]
    answer = asked(*elsewhere, *table(silent=(3, ""))).funnel({"name": ["mission"], **WEEK})
    assert answer["rates"] == {
        "response_rate": 0.0, "qualification_rate": None, "booking_rate": None, "show_rate": None,
        "conversion_rate": None,
    }  # fmt: skip
    assert [(d["from"], d["drop_rate"]) for d in answer["drop_offs"]] == [("started", 1.0)]


def test_a_later_stage_implies_the_earlier_ones(asked):
    answer = asked(*TABLE).funnel(WEEK)
    found = {s["stage"]: (s["count"], s["recorded"], s["implied"]) for s in answer["stages"]}
    assert found == {
        "started": (23, 23, 0), "responded": (16, 8, 8), "qualified": (12, 6, 6), "booked": (11, 10, 1),
        "attended": (6, 5, 1), "opportunity": (4, 3, 1), "converted": (4, 4, 0),
    }  # fmt: skip
    assert answer["rates"] == {
        "response_rate": 16 / 23, "qualification_rate": 12 / 16, "booking_rate": 11 / 12, "show_rate": 6 / 11,
        "opportunity_rate": 4 / 6, "conversion_rate": 4 / 6, "win_rate": 4 / 23,
    }  # fmt: skip


def test_a_share_lies_between_its_bounds(asked):
    for number in asked(*TABLE).funnel(WEEK)["numbers"].values():
        low, high = number["interval"]
        assert 0 <= low <= number["value"] <= high <= 1
        assert number["value"] == number["numerator"] / number["denominator"]


def test_a_stage_never_recorded_has_no_rate_and_no_drop_off(asked):
    answer = asked(*table(a=(3, "responded booked"), b=(2, "responded"), c=(1, ""))).funnel(WEEK)
    by_name = {s["stage"]: s for s in answer["stages"]}
    assert not by_name["qualified"]["is_recorded"]
    assert by_name["qualified"]["count"] == 3
    assert by_name["qualified"]["rate_from_previous"]["value"] is None
    assert by_name["booked"]["rate_from_previous"]["value"] == 3 / 5
    assert answer["rates"]["qualification_rate"] is None
    assert answer["rates"]["booking_rate"] is None
    assert [(d["from"], d["to"]) for d in answer["drop_offs"]] == [("responded", "booked"), ("started", "responded")]


def test_drop_offs_of_one_rate_are_sorted_by_volume():
    found = funnel.drop_offs({"a": 8, "b": 4, "c": 2, "d": 2}, 0)
    assert [(d.source, d.volume_lost) for d in found] == [("a", 4), ("b", 2)]


def test_by_channel_with_those_that_have_none(asked):
    world = [
        *conversation("a", "responded", channel="SMS"),
        *conversation("b", channel="sms"),
        *conversation("c", "responded", channel="none"),
        *conversation("d"),
    ]
    answer = asked(*world).funnel({"by": ["channel"], **WEEK})
    found = {value: [s["count"] for s in part["stages"][:2]] for value, part in answer["segments"].items()}
    assert found == {"sms": [2, 1], "(none)": [1, 0], "none": [1, 1]}
    assert next(iter(found)) == "sms"
    assert [s["count"] for s in answer["stages"][:2]] == [4, 2]


@pytest.mark.parametrize(("by", "overlapping"), [("objection", True), ("channel", False)])
def test_every_split_says_whether_a_conversation_stands_in_several(asked, by, overlapping):
    analytics, split = asked(*table(a="responded", b="booked")), {"by": [by], **WEEK}
    own = json.dumps({"steps": [{"event": "conversation_started"}, {"event": "meeting_booked"}]})
    for answer in (
        analytics.funnel(split), analytics.dropoffs(split), analytics.funnel({**split, "definition": [own]}),
        analytics.trend({**split, "metric": ["win_rate"]})["definition"], analytics.metrics(split)["definition"],
    ):  # fmt: skip
        assert (answer["by"], answer["overlapping"]) == (by, overlapping)


def test_where_one_dimension_twice_means_either_two_mean_both(asked):
    world = [
        *conversation("a", channel="sms", source="web"),
        *conversation("b", channel="chat", source="web"),
        *conversation("c", channel="email", source="ads"),
        *conversation("d"),
    ]
    analytics = asked(*world)

    def count(*where):
        return analytics.funnel({"where": where, **WEEK})["stages"][0]["count"]

    assert count("channel=sms") == 1
    assert count("channel=sms", "channel=chat") == 2
    assert count("channel=sms", "source=web") == 1
    assert count("channel=sms", "source=ads") == 0
    assert count("channel=(none)") == 1
    assert count("channel=' OR 1=1 --") == 0


def test_a_property_that_only_messages_have_is_no_filter(asked):
    analytics = asked(*conversation("a", "qualified", plan="pro"), received(intent="yes", conversation_id="a"))
    for ask in (analytics.funnel, analytics.metrics, analytics.conversations, analytics.dropoffs):
        with pytest.raises(InvalidInput, match=r"where == 'property:intent=yes'.* only messages have 'intent'"):
            ask({"where": ["property:intent=yes"], **WEEK})
        ask({"where": ["property:plan=basic"], **WEEK})
        ask({"where": ["property:never=x"], **WEEK})
        ask({"where": ["property:intent=(none)"], **WEEK})


def test_where_on_what_depends_on_the_clock(asked):
    analytics = asked(*table(a="responded qualified", b="converted"))
    assert analytics.funnel({"where": ["outcome=converted"], **WEEK})["stages"][0]["count"] == 1
    assert analytics.funnel({"where": ["outcome=qualified"], **WEEK})["stages"][0]["count"] == 1


def test_a_period_begins_with_its_first_instant_and_ends_before_its_last(asked):
    # 31 March 2024 in Berlin has 23 hours: 30 March 23:00 UTC to 31 March 22:00 UTC.
    times = {
        "before": "2024-03-30T22:59:59.999999Z",
        "first": "2024-03-30T23:00:00Z",
        "last": "2024-03-31T21:59:59.999999Z",
        "after": "2024-03-31T22:00:00Z",
    }
    world = [event("conversation_started", None, name, timestamp=time) for name, time in times.items()]
    analytics = asked(*world, timezone="Europe/Berlin")
    answer = analytics.conversations({"from": ["2024-03-31"], "to": ["2024-04-01"]})
    assert [c["id"] for c in answer["conversations"]] == ["last", "first"]
    assert answer["period"] == {
        "from": "2024-03-31T00:00:00+01:00", "to": "2024-04-01T00:00:00+02:00", "timezone": "Europe/Berlin",
    }  # fmt: skip
    in_utc = analytics.funnel({"from": ["2024-03-31"], "to": ["2024-04-01"], "timezone": ["UTC"]})
    assert in_utc["stages"][0]["count"] == 2


def test_the_default_period_is_the_last_thirty_days_with_data(asked):
    answer = asked(*table(a=""), timezone="Asia/Kolkata").funnel({})
    assert answer["period"] == {
        "from": "2023-12-17T00:00:00+05:30", "to": "2024-01-16T00:00:00+05:30", "timezone": "Asia/Kolkata",
    }  # fmt: skip
    assert answer["stages"][0]["count"] == 1


def test_test_traffic_is_out_counted_and_can_be_put_back(asked):
    world = [*table(a=(3, "responded")), *conversation("t", "responded", is_test=True, channel="sms")]
    analytics = asked(*world)
    out, back = analytics.funnel(WEEK), analytics.funnel({"include_test": ["1"], **WEEK})
    assert [out["stages"][0]["count"], out["test_conversations"]] == [3, 1]
    assert [back["stages"][0]["count"], back["test_conversations"]] == [4, 1]
    assert analytics.funnel({"where": ["channel=(none)"], **WEEK})["test_conversations"] == 0


def test_an_empty_store_answers_with_nothing(asked):
    answer = asked().funnel({})
    assert [s["count"] for s in answer["stages"]] == [0] * 7
    assert set(answer["rates"].values()) == {None}
    assert answer["drop_offs"] == []
    assert asked().conversations({})["total"] == 0


def test_an_auto_reply_is_no_response(asked):
    world = [started(), sent(), received("away", auto_reply=True)]
    assert asked(*world).funnel(WEEK)["stages"][1]["count"] == 0


def test_an_unknown_funnel_is_named():
    with pytest.raises(InvalidInput, match="name == 'salse', must be one of sales, mission; did you mean sales"):
        funnel.named("salse")
