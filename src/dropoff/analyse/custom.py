"""A project's own metrics, from their definition to entries of the registry."""

from collections.abc import Mapping
from typing import Any

from dropoff.custom import Condition, Counted, CustomMetric
from dropoff.metrics import METRICS, Metric
from dropoff.store import sql


def registry(custom: Mapping[str, CustomMetric]) -> dict[str, Metric]:
    """All metrics: those of Dropoff, then the project's own."""
    return {**METRICS, **{name: metric(name, definition) for name, definition in custom.items()}}


def metric(name: str, custom: CustomMetric) -> Metric:
    """The entry of one definition. Events can be added up over time, the conversations that have one cannot."""
    parts = [part for part in (custom.numerator, custom.denominator) if part is not None]
    return Metric(
        name, custom.unit, custom.clock, custom.good,
        "events" if custom.clock == "activity" else "events_by_start",
        custom.description,
        _counted(custom.numerator),
        None if custom.denominator is None else _counted(custom.denominator),
        additive=all(part.per == "event" for part in parts),
    )  # fmt: skip


def _counted(part: Counted) -> str:
    what = "*" if part.per == "event" else "DISTINCT conversation_id"
    conditions = [f"event_type = {sql.literal(part.event)}", *map(_condition, part.conditions)]
    return f"count({what}) FILTER (WHERE {' AND '.join(conditions)})"


def _condition(condition: Condition) -> str:
    name, sign, value = condition
    match sign:
        case "exists":
            return f"{sql.property_text(name)} IS {'NOT ' if value else ''}NULL"
        case "contains":
            return f"coalesce(contains({sql.property_text(name)}, {sql.literal(value)}), false)"
        case "!=":
            return f"coalesce(NOT ({_equal(name, value)}), true)"
        case "in":
            return f"({' OR '.join(_equal(name, one) for one in value)})"
        case "not_in":
            others = " OR ".join(f"coalesce({_equal(name, one)}, false)" for one in value)
            return f"({sql.property_text(name)} IS NOT NULL AND NOT ({others}))"
        case "=":
            return f"({_equal(name, value)})"
        case _:
            return f"{sql.property_number(name)} {sign} {sql.number(value)}"


def _equal(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return f"{sql.property_text(name)} = '{str(value).lower()}'"
    if isinstance(value, str):
        return f"{sql.property_text(name)} = {sql.literal(value)}"
    return f"{sql.property_number(name)} = {sql.number(value)}"
