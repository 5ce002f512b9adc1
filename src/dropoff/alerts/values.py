"""The values of rules: what stands in their windows now, and in the same windows of the weeks before.

Rules that share a window, a split and conditions are answered by one statement. What was is kept for a while.
"""

from collections.abc import Hashable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import NamedTuple
from zoneinfo import ZoneInfo

from dropoff.alerts import delay
from dropoff.alerts.delay import Curve, Timed
from dropoff.alerts.judge import WEEKS, Judged, Sums, judge
from dropoff.alerts.kept import Kept
from dropoff.alerts.past import SLOT, SLOT_OF, Cohorts, Past, Slots, Window, floor, running, sums_of, weeks_before
from dropoff.alerts.rules import FUNNEL, Rule, funnel_of
from dropoff.analyse import select
from dropoff.analyse.funnels import custom_funnel
from dropoff.analyse.metrics import measure, wait_of
from dropoff.analyse.remembered import MANY
from dropoff.analyse.young import Young, at_minute
from dropoff.metrics import Metric, Unit
from dropoff.periods import MICROSECOND, Period
from dropoff.project.funnels import Funnel
from dropoff.query import NO_TEST_RULES, Query, TestTraffic
from dropoff.store.base import Store
from dropoff.store.sql import PHYSICAL

_WEEK = timedelta(weeks=1)
_USUAL = max(WEEKS.values())
_SET_BACK = timedelta(hours=2)
"""At most so much earlier local clocks showed the same in another part of the year."""
LATELY = timedelta(minutes=2)
"""So old may be what the evaluator found: it looks at nothing less often."""
_FACTS, _PAST, _CURVE = timedelta(minutes=1), SLOT, timedelta(minutes=10)
"""So long what was read of these is kept."""


class Reading(NamedTuple):
    """What a rule finds in one segment (empty: no split): the window, its sums, and the judgement."""

    segment: str
    window: Window
    sums: Sums
    judged: Judged


class Found(NamedTuple):
    """What the evaluator read for a group of rules: when, of how many events."""

    rules: tuple[Rule, ...]
    at: datetime
    events: int
    readings: dict[str, list[Reading]]


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
        self._kept = Kept()
        self._found: dict[str, Found] = {}

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
            found = {m.name: {cell.segment: sums_of(m, s) for cell, s in measured[m.name].items()} for m in metrics}
        return {rule.name: self._readings(rule, found[rule.metric], window, now) for rule in group}

    def keep(self, group: Sequence[Rule], now: datetime, events: int, readings: dict[str, list[Reading]]) -> None:
        """Keep what the evaluator read of so many events, for `lately`."""
        self._found[group[0].name] = Found(tuple(group), now, events, readings)

    def lately(self, group: Sequence[Rule], now: datetime) -> dict[str, list[Reading]] | None:
        """What the evaluator in this process found a moment ago, if nothing has come since or the store is large."""
        found = self._found.get(group[0].name)
        if found is None or found.rules != tuple(group) or not timedelta(0) <= now - found.at <= LATELY:
            return None
        events = self.events()
        return found.readings if events >= MANY or events == found.events else None

    def _readings(self, rule: Rule, found: Mapping[str, Sums], window: Window, now: datetime) -> list[Reading]:
        metric = self.registry[rule.metric]
        nothing = Sums(0.0, None if metric.denominator is None and metric.quantile is None else 0.0)
        known = self.facts(now)
        if not known.recorded >= set(metric.stages):
            found = dict.fromkeys(found, nothing)
        if rule.by is None:
            found = {"": found.get("", nothing)}
        past, weeks = None, []
        if rule.of_history:
            past, weeks = self.past([rule], now)[rule.name], self.weeks_before(rule, now)
        return [
            Reading(segment, window, sums, judge(rule, metric.unit, sums, before))
            for segment, sums in sorted(found.items())
            for before in [[past.sums(segment, week, now) for week in weeks] if past else []]
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

    # what was

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
            window = Window(floor(start), floor(now) + SLOT)
            query = self._query(rule, window, now)
            found = measure(self.store, query, [metric], SLOT_OF)[metric.name]
            return running(found, window, metric)

        if since is not None:
            return read()
        key = ("slots", rule.metric, rule.by, rule.where, rule.window, rule.maturity)
        return self._kept.get(key, _PAST, now, read)

    def _cohorts(self, rule: Rule, now: datetime, since: datetime | None) -> Cohorts:
        metric = self.registry[rule.metric]
        curve = self._curves([rule], now)[metric.name]
        start = since or self._weeks_ago(rule, now)

        def read() -> dict[str, Timed]:
            return delay.read(self.store, self._query(rule, Window(start, now), now), [metric])[metric.name]

        if since is not None:
            return Cohorts(read(), curve)
        key = ("cohorts", rule.metric, rule.by, rule.where, rule.window)
        return Cohorts(self._kept.get(key, _PAST, now, read), curve)

    def _curves(self, rules: Sequence[Rule], now: datetime) -> dict[str, Curve]:
        """G of the metrics of rules with the same conditions."""
        metrics = sorted({rule.metric for rule in rules})

        def read() -> dict[str, Curve]:
            query = self._query(rules[0], Window(now - _WEEK, now), now)
            found = delay.history(self.store, query, [self.registry[n] for n in metrics], self.facts(now).recorded)
            return {name: delay.learn(found[name].entries, self._maturity(name, now)) for name in metrics}

        return self._kept.get(("curves", tuple(metrics), rules[0].where), _CURVE, now, read)

    def events(self) -> int:
        """How many events there are: when that is what it was, nothing new has come."""
        return self.store.select(f"SELECT count(*) FROM {PHYSICAL['events']}").rows[0][0]

    def facts(self, now: datetime) -> Facts:
        """What is known of the project, as of the last minute."""

        def read() -> Facts:
            found = self.store.select(f"SELECT min(started_at) FROM {PHYSICAL['conversations']}").rows[0][0]
            first = found.replace(tzinfo=UTC) if found else None
            return Facts(first, frozenset(select.recorded_stages(self.store)))

        return self._kept.get("facts", _FACTS, now, read)

    def _query(self, rule: Rule, window: Window, now: datetime) -> Query:
        return Query(Period(*window, self.timezone), now, rule.where, rule.by, test=self.test)
