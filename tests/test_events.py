"""SEMANTICS §1: what an event may be, and what becomes of it at the door."""

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest

from dropoff.events import ALIASES, FACTS, MEANING, REASONS, RULES, Envelope, Event, Properties, Receipt
from dropoff.intake import read_each, read_events
from worlds import Dict

NOW = 1_700_000_000_000_000
DAY = 86_400_000_000
RECEIPT = Receipt(NOW)
MISSION = [
    {
        "event_type": "conversation_started", "conversation_id": "abc123", "channel": "sms",
        "timestamp": "2023-11-14T10:00:00Z", "properties": {"source": "website_form", "lead_score": 72},
    },
    {
        "event_type": "message_received", "conversation_id": "abc123", "message_id": "msg456",
        "timestamp": "2023-11-14T10:00:05Z",
        "properties": {
            "sender": "prospect", "content": "...", "intent": "interested", "intent_confidence": 0.87, "sentiment": 0.3,
        },
    },
    {
        "event_type": "meeting_booked", "conversation_id": "abc123", "timestamp": "2023-11-14T10:05:00Z",
        "properties": {"meeting_date": "2024-01-15", "meeting_type": "demo", "assigned_rep": "rep_789"},
    },
]  # fmt: skip


def make(event_type: str = "custom", properties: Any = None, receipt: Any = RECEIPT, **fields: Any) -> Event:
    """The event that the door makes of this one; it must make the same of it on both ways."""
    body = {"event_type": event_type, "conversation_id": "c", "properties": properties or {}, **fields}
    text = json.dumps(body).encode()
    [event] = read_events(text, receipt).events
    if event.identity != "none":
        assert read_each([text], receipt).events == [event]
    return event


def refuse(event_type: Any = "custom", properties: Any = None, **fields: Any) -> tuple[str, str]:
    """Reason and field of the refusal."""
    body = {"event_type": event_type, "conversation_id": "c", **fields}
    if properties is not None:
        body["properties"] = properties
    [rejection] = read_events(json.dumps(body).encode(), RECEIPT).rejections
    assert rejection.reason in REASONS
    form = "( is missing: it| == .*,) must be "
    assert re.match(re.escape(rejection.field) + form, rejection.message, re.DOTALL)
    return rejection.reason, rejection.field


# Required


def test_the_examples_of_the_mission_are_taken_as_they_are():
    start, message, booking = (make(**json.loads(json.dumps(one))) for one in MISSION)
    assert (start.event_type, start.channel, start.source, start.lead_score) == (
        "conversation_started", "sms", "website_form", 72,
    )  # fmt: skip
    assert (message.message_id, message.sender, message.intent) == ("msg456", "prospect", "interested")
    assert (message.intent_confidence, message.sentiment) == (0.87, 0.3)
    assert (booking.due, booking.timestamp) == ("2024-01-15", 1_699_956_300_000_000)
    assert json.loads(booking.raw) == MISSION[2]["properties"]


def test_an_event_needs_a_type_and_an_owner():
    assert refuse(None) == ("missing_event_type", "event_type")
    assert refuse("") == ("missing_event_type", "event_type")
    assert refuse(conversation_id=None) == ("missing_id", "conversation_id")
    assert make(conversation_id=None, contact_id="p").contact_id == "p"


@pytest.mark.parametrize("field", ["conversation_id", "contact_id", "account_id", "event_id", "message_id"])
def test_ids_are_texts_of_1_to_256_characters(field: str):
    assert make(**{field: "é" * 256})
    assert refuse(**{field: "x" * 257}) == ("out_of_range", field)
    assert refuse(**{field: ""}) == ("out_of_range", field)
    assert refuse(**{field: 7}) == ("wrong_type", field)


# Time


@pytest.mark.parametrize(
    ("sent", "micros"),
    [
        ("2023-11-14T10:00:00Z", 1_699_956_000_000_000),
        ("2023-11-14T15:30:00.123456+05:30", 1_699_956_000_123_456),
        (1_699_956_000, 1_699_956_000_000_000),
        (1_699_956_000.25, 1_699_956_000_250_000),
        (1_699_956_000_123, 1_699_956_000_123_000),
        (99_999_999_999 / 100, 999_999_999_990_000),
        (0, 0),
    ],
)
def test_a_time_is_rfc_3339_or_seconds_or_milliseconds(sent: Any, micros: int):
    event = make(timestamp=sent)
    assert (event.timestamp, event.stamped) == (micros, False)


@pytest.mark.parametrize(
    "sent",
    ["2023-11-14T10:00:00", "2023-11-14", "yesterday", "1699956000", True, [], -1, 1e300, "1969-12-31T00:00:00Z"],
)
def test_any_other_time_is_refused(sent: Any):
    assert refuse(timestamp=sent) == ("bad_timestamp", "timestamp")


def test_the_future_begins_24_hours_from_now():
    assert make(timestamp=(NOW + DAY) // 1000)
    assert refuse(timestamp=(NOW + DAY) // 1000 + 1) == ("future_timestamp", "timestamp")


@pytest.mark.parametrize("fields", [{}, {"timestamp": None}])
def test_a_missing_time_is_that_of_receipt(fields: Dict):
    event = make(event_id="e", **fields)
    assert (event.timestamp, event.stamped, event.skew) == (NOW, True, 0)


# Clock skew


@pytest.mark.parametrize(("ahead", "skew"), [(60, 0), (61, -61), (-60, 0), (-3600, 3600)])
def test_a_skew_above_60_seconds_is_corrected(ahead: int, skew: int):
    at = NOW // 1_000_000 + ahead
    event = make(event_id="e", timestamp=at - 5, sent_at=at)
    assert (event.skew, event.timestamp) == (skew * 1_000_000, (at - 5 + skew) * 1_000_000)


def test_one_offset_corrects_a_whole_request():
    late = NOW // 1000 - 3_600_000
    body = [{"event_type": "x", "conversation_id": "c", "timestamp": late - 1000}] * 2
    body[1] = {**body[1], "sent_at": late}
    assert [e.skew for e in read_events(json.dumps(body).encode(), RECEIPT).events] == [3_600_000_000] * 2


def test_an_import_is_never_corrected():
    imported = RECEIPT._replace(batch="b")
    event = make(timestamp=1_600_000_000, sent_at=1_600_000_000, receipt=imported)
    assert (event.skew, event.batch) == (0, "b")


def test_a_bad_sent_at_refuses_its_event_alone():
    assert refuse(sent_at=-5) == ("bad_timestamp", "sent_at")
    assert refuse(timestamp=1_700_000_000, sent_at="9999-01-01T00:00:00Z") == ("bad_timestamp", "sent_at")


# Names


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("Conversation Started", "conversation_started"),
        ("conversationStarted", "conversation_started"),
        ("  message-sent ", "message_sent"),
        ("deal_won", "deal_closed"),
        ("Deal Lost", "deal_closed"),
        ("meeting_cancelled", "meeting_canceled"),
        ("Product Viewed!", "product_viewed"),
        ("größe/Geändert", "größe_geändert"),
    ],
)
def test_event_types_are_normalised(written: str, meant: str):
    assert make(written).event_type == meant


@pytest.mark.parametrize(
    ("written", "meant"),
    [("SMS", "sms"), ("e-mail", "email"), ("E Mail", "email"), ("WhatsApp", "whatsapp"), ("whatsapp", "whatsapp"),
     ("webChat", "chat"), ("Carrier.Pigeon", "carrier_pigeon")],
)  # fmt: skip
def test_channels_are_normalised(written: str, meant: str):
    assert make(channel=written).channel == meant


@pytest.mark.parametrize("name", [" ", "!!!", "x" * 65])
def test_empty_and_overlong_names_are_refused(name: str):
    assert refuse(name) == ("out_of_range", "event_type")
    assert refuse(channel=name) == ("out_of_range", "channel")


def test_64_characters_are_not_too_long():
    assert make("x" * 64, channel=" " + "y" * 64).channel == "y" * 64


def test_a_direction_is_inbound_or_outbound():
    assert make(direction=" Inbound").direction == "inbound"
    assert refuse(direction="sideways") == ("out_of_range", "direction")


def test_every_alias_means_a_type_of_the_vocabulary():
    assert set(ALIASES.values()) <= MEANING.keys()


def test_nulls_are_as_good_as_nothing():
    names = set(Envelope.__struct_fields__) - {"event_type", "conversation_id", "timestamp"}
    nulls: Dict = dict.fromkeys(names - {"properties"})
    event = make(timestamp=1, **nulls)
    assert (event.revision, event.is_test, event.raw) == (0, False, "{}")
    assert make("message_sent", dict.fromkeys(Properties.__struct_fields__), timestamp=1).sender == "bot"


# Identity


def test_a_given_id_stands():
    event = make(event_id="e")
    assert (event.id, event.identity) == ("e", "given")


def test_a_derived_id_depends_on_owner_type_time_and_properties_alone():
    base: Dict = {"timestamp": 1_699_956_000, "properties": {"a": 1, "b": [{"y": 2, "x": 1}]}}
    same = [
        make(**base),
        make(**base, receipt=Receipt(NOW + DAY, batch="b")),
        make(timestamp="2023-11-14T10:00:00Z", properties={"b": [{"x": 1, "y": 2}], "a": 1}),
        make(**base, sequence=3, channel="sms", contact_id="p", bot_id="b"),
    ]
    assert {e.identity for e in same} == {"derived"}
    assert len({e.id for e in same}) == 1
    others = [
        make(**{**base, "timestamp": 1_699_956_001}),
        make(**{**base, "properties": {"a": 2}}),
        make("other", **base),
        make(conversation_id="d", **base),
        make(conversation_id=None, contact_id="c", **base),
    ]
    assert len({e.id for e in [*same, *others]}) == 6


def test_a_message_is_known_by_its_message_id():
    first = make("message_sent", {"content": "a"}, message_id="m", timestamp=1)
    assert make("message_sent", {"content": "b"}, message_id="m", timestamp=2).id == first.id
    assert make("message_sent", {"message_id": "m"}).id == first.id
    assert make("message_received", message_id="m").id != first.id


def test_a_status_is_known_by_its_message_and_its_word():
    one = make("message_status", {"message_id": "m", "status": "failed"}, timestamp=1)
    assert make("Message Failed", message_id="m", timestamp=2).id == one.id
    assert make("message_status", {"status": "delivered"}, message_id="m").id != one.id


def test_a_retry_with_a_skewed_clock_has_the_same_id():
    body: Dict = {"timestamp": 1_699_956_000}
    assert make(**body).id == make(**body, sent_at=1_699_956_000, receipt=Receipt(NOW + DAY)).id


def test_without_id_and_time_there_is_no_identity():
    one, other = make(), make()
    assert {one.identity, other.identity} == {"none"}
    assert one.id != other.id


# Properties


def test_all_properties_are_kept_whole():
    properties = {"nested": {"a": [1, None, "ü"]}, "sender": "bot", "x": 1.50}
    assert json.loads(make("message_sent", properties).raw) == properties


def test_unknown_top_level_keys_move_to_the_properties_and_never_over_them():
    event = make(
        "conversation_started", {"source": "form"}, source="ads", industry="retail", foo={"bar": 1}, event_id="e"
    )
    assert json.loads(event.raw) == {"source": "form", "industry": "retail", "foo": {"bar": 1}}
    assert (event.source, event.industry) == ("form", "retail")


@pytest.mark.parametrize("properties", [[], "text", 3, True])
def test_properties_are_an_object(properties: Any):
    assert refuse(properties=properties) == ("wrong_type", "properties")


@pytest.mark.parametrize("key", ["#id", "#micros", "#facts", "#identity"])
def test_no_property_is_taken_for_a_settled_fact(key: str):
    for name in (key, key.replace("#", "\\u0023")):
        body = f'{{"event_type":"x","conversation_id":"c","event_id":"e","properties":{{"{name}":"9"}}}}'.encode()
        [event] = read_events(body, RECEIPT).events
        assert (event.id, event.micros, event.facts, event.identity) == ("e", None, None, "given")
        assert json.loads(event.raw) == {key: "9"}


@pytest.mark.parametrize(
    ("event_type", "name", "value", "reason"),
    [
        ("message_received", "sentiment", 7, "out_of_range"),
        ("message_received", "sentiment", -1.01, "out_of_range"),
        ("message_received", "sentiment", "good", "wrong_type"),
        ("message_received", "sentiment", True, "wrong_type"),
        ("message_received", "intent_confidence", 1.5, "out_of_range"),
        ("message_received", "content", 5, "wrong_type"),
        ("message_received", "sender", "alien", "out_of_range"),
        ("message_sent", "appropriate", 2, "out_of_range"),
        ("message_status", "status", "lost", "out_of_range"),
        ("deal_closed", "won", 1, "wrong_type"),
        ("feedback", "score", 6, "out_of_range"),
        ("contact_identified", "aliases", ["a"] * 51, "out_of_range"),
        ("contact_identified", "aliases", "a", "wrong_type"),
        ("meeting_booked", "meeting_id", "m" * 257, "out_of_range"),
    ],
)
def test_a_property_with_a_meaning_must_be_right(event_type: str, name: str, value: Any, reason: str):
    assert refuse(event_type, {name: value}) == (reason, f"properties.{name}")


def test_where_a_property_has_no_meaning_its_type_is_free():
    event = make("custom", {"sentiment": 7, "score": "high", "won": "maybe", "message_id": 5})
    assert (event.sentiment, event.score, event.won, event.message_id) == (None, None, None, None)


def test_an_id_in_the_properties_counts_only_where_it_has_a_meaning():
    assert make("message_sent", {"message_id": "m"}).message_id == "m"
    assert make("custom", {"message_id": "m"}).message_id is None
    assert make("contact_identified", {"contact_id": "p", "aliases": ["q"]}, conversation_id=None).contact_id == "p"
    assert make("custom", {"contact_id": "p"}).contact_id is None


@pytest.mark.parametrize(
    ("event_type", "written", "meant"),
    [
        ("message_sent", None, "bot"), ("message_received", None, "prospect"), ("message_sent", "human", "agent"),
        ("message_received", "human", "prospect"), ("message_sent", "Assistant", "bot"),
        ("message_sent", "rep", "agent"),
        ("message_received", "USER", "prospect"),
    ],
)  # fmt: skip
def test_a_sender_is_bot_agent_or_prospect(event_type: str, written: str | None, meant: str):
    assert make(event_type, {"sender": written}).sender == meant


def test_a_deal_is_won_unless_it_says_otherwise():
    assert [make(*a).won for a in [("deal_closed",), ("deal_won",), ("deal_lost",)]] == [True, True, False]
    assert make("deal_closed", {"won": False}).won is False
    assert make("deal_reopened").won is None


@pytest.mark.parametrize(("scale", "csat"), [(None, 0.75), ([0, 10], 0.4), ([4, 5], 0.0)])
def test_feedback_lies_on_its_scale(scale: list[int] | None, csat: float):
    assert make("feedback", {"score": 4, "scale": scale}).csat == csat


def test_an_objection_is_its_name_without_blanks_around_it():
    assert make("objection_raised", {"objection": " Timing "}).objection == "Timing"
    assert refuse("objection_raised", {"objection": " "}) == ("wrong_type", "properties.objection")


# Money


@pytest.mark.parametrize(
    ("amount", "currency", "micros"),
    [
        (0.1, " eur", 100_000), ("0.1", "EUR", 100_000), (1000, "EUR", 10**9), ("-12.34", "EUR", -12_340_000),
        (0, "EUR", 0), ("100.00", "JPY", 10**8), ("1.500", "EUR", 1_500_000), ("1.005", "BHD", 1_005_000),
        ("1", "HRK", 10**6),
    ],
)  # fmt: skip
def test_amounts_are_exact(amount: Any, currency: str, micros: int):
    event = make("deal_won", {"amount": amount, "currency": currency})
    assert (event.micros, event.currency) == (micros, currency.strip().upper())


@pytest.mark.parametrize(
    ("amount", "currency"),
    [
        *((a, "EUR") for a in ("0.0000001", "1e12", "123456789012.000000000000000000000000000001", "NaN", "x", [])),
        ("100.50", "JPY"), ("12.345", "EUR"), ("1.0005", "BHD"),
    ],
)  # fmt: skip
def test_what_is_no_exact_amount_is_refused(amount: Any, currency: str):
    assert refuse("deal_won", {"amount": amount, "currency": currency})[1] == "properties.amount"


@pytest.mark.parametrize("currency", [None, "", "EURO", "€", "E1R", "ZZZ", "XXX"])
def test_an_amount_needs_a_currency(currency: str | None):
    reason = refuse("deal_won", {"amount": 1, "currency": currency})
    assert reason == ("out_of_range", "properties.currency")


def test_costs_are_money_too():
    assert make("message_sent", {"cost": "0.007", "currency": "USD"}).micros == 7000
    assert make("message_sent", {"cost": "7.5", "currency": "JPY"}).micros == 7_500_000
    assert refuse("message_sent", {"cost": "0.0000001", "currency": "USD"})[1] == "properties.cost"


# Meetings


@pytest.mark.parametrize(
    ("date", "due"),
    [
        ("2024-01-15", "2024-01-15"),
        ("2024-01-15T10:00:00Z", str(int(datetime(2024, 1, 15, 10, tzinfo=UTC).timestamp()) * 1_000_000)),
        ("2024-01-15T10:00:00+05:30", str(int(datetime(2024, 1, 15, 4, 30, tzinfo=UTC).timestamp()) * 1_000_000)),
    ],
)
def test_a_meeting_date_is_a_date_or_an_instant(date: str, due: str):
    assert make("meeting_booked", {"meeting_date": date}).due == due


@pytest.mark.parametrize(
    "date", ["2024-02-30", "2024-01-15T10:00:00", "15.1.2024", "2024-W03-1", "9999-12-31", "", "soon"]
)
def test_any_other_meeting_date_is_refused(date: str):
    assert refuse("meeting_booked", {"meeting_date": date}) == ("bad_timestamp", "properties.meeting_date")


def test_ids_of_meetings_and_deals_may_be_numbers_and_empty_is_none():
    assert make("meeting_booked", {"meeting_id": 17}).object_id == "17"
    assert make("deal_won", {"deal_id": ""}).object_id is None


def test_a_company_size_is_kept_for_every_event_type():
    assert make("conversation_started", {"company_size": 10}).size == "10"
    assert make("enriched", {"company_size": "11-50"}).size == "11-50"


# The reference


def test_every_field_has_a_rule_in_words():
    assert set(Envelope.__struct_fields__) <= RULES.keys()
    assert {f"properties.{name}" for name in Properties.__struct_fields__} <= RULES.keys()
    assert all(RULES.values())


def test_the_rarer_facts_are_those_of_the_event():
    assert set(FACTS) <= set(Event.__struct_fields__)
    event = make("deal_won", {"amount": 1, "currency": "EUR", "deal_id": "d"})
    assert json.loads(event.facts or "") == {"won": True, "micros": 1_000_000, "currency": "EUR", "object_id": "d"}
