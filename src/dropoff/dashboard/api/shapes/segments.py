"""The answers to segments and explain."""

from typing import NotRequired

from typing_extensions import TypedDict

from dropoff.analyse.answers import Source
from dropoff.dashboard.api.shapes.common import Answer, PeriodShape, SoFarShape, ValueShape


class SegmentShape(ValueShape):
    """A segment. `value` is the metric's; with units matured of those that are old enough, `so_far` is then of all.

    `sample_size`: the denominator, of a median the number of values; `clusters`: the contacts behind it. `confidence`:
    95 %. `enough`: 30 of both. `conversations` began in the period; `too_young`: of them, cannot be judged yet.
    `where`: the conditions of a list of them; null where conditions cannot say it.
    """

    segment: str
    confidence: tuple[float, float] | None
    sample_size: int | None
    clusters: int | None
    enough: bool
    conversations: int
    too_young: int
    so_far: SoFarShape | None
    share_of_total: float | None
    where: list[str] | None


class MixShape(TypedDict):
    """Within the values of a dimension hardly anything is left of a difference of two segments: it may be only the mix
    of these values in them. `difference` within them (Mantel-Haenszel); `mix_effect`: what the mix adds (Kitagawa).
    """

    dimension: str
    difference: float
    interval: tuple[float, float]
    p_value: float
    mix_effect: float


class DifferenceShape(TypedDict):
    """a - b, the higher value first. `q_value` decides, over all pairs that were tested; the interval is for one.

    `mix`: of shares by one dimension, where the difference may come of it alone.
    """

    a: str
    b: str
    difference: float
    interval: tuple[float, float] | None
    p_value: float | None
    q_value: float
    test: str
    better: str | None
    currency: NotRequired[str]
    mix: MixShape | None


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
