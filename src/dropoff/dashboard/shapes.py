"""The JSON shapes of the API's answers, for its schema: what other programs rely on. Keys may be added."""

from typing import Any, NotRequired

from typing_extensions import TypedDict

from dropoff.analyse.answers import Matured, Number, Projected, Source


class Error(TypedDict):
    """What every refusal says: `code` for programs, `message` for people."""

    code: str
    message: str


class PeriodShape(TypedDict("PeriodShape", {"from": str, "to": str})):
    """The half-open period, instants in RFC 3339, and the zone its days are of."""

    timezone: str


class DefinitionShape(TypedDict):
    """What was counted; `funnel`: the definition of one's own, without what it leaves at its default."""

    name: str
    mode: str
    text: str
    funnel: NotRequired[dict[str, Any]]


class StageShape(TypedDict):
    """One stage. `recorded`: by its own event; `implied`: only by a later one.

    Of a funnel of one's own also whether it is `optional`, and how long it took from the required step before.
    """

    stage: str
    count: int
    recorded: int
    implied: int
    is_recorded: bool
    rate_from_previous: Number
    rate_from_start: Number
    optional: NotRequired[bool]
    median_seconds: NotRequired[float | None]
    average_seconds: NotRequired[float | None]
    p90_seconds: NotRequired[float | None]


class BinShape(TypedDict):
    """How many took as long as this, and less than the next bin says."""

    from_seconds: int
    count: int


class TimeToConvertShape(TypedDict):
    """From the first to the last required step."""

    n: int
    median_seconds: float | None
    average_seconds: float | None
    p90_seconds: float | None
    histogram: list[BinShape]


class StageOfPoint(TypedDict):
    """A stage of those that entered in a bucket."""

    stage: str
    count: int
    rate_from_previous: Number
    rate_from_start: Number


class FunnelPoint(TypedDict("FunnelPoint", {"from": str, "to": str})):
    """One bucket. `immature`: attempts in it may still go on; null where no window limits them."""

    partial: bool
    immature: bool | None
    stages: list[StageOfPoint]


class FunnelTrend(TypedDict):
    """A funnel over time."""

    interval: str
    points: list[FunnelPoint]


class DropOffShape(TypedDict("DropOffShape", {"from": str, "to": str})):
    """A drop between two consecutive stages, with its Wilson 95 % interval; what is known of its rate in the end."""

    drop_rate: float
    volume_lost: int
    interval: tuple[float, float] | None
    matured: Matured | None
    projected: Projected | None


class SaidShape(TypedDict):
    """What the bot said at a stage. `silent`: nobody wrote or did anything after it; `share`: of the lost.

    `silence_rate`: of the conversations in which it was said; `excess`: silent above what the messages of this stage
    lead to on average. `example`: a text.
    """

    intent: str
    silent: int
    share: Number
    silence_rate: Number
    excess: float
    example: str | None


class InsteadShape(TypedDict):
    """What lost conversations did next, and their share of the lost."""

    what: str
    share: Number


class ReasonShape(TypedDict):
    """What may be why: its share of those lost and of those that went on, and the difference with its interval."""

    reason: str
    lost: Number
    went_on: Number
    difference: float | None
    interval: tuple[float, float] | None
    q_value: float | None
    is_reason: bool


class LostSegmentShape(TypedDict):
    """Conversations at the stage that have a value. `excess`: lost above what the overall rate gives.

    `difference`: of the drop rate from that of all others. `rate_effect`, `mix_effect`: what it adds to the change
    since the period before, by its own rate and by its size; of a dimension they add up to that change.
    """

    dimension: str
    value: str
    rate: Number
    excess: float
    difference: float | None
    interval: tuple[float, float] | None
    q_value: float | None
    over_contributes: bool
    before: Number
    rate_effect: float | None
    mix_effect: float | None


class BeforeShape(TypedDict):
    """The same drop-off in the period before; `change`: of the drop rate since."""

    period: PeriodShape
    drop_rate: Number
    change: float | None


class ExplanationShape(TypedDict):
    """Why conversations are lost at a stage: `lost` and `went_on` are all that reached it."""

    lost: int
    went_on: int
    silent: int
    messages: list[SaidShape]
    instead: list[InsteadShape]
    reasons: list[ReasonShape]
    segments: list[LostSegmentShape]
    before: BeforeShape


class ExplainedDropOff(DropOffShape):
    """A drop-off; `explanation` is null where none was asked for, or the funnel does not count conversations."""

    explanation: ExplanationShape | None


class FunnelBody(TypedDict):
    """Stages, plain rates (0/0 is null) and drop-offs above the threshold."""

    stages: list[StageShape]
    rates: dict[str, float | None]
    numbers: dict[str, Number]
    drop_offs: list[DropOffShape]
    time_to_convert: NotRequired[TimeToConvertShape]


class Answer(TypedDict):
    """What every answer begins with."""

    period: PeriodShape
    as_of: str


class WaitShape(TypedDict):
    """How long a stage is waited for after the one before it, and the conversions that this was learned from.

    Of the attendance `lead_days`: within so many days of the booking nine in ten meetings were due.
    """

    days: float
    source: Source
    conversions: int
    lead_days: NotRequired[float]


class FunnelAnswer(Answer, FunnelBody, total=False):
    """A funnel; `segments` where `by` was given, `trend` where `interval` was.

    `maturity`: of the funnel sales, by stage.
    """

    definition: DefinitionShape
    test_conversations: int
    maturity: dict[str, WaitShape]
    by: str
    segments: dict[str, FunnelBody]
    trend: FunnelTrend


class DropOffsAnswer(Answer, total=False):
    """The drop-offs of a funnel, by rate or volume."""

    definition: DefinitionShape
    test_conversations: int
    sort: str
    drop_offs: list[ExplainedDropOff]
    segments: dict[str, dict[str, list[DropOffShape]]]


class CohortCell(TypedDict):
    """Of a cohort the share that came to the stage before age + 1 weeks; `incomplete`: not all are so old yet."""

    age: int
    value: float | None
    numerator: float
    denominator: float
    interval: tuple[float, float] | None
    incomplete: bool


class CohortShape(TypedDict("CohortShape", {"from": str, "to": str})):
    """Those that began in one interval. A cell is null where all are younger, or there is none."""

    partial: bool
    n: int
    total: Number
    cells: list[CohortCell | None]


class CohortsDefinition(TypedDict):
    """Of which stage, by which interval."""

    stage: str
    interval: str
    is_recorded: bool
    text: str


class CohortsAnswer(Answer):
    """A triangle: a row for each cohort, a cell for each of `ages`, in weeks."""

    definition: CohortsDefinition
    test_conversations: int
    ages: list[int]
    cohorts: list[CohortShape]


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
    """What a goal still needs: mature units of the smallest arm, what they can find, days at the present inflow."""

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


class ConversationsAnswer(Answer):
    """A page of conversations; `next` goes into `after` for the following one."""

    definition: dict[str, str]
    conversations: list[dict[str, Any]]
    total: int
    next: str | None


class MetricShape(TypedDict):
    """The value of a metric. Numerator and denominator are null for a median, which has `n` and quantiles.

    `matured`, `projected`: of a rate between stages. `amount`: exact, in `currency`. `unknown`, `labelled_share`: what
    stands beside a metric that leaves rows out.
    """

    metric: str
    segment: str
    value: float | None
    numerator: float | None
    denominator: float | None
    interval: tuple[float, float] | None
    unit: str
    clock: str
    currency: NotRequired[str | None]
    amount: NotRequired[str | None]
    n: NotRequired[int]
    p50: NotRequired[float | None]
    p90: NotRequired[float | None]
    p99: NotRequired[float | None]
    matured: NotRequired[Matured | None]
    projected: NotRequired[Projected | None]
    unknown: NotRequired[float | None]
    labelled_share: NotRequired[float | None]


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


class TrendAnswer(Answer):
    """A metric over time, its value in the whole period, the same of the period before, and deploys."""

    definition: MetricDefinition
    interval: str
    test_conversations: int
    total: list[MetricShape]
    points: list[PointShape]
    previous: PreviousShape
    deploys: list[DeployShape]


class SoFarShape(TypedDict):
    """The value as it stands, of all."""

    value: float | None
    numerator: float | None
    denominator: float | None
    interval: tuple[float, float] | None


class SegmentShape(TypedDict):
    """A segment. `value` is the metric's; with units matured of those that are old enough, `so_far` is then of all.

    `sample_size`: the denominator, of a median the number of values; `clusters`: the contacts behind it. `confidence`:
    95 %. `enough`: 30 of both. `conversations` began in the period; `too_young`: of them, cannot be judged yet.
    `where`: the conditions of a list of them; null where conditions cannot say it.
    """

    segment: str
    value: float | None
    numerator: float | None
    denominator: float | None
    unit: str
    confidence: tuple[float, float] | None
    sample_size: int | None
    clusters: int | None
    enough: bool
    conversations: int
    too_young: int
    so_far: SoFarShape | None
    share_of_total: float | None
    where: list[str] | None
    currency: NotRequired[str | None]
    amount: NotRequired[str | None]
    n: NotRequired[int]
    p50: NotRequired[float | None]
    p90: NotRequired[float | None]
    p99: NotRequired[float | None]
    unknown: NotRequired[float | None]
    labelled_share: NotRequired[float | None]


class DifferenceShape(TypedDict):
    """a - b, the higher value first. `q_value` decides, over all pairs that were tested; the interval is for one."""

    a: str
    b: str
    difference: float
    interval: tuple[float, float] | None
    p_value: float | None
    q_value: float
    test: str
    better: str | None
    currency: NotRequired[str]


class TendencyShape(TypedDict):
    """`a` tends to have larger values than `b` (Mann-Whitney); nothing about the medians."""

    a: str
    b: str
    p_value: float
    q_value: float


class SegmentsDefinition(TypedDict):
    """What was compared. `units`: matured or all; `named`: the conditions of named segments."""

    metric: str
    unit: str
    clock: str
    good: str
    description: str
    by: str | None
    named: dict[str, list[str]]
    units: str
    maturity_days: float | None
    maturity_source: Source | None
    kind: str


class LeftOutShape(TypedDict):
    """Conversations of both periods that are too young."""

    now: int
    before: int


class SideShape(TypedDict):
    """A metric in one period."""

    value: float | None
    numerator: float
    denominator: float
    interval: tuple[float, float] | None
    clusters: int
    enough: bool


class WeightShape(TypedDict):
    """Which part of the denominator a segment is."""

    now: float
    before: float


class MoveShape(TypedDict):
    """A segment in both periods. `contribution` to the change = `rate_effect` + `mix_effect`, with its interval."""

    dimension: str | None
    segment: str
    now: SideShape
    before: SideShape
    enough: bool
    difference: float | None
    difference_interval: tuple[float, float] | None
    weight: WeightShape | None
    rate_effect: float | None
    mix_effect: float | None
    contribution: float | None
    interval: tuple[float, float] | None
    p_value: float | None
    q_value: float | None
    where: list[str] | None


class PeriodsShape(TypedDict):
    """The change since another period, every conversation followed for `follow_days` (null: as it stands)."""

    period: PeriodShape
    follow_days: float | None
    left_out: LeftOutShape
    now: SideShape
    before: SideShape
    change: float | None
    interval: tuple[float, float] | None
    p_value: float | None
    test: str | None


class ComparedPeriods(PeriodsShape):
    """The same with each segment; both effects add up to the change where segments do not overlap, else null."""

    rate_effect: float | None
    mix_effect: float | None
    segments: list[MoveShape]


class SegmentsAnswer(Answer):
    """Segments compared, the largest value first. `tested`: how many pairs are one family."""

    definition: SegmentsDefinition
    metric: str
    test_conversations: int
    segments: list[SegmentShape]
    best_performing: str | None
    significant_differences: list[DifferenceShape]
    tested: int
    overlapping: list[list[str]]
    tendencies: list[TendencyShape]
    notes: list[str]
    compare: NotRequired[ComparedPeriods]


class DimensionEffects(TypedDict):
    """What all values of a dimension add by their rates, and by their sizes."""

    dimension: str
    rate_effect: float | None
    mix_effect: float | None


class ExplainDefinition(TypedDict):
    """Which metric changed."""

    metric: str
    unit: str
    clock: str
    good: str
    description: str
    by: str | None


class ExplainAnswer(Answer):
    """Which segments account for a change, the largest part first; `offsetting` ones moved against it."""

    definition: ExplainDefinition
    metric: str
    test_conversations: int
    compare: PeriodsShape
    dimensions: list[DimensionEffects]
    segments: list[MoveShape]
    offsetting: list[MoveShape]


class OwnQuery(TypedDict):
    """SQL in the store's own dialect: one SELECT."""

    sql: str


class QueryAnswer(TypedDict):
    """Its rows; exact decimals as text, instants in RFC 3339. `truncated`: there are more."""

    columns: list[str]
    rows: list[list[Any]]
    truncated: bool
