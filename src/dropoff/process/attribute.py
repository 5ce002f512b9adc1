"""Which conversation an event belongs to that names only a contact: SEMANTICS §1, a pure function of the events.

A CRM or a calendar knows the contact, not the conversation. One contact's conversations and contact events are few,
and what decides is their order, so this is plain Python over one contact at a time.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import polars as pl

from dropoff.events import MICROS
from dropoff.process.fold import without_retracted
from dropoff.process.frames import with_facts
from dropoff.process.lifecycle import DEALS, MEETINGS, Change, Life, play

DAY = 86_400 * MICROS
MAX_COMPONENT = 50
"""Above so many ids of one contact nothing is merged: it is a mistake of the sender, and listed."""

NOT_ATTRIBUTED = ("contact_identified", "event_retracted", "experiment_exposed")
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
    life: Life = field(default_factory=Life)
    has_opportunity: bool = False


class _Moment(NamedTuple):
    """One event of a contact's time line; `owner` is None where it names no conversation."""

    order: tuple
    owner: str | None
    contact_id: str
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
            sorted(line, key=lambda moment: moment.order), conversations.get(contact, []), horizon_days * DAY
        )
    ]


def _lives() -> pl.Expr:
    return pl.col("event_type").is_in((*MEETINGS, *DEALS, "opportunity_created"))


def _conversations(named: pl.DataFrame, canonical: Mapping[str, str]) -> dict[str, list[_Conversation]]:
    """The conversations of each contact; a conversation's contact is the last one given, its start that of §3."""
    kind, at = pl.col("event_type"), pl.col("timestamp")
    started = pl.when(kind == "conversation_started").then(at).min()
    message = pl.when(kind.is_in(("message_sent", "message_received"))).then(at).min()
    rows = named.sort("timestamp", "sequence", "id", nulls_last=True).group_by("conversation_id").agg(
        pl.coalesce(started, message, at.min()).alias("started_at"),
        pl.col("contact_id").last(ignore_nulls=True),
    )  # fmt: skip
    found: dict[str, list[_Conversation]] = {}
    for conversation_id, started_at, contact in rows.filter(pl.col("contact_id").is_not_null()).rows():
        found.setdefault(canonical.get(contact, contact), []).append(_Conversation(conversation_id, started_at))
    for conversations in found.values():
        conversations.sort(key=lambda c: (c.started_at, c.id))
    return found


def _moments(rows: pl.DataFrame) -> list[_Moment]:
    columns = ["timestamp", "sequence", "id", "conversation_id", "contact_id", *Change._fields]
    numbered = rows.with_row_index("n")
    values = numbered.select(pl.col(name).alias(f"{i}") for i, name in enumerate(columns)).rows()
    return [
        _Moment((at, sequence is None, sequence or 0, own), owner, contact, Change(*change))
        for at, sequence, own, owner, contact, *change in values
    ]


def _follow(line: Sequence[_Moment], conversations: Sequence[_Conversation], horizon: int) -> Iterable[Attribution]:
    """Play one contact's time line, deciding on each contact event by what came before it."""
    by_id = {c.id: c for c in conversations}
    objects: dict[tuple[str, str], str] = {}
    for moment in line:  # an id named by a conversation holds for all of time
        if moment.owner is not None and moment.change.object_id is not None:
            objects.setdefault((moment.family, moment.change.object_id), moment.owner)
    for moment in line:
        target, rule = by_id.get(moment.owner or ""), ""
        if moment.owner is None:
            target, rule = _decide(moment, conversations, by_id, objects, horizon)
            yield Attribution(
                moment.contact_id, moment.order[-1], moment.change.event_type, moment.change.timestamp,
                target.id if target else None, rule,
            )  # fmt: skip
        if target is not None:
            _take_in(moment, target, objects)


def _take_in(moment: _Moment, target: _Conversation, objects: dict[tuple[str, str], str]) -> None:
    if moment.change.object_id is not None:
        objects.setdefault((moment.family, moment.change.object_id), target.id)
    if moment.change.event_type in (*MEETINGS, *DEALS):
        play(target.life, moment.change)
    target.has_opportunity |= moment.family == "opportunity"


def _decide(
    moment: _Moment,
    conversations: Sequence[_Conversation],
    by_id: Mapping[str, _Conversation],
    objects: Mapping[tuple[str, str], str],
    horizon: int,
) -> tuple[_Conversation | None, str]:
    same = objects.get((moment.family, moment.change.object_id or ""))
    if same is not None:
        return by_id[same], "object_id"
    rules: dict[str, list[_Conversation]] = {}
    if moment.family == "meeting":
        rules["live_booking"] = [c for c in conversations if any(m.alive for m in c.life.meetings)]
    elif moment.family in ("opportunity", "deal"):
        rules["opportunity"] = [c for c in conversations if c.has_opportunity]
        rules["booking"] = [c for c in conversations if c.life.meetings]
    at = moment.change.timestamp
    rules["latest"] = [c for c in conversations if c.started_at <= at <= c.started_at + horizon]
    return next(((found[-1], rule) for rule, found in rules.items() if found), (None, "unmatched"))
