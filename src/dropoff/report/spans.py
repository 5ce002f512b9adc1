"""Which period a report is about: the last whole week or month, unless one is asked for."""

from datetime import date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from dropoff.errors import InvalidInput
from dropoff.periods import Period, midnight, parse_period
from dropoff.query import Params, one
from dropoff.report.value import Kind

LOOK_BACK = timedelta(days=84)
"""Patterns and messages are looked for in so many days up to the end of the report: a week holds too few."""


class Spans(NamedTuple):
    """The period, the one before it, and the longer one in which findings are looked for."""

    now: Period
    before: Period
    long: Period


def kind_of(text: str | None) -> Kind:
    """Raises `InvalidInput`."""
    if text == "weekly" or text == "monthly":
        return text
    raise InvalidInput("kind", text, "weekly or monthly")


def spans(kind: Kind, params: Params, now: datetime, zone: ZoneInfo) -> Spans:
    """What `from` and `to` say, else the last whole week or month before `now`. Raises `InvalidInput`."""
    start, end = one(params, "from"), one(params, "to")
    if (start is None) != (end is None):
        raise InvalidInput("to" if end is None else "from", None, "given with the other end")
    if start is not None and end is not None:
        period = parse_period(start, end, zone.key)
        return _of(period, _before(kind, period, zone), zone)
    today = now.astimezone(zone).date()
    last = today - timedelta(days=today.weekday()) if kind == "weekly" else today.replace(day=1)
    first = _earlier(kind, last)
    return _of(_days(first, last, zone), _days(_earlier(kind, first), first, zone), zone)


def _earlier(kind: Kind, day: date) -> date:
    """The first day of the week or month before the one that begins with `day`."""
    return day - timedelta(days=7) if kind == "weekly" else (day - timedelta(days=1)).replace(day=1)


def _before(kind: Kind, period: Period, zone: ZoneInfo) -> Period:
    """Of a whole month the month before, of anything else as much time."""
    first, last = (moment.astimezone(zone) for moment in (period.start, period.end))
    if first != _midnight(first, zone) or last != _midnight(last, zone):
        return Period(period.start - (period.end - period.start), period.start, zone.key)
    if kind == "monthly" and first.day == 1 and last.date() == _next_month(first.date()):
        return _days(_earlier(kind, first.date()), first.date(), zone)
    return _days(first.date() - (last.date() - first.date()), first.date(), zone)


def _next_month(day: date) -> date:
    return (day + timedelta(days=31)).replace(day=1)


def _midnight(moment: datetime, zone: ZoneInfo) -> datetime:
    return midnight(moment.date(), zone).astimezone(zone)


def _days(first: date, last: date, zone: ZoneInfo) -> Period:
    return Period(midnight(first, zone), midnight(last, zone), zone.key)


def _of(period: Period, before: Period, zone: ZoneInfo) -> Spans:
    end = period.end.astimezone(zone)
    first = midnight(end.date() - LOOK_BACK, zone)
    return Spans(period, before, Period(min(first, period.start), period.end, zone.key))


def written(moment: datetime, zone: ZoneInfo) -> str:
    """An end of a period as a parameter: a day where it is a midnight, else the instant."""
    local = moment.astimezone(zone)
    return f"{local:%Y-%m-%d}" if local == _midnight(local, zone) else local.isoformat()


def pinned(period: Period, params: Params) -> Params:
    """Parameters of a question about this period: its ends as they are, and what else was asked."""
    zone = ZoneInfo(period.timezone)
    ends = {"from": [written(period.start, zone)], "to": [written(period.end, zone)], "timezone": [zone.key]}
    kept = {name: params[name] for name in ("where", "include_test", "as_of") if params.get(name)}
    return {**ends, **kept}
