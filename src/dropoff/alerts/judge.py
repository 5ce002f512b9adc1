"""Whether a value breaks its rule: the maths, as pure functions of sums. No store, no clock.

Thresholds compare the value itself. `changes_by` compares it with the median of the same local window in the weeks
before. `anomaly` asks how likely a value so far from its usual one is, by a distribution that allows for what weeks
differ by: beta-binomial for shares, negative binomial (Poisson where they differ by no more than chance) for counts,
Student's t around the median for means. Their spread is the robust one, 1.4826 times the median absolute deviation;
where most weeks are equal that is 0, and what chance alone gives remains.
"""

from collections.abc import Sequence
from math import inf, sqrt
from statistics import median, pstdev
from typing import NamedTuple

from dropoff.alerts.rules import Rule
from dropoff.alerts.state import Blank
from dropoff.analyse.stats import Z95, wilson
from dropoff.metrics import Unit

WEEKS = {"changes_by": 4, "anomaly": 8}
"""So many weeks before are looked at."""
PRESENT = {"changes_by": 3, "anomaly": 4}
"""And so many of them must be there, with enough in them."""

NORMAL = 1.4826
"""The standard deviation of normal values in median absolute deviations."""
RESTLESS = 0.05
"""No business is steadier than that from week to week: the least relative spread beyond chance."""


class Sums(NamedTuple):
    """What stands in a window. `denominator` is None for a count; of a cohort that is still young it is the expected
    part of those who will have converted, and then not whole."""

    numerator: float
    denominator: float | None

    @property
    def value(self) -> float | None:
        """The value; 0/0 is None."""
        if self.denominator is None:
            return self.numerator
        return self.numerator / self.denominator if self.denominator else None


class Judged(NamedTuple):
    """What an evaluation found. `n`: what is compared with the rule's `min_n`. `statistic`: what is compared with its
    threshold; None where `blank` says why there is none. `usual`: what the value usually is."""

    value: float | None
    n: float
    blank: Blank | None
    statistic: float | None = None
    usual: float | None = None
    interval: tuple[float, float] | None = None


def breaks(rule: Rule, judged: Judged) -> bool | Blank:
    """What `transition` is told."""
    if judged.blank is not None:
        return judged.blank
    return exceeds(rule, judged.statistic, rule.threshold)


def exceeds(rule: Rule, statistic: float | None, threshold: float) -> bool:
    """Whether a statistic is beyond a threshold, on the side that the rule's condition says."""
    if statistic is None:
        return False
    return statistic < threshold if rule.condition in ("drops_below", "anomaly") else statistic > threshold


def judge(rule: Rule, unit: Unit, now: Sums, before: Sequence[Sums] = ()) -> Judged:
    """The judgement of a window, `before` being the same local window in the weeks before, of those that there were."""
    value = now.value if unit != "share" or now.value is None else min(now.value, 1.0)
    if rule.of_history:
        judged = _change(rule, now, before) if rule.condition == "changes_by" else _anomaly(rule, unit, now, before)
        judged = judged._replace(value=value)
    elif now.denominator is None:
        judged = Judged(value, now.numerator, None, value)
    else:
        judged = Judged(value, now.denominator, _lacks(rule, now), value)
    return judged._replace(interval=interval(unit, now))


def _lacks(rule: Rule, sums: Sums) -> Blank | None:
    """Why a window says nothing."""
    if sums.denominator is None:
        return None
    if not sums.denominator:
        return "no_data"
    return "insufficient" if sums.denominator < rule.min_n else None


def usual(before: Sequence[Sums]) -> float | None:
    """What the value usually is: the median of the weeks before."""
    values = [sums.value for sums in before if sums.value is not None]
    return median(values) if values else None


def _change(rule: Rule, now: Sums, before: Sequence[Sums]) -> Judged:
    present = [sums for sums in before if _behind(sums) >= max(rule.min_n, 1)]
    base = usual(present)
    judged = Judged(None, _behind(now) if now.denominator is not None else (base or 0.0), _lacks(rule, now), usual=base)
    if judged.blank is not None or now.value is None:
        return judged
    if len(present) < PRESENT[rule.condition] or not base:
        return judged._replace(blank="insufficient")
    change = (now.value - base) / abs(base)
    return judged._replace(statistic=_on_side(rule, change))


def _on_side(rule: Rule, change: float) -> float:
    return {"up": change, "down": -change, "both": abs(change)}[rule.direction]


def _behind(sums: Sums) -> float:
    return sums.numerator if sums.denominator is None else sums.denominator


def _anomaly(rule: Rule, unit: Unit, now: Sums, before: Sequence[Sums]) -> Judged:
    counted = now.denominator is None
    present = [sums for sums in before if counted or _behind(sums) >= max(rule.min_n, 1)]
    base = usual(present)
    judged = Judged(None, (base or 0.0) if counted else _behind(now), _lacks(rule, now), usual=base)
    if judged.blank is not None or now.value is None or base is None:
        return judged._replace(blank=judged.blank or "insufficient")
    if len(present) < PRESENT[rule.condition] or (counted and base < max(rule.min_n, 1)):
        return judged._replace(blank="insufficient")
    if (rule.direction == "down" and now.value >= base) or (rule.direction == "up" and now.value <= base):
        return judged._replace(statistic=1.0)
    if counted:
        lower, upper = count_tails(now.numerator, [sums.numerator for sums in present])
    elif unit == "share":
        lower, upper = share_tails(now, present)
    else:
        lower, upper = mean_tails(now.value, [sums.value for sums in present if sums.value is not None])
    chance = {"down": lower, "up": upper, "both": min(lower, upper)}[rule.direction]
    return judged._replace(statistic=min(1.0, 2 * chance))


# tails: the chance of a value as low, and as high


def count_tails(count: float, before: Sequence[float]) -> tuple[float, float]:
    """Of a count beside those of the weeks before: negative binomial around their median.

    Its variance is chance (the median), what weeks differ by beyond chance, and what is not known of the median
    (pi/2 times the variance of a mean).
    """
    from scipy.special import betainc

    middle, weeks = median(before), len(before)
    beyond = max(_spread(before) ** 2 - middle, (RESTLESS * middle) ** 2)
    variance = (middle + beyond) * (1 + 1.5708 / weeks)
    size = middle**2 / (variance - middle)  # mean m, variance m + m^2 / size
    success = size / (size + middle)
    lower = float(betainc(size, count + 1, success))
    upper = float(betainc(count, size, 1 - success)) if count > 0 else 1.0
    return lower, upper


def share_tails(now: Sums, before: Sequence[Sums]) -> tuple[float, float]:
    """Of a share beside those of the weeks before: beta-binomial around their median, its variance as of counts."""
    import numpy as np
    from scipy.special import betaln, gammaln

    shares = [min(sums.value, 1.0) for sums in before if sums.value is not None]
    sizes = [sums.denominator or 0.0 for sums in before]
    n = max(1, round(now.denominator or 0))
    count = min(n, round(now.numerator))
    # Not on the border: that none converted in some weeks does not mean that none ever will.
    middle = min(max(median(shares), 0.5 / sum(sizes)), 1 - 0.5 / sum(sizes))
    chance = middle * (1 - middle)
    within = chance * sum(1 / size for size in sizes) / len(sizes)
    beyond = max(_spread(shares) ** 2 - within, (RESTLESS * min(middle, 1 - middle)) ** 2)
    unknown = 1.5708 * (beyond + within) / len(sizes)
    part = min((beyond + unknown) / chance, 0.99)
    a, b = middle * (1 / part - 1), (1 - middle) * (1 / part - 1)
    k = np.arange(n + 1)
    log_mass = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1) + betaln(k + a, n - k + b) - betaln(a, b)
    mass = np.exp(log_mass)
    return min(1.0, float(mass[: count + 1].sum())), min(1.0, float(mass[count:].sum()))


def mean_tails(value: float, before: Sequence[float]) -> tuple[float, float]:
    """Of a mean beside those of the weeks before: Student's t, the median as centre, one degree fewer than weeks."""
    from scipy.special import stdtr

    weeks = len(before)
    spread = max(_spread(before), pstdev(before) * sqrt(weeks / (weeks - 1)))
    if spread == 0:
        return (1.0, 1.0)  # all weeks were equal: nothing says how far a value may stray
    t = (value - median(before)) / (spread * sqrt(1 + 1.5708 / weeks))
    lower = float(stdtr(weeks - 1, t))
    return lower, 1 - lower


def _spread(values: Sequence[float]) -> float:
    middle = median(values)
    return NORMAL * median(abs(value - middle) for value in values)


# intervals


def interval(unit: Unit, sums: Sums) -> tuple[float, float] | None:
    """95 %: Wilson's of a share, Byar's of a count (Breslow and Day 1987, 69); none of other units."""
    if unit == "share" and sums.denominator:
        return wilson(min(sums.numerator, sums.denominator), sums.denominator)
    if sums.denominator is None and unit == "count" and abs(sums.numerator) < inf:
        return _byar(sums.numerator)
    return None


def _byar(count: float) -> tuple[float, float]:
    low = count * (1 - 1 / (9 * count) - Z95 / (3 * sqrt(count))) ** 3 if count else 0.0
    more = count + 1
    high = more * (1 - 1 / (9 * more) + Z95 / (3 * sqrt(more))) ** 3
    return max(low, 0.0), high if high < inf else count
