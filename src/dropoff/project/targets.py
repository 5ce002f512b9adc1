"""Targets of a project, as they stand under `[targets]` in `dropoff.toml`: which value of a metric is wanted."""

from calendar import monthrange
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

from dropoff.errors import InvalidInput, Unknown
from dropoff.metrics import METRICS, Metric
from dropoff.periods import MICROSECOND, Period, midnight
from dropoff.project.custom import CustomMetric

Per = Literal["day", "week", "month"]
PER: tuple[Per, ...] = ("day", "week", "month")
_BOUNDS = {"share": (0.0, 1.0), "score": (-1.0, 1.0)}
_MOST = 1e15  # of other units, which begin at 0


class Target(NamedTuple):
    """The wanted value of a metric; of one that adds up over time `per` so much of it. Of money its currency."""

    metric: str
    value: float
    per: Per | None = None
    currency: str | None = None

    def scaled(self, period: Period) -> float:
        """What is wanted of a period: of a part of a month as much as it is of it, day by day."""
        if self.per is None:
            return self.value
        return self.value * sum(part / _length(self.per, day) for day, part in _days(period))


def is_met(value: float, wanted: float, good: str) -> bool:
    """Whether a value is as good as the wanted one."""
    return value <= wanted if good == "down" else value >= wanted


def adds_up(metric: Metric | CustomMetric) -> bool:
    """Whether twice the time gives twice as much: a count, a sum of money."""
    return metric.unit in ("count", "money") and metric.denominator is None


def parse(raw: Mapping[str, Any], custom: Mapping[str, CustomMetric]) -> dict[str, tuple[Target, ...]]:
    """The targets by metric, of money one for each currency. Raises `InvalidInput`."""
    known: dict[str, Metric | CustomMetric] = {**METRICS, **custom}
    found = {}
    for name, given in raw.items():
        if name not in known:
            raise Unknown("metric", name, known, name, given)
        if not known[name].good:
            raise InvalidInput(name, given, "left out: of this metric neither more nor less is better")
        targets = tuple(_target(name, known[name], one) for one in (given if isinstance(given, list) else [given]))
        if not targets or len({target.currency for target in targets}) < len(targets):
            raise InvalidInput(name, given, "one target; of money one for each currency")
        found[name] = targets
    return found


def _target(name: str, metric: Metric | CustomMetric, given: Any) -> Target:
    keys = ["value", *(["per"] if adds_up(metric) else []), *(["currency"] if metric.unit == "money" else [])]
    fields = given if isinstance(given, dict) else {"value": given}
    for key in fields:
        if key not in keys:
            raise Unknown("key", key, keys, f"{name}.{key}", fields[key])
    per = fields.get("per", "month") if adds_up(metric) else None
    if per not in (*PER, None):
        raise InvalidInput(f"{name}.per", per, f"one of {', '.join(PER)}")
    return Target(name, _value(name, metric.unit, fields.get("value")), per, _currency(name, metric, fields))


def _value(name: str, unit: str, value: Any) -> float:
    low, high = _BOUNDS.get(unit, (0.0, _MOST))
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not low <= value <= high:
        raise InvalidInput(f"{name}.value", value, f"a number from {low:g} to {high:g}")
    return float(value)


def _currency(name: str, metric: Metric | CustomMetric, fields: Mapping[str, Any]) -> str | None:
    if metric.unit != "money":
        return None
    text = fields.get("currency")
    if not (isinstance(text, str) and len(text) == 3 and text.isascii() and text.isalpha() and text.isupper()):
        raise InvalidInput(f"{name}.currency", text, "a currency like 'EUR'")
    return text


def _days(period: Period) -> Iterator[tuple[date, float]]:
    """The local days of a period, and which part of each lies in it."""
    zone = ZoneInfo(period.timezone)
    day = period.start.astimezone(zone).date()
    while (start := midnight(day, zone)) < period.end:
        end = midnight(day + timedelta(days=1), zone)
        inside = min(end, period.end) - max(start, period.start)
        yield day, (inside // MICROSECOND) / ((end - start) // MICROSECOND)
        day += timedelta(days=1)


def _length(per: Per, day: date) -> int:
    """How many days the day, week or month has in which a day lies."""
    return monthrange(day.year, day.month)[1] if per == "month" else {"day": 1, "week": 7}[per]
