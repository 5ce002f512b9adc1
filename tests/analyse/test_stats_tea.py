"""Agreement with tea-tasting, by its own front door, on the same aggregates.

Of its options these are ours: `Proportion(method="norm", correction=False)` for the pooled z-test and
`method="fisher"` where cells are small; `Mean` with its defaults (Welch, Student's distribution), with a covariate for
CUPED; power with `use_t=False`, the normal distribution; `SampleRatio(correction=False)`, which is exact below 1,000
units and χ² above. Its intervals of shares are Wald's and are not ours.
"""

import numpy as np
import pytest
import tea_tasting
from tea_tasting.aggr import Aggregates

from dropoff.analyse.experiments.power import Design, detectable, power_at, sample_size
from dropoff.analyse.experiments.sequential import sample_ratio
from dropoff.analyse.stats import Covaried, Moments, Share, compare_shares, cuped, welch


def close(value):
    return pytest.approx(value, rel=1e-6, abs=1e-12)


def aggregates(value, covariate):
    cov = np.cov(value, covariate)
    return Aggregates(
        count_=len(value),
        mean_={"value": value.mean(), "before": covariate.mean()},
        var_={"value": cov[0, 0], "before": cov[1, 1]},
        cov_={("before", "value"): cov[0, 1]},
    )


def groups(seed, n=(700, 950)):
    """Units of both arms: spending, and what they spent before."""
    rng = np.random.default_rng(seed)
    found = []
    for size, lift in zip(n, (1.0, 1.15), strict=True):
        before = rng.gamma(2, 10, size)
        found.append((lift * before + rng.gamma(3, 10, size), before))
    return found


@pytest.mark.parametrize(
    ("control", "treatment", "method"),
    [
        ((190, 530), (130, 470), "norm"),
        ((1396, 3000), (2422, 3461), "norm"),
        ((5, 1000), (9, 1100), "norm"),
        ((2, 30), (7, 31), "fisher"),
        ((0, 40), (3, 35), "fisher"),
    ],
)
def test_shares(control, treatment, method):
    a, b = (Aggregates(count_=n, mean_={"value": hits / n}, var_={}, cov_={}) for hits, n in (control, treatment))
    wanted = tea_tasting.Proportion("value", method=method, correction=False).analyze_aggregates(a, b)
    found = compare_shares(Share(*treatment), Share(*control))
    assert found is not None
    assert found.test == {"norm": "pooled z-test", "fisher": "Fisher's exact test"}[method]
    assert found.difference == close(wanted.effect_size)
    assert found.p_value == close(wanted.pvalue)


@pytest.mark.parametrize("seed", range(5))
def test_means(seed):
    control, treatment = groups(seed)
    wanted = tea_tasting.Mean("value").analyze_aggregates(aggregates(*control), aggregates(*treatment))
    a, b = (Moments(len(value), value.sum(), (value**2).sum()) for value, _ in (control, treatment))
    agree(welch(b, a), wanted)


@pytest.mark.parametrize("seed", range(5))
def test_cuped(seed):
    control, treatment = groups(seed)
    wanted = tea_tasting.Mean("value", "before").analyze_aggregates(aggregates(*control), aggregates(*treatment))
    a, b = (
        Covaried(len(y), y.sum(), (y**2).sum(), x.sum(), (x**2).sum(), (x * y).sum()) for y, x in (control, treatment)
    )
    adjusted = cuped(a, b)
    assert adjusted is not None
    assert adjusted[0].mean == close(wanted.control)
    agree(welch(adjusted[1], adjusted[0]), wanted)
    plain = welch(Moments(*b[:3]), Moments(*a[:3]))
    assert plain is not None
    assert wanted.effect_size_ci_upper - wanted.effect_size_ci_lower < 0.9 * float(np.diff(plain.interval or ())[0])


def agree(found, wanted):
    assert found.difference == close(wanted.effect_size)
    assert found.interval == close((wanted.effect_size_ci_lower, wanted.effect_size_ci_upper))
    assert found.p_value == close(wanted.pvalue)


@pytest.mark.parametrize("effect", [0.5, 3])
def test_power(effect):
    data = aggregates(*groups(1)[0])
    variance = data.var("value")
    metric = tea_tasting.Mean("value", use_t=False, effect_size=effect, n_obs=4000)
    wanted = {one: metric.solve_power_from_aggregates(data, one)[0] for one in ("power", "n_obs")}
    found = power_at(0, effect, 2000, Design(sequential=False, variance=variance))
    assert found == close(wanted["power"].power)
    # It rounds both arms together up, we each of them.
    assert -1 <= wanted["n_obs"].n_obs - 2 * sample_size(0, effect, Design(sequential=False, variance=variance)) <= 0
    smallest = tea_tasting.Mean("value", use_t=False, n_obs=4000).solve_power_from_aggregates(data, "effect_size")
    assert detectable(0, 2000, Design(sequential=False, variance=variance)) == close(smallest[0].effect_size)


@pytest.mark.parametrize(
    ("counts", "ratio"), [((53, 47), 1), ((480, 519), 1), ((5200, 4800), 1), ((100, 260), 2), ((30_000, 60_500), 2)]
)
def test_sample_ratio(counts, ratio):
    arms: dict[object, Aggregates] = {
        name: Aggregates(count_=n, mean_={}, var_={}, cov_={}) for name, n in zip("ab", counts, strict=True)
    }
    wanted = tea_tasting.SampleRatio(ratio, correction=False).analyze(arms, "a", "b")
    assert sample_ratio(counts, [1, ratio]).fixed_p_value == close(wanted.pvalue)
