"""SQL text: the fragments that more than one statement shares, and the `Dialect` of each engine.

Whatever differs between the engines stands here and nowhere else. An analysis asks the store's dialect for a fragment
and writes the rest in the SQL that all engines take: `FILTER (WHERE …)`, `GROUP BY ALL`, `CAST`, `date_diff`,
`* REPLACE`, tuples, common table expressions.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from dropoff import metrics
from dropoff.errors import did_you_mean
from dropoff.query import NO_TEST_RULES, TestTraffic
from dropoff.store import tables
from dropoff.store.tables import Type

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

OF_MESSAGES = "('message_sent', 'message_received', 'message_labelled')"
"""The types of events whose properties are those of a message, and not of its conversation."""

STAGES = {stage: f"{stage}_at" for stage in metrics.STAGES}
"""The stages in order, and the column that says when a conversation's own event reached each."""


OUTCOMES = (
    "converted", "lost", "opted_out", "disqualified", "attended", "booked", "escalated", "qualified", "dropped", "open",
)  # fmt: skip


def number(value: float) -> str:
    """A number as SQL."""
    return f"CAST('{value!r}' AS DOUBLE)"


def level() -> str:
    """How far a conversation came: 0 for started … 6 for converted, a later stage implying the earlier ones."""
    cases = [f"WHEN {column} IS NOT NULL THEN {i}" for i, column in reversed(list(enumerate(STAGES.values())))]
    return f"CASE {' '.join(cases)} ELSE 0 END"


def reached_at(stage: str) -> str:
    """When a conversation came to a stage: the first event of the stage or of a later one; null where it did not."""
    columns = list(STAGES.values())[list(STAGES).index(stage) :]
    return f"least({', '.join(columns)})" if len(columns) > 1 else columns[0]


class Dialect(ABC):
    """How one engine writes what the engines write differently. Arguments and results are SQL unless said otherwise."""

    types: Mapping[Type, str]
    """The engine's name of each of our types."""
    now: str
    """The present, as an instant."""
    inline: str
    """After `AS` of a common table expression that is to be read in place."""
    once: str
    """After `AS` of one that is to be computed once."""

    @abstractmethod
    def literal(self, text: str) -> str:
        """A Python text as SQL."""

    @abstractmethod
    def parameter(self, name: str, value: Any) -> str:
        """Where the Python value of this parameter stands in a statement."""

    @abstractmethod
    def json_text(self, column: str, name: str) -> str:
        """A member of a JSON object as text; null where it is missing or null. Any Python text may be its name."""

    @abstractmethod
    def finite(self, text: str) -> str:
        """A text as a number; null where it is none."""

    @abstractmethod
    def contains(self, text: str, part: str) -> str:
        """Whether a text has a part."""

    @abstractmethod
    def matches(self, text: str, pattern: str) -> str:
        """Whether a text has a part that matches a pattern of RE2."""

    @abstractmethod
    def ends_with(self, text: str, end: str) -> str:
        """Whether a text, in lower case, ends so."""

    @abstractmethod
    def total(self, value: str, where: str) -> str:
        """The sum of fractional values, each rounded to six decimals, as an exact decimal; null where there is none."""

    @abstractmethod
    def quantiles(self, value: str, levels: Iterable[float]) -> str:
        """Interpolated quantiles as a list; empty or null where there is no value."""

    @abstractmethod
    def numbers(self, lists: Iterable[str]) -> str:
        """A list of lists of numbers, which may be empty."""

    @abstractmethod
    def latest(self, value: str, order: str) -> str:
        """The value of the row that is the greatest in this order."""

    @abstractmethod
    def overlap(self, one: str, other: str) -> str:
        """Whether two lists have a value in common."""

    @abstractmethod
    def each(self, values: str) -> str:
        """A row for each value of a list."""

    @abstractmethod
    def local_hour(self, instant: str, zone: str) -> str:
        """The instant at which the local hour of one began: also where the zone is half an hour off, or turns."""

    @abstractmethod
    def local_date(self, interval: str, instant: str, zone: str) -> str:
        """The date of an instant in a zone, or the first one of its week or month."""

    @abstractmethod
    def local_part(self, name: str, instant: str, zone: str) -> str:
        """A time dimension of an instant, as text."""

    # What follows is the same text for every engine, made of the fragments above.

    def list_of(self, texts: Iterable[str]) -> str:
        """A list of Python texts as SQL."""
        return f"[{', '.join(map(self.literal, texts))}]"

    def several(self, column: str, none: str) -> str:
        """The values of a list, or the one (a Python text) that stands for an empty list."""
        return f"CASE WHEN length({column}) = 0 THEN {self.list_of([none])} ELSE {column} END"

    def one_of_list(self, column: str, values: Sequence[str], none: str) -> str:
        """Whether a list has one of the values; `none` is the value of an empty list."""
        return self.overlap(self.several(column, none), f"[{', '.join(values)}]")

    def property_text(self, name: str) -> str:
        """A property of an event as text; null where it is missing or null."""
        return self.json_text("properties", name)

    def property_number(self, name: str) -> str:
        """The same as a number; null where it is none."""
        return self.finite(self.property_text(name))

    @property
    def content(self) -> str:
        """The text of a message, from its event: it is stored once."""
        return self.property_text("content")

    def is_test(self, test: TestTraffic) -> str:
        """Whether a stored conversation is test traffic."""
        conditions = ["is_test"]
        for column, values in (("contact_id", test.contacts), ("channel", test.channels), ("bot_id", test.bots)):
            if values:
                conditions.append(f"coalesce({column} IN ({', '.join(map(self.literal, values))}), false)")
        domains = (self.literal("@" + domain.lower()) for domain in test.domains)
        conditions += [f"coalesce({self.ends_with('contact_id', domain)}, false)" for domain in domains]
        return f"CAST({' OR '.join(conditions)} AS BOOLEAN)"

    def derived(self, now: str, test: TestTraffic = NO_TEST_RULES) -> str:
        """The facts that depend on the clock, as a SELECT over the stored conversations.

        The one place where they are derived; nothing of it is ever stored. So is what the project counts as test
        traffic: a changed rule holds for the past, too.
        """
        words = ", ".join(map(self.literal, OUTCOMES))
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
  SELECT * REPLACE ({self.is_test(test)} AS is_test),
    ({level()}) AS level,
    {self.list_of(STAGES)}[({level()}) + 1] AS stage,
    CASE WHEN {now} < closes_at THEN 'open' ELSE 'closed' END AS status,
    CASE WHEN final IS NOT NULL THEN final WHEN {now} >= closes_at THEN 'dropped' END AS ending
  FROM {PHYSICAL["conversations"]}
)"""

    def standing_events(self) -> str:
        """The events as analyses count them: each under its conversation, by attribution too, without retracted ones.

        Of a retraction that is itself retracted the chain is followed three steps.
        """
        target = self.json_text("facts", "event_id")
        owner = "coalesce('c' || conversation_id, 'p' || contact_id)"
        undone = "(SELECT owner, target FROM {})"
        stands = "SELECT * FROM r WHERE (owner, id) NOT IN {}"
        # Most events are of conversations in which nothing was retracted: of those nobody has to read the ids. The few
        # others are found by a condition each, as an engine reads all events for an OR. No type is empty: where both
        # begin alike DuckDB makes one scan of them and keeps all its rows, not those alone that a join lets through.
        named, stays = "conversation_id IS NOT NULL AND key", f"({owner}, id) NOT IN {undone.format('r3')}"
        return f"""(
  WITH r AS {self.once} (
    SELECT key, {owner} AS owner, id, {target} AS target
    FROM {PHYSICAL["events"]} WHERE event_type = 'event_retracted' AND target IS NOT NULL AND target <> id),
  r1 AS ({stands.format(undone.format("r"))}),
  r2 AS ({stands.format(undone.format("r1"))}),
  r3 AS ({stands.format(undone.format("r2"))})
  SELECT * FROM {PHYSICAL["events"]} WHERE {named} NOT IN (SELECT key FROM r)
  UNION ALL
  SELECT * FROM {PHYSICAL["events"]} WHERE event_type <> '' AND {named} IN (SELECT key FROM r) AND {stays}
  UNION ALL
  SELECT e.* REPLACE (a.conversation_id AS conversation_id, a.conversation_key AS key)
  FROM (SELECT * FROM {PHYSICAL["events"]} WHERE conversation_id IS NULL AND {stays}) e
  LEFT JOIN {PHYSICAL["attributions"]} a ON a.key = e.key AND a.event_id = e.id)"""

    def exposures(self, test: TestTraffic = NO_TEST_RULES) -> str:
        """Each standing exposure to a variant of an experiment, with the contact of its conversation, as a SELECT."""
        experiment = self.json_text("facts", "experiment")
        return f"""
SELECT e.key AS key, e.id AS id, e.experiment AS experiment, e.variant AS variant, e.timestamp AS exposed_at,
  e.conversation_id AS conversation_id, coalesce(c.contact_id, e.contact_id) AS contact_id,
  coalesce(c.is_test, e.is_test) AS is_test
FROM (
  SELECT key, id, conversation_id, contact_id, timestamp, variant, {experiment} AS experiment,
    {self.is_test(test)} AS is_test
  FROM {self.standing_events()} WHERE event_type = 'experiment_exposed') e
LEFT JOIN (
  SELECT key, id, contact_id, {self.is_test(test)} AS is_test FROM {PHYSICAL["conversations"]}) c
ON c.key = e.key AND c.id = e.conversation_id
WHERE e.experiment IS NOT NULL"""

    def properties(self, name: str) -> str:
        """For each conversation the last value of a property among its events that are no messages, nor of one."""
        return f"""(SELECT key AS of_key, conversation_id AS of_id, {self.latest("value", "(timestamp, id)")} AS value
    FROM (
      SELECT key, conversation_id, timestamp, id, {self.property_text(name)} AS value
      FROM {PHYSICAL["events"]}
      WHERE conversation_id IS NOT NULL AND event_type NOT IN {OF_MESSAGES})
    WHERE value IS NOT NULL GROUP BY key, conversation_id)"""

    def views(self, test: TestTraffic = NO_TEST_RULES) -> dict[str, str]:
        """What a reader sees under the names of the tables: without test traffic, and `…_all` with it."""
        whole = {
            "conversations": self.derived(self.now, test),
            "events": f"SELECT * FROM {PHYSICAL['events']}",
            "messages": f"""SELECT m.*, e.content AS content FROM {PHYSICAL["messages"]} m
                LEFT JOIN (SELECT key, id, conversation_id, {self.content} AS content FROM {PHYSICAL["events"]}) e
                ON e.key = m.key AND e.id = m.event_id AND e.conversation_id = m.conversation_id""",
            **{name: f"SELECT * FROM {PHYSICAL[name]}" for name in ("turns", "meetings", "deals", "attributions")},
            "exposures": self.exposures(test),
        }
        real = "SELECT key FROM conversations_all WHERE is_test"
        kept = dict.fromkeys(whole, f"key NOT IN ({real})") | {"conversations": "NOT is_test"}
        kept["events"] += " AND NOT is_test"
        kept["exposures"] = "NOT is_test"
        kept["attributions"] = f"conversation_key IS NULL OR conversation_key NOT IN ({real})"
        return {
            **{f"{name}_all": text for name, text in whole.items()},
            **{name: f"SELECT * FROM {name}_all WHERE {kept[name]}" for name in whole},
            "rejected_events": f"SELECT * FROM {PHYSICAL['rejected_events']}",
        }

    def instead(self, table: str) -> str:
        """What one may have meant by a table that there is not: of those that somebody's own SQL is about
        (docs/operate.md)."""
        known = (*self.views(), "metrics_hourly", "metrics_daily")
        shown = ", ".join(name for name in known if not name.endswith("_all"))
        return did_you_mean(table, known) or f"there are {shown}"


class DuckDB(Dialect):
    """DuckDB 2."""

    types: Mapping[Type, str] = {
        "text": "VARCHAR", "int": "BIGINT", "uint": "UBIGINT", "float": "DOUBLE", "bool": "BOOLEAN",
        "instant": "TIMESTAMP", "texts": "VARCHAR[]", "date": "DATE", "exact": "DECIMAL(38,6)",
    }  # fmt: skip
    now = "timezone('UTC', now())"
    inline = "NOT MATERIALIZED"
    once = "MATERIALIZED"

    def literal(self, text: str) -> str:
        return "'" + text.replace("'", "''") + "'"

    def parameter(self, name: str, value: Any) -> str:
        return f"${name}::TIMESTAMP" if isinstance(value, datetime) else f"${name}"

    def json_text(self, column: str, name: str) -> str:
        # As a pointer: in a path the name would have to follow a grammar.
        pointer = "/" + name.replace("~", "~0").replace("/", "~1")
        return f"json_extract_string({column}, {self.literal(pointer)})"

    def finite(self, text: str) -> str:
        found = f"TRY_CAST({text} AS DOUBLE)"
        return f"CASE WHEN isfinite({found}) THEN {found} END"

    def contains(self, text: str, part: str) -> str:
        return f"contains({text}, {part})"

    def matches(self, text: str, pattern: str) -> str:
        return f"regexp_matches({text}, {pattern})"

    def ends_with(self, text: str, end: str) -> str:
        return f"ends_with(lower({text}), {end})"

    def total(self, value: str, where: str) -> str:
        return f"sum(CAST({value} AS DECIMAL(18, 6))) FILTER (WHERE {where})"

    def quantiles(self, value: str, levels: Iterable[float]) -> str:
        return f"quantile_cont({value}, [{', '.join(map(str, levels))}])"

    def numbers(self, lists: Iterable[str]) -> str:
        return f"[{', '.join(lists)}]::DOUBLE[][]"

    def latest(self, value: str, order: str) -> str:
        return f"arg_max({value}, {order})"

    def overlap(self, one: str, other: str) -> str:
        return f"list_has_any({one}, {other})"

    def each(self, values: str) -> str:
        return f"unnest({values})"

    def _local(self, instant: str, zone: str) -> str:
        """The wall-clock time of an instant in a zone."""
        return f"timezone({self.literal(zone)}, timezone('UTC', {instant}))"

    def local_hour(self, instant: str, zone: str) -> str:
        # Twice: before 1970 the remainder is negative.
        past = f"(epoch_us({self._local(instant, zone)}) % 3600000000 + 3600000000) % 3600000000"
        return f"make_timestamp(epoch_us({instant}) - {past})"

    def local_date(self, interval: str, instant: str, zone: str) -> str:
        return f"date_trunc('{interval}', {self._local(instant, zone)})::DATE"

    def local_part(self, name: str, instant: str, zone: str) -> str:
        form = {"day_of_week": "%A", "hour_of_day": "%H", "week": "%G-W%V", "month": "%Y-%m"}[name]
        return f"strftime({self._local(instant, zone)}, '{form}')"


class ClickHouse(Dialect):
    """ClickHouse 25.8 and later, with `SETTINGS`. Floats are parsed and summed as elsewhere, nulls are nulls."""

    types: Mapping[Type, str] = {
        "text": "String", "int": "Int64", "uint": "UInt64", "float": "Float64", "bool": "Bool",
        "instant": "DateTime64(6, 'UTC')", "texts": "Array(String)", "date": "Date32", "exact": "Decimal(38, 6)",
    }  # fmt: skip
    """Without `Nullable`: which columns may be null the tables say."""
    now = "now64(6, 'UTC')"
    inline = ""
    once = ""
    SETTINGS: Mapping[str, Any] = {
        "join_use_nulls": 1,
        "aggregate_functions_null_for_empty": 1,
        "cast_keep_nullable": 1,
        "prefer_column_name_to_alias": 1,
        "precise_float_parsing": 1,
        "session_timezone": "UTC",
    }
    """With these a statement means what the standard says."""

    def literal(self, text: str) -> str:
        return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"

    def parameter(self, name: str, value: Any) -> str:
        kind = {datetime: self.types["instant"], int: "UInt64", str: "String"}[type(value)]
        return f"{{{name}:{kind}}}"

    def json_text(self, column: str, name: str) -> str:
        member = f"{column}, {self.literal(name)}"
        real = f"JSONExtractFloat({member})"
        # A number keeps the form of the other engine: 1.0 is not 1.
        whole = f"{real} = trunc({real}) AND abs({real}) < 1e15"
        return f"""multiIf(JSONType({member}) = 'Null', NULL,
          JSONType({member}) = 'String', JSONExtractString({member}),
          JSONType({member}) = 'Double' AND {whole}, toString({real}) || '.0', JSONExtractRaw({member}))"""

    def finite(self, text: str) -> str:
        found = f"toFloat64OrNull(trimBoth({text}))"
        return f"CASE WHEN isFinite({found}) THEN {found} END"

    def contains(self, text: str, part: str) -> str:
        return f"position({text}, {part}) > 0"

    def matches(self, text: str, pattern: str) -> str:
        return f"match({text}, {pattern})"

    def ends_with(self, text: str, end: str) -> str:
        return f"endsWith(lowerUTF8({text}), {end})"

    def total(self, value: str, where: str) -> str:
        # A cast to a decimal cuts, and round() goes to the even neighbour.
        micros = f"toInt64(sign({value}) * floor(abs({value}) * 1000000 + 0.5))"
        return f"CAST(sum({micros}) FILTER (WHERE {where}) AS DECIMAL(38, 6)) / 1000000"

    def quantiles(self, value: str, levels: Iterable[float]) -> str:
        return f"if(count({value}) = 0, [], quantilesExactInclusive({', '.join(map(str, levels))})({value}))"

    def numbers(self, lists: Iterable[str]) -> str:
        return f"CAST([{', '.join(lists)}] AS Array(Array(Float64)))"

    def latest(self, value: str, order: str) -> str:
        return f"argMax({value}, {order})"

    def overlap(self, one: str, other: str) -> str:
        return f"hasAny({one}, {other})"

    def each(self, values: str) -> str:
        return f"arrayJoin({values})"

    def local_hour(self, instant: str, zone: str) -> str:
        micros = f"toUnixTimestamp64Micro({instant})"
        offset = f"toInt64(timeZoneOffset(toTimeZone({instant}, {self.literal(zone)}))) * 1000000"
        return f"fromUnixTimestamp64Micro({micros} - positiveModulo({micros} + {offset}, 3600000000), 'UTC')"

    def local_date(self, interval: str, instant: str, zone: str) -> str:
        day = f"toDate32({instant}, {self.literal(zone)})"
        # toMonday and toStartOfMonth know no year before 1970.
        past = {"day": "0", "week": f"toDayOfWeek({day}) - 1", "month": f"toDayOfMonth({day}) - 1"}[interval]
        return f"{day} - ({past})"

    def local_part(self, name: str, instant: str, zone: str) -> str:
        form = {"day_of_week": "%W", "hour_of_day": "%H", "week": "%G-W%V", "month": "%Y-%m"}[name]
        return f"formatDateTime({instant}, '{form}', {self.literal(zone)})"


DUCKDB = DuckDB()
CLICKHOUSE = ClickHouse()


def create(table: str) -> str:
    """The embedded store's DDL of a table, without key and index (they have open corruption bugs under upserts)."""
    columns = ",\n  ".join(f'"{c.name}" {DUCKDB.types[c.type]}' for c in tables.TABLES[table])
    return f"CREATE TABLE {PHYSICAL[table]} (\n  {columns}\n);"
