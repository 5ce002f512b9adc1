"""Why conversations are lost between two stages: what the bot said last, what happened instead, and to whom.

A conversation is *at* a stage from when it reached it (in mode `reached` from the first event of it or a later stage)
until it goes on to the next recorded stage; one that is lost stays there. Whatever is counted here happened meanwhile.
The store gives the rows, `classify` says in one place what became of each conversation, and all else counts.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import polars as pl

from dropoff.analyse import custom_funnel, metrics, select
from dropoff.analyse.answers import share
from dropoff.analyse.attempts import attempts
from dropoff.analyse.funnel import Definition
from dropoff.analyse.stats import ENOUGH, Share, kitagawa, newcombe, p_value, q_values
from dropoff.errors import InvalidInput
from dropoff.events import OBJECTION
from dropoff.funnels import UNTIMED, Funnel, unsplit
from dropoff.periods import to_micros
from dropoff.query import NONE, REST, Params, Query, one
from dropoff.store.base import Store
from dropoff.store.sql import PHYSICAL, STAGES

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

DIMENSIONS = (
    "channel", "direction", "medium", "source", "industry", "company_size", "country", "first_message_variant",
    "bot_version", "bot_id", "day_of_week", "hour_of_day",
)  # fmt: skip
"""By which dimensions the lost are looked at."""

MESSAGES, VALUES, EXAMPLES = 20, 20, 20
"""How many intents are listed; how many values of a dimension, the rest together; how many texts give an example."""

_EVENTS = {"objection_raised": "objection"} | {
    name: name for name in HAPPENINGS if name not in ("objection", "deal_lost")
}
_COUNTS = {"dimension": pl.String, "value": pl.String, "now": pl.Boolean, "lost": pl.Int64, "n": pl.Int64}


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


class Asked(NamedTuple):
    """How the drop-offs are to be given: by `rate` or `volume`, and which to explain: a stage, or one of `WHICH`."""

    sort: str
    explain: str


SORTS = ("rate", "volume")
WHICH = ("all", "worst", "none")
BEHIND = ("passed", "said", "last_intent", "instead", "reason")
"""What the list of conversations takes beside `stage` and `dropped`."""


# what is asked for


def parse(params: Params) -> Asked:
    """`sort` and `explain`; raises `InvalidInput`. Which stages there are the funnel says later."""
    sort = one(params, "sort") or "rate"
    if sort not in SORTS:
        raise InvalidInput("sort", sort, f"one of {', '.join(SORTS)}")
    return Asked(sort, one(params, "explain") or "all")


def parse_behind(params: Params) -> tuple[str, Behind] | None:
    """The stage and which of its conversations; None where nothing asks for what only `classify` knows."""
    given = {name: text for name in BEHIND if (text := one(params, name)) is not None}
    if not given:
        return None
    places = {name: text for name in ("stage", "dropped", "passed") if (text := one(params, name)) is not None}
    if len(places) != 1:
        raise InvalidInput(", ".join(given), list(given.values()), "given with one of stage, dropped, passed")
    (place, stage), passed = *places.items(), given.pop("passed", None)
    for name, known in (("instead", INSTEAD), ("reason", (*REASONS, NO_EVENT))):
        if given.get(name, known[0]) not in known:
            raise InvalidInput(name, given[name], f"one of {', '.join(known)}")
    lost = {"stage": None, "dropped": True, "passed": False}[place]
    assert passed is None or place == "passed"  # noqa: S101
    return stage, Behind(lost, **given)


def answer(
    store: Store, query: Query, funnel: Definition | Funnel, found: dict[str, Any], asked: Asked
) -> dict[str, Any]:
    """The drop-offs of a funnel's answer in the order that is asked for, each with its `explanation` or None."""
    names = funnel.stages if isinstance(funnel, Definition) else custom_funnel.stages(funnel)
    if asked.explain not in (*WHICH, *names):
        raise InvalidInput("explain", asked.explain, f"one of {', '.join((*WHICH, *names))}")
    ordered = _ordered(found["drop_offs"], asked.sort)
    wanted = {"all": ordered, "worst": ordered[:1], "none": []}.get(asked.explain)
    if wanted is None:
        wanted = [drop for drop in ordered if drop["from"] == asked.explain]
    if not can_explain(funnel):
        wanted = []
    drops = [
        drop
        | {"explanation": explain(store, query, funnel, Step(drop["from"], drop["to"])) if drop in wanted else None}
        for drop in ordered
    ]
    parts = {
        value: {"drop_offs": _ordered(part["drop_offs"], asked.sort)}
        for value, part in found.get("segments", {}).items()
    }
    return found | {"drop_offs": drops, "sort": asked.sort} | ({"segments": parts} if parts else {})


def _ordered(drops: Sequence[dict[str, Any]], sort: str) -> list[dict[str, Any]]:
    first, second = ("drop_rate", "volume_lost") if sort == "rate" else ("volume_lost", "drop_rate")
    return sorted(drops, key=lambda drop: (-drop[first], -drop[second]))


def can_explain(funnel: Definition | Funnel) -> bool:
    """Whether what the funnel counts is conversations, each once."""
    return isinstance(funnel, Definition) or (funnel.unit == "conversation" and funnel.re_entry == "first")


# what became of each conversation


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
    at = _at(store, query, funnel, step)
    # Rows are told apart by their 64-bit keys where no two have the same: numbers are compared faster than ids.
    unit = "key" if at["key"].is_unique().all() else "id"
    at = at.with_columns(pl.col(unit).alias("unit"))
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
    rows, (source, onward) = select.conversations(whole, clause), (_reached_at(funnel, stage) for stage in step)
    return f"(SELECT {facts}, {source} AS source_at, {onward} AS onward_at FROM {rows} WHERE {source} IS NOT NULL)"


def _while_there(query: Query, funnel: Definition | Funnel, clause: select.Clause) -> str:
    """Whether a row `r` of a conversation `c` of `_rows` may lie in its time at the stage."""
    if isinstance(funnel, Definition):
        return "r.timestamp >= c.source_at AND (c.onward_at IS NULL OR r.timestamp < c.onward_at)"
    return "true" if funnel.mode in UNTIMED else f"r.timestamp >= {clause.add(select.naive(query.period.start))}"


def _reached_at(funnel: Definition, stage: str) -> str:
    """When a conversation reached a stage: by its own event, in mode `reached` by that of a later one, too."""
    if funnel.mode == "recorded":
        return STAGES[stage]
    columns = list(STAGES.values())[list(STAGES).index(stage) :]
    return f"least({', '.join(columns)})" if len(columns) > 1 else columns[0]


def _at(store: Store, query: Query, funnel: Definition | Funnel, step: Step) -> pl.DataFrame:
    """The conversations at the stage, in the columns that `classify` takes, and `onward_at`."""
    clause = select.Clause(store.dialect)
    rows = _rows(query, funnel, step, clause)
    found = store.frame(f"SELECT * FROM {rows}", clause.parameters)
    if isinstance(funnel, Funnel):
        found = found.join(_came(store, query, funnel, step), on="id")
    return found.with_columns(
        pl.col("source_at", "onward_at", "lost_at").cast(pl.Datetime("us")).cast(pl.Int64),
        pl.col("onward_at").is_null().alias("lost"),
        pl.col("closed").cast(pl.Boolean),
        pl.col("message_count").cast(pl.Int64),
    )


def _came(store: Store, query: Query, funnel: Funnel, step: Step) -> pl.DataFrame:
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
    found = found.with_columns(pl.col("at").cast(pl.Datetime("us")).cast(pl.Int64))
    if isinstance(funnel, Definition):
        return found
    both = found.join(spans, on="unit")
    ends = pl.col("onward_at").is_null() | (pl.col("at") < pl.col("onward_at"))
    return both.filter((pl.col("at") >= pl.col("source_at")) & ends).drop("source_at", "onward_at")


# by segment


def _counts(store: Store, query: Query, funnel: Definition | Funnel, step: Step) -> pl.DataFrame:
    """How many at the stage there are and how many of them are lost, by each value of each of `DIMENSIONS`: in the
    period and in the one before, `now` says which."""
    before = replace(query, period=metrics.period_before(query.period), by=None)
    if isinstance(funnel, Definition):
        return _counted_by_store(store, query, before, funnel, step)
    parts = [_counted_here(store, one, funnel, step, now=one is query) for one in (query, before)]
    return pl.concat(parts)


def _counted_by_store(store: Store, query: Query, before: Query, funnel: Definition, step: Step) -> pl.DataFrame:
    clause = select.Clause(store.dialect)
    both = replace(query, period=replace(query.period, start=before.period.start), by=None)
    rows, (source, onward) = select.conversations(both, clause), (_reached_at(funnel, stage) for stage in step)
    values = ", ".join(f"{text} AS {name}" for name, text in _values(query, clause).items())
    names = [f"d{i}" for i in range(len(DIMENSIONS))]
    found = store.frame(
        f"""SELECT now, {", ".join(names)}, grouping({", ".join(names)}) AS absent,
              count(*) FILTER (WHERE lost) AS lost, count(*) AS n
            FROM (SELECT started_at >= {clause.add(select.naive(query.period.start))} AS now,
                {onward} IS NULL AS lost, {values} FROM {rows} WHERE {source} IS NOT NULL)
            GROUP BY GROUPING SETS ({", ".join(f"(now, {name})" for name in names)})""",
        clause.parameters,
    )
    # One bit for each dimension, the first the highest; 0 for the one by which a row is grouped.
    full = 2 ** len(names) - 1
    parts = [
        found.filter(pl.col("absent") == full - 2 ** (len(names) - 1 - i)).select(
            pl.lit(dimension).alias("dimension"), pl.col(f"d{i}").alias("value"),
            pl.col("now").cast(pl.Boolean), pl.col("lost", "n").cast(pl.Int64),
        )
        for i, dimension in enumerate(DIMENSIONS)
    ]  # fmt: skip
    return pl.concat(parts)


def _counted_here(store: Store, query: Query, funnel: Funnel, step: Step, *, now: bool) -> pl.DataFrame:
    clause = select.Clause(store.dialect)
    rows = select.conversations(replace(query, by=None), clause, started=funnel.mode in UNTIMED)
    values = ", ".join(f"{text} AS {name}" for name, text in _values(query, clause).items())
    came = _came(store, query, funnel, step).select("id", pl.col("onward_at").is_null().alias("lost"))
    units = store.frame(f"SELECT id, {values} FROM {rows}", clause.parameters).join(came, on="id")
    parts = [
        units.group_by(pl.col(f"d{i}").alias("value")).agg(
            pl.col("lost").sum().cast(pl.Int64), pl.len().cast(pl.Int64).alias("n")
        ).select(pl.lit(dimension).alias("dimension"), "value", pl.lit(now).alias("now"), "lost", "n")
        for i, dimension in enumerate(DIMENSIONS)
    ]  # fmt: skip
    return pl.concat(parts)


def _values(query: Query, clause: select.Clause) -> dict[str, str]:
    zone = query.period.timezone
    return {f"d{i}": select.dimension(clause.sql, dimension, zone) for i, dimension in enumerate(DIMENSIONS)}


# the answer


def explain(store: Store, query: Query, funnel: Definition | Funnel, step: Step) -> dict[str, Any]:
    """All that is known of a drop-off: what was said last, what happened instead, reasons, and who.

    The funnel counts conversations, each once.
    """
    found = read(store, query, funnel, step)
    units = found.units
    n, lost = units.height, int(units["lost"].sum())
    return {
        "lost": lost,
        "went_on": n - lost,
        "silent": int(units["silent"].sum()),
        "messages": _spoken(store, found),
        "instead": _instead(units),
        "reasons": _reasons(units),
        **_segments(_counts(store, query, funnel, step), query),
    }


def _spoken(store: Store, found: Found) -> list[dict[str, Any]]:
    """What the bot said at this stage, what is followed by more silence than the others first."""
    units = found.units
    said = dict(found.said.group_by("intent").agg(pl.col("unit").n_unique()).rows())
    silent = dict(units.filter("silent").group_by("last_intent").len().rows())
    overall = sum(silent.values()) / max(sum(said.values()), 1)
    excess = {intent: silent.get(intent, 0) - n * overall for intent, n in said.items()}
    ranked = sorted(said, key=lambda intent: (said[intent] < ENOUGH, -excess[intent], -said[intent], intent))[:MESSAGES]
    examples = _examples(store, units, ranked)
    lost = int(units["lost"].sum())
    return [
        {
            "intent": intent,
            "silent": silent.get(intent, 0),
            "share": share(silent.get(intent, 0), lost),
            "silence_rate": share(silent.get(intent, 0), said[intent]),
            "excess": excess[intent],
            "example": examples.get(intent),
        }
        for intent in ranked
    ]


def _examples(store: Store, units: pl.DataFrame, intents: Sequence[str]) -> dict[str, str]:
    """The most frequent text among the last messages of some silent conversations, for each intent: those that reached
    the stage last."""
    silent = units.filter(pl.col("silent") & pl.col("last_intent").is_in(intents) & pl.col("position").is_not_null())
    latest = silent.sort(["source_at", "id"], descending=True).group_by("last_intent").head(EXAMPLES)
    if latest.is_empty():
        return {}
    sql = store.dialect
    listed = ", ".join(f"CAST({key} AS {sql.types['uint']})" for key in latest["key"])
    keys = f"SELECT {sql.each(f'[{listed}]')}"
    found = store.select(
        f"""WITH e AS {sql.once} (SELECT * FROM {PHYSICAL["events"]} WHERE key IN ({keys})),
              r AS {sql.once} (SELECT * FROM {PHYSICAL["messages"]} WHERE key IN ({keys}))
            SELECT r.conversation_id, r.position, {sql.json_text("e.properties", "content")} FROM r
            JOIN e ON e.key = r.key AND e.id = r.event_id AND e.conversation_id = r.conversation_id"""
    )
    texts = {(of, position): " ".join(text.split()) for of, position, text in found.rows if text}
    by_intent: dict[str, Counter[str]] = {}
    for intent, *message in latest.select("last_intent", "id", "position").rows():
        if text := texts.get(tuple(message)):
            by_intent.setdefault(intent, Counter())[text] += 1
    return {intent: min(count, key=lambda text: (-count[text], text)) for intent, count in by_intent.items()}


def _instead(units: pl.DataFrame) -> list[dict[str, Any]]:
    """What the lost did next, the most frequent first: the shares add up to 1."""
    lost = units.filter("lost")
    found = dict(lost.group_by("instead").len().rows())
    ranked = sorted(INSTEAD, key=lambda what: (-found.get(what, 0), INSTEAD.index(what)))
    return [{"what": what, "share": share(found.get(what, 0), lost.height)} for what in ranked]


def _reasons(units: pl.DataFrame) -> list[dict[str, Any]]:
    """What may be why, the one by which those lost differ most first; what sets nobody apart is no reason."""
    names = (*REASONS, NO_EVENT)
    lost, went_on = (
        dict(zip(names, part.select(pl.col(names).sum()).row(0), strict=True)) | {"": part.height}
        for part in (units.filter("lost"), units.filter(~pl.col("lost")))
    )
    rows = [_compared(Share(lost[name], lost[""]), Share(went_on[name], went_on[""])) for name in names]
    judged = _judged(
        [row if name != NO_EVENT else row | {"p_value": None} for name, row in zip(names, rows, strict=True)]
    )
    found = [
        {"reason": name, "lost": share(lost[name], lost[""]), "went_on": share(went_on[name], went_on[""]), **row}
        | {"is_reason": is_more}
        for name, (row, is_more) in zip(names, judged, strict=True)
    ]
    return sorted(found, key=lambda row: (not row["is_reason"], -(row["difference"] or 0), row["reason"]))


def _compared(one: Share, other: Share) -> dict[str, Any]:
    """Two shares: the difference with its interval, and how probable it is by chance; not tested below `ENOUGH`."""
    if not one.n or not other.n:
        return {"difference": None, "interval": None, "p_value": None}
    enough = min(one.n, other.n) >= ENOUGH
    return {
        "difference": one.successes / one.n - other.successes / other.n,
        "interval": newcombe(one, other),
        "p_value": p_value(one, other) if enough else None,
    }


def _judged(rows: Sequence[dict[str, Any]]) -> list[tuple[dict[str, Any], bool]]:
    """One family of comparisons: each with its `q_value`, and whether the first share is the larger one (q < 0.05)."""
    tested = [i for i, row in enumerate(rows) if row["p_value"] is not None]
    q = dict(zip(tested, q_values([rows[i]["p_value"] for i in tested]), strict=True))
    return [
        (
            {name: value for name, value in row.items() if name != "p_value"} | {"q_value": q.get(i)},
            i in q and q[i] < 0.05 and row["difference"] > 0,
        )
        for i, row in enumerate(rows)
    ]


def _segments(counts: pl.DataFrame, query: Query) -> dict[str, Any]:
    """`segments`: the values of which more are lost than of the rest, those with the most first; and `before`: the same
    drop-off in the period before."""
    found: list[dict[str, Any]] = []
    for dimension in DIMENSIONS:
        found += _of_dimension(dimension, *_tables(counts, dimension))
    judged = [row | {"over_contributes": is_more} for row, is_more in _judged(found)]
    ranked = sorted(
        judged,
        key=lambda row: (
            not row["over_contributes"], round(-row["excess"], 9), DIMENSIONS.index(row["dimension"]), row["value"],
        ),
    )  # fmt: skip
    now, before = (_total(table) for table in _tables(counts, DIMENSIONS[0]))
    change = now.successes / now.n - before.successes / before.n if now.n and before.n else None
    period = metrics.period_before(query.period).to_dict()
    return {"segments": ranked, "before": {"period": period, "drop_rate": share(*before), "change": change}}


def _tables(counts: pl.DataFrame, dimension: str) -> tuple[dict[str, Share], dict[str, Share]]:
    """The values of a dimension now and before; the rarer of many are taken together."""
    rows = counts.filter(pl.col("dimension") == dimension)
    sizes = rows.group_by("value").agg(pl.col("n").sum()).sort(["n", "value"], descending=[True, False])
    top = set(sizes["value"].head(VALUES))
    tables: tuple[dict[str, Share], dict[str, Share]] = ({}, {})
    for value, now, lost, n in rows.select("value", "now", "lost", "n").rows():
        table, name = tables[0 if now else 1], value if value in top else REST
        old = table.get(name, Share(0, 0))
        table[name] = Share(old.successes + lost, old.n + n)
    return tables


def _total(table: Mapping[str, Share]) -> Share:
    return Share(sum(one.successes for one in table.values()), sum(one.n for one in table.values()))


def _of_dimension(dimension: str, now: dict[str, Share], before: dict[str, Share]) -> list[dict[str, Any]]:
    """Each value against all others together, and what it adds to the change since the period before."""
    if len(now) < 2:
        return []
    whole, effects = _total(now), kitagawa(now, before)
    nothing = Share(0, 0)
    rows = []
    for value in {**now, **before}:
        own, old = now.get(value, nothing), before.get(value, nothing)
        effect = effects.get(value)
        rows.append({
            "dimension": dimension,
            "value": value,
            "rate": share(*own),
            "excess": own.successes - own.n * whole.successes / whole.n,
            **_compared(own, Share(whole.successes - own.successes, whole.n - own.n)),
            "before": share(*old),
            "rate_effect": effect and effect.rate,
            "mix_effect": effect and effect.mix,
        })  # fmt: skip
    return rows


# the conversations behind a number


def units(store: Store, query: Query, funnel: Definition | Funnel, stage: str, behind: Behind) -> list[str]:
    """The ids of the conversations at a stage that are meant. Raises `InvalidInput` for a stage without a next one."""
    if not can_explain(funnel):
        raise InvalidInput(
            "name", "a funnel of contacts, or of every entry", "one that counts conversations, each once"
        )
    return chosen(read(store, query, funnel, step_of(store, funnel, stage)), behind)["id"].to_list()


def step_of(store: Store, funnel: Definition | Funnel, stage: str) -> Step:
    """The step that begins with a stage: to the next one that is recorded."""
    if isinstance(funnel, Definition):
        names, recorded = funnel.stages, select.recorded_stages(store)
        known = [name for name in names if name in recorded]
    else:
        names, known = custom_funnel.stages(funnel), custom_funnel.known_stages(store, funnel)
    if stage not in names:
        raise InvalidInput("stage", stage, f"one of {', '.join(names)}")
    after = [name for name in names[names.index(stage) + 1 :] if name in known]
    if not after:
        raise InvalidInput("stage", stage, "a stage that is followed by a recorded one")
    return Step(stage, after[0])


def described(stage: str, behind: Behind) -> str:
    """Which conversations `units` gives, in words."""
    went = {True: " and not the next stage", False: " and the next stage", None: ""}[behind.lost]
    words: list[tuple[str | None, Callable[[str], str]]] = [
        (behind.said, lambda one: f"in which the bot then said {one}"),
        (behind.last_intent, lambda one: f"that fell silent after {one}"),
        (behind.instead, lambda one: f"with this next: {one}"),
        (behind.reason, lambda one: f"with this meanwhile: {one}"),
    ]
    more = [text(one) for one, text in words if one is not None]
    return " ".join([f"Conversations that reached {stage}{went}", *more]).rstrip() + "."
