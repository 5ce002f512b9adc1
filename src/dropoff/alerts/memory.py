"""What is kept of alerts in the control state: the states of each rule, what is still to be told, and the episodes."""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, unquote

import msgspec

from dropoff.alerts.rules import Rule
from dropoff.alerts.state import State
from dropoff.analyse.answers import instant
from dropoff.control.base import Control
from dropoff.notify.base import Notice

STATES = "alerts/state/"
EPISODES = "alerts/episode/"
KEPT = 1000
"""So many episodes are kept, and none that began to fire longer ago than `KEPT_FOR`."""
KEPT_FOR = timedelta(days=400)
_LASTING = ("pending", "firing", "resolved")


@dataclass(frozen=True, slots=True)
class Remembered:
    """Of one rule: the states of its segments that last, and the notices that may not have been handed on yet."""

    states: Mapping[str, State] = field(default_factory=dict)
    owed: tuple[Notice, ...] = ()


class Versioned(msgspec.Struct, frozen=True):
    """What is remembered, and the version to give back."""

    value: Remembered
    version: int


@dataclass(frozen=True, slots=True)
class Episode:
    """One time that an alert fired: since when, until when (None: still), and what its first notice said."""

    name: str
    metric: str
    condition: str
    threshold: float
    severity: str
    segment: str | None
    fired: datetime
    resolved: datetime | None
    value: float | None
    n: int
    interval: tuple[float, float] | None
    window: tuple[datetime, datetime]
    usual: str | None
    moved: tuple[str, ...]
    examples: tuple[str, ...]
    link: str

    def to_dict(self) -> dict[str, Any]:
        """The shape of `alerts history`, instants in RFC 3339."""
        plain = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "window"}
        times = {"fired": self.fired, "resolved": self.resolved, "from": self.window[0], "to": self.window[1]}
        return msgspec.to_builtins({**plain, **{name: instant(at) for name, at in times.items()}})


class Memory:
    """States and episodes in a `Control`. States are put with their version: of two writers one is refused."""

    def __init__(self, control: Control) -> None:
        self._control = control

    def states(self, rule: str) -> Versioned:
        """What is remembered of a rule; version 0: nothing."""
        found = self._control.get(STATES + quote(rule, safe=""))
        if found is None:
            return Versioned(Remembered(), 0)
        return Versioned(msgspec.json.decode(found.value, type=Remembered), found.version)

    def all_states(self) -> dict[str, Remembered]:
        """The same of every rule of which anything is remembered."""
        found = self._control.list(STATES)
        return {
            unquote(key.removeprefix(STATES)): msgspec.json.decode(entry.value, type=Remembered)
            for key, entry in found.items()
        }

    def keep(self, rule: str, value: Remembered, version: int) -> Versioned:
        """Replace it. Raises `Conflict` if somebody else did since it was read."""
        key = STATES + quote(rule, safe="")
        return Versioned(value, self._control.put(key, msgspec.json.encode(value), version))

    def forget(self, known: Iterable[str]) -> None:
        """Drop the states of rules that are no more."""
        for name in self.all_states().keys() - set(known):
            self._control.delete(STATES + quote(name, safe=""))

    def end_others(self, firing: Container[tuple[str, str | None, datetime | None]], now: datetime) -> None:
        """Episodes that nothing of `firing` (rule, segment, since) goes on with end now, and nobody is told: their rule
        was removed, or is split in another way."""
        for one in self.episodes():
            if one.resolved is None and (one.name, one.segment, one.fired) not in firing:
                self._end(one.name, one.segment, one.fired, now)

    def record(self, notice: Notice) -> None:
        """Write what a notice says into the history. Doing so twice changes nothing."""
        if notice.kind == "fired":
            key = _key(notice.rule, notice.segment, notice.since)
            if self._control.get(key) is None:
                self._control.put(key, msgspec.json.encode(_episode(notice)))
                self._prune(notice.at)
        elif notice.kind == "resolved":
            self._end(notice.rule, notice.segment, notice.since, notice.at)

    def _end(self, rule: str, segment: str | None, since: datetime, at: datetime) -> None:
        key = _key(rule, segment, since)
        found = self._control.get(key)
        if found is None:
            return
        episode = msgspec.json.decode(found.value, type=Episode)
        if episode.resolved is None:
            self._control.put(key, msgspec.json.encode(replace(episode, resolved=at)))

    def episodes(self, rule: str | None = None, limit: int = KEPT) -> list[Episode]:
        """The latest episodes first, of one rule or of all."""
        found = [msgspec.json.decode(entry.value, type=Episode) for entry in self._control.list(EPISODES).values()]
        chosen = [episode for episode in found if rule in (None, episode.name)]
        return sorted(chosen, key=lambda one: (one.fired, one.name, one.segment or ""), reverse=True)[:limit]

    def _prune(self, now: datetime) -> None:
        keys = sorted(self._control.list(EPISODES))  # they begin with their instant
        oldest = EPISODES + _stamp(now - KEPT_FOR)
        for number, key in enumerate(keys):
            if number < len(keys) - KEPT or key < oldest:
                self._control.delete(key)


def lasting(states: Mapping[str, State]) -> dict[str, State]:
    """Those that have to be remembered: what is idle now is idle after a restart."""
    return {segment: state for segment, state in states.items() if state.name in _LASTING}


def same(one: Mapping[str, State], other: Mapping[str, State]) -> bool:
    """Whether two memories differ in nothing but when they were last looked at."""
    return {s: replace(state, seen=None) for s, state in one.items()} == {
        s: replace(state, seen=None) for s, state in other.items()
    }


def label(rule: Rule, segment: str) -> str | None:
    """A segment as it is told: `dimension=value`."""
    return None if rule.by is None else f"{rule.by}={segment}"


def _episode(notice: Notice) -> Episode:
    return Episode(
        notice.rule, notice.metric, notice.condition, notice.threshold, notice.severity, notice.segment, notice.since,
        None, notice.value, notice.n, notice.interval, notice.window, notice.usual, notice.moved, notice.examples,
        notice.link,
    )  # fmt: skip


def _key(rule: str, segment: str | None, since: datetime) -> str:
    return f"{EPISODES}{_stamp(since)}/{quote(rule, safe='')}/{quote(segment or '-', safe='')}"


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%f")
