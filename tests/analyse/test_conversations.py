from base64 import urlsafe_b64encode

import pytest

from dropoff.analyse.conversations import conversations
from dropoff.errors import InvalidInput, NotFound
from dropoff.query import TestTraffic
from worlds import attended, booked, event, fallback, minute, opportunity, qualified, received, sent, started, won

WEEK = {"from": ["2024-01-15"], "to": ["2024-01-22"]}


def ids(answer):
    return [c["id"] for c in answer["conversations"]]


def pages(analytics, **params):
    """The ids of all pages, one after the other."""
    found, after = [], {}
    while True:
        answer = analytics.conversations({**WEEK, **params, **after})
        found.append(ids(answer))
        if answer["next"] is None:
            return found
        after = {"after": [answer["next"]]}


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 20, 21])
def test_pages_are_complete_and_repeat_nothing_under_equal_times(asked, limit):
    names = [f"{letter}{sign}" for letter in "abcde" for sign in ("", "/ü", "?", "'")]
    world = [started(conversation_id=name, at=number // 7) for number, name in enumerate(names)]
    found = pages(asked(*world), limit=[str(limit)])
    assert all(len(page) == limit for page in found[:-1])
    in_order = sorted(names, key=lambda name: (names.index(name) // 7, name), reverse=True)
    assert [name for page in found for name in page] == in_order


def place(text):
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "after",
    ["x", "W10", place('["x", "y"]'), place("null"), "é", place('{"a": 1, "b": 2}'), place("[" * 9000),
     place('["2024-01-15T10:00:00Z", "c"]'), place('["2024-01-15T10:00:00", "\\ud800"]')],
)  # fmt: skip
def test_a_made_up_place_is_refused(asked, after):
    analytics = asked(started())
    for params in ({}, {"text": ["hello"]}):
        with pytest.raises(InvalidInput, match=r"after == .*must be the 'next' of the page before"):
            analytics.conversations({"after": [after], **params})


def world():
    made = []
    for number in range(14):
        name = f"c{number}"
        steps = [received, qualified, booked, attended, opportunity, won][: number // 2]
        made += [started(conversation_id=name), *(step(conversation_id=name) for step in steps)]
    made.append(booked(conversation_id="late"))
    return made


@pytest.mark.parametrize("name", ["sales", "mission"])
def test_every_count_leads_to_as_many_conversations(asked, name):
    analytics = asked(*world())
    for stage in analytics.funnel({"name": [name], **WEEK})["stages"]:
        assert analytics.conversations({"name": [name], "stage": [stage["stage"]], **WEEK})["total"] == stage["count"]


def test_every_lost_volume_leads_to_as_many_conversations(asked):
    analytics = asked(*world())
    drops = analytics.dropoffs(WEEK)["drop_offs"]
    assert len(drops) == 6
    for drop in drops:
        assert analytics.conversations({"dropped": [drop["from"]], **WEEK})["total"] == drop["volume_lost"]


def test_those_that_dropped_by_their_own_events(asked):
    analytics = asked(*world())
    found = analytics.conversations({"name": ["mission"], "dropped": ["started"], **WEEK})
    assert sorted(ids(found)) == ["c0", "c1", "late"]


@pytest.mark.parametrize("at_once", [1, 2, 3, 20, 21])
def test_an_export_is_the_whole_list_in_its_order(asked, monkeypatch, at_once):
    monkeypatch.setattr(conversations, "EXPORTED_AT_ONCE", at_once)
    names = [f"{letter}{sign}" for letter in "abcde" for sign in ("", "/ü", "?", "'")]
    analytics = asked(*(started(conversation_id=name, at=number // 7) for number, name in enumerate(names)))
    found = [row for page in analytics.all_conversations(WEEK) for row in page]
    listed = analytics.conversations({**WEEK, "limit": ["1000"]})
    assert found == listed["conversations"]
    assert len(found) == listed["total"] == len(names)


@pytest.mark.parametrize(
    "params",
    [{"stage": ["booked"]}, {"dropped": ["responded"]}, {"name": ["mission"], "stage": ["qualified"]},
     {"stage": ["booked"], "within": ["5m"]}, {"stage": ["booked"], "within": ["4m"]},
     {"where": ["channel=sms"]},
     {"definition": ['{"steps": [{"event": "qualified"}, {"event": "meeting_booked"}]}'], "stage": ["qualified"]}],
)  # fmt: skip
def test_an_export_has_what_the_list_has(asked, monkeypatch, params):
    monkeypatch.setattr(conversations, "EXPORTED_AT_ONCE", 3)
    analytics = asked(*world())
    listed = analytics.conversations({**WEEK, **params})
    found = [row for page in analytics.all_conversations({**WEEK, **params}) for row in page]
    assert found == listed["conversations"]
    assert len(found) == listed["total"]


@pytest.mark.parametrize(
    ("params", "refusal"),
    [
        ({"limit": ["5"]}, "limit == '5', must be left out: an export is the whole list"),
        ({"after": ["x"]}, "after == 'x', must be left out: an export is the whole list"),
        ({"stage": ["won"]}, "stage == 'won', must be one of started"),
        ({"limits": ["5"]}, "parameter == 'limits', must be one of"),
    ],
)
def test_what_is_wrong_with_an_export_is_said_before_it_begins(asked, params, refusal):
    with pytest.raises(InvalidInput) as caught:
        asked(started()).all_conversations(params)
    assert refusal in str(caught.value)


def test_who_reached_a_stage_while_young_enough(asked):
    week = 7 * 24 * 60
    analytics = asked(
        started(), booked(at=week), started(conversation_id="d"), booked(conversation_id="d", at=week - 0.001),
        started(conversation_id="e"), attended(conversation_id="e", at=5), booked(conversation_id="e", at=2 * week),
    )  # fmt: skip

    def total(**params):
        return analytics.conversations({**WEEK, **{name: [text] for name, text in params.items()}})["total"]

    assert (total(stage="booked"), total(stage="booked", within="1w"), total(stage="booked", within="8d")) == (3, 2, 3)
    assert total(name="mission", stage="booked", within="8d") == 2
    own = '{"steps": [{"event": "conversation_started"}, {"event": "meeting_booked"}]}'
    for params in ({"within": "1w"}, {"within": "soon", "stage": "booked"}, {"within": "1w", "definition": own}):
        with pytest.raises(InvalidInput, match=r"within == '(1w|soon)', must be"):
            total(**params)


def test_all_that_leads_to_a_list_holds_together(asked):
    def talk(name, trigger, *more):
        own = (started(), sent("Hi", intent="greet"), fallback(at=2, trigger=trigger), *more)
        return [made | {"conversation_id": name} for made in own]

    analytics = asked(
        *talk("a", "x", booked()), *talk("b", "y", booked()), *talk("c", "x"), started(conversation_id="d")
    )

    def found(**params):
        given = {**WEEK, **{name: [text] for name, text in params.items()}}
        listed = analytics.conversations(given)
        assert [row["id"] for page in analytics.all_conversations(given) for row in page] == ids(listed)
        return "".join(sorted(ids(listed))), listed["definition"]["text"]

    assert found(pattern="bot:greet", kind="step")[0] == "abc"
    assert found(pattern="bot:greet", kind="step", trigger="x")[0] == "ac"
    assert found(pattern="bot:greet", kind="step", stage="booked") == (
        "ab", "Conversations with the step bot:greet; conversations started in the period that reached booked.",
    )  # fmt: skip
    assert found(message="Hi", position="1", trigger="x", stage="booked")[0] == "a"
    assert found(trigger="y", dropped="started")[0] == ""
    own = '{"steps": [{"event": "fallback"}, {"event": "meeting_booked"}]}'
    assert found(trigger="x", definition=own, stage="meeting_booked")[0] == "a"


def test_after_the_last_recorded_stage_nobody_drops(asked):
    with pytest.raises(InvalidInput, match="dropped == 'responded', must be a stage that is followed by a recorded"):
        asked(started(), received()).conversations({"dropped": ["responded"]})
    with pytest.raises(InvalidInput, match="stage == 'opportunity', must be one of started, responded"):
        asked().conversations({"name": ["mission"], "stage": ["opportunity"]})


def test_one_conversation_with_all_its_facts(asked):
    shown = asked(
        started(channel="sms", source="website_form", lead_score=72),
        sent("Hi!", at=1, message_id="m1", intent="greet"),
        received("How much?", at=2, sentiment=-0.25, intent="objection_price", intent_confidence=0.5),
        received("Fine.", at=3, sentiment=0.5, intent="interested"),
        qualified(at=4, score=80),
        booked(at=5, meeting_date="2024-01-20"),
        won(at=80, amount="1000.10", currency="EUR"),
    ).conversation("c")
    wanted = {
        "id": "c", "channel": "sms", "started_at": "2024-01-15T10:00:00Z", "message_count": 3, "bot_messages": 1,
        "human_messages": 2, "sentiment_start": -0.25, "sentiment_end": 0.5, "sentiment_trend": 0.75,
        "intents_detected": ["objection_price", "interested"], "objections_raised": ["price"],
        "qualification_score": 80, "outcome": "converted", "escalated": False, "escalation_reason": None,
        "fallback_count": 0, "stage": "converted", "revenue": {"EUR": "1000.10"}, "lead_score": 72,
    }  # fmt: skip
    assert {name: shown[name] for name in wanted} == wanted
    assert [(m["position"], m["sender"], m["content"]) for m in shown["messages"]] == [
        (1, "bot", "Hi!"), (2, "prospect", "How much?"), (3, "prospect", "Fine."),
    ]  # fmt: skip
    assert [e["event_type"] for e in shown["events"]][:2] == ["conversation_started", "message_sent"]
    assert shown["events"][0]["properties"] == {"source": "website_form", "lead_score": 72}
    assert not {"key", "level"} & shown.keys()


@pytest.mark.parametrize("name", ["a/b", "a b", "ü✓", "?x#y%2F", "..", "a/../b", "' OR 1=1 --", "\x1b[31m", " x "])
def test_an_id_may_have_any_characters(asked, name):
    analytics = asked(started(conversation_id=name))
    (listed,) = ids(analytics.conversations(WEEK))
    assert analytics.conversation(listed)["id"] == listed
    assert listed.strip() == name.strip()


def test_what_the_project_counts_as_test_traffic_is_shown_as_such(asked):
    analytics = asked(
        started(channel="sandbox"), sent("Hi", intent="greet"), won(),
        started(conversation_id="d", channel="sandbox"), sent("Hi", conversation_id="d", intent="greet"),
    )  # fmt: skip
    analytics._test = TestTraffic(channels=("sandbox",))
    listed = analytics.conversations({**WEEK, "include_test": ["1"]})["conversations"]
    assert [row["is_test"] for row in listed] == [True, True]
    shown = analytics.conversation("d")
    assert shown["is_test"] is True
    assert shown["neighbours"]["won"]["id"] == "c"


def test_an_unknown_conversation_is_named(asked):
    with pytest.raises(NotFound, match="there is no conversation 'nobody'"):
        asked(started()).conversation("nobody")


def test_conversations_of_other_periods_are_not_listed(asked):
    world = [started(at=0), event("conversation_started", None, "d", timestamp=minute(60 * 24 * 30) // 1000)]
    assert ids(asked(*world).conversations(WEEK)) == ["c"]


def test_a_message_is_there_once_whatever_ids_other_systems_give(asked):
    """An id is one within a conversation, or a contact: the bot and the CRM may both have counted from 1."""
    deal = event("deal_won", at=9, conversation_id=None, contact_id="p", event_id="1")
    shown = asked(started(contact_id="p"), sent("Hi", event_id="1"), deal).conversation("c")
    assert [message["content"] for message in shown["messages"]] == ["Hi"]


def test_transcripts_are_what_was_said_in_each(asked):
    said = sent("Hi", event_id="1"), received("No", at=1, intent="objection_price", event_id="2")
    other = started(conversation_id="d"), sent("Hello", conversation_id="d", event_id="1", message_id="m")
    deal = event("deal_won", at=9, conversation_id=None, contact_id="p", event_id="1")
    analytics = asked(started(contact_id="p"), *said, *other, deal)
    found = analytics.transcripts(["d", "c", "nobody"])
    for name in ("c", "d"):
        whole = analytics.conversation(name)["messages"]
        assert found.pop(name) == [
            {key: one[key] for key in ("position", "sender", "intent", "content")} for one in whole
        ]
    assert found == {"nobody": []}


def test_a_contact_event_stands_in_its_conversation(asked):
    deal = event("deal_won", at=9, conversation_id=None, contact_id="p")
    found = asked(started(contact_id="p"), deal).conversation("c")
    assert [(e["event_type"], e["attributed_by"]) for e in found["events"]] == [
        ("conversation_started", None),
        ("deal_closed", "latest"),
    ]
    assert found["stage"] == "converted"
