"""The JSON shape of the answer on patterns, for the API's schema. Keys may be added."""

from typing import Literal

from typing_extensions import TypedDict

from dropoff.analyse.answers import Number
from dropoff.dashboard.api.shapes.common import Answer


class PathsDefinition(TypedDict):
    """Which conversations are successful, and what their paths are made of."""

    text: str
    success: str
    cut: str
    groups: str
    steps: list[str]
    repeats: str
    support: float


class GroupsShape(TypedDict):
    """How many conversations there are; `left_out`: still open, or of another outcome."""

    successful: int
    failed: int
    left_out: int


class Confirmed(TypedDict("Confirmed", {"with": Number})):
    """What the second half says: the shares won with it and without, and their difference within strata."""

    without: Number
    difference: float
    interval: tuple[float, float]
    p_value: float
    q_value: float


class PatternShape(Confirmed):
    """`successful`, `failed`: its share of each group of the period. `kind`: step, run or gapped."""

    pattern: list[str]
    kind: str
    successful: Number
    failed: Number
    lift: float
    support_difference: float
    support_interval: tuple[float, float]


class BranchShape(TypedDict):
    """A way to go on, and the share of it that was won."""

    step: str
    rate: Number


class ExampleShape(TypedDict):
    """A conversation, and the position of the message at which it came to the place."""

    id: str
    position: int | None


class ExamplesShape(TypedDict):
    """Some of either outcome."""

    successful: list[ExampleShape]
    failed: list[ExampleShape]


class BothExamples(TypedDict):
    """Of those that took the branch, and of the others."""

    branch: ExamplesShape
    others: ExamplesShape


class PointShape(Confirmed):
    """A place where ways part: after a whole beginning, or after the first time of one step."""

    after: list[str]
    kind: Literal["beginning", "after"]
    side: str
    branch: str
    branches: list[BranchShape]
    examples: BothExamples


class StructuralShape(TypedDict):
    """A step that says what the groups are, so it explains nothing."""

    step: str
    why: str
    successful: int
    failed: int


class PathShape(TypedDict):
    """A whole path."""

    path: list[str]
    conversations: int
    share: Number
    successful: int
    failed: int
    rate: Number


class DropPointShape(TypedDict):
    """The last step of failed conversations."""

    step: str
    conversations: int
    share: Number


class CommonObjection(TypedDict):
    """An objection: its share of all, of the successful, of the failed."""

    objection: str
    conversations: int
    share: Number
    successful: Number
    failed: Number


class AnswerShape(TypedDict):
    """What the bot answered; after which share the prospect wrote again, against the other answers."""

    answer: str
    alive: Number
    won: Number
    difference: float | None
    interval: tuple[float, float] | None
    q_value: float | None


class ObjectionShape(CommonObjection):
    """`steps_before`: lower quartile, median and upper quartile."""

    steps_before: list[int]
    answers: list[AnswerShape]


class ComparedShape(TypedDict):
    """The two groups of the flows."""

    a: str
    b: str
    conversations: list[int]
    anchor: str | None


class TransitionShape(TypedDict("TransitionShape", {"from": str})):
    """How often a step came right after another, in each group."""

    to: str
    counts: list[int]


class FlowShape(TransitionShape):
    """The same at one position."""

    position: int


class StepMatrix(TypedDict):
    """How many of each group are at which step at each position."""

    steps: list[str]
    positions: list[int]
    a: list[list[int]]
    b: list[list[int]]


class DifferenceMatrix(TypedDict):
    """The share of a less that of b."""

    steps: list[str]
    positions: list[int]
    values: list[list[float]]


class PatternsAnswer(Answer):
    """What won conversations do and failed ones do not.

    `reached`: how many came to each stage that could be the success.
    """

    definition: PathsDefinition
    conversations: GroupsShape
    reached: dict[str, int]
    tested: int
    successful: list[PatternShape]
    failed: list[PatternShape]
    divergence_points: list[PointShape]
    structural: list[StructuralShape]
    common_paths: list[PathShape]
    common_objections: list[CommonObjection]
    common_drop_points: list[DropPointShape]
    objections: list[ObjectionShape]
    compared: ComparedShape
    transitions: list[TransitionShape]
    step_matrix: StepMatrix
    difference_matrix: DifferenceMatrix
    flow: list[FlowShape]
    test_conversations: int
