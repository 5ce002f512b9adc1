import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from dropoff.analyse.stats import (
    Covaried,
    Moments,
    Share,
    compare_shares,
    cuped,
    mann_whitney,
    mean_interval,
    median_interval,
    price_bonett,
    welch,
)


def moments(values) -> Moments:
    return Moments(len(values), float(np.sum(values)), float(np.sum(np.square(values))))


def two_groups(seed=1, n=(40, 55)):
    rng = np.random.default_rng(seed)
    return rng.gamma(2, 30, n[0]), rng.gamma(3, 25, n[1])


def test_welch_and_student_are_scipys():
    a, b = two_groups()
    found, wanted = welch(moments(a), moments(b)), scipy.stats.ttest_ind(a, b, equal_var=False)
    assert found is not None
    assert found.p_value == pytest.approx(wanted[1], rel=1e-9)
    assert found.interval == pytest.approx(tuple(wanted.confidence_interval()), rel=1e-9)
    assert found.difference == pytest.approx(a.mean() - b.mean())
    assert found.test == "Welch's t-test"
    assert mean_interval(moments(a)) == pytest.approx(scipy.stats.ttest_1samp(a, 0).confidence_interval(), rel=1e-9)


def test_what_does_not_vary_has_neither_interval_nor_test():
    same = Moments(30, 30 * 0.1, 30 * 0.1**2)
    assert mean_interval(same) is None
    assert welch(same, Moments(40, 40 * 0.3, 40 * 0.3**2)) == (pytest.approx(-0.2), None, None, "Welch's t-test")
    assert mean_interval(Moments(1, 3, 9)) is None
    assert welch(Moments(1, 3, 9), moments([1, 2, 3])) == (1, None, None, "Welch's t-test")
    assert welch(Moments(0, 0, 0), moments([1, 2, 3])) is None
    # One group alone varies: its variance is enough.
    found = welch(same, moments([1, 2, 3, 4]))
    assert found is not None
    assert found.p_value == pytest.approx(scipy.stats.ttest_1samp([1, 2, 3, 4], 0.1)[1])


def test_shares_are_compared_by_the_test_that_fits_their_cells():
    small, large = compare_shares(Share(7, 34), Share(1, 34)), compare_shares(Share(70, 340), Share(100, 340))
    assert small is not None
    assert large is not None
    assert (small.test, large.test) == ("Fisher's exact test", "pooled z-test")
    assert small.p_value == pytest.approx(scipy.stats.fisher_exact([[7, 27], [1, 33]])[1])
    assert large.difference == pytest.approx(-30 / 340)
    assert compare_shares(Share(0, 0), Share(1, 3)) is None


@pytest.mark.parametrize("n", [*range(6, 80), 500, 501, 10_000, 1_000_000])
def test_the_interval_of_a_median_is_the_narrowest_pair_of_values_that_is_wide_enough(n):
    low, high = median_interval(np.arange(n)) or (0, 0)
    assert high == n - 1 - low
    assert 2 * scipy.stats.binom.cdf(low, n, 0.5) <= 0.05
    assert 2 * scipy.stats.binom.cdf(low + 1, n, 0.5) > 0.05


def test_a_median_of_five_has_no_interval():
    assert median_interval(np.arange(5)) is None
    assert median_interval(np.array([])) is None


def test_medians_as_price_and_bonett_have_them():
    a, b = map(np.sort, two_groups(n=(30, 41)))
    found = price_bonett(a, b)
    # Written out: c of 30 is round(15.5 - 5.477) = 10, of 41 round(21 - 6.403) = 15.
    z = [scipy.stats.norm.ppf(1 - scipy.stats.binom.cdf(c - 1, n, 0.5)) for c, n in ((10, 30), (15, 41))]
    error = np.hypot((a[20] - a[9]) / (2 * z[0]), (b[26] - b[14]) / (2 * z[1]))
    assert found is not None
    assert found.difference == pytest.approx(np.median(a) - np.median(b))
    assert found.interval == pytest.approx((found.difference - 1.959964 * error, found.difference + 1.959964 * error))
    assert found.p_value == pytest.approx(2 * scipy.stats.norm.sf(abs(found.difference) / error))


def test_of_tied_values_the_next_ones_outwards_make_the_width():
    a, b = np.repeat([1.0, 2, 3, 4, 9], 20), np.repeat([2.0, 3, 4], 30)
    found = price_bonett(a, b)
    # c of 100 is round(50.5 - 10) = 40, of 90 round(45.5 - 9.487) = 36: the values 2 and 4, 3 and 3.
    z = [-scipy.stats.norm.ppf(scipy.stats.binom.cdf(c - 1, n, 0.5)) for c, n in ((40, 100), (36, 90))]
    error = np.hypot((9 - 1) / (2 * z[0]), (4 - 2) / (2 * z[1]))
    assert found is not None
    assert found.interval == pytest.approx((-1.959964 * error, 1.959964 * error))
    assert found.p_value == 1


def test_medians_that_nothing_can_be_said_about():
    few, flat = np.arange(5.0), np.full(50, 3.0)
    assert price_bonett(few, flat) == (-1, None, None, "Price–Bonett test of medians")
    assert price_bonett(flat, flat) == (0, None, None, "Price–Bonett test of medians")
    assert price_bonett(np.array([]), flat) is None
    assert mann_whitney(flat, flat) is None
    assert mann_whitney(np.array([]), flat) is None


def test_mann_whitney_sees_which_tends_to_be_larger():
    a, b = map(np.sort, two_groups(n=(200, 200)))
    assert (mann_whitney(a, b) or 0) < 0.05
    assert mann_whitney(a, a) == pytest.approx(1, abs=0.01)


def covaried(y, x) -> Covaried:
    return Covaried(len(y), y.sum(), (y**2).sum(), x.sum(), (x**2).sum(), (x * y).sum())


@given(st.integers(0, 2**32 - 1), st.floats(-3, 3), st.floats(-50, 50))
def test_cuped_gives_the_moments_of_the_adjusted_values(seed, slope, middle):
    rng = np.random.default_rng(seed)
    groups = []
    for n in (25, 31):
        x = rng.normal(middle, 2, n)
        groups.append((slope * x + rng.normal(size=n), x))
    found = cuped(*(covaried(*group) for group in groups))
    assert found is not None
    y, x = (np.concatenate(one) for one in zip(*groups, strict=True))
    theta = np.cov(x, y)[0, 1] / np.var(x, ddof=1)
    assert found[2] == pytest.approx(theta, rel=1e-6, abs=1e-9)
    for (y, one), adjusted in zip(groups, found[:2], strict=True):
        wanted = y - theta * (one - x.mean())
        assert adjusted.mean == pytest.approx(wanted.mean(), rel=1e-6, abs=1e-6)
        assert adjusted.variance == pytest.approx(wanted.var(ddof=1), rel=1e-6)


def test_a_covariate_that_does_not_vary_adjusts_nothing():
    y = np.arange(10.0)
    flat = covaried(y, np.full(10, 0.1))
    assert cuped(flat, flat) is None
    assert cuped(Covaried(0, 0, 0, 0, 0, 0), covaried(y, y)) is None
