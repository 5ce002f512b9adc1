"""The answers to metrics, trend, definitions, conversations and query."""

from typing import Any, NotRequired

from typing_extensions import TypedDict

from dropoff.analyse.answers import Matured, Projected, Source
from dropoff.dashboard.api.shapes.common import AnnotationShape, Answer, PeriodShape, ValueShape


class ConversationsAnswer(Answer):
    """A page of conversations; `next` goes into `after` for the following one."""

    definition: dict[str, str]
    conversations: list[dict[str, Any]]
    total: int
    next: str | None


class MeasuredShape(ValueShape):
    """A metric with its value. `matured`, `projected`: of a rate between stages."""

    metric: str
    interval: tuple[float, float] | None
    clock: str
    matured: NotRequired[Matured | None]
    projected: NotRequired[Projected | None]


class MetricShape(MeasuredShape):
    """The value of a metric. Numerator and denominator are null for a median, which has `n` and quantiles.

    `matured`, `projected`: of a rate between stages. `amount`: exact, in `currency`. `unknown`, `labelled_share`: what
    stands beside a metric that leaves rows out.
    """

    segment: str


class SplitShape(TypedDict):
    """By what the values are split; `overlapping`: a conversation can stand in several segments."""

    by: str | None
    overlapping: bool


class MetricsAnswer(Answer):
    """A row for each metric, segment and currency."""

    definition: SplitShape
    test_conversations: int
    metrics: list[MetricShape]


class MetricDefinition(TypedDict):
    """What a metric means. `clock`: cohort (by the conversation's start) or activity (by the event's time).

    `maturity_days`: how long after a conversation's start its part may still change; 0 where events are counted.
    `maturity_source`: configured, learned or default.
    """

    metric: str
    unit: str
    clock: str
    good: str
    maturity_days: float
    maturity_source: Source | None
    description: str
    additive: bool


class TrendDefinition(MetricDefinition, SplitShape):
    """What the metric of a trend means, and by what it is split."""


class DefinitionsAnswer(TypedDict):
    """Every metric there is."""

    metrics: list[MetricDefinition]


class PointShape(TypedDict("PointShape", {"from": str, "to": str}), MetricShape):
    """One bucket of a trend. `partial`: cut by the period, or not over yet; `immature`: what counts may still come."""

    partial: bool
    immature: bool


class PreviousShape(TypedDict):
    """The period before."""

    period: PeriodShape
    total: list[MetricShape]
    points: list[PointShape]


class DeployShape(TypedDict):
    """The first conversation of a bot version."""

    bot_id: str | None
    bot_version: str
    at: str


class LabellerShape(TypedDict):
    """The first message with labels from another source than before."""

    label_source: str
    at: str


class TrendAnswer(Answer):
    """A metric over time, its value in the whole period, the same of the period before, and deploys."""

    definition: TrendDefinition
    interval: str
    test_conversations: int
    total: list[MetricShape]
    points: list[PointShape]
    previous: PreviousShape
    deploys: list[DeployShape]
    labellers: list[LabellerShape]
    annotations: list[AnnotationShape]


class OwnQuery(TypedDict):
    """SQL in the store's own dialect: one SELECT."""

    sql: str


class QueryAnswer(TypedDict):
    """Its rows; exact decimals as text, instants in RFC 3339. `truncated`: there are more."""

    columns: list[str]
    rows: list[list[Any]]
    truncated: bool
