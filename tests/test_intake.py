"""From bytes to events: both ways are one, and each bad event is named alone."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dropoff import intake
from dropoff.events import MAX_BATCH_EVENTS, MAX_EVENT_BYTES, Envelope, Event, Properties, Receipt
from dropoff.intake import BadBody, Intake, Rejected, decode, encode, event_parts, read_each, read_events, refused_parts
from worlds import RECEIVED, Dict, histories

RECEIPT = Receipt(RECEIVED)
GOOD = {"event_type": "x", "conversation_id": "c", "event_id": "good", "timestamp": 1}


def read(body: Any, **options: Any) -> Intake:
    return read_events(body if isinstance(body, bytes) else json.dumps(body).encode(), RECEIPT, **options)


def with_properties(properties: bytes, name: bytes = b"bad") -> bytes:
    return b'{"event_type":"x","conversation_id":"c","event_id":"%s","timestamp":1,"properties":%s}' % (
        name,
        properties,
    )


# Both ways are one

_ODD = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**60), 2**60), st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20), st.lists(st.integers(), max_size=2), st.dictionaries(st.text(max_size=3), st.integers()),
    st.sampled_from(["sms", "2024-01-15", "2024-01-15T10:00:00Z", "12.50", "EUR", 0.5, "delivered", "\x00", "#id"]),
)  # fmt: skip
_TYPES = st.sampled_from(
    ["message_sent", "messageReceived", "deal_lost", "meeting_booked", "feedback", "custom", "", 7]
)
_NAMES = [n for n in Envelope.__struct_fields__ if n not in ("properties", "sent_at")]
_ODD_EVENTS = st.builds(
    lambda kind, top, more, properties: {
        "event_type": kind, "conversation_id": "c", "event_id": "e", **top, **more, "properties": properties
    },
    _TYPES,
    st.dictionaries(st.sampled_from(_NAMES), _ODD, max_size=2),
    st.dictionaries(st.sampled_from(["foo", "source", "#id"]), _ODD, max_size=1),
    st.dictionaries(st.sampled_from([*Properties.__struct_fields__, "other"]), _ODD, max_size=4) | _ODD,
)  # fmt: skip


def comparable(events: list[Event]) -> list[Event]:
    for event in events:
        if event.identity == "none":
            event.id = ""
    return events


def same_both_ways(events: list[Dict]) -> None:
    parts = [json.dumps(event).encode() for event in events]
    apart = [read_each([part], RECEIPT) for part in parts]
    for body, options in ((b"[" + b",".join(parts) + b"]", {}), (b"\n".join(parts), {"ndjson": True})):
        whole = read(body, **options)
        assert comparable(whole.events) == comparable([e for one in apart for e in one.events])
        assert [r.index for r in whole.rejections] == [i for i, one in enumerate(apart) if one.rejections]
        assert [r.message for r in whole.rejections] == [r.message for one in apart for r in one.rejections]


@settings(max_examples=100)
@given(histories(8))
def test_a_batch_is_read_as_its_events_one_by_one(events: list[Dict]):
    same_both_ways(events)


@settings(max_examples=300)
@given(_ODD_EVENTS)
def test_an_odd_event_is_judged_alike_on_both_ways(event: Dict):
    same_both_ways([event])


@settings(max_examples=100)
@given(st.lists(_ODD_EVENTS, max_size=4))
def test_odd_batches_are_judged_event_by_event(events: list[Dict]):
    same_both_ways(events)


@settings(max_examples=100)
@given(histories(8))
def test_the_line_format_gives_back_what_went_in(events: list[Dict]):
    found = read(events)
    assert decode(encode(found.events)) == found.events
    assert encode(found.events).count(b"\n") == len(found.events)


@settings(max_examples=200)
@given(
    st.binary(max_size=60)
    | st.text(max_size=60).map(str.encode)
    | st.recursive(_ODD, st.lists).map(json.dumps).map(str.encode)
)
def test_no_body_does_anything_but_be_read_or_refused(body: bytes):
    for ndjson in (False, True):
        try:
            read(body, ndjson=ndjson)
        except BadBody as error:
            assert error.code in ("malformed", "wrong_type")  # noqa: PT017 - either is fine


# Shapes of a body


def test_one_object_an_array_and_lines_are_read():
    text = json.dumps(GOOD).encode()
    for body, options, count in [
        (text, {}, 1),
        (json.dumps(GOOD, indent=2).encode(), {}, 1),
        (b" [" + text + b"," + text + b"] ", {}, 2),
        (text + b"\r\n\n" + text + b"\n", {"ndjson": True}, 2),
        (text + b"\n" + text, {}, 2),
        (b"[]", {}, 0),
        (b"", {"ndjson": True}, 0),
    ]:
        found = read(body, **options)
        assert (len(found.events), found.rejections) == (count, [])


def test_a_bad_line_leaves_the_others():
    text = json.dumps(GOOD).encode()
    for options in ({}, {"ndjson": True}):
        found = read(text + b"\n{broken\n" + text, **options)
        assert (len(found.events), [r.index for r in found.rejections]) == (2, [1])


@pytest.mark.parametrize(
    "body", [b"", b"   ", b"{", b"[{]", b'[{"a": "', b"[1, 2", b"nonsense", b"[[[", b'{"a":1}]', b"[]x"]
)
def test_a_broken_body_is_refused_as_a_whole(body: bytes):
    try:
        found = read(body)
    except BadBody as error:
        assert error.code == "malformed"  # noqa: PT017 - a single object may be refused as an event as well
    else:
        assert not found.events
        assert [r.reason for r in found.rejections] == ["malformed"]


@pytest.mark.parametrize("body", [b"3", b'"text"', b"null", b"true"])
def test_a_body_of_another_kind_is_refused(body: bytes):
    with pytest.raises(BadBody) as refusal:
        read(body)
    assert refusal.value.code == "wrong_type"


def test_elements_that_are_no_objects_are_named():
    found = read([GOOD, 3, None, [GOOD], "x"])
    assert len(found.events) == 1
    assert [(r.index, r.reason, r.field) for r in found.rejections] == [
        (i, "wrong_type", "event") for i in (1, 2, 3, 4)
    ]


# Bad input, and nothing else lost


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b'{"event_type":"x","conversation_id":}', "malformed"),
        (with_properties(b'{"a":1,}'), "malformed"),
        (with_properties(b'{"a":01}'), "malformed"),
        (with_properties(b'{"a":"line\tbreak"}'.replace(b"\t", b"\x0b")), "malformed"),
        (with_properties(b'{"a":"\xff\xfe"}'), "malformed"),
        (with_properties(rb'{"a":"\ud800"}'), "malformed"),
        (with_properties(b'{"a":"nul \x00"}'), "malformed"),
        (with_properties(rb'{"a":"nul \u0000"}'), "nul_byte"),
        (b'{"event_type":"x","conversation_id":"a\\u0000"}', "nul_byte"),
        (with_properties(rb'{"deep":[{"nul\u0000key":1}]}'), "nul_byte"),
        (with_properties(b'{"a":' + b"[" * 1000 + b"]" * 1000 + b"}"), "too_deep"),
        (with_properties(b'{"a":' * 1000 + b"1" + b"}" * 1000), "too_deep"),
        (with_properties(b'{"a":' + b"[" * 65 + b"]" * 65 + b"}"), "too_deep"),
        (with_properties(b'{"a":"%s"}' % (b"x" * 33_000)), "too_large"),
        (b'{"event_type":"x"}', "missing_id"),
        (b'{"conversation_id":"c"}', "missing_event_type"),
        (b'{"event_type":"x","conversation_id":"c","timestamp":"2024-01-15T10:00:00"}', "bad_timestamp"),
        (b'{"event_type":"x","conversation_id":"c","timestamp":"2999-01-15T10:00:00Z"}', "future_timestamp"),
        (b'{"event_type":"message_received","conversation_id":"c","properties":{"sentiment":7}}', "out_of_range"),
        (b'{"event_type":5,"conversation_id":"c"}', "wrong_type"),
    ],
)  # fmt: skip
def test_a_bad_event_is_refused_alone(bad: bytes, reason: str):
    good = [json.dumps({**GOOD, "event_id": name}).encode() for name in "ab"]
    for body, options in (
        (b"[" + b",".join([good[0], bad, good[1]]) + b"]", {}),
        (b"\n".join([good[0], bad, good[1]]), {"ndjson": True}),
    ):
        found = read(body, **options)
        assert [e.id for e in found.events] == ["a", "b"]
        [rejection] = found.rejections
        assert (rejection.index, rejection.reason) == (1, reason)
        assert rejection.body == bad[:MAX_EVENT_BYTES].decode("utf-8", "replace")


def test_a_refusal_names_field_value_and_rule():
    bad = {"event_type": "message_received", "conversation_id": "c", "properties": {"sentiment": 7}}
    [rejection] = read([GOOD, bad]).rejections
    assert rejection.message == "properties.sentiment == 7, must be a number from -1 to 1"


# Limits


def test_an_event_may_have_exactly_32_kb():
    room = MAX_EVENT_BYTES - len(with_properties(b'{"a":""}'))
    assert len(read(with_properties(b'{"a":"%s"}' % (b"x" * room))).events) == 1
    assert [r.reason for r in read(with_properties(b'{"a":"%s"}' % (b"x" * (room + 1)))).rejections] == ["too_large"]


def test_bytes_are_counted_not_characters():
    [rejection] = read(with_properties(b'{"a":"%s"}' % ("é" * 17_000).encode())).rejections
    assert rejection.reason == "too_large"


def test_properties_may_be_64_levels_deep():
    inside = b'{"a":' + b"[" * 62 + b"]" * 62 + b"}"
    assert len(read(with_properties(inside)).events) == 1


@pytest.mark.parametrize("good", [True, False])
def test_a_batch_has_at_most_10_000_events(good: bool):
    one = json.dumps(GOOD if good else {**GOOD, "timestamp": "never"}).encode()
    for join, ends, options in ((b",", b"[]", {}), (b"\n", b"  ", {"ndjson": True})):
        full = ends[:1] + join.join([one] * MAX_BATCH_EVENTS) + ends[1:]
        found = read(full, **options)
        assert len(found.events) + len(found.rejections) == MAX_BATCH_EVENTS
        with pytest.raises(BadBody, match="10001 events") as refusal:
            read(full[:-1] + join + one + full[-1:], **options)
        assert refusal.value.code == "too_many_events"


def test_large_batches_take_the_fast_way(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(intake, "read_each", None)
    assert len(read([GOOD] * 1000).events) == 1000


def test_parts_keep_conversations_together_and_in_order():
    sent = [{"event_type": "x", "conversation_id": f"c{n % 50}", "event_id": f"e{n}"} for n in range(500)]
    sent += [{"event_type": "deal_closed", "contact_id": f"p{n % 9}", "event_id": f"d{n}"} for n in range(90)]
    events = read(sent).events
    parts = event_parts(events, 8, 10_000)
    assert {part.partition for part in parts} == set(range(8))
    assert all(len(part.payload) <= 10_000 and part.events == len(decode(part.payload)) for part in parts)
    places: dict[str | None, set[int]] = {}
    order: dict[str | None, list[str]] = {}
    for part in parts:
        for event in decode(part.payload):
            owner = event.conversation_id or event.contact_id
            places.setdefault(owner, set()).add(part.partition)
            order.setdefault(owner, []).append(event.id)
    assert {len(partitions) for partitions in places.values()} == {1}
    assert sum(map(len, order.values())) == 590
    assert all(ids == sorted(ids, key=lambda i: int(i[1:])) for ids in order.values())


def test_one_partition_takes_a_body_as_it_is():
    found = read([{"event_type": "x", "conversation_id": f"c{n}"} for n in range(9)])
    assert event_parts(found.events, 1, 10_000_000) == [(encode(found.events), 9, 0)]
    assert event_parts([], 1, 10) == refused_parts([], 7, 4, 10) == []


def test_where_a_conversation_lies_never_changes():
    """Another hash would leave the events that lie in a log behind."""
    (event,) = read({"event_type": "x", "conversation_id": "c1"}).events
    assert [event_parts([event], partitions, 10_000)[0].partition for partitions in (2, 16, 1000)] == [1, 1, 457]


def test_refused_events_are_cut_to_what_a_queue_takes():
    found = read([{"event_type": "", "text": "x" * 300}] * 64)
    parts = refused_parts(found.rejections, RECEIPT.received_at, 4, 5_000)
    assert len(parts) == 8
    assert all(len(part.payload) <= 5_000 and part.events == 0 for part in parts)
    kept = [row for part in parts for row in msgspec.json.decode(part.payload[1:], type=list[Rejected])]
    assert [row.body for row in kept] == [rejection.body for rejection in found.rejections]
