"""All SQL text that more than one statement shares, and whatever differs between engines."""

from dropoff.store import tables
from dropoff.store.tables import Type

TYPES: dict[str, dict[Type, str]] = {
    "duckdb": {
        "text": "VARCHAR", "int": "BIGINT", "uint": "UBIGINT", "float": "DOUBLE", "bool": "BOOLEAN",
        "instant": "TIMESTAMP", "texts": "VARCHAR[]", "date": "DATE", "exact": "DECIMAL(38, 6)",
    },
}  # fmt: skip

PHYSICAL = {
    "events": "event_rows",
    "messages": "message_rows",
    "conversations": "conversation_rows",
    "turns": "turn_rows",
    "meetings": "meeting_rows",
    "deals": "deal_rows",
    "attributions": "attribution_rows",
    "metrics_hourly": "metrics_hourly",
    "metrics_daily": "metrics_daily",
    "rejected_events": "rejected_rows",
}
"""Where a table's rows rest; under its own name a reader finds the view."""


def create(table: str, dialect: str) -> str:
    """The DDL of a table, without key and index (DuckDB's have open corruption bugs under upserts)."""
    types = TYPES[dialect]
    columns = ",\n  ".join(f'"{c.name}" {types[c.type]}' for c in tables.TABLES[table])
    return f"CREATE TABLE {PHYSICAL[table]} (\n  {columns}\n);"


STAGES = {
    "started": "started_at",
    "responded": "responded_at",
    "qualified": "qualified_at",
    "booked": "booked_at",
    "attended": "attended_at",
    "opportunity": "opportunity_at",
    "converted": "converted_at",
}
"""The stages of the funnel `sales` in order, and the column that says when a conversation's own event reached it."""


def level() -> str:
    """How far a conversation came: 0 for started … 6 for converted, a later stage implying the earlier ones."""
    cases = [f"WHEN {column} IS NOT NULL THEN {i}" for i, column in reversed(list(enumerate(STAGES.values())))]
    return f"CASE {' '.join(cases)} ELSE 0 END"


OUTCOMES = (
    "converted", "lost", "opted_out", "disqualified", "attended", "booked", "escalated", "qualified", "dropped", "open",
)  # fmt: skip


def derived(now: str) -> str:
    """The facts that depend on the clock, as a SELECT over the stored conversations. `now` is an SQL expression.

    The one place where they are derived; nothing of it is ever stored.
    """
    stages = ", ".join(f"'{stage}'" for stage in STAGES)
    words = ", ".join(f"'{word}'" for word in OUTCOMES)
    return f"""
SELECT *,
  CASE
    WHEN ending IN ('converted', 'lost', 'opted_out', 'disqualified') THEN ending
    WHEN attended_at IS NOT NULL THEN 'attended'
    WHEN booked_at IS NOT NULL THEN 'booked'
    WHEN escalated THEN 'escalated'
    WHEN reported_outcome IN ({words}) THEN reported_outcome
    WHEN qualified_at IS NOT NULL THEN 'qualified'
    WHEN ending = 'dropped' THEN 'dropped'
    ELSE 'open'
  END AS outcome
FROM (
  SELECT *,
    ({level()}) AS level,
    [{stages}][({level()}) + 1] AS stage,
    CASE WHEN {now} < closes_at THEN 'open' ELSE 'closed' END AS status,
    CASE WHEN final IS NOT NULL THEN final WHEN {now} >= closes_at THEN 'dropped' END AS ending
  FROM {PHYSICAL["conversations"]}
)"""


CONTENT = "json_extract_string(properties, '$.content')"
"""The text of a message, from its event: it is stored once."""
