"""Operations: what stands out, what was behind what went wrong, how long answers took, and data health."""

from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dropoff.aliases import MAX_COMPONENT, unmerged
from dropoff.analyse.analytics import Analytics
from dropoff.analyse.health import Live
from dropoff.analyse.operations import EDGES, LISTED
from dropoff.analyse.stats import ENOUGH, SIGNIFICANT, Share
from dropoff.analyse.troubles import LONGEST, NOTHING
from dropoff.analyse.unusual import TIMES, spans
from dropoff.errors import InvalidInput
from dropoff.process.fold import Rules
from dropoff.process.worker import Worker
from dropoff.queue.sqlite import SqliteQueue
from worlds import (
    START,
    drain,
    error,
    escalated,
    event,
    fallback,
    give_back,
    open_store,
    opted_out,
    payload,
    received,
    retracted,
    sent,
    started,
    won,
)
from worlds import given as world

NOW = datetime(2024, 3, 1, tzinfo=UTC)
PERIOD = {"from": ["2024-01-01"], "to": ["2024-02-01"]}

# -- what stands out


def test_a_bad_day_among_thirty_stands_out_and_neighbours_are_one_span():
    days = [Share(3, 100)] * 10 + [Share(30, 100), Share(55, 110)] + [Share(2, 90)] * 10
    (found,) = spans(days)
    assert (found.first, found.last, found.own, found.others) == (10, 11, Share(85, 210), Share(50, 1900))
    assert found.q_value < 0.001


@pytest.mark.parametrize(
    "days",
    [
        [],
        [Share(20, 20)],  # nothing to compare with
        [Share(1, 29)] * 20 + [Share(29, 29)],  # too few to say anything
        [Share(30, 1000)] * 20 + [Share(1900, 50_000)],  # no chance, and no matter
        [Share(0, 100)] * 20,
        [Share(3, 100)] * 20 + [Share(6, 100)],  # twice as much, and may be chance
        [Share(100, 100)] * 20 + [Share(0, 100)],  # far below is not bad
    ],
)
def test_nothing_stands_out(days):
    assert spans(days) == []


@settings(max_examples=60)
@given(st.lists(st.integers(0, 300).flatmap(lambda n: st.integers(0, n).map(lambda x: Share(x, n))), max_size=30))
def test_what_stands_out_does_so(parts):
    found = spans(parts)
    inside = [i for span in found for i in range(span.first, span.last + 1)]
    assert len(inside) == len(set(inside))
    assert all(b.first != a.last + 1 for a in found for b in found)
    usual = sorted(part.successes / part.n for part in parts if part.n >= ENOUGH)
    for span in found:
        own = parts[span.first : span.last + 1]
        assert span.own == Share(sum(part.successes for part in own), sum(part.n for part in own))
        assert span.own.n + span.others.n == sum(part.n for part in parts)
        assert span.q_value < SIGNIFICANT
        for part in own:
            assert part.n >= ENOUGH
            assert part.successes / part.n >= TIMES * usual[(len(usual) - 1) // 2]


# -- a small world


def talk(name, *events, **top):
    return [one | {"conversation_id": name} | top for one in (started(), *events)]


WORLD = [
    *talk(
        "a", sent("What is your budget?", 1, intent="ask_budget"), received("eh?", 2),
        fallback(2.5, trigger="low_confidence", utterance="  eh?\n "), sent("Sorry?", 2.6, intent="clarify"),
        received("eh?", 3), fallback(3.2, trigger="low_confidence", utterance="eh?"), error(3.2, kind="timeout"),
        sent("I ask somebody", 3.5, intent="hand_over"), escalated(4, reason="asked"), escalated(5, reason="again"),
    ),
    *talk(
        "b", sent("Hello", 1, intent="greet"), fallback(2), error(2, kind=""), received("stop", 3),
        opted_out(3, keyword="STOP"), opted_out(4, keyword="nein"),
    ),
    *talk("c", opted_out(1), fallback(2, trigger="x", event_id="gone"), retracted("gone", 3), escalated(5)),
    *talk("d", received("x", 1), fallback(2, trigger="low_confidence", utterance="y" * 300), is_test=True),
    # It began before the period, and was not understood within it.
    *[one | {"conversation_id": "e"} for one in (started(-40_000), fallback(trigger="low_confidence"), escalated(3))],
    *[one | {"conversation_id": "f"} for one in (started(-40_000), fallback(-39_999, trigger="old"))],
]  # fmt: skip


@pytest.fixture(scope="module")
def analytics(engine, tmp_path_factory):
    directory = tmp_path_factory.mktemp("operations")
    with closing(world(*WORLD, directory=directory, engine=engine)) as store:
        yield Analytics(store, "UTC", lambda: NOW)
    give_back(directory)


@pytest.fixture
def here(opened):
    """`here(*events)`: the analytics of a store in this process: for what is not a matter of SQL."""
    return lambda *events: Analytics(opened(*events), "UTC", lambda: NOW)


def short(rows):
    return [(*[*row.values()][:2], row["conversations"]) for row in rows]


def test_what_went_wrong_is_counted_by_what_was_behind_it(analytics):
    found = analytics.operations(PERIOD)
    assert short(found["fallbacks"]["triggers"]) == [("low_confidence", 3, 2), ("(none)", 1, 1)]
    assert short(found["fallbacks"]["utterances"]) == [("eh?", 2, 1)]
    assert short(found["errors"]["kinds"]) == [("(none)", 1, 1), ("timeout", 1, 1)]
    assert short(found["escalations"]["reasons"]) == [("(none)", 1, 1), ("asked", 1, 1)]
    assert short(found["opt_outs"]["keywords"]) == [("(none)", 1, 1), ("stop", 1, 1)]
    assert short(found["opt_outs"]["after"]) == [(NOTHING, 1, 1), ("greet", 1, 1)]
    shares = [row["share"] for row in found["fallbacks"]["triggers"]]
    assert [(share["numerator"], share["denominator"]) for share in shares] == [(3, 4), (1, 4)]
    assert all(share["interval"][0] < share["value"] < share["interval"][1] for share in shares)
    assert (found["test_conversations"], found["health"]["test_conversations"]) == (1, 1)


def test_rates_are_those_of_the_registry_and_add_up(analytics):
    found = analytics.operations(PERIOD)
    rows = {row["metric"]: row for row in analytics.metrics(PERIOD)["metrics"]}
    for part in ("fallbacks", "errors", "escalations", "opt_outs"):
        rate = found[part]["rate"]
        assert rate == rows[rate["metric"]]
        assert len(found[part]["points"]) == 31
        for side in ("numerator", "denominator"):
            assert sum(point[side] for point in found[part]["points"]) == rate[side]
    assert found["funnel"]["stages"] == analytics.funnel(PERIOD)["stages"]
    assert found["response_times"]["median"] == rows["response_time"]["value"]


LISTS = {
    ("fallbacks", "triggers"): "trigger", ("fallbacks", "utterances"): "utterance", ("errors", "kinds"): "error",
    ("escalations", "reasons"): "escalation", ("opt_outs", "keywords"): "keyword",
    ("opt_outs", "after"): "opted_out_after",
}  # fmt: skip


def test_each_count_leads_to_as_many_conversations(analytics):
    found = analytics.operations(PERIOD)
    for (part, name), parameter in LISTS.items():
        row = found[part][name][0]
        listed = analytics.conversations({**PERIOD, parameter: [next(iter(row.values()))]})
        assert listed["total"] == len(listed["conversations"]) == row["conversations"]
    both = {**PERIOD, "trigger": ["low_confidence"], "error": ["timeout"]}
    answer = analytics.conversations(both)
    assert [row["id"] for row in answer["conversations"]] == ["a"]
    assert [row["id"] for page in analytics.all_conversations(both) for row in page] == ["a"]
    assert all(name in answer["definition"]["text"] for name in ("low_confidence", "timeout"))


def test_a_long_utterance_is_told_by_its_beginning(here):
    rows = here(*WORLD).operations({**PERIOD, "include_test": ["1"]})["fallbacks"]["utterances"]
    assert [row["utterance"] for row in rows] == ["eh?", "y" * LONGEST]


def test_what_is_asked_wrongly_is_refused(analytics):
    for name, value in (("interval", "minute"), ("nonsense", "1")):
        with pytest.raises(InvalidInput):
            analytics.operations({**PERIOD, name: [value]})
    with pytest.raises(InvalidInput, match="tied"):
        analytics.conversations({"health": ["bad"]})


def test_the_parts_are_hours_days_or_weeks_by_the_length_of_the_period(here):
    analytics = here()
    for end, interval, parts in (("2024-01-04", "hour", 72), ("2024-02-01", "day", 31), ("2025-01-01", "week", 53)):
        found = analytics.operations({"from": ["2024-01-01"], "to": [end]})
        assert found["definition"]["interval"] == interval
        assert len(found["errors"]["points"]) == parts
    assert len(analytics.operations({**PERIOD, "interval": ["month"]})["errors"]["points"]) == 1


def test_nothing_at_all(asked):
    found = asked().operations(PERIOD)
    assert found["response_times"]["n"] == found["health"]["events"] == 0
    assert found["fallbacks"]["rate"]["value"] is found["health"]["ties"]["value"] is None
    assert found["health"]["last_received_at"] is None
    assert [found[part][name] for part, name in LISTS] == [[]] * len(LISTS)


# -- response times


def test_each_answer_stands_in_one_bar(here):
    waits = [0, 0.999, 1, 1.5, 4, 9.9, 10, 59, 60, 3_599, 3_600, 700_000]
    events = [
        one | {"conversation_id": f"c{i}"}
        for i, seconds in enumerate(waits)
        for one in (received("a", 0), sent("b", seconds / 60), sent("c", seconds / 60 + 1))
    ]
    found = here(*events).operations({"from": ["2024-01-01"], "to": ["2024-03-01"]})["response_times"]
    bars = {bar["from"]: bar["count"] for bar in found["histogram"]}
    assert [bar["to"] for bar in found["histogram"]] == [*EDGES[1:], None]
    expected: dict[float, int] = dict.fromkeys(EDGES, 0)
    for seconds in waits:
        expected[max(edge for edge in EDGES if edge <= seconds)] += 1
    assert bars == expected
    assert found["n"] == len(waits)
    assert found["median"] == pytest.approx(9.95)


# -- data health


def test_what_cannot_be_trusted_is_counted(asked):
    contact = {"conversation_id": None, "contact_id": "nobody", "meeting_id": "m"}
    many = [f"id{i}" for i in range(MAX_COMPONENT)]
    analytics = asked(
        *talk("a", received("1", 1, intent="x", label_source="rules"), received("2", 1, intent="y"), received("3", 2)),
        *talk("b", won(5, amount="10", currency="USD"), event_id=None),
        *talk("c", won(5, amount="10", currency="USD")),
        *talk("d", won(5, amount="10", currency="EUR")),
        *talk("e", won(5)),
        event("something", None, "a"),
        event("meeting_attended", 5, **contact),
        event("contact_identified", 1, None, contact_id="own", aliases=many),
        event("contact_identified", 1, None, contact_id="two", aliases=["three"]),
    )  # fmt: skip
    health = analytics.operations(PERIOD)["health"]
    assert (health["contact_events"], health["unmatched_contacts"]) == (1, 1)
    assert health["unmatched"] == [{"event_type": "meeting_attended", "count": 1, "of": 1}]
    assert (health["unmerged_contacts"], health["unmerged"]) == (1, [{"contact_id": "id0", "ids": MAX_COMPONENT + 1}])
    assert (health["currencies"], health["not_convertible"], health["without_amount"]) == ({"USD": 2, "EUR": 1}, 1, 1)
    labels = {row["label_source"]: row["messages"]["numerator"] for row in health["labels"]}
    assert labels == {"rules": 1, "(none)": 1, None: 1}
    assert (health["ties"]["numerator"], health["ties"]["denominator"]) == (1, 5)
    assert [row["id"] for row in analytics.conversations({**PERIOD, "health": ["tied"]})["conversations"]] == ["a"]
    # They were received ten years later; the one without a time then is dated by its receipt.
    assert health["late"] == health["events"] == sum(row["count"] for row in health["arrival"])
    assert health["last_received_at"].startswith("2034")
    assert [health[name] for name in ("lag_events", "duplicates", "since")] == [None] * 3
    whole = {"from": ["2024-01-01"], "to": ["2034-02-01"], "interval": ["month"]}
    later = analytics.operations(whole)["health"]
    assert (later["stamped"], later["no_identity"], later["events"] - later["late"]) == (1, 1, 1)


def test_what_only_the_process_knows_is_not_asked_of_the_past(tmp_path):
    store = drain(tmp_path, [payload([started()])])
    live = Live(3, 1.5, START, 7, 2, 1, 0)
    past = lambda moment: store  # noqa: E731
    analytics = Analytics(store, "UTC", lambda: NOW, live=lambda: live, past=past)
    now = analytics.operations(PERIOD)["health"]
    assert [now[name] for name in ("lag_events", "lag_seconds", "since", "stored", "duplicates", "conflicts")] == [
        3, 1.5, "2024-01-15T10:00:00Z", 7, 2, 1,
    ]  # fmt: skip
    then = analytics.operations({**PERIOD, "as_of": ["2024-02-20"]})["health"]
    assert [then[name] for name in Live._fields] == [None] * len(Live._fields)
    store.close()


def test_what_is_new_is_seen_at_once_and_what_waits_without_any_event(tmp_path):
    clock, waits = [NOW], [Live(0)]
    with closing(open_store(tmp_path)) as store, closing(SqliteQueue(tmp_path / "queue.db")) as queue:
        analytics = Analytics(store, "UTC", lambda: clock[0], live=lambda: waits[0])
        first = analytics.operations(PERIOD)
        waits[0] = Live(5)
        assert analytics.operations(PERIOD) == first | {"health": first["health"] | {"lag_events": 5}}
        lines = payload([started(), fallback(2)])
        queue.append(lines, lines.count(b"\n")).result()
        assert Worker(queue, store, Rules()).step(0)
        clock[0] += timedelta(seconds=1)
        later = analytics.operations(PERIOD)
    assert [row["count"] for row in later["fallbacks"]["triggers"]] == [1]
    assert later["as_of"] > first["as_of"]


@given(st.lists(st.lists(st.integers(0, 300).map(str), min_size=2, max_size=40), max_size=12))
@settings(max_examples=40)
def test_what_is_not_merged_is_larger_than_what_may_be(told):
    found = unmerged(told)
    assert all(len(ids) > MAX_COMPONENT for ids in found)
    assert len({name for ids in found for name in ids}) == sum(map(len, found))
    for ids in told:
        assert sum(set(ids) <= members for members in found) == sum(bool(set(ids) & members) for members in found) <= 1


def test_lists_are_cut_and_shares_are_not(here):
    events = [fallback(i / 100, conversation_id=f"c{i}", trigger=f"t{i:02}") for i in range(LISTED + 5)]
    found = here(*events).operations(PERIOD)["fallbacks"]
    assert [row["trigger"] for row in found["triggers"]] == [f"t{i:02}" for i in range(LISTED)]
    assert {row["share"]["denominator"] for row in found["triggers"]} == {LISTED + 5}


def test_an_hour_that_stands_out_says_what_it_was(here):
    calm = [
        one | {"conversation_id": f"c{hour}-{i}"}
        for hour in range(8)
        for i in range(40)
        for one in (sent("x", hour * 60 + i), *([fallback(hour * 60 + i - 0.1, trigger="usual")] if i == 7 else []))
    ]
    bad = [fallback(5 * 60 + i - 0.1, conversation_id=f"c5-{i}", trigger="down") for i in range(10, 34)]
    day = {"from": ["2024-01-15"], "to": ["2024-01-16"]}
    (span,) = here(*calm, *bad).operations(day)["fallbacks"]["unusual"]
    assert (span["from"], span["to"]) == ("2024-01-15T15:00:00Z", "2024-01-15T16:00:00Z")
    assert (span["rate"]["numerator"], span["rate"]["denominator"]) == (25, 40)
    assert (span["others"]["numerator"], span["others"]["denominator"]) == (7, 280)
    leading = span["leading"]
    assert (leading["trigger"], leading["count"], leading["conversations"], leading["share"]["denominator"]) == (
        "down",
        24,
        24,
        25,
    )
