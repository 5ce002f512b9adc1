"""Tests that stay valid however often they are looked at, as pure functions of aggregates.

An interval here holds the truth at all looks together with 1 - alpha, so an experiment may be read every day and
stopped on any. Interval and p-value are of one boundary: the interval excludes 0 exactly where the p-value is below
alpha. Its parameter is fixed before the data by the planned size; a wrong plan costs width, never validity.
"""

from collections.abc import Sequence
from math import exp, inf, lgamma, log, sqrt
from typing import NamedTuple

from dropoff.analyse.stats import Comparison
from dropoff.errors import InvalidInput
from dropoff.project.experiments import PLANNED

FAIR = 0.001
"""Below this p-value a sample ratio is not the intended one."""


def rho(planned: float, alpha: float = 0.05) -> float:
    """The variance of the mixture that makes the boundary narrowest at this many units (Howard et al. 2021, 3.5)."""
    surprise = -2 * log(alpha)
    return planned / (surprise + log(1 + surprise))


def boundary(units: float, rho: float, alpha: float = 0.05) -> float:
    """What a sum of this many terms of mean 0 and variance 1 ever exceeds, in size, with alpha at most.

    The two-sided normal mixture (Robbins 1970; Howard, Ramdas, McAuliffe & Sekhon 2021).
    """
    return sqrt((units + rho) * (log((units + rho) / rho) - 2 * log(alpha)))


def log_evidence(total: float, units: float, rho: float) -> float:
    """The logarithm of the mixture's likelihood ratio against mean 0, of such a sum; 1 / ratio is a valid p-value."""
    return total * total / (2 * (units + rho)) - log((units + rho) / rho) / 2


def confidence_sequence(
    difference: float, variance_of_difference: float, n_total: float, planned: float = PLANNED, alpha: float = 0.05
) -> Comparison:
    """An estimate from n_total units of both arms, with the interval and the p-value that hold at every look.

    The asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas (2024): the variance is
    estimated, so it holds from some tens of units on. No interval where nothing varies.
    """
    test = "normal-mixture confidence sequence"
    if variance_of_difference <= 0 or n_total <= 0:
        return Comparison(difference, None, None if difference else 1.0, test)
    of_sequence, error = rho(planned, alpha), sqrt(variance_of_difference)
    # As a sum: n units, each of variance n * variance_of_difference.
    half = boundary(n_total, of_sequence, alpha) * error / sqrt(n_total)
    evidence = log_evidence(difference / error * sqrt(n_total), n_total, of_sequence)
    return Comparison(difference, (difference - half, difference + half), min(1.0, exp(-evidence)), test)


class SampleRatio(NamedTuple):
    """Whether units fell to the arms as intended: `p_value` at any number of looks, `fixed_p_value` at one alone."""

    p_value: float
    fixed_p_value: float


def sample_ratio(counts: Sequence[int], weights: Sequence[float], planned: float = PLANNED) -> SampleRatio:
    """The counts of arms against their intended weights; both are 1 where there are no units.

    Anytime-valid: the Bayes factor of a Dirichlet distribution around the weights (Lindon & Malek 2022), concentrated
    as makes it sharpest at the planned size. Beside it the χ² test of one look, or the exact binomial test of two arms
    below 1,000 units. A unit in an arm of weight 0 makes both 0.
    """
    if len(counts) != len(weights) or min(weights, default=0) < 0 or not 0 < sum(weights) < inf:
        raise InvalidInput("weights", list(weights), "one for each arm, none negative, not all 0")
    shares = [weight / sum(weights) for weight in weights]
    if any(count and not share for count, share in zip(counts, shares, strict=True)):
        return SampleRatio(0.0, 0.0)
    arms = [(count, share) for count, share in zip(counts, shares, strict=True) if share]
    if not sum(counts) or len(arms) < 2:
        return SampleRatio(1.0, 1.0)
    evidence = multinomial_evidence(arms, rho(planned, FAIR))
    return SampleRatio(exp(-max(0.0, evidence)), _at_one_look(arms))


def multinomial_evidence(arms: list[tuple[int, float]], concentration: float) -> float:
    """The logarithm of the likelihood ratio of a Dirichlet mixture against the weights, for arms of (count, weight)."""
    n = sum(count for count, _ in arms)
    return (
        lgamma(concentration)
        - lgamma(concentration + n)
        + sum(
            lgamma(concentration * share + count) - lgamma(concentration * share) - count * log(share)
            for count, share in arms
        )
    )


def _at_one_look(arms: list[tuple[int, float]]) -> float:
    n = sum(count for count, _ in arms)
    if len(arms) == 2 and n < 1000:
        from scipy.stats import binomtest

        return float(binomtest(arms[0][0], n, arms[0][1]).pvalue)
    from scipy.special import chdtrc

    return float(chdtrc(len(arms) - 1, sum((count - n * share) ** 2 / (n * share) for count, share in arms)))
