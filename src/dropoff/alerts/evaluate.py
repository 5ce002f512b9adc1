"""Evaluates the rules: readings become states, changes of state become notices.

One evaluator at a time, by a lease; its states rest in the control state, so the next one, or the same after a restart,
goes on where it stopped. A change is written down together with the notices it owes, then they are handed on, then it
is written down that they were: whatever stops in between, each is told once (the outbox knows them by their ids).
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import structlog

from dropoff.alerts.backtest import state_at
from dropoff.alerts.causes import Causes
from dropoff.alerts.judge import Judged, breaks
from dropoff.alerts.links import link
from dropoff.alerts.memory import Episode, Memory, Remembered, Versioned, label, lasting, same
from dropoff.alerts.rules import Rule
from dropoff.alerts.state import INACTIVE, State, repeated, step
from dropoff.alerts.values import Reader, Reading
from dropoff.analyse.answers import instant
from dropoff.control.base import Control
from dropoff.errors import Conflict
from dropoff.notify.base import Kind, Notice, notice_id

log = structlog.get_logger()

EVERY = timedelta(seconds=2)
LEASE = timedelta(seconds=15)
KEEP_SEEN = timedelta(minutes=1)
"""How often it is written down that a lasting alert was looked at."""
SHARE = 20
"""A statement runs again after so many times as long as it took: a twentieth of the time at most goes into it."""
REST = timedelta(seconds=15)
"""Without new data a window only slides: it is looked at so often. A comparison with the past moves slowly, and is
looked at 240 times in the length of its window, if that is less often."""
SELDOM = timedelta(minutes=2)
"""But nothing is looked at less often than this."""

_NOTHING = Judged(None, 0.0, "no_data")


@dataclass(frozen=True, slots=True)
class Alert:
    """A rule, or one segment of it, as it stands: its state, and what was read of its window; None: nothing was."""

    rule: Rule
    segment: str | None
    state: State
    reading: Reading | None

    def to_dict(self) -> dict[str, Any]:
        """The shape of `alerts check`, instants in RFC 3339.

        `n`: what is compared with `min_n`. Of an adjusted rate `denominator` is how many were to be expected by now.
        `usual`: the median of the same window in the weeks before, for rules that compare with them.
        """
        judged, sums, (start, end) = _NOTHING, None, (None, None)
        if self.reading is not None:
            judged, sums, (start, end) = self.reading.judged, self.reading.sums, self.reading.window
        return {
            **self.rule.to_dict(), "segment": self.segment, "value": judged.value, "interval": judged.interval,
            "state": self.state.name, "numerator": sums.numerator if sums else None,
            "denominator": sums.denominator if sums else None, "from": instant(start), "to": instant(end),
            "since": instant(self.state.since), "n": judged.n, "min_n": self.rule.min_n, "usual": judged.usual,
            "starter": self.rule.starter,
        }  # fmt: skip


class Turn(NamedTuple):
    """When rules were last evaluated, how long that took, and how many events there were."""

    at: datetime
    took: timedelta
    events: int


class Evaluator:
    """Evaluates rules again and again. `put` hands a notice on; `name` is who holds the lease. One thread calls it."""

    def __init__(
        self, reader: Reader, control: Control, rules: Sequence[Rule], put: Callable[[Notice], None], name: str
    ) -> None:
        self._reader = reader
        self._control = control
        self._memory = Memory(control)
        self._rules = rules
        self._groups = reader.groups(rules)
        self._put = put
        self._name = name
        self._causes = Causes(reader)
        self._known: dict[str, Versioned] = {}
        self._states: dict[str, dict[str, State]] = {}
        self._alerts: dict[str, list[Alert]] = {}
        self._turns: dict[int, Turn] = {}
        self._kept: dict[str, datetime] = {}
        self._renewed: datetime | None = None

    def evaluate(self, now: datetime) -> list[Alert]:
        """One evaluation: every rule whose turn it is. The alerts as they stand; nothing while another evaluator does.

        Raises `Unavailable` where the control state cannot be reached: the next evaluation does what this one did not.
        """
        if not self._is_ours(now):
            self._known.clear()
            return []
        try:
            if not self._known:
                self._begin(now)
            events = self._reader.events()
            for number, group in enumerate(self._groups):
                if self._is_due(number, group, now, events):
                    self._turns[number] = self._of_group(group, now, events)
        except Conflict:  # another evaluator wrote: look again, next time
            self._known.clear()
        except BaseException:  # what was written down is what counts, not what is in memory
            self._known.clear()
            raise
        return [alert for rule in self._rules for alert in self._alerts.get(rule.name, [])]

    def _is_ours(self, now: datetime) -> bool:
        """Whether this is the evaluator. The lease is renewed after a third of its time."""
        if self._renewed is None or not timedelta(0) <= now - self._renewed < LEASE / 3:
            is_ours = self._control.lease("alerts", self._name, LEASE.total_seconds(), now.timestamp())
            self._renewed = now if is_ours else None
        return self._renewed is not None

    def _begin(self, now: datetime) -> None:
        """Take over what the evaluator before knew, and hand on what it still owed."""
        self._memory.forget(rule.name for rule in self._rules)
        self._known = {rule.name: self._memory.states(rule.name) for rule in self._rules}
        self._states = {name: dict(found.value.states) for name, found in self._known.items()}
        for rule in self._rules:
            self._settle(rule.name)
        self._memory.end_others(
            {
                (rule.name, label(rule, segment), state.fired)
                for rule in self._rules
                for segment, state in self._states[rule.name].items()
                if state.name == "firing"
            },
            now,
        )

    def _is_due(self, number: int, group: Sequence[Rule], now: datetime, events: int) -> bool:
        turn = self._turns.get(number)
        if turn is None or now < turn.at:
            return True
        # In a shared store events are seen before what is made of them.
        has_new = self._reader.store.shared or events != turn.events
        rest = max(REST, group[0].window / 240) if group[0].of_history else EVERY / 2 if has_new else REST
        return now - turn.at >= min(SELDOM, max(rest, SHARE * turn.took))

    def _of_group(self, group: Sequence[Rule], now: datetime, events: int) -> Turn:
        readings, took = timed(self._reader, group, now)
        if readings is not None:
            self._reader.keep(group, now, events, readings)
        for rule in group:
            self._of_rule(rule, None if readings is None else readings[rule.name], now)
        return Turn(now, took, events)

    def _of_rule(self, rule: Rule, readings: Sequence[Reading] | None, now: datetime) -> None:
        before = self._states[rule.name]
        outcomes = list(steps(rule, readings, before, now, self._reader))
        after = {segment: state for segment, state, _ in outcomes}
        notices: list[Notice] = []
        for segment, state, reading in outcomes:
            kind = changed(before.get(segment, INACTIVE), state)
            if kind is None and (again := repeated(state, now, rule)) is not None:
                kind, after[segment] = "repeated", again
            if kind is not None:
                notices.append(self._notice(rule, kind, segment, after[segment], reading, now))
        self._states[rule.name] = after
        self._remember(rule.name, after, notices, now)
        self._alerts[rule.name] = [Alert(rule, label(rule, s), after[s], reading) for s, _, reading in outcomes]

    def _remember(self, name: str, states: Mapping[str, State], notices: Sequence[Notice], now: datetime) -> None:
        """Write down the states that last and what they owe, where anything but their last look is new."""
        after = lasting(states)
        known = self._known[name]
        is_old = bool(after) and now - self._kept.get(name, now - KEEP_SEEN) >= KEEP_SEEN
        if not notices and same(known.value.states, after) and not is_old:
            return
        value = Remembered(after, (*known.value.owed, *notices))
        self._known[name] = self._memory.keep(name, value, known.version)
        self._kept[name] = now
        self._settle(name)

    def _settle(self, name: str) -> None:
        """Hand on what is owed, and write down that it was."""
        known = self._known[name]
        if not known.value.owed:
            return
        for notice in known.value.owed:
            self._memory.record(notice)
            self._put(notice)
        self._known[name] = self._memory.keep(name, replace(known.value, owed=()), known.version)

    def _notice(
        self, rule: Rule, kind: Kind, segment: str, state: State, reading: Reading | None, now: datetime
    ) -> Notice:
        since = state.fired or now
        window = reading.window if reading else self._reader.window(rule, now)
        judged = reading.judged if reading else _NOTHING
        told = self._causes.of(rule, segment, judged, window) if kind != "resolved" else None
        return Notice(
            id=notice_id(rule.name, label(rule, segment), since, kind, state.repeats if kind == "repeated" else 0),
            kind=kind, rule=rule.name, severity=rule.severity, metric=rule.metric, condition=rule.condition,
            threshold=rule.threshold, segment=label(rule, segment), since=since, at=now, value=judged.value,
            n=math.floor(judged.n), interval=judged.interval, window=(window.start, window.end),
            link=link(rule, label(rule, segment), window.start, window.end), usual=told.usual if told else None,
            moved=told.moved if told else (), examples=told.examples if told else (), receivers=rule.notify,
        )  # fmt: skip


class Alerts:
    """The rules of a project and how they stand: what page, API and command line ask. Called by any thread."""

    def __init__(self, reader: Reader, control: Control, rules: Sequence[Rule]) -> None:
        self.rules = rules
        self.reader = reader
        self.control = control
        self._memory = Memory(control)

    def check(self, now: datetime, rules: Sequence[Rule] | None = None) -> list[Alert]:
        """Every rule as it stands at `now`: what the evaluator would find, or found a moment ago (`Reader.lately`).

        Nothing is written or told.

        `rules`: others than the project's, of which no state is known: they stand as if they had been evaluated before.
        """
        chosen = self.rules if rules is None else rules
        if rules is None:
            states = {name: kept.states for name, kept in self._memory.all_states().items()}
        else:
            states = {rule.name: state_at(self.reader, rule, now) for rule in rules}
        found: dict[str, list[Alert]] = {}
        for group in self.reader.groups(chosen):
            readings = self.reader.lately(group, now) if rules is None else None
            if readings is None:
                readings, _ = timed(self.reader, group, now)
            for rule in group:
                before = lasting(states.get(rule.name, {}))
                of_rule = None if readings is None else readings[rule.name]
                outcomes = steps(rule, of_rule, before, now, self.reader)
                found[rule.name] = [Alert(rule, label(rule, s), state, reading) for s, state, reading in outcomes]
        return [alert for rule in chosen for alert in found[rule.name]]

    def history(self, rule: str | None = None, limit: int = 100) -> list[Episode]:
        """When alerts fired, the latest first."""
        return self._memory.episodes(rule, limit)

    def firing(self) -> list[tuple[str, str, State]]:
        """What is pending or firing or has just resolved, as last written down: rule, segment, state."""
        found = self._memory.all_states()
        return [(name, s, state) for name, kept in found.items() for s, state in kept.states.items()]


def steps(
    rule: Rule, readings: Sequence[Reading] | None, before: Mapping[str, State], now: datetime, reader: Reader
) -> Iterable[tuple[str, State, Reading | None]]:
    """Each segment of a rule with its new state and what was read of it. `readings` is None where that failed."""
    found = {reading.segment: reading for reading in readings or ()}
    for segment in sorted({*found, *before} or ({""} if rule.by is None else set())):
        reading, state = found.get(segment), before.get(segment, INACTIVE)
        seen = "error" if readings is None else breaks(rule, reading.judged) if reading else "no_data"
        yield segment, step(state, seen, now, rule, reader.zone), reading


def changed(before: State, after: State) -> Kind | None:
    """What is to be told about a change of state."""
    if after.name == "firing" and (before.name != "firing" or before.fired != after.fired):
        return "fired"
    return "resolved" if before.name == "firing" and after.name == "resolved" else None


def timed(reader: Reader, group: Sequence[Rule], now: datetime) -> tuple[dict[str, list[Reading]] | None, timedelta]:
    """The readings of a group, None where that failed, and how long it took."""
    begin = time.monotonic()
    try:
        readings = reader.read(group, now)
    except Exception as error:  # whatever is wrong with one rule must not stop the others
        readings = None
        log.error("alert rules cannot be evaluated", rules=[rule.name for rule in group], error=repr(error))
    return readings, timedelta(seconds=time.monotonic() - begin)
