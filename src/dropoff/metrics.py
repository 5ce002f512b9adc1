"""The metrics: each declared once, for page, API, command line, SQL, alert and report.

A metric says what it counts: rows of a source, the SQL of a numerator and, unless it is a count, of a denominator.
What can be summed is rolled up by hour and day; medians, distinct counts and what depends on the clock are not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, NamedTuple

from dropoff.errors import InvalidInput, did_you_mean

Unit = Literal["count", "share", "ratio", "seconds", "score", "money"]
Source = Literal[
    "conversations", "messages", "turns", "meetings", "due_meetings", "deals", "costs", "events", "events_by_start"
]  # fmt: skip


class Total(NamedTuple):
    """The sum of a fractional value over the rows that satisfy `where`: exact to six decimals in any order of rows."""

    value: str
    where: str = "true"


class Condition(NamedTuple):
    """One comparison of one property."""

    property: str
    sign: str
    value: Any


class Events(NamedTuple):
    """How many events of a type satisfy all conditions; `distinct`: how many conversations have one."""

    event_type: str
    conditions: tuple[Condition, ...] = ()
    distinct: bool = False


class Contacts(NamedTuple):
    """How many distinct contacts have a conversation that satisfies `where`; one without a contact counts by itself."""

    where: str = "true"


Aggregate = str | Total | Events | Contacts
"""What a metric adds up. A text is SQL that every engine takes."""

CLOCKS = {"cohort": "by the start of the conversation", "activity": "by the time of the event"}


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. `numerator` and `denominator` are aggregates over the rows of `source`; `good` is up or down.

    `share`: the numerator is a subset of the denominator, so it lies in [0, 1] and has a Wilson interval. `quantile`:
    the SQL of a value whose median (and p90, p99) is the metric. `by_currency`: one number for each currency, its
    numerator in millionths. `beside`: the SQL of a count shown with it: rows that are left out because nobody knows
    (`unknown`), or all rows, of which the denominator is the `labelled_share`. `stages`: it is null where the project
    records none of the events of one of them. `matures`: the stage up to which a conversation is still to be waited
    for before it can count as one that did not.
    """

    name: str
    unit: Unit
    clock: Literal["cohort", "activity"]
    good: Literal["up", "down", ""]
    source: Source
    description: str
    numerator: Aggregate = ""
    denominator: Aggregate | None = None
    quantile: str | None = None
    by_currency: bool = False
    additive: bool = True
    beside: tuple[Literal["unknown", "labelled_share"], str] | None = None
    stages: tuple[str, ...] = ()
    matures: str = ""


STEP_DAYS: Mapping[str, int] = {
    "responded": 1, "qualified": 3, "booked": 7, "attended": 14, "opportunity": 14, "converted": 60,
}  # fmt: skip
"""How many days a stage is waited for after the one before it, where the project says nothing and has no history."""

HORIZON = "horizon"
"""Beside the stages, in `[maturity]`: the age in days for which rates are projected."""
MOST_DAYS = 365
"""A conversation is not waited for any longer."""


def where(condition: str) -> str:
    """How many rows satisfy a condition."""
    return f"count(*) FILTER (WHERE {condition})"


STAGES = ("started", *STEP_DAYS)
"""The stages of a conversation, in order."""
RATES: Mapping[str, tuple[str, str]] = {
    "response_rate": ("responded", "started"),
    "qualification_rate": ("qualified", "responded"),
    "booking_rate": ("booked", "qualified"),
    "show_rate": ("attended", "booked"),
    "opportunity_rate": ("opportunity", "attended"),
    "conversion_rate": ("converted", "attended"),
    "win_rate": ("converted", "started"),
}
"""The rates between stages: which is divided by which."""


def _reached(name: str, top: str, bottom: str) -> Metric:
    numerator, denominator = (where(f"level >= {STAGES.index(stage)}") for stage in (top, bottom))
    return Metric(
        name, "share", "cohort", "up", "conversations", f"{top} / {bottom}", numerator, denominator,
        stages=(top, bottom), matures=top,
    )  # fmt: skip


def _share(
    name: str, good: Literal["up", "down", ""], condition: str, of: str, text: str, additive: bool = True
) -> Metric:
    return Metric(
        name, "share", "cohort", good, "conversations", text, where(f"({condition}) AND ({of})"), where(of),
        additive=additive, matures="responded",
    )  # fmt: skip


def _count(name: str, source: Source, condition: str, text: str, good: Literal["up", "down", ""] = "up") -> Metric:
    clock = "cohort" if source == "conversations" else "activity"
    return Metric(name, "count", clock, good, source, text, where(condition))


_SECONDS = "date_diff('microsecond', started_at, {0}) / 1000000.0"

_ALL = (
    _count("conversations_started", "conversations", "true", "conversations started"),
    _count("inbound_conversations", "conversations", "direction = 'inbound'", "started by the prospect", ""),
    _count("outbound_conversations", "conversations", "direction = 'outbound'", "started by the bot", ""),
    Metric(
        "leads", "count", "cohort", "up", "conversations", "distinct contacts (else conversations) that started",
        Contacts(), additive=False,
    ),
    Metric(
        "qualified_leads", "count", "cohort", "up", "conversations", "distinct contacts that reached qualified",
        Contacts("level >= 2"), additive=False, matures="qualified",
    ),
    Metric(
        "messages_per_conversation", "ratio", "cohort", "", "conversations", "messages / conversations",
        "sum(message_count)", "count(*)", matures="responded",
    ),
    _count("bot_messages", "messages", "sender = 'bot'", "messages of the bot", ""),
    _count("human_messages", "messages", "sender <> 'bot'", "messages of prospects and agents", ""),
    *(_reached(name, *stages) for name, stages in RATES.items()),
    _share("engagement_rate", "up", "counted_replies >= 2", "true", "with two or more counted replies / started"),
    _share(
        "delivery_rate", "up", "delivered_bot_messages > 0", "bot_messages > 0",
        "with a delivered bot message / with a bot message",
    ),
    _share(
        "delivered_response_rate", "up", "level >= 1", "delivered_bot_messages > 0",
        "responded / with a delivered bot message",
    ),
    _count("meetings_booked", "meetings", "booked_at IS NOT NULL", "distinct meetings, by booking time"),
    _count("deals_closed", "deals", "state = 'won'", "deals that are won now, by closing time"),
    Metric(
        "revenue", "money", "activity", "up", "deals", "amounts of the deals that are won now",
        "sum(micros) FILTER (WHERE state = 'won')", by_currency=True, additive=False,
    ),
    Metric(
        "meeting_show_rate", "share", "activity", "up", "due_meetings",
        "attended / meetings that were due an hour ago or earlier and are known to have been kept or not",
        where("state = 'attended' AND past"), where("state IN ('attended', 'no_show') AND past"), additive=False,
        beside=("unknown", where("state = 'booked' AND due_at IS NOT NULL AND past")),
    ),
    Metric(
        "meetings_attended", "count", "activity", "up", "due_meetings",
        "meetings that were due an hour ago or earlier and were attended, by their date",
        where("state = 'attended' AND past"), additive=False,
    ),
    Metric(
        "sentiment_average", "score", "activity", "up", "messages", "mean over scored prospect messages",
        Total("sentiment", "sender = 'prospect'"),
        "count(sentiment) FILTER (WHERE sender = 'prospect')",
    ),
    Metric(
        "sentiment_trend", "score", "cohort", "up", "conversations", "mean of end - start over conversations",
        Total("sentiment_trend"), "count(sentiment_trend)", matures="responded",
    ),
    Metric(
        "csat", "score", "cohort", "up", "conversations", "mean of the last feedback, on the scale 0 to 1",
        Total("csat"), "count(csat)", matures="responded",
    ),
    _share("escalation_rate", "down", "escalated", "true", "escalated / started"),
    _share("human_takeover_rate", "down", "taken_over", "true", "escalated and later an agent message / started"),
    _share("human_intervention_rate", "down", "agent_messages > 0", "true", "with an agent message / started"),
    _share(
        "automation_rate", "up", "agent_messages = 0 AND NOT escalated", "bot_messages > 0",
        "no agent message and not escalated / with a bot message",
    ),
    _share(
        "resolution_rate", "up",
        "NOT escalated AND agent_messages = 0 AND NOT ends_in_fallback AND ending NOT IN ('dropped', 'opted_out')",
        "status = 'closed'",
        "closed without escalation, agent message, last turn a fallback, silence or opt-out / closed", additive=False,
    ),
    Metric(
        "understanding_rate", "share", "activity", "up", "messages",
        "prospect messages with confidence of 0.5 or more and no fallback in the answer / those with either",
        where("understood"), "count(understood)",
    ),
    Metric(
        "fallback_rate", "share", "activity", "down", "turns", "bot turns with a fallback / bot turns",
        where("fallback"), "sum(turn)",
    ),
    Metric(
        "error_rate", "share", "activity", "down", "turns", "bot turns with an error / bot turns",
        where("error"), "sum(turn)",
    ),
    Metric(
        "appropriateness_rate", "score", "activity", "up", "messages", "mean over labelled bot messages",
        Total("appropriateness", "sender = 'bot'"),
        "count(appropriateness) FILTER (WHERE sender = 'bot')", beside=("labelled_share", where("sender = 'bot'")),
    ),
    _share("opt_out_rate", "down", "opted_out_at IS NOT NULL", "true", "opted out / started"),
    Metric(
        "response_time", "seconds", "activity", "down", "messages", "how long the bot takes to answer: median",
        quantile="CASE WHEN sender = 'bot' THEN response_seconds END", additive=False,
    ),
    Metric(
        "time_to_qualification", "seconds", "cohort", "down", "conversations", "from start to qualified: median",
        quantile=_SECONDS.format("qualified_at"), additive=False, matures="qualified",
    ),
    Metric(
        "time_to_booking", "seconds", "cohort", "down", "conversations", "from start to booked: median",
        quantile=_SECONDS.format("booked_at"), additive=False, matures="booked",
    ),
    Metric(
        "conversation_duration", "seconds", "cohort", "", "conversations", "of closed conversations: median",
        quantile="CASE WHEN status = 'closed' THEN duration_seconds END", additive=False, matures="responded",
    ),
    Metric(
        "touches_per_conversion", "ratio", "cohort", "down", "conversations",
        "bot and agent messages up to the win / converted",
        "sum(touches)", where("converted_at IS NOT NULL"), matures="converted",
    ),
    Metric(
        "cost", "money", "cohort", "down", "costs", "what the messages of the conversations cost",
        "sum(micros)", by_currency=True, additive=False, matures="responded",
    ),
    Metric(
        "cost_per_meeting", "money", "cohort", "down", "costs",
        "what the messages of the conversations cost / meetings of theirs that were attended",
        "sum(micros)", "sum(attended)", by_currency=True, additive=False, matures="attended",
    ),
)  # fmt: skip

METRICS: Mapping[str, Metric] = {metric.name: metric for metric in _ALL}
"""Every metric by name, in the order in which they are shown."""

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
"""What is shown of a metric that is a median."""


def decimal(value: float, digits: int = 6) -> str:
    """A number with at most so many significant digits, but all before the point, and no exponent: `0.2`, `0.00001`."""
    return f"{value:.0f}" if abs(value) >= 10**digits else f"{Decimal(f'{value:.{digits}g}'):f}"


def named(names: Sequence[str], registry: Mapping[str, Metric] = METRICS) -> list[Metric]:
    """The metrics of these names (none: all); raises `InvalidInput` listing them for an unknown one."""
    for name in names:
        if name not in registry:
            raise InvalidInput("metric", name, f"one of {', '.join(registry)}{did_you_mean(name, registry, '; ')}")
    return [registry[name] for name in names] if names else list(registry.values())
