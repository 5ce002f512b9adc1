"""Shapes of alerts: how rules stand, what fired, what would have."""

from typing import NotRequired

from typing_extensions import TypedDict

from dropoff.dashboard.api.shapes.common import PeriodShape


class RuleShape(TypedDict):
    """What every answer says of a rule."""

    name: str
    metric: str
    condition: str
    threshold: float
    window: str
    severity: str


class AlertShape(TypedDict("AlertShape", {"from": str | None, "to": str | None}), RuleShape):
    """A rule, or one segment (`dimension=value`) of it, and the numbers of its window. `n` is compared with `min_n`.

    `state`: inactive, pending, firing, resolved, insufficient, no_data or error, `since` when. Of a rate adjusted for
    the age of conversations `denominator` is how many were to be expected by now.
    """

    segment: str | None
    value: float | None
    interval: tuple[float, float] | None
    state: str
    numerator: float | None
    denominator: float | None
    since: str | None
    n: float
    min_n: int
    usual: float | None
    starter: bool


class CoverageShape(TypedDict):
    """How often a rule had `enough` data in the last four weeks, 0 to 1, and the shortest window that mostly has."""

    name: str
    enough: float | None
    window: str | None


class AlertsAnswer(TypedDict):
    """`alerts check`."""

    as_of: str
    alerts: list[AlertShape]
    coverage: NotRequired[list[CoverageShape]]


class EpisodeShape(TypedDict("EpisodeShape", {"from": str, "to": str})):
    """One time that an alert fired, and what was told of it; `resolved` is null while it fires."""

    name: str
    metric: str
    condition: str
    threshold: float
    severity: str
    segment: str | None
    fired: str
    resolved: str | None
    value: float | None
    n: int
    interval: tuple[float, float] | None
    usual: str | None
    moved: list[str]
    examples: list[str]
    link: str


class EpisodesAnswer(TypedDict):
    """`alerts history`."""

    episodes: list[EpisodeShape]


class FiringShape(TypedDict):
    """One time that a rule would have fired; `link` is the path of a page that shows it."""

    segment: str | None
    fired: str
    resolved: str | None
    seconds: float
    value: float | None
    worst: float | None
    link: str


class TrialShape(RuleShape):
    """What a rule would have done; `problem` says why that cannot be told."""

    evaluations: int
    enough: float | None
    fired: int
    seconds: float
    per_month: float
    firings: list[FiringShape]
    suggested_threshold: float | None
    problem: str | None


class BacktestAnswer(TypedDict):
    """`alerts backtest`."""

    period: PeriodShape
    as_of: str
    per_month: float
    rules: list[TrialShape]
