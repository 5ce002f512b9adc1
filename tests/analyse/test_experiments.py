"""Experiments per exposed unit, against a reader of the same histories that knows nothing of SQL."""

import json
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import worlds
from dropoff.analyse import select
from dropoff.analyse.analytics import Analytics
from dropoff.errors import InvalidInput, NotFound
from dropoff.project.experiments import Experiment
from worlds import (
    ENGINES,
    START,
    attended,
    booked,
    event,
    opportunity,
    opted_out,
    qualified,
    received,
    retracted,
    sent,
    started,
    won,
)  # fmt: skip

pytestmark = pytest.mark.one_store("asked")  # any history and a generated world are on every store

STAGES = ("responded", "qualified", "booked", "attended", "opportunity", "converted")
MAKERS = {
    "responded": received, "qualified": qualified, "booked": booked, "attended": attended, "opportunity": opportunity,
    "converted": won,
}  # fmt: skip
GUARDS = ("opted_out_per_unit", "complained_per_unit", "sentiment_per_unit")
DAY = 1440
MINUTE = timedelta(minutes=1)
ONE_DAY_EACH: dict[str, float] = dict.fromkeys(STAGES, 1.0)


def exposed(variant="a", at=0, experiment="x", **fields):
    return event("experiment_exposed", at, experiment=experiment, variant=variant, **fields)


def identified(*aliases, contact, at=0):
    return event("contact_identified", at, None, contact_id=contact, aliases=list(aliases))


def only(answer, name="x"):
    (found,) = [one for one in answer["experiments"] if one["experiment"] == name]
    return found


def compared(trial, metric, a=None):
    (found,) = [
        row
        for row in (*trial["comparisons"], *trial["guardrails"])
        if row["metric"] == metric and a in (None, row["a"])
    ]
    return found


def arm(trial, variant):
    (found,) = [one for one in trial["arms"] if one["variant"] == variant]
    return found


# Any small history


CONTACTS = st.sampled_from([None, "p1", "p2", "p3"])
TIMES = st.sampled_from([0, 1, 5, DAY, DAY + 1, 2 * DAY, 2 * DAY + 5, 3 * DAY, 6 * DAY])
SEEN = st.lists(st.tuples(TIMES, st.sampled_from(["a", "b", "b", None]), st.booleans()), max_size=2)
TALKS = st.tuples(CONTACTS, TIMES, st.dictionaries(st.sampled_from(STAGES), TIMES, max_size=3), SEEN, st.integers(0, 9))
LOOSE = st.lists(st.tuples(st.sampled_from(["p1", "p2", "p3"]), TIMES, st.sampled_from(["a", "b"])), max_size=2)
HISTORY = st.tuples(st.lists(TALKS, min_size=1, max_size=5), LOOSE, st.booleans())


def events_of(name, talks, loose, merged):
    """The events of one experiment, whose contacts and conversations no other one has."""
    found = [identified(f"{name}p3", contact=f"{name}p1")] if merged else []
    for i, (contact, began, reached, seen, luck) in enumerate(talks):
        of = {"conversation_id": f"{name}c{i}", "contact_id": contact and name + contact}
        found.append(started(began, **of, is_test=luck == 0 or None))
        found += [MAKERS[stage](at=at, **of) for stage, at in reached.items()]
        for j, (at, variant, stands) in enumerate(seen):
            found.append(exposed(variant, at, name, event_id=f"e{i}{j}", **of))
            found += [] if stands else [retracted(f"e{i}{j}", 99 * DAY, conversation_id=f"{name}c{i}")]
    return found + [
        exposed(variant, at, name, conversation_id=None, contact_id=name + contact, event_id=f"l{i}")
        for i, (contact, at, variant) in enumerate(loose)
    ]


def unit(merged, contact, i):
    return ("contact", "p1" if merged and contact == "p3" else contact) if contact else ("conversation", i)


def exposures_of(now, talks, loose, merged):
    """By unit all its exposures: when, and to what."""
    seen = defaultdict(list)
    for i, (contact, _, _, exposures, luck) in enumerate(talks):
        for at, variant, stands in exposures:
            if stands and luck and at < now:
                seen[unit(merged, contact, i)].append((at, variant))
    for contact, at, variant in loose:
        if at < now:
            seen[unit(merged, contact, None)].append((at, variant))
    return seen


def naive(recorded, now, talks, loose, merged):
    """By variant: units, and for each goal (came, mature, too young); how many units met several variants, and all."""
    seen = exposures_of(now, talks, loose, merged)
    arms = defaultdict(list)
    for who, exposures in seen.items():
        at, variant = min(exposures, key=lambda one: (one[0], one[1] is None, one[1]))
        arms[variant].append((who, at))
    found = {}
    for variant in sorted(filter(None, arms)):
        goals = {}
        for stage in filter(recorded.__contains__, STAGES):
            later = STAGES[STAGES.index(stage) :]
            wait = DAY * sum(one in recorded and one not in later[1:] for one in STAGES)
            old = [(who, at) for who, at in arms[variant] if now - at >= wait]
            came = sum(
                any(at <= t <= at + wait for t in times_of(talks, who, later, merged) if t is not None)
                for who, at in old
            )
            goals[f"{stage}_per_unit"] = (came, len(old), len(arms[variant]) - len(old))
        found[variant] = (len(arms[variant]), goals)
    return found, sum(len({variant for _, variant in one}) > 1 for one in seen.values()), len(seen)


def times_of(talks, who, stages, merged):
    """When each conversation of a unit first came to one of the stages."""
    return [
        min((at for stage, at in reached.items() if stage in stages), default=None)
        for i, (contact, _, reached, _, luck) in enumerate(talks)
        if luck and unit(merged, contact, i) == who
    ]


def counted(one):
    """An arm in the form of `naive`."""
    goals = {name: (m["numerator"], m["n"], m["immature"]) for name, m in one["metrics"].items() if name not in GUARDS}
    return one["units"], goals


@settings(max_examples=10)
@given(st.lists(HISTORY, min_size=1, max_size=8), st.sampled_from([7 * DAY, 4 * DAY + 3, 20 * DAY]), st.booleans())
def test_any_histories_are_what_a_naive_reading_gives(engine, histories, age, by_id):
    """By keys, and by ids as where two conversations have one key."""
    named = {f"x{i}": history for i, history in enumerate(histories)}
    recorded = {stage for talks, *_ in histories for *_, reached, _, _ in talks for stage in reached}
    with worlds.scratch() as place, mock.patch.object(select, "has_shared_keys", return_value=by_id):
        events = [one for name, history in named.items() for one in events_of(name, *history)]
        store = worlds.given(*events, directory=place, engine=engine)
        analytics = Analytics(store, "UTC", lambda: START + age * MINUTE, maturity=ONE_DAY_EACH)
        trials = {trial["experiment"]: trial for trial in analytics.experiments({})["experiments"]}
        for name, history in named.items():
            arms, mixed, units = naive(recorded, age, *history)
            if not units:
                assert name not in trials
                continue
            trial = trials[name]
            assert {one["variant"]: counted(one) for one in trial["arms"]} == arms
            assert (trial["units"], trial["mixed_exposure"]["units"]) == (units, mixed)
            assert trial["left_out"] == units - sum(n for n, _ in arms.values())
        if "x0" in trials:
            assert only(analytics.experiments({"name": ["x0"]}), "x0") == trials["x0"]
        store.close()


# What counts


def test_only_what_comes_at_or_after_the_first_exposure_counts(asked):
    answer = asked(
        started(conversation_id="early", contact_id="p"), received("hi", 1, conversation_id="early"),
        exposed(at=10, conversation_id="early", contact_id="p"), booked(at=10, conversation_id="early"),
        exposed("b", 20, conversation_id="later", contact_id="p"), qualified(at=30, conversation_id="later"),
    ).experiments({})  # fmt: skip
    metrics = arm(only(answer), "a")["metrics"]
    came = {name: m["numerator"] for name, m in metrics.items()}
    assert (came["responded_per_unit"], came["qualified_per_unit"], came["booked_per_unit"]) == (1, 1, 1)
    alone = asked(
        received("hi", 1), exposed(at=10), sent("again", 11), received("yes", 12), exposed("b", 3, conversation_id="d"),
    ).experiments({})  # fmt: skip
    assert arm(only(alone), "a")["metrics"]["responded_per_unit"]["numerator"] == 0


def test_a_condition_is_one_on_the_conversation_of_the_first_exposure(asked):
    analytics = asked(
        started(channel="sms", contact_id="p"), exposed(at=1, contact_id="p"),
        started(at=5, conversation_id="d", channel="chat", contact_id="p"), received("hi", 6, conversation_id="d"),
        started(at=5, conversation_id="e", channel="chat"), exposed("b", 6, conversation_id="e"),
    )  # fmt: skip
    trial = only(analytics.experiments({"where": ["channel=sms"]}))
    assert trial["units"] == 1
    assert arm(trial, "a")["metrics"]["responded_per_unit"]["numerator"] == 1


def test_a_period_is_one_of_first_exposures(asked):
    analytics = asked(
        exposed(at=0, contact_id="p"), exposed(at=5 * DAY, contact_id="p"), exposed("b", 5 * DAY, conversation_id="d")
    )
    assert only(analytics.experiments({}))["units"] == 2
    assert only(analytics.experiments({"from": ["2024-01-18"]}))["units"] == 1
    assert analytics.experiments({})["period"]["from"] == "2024-01-15T00:00:00+00:00"
    assert analytics.experiments({})["period"]["to"] == "2024-01-21T00:00:00+00:00"


def test_guardrails_count_what_happened_after_the_exposure(asked):
    trial = only(
        asked(
            received("bad", 1, sentiment=-1.0), exposed(at=2), received("hm", 3, sentiment=0.5),
            received("ok", 4, sentiment=0.0), event("complained", 5), opted_out(at=6),
            received("late", 8 * DAY, sentiment=1.0),
            exposed("b", 2, conversation_id="d"), opted_out(at=1, conversation_id="d"),
        ).experiments({})
    )  # fmt: skip
    told = {name: (m["value"], m["n"]) for name, m in arm(trial, "a")["metrics"].items() if name in GUARDS}
    assert told == {"opted_out_per_unit": (1, 1), "complained_per_unit": (1, 1), "sentiment_per_unit": (0.25, 1)}
    assert {name: arm(trial, "b")["metrics"][name]["value"] for name in GUARDS} == dict.fromkeys(GUARDS, 0)


@pytest.mark.parametrize("read", [1, 2, 250_000])
def test_messages_are_read_in_stretches_of_time_and_each_once(asked, monkeypatch, read):
    monkeypatch.setattr("dropoff.analyse.experiments.exposures._READ", read)
    trial = only(
        asked(
            exposed(at=2), exposed(at=2, conversation_id="d"), exposed(at=5, conversation_id="e"),
            received("with the exposure", 2, sentiment=0.0), received("with that of another", 5, sentiment=1.0),
            received("at the end", 7 * DAY + 2, sentiment=0.5), received("after it", 7 * DAY + 3, sentiment=-1.0),
            received("before", 4, sentiment=-1.0, conversation_id="e"),
            received("at its end", 7 * DAY + 5, sentiment=0.6, conversation_id="e"),
        ).experiments({})
    )  # fmt: skip
    found = arm(trial, "a")["metrics"]["sentiment_per_unit"]
    assert (found["n"], found["numerator"]) == (3, pytest.approx(0.5 + 0.0 + 0.6))


def test_a_variant_alone_is_an_observational_comparison(asked):
    events = [
        made
        for i in range(80)
        for made in (
            started(i, conversation_id=f"c{i}", variant="ab"[i % 2]),
            *([received("hi", i + 1, conversation_id=f"c{i}")] if i % 2 else []),
        )
    ]
    trial = only(asked(*events).experiments({}), "first_message_variant")
    assert (trial["kind"], trial["decision"], trial["variant"]) == ("observational", None, None)
    assert "at random" in trial["reason"]
    assert compared(trial, "responded_per_unit")["difference"] == 1


def planned(asked, *events, **experiments):
    found = asked(*events)
    found._planned = {name: Experiment(**one) for name, one in experiments.items()}
    return found


def test_the_settings_make_an_experiment_of_a_property(asked):
    events = [
        made
        for i in range(400)
        for made in (
            started(i, conversation_id=f"c{i}", plan="ab"[i % 2]),
            *([received("hi", i + 1, conversation_id=f"c{i}")] if i % 2 or i % 4 else []),
        )
    ]
    opening = {"randomised": True, "property": "property:plan", "variants": ["b", "a"], "planned": 400}
    trial = only(planned(asked, *events, opening=opening).experiments({"name": ["opening"]}), "opening")
    assert (trial["kind"], trial["control"], trial["decision"], trial["variant"]) == (
        "experiment",
        "b",
        "roll back",
        "b",
    )
    assert [one["variant"] for one in trial["arms"]] == ["b", "a"]


def test_a_planned_experiment_is_listed_before_anybody_is_exposed(asked):
    analytics = planned(asked, started(), received(), soon={}, split={"variants": ["a", "b"], "goals": ["responded"]})
    found = {one["experiment"]: one for one in analytics.experiments({})["experiments"]}
    assert (found["soon"]["decision"], found["soon"]["reason"]) == (
        "keep running",
        "Nobody has been exposed to it yet.",
    )
    assert [one["units"] for one in found["split"]["arms"]] == [0, 0]
    assert found["split"]["arms"][0]["metrics"]["responded_per_unit"]["value"] is None
    assert found["split"]["decision"] == "keep running"


# Decisions


def units(variant, n, came=0, stage="responded", of=None, name="", then=0, then_stage="booked"):
    """n units exposed to a variant, of which some came to a stage, and of those some to the next."""
    found = []
    for i in range(n):
        own = {"conversation_id": f"{name}{variant}{i}"}
        found += [started(i, **own, **(of or {})), exposed(variant, i, **own)]
        found += [MAKERS[stage](at=i + 1, **own)] if i < came else []
        found += [MAKERS[then_stage](at=i + 2, **own)] if i < then else []
    return found


def test_more_of_those_that_go_on_may_be_lost_and_the_variant_still_be_better(asked):
    """GrowthBook's cart: of those that come to the first step 50 → 35 % go on, of all that were exposed 10 → 14 %."""
    events = units("control", 2000, 400, then=200) + units("treatment", 2000, 800, then=280)
    trial = only(asked(*events).experiments({"goal": ["booked"]}))
    (step,) = [one for one in trial["descriptive"] if one["to"] == "booked"]
    assert [step["arms"][name]["value"] for name in ("control", "treatment")] == [0.5, 0.35]
    assert all(step["arms"][name]["interval"] is None for name in ("control", "treatment"))
    (row,) = trial["comparisons"]
    assert (row["metric"], row["a"], row["b"], row["verdict"]) == ("booked_per_unit", "treatment", "control", "better")
    assert row["difference"] == pytest.approx(0.04)
    assert row["interval"][0] > 0
    assert (trial["decision"], trial["variant"]) == ("ship", "treatment")


@pytest.mark.parametrize(
    ("came", "decision", "variant"), [(60, "roll back", "control"), (200, "keep running", None), (340, "ship", "new")]
)
def test_a_decision_follows_the_difference(asked, came, decision, variant):
    trial = only(asked(*units("control", 500, 200), *units("new", 500, came)).experiments({}))
    assert (trial["decision"], trial["variant"]) == (decision, variant)
    assert trial["reason"].endswith(".")


def test_where_nobody_is_the_control_the_better_one_is_shipped(asked):
    trial = only(asked(*units("question", 500, 340), *units("statement", 500, 200)).experiments({}))
    assert (trial["control"], trial["decision"], trial["variant"]) == (None, "ship", "question")
    assert trial["reason"].startswith("question is better than statement by responded: 68.0 % against 40.0 %")


def test_a_guardrail_that_gets_worse_keeps_a_better_arm_from_being_shipped(asked):
    events = units("control", 500, 200) + units("new", 500, 340)
    events += [opted_out(at=i + 3, conversation_id=f"new{i}") for i in range(150)]
    trial = only(asked(*events).experiments({}))
    assert compared(trial, "opted_out_per_unit")["verdict"] == "worse"
    assert trial["decision"] == "keep running"
    assert "to be weighed" in trial["reason"]


def test_a_skewed_split_is_invalid_and_the_weights_can_make_it_right(asked):
    events = units("a", 1400, 560) + units("b", 600, 480)
    trial = only(asked(*events).experiments({}))
    assert not trial["sample_ratio"]["ok"]
    assert trial["sample_ratio"]["p_value"] < 0.001
    assert trial["decision"] == "invalid"
    meant = {"variants": ["a", "b"], "weights": [7, 3]}
    trial = only(planned(asked, *events, x=meant).experiments({}))
    assert trial["sample_ratio"]["ok"]
    assert (trial["decision"], trial["variant"]) == ("ship", "b")


def test_a_split_that_is_skewed_in_one_channel_alone_is_invalid(asked):
    events = units("a", 700, of={"channel": "sms"}, name="s") + units("b", 300, of={"channel": "sms"}, name="s")
    events += units("a", 300, of={"channel": "chat"}, name="c") + units("b", 700, of={"channel": "chat"}, name="c")
    trial = only(asked(*events, received(at=9, conversation_id="sa0")).experiments({}))
    assert trial["sample_ratio"]["p_value"] == 1
    assert {(one["value"], one["ok"]) for one in trial["sample_ratio"]["by_dimension"]} == {
        ("sms", False),
        ("chat", False),
    }
    assert trial["decision"] == "invalid"
    assert "channel = " in trial["reason"]


def test_a_dimension_that_is_what_is_tried_is_no_fault(asked):
    events = units("a", 200, 100, of={"bot_version": "1"}) + units("b", 200, 100, of={"bot_version": "2"})
    assert only(asked(*events).experiments({}))["sample_ratio"]["ok"]


@pytest.mark.parametrize(("twice", "ok"), [(5, True), (6, False)])
def test_above_one_per_cent_mixed_exposure_is_invalid(asked, twice, ok):
    events = units("a", 250, 100) + units("b", 250, 100)
    events += [exposed("b", i + 5, conversation_id=f"a{i}") for i in range(twice)]
    trial = only(asked(*events).experiments({}))
    assert trial["mixed_exposure"] == {"units": twice, "share": twice / 500, "limit": 0.01, "ok": ok}
    assert (trial["decision"] == "invalid") is not ok
    assert [one["units"] for one in trial["arms"]] == [250, 250]


def test_one_win_of_a_hundred_and_one_is_no_claim(asked):
    events = units("a", 101, 1, stage="converted") + units("b", 101, 0)
    for horizon in ("sequential", "fixed"):
        trial = only(asked(*events).experiments({"horizon": [horizon]}))
        assert {row["verdict"] for row in trial["comparisons"]} <= {"not enough data", "unclear"}
        assert trial["decision"] == "keep running"


def test_a_fixed_horizon_is_read_at_its_end(asked):
    events = units("control", 300, 100) + units("new", 300, 200)
    early = only(planned(asked, *events, x={"planned": 601}).experiments({"horizon": ["fixed"]}))
    assert early["decision"] == "keep running"
    assert "300 of 301" in early["reason"]
    done = only(planned(asked, *events, x={"planned": 600}).experiments({"horizon": ["fixed"]}))
    assert (done["decision"], done["variant"]) == ("ship", "new")
    assert compared(done, "responded_per_unit")["test"] == "pooled z-test"


def test_the_days_left_follow_from_the_inflow(asked):
    events = [
        made
        for i in range(140)
        for made in (started(i * 144, conversation_id=f"c{i}"), exposed("ab"[i % 2], i * 144, conversation_id=f"c{i}"))
    ]
    events += [received("hi", i * 144 + 1, conversation_id=f"c{i}") for i in range(40)]
    now = START + timedelta(days=14)
    answers = asked(*events, now=now)
    (need,) = only(answers.experiments({"goal": ["responded"]}))["needed"]
    assert (need["needed"], need["per_day"]) == (2500, 5)
    assert need["have"] == 65  # a day is waited for
    assert need["days_left"] == 487  # (2,500 - 70) / 5, and that day
    past = {"from": [f"{START.date()}"], "to": [f"{(START + timedelta(days=4)).date()}"]}
    later = asked(*events, now=now + timedelta(days=60))
    for one in (answers, later):  # as of the end of the period, whenever it is asked
        assert only(one.experiments(past))["needed"][0]["per_day"] == pytest.approx(5, abs=0.6)


# A covariate


def scored(asked, late=False):
    """Units of which a lead score known before says much of who responds."""
    events = []
    for i in range(600):
        own = {"conversation_id": f"c{i}"}
        told = started(i + (5 if late else 0), lead_score=i % 100, **own)
        events += [sent("hi", i, **own), told, exposed("ab"[i // 100 % 2], i + 1, **own)]
        events += [received("yes", i + 7, **own)] if (i * 7 % 100) + (i % 100) > (100 if i // 100 % 2 else 110) else []
    return only(asked(*events).experiments({"goal": ["responded"]}))


def test_what_was_known_before_makes_the_interval_narrower(asked):
    trial = scored(asked)
    row = compared(trial, "responded_per_unit")
    assert trial["covariate"] == row["covariate"] == "lead_score"
    width, plain = (high - low for low, high in (row["interval"], row["unadjusted"]["interval"]))
    assert row["variance_reduction"] > 0.1
    assert width / plain == pytest.approx((1 - row["variance_reduction"]) ** 0.5)
    shown = {one["variant"]: one["metrics"]["responded_per_unit"]["value"] for one in trial["arms"]}
    assert row["unadjusted"]["difference"] == pytest.approx(shown["b"] - shown["a"])


def test_what_was_told_after_the_exposure_is_no_covariate(asked):
    trial = scored(asked, late=True)
    assert trial["covariate"] is None
    assert compared(trial, "responded_per_unit")["unadjusted"] is None


def test_replies_in_earlier_conversations_are_one(asked):
    events = units("a", 60, 30) + units("b", 60, 30)
    for variant in "ab":
        for i in range(40):
            contact = {"contact_id": f"p{variant}{i}"}
            events += [exposed(variant, i + 1, conversation_id=f"{variant}{i}", **contact)]
            events += [received("before", -9, conversation_id=f"{variant}{i}before", **contact)]
    trial = only(asked(*events).experiments({}))
    assert trial["covariate"] == "earlier_replies"


# Lists, parameters, settings


def test_a_count_leads_to_as_many_conversations(asked):
    analytics = asked(
        *units("a", 40, 20, then=5), *units("b", 40, 10),
        exposed("a", 3, conversation_id="again", contact_id="p"), started(9, conversation_id="other", contact_id="p"),
        received("hi", 11, conversation_id="other"),
    )  # fmt: skip
    trial = only(analytics.experiments({}))
    for one in trial["arms"]:
        of = {"experiment": ["x"], "variant": [one["variant"]]}
        assert analytics.conversations(of)["total"] == one["units"]
        for stage in ("responded", "booked"):
            listed = analytics.conversations({**of, "goal": [stage]})
            assert listed["total"] == one["metrics"][f"{stage}_per_unit"]["numerator"]
    listed = analytics.conversations({"experiment": ["x"], "variant": ["a"], "goal": ["responded"], "limit": ["100"]})
    assert "other" in {row["id"] for row in listed["conversations"]}
    rows = [row for page in analytics.all_conversations({"experiment": ["x"], "variant": ["a"]}) for row in page]
    assert len(rows) == arm(trial, "a")["units"]


def test_wrong_parameters_are_refused(asked):
    analytics = asked(exposed(), exposed("b", conversation_id="d"))
    for params in ({"goal": ["won"]}, {"horizon": ["soon"]}, {"by": ["channel"]}):
        with pytest.raises(InvalidInput):
            analytics.experiments(params)
    with pytest.raises(NotFound):
        analytics.experiments({"name": ["y"]})
    for params in (
        {"experiment": ["x"]},
        {"variant": ["a"]},
        {"experiment": ["x"], "variant": ["a"], "stage": ["booked"]},
    ):
        with pytest.raises(InvalidInput):
            analytics.conversations(params)


def test_the_aliases_of_goals_are_taken(asked):
    analytics = asked(exposed(), received("hi"), exposed("b", conversation_id="d"))
    for name in ("responded", "response_rate", "responded_per_unit"):
        trial = only(analytics.experiments({"goal": [name]}))
        assert {row["metric"] for row in trial["comparisons"]} == {"responded_per_unit"}


@pytest.mark.parametrize(
    ("given_", "name"),
    [
        ({"variants": ["a"]}, "variants"), ({"variants": ["a", "a"]}, "variants"), ({"weights": [1, 2]}, "weights"),
        ({"variants": ["a", "b"], "weights": [1, 0]}, "weights"), ({"goals": ["won"]}, "goal"),
        ({"guardrails": ["noise"]}, "guardrails"), ({"property": "industry"}, "property"),
        ({"property": "bot_version", "randomised": True}, "variants"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_refused_by_name(given_, name):
    with pytest.raises(ValueError, match=name):
        Experiment(**given_)


def test_a_plan_needs_base_and_effect(asked):
    analytics = asked()
    found = analytics.plan({"base": ["0.2"], "effect": ["0.05"], "daily": ["100"], "horizon": ["fixed"]})
    assert (found["units_per_arm"], found["units"], found["days"]) == (1094, 2188, 22)  # R: power.prop.test: 1093.74
    watched = analytics.plan({"base": ["0.2"], "effect": ["0.05"]})
    assert found["units"] < watched["units"] < 2 * found["units"]
    assert watched["planned"] == pytest.approx(watched["units"], rel=2e-3)
    for params in ({"base": ["0.2"]}, {"base": ["0.2"], "effect": ["0"]}, {"base": ["0.9"], "effect": ["0.2"]}):
        with pytest.raises(InvalidInput):
            analytics.plan(params)


# Both engines


def test_both_engines_give_the_same_answer(tmp_path):
    from dropoff.demo import generate

    made = [json.loads(json.dumps(one)) for one in generate(300, 7, datetime(2024, 2, 20, tzinfo=UTC))]
    answers = []
    for engine in ENGINES:
        (tmp_path / engine).mkdir()
        store = worlds.given(*made, directory=tmp_path / engine, engine=engine)
        answers.append(Analytics(store, "UTC", lambda: datetime(2024, 2, 20, tzinfo=UTC)).experiments({}))
        store.close()
    assert same(*answers)
    assert {one["experiment"] for one in answers[0]["experiments"]} >= {"first_message", "first_message_variant"}


def same(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == (pytest.approx(b, rel=1e-9, abs=1e-12) if isinstance(b, float) else b)
