"""Segments compared: by hand, against a plain recount of each contact, and against what is planted in the demo."""

import re
from collections import defaultdict
from datetime import UTC, datetime
from math import isclose
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_metrics_recount import odd_events, world

import recount
from dropoff.analyse import contacts, stats
from dropoff.analyse.analytics import Analytics
from dropoff.analyse.segments import segments
from dropoff.analyse.segments.readings import as_it_stands
from dropoff.analyse.segments.segments import compare
from dropoff.demo import DEFAULT_END as END
from dropoff.demo import generate
from dropoff.demo.planted import DROP_OFF, SEGMENTS, SPAN, TIMEZONE, deployed_at
from dropoff.errors import InvalidInput
from dropoff.metrics import METRICS
from dropoff.query import DIMENSIONS, MULTIPLE, Query
from worlds import objected, qualified, received, sent, started

pytestmark = pytest.mark.one_store("asked")  # any small history and the demo are on every store

NOW = datetime(2025, 1, 1, tzinfo=UTC)
WHENEVER = {"from": ["2024-01-01"], "to": ["2024-03-01"]}
DAY = 24 * 60  # minutes


def talks(channel, answered, of, *, contacts=None, at=0.0, prefix="", **more):
    """Conversations of a channel, of which so many are answered; with so many contacts, who take turns."""
    events = []
    for i in range(of):
        contact = f"{prefix}{channel}-p{i % contacts}" if contacts else None
        own = [started(at, channel=channel, **more), sent("Hi", at + 1)]
        own += [received("Hello", at + 2)] if i < answered else []
        name = f"{prefix}{channel}-{i}"
        events += [e | {"conversation_id": name} | ({"contact_id": contact} if contact else {}) for e in own]
    return events


@pytest.fixture
def asked(opened, engine):
    """`asked(events, metric, now=…, **params)`: the answer about a small world."""

    def ask(events, metric="response_rate", question="segments", now=NOW, **params):
        analytics = Analytics(opened(*events, engine=engine), "UTC", lambda: now)
        listed = {name: [value] if isinstance(value, str) else value for name, value in params.items()}
        return getattr(analytics, question)({**WHENEVER, "metric": [metric], **listed})

    return ask


def row(answer, name):
    (found,) = (one for one in answer["segments"] if one["segment"] == name)
    return found


# By hand


def test_shares_compared_by_hand(asked):
    answer = asked(talks("sms", 20, 40) + talks("chat", 10, 40) + talks("fax", 1, 2), by="channel")
    sms, chat, fax = (row(answer, name) for name in ("sms", "chat", "fax"))
    assert (sms["value"], sms["sample_size"], sms["clusters"], sms["conversations"]) == (0.5, 40, 40, 40)
    assert sms["confidence"] == pytest.approx((0.3520, 0.6480), abs=5e-5)  # Wilson: (0.5 ± 0.5·z/√(n+z²)
    assert chat["confidence"] == pytest.approx((0.1419, 0.4019), abs=5e-5)
    (found,) = answer["significant_differences"]
    assert (found["a"], found["b"], found["difference"], found["better"]) == ("sms", "chat", 0.25, "sms")
    assert found["p_value"] == found["q_value"] == pytest.approx(0.020921, abs=1e-6)  # z = 0.25/√(.375·.625·2/40)
    assert found["test"] == "pooled z-test"
    low, high = found["interval"]  # Newcombe: 0.25 ∓ √(…)
    assert low == pytest.approx(0.25 - ((0.5 - 0.35203) ** 2 + (0.40194 - 0.25) ** 2) ** 0.5, abs=1e-4)
    assert high == pytest.approx(0.25 + ((0.64797 - 0.5) ** 2 + (0.25 - 0.14187) ** 2) ** 0.5, abs=1e-4)
    assert (answer["best_performing"], answer["tested"]) == ("sms", 1)
    assert (fax["enough"], fax["where"]) == (False, ["channel=fax"])
    assert [one["segment"] for one in answer["segments"]] == ["fax", "sms", "chat"]


@pytest.mark.parametrize("repeat", [False, True])
def test_one_win_among_101_claims_nothing(asked, repeat):
    """Neither where contacts repeat nor where they do not."""
    others = talks("chat", 0, 101) + talks("email", 0, 60, contacts=45 if repeat else None)
    answer = asked(talks("sms", 1, 101, contacts=100 if repeat else None) + others, by="channel")
    assert (answer["tested"], answer["significant_differences"], answer["best_performing"]) == (3, [], None)


def test_a_rare_hit_of_a_contact_that_repeats_is_no_proof():
    """One in 101 against none of 10,000."""
    a, b = stats.Clustered(100, 101, 1, 1, 1, 103), stats.Clustered(9999, 10000, 0, 0, 0, 10002)
    found = compare(METRICS["win_rate"], contacts.pair("a", "b", a, b, contacts.Shared()))
    assert found is not None
    assert (found.p_value or 0) > 0.005


def test_below_30_nothing_is_said(asked):
    answer = asked(talks("sms", 29, 29) + talks("chat", 3, 40) + talks("email", 20, 40), by="channel")
    assert row(answer, "sms")["enough"] is False
    assert answer["tested"] == 1
    assert answer["best_performing"] == "email"
    assert {answer["significant_differences"][0][side] for side in "ab"} == {"email", "chat"}


def test_the_best_has_the_best_bound_and_not_the_best_value(asked):
    events = talks("sms", 20, 30) + talks("chat", 650, 1000)
    assert asked(events, by="channel")["best_performing"] == "chat"
    down = [e | {"event_type": "escalated"} if e["event_type"] == "message_received" else e for e in events]
    answer = asked(down, "escalation_rate", by="channel")
    assert answer["best_performing"] == "chat"  # of what is bad the lowest upper bound


def test_contacts_that_come_back_count_once(asked):
    """60 conversations of 10 contacts are 10 contacts; each answers always or never."""
    few = asked(talks("sms", 60, 60, contacts=10) + talks("chat", 0, 60, contacts=50), by="channel")
    assert (row(few, "sms")["sample_size"], row(few, "sms")["clusters"], row(few, "sms")["enough"]) == (60, 10, False)
    assert few["tested"] == 0
    answer = asked(talks("sms", 40, 80, contacts=40) + talks("chat", 20, 80), by="channel")
    (found,) = answer["significant_differences"]
    assert found["test"] == "t-test over contacts"
    assert "over contacts" in " ".join(answer["notes"])


def test_a_contact_in_both_segments_is_one(asked):
    """Every contact answers on both channels or on neither: the segments are the same people."""
    both = [talks(channel, 20, 40) for channel in ("sms", "chat")]
    same = [[e | {"contact_id": e["conversation_id"].split("-")[1]} for e in one] for one in both]
    cells = asked(same[0] + same[1], by="channel")
    assert (row(cells, "sms")["clusters"], cells["significant_differences"]) == (40, [])


def test_an_objection_is_compared_with_those_that_have_it_not(asked):
    def with_objections(names, answered, of, prefix):
        events = talks("sms", answered, of, prefix=prefix)
        conversations = dict.fromkeys(e["conversation_id"] for e in events)
        return events + [objected(name, 5) | {"conversation_id": c} for c in conversations for name in names]

    events = with_objections(["price"], 10, 40, "a") + with_objections(["price", "time"], 15, 30, "b")
    answer = asked(events + with_objections([], 38, 40, "c"), by="objection")
    assert row(answer, "price")["sample_size"] == 70
    assert row(answer, "time")["sample_size"] == 30
    assert answer["tested"] == 3
    found = {one["a"]: one for one in answer["significant_differences"]}
    assert found["not price"]["difference"] == pytest.approx(38 / 40 - 25 / 70)
    assert found["(none)"]["b"] == "not (none)"
    assert "not time" not in found  # 15/30 against 48/80


def test_named_segments_that_overlap_are_not_compared(asked):
    events = talks("sms", 30, 40, direction="inbound") + talks("sms", 5, 40, prefix="o", direction="outbound")
    events += talks("chat", 10, 40, direction="inbound")
    named = ["All SMS: channel=sms", "Chat: channel=chat", "In: direction=inbound, channel=sms", "None: channel=fax"]
    answer = asked(events, segment=named)
    assert {one["segment"]: one["sample_size"] for one in answer["segments"]} == {
        "All SMS": 80, "Chat": 40, "In": 40, "None": 0,
    }  # fmt: skip
    assert answer["overlapping"] == [["All SMS", "In"]]
    assert answer["tested"] == 2
    assert [(one["a"], one["b"]) for one in answer["significant_differences"]] == [
        ("In", "Chat"), ("All SMS", "Chat"),
    ]  # fmt: skip
    assert row(answer, "In")["where"] == ["direction=inbound", "channel=sms"]


def test_means_are_compared_by_welch(asked):
    """Messages for each conversation: 2 or 3 here, 1 or 2 there."""
    answer = asked(talks("sms", 20, 40) + talks("chat", 10, 40), "messages_per_conversation", by="channel")
    a, b = stats.Moments(40, 60.0, 100.0), stats.Moments(40, 50.0, 70.0)
    expected = stats.welch(a, b)
    assert expected is not None
    (found,) = answer["significant_differences"]
    assert (found["difference"], found["p_value"]) == pytest.approx((0.25, expected.p_value))
    assert row(answer, "sms")["confidence"] == pytest.approx(stats.mean_interval(a))
    assert answer["best_performing"] is None  # no direction is good


def waits(channel, seconds, contacts=None):
    """A conversation for each: qualified so many seconds after its start."""
    events = []
    for i, each in enumerate(seconds):
        own = [started(0, channel=channel), qualified(each / 60)]
        contact = {"contact_id": f"{channel}{i % contacts}"} if contacts else {}
        events += [e | {"conversation_id": f"{channel}-{i}"} | contact for e in own]
    return events


def test_medians_by_order_statistics(asked):
    slow, fast = [60.0 + i * 7 % 41 for i in range(41)], [20.0 + i * 5 % 51 for i in range(51)]
    answer = asked(waits("sms", slow) + waits("chat", fast), "time_to_qualification", by="channel")
    a, b = np.sort(np.array(slow)), np.sort(np.array(fast))
    expected = stats.price_bonett(a, b)
    assert expected is not None
    (found,) = answer["significant_differences"]
    assert (found["a"], found["better"]) == ("sms", "chat")
    assert (found["difference"], found["p_value"]) == pytest.approx((expected.difference, expected.p_value))
    assert row(answer, "sms")["confidence"] == pytest.approx(stats.median_interval(a))
    assert row(answer, "sms")["value"] == np.median(a)
    assert [(one["a"], one["b"]) for one in answer["tendencies"]] == [("sms", "chat")]
    assert answer["best_performing"] == "chat"


def test_medians_of_contacts_that_repeat_are_wider(asked):
    """Every contact twice with the same time: as many contacts say as much as without the second time."""
    times = [20.0 + i for i in range(64)]
    once = asked(waits("sms", times), "time_to_qualification", by="channel")
    twice = asked(waits("sms", times * 2, contacts=64), "time_to_qualification", by="channel")
    alone = asked(waits("sms", times * 2), "time_to_qualification", by="channel")
    widths = [high - low for low, high in (row(one, "sms")["confidence"] for one in (once, twice, alone))]
    assert (row(twice, "sms")["sample_size"], row(twice, "sms")["clusters"]) == (128, 64)
    assert widths[0] == pytest.approx(widths[1], rel=0.2)
    assert widths[1] > 1.25 * widths[2]


def test_totals_have_shares_and_no_test(asked):
    answer = asked(talks("sms", 1, 30) + talks("chat", 1, 90), "conversations_started", by="channel")
    assert [(one["segment"], one["value"], one["share_of_total"]) for one in answer["segments"]] == [
        ("chat", 90, 0.75), ("sms", 30, 0.25),
    ]  # fmt: skip
    assert (answer["tested"], answer["best_performing"], row(answer, "sms")["confidence"]) == (0, None, None)
    assert "no test" in answer["notes"][0]


# Age


def test_the_young_are_left_out_and_said(asked):
    """A channel that began to be used yesterday has not failed."""
    old, new = talks("sms", 20, 40), talks("chat", 0, 40, at=30 * DAY)
    now = datetime(2024, 2, 14, 12, tzinfo=UTC)  # two hours after the last began; a response is waited for a day
    answer = asked(old + new, by="channel", now=now)
    assert answer["definition"]["units"] == "matured"
    assert (row(answer, "chat")["sample_size"], row(answer, "chat")["too_young"]) == (0, 40)
    assert row(answer, "chat")["so_far"]["value"] == 0
    assert (answer["best_performing"], answer["significant_differences"]) == ("sms", [])
    everybody = asked(old + new, by="channel", now=now, units="all")
    assert everybody["significant_differences"]
    assert "not compared fairly" in " ".join(everybody["notes"])


@pytest.mark.parametrize(("days", "said"), [(1.0, "1 day ago"), (2.0, "2 days ago"), (1.5, "1.5 days ago")])
def test_one_day_is_not_many(days, said):
    rows = [{"too_young": 0, "clusters": 1, "sample_size": 1, "segment": "a"}]
    basis = segments.Basis(cast("Any", SimpleNamespace(days=days)), is_matured=True, waits=cast("Any", None))
    query = cast("Any", SimpleNamespace(overlapping=False, by="channel"))
    (note,) = segments._notes(query, METRICS["response_rate"], basis, rows, set())
    assert f"that entered {said} or earlier" in note


def test_where_nobody_is_young_all_count(asked):
    answer = asked(talks("sms", 20, 40), by="channel")
    assert (answer["definition"]["units"], row(answer, "sms")["too_young"]) == ("all", 0)


# Two periods


def changed(asked, events, **more):
    return asked(events, compare="previous", **{"from": "2024-02-01", "to": "2024-03-01"}, **more)["compare"]


FEBRUARY = 17 * DAY + 15 * 60  # 1 February, 01:00


def test_both_periods_are_followed_for_the_same_time(asked):
    """In January all answered after 20 days; those of February had 9."""
    days = 20 * 86_400_000
    late = [e | {"timestamp": e["timestamp"] + days * ("received" in e["event_type"])} for e in talks("sms", 40, 40)]
    now = datetime(2024, 3, 10, tzinfo=UTC)
    found = changed(asked, late + talks("sms", 10, 40, at=FEBRUARY, prefix="f"), by="channel", now=now)
    assert found["follow_days"] == 9
    assert (found["before"]["value"], found["now"]["value"]) == (0, 0.25)
    longer = changed(asked, late + talks("sms", 10, 40, at=FEBRUARY, prefix="f"), by="channel", now=now, follow="25d")
    assert (longer["before"]["value"], longer["left_out"]) == (1, {"now": 0, "before": 0})
    later = changed(asked, late + talks("sms", 10, 40, at=FEBRUARY, prefix="f"), by="channel", now=now, follow="45d")
    assert (later["now"]["value"], later["left_out"]) == (None, {"now": 40, "before": 0})


def test_a_change_of_the_mix_alone(asked):
    """Both channels answer as ever, but the better one has become larger: 30 of 60 to 45 of 60."""
    events = talks("sms", 24, 30) + talks("chat", 6, 30)
    events += talks("sms", 36, 45, at=FEBRUARY, prefix="f") + talks("chat", 3, 15, at=FEBRUARY, prefix="f")
    found = changed(asked, events, by="channel")
    assert found["change"] == pytest.approx(0.15)
    assert found["rate_effect"] == pytest.approx(0, abs=1e-12)
    assert found["mix_effect"] == pytest.approx(0.15)
    by_name = {one["segment"]: one for one in found["segments"]}
    assert by_name["sms"]["weight"] == {"now": 0.75, "before": 0.5}
    assert by_name["sms"]["mix_effect"] == pytest.approx(0.25 * (0.8 - 0.575))
    assert sum(one["contribution"] for one in found["segments"]) == pytest.approx(found["change"], abs=1e-12)


def test_moves_that_offset_one_another_are_shown(asked):
    events = talks("sms", 30, 60) + talks("chat", 30, 60)
    events += talks("sms", 54, 60, at=FEBRUARY, prefix="f") + talks("chat", 12, 60, at=FEBRUARY, prefix="f")
    answer = asked(events, question="explain", **{"from": "2024-02-01", "to": "2024-03-01"})
    assert answer["compare"]["change"] == pytest.approx(0.05)
    (up,) = (one for one in answer["segments"] if one["dimension"] == "channel")
    (down,) = (one for one in answer["offsetting"] if one["dimension"] == "channel")
    assert (up["segment"], up["contribution"]) == ("sms", pytest.approx(0.2))
    assert (down["segment"], down["contribution"]) == ("chat", pytest.approx(-0.15))
    assert up["interval"][0] > 0 > down["interval"][1]
    assert max(up["q_value"], down["q_value"]) < 0.01
    assert answer["segments"][0] == up


@pytest.mark.parametrize(
    ("question", "params", "refusal"),
    [
        ("segments", {}, "by is missing: it must be a dimension, unless there are named segments"),
        ("segments", {"by": "shoe_size"}, "by == 'shoe_size', must be one of channel,"),
        ("segments", {"by": "channel", "segment": "A: channel=sms"}, "by == 'channel', must be left out where"),
        ("segments", {"segment": "channel=sms"}, "segment == 'channel=sms', must be like 'NAME:"),
        ("segments", {"segment": ["A: channel=sms", "A: channel=fax"]}, "must be the name of one segment"),
        ("segments", {"by": "channel", "units": "some"}, "units == 'some', must be one of auto, matured, all"),
        ("segments", {"by": "channel", "compare": "next"}, "compare == 'next', must be previous"),
        ("segments", {"by": "channel", "compare_from": "2023-01-01"}, "compare_to is missing: it must be given with"),
        ("explain", {"compare_from": "2024-02-01", "compare_to": "2024-04-01"}, "must be a period that has nothing in"),
        ("explain", {"follow": "0d"}, "follow == '0d', must be longer than nothing"),
        ("explain", {"by": "objection"}, "by == 'objection', must be a dimension of which a conversation has one"),
        ("explain", {"metric": "response_time"}, "metric == 'response_time', must be a share, a score or a ratio"),
    ],
)
def test_what_cannot_be_asked_is_refused(asked, question, params, refusal):
    with pytest.raises(InvalidInput, match=re.escape(refusal)):
        asked(talks("sms", 1, 2), question=question, **params)


# Against a plain recount

QUOTIENTS = [name for name in recount.QUOTIENTS if not METRICS[name].by_currency]


def by_contact(talks, name, query):
    """For each contact and segment the sums of numerator and denominator, by hand; '' is what is in none twice."""
    start, end = (recount.micros(at.isoformat()) for at in (query.period.start, query.period.end))
    found = defaultdict(lambda: [0.0, 0.0])
    for one in talks:
        items = [item for item in recount.ALL[name](one) if start <= item.at < end]
        for item in items:
            for segment in ["", *(recount.segments(one, query.by, query.period.timezone) if query.by else [])]:
                found[one.lead, segment][0] += float(item.top)
                found[one.lead, segment][1] += item.bottom
    return {key: tuple(sums) for key, sums in found.items() if any(sums)}


def clustered(sums):
    """Σ over contacts."""
    x, n = (np.array([one[place] for one in sums]) for place in (0, 1))
    return (len(sums), n.sum(), x.sum(), (x * x).sum(), (x * n).sum(), (n * n).sum())


def shared(one, other):
    """Over the contacts in both."""
    both = [(one[c], other[c]) for c in one if c in other]
    return (*(sum(a[i] * b[j] for a, b in both) for i in (0, 1) for j in (0, 1)), len(both))


def equal(found, expected):
    return len(found) == len(expected) and all(
        isclose(a, b, rel_tol=1e-9, abs_tol=1e-9) for a, b in zip(found, expected, strict=True)
    )


def check_sums(made, name, by):
    query = Query(made.period, made.now, by=by)
    expected = by_contact(made.talks, name, query)
    segments = sorted({segment for _, segment in expected} - {""})
    of = {segment: {c: sums for (c, s), sums in expected.items() if s == segment} for segment in ["", *segments]}
    reading = as_it_stands(METRICS[name], query)
    if by in MULTIPLE:
        values = contacts.read_complements(made.store, query, reading).get("", {})
        assert sorted(values) == segments
        for segment, found in values.items():
            rest = {
                c: left for c, sums in of[""].items()
                if any(left := tuple(a - b for a, b in zip(sums, of[segment].get(c, (0, 0)), strict=True)))
            }  # fmt: skip
            assert equal(found.has, clustered(list(of[segment].values()))), (name, segment)
            assert equal(found.has_not, clustered(list(rest.values()))), (name, segment)
            assert equal(found.shared, shared(of[segment], rest)), (name, segment)
        return
    cells = contacts.read(made.store, query, reading).get("", contacts.Cells({}, {}))
    assert sorted(cells.sums) == segments
    for a in segments:
        assert equal(cells.sums[a], clustered(list(of[a].values()))), (name, a)
        for b in segments:
            assert equal(cells.between(a, b), shared(of[a], of[b])), (name, a, b)


@pytest.mark.one_store
@pytest.mark.parametrize("by", ["channel", "objection", "week", "property:country"])
def test_the_sums_over_contacts_are_those_of_each_contact(engine, tmp_path, by):
    now = datetime(2024, 4, 20, tzinfo=UTC)
    made = world(tmp_path, engine, list(odd_events(Random(7), 150)), "2024-01-20", "2024-04-01", now)
    repeated = [one.lead for one in made.talks]
    assert len(set(repeated)) < len(repeated)
    for name in QUOTIENTS:
        check_sums(made, name, by)
    made.store.close()


@settings(max_examples=6, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 10**6), size=st.integers(2, 25), name=st.sampled_from(QUOTIENTS),
    by=st.sampled_from(["channel", "direction", "objection", "month"]),
)  # fmt: skip
def test_any_small_history_adds_up(engine, seed, size, name, by):
    now = datetime(2024, 4, 20, tzinfo=UTC)
    with TemporaryDirectory(prefix="dropoff-") as place:
        made = world(Path(place), engine, list(odd_events(Random(seed), size)), "2024-01-01", "2024-05-01", now)
        check_sums(made, name, by)
        made.store.close()


# The demo


@pytest.fixture(scope="module")
def demo(engine, tmp_path_factory):
    made = world(tmp_path_factory.mktemp("demo"), engine, list(generate(5000, 7, END)), "2026-01-01", "2026-07-01", END)
    yield Analytics(made.store, TIMEZONE, lambda: END)
    made.store.close()


WHOLE = {"from": [(END - SPAN).date().isoformat()], "to": [END.date().isoformat()]}


@pytest.mark.one_store
@pytest.mark.parametrize("by", [pytest.param("medium", marks=pytest.mark.long), "objection", "month"])
def test_all_units_are_the_metric_and_matured_ones_the_matured_rate(demo, by):
    """One number everywhere: whatever is compared stands in the answer about metrics, too."""
    listed = demo.metrics({**WHOLE, "by": [by]})["metrics"]
    for name, metric in METRICS.items():
        expected = {(r["segment"], r.get("currency")): r for r in listed if r["metric"] == name}
        answer = demo.segments({**WHOLE, "metric": [name], "by": [by], "units": ["all"]})
        assert {(r["segment"], r.get("currency")): r["value"] for r in answer["segments"]} == {
            key: r["value"] for key, r in expected.items()
        }
        if not metric.stages:
            continue
        answer = demo.segments({**WHOLE, "metric": [name], "by": [by], "units": ["matured"]})
        for r in answer["segments"]:
            matured = expected[r["segment"], None]["matured"]
            assert (r["value"], r["sample_size"]) == (matured["value"], matured["n"]), (name, r["segment"])
            assert r["so_far"]["value"] == expected[r["segment"], None]["value"]
            assert r["too_young"] == r["so_far"]["denominator"] - r["sample_size"] or not r["sample_size"]


def test_every_metric_has_an_answer_by_every_dimension(demo, engine):
    for place, name in enumerate(METRICS):
        pair = DIMENSIONS[place % len(DIMENSIONS)], DIMENSIONS[-1 - place % 7]
        for by in pair if engine == "duckdb" else pair[:1]:  # each of both is asked there, too
            answer = demo.segments({**WHOLE, "metric": [name], "by": [by]})
            assert answer["segments"], (name, by)
            shown = {r["segment"] for r in answer["segments"]}
            assert answer["best_performing"] in {*shown, None}
            assert answer["tested"] <= 50 * 49 / 2
            for r in answer["segments"]:
                both = r["confidence"]
                assert both is None or both[0] - 1e-9 <= r["value"] <= both[1] + 1e-9, (name, by, r)


def booking(demo, **more):
    asked = {name: [text] if isinstance(text, str) else text for name, text in more.items()}
    return demo.segments({**WHOLE, "metric": ["booking_rate"], **asked})


def test_the_better_medium_is_found_and_the_industry_is_its_mix(demo):
    by_medium = booking(demo, by="medium")
    assert by_medium["best_performing"] == SEGMENTS.medium
    found = {(one["a"], one["b"]) for one in by_medium["significant_differences"]}
    assert found == {(SEGMENTS.medium, "organic"), (SEGMENTS.medium, "paid")}
    assert [one["mix"] for one in by_medium["significant_differences"]] == [None, None]
    legal = [one for one in booking(demo, by="industry")["significant_differences"] if one["a"] == SEGMENTS.industry]
    assert {one["mix"] and one["mix"]["dimension"] for one in legal} <= {"medium"}
    named = [f"Legal: industry={SEGMENTS.industry}"]
    others = "Software, industry=Healthcare, industry=Construction, industry=Logistics, industry=Retail"
    named.append(f"Others: industry={others}, industry=Education")
    all_media = booking(demo, segment=named)
    assert [(one["a"], one["b"]) for one in all_media["significant_differences"]] == [("Legal", "Others")]
    for medium in (SEGMENTS.medium, "paid", "organic"):
        assert booking(demo, segment=named, where=f"medium={medium}")["significant_differences"] == []


def test_the_change_of_the_planted_drop_off_is_explained(demo):
    asked = {"from": [deployed_at(END).date().isoformat()], "to": WHOLE["to"], "metric": ["qualification_rate"]}
    answer = demo.explain(asked)
    moved = [(one["dimension"], one["segment"]) for one in answer["segments"]]
    assert ("channel", "chat") in moved[:4]
    change = answer["compare"]["change"]
    assert change > 0.1
    for one in answer["dimensions"]:
        assert one["rate_effect"] + one["mix_effect"] == pytest.approx(change, abs=1e-12)
        if one["dimension"] == "bot_version":
            assert one["rate_effect"] == 0
    for by in ("channel", "hour_of_day"):  # read with all others, or alone: the same
        alone = demo.explain({**asked, "by": [by]})
        for name in ("segments", "offsetting"):
            among = [one for one in answer[name] if one["dimension"] == by]
            assert [one["segment"] for one in among] == [one["segment"] for one in alone[name][: len(among)]]
            for one, other in zip(among, alone[name], strict=False):
                assert one["contribution"] == pytest.approx(other["contribution"], abs=1e-12)
                assert one["p_value"] == pytest.approx(other["p_value"], abs=1e-12)
                assert (one["now"]["clusters"], one["before"]["value"]) == (
                    other["now"]["clusters"], other["before"]["value"],
                )  # fmt: skip
    versions = {one["segment"] for one in answer["segments"] if one["dimension"] == "bot_version"}
    assert versions == {DROP_OFF.old_version, DROP_OFF.new_version}
