"""When a rule watches: spans of local days and hours, as in `schedule` and `mute`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from dropoff.errors import InvalidInput

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
RULE = "like 'mon-fri 09:00-18:00', 'sat,sun', '22:00-06:00' or '2026-12-24..2026-12-26'"
_DATES = re.compile(r"(\d{4}-\d{2}-\d{2})(?:\.\.(\d{4}-\d{2}-\d{2}))?")
_HOURS = re.compile(r"(\d{2}:\d{2})-(\d{2}:\d{2})")
_MIDNIGHT = time(0)


@dataclass(frozen=True, slots=True)
class Span:
    """Local days, by weekday (Monday is 0) or from a first to a last date, and in them the hours [start, end).

    Where `end` is not after `start` the span goes on into the next day; equal ones are the whole day.
    """

    weekdays: frozenset[int] = frozenset(range(7))
    dates: tuple[date, date] | None = None
    start: time = _MIDNIGHT
    end: time = _MIDNIGHT

    def holds(self, local: datetime) -> bool:
        """Whether a local time lies in it."""
        clock = local.time()
        if self.start < self.end:
            return self._on(local.date()) and self.start <= clock < self.end
        if clock >= self.start:
            return self._on(local.date())
        return clock < self.end and self._on(local.date() - timedelta(days=1))

    def _on(self, day: date) -> bool:
        if self.dates is not None:
            return self.dates[0] <= day <= self.dates[1]
        return day.weekday() in self.weekdays


def parse(name: str, text: str) -> Span:
    """A span of `RULE`; raises `InvalidInput` naming `name`."""
    days, hours = "", ""
    for word in text.lower().split():
        if ":" in word and not hours:
            hours = word
        elif not days:
            days = word
        else:
            raise InvalidInput(name, text, RULE)
    if not (days or hours):
        raise InvalidInput(name, text, RULE)
    try:
        weekdays, dates = _days(days)
        start, end = _hours(hours)
    except ValueError:
        raise InvalidInput(name, text, RULE) from None
    return Span(weekdays, dates, start, end)


def _days(text: str) -> tuple[frozenset[int], tuple[date, date] | None]:
    if not text:
        return frozenset(range(7)), None
    if found := _DATES.fullmatch(text):
        first = date.fromisoformat(found[1])
        last = date.fromisoformat(found[2]) if found[2] else first
        if last < first:
            raise ValueError(text)
        return frozenset(), (first, last)
    chosen: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        begin = DAYS.index(first)
        count = (DAYS.index(last or first) - begin) % 7 + 1
        chosen |= {(begin + i) % 7 for i in range(count)}
    return frozenset(chosen), None


def _hours(text: str) -> tuple[time, time]:
    if not text:
        return _MIDNIGHT, _MIDNIGHT
    found = _HOURS.fullmatch(text)
    if not found:
        raise ValueError(text)
    end = "00:00" if found[2] == "24:00" else found[2]
    return time.fromisoformat(found[1]), time.fromisoformat(end)


def watches(schedule: Sequence[Span], mute: Sequence[Span], now: datetime, zone: ZoneInfo) -> bool:
    """Whether a rule may begin to alert now: inside its schedule, if it has one, and outside what is muted."""
    local = now.astimezone(zone)
    scheduled = not schedule or any(span.holds(local) for span in schedule)
    return scheduled and not any(span.holds(local) for span in mute)
