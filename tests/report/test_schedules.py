"""When a report is due, whatever the clock of its zone does."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dropoff.errors import InvalidInput
from dropoff.project.schedules import DAYS, Schedule
from dropoff.project.settings import load
from dropoff.report.spans import pinned, spans

BERLIN = ZoneInfo("Europe/Berlin")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@pytest.mark.parametrize(
    ("kind", "at", "now", "due"),
    [
        ("weekly", "mon 08:00", "2026-06-01T07:59:59+02:00", "2026-05-25T08:00+02:00"),
        ("weekly", "mon 08:00", "2026-06-01T08:00:00+02:00", "2026-06-01T08:00+02:00"),
        ("weekly", "", "2026-06-03T08:00:00+02:00", "2026-06-01T08:00+02:00"),
        # From summer to winter time the week has an hour more, and the clock shows the same.
        ("weekly", "mon 08:00", "2026-10-26T07:30+01:00", "2026-10-19T08:00+02:00"),
        ("weekly", "mon 08:00", "2026-10-26T08:00+01:00", "2026-10-26T08:00+01:00"),
        # 02:30 does not exist on that day, and exists twice on this.
        ("weekly", "sun 02:30", "2026-03-29T03:29+02:00", "2026-03-22T02:30+01:00"),
        ("weekly", "sun 02:30", "2026-03-29T03:30+02:00", "2026-03-29T03:30+02:00"),
        ("weekly", "sun 02:30", "2026-10-25T02:30+02:00", "2026-10-25T02:30+02:00"),
        ("weekly", "sun 02:30", "2026-10-25T02:30+01:00", "2026-10-25T02:30+02:00"),
        ("monthly", "1 08:00", "2026-03-01T07:00+01:00", "2026-02-01T08:00+01:00"),
        ("monthly", "28 23:59", "2026-03-01T00:00+01:00", "2026-02-28T23:59+01:00"),
        ("monthly", "", "2027-01-01T08:00+01:00", "2027-01-01T08:00+01:00"),
    ],
)
def test_the_last_time_it_was_due(kind, at, now, due):
    assert Schedule(kind=kind, at=at).due(utc(now), BERLIN) == utc(due)


@given(
    st.integers(0, 10 * 365 * 24 * 60), st.sampled_from(DAYS), st.times(),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Africa/Casablanca"]),
)  # fmt: skip
@settings(max_examples=100)
def test_every_week_once(minutes, day, clock, zone):
    now, zone = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes), ZoneInfo(zone)
    schedule = Schedule(kind="weekly", at=f"{day} {clock:%H:%M}")
    due = schedule.due(now, zone)
    assert due <= now < due + timedelta(days=7, hours=2)
    assert schedule.due(due, zone) == due
    before = schedule.due(due - timedelta(microseconds=1), zone)
    assert timedelta(days=6, hours=21) < due - before < timedelta(days=7, hours=3)
    assert spans("weekly", {}, due, zone).now.end > spans("weekly", {}, before, zone).now.end


@pytest.mark.parametrize(
    ("kind", "at"),
    [
        ("weekly", "08:00"), ("weekly", "8 08:00"), ("weekly", "mon 24:00"), ("weekly", "mon 8:00"),
        ("monthly", "29 08:00"), ("monthly", "mon 08:00"), ("monthly", "0 08:00"), ("monthly", "² 08:00"),
    ],
)  # fmt: skip
def test_another_time_is_refused(kind, at):
    with pytest.raises(InvalidInput, match=r"reports\[0\].at == '.*', must be a day"):
        load(reports=[{"kind": kind, "at": at}])


def test_the_last_whole_week_and_month_and_the_ones_before():
    now = utc("2026-04-01T00:00+02:00")
    week, month = (spans(kind, {}, now, BERLIN) for kind in ("weekly", "monthly"))
    assert pinned(week.now, {}) == {"from": ["2026-03-23"], "to": ["2026-03-30"], "timezone": ["Europe/Berlin"]}
    assert week.now.end - week.now.start == timedelta(days=7, hours=-1)
    assert pinned(week.before, {})["from"] == ["2026-03-16"]
    assert (pinned(month.now, {})["from"], pinned(month.now, {})["to"]) == (["2026-03-01"], ["2026-04-01"])
    assert (pinned(month.before, {})["from"], pinned(month.before, {})["to"]) == (["2026-01-29"], ["2026-03-01"])
    assert pinned(week.long, {"where": ["channel=sms"]})["from"] == ["2026-01-05"]


def test_a_given_period_and_what_is_before_it():
    asked = {"from": ["2026-03-01"], "to": ["2026-04-01"]}
    now = utc("2026-06-01T00:00+02:00")
    assert pinned(spans("weekly", asked, now, BERLIN).before, {})["from"] == ["2026-01-29"]
    hours = {"from": ["2026-03-01T10:00+01:00"], "to": ["2026-03-01T12:00+01:00"]}
    before = pinned(spans("weekly", hours, now, BERLIN).before, {})
    assert (before["from"], before["to"]) == (["2026-03-01T08:00:00+01:00"], ["2026-03-01T10:00:00+01:00"])
    with pytest.raises(InvalidInput, match="to is missing: it must be given with the other end"):
        spans("weekly", {"from": ["2026-03-01"]}, now, BERLIN)
    with pytest.raises(InvalidInput, match="must be of the years 1900 to 2200"):
        spans("monthly", {}, utc("0001-01-05T00:00+00:00"), BERLIN)
