"""The shapes of answers that every surface gives: page, API and CLI show these, and nothing else computes."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dropoff.analyse.stats import wilson


@dataclass(frozen=True, slots=True)
class Number:
    """A rate with what is needed to believe it. A ratio that may exceed 1 has no interval. 0/0 is null."""

    value: float | None
    numerator: float
    denominator: float
    interval: tuple[float, float] | None = None
    matured: dict[str, Any] | None = None
    projected: dict[str, Any] | None = None


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
