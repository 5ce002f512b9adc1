"""What became of the conversations at a stage of a funnel: which went on, which are lost, and what happened meanwhile.

A conversation is *at* a stage from when it reached it (in mode `reached` from the first event of it or a later stage)
until it goes on to the next recorded stage; one that is lost stays there. The store gives the rows, and `classify` says
in one place what became of each.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import polars as pl

from dropoff.analyse import select
from dropoff.analyse.funnels import custom_funnel
from dropoff.analyse.funnels.attempts import attempts
from dropoff.analyse.funnels.funnel import Definition
from dropoff.events import OBJECTION
from dropoff.periods import to_micros
from dropoff.project.funnels import UNTIMED, Funnel, unsplit
from dropoff.query import NONE, Query
from dropoff.store.base import Store
from dropoff.store.sql import PHYSICAL

ENDS = ("opted_out", "disqualified", "escalated", "meeting_canceled", "meeting_no_show", "deal_lost")
"""What ends a conversation's way through the funnel: after it nobody is called silent."""

HAPPENINGS = (*ENDS, "objection", "fallback", "error")
"""What can happen instead of the next stage; of things at one instant the earlier in this list comes first."""

INSTEAD = (*HAPPENINGS, "open", "unanswered", "silence")
"""What a lost conversation did next: the first happening since the stage was reached. Without one it is still open, or
the prospect had the last word, or nobody said anything more. Each has exactly one of these."""

REASONS = (*HAPPENINGS, "undelivered", "slow_reply")
"""What may be why: a happening, a last bot message that never arrived, a last answer slower than nine in ten of the
bot's answers at this stage on the same channel."""

NO_EVENT = "no_event"
"""Beside the reasons: none of them."""

NOTHING = "(nothing)"
"""In place of an intent: the bot said nothing at this stage."""

_EVENTS = {"objection_raised": "objection"} | {
    name: name for name in HAPPENINGS if name not in ("objection", "deal_lost")
}


class Step(NamedTuple):
    """Two consecutive stages, of which the first is recorded or the funnel's first, the second recorded."""

    source: str
    target: str


class Behind(NamedTuple):
    """Which conversations at a stage are meant; None: no matter. `lost`: those that did not go on."""

    lost: bool | None = None
    said: str | None = None
    last_intent: str | None = None
    instead: str | None = None
    reason: str | None = None


class Found(NamedTuple):
    """The conversations at a stage, a row each, and what the bot said meanwhile: `unit`, `intent` of each message."""

    units: pl.DataFrame
    said: pl.DataFrame


def classify(at: pl.DataFrame, messages: pl.DataFrame, happened: pl.DataFrame) -> Found:
    """What became of each conversation at a stage: a pure function.

    `at`: `unit` (any type), `channel`, `source_at`, `lost`, `closed` (nothing can come any more), `message_count` and
    `lost_at` (the deal was lost). `messages`: those of the bot, and of others those at position `message_count`, while
    they were at the stage: `unit`, `position`, `bot` and `prospect` (who wrote it), `intent`, `response_seconds`,
    `delivered`. `happened`: `unit`, `at`, `what` of `HAPPENINGS`. Instants are Int64, microseconds.

    Adds `last_intent` (of the bot's last message; `NONE` where it has none, `NOTHING` without a message) and its
    `position`, `silent`, `instead`, a column for each of `REASONS`, and `no_event`.
    """
    bot = messages.filter("bot").sort("unit", "position").with_columns(pl.col("intent").fill_null(NONE))
    deals = at.filter(pl.col("lost") & (pl.col("lost_at") >= pl.col("source_at")))
    deals = deals.select("unit", pl.col("lost_at").alias("at"), pl.lit("deal_lost").alias("what"))
    answered = messages.filter("prospect").select("unit", pl.col("position").alias("message_count"))
    units = (
        at.join(_last(bot).select("unit", "position", pl.col("intent").alias("last_intent"), "delivered"), **_LEFT)
        .join(_of_happenings(pl.concat([happened.select("unit", "at", "what"), deals])), **_LEFT)
        .join(answered.with_columns(unanswered=True), on=["unit", "message_count"], how="left", maintain_order="left")
        .join(_slow(at, bot), **_LEFT)
    ).with_columns(
        pl.col("last_intent").fill_null(NOTHING),
        (~pl.col("delivered")).alias("undelivered"),
    )
    units = units.with_columns(pl.col("unanswered", *REASONS).fill_null(value=False))
    still = pl.when(~pl.col("closed")).then(pl.lit("open")).when("unanswered").then(pl.lit("unanswered"))
    return Found(
        units.with_columns(
            (pl.col("lost") & pl.col("closed") & ~pl.col("unanswered") & ~pl.any_horizontal(ENDS)).alias("silent"),
            pl.when("lost").then(pl.coalesce("first", still.otherwise(pl.lit("silence")))).alias("instead"),
            (~pl.any_horizontal(REASONS)).alias(NO_EVENT),
        ).drop("first", "delivered"),
        pl.concat([
            bot.select("unit", "intent"),
            units.filter(pl.col("position").is_null()).select("unit", pl.lit(NOTHING).alias("intent")),
        ]),
    )  # fmt: skip


_LEFT: Any = {"on": "unit", "how": "left", "maintain_order": "left"}


def _last(messages: pl.DataFrame) -> pl.DataFrame:
    """The last of each unit's messages, which are in order."""
    return messages.unique("unit", keep="last", maintain_order=True)


def _of_happenings(found: pl.DataFrame) -> pl.DataFrame:
    """For each conversation which happenings it has, and the first."""
    ordered = found.with_columns(pl.col("what").cast(pl.Enum(HAPPENINGS))).sort("at", "what")
    first = pl.col("what").first().cast(pl.String).alias("first")
    has = [(pl.col("what") == what).any().alias(what) for what in HAPPENINGS]
    return ordered.group_by("unit", maintain_order=True).agg(first, *has)


def _slow(at: pl.DataFrame, bot: pl.DataFrame) -> pl.DataFrame:
    """For each conversation that has an answer of the bot's whether the last was slow."""
    answers = bot.filter(pl.col("response_seconds").is_not_null()).join(
        at.select("unit", "channel"), on="unit", maintain_order="left"
    )
    limits = answers.group_by("channel").agg(pl.col("response_seconds").quantile(0.9, "linear").alias("limit"))
    last = _last(answers).join(limits, on="channel", nulls_equal=True)
    return last.select("unit", (pl.col("response_seconds") > pl.col("limit")).alias("slow_reply"))


def chosen(found: Found, behind: Behind) -> pl.DataFrame:
    """The units that are meant."""
    units = found.units
    if behind.said is not None:
        units = units.join(found.said.filter(pl.col("intent") == behind.said), on="unit", how="semi")
    wanted = [
        None if behind.lost is None else pl.col("lost") == behind.lost,
        None if behind.last_intent is None else pl.col("silent") & (pl.col("last_intent") == behind.last_intent),
        None if behind.instead is None else pl.col("instead") == behind.instead,
        None if behind.reason is None else pl.col(behind.reason),
    ]
    return units.filter(*(one for one in wanted if one is not None))


# from the store to the rows


def read(store: Store, query: Query, funnel: Definition | Funnel, step: Step) -> Found:
    """`classify` of the conversations of a query that reached the first stage of a step."""
    at, unit = select.told_apart(_at(store, query, funnel, step))
    spans = at.select("unit", "source_at", "onward_at")
    messages = _meanwhile(_messages(store, query, funnel, step, unit), funnel, spans)
    said = pl.col("prospect") & pl.col("intent").str.contains(OBJECTION)
    objections = messages.filter(said).select("unit", "at", pl.lit("objection").alias("what"))
    happened = _meanwhile(_happened(store, query, funnel, step, unit), funnel, spans)
    return classify(at, messages, pl.concat([happened, objections]))


def _rows(query: Query, funnel: Definition | Funnel, step: Step, clause: select.Clause) -> str:
    """The conversations that may be at the stage; of a built-in funnel those that are, with when they were."""
    facts = "key, id, channel, message_count, lost_at, CAST(status = 'closed' AS BOOLEAN) AS closed"
    whole = replace(query, by=None)
    if isinstance(funnel, Funnel):  # when a conversation took which step the store does not know: `_meanwhile`
        rows = select.conversations(whole, clause, started=funnel.mode in UNTIMED)
        return f"(SELECT {facts} FROM {rows})"
    rows, (source, onward) = select.conversations(whole, clause), map(funnel.reached_at, step)
    return f"(SELECT {facts}, {source} AS source_at, {onward} AS onward_at FROM {rows} WHERE {source} IS NOT NULL)"


def _while_there(query: Query, funnel: Definition | Funnel, clause: select.Clause) -> str:
    """Whether a row `r` of a conversation `c` of `_rows` may lie in its time at the stage."""
    if isinstance(funnel, Definition):
        return "r.timestamp >= c.source_at AND (c.onward_at IS NULL OR r.timestamp < c.onward_at)"
    return "true" if funnel.mode in UNTIMED else f"r.timestamp >= {clause.add(select.naive(query.period.start))}"


def _at(store: Store, query: Query, funnel: Definition | Funnel, step: Step) -> pl.DataFrame:
    """The conversations at the stage, in the columns that `classify` takes, and `onward_at`."""
    clause = select.Clause(store.dialect)
    rows = _rows(query, funnel, step, clause)
    found = store.frame(f"SELECT * FROM {rows}", clause.parameters)
    if isinstance(funnel, Funnel):
        found = found.join(came(store, query, funnel, step), on="id")
    return select.in_micros(found, "source_at", "onward_at", "lost_at").with_columns(
        pl.col("onward_at").is_null().alias("lost"),
        pl.col("closed").cast(pl.Boolean),
        pl.col("message_count").cast(pl.Int64),
    )


def came(store: Store, query: Query, funnel: Funnel, step: Step) -> pl.DataFrame:
    """The units of a funnel of one's own that came to the first step, and when they took it and went on."""
    span = to_micros(query.period.start), to_micros(query.period.end)
    found = attempts(custom_funnel.read(store, query, unsplit(funnel), named=True), unsplit(funnel), span)
    names = custom_funnel.stages(funnel)
    source, onward = (pl.min_horizontal(_instants(funnel, names.index(stage))) for stage in step)
    return found.select(pl.col("unit").alias("id"), source.alias("source_at"), onward.alias("onward_at")).filter(
        pl.col("source_at").is_not_null()
    )


def _instants(funnel: Funnel, step: int) -> list[str]:
    later = funnel.required[funnel.required.index(step) :] if funnel.mode == "reached" else [step]
    return [f"at_{i}" for i in later]


def _messages(store: Store, query: Query, funnel: Definition | Funnel, step: Step, unit: str) -> pl.DataFrame:
    """The bot's messages, each conversation's last one, and those of prospects that may be an objection."""
    clause = select.Clause(store.dialect)
    rows, there = _rows(query, funnel, step, clause), _while_there(query, funnel, clause)
    found = store.frame(
        f"""SELECT c.{unit} AS unit, r.timestamp AS at, r.position, r.sender = 'bot' AS bot,
              r.sender = 'prospect' AS prospect, r.intent, r.response_seconds, r.delivered
            FROM {PHYSICAL["messages"]} r JOIN {rows} c ON c.key = r.key AND c.id = r.conversation_id
            WHERE {there} AND (r.sender = 'bot' OR r.position = c.message_count
              OR r.sender = 'prospect' AND lower(r.intent) LIKE 'objection%')""",
        clause.parameters,
    )
    return found.with_columns(
        pl.col("position").cast(pl.Int64), pl.col("bot", "prospect", "delivered").cast(pl.Boolean)
    )


def _happened(store: Store, query: Query, funnel: Definition | Funnel, step: Step, unit: str) -> pl.DataFrame:
    """What is no message."""
    clause = select.Clause(store.dialect)
    rows, there = _rows(query, funnel, step, clause), _while_there(query, funnel, clause)
    kinds = ", ".join(map(clause.sql.literal, _EVENTS))
    return store.frame(
        f"""SELECT c.{unit} AS unit, r.timestamp AS at, r.event_type AS what
            FROM (SELECT * FROM {clause.sql.standing_events()} WHERE event_type IN ({kinds})) r
            JOIN {rows} c ON c.key = r.key AND c.id = r.conversation_id WHERE {there}""",
        clause.parameters,
    ).with_columns(pl.col("what").replace(_EVENTS))


def _meanwhile(found: pl.DataFrame, funnel: Definition | Funnel, spans: pl.DataFrame) -> pl.DataFrame:
    """What lies in the time at the stage; the store has looked already where it knows that."""
    found = select.in_micros(found, "at")
    if isinstance(funnel, Definition):
        return found
    both = found.join(spans, on="unit")
    ends = pl.col("onward_at").is_null() | (pl.col("at") < pl.col("onward_at"))
    return both.filter((pl.col("at") >= pl.col("source_at")) & ends).drop("source_at", "onward_at")
