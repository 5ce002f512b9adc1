"""Times as files write them: with or without an offset, in any format, built from several columns, moved by a span."""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from dropoff.errors import InvalidEvent, InvalidInput
from dropoff.events import micros_of
from dropoff.periods import from_micros

UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800}
_EPOCH = re.compile(r"\d{9,}(\.\d+)?", re.ASCII)
_RULE = "a time like '2024-01-15T10:00:00Z' or '2024-01-15 10:00', or a number of seconds or milliseconds since 1970"


def check_format(where: str, written: str) -> str:
    """Raises `InvalidInput` for a format that no text can have."""
    try:
        datetime.strptime("", written)  # noqa: DTZ007
    except (ValueError, re.error) as error:
        if "does not match" not in str(error):
            raise InvalidInput(where, written, "a format like '%Y-%m-%d %H:%M'") from None
    return written


def reader(field: str, formats: Sequence[str]) -> Callable[[Any], datetime]:
    """A function that reads a value of a file as a time, naive if the file gives no offset.

    It raises `InvalidEvent`.
    """
    rule = f"a time in the format {' or '.join(map(repr, formats))}" if formats else _RULE

    @lru_cache(maxsize=65_536)
    def read_text(text: str) -> datetime:
        try:
            return _with_formats(text, formats) if formats else _without_format(field, text)
        except (ValueError, OverflowError):
            raise InvalidEvent("bad_timestamp", field, text, rule) from None

    def read(value: Any) -> datetime:
        if isinstance(value, datetime):
            return value
        if isinstance(value, date):
            return datetime(value.year, value.month, value.day)  # noqa: DTZ001
        if isinstance(value, (int, float)) and not isinstance(value, bool) and not formats:
            return from_micros(micros_of(field, value))
        return read_text(str(value).strip())

    return read


def _without_format(field: str, text: str) -> datetime:
    if _EPOCH.fullmatch(text):
        return from_micros(micros_of(field, float(text) if "." in text else int(text)))
    return datetime.fromisoformat(text.removesuffix(" UTC") + "+00:00" if text.endswith(" UTC") else text)


def _with_formats(text: str, formats: Sequence[str]) -> datetime:
    for one in formats[:-1]:
        try:
            return datetime.strptime(text, one)  # noqa: DTZ007
        except ValueError:
            continue
    return datetime.strptime(text, formats[-1])  # noqa: DTZ007


def shift(field: str, moment: datetime, amount: Any, unit: str, sign: int = 1) -> datetime:
    """`moment` moved by `amount` units, backwards if `sign` is -1; raises `InvalidEvent`.

    Days of a naive time are days of the calendar.
    """
    try:
        return moment + timedelta(seconds=sign * UNITS[unit] * float(amount))
    except (ValueError, TypeError, OverflowError):
        raise InvalidEvent("bad_timestamp", field, amount, f"a number of {unit}s") from None


def in_utc(field: str, moment: datetime, zone: ZoneInfo | None) -> datetime:
    """The instant; a naive one is taken in `zone`. Raises `InvalidEvent` where there is none.

    Of an hour that exists twice the first is meant; an hour that does not exist is moved forward.
    """
    if moment.tzinfo is None:
        if zone is None:
            rule = "a time with an offset, or the mapping must name the file's timezone"
            raise InvalidEvent("bad_timestamp", field, str(moment), rule)
        moment = moment.replace(tzinfo=zone)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise InvalidEvent("bad_timestamp", field, str(moment), "a time between the years 1970 and 9999") from None


def local_date(moment: datetime, zone: ZoneInfo | None) -> date:
    """The day of `moment`, in `zone` if it has an offset of its own."""
    return (moment.astimezone(zone) if moment.tzinfo and zone else moment).date()
