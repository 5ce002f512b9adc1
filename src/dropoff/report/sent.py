"""What became of scheduled reports, kept in the control state: at most one of each for each receiver."""

import hashlib
import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

import msgspec

from dropoff.control.base import Control

State = Literal["waiting", "sending", "sent", "failed", "interrupted"]
"""To be tried again; being tried; taken; not taken; broken off by the end of the process, and not tried again."""

KEPT = timedelta(days=400)
_SENT, _SINCE = "reports/sent/", "reports/since/"


@dataclass(frozen=True)
class Sending:
    """What became of one report for one receiver."""

    id: str
    kind: str
    start: str
    end: str
    receiver: str
    state: State
    at: datetime
    first: datetime
    attempts: int = 0
    next: datetime | None = None
    error: str | None = None


class Kept(NamedTuple):
    """What is known, and the version to give back; version 0: nothing."""

    sending: Sending | None
    version: int


def report_id(kind: str, start: str, receiver: str) -> str:
    """The id of a report for a receiver: the same whoever asks, whenever."""
    return hashlib.sha256(json.dumps([kind, start, receiver]).encode()).hexdigest()[:32]


class Memory:
    """The sendings in a `Control`. They are put with their version: of two writers one is refused."""

    def __init__(self, control: Control) -> None:
        self._control = control

    def get(self, id: str) -> Kept:  # noqa: A002
        """What became of it so far."""
        found = self._control.get(_SENT + id)
        return Kept(msgspec.json.decode(found.value, type=Sending), found.version) if found else Kept(None, 0)

    def put(self, sending: Sending, version: int) -> Kept:
        """Write it down. Raises `Conflict` if somebody else did since it was read."""
        return Kept(sending, self._control.put(_SENT + sending.id, msgspec.json.encode(sending), version))

    def all(self) -> list[Sending]:
        """All of the last 400 days, the latest first."""
        found = [msgspec.json.decode(one.value, type=Sending) for one in self._control.list(_SENT).values()]
        return sorted(found, key=lambda one: (one.at, one.id), reverse=True)

    def since(self, kind: str, now: datetime) -> datetime:
        """When this kind of report was first scheduled: what was due before is not sent."""
        found = self._control.get(_SINCE + kind)
        if found is None:
            self._control.put(_SINCE + kind, now.isoformat().encode())
            return now
        return datetime.fromisoformat(found.value.decode())

    def forget(self, now: datetime) -> None:
        """Remove what is too old to be of use."""
        for one in self.all():
            if one.at <= now - KEPT:
                self._control.delete(_SENT + one.id)


def begun(id: str, kind: str, period: "dict[str, str]", receiver: str, now: datetime) -> Sending:  # noqa: A002
    """A report that is to be sent for the first time."""
    return Sending(id, kind, period["from"], period["to"], receiver, "sending", now, now)


def ended(sending: Sending, state: State, now: datetime, error: str | None = None) -> Sending:
    """What it came to."""
    return replace(sending, state=state, at=now, error=error, next=None)
