"""The answer to executive."""

from typing_extensions import TypedDict

from dropoff.dashboard.api.shapes.common import AnnotationShape, Answer, PeriodShape
from dropoff.dashboard.api.shapes.metrics import DeployShape, MeasuredShape, MetricShape
from dropoff.dashboard.api.shapes.segments import WeightShape


class ChangeShape(TypedDict):
    """A metric in both periods. `q_value` decides, over all that is shown; null where there is no test.

    `follow_days`: how long each conversation is followed; those that began after `until` are left out. `n_now`,
    `n_before` and `contacts` (in either period) are of rates.
    """

    now: float | None
    before: float | None
    n_now: float | None
    n_before: float | None
    difference: float | None
    interval: tuple[float, float] | None
    p_value: float | None
    q_value: float | None
    test: str | None
    contacts: int | None
    follow_days: float | None
    until: str | None


class TargetShape(TypedDict):
    """What is wanted, and of the period. `met` is null where that is not known; `by`: value, matured or projected.

    `certain`: whether the interval leaves the target out; null without an interval.
    """

    value: float
    per: str | None
    scaled: float
    met: bool | None
    by: str | None
    certain: bool | None


class KeyMetricShape(MeasuredShape):
    """A metric as `metrics` has it, with what it is held against; `spark`: its value in each of the answer's points.

    From the point `immature_from` on it may still change.
    """

    good: str
    immature: bool
    previous: MetricShape | None
    change: ChangeShape | None
    target: TargetShape | None
    spark: list[float | None]
    immature_from: int | None


class CauseShape(TypedDict):
    """A segment that accounts for a part of a change. `now`, `before`: its own values."""

    dimension: str
    value: str
    contribution: float
    interval: tuple[float, float] | None
    rate_effect: float
    mix_effect: float
    q_value: float
    where: list[str] | None
    now: float | None
    before: float | None
    weight: WeightShape | None


class ApartShape(TypedDict("ApartShape", {"from": str, "to": str})):
    """A day or week, its value, and that of the period without it."""

    value: float | None
    without: float


class NewsShape(TypedDict):
    """What changed by more than chance, and which segments account for it.

    `apart`: of a rate of events the day or week without which the change would be half as large, or less.
    """

    metric: str
    unit: str
    good: str
    clock: str
    change: ChangeShape
    causes: list[CauseShape]
    apart: ApartShape | None


class ExecutiveDefinition(TypedDict):
    """How both periods are compared. `previous`: as much of the period before as of this one has passed."""

    follow: str
    previous: PeriodShape
    is_over: bool
    has_before: bool


class ExecutiveAnswer(Answer):
    """A few metrics against target and the period before; `points`: where the days or weeks of `spark` begin."""

    definition: ExecutiveDefinition
    test_conversations: int
    interval: str
    points: list[str]
    metrics: list[KeyMetricShape]
    changes: list[NewsShape]
    deploys: list[DeployShape]
    annotations: list[AnnotationShape]
