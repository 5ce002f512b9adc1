"""Generated sales conversations, realistic and with known truths planted in them (docs/demo.md).

`generate` is a pure function of its arguments: the same numbers give the same bytes in every process.
"""

from collections.abc import Iterator
from datetime import datetime
from hashlib import sha256

from dropoff.demo.planted import DEFAULT_END, DROP_OFF, deployed_at, incident_window, truths
from dropoff.demo.script import hold
from dropoff.demo.talk import Event, Talk
from dropoff.demo.world import Calendar, contact, contact_number, derived, millis, pick, weighted
from dropoff.errors import InvalidInput

__all__ = ["DEFAULT_END", "generate", "truths"]

CHANNELS = weighted({"sms": 40, "chat": 32, "email": 14, "whatsapp": 9, "voice": 5})
OUTBOUND = {"sms": 0.62, "chat": 0.06, "email": 0.70, "whatsapp": 0.35, "voice": 0.45}
BOT_ID = "brightdesk-sales"
MOOD_OF_THE_INCIDENT = -0.45


def generate(conversations: int = 20_000, seed: int = 7, end: datetime = DEFAULT_END) -> Iterator[Event]:
    """Native events of that many conversations over the 18 weeks before `end`, conversation by conversation.

    Nothing at or after `end` is told, so late conversations are still open and their deals not closed.
    Refuses a naive `end` and a negative number.
    """
    if end.tzinfo is None:
        raise InvalidInput("end", end, "an aware datetime")
    if conversations < 0:
        raise InvalidInput("conversations", conversations, "zero or more")
    return _generate(conversations, seed, end)


def _generate(conversations: int, seed: int, end: datetime) -> Iterator[Event]:
    tag = sha256(f"{conversations}:{seed}:{millis(end)}".encode()).hexdigest()[:6]
    calendar = Calendar(millis(end))
    starts = calendar.starts(derived(seed, "starts"), conversations)
    start, stop = incident_window(end)
    deployed, incident = millis(deployed_at(end)), (millis(start), millis(stop))
    for number, at in enumerate(starts):
        owner = contact_number(seed, number, conversations)
        talk = Talk(
            rng=derived(seed, "conversation", number),
            calendar=calendar,
            incident=incident,
            contact=contact(seed, tag, owner),
            base={},
            key=f"demo-{tag}-{number:05d}",
            at=at,
            mood=MOOD_OF_THE_INCIDENT if incident[0] <= at < incident[1] else 0.05,
        )
        version = DROP_OFF.new_version if at >= deployed else DROP_OFF.old_version
        talk.base = _envelope(talk, version, returning=owner != number)
        hold(talk)
        yield from _told(talk, calendar.end)


def _envelope(talk: Talk, version: str, returning: bool) -> Event:
    channel = pick(talk.rng, CHANNELS)
    outbound = talk.chance(OUTBOUND[channel]) and not returning
    return {
        "conversation_id": talk.key,
        "channel": channel,
        "direction": "outbound" if outbound else "inbound",
        "contact_id": talk.contact.id,
        "bot_id": BOT_ID,
        "bot_version": version,
        **({"is_test": True} if talk.contact.is_test else {}),
    }


def _told(talk: Talk, end: int) -> Iterator[Event]:
    ordered = sorted(talk.events, key=lambda entry: entry[:2])
    return (event for at, _, event in ordered if at < end)
