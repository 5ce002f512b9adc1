import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropoff.analyse.conversations.sampling import FEATURES, LINES, diverse, turning
from dropoff.errors import InvalidInput
from worlds import booked, event, received, sent, started

WEEK = {"from": ["2024-01-15"], "to": ["2024-01-22"]}


def talk(number, *, channel, books=False):
    name = f"{channel}{number}"
    told = [
        started(number, conversation_id=name, channel=channel),
        sent("Hello", number + 1, conversation_id=name, intent="greet", channel=channel),
        received("Hi", number + 2, conversation_id=name, channel=channel),
        sent("What is your budget?", number + 3, conversation_id=name, intent="ask_budget", channel=channel),
    ]
    return [*told, booked(number + 4, conversation_id=name)] if books else told


def ids(group):
    return [one["id"] for one in group["conversations"]]


def test_both_groups_with_their_numbers_and_what_they_are(asked):
    world = [
        *(line for n in range(6) for line in talk(n, channel="sms")),
        *(line for n in range(3) for line in talk(n, channel="chat", books=True)),
        *talk(7, channel="chat"),
    ]
    analytics = asked(*world)
    answer = analytics.sample({**WEEK, "limit": ["2"]})
    assert (answer["failed"]["total"], answer["successful"]["total"]) == (7, 3)
    assert set(ids(answer["successful"])) < {"chat0", "chat1", "chat2"}
    # Of two, one is the only failed chat: it differs from all others.
    assert "chat7" in ids(answer["failed"])
    assert {one["channel"] for one in answer["failed"]["conversations"]} == {"sms", "chat"}
    first = answer["failed"]["conversations"][0]
    assert (first["last_intent"], first["stage"], first["outcome"]) == ("ask_budget", "responded", "dropped")
    assert [(m["sender"], m["content"]) for m in first["lines"]] == [
        ("bot", "Hello"), ("prospect", "Hi"), ("bot", "What is your budget?"),
    ]  # fmt: skip
    assert analytics.sample({**WEEK, "limit": ["2"]}) == answer


def test_the_order_in_which_events_came_does_not_matter_and_the_period_does(asked):
    world = [line for n in range(20) for line in talk(n, channel="sms")]
    week, longer = ({**WEEK, "from": [start], "success": ["booked"]} for start in ("2024-01-15", "2024-01-08"))
    one, other = asked(*world), asked(*reversed(world))
    assert ids(one.sample(week)["failed"]) == ids(other.sample(week)["failed"])
    assert ids(one.sample(longer)["failed"]) != ids(one.sample(week)["failed"])


def test_without_bookings_the_last_recorded_stage_is_the_success(asked):
    answer = asked(*talk(0, channel="sms"), started(0, conversation_id="silent")).sample(WEEK)
    assert answer["definition"]["success"] == "responded"
    assert (ids(answer["successful"]), ids(answer["failed"])) == (["sms0"], ["silent"])


def test_nothing_is_no_error_and_what_is_no_stage_is_one(asked):
    answer = asked().sample(WEEK)
    assert answer["failed"] == answer["successful"] == {"total": 0, "conversations": []}
    with pytest.raises(InvalidInput, match="success == 'won', must be one of responded"):
        asked().sample({**WEEK, "success": ["won"]})


_ROWS = st.lists(
    st.fixed_dictionaries({name: st.sampled_from(["a", "b", None]) for name in FEATURES}), max_size=12
).map(lambda rows: [{"id": str(number), **row} for number, row in enumerate(rows)])


@given(_ROWS, st.integers(1, 6))
def test_each_brings_the_most_that_is_new(rows, limit):
    chosen = diverse(rows, limit)
    assert len(chosen) == min(limit, len(rows))
    for place, one in enumerate(chosen):
        seen = {(name, row[name]) for row in chosen[:place] for name in FEATURES}
        new = {row["id"]: sum((name, row[name]) not in seen for name in FEATURES) for row in rows}
        assert new[one["id"]] == max(new[row["id"]] for row in rows if row not in chosen[:place])


def test_the_end_the_beginning_and_the_turns_are_shown():
    messages = [
        {"position": n, "timestamp": f"{n:02}", "sender": "bot" if n % 2 else "prospect", "intent": None}
        for n in range(1, 31)
    ]
    messages[11]["intent"] = "objection_price"
    turn = event("escalated", None) | {"timestamp": "20"}
    assert turning({"messages": messages, "events": [turn]}) == {1, 2, 12, 13, 20, 21, 29, 30}
    assert len(turning({"messages": messages, "events": [turn | {"timestamp": f"{n:02}"} for n in range(30)]})) == LINES
    assert turning({"messages": [], "events": [turn]}) == set()
