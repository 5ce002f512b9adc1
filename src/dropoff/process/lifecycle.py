"""Meetings and deals: what a conversation's events say of each, the latest word winning.

These events are few and their rules sequential, so this is plain Python over one conversation at a time.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from heapq import heappop, heappush
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from dropoff.events import MICROS
from dropoff.periods import midnight, to_micros

MEETINGS = ("meeting_booked", "meeting_rescheduled", "meeting_canceled", "meeting_attended", "meeting_no_show")
DEALS = ("deal_closed", "deal_reopened")
DAY = 86_400 * MICROS
GRACE = 2 * DAY
UNDATED = 14 * DAY


class Change(NamedTuple):
    """One meeting or deal event, in the order of the conversation; `n` is its place there."""

    n: int
    event_type: str
    timestamp: int
    object_id: str | None
    due: str | None
    by: str | None
    won: bool | None
    micros: int | None
    currency: str | None


@dataclass(slots=True)
class Meeting:
    """`state`: booked, canceled, attended or no_show, and since when; `booked_at`: null if its booking never came."""

    id: str | None
    booked_at: int | None
    due: str | None = None
    state: str = ""
    state_at: int = 0
    by: str | None = None
    reschedules: int = 0

    @property
    def alive(self) -> bool:
        """Booked, and neither canceled nor past."""
        return self.state == "booked"


@dataclass(slots=True)
class Deal:
    """`state`: won, lost or open, and since when; `n`: the place of the last event that said so."""

    id: str | None
    state: str = ""
    state_at: int = 0
    n: int = 0
    micros: int | None = None
    currency: str | None = None


@dataclass(slots=True)
class Life:
    """The meetings and deals of one conversation."""

    meetings: list[Meeting] = field(default_factory=list)
    deals: dict[str | None, Deal] = field(default_factory=dict)
    _named: dict[str | None, int] = field(default_factory=dict)
    _alive: list[int] = field(default_factory=list)  # a heap of negative places; what has died is met and dropped

    def latest_live(self) -> int | None:
        """The place of the latest live meeting."""
        while self._alive and not self.meetings[-self._alive[0]].alive:
            heappop(self._alive)
        return -self._alive[0] if self._alive else None

    def meant(self, object_id: str | None) -> int:
        """The place of the meeting of that id, without one of the latest live meeting; or of a new one."""
        place = self.latest_live() if object_id is None else self._named.get(object_id)
        if place is None:
            place = len(self.meetings)
            self.meetings.append(Meeting(object_id, None))
            self._named[object_id] = place
        return place

    def revive(self, place: int) -> None:
        """The meeting at this place is live from now on."""
        heappush(self._alive, -place)


def live(changes: Iterable[Change]) -> Life:
    """Play the changes of one conversation in order."""
    life = Life()
    for change in changes:
        play(life, change)
    return life


def play(life: Life, change: Change) -> None:
    """Play one more change."""
    if change.event_type in MEETINGS:
        _meet(life, change)
    else:
        _deal(life.deals, change)


def _meet(life: Life, change: Change) -> None:
    said = change.event_type.removeprefix("meeting_")
    place = life.meant(change.object_id)
    meeting = life.meetings[place]
    if said == "booked" and meeting.booked_at is None:
        meeting.booked_at = change.timestamp
    state = "booked" if said == "rescheduled" else said
    moved = meeting.alive and meeting.due is not None and change.due not in (None, meeting.due)
    meeting.reschedules += said == "rescheduled" or (said == "booked" and moved)
    if meeting.state != state:
        meeting.state, meeting.state_at, meeting.by = state, change.timestamp, None
        if meeting.alive:
            life.revive(place)
    meeting.due = change.due or meeting.due
    if state in ("canceled", "no_show"):
        meeting.by = change.by or meeting.by


def _deal(deals: dict[str | None, Deal], change: Change) -> None:
    deal = deals.setdefault(change.object_id, Deal(change.object_id))
    state = "open" if change.event_type == "deal_reopened" else "won" if change.won else "lost"
    if deal.state != state:
        deal.state, deal.state_at = state, change.timestamp
    deal.n = change.n
    if change.micros is not None:
        deal.micros, deal.currency = change.micros, change.currency


def summary(life: Life, zone: ZoneInfo) -> dict[str, Any]:
    """What the conversation's row keeps of its meetings and deals."""
    won = [d for d in life.deals.values() if d.state == "won"]
    lost = [d for d in life.deals.values() if d.state == "lost"] if not won else []
    attended = [m.state_at for m in life.meetings if m.state == "attended"]
    alive = [_deadline(m, zone) for m in life.meetings if m.alive]
    return {
        "attended_at": min(attended, default=None),
        "followed_from": max(attended, default=None),
        "awaited_until": max(alive, default=None),
        "converted_at": min((d.state_at for d in won), default=None),
        "lost_at": min((d.state_at for d in lost), default=None),
        "n_lost": max((d.n for d in lost), default=None),
        "revenue": money((d.currency, d.micros) for d in won),
    }


def due_at(due: str, zone: ZoneInfo) -> int:
    """When a meeting is due, in microseconds: a date without a time at the end of that day in `zone`."""
    if len(due) == 10 and due[4] == "-":
        return to_micros(midnight(date.fromisoformat(due) + timedelta(days=1), zone))
    return int(due)


def _deadline(meeting: Meeting, zone: ZoneInfo) -> int:
    if meeting.due is None:
        return (meeting.booked_at if meeting.booked_at is not None else meeting.state_at) + UNDATED
    return due_at(meeting.due, zone) + GRACE


def money(amounts: Iterable[tuple[str | None, int | None]]) -> str | None:
    """Sums by currency as JSON of exact decimals, `{"EUR": "12.50"}`; null when there is no amount."""
    sums: dict[str, int] = {}
    for currency, micros in amounts:
        if currency is not None and micros is not None:
            sums[currency] = sums.get(currency, 0) + micros
    return json.dumps({c: decimal_text(sums[c]) for c in sorted(sums)}) if sums else None


def decimal_text(micros: int) -> str:
    """`12500000` is `12.50`: at least two decimals where there are any, and no more than needed."""
    number = (Decimal(micros) / MICROS).normalize()
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int) or exponent >= 0:
        return f"{number:f}"
    return f"{number:.{max(2, -exponent)}f}"
