"""The answer to messages."""

from typing_extensions import TypedDict

from dropoff.analyse.answers import Projected, Source
from dropoff.dashboard.api.shapes.common import Answer


class WaitShape(TypedDict):
    """How old a message has to be to count for a measure."""

    days: float
    source: Source


class WordingShape(TypedDict):
    """A rule by which texts are one message."""

    name: str
    pattern: str
    replace: str


class MessagesDefinition(TypedDict):
    """What was compared: by which measure, at which position (null: any), within what; by measure the maturity."""

    text: str
    rank: str
    unit: str
    good: str
    position: int | None
    within: str
    maturity: dict[str, WaitShape]
    rules: list[WordingShape]


class MaturedMessages(TypedDict):
    """Of the `n` messages that are at least `maturity_days` old, what happened within as many days."""

    value: float | None
    n: int
    clusters: int
    interval: tuple[float, float] | None
    maturity_days: float
    source: Source


class MessageNumber(TypedDict):
    """A NUMBER of a message: so far, and of those old enough, with its interval over contacts."""

    value: float | None
    numerator: float
    denominator: int
    interval: tuple[float, float] | None
    matured: MaturedMessages
    projected: Projected | None


class ShrunkShape(TypedDict):
    """The matured value drawn by `weight` of the way to `drawn_to`, the mean of its place."""

    value: float
    interval: tuple[float, float]
    weight: float
    drawn_to: float


class MessageShape(TypedDict):
    """A message at a place. `difference` is that to all others there; `verdict`: better or worse by q < 0.05."""

    message: str
    variant: str | None
    position: int
    intent: str | None
    example: str | None
    n: int
    contacts: int
    reply_rate: MessageNumber
    objection_rate: MessageNumber
    opt_out_rate: MessageNumber
    sentiment_change: MessageNumber
    booking_rate: MessageNumber | None
    conversion_rate: MessageNumber | None
    enough: bool
    shrunk: ShrunkShape | None
    position_mean: float | None
    lead: float | None
    difference: float | None
    interval: tuple[float, float] | None
    p_value: float | None
    q_value: float | None
    verdict: str | None


class MessagesAnswer(Answer):
    """The bot's messages, the most frequent first. `total`: how many there are; `tested`: how many are one family."""

    definition: MessagesDefinition
    test_conversations: int
    messages: list[MessageShape]
    best_performing: list[MessageShape]
    worst_performing: list[MessageShape]
    first_messages: list[MessageShape]
    total: int
    tested: int
