"""Matured and projected rates, from events to the answer."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given as each
from hypothesis import settings
from hypothesis import strategies as st

from dropoff.analyse import maturity, remembered, young
from dropoff.analyse.analytics import Analytics
from dropoff.analyse.maturity import DAY, Table
from dropoff.analyse.stats import wilson
from dropoff.demo import generate
from dropoff.errors import InvalidInput
from dropoff.project.settings import load
from dropoff.store.sql import STAGES
from worlds import (
    START,
    attended,
    booked,
    canceled,
    given,
    histories,
    opted_out,
    qualified,
    received,
    started,
    won,
)  # fmt: skip

MINUTES = 24 * 60
DAYS = {"responded": 1, "qualified": 0.002, "booked": 0.001, "attended": 0.004, "opportunity": 1, "converted": 2}
WEEK = {"from": ["2024-01-15"], "to": ["2024-01-22"]}


def days_later(days):
    return START + timedelta(days=days)


def ask(store, now, days=None, **params):
    return Analytics(store, "UTC", lambda: now, maturity=days or {}).funnel({**WEEK, **params})


# --- against an interpreter that takes one conversation after the other


def interpreted(store, now, source, target, wait, recorded):
    """`(converted, n)` of the matured rate, by reading every row."""
    moment = now.replace(tzinfo=None, second=0, microsecond=0)
    stages = list(STAGES)
    meetings = store.select("SELECT * FROM meeting_rows").dicts()
    n = converted = 0
    for row in store.select("SELECT * FROM conversation_rows").dicts():
        if row["is_test"] or not "2024-01-15" <= str(row["started_at"]) < "2024-01-22":
            continue
        reached = {
            stage: min((row[STAGES[s]] for s in stages[i:] if row[STAGES[s]] is not None), default=None)
            for i, stage in enumerate(stages)
        }
        entered, left = reached[source], reached[target]
        if entered is None:
            continue
        if source == "booked" and "attended" in recorded:
            own = [m for m in meetings if m["conversation_id"] == row["id"] and m["due_at"] is not None]
            kept = [m for m in own if m["state"] != "canceled"] or own
            entered = max([entered, *([min(m["due_at"] for m in kept)] if kept else [])])
        if entered >= moment or moment - entered < wait:
            continue
        n += 1
        converted += left is not None and left < moment and left - entered <= wait
    return converted, n


@settings(max_examples=12)
@each(histories(20), st.sampled_from([0.001, 0.004, 1, 3, 40, 300]), st.integers(0, 59))
def test_matured_rates_are_what_every_row_says(engine, events, age, seconds):
    with TemporaryDirectory(prefix="dropoff-") as name:
        store = given(*events, directory=Path(name), engine=engine)
        now = days_later(age).replace(second=seconds)
        answer = ask(store, now, DAYS)
        plain = Analytics(store, "UTC", lambda: now).funnel({**WEEK, "name": ["mission"]})
        recorded = [s["stage"] for s in answer["stages"] if s["is_recorded"]]
        lead = timedelta(days=answer["maturity"].get("attended", {}).get("lead_days", 0))
        pairs = {
            (a, b): s["rate_from_previous"] for a, b in pairwise(recorded) for s in answer["stages"] if s["stage"] == b
        }
        starts = {("started", s["stage"]): s["rate_from_start"] for s in answer["stages"][1:] if s["is_recorded"]}
        for (source, target), number in (starts | pairs).items():
            path = [s for s in recorded if recorded.index(source) < recorded.index(s) <= recorded.index(target)]
            wait = timedelta(microseconds=sum(round(DAYS[s] * DAY) for s in path))
            wait += lead if {"booked", "attended"} <= set(path) else timedelta(0)
            expected = interpreted(store, now, source, target, wait, recorded)
            found = number["matured"]
            assert (round((found["value"] or 0) * found["n"]), found["n"]) == expected, (source, target)
            assert found["maturity_days"] * DAY == pytest.approx(wait / timedelta(microseconds=1))
            assert found["interval"] == (wilson(*expected) if expected[1] else None)
            assert number["numerator"] <= number["denominator"]
        assert all(s["rate_from_previous"]["matured"] is None for s in plain["stages"])
        store.close()


# --- what is borrowed, against one table of both parts


@each(
    st.lists(st.tuples(st.integers(1, 30), st.integers(0, 2)), min_size=30, max_size=80),
    st.lists(st.tuples(st.integers(1, 30), st.integers(0, 2)), min_size=1, max_size=20),
)
def test_both_parts_together_are_one_table(earlier, own):
    def entries(rows):
        durations, ends = (np.array(column) for column in zip(*rows, strict=True))
        durations, over = durations * DAY, ends > 0
        return maturity.Entries(np.sort(durations), durations[over], durations[over], ends[over].astype(np.int8))

    past, cohort, horizon = maturity.history(entries(earlier)), entries(own), 20 * DAY
    rest = maturity.beyond(past, horizon)
    found = maturity.projected(cohort, rest, least=1)
    if found is None:
        return
    age = min(int(cohort.ages[0]), horizon)
    rows = maturity.table(cohort).between(-1, age)
    if (rows.ended < rows.at_risk).all():
        age = int(rest.cuts[np.searchsorted(rest.cuts, age, "right") - 1])
        rows = rows.between(-1, age)
    together = Table(*(np.concatenate(pair) for pair in zip(rows, past.table.between(age, horizon), strict=True)))
    curve = maturity.incidence(together)
    assert found.value == pytest.approx(curve.value[-1], abs=1e-12)
    low, high = (bound[0] for bound in maturity.bounds(curve.value[-1:], curve.variance[-1:]))
    if not np.isnan(low):
        assert found.interval == pytest.approx((low, high), abs=1e-9)


# --- by hand, through the whole stack


def conversation(name, *events):
    return [started(conversation_id=name, at=0), *(make(conversation_id=name, at=at) for make, at in events)]


def test_a_table_by_hand(tmp_path, engine):
    """Ten answer after a day, five of them are qualified two days later and one after four; two opt out after one."""
    made = []
    for i in range(10):
        later = [(qualified, 3 * MINUTES)] * (i < 5) + [(qualified, 5 * MINUTES)] * (i == 5)
        later += [(opted_out, 2 * MINUTES)] * (i in (6, 7))
        made += conversation(f"c{i}", (received, MINUTES), *later)
    store = given(*made, directory=tmp_path, engine=engine)
    answer = ask(store, days_later(6), {"qualified": 2, "horizon": 5})
    number = answer["numbers"]["qualification_rate"]
    assert (number["numerator"], number["denominator"]) == (6, 10)
    assert number["matured"] == {
        "value": 0.5, "n": 10, "interval": wilson(5, 10), "maturity_days": 2.0, "source": "configured",
    }  # fmt: skip
    assert number["projected"] is None, "six conversions are fewer than ten"
    responded = answer["numbers"]["response_rate"]
    assert responded["projected"]["value"] == 1
    assert responded["projected"] | {"value": 1, "interval": 0} == {
        "value": 1, "n": 10, "interval": 0, "horizon_days": 5, "borrowed": 0, "conversions": 10,
    }  # fmt: skip
    # before anybody answered: 0 of 10 so far matured is unknown, as nobody is old enough for a default of one day
    early = ask(store, days_later(0.5), {"qualified": 2})["numbers"]["response_rate"]["matured"]
    assert (early["value"], early["n"], early["interval"]) == (None, 0, None)
    store.close()


def test_an_opt_out_competes_where_it_stands(tmp_path, engine):
    """20 of 40 win on day 10; 10 opted out on day 5; 10 opted out, came back, and are still open."""
    made = []
    for i in range(40):
        more = [(won, 10 * MINUTES)] if i < 20 else [(opted_out, 5 * MINUTES)]
        more += [(received, 6 * MINUTES)] if i >= 30 else []
        made += conversation(f"c{i}", *more)
    store = given(*made, directory=tmp_path, engine=engine)
    number = ask(store, days_later(20), {"horizon": 15, "converted": 12})["numbers"]["win_rate"]
    assert number["value"] == 0.5
    assert number["projected"]["value"] == pytest.approx(0.5), "30 at risk on day 10: 3/4 * 20/30"
    assert number["projected"]["borrowed"] == 0
    store.close()


def test_the_clock_of_the_attendance_starts_when_the_meeting_is_due(tmp_path, engine):
    def meeting(name, due, *events):
        return [
            *conversation(name), booked(conversation_id=name, at=60, meeting_id="m", meeting_date=due),
            *(make(conversation_id=name, at=at, meeting_id="m") for make, at in events),
        ]  # fmt: skip

    made = [
        *meeting("early", "2024-01-20T10:00:00Z", (attended, 3 * MINUTES)),  # due on day 5
        *meeting("kept", "2024-01-17T10:00:00Z", (attended, 2 * MINUTES + 60)),
        *meeting("missed", "2024-01-17T10:00:00Z"),
        *meeting("off", "2024-01-17T10:00:00Z", (canceled, MINUTES)),
        *conversation("undated", (booked, 60)),
    ]
    store = given(*made, directory=tmp_path, engine=engine)

    def shown(day):
        found = ask(store, days_later(day), {"attended": 1})["numbers"]["show_rate"]
        return found["numerator"], found["denominator"], found["matured"]["n"], found["matured"]["value"]

    assert shown(1.01) == (2, 5, 0, None)
    assert shown(1.05) == (2, 5, 1, 0), "the one without a date counts from its booking"
    assert shown(3) == (2, 5, 4, 0.25)
    assert shown(5.9) == (2, 5, 4, 0.25), "kept early, it still waits for its date"
    assert shown(6) == (2, 5, 5, 0.4)
    assert ask(store, days_later(6))["maturity"]["attended"]["lead_days"] == pytest.approx(5 - 1 / 24)
    store.close()


def test_nothing_is_claimed_of_stages_that_are_never_recorded(tmp_path, engine):
    made = conversation("a", (received, 5), (booked, 60)) + conversation("b", (received, 5))
    store = given(*made, directory=tmp_path, engine=engine)
    answer = ask(store, days_later(30))
    assert set(answer["maturity"]) == {"responded", "booked"}
    assert answer["maturity"]["booked"] == {"days": 10, "source": "default", "conversions": 0}
    for name in ("qualification_rate", "booking_rate", "show_rate", "win_rate"):
        assert (answer["numbers"][name]["matured"], answer["numbers"][name]["projected"]) == (None, None)
    by_stage = {s["stage"]: s for s in answer["stages"]}
    assert by_stage["qualified"]["rate_from_start"]["matured"] is None
    assert by_stage["booked"]["rate_from_previous"]["matured"]["value"] == 0.5
    store.close()


# --- where it takes long


@pytest.mark.parametrize("events", [remembered.MANY, remembered.MANY - 2])
def test_of_a_large_store_a_cohort_that_takes_long_is_the_last_one(tmp_path, monkeypatch, events):
    store = given(*conversation("a", (received, 5)), *conversation("b"), directory=tmp_path)
    now, held, cohorts, read = days_later(2), events, [], young.read

    def counted(store, query, since, until, **which):
        cohorts.extend([since] * (since == query.period.start))
        return read(store, query, since, until, **which)

    monkeypatch.setattr(young, "read", counted)
    monkeypatch.setattr(remembered, "version", lambda _: (held,))
    monkeypatch.setattr(remembered, "PATIENCE", timedelta(-1))
    analytics = Analytics(store, "UTC", lambda: now)

    def shown():
        rate = analytics.funnel(WEEK)["numbers"]["response_rate"]
        assert (rate["value"], rate["matured"]["value"], rate["matured"]["n"]) == (0.5, 0.5, 2)
        return len(cohorts)

    is_large = events == remembered.MANY
    assert [shown(), shown()] == [1, 1], "nothing has come"
    held += 1
    assert shown() == (1 if is_large else 2)
    now += remembered.SHOWN + timedelta(seconds=1)
    assert shown() == (2 if is_large else 3), "nobody is shown what is older than an hour"
    store.close()


# --- on data with a truth


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    store = given(*generate(3000, 7), directory=tmp_path_factory.mktemp("demo"))
    yield store
    store.close()


END = datetime(2026, 6, 1, tzinfo=UTC)


def test_over_the_weeks_of_the_demo_wins_fall_and_what_they_come_to_does_not(demo):
    analytics = Analytics(demo, "UTC", lambda: END)
    found = analytics.trend(
        {"metric": ["win_rate"], "interval": ["week"], "from": ["2026-03-02"], "to": ["2026-06-01"]}
    )
    points = found["points"]
    values = [p["value"] for p in points]
    assert max(values[-3:]) < 0.5 * np.mean(values[:6])
    # Of an early week with fewer than ten wins, which has nothing to borrow, nothing is said.
    assert all(p["projected"] for p in points[-3:])
    assert np.mean([p["projected"]["value"] for p in points[-3:]]) > 0.5 * np.mean(values[:6])
    assert all(p["projected"]["value"] >= p["value"] - 1e-9 for p in points[-3:])
    assert [p["immature"] for p in points] == sorted(p["immature"] for p in points)
    assert found["definition"]["maturity_source"] == "learned"
    by_week = analytics.funnel({"by": ["week"], "from": ["2026-03-02"], "to": ["2026-06-01"]})["segments"]
    assert {w: part["numbers"]["win_rate"]["projected"] for w, part in by_week.items()} == {
        f"2026-W{10 + i}": point["projected"] for i, point in enumerate(points)
    }


def test_segments_are_waited_for_alike_and_borrow_from_their_own(demo):
    params = {"from": ["2026-05-01"], "to": ["2026-06-01"]}
    analytics = Analytics(demo, "UTC", lambda: END)
    split = analytics.funnel({**params, "by": ["channel"]})
    ages = {part["numbers"]["win_rate"]["matured"]["maturity_days"] for part in split["segments"].values()}
    assert len(ages) == 1
    alone = analytics.funnel({**params, "where": ["channel=sms"]})["numbers"]["booking_rate"]
    assert split["segments"]["sms"]["numbers"]["booking_rate"]["matured"] == alone["matured"]
    whole = analytics.funnel(params)
    assert whole["numbers"] == split["numbers"]
    metrics = {row["metric"]: row for row in analytics.metrics(params)["metrics"]}
    for name, number in whole["numbers"].items():
        assert {key: metrics[name][key] for key in ("value", "matured", "projected")} == {
            key: number[key] for key in ("value", "matured", "projected")
        }
    assert "matured" not in metrics["opt_out_rate"]


def test_a_maturity_time_comes_from_the_settings_the_history_or_the_shipped_ones(demo):
    params = {"from": ["2026-05-01"], "to": ["2026-06-01"]}
    learned = Analytics(demo, "UTC", lambda: END).funnel(params)["maturity"]
    assert {wait["source"] for wait in learned.values()} == {"learned"}
    given_days = Analytics(demo, "UTC", lambda: END, maturity={"converted": 45, "horizon": 60}).funnel(params)
    assert given_days["maturity"] == learned | {
        "converted": learned["converted"] | {"days": 45, "source": "configured"}
    }
    assert given_days["numbers"]["win_rate"]["projected"]["horizon_days"] == 60
    young = Analytics(demo, "UTC", lambda: datetime(2024, 1, 1, tzinfo=UTC)).definitions({})["metrics"]
    assert next(m for m in young if m["metric"] == "win_rate")["maturity_days"] == 99
    assert next(m for m in young if m["metric"] == "revenue")["maturity_source"] is None


@pytest.mark.parametrize(
    ("days", "message"),
    [
        ({"started": 1}, "unknown stage 'started' in maturity: known are responded"),
        ({"booked": 0}, "maturity.booked == 0.0, must be days, more than 0 and at most 365"),
        ({"horizon": 1000}, "maturity.horizon == 1000.0, must be days"),
        ({"converted": float("nan")}, "maturity.converted == nan, must be days"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(days, message):
    with pytest.raises(InvalidInput) as error:
        load(maturity=days)
    assert str(error.value).startswith(message)


# --- funnels of one's own


def test_a_funnel_with_a_window_is_matured_by_those_whose_time_is_over(tmp_path, engine):
    made = []
    for i, day in enumerate((0, 0, 3, 5)):
        made += [
            qualified(conversation_id=f"c{i}", at=day * MINUTES),
            *([booked(conversation_id=f"c{i}", at=day * MINUTES + 60)] if i in (0, 3) else []),
        ]
    store = given(*made, directory=tmp_path, engine=engine)
    steps = '{"event": "qualified"}, {"event": "meeting_booked"'

    def shown(day, definition):
        answer = ask(store, days_later(day), definition=[definition], by=["channel"])
        assert answer["segments"]["(none)"]["stages"] == answer["stages"]
        found = answer["stages"][1]["rate_from_start"]
        assert found["projected"] is None
        return (found["numerator"], found["denominator"]), found["matured"]

    for limited in (f'{{"steps": [{steps}}}], "window": "2d"}}', f'{{"steps": [{steps}, "within": "2d"}}]}}'):
        naive, matured = shown(5.1, limited)
        assert naive == (2, 4)
        assert matured == {
            "value": 1 / 3, "n": 3, "interval": wilson(1, 3), "maturity_days": 2, "source": "configured",
        }  # fmt: skip
        assert shown(7, limited)[1]["n"] == 4, "the limit is inclusive"
    assert shown(5.1, f'{{"steps": [{steps}}}]}}') == ((2, 4), None)
    store.close()
