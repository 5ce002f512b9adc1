"""Incidence of conversion by age: exact tables, an independent reference, invariants, and simulations of the truth."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dropoff.analyse import maturity
from dropoff.analyse.answers import Matured, share
from dropoff.analyse.maturity import DAY, NEVER, Entries, Maturity
from dropoff.analyse.stats import Z95, wilson
from dropoff.errors import InvalidInput
from dropoff.metrics import STEP_DAYS

OPEN, WON, OUT, LOST = range(4)
NOW = 20_000 * DAY


def aged(ages, durations, ends):
    """Entries of these ages: how long each was followed, and how it ended."""
    ages, durations, over = np.array(ages, np.int64), np.array(durations, np.int64), np.array(ends) != OPEN
    return Entries(np.sort(ages), ages[over], durations[over], np.array(ends, np.int8)[over])


def entries(*rows):
    """From (how long followed, how it ended); those still open or not, all entered that long before now."""
    durations, ends = zip(*rows, strict=True)
    return aged(durations, durations, ends)


def together(*parts: Entries) -> Entries:
    ages, ended_ages, durations, ends = zip(*parts, strict=True)
    return Entries(np.sort(np.concatenate(ages)), *map(np.concatenate, (ended_ages, durations, ends)))


def curve(found: Entries, kind=WON):
    return maturity.incidence(maturity.table(found, kind))


# Ten entries: at 2 a win, an opt-out and an open one together; at 5 two wins and an open one; at 4 only an open one.
HAND = entries((1, WON), (2, WON), (2, OUT), (2, OPEN), (3, OUT), (4, OPEN), (5, WON), (5, WON), (5, OPEN), (7, LOST))


def test_aalen_johansen_by_hand():
    rows = maturity.table(HAND)
    assert [list(column) for column in rows] == [[1, 2, 3, 5, 7], [10, 9, 6, 4, 1], [1, 1, 0, 2, 0], [1, 2, 1, 2, 1]]

    won, out, lost = (curve(HAND, kind) for kind in (WON, OUT, LOST))
    # S: 9/10, then * 7/9, * 5/6, * 2/4, * 0
    assert list(won.survival) == pytest.approx([9 / 10, 7 / 10, 7 / 12, 7 / 24, 0])
    # F: 1/10, then + 9/10 * 1/9, + 0, + 7/12 * 2/4, + 0
    assert list(won.value) == pytest.approx([1 / 10, 1 / 5, 1 / 5, 59 / 120, 59 / 120])
    # 9/10 * 1/9, then + 7/10 * 1/6
    assert list(out.value) == pytest.approx([0, 1 / 10, 13 / 60, 13 / 60, 13 / 60])
    assert list(lost.value) == pytest.approx([0, 0, 0, 0, 7 / 24])
    # 1/10: binomial. At 2: (1/10)^2/90 + 9/1000 - 2 * 1/10 * 1/100 for the first row, 8/900 for the second.
    # At 5, with F(5) - F = 47/120, 7/24, 7/24, 0:
    fifth = (
        Fraction(47, 120) ** 2 / 90 + Fraction(9, 1000) - 2 * Fraction(47, 120) / 100
        + Fraction(7, 24) ** 2 * 2 / 63 + Fraction(8, 900) - 2 * Fraction(7, 24) / 90
        + Fraction(7, 24) ** 2 / 30
        + Fraction(49, 144) * 2 * 2 / 64
    )  # fmt: skip
    second = Fraction(1, 9000) + Fraction(9, 1000) - Fraction(2, 1000) + Fraction(8, 900)
    wanted = [0.09 / 10, float(second), float(second), float(fifth), float(fifth)]
    assert list(won.variance) == pytest.approx(wanted, rel=1e-12)
    # 59/120 ** exp(±1.96 * sd / (59/120 * log(120/59)))
    sd = math.sqrt(fifth)
    powers = [math.exp(sign * Z95 * sd / (59 / 120 * math.log(120 / 59))) for sign in (1, -1)]
    low, high = maturity.bounds(won.value, won.variance)
    assert [low[-1], high[-1]] == pytest.approx([(59 / 120) ** power for power in powers], rel=1e-12)
    assert [round(float(bound), 4) for bound in (low[-1], high[-1])] == [0.1436, 0.7713]


def test_the_share_at_an_age_is_a_right_continuous_step():
    ages = np.array([0, 1, 2, 4, 5, 100])
    assert list(curve(HAND).at(ages)) == pytest.approx([0, 1 / 10, 1 / 5, 1 / 5, 59 / 120, 59 / 120])


FOLLOWED = st.lists(st.tuples(st.integers(0, 8), st.integers(OPEN, LOST)), min_size=1, max_size=40)


def markov(rows, kind):
    """By age: value, survival and variance, as exact products of transition matrices over (still in, in it, other).

    The covariance of the state is carried along: moved by each age's transitions, plus theirs, which are multinomial.
    """
    p, cov = [Fraction(1), Fraction(0)], [[Fraction(0)] * 2 for _ in range(2)]
    found = []
    for age in sorted({duration for duration, end in rows if end}):
        n = sum(duration >= age for duration, _ in rows)
        leave = Fraction(sum(duration == age and end != OPEN for duration, end in rows), n)
        arrive = Fraction(sum(duration == age and end == kind for duration, end in rows), n)
        move = [[1 - leave, Fraction(0)], [arrive, Fraction(1)]]
        new = [
            [leave * (1 - leave) / n, -arrive * (1 - leave) / n],
            [-arrive * (1 - leave) / n, arrive * (1 - arrive) / n],
        ]
        cov = [
            [
                sum(move[i][k] * cov[k][m] * move[j][m] for k in range(2) for m in range(2)) + p[0] ** 2 * new[i][j]
                for j in range(2)
            ]
            for i in range(2)
        ]
        p = [move[i][0] * p[0] + move[i][1] * p[1] for i in range(2)]
        found.append((age, p[1], p[0], cov[1][1]))
    return found


@settings(deadline=None)
@given(FOLLOWED, st.integers(WON, LOST))
def test_incidence_equals_exact_products_of_transitions(rows, kind):
    found = curve(entries(*rows), kind)
    wanted = markov(rows, kind)
    assert list(found.ages) == [age for age, *_ in wanted]
    for column, exact in zip(
        (found.value, found.survival, found.variance), list(zip(*wanted, strict=True))[1:], strict=False
    ):
        assert list(column) == pytest.approx([float(number) for number in exact], rel=1e-9, abs=1e-14)


@settings(deadline=None)
@given(FOLLOWED)
def test_incidences_rise_and_add_up_to_those_who_ended(rows):
    found = entries(*rows)
    curves = [curve(found, kind) for kind in (WON, OUT, LOST)]
    total = sum((each.value for each in curves), curves[0].survival)
    assert total == pytest.approx(np.ones(len(total)))
    for each in curves:
        assert np.all(np.diff(each.value, prepend=0) >= 0)
        assert np.all((each.value >= 0) & (each.value <= 1))
        low, high = maturity.bounds(each.value, each.variance)
        inside = ~np.isnan(low)
        assert np.all(low[inside] <= each.value[inside])
        assert np.all(each.value[inside] <= high[inside])
        assert np.all((low[inside] >= 0) & (high[inside] <= 1))
        assert np.all(np.isin(np.round(each.value[~inside], 9), (0, 1)))


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 8), st.sampled_from([OPEN, WON])), min_size=1, max_size=40))
def test_without_competing_ends_it_is_one_minus_kaplan_meier(rows):
    found = curve(entries(*rows))
    survival, greenwood = 1.0, 0.0
    for at, age in enumerate(found.ages):
        n = sum(duration >= age for duration, _ in rows)
        d = sum(duration == age and end == WON for duration, end in rows)
        survival *= 1 - d / n
        greenwood += d / (n * (n - d)) if n > d else 0
        assert found.value[at] == pytest.approx(1 - survival)
        assert found.variance[at] == pytest.approx(survival**2 * greenwood, abs=1e-14)


@settings(deadline=None)
@given(FOLLOWED.map(lambda rows: [(9 if end == OPEN else duration, end) for duration, end in rows]))
def test_without_censoring_it_is_the_plain_share(rows):
    found, n = curve(entries(*rows)), len(rows)
    for at, age in enumerate(found.ages):
        plain = sum(duration <= age and end == WON for duration, end in rows) / n
        assert found.value[at] == pytest.approx(plain)
        assert found.variance[at] == pytest.approx(plain * (1 - plain) / n, abs=1e-14)


def test_nobody_at_all():
    nobody = aged([], [], [])
    past = maturity.history(nobody)
    assert len(curve(nobody).value) == 0
    assert (past.horizon, past.followed) == (0, 0)
    assert maturity.learned(past, 7) == Maturity(7 * DAY, "default", 0)
    assert (past.oldest, maturity.beyond(past, DAY).value.max()) == (0, 0)
    rest = maturity.beyond(past, 30 * DAY)
    outlook = maturity.outlook(nobody, rest, Maturity(DAY, "configured"))
    assert outlook.projected is None
    assert outlook.matured == Matured(None, 0, None, 1.0, "configured")


# --- from instants


def instants(*values):
    return np.array([NEVER if value is None else NOW + value * DAY for value in values], dtype=np.int64)


def test_an_entry_is_followed_until_its_first_end_or_now():
    found = maturity.follow(
        entered=instants(-10, -10, -10, -10, -10, -2, 0, 3),
        converted=instants(-4, None, -3, None, 0, -4, None, None),
        competing=[
            instants(None, -6, -8, -5, None, None, None, None),
            instants(None, -7, None, -5, 2, None, None, None),
        ],
        now=NOW,
    )
    assert list(found.ages // DAY) == [2, 10, 10, 10, 10, 10], "the last two had not entered"
    # won · the second kind of ending first · won after an opt-out · both endings at once: the first kind ·
    # won before it entered; won at now is not known yet
    assert list(found.durations // DAY) == [6, 3, 7, 5, 0]
    assert list(found.ends) == [WON, LOST, WON, OUT, WON]
    assert list(found.ended_ages // DAY) == [10, 10, 10, 10, 2]


def test_as_of_an_earlier_day_it_is_what_was_known_then():
    entered, converted, out = instants(-10, -9, -3), instants(-4, None, -1), instants(-6, -2, None)
    then = maturity.follow(entered, converted, [out], NOW - 5 * DAY)
    assert list(then.ages // DAY) == [4, 5]
    assert (list(then.ends), list(then.durations // DAY)) == ([OUT], [4])


def test_columns_of_unequal_length_are_refused():
    with pytest.raises(InvalidInput, match=r"times == '\(1,\)', must be as many as entries: \(2,\)"):
        maturity.follow(instants(-2, -1), instants(None, None), [instants(None)], NOW)


# --- maturity times


def test_the_horizon_is_the_largest_age_with_30_at_risk_up_to_180_days():
    ages = [day * DAY for day in range(100)]
    assert maturity.history(entries(*((age, OPEN) for age in ages))).horizon == 70 * DAY
    assert maturity.history(entries(*((age, OPEN) for age in ages[:29]))).horizon == 0
    assert maturity.history(entries(*((3 * age, OPEN) for age in ages))).horizon == 180 * DAY


def test_history_reaches_back_12_months():
    found = entries(*[(365 * DAY, OPEN)] * 40, *[(366 * DAY, OPEN)] * 40, *[(365 * DAY + 1, OPEN)] * 40)
    assert maturity.history(found).table.at_risk.sum() == 0
    found = aged(found.ages, [DAY] * 120, [WON] * 120)
    assert maturity.history(found).table.converted.sum() == 40


def test_a_maturity_time_is_learned_from_50_conversions():
    # 50 conversions, one a day from day 1; open for 100 days: 45 of 50 by day 45.
    won = [(day * DAY, WON) for day in range(1, 51)]
    still = [(100 * DAY, OPEN)] * 150
    assert maturity.learned(maturity.history(entries(*won, *still)), 14) == Maturity(45 * DAY, "learned", 50)
    assert maturity.learned(maturity.history(entries(*won[:-1], *still)), 14) == Maturity(14 * DAY, "default", 49)
    # What lies beyond the horizon (here 20 days: 30 at risk there) is neither counted nor waited for.
    late = [(30 * DAY, WON)] * 10
    found = entries(*[(DAY, WON)] * 46, *[(20 * DAY, WON)] * 10, *[(20 * DAY, OPEN)] * 15, *late)
    assert maturity.history(found).horizon == 20 * DAY
    assert maturity.learned(maturity.history(found), 14) == Maturity(20 * DAY, "learned", 56)


def test_a_learned_maturity_time_is_that_of_the_truth():
    rng = np.random.default_rng(1)
    found = simulated(rng, 60_000, 0.2, oldest=300)
    past = maturity.history(found)
    truth = next(day for day in np.arange(0, 180, 0.01) if by(day) >= 0.9 * by(180))
    assert past.horizon == 180 * DAY
    assert maturity.learned(past, 1).days == pytest.approx(truth, rel=0.05)


def test_maturity_times_add_up_along_a_chain():
    steps = [Maturity(DAY, "configured"), Maturity(2 * DAY, "learned", 80), Maturity(3 * DAY, "learned", 60)]
    assert maturity.chain(steps[:1]) == steps[0]
    assert maturity.chain(steps[1:]) == Maturity(5 * DAY, "learned", 60)
    shipped = [Maturity(days * DAY, "default") for days in STEP_DAYS.values()]
    assert maturity.chain(steps + shipped).days == 6 + sum(STEP_DAYS.values())
    assert maturity.chain(steps + shipped).source == "default"


# --- rates


def test_matured_counts_only_those_old_enough_and_what_they_did_in_time():
    cohort = aged(
        np.array([9, 9, 9, 7, 7, 6, 6]) * DAY,
        np.array([1, 8, 2, 7, 7, 1, 6]) * DAY,
        [WON, WON, OUT, OPEN, WON, WON, OPEN],
    )
    found = maturity.matured(cohort, Maturity(7 * DAY, "configured"))
    assert (found.value, found.n, found.interval) == (2 / 5, 5, wilson(2, 5))


def test_a_cohort_followed_to_the_horizon_borrows_nothing():
    rng = np.random.default_rng(2)
    old = simulated(rng, 20, 0.6, oldest=20, youngest=10)
    past = maturity.history(entries(*[(10 * DAY, OPEN)] * 40))
    found = maturity.projected(old, maturity.beyond(past, 10 * DAY), least=1)
    won = int(np.count_nonzero((old.ends == WON) & (old.durations <= 10 * DAY)))
    assert found is not None
    assert (found.value, found.n, found.borrowed) == (pytest.approx(won / 20), 20, 0)
    assert found.conversions == won


def test_beyond_its_own_age_a_cohort_goes_on_like_the_earlier_ones():
    # Own: 40 aged 2 days, 10 of them won on the first. Earlier: 60 aged 9 days, of whom 1 in 3 won on day 5.
    own = aged([2 * DAY] * 40, np.repeat([DAY, 2 * DAY], [10, 30]), np.repeat([WON, OPEN], [10, 30]))
    earlier = aged([9 * DAY] * 60, np.repeat([5 * DAY, 9 * DAY], [20, 40]), np.repeat([WON, OPEN], [20, 40]))
    past = maturity.history(together(own, earlier))
    found = maturity.projected(own, maturity.beyond(past, 9 * DAY))
    assert found is not None
    assert found.value == pytest.approx(1 / 4 + 3 / 4 * 1 / 3)
    assert found.borrowed == pytest.approx(1 / 2)
    assert (found.n, found.conversions, found.horizon_days) == (40, 30, 9)
    # (2/3)^2 * (1/4 * 3/4)/40 from the own part, (3/4)^2 * (1/3 * 2/3)/60 from the borrowed one.
    variance = 4 / 9 * 3 / 16 / 40 + 9 / 16 * 2 / 9 / 60
    low, high = maturity.bounds(np.array([0.5]), np.array([variance]))
    assert found.interval == (pytest.approx(low[0]), pytest.approx(high[0]))
    assert maturity.projected(own, maturity.beyond(past, 9 * DAY + 1)) is None, "nobody is that old"
    own_age = maturity.projected(own, maturity.beyond(past, 2 * DAY))
    assert own_age is not None
    assert (own_age.value, own_age.borrowed) == (pytest.approx(1 / 4), 0)


@pytest.mark.parametrize(
    ("n", "old", "own_age"),
    # so many of n entries are 9 days old, the others a day: half must be, at least 30, all where there are fewer
    [(100, 50, 9), (100, 49, 1), (40, 30, 9), (40, 29, 1), (20, 20, 9), (20, 19, 1)],
)
def test_a_cohort_speaks_for_itself_up_to_its_own_age(n, old, own_age):
    # On day 5 all of the old ones convert, and of the earlier cohorts none does.
    ages = np.repeat([9, 1], [old, n - old]) * DAY
    cohort = aged(ages, np.minimum(ages, 5 * DAY), np.where(ages > DAY, WON, OPEN))
    past = maturity.history(entries(*[(DAY // 2, WON)] * 50, *[(9 * DAY, OPEN)] * 50))
    found = maturity.projected(cohort, maturity.beyond(past, 9 * DAY))
    assert (found is not None) == (own_age == 9), "nobody converts between the first day and the ninth but they"


def test_a_rate_is_projected_from_10_conversions():
    for won, least in ((9, 9), (10, 10)):
        found = entries(*[(DAY, WON)] * won, *[(30 * DAY, OPEN)] * 90)
        shown = maturity.projected(found, maturity.beyond(maturity.history(found), DAY))
        assert (shown is not None) == (won == 10)
        assert maturity.projected(found, maturity.beyond(maturity.history(found), DAY), least) is not None
        assert maturity.projected(found, maturity.beyond(maturity.history(found), DAY), least + 1) is None


def test_where_all_have_ended_nothing_is_borrowed():
    past = maturity.history(entries(*[(5 * DAY, WON)] * 50, *[(9 * DAY, OPEN)] * 50))
    everybody = entries(*[(DAY, WON)] * 12)
    found = maturity.projected(everybody, maturity.beyond(past, 9 * DAY))
    assert found is not None
    assert (found.value, found.borrowed, found.conversions) == (1, 0, 12)
    assert found.interval == wilson(12, 12)
    assert maturity.projected(entries(*[(DAY, OUT)] * 40), maturity.beyond(past, 9 * DAY)) is None


def naive_of(cohort: Entries):
    return share(int(np.count_nonzero(cohort.ends == WON)), len(cohort.ages))


def test_three_numbers_side_by_side():
    found = simulated(np.random.default_rng(3), 4000, 0.2, oldest=90)
    past, young = maturity.history(found), found.younger(20 * DAY)
    naive = naive_of(young)
    rest = maturity.beyond(past, 30 * DAY)
    matured, projected = maturity.outlook(young, rest, Maturity(12 * DAY, "configured"))
    assert matured == maturity.matured(young, Maturity(12 * DAY, "configured"))
    assert projected is not None
    assert projected.interval is not None
    low, high = projected.interval
    assert naive.value is not None
    assert naive.value < low < 0.2 < high


# --- simulations with a known truth

MEDIAN, SPREAD = 4.0, 1.0
HORIZON = 30


def by(day: float) -> float:
    """The share of those who will ever convert that has done so by this age: lognormal delays."""
    return 0.5 * (1 + math.erf(math.log(day / MEDIAN) / SPREAD / math.sqrt(2))) if day > 0 else 0.0


def simulated(rng, n, truth, oldest, youngest=0.0):
    """Entries at uniform instants; `truth` of them convert within the horizon, 30 % would end otherwise."""
    entered = NOW - rng.uniform(youngest * DAY, oldest * DAY, n).astype(np.int64)
    kind = rng.choice(3, n, p=[0.7 - truth / by(HORIZON), truth / by(HORIZON), 0.3])
    delay = np.exp(SPREAD * rng.standard_normal(n)) * np.where(kind == WON, MEDIAN, 1.5 * MEDIAN) * DAY
    end = entered + delay.astype(np.int64)
    return maturity.follow(entered, np.where(kind == WON, end, NEVER), [np.where(kind == OUT, end, NEVER)], NOW)


def coverage(n, truth, runs, borrowing, seed):
    """How often the projected interval holds the truth, and how often there are conversions enough to show it.

    `borrowing`: the cohort is n entries of the last 10 days, after 2n of the 50 days before; otherwise it is n entries
    of the last 60 days, and all there is.
    """
    rng = np.random.default_rng(seed)
    held = shown = borrowed = 0
    for _ in range(runs):
        cohort = simulated(rng, n, truth, oldest=10 if borrowing else 60)
        earlier = [simulated(rng, 2 * n, truth, oldest=60, youngest=10)] if borrowing else []
        rest = maturity.beyond(maturity.history(together(cohort, *earlier)), HORIZON * DAY)
        projected = maturity.projected(cohort, rest, least=1)
        assert projected is not None
        assert projected.interval is not None
        low, high = projected.interval
        held += low <= truth <= high
        shown += projected.conversions >= maturity.PROJECTED_FROM
        borrowed += projected.borrowed
    assert (borrowed / runs > 0.1) == borrowing
    return held / runs, shown / runs


SETTINGS = [(n, truth, borrowing) for n in (400, 1000) for truth in (0.04, 0.2) for borrowing in (False, True)]


@pytest.mark.long
@pytest.mark.parametrize(("n", "truth", "borrowing"), SETTINGS)
def test_the_projected_interval_covers_the_truth(n, truth, borrowing):
    held, _ = coverage(n, truth, 2000, borrowing, seed=4)
    assert 0.935 <= held <= 0.965


@pytest.mark.parametrize(("n", "truth", "borrowing"), SETTINGS)
def test_the_projected_interval_covers_the_truth_in_a_tenth_of_the_runs(n, truth, borrowing):
    held, shown = coverage(n, truth, 200, borrowing, seed=5)
    sd = math.sqrt(0.95 * 0.05 / 200)
    assert 0.95 - 3 * sd <= held <= 0.95 + 3 * sd
    assert shown == 1 or (n, truth) == (400, 0.04)


def homogeneity(won, n):
    """The chi-square statistic of shares that are all the same, and its degrees of freedom."""
    won, n = np.array(won), np.array(n)
    share = won.sum() / n.sum()
    return float(((won - n * share) ** 2 / (n * share * (1 - share))).sum()), len(n) - 1


def test_a_constant_truth_is_flat_when_matured_and_falls_when_naive():
    rng = np.random.default_rng(6)
    weeks = [simulated(rng, 2000, 0.2, 7 * age + 7, 7 * age) for age in reversed(range(20))]
    found = together(*weeks)
    past = maturity.history(found)
    wait = maturity.learned(past, 1)
    rest = maturity.beyond(past, HORIZON * DAY)
    naive = [naive_of(week) for week in weeks]
    matured, projected = zip(*(maturity.outlook(week, rest, wait) for week in weeks), strict=True)
    old = [each for each in matured if each.n >= 500]
    flat, freedom = homogeneity([m.value * m.n for m in old if m.value], [m.n for m in old])
    assert len(old) >= 16
    assert flat < freedom + 3 * math.sqrt(2 * freedom)
    falling, freedom = homogeneity([number.numerator for number in naive], [number.denominator for number in naive])
    assert falling > 10 * freedom
    last = [number.value or 0 for number in naive[-3:]]
    assert last == sorted(last, reverse=True)
    assert last[-1] < 0.1
    # and every projected one sees the truth that the youngest hide
    projected = [each.value for each in projected if each]
    assert len(projected) == len(weeks)
    assert projected == pytest.approx([0.2] * len(weeks), abs=0.05)
