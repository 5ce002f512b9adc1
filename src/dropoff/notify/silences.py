"""What people ask for when they know of an alert: silences for a time, and acknowledgements of an episode.

Neither touches the state of an alert. They rest in the control state, where every process of an installation sees them.
"""

import hashlib
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

from dropoff.control.base import Control
from dropoff.control.whole import check_whole
from dropoff.errors import InvalidInput, Missing, NotFound
from dropoff.periods import parse_duration, parse_instant

LONGEST = timedelta(days=366)
MOST_TEXT = 500

_SILENCES, _ACKNOWLEDGED = "notify/silence/", "notify/acknowledged/"


@dataclass(frozen=True)
class Silence:
    """Nothing is told of `rule` (None: of any), in `segment` (None: in any), until `until`. `by` made it at `at`."""

    id: str
    rule: str | None
    segment: str | None
    until: datetime
    comment: str
    by: str
    at: datetime

    def covers(self, rule: str, segment: str | None, now: datetime) -> bool:
        """Whether an alert is silent now."""
        return now < self.until and self.rule in (None, rule) and self.segment in (None, segment)


@dataclass(frozen=True)
class Acknowledgement:
    """Somebody looks after the episodes of `rule` in `segment` (None: in all) that began until `at`: no repeats."""

    id: str
    rule: str
    segment: str | None
    at: datetime
    comment: str
    by: str

    def covers(self, rule: str, segment: str | None, since: datetime) -> bool:
        """Whether the episode that began at `since` is acknowledged."""
        return self.rule == rule and self.segment in (None, segment) and since <= self.at


def silence(
    control: Control, *, rule: str | None, segment: str | None, until: datetime, comment: str, by: str, now: datetime
) -> Silence:
    """Make a silence. Raises `InvalidInput` without rule and segment, and for an end that is past or a year away."""
    if rule is None and segment is None:
        raise Missing("rule", "given, or a segment")
    if not now < until <= now + LONGEST:
        raise InvalidInput("until", until.isoformat(), "later than now, and within 366 days")
    check_whole(segment=segment, comment=comment, by=by)
    made = Silence(secrets.token_hex(6), rule, segment, until, _short("comment", comment), _short("by", by), now)
    control.put(_SILENCES + made.id, msgspec.json.encode(made), 0)
    return made


def until(span: str | None, end: str | None, now: datetime, zone: ZoneInfo) -> datetime:
    """The end of a silence: a span like `2h` from now, or a day or an instant. Raises `InvalidInput`."""
    if bool(span) == bool(end):
        raise InvalidInput("for", span or None, "given, like 2h; or until, a day or an instant")
    return now + parse_duration("for", span) if span else parse_instant("until", end or "", zone)


def silences(control: Control, now: datetime) -> list[Silence]:
    """Those that are alive, the first to end first."""
    found = [msgspec.json.decode(entry.value, type=Silence) for entry in control.list(_SILENCES).values()]
    return sorted((each for each in found if now < each.until), key=lambda each: (each.until, each.id))


def expire(control: Control, id: str) -> None:  # noqa: A002 - its name everywhere
    """End a silence now. Raises `NotFound`."""
    _forget(control, _SILENCES, id, "silence")


def acknowledge(
    control: Control, *, rule: str, segment: str | None, comment: str, by: str, now: datetime
) -> Acknowledgement:
    """Acknowledge what is firing of a rule, in one segment or in all. A later one replaces an earlier one."""
    check_whole(segment=segment, comment=comment, by=by)
    key = hashlib.sha256(json.dumps([rule, segment]).encode()).hexdigest()[:12]
    made = Acknowledgement(key, rule, segment, now, _short("comment", comment), _short("by", by))
    control.put(_ACKNOWLEDGED + key, msgspec.json.encode(made))
    return made


def acknowledgements(control: Control) -> list[Acknowledgement]:
    """All of them, the latest first."""
    found = [msgspec.json.decode(entry.value, type=Acknowledgement) for entry in control.list(_ACKNOWLEDGED).values()]
    return sorted(found, key=lambda each: (each.at, each.id), reverse=True)


def withdraw(control: Control, id: str) -> None:  # noqa: A002
    """Take an acknowledgement back: repeats go on. Raises `NotFound`."""
    _forget(control, _ACKNOWLEDGED, id, "acknowledgement")


def tidy(control: Control, now: datetime, episodes: timedelta) -> None:
    """Forget silences that have ended, and acknowledgements older than any episode is remembered."""
    for key, entry in control.list(_SILENCES).items():
        if msgspec.json.decode(entry.value, type=Silence).until <= now:
            control.delete(key)
    for key, entry in control.list(_ACKNOWLEDGED).items():
        if msgspec.json.decode(entry.value, type=Acknowledgement).at <= now - episodes:
            control.delete(key)


def is_silent(silences: Iterable[Silence], rule: str, segment: str | None, now: datetime) -> bool:
    """Whether any of them covers an alert."""
    return any(each.covers(rule, segment, now) for each in silences)


def is_acknowledged(acknowledged: Iterable[Acknowledgement], rule: str, segment: str | None, since: datetime) -> bool:
    """Whether any of them covers an episode."""
    return any(each.covers(rule, segment, since) for each in acknowledged)


def _forget(control: Control, folder: str, id: str, what: str) -> None:  # noqa: A002
    key = folder + id
    if not id.isalnum() or not id.isascii() or control.get(key) is None:
        raise NotFound(f"there is no {what} {id!r}")
    control.delete(key)


def _short(name: str, text: str) -> str:
    if len(text) > MOST_TEXT:
        raise InvalidInput(name, text, f"at most {MOST_TEXT} characters")
    return text
