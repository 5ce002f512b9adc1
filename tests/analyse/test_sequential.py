from math import comb, exp, inf, log, sqrt
from operator import mul

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropoff.analyse.experiments.sequential import (
    boundary,
    confidence_sequence,
    multinomial_evidence,
    rho,
    sample_ratio,
)
from dropoff.errors import InvalidInput


@given(
    st.floats(-1, 1),
    st.floats(1e-8, 1),
    st.floats(2, 1e7),
    st.floats(10, 1e6),
    st.sampled_from([0.001, 0.05, 0.2]),
)
def test_the_interval_excludes_zero_exactly_where_p_is_below_alpha(difference, variance, n, planned, alpha):
    found = confidence_sequence(difference, variance, n, planned, alpha)
    low, high = found.interval or (inf, -inf)
    assert (low + high) / 2 == pytest.approx(difference, abs=1e-9)
    assert 0 <= (found.p_value or 0) <= 1
    if found.p_value != pytest.approx(alpha, rel=1e-9):
        assert (low > 0 or high < 0) == (found.p_value < alpha)


def test_the_boundary_is_narrowest_where_it_was_planned_to_be():
    def width(units, planned):
        return boundary(units, rho(planned)) / sqrt(units)

    for planned in (500, 5000, 50_000):
        assert all(width(planned, planned) <= width(planned, planned * other) for other in (0.3, 0.7, 1.4, 3))
        # To the two leading terms of the optimum: nothing else is more than a thousandth better.
        assert width(planned, planned) < 1.001 * min(width(planned, planned * k / 100) for k in range(50, 200))
        assert width(planned, planned) > 1.96


def test_a_plan_is_for_its_own_error_rate():
    assert rho(5000, 0.001) < rho(5000, 0.05)
    assert rho(5000) == pytest.approx(5000 / (-2 * log(0.05) + log(1 - 2 * log(0.05))))


def test_where_nothing_varies_there_is_no_interval():
    test = "normal-mixture confidence sequence"
    assert confidence_sequence(0, 0, 100) == (0, None, 1, test)
    assert confidence_sequence(1, 0, 100) == (1, None, None, test)
    assert confidence_sequence(0, 1, 0) == (0, None, 1, test)


def test_a_sample_ratio_is_judged_by_its_weights():
    assert sample_ratio([500, 1000, 1500], [1, 2, 3]) == (1, 1)
    assert max(sample_ratio([1000, 1000, 1000], [1, 2, 3])) < 1e-9
    found = sample_ratio([5200, 4800], [0.5, 0.5])
    assert found.fixed_p_value == pytest.approx(6.334248366623996e-05)  # χ² = 16 with one degree of freedom
    # What a look at any time costs: the same counts say less.
    assert found.fixed_p_value < found.p_value < 0.01
    assert sample_ratio([4800, 5200], [7, 7]) == pytest.approx(found)


def test_an_arm_without_weight_gets_nobody():
    assert sample_ratio([100, 0], [1, 0]) == (1, 1)
    assert sample_ratio([100, 100, 0], [1, 1, 0]) == (1, 1)
    assert sample_ratio([100, 100, 1], [1, 1, 0]) == (0, 0)
    assert sample_ratio([0, 0], [1, 1]) == (1, 1)


@pytest.mark.parametrize("weights", [[1], [0, 0], [1, -1], [1, inf], []])
def test_weights_that_are_none_are_refused(weights):
    with pytest.raises(InvalidInput, match="weights"):
        sample_ratio([1, 2], weights)


def test_the_sample_ratio_is_a_fair_bet():
    """Of fair counts the Bayes factor is 1 in the mean, at any n: so it ever exceeds 1 / alpha with alpha at most."""
    for n in (1, 7, 60):
        arms = [[(k, 0.3), (n - k, 0.7)] for k in range(n + 1)]
        chances = [comb(n, k) * 0.3**k * 0.7 ** (n - k) for k in range(n + 1)]
        factors = [exp(multinomial_evidence(one, 20)) for one in arms]
        assert sum(map(mul, chances, factors)) == pytest.approx(1)
