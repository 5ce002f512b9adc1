"""Instants, zones, periods and durations. Inside Dropoff every instant is an aware datetime in UTC."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dropoff.errors import InvalidInput

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
FIRST_YEAR, LAST_YEAR = 1900, 2200
"""Between these a period ends: the time before it, and its weeks in any zone, can still be computed."""
LONGEST_DURATION = timedelta(days=36_500)
_DURATION = re.compile(r"(\d+)[ _]?(s|m|h|d|w|seconds?|minutes?|hours?|days?|weeks?)")
_UNIT = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True, slots=True)
class Period:
    """The half-open span [start, end), and the zone whose days it is cut into."""

    start: datetime
    end: datetime
    timezone: str

    def to_dict(self) -> dict[str, str]:
        """`{"from", "to", "timezone"}`, instants in RFC 3339 with the zone's offset."""
        zone = ZoneInfo(self.timezone)
        return {
            "from": self.start.astimezone(zone).isoformat(),
            "to": self.end.astimezone(zone).isoformat(),
            "timezone": self.timezone,
        }


def to_micros(instant: datetime) -> int:
    """Microseconds since the epoch of an aware datetime, exactly."""
    return (instant - EPOCH) // MICROSECOND


def from_micros(micros: int) -> datetime:
    """The aware UTC datetime of microseconds since the epoch."""
    return EPOCH + timedelta(microseconds=micros)


def parse_zone(name: str) -> ZoneInfo:
    """The IANA zone `name`; raises `InvalidInput` for an unknown one."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidInput("timezone", name, "an IANA zone like 'Europe/Berlin'") from None


def parse_instant(name: str, text: str, zone: ZoneInfo) -> datetime:
    """A date (its midnight in `zone`) or an RFC 3339 instant with an offset, in UTC."""
    try:
        if _DATE.fullmatch(text):
            return midnight(date.fromisoformat(text), zone)
        instant = datetime.fromisoformat(text)
        if instant.tzinfo is not None:
            return instant.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise InvalidInput(name, text, "a date like '2024-01-31' or an instant with an offset like '2024-01-31T09:00Z'")


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """The instant at which `day` begins in `zone`, in UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def parse_period(start: str, end: str, timezone: str) -> Period:
    """The period of `--from` and `--to`; raises `InvalidInput` when it is empty, reversed, or of another age."""
    zone = parse_zone(timezone)
    first = in_our_age("from", start, parse_instant("from", start, zone))
    period = Period(first, in_our_age("to", end, parse_instant("to", end, zone)), timezone)
    if period.start >= period.end:
        raise InvalidInput("to", end, f"later than from ({start})")
    return period


def in_our_age(name: str, text: str, instant: datetime) -> datetime:
    """The instant; raises `InvalidInput` for one whose neighbours cannot be computed."""
    if not FIRST_YEAR <= instant.year <= LAST_YEAR:
        raise InvalidInput(name, text, f"of the years {FIRST_YEAR} to {LAST_YEAR}")
    return instant


FIRST = datetime(1901, 1, 1, tzinfo=UTC)
"""Where all time begins: long before it engines have no dates."""


def last_days(latest: datetime, timezone: str, days: int = 30) -> Period:
    """The `days` whole local days that end with the day of `latest`: the default period of every question."""
    zone = parse_zone(timezone)
    day = latest.astimezone(zone).date()
    return Period(midnight(day - timedelta(days=days - 1), zone), midnight(day + timedelta(days=1), zone), timezone)


def parse_duration(name: str, text: str) -> timedelta:
    """A duration like '90m', '1_hour', '4h', '14d'; raises `InvalidInput` naming `name` otherwise."""
    match = _DURATION.fullmatch(text.strip())
    if not match:
        raise InvalidInput(name, text, "like '90m', '1_hour', '4h' or '14d'")
    unit, most = _UNIT[match[2][0]], LONGEST_DURATION // timedelta(seconds=1)
    if len(match[1]) > len(str(most)) or int(match[1]) * unit > most:
        raise InvalidInput(name, text, f"at most {LONGEST_DURATION.days} days")
    return timedelta(seconds=int(match[1]) * unit)
