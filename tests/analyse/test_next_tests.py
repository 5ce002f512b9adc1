"""What to test next: where candidates come from, how they are sized, and in which order they stand."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dropoff.analyse import next_tests, optimization
from dropoff.analyse.answers import share
from dropoff.analyse.experiments import decisions, plans
from dropoff.analyse.next_tests import LONGEST, MONTH, Candidate, ranked, sized
from dropoff.phrases import advice

ONE = Candidate("divergence", "prospect:objection_price", "bot:a", "bot:b", "booked", 140.0, 0.38, 0.19, 1.0, 600, 0.5)


def must(one: Candidate) -> dict:
    found = sized(one)
    assert found is not None
    return found


def rate(numerator, denominator):
    found = share(numerator, denominator)
    return {"value": found.value, "numerator": numerator, "denominator": denominator, "interval": found.interval}


def test_a_candidate_is_sized_as_a_plan_is():
    row = must(ONE)
    plan = plans.answer({"base": ["0.38"], "effect": ["0.19"], "daily": ["20"]})
    assert row["sample_per_arm"] == plan["units_per_arm"]
    assert row["weeks"] == pytest.approx(2 * plan["units_per_arm"] / 140)
    assert row["weeks"] * 7 == pytest.approx(plan["days"], abs=1)
    assert row["gain_per_month"] == pytest.approx(140 * 0.5 * MONTH * 0.19)
    assert row["gain_per_week"] == pytest.approx(row["gain_per_month"] / row["weeks"])
    assert row["reason"] == "worth_it"


def test_what_is_waited_for_and_what_is_there_count():
    whole, part = must(ONE), must(replace(ONE, have=100, wait_days=14))
    assert part["weeks"] == pytest.approx(whole["weeks"] - 200 / 140 + 2)
    there = must(replace(ONE, have=10**6))
    assert there["weeks"] == 0
    assert there["gain_per_week"] == there["gain_per_month"]


@pytest.mark.parametrize(
    "change", [{"effect": 0.0}, {"effect": -0.1}, {"base": 0.0}, {"base": 0.9}, {"volume": 0.0}, {"effect": 0.0004}]
)
def test_where_there_is_nothing_to_find_there_is_no_candidate(change):
    assert sized(replace(ONE, **change)) is None


shares = st.floats(0.05, 0.6)
CANDIDATES = st.builds(
    Candidate,
    st.sampled_from(["drop_off", "message", "divergence"]), st.sampled_from("abc"), st.sampled_from("xyz"),
    st.just("other"), st.just("booked"), st.floats(1, 5000), shares, st.floats(0.01, 0.3), shares, st.just(100),
    shares, keys=st.frozensets(st.sampled_from("123456"), max_size=2),
)  # fmt: skip


@settings(max_examples=25)
@given(st.lists(CANDIDATES, max_size=6), st.randoms(use_true_random=False))
def test_the_order_is_by_gain_and_too_small_ones_are_last(candidates, random):
    rows = ranked(candidates)
    mixed = list(candidates)
    random.shuffle(mixed)
    order = [(row["reason"], row["gain_per_week"]) for row in rows]
    assert order == [(row["reason"], row["gain_per_week"]) for row in ranked(mixed)]
    assert order == sorted(order, key=lambda one: (one[0] == "too_small", -one[1]))
    assert all((row["weeks"] > LONGEST) is (row["reason"] == "too_small") for row in rows)
    assert len(rows) <= len(candidates)


@settings(max_examples=25)
@given(CANDIDATES)
def test_a_larger_effect_never_takes_longer_and_more_volume_neither(one):
    row = must(one)
    larger, busier = must(replace(one, effect=one.effect * 1.2)), must(replace(one, volume=one.volume * 2))
    assert larger["weeks"] <= row["weeks"] * (1 + 1e-9)
    assert larger["gain_per_month"] > row["gain_per_month"]
    assert busier["weeks"] == pytest.approx(row["weeks"] / 2)
    assert busier["gain_per_month"] == pytest.approx(2 * row["gain_per_month"])


def test_of_candidates_that_mean_one_place_the_best_is_kept():
    good, same = replace(ONE, keys=frozenset({"a", "b"})), replace(ONE, effect=0.1, keys=frozenset({"b"}))
    other = replace(ONE, effect=0.05, keys=frozenset({"c"}))
    assert [row["effect"] for row in ranked([other, same, good])] == [0.19, 0.05]


# where they come from


def said(intent, silent, n):
    return {"intent": intent, "silent": silent, "silence_rate": rate(silent, n)}


def test_a_drop_off_leaves_out_what_is_silent_by_nature():
    messages = [said("ask_budget", 300, 1000), said("ask_need", 100, 1000), said("goodbye", 90, 100),
                said("greet", 2, 500), said("(none)", 100, 400)]  # fmt: skip
    drop = {"from": "responded", "to": "qualified", "explanation": {"messages": messages}}
    found = next_tests.of_drop_off(drop, 4.0, lambda _: 0.5, 1.0)
    rows = ranked(found)
    assert [row["now"] for row in rows] == ["ask_budget"]
    assert rows[0]["volume_per_week"] == 250
    # Of two nothing is drawn in: half of the gap to the middle of both, on the scale of the shares' roots.
    assert rows[0]["effect"] == pytest.approx(0.05, abs=0.01)
    assert rows[0]["base"] == pytest.approx(0.7, abs=0.002)
    assert next_tests.of_drop_off(drop | {"explanation": {"messages": messages[:1]}}, 4.0, lambda _: 0.5, 1.0) == []


def message(text, value, n, position=4, variant=None, booked=0.2):
    matured = {"value": value, "n": n}
    return {
        "message": text, "variant": variant, "position": position, "intent": "ask", "n": n, "q_value": 0.5,
        "shrunk": {"value": value}, "reply_rate": {"matured": matured},
        "booking_rate": {"matured": {"value": booked, "n": n}},
    }  # fmt: skip


def test_a_message_is_held_against_the_best_other_at_its_places():
    rows = [
        message("bad", 0.4, 200),
        message("good", 0.8, 300),
        message("bad", 0.5, 600, 5),
        message("fair", 0.6, 99, 5),
    ]
    found = ranked(
        next_tests.of_messages(rows, 2.0, lambda those: next_tests.of_replies(those, "booking_rate"), 0.0, set())
    )
    assert [(row["now"], row["instead"]) for row in found] == [("bad", "fair")]
    (row,) = found
    assert row["volume_per_week"] == 400
    assert row["base"] == pytest.approx((200 * 0.4 + 600 * 0.5) / 800)
    assert row["effect"] == pytest.approx(0.5 * (200 * 0.4 + 600 * 0.1) / 800, abs=1e-4)
    worth = 0.2 / row["base"]
    assert row["gain_per_month"] == pytest.approx(400 * MONTH * row["effect"] * worth, rel=1e-3)


def test_where_an_experiment_runs_or_nothing_says_what_a_reply_is_worth_no_message_is_a_candidate():
    rows = [message("bad", 0.4, 200, variant="a"), message("good", 0.8, 300)]
    assert next_tests.of_messages(rows, 2.0, lambda _: 0.5, 0.0, {"a"}) == []
    assert next_tests.of_messages(rows, 2.0, lambda _: None, 0.0, set()) == []
    assert len(next_tests.of_messages(rows, 2.0, lambda _: 0.5, 0.0, set())) == 1


def point(difference, side="bot"):
    return {
        "after": ["bot:pitch", "prospect:objection_price"], "kind": "beginning", "side": side, "branch": "bot:discount",
        "branches": [{"step": "bot:case", "rate": rate(240, 320)}, {"step": "bot:discount", "rate": rate(100, 280)}],
        "with": rate(55, 145), "without": rate(119, 156), "difference": difference, "q_value": 1e-9,
    }  # fmt: skip


def test_a_fork_of_the_bot_sends_those_of_the_worse_way_the_better_one():
    (one,) = next_tests.of_points([point(-0.38), point(-0.38, "prospect")], 4.0, "booked", 0.0)
    assert (one.now, one.instead, one.volume) == ("bot:discount", "bot:case", 150.0)
    assert one.base == pytest.approx(55 / 145)
    assert one.effect == pytest.approx(0.19)
    assert one.affected == pytest.approx(280 / 600)
    (turned,) = next_tests.of_points([point(0.38)], 4.0, "booked", 0.0)
    assert (turned.now, turned.instead, turned.base) == ("bot:case", "bot:discount", 119 / 156)


def test_a_fork_and_the_answers_to_the_same_objection_are_one_candidate():
    answers = [
        {"answer": "bot:case", "alive": rate(300, 320), "won": rate(240, 320), "difference": 0.3, "q_value": 1e-9},
        {"answer": "bot:discount", "alive": rate(173, 280), "won": rate(100, 280), "difference": -0.3, "q_value": 1e-9},
        {"answer": "bot:rare", "alive": rate(1, 9), "won": rate(0, 9), "difference": -0.8, "q_value": None},
    ]  # fmt: skip
    objections = next_tests.of_objections([{"objection": "price", "answers": answers}], 4.0, 0.0)
    assert [(one.now, one.instead) for one in objections] == [("bot:discount", "bot:case")]
    assert objections[0].affected == pytest.approx(280 / 600)
    assert objections[0].worth == pytest.approx(340 / 473)
    both = ranked([*objections, *next_tests.of_points([point(-0.38)], 4.0, "booked", 0.0)])
    assert len(both) == 1
    chance = [{**row, "q_value": 0.2} for row in answers]
    assert next_tests.of_objections([{"objection": "price", "answers": chance}], 4.0, 0.0) == []


def trial(difference, decision="keep running", verdict="unclear", need=100):
    goal = {"value": 0.3, "n": 4000}
    metrics = {"responded_per_unit": {"value": 0.6, "n": 4000}, "booked_per_unit": goal}
    row = {"metric": "responded_per_unit", "a": "team", "b": "person", "n": 8000, "difference": difference,
           "q_value": 0.9, "verdict": verdict}  # fmt: skip
    return {
        "experiment": "signature", "decision": decision, "comparisons": [row], "guardrails": [],
        "arms": [{"variant": "person", "metrics": metrics}, {"variant": "team", "metrics": metrics}],
        "needed": [{"metric": "responded_per_unit", "per_day": 50, "have": need}],
    }  # fmt: skip


def test_a_running_experiment_is_asked_what_it_can_still_find():
    waits = {"responded_per_unit": 7.0}
    (one,) = next_tests.of_experiment(trial(0.014), "booked", waits)
    row = must(one)
    assert (row["base"], row["effect"], row["have_per_arm"], row["volume_per_week"]) == (0.6, 0.007, 100, 700)
    assert row["weeks"] == pytest.approx((row["sample_per_arm"] - 100) * 2 / 700 + 1)
    assert row["reason"] == "too_small"
    assert row["gain_per_month"] == pytest.approx(700 * 0.5 * MONTH * 0.007 * 0.5)
    assert ranked(next_tests.of_experiment(trial(-0.02), "booked", waits)) == []
    for decided in (trial(0.1, "ship"), trial(0.1, verdict="better"), trial(None)):
        assert next_tests.of_experiment(decided, "booked", waits) == []
    assert next_tests.of_experiment(trial(0.1), "converted", waits) == []


def test_what_a_full_experiment_is_told_is_one_thing():
    facts = decisions.Facts(
        observed=False, variants=("person", "team"), has_control=True,
        sample_ratio={"ok": True, "p_value": 0.5, "limit": 0.001, "by_dimension": []}, mixed={"ok": True, "share": 0.0},
        goals=trial(0.0)["comparisons"], guardrails=[], values={},
        needs=[{"metric": "responded_per_unit", "is_reached": True, "needed": 2500, "have": 2600, "per_day": 20.0}],
        too_early=False,
    )  # fmt: skip
    found = decisions.decide(facts)
    assert found.decision == "keep running"
    assert "The planned 2,500 units in each arm are there, and no difference as large as planned for" in found.reason
    assert "four times as many, 53 weeks more as units came in the last 14 days asked about: keep" in found.reason
    still = decisions.decide(facts._replace(needs=[{**facts.needs[0], "per_day": 0.0}]))
    assert "takes four times as many, and no new ones came in the last 14 days asked about: keep" in still.reason
    late = {"metric": "converted_per_unit", "is_reached": False, "needed": 2500, "have": 1581, "days_left": 44}
    waiting = decisions.decide(facts._replace(needs=[*facts.needs, {**late, "days_left": 3}, late]))
    assert waiting.reason == (
        "No difference is certain yet. The planned 2,500 units in each arm are there for responded; converted has "
        "1,581 of 2,500 mature units planned for each arm; about 44 days are left until those are there, as units came "
        "in the last 14 days asked about."
    )
    row = {"what": "experiment", "place": "signature", "now": "person", "instead": "team", "reason": "too_small"}
    assert "takes 270 weeks to find: keep it running only if" in advice.of_test(row | {"weeks": 270.2})


def test_days_left_are_those_of_the_plan_and_weeks_those_of_the_effect():
    needs = [{"is_reached": False, "needed": 2500, "have": 40, "per_day": 2.0, "days_left": 1573}]
    facts = decisions.Facts(
        observed=False, variants=("person", "team"), has_control=True,
        sample_ratio={"ok": True, "p_value": 0.5, "limit": 0.001, "by_dimension": []}, mixed={"ok": True, "share": 0.0},
        goals=trial(0.0)["comparisons"], guardrails=[], values={}, needs=needs,
    )  # fmt: skip
    assert decisions.decide(facts).reason == (
        "No difference is certain yet. It has 40 of 2,500 mature units planned for each arm; about 1,573 days are "
        "left until those are there, as units came in the last 14 days asked about."
    )
    (row,) = ranked(next_tests.of_experiment(trial(0.2), "booked", {}))
    assert "half of the one seen so far and not the one planned for, takes" in advice.of_size(row, "booked")


@pytest.mark.parametrize(
    ("recorded", "goal"),
    [
        ({"started"}, "booked"), ({"started", "responded"}, "responded"),
        ({"started", "responded", "qualified"}, "qualified"), ({"started", "booked", "converted"}, "booked"),
    ],
)  # fmt: skip
def test_the_goal_is_booked_else_the_last_stage_that_is_recorded(recorded, goal):
    assert optimization.parse({}, recorded).goal == goal
    assert optimization.parse({"goal": [goal]}, recorded).goal == goal
    assert goal in advice.GOALS
