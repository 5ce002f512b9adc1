"""What the answers to all questions share."""

from typing import Any, NotRequired

from typing_extensions import TypedDict


class Error(TypedDict):
    """What every refusal says: `code` for programs, `message` for people."""

    code: str
    message: str


class VersionAnswer(TypedDict):
    """Which state of the store is shown."""

    version: str


class PeriodShape(TypedDict("PeriodShape", {"from": str, "to": str})):
    """The half-open period, instants in RFC 3339, and the zone its days are of."""

    timezone: str


class DefinitionShape(TypedDict):
    """What was counted; `funnel`: the definition of one's own, without what it leaves at its default."""

    name: str
    mode: str
    text: str
    funnel: NotRequired[dict[str, Any]]


class AnnotationShape(TypedDict):
    """What the settings say happened then."""

    at: str
    text: str


class Answer(TypedDict):
    """What every answer begins with."""

    period: PeriodShape
    as_of: str


class ValueShape(TypedDict):
    """The value of a metric, and what it is of. Numerator and denominator are null for a median, which has `n` and
    quantiles; `amount` is exact, in `currency`; `unknown`, `labelled_share`: what is left out of it."""

    value: float | None
    numerator: float | None
    denominator: float | None
    unit: str
    currency: NotRequired[str | None]
    amount: NotRequired[str | None]
    n: NotRequired[int]
    p50: NotRequired[float | None]
    p90: NotRequired[float | None]
    p99: NotRequired[float | None]
    unknown: NotRequired[float | None]
    labelled_share: NotRequired[float | None]


class SoFarShape(TypedDict):
    """The value as it stands, of all."""

    value: float | None
    numerator: float | None
    denominator: float | None
    interval: tuple[float, float] | None
