"""From a `Query` to the rows it speaks of: the one place where filters become SQL."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from dropoff.periods import Period, last_days
from dropoff.query import NONE, Query, Where
from dropoff.store import sql
from dropoff.store.base import Store


@dataclass(slots=True)
class Clause:
    """SQL conditions and the values of their parameters."""

    parameters: dict[str, Any] = field(default_factory=dict)

    def add(self, value: Any) -> str:
        """A parameter holding `value`, as it stands in the text."""
        name = f"p{len(self.parameters)}"
        self.parameters[name] = value
        return f"${name}"


def conversations(query: Query, clause: Clause) -> str:
    """The conversations of a query with all their facts, as a subquery. Test traffic is out unless asked for."""
    conditions = [
        f"started_at >= {clause.add(naive(query.period.start))}",
        f"started_at < {clause.add(naive(query.period.end))}",
    ]
    if not query.include_test:
        conditions.append("NOT is_test")
    conditions += [_condition(where, clause) for where in query.where]
    source = sql.derived(f"{clause.add(naive(query.now))}::TIMESTAMP")
    return f"(SELECT * FROM ({source}) WHERE {' AND '.join(conditions)})"


def _condition(where: Where, clause: Clause) -> str:
    values = ", ".join(clause.add(value) for value in where.values)
    return f"{dimension(where.dimension)} IN ({values})"


def dimension(name: str) -> str:
    """A dimension as SQL; missing is a value of its own."""
    return f"coalesce({name}, '{NONE}')"


def naive(moment: datetime) -> datetime:
    """The store's form of an instant: UTC without saying so."""
    return moment.astimezone(UTC).replace(tzinfo=None)


def default_period(store: Store, timezone: str, now: datetime) -> Period:
    """The last 30 whole days that hold data; without data those up to `now`."""
    latest = store.select(
        f"SELECT max(started_at) FILTER (WHERE NOT is_test), max(started_at) FROM {sql.PHYSICAL['conversations']}"
    ).rows[0]
    moment = latest[0] or latest[1]
    return last_days(moment.replace(tzinfo=UTC) if moment else now, timezone)


def recorded_stages(store: Store) -> set[str]:
    """The stages of which the project has any event at all."""
    columns = ", ".join(f"count({column}) > 0" for column in sql.STAGES.values())
    found = store.select(f"SELECT {columns} FROM {sql.PHYSICAL['conversations']}").rows[0]
    return {stage for stage, given in zip(sql.STAGES, found, strict=True) if given} | {"started"}
