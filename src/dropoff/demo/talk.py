"""One conversation while it is being held: who speaks when, what is understood, how the mood moves."""

from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from random import Random
from typing import Any

from dropoff.demo.planted import INCIDENT
from dropoff.demo.texts import BOT, PROSPECT, REPS
from dropoff.demo.world import DAY, HOUR, MINUTE, SECOND, Calendar, Contact, Weighted, pick, spread, weighted
from dropoff.periods import EPOCH

Event = dict[str, Any]

# Median waiting times in milliseconds: of the bot, of the prospect.
LATENCY = {
    "sms": (5 * SECOND, 6 * MINUTE),
    "chat": (2 * SECOND, 24 * SECOND),
    "email": (70 * SECOND, 4 * HOUR),
    "whatsapp": (4 * SECOND, 9 * MINUTE),
    "voice": (1 * SECOND, 6 * SECOND),
}
SLOW = frozenset({"sms", "email", "whatsapp"})
COST = {"sms": "0.0079", "whatsapp": "0.0147"}
IDLE = {"chat": 10 * MINUTE, "voice": 20 * SECOND}

# How an intent sounds, against the mood of the moment.
TONE = {
    "interested": 0.20,
    "confirm": 0.35,
    "smalltalk": 0.10,
    "objection_price": -0.30,
    "objection_timing": -0.20,
    "objection_trust": -0.25,
    "not_interested": -0.30,
    "unclear": -0.15,
    "complaint": -0.45,
    "ask_human": -0.15,
}
# How the mood stays changed after what either side said.
MOOD = {
    "objection_price": -0.12,
    "objection_timing": -0.06,
    "objection_trust": -0.06,
    "share_case_study": 0.20,
    "fallback": -0.14,
}

TICK = 15
"""Milliseconds between two events of one moment, so that no order rests on a tie."""
MISUNDERSTOOD = 0.035
LEAVES_AFTER_FALLBACK = 0.12
MOST_MISSES = 5
GIVES_UP = 0.2
ERRORS = 0.004
ASKS_HUMAN = 0.012
NUDGED = 0.25
REVIVED = 0.30

TRIGGERS = weighted({"low_confidence": 55, "out_of_scope": 30, "unknown_language": 15})
ERROR_KINDS = weighted({"crm_timeout": 50, "llm_timeout": 35, "calendar_unavailable": 15})
ENDS = {"complete": "completed", "silent": "idle_timeout", "parted": "declined", "human": "handed_over"}


@dataclass(slots=True)
class Talk:
    """The state of one conversation. `at` is its clock in milliseconds; `events` grow as it goes."""

    rng: Random
    calendar: Calendar
    incident: tuple[int, int]
    contact: Contact
    base: Event
    key: str
    at: int
    mood: float
    accept: float = 1.0
    win: float = 1.0
    end: str = "silent"
    messages: int = 0
    events: list[tuple[int, int, Event]] = field(default_factory=list)

    @property
    def channel(self) -> str:
        """The channel it is held on."""
        return self.base["channel"]

    @property
    def slow(self) -> bool:
        """Whether people answer here in minutes and hours rather than in seconds."""
        return self.channel in SLOW

    @property
    def disturbed(self) -> bool:
        """Whether the incident is on."""
        return self.incident[0] <= self.at < self.incident[1]

    def chance(self, probability: float) -> bool:
        """True this often."""
        return self.rng.random() < probability

    def emit(self, event_type: str, at: int | None = None, base: Event | None = None, **properties: Any) -> None:
        """Record one event, now or at `at`; `base` replaces the envelope (a CRM does not know the conversation)."""
        moment, number = self.at if at is None else at, len(self.events)
        envelope = self.base if base is None else base
        event = {
            "event_type": event_type,
            "event_id": f"{self.key}-{number:03}",
            "timestamp": stamp(moment),
            **envelope,
        }
        if "message_id" in properties:
            event["message_id"] = properties.pop("message_id")
        event["properties"] = properties
        self.events.append((moment, number, event))
        self.at += TICK if at is None else 0

    def say(self, intent: str, text: str = "", sender: str = "bot", **extra: Any) -> None:
        """The bot (or an agent) writes one message."""
        self.at += spread(self.rng, LATENCY[self.channel][0])
        if self.chance(INCIDENT.error_share if self.disturbed else ERRORS):
            self.emit("error", kind=self._error_kind(), message="no answer within 5 s")
            self.at += SECOND
        properties = {"sender": sender, "content": self._text(BOT[text or intent]), "intent": intent, **extra}
        if self.channel in COST and sender == "bot":
            properties |= {"cost": COST[self.channel], "currency": "USD"}
        if self.chance(0.04):
            properties["appropriate"] = intent != "fallback" and self.chance(0.94)
        self.emit("message_sent", message_id=self.next_message(), **properties)
        self.mood += MOOD.get(intent, 0.0)

    def ask(self, intent: str, replies: Weighted, silent: float, text: str = "", final: bool = False) -> str | None:
        """The bot says something that wants an answer: the prospect's intent, or None when the talk is over.

        After a `final` question whoever is silent stays silent; otherwise slow channels nudge, and some come back.
        """
        self.say(intent, text)
        if self.chance(silent) and (final or not self._nudge()):
            return None
        return self.hear(replies)

    def hear(self, replies: Weighted) -> str | None:
        """The prospect writes, perhaps more than once until understood."""
        misses = 0
        self._wait()
        while self.chance(INCIDENT.fallback_share if self.disturbed else MISUNDERSTOOD):
            misses += 1
            if not self._misunderstand(misses):
                return None
        if self.chance(ASKS_HUMAN):
            self.receive("ask_human")
            return self.escalate("asked_for_human")
        intent = pick(self.rng, replies)
        self.receive(intent)
        return intent

    def receive(self, intent: str, **extra: Any) -> None:
        """The prospect's message with its labels; an objection is an event of its own too."""
        low, high = (0.18, 0.45) if intent == "unclear" else (0.58, 0.99)
        tone = self.mood + TONE.get(intent, 0.0) + (self.rng.random() - 0.5) * 0.5
        self.emit(
            "message_received",
            message_id=self.next_message(),
            sender="prospect",
            content=self._text(PROSPECT[intent]),
            intent=intent,
            intent_confidence=round(low + (high - low) * self.rng.random(), 2),
            sentiment=round(min(1.0, max(-1.0, tone)), 2),
            **extra,
        )
        self.mood += MOOD.get(intent, 0.0)
        if intent.startswith("objection_"):
            self.emit("objection_raised", objection=intent.removeprefix("objection_"))

    def escalate(self, reason: str) -> None:
        """A human takes over; what they agree on is decided by the caller of the whole talk."""
        self.end = "human"
        self.say("handover")
        self.emit("escalated", reason=reason, to=self.rng.choice(REPS))

    def close(self) -> None:
        """Chats and calls have an end of their own; the other channels just fall silent."""
        if self.channel in IDLE:
            pause = IDLE[self.channel] if self.end == "silent" else 4 * SECOND
            self.at += pause
            self.emit("conversation_ended", reason=ENDS[self.end])

    def next_message(self) -> str:
        """The id of the next message."""
        self.messages += 1
        return f"{self.key}-m{self.messages}"

    def _wait(self) -> None:
        self.at += spread(self.rng, LATENCY[self.channel][1])
        if self.slow:
            self.at = self.calendar.awake(self.rng, self.at)

    def _nudge(self) -> bool:
        """On slow channels the bot may ask once more; True if that brings the prospect back."""
        if not self.slow or not self.chance(NUDGED):
            return False
        self.at += DAY + spread(self.rng, HOUR)
        self.say("follow_up")
        return self.chance(REVIVED)

    def _misunderstand(self, misses: int) -> bool:
        """The bot does not understand: True while the prospect still tries."""
        disturbed = self.disturbed
        self.receive("complaint" if misses > 1 and self.chance(0.6) else "unclear")
        utterance = self.events[-1][2]["properties"]["content"]
        self.emit("fallback", trigger=INCIDENT.trigger if disturbed else pick(self.rng, TRIGGERS), utterance=utterance)
        if misses > MOST_MISSES or (misses > 1 and self.chance(GIVES_UP)):
            self.escalate("fallback_loop")
            return False
        self.say("fallback")
        self.mood -= INCIDENT.annoyance if disturbed else 0.0
        if self.chance(INCIDENT.silent_after_fallback if disturbed else LEAVES_AFTER_FALLBACK):
            return False
        self._wait()
        return True

    def _error_kind(self) -> str:
        return INCIDENT.error_kind if self.disturbed else pick(self.rng, ERROR_KINDS)

    def _text(self, choices: tuple[str, ...]) -> str:
        text = choices[int(self.rng.random() * len(choices))]
        return text.format_map(self._words()) if "{" in text else text

    def _words(self) -> dict[str, str]:
        rng, person = self.rng, self.contact
        return {
            "name": person.name,
            "company": person.company,
            "industry": person.attributes["industry"].lower(),
            "rep": REPS[int(rng.random() * len(REPS))].removeprefix("rep_").title(),
            "slot": f"{('Tuesday', 'Wednesday', 'Thursday')[int(rng.random() * 3)]} at {9 + int(rng.random() * 8)}:30",
            "sign": " – Maya" if person.signature == "person" else " – the Brightdesk team",
        }


def stamp(at: int) -> str:
    """RFC 3339 in UTC, with milliseconds."""
    seconds, fraction = divmod(at % DAY, SECOND)
    return f"{_date(at // DAY)}T{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{fraction:03}Z"


@cache
def _date(day: int) -> str:
    return str((EPOCH + timedelta(days=day)).date())
