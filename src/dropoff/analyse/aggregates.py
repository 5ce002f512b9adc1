"""What a metric adds up, as SQL."""

from typing import Any

from dropoff.metrics import Aggregate, Condition, Contacts, Events, Total
from dropoff.store.sql import Dialect, number


def written(sql: Dialect, aggregate: Aggregate) -> str:
    """The SQL of an aggregate."""
    match aggregate:
        case Total(value, where):
            return sql.total(value, where)
        case Events(event_type, conditions, distinct):
            what = "DISTINCT conversation_id" if distinct else "*"
            all_of = [f"event_type = {sql.literal(event_type)}", *(holds(sql, one) for one in conditions)]
            return f"count({what}) FILTER (WHERE {' AND '.join(all_of)})"
        case Contacts(where):
            return f"count(DISTINCT coalesce('p' || contact_id, 'c' || id)) FILTER (WHERE {where})"
        case str():
            return aggregate


def holds(sql: Dialect, condition: Condition) -> str:
    """Whether an event satisfies a comparison; null where its property is missing and that decides nothing."""
    name, sign, value = condition
    match sign:
        case "exists":
            return f"{sql.property_text(name)} IS {'NOT ' if value else ''}NULL"
        case "contains":
            return f"coalesce({sql.contains(sql.property_text(name), sql.literal(value))}, false)"
        case "!=":
            return f"coalesce(NOT ({_equal(sql, name, value)}), true)"
        case "in":
            return f"({' OR '.join(_equal(sql, name, one) for one in value)})"
        case "not_in":
            others = " OR ".join(f"coalesce({_equal(sql, name, one)}, false)" for one in value)
            return f"({sql.property_text(name)} IS NOT NULL AND NOT ({others}))"
        case "=":
            return f"({_equal(sql, name, value)})"
        case _:
            return f"{sql.property_number(name)} {sign} {number(value)}"


def _equal(sql: Dialect, name: str, value: Any) -> str:
    if isinstance(value, bool):
        return f"{sql.property_text(name)} = '{str(value).lower()}'"
    if isinstance(value, str):
        return f"{sql.property_text(name)} = {sql.literal(value)}"
    return f"{sql.property_number(name)} = {number(value)}"
