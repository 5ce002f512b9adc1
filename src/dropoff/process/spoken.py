"""What was said: messages with their place and what became of them, and the turns of the bot."""

import polars as pl

from dropoff.events import MESSAGES, MICROS
from dropoff.process.standing import differs

CONFIDENT = 0.5
"""From this confidence on an intent counts as understood."""
OPT_OUT_WORDS = ("stop", "stopall", "stop all", "unsubscribe", "opt out", "optout", "revoke", "quit", "end", "cancel")
"""Short messages that carriers take as an opt-out on the channels below."""
OPT_OUT_CHANNELS = ("sms", "whatsapp")


def messages(ordered: pl.DataFrame) -> pl.DataFrame:
    """One row a message: its place, its turn, how long its side took to answer, and whether it counts."""
    rows = _delivered(ordered, ordered.filter(pl.col("event_type").is_in(MESSAGES)))
    rows = _keyworded(ordered, rows).with_columns(prospect=pl.col("sender") == "prospect")
    rows = rows.with_columns(
        differs(rows, "g").alias("first"), differs(rows, "g", "prospect").alias("opens")
    ).with_columns(pl.int_range(pl.len()).alias("i"), pl.col("opens").cum_sum().alias("run"))
    begin = pl.col("first")
    answers = pl.col("opens") & ~begin
    return rows.with_columns(
        pl.coalesce("message_id", "id").alias("mid"),
        (pl.col("i") - pl.when(begin).then("i").forward_fill() + 1).cast(pl.Int32).alias("position"),
        (pl.col("run") - pl.when(begin).then("run").forward_fill() + 1).cast(pl.Int32).alias("turn"),
        pl.when(answers).then((pl.col("timestamp") - pl.col("timestamp").shift(1)) / MICROS).alias("response_seconds"),
        (pl.col("delivered") & ~pl.col("auto_reply").fill_null(value=False) & ~pl.col("is_keyword")).alias("counted"),
        pl.col("micros").alias("cost_micros"),
        pl.when(pl.col("micros").is_not_null()).then("currency").alias("cost_currency"),
        pl.col("id").alias("event_id"),
    ).with_columns(pl.col("mid").alias("id"))


def _delivered(ordered: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """The latest status of a message decides; without one it counts as delivered."""
    status = ordered.filter((pl.col("event_type") == "message_status") & pl.col("message_id").is_not_null())
    if status.is_empty():
        return rows.with_columns(delivered=pl.lit(value=True))
    last = status.unique(["g", "message_id"], keep="last", maintain_order=True)
    last = last.select("g", "message_id", (pl.col("status") == "delivered").alias("delivered"))
    rows = rows.join(last, on=["g", "message_id"], how="left", maintain_order="left")
    return rows.with_columns(pl.col("delivered").fill_null(value=True))


def _keyworded(ordered: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """A message that only says the opt-out word: the carriers' words, or the one its opt-out event names.

    A message without a channel is on the last one named before it: so no later event moves an earlier message.
    """
    carriers = pl.col("spoken_on").is_in(OPT_OUT_CHANNELS) & pl.col("keyword").is_in(OPT_OUT_WORDS)
    is_keyword = (carriers & (pl.col("sender") == "prospect")).fill_null(value=False)
    named = ordered.filter((pl.col("event_type") == "opted_out") & pl.col("keyword").is_not_null())
    if named.is_empty():
        return rows.with_columns(is_keyword.alias("is_keyword"))
    words = named.select("g", "keyword", pl.lit(value=True).alias("named")).unique(["g", "keyword"])
    rows = rows.join(words, on=["g", "keyword"], how="left", maintain_order="left")
    return rows.with_columns((is_keyword | pl.col("named").fill_null(value=False)).alias("is_keyword"))


def turns(ordered: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The bot's turns in order; and for each message (by `n`) whether it was understood, or opens a bot's turn.

    A turn is a run of bot messages. A fallback or error belongs to the run that comes next, or the one it is in; it is
    a turn of its own when somebody else, or nobody, speaks next.
    """
    kind = pl.col("event_type")
    rows = ordered.filter(kind.is_in((*MESSAGES, "fallback", "error"))).select(
        "g", "n", "timestamp", "intent_confidence", "event_type",
        pl.when(kind.is_in(MESSAGES)).then("sender").alias("speaker"),
    )  # fmt: skip
    next_speaker = pl.col("speaker").fill_null(strategy="backward").over("g")
    alone = pl.when(next_speaker == "bot").then(pl.lit("bot")).otherwise(pl.lit("alone"))
    rows = rows.with_columns(pl.coalesce("speaker", alone).alias("voice"))
    rows = rows.with_columns(differs(rows, "g", "voice").cum_sum().alias("run"))
    runs = _runs(rows)
    rows = rows.join(runs.select("run", "answered_by_fallback", "n_first"), on="run", how="left", maintain_order="left")
    failed = (pl.col("voice") == "prospect") & pl.col("answered_by_fallback")
    known = (pl.col("voice") == "prospect") & (pl.col("intent_confidence").is_not_null() | failed)
    confident = (pl.col("intent_confidence") >= CONFIDENT).fill_null(value=False)
    heard = rows.filter(pl.col("speaker").is_not_null()).select(
        "n",
        pl.when(known).then(confident & ~failed).alias("understood"),
        ((pl.col("voice") == "bot") & (pl.col("n") == pl.col("n_first"))).alias("opens_turn"),
    )
    return runs.filter(pl.col("voice").is_in(("bot", "alone"))), heard


def _runs(rows: pl.DataFrame) -> pl.DataFrame:
    """The runs of one voice: when each began, its troubles, and whether a fallback answers it."""
    kind, said = pl.col("event_type"), pl.col("speaker").is_not_null()
    runs = rows.group_by("g", "run", "voice", maintain_order=True).agg(
        pl.coalesce(pl.when(said).then("timestamp").min(), pl.col("timestamp").min()).alias("timestamp"),
        pl.when(said).then("n").min().alias("n_first"),
        (kind == "fallback").any().alias("fallback"),
        (kind == "error").any().alias("error"),
    )
    followed = pl.col("voice").shift(-1).is_in(("bot", "alone")) & pl.col("fallback").shift(-1)
    same = pl.col("g").shift(-1) == pl.col("g")
    return runs.with_columns(
        (followed & same).fill_null(value=False).alias("answered_by_fallback"),
        (pl.col("voice") == "alone").alias("alone"),
    )
