"""Contacts that repeat, beside the same computed from every conversation."""

import numpy as np
import pytest
import scipy.stats
import statsmodels.api

from dropoff.analyse.stats import (
    Clustered,
    Joint,
    Share,
    clustered_interval,
    compare_clustered,
    newcombe,
    p_value,
    wilson,
)


def world(seed=3, contacts=60, share=True):
    """Conversations as arrays: contact, group (0 or 1; many contacts are in both), value."""
    rng = np.random.default_rng(seed)
    contact = np.repeat(np.arange(contacts), rng.integers(1, 6, contacts))
    group = (rng.random(len(contact)) < 0.4).astype(int)
    liking = rng.beta(1, 2, contacts)[contact]
    value = (rng.random(len(contact)) < liking).astype(float) if share else rng.gamma(1 + 3 * liking)
    return contact, group, value


def sums(contact, group, value):
    """What SQL would hand over: both groups, and what they have in common."""
    n = np.array([np.bincount(contact[group == g], minlength=contact.max() + 1) for g in (0, 1)])
    x = np.array([np.bincount(contact[group == g], value[group == g], minlength=contact.max() + 1) for g in (0, 1)])
    a, b = (
        Clustered(int((k > 0).sum()), k.sum(), v.sum(), (v * v).sum(), (v * k).sum(), (k * k).sum())
        for k, v in zip(n, x, strict=True)
    )
    in_common = [float((one[0] * other[1]).sum()) for one in (x, n) for other in (x, n)]
    return a, b, Joint(*in_common, clusters=int((n.sum(axis=0) > 0).sum())), n, x


def residuals(n, x):
    return (x - x.sum() / n.sum() * n) / n.sum()


def test_means_are_compared_as_by_a_regression_with_clustered_errors():
    contact, group, value = world(share=False)
    a, b, joint, *_ = sums(contact, group, value)
    found = compare_clustered(a, b, joint, share=False)
    fit = statsmodels.api.OLS(value, statsmodels.api.add_constant(1.0 - group)).fit(
        cov_type="cluster", cov_kwds={"groups": contact, "use_correction": False}
    )
    m = joint.clusters
    error = fit.bse[1] * np.sqrt(m / (m - 1))
    t = scipy.stats.t(m - 1)
    assert found is not None
    assert found.difference == pytest.approx(fit.params[1])
    half = t.ppf(0.975) * error
    assert found.interval == pytest.approx((found.difference - half, found.difference + half))
    assert found.p_value == pytest.approx(2 * t.sf(abs(found.difference) / error))
    assert found.test == "t-test over contacts"


def test_a_mean_over_contacts_is_a_ratio_estimate():
    contact, group, value = world(share=False)
    a, _, _, n, x = sums(contact, group, value)
    m = a.clusters
    error = np.sqrt(m / (m - 1) * (residuals(n[0], x[0]) ** 2).sum())
    low, high = clustered_interval(a, share=False) or (0, 0)
    assert (low + high) / 2 == pytest.approx(value[group == 0].mean())
    assert (high - low) / 2 == pytest.approx(scipy.stats.t(m - 1).ppf(0.975) * error)


def test_shares_are_compared_at_their_effective_sizes():
    contact, group, value = world()
    a, b, joint, n, x = sums(contact, group, value)
    of = [residuals(*one) for one in zip(n, x, strict=True)]
    shares = [value[group == g].mean() for g in (0, 1)]
    errors = [(z**2).sum() * c.clusters / (c.clusters - 1) for z, c in zip(of, (a, b), strict=True)]
    sizes = [p * (1 - p) / error for p, error in zip(shares, errors, strict=True)]
    assert (a.effective, b.effective) == pytest.approx(sizes)
    assert sizes[0] < 0.9 * a.n  # there is something to lose

    correlation = (of[0] * of[1]).sum() / np.sqrt((of[0] ** 2).sum() * (of[1] ** 2).sum())
    common = np.average(shares, weights=[one.sum() ** 2 / (one**2).sum() for one in n])
    parts = [common * (1 - common) / size for size in sizes]
    error = np.sqrt(sum(parts) - 2 * correlation * np.sqrt(parts[0] * parts[1]))
    t = scipy.stats.t(joint.clusters - 1)
    found = compare_clustered(a, b, joint, share=True)
    assert found is not None
    assert found.p_value == pytest.approx(2 * t.sf(abs(shares[0] - shares[1]) / error))

    z = t.ppf(0.975)
    of_a, of_b = (wilson(p * k, k, z) or (0, 0) for p, k in zip(shares, sizes, strict=True))
    below, above = shares[0] - of_a[0], of_b[1] - shares[1]
    reach = np.sqrt(below**2 + above**2 - 2 * correlation * below * above)
    assert (found.interval or (0, 0))[0] == pytest.approx(found.difference - reach)
    of_a = wilson(shares[0] * sizes[0], sizes[0], scipy.stats.t(a.clusters - 1).ppf(0.975))
    assert clustered_interval(a, share=True) == pytest.approx(of_a)


def test_contacts_that_come_once_change_next_to_nothing():
    a, b = Share(70, 400), Share(120, 500)
    once = [Clustered(n, n, k, k, k, n) for k, n in (a, b)]
    found = compare_clustered(once[0], once[1], Joint(0, 0, 0, 0, 900), share=True)
    assert found is not None
    assert found.p_value == pytest.approx(p_value(a, b), rel=0.03)
    assert found.interval == pytest.approx(newcombe(a, b), rel=0.02)
    assert clustered_interval(once[0], share=True) == pytest.approx(wilson(*a), rel=0.01)


def test_ten_conversations_of_a_contact_that_end_alike_are_one():
    a, b = Share(70, 400), Share(120, 500)
    tenfold = [Clustered(n, 10 * n, 10 * k, 100 * k, 100 * k, 100 * n) for k, n in (a, b)]
    found = compare_clustered(tenfold[0], tenfold[1], Joint(0, 0, 0, 0, 900), share=True)
    assert found is not None
    assert found.p_value == pytest.approx(p_value(a, b), rel=0.03)
    assert found.interval == pytest.approx(newcombe(a, b), rel=0.02)


def test_where_nobody_is_a_hit_contacts_count():
    nobody = Clustered(40, 400, 0, 0, 0, 4000)
    assert nobody.effective == 40
    low, high = clustered_interval(nobody, share=True) or (1, 0)
    assert low == 0
    assert 0.08 < high < 0.12
    # Against a tenth of a thousand the variances of either group alone would have p = 1e-24.
    found = compare_clustered(nobody, Clustered(1000, 1000, 100, 100, 100, 1000), Joint(0, 0, 0, 0, 1040), share=True)
    assert found is not None
    assert found.p_value == pytest.approx(0.0356, abs=0.0001)
    assert found.test == "t-test over contacts"
    both = compare_clustered(nobody, nobody, Joint(0, 0, 0, 0, 80), share=True)
    assert both is not None
    assert both.p_value == 1
    assert both.interval is not None


def test_one_win_of_a_hundred_beside_none_of_ten_thousand_is_no_find():
    one, none = Clustered(101, 101, 1, 1, 1, 101), Clustered(9000, 10_000, 0, 0, 0, 12_000)
    found = compare_clustered(one, none, Joint(0, 0, 0, 0, 9101), share=True)
    assert found is not None
    assert found.p_value == pytest.approx(101 / 8434, rel=0.01)  # the one hit of 8,333 and 101 is among the 101
    assert found.test == "Fisher's exact test at the effective size"


def test_contacts_in_both_groups_are_their_own_control():
    contact, group, value = world(contacts=300)
    a, b, joint, *_ = sums(contact, group, value)
    apart = Joint(0, 0, 0, 0, joint.clusters)
    for share in (True, False):
        paired, unpaired = compare_clustered(a, b, joint, share), compare_clustered(a, b, apart, share)
        assert paired is not None
        assert unpaired is not None
        assert np.diff(paired.interval or ()) < 0.95 * np.diff(unpaired.interval or ())
        assert (paired.p_value or 1) < (unpaired.p_value or 1)
        turned = compare_clustered(b, a, Joint(joint.xx, joint.nx, joint.xn, joint.nn, joint.clusters), share)
        assert turned is not None
        assert turned.p_value == pytest.approx(paired.p_value)
        assert turned.interval == pytest.approx([-bound for bound in (paired.interval or ())[::-1]])


def test_a_design_effect_below_one_is_not_believed():
    # Each contact has one hit of two: no variation between contacts, and no certainty from that.
    even = Clustered(30, 60, 30, 30, 60, 120)
    assert even.residuals == 0
    assert even.effective == 60
    assert clustered_interval(even, share=True) == pytest.approx(wilson(30, 60, scipy.stats.t(29).ppf(0.975)))
    assert clustered_interval(even, share=False) is None


def test_of_one_contact_there_is_no_variance():
    one, many = Clustered(1, 5, 2, 4, 10, 25), Clustered(30, 60, 20, 30, 50, 150)
    assert one.effective == 1
    assert clustered_interval(one, share=True) is None
    assert compare_clustered(one, many, Joint(0, 0, 0, 0, 31), True) == (
        pytest.approx(0.4 - 1 / 3),
        None,
        None,
        "t-test over contacts",
    )
    assert compare_clustered(Clustered(0, 0, 0, 0, 0, 0), many, Joint(0, 0, 0, 0, 30), True) is None
    assert clustered_interval(Clustered(0, 0, 0, 0, 0, 0), share=False) is None
