"""Statistics as pure functions of aggregates: shares, means, medians, repeated contacts, families, two periods.

Intervals hold 95 %, tests are two-sided, a difference is a - b. What has nothing to say is None: no denominator, too
few observations for a variance, or no variation at all, since zero width would claim certainty. Anytime-valid tests are
in `sequential`, sizes of experiments in `power`, reasons in docs/adr/0012-statistics.md. scipy is imported where it is
called: the command line starts without it.
"""

from collections.abc import Mapping, Sequence
from math import erfc, exp, lgamma, sqrt
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np

Z95 = 1.959963984540054
"""The 0.975 quantile of the standard normal distribution."""

ENOUGH = 30
"""Below this denominator a rate says too little to be compared."""

SIGNIFICANT = 0.05
"""Below this q-value a difference is called one."""

Interval = tuple[float, float]


class Comparison(NamedTuple):
    """A difference a - b, where it lies, and how often chance alone makes one as large. `test` names the method."""

    difference: float
    interval: Interval | None
    p_value: float | None
    test: str


# -- shares


def wilson(successes: float, n: float, z: float = Z95) -> tuple[float, float] | None:
    """The score interval of a share, in [0, 1]; None for n = 0 (Wilson 1927)."""
    if n <= 0:
        return None
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    # At the ends the bound is exactly 0 or 1; rounding must not move it.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return low, high


class Share(NamedTuple):
    """So many of n."""

    successes: int
    n: int


def newcombe(a: Share, b: Share, z: float = Z95) -> tuple[float, float] | None:
    """The interval of the difference a - b of two independent shares; None where one is of nothing.

    The hybrid of both score intervals, without continuity correction (Newcombe 1998, method 10).
    """
    of_a, of_b = wilson(*a, z), wilson(*b, z)
    if of_a is None or of_b is None:
        return None
    return _square_and_add(a.successes / a.n, of_a, b.successes / b.n, of_b)


def _square_and_add(a: float, of_a: Interval, b: float, of_b: Interval, correlation: float = 0.0) -> Interval:
    """The interval of a - b from those of a and b (Newcombe 1998; with correlation Zou & Donner 2008)."""

    def side(one: float, other: float) -> float:
        return sqrt(max(0.0, one * one + other * other - 2 * correlation * one * other))

    return a - b - side(a - of_a[0], of_b[1] - b), a - b + side(of_a[1] - a, b - of_b[0])


def p_value(a: Share, b: Share) -> float | None:
    """Two-sided, that two independent shares differ by chance; None where one is of nothing.

    Fisher's exact test where an expected cell is below 5, else the pooled z-test without continuity correction.
    """
    if not a.n or not b.n:
        return None
    n, hits = a.n + b.n, a.successes + b.successes
    if hits in (0, n):
        return 1.0
    if has_small_cell(a, b):
        return _fisher(a, b)
    pooled = hits / n
    spread = sqrt(pooled * (1 - pooled) * (1 / a.n + 1 / b.n))
    return erfc(abs(a.successes / a.n - b.successes / b.n) / spread / sqrt(2))


def compare_shares(a: Share, b: Share) -> Comparison | None:
    """Two independent shares: Newcombe's interval, and the test that fits their cells; None where one is of nothing."""
    if not a.n or not b.n:
        return None
    test = "Fisher's exact test" if has_small_cell(a, b) else "pooled z-test"
    return Comparison(a.successes / a.n - b.successes / b.n, newcombe(a, b), p_value(a, b), test)


def has_small_cell(a: Share, b: Share) -> bool:
    """Whether fewer than 5 of an outcome are to be expected in one of them, where both are alike."""
    n, hits = a.n + b.n, a.successes + b.successes
    return min(hits, n - hits) * min(a.n, b.n) / n < 5


def _fisher(a: Share, b: Share) -> float:
    """The probability of all tables with these margins that are as improbable as this one, or more so."""
    n, hits = a.n + b.n, a.successes + b.successes
    whole = _log_choose(n, hits)

    def of(successes: int) -> float:
        return exp(_log_choose(a.n, successes) + _log_choose(b.n, hits - successes) - whole)

    seen = of(a.successes) * (1 + 1e-7)  # equally probable ones differ by rounding
    possible = (of(k) for k in range(max(0, hits - b.n), min(a.n, hits) + 1))
    return min(1.0, sum(one for one in possible if one <= seen))


def _log_choose(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)


# -- means


class Moments(NamedTuple):
    """n values x, by their sum and the sum of their squares."""

    n: int
    total: float
    squares: float

    @property
    def mean(self) -> float:
        return self.total / self.n

    @property
    def variance(self) -> float:
        """Of the sample, with n - 1."""
        return _spread(self.squares, self.total * self.total / self.n) / (self.n - 1)


def mean_interval(a: Moments) -> Interval | None:
    """Student's interval of a mean."""
    if a.n < 2 or not a.variance:
        return None
    return _around(a.mean, a.variance / a.n, a.n - 1)


def welch(a: Moments, b: Moments) -> Comparison | None:
    """Two independent means of unequal variances, with Satterthwaite's degrees of freedom (Welch 1947)."""
    if not a.n or not b.n:
        return None
    test = "Welch's t-test"
    if min(a.n, b.n) < 2:
        return Comparison(a.mean - b.mean, None, None, test)
    of_a, of_b = a.variance / a.n, b.variance / b.n
    variance = of_a + of_b
    df = variance * variance / (of_a * of_a / (a.n - 1) + of_b * of_b / (b.n - 1)) if variance else 0.0
    return by_t(a.mean - b.mean, variance, df, test)


def by_t(difference: float, variance: float, df: float, test: str) -> Comparison:
    """Student's interval and test of a difference with this variance; neither where it is 0."""
    if not variance:
        return Comparison(difference, None, None, test)
    return Comparison(difference, _around(difference, variance, df), _t_test(difference, variance, df), test)


def _around(value: float, variance: float, df: float) -> Interval:
    half = t_quantile(df) * sqrt(variance)
    return value - half, value + half


def _t_test(difference: float, variance: float, df: float) -> float:
    from scipy.special import stdtr

    return 2 * float(stdtr(df, -abs(difference) / sqrt(variance)))


def t_quantile(df: float) -> float:
    """The 0.975 quantile of Student's distribution."""
    from scipy.special import stdtrit

    return float(stdtrit(df, 0.975))


def _spread(squares: float, of_mean: float) -> float:
    """A sum of squares about the mean; what rounding leaves of equal values is none."""
    about = squares - of_mean
    return about if about > 1e-12 * abs(squares) else 0.0


class Covaried(NamedTuple):
    """n units with a value y and a covariate x from before the experiment: Σy, Σy², Σx, Σx², Σxy."""

    n: int
    total: float
    squares: float
    covariate: float
    covariate_squares: float
    products: float


def cuped(a: Covaried, b: Covaried) -> tuple[Moments, Moments, float] | None:
    """Both groups' values less theta times the covariate about its mean over both, and theta.

    theta = cov(x, y) / var(x) over all units of both groups (Deng, Xu, Kohavi & Walker 2013). The moments go to `welch`
    as others do. None where a group is empty or the covariate does not vary.
    """
    if not a.n or not b.n:
        return None
    _, total, _, covariate, covariate_squares, products = map(sum, zip(a, b, strict=True))
    centre = covariate / (a.n + b.n)
    varies = _spread(covariate_squares, covariate * centre)
    if not varies:
        return None
    theta = (products - centre * total) / varies
    return _adjusted(a, theta, centre), _adjusted(b, theta, centre), theta


def _adjusted(a: Covaried, theta: float, centre: float) -> Moments:
    """The moments of y - theta (x - centre)."""
    shift = theta * centre
    total = a.total - theta * a.covariate
    squares = a.squares + theta**2 * a.covariate_squares - 2 * theta * a.products
    return Moments(a.n, total + a.n * shift, squares + 2 * shift * total + a.n * shift**2)


# -- medians, of values in ascending order


def median_interval(values: "np.ndarray") -> Interval | None:
    """Two of the values that hold the median with at least 95 %, whatever the distribution; None below 6 values."""
    below = _below_median(len(values))
    return None if below is None else (float(values[below]), float(values[-1 - below]))


def _below_median(n: int) -> int | None:
    """The largest k such that k or fewer of n values lie below their median with at most 2.5 %."""
    from scipy.special import bdtr

    k = int((n - 1 - Z95 * sqrt(n)) / 2)  # by the normal distribution; the binomial one decides
    while k >= 0 and bdtr(k, n, 0.5) > 0.025:
        k -= 1
    while k >= 0 and bdtr(k + 1, n, 0.5) <= 0.025:
        k += 1
    return k if k >= 0 else None


def price_bonett(a: "np.ndarray", b: "np.ndarray") -> Comparison | None:
    """Two independent medians, without an assumption about their distributions (Price & Bonett 2002)."""
    if not len(a) or not len(b):
        return None
    test = "Price–Bonett test of medians"
    difference = _median(a) - _median(b)
    if min(len(a), len(b)) < 6:
        return Comparison(difference, None, None, test)
    return by_t(difference, _median_variance(a) + _median_variance(b), float("inf"), test)


def _median(values: "np.ndarray") -> float:
    n = len(values)
    return float(values[(n - 1) // 2] + values[n // 2]) / 2


def _median_variance(values: "np.ndarray") -> float:
    """From the distance of two values around the median (Price & Bonett 2001).

    Where there are more of one of them, it is the next other one outwards: the median of rounded values jumps from one
    to the next, and a difference of one such step would be found in every second pair of equal groups.
    """
    from scipy.special import bdtr, ndtri

    n = len(values)
    c = max(1, round((n + 1) / 2 - sqrt(n)))
    distance = _outwards(values, n - c, 1) - _outwards(values, c - 1, -1)
    return (distance / (2 * -float(ndtri(bdtr(c - 1, n, 0.5))))) ** 2


def _outwards(values: "np.ndarray", place: int, step: int) -> float:
    """The value at a place, or the next other one upwards (1) or downwards (-1) where there are more of it."""
    first, after = values.searchsorted(values[place]), values.searchsorted(values[place], "right")
    if after - first > 1:
        place = min(after, len(values) - 1) if step > 0 else max(first - 1, 0)
    return float(values[place])


def mann_whitney(a: "np.ndarray", b: "np.ndarray") -> float | None:
    """The p-value that neither of two groups tends to be larger, corrected for ties and continuity."""
    if not len(a) or not len(b) or a[0] == a[-1] == b[0] == b[-1]:
        return None
    from scipy.stats import mannwhitneyu

    return float(mannwhitneyu(a, b, method="asymptotic").pvalue)


# -- contacts that repeat


class Clustered(NamedTuple):
    """Contacts i, each with a denominator n_i and a number x_i, hits or a sum: how many, Σn, Σx, Σx², Σxn, Σn²."""

    clusters: int
    n: float
    total: float
    squares: float
    cross: float
    sizes: float

    @property
    def ratio(self) -> float:
        return self.total / self.n

    @property
    def residuals(self) -> float:
        """Σ(x_i - ratio n_i)² / n²: the variance of the ratio but for m / (m - 1)."""
        r = self.ratio
        return _spread(self.squares + r * r * self.sizes, 2 * r * self.cross) / self.n**2

    @property
    def alike(self) -> float:
        """As many independent ones would say as much if all of a contact always ended alike (Kish 1965)."""
        return self.n**2 / self.sizes

    @property
    def effective(self) -> float:
        """As many independent ones say as much of a share: n / deff, at most n.

        Where all or none are hits, or all are of one contact, deff does not show: then as if a contact ended alike.
        """
        binomial = self.ratio * (1 - self.ratio) / self.n
        if binomial <= 0 or self.clusters < 2:
            return self.alike
        return self.n / max(1.0, self.residuals * self.clusters / (self.clusters - 1) / binomial)


NOBODY = Clustered(0, 0, 0, 0, 0, 0)


class Joint(NamedTuple):
    """The contacts in either of two groups, and over those in both: Σ x_a x_b, Σ x_a n_b, Σ n_a x_b, Σ n_a n_b."""

    xx: float
    xn: float
    nx: float
    nn: float
    clusters: int


def clustered_interval(a: Clustered, share: bool) -> Interval | None:
    """Of a ratio over contacts, with t of contacts - 1 degrees of freedom; None below two contacts.

    The variance is the linearised one of a ratio estimator (Cochran 1977). A share has Wilson's interval at n / deff.
    """
    if a.clusters < 2 or not a.n:
        return None
    if share:
        return wilson(a.ratio * a.effective, a.effective, t_quantile(a.clusters - 1))
    variance = a.residuals * a.clusters / (a.clusters - 1)
    return _around(a.ratio, variance, a.clusters - 1) if variance else None


def compare_clustered(a: Clustered, b: Clustered, joint: Joint, share: bool) -> Comparison | None:
    """Two ratios over contacts, of which some may be in both groups: t with contacts - 1 degrees of freedom.

    Contacts are drawn, with what they have in either group, so their covariance counts. Shares are compared at n / deff
    with their common share as variance (Rao & Scott 1992) and have Newcombe's interval there, correlated as they are.
    Where an expected cell is below 5 there, the p-value is never below that of Fisher's test.
    """
    if not a.n or not b.n:
        return None
    difference, test = a.ratio - b.ratio, "t-test over contacts"
    if min(a.clusters, b.clusters) < 2:
        return Comparison(difference, None, None, test)
    df = joint.clusters - 1
    together = joint.xx - b.ratio * joint.xn - a.ratio * joint.nx + a.ratio * b.ratio * joint.nn
    covariance = together / (a.n * b.n)
    if not share:
        variance = max(0.0, a.residuals + b.residuals - 2 * covariance) * joint.clusters / df
        return by_t(difference, variance, df, test)
    most = sqrt(a.residuals * b.residuals)
    correlation = max(-1.0, min(1.0, covariance / most)) if most else 0.0
    variance = _of_common_share(a, b, correlation)
    p = _t_test(difference, variance, df) if variance else (None if difference else 1.0)
    exact = _fisher_of_few(a, b)
    if p is not None and exact > p:
        p, test = exact, "Fisher's exact test at the effective size"
    z = t_quantile(df)
    of_a, of_b = (wilson(one.ratio * one.effective, one.effective, z) or (0.0, 1.0) for one in (a, b))
    return Comparison(difference, _square_and_add(a.ratio, of_a, b.ratio, of_b, correlation), p, test)


def _fisher_of_few(a: Clustered, b: Clustered) -> float:
    """Fisher's p at n / deff where an expected cell is below 5, else 0: for one win of 101 beside none of 10,000."""
    sizes = [max(1, int(one.effective)) for one in (a, b)]
    first, second = (Share(round(one.ratio * size), size) for one, size in zip((a, b), sizes, strict=True))
    return _fisher(first, second) if has_small_cell(first, second) else 0.0


def _of_common_share(a: Clustered, b: Clustered, correlation: float) -> float:
    """The variance of the difference of two shares that are the same."""
    # Weights that the hits have no part in: by n / deff the common share would lean to where they vary less.
    common = (a.ratio * a.alike + b.ratio * b.alike) / (a.alike + b.alike)
    of_a, of_b = a.effective, b.effective
    return max(0.0, common * (1 - common) * (1 / of_a + 1 / of_b - 2 * correlation / sqrt(of_a * of_b)))


# -- families


def q_values(p_values: Sequence[float]) -> list[float]:
    """The smallest false discovery rate at which each of a family is a discovery (Benjamini & Hochberg 1995)."""
    falling = sorted(range(len(p_values)), key=p_values.__getitem__, reverse=True)
    found, least = [1.0] * len(p_values), 1.0
    for rank, place in zip(range(len(p_values), 0, -1), falling, strict=True):
        least = min(least, p_values[place] * len(p_values) / rank)
        found[place] = least
    return found


def family(p_values: Sequence[float | None]) -> list[float | None]:
    """The q-values of a family, of which those that were not tested (None) are no part."""
    found = iter(q_values([p for p in p_values if p is not None]))
    return [None if p is None else next(found) for p in p_values]


# -- two periods


class Effect(NamedTuple):
    """What a group contributes to the change of a rate: by its own rate, and by its size."""

    rate: float
    mix: float


def kitagawa(now: Mapping[str, Share], before: Mapping[str, Share]) -> dict[str, Effect]:
    """The change of a rate between two periods, group by group (Kitagawa 1955, midpoint weights).

    Both effects of all groups add up to the difference of the two rates. The mix effect is measured from the middle of
    both rates: a growing group adds where its own rate lies above that, and the sum stays the same. A group that one
    period does not have has no rate of its own there: it counts as mix alone. Empty where a period has nothing.
    """
    n_now, n_before = sum(one.n for one in now.values()), sum(one.n for one in before.values())
    if not n_now or not n_before:
        return {}
    middle = (
        sum(one.successes for one in now.values()) / n_now + sum(one.successes for one in before.values()) / n_before
    ) / 2
    found = {}
    for group in {**now, **before}:
        new, old = now.get(group, Share(0, 0)), before.get(group, Share(0, 0))
        if not new.n and not old.n:
            continue
        rate_new = new.successes / new.n if new.n else old.successes / old.n
        rate_old = old.successes / old.n if old.n else rate_new
        weight_new, weight_old = new.n / n_now, old.n / n_before
        found[group] = Effect(
            rate=(weight_new + weight_old) / 2 * (rate_new - rate_old),
            mix=(weight_new - weight_old) * ((rate_new + rate_old) / 2 - middle),
        )
    return found
