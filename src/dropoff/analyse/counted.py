"""The conversations behind the value of a metric: those in which it counts something, or those of which it is a part.

The rows are those that the metric adds up, so a list has exactly the conversations that made the number.
"""

from collections.abc import Mapping
from typing import NamedTuple

from dropoff.analyse import select
from dropoff.analyse.aggregates import written
from dropoff.analyse.metrics import source_rows
from dropoff.errors import InvalidInput
from dropoff.metrics import Metric, Total, named
from dropoff.query import Params, Query, choice, one
from dropoff.store.base import Store

BEHIND = ("metric", "part", "currency")
"""What the list of conversations takes: a metric, the part of it that is meant, and of money the currency."""
PARTS = ("numerator", "denominator")


class Counted(NamedTuple):
    """A part of a metric's value."""

    metric: Metric
    part: str
    currency: str | None


def parts_of(metric: Metric) -> tuple[str, ...]:
    """The parts that conversations can be listed for. What is added up of a mean is no count: it has its values."""
    if metric.quantile is not None or metric.denominator is None:
        return PARTS[:1]
    return PARTS[1:] if isinstance(metric.numerator, Total) else PARTS


def parse_behind(params: Params, registry: Mapping[str, Metric]) -> Counted | None:
    """The part that is meant, by default the first of the metric; None where nothing is asked for."""
    name, currency = one(params, "metric"), one(params, "currency")
    if name is None:
        for other in BEHIND[1:]:
            if (text := one(params, other)) is not None:
                raise InvalidInput(other, text, "left out where no metric is given")
        return None
    (metric,) = named([name], registry)
    if currency is not None and not metric.by_currency:
        raise InvalidInput("currency", currency, f"left out: {name} is no amount of money")
    return Counted(metric, choice(params, "part", known := parts_of(metric), known[0]), currency)


def behind(store: Store, query: Query, counted: Counted) -> list[str]:
    """The ids of the conversations: each has at least one row in the period that is counted."""
    metric, part, currency = counted
    clause = select.Clause(store.dialect)
    rows = select.conversations(query, clause, started=False, named=False)
    unit = "id" if metric.source == "conversations" else "unit"
    of_currency = "true" if currency is None else f"currency = {clause.add(currency)}"
    text = f"""WITH c AS {clause.sql.inline} {rows} SELECT {unit} AS id
      FROM ({source_rows(metric.source, query, clause, "c.id AS unit")})
      WHERE {select.in_period("moment", query.period, clause)} AND {of_currency}
      GROUP BY {unit} HAVING {_sum(store, metric, part)} <> 0"""
    return store.frame(text, clause.parameters)["id"].to_list()


def _sum(store: Store, metric: Metric, part: str) -> str:
    if metric.quantile is not None:
        return f"count({metric.quantile})"
    aggregate = metric.numerator if part == "numerator" else metric.denominator
    assert aggregate is not None  # noqa: S101
    return written(store.dialect, aggregate)


def described(counted: Counted) -> str:
    """Which conversations `behind` gives, in words."""
    metric, part, currency = counted
    below = part == "denominator" or metric.quantile is not None
    of = "from which this is made" if below else "which count"
    name = metric.name if currency is None else f"{metric.name} in {currency}"
    return f"Conversations {of} in the period for {name} ({metric.description})."
