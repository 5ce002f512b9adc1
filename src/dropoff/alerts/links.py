"""The page on which what a rule said can be looked at."""

from datetime import datetime, timedelta
from urllib.parse import urlencode

from dropoff.alerts.rules import FUNNEL, Rule, funnel_of
from dropoff.analyse.answers import instant

_BY_DAY = timedelta(days=2)


def link(rule: Rule, segment: str | None, start: datetime, end: datetime) -> str:
    """The metric, or the funnel, of a segment (`intent=refund`) around a time: a path."""
    filters = [f"{one.dimension}={value}" for one in rule.where for value in one.values]
    filters += [segment] if segment is not None else []
    around = {"from": instant(start - 3 * rule.window), "to": instant(end + rule.window), "where": filters}
    if rule.metric.startswith(FUNNEL):
        return f"/?{urlencode({'name': funnel_of(rule.metric)[0], **around}, doseq=True)}"
    interval = "hour" if rule.window < _BY_DAY else "day"
    return f"/trends?{urlencode({'metric': rule.metric, 'interval': interval, **around}, doseq=True)}"
