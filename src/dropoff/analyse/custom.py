"""A project's own metrics, from their definition to entries of the registry."""

from collections.abc import Mapping

from dropoff.metrics import METRICS, Events, Metric
from dropoff.project.custom import Counted, CustomMetric


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
        _events(custom.numerator),
        None if custom.denominator is None else _events(custom.denominator),
        additive=all(part.per == "event" for part in parts),
    )  # fmt: skip


def _events(part: Counted) -> Events:
    return Events(part.event, tuple(part.conditions), distinct=part.per == "conversation")
