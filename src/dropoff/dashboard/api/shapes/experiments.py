"""The answers to experiments and the plan of one."""

from typing_extensions import TypedDict

from dropoff.analyse.answers import Number
from dropoff.dashboard.api.shapes.common import Answer


class ArmMetric(TypedDict):
    """A goal or guardrail in an arm: of `n` mature units; `immature` ones are not counted. Wilson's interval."""

    value: float | None
    n: int
    interval: tuple[float, float] | None
    numerator: float
    immature: int


class ArmShape(TypedDict):
    """A variant with all its units."""

    variant: str
    units: int
    metrics: dict[str, ArmMetric]


class RatioOfValue(TypedDict):
    """The units of each arm in one value of a dimension."""

    dimension: str
    value: str
    counts: list[int]
    p_value: float
    fixed_p_value: float
    ok: bool


class SampleRatioShape(TypedDict):
    """Whether units fell to the arms by their weights. `limit`: below it they did not; Bonferroni by dimension."""

    p_value: float | None
    fixed_p_value: float | None
    ok: bool
    counts: list[int]
    weights: list[float]
    limit: float
    by_dimension: list[RatioOfValue]
    by_dimension_limit: float


class MixedShape(TypedDict):
    """Units exposed to more than one variant."""

    units: int
    share: float | None
    limit: float
    ok: bool


class UnadjustedShape(TypedDict):
    """A difference before it was adjusted."""

    difference: float
    interval: tuple[float, float] | None
    p_value: float | None
    test: str


class ComparedShape(TypedDict):
    """An arm `a` against the control `b`. `covariate` took `variance_reduction` of the variance off `unadjusted`.

    `verdict`: better, worse, unclear or not enough data, by the q-value of its family.
    """

    metric: str
    a: str
    b: str
    good: str
    n: int
    difference: float | None
    interval: tuple[float, float] | None
    p_value: float | None
    q_value: float | None
    test: str | None
    verdict: str
    covariate: str | None
    variance_reduction: float | None
    unadjusted: UnadjustedShape | None


class StepShape(TypedDict("StepShape", {"from": str, "to": str})):
    """Of those that came to a stage, those that came to the next: without interval, never tested."""

    arms: dict[str, Number]


class NeededShape(TypedDict):
    """What a goal still needs: mature units of the smallest arm, what they can find, days at the latest inflow."""

    metric: str
    have: int
    needed: int
    is_reached: bool
    detectable: float | None
    detectable_at_needed: float | None
    per_day: float
    days_left: int | None


class ExperimentShape(TypedDict):
    """`decision`: ship, roll back, keep running or invalid; null for an observational comparison. `variant`: the one
    to keep."""

    experiment: str
    kind: str
    property: str | None
    decision: str | None
    variant: str | None
    reason: str
    control: str | None
    units: int
    left_out: int
    first_exposed_at: str | None
    last_exposed_at: str | None
    arms: list[ArmShape]
    sample_ratio: SampleRatioShape
    mixed_exposure: MixedShape
    comparisons: list[ComparedShape]
    guardrails: list[ComparedShape]
    descriptive: list[StepShape]
    covariate: str | None
    planned: int
    needed: list[NeededShape]


class GoalShape(TypedDict):
    """A goal or guardrail, and how long after its first exposure a unit is waited for."""

    metric: str
    good: str
    maturity_days: float


class ExperimentsDefinition(TypedDict):
    """What a unit is, how differences are read, and every goal there is."""

    unit: str
    horizon: str
    text: str
    goals: list[GoalShape]
    guardrails: list[GoalShape]


class ExperimentsAnswer(Answer):
    """Experiments by name, then observational comparisons."""

    definition: ExperimentsDefinition
    test_conversations: int
    experiments: list[ExperimentShape]


class PlanAnswer(TypedDict):
    """The size of an experiment; `planned` is what to write into the settings, `days` at `daily` units of all arms."""

    base: float
    effect: float
    relative_effect: float
    power: float
    alpha: float
    arms: int
    horizon: str
    planned: int
    units_per_arm: int
    units: int
    daily: float | None
    days: int | None
