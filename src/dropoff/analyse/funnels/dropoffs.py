"""Why conversations are lost between two stages: what the bot said last, what happened instead, and to whom.

`lost` says what became of each conversation at a stage; all here counts.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import polars as pl

from dropoff.analyse import metrics, select
from dropoff.analyse.answers import share
from dropoff.analyse.funnels import custom_funnel
from dropoff.analyse.funnels.funnel import Definition
from dropoff.analyse.funnels.lost import INSTEAD, NO_EVENT, REASONS, Behind, Found, Step, came, chosen, read
from dropoff.analyse.stats import ENOUGH, SIGNIFICANT, Share, family, kitagawa, newcombe, p_value
from dropoff.errors import InvalidInput
from dropoff.project.funnels import UNTIMED, Funnel
from dropoff.query import REST, Params, Query, choice, one
from dropoff.store.base import Store
from dropoff.store.sql import PHYSICAL

DIMENSIONS = (
    "channel", "direction", "medium", "source", "industry", "company_size", "country", "first_message_variant",
    "bot_version", "bot_id", "day_of_week", "hour_of_day",
)  # fmt: skip
"""By which dimensions the lost are looked at."""

MESSAGES, VALUES, EXAMPLES = 20, 20, 20
"""How many intents are listed; how many values of a dimension, the rest together; how many texts give an example."""

_COUNTS = {"dimension": pl.String, "value": pl.String, "now": pl.Boolean, "lost": pl.Int64, "n": pl.Int64}


class Asked(NamedTuple):
    """How the drop-offs are to be given: one of `SORTS`, and which to explain: a stage, or one of `WHICH`."""

    sort: str
    explain: str


SORTS = ("rate", "volume", "matured")
"""By the rate so far; by how many were lost so far; or by what is known of the rate in the end: see `_in_the_end`."""
WHICH = ("all", "worst", "none")
BEHIND = ("passed", "said", "last_intent", "instead", "reason")
"""What the list of conversations takes beside `stage` and `dropped`."""


# what is asked for


def parse(params: Params) -> Asked:
    """`sort` and `explain`; raises `InvalidInput`. Which stages there are the funnel says later."""
    return Asked(choice(params, "sort", SORTS, SORTS[0]), one(params, "explain") or WHICH[0])


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
    drops = ordered(found["drop_offs"], asked.sort)
    wanted = {"all": drops, "worst": drops[:1], "none": []}.get(asked.explain)
    if wanted is None:
        wanted = [drop for drop in drops if drop["from"] == asked.explain]
    if not can_explain(funnel):
        wanted = []
    told = [
        drop
        | {"explanation": explain(store, query, funnel, Step(drop["from"], drop["to"])) if drop in wanted else None}
        for drop in drops
    ]
    parts = {
        value: {"drop_offs": ordered(part["drop_offs"], asked.sort)}
        for value, part in found.get("segments", {}).items()
    }
    return found | {"drop_offs": told, "sort": asked.sort} | ({"segments": parts} if parts else {})


def ordered(drops: Sequence[dict[str, Any]], sort: str) -> list[dict[str, Any]]:
    """Drop-offs by one of `SORTS`, the worst first."""
    if sort == "matured":
        return sorted(drops, key=_in_the_end, reverse=True)
    first, second = ("drop_rate", "volume_lost") if sort == "rate" else ("volume_lost", "drop_rate")
    return sorted(drops, key=lambda drop: (-drop[first], -drop[second]))


def _in_the_end(drop: Mapping[str, Any]) -> tuple[bool, float, int]:
    """The matured rate, else the projected one; a rate of which neither is known comes last, where it may still fall.

    A funnel whose rates do not mature is in the order of its rates.
    """
    matured, projected = drop["matured"], drop["projected"]
    if matured is not None and matured["n"] >= ENOUGH:
        return True, matured["value"], drop["volume_lost"]
    if projected is not None:
        return True, projected["value"], drop["volume_lost"]
    return matured is None, drop["drop_rate"], drop["volume_lost"]


def can_explain(funnel: Definition | Funnel) -> bool:
    """Whether what the funnel counts is conversations, each once."""
    return isinstance(funnel, Definition) or (funnel.unit == "conversation" and funnel.re_entry == "first")


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
    rows, (source, onward) = select.conversations(both, clause), map(funnel.reached_at, step)
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
    parts = [
        select.grouped_by(found, i, len(names)).select(
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
    gone = came(store, query, funnel, step).select("id", pl.col("onward_at").is_null().alias("lost"))
    units = store.frame(f"SELECT id, {values} FROM {rows}", clause.parameters).join(gone, on="id")
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
    return [
        (
            {name: value for name, value in row.items() if name != "p_value"} | {"q_value": q},
            q is not None and q < SIGNIFICANT and row["difference"] > 0,
        )
        for row, q in zip(rows, family([row["p_value"] for row in rows]), strict=True)
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
