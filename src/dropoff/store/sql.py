"""All SQL text that more than one statement shares, and whatever differs between engines."""

from dropoff.query import NO_TEST_RULES, TestTraffic
from dropoff.store import tables
from dropoff.store.tables import Type

TYPES: dict[str, dict[Type, str]] = {
    "duckdb": {
        "text": "VARCHAR", "int": "BIGINT", "uint": "UBIGINT", "float": "DOUBLE", "bool": "BOOLEAN",
        "instant": "TIMESTAMP", "texts": "VARCHAR[]", "date": "DATE", "exact": "DECIMAL(38,6)",
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


def derived(now: str, test: TestTraffic = NO_TEST_RULES) -> str:
    """The facts that depend on the clock, as a SELECT over the stored conversations. `now` is an SQL expression.

    The one place where they are derived; nothing of it is ever stored. So is what the project counts as test traffic:
    a changed rule holds for the past, too.
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
  SELECT * REPLACE ({is_test(test)} AS is_test),
    ({level()}) AS level,
    [{stages}][({level()}) + 1] AS stage,
    CASE WHEN {now} < closes_at THEN 'open' ELSE 'closed' END AS status,
    CASE WHEN final IS NOT NULL THEN final WHEN {now} >= closes_at THEN 'dropped' END AS ending
  FROM {PHYSICAL["conversations"]}
)"""


CONTENT = "json_extract_string(properties, '$.content')"
"""The text of a message, from its event: it is stored once."""


def is_test(test: TestTraffic) -> str:
    """Whether a stored conversation is test traffic."""
    conditions = ["is_test"]
    for column, values in (("contact_id", test.contacts), ("channel", test.channels), ("bot_id", test.bots)):
        if values:
            conditions.append(f"coalesce({column} IN ({', '.join(map(literal, values))}), false)")
    conditions += [f"coalesce(ends_with(lower(contact_id), {literal('@' + d.lower())}), false)" for d in test.domains]
    return f"({' OR '.join(conditions)})"


def literal(text: str) -> str:
    """A text as SQL."""
    return "'" + text.replace("'", "''") + "'"


def number(value: float) -> str:
    """A number as SQL."""
    return f"CAST('{value!r}' AS DOUBLE)"


def property_text(name: str) -> str:
    """A property of an event as text; null where it is missing or null. Any name is data: it goes in as a pointer."""
    pointer = "/" + name.replace("~", "~0").replace("/", "~1")
    return f"json_extract_string(properties, {literal(pointer)})"


def property_number(name: str) -> str:
    """The same as a number; null where it is none."""
    found = f"TRY_CAST({property_text(name)} AS DOUBLE)"
    return f"CASE WHEN isfinite({found}) THEN {found} END"


def standing_events() -> str:
    """The events as analyses count them: each under its conversation, by attribution too, without retracted ones.

    Of a retraction that is itself retracted the chain is followed three steps.
    """
    owner = "coalesce('c' || conversation_id, 'p' || contact_id)"
    undone = "(SELECT owner, target FROM {})"
    stands = "SELECT * FROM r WHERE (owner, id) NOT IN {}"
    return f"""(
  WITH r AS MATERIALIZED (
    SELECT {owner} AS owner, id, json_extract_string(facts, '$.event_id') AS target
    FROM {PHYSICAL["events"]} WHERE event_type = 'event_retracted' AND target IS NOT NULL AND target <> id),
  r1 AS ({stands.format(undone.format("r"))}),
  r2 AS ({stands.format(undone.format("r1"))}),
  r3 AS ({stands.format(undone.format("r2"))})
  SELECT e.* REPLACE (coalesce(e.conversation_id, a.conversation_id) AS conversation_id,
    CASE WHEN e.conversation_id IS NULL THEN a.conversation_key ELSE e.key END AS key)
  FROM {PHYSICAL["events"]} e
  LEFT JOIN {PHYSICAL["attributions"]} a ON e.conversation_id IS NULL AND a.key = e.key AND a.event_id = e.id
  WHERE NOT EXISTS (SELECT 1 FROM r3 WHERE r3.target = e.id
    AND r3.owner = coalesce('c' || e.conversation_id, 'p' || e.contact_id)))"""


def local(instant: str, zone: str) -> str:
    """The wall-clock time of an instant in a zone."""
    return f"timezone({literal(zone)}, timezone('UTC', {instant}))"


def local_hour(instant: str, zone: str) -> str:
    """The instant at which the local hour of an instant began: also where the zone is half an hour off, or turns."""
    return f"make_timestamp(epoch_us({instant}) - epoch_us({local(instant, zone)}) % 3600000000)"


def local_part(name: str, instant: str, zone: str) -> str:
    """A time dimension of an instant."""
    form = {"day_of_week": "%A", "hour_of_day": "%H", "week": "%G-W%V", "month": "%Y-%m"}[name]
    return f"strftime({local(instant, zone)}, '{form}')"


def one_of_list(column: str, values: list[str], none: str) -> str:
    """Whether a list has one of the values; `none` is the value of an empty list."""
    return f"list_has_any({several(column, none)}, [{', '.join(values)}])"


def several(column: str, none: str) -> str:
    """The values of a list, or the one that stands for an empty list."""
    return f"CASE WHEN len({column}) = 0 THEN [{literal(none)}] ELSE {column} END"


def properties(path: str) -> str:
    """For each conversation the last value of a property among its events that are not messages."""
    return f"""(SELECT key AS of_key, conversation_id AS of_id, arg_max(value, (timestamp, id)) AS value FROM (
      SELECT key, conversation_id, timestamp, id, json_extract_string(properties, {path}) AS value
      FROM {PHYSICAL["events"]}
      WHERE conversation_id IS NOT NULL AND event_type NOT IN ('message_sent', 'message_received'))
    WHERE value IS NOT NULL GROUP BY ALL)"""
