import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats import proportion

from dropoff.analyse.experiments.power import Design, days_left, detectable, power_at, sample_size
from dropoff.errors import InvalidInput


@pytest.mark.parametrize(("base", "effect", "units"), [(0.2, 0.05, 1000), (0.75, -0.25, 76.70692), (0.01, 0.003, 9000)])
def test_the_power_of_one_look_is_statsmodels(base, effect, units):
    wanted = proportion.power_proportions_2indep(effect, base, units, return_results=False)
    assert power_at(base, effect, units, Design(sequential=False)) == pytest.approx(wanted, abs=1e-9)


BASES, EFFECTS = st.floats(0.02, 0.6), st.floats(0.01, 0.3)


@given(BASES, EFFECTS, st.booleans(), st.integers(2, 5))
def test_a_size_is_the_smallest_with_its_power(base, effect, sequential, arms):
    design = Design(arms=arms, sequential=sequential)
    units = sample_size(base, effect, design)
    assert power_at(base, effect, units, design) >= 0.8
    assert power_at(base, effect, units - 1, design) < 0.8


@given(BASES, EFFECTS, st.booleans())
def test_what_a_size_detects_is_the_effect_it_is_for(base, effect, sequential):
    units = sample_size(base, effect, Design(sequential=sequential))
    found = detectable(base, units, Design(sequential=sequential))
    assert found is not None
    assert found <= effect * (1 + 1e-9)
    assert found == pytest.approx(effect, rel=0.1)
    assert power_at(base, found, units, Design(sequential=sequential)) == pytest.approx(0.8, abs=1e-6)


def test_looking_every_day_costs_at_most_the_double():
    once, always = sample_size(0.2, 0.05, Design(sequential=False)), sample_size(0.2, 0.05)
    assert once == 1094
    assert once < always < 2 * once
    # Several arms cost more, a plan far off as well.
    assert sample_size(0.2, 0.05, Design(arms=4)) > always
    assert sample_size(0.2, 0.05, Design(planned=100)) > always < sample_size(0.2, 0.05, Design(planned=500_000))


def test_a_mean_is_sized_by_its_variance():
    assert sample_size(0, 0.1, Design(sequential=False, variance=1)) == 1570  # 2 (1.96 + 0.8416)² / 0.1²
    found = detectable(0, 1570, Design(sequential=False, variance=1))
    assert found == pytest.approx(0.1, rel=1e-3)
    assert sample_size(5, -0.1, Design(variance=1)) == sample_size(0, 0.1, Design(variance=1))


def test_what_no_share_can_reach_is_not_detectable():
    assert detectable(0.98, 50) is None
    assert detectable(0.2, 0) is None


def test_days_left():
    assert days_left(1000, 400, 59) == 11
    assert days_left(1000, 1000, 0) == 0
    assert days_left(1000, 999, 0) is None


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("base", {"base": 0}),
        ("base", {"base": 1.2}),
        ("effect", {"effect": 0}),
        ("effect", {"effect": 0.8}),
        ("effect", {"effect": 1e-200}),
        ("power", {"power": 1}),
        ("power", {"power": 0.04}),
        ("power", {"alpha": 0}),
        ("arms", {"arms": 1}),
        ("variance", {"variance": 0}),
    ],
)
def test_a_plan_that_cannot_be_is_refused(name, given):
    with pytest.raises(InvalidInput, match=name):
        _size(**given)


def _size(base: float = 0.2, effect: float = 0.05, **design: float) -> int:
    return sample_size(base, effect, Design()._replace(**design))
