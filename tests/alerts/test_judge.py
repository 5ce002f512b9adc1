"""The judgement of a window: thresholds, comparisons with the weeks before, guards, how often chance alone fires."""

from math import isclose

import numpy as np
import pytest
from scipy import stats

from dropoff.alerts.files import Place
from dropoff.alerts.judge import Sums, breaks, count_tails, judge, mean_tails, share_tails
from dropoff.alerts.rules import parse

MISSION = {"metric": "response_rate", "condition": "drops_below", "threshold": 0.5, "window": "1_hour"}


def rule(**more):
    return parse([MISSION | more], Place("test"))[0]


def seen(of, unit, now, before=()):
    return breaks(of, judge(of, unit, now, before))


def test_a_threshold_is_strict_and_speaks_with_enough_behind_it():
    assert seen(rule(), "share", Sums(14, 30)) is True
    assert seen(rule(), "share", Sums(15, 30)) is False
    assert seen(rule(), "share", Sums(1, 29)) == "insufficient"
    assert seen(rule(), "share", Sums(1, 29.9)) == "insufficient"
    assert seen(rule(), "share", Sums(0, 0)) == "no_data"
    assert seen(rule(min_n=0), "share", Sums(0, 0)) == "no_data"
    assert judge(rule(), "share", Sums(31, 30.0)).value == 1


def test_zero_is_data_where_it_is_a_count():
    few = rule(metric="conversations_started", threshold=5)
    assert seen(few, "count", Sums(0, None)) is True
    assert seen(few, "count", Sums(5, None)) is False


CHANGE = {"condition": "changes_by", "threshold": 0.5}
WEEKS = [Sums(60, 100), Sums(50, 100), Sums(70, 100), Sums(65, 100)]


@pytest.mark.parametrize(
    ("now", "direction", "found"),
    [
        (Sums(30, 100), "both", True), (Sums(30, 100), "down", True), (Sums(30, 100), "up", False),
        (Sums(32, 100), "both", False), (Sums(94, 100), "both", True), (Sums(94, 100), "down", False),
        (Sums(3, 29), "both", "insufficient"), (Sums(0, 0), "both", "no_data"),
    ],
)  # fmt: skip
def test_a_change_is_one_against_the_median_of_the_weeks_before(now, direction, found):
    changed = rule(**CHANGE, direction=direction)
    judged = judge(changed, "share", now, WEEKS)
    assert judged.usual == 0.625
    assert breaks(changed, judged) == found


def test_a_change_needs_three_weeks_with_enough_in_them():
    changed = rule(**CHANGE)
    assert seen(changed, "share", Sums(0, 100), WEEKS[:2]) == "insufficient"
    assert seen(changed, "share", Sums(0, 100), [*WEEKS[:2], Sums(9, 20), Sums(0, 0)]) == "insufficient"
    assert seen(changed, "share", Sums(9, 100), [Sums(0, 100)] * 4) == "insufficient"
    counted = rule(**CHANGE, metric="conversations_started")
    assert seen(counted, "count", Sums(0, None), [Sums(100, None)] * 3) is True
    assert seen(counted, "count", Sums(0, None), [Sums(29, None)] * 4) == "insufficient"


ANOMALY = {"condition": "anomaly", "threshold": 1e-4}


def test_an_anomaly_needs_history_and_volume():
    counted = rule(**ANOMALY, metric="conversations_started")
    assert seen(counted, "count", Sums(0, None), [Sums(100, None)] * 3) == "insufficient"
    assert seen(counted, "count", Sums(0, None), [Sums(10, None)] * 8) == "insufficient"
    assert seen(counted, "count", Sums(0, None), [Sums(100, None)] * 8) is True
    assert seen(counted, "count", Sums(95, None), [Sums(100, None)] * 8) is False
    shares = rule(**ANOMALY)
    assert seen(shares, "share", Sums(10, 100), [Sums(60, 100)] * 8) is True
    assert seen(shares, "share", Sums(10, 100), [Sums(5, 10)] * 8) == "insufficient"
    assert seen(shares, "share", Sums(55, 100), [Sums(60, 100)] * 8) is False
    assert seen(rule(**ANOMALY, direction="up"), "share", Sums(10, 100), [Sums(60, 100)] * 8) is False


def test_equal_weeks_leave_what_chance_alone_gives():
    """The median absolute deviation is 0, and the tail is still that of a count, or wider."""
    lower, upper = count_tails(70, [100.0] * 8)
    assert stats.poisson.cdf(70, 100) < lower < 0.02
    assert lower + upper > 1
    assert mean_tails(0.3, [0.2] * 8) == (1.0, 1.0)


def test_tails_of_counts_are_those_of_the_negative_binomial():
    before = [90.0, 110.0, 100.0, 130.0, 70.0, 105.0, 95.0, 100.0]
    spread = (1.4826 * 7.5) ** 2
    variance = (100 + max(spread - 100, 25)) * (1 + 1.5708 / 8)
    size = 100**2 / (variance - 100)
    expected = stats.nbinom(size, size / (size + 100))
    for count in (40, 100, 180):
        lower, upper = count_tails(count, before)
        assert isclose(lower, expected.cdf(count), rel_tol=1e-9)
        assert isclose(upper, expected.sf(count - 1), rel_tol=1e-9)


def test_tails_of_shares_are_those_of_the_beta_binomial():
    before = [Sums(60, 100)] * 8
    lower, upper = share_tails(Sums(40, 100), before)
    beyond = (0.05 * 0.4) ** 2
    part = (beyond + 1.5708 * (beyond + 0.24 / 100) / 8) / 0.24
    expected = stats.betabinom(100, 0.6 * (1 / part - 1), 0.4 * (1 / part - 1))
    assert isclose(lower, expected.cdf(40), rel_tol=1e-9)
    assert isclose(upper, expected.sf(39), rel_tol=1e-9)
    assert all(0 <= tail <= 1 for tail in share_tails(Sums(3, 50), [Sums(0, 100)] * 8))


@pytest.mark.parametrize("mean", [30, 120])
def test_chance_alone_seldom_looks_like_an_anomaly(mean):
    """Counts of nothing but chance are below their 1 % tail about as often as that, never much more often."""
    random = np.random.default_rng(7)
    counts = random.poisson(mean, (4000, 9)).astype(float)
    lower = [count_tails(row[0], row[1:].tolist())[0] for row in counts]
    assert np.mean(np.array(lower) < 0.01) < 0.012


def test_weeks_that_differ_are_allowed_for():
    """Weeks that differ by a fifth make a Poisson test cry wolf one time in five; this one does not."""
    random = np.random.default_rng(7)
    counts = random.poisson(random.normal(100, 20, (2000, 9)).clip(1)).astype(float)
    naive = np.mean(stats.poisson.cdf(counts[:, 0], np.median(counts[:, 1:], axis=1)) < 0.01)
    ours = np.mean([count_tails(row[0], row[1:].tolist())[0] < 0.01 for row in counts])
    assert naive > 0.12
    assert ours < 0.05


def test_intervals():
    assert judge(rule(), "share", Sums(15, 30)).interval == pytest.approx((0.3315, 0.6685), abs=1e-4)
    counted = rule(metric="conversations_started", threshold=5)
    low, high = judge(counted, "count", Sums(10, None)).interval or (0, 0)
    assert (low, high) == pytest.approx((4.79, 18.39), abs=0.06)  # exact: 4.80, 18.39
    assert judge(counted, "count", Sums(0, None)).interval == pytest.approx((0, 3.69), abs=0.06)
    assert judge(rule(metric="sentiment_average"), "score", Sums(3, 30)).interval is None
