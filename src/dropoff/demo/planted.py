"""What is planted in the demo data, and how large it is: read by the simulation, by tests and by documents."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

TIMEZONE = "America/New_York"
DEFAULT_END = datetime(2026, 6, 1, tzinfo=UTC)
SPAN = timedelta(weeks=18)

TEST_SHARE = 0.02
RETURNING_SHARE = 0.15
"""Of all conversations, those in which a contact comes back (always inbound)."""


@dataclass(frozen=True, slots=True)
class DropOff:
    """Version 1 asks bluntly for the budget, and many fall silent, on chat most of all. Version 2 asks gently."""

    intent: str
    old_version: str
    new_version: str
    deployed: timedelta
    silent_old_chat: float
    silent_old: float
    silent_new: float
    silent_elsewhere: tuple[float, float]

    def silent(self, version: str, channel: str) -> float:
        """The chance that the prospect never writes again after this question."""
        if version == self.new_version:
            return self.silent_new
        return self.silent_old_chat if channel == "chat" else self.silent_old


@dataclass(frozen=True, slots=True)
class Variants:
    """A randomised first message: `better` gets `ratio` times the replies, and so the bookings, of `worse`."""

    experiment: str
    better: str
    worse: str
    ratio: float
    null_experiment: str
    null_arms: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Divergence:
    """After a price objection the bot tosses a coin between two answers; all else before it is equal."""

    objection: str
    good: str
    bad: str
    silent_good: float
    silent_bad: float
    accept_bad: float
    win_bad: float


@dataclass(frozen=True, slots=True)
class Incident:
    """The bot's language service is down: answers become fallbacks, greetings go out with an unfilled name."""

    days_before_end: int
    weekday: int
    local_start: time
    duration: timedelta
    fallback_share: float
    error_share: float
    reply_factor: float
    silent_after_fallback: float
    annoyance: float
    trigger: str
    error_kind: str


@dataclass(frozen=True, slots=True)
class Segments:
    """`medium` is truly better. `industry` has no effect of its own and looks better because of where it comes from."""

    medium: str
    reply_factor: float
    accept_factor: float
    industry: str
    industry_medium_share: float
    other_medium_share: float


DROP_OFF = DropOff("ask_budget", "1.4.2", "2.0.0", timedelta(weeks=9), 0.62, 0.40, 0.16, (0.07, 0.12))
VARIANTS = Variants("first_message", "question", "statement", 1.35, "signature", ("person", "team"))
DIVERGENCE = Divergence("price", "share_case_study", "offer_discount", 0.08, 0.38, 0.62, 0.70)
INCIDENT = Incident(
    days_before_end=21,
    weekday=1,
    local_start=time(9, 0),
    duration=timedelta(hours=3, minutes=20),
    fallback_share=0.92,
    error_share=0.35,
    reply_factor=0.45,
    silent_after_fallback=0.05,
    annoyance=0.35,
    trigger="nlu_unavailable",
    error_kind="nlu_timeout",
)
SEGMENTS = Segments("referral", 1.10, 1.35, "Legal", 0.75, 0.14)


def deployed_at(end: datetime) -> datetime:
    """The instant from which new conversations are held by the new version."""
    return end - DROP_OFF.deployed


def incident_window(end: datetime) -> tuple[datetime, datetime]:
    """First and last instant (UTC) of the incident: the last such weekday at least `days_before_end` before `end`."""
    day = (end.astimezone(ZoneInfo(TIMEZONE)) - timedelta(days=INCIDENT.days_before_end)).date()
    day -= timedelta(days=(day.weekday() - INCIDENT.weekday) % 7)
    start = datetime.combine(day, INCIDENT.local_start, ZoneInfo(TIMEZONE)).astimezone(UTC)
    return start, start + INCIDENT.duration


def truths(end: datetime = DEFAULT_END) -> dict[str, Any]:
    """Every planted truth as plain values, with its dates for data that end at `end`."""
    start, stop = incident_window(end)
    return {
        "period": {"from": end - SPAN, "to": end, "timezone": TIMEZONE},
        "drop_off": {**asdict(DROP_OFF), "deployed": deployed_at(end)},
        "variants": asdict(VARIANTS),
        "divergence": asdict(DIVERGENCE),
        "incident": {**asdict(INCIDENT), "from": start, "to": stop},
        "segments": asdict(SEGMENTS),
        "test_share": TEST_SHARE,
        "returning_share": RETURNING_SHARE,
    }
