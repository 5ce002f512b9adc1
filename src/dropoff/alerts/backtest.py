"""What a rule would have done: when it would have fired, how often it had enough data, which threshold is quiet enough.

The same judgement and the same states as in `evaluate`, every five minutes of a period, over what the store says today
of then. Rates between stages are seen as they were known at each moment, adjusted by the delays learned up to now;
other numbers stand as they are, as if all had been known at once.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import ceil, floor, log10
from typing import NamedTuple

from dropoff.alerts.judge import WEEKS, Judged, exceeds, judge
from dropoff.alerts.memory import label
from dropoff.alerts.past import SLOT, Past, Window, weeks_before
from dropoff.alerts.rules import FUNNEL, Rule
from dropoff.alerts.state import INACTIVE, State, step
from dropoff.alerts.values import Reader
from dropoff.errors import InvalidInput
from dropoff.periods import Period, parse_duration

MONTH = timedelta(days=30)
PER_MONTH = 1.0
COVERED = timedelta(weeks=4)
WELL_COVERED = 0.9
WINDOWS = ("30m", "1_hour", "2_hours", "4_hours", "8_hours", "1_day", "2_days", "7_days", "14_days")
_LENGTHS = tuple(parse_duration("window", one) for one in WINDOWS)
LONGEST = timedelta(days=366)
_CANDIDATES = 256
_HOUR = timedelta(hours=1)


class Moment(NamedTuple):
    """One evaluation of one segment."""

    at: datetime
    segment: str
    judged: Judged


@dataclass(frozen=True, slots=True)
class Firing:
    """One time that a rule would have fired; `resolved` is None where it would still. `worst`: the value furthest from
    what is fine."""

    segment: str | None
    fired: datetime
    resolved: datetime | None
    seconds: float
    value: float | None
    worst: float | None


@dataclass(frozen=True, slots=True)
class Trial:
    """What one rule would have done in a period. `enough`: the share of evaluations with enough data (of all segments).
    `suggested`: the threshold nearest to the rule's, on its careful side, at which it would have fired at most so often
    as asked; None where none would, or where `problem` says why the rule cannot be tried."""

    name: str
    evaluations: int
    enough: float | None
    firings: tuple[Firing, ...]
    seconds: float
    per_month: float
    suggested: float | None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Coverage:
    """How often a rule had enough data in the last four weeks, hour by hour, and the shortest window that would have
    had it in nine of ten hours, None where none would."""

    name: str
    enough: float | None
    window: str | None


def problem(reader: Reader, rule: Rule) -> str | None:
    """Why the past of a rule cannot be told; None where it can."""
    if rule.metric.startswith(FUNNEL):
        return "a funnel of one's own keeps no past"
    if not reader.registry[rule.metric].additive and not reader.is_timed(rule):
        return f"{rule.metric} cannot be added up over its past"
    return None


def backtest(
    reader: Reader, rules: Sequence[Rule], period: Period, now: datetime, per_month: float = PER_MONTH
) -> list[Trial]:
    """Every rule over a period. Raises `InvalidInput` for a period of more than a year."""
    if period.end - period.start > LONGEST:
        raise InvalidInput("to", period.end.isoformat(), f"at most {LONGEST.days} days after from")
    return [_trial(reader, rule, period, now, per_month) for rule in rules]


def _trial(reader: Reader, rule: Rule, period: Period, now: datetime, per_month: float) -> Trial:
    if (why := problem(reader, rule)) is not None:
        return Trial(rule.name, 0, None, (), 0.0, 0.0, None, why)
    moments = list(judged(reader, rule, period.start, min(period.end, now), now))
    firings = list(_firings(reader, rule, moments, rule.threshold))
    months = max((min(period.end, now) - period.start) / MONTH, 1e-9)
    blanks = sum(moment.judged.blank is not None for moment in moments)
    return Trial(
        rule.name, len(moments), 1 - blanks / len(moments) if moments else None, tuple(firings),
        sum(firing.seconds for firing in firings), len(firings) / months,
        _suggested(reader, rule, moments, per_month * months),
    )  # fmt: skip


def judged(
    reader: Reader, rule: Rule, start: datetime, end: datetime, now: datetime, step: timedelta = SLOT
) -> Iterator[Moment]:
    """The judgements of a rule at each step of [start, end], by time, of every segment that ever had anything."""
    past, shift, first = _past(reader, rule, start, now), reader.wait(rule, now), reader.facts(now).first
    segments = sorted(past.segments) if rule.by is not None else [""]
    at = start
    while at <= end:
        for segment in segments:
            yield Moment(at, segment, _judge(reader, rule, past, segment, at, shift, first))
        at += step


def _past(reader: Reader, rule: Rule, start: datetime, now: datetime) -> Past:
    weeks = WEEKS.get(rule.condition, 0)
    since = start - weeks * timedelta(weeks=1) - rule.window - reader.wait(rule, now) - 2 * _HOUR
    return reader.past([rule], now, since)[rule.name]


def _judge(
    reader: Reader, rule: Rule, past: Past, segment: str, at: datetime, shift: timedelta, first: datetime | None
) -> Judged:
    window = Window(at - shift - rule.window, at - shift)
    sums = past.sums(segment, window, at)
    speaks = sums.denominator is None or sums.denominator >= rule.min_n
    before = weeks_before(rule, window.end, reader.zone, first) if rule.of_history and speaks else []
    return judge(rule, reader.unit(rule), sums, [past.sums(segment, one, at) for one in before])


def _firings(reader: Reader, rule: Rule, moments: Sequence[Moment], threshold: float) -> Iterator[Firing]:
    """The episodes at a threshold, by when they fired."""
    states: dict[str, State] = {}
    values: dict[str, list[float]] = {}
    last: datetime | None = None
    for at, segment, found in moments:
        before, last = states.get(segment, INACTIVE), at
        seen = found.blank if found.blank is not None else exceeds(rule, found.statistic, threshold)
        after = states[segment] = step(before, seen, at, rule, reader.zone)
        if after.name == "firing":
            if before.name != "firing":
                values[segment] = []
            if found.value is not None:
                values[segment].append(found.value)
        elif before.name == "firing" and before.fired is not None:
            yield _firing(rule, segment, before.fired, at, at, values[segment])
    for segment, state in states.items():
        if state.name == "firing" and state.fired is not None and last is not None:
            yield _firing(rule, segment, state.fired, None, last, values[segment])


def _firing(
    rule: Rule, segment: str, fired: datetime, resolved: datetime | None, until: datetime, values: Sequence[float]
) -> Firing:
    worst = min if rule.direction == "down" else max
    return Firing(
        label(rule, segment), fired, resolved, (until - fired).total_seconds(), values[0] if values else None,
        worst(values, default=None),
    )  # fmt: skip


# thresholds


def _suggested(reader: Reader, rule: Rule, moments: Sequence[Moment], most: float) -> float | None:
    """The threshold at which the rule would have fired at most so often: its own, if that is one."""

    def count(threshold: float) -> int:
        return sum(1 for _ in _firings(reader, rule, moments, threshold))

    if count(rule.threshold) <= most:
        return rule.threshold
    is_low = rule.condition in ("drops_below", "anomaly")
    found = {m.judged.statistic for m in moments if m.judged.statistic is not None and m.judged.blank is None}
    beyond = sorted((value for value in found if exceeds(rule, value, rule.threshold)), reverse=is_low)
    candidates = [_careful(value, down=is_low) for value in beyond[:: max(1, len(beyond) // _CANDIDATES)]]
    if beyond:
        candidates.append(_careful(beyond[-1], down=is_low))
    place = bisect_left(candidates, 1, key=lambda value: int(count(value) <= most))
    return candidates[place] if place < len(candidates) else None


def _careful(value: float, *, down: bool) -> float:
    """Three digits of a threshold, rounded so that it is broken more seldom."""
    if value == 0:
        return 0.0
    unit = 10.0 ** (floor(log10(abs(value))) - 2)
    digits = floor(value / unit) if down else ceil(value / unit)
    return float(f"{digits * unit:.12g}")


# coverage


def coverage(reader: Reader, rules: Sequence[Rule], now: datetime) -> list[Coverage]:
    """How often each rule had enough data in the last four weeks, and which window would have had."""
    return [_coverage(reader, rule, now) for rule in rules]


def _coverage(reader: Reader, rule: Rule, now: datetime) -> Coverage:
    if problem(reader, rule) is not None:
        return Coverage(rule.name, None, None)
    lengths = [(rule.written, rule.window)]
    lengths += [pair for pair in zip(WINDOWS, _LENGTHS, strict=True) if pair[1] > rule.window]
    start = now - COVERED
    past = _past(reader, replace(rule, window=_LENGTHS[-1]), start, now)
    shift, first = reader.wait(rule, now), reader.facts(now).first
    segments = sorted(past.segments) if rule.by is not None else [""]
    hours = [start + number * _HOUR for number in range(1, COVERED // _HOUR + 1)]
    own: float | None = None
    for written, length in lengths:
        one = replace(rule, window=length)
        found = [_judge(reader, one, past, s, at, shift, first).blank is None for at in hours for s in segments]
        share = sum(found) / len(found) if found else 0.0
        own = share if own is None else own
        if share >= WELL_COVERED:
            return Coverage(rule.name, own, written)
    return Coverage(rule.name, own, None)


def state_at(reader: Reader, rule: Rule, now: datetime) -> dict[str, State]:
    """The states a rule would be in just before `now`, had it been evaluated every five minutes for long enough."""
    if problem(reader, rule) is not None:
        return {}
    start = now - rule.hold - rule.keep_firing_for - 12 * SLOT
    states: dict[str, State] = {}
    for at, segment, found in judged(reader, rule, start, now - SLOT, now):
        seen = found.blank if found.blank is not None else exceeds(rule, found.statistic, rule.threshold)
        states[segment] = step(states.get(segment, INACTIVE), seen, at, rule, reader.zone)
    return states
