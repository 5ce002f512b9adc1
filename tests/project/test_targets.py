"""Targets and annotations: what of `dropoff.toml` is taken, what is refused, and what is wanted of a period."""

import re
import tomllib
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dropoff.errors import InvalidInput
from dropoff.periods import Period, midnight, parse_period
from dropoff.project.annotations import Mark, shown
from dropoff.project.settings import load
from dropoff.project.targets import Target, is_met

NEW_YORK = "America/New_York"
DOC = Path(__file__).parents[2] / "docs/dashboards.md"


def test_the_examples_of_the_docs_are_taken():
    first, second = re.findall(r"```toml\n(.*?)```", DOC.read_text(), re.DOTALL)
    taken = load(**tomllib.loads(first)).targets
    assert taken["response_rate"] == (Target("response_rate", 0.7),)
    assert taken["conversations_started"] == (Target("conversations_started", 5000, "month"),)
    assert taken["revenue"] == (Target("revenue", 150_000, "month", "USD"), Target("revenue", 90_000, "week", "EUR"))
    marks = load(**tomllib.loads(second), timezone=NEW_YORK).marks
    assert [mark.at for mark in marks] == [
        datetime(2026, 3, 30, 4, tzinfo=UTC), datetime(2026, 5, 5, 13, tzinfo=UTC),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"shoe_rate": 0.5}, "targets.shoe_rate"),
        ({"response_rate": 1.5}, "targets.response_rate.value"),
        ({"response_rate": True}, "targets.response_rate.value"),
        ({"response_rate": "0.5"}, "targets.response_rate.value"),
        ({"response_rate": float("nan")}, "targets.response_rate.value"),
        ({"response_rate": {"value": 0.5, "per": "month"}}, "targets.response_rate.per"),
        ({"response_rate": [0.5, 0.6]}, "targets.response_rate"),
        ({"response_rate": []}, "targets.response_rate"),
        ({"meetings_booked": {"value": 5, "per": "year"}}, "targets.meetings_booked.per"),
        ({"meetings_booked": {"per": "week"}}, "targets.meetings_booked.value"),
        ({"meetings_booked": -1}, "targets.meetings_booked.value"),
        ({"bot_messages": 100}, "targets.bot_messages"),
        ({"revenue": 100}, "targets.revenue.currency"),
        ({"revenue": {"value": 1, "currency": "eur"}}, "targets.revenue.currency"),
        ({"revenue": [{"value": 1, "currency": "EUR"}] * 2}, "targets.revenue"),
        ({"cost_per_meeting": {"value": 1, "currency": "EUR", "per": "day"}}, "targets.cost_per_meeting.per"),
    ],
)
def test_a_mistake_is_refused_by_name(given, name):
    with pytest.raises(InvalidInput) as refused:
        load(targets=given)
    assert refused.value.name == name


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"respose_rate": 0.5}, "unknown metric 'respose_rate' in targets: did you mean response_rate?"),
        ({"response_rate": {"valeu": 1}}, "unknown key 'valeu' in targets.response_rate: did you mean value?"),
    ],
)
def test_a_misspelt_name_is_told_the_right_one(given, said):
    with pytest.raises(InvalidInput) as refused:
        load(targets=given)
    assert str(refused.value) == said


def test_a_metric_of_ones_own_can_have_a_target():
    own = {"description": "d", "unit": "count", "good": "down", "numerator": {"event": "fallback"}}
    taken = load(metrics={"stuck": own}, targets={"stuck": {"value": 7, "per": "week"}}).targets
    assert taken["stuck"] == (Target("stuck", 7, "week"),)


@pytest.mark.parametrize("at", ["2026-02-30", "2026-05-05T09:00:00", datetime(2026, 5, 5, 9), 5, ""])  # noqa: DTZ001
def test_an_annotation_has_an_instant(at):
    with pytest.raises(InvalidInput) as refused:
        load(annotations=[{"at": at, "text": "x"}])
    assert refused.value.name == "annotations[0].at"


@pytest.mark.parametrize("text", ["", "x" * 201])
def test_an_annotation_has_a_text(text):
    with pytest.raises(InvalidInput) as refused:
        load(annotations=[{"at": "2026-05-05", "text": text}])
    assert refused.value.name == "annotations[0].text"


def test_a_whole_month_wants_the_target_and_a_day_its_part():
    target = Target("meetings_booked", 310, "month")
    assert target.scaled(parse_period("2024-01-01", "2024-02-01", NEW_YORK)) == pytest.approx(310)
    assert target.scaled(parse_period("2024-02-01", "2024-03-01", NEW_YORK)) == pytest.approx(310)
    assert target.scaled(parse_period("2024-01-31", "2024-02-02", NEW_YORK)) == pytest.approx(10 + 310 / 29)
    assert Target("x", 70, "week").scaled(parse_period("2024-03-09", "2024-03-12", NEW_YORK)) == pytest.approx(30)
    assert Target("x", 24, "day").scaled(parse_period("2024-01-01", "2024-01-01T06:00Z", "UTC")) == pytest.approx(6)
    assert Target("x", 0.5).scaled(parse_period("2024-01-01", "2024-02-01", NEW_YORK)) == 0.5


def test_good_says_which_side_is_met():
    assert [is_met(value, 0.5, "up") for value in (0.4, 0.5, 0.6)] == [False, True, True]
    assert [is_met(value, 0.5, "down") for value in (0.4, 0.5, 0.6)] == [True, True, False]


HOURS = st.integers(0, 24 * 800)
ZONES = st.sampled_from(["UTC", NEW_YORK, "Asia/Kathmandu", "Pacific/Apia"])


@settings(max_examples=50)
@given(HOURS, HOURS, HOURS, ZONES, st.sampled_from(["day", "week", "month"]))
def test_parts_of_a_period_want_what_the_period_wants(a, b, c, zone, per):
    """Cut anywhere, in any zone, the parts add up; and no span wants less than nothing."""
    begin = midnight(date(2023, 11, 3), ZoneInfo(zone))
    start, middle, end = (begin + timedelta(hours=hours) for hours in sorted((a, b, c)))
    target = Target("x", 12.0, per)
    whole, first, second = (
        target.scaled(Period(*ends, zone)) for ends in ((start, end), (start, middle), (middle, end))
    )
    assert whole == pytest.approx(first + second, abs=1e-9)
    assert min(first, second) >= 0


def test_only_what_has_happened_in_the_period_is_marked():
    period = parse_period("2024-01-01", "2024-01-03", "UTC")
    given = [Mark(datetime(2023, 12, 31, 23, tzinfo=UTC) + timedelta(hours=h), str(h)) for h in (0, 1, 20, 40, 49)]
    found = shown(given, period, datetime(2024, 1, 2, 10, tzinfo=UTC))
    assert found == [{"at": "2024-01-01T00:00:00Z", "text": "1"}, {"at": "2024-01-01T19:00:00Z", "text": "20"}]
