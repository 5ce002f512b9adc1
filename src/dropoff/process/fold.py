"""The fold: the events of conversations become their rows. A pure function of the set of distinct events.

Everything is computed from one frame sorted in the order of SEMANTICS §1, in which the events of a conversation
stand together. So a run, a turn or a position is a running sum, and "first" and "last" are a minimum and a maximum
of row numbers: no step looks at one conversation at a time, but for meetings and deals, which are few.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple
from zoneinfo import ZoneInfo

import polars as pl

from dropoff.events import MESSAGES, MICROS, OBJECTION
from dropoff.process import lifecycle, spoken
from dropoff.process.frames import frame_schema, with_facts
from dropoff.process.lifecycle import DAY
from dropoff.process.standing import IDENTITY, RETRACTED, differs, in_order, labelled, standing
from dropoff.store import tables

STAGES = {
    "qualified": "qualified_at",
    "meeting_booked": "booked_at",
    "opportunity_created": "opportunity_at",
}
# Known after the conversation, or from elsewhere: these never move its end.
OUTSIDE = r"^(meeting_.*|deal_.*|opportunity_created|message_status|feedback|contact_identified|event_retracted)$"


@dataclass(frozen=True, slots=True)
class Rules:
    """What the project has settled of SEMANTICS §3: its zone, and when a silent conversation counts as closed."""

    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    idle_seconds: Mapping[str, int] = field(
        default_factory=lambda: {"chat": 1800, "voice": 600, "whatsapp": 86_400, "sms": 259_200, "email": 604_800}
    )
    idle_default_seconds: int = 86_400
    deal_horizon_days: int = 90
    attribution_days: int = 180


class Facts(NamedTuple):
    """The rows of the conversations that were folded, in the columns of `store.tables`."""

    conversations: pl.DataFrame
    messages: pl.DataFrame
    turns: pl.DataFrame
    meetings: pl.DataFrame
    deals: pl.DataFrame


def fold(events: pl.DataFrame, rules: Rules, canonical: Mapping[str, str] = MappingProxyType({})) -> Facts:
    """The rows of all conversations in `events`, which must hold every stored event of each, once.

    A row whose `event_count` is 0 says that all of its conversation was retracted: readers must not see it.

    Contact events stand under the conversation they were attributed to, with the rule in `attributed_by`.
    `canonical` maps contact ids to the one they mean, where that is another.
    """
    if "attributed_by" not in events.columns:
        events = events.with_columns(pl.lit(None, pl.String).alias("attributed_by"))
    ordered = in_order(labelled(standing(with_facts(events))))
    messages = spoken.messages(ordered)
    runs, heard = spoken.turns(ordered)
    lives = _lives(ordered)
    summaries = _summaries(lives, rules)
    rows = _once(ordered)
    if canonical:
        rows = rows.with_columns(pl.col("contact_id").replace(dict(canonical)))
    for part in (
        _counts(ordered),
        _attributes(ordered),
        _of_messages(ordered, messages),
        _lists(ordered, messages),
        summaries,
        _touches(messages, summaries),
        runs.group_by("g").agg(pl.col("fallback").last().alias("ends_in_fallback")),
    ):
        rows = rows.join(part, on="g", how="left", maintain_order="left")
    owners = rows.select("g", "key", pl.col("id").alias("conversation_id"))
    return Facts(
        _finish(rows, rules),
        messages.join(heard, on="n", how="left", maintain_order="left").select(tables.names("messages")),
        _troubled(runs).join(owners, on="g", maintain_order="left").select(tables.names("turns")),
        _things("meetings", owners, _meetings(lives, rules)),
        _things("deals", owners, _deals(lives)),
    )


def _once(ordered: pl.DataFrame) -> pl.DataFrame:
    """What stands on the rows of a conversation as a whole."""
    first = ["channel", "direction", "bot_id", "bot_version"]
    last = ["contact_id", "account_id"]
    happened = (pl.col("event_type") != RETRACTED).any()
    return ordered.group_by("g", maintain_order=True).agg(
        pl.col("key").first(),
        pl.col("conversation_id").first().alias("id"),
        *(pl.col(name).first(ignore_nulls=True) for name in first),
        *(pl.col(name).last(ignore_nulls=True) for name in last),
        pl.col("is_test").any(),
        pl.when(happened).then(pl.len()).otherwise(0).cast(pl.Int32).alias("event_count"),
    )


def _counts(ordered: pl.DataFrame) -> pl.DataFrame:
    """Times, counts and the order of what ends a conversation: minima, maxima and sums over its rows."""
    kind, at, n = pl.col("event_type"), pl.col("timestamp"), pl.col("n")
    own = pl.col("attributed_by").is_null()

    def when(*types: str) -> pl.Expr:
        return kind == types[0] if len(types) == 1 else kind.is_in(types)

    def first(*types: str) -> pl.Expr:
        return pl.when(when(*types)).then(at).min()

    won = (kind == "deal_closed") & pl.col("won").fill_null(value=True)
    progress = when("qualified", "meeting_booked", "meeting_attended", "opportunity_created") | won
    return ordered.group_by("g", maintain_order=True).agg(
        pl.when(own & when("conversation_started")).then(at).min().alias("start_event_at"),
        pl.when(own & when(*MESSAGES)).then(at).min().alias("first_message_at"),
        pl.when(own).then(at).min().alias("first_event_at"),
        pl.when(own & ~kind.str.contains(OUTSIDE)).then(at).max().alias("ended_at"),
        *(first(event_type).alias(column) for event_type, column in STAGES.items()),
        first("disqualified").alias("disqualified_at"),
        first("opted_out").alias("opted_out_at"),
        first("escalated").alias("escalated_at"),
        pl.when(when("conversation_ended")).then(at).max().alias("closed_at"),
        *(when(t).sum().cast(pl.Int32).alias(f"{t}_count") for t in ("fallback", "error")),
        pl.when(progress).then(n).max().alias("n_progress"),
        pl.when(when("escalated")).then(n).min().alias("n_escalated"),
        pl.when(when("opted_out")).then(n).max().alias("n_opted_out"),
        pl.when(when("disqualified")).then(n).max().alias("n_disqualified"),
        pl.when(when("meeting_canceled", "meeting_no_show")).then(at).max().alias("fell_through_at"),
    )


def _attributes(ordered: pl.DataFrame) -> pl.DataFrame:
    """What only some rows give: each from the first or the last row that has it.

    What is known of the prospect may come later and from any event but a message, a fallback or an error.
    """
    kind = pl.col("event_type")

    def of(*types: str, value: str) -> pl.Expr:
        return pl.when(kind.is_in(types)).then(value)

    values = {
        "source": of("conversation_started", value="source"),
        "medium": of("conversation_started", value="medium"),
        "start_variant": of("conversation_started", value="variant"),
        "escalation_reason": of("escalated", value="reason"),
    }, {
        "lead_score": pl.col("lead_score"),
        **{name: pl.col(name) for name in ("industry", "company_size", "role", "country", "csat")},
        "qualification_score": of("qualified", "disqualified", value="score"),
        "qualification_path": of("qualified", "disqualified", value="path"),
        "reported_outcome": of("conversation_ended", value="outcome"),
    }  # fmt: skip
    given = {**values[0], **values[1]}
    rows = ordered.filter(~kind.is_in((*MESSAGES, "fallback", "error"))).select(
        "g", *(value.alias(name) for name, value in given.items())
    )
    return rows.group_by("g").agg(
        *(pl.col(name).first(ignore_nulls=True) for name in values[0]),
        *(pl.col(name).last(ignore_nulls=True) for name in values[1]),
    )


def _of_messages(ordered: pl.DataFrame, messages: pl.DataFrame) -> pl.DataFrame:
    """What the messages of a conversation add up to."""
    sender, at, n = pl.col("sender"), pl.col("timestamp"), pl.col("n")
    bot, prospect = sender == "bot", pl.col("prospect")
    reply = prospect & pl.col("counted")
    # An inbound conversation begins with the prospect: only what answers the bot is a response.
    bot_spoke = pl.when(bot).then(n).min().over("g")
    response = reply & ((pl.col("toward") != "inbound") | (n > bot_spoke)).fill_null(value=False)
    felt = pl.when(prospect).then("sentiment")
    toward = ordered.group_by("g").agg(pl.col("direction").first(ignore_nulls=True).fill_null("").alias("toward"))
    return messages.join(toward, on="g", how="left", maintain_order="left").with_columns(
        response.alias("response"), felt.alias("felt")
    ).group_by("g").agg(
        pl.len().cast(pl.Int32).alias("message_count"),
        bot.sum().cast(pl.Int32).alias("bot_messages"),
        prospect.sum().cast(pl.Int32).alias("prospect_messages"),
        (sender == "agent").sum().cast(pl.Int32).alias("agent_messages"),
        reply.sum().cast(pl.Int32).alias("counted_replies"),
        (bot & pl.col("delivered")).sum().cast(pl.Int32).alias("delivered_bot_messages"),
        pl.when(pl.col("response")).then(at).min().alias("responded_at"),
        pl.when(reply).then(n).max().alias("n_reply"),
        pl.col("felt").first(ignore_nulls=True).alias("sentiment_start"),
        pl.col("felt").last(ignore_nulls=True).alias("sentiment_end"),
        pl.col("felt").count().alias("felt_count"),
        pl.when(~prospect).then("response_seconds").first(ignore_nulls=True).alias("first_response_seconds"),
        pl.when(bot & pl.col("delivered")).then(n).min().alias("n_first_bot"),
        pl.when(sender == "agent").then(n).max().alias("n_agent"),
    ).join(
        messages.select(pl.col("n").alias("n_first_bot"), pl.col("variant").alias("message_variant")),
        on="n_first_bot", how="left",
    )  # fmt: skip


def _lists(ordered: pl.DataFrame, messages: pl.DataFrame) -> pl.DataFrame:
    """Intents, objections and the path of each conversation, in order; and what its messages cost."""
    intents = messages.filter(pl.col("prospect") & pl.col("intent").is_not_null())
    steps = _steps(ordered)
    objections = steps.filter(pl.col("objection").is_not_null())
    costs = messages.filter(pl.col("cost_micros").is_not_null())
    frames = [
        _distinct(intents, "intent").rename({"intent": "intents_detected"}),
        _distinct(objections, "objection").rename({"objection": "objections_raised"}),
        steps.group_by("g", maintain_order=True).agg(pl.col("step").alias("path"), pl.col("tied").any()),
        _costs(costs),
    ]
    rows = ordered.select("g").unique()
    for frame in frames:
        rows = rows.join(frame, on="g", how="left")
    return rows


def _distinct(rows: pl.DataFrame, column: str) -> pl.DataFrame:
    once = rows.select("g", column).unique(maintain_order=True, keep="first")
    return once.group_by("g", maintain_order=True).agg(column)


def _steps(ordered: pl.DataFrame) -> pl.DataFrame:
    """The rows that are steps of a path: messages by side and intent, objections, fallbacks, escalations."""
    kind, sender = pl.col("event_type"), pl.col("sender")
    rows = ordered.filter(kind.is_in((*MESSAGES, "objection_raised", "fallback", "escalated")))
    said = pl.col("intent").str.extract(OBJECTION)
    objection = (
        pl.when(kind == "objection_raised").then("objection").when(kind.is_in(MESSAGES) & (sender == "prospect"))
        .then(said)
    )  # fmt: skip
    step = (
        pl.when(kind.is_in(MESSAGES)).then(pl.concat_str(sender, "intent", separator=":", ignore_nulls=True))
        .when(kind == "objection_raised").then(pl.concat_str(pl.lit("objection:"), "objection"))
        .otherwise(kind)
    )  # fmt: skip
    rows = rows.select("g", "timestamp", "sequence", "rank", step.alias("step"), objection.alias("objection"))
    same = ~differs(rows, "g", "timestamp", "sequence", "rank") & differs(rows, "step")
    return rows.with_columns(same.alias("tied"))


def _costs(rows: pl.DataFrame) -> pl.DataFrame:
    by_conversation: dict[int, list[tuple[str, int]]] = {}
    for g, currency, micros in rows.select("g", "cost_currency", "cost_micros").rows():
        by_conversation.setdefault(g, []).append((currency, micros))
    costs = {"g": list(by_conversation), "cost": [lifecycle.money(v) for v in by_conversation.values()]}
    return pl.DataFrame(costs, schema={"g": pl.UInt32, "cost": pl.String})


def _troubled(turns: pl.DataFrame) -> pl.DataFrame:
    return turns.filter(pl.col("fallback") | pl.col("error"))


def _touches(messages: pl.DataFrame, summaries: pl.DataFrame) -> pl.DataFrame:
    """How many messages of bot and agents a won conversation took."""
    won = summaries.filter(pl.col("converted_at").is_not_null()).select("g", "converted_at")
    before = messages.join(won, on="g").filter(~pl.col("prospect") & (pl.col("timestamp") <= pl.col("converted_at")))
    return before.group_by("g").agg(pl.len().cast(pl.Int32).alias("touches"))


Lives = dict[int, lifecycle.Life]


def _lives(ordered: pl.DataFrame) -> Lives:
    """The meetings and deals of each conversation, by `g`."""
    rows = ordered.filter(pl.col("event_type").is_in((*lifecycle.MEETINGS, *lifecycle.DEALS)))
    changes: dict[int, list[lifecycle.Change]] = {}
    for g, *change in rows.select("g", *lifecycle.Change._fields).rows():
        changes.setdefault(g, []).append(lifecycle.Change(*change))
    return {g: lifecycle.live(of) for g, of in changes.items()}


_SUMMARY = {
    "g": pl.UInt32, "attended_at": pl.Int64, "followed_from": pl.Int64, "awaited_until": pl.Int64,
    "converted_at": pl.Int64, "lost_at": pl.Int64, "n_lost": pl.Int64, "revenue": pl.String,
}  # fmt: skip


def _summaries(lives: Lives, rules: Rules) -> pl.DataFrame:
    found = [{"g": g, **lifecycle.summary(life, rules.zone)} for g, life in lives.items()]
    return pl.DataFrame(found, schema=_SUMMARY)


def _meetings(lives: Lives, rules: Rules) -> list[tuple]:
    return [
        (g, m.id, m.booked_at, m.due and lifecycle.due_at(m.due, rules.zone), m.state, m.state_at, m.by, m.reschedules)
        for g, life in lives.items()
        for m in life.meetings
    ]


def _deals(lives: Lives) -> list[tuple]:
    return [
        (g, d.id, d.state, d.state_at, d.state_at if d.state == "won" else None, d.micros, d.currency)
        for g, life in lives.items()
        for d in life.deals.values()
    ]


def _things(table: str, owners: pl.DataFrame, rows: list[tuple]) -> pl.DataFrame:
    """Rows that begin with `g`, in the columns of their table."""
    own = {name: kind for name, kind in frame_schema(table).items() if name not in IDENTITY}
    frame = pl.DataFrame(rows, schema={"g": pl.UInt32, **own}, orient="row")
    return frame.join(owners, on="g", maintain_order="left").select(tables.names(table))


def _finish(rows: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """The facts that follow from others, in the columns of the table."""
    start = pl.coalesce("start_event_at", "first_message_at", "first_event_at")
    rows = rows.with_columns(start.alias("started_at")).with_columns(
        pl.max_horizontal(pl.coalesce("ended_at", "started_at"), "started_at").alias("ended_at")
    )
    counts = [c.name for c in tables.CONVERSATIONS if c.type == "int"]
    lists = [c.name for c in tables.CONVERSATIONS if c.type == "texts"]
    trend = pl.when(pl.col("felt_count") > 1).then(pl.col("sentiment_end") - pl.col("sentiment_start"))
    derived = rows.with_columns(
        ((pl.col("ended_at") - pl.col("started_at")) / MICROS).alias("duration_seconds"),
        (pl.col("prospect_messages") + pl.col("agent_messages")).fill_null(0).cast(pl.Int32).alias("human_messages"),
        trend.alias("sentiment_trend"),
        pl.col("escalated_at").is_not_null().alias("escalated"),
        pl.coalesce("message_variant", "start_variant").alias("first_message_variant"),
        pl.col("tied").fill_null(value=False),
        pl.col("ends_in_fallback").fill_null(value=False),
        (pl.col("n_agent") > pl.col("n_escalated")).fill_null(value=False).alias("taken_over"),
        *(pl.col(name).fill_null([]) for name in lists),
        _final().alias("final"),
        _closes_at(rules).alias("closes_at"),
    )
    return derived.with_columns(*(pl.col(name).fill_null(0) for name in counts)).select(tables.names("conversations"))


def _final() -> pl.Expr:
    """A negative end counts only if no stage event and no counted prospect message follows it.

    Not counted: the word STOP itself may well arrive after the opt-out that it caused.
    """
    after = pl.max_horizontal("n_progress", "n_reply")

    def stands(name: str) -> pl.Expr:
        return (pl.col(name) > after).fill_null(pl.col(name).is_not_null())

    return (
        pl.when(pl.col("converted_at").is_not_null()).then(pl.lit("converted"))
        .when(pl.col("lost_at").is_not_null() & stands("n_lost")).then(pl.lit("lost"))
        .when(stands("n_opted_out")).then(pl.lit("opted_out"))
        .when(stands("n_disqualified")).then(pl.lit("disqualified"))
    )  # fmt: skip


def _closes_at(rules: Rules) -> pl.Expr:
    """When silence, a goodbye, a due meeting or a pending deal stops counting as open.

    A cancellation or no-show is activity. What happens after the time that would close opens it again.
    """
    idle = pl.col("channel").replace_strict(dict(rules.idle_seconds), default=rules.idle_default_seconds)
    active_at = pl.max_horizontal("ended_at", "fell_through_at")
    horizon = pl.col("followed_from") + rules.deal_horizon_days * DAY
    due = pl.coalesce(pl.max_horizontal(horizon, "awaited_until"), "closed_at")
    return pl.when(due >= active_at).then(due).otherwise(active_at + idle.cast(pl.Int64) * MICROS)
