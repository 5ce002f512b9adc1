"""The answers to funnel, dropoffs and cohorts."""

from typing import NotRequired

from typing_extensions import TypedDict

from dropoff.analyse.answers import Matured, Number, Projected, Source
from dropoff.dashboard.api.shapes.common import AnnotationShape, Answer, DefinitionShape, PeriodShape


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
    annotations: list[AnnotationShape]


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


class StagesShape(TypedDict):
    """Stages, plain rates (0/0 is null) and drop-offs above the threshold."""

    stages: list[StageShape]
    rates: dict[str, float | None]
    numbers: dict[str, Number]
    drop_offs: list[DropOffShape]


class FunnelBody(StagesShape):
    """Stages, plain rates (0/0 is null) and drop-offs above the threshold; of one's own how long it took."""

    time_to_convert: NotRequired[TimeToConvertShape]


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

    `overlapping`: a conversation can stand in several segments. `maturity`: of the funnel sales, by stage.
    """

    definition: DefinitionShape
    test_conversations: int
    maturity: dict[str, WaitShape]
    by: str
    overlapping: bool
    segments: dict[str, FunnelBody]
    trend: FunnelTrend


class DropOffsAnswer(Answer, total=False):
    """The drop-offs of a funnel, in the order of `sort`; `by`, `overlapping`, `segments` as of a funnel."""

    definition: DefinitionShape
    test_conversations: int
    sort: str
    drop_offs: list[ExplainedDropOff]
    by: str
    overlapping: bool
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
