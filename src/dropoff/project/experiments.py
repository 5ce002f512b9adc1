"""Experiments of a project, as they stand in `dropoff.toml`: what was planned before there were data."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from dropoff.errors import InvalidInput
from dropoff.query import PROPERTY

PLANNED = 5000
"""Units that an experiment is planned for where nothing is said; it fixes how the looks share the error."""


class Goal(NamedTuple):
    """What an arm is to change. `stage`: the share of units that reach it; `good` is up or down."""

    name: str
    good: Literal["up", "down"]
    stage: str = ""


GOALS: Mapping[str, Goal] = {
    stage: Goal(f"{stage}_per_unit", "up", stage)
    for stage in ("responded", "qualified", "booked", "attended", "opportunity", "converted")
}
"""By stage: units that reach it after their first exposure / exposed units."""

ALIASES = {"response_rate": "responded", "win_rate": "converted"} | {goal.name: stage for stage, goal in GOALS.items()}
"""Other names of the goals."""

GUARDRAILS: Mapping[str, Goal] = {
    "opted_out": Goal("opted_out_per_unit", "down"),
    "complained": Goal("complained_per_unit", "down"),
    "sentiment": Goal("sentiment_per_unit", "up"),
}
"""What must not get worse; apart from the goals."""

PROPERTIES = ("first_message_variant", "bot_version")
COVARIATES = ("lead_score", "earlier_replies")
"""What is known of a unit before its first exposure, and may make differences more exact."""


class Experiment(BaseModel):
    """`[experiments.NAME]`. The first of `variants` is the control; `weights` are the shares it was split by."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    randomised: bool | None = None
    property: str | None = None
    variants: list[str] = []
    weights: list[float] = []
    planned: int = Field(default=PLANNED, ge=60, le=1_000_000_000)
    goals: list[str] = []
    guardrails: list[str] = list(GUARDRAILS)
    covariate: Literal["auto", "lead_score", "earlier_replies", "none"] = "auto"
    effect: float | None = Field(default=None, gt=0, lt=1)

    @field_validator("property")
    @classmethod
    def _known_property(cls, name: str | None) -> str | None:
        if name is not None and name not in PROPERTIES and not 0 < len(name.removeprefix(PROPERTY)) < len(name) <= 73:
            raise InvalidInput("property", name, f"{', '.join(PROPERTIES)} or property:<name>")
        return name

    @field_validator("goals")
    @classmethod
    def _known_goals(cls, names: list[str]) -> list[str]:
        return [stage_of(name) for name in names]

    @field_validator("guardrails")
    @classmethod
    def _known_guardrails(cls, names: list[str]) -> list[str]:
        for name in names:
            if name not in GUARDRAILS:
                raise InvalidInput("guardrails", name, f"one of {', '.join(GUARDRAILS)}")
        return names

    @model_validator(mode="after")
    def _is_whole(self) -> "Experiment":
        if self.variants and (len(self.variants) < 2 or len({*self.variants, ""}) <= len(self.variants)):
            raise InvalidInput("variants", self.variants, "two or more different texts, the control first")
        if self.weights and (len(self.weights) != len(self.variants) or not all(0 < w < 1e9 for w in self.weights)):
            raise InvalidInput("weights", self.weights, "a number above 0 for each of the variants")
        if self.property is not None and self.randomised and not self.variants:
            raise InvalidInput("variants", self.variants, "given where a property tells the variants apart")
        return self

    def is_observed(self) -> bool:
        """Nobody says that it was randomised: a comparison, not an experiment."""
        return self.randomised is False or (self.property is not None and not self.randomised)


UNPLANNED = Experiment()
"""An experiment that is known by its exposures alone."""


def stage_of(name: str) -> str:
    """The stage of a goal, by any of its names; raises `InvalidInput` for another."""
    stage = ALIASES.get(name, name)
    if stage not in GOALS:
        raise InvalidInput("goal", name, f"one of {', '.join(GOALS)}")
    return stage
