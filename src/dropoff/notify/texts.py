"""What a message says, in plain words. Texts of events in it are made inert: no receiver sees markup, links or
mentions in them, and no line break that is not ours."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from urllib.parse import quote
from zoneinfo import ZoneInfo

from dropoff.metrics import METRICS, decimal
from dropoff.notify.base import Message, Notice, Text, notice_id

_LARGE = 1000
"""From here on numbers have no decimals."""
MOST_SEGMENTS = 10
"""Alerts of one rule that a message tells in full; the others are counted."""

ALERTS = "/alerts"
"""The page of all of them."""

_HEADS = {"fired": "firing", "resolved": "resolved", "repeated": "still firing"}
_FIRES = {
    "drops_below": "below {}",
    "exceeds": "above {}",
    "changes_by": "on a change of more than {}",
    "anomaly": "on an anomaly of a chance below {}",
}
_INERT = str.maketrans({
    "<": "‹", ">": "›", "@": "＠", "`": "ˋ", "*": "∗", "~": "∼", "[": "［", "]": "］", "|": "¦", "&": "＆",
})  # fmt: skip


def text(notices: Sequence[Notice], base: str, zone: ZoneInfo) -> Text:
    """The message of the notices of one rule and kind. `base` is put before their links."""
    first = notices[0]
    names = [inert(notice.segment) for notice in notices if notice.segment is not None]
    where = f" for {names[0]}" if len(names) == 1 else f" for {len(notices)} segments" if names else ""
    measured = f": {_measured(first)}" if len(notices) == 1 and first.value is not None else ""
    subject = f"{inert(first.severity).capitalize()}: {inert(first.rule)} is {_HEADS[first.kind]}{where}{measured}"
    parts = ["\n".join(_told(notice, base, zone)) for notice in notices[:MOST_SEGMENTS]]
    if len(notices) > MOST_SEGMENTS:
        parts.append(f"And {len(notices) - MOST_SEGMENTS} more segments, on the page.")
    links = f"The metric around it: {_url(base, first.link)}\nAll alerts: {_url(base, ALERTS)}"
    return Text(subject[:200], "\n\n".join([*parts, links]))


def fires(
    condition: str, threshold: float, number: Callable[[float], str], share: Callable[[float], str] = "{:.0%}".format
) -> str:
    """When a rule fires, for every place that says it: `above 20.0 %`. `number` writes a value of its metric."""
    in_words = {"changes_by": share, "anomaly": decimal}.get(condition, number)
    return _FIRES[condition].format(in_words(threshold))


def made(now: datetime, base: str, zone: ZoneInfo) -> Message:
    """A message to try a receiver with; it says that it is one."""
    notice = Notice(
        id=notice_id("test", None, now, "fired"), kind="fired", rule="test of a receiver", severity="low",
        metric="fallback_rate", condition="exceeds", threshold=0.2, segment=None, since=now, at=now, value=0.25, n=120,
        interval=(0.181, 0.335), window=(now - timedelta(hours=4), now), usual=None, moved=(), link=ALERTS,
        examples=(), receivers=(),
    )  # fmt: skip
    said = text([notice], base, zone)
    return Message(notice.id, (notice,), Text(said.subject, f"This is a test: nothing is wrong.\n\n{said.body}"))


def inert(event_text: str) -> str:
    """A text in which nothing is markup, a mention, a link or a line break."""
    plain = "".join(c if c.isprintable() else " " for c in event_text)
    return plain.replace("://", ":／／").translate(_INERT)


def _told(notice: Notice, base: str, zone: ZoneInfo) -> list[str]:
    def at(moment: datetime) -> str:
        return f"{moment.astimezone(zone):%Y-%m-%d %H:%M}"

    head = f"{_name(notice.metric)}{f' for {inert(notice.segment)}' if notice.segment else ''}"
    limit = fires(notice.condition, notice.threshold, _number(notice.metric))
    lines = [f"{head}: {_measured(notice)} (alert {limit})"]
    if notice.value is not None:
        lines.append(f"Counted over {notice.n:,}{_between(notice)}.")
    lines.append(f"Window: {at(notice.window[0])} to {at(notice.window[1])}, {zone.key}.")
    if notice.usual:
        lines.append(f"Usually: {inert(notice.usual)}.")
    lines.append(f"Since {at(notice.since)}" + (f", resolved {at(notice.at)}." if notice.kind == "resolved" else "."))
    if notice.moved:
        lines += ["Moved most:", *(f"- {inert(moved)}" for moved in notice.moved)]
    if notice.examples:
        lines += ["Examples:", *(f"- {_url(base, '/conversations/')}{quote(key, safe='')}" for key in notice.examples)]
    return lines


def _measured(notice: Notice) -> str:
    return "no value" if notice.value is None else _number(notice.metric)(notice.value)


def _between(notice: Notice) -> str:
    if notice.interval is None:
        return ""
    low, high = map(_number(notice.metric), notice.interval)
    return f", 95 % interval {low} to {high}"


def _number(metric: str) -> Callable[[float], str]:
    """How values of a metric are written. A metric that is not known here is a share if it says so by its name."""
    known = METRICS.get(metric)
    unit = known.unit if known else "share" if metric.endswith("_rate") else "score"
    if unit == "share":
        return lambda value: f"{value:.1%}"
    if unit == "seconds":
        return lambda value: str(timedelta(seconds=round(value)))
    return lambda value: f"{value:,.0f}" if abs(value) >= _LARGE else decimal(value, 4)


def _name(metric: str) -> str:
    return inert(metric).replace("_", " ").capitalize()


def _url(base: str, link: str) -> str:
    return f"{base}{link}" if link.startswith("/") else link
