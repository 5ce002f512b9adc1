"""The answer on what may be done better, and what to test next."""

from typing import Any, Literal

from typing_extensions import TypedDict

from dropoff.dashboard.api.shapes.common import Answer, PeriodShape
from dropoff.dashboard.api.shapes.funnels import DropOffShape, SaidShape
from dropoff.dashboard.api.shapes.messages import MessageShape
from dropoff.dashboard.api.shapes.patterns import ObjectionShape, PatternShape, PointShape
from dropoff.dashboard.api.shapes.segments import DifferenceShape


class OptimizationDefinition(TypedDict):
    """`goal`: the stage that is counted as success. `recent`: the days on which what to test next rests."""

    text: str
    goal: str
    metrics: list[str]
    splits: list[str]
    recent: PeriodShape
    longest_weeks: int


class FirstComparison(TypedDict):
    """The surest comparison of an experiment; where none is sure, that of its first goal."""

    metric: str
    a: str
    b: str
    n: int
    difference: float | None
    interval: tuple[float, float] | None
    q_value: float
    verdict: str


class BriefExperiment(TypedDict):
    """An experiment with its decision."""

    experiment: str
    decision: str
    variant: str | None
    reason: str
    units: int
    first_exposed_at: str | None
    last_exposed_at: str | None
    variants: list[str]
    comparison: FirstComparison | None
    days_left: int | None


class RankShape(TypedDict):
    """By what messages are the best and the worst."""

    rank: str
    unit: str
    good: str


class BriefDropOff(DropOffShape):
    """A drop-off on the way to the goal, and what the bot said before an unusual silence."""

    lost: int
    went_on: int
    silent: int
    messages: list[SaidShape]


class ComparedSegment(TypedDict):
    """One of two segments. `where`: the conditions of its list; null where conditions cannot say it."""

    segment: str
    value: float | None
    sample_size: int | None
    clusters: int | None
    confidence: tuple[float, float] | None
    where: list[str] | None


class SegmentDifference(DifferenceShape):
    """The surest difference of a split; `of`: both segments. `tested`: the pairs of its family."""

    metric: str
    by: str
    unit: str
    units: str
    tested: int
    of: list[ComparedSegment]


class Patterns(TypedDict):
    """What goes along with success, and with failure."""

    successful: list[PatternShape]
    failed: list[PatternShape]


class NextTest(TypedDict):
    """A test: `instead` (null: yet to be written) in place of `now` at a place.

    `volume_per_week` conversations come there (units of an experiment); `base` is the share with which `metric` goes
    well now, `observed` the difference as it is thought to be, `effect` the plausible one. `sample_per_arm` by `arms`,
    of which a running experiment has `have_per_arm`; `weeks` with the time the last one is waited for. The gain is in
    conversations that come to the goal; `gain_per_week` that of a month by week of testing, one week at least: the
    rank. `reason`: worth_it, or too_small to be found within `longest_weeks`. `behind`: parameters of their list.
    """

    what: Literal["drop_off", "message", "divergence", "objection", "experiment"]
    place: str
    now: str
    instead: str | None
    metric: str
    volume_per_week: float
    base: float
    effect: float
    observed: float | None
    sample_per_arm: int
    have_per_arm: int
    arms: int
    weeks: float
    gain_per_month: float
    gain_per_week: float
    n: int
    q_value: float | None
    reason: Literal["worth_it", "too_small"]
    behind: dict[str, Any]


class MadeShape(TypedDict):
    """When a part was worked out, and whether it would be no other now."""

    at: str
    is_current: bool


class OptimizationAnswer(Answer):
    """What may be done better. What takes long is null where it was not asked for, and not worked out yet."""

    definition: OptimizationDefinition
    experiments: list[BriefExperiment]
    best_messages: list[MessageShape]
    worst_messages: list[MessageShape]
    messages: RankShape
    drop_offs: list[BriefDropOff] | None
    segments: list[SegmentDifference] | None
    divergence_points: list[PointShape] | None
    patterns: Patterns | None
    objections: list[ObjectionShape] | None
    next_tests: list[NextTest] | None
    quick: MadeShape
    worked_out: MadeShape | None
    test_conversations: int
