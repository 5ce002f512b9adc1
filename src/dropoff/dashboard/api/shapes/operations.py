"""The answer to operations."""

from typing import Any

from typing_extensions import TypedDict

from dropoff.analyse.answers import Number
from dropoff.dashboard.api.shapes.common import AnnotationShape, Answer, SoFarShape
from dropoff.dashboard.api.shapes.funnels import StagesShape
from dropoff.dashboard.api.shapes.metrics import MetricShape


class OperationsDefinition(TypedDict):
    """What was counted, by which parts of the period; `times`: how many times the usual it takes to stand out."""

    text: str
    interval: str
    times: float


class OperationsFunnel(StagesShape):
    """Of the funnel `sales`: as in the answer to funnel."""


class RatePoint(TypedDict("RatePoint", {"from": str, "to": str}), SoFarShape):
    """A part of the period. `partial`: cut, or not over; `immature`: what counts may still come."""

    partial: bool
    immature: bool


class CountedShape(TypedDict):
    """How often a value is there, the share of all that have one, and in how many conversations."""

    count: int
    share: Number
    conversations: int


class EscalationReason(CountedShape):
    """A reason of escalations."""

    reason: str


class FallbackTrigger(CountedShape):
    """A trigger of fallbacks."""

    trigger: str


class FallbackUtterance(CountedShape):
    """What was not understood: its first 200 characters, in one line."""

    utterance: str


class ErrorKind(CountedShape):
    """A kind of errors."""

    kind: str


class OptOutKeyword(CountedShape):
    """A word with which prospects opt out."""

    keyword: str


class OptOutAfter(CountedShape):
    """The intent of the bot's last message before an opt-out."""

    intent: str


class SpanShape(TypedDict("SpanShape", {"from": str, "to": str})):
    """Neighbouring parts of the period that stand out. `leading`: of what there is the most more than otherwise."""

    rate: Number
    others: Number
    q_value: float
    leading: dict[str, Any] | None


class RateShape(TypedDict):
    """A rate of the registry, in its parts, and when it stands out."""

    rate: MetricShape
    points: list[RatePoint]
    unusual: list[SpanShape]


class EscalationsShape(RateShape):
    """Handed to a human, by the first reason."""

    reasons: list[EscalationReason]


class FallbacksShape(RateShape):
    """Not understood."""

    triggers: list[FallbackTrigger]
    utterances: list[FallbackUtterance]


class ErrorsShape(RateShape):
    """Errors of the bot."""

    kinds: list[ErrorKind]


class OptOutsShape(RateShape):
    """Opt-outs, by the word and by what the bot had said."""

    keywords: list[OptOutKeyword]
    after: list[OptOutAfter]


class TookShape(TypedDict("TookShape", {"from": int, "to": int | None})):
    """How many answers took from so many seconds on, and less than so many."""

    count: int


class TimesShape(TypedDict):
    """Response times of the bot, in seconds."""

    median: float | None
    p90: float | None
    p99: float | None
    n: int
    histogram: list[TookShape]


class ArrivalShape(TypedDict):
    """How many events were received within so many seconds (null: later), and not sooner."""

    within_seconds: int | None
    count: int


class UnmatchedShape(TypedDict):
    """Contact events of a type that found no conversation, of all of that type."""

    event_type: str
    count: int
    of: int


class UnmergedShape(TypedDict):
    """A contact of more than 50 ids, by the smallest of them."""

    contact_id: str
    ids: int


class LabelShape(TypedDict):
    """Prospects' messages by what labelled them; null: nothing did."""

    label_source: str | None
    messages: Number


class HealthShape(TypedDict):
    """Data health. Null: not known to this process, or to the past. `since`: when these counts began."""

    lag_events: int | None
    lag_seconds: float | None
    since: str | None
    stored: int | None
    duplicates: int | None
    conflicts: int | None
    dead: int | None
    last_received_at: str | None
    events: int
    arrival: list[ArrivalShape]
    late: int
    late_seconds: int
    no_identity: int
    stamped: int
    skewed: int
    test_conversations: int
    ties: Number
    contact_events: int
    unmatched_contacts: int
    unmatched: list[UnmatchedShape]
    unmerged_contacts: int
    unmerged: list[UnmergedShape]
    rejected: dict[str, int]
    labels: list[LabelShape]
    currencies: dict[str, int]
    not_convertible: int
    without_amount: int


class OperationsAnswer(Answer):
    """How the bot is running, and whether its data is whole."""

    definition: OperationsDefinition
    test_conversations: int
    funnel: OperationsFunnel
    escalations: EscalationsShape
    fallbacks: FallbacksShape
    errors: ErrorsShape
    opt_outs: OptOutsShape
    response_times: TimesShape
    health: HealthShape
    annotations: list[AnnotationShape]
