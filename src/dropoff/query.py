"""A question as a frozen value: which period, which conversations, split by what. Parsed once, for every surface."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from dropoff.errors import InvalidEvent, InvalidInput, did_you_mean
from dropoff.events import channel_of
from dropoff.periods import Period, parse_period

COLUMNS = (
    "channel", "direction", "medium", "source", "industry", "company_size", "role", "country",
    "first_message_variant", "qualification_path", "outcome", "bot_id", "bot_version",
)  # fmt: skip
"""Dimensions that are facts of the conversation as they stand."""

TIMES = ("day_of_week", "hour_of_day", "week", "month")
"""Dimensions of the conversation's start, in the period's zone."""

MULTIPLE = ("objection",)
"""Dimensions of which a conversation can have several values: it then stands under each of them."""

PROPERTY = "property:"
"""Before the name of any property: its last value among the conversation's events that are not messages."""

DIMENSIONS = (*COLUMNS, *TIMES, *MULTIPLE)
"""What conversations can be filtered and split by, beside `property:<name>`."""

TOP = 50
REST = "(rest)"
"""Of a split into more values the most frequent `TOP` are shown, all others together as `REST`."""

SEGMENTS = 20
"""So many named segments are compared at most."""

NONE = "(none)"
"""The value of a dimension that a conversation does not have; never merged with one called "unknown"."""

Params = Mapping[str, Sequence[str]]
"""The parameters of a question as they stand in a URL: each name with all its values."""

COMMON = ("from", "to", "timezone", "where", "include_test", "as_of")
"""The parameters of every question about conversations."""


class TestTraffic(NamedTuple):
    """What counts as test traffic beside events that say so (`is_test`): of these contacts, domains, channels, bots."""

    __test__ = False  # not a test of pytest's

    contacts: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    bots: tuple[str, ...] = ()


NO_TEST_RULES = TestTraffic()


class Where(NamedTuple):
    """Keep conversations whose dimension has one of the values."""

    dimension: str
    values: tuple[str, ...]


class Segment(NamedTuple):
    """The conversations that satisfy every condition, by a name."""

    name: str
    where: tuple[Where, ...]


@dataclass(frozen=True, slots=True)
class Query:
    """Conversations started in `period` that satisfy every `where`, seen at `now`.

    Split by the dimension `by`, or into named `segments`: then only those of a segment count, under each they are in.
    """

    period: Period
    now: datetime
    where: tuple[Where, ...] = ()
    by: str | None = None
    include_test: bool = False
    test: TestTraffic = NO_TEST_RULES
    segments: tuple[Segment, ...] = ()

    @property
    def overlapping(self) -> bool:
        """Whether a conversation can stand in several segments."""
        return self.by in MULTIPLE or bool(self.segments)


def parse_query(params: Params, now: datetime, default: Period, test: TestTraffic = NO_TEST_RULES) -> Query:
    """The query that URL or command-line parameters mean; raises `InvalidInput` naming the parameter."""
    timezone = one(params, "timezone") or default.timezone
    start, end = one(params, "from"), one(params, "to")
    if start is None and end is None and timezone == default.timezone:
        period = default
    else:
        period = parse_period(start or default.start.isoformat(), end or default.end.isoformat(), timezone)
    by = one(params, "by")
    return Query(
        period=period,
        now=now,
        where=parse_where(params.get("where", ())),
        by=None if by is None else dimension("by", by),
        include_test=flag(params, "include_test"),
        test=test,
        segments=parse_segments(params.get("segment", ())),
    )


def parse_where(texts: Sequence[str], of: str = "where") -> tuple[Where, ...]:
    """`channel=sms` and its like: the same dimension twice means either value, two dimensions mean both."""
    values: dict[str, list[str]] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign:
            raise InvalidInput(of, text, "like 'channel=sms'")
        name = dimension(of, name.strip())
        values.setdefault(name, []).append(_spelled(name, value.strip()))
    return tuple(Where(name, tuple(found)) for name, found in values.items())


def _spelled(name: str, value: str) -> str:
    """The value as events have it: `E-Mail` finds the channel `email`."""
    if name != "channel" or value == NONE:
        return value
    with suppress(InvalidEvent):
        return channel_of(value)
    return value


def parse_segments(texts: Sequence[str]) -> tuple[Segment, ...]:
    """`NAME: channel=sms, industry=Legal` and its like; as in `where` one dimension twice means either value."""
    found = {}
    for text in texts:
        name, colon, conditions = (part.strip() for part in text.partition(":"))
        if not (colon and conditions and 0 < len(name) <= 64):
            raise InvalidInput("segment", text, "like 'NAME: channel=sms, industry=Legal'")
        if name in found:
            raise InvalidInput("segment", name, "the name of one segment")
        found[name] = Segment(name, parse_where(conditions.split(","), "segment"))
    if len(found) > SEGMENTS:
        raise InvalidInput("segment", len(found), f"at most {SEGMENTS}")
    return tuple(found.values())


def dimension(name: str, value: str) -> str:
    """A dimension that exists; raises `InvalidInput` listing them otherwise."""
    if value not in DIMENSIONS and not (value.startswith(PROPERTY) and 0 < len(value) - len(PROPERTY) <= 64):
        hint = did_you_mean(value, DIMENSIONS, "; ")
        raise InvalidInput(name, value, f"one of {', '.join(DIMENSIONS)}, or property:<name>{hint}")
    return value


def one(params: Params, name: str) -> str | None:
    """The single value of a parameter, or None if it is missing or empty."""
    values = [value for value in params.get(name, ()) if value != ""]
    if len(values) > 1:
        raise InvalidInput(name, values, "given once")
    return values[0] if values else None


def flag(params: Params, name: str) -> bool:
    """A yes-or-no parameter: 1, true, yes, on."""
    value = (one(params, name) or "0").lower()
    if value not in ("0", "1", "true", "false", "yes", "no", "on", "off"):
        raise InvalidInput(name, value, "1 or 0")
    return value in ("1", "true", "yes", "on")


def choice(params: Params, name: str, known: Iterable[str], default: str) -> str:
    """One of the known words; raises `InvalidInput` listing them for another."""
    text = one(params, name) or default
    if text not in (words := tuple(known)):
        raise InvalidInput(name, text, f"one of {', '.join(words)}")
    return text


def number(params: Params, name: str, default: float, low: float, high: float) -> float:
    """A number in [low, high]."""
    text = one(params, name)
    try:
        value = default if text is None else float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise InvalidInput(name, text, f"a number from {low:.15g} to {high:.15g}")
    return value


def whole_number(params: Params, name: str, default: int, low: int, high: int) -> int:
    """A whole number in [low, high]."""
    value = number(params, name, default, low, high)
    if value != int(value):
        raise InvalidInput(name, one(params, name), f"a whole number from {low} to {high}")
    return int(value)
