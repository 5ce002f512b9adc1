"""What was: the sums of any window of the past, as running sums over slots of five minutes, or of cohorts by their age.

A window of the past is then a difference of two running sums, whichever rule asks for it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple, Protocol
from zoneinfo import ZoneInfo

import numpy as np

from dropoff.alerts.delay import NOBODY, Curve, Timed
from dropoff.alerts.judge import WEEKS, Sums
from dropoff.alerts.rules import SHORTEST, Rule
from dropoff.analyse.maturity import Floats
from dropoff.analyse.metrics import Sums as Found
from dropoff.metrics import Metric
from dropoff.periods import EPOCH, MICROSECOND, to_micros

SLOT = SHORTEST
_SLOT = SLOT // MICROSECOND
_SECONDS = int(SLOT.total_seconds())
SLOT_OF = f"CAST(floor(date_diff('second', CAST('1970-01-01 00:00:00' AS TIMESTAMP), moment) / {_SECONDS}.0) AS BIGINT)"
"""The number of the slot of a row's `moment`, in SQL."""


class Window(NamedTuple):
    """[start, end): both aware."""

    start: datetime
    end: datetime


class Past(Protocol):
    """What was: the sums of any window of five-minute slots, as they were known at a moment."""

    @property
    def segments(self) -> Iterable[str]:
        """Those of which there is anything."""
        ...

    def sums(self, segment: str, window: Window, now: datetime) -> Sums:
        """The sums of a window, its ends cut down to whole slots."""
        ...


@dataclass(frozen=True, eq=False)
class Slots:
    """A metric that adds up, as running sums over slots; `counts`: it has no denominator."""

    first: int
    running: Mapping[str, tuple[Floats, Floats]]
    counts: bool

    @property
    def segments(self) -> Iterable[str]:
        return self.running

    def sums(self, segment: str, window: Window, now: datetime) -> Sums:  # noqa: ARG002 - facts of then, as known today
        found = self.running.get(segment)
        if found is None:
            return Sums(0.0, None if self.counts else 0.0)
        last = len(found[0]) - 1
        start, end = (min(max(to_micros(at) // _SLOT - self.first, 0), last) for at in window)
        top, bottom = (float(column[end] - column[start]) for column in found)
        return Sums(round(top, 6), None if self.counts else round(bottom, 6))


@dataclass(frozen=True, eq=False)
class Cohorts:
    """A share of conversations of which it is known when each began to count, adjusted for their age."""

    timed: Mapping[str, Timed]
    curve: Curve

    @property
    def segments(self) -> Iterable[str]:
        return self.timed

    def sums(self, segment: str, window: Window, now: datetime) -> Sums:
        return self.timed.get(segment, NOBODY).sums(
            self.curve, to_micros(window.start), to_micros(window.end), to_micros(now)
        )


def earlier(moment: datetime, weeks: int, zone: ZoneInfo) -> datetime:
    """The instant so many weeks before at which local clocks showed the same."""
    local = moment.astimezone(zone)
    return (local - timedelta(weeks=weeks)).astimezone(UTC)


def weeks_before(rule: Rule, end: datetime, zone: ZoneInfo, first: datetime | None) -> list[Window]:
    """The local windows that end a week, two weeks, … before `end`; none that begins before `first`."""
    found = []
    for week in range(1, WEEKS.get(rule.condition, 4) + 1):
        then = earlier(end, week, zone)
        if first is None or then - rule.window < first:
            break
        found.append(Window(then - rule.window, then))
    return found


def floor(moment: datetime) -> datetime:
    """When the slot of a moment begins."""
    return EPOCH + (to_micros(moment) // _SLOT) * SLOT


def sums_of(metric: Metric, found: Found) -> Sums:
    """The sums of a metric as they are judged; a median counts as a mean of as many."""
    if metric.quantile is not None:
        n = float(found.numerator or 0)
        value = (found.quantiles or {}).get("p50")
        return Sums(0.0 if value is None else value * n, n)
    top = float(found.numerator or Decimal(0))
    return Sums(top, None if metric.denominator is None else float(found.denominator or 0))


def running(found: Mapping[Any, Found], window: Window, metric: Metric) -> Slots:
    """The running sums of what was measured by `SLOT_OF` in a window of whole slots."""
    first, last = (to_micros(at) // _SLOT for at in window)
    columns: dict[str, tuple[Floats, Floats]] = {}
    for cell, sums in found.items():
        if cell.segment not in columns:
            columns[cell.segment] = (np.zeros(last - first + 1), np.zeros(last - first + 1))
        place = int(cell.bucket) - first + 1
        plain = sums_of(metric, sums)
        columns[cell.segment][0][place] += plain.numerator
        columns[cell.segment][1][place] += plain.denominator or 0.0
    running = {segment: (np.cumsum(top), np.cumsum(bottom)) for segment, (top, bottom) in columns.items()}
    return Slots(first, running, metric.denominator is None)
