"""What followed each of the bot's messages.

What follows a message, up to the bot's (or an agent's) next one, is its own; messages sent in one go, each within
`TOGETHER` of the one before, share it. Messages that never arrived are left out; auto-replies and opt-out keywords are
no replies.
"""

from dataclasses import replace
from typing import NamedTuple

import polars as pl

from dropoff.analyse import select
from dropoff.analyse.contacts import CONTACT
from dropoff.analyse.maturity import NEVER
from dropoff.events import MICROS, OBJECTION
from dropoff.query import Query
from dropoff.store.base import Store
from dropoff.store.sql import PHYSICAL, reached_at

TOGETHER = 60 * MICROS
"""Messages of one side that follow one another this fast are sent in one go."""


class Sent(NamedTuple):
    """The bot's messages that arrived, a row each: see `follow`. `texts`: the distinct texts, by their code."""

    rows: pl.DataFrame
    texts: pl.Series


def read(store: Store, query: Query) -> Sent:
    """The messages of a query's conversations, with what followed."""
    units, unit = select.told_apart(_units(store, query))
    return follow(units, _spoken(store, query, unit), _objected(store, query, unit))


def _units(store: Store, query: Query) -> pl.DataFrame:
    clause = select.Clause(store.dialect)
    rows = select.conversations(replace(query, by=None), clause)
    found = store.frame(
        f"""SELECT key, id, {CONTACT} AS cluster, first_message_variant AS first_variant,
              {reached_at("booked")} AS booked_at, {reached_at("converted")} AS converted_at, opted_out_at
            FROM {rows}""",
        clause.parameters,
    )
    return select.in_micros(found, "booked_at", "converted_at", "opted_out_at")


def _spoken(store: Store, query: Query, unit: str) -> pl.DataFrame:
    """What was said, but for bot messages that never arrived and what prospects did not write themselves."""
    clause = select.Clause(store.dialect)
    rows = select.conversations(replace(query, by=None), clause)
    sql, said = clause.sql, "(event_type = 'message_sent' OR sender = 'bot')"
    found = store.frame(
        f"""WITH c AS {sql.once} (SELECT key, id FROM {rows})
            SELECT r.{"key" if unit == "key" else "conversation_id"} AS unit, r.timestamp AS at, r.position AS position,
              r.sender = 'prospect' AS prospect, r.sender = 'bot' AS bot, r.sentiment AS sentiment,
              CASE WHEN r.sender = 'bot' OR lower(r.intent) LIKE 'objection%' THEN r.intent END AS intent,
              CASE WHEN r.sender = 'bot' THEN r.variant END AS variant,
              CASE WHEN r.sender = 'bot' THEN e.content END AS text
            FROM {PHYSICAL["messages"]} r JOIN c ON c.key = r.key AND c.id = r.conversation_id
            LEFT JOIN (SELECT key, id, conversation_id, {sql.content} AS content
                       FROM {PHYSICAL["events"]} WHERE {said}) e
            ON e.key = r.key AND e.id = r.event_id AND e.conversation_id = r.conversation_id
            WHERE CASE WHEN r.sender = 'prospect' THEN r.counted ELSE r.delivered END""",
        clause.parameters,
    )
    found = select.in_micros(found, "at").with_columns(
        pl.col("position").cast(pl.Int64), pl.col("prospect", "bot").cast(pl.Boolean)
    )
    objects = pl.col("prospect") & pl.col("intent").str.contains(OBJECTION).fill_null(value=False)
    return found.with_columns(objects.alias("objects"))


def _objected(store: Store, query: Query, unit: str) -> pl.DataFrame:
    """Objections that are events of their own: `unit`, `at`."""
    clause = select.Clause(store.dialect)
    rows = select.conversations(replace(query, by=None), clause)
    found = store.frame(
        f"""SELECT r.{"key" if unit == "key" else "conversation_id"} AS unit, r.timestamp AS at
            FROM (SELECT * FROM {clause.sql.standing_events()} WHERE event_type = 'objection_raised') r
            JOIN {rows} c ON c.key = r.key AND c.id = r.conversation_id""",
        clause.parameters,
    )
    return select.in_micros(found, "at")


def follow(units: pl.DataFrame, said: pl.DataFrame, objected: pl.DataFrame) -> Sent:
    """What followed each of the bot's messages: a pure function.

    `units`: `unit` (any type), `id`, `cluster`, `first_variant`, `booked_at`, `converted_at`, `opted_out_at`. `said`:
    `unit`, `at`, `position`, `bot` and `prospect` (who wrote it; neither: an agent), `objects`, `sentiment`, and of the
    bot `intent`, `variant` and `text`. `objected`: `unit`, `at`. Instants are Int64, microseconds; null has not come.

    Gives `id`, `cluster` (a code), `position` (among the bot's), `intent`, `variant`, `text` (its place in `texts`),
    `at`, and of what came before the next message of the bot or an agent: `replied_at`, `opted_out_at`, `objected` (in
    the turn of the reply), `change` (of sentiment, from the prospect's message before to the reply); and `booked_at`,
    `converted_at` of the conversation.
    """
    units = units.select(
        "unit", pl.int_range(pl.len(), dtype=pl.Int64).alias("row"), "first_variant", "booked_at", "converted_at",
        "opted_out_at", pl.col("cluster").rank("dense").cast(pl.Int64).alias("cluster"), "id",
    )  # fmt: skip
    texts = said["text"].drop_nulls().unique().sort()
    codes = said["text"].cast(pl.Enum(texts)).to_physical()
    coded = [said[name].cast(pl.Enum(said[name].drop_nulls().unique())) for name in ("intent", "variant")]
    whole = said.with_columns(codes.alias("text"), *coded).join(units.select("unit", "row"), on="unit").drop("unit")
    whole = whole.sort(pl.col("row") * 2**32 + pl.col("position"))  # one number is sorted faster than two
    raised = objected.join(units.select("unit", "row"), on="unit").drop("unit")
    return Sent(_followed(_with_raised(whole, raised), units), texts)


def _with_raised(whole: pl.DataFrame, raised: pl.DataFrame) -> pl.DataFrame:
    """With objections that are events of their own under the message before them, where that is the prospect's."""
    whole = whole.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias("i"))
    if raised.is_empty():
        return whole
    some = whole.join(raised, on="row", how="semi").select("row", "at", "i").sort("at", "i")
    before = (
        raised.sort("at")
        .join_asof(some, on="at", by="row", strategy="backward", check_sortedness=False)["i"]
        .drop_nulls()
        .unique()
    )
    return whole.with_columns(pl.col("objects") | (pl.col("prospect") & pl.col("i").is_in(before.implode())))


def _followed(whole: pl.DataFrame, units: pl.DataFrame) -> pl.DataFrame:
    """The part of `follow` on rows in order, with their number `i`."""

    def following(what: pl.Expr) -> pl.Expr:
        return pl.when(what).then("i").backward_fill()

    ours, before = ~pl.col("prospect"), pl.col("row", "at", "prospect").shift(1).name.prefix("last_")
    goes_on = (pl.col("last_row") == pl.col("row")) & ~pl.col("last_prospect") & (
        pl.col("at") - pl.col("last_at") <= TOGETHER
    )  # fmt: skip
    whole = whole.with_columns(before).with_columns((ours & ~goes_on.fill_null(value=False)).alias("begins"))
    whole = whole.drop("last_row", "last_at", "last_prospect").with_columns(
        following(pl.col("prospect") | pl.col("begins")).shift(-1).alias("next"),
        following(pl.col("begins")).shift(-1).alias("own_next"),
        following(pl.col("objects")).alias("objection"),
        following(ours).fill_null(len(whole)).alias("answer"),
        pl.when("prospect").then("i").forward_fill().alias("heard"),
    )
    bot = whole.filter("bot").select("row", "at", "intent", "variant", "text", "next", "own_next", "heard")
    bot = bot.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias("number"))
    begins = (pl.col("row") != pl.col("row").shift(1)).fill_null(value=True)
    bot = bot.with_columns((pl.col("number") - pl.when(begins).then("number").forward_fill() + 1).alias("position"))

    def there(name: str, place: pl.Series) -> pl.Series:
        """What stands at other rows, where they are of the same conversation."""
        is_same = (whole["row"].gather(place) == bot["row"]).fill_null(value=False)
        found = whole[name].gather(place)
        return found.zip_with(is_same, pl.repeat(None, len(bot), dtype=found.dtype, eager=True))

    reply = there("i", bot["next"].zip_with(whole["prospect"].gather(bot["next"]).fill_null(value=False), _none(bot)))
    objection = there("i", whole["objection"].gather(reply))
    bot = bot.with_columns(
        there("at", reply).alias("replied_at"),
        (objection < whole["answer"].gather(reply)).fill_null(value=False).alias("objected"),
        (there("sentiment", reply) - there("sentiment", bot["heard"])).alias("change"),
        there("at", bot["own_next"]).fill_null(NEVER).alias("until"),
    )
    of = units.drop("unit", "row")  # a unit's row is its place here
    bot = pl.concat([bot, of[bot["row"]]], how="horizontal")
    left = (pl.col("opted_out_at") >= pl.col("at")) & (pl.col("opted_out_at") < pl.col("until"))
    first = pl.when(pl.col("position") == 1).then("first_variant")
    variant, intent = (pl.col(name).cast(pl.String) for name in ("variant", "intent"))
    return bot.select(
        "id", "cluster", "position", intent, "at", "text", pl.coalesce(variant, first).alias("variant"),
        "replied_at", "objected", "change", pl.when(left).then("opted_out_at").alias("opted_out_at"),
        "booked_at", "converted_at",
    )  # fmt: skip


def _none(of: pl.DataFrame) -> pl.Series:
    return pl.repeat(None, len(of), dtype=pl.Int64, eager=True)
