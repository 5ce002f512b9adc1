"""The values of rules: what stands in their windows now, and in the same windows of the weeks before.

Rules that share a window, a split and conditions are answered by one statement. What was is read in slots of five
minutes, once for all rules, and kept for a while: a window of the past is then a difference of two running sums.
"""

import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import groupby
from typing import Any, NamedTuple, Protocol, TypeVar
from zoneinfo import ZoneInfo

import numpy as np

from dropoff.alerts import delay
from dropoff.alerts.delay import NOBODY, Curve, Timed
from dropoff.alerts.judge import WEEKS, Judged, Sums, judge
from dropoff.alerts.rules import FUNNEL, SHORTEST, Rule, funnel_of
from dropoff.analyse import custom_funnel, select
from dropoff.analyse.maturity import Floats
from dropoff.analyse.metrics import Sums as Found
from dropoff.analyse.metrics import measure, wait_of
from dropoff.analyse.young import Young, at_minute
from dropoff.metrics import Metric, Unit
from dropoff.periods import EPOCH, MICROSECOND, Period, to_micros
from dropoff.project.funnels import Funnel
from dropoff.query import NO_TEST_RULES, Query, TestTraffic
from dropoff.store.base import Store
from dropoff.store.sql import PHYSICAL

T = TypeVar("T")
SLOT = SHORTEST
_SLOT = SLOT // MICROSECOND
_SECONDS = int(SLOT.total_seconds())
_WEEK = timedelta(weeks=1)
_USUAL = max(WEEKS.values())
_SET_BACK = timedelta(hours=2)
"""At most so much earlier local clocks showed the same in another part of the year."""
_SHARE = 100
"""What is kept is read again after so many times as long as it took."""
_LIVES = {"facts": timedelta(minutes=1), "past": SLOT, "curve": timedelta(minutes=10)}


class Window(NamedTuple):
    """[start, end): both aware."""

    start: datetime
    end: datetime


class Reading(NamedTuple):
    """What a rule finds in one segment (empty: no split): the window, its sums, and the judgement."""

    segment: str
    window: Window
    sums: Sums
    judged: Judged


class Past(Protocol):
    """What was: the sums of any window of five-minute slots, as they were known at a moment."""

    @property
    def segments(self) -> Iterable[str]:
        """Those of which there is anything."""
        ...

    def sums(self, segment: str, window: Window, now: datetime) -> Sums:
        """The sums of a window, its ends cut down to whole slots."""
        ...


@dataclass(frozen=True, eq=False)
class Slots:
    """A metric that adds up, as running sums over slots; `counts`: it has no denominator."""

    first: int
    running: Mapping[str, tuple[Floats, Floats]]
    counts: bool

    @property
    def segments(self) -> Iterable[str]:
        return self.running

    def sums(self, segment: str, window: Window, now: datetime) -> Sums:  # noqa: ARG002 - facts of then, as known today
        found = self.running.get(segment)
        if found is None:
            return Sums(0.0, None if self.counts else 0.0)
        last = len(found[0]) - 1
        start, end = (min(max(to_micros(at) // _SLOT - self.first, 0), last) for at in window)
        top, bottom = (float(column[end] - column[start]) for column in found)
        return Sums(round(top, 6), None if self.counts else round(bottom, 6))


@dataclass(frozen=True, eq=False)
class Cohorts:
    """A share of conversations of which it is known when each began to count, adjusted for their age."""

    timed: Mapping[str, Timed]
    curve: Curve

    @property
    def segments(self) -> Iterable[str]:
        return self.timed

    def sums(self, segment: str, window: Window, now: datetime) -> Sums:
        return self.timed.get(segment, NOBODY).sums(
            self.curve, to_micros(window.start), to_micros(window.end), to_micros(now)
        )


class Facts(NamedTuple):
    """What is known of the project: when its data begin, and which stages it records."""

    first: datetime | None
    recorded: frozenset[str]


class Reader:
    """Reads the values of rules from a store. May be called by any thread; a question asked twice is read twice."""

    def __init__(
        self,
        store: Store,
        timezone: str,
        registry: Mapping[str, Metric],
        funnels: Mapping[str, Funnel],
        test: TestTraffic = NO_TEST_RULES,
        maturity: Mapping[str, float] | None = None,
    ) -> None:
        self.store = store
        self.timezone = timezone
        self.zone = ZoneInfo(timezone)
        self.registry = registry
        self._funnels = funnels
        self.test = test
        self._maturity_days = maturity
        self._young = Young(maturity or {})
        self._kept = _Kept()

    def over(self, store: Store) -> "Reader":
        """The same over another store: what was known in the past."""
        return Reader(store, self.timezone, self.registry, self._funnels, self.test, self._maturity_days)

    def latest(self) -> datetime | None:
        """The time of the latest event."""
        found = self.store.select(f"SELECT max(timestamp) FROM {PHYSICAL['events']}").rows[0][0]
        return found.replace(tzinfo=UTC) if found else None

    # now

    def groups(self, rules: Sequence[Rule]) -> list[list[Rule]]:
        """Rules that one statement answers together."""
        ordered = sorted(rules, key=lambda rule: repr(self._group(rule)))
        return [list(group) for _, group in groupby(ordered, key=lambda rule: repr(self._group(rule)))]

    def _group(self, rule: Rule) -> Hashable:
        if rule.metric.startswith(FUNNEL):
            return rule.name
        shifts = not self.is_timed(rule) and self._waits(rule) and self.registry[rule.metric].matures
        return (rule.window, rule.by, rule.where, self.is_timed(rule), shifts, rule.of_history)

    def read(self, group: Sequence[Rule], now: datetime) -> dict[str, list[Reading]]:
        """What each rule of a group finds. Without a split there is always one reading."""
        if group[0].metric.startswith(FUNNEL):
            return {rule.name: [self._of_funnel(rule, now)] for rule in group}
        window = self.window(group[0], now)
        query = self._query(group[0], window, now)
        metrics = list({rule.metric: self.registry[rule.metric] for rule in group}.values())
        if self.is_timed(group[0]):
            cohorts = delay.read(self.store, query, metrics)
            curves = self._curves(group, now)
            found = {
                name: {s: Cohorts({s: timed}, curves[name]).sums(s, window, now) for s, timed in by_segment.items()}
                for name, by_segment in cohorts.items()
            }
        else:
            measured = measure(self.store, query, metrics)
            found = {m.name: {cell.segment: _sums(m, s) for cell, s in measured[m.name].items()} for m in metrics}
        return {rule.name: self._readings(rule, found[rule.metric], window, now) for rule in group}

    def _readings(self, rule: Rule, found: Mapping[str, Sums], window: Window, now: datetime) -> list[Reading]:
        metric = self.registry[rule.metric]
        nothing = Sums(0.0, None if metric.denominator is None and metric.quantile is None else 0.0)
        known = self.facts(now)
        if not known.recorded >= set(metric.stages):
            found = dict.fromkeys(found, nothing)
        if rule.by is None:
            found = {"": found.get("", nothing)}
        past = self.past([rule], now)[rule.name] if rule.of_history else None
        return [
            Reading(segment, window, sums, judge(rule, metric.unit, sums, self._before(rule, past, segment, now)))
            for segment, sums in sorted(found.items())
        ]

    def window(self, rule: Rule, now: datetime) -> Window:
        """The window of a rule at a moment. What may still change and cannot be adjusted for is waited for."""
        end = now - self.wait(rule, now)
        return Window(end - rule.window, end)

    def is_timed(self, rule: Rule) -> bool:
        """Whether the rule's metric is adjusted for the age of conversations."""
        if rule.metric.startswith(FUNNEL):
            return False
        return rule.maturity == "auto" and delay.is_timed(self.registry[rule.metric])

    def unit(self, rule: Rule) -> Unit:
        """The unit of what the rule watches."""
        return "share" if rule.metric.startswith(FUNNEL) else self.registry[rule.metric].unit

    def wait(self, rule: Rule, now: datetime) -> timedelta:
        """By how much the window of a rule is shifted into the past."""
        if not self._waits(rule):
            return timedelta(0)
        if rule.metric.startswith(FUNNEL):
            limit = self._funnels[funnel_of(rule.metric)[0]].limit_micros
            return (limit or 0) * MICROSECOND
        found = self._maturity(rule.metric, now)
        return found * MICROSECOND

    def _waits(self, rule: Rule) -> bool:
        if rule.maturity == "none" or self.is_timed(rule):
            return False
        return rule.metric.startswith(FUNNEL) or bool(self.registry[rule.metric].matures)

    def _maturity(self, name: str, now: datetime) -> int:
        """How long a conversation may still change its part in a metric, in microseconds."""
        query = at_minute(Query(Period(now - _WEEK, now, self.timezone), now, test=self.test))
        waits = self._young.waits(self.store, query, self.facts(now).recorded)
        found = wait_of(self.registry[name], waits)
        return found.micros if found else 0

    def _of_funnel(self, rule: Rule, now: datetime) -> Reading:
        name, step = funnel_of(rule.metric)
        window = self.window(rule, now)
        answer = custom_funnel.answer(self.store, self._query(rule, window, now), self._funnels[name], name)
        stages = answer["stages"]
        chosen = next((one for one in stages if one["stage"] == step), stages[-1])
        rate = chosen["rate_from_start"]
        sums = Sums(float(rate.numerator), float(rate.denominator))
        return Reading("", window, sums, judge(rule, "share", sums))

    def sums_of(self, metric: Metric, found: Found) -> Sums:
        """The sums of a metric as they are judged."""
        return _sums(metric, found)

    # what was

    def before(self, rule: Rule, segment: str, now: datetime) -> list[Sums]:
        """The same local windows of the weeks before, of those that lie in the project's data."""
        return self._before(rule, self.past([rule], now)[rule.name], segment, now)

    def _before(self, rule: Rule, past: Past | None, segment: str, now: datetime) -> list[Sums]:
        if past is None:
            return []
        windows = self.weeks_before(rule, now)
        return [past.sums(segment, window, now) for window in windows]

    def weeks_before(self, rule: Rule, now: datetime) -> list[Window]:
        """The same local windows, a week apart, the latest first; none before the project's data begin."""
        return weeks_before(rule, self.window(rule, now).end, self.zone, self.facts(now).first)

    def past(self, rules: Sequence[Rule], now: datetime, since: datetime | None = None) -> dict[str, Past]:
        """What was, for each of these rules: of eight weeks, or since a moment."""
        found: dict[str, Past] = {}
        for rule in rules:
            found[rule.name] = self._cohorts(rule, now, since) if self.is_timed(rule) else self._slots(rule, now, since)
        return found

    def _weeks_ago(self, rule: Rule, now: datetime) -> datetime:
        """Where the earliest of the weeks before begins, or a little earlier."""
        return now - _USUAL * _WEEK - rule.window - self.wait(rule, now) - _SET_BACK

    def _slots(self, rule: Rule, now: datetime, since: datetime | None) -> Slots:
        metric = self.registry[rule.metric]
        start = since or self._weeks_ago(rule, now)

        def read() -> Slots:
            window = Window(_floor(start), _floor(now) + SLOT)
            query = self._query(rule, window, now)
            found = measure(self.store, query, [metric], _SLOT_OF)[metric.name]
            return _running(found, window, metric)

        if since is not None:
            return read()
        key = ("slots", rule.metric, rule.by, rule.where, rule.window, rule.maturity)
        return self._kept.get(key, "past", now, read)

    def _cohorts(self, rule: Rule, now: datetime, since: datetime | None) -> Cohorts:
        metric = self.registry[rule.metric]
        curve = self._curves([rule], now)[metric.name]
        start = since or self._weeks_ago(rule, now)

        def read() -> dict[str, Timed]:
            return delay.read(self.store, self._query(rule, Window(start, now), now), [metric])[metric.name]

        if since is not None:
            return Cohorts(read(), curve)
        key = ("cohorts", rule.metric, rule.by, rule.where, rule.window)
        return Cohorts(self._kept.get(key, "past", now, read), curve)

    def _curves(self, rules: Sequence[Rule], now: datetime) -> dict[str, Curve]:
        """G of the metrics of rules with the same conditions."""
        metrics = sorted({rule.metric for rule in rules})

        def read() -> dict[str, Curve]:
            query = self._query(rules[0], Window(now - _WEEK, now), now)
            found = delay.history(self.store, query, [self.registry[n] for n in metrics], self.facts(now).recorded)
            at = to_micros(now)
            return {name: delay.learn(found[name].entries, at, self._maturity(name, now)) for name in metrics}

        return self._kept.get(("curves", tuple(metrics), rules[0].where), "curve", now, read)

    def events(self) -> int:
        """How many events there are: when that is what it was, nothing new has come."""
        return self.store.select(f"SELECT count(*) FROM {PHYSICAL['events']}").rows[0][0]

    def facts(self, now: datetime) -> Facts:
        """What is known of the project, as of the last minute."""

        def read() -> Facts:
            found = self.store.select(f"SELECT min(started_at) FROM {PHYSICAL['conversations']}").rows[0][0]
            first = found.replace(tzinfo=UTC) if found else None
            return Facts(first, frozenset(select.recorded_stages(self.store)))

        return self._kept.get("facts", "facts", now, read)

    def _query(self, rule: Rule, window: Window, now: datetime) -> Query:
        return Query(Period(*window, self.timezone), now, rule.where, rule.by, test=self.test)


_SLOT_OF = (
    f"CAST(floor(date_diff('second', CAST('1970-01-01 00:00:00' AS TIMESTAMP), moment) / {_SECONDS}.0) AS BIGINT)"
)


def earlier(moment: datetime, weeks: int, zone: ZoneInfo) -> datetime:
    """The instant so many weeks before at which local clocks showed the same."""
    local = moment.astimezone(zone)
    return (local - timedelta(weeks=weeks)).astimezone(UTC)


def weeks_before(rule: Rule, end: datetime, zone: ZoneInfo, first: datetime | None) -> list[Window]:
    """The local windows that end a week, two weeks, … before `end`; none that begins before `first`."""
    found = []
    for week in range(1, WEEKS.get(rule.condition, 4) + 1):
        then = earlier(end, week, zone)
        if first is None or then - rule.window < first:
            break
        found.append(Window(then - rule.window, then))
    return found


def _floor(moment: datetime) -> datetime:
    return EPOCH + (to_micros(moment) // _SLOT) * SLOT


def _sums(metric: Metric, found: Found) -> Sums:
    if metric.quantile is not None:
        n = float(found.numerator or 0)
        value = (found.quantiles or {}).get("p50")
        return Sums(0.0 if value is None else value * n, n)
    top = float(found.numerator or Decimal(0))
    return Sums(top, None if metric.denominator is None else float(found.denominator or 0))


def _running(found: Mapping[Any, Found], window: Window, metric: Metric) -> Slots:
    first, last = (to_micros(at) // _SLOT for at in window)
    columns: dict[str, tuple[Floats, Floats]] = {}
    for cell, sums in found.items():
        if cell.segment not in columns:
            columns[cell.segment] = (np.zeros(last - first + 1), np.zeros(last - first + 1))
        place = int(cell.bucket) - first + 1
        plain = _sums(metric, sums)
        columns[cell.segment][0][place] += plain.numerator
        columns[cell.segment][1][place] += plain.denominator or 0.0
    running = {segment: (np.cumsum(top), np.cumsum(bottom)) for segment, (top, bottom) in columns.items()}
    return Slots(first, running, metric.denominator is None)


class _Kept:
    """What is read rarely, until it is too old: by what it is, when it was read, and for how long that holds."""

    def __init__(self) -> None:
        self._entries: dict[Hashable, tuple[datetime, timedelta, Any]] = {}

    def get(self, key: Hashable, kind: str, now: datetime, read: Callable[[], T]) -> T:
        """What is kept, if it was read at most so long before `now`; else what `read` gives."""
        if (found := self._entries.get(key)) is not None and _lives(found, now):
            return found[2]
        begin = time.monotonic()
        value = read()
        took = timedelta(seconds=time.monotonic() - begin)
        # What nobody asks for any more is let go: rules that are only tried out can have any conditions.
        living = {other: entry for other, entry in list(self._entries.items()) if _lives(entry, now)}
        self._entries = {**living, key: (now, max(_LIVES[kind], _SHARE * took), value)}
        return value


def _lives(entry: tuple[datetime, timedelta, Any], now: datetime) -> bool:
    made, life, _ = entry
    return timedelta(0) <= now - made < life
