"""Where a conversation stands, and which others began most like it."""

import random
from datetime import datetime

import pytest

from dropoff.analyse.conversations import neighbours
from worlds import attended, booked, event, lost, qualified, received, sent, started, won


@pytest.mark.one_store
def test_where_a_conversation_stands(asked):
    analytics = asked(
        started(), received(at=2), qualified(at=3), attended(at=60),
        started(conversation_id="w"), won(conversation_id="w", at=80), started(conversation_id="n", at=5),
    )  # fmt: skip
    funnel = analytics.conversation("c")["funnel"]
    assert [(one["stage"], one["reached"], one["seconds"]) for one in funnel["stages"]] == [
        ("started", True, 0), ("responded", True, 120), ("qualified", True, 180), ("booked", True, None),
        ("attended", True, 3600), ("opportunity", False, None), ("converted", False, None),
    ]  # fmt: skip
    assert funnel["stages"][1]["at"] == "2024-01-15T10:02:00Z"
    assert funnel["next"] == {"stage": "opportunity", "event": "opportunity_created"}
    assert analytics.conversation("w")["funnel"]["next"] is None
    assert analytics.conversation("n")["funnel"]["next"] == {"stage": "responded", "event": "message_received"}


def talk(name, *intents, at=0, end=won, **fields):
    said = [
        (sent if i % 2 == 0 else received)("x", at=at + i, intent=intent, conversation_id=name)
        for i, intent in enumerate(intents, 1)
    ]
    ends = [end(at=at + 30, conversation_id=name)] if end else []
    return [started(at=at, conversation_id=name, **fields), *said, *ends]


def test_the_longest_common_beginning_comes_first_then_channel_variant_time_and_id(asked):
    analytics = asked(
        *talk("me", "a", "b", "c", end=None, at=100, channel="sms", variant="v"),
        *talk("far", "a", "b", "c", "d", channel="chat"), *talk("one", "a", "x", at=100, channel="sms", variant="v"),
        *talk("l0", "a", "b", "y", end=lost, channel="chat"), *talk("l1", "a", "b", "z", end=lost, channel="sms"),
        *talk("l2", "a", "b", "z", end=lost, channel="sms", variant="v", at=9),
        *talk("l3", "a", "b", "z", end=lost, channel="sms", variant="v", at=50),
        *talk("l4", "a", "b", "z", end=lost, channel="sms", variant="v", at=150),
        *talk("test", "a", "b", "c", channel="sms", variant="v", at=100, is_test=True),
    )  # fmt: skip
    found = analytics.conversation("me")["neighbours"]
    assert (found["won"]["id"], found["won"]["shared"], found["won"]["position"]) == (
        "far", ["prospect:a", "bot:b", "prospect:c"], 4,
    )  # fmt: skip
    assert (found["lost"]["id"], len(found["lost"]["shared"]), found["lost"]["position"]) == ("l3", 2, 3)
    assert analytics.conversation("far")["neighbours"]["won"]["id"] == "one"
    assert analytics.conversation("test")["neighbours"]["won"]["id"] == "far"


@pytest.mark.one_store
def test_without_others_there_is_no_neighbour(asked):
    analytics = asked(started(), event("note", 1))
    assert analytics.conversation("c")["neighbours"] == {"won": None, "lost": None}


def test_neighbours_are_those_of_comparing_with_each(asked):
    dice = random.Random(7)
    events = []
    for number in range(40):
        intents = [dice.choice("ab'") for _ in range(dice.randint(0, 4))]
        fields = {"channel": dice.choice(["sms", "chat", None]), "variant": dice.choice(["v", "w", None])}
        end = dice.choice([won, lost, booked, None])
        events += talk(f"c{number}", *intents, at=dice.randint(0, 5) * 60, end=end, **fields)
    analytics = asked(*events)
    listed = analytics.conversations({"from": ["2024-01-01"], "to": ["2024-02-01"], "limit": ["1000"]})
    known = analytics.query("SELECT id, first_message_variant, path FROM conversations ORDER BY id")["rows"]
    known = {row[0]: {"first_message_variant": row[1], "path": row[2]} for row in known}
    rows = [row | known[row["id"]] for row in listed["conversations"]]

    def order(me, other):
        alike = [me[name] != other[name] for name in ("channel", "first_message_variant")]
        began, other_began = (datetime.fromisoformat(one["started_at"]) for one in (me, other))
        return -neighbours.in_common(me["path"], other["path"]), *alike, abs(began - other_began), other["id"]

    for me in rows[::4]:
        found = analytics.conversation(me["id"])["neighbours"]
        for name, is_won in (("won", True), ("lost", False)):
            ended = [one for one in rows if one["id"] != me["id"] and one["ending"]]
            others = [one for one in ended if (one["ending"] == "converted") == is_won]
            nearest = min(others, key=lambda one: order(me, one))
            if order(me, nearest)[0] == 0:
                assert found[name] is None
                continue
            assert found[name]["id"] == nearest["id"]
            assert found[name]["shared"] == me["path"][: -order(me, nearest)[0]]
