"""Whether a count changed between two equally long periods, by how much it varies from day to day.

Conversations come neither evenly nor independently, so a Poisson test would call every second pair of quiet weeks a
change. Here the counts of whole days have a level for each period and one for each day of the week, and the variance is
as many times the mean as they scatter around that (quasi-Poisson; Wedderburn 1974), at least once.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from dropoff.analyse.stats import ENOUGH, Comparison, by_t

LEAST = 6
"""Below so many degrees of freedom it is not known how much the days scatter."""


class Day(NamedTuple):
    """A count, the period it is of, and what it has in common with others: the day of the week."""

    period: str
    weekday: int
    n: float


def compare(now: float, before: float, days: Sequence[Day]) -> Comparison:
    """Two totals, and the whole days of both that say how much counts scatter. No test where that is not known."""
    test, difference = "quasi-Poisson over days", now - before
    found = dispersion(days)
    if found is None or now + before < ENOUGH:
        return Comparison(difference, None, None, test)
    scatter, df = found
    return by_t(difference, scatter * (now + before), df, test)


def dispersion(days: Sequence[Day]) -> tuple[float, int] | None:
    """Pearson's χ² over its degrees of freedom, at least 1, and these; None where there are fewer than `LEAST`."""
    periods, weekdays = {day.period for day in days}, {day.weekday for day in days}
    df = len(days) - len(periods) - len(weekdays) + 1
    if len(periods) < 2 or df < LEAST:
        return None
    levels = {period: _mean(day.n for day in days if day.period == period) for period in periods}
    shares = {
        weekday: _quotient([(day.n, levels[day.period]) for day in days if day.weekday == weekday])
        for weekday in weekdays
    }
    wholes = {period: _mean(shares[day.weekday] for day in days if day.period == period) for period in periods}
    squares = 0.0
    for day in days:
        if wholes[day.period] and (expected := levels[day.period] * shares[day.weekday] / wholes[day.period]):
            squares += (day.n - expected) ** 2 / expected
    return max(1.0, squares / df), df


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)


def _quotient(pairs: Sequence[tuple[float, float]]) -> float:
    whole = sum(expected for _, expected in pairs)
    return sum(count for count, _ in pairs) / whole if whole else 0.0
