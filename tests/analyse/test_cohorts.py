"""Cohorts by week and age, against a reader of the same conversations that knows nothing of SQL."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import worlds
from dropoff.analyse import cohorts
from dropoff.analyse.analytics import Analytics
from dropoff.analyse.stats import wilson
from dropoff.errors import InvalidInput
from dropoff.periods import Period
from worlds import START, attended, booked, opportunity, qualified, received, sent, started, won

STAGES = ("started", "responded", "qualified", "booked", "attended", "opportunity", "converted")
MAKERS = {
    "responded": received, "qualified": qualified, "booked": booked, "attended": attended, "opportunity": opportunity,
    "converted": won,
}  # fmt: skip
DAY, WEEK = 1440, 7 * 1440
MINUTE = timedelta(minutes=1)
JANUARY = {"from": ["2024-01-15"], "to": ["2024-02-05"]}

# Beginnings around a midnight, a Monday, and the night in which the clocks of Berlin go forward; ages around whole
# weeks: when it is not a stage's turn, a later one comes first, or one is left out.
BEGINNINGS = st.sampled_from([0, 1, 5 * DAY + 779, 5 * DAY + 840, 6 * DAY, 13 * DAY, 69 * DAY, 76 * DAY + 720])
AGES = st.sampled_from([0, 3, WEEK - 1, WEEK, WEEK + 1, 2 * WEEK, 5 * WEEK - 1, 9 * WEEK])
CONVERSATIONS = st.lists(
    st.tuples(BEGINNINGS, st.dictionaries(st.sampled_from(STAGES[1:]), AGES, max_size=4)), min_size=1, max_size=8
)


def events(conversations):
    found = []
    for i, (at, reached) in enumerate(conversations):
        name = f"c{i}"
        found += [started(at, conversation_id=name), sent("hi", at, conversation_id=name)]
        found += [MAKERS[stage](at=at + age, conversation_id=name) for stage, age in reached.items()]
    return found


def first_day(moment, zone, interval):
    day = moment.astimezone(ZoneInfo(zone)).date()
    if interval == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if interval == "month" else day


def naive(conversations, stage, zone, interval, now):
    """For each cohort that there is: n, total, and its cells until they are null."""
    later = STAGES[STAGES.index(stage) :]
    rows = {}
    for at, reached in conversations:
        began = START + at * MINUTE
        ages = [age for name, age in {"started": 0, **reached}.items() if name in later]
        rows.setdefault(first_day(began, zone, interval), []).append((began, min(ages, default=None)))
    found = {}
    for day, row in rows.items():
        cells, age = [], 0
        while any(began + age * WEEK * MINUTE < now for began, _ in row):
            came = sum(reached is not None and reached < (age + 1) * WEEK for _, reached in row)
            young = any(began + (age + 1) * WEEK * MINUTE > now for began, _ in row)
            cells.append((age, came, len(row), young))
            age += 1
        found[day] = (len(row), sum(reached is not None for _, reached in row), cells)
    return found


@pytest.mark.one_store
@settings(max_examples=15)
@given(
    CONVERSATIONS, st.sampled_from(STAGES), st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata"]),
    st.sampled_from(["day", "week", "month"]), st.sampled_from([7 * DAY, 14 * DAY, 15 * WEEK, 30 * WEEK]),
)  # fmt: skip
def test_cohorts_equal_a_naive_reading(engine, conversations, stage, zone, interval, age):
    now = START + age * MINUTE
    conversations = [(at, {s: a for s, a in reached.items() if at + a < age}) for at, reached in conversations]
    conversations = [(at, reached) for at, reached in conversations if at < age] or [(0, {})]
    with TemporaryDirectory() as folder:
        store = worlds.given(*events(conversations), directory=Path(folder), engine=engine)
        try:
            analytics = Analytics(store, zone, lambda: now)
            period = {"from": ["2024-01-01"], "to": ["2024-06-01"]}
            answer = analytics.cohorts({**period, "stage": [stage], "interval": [interval]})
            agree(answer, naive(conversations, stage, zone, interval, now), zone)
            lists_are_as_long(analytics, answer)
        finally:
            store.close()


def agree(answer, expected, zone):
    known = answer["definition"]["is_recorded"]
    rows = {datetime.fromisoformat(row["from"]).astimezone(ZoneInfo(zone)).date(): row for row in answer["cohorts"]}
    assert answer["ages"] == list(range(len(answer["ages"])))
    assert expected.keys() <= rows.keys()
    for day, row in rows.items():
        n, total, cells = expected.get(day, (0, 0, []))
        assert (row["n"], row["total"]["numerator"]) == (n, total)
        assert len(row["cells"]) == len(answer["ages"])
        shown = [cell for cell in row["cells"] if cell]
        assert row["cells"] == shown + [None] * (len(row["cells"]) - len(shown))
        of_cells = [(c["age"], c["numerator"], c["denominator"], c["incomplete"]) for c in shown]
        assert of_cells == cells[: len(answer["ages"])]
        if shown:  # nobody comes after the last column
            assert shown[-1]["numerator"] == total
        for number in (*shown, row["total"]):
            n, of = number["numerator"], number["denominator"]
            assert number["value"] == (n / of if known and of else None)
            assert number["interval"] == (wilson(n, of) if known else None)


def lists_are_as_long(analytics, answer):
    """The funnel and the lists of the first cohort that there is."""
    row = next(row for row in answer["cohorts"] if row["n"])
    ends, stage = {"from": [row["from"]], "to": [row["to"]]}, answer["definition"]["stage"]
    counts = {s["stage"]: s["count"] for s in analytics.funnel(ends)["stages"]}
    assert (counts["started"], counts[stage]) == (row["n"], row["total"]["numerator"])
    for cell in filter(None, row["cells"]):
        listed = analytics.conversations({**ends, "stage": [stage], "within": [f"{cell['age'] + 1}w"]})
        assert listed["total"] == cell["numerator"]


def test_the_last_recorded_stage_and_twelve_whole_weeks_by_default(asked):
    answer = asked(started(), booked(at=3), timezone="Europe/Berlin").cohorts({})
    assert answer["definition"]["stage"] == "booked"
    assert answer["period"] == {
        "from": "2023-10-30T00:00:00+01:00", "to": "2024-01-22T00:00:00+01:00", "timezone": "Europe/Berlin",
    }  # fmt: skip
    assert [row["n"] for row in answer["cohorts"]] == [0] * 11 + [1]
    assert answer["cohorts"][0] == {
        "from": "2023-10-29T23:00:00Z", "to": "2023-11-05T23:00:00Z", "partial": False, "n": 0, "cells": [None],
        "total": {"value": None, "numerator": 0, "denominator": 0, "interval": None, "matured": None,
                  "projected": None},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("interval", "first", "last", "rows"),
    [("day", date(2024, 2, 1), date(2024, 3, 1), 30), ("week", date(2023, 12, 11), date(2024, 3, 3), 12),
     ("month", date(2023, 4, 1), date(2024, 3, 31), 12)],
)  # fmt: skip
def test_whole_intervals_up_to_the_last_day(interval, first, last, rows):
    month = Period(datetime(2024, 2, 1, tzinfo=UTC), datetime(2024, 3, 2, tzinfo=UTC), "UTC")
    found = cohorts.whole(month, interval)
    assert (found.start.date(), found.end.date() - timedelta(days=1)) == (first, last)
    assert len(cohorts.metrics.cuts(found, interval)) == rows


def test_a_cut_week_and_one_that_is_not_over_are_partial(asked):
    analytics = asked(started(), now=datetime(2024, 1, 31, tzinfo=UTC))
    found = analytics.cohorts({"from": ["2024-01-17"], "to": ["2024-02-05"]})["cohorts"]
    assert [row["partial"] for row in found] == [True, False, True]


def test_filters_and_test_traffic(asked):
    analytics = asked(
        started(channel="sms"), booked(), started(conversation_id="d", channel="chat"),
        started(conversation_id="t", is_test=True, channel="sms"),
    )  # fmt: skip
    assert analytics.cohorts(JANUARY)["cohorts"][0]["n"] == 2
    assert analytics.cohorts(JANUARY)["test_conversations"] == 1
    assert analytics.cohorts({**JANUARY, "where": ["channel=sms"]})["cohorts"][0]["n"] == 1
    assert analytics.cohorts({**JANUARY, "include_test": ["1"]})["cohorts"][0]["n"] == 3


def test_a_stage_without_any_event_has_no_rates(asked):
    found = asked(started(), booked(at=3)).cohorts({**JANUARY, "stage": ["qualified"]})
    assert not found["definition"]["is_recorded"]
    total = found["cohorts"][0]["total"]
    assert (total["numerator"], total["value"], total["interval"]) == (1, None, None)


def test_many_weeks_are_cut_and_who_comes_later_still_counts(asked):
    far = datetime(2030, 1, 1, tzinfo=UTC)
    found = asked(started(), won(at=60 * WEEK), now=far).cohorts(JANUARY)
    assert found["ages"] == list(range(cohorts.MOST_AGES))
    row = found["cohorts"][0]
    assert (row["cells"][-1]["numerator"], row["total"]["numerator"]) == (0, 1)


@pytest.mark.parametrize(
    ("params", "refusal"),
    [
        ({"stage": ["won"]}, "stage == 'won', must be one of started, responded"),
        ({"interval": ["hour"]}, "interval == 'hour', must be one of day, week, month"),
        ({"interval": ["day"], "from": ["2010-01-01"]}, "must be one that gives at most 2000 points"),
        ({"by": ["channel"]}, "parameter == 'by', must be one of from, to"),
    ],
)
def test_what_is_refused(asked, params, refusal):
    with pytest.raises(InvalidInput) as caught:
        asked(started()).cohorts(params)
    assert refusal in str(caught.value)


def test_an_empty_store_has_empty_cohorts(asked):
    found = asked().cohorts({})
    assert (found["definition"]["stage"], found["ages"]) == ("started", [0])
    assert {row["n"] for row in found["cohorts"]} == {0}
