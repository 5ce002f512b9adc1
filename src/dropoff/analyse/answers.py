"""The shapes of answers that every surface gives: page, API and CLI show these, and nothing else computes."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from dropoff.analyse.stats import wilson

Source = Literal["default", "learned", "configured"]
"""Where a maturity time comes from: shipped, learned from the project's history, or from its settings."""


@dataclass(frozen=True, slots=True)
class Matured:
    """Of the `n` that entered at least `maturity_days` ago, the share that converted within as many days.

    Its interval is Wilson's, of 95 %.
    """

    value: float | None
    n: int
    interval: tuple[float, float] | None
    maturity_days: float
    source: Source


@dataclass(frozen=True, slots=True)
class Projected:
    """The incidence of conversion at `horizon_days`, with its log(-log) 95 % interval.

    `n`: the cohort's entries; `conversions`: those the estimate rests on, its own and those behind what is borrowed;
    `borrowed`: the part of the value, in [0, 1], that comes from ages half of the cohort have not had.
    """

    value: float
    n: int
    interval: tuple[float, float] | None
    horizon_days: float
    borrowed: float
    conversions: int


@dataclass(frozen=True, slots=True)
class Number:
    """A rate with what is needed to believe it. A ratio that may exceed 1 has no interval. 0/0 is null.

    `matured` and `projected` stand beside a share of which entries are known: who entered, when, and what became of it.
    """

    value: float | None
    numerator: float
    denominator: float
    interval: tuple[float, float] | None = None
    matured: Matured | None = None
    projected: Projected | None = None


def share(numerator: float, denominator: float) -> Number:
    """A rate whose numerator is a subset of its denominator, with its Wilson 95 % interval."""
    return Number(divide(numerator, denominator), numerator, denominator, wilson(numerator, denominator))


def ratio(numerator: float, denominator: float) -> Number:
    """A quotient that may exceed 1."""
    return Number(divide(numerator, denominator), numerator, denominator)


def divide(numerator: float, denominator: float) -> float | None:
    """The quotient; 0/0 and anything else over 0 is None, not 0."""
    return numerator / denominator if denominator else None


def instant(value: datetime | None) -> str | None:
    """RFC 3339 in UTC with `Z`. Naive datetimes, as the store gives them, are in UTC."""
    if value is None:
        return None
    aware = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return aware.isoformat().replace("+00:00", "Z")
