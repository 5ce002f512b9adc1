"""How often the tests are wrong, by simulation, and that they find what is there: a method that never speaks fails.

Rates are bound by their nominal value and three Monte-Carlo standard errors. A tenth of the runs is for every day, all
of them for `make long`. Seeds are fixed: a failure is a change, not chance.
"""

from math import sqrt

import numpy as np
import pytest

from dropoff.analyse.experiments.power import Design, sample_size
from dropoff.analyse.experiments.sequential import confidence_sequence, sample_ratio
from dropoff.analyse.stats import (
    Clustered,
    Comparison,
    Covaried,
    Joint,
    Moments,
    Share,
    clustered_interval,
    compare_clustered,
    compare_shares,
    cuped,
    mean_interval,
    median_interval,
    p_value,
    price_bonett,
    q_values,
    welch,
)

DAYS = 30


def runs(count):
    """A tenth of so many, and all."""
    return pytest.mark.parametrize(
        "runs", [pytest.param(count // 10, id="a-tenth"), pytest.param(count, id="all", marks=pytest.mark.long)]
    )


def rejects(found: Comparison | None, alpha: float = 0.05) -> bool:
    return found is not None and found.p_value is not None and found.p_value < alpha


def at_most(nominal: float, runs: int) -> float:
    return nominal + 3 * sqrt(nominal * (1 - nominal) / runs)


# -- experiments that are looked at every day


def days(rng, runs, per_day, share):
    """Hits up to each day in an arm that gets so many units a day: runs × days."""
    return rng.binomial(per_day, share, (runs, DAYS)).cumsum(axis=1)


def ever_found(rng, runs, per_day, shares):
    """The share of runs in which the sequence finds a difference on any day, and in which the test of one look does."""
    arms = [days(rng, runs, per_day, share).tolist() for share in shares]
    always = once = 0
    for a, b in zip(*arms, strict=True):
        looks = [(Share(a[day], per_day * (day + 1)), Share(b[day], per_day * (day + 1))) for day in range(DAYS)]
        always += any(rejects(by_sequence(*look)) for look in looks)
        once += any(rejects(compare_shares(*look)) for look in looks)
    return always / runs, once / runs


def by_sequence(a: Share, b: Share) -> Comparison:
    shares = a.successes / a.n, b.successes / b.n
    variance = sum(share * (1 - share) / one.n for share, one in zip(shares, (a, b), strict=True))
    return confidence_sequence(shares[0] - shares[1], variance, a.n + b.n)


@runs(2000)
@pytest.mark.parametrize(("share", "per_day"), [(0.2, 100), (0.02, 50)])
def test_watching_an_experiment_of_two_equal_arms_finds_nothing(runs, share, per_day):
    always, once = ever_found(np.random.default_rng(20), runs, per_day, (share, share))
    assert always <= at_most(0.05, runs)
    assert once > 0.15  # what the test of one look makes of thirty


@runs(2000)
def test_watching_an_experiment_finds_twenty_against_twenty_five_percent(runs):
    per_day = 2 * sample_size(0.2, 0.05, Design(sequential=False)) // DAYS
    always, _ = ever_found(np.random.default_rng(21), runs, per_day, (0.2, 0.25))
    assert always >= 0.8


@runs(2000)
@pytest.mark.parametrize("sequential", [True, False])
def test_an_experiment_of_the_planned_size_finds_what_it_was_planned_for(runs, sequential):
    units = sample_size(0.2, 0.05, Design(sequential=sequential))
    rng = np.random.default_rng(36)
    test = by_sequence if sequential else compare_shares
    hits = [rng.binomial(units, share, runs).tolist() for share in (0.2, 0.25)]
    found = np.mean([rejects(test(Share(k, units), Share(m, units))) for k, m in zip(*hits, strict=True)])
    assert abs(found - 0.8) <= at_most(0.8, runs) - 0.8


@runs(20_000)
def test_fair_splits_are_hardly_ever_called_unfair(runs):
    rng = np.random.default_rng(22)
    counts = days(rng, runs, 1000, 0.5)
    totals = 1000 * np.arange(1, DAYS + 1)
    looks = [
        [sample_ratio((count, total - count), (1, 1)) for count, total in zip(one, totals.tolist(), strict=True)]
        for one in counts.tolist()
    ]
    assert np.mean([min(look.p_value for look in one) < 0.001 for one in looks]) <= at_most(0.001, runs)
    assert np.mean([min(look.fixed_p_value for look in one) < 0.001 for one in looks]) > at_most(0.001, runs)


@runs(2000)
def test_a_split_of_50_to_52_is_found_at_100_000_units(runs):
    first = np.random.default_rng(23).binomial(100_000, 50 / 102, runs)
    found = [sample_ratio((count, 100_000 - count), (1, 1)).p_value < 0.001 for count in first.tolist()]
    assert np.mean(found) >= 0.95


# -- families of segments


def family(hits, n):
    """Of segments with so many hits of n: the p-value of each pair."""
    segments = [Share(int(k), n) for k in hits]
    pairs = [(i, j) for i in range(len(segments)) for j in range(i)]
    return pairs, [p_value(segments[i], segments[j]) or 0.0 for i, j in pairs]


@runs(2000)
def test_all_pairs_of_twenty_equal_segments_differ_in_nothing(runs):
    rng = np.random.default_rng(24)
    found = [family(hits, 1000)[1] for hits in rng.binomial(1000, 0.2, (runs, 20))]
    assert np.mean([min(q_values(p)) < 0.05 for p in found]) <= at_most(0.05, runs)
    assert np.mean([min(p) < 0.05 for p in found]) > 0.5  # each pair for itself


@runs(2000)
def test_one_segment_of_thirty_percent_stands_out_of_twenty(runs):
    rng = np.random.default_rng(25)
    shares = [0.3] + [0.2] * 19
    found = []
    for hits in rng.binomial(1000, shares, (runs, 20)):
        pairs, p = family(hits, 1000)
        found.append(all(q < 0.05 for q, pair in zip(q_values(p), pairs, strict=True) if 0 in pair))
    assert np.mean(found) >= 0.9  # from each of the nineteen


# -- contacts that repeat


class World:
    """Contacts with one or more conversations, each with an inclination of its own, in one group or in both."""

    def __init__(self, rng, contacts, means, alike=0.3, crossed=False):
        m = sum(contacts)
        contact = np.repeat(np.arange(m), 1 + rng.poisson(1.5, m))
        group = (np.arange(m) >= contacts[0]).astype(int)
        spread = 1 / alike - 1
        self.inclination = rng.beta(*np.array([(p * spread, (1 - p) * spread) for p in means])[group].T)[contact]
        self.contact, self.m = contact, m
        self.group = rng.integers(0, 2, len(contact)) if crossed else group[contact]

    def sums(self, values):
        at = [self.group == g for g in (0, 1)]
        n = [np.bincount(self.contact[one], minlength=self.m) for one in at]
        x = [np.bincount(self.contact[one], values[one], minlength=self.m) for one in at]
        groups = [
            Clustered(int((k > 0).sum()), int(k.sum()), v.sum(), (v * v).sum(), (v * k).sum(), int((k * k).sum()))
            for k, v in zip(n, x, strict=True)
        ]
        common = [float((one[0] * other[1]).sum()) for one in (x, n) for other in (x, n)]
        return groups[0], groups[1], Joint(*common, clusters=self.m)  # pyright: ignore[reportCallIssue]


def rejected(rng, runs, share=True, alpha=0.05, **world):
    """The share of runs in which the test over contacts rejects, and in which one that takes no notice of them does."""
    found = []
    for _ in range(runs):
        one = World(rng, **world)
        values = (rng.random(len(one.contact)) < one.inclination).astype(float)
        if not share:
            values = rng.gamma(1 + 6 * one.inclination)
        a, b, joint = one.sums(values)
        if share:
            naive = compare_shares(Share(int(a.total), int(a.n)), Share(int(b.total), int(b.n)))
        else:
            naive = welch(moments(values[one.group == 0]), moments(values[one.group == 1]))
        found.append([rejects(compare_clustered(a, b, joint, share), alpha), rejects(naive, alpha)])
    return np.mean(found, axis=0)


def moments(values) -> Moments:
    return Moments(len(values), float(values.sum()), float((values**2).sum()))


@runs(2000)
@pytest.mark.parametrize("share", [True, False])
def test_contacts_that_repeat_are_tested_at_the_level_and_conversations_are_not(runs, share):
    over, naive = rejected(np.random.default_rng(26), runs, share, contacts=(150, 150), means=(0.2, 0.2), alike=0.5)
    assert over <= at_most(0.05, runs)
    assert naive > at_most(0.05, runs)


@runs(2000)
@pytest.mark.parametrize("share", [True, False])
def test_contacts_that_repeat_hide_no_difference(runs, share):
    assert rejected(np.random.default_rng(27), runs, share, contacts=(150, 150), means=(0.2, 0.4))[0] >= 0.8


@runs(2000)
@pytest.mark.parametrize("share", [True, False])
def test_contacts_in_both_groups_are_tested_at_the_level(runs, share):
    world = {"contacts": (100, 100), "means": (0.3, 0.3), "alike": 0.8, "crossed": True}
    assert rejected(np.random.default_rng(28), runs, share, **world)[0] <= at_most(0.05, runs)


@runs(2000)
@pytest.mark.parametrize("alpha", [0.05, 0.001])
@pytest.mark.parametrize("share", [0.05, 0.01])
def test_few_contacts_beside_many_are_tested_at_the_level(runs, share, alpha):
    """In a family small p-values decide: few hits of few contacts must not make them.

    The variances of either group alone would find one in eight, and t alone one in 150 at the level of a thousandth.
    """
    world = {"contacts": (40, 1000), "means": (share, share)}
    assert rejected(np.random.default_rng(29), runs, alpha=alpha, **world)[0] <= at_most(alpha, runs)


@runs(2000)
def test_few_contacts_beside_many_are_found_where_they_differ(runs):
    assert rejected(np.random.default_rng(37), runs, contacts=(40, 1000), means=(0.3, 0.05))[0] >= 0.8


@runs(2000)
def test_the_interval_of_a_share_over_contacts_holds_it(runs):
    rng = np.random.default_rng(30)
    missed = []
    for _ in range(runs):
        world = World(rng, (60, 60), (0.2, 0.2), alike=0.5)
        a, *_ = world.sums((rng.random(len(world.contact)) < world.inclination).astype(float))
        low, high = clustered_interval(a, share=True) or (0, 0)
        missed.append(not low <= 0.2 <= high)
    assert np.mean(missed) <= at_most(0.05, runs)


# -- means and medians


def times(rng, n, median):
    """Response times in ascending order, to the second: skewed, the median at so many seconds."""
    return np.sort(np.round(rng.lognormal(np.log(median), 0.6, n)))


def found_in_times(rng, runs, medians):
    """The shares of runs in which Welch's test and that of the medians find a difference."""
    found = []
    for _ in range(runs):
        a, b = (times(rng, n, median) for n, median in zip((120, 90), medians, strict=True))
        found.append([rejects(welch(moments(a), moments(b))), rejects(price_bonett(a, b))])
    return np.mean(found, axis=0)


@runs(2000)
@pytest.mark.parametrize("median", [3, 90])
def test_means_and_medians_of_skewed_times_are_tested_at_the_level(runs, median):
    """With a median of three seconds half of the values are 2, 3 or 4: the median jumps between them."""
    assert max(found_in_times(np.random.default_rng(31), runs, (median, median))) <= at_most(0.05, runs)


@runs(2000)
@pytest.mark.parametrize("medians", [(3, 8), (90, 135)])
def test_longer_times_are_found(runs, medians):
    assert min(found_in_times(np.random.default_rng(32), runs, medians)) >= 0.8


@runs(2000)
def test_intervals_of_means_and_medians_hold_them(runs):
    rng = np.random.default_rng(33)
    missed = []
    for _ in range(runs):
        values = np.sort(rng.gamma(4, 1, 120))
        (low, high), (least, most) = mean_interval(moments(values)) or (0, 0), median_interval(values) or (0, 0)
        missed.append([not low <= 4 <= high, not least <= 3.672060748850897 <= most])
    assert max(np.mean(missed, axis=0)) <= at_most(0.05, runs)
    assert min(np.mean(missed, axis=0)) >= 0.01  # and are not as wide as they please


def adjusted(rng, runs, lift):
    """The shares of runs in which Welch's test finds a lift with CUPED, and without."""
    found = []
    for _ in range(runs):
        before = [rng.gamma(2, 1, 200) for _ in range(2)]
        after = [x + rng.normal(0, 0.8, 200) + effect for x, effect in zip(before, (lift, 0), strict=True)]
        sums = [
            Covaried(200, y.sum(), (y**2).sum(), x.sum(), (x**2).sum(), (x * y).sum())
            for x, y in zip(before, after, strict=True)
        ]
        with_covariate = cuped(sums[0], sums[1])
        assert with_covariate is not None
        found.append([rejects(welch(*with_covariate[:2])), rejects(welch(moments(after[0]), moments(after[1])))])
    return np.mean(found, axis=0)


@runs(2000)
def test_a_covariate_finds_nothing_of_its_own(runs):
    assert max(adjusted(np.random.default_rng(34), runs, 0)) <= at_most(0.05, runs)


@runs(2000)
def test_a_covariate_helps_to_find_what_is_there(runs):
    with_covariate, without = adjusted(np.random.default_rng(35), runs, 0.25)
    assert with_covariate >= 0.8
    assert without < 0.5
