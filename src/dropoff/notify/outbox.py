"""Notices that are to be told, kept in the control state until each receiver has taken them: no kill loses one.

For each receiver a notice waits under `notify/out/RECEIVER/ID`, and leaves a mark under `notify/done/RECEIVER/ID`.
The order of the writes is what counts:

1. `put` writes the notice, unless it waits or is marked already: the same notice put again is no second one.
2. Before the first attempt the notice is written once more with the id of its message: a group that was tried stays
   this group, and is sent again under this id, whatever has come in the meantime.
3. After success one write under `notify/sent/RECEIVER/MESSAGE` says so of the whole group; then each notice is marked
   and removed, and that write as well. Who comes after a kill finds it, and only marks and removes.

So a kill between success and that one write, and nothing else, has a message sent twice: the same body with the same
`webhook-id`, by which a receiver drops the second copy.
"""

import hashlib
import random
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

import msgspec

from dropoff.control.base import Control
from dropoff.errors import Conflict
from dropoff.notify.base import Notice, notice_id
from dropoff.notify.silences import Acknowledgement, Silence, is_acknowledged, is_silent

Outcome = Literal["sent", "failed", "dropped", "silenced", "acknowledged", "overtaken"]
"""What became of a notice: taken; refused, or not taken within a day; pushed out of a full queue; withdrawn because of
a silence, because of an acknowledgement, or because a later notice of the episode said more."""

MOST_WAITING = 1_000
"""Notices for one receiver. One more, and the oldest is dropped: counted, and on the page."""

GIVE_UP = timedelta(hours=24)
"""After the first attempt."""

GROUPED = timedelta(milliseconds=300)
"""How long a notice waits for others of its rule."""

KEPT = timedelta(days=90)
"""How long marks are kept: as long as an episode can be, at least."""

_OUT, _SENT, _DONE = "notify/out/", "notify/sent/", "notify/done/"


@dataclass(frozen=True)
class Waiting:
    """A notice that waits for one receiver. `message` is set by the first attempt; `error` says why the last failed."""

    notice: Notice
    put_at: datetime
    message: str | None = None
    first: datetime | None = None
    attempts: int = 0
    next: datetime | None = None
    error: str | None = None


@dataclass(frozen=True)
class Mark:
    """What became of a notice that waited for one receiver."""

    id: str
    kind: str
    rule: str
    severity: str
    segment: str | None
    since: datetime
    at: datetime
    outcome: Outcome
    message: str | None = None
    error: str | None = None


class Plan(NamedTuple):
    """What to do for one receiver now: withdraw some with the reason, and send a group, which may be empty."""

    withdraw: Sequence[tuple[Waiting, Outcome]]
    send: Sequence[Waiting]


class Outbox:
    """What waits, and what became of it. `receivers`: the names of all. Any process may put; one delivers."""

    def __init__(
        self, control: Control, receivers: Sequence[str], count: Callable[[str, Outcome], None] = lambda *_: None
    ) -> None:
        self.receivers = tuple(receivers)
        self._control, self._count = control, count

    def put(self, notice: Notice, now: datetime) -> None:
        """Keep it, durably, for each of its receivers. The same notice put again changes nothing.

        Raises `Unavailable` while the control state is: then put it again. A receiver that is not known is left out.
        """
        names = notice.receivers or self.receivers
        for receiver in (name for name in self.receivers if name in names):
            if self.mark(receiver, notice.id) is None and self._control.get(_key(receiver, notice)) is None:
                self._make_room(receiver, now)
                with suppress(Conflict):  # another process was faster
                    self._write(receiver, Waiting(notice, now), 0)

    def waiting(self) -> dict[str, list[Waiting]]:
        """What waits, by receiver, the oldest first; also for receivers that are no longer known."""
        found: dict[str, list[Waiting]] = {}
        for key, entry in self._control.list(_OUT).items():
            receiver = key.removeprefix(_OUT).partition("/")[0]
            found.setdefault(receiver, []).append(msgspec.json.decode(entry.value, type=Waiting))
        return {receiver: sorted(each, key=_age) for receiver, each in found.items()}

    def mark(self, receiver: str, id: str) -> Mark | None:  # noqa: A002
        """What became of a notice, None if nothing yet."""
        found = self._control.get(f"{_DONE}{receiver}/{id}")
        return msgspec.json.decode(found.value, type=Mark) if found else None

    def marks(self) -> list[tuple[str, Mark]]:
        """What became of the notices of the last 90 days, with the receiver, the latest first."""
        found = [
            (key.removeprefix(_DONE).partition("/")[0], msgspec.json.decode(entry.value, type=Mark))
            for key, entry in self._control.list(_DONE).items()
        ]
        return sorted(found, key=lambda pair: (pair[1].at, pair[1].id, pair[0]), reverse=True)

    def was_told(self, receiver: str, notice: Notice) -> bool:
        """Whether the receiver was told that the episode of this notice began."""
        found = self.mark(receiver, _fired(notice))
        return found is not None and found.outcome == "sent"

    def claim(self, receiver: str, group: Sequence[Waiting], now: datetime) -> list[Waiting]:
        """Fix a group before its first attempt: each gets the message's id. Empty if there is nothing to send: what was
        sent or marked before a kill is only brought to its end."""
        fresh = [each for each in group if self.mark(receiver, each.notice.id) is None]
        for each in group:
            if each not in fresh:
                self._remove(receiver, each)
        if not fresh:
            return []
        message = fresh[0].message or _message_id(fresh)
        claimed = [replace(each, message=message, first=each.first or now) for each in fresh]
        if self._control.get(f"{_SENT}{receiver}/{message}") is not None:
            self.sent(receiver, claimed, now)
            return []
        for before, after in zip(fresh, claimed, strict=True):
            if before != after:
                self._write(receiver, after)
        return claimed

    def sent(self, receiver: str, claimed: Sequence[Waiting], now: datetime) -> None:
        """The message of this group was taken."""
        key = f"{_SENT}{receiver}/{claimed[0].message}"
        self._control.put(key, now.isoformat().encode())
        for each in claimed:
            self.finish(receiver, each, "sent", now)
        self._control.delete(key)

    def finish(self, receiver: str, each: Waiting, outcome: Outcome, now: datetime, error: str | None = None) -> None:
        """Mark what became of it, then remove it."""
        notice = each.notice
        mark = Mark(
            notice.id, notice.kind, notice.rule, notice.severity, notice.segment, notice.since, now, outcome,
            each.message, error,
        )  # fmt: skip
        self._control.put(f"{_DONE}{receiver}/{notice.id}", msgspec.json.encode(mark))
        self._remove(receiver, each)
        self._count(receiver, outcome)

    def postpone(self, receiver: str, each: Waiting, now: datetime, error: str, after: float) -> None:
        """Write down a failed attempt, and when the next one is due; after a day of them it has failed."""
        if each.first is not None and now - each.first >= GIVE_UP:
            self.finish(receiver, each, "failed", now, error)
            return
        attempts = each.attempts + 1
        wait = timedelta(seconds=max(after, backoff(attempts)))
        self._write(receiver, replace(each, attempts=attempts, next=now + wait, error=error))

    def tidy(self, now: datetime) -> None:
        """Forget marks older than 90 days, and finish what waits for receivers that are no longer known."""
        for receiver, mark in self.marks():
            if mark.at <= now - KEPT:
                self._control.delete(f"{_DONE}{receiver}/{mark.id}")
        for key, entry in self._control.list(_SENT).items():  # left by a kill
            if datetime.fromisoformat(entry.value.decode()) <= now - KEPT:
                self._control.delete(key)
        for receiver, waiting in self.waiting().items():
            for each in waiting if receiver not in self.receivers else ():
                self.finish(receiver, each, "failed", now, "there is no such receiver any more")

    def _make_room(self, receiver: str, now: datetime) -> None:
        waiting = self.waiting().get(receiver, [])
        for each in waiting[: max(0, len(waiting) - MOST_WAITING + 1)]:
            self.finish(receiver, each, "dropped", now, "too many were waiting")

    def _write(self, receiver: str, each: Waiting, version: int | None = None) -> None:
        self._control.put(_key(receiver, each.notice), msgspec.json.encode(each), version)

    def _remove(self, receiver: str, each: Waiting) -> None:
        self._control.delete(_key(receiver, each.notice))


def plan(
    waiting: Sequence[Waiting],
    was_told: Callable[[Notice], bool],
    silences: Iterable[Silence],
    acknowledged: Iterable[Acknowledgement],
    now: datetime,
) -> Plan:
    """What to do with what waits for one receiver, the oldest first. Pure, but for what `was_told` looks up.

    A silence holds a firing back, and lets it go if it still fires when the silence ends; a resolve is told to those
    who were told of the firing, and to nobody else; a repeat is told unless somebody has acknowledged the episode.
    """
    silences, acknowledged = list(silences), list(acknowledged)
    withdraw: list[tuple[Waiting, Outcome]] = []
    ready: list[Waiting] = []
    for place, each in enumerate(waiting):
        notice = each.notice
        silent = each.message is None and is_silent(silences, notice.rule, notice.segment, now)
        before, after = _same(waiting[:place], notice), _same(waiting[place + 1 :], notice)
        match notice.kind:
            case "fired":
                outcome = _of_firing(after, silent=silent)
            case "repeated" if is_acknowledged(acknowledged, notice.rule, notice.segment, notice.since):
                outcome = "acknowledged"
            case "repeated":
                known = was_told(notice) and not after
                outcome = "silenced" if silent else "ready" if known else "overtaken"
            case "resolved":
                known = each.message is not None or was_told(notice)
                outcome = "held" if before else "ready" if known else "silenced" if silent else "overtaken"
        if outcome == "ready":
            ready.append(each)
        elif outcome != "held":
            withdraw.append((each, outcome))
    return Plan(withdraw, _group([each for each in ready if each.next is None or each.next <= now], now))


def _of_firing(after: Sequence[Waiting], *, silent: bool) -> Outcome | Literal["ready", "held"]:
    if not silent:
        return "ready"
    return "silenced" if any(each.notice.kind == "resolved" for each in after) else "held"


def backoff(attempts: int) -> float:
    """Seconds to wait after so many failed attempts: 1, 2, 4, … up to 300, of which a random half is left out, so that
    those who failed together do not return together."""
    most = min(2.0 ** min(attempts - 1, 20), 300.0)
    return most * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, keeps no secret


def _group(ready: Sequence[Waiting], now: datetime) -> Sequence[Waiting]:
    """The first message to be sent: one that was tried, else the notices of one rule and kind."""
    for first in ready:
        if first.message is not None:
            return [each for each in ready if each.message == first.message]
        if now - first.put_at >= GROUPED:
            kind = (first.notice.rule, first.notice.kind)
            return [each for each in ready if each.message is None and (each.notice.rule, each.notice.kind) == kind]
    return []


def _same(waiting: Sequence[Waiting], notice: Notice) -> list[Waiting]:
    """Those of the same episode."""
    episode = (notice.rule, notice.segment, notice.since)
    return [each for each in waiting if (each.notice.rule, each.notice.segment, each.notice.since) == episode]


def _key(receiver: str, notice: Notice) -> str:
    return f"{_OUT}{receiver}/{notice.id}"


def _fired(notice: Notice) -> str:
    return notice_id(notice.rule, notice.segment, notice.since, "fired")


def _message_id(group: Sequence[Waiting]) -> str:
    ids = sorted(each.notice.id for each in group)
    return ids[0] if len(ids) == 1 else hashlib.sha256("".join(ids).encode()).hexdigest()[:32]


def _age(each: Waiting) -> tuple[datetime, int, str]:
    # A firing and its resolve may come to be at one moment, after downtime.
    return (each.notice.at, ("fired", "repeated", "resolved").index(each.notice.kind), each.notice.id)
