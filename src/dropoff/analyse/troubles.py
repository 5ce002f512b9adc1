"""What went wrong in a period, one row each: fallbacks, errors, escalations, opt-outs, and what was behind them.

What is counted and what is listed come from the same rows, so a count and its list cannot differ. Fallbacks and errors
are those that happened in the period; escalations and opt-outs those of the conversations that started in it: each as
its rate is counted.
"""

from collections.abc import Mapping

import polars as pl

from dropoff.analyse import select
from dropoff.errors import InvalidInput
from dropoff.query import NONE, Params, Query, one
from dropoff.store.base import Store
from dropoff.store.sql import PHYSICAL, Dialect

LONGEST = 200
"""So many characters of an utterance tell it from others."""
NOTHING = "(nothing)"
"""What the bot said before an opt-out where it had said nothing."""

BEHIND: Mapping[str, tuple[str, str]] = {
    "trigger": ("fallbacks", "with a fallback in the period, triggered by {}"),
    "utterance": ("fallbacks", "in which the bot did not understand, in the period, “{}”"),
    "error": ("errors", "with an error in the period of the kind {}"),
    "escalation": ("escalations", "handed to a human first for the reason {}"),
    "keyword": ("opt_outs", "that opted out first with the word {}"),
    "opted_out_after": ("opt_outs", "that opted out after the bot had said {}"),
    "health": ("health", "whose path depends on a tie between two events ({})"),
}
"""What the list of conversations takes: the rows in which it is the name of a column, and what it means."""

TIED = "tied"

READ: Mapping[str, tuple[str, ...]] = {"fallback": ("trigger", "utterance"), "error": ("kind",)}
"""Properties that are read as they came, beside those that are typed, by event type."""


def fallbacks_and_errors(store: Store, query: Query) -> dict[str, pl.DataFrame]:
    """`fallbacks` (`id` of the conversation, `at`, `trigger`, `utterance`) and `errors` (`id`, `at`, `error`)."""
    clause = select.Clause(store.dialect)
    sql, rows = clause.sql, select.conversations(query, clause, started=False, named=False)
    trigger, utterance = (_text(sql, name) for name in READ["fallback"])
    (kind,) = (_text(sql, name) for name in READ["error"])
    cause = f"CASE e.event_type WHEN 'fallback' THEN {trigger} ELSE {kind} END"
    said = f"CASE e.event_type WHEN 'fallback' THEN {utterance} END"
    found = store.frame(
        f"""SELECT e.event_type AS kind, c.id AS id, e.timestamp AS at, {cause} AS cause, {said} AS said
            FROM {sql.standing_events()} e JOIN {rows} c ON c.key = e.key AND c.id = e.conversation_id
            WHERE e.event_type IN ('fallback', 'error') AND {select.in_period("e.timestamp", query.period, clause)}""",
        clause.parameters,
    ).sort("at", "id", "cause", "said", nulls_last=True)
    fallbacks, errors = (found.filter(pl.col("kind") == kind) for kind in ("fallback", "error"))
    return {
        "fallbacks": fallbacks.select("id", "at", _named("cause").alias("trigger"), _uttered().alias("utterance")),
        "errors": errors.select("id", "at", _named("cause").alias("error")),
    }


def escalations(store: Store, query: Query) -> pl.DataFrame:
    """`id`, `at` (its start), `escalation`: the first reason of each conversation that was escalated."""
    clause = select.Clause(store.dialect)
    rows = select.conversations(query, clause, named=False)
    found = store.frame(
        f"SELECT id, started_at AS at, escalation_reason FROM {rows} WHERE escalated", clause.parameters
    )
    return found.select("id", "at", _named("escalation_reason").alias("escalation"))


def opt_outs(store: Store, query: Query) -> pl.DataFrame:
    """`id`, `at` (its start), `keyword` (of the first opt-out), `opted_out_after` (the intent of the bot's last message
    before it) of each conversation that opted out."""
    clause = select.Clause(store.dialect)
    rows, sql = select.conversations(query, clause, named=False), clause.sql
    intent = sql.latest(f"coalesce(m.intent, {sql.literal(NONE)})", "(m.timestamp, m.position)")
    found = store.frame(
        f"""WITH o AS {sql.once} (SELECT key, id, started_at, opted_out_at FROM {rows} WHERE opted_out_at IS NOT NULL)
            SELECT o.id AS id, o.started_at AS at, e.timestamp AS sent_at, e.id AS event, e.keyword AS word,
              said.intent AS intent FROM o
            LEFT JOIN (SELECT key, conversation_id, timestamp, id, keyword FROM {sql.standing_events()}
                       WHERE event_type = 'opted_out') e ON e.key = o.key AND e.conversation_id = o.id
            LEFT JOIN (SELECT o.key AS key, o.id AS id, {intent} AS intent FROM o
                       JOIN {PHYSICAL["messages"]} m ON m.key = o.key AND m.conversation_id = o.id
                       WHERE m.sender = 'bot' AND m.timestamp <= o.opted_out_at GROUP BY o.key, o.id) said
            ON said.key = o.key AND said.id = o.id""",
        clause.parameters,
    )
    first = found.sort("sent_at", "event", nulls_last=True).unique("id", keep="first", maintain_order=True)
    after = pl.col("intent").fill_null(NOTHING)
    return first.select("id", "at", _named("word").alias("keyword"), after.alias("opted_out_after"))


def tied(store: Store, query: Query) -> pl.DataFrame:
    """`id`, `health`: the conversations of the period whose path depends on a tie."""
    clause = select.Clause(store.dialect)
    rows = select.conversations(query, clause, named=False)
    found = store.frame(f"SELECT id FROM {rows} WHERE tied", clause.parameters)
    return found.with_columns(pl.lit(TIED).alias("health"))


def _text(sql: Dialect, name: str) -> str:
    return sql.json_text("e.properties", name)


def _named(column: str) -> pl.Expr:
    """A name of which the missing and the empty one are a value of their own."""
    return pl.when(pl.col(column).str.len_bytes() > 0).then(pl.col(column)).otherwise(pl.lit(NONE))


def _uttered() -> pl.Expr:
    """What was said, in one line, cut where it is long; null where there is nothing."""
    text = pl.col("said").str.replace_all(r"\s+", " ").str.strip_chars().str.slice(0, LONGEST)
    return pl.when(text.str.len_bytes() > 0).then(text)


# the conversations behind a number


def parse_behind(params: Params) -> dict[str, str] | None:
    """What the conversations are to have, by name; None where nothing is asked for."""
    wanted = {name: text for name in BEHIND if (text := one(params, name)) is not None}
    if wanted.get("health", TIED) != TIED:
        raise InvalidInput("health", wanted["health"], TIED)
    return wanted or None


def behind(store: Store, query: Query, wanted: Mapping[str, str]) -> list[str]:
    """The ids of the conversations that have all of it."""
    found = [_with(store, query, name, text) for name, text in wanted.items()]
    return sorted(set.intersection(*found))


def _with(store: Store, query: Query, name: str, text: str) -> set[str]:
    match BEHIND[name][0]:
        case "escalations":
            rows = escalations(store, query)
        case "opt_outs":
            rows = opt_outs(store, query)
        case "health":
            rows = tied(store, query)
        case kind:
            rows = fallbacks_and_errors(store, query)[kind]
    return set(rows.filter(pl.col(name) == text)["id"])


def described(wanted: Mapping[str, str]) -> str:
    """Which conversations `behind` gives, in words."""
    return f"Conversations {', and '.join(BEHIND[name][1].format(text) for name, text in wanted.items())}."
