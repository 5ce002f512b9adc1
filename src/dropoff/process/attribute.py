"""Which conversation an event belongs to that names only a contact: SEMANTICS §1, a pure function of the events.

A CRM or a calendar knows the contact, not the conversation. One contact's conversations and contact events are few,
and what decides is their order, so this is plain Python over one contact at a time.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import NamedTuple

import polars as pl

from dropoff.events import MESSAGES
from dropoff.process.frames import with_facts
from dropoff.process.lifecycle import DAY, DEALS, MEETINGS, Change, Life, play
from dropoff.process.standing import LABELLED, RETRACTED, in_order, without_retracted

NOT_ATTRIBUTED = ("contact_identified", RETRACTED, "experiment_exposed")
"""What speaks of the contact itself."""

RULES = {
    "object_id": "the conversation of an event with the same meeting_id, opportunity_id or deal_id",
    "live_booking": "the contact's latest conversation with a live booking",
    "opportunity": "the contact's latest conversation with an opportunity",
    "booking": "the contact's latest conversation with a booking",
    "latest": "the contact's latest conversation that had started",
    "unmatched": "none",
}
"""How a contact event found its conversation, in the order in which it is tried."""


class Attribution(NamedTuple):
    """Where one contact event belongs. `conversation_id` is None when it is unmatched."""

    contact_id: str
    event_id: str
    event_type: str
    timestamp: int
    conversation_id: str | None
    attributed_by: str


@dataclass(slots=True)
class _Conversation:
    id: str
    started_at: int
    place: int = 0
    life: Life = field(default_factory=Life)


class _Moment(NamedTuple):
    """One event of a contact's time line; `owner` is None where it names no conversation."""

    order: tuple
    owner: str | None
    contact_id: str
    id: str
    change: Change

    @property
    def family(self) -> str:
        return self.change.event_type.partition("_")[0]


def attribute(events: pl.DataFrame, canonical: Mapping[str, str], horizon_days: int = 180) -> list[Attribution]:
    """Where each contact event of `events` belongs, among the conversations in `events`.

    `events` holds all events of the contacts' conversations, and all that name only these contacts, in the columns of
    the table; `canonical` maps ids to the one they mean, where that is another.
    """
    told = with_facts(events)
    named = without_retracted(told.filter(pl.col("conversation_id").is_not_null()))
    named = named.filter(pl.col("event_type") != LABELLED)
    named = named.filter((pl.col("event_type") != RETRACTED).any().over("conversation_id"))
    loose = without_retracted(told.filter(pl.col("conversation_id").is_null()), "contact_id")
    conversations = _conversations(named, canonical)
    moments: dict[str, list[_Moment]] = {}
    owners = {c.id: contact for contact, found in conversations.items() for c in found}
    for moment in _moments(named.filter(_lives())):
        if moment.owner in owners:
            moments.setdefault(owners[moment.owner], []).append(moment)
    for moment in _moments(loose.filter(~pl.col("event_type").is_in(NOT_ATTRIBUTED))):
        moments.setdefault(canonical.get(moment.contact_id, moment.contact_id), []).append(moment)
    return [
        found
        for contact, line in moments.items()
        for found in _follow(
            sorted(line, key=lambda moment: moment.order), conversations.get(contact, []), horizon_days
        )
    ]


def _lives() -> pl.Expr:
    return pl.col("event_type").is_in((*MEETINGS, *DEALS, "opportunity_created"))


def _conversations(named: pl.DataFrame, canonical: Mapping[str, str]) -> dict[str, list[_Conversation]]:
    """The conversations of each contact; a conversation's contact is the last one given, its start that of §3."""
    kind, at = pl.col("event_type"), pl.col("timestamp")
    started = pl.when(kind == "conversation_started").then(at).min()
    message = pl.when(kind.is_in(MESSAGES)).then(at).min()
    ordered = in_order(named.with_columns(pl.lit(None, pl.String).alias("attributed_by")))
    rows = ordered.group_by("g").agg(
        pl.col("conversation_id").first(),
        pl.coalesce(started, message, at.min()).alias("started_at"),
        pl.col("contact_id").last(ignore_nulls=True),
    ).filter(pl.col("contact_id").is_not_null())  # fmt: skip
    found: dict[str, list[_Conversation]] = {}
    for conversation_id, started_at, contact in rows.drop("g").rows():
        found.setdefault(canonical.get(contact, contact), []).append(_Conversation(conversation_id, started_at))
    return found


def _moments(rows: pl.DataFrame) -> list[_Moment]:
    columns = ["timestamp", "sequence", "id", "conversation_id", "contact_id", *Change._fields]
    numbered = rows.with_row_index("n")
    values = numbered.select(pl.col(name).alias(f"{i}") for i, name in enumerate(columns)).rows()
    return [
        _Moment(
            (at, sequence is None, sequence or 0, own, owner is None, owner or contact), owner, contact, own,
            Change(*change),
        )
        for at, sequence, own, owner, contact, *change in values
    ]  # fmt: skip


class _Past:
    """One contact's conversations, and what its time line has said of them so far."""

    def __init__(self, conversations: Iterable[_Conversation], horizon: int) -> None:
        self._conversations = sorted(conversations, key=lambda c: (c.started_at, c.id))
        for place, conversation in enumerate(self._conversations):
            conversation.place = place
        self._starts = [c.started_at for c in self._conversations]
        self._by_id = {c.id: c for c in self._conversations}
        self._objects: dict[tuple[str, str | None], str] = {}
        self._live: list[int] = []  # a heap of negative places, latest first; what is no longer live is met and dropped
        self._with: dict[str, int] = {}  # the latest place with an opportunity, or with a booking
        self._horizon = horizon

    def note_object(self, moment: _Moment, conversation_id: str) -> None:
        """The first conversation that names an id keeps it."""
        if moment.change.object_id is not None:
            self._objects.setdefault((moment.family, moment.change.object_id), conversation_id)

    def take_in(self, moment: _Moment, conversation_id: str) -> None:
        """An event of this conversation happened."""
        target = self._by_id[conversation_id]
        self.note_object(moment, conversation_id)
        if moment.change.event_type in (*MEETINGS, *DEALS):
            play(target.life, moment.change)
        if moment.change.event_type in MEETINGS:
            self._with["booking"] = max(self._with.get("booking", 0), target.place)
        elif moment.change.event_type == "opportunity_created":
            self._with["opportunity"] = max(self._with.get("opportunity", 0), target.place)
        if target.life.latest_live() is not None:
            heappush(self._live, -target.place)

    def decide(self, moment: _Moment) -> tuple[str | None, str]:
        """Where a contact event belongs, and by which of the `RULES`."""
        same = self._objects.get((moment.family, moment.change.object_id))
        if same is not None:
            return same, "object_id"
        found = {
            "live_booking": self._latest_live() if moment.family == "meeting" else None,
            **{rule: self._with.get(rule) for rule in _DEAL_RULES if moment.family in ("opportunity", "deal")},
            "latest": self._latest(moment.change.timestamp),
        }
        found_by = next((rule for rule, place in found.items() if place is not None), "unmatched")
        place = found.get(found_by)
        return None if place is None else self._conversations[place].id, found_by

    def _latest_live(self) -> int | None:
        while self._live and self._conversations[-self._live[0]].life.latest_live() is None:
            heappop(self._live)
        return -self._live[0] if self._live else None

    def _latest(self, at: int) -> int | None:
        place = bisect_right(self._starts, at) - 1
        return place if place >= 0 and at - self._starts[place] <= self._horizon else None


_DEAL_RULES = ("opportunity", "booking")


def _follow(
    line: Sequence[_Moment], conversations: Iterable[_Conversation], horizon_days: int
) -> Iterable[Attribution]:
    """Play one contact's time line, deciding on each contact event by what came before it."""
    past = _Past(conversations, horizon_days * DAY)
    for moment in line:  # an id named by a conversation holds for all of time
        if moment.owner is not None:
            past.note_object(moment, moment.owner)
    for moment in line:
        target = moment.owner
        if target is None:
            target, rule = past.decide(moment)
            change = moment.change
            yield Attribution(moment.contact_id, moment.id, change.event_type, change.timestamp, target, rule)
        if target is not None:
            past.take_in(moment, target)
