"""Which period a report is about: the last whole week or month, unless one is asked for."""

from datetime import datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from dropoff.analyse.metrics import period_before
from dropoff.errors import InvalidInput, Missing
from dropoff.periods import Period, in_our_age, midnight, parse_period
from dropoff.phrases.addresses import end_of_link
from dropoff.query import Params, one
from dropoff.report.value import Kind

LOOK_BACK = timedelta(days=84)
"""Patterns and messages are looked for in so many days up to the end of the report: a week holds too few."""


class Spans(NamedTuple):
    """The period, as many days before it, and the longer time in which findings are looked for."""

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
        raise Missing("to" if end is None else "from", "given with the other end")
    if start is not None and end is not None:
        period = parse_period(start, end, zone.key)
        return _of(period, zone)
    today = in_our_age("as_of", now.isoformat(), now).astimezone(zone).date()
    last = today - timedelta(days=today.weekday()) if kind == "weekly" else today.replace(day=1)
    first = last - timedelta(days=7) if kind == "weekly" else (last - timedelta(days=1)).replace(day=1)
    return _of(Period(midnight(first, zone), midnight(last, zone), zone.key), zone)


def _of(period: Period, zone: ZoneInfo) -> Spans:
    first = midnight(period.end.astimezone(zone).date() - LOOK_BACK, zone)
    return Spans(period, period_before(period), Period(min(first, period.start), period.end, zone.key))


def pinned(period: Period, params: Params) -> Params:
    """Parameters of a question about this period: its ends as they are, and what else was asked."""
    zone = period.timezone
    ends = {"from": [end_of_link(period.start, zone)], "to": [end_of_link(period.end, zone)], "timezone": [zone]}
    kept = {name: params[name] for name in ("where", "include_test", "as_of") if params.get(name)}
    return {**ends, **kept}
