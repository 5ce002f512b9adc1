"""Metrics of a project's own, as they stand in `dropoff.toml`: what is counted, and under which conditions."""

import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from dropoff.errors import InvalidEvent, InvalidInput, Missing
from dropoff.events import MAX_NAME_LENGTH, event_type_of
from dropoff.metrics import METRICS, Condition

EQUAL = ("=", "!=")
LISTS = ("in", "not_in")
ORDER = ("<", "<=", ">", ">=")
SIGNS = (*EQUAL, *LISTS, "contains", *ORDER, "exists")
"""How a property is compared. A missing one satisfies `!=` and `exists = false` alone."""

NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
"""What a project may call what it defines."""


class Counted(BaseModel):
    """Events of one type that satisfy all conditions; with `per = "conversation"` the conversations that have one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    event: str
    where: dict[str, Any] = {}
    per: Literal["event", "conversation"] = "event"

    @field_validator("event")
    @classmethod
    def _type(cls, written: str) -> str:
        try:
            name, _ = event_type_of(written)
        except InvalidEvent as error:
            raise InvalidInput("event", written, error.rule) from None
        if name != written:
            raise InvalidInput("event", written, f"the name under which it is kept: {name!r}")
        return name

    @field_validator("where")
    @classmethod
    def _comparisons(cls, where: dict[str, Any]) -> dict[str, Any]:
        list(conditions(where))
        return where

    @property
    def conditions(self) -> list[Condition]:
        """All comparisons."""
        return conditions(self.where)


class CustomMetric(BaseModel):
    """`[metrics.NAME]`. A `share` is one of events among themselves, and is shown as a ratio where it exceeds 1."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str = Field(min_length=1, max_length=200)
    unit: Literal["count", "share", "ratio"]
    good: Literal["up", "down", ""] = ""
    clock: Literal["cohort", "activity"] = "activity"
    numerator: Counted
    denominator: Counted | None = None

    @model_validator(mode="after")
    def _has_what_its_unit_needs(self) -> "CustomMetric":
        if self.unit == "count" and self.denominator is not None:
            raise InvalidInput("denominator", self.denominator.event, "left out: a count has none")
        if self.unit != "count" and self.denominator is None:
            raise Missing("denominator", f"given: a {self.unit} has one")
        return self


def check_name(name: str) -> str:
    """A name for a metric that is not taken."""
    if not NAME.fullmatch(name):
        raise InvalidInput(name, name, "a name of a to z, 0 to 9 and _, at most 64 characters")
    if name in METRICS:
        raise InvalidInput(name, name, "a name that no metric of Dropoff has")
    return name


def conditions(where: Mapping[str, Any]) -> list[Condition]:
    """`{plan = "pro", amount = {">=" = 50}}` as comparisons."""
    found = []
    for name, wanted in where.items():
        if not 0 < len(name) <= MAX_NAME_LENGTH or "\x00" in name:
            raise InvalidInput(name, name, f"a property's name of 1 to {MAX_NAME_LENGTH} characters")
        for sign, value in (wanted if isinstance(wanted, dict) else {"=": wanted}).items():
            _check(f"{name}.{sign}", sign, value)
            found.append(Condition(name, sign, value))
    return found


def _check(name: str, sign: str, value: Any) -> None:
    if sign not in SIGNS:
        raise InvalidInput(name, value, f"under one of {', '.join(SIGNS)}")
    if sign in EQUAL and not _is_plain(value):
        raise InvalidInput(name, value, "a text, a number, true or false")
    if sign in LISTS and not (isinstance(value, list) and value and all(map(_is_plain, value))):
        raise InvalidInput(name, value, "a list of texts, numbers, true or false")
    if sign == "contains" and not (isinstance(value, str) and value):
        raise InvalidInput(name, value, "a text")
    if sign in ORDER and not _is_number(value):
        raise InvalidInput(name, value, "a number")
    if sign == "exists" and not isinstance(value, bool):
        raise InvalidInput(name, value, "true or false")


def _is_plain(value: Any) -> bool:
    return _is_number(value) or isinstance(value, bool) or (isinstance(value, str) and "\x00" not in value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300
