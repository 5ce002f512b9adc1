"""Counts of two periods: what is called a change, and that chance and days of the week are none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dropoff.analyse.volumes import Day, compare, dispersion


def days(*counts_of_periods):
    return [
        Day(period, i % 7, n) for period, counts in zip(("now", "before"), counts_of_periods, strict=True)
        for i, n in enumerate(counts)
    ]  # fmt: skip


def test_days_of_the_week_are_no_scatter():
    week = [100, 100, 100, 100, 100, 20, 10]
    assert dispersion(days(week * 2, week * 2)) == (1.0, 28 - 2 - 7 + 1)
    assert dispersion(days(week * 2, [2 * n for n in week] * 2)) == (1.0, 20)  # nor is a period of twice as many


def test_a_change_of_even_days():
    found = compare(1400, 1120, days([100] * 14, [80] * 14))
    assert found.difference == 280
    assert found.interval is not None
    low, high = found.interval
    assert (low + high) / 2 == pytest.approx(280)
    assert high - low == pytest.approx(2 * 2.085963 * 2520**0.5, rel=1e-5)  # Student's t of 20
    assert found.p_value == pytest.approx(1.9e-5, rel=0.05)


def test_uneven_days_make_it_less_sure():
    uneven = [100, 100, 100, 100, 100, 100, 100, 160, 40, 150, 50, 140, 60, 100]
    even = compare(1400, 1120, days([100] * 14, [80] * 14))
    found = compare(1400, 1120, days(uneven, [80] * 14))
    assert found.p_value is not None
    assert even.p_value is not None
    assert found.p_value > 10 * even.p_value


@pytest.mark.parametrize("given_days", [[], days([9] * 7, [9] * 7)[:10], days([9] * 6, [])])
def test_of_too_few_days_nothing_is_said(given_days):
    found = compare(100, 10, given_days)
    assert (found.difference, found.p_value, found.interval) == (90, None, None)


def test_of_too_few_nothing_is_said():
    assert compare(20, 9, days([1] * 14, [1] * 14)).p_value is None
    assert compare(21, 9, days([1] * 14, [1] * 14)).p_value is not None


COUNTS = st.lists(st.integers(0, 500), min_size=14, max_size=14)


@settings(max_examples=50)
@given(COUNTS, COUNTS)
def test_the_periods_the_other_way_round_say_the_opposite(now, before):
    one = compare(sum(now), sum(before), days(now, before))
    other = compare(sum(before), sum(now), days(before, now))
    assert one.difference == -other.difference
    if one.p_value is None:
        assert other.p_value is None
        return
    assert one.p_value == pytest.approx(other.p_value)
    assert 0 <= one.p_value <= 1
    assert one.interval is not None
    assert other.interval is not None
    assert one.interval[0] <= one.difference <= one.interval[1]
    assert one.interval == pytest.approx((-other.interval[1], -other.interval[0]))


def test_chance_is_seldom_called_a_change():
    """Days that scatter three times as much as Poisson's, with quiet weekends: 5 in 100, not 25 in 100."""
    random = np.random.default_rng(7)
    level = np.array([60, 60, 60, 60, 60, 20, 10] * 4)
    found = 0
    for _ in range(400):
        now, before = (random.negative_binomial(level / 2, 1 / 3).astype(float).tolist() for _ in range(2))
        p_value = compare(sum(now), sum(before), days(now, before)).p_value
        found += p_value is not None and p_value < 0.05
    assert found <= 400 * 0.09
