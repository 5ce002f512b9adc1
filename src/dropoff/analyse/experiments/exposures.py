"""Who was exposed to which variant of an experiment, when, and what came after it: from the store to a row per unit.

A unit is a contact, or the conversation where nobody says whose it is. Its first exposure counts, whichever came later;
of equal times the variant that is first by name. All its conversations count for it, also those that began before or
later, but only what happened at or after the first exposure. Test traffic is out unless asked for.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import NamedTuple

import polars as pl

from dropoff.aliases import canonical, components
from dropoff.analyse import select
from dropoff.periods import MICROSECOND
from dropoff.project.experiments import GOALS, Experiment
from dropoff.query import NONE, Query
from dropoff.store.base import Store
from dropoff.store.keys import hashes
from dropoff.store.sql import PHYSICAL, reached_at

DIMENSIONS = ("channel", "direction", "medium", "source", "bot_id", "bot_version")
"""What a conversation has from its start: of the one with the first exposure the assignment must not depend on it."""

WATCHED = timedelta(days=7)
"""How long after the first exposure guardrails are watched."""

VARIANT = "first_message_variant"
_READ = 250_000
"""So many exposures lie in each stretch of time of which the messages are read at once, or each part of what the
conversations had at their start."""
_ASSIGNED = ("experiment", "variant", "at", "talk", "unit")


class Read(NamedTuple):
    """`units`, and all conversations, `talks`, with the units that they are of."""

    units: pl.DataFrame
    talks: pl.DataFrame


def each(
    store: Store, query: Query, planned: Mapping[str, Experiment], name: str | None = None
) -> Iterator[tuple[str, Read]]:
    """Of each experiment, exposed to or planned, or of the one that is named: a row for each unit first exposed to it
    in the query's period. One after the other, as the rows of all take much memory.

    Columns: `n` (of the row), `experiment`, `unit`, `variant` (of the first exposure; null where it named
    none), `at`, `talk` (the conversation of the first exposure, for `ids`; null where it named only a contact),
    `variants` (how many different ones the unit was exposed to), `earlier_replies` and `lead_score` (known before),
    `channel` and so on, the first time at or after `at` of each stage and of `opted_out` and `complained`, `sentiment`
    (mean of what was scored within `WATCHED`).
    """
    by = _talk(store)
    told, talks = _told(store, query, by), _conversations(store, query, by)
    # One experiment after the other: to order all of them at once would take most of the memory.
    firsts = (_first(one, query) for one in _assigned(store, query, planned, name, by, told, talks))
    first = pl.concat(firsts).with_row_index("n")
    if query.where:
        first = first.join(_satisfying(store, query, by), on="talk", how="semi")
    complaints = told.filter(pl.col("kind") == "complained").select("talk", pl.col("at").alias("complained"))
    del told
    more = _known_of(first, complaints, talks, store, by)
    parts = dict.fromkeys([*planned] if name is None else [name], first.clear())
    parts |= {str(key): part for (key,), part in first.partition_by("experiment", as_dict=True).items()}
    del first
    for key in [*parts]:
        yield key, Read(_with_more(_followed(parts.pop(key), talks), more), talks)


def _with_more(units: pl.DataFrame, more: list[pl.DataFrame]) -> pl.DataFrame:
    """With what `_known_of` says of them."""
    for one in more:
        units = units.join(one, on="n", how="left")
    return units.with_columns(pl.col("experiment", "variant").cast(pl.String))


def ids(store: Store, talks: pl.Series) -> list[str]:
    """The ids of these conversations."""
    by = "id" if _talk(store) == "conversation_id" else "key"
    every = store.frame(f"SELECT {by} AS talk, id FROM {PHYSICAL['conversations']}")
    return every.filter(pl.col("talk").is_in(talks.drop_nulls().implode()))["id"].to_list()


def _talk(store: Store) -> str:
    """What tells conversations apart: their keys, which are numbers, unless two of them have one."""
    return "conversation_id" if select.has_shared_keys(store) else "key"


def _told(store: Store, query: Query, by: str) -> pl.DataFrame:
    """The exposures and complaints that stand; `contact_id` only of those that name no conversation."""
    sql = store.dialect
    return store.frame(
        f"""SELECT event_type AS kind, CASE WHEN conversation_id IS NOT NULL THEN {by} END AS talk,
              CASE WHEN conversation_id IS NULL THEN contact_id END AS contact_id, timestamp AS at, variant,
              {sql.json_text("facts", "experiment")} AS experiment, {sql.is_test(query.test)} AS is_test
            FROM {sql.standing_events()} WHERE event_type IN ('experiment_exposed', 'complained')"""
    ).cast(dict.fromkeys(("kind", "variant", "experiment"), pl.Categorical))


def _conversations(store: Store, query: Query, by: str) -> pl.DataFrame:
    """All conversations with the units that they are of, and when each stage came."""
    rows, clause = _all(store, query)
    stages = ", ".join(f"{reached_at(stage)} AS {stage}" for stage in GOALS)
    # Numbered by the store: the ids of all contacts would take more memory here than everything else.
    return store.frame(
        f"""SELECT {_of_row(by)} AS talk, coalesce(u.unit, {_unit(by)}) AS unit, {stages}, opted_out_at AS opted_out,
              started_at
            FROM {rows} c LEFT JOIN ({_of_contacts(rows, by)}) u ON u.whose = c.contact_id""",
        clause.parameters,
    )


def _all(store: Store, query: Query) -> tuple[str, select.Clause]:
    """The conversations of all time, without test traffic unless asked for, and the parameters of that text."""
    clause = select.Clause(store.dialect)
    return select.conversations(replace(query, where=(), by=None), clause, started=False), clause


def _unit(by: str) -> str:
    """A conversation as a unit."""
    return "key" if by == "key" else "'c' || id"


def _of_contacts(rows: str, by: str) -> str:
    """The unit that each contact with conversations is: the least of them."""
    return f"""SELECT contact_id AS whose, min({_unit(by)}) AS unit FROM {rows}
        WHERE contact_id IS NOT NULL GROUP BY contact_id"""


def _of_row(by: str) -> str:
    """The same of a row of a conversation."""
    return "id" if by == "conversation_id" else by


def _assigned(
    store: Store,
    query: Query,
    planned: Mapping[str, Experiment],
    name: str | None,
    by: str,
    told: pl.DataFrame,
    talks: pl.DataFrame,
) -> Iterator[pl.DataFrame]:
    """Every exposure, in the columns of `_ASSIGNED`; those of one experiment together."""
    by_property = {key: one.property for key, one in _compared(planned).items() if one.property and name in (None, key)}
    exposed = told.filter((pl.col("kind") == "experiment_exposed") & pl.col("experiment").is_not_null())
    if name is not None:
        exposed = exposed.filter(pl.col("experiment") == name)
    exposed = exposed.filter(~pl.col("experiment").is_in(list(by_property)))
    for part in exposed.partition_by("experiment") or [exposed]:
        yield _exposed(part, store, query, by, talks)
    for key, dimension in by_property.items():
        yield _of_property(store, query, key, dimension, by, talks)


def _compared(planned: Mapping[str, Experiment]) -> dict[str, Experiment]:
    """Those of the settings, and the variants of first messages where no setting speaks of them."""
    if any(one.property == VARIANT for one in planned.values()):
        return dict(planned)
    return {VARIANT: Experiment(property=VARIANT), **planned}


def experiment_of(planned: Mapping[str, Experiment], name: str) -> Experiment:
    """What is known of an experiment beside its data."""
    return _compared(planned).get(name) or Experiment()


def _exposed(exposed: pl.DataFrame, store: Store, query: Query, by: str, talks: pl.DataFrame) -> pl.DataFrame:
    """Exposures with their units: that of the conversation, whose contact is canonical as stored, else its own."""
    is_loose = pl.col("talk").is_null()
    # A conversation that is not among `talks` is test traffic.
    named = exposed.filter(~is_loose).join(talks.select("talk", "unit"), on="talk", how="inner").select(_ASSIGNED)
    loose = exposed.filter(is_loose if query.include_test else is_loose & ~pl.col("is_test"))
    if loose.is_empty():
        return named
    meant = loose.with_columns(pl.col("contact_id").replace(_canonical(store)))
    rows, clause = _all(store, query)
    units = store.frame(_of_contacts(rows, by), clause.parameters)
    own = pl.Series("own", ["p" + contact for contact in meant["contact_id"]], pl.String)  # who has no conversation
    found = meant.with_columns(own if by != "key" else pl.Series("own", hashes(own), pl.UInt64)).join(
        units, left_on="contact_id", right_on="whose", how="left"
    )
    return pl.concat([named, found.with_columns(pl.coalesce("unit", "own").alias("unit")).select(_ASSIGNED)])


def _of_property(store: Store, query: Query, name: str, dimension: str, by: str, talks: pl.DataFrame) -> pl.DataFrame:
    """By what conversations have: each that has a value is an exposure, at its start."""
    clause = select.Clause(store.dialect)
    rows = select.conversations(replace(query, where=(), by=dimension), clause, started=False, bounded=False)
    found = store.frame(
        f"""SELECT segment AS variant, started_at AS at, {_of_row(by)} AS talk
            FROM {rows} WHERE segment <> '{NONE}'""",
        clause.parameters,
    ).with_columns(pl.col("variant").cast(pl.Categorical), pl.lit(name, pl.Categorical).alias("experiment"))
    return found.join(talks.select("talk", "unit"), on="talk", how="inner").select(_ASSIGNED)


def _canonical(store: Store) -> dict[str, str]:
    """For every id of a contact that was merged with others the one it means."""
    sql = store.dialect
    told = store.select(
        f"""SELECT contact_id, {sql.json_text("facts", "aliases")} FROM {sql.standing_events()}
            WHERE event_type = 'contact_identified'"""
    ).rows
    return canonical(components([[*([own] if own else []), *json.loads(aliases or "[]")] for own, aliases in told]))


def _first(assigned: pl.DataFrame, query: Query) -> pl.DataFrame:
    """The first exposure of each unit, if it lies in the period."""
    ordered = assigned.filter(pl.col("at") < select.naive(query.now)).sort("at", "variant", "talk", nulls_last=True)
    first = ordered.group_by("experiment", "unit", maintain_order=True).agg(
        pl.col("variant", "at", "talk").first(), pl.col("variant").n_unique().alias("variants")
    )
    start, end = select.naive(query.period.start), select.naive(query.period.end)
    return first.filter((pl.col("at") >= start) & (pl.col("at") < end))


def _satisfying(store: Store, query: Query, by: str) -> pl.DataFrame:
    """The conversations that satisfy the query's conditions."""
    clause = select.Clause(store.dialect)
    rows = select.conversations(replace(query, by=None), clause, started=False)
    return store.frame(f"SELECT {_of_row(by)} AS talk FROM {rows}", clause.parameters)


def _followed(first: pl.DataFrame, talks: pl.DataFrame) -> pl.DataFrame:
    """What the conversations of each unit say of the time before and after its first exposure."""
    pairs = first.select("n", "unit", "at", pl.col("talk").alias("own")).join(
        talks.drop("started_at"), on="unit", how="inner"
    )
    at, is_other = pl.col("at"), pl.col("talk").ne_missing(pl.col("own"))
    marks = (*GOALS, "opted_out")
    replied = ((pl.col("responded") < at) & is_other).cast(pl.Float64).alias("earlier_replies")
    later = (pl.when(pl.col(name) >= at).then(pl.col(name)).alias(name) for name in marks)
    after = pairs.select("n", *later, replied).group_by("n").agg(pl.col(*marks).min(), pl.col("earlier_replies").sum())
    return first.join(after, on="n", how="left").with_columns(pl.col("earlier_replies").fill_null(0.0))


def _known_of(
    first: pl.DataFrame, complaints: pl.DataFrame, talks: pl.DataFrame, store: Store, by: str
) -> list[pl.DataFrame]:
    """`n` with `lead_score`, `complained`, `sentiment` and the `DIMENSIONS`, of those of whom it is known."""
    if first.is_empty():
        nothing = {"lead_score": pl.Float64, "complained": first.schema["at"], "sentiment": pl.Float64}
        nothing |= dict.fromkeys(DIMENSIONS, pl.Categorical)
        return [first.select("n", *(pl.lit(None, dtype).alias(name) for name, dtype in nothing.items()))]
    complained = _since(complaints, "complained", first, talks).group_by("n").agg(pl.col("complained").min())
    sentiments = _sentiments(first, talks, store, by)
    return [_lead_scores(first, talks, store, by), complained, sentiments, _starts(first, store, by)]


def _starts(first: pl.DataFrame, store: Store, by: str) -> pl.DataFrame:
    """What the first conversations had at their start. Read in parts, as texts are large before they are numbered."""
    own, count = first.select("n", "talk").drop_nulls(), -(-first.height // _READ)
    parts = (
        store.frame(
            f"""SELECT {_of_row(by)} AS talk, {", ".join(DIMENSIONS)} FROM {PHYSICAL["conversations"]}
                WHERE key % {count} = {part}"""
        )
        .with_columns(pl.col(*DIMENSIONS).cast(pl.Categorical))
        .join(own, on="talk")
        .drop("talk")
        for part in range(count)
    )
    return pl.concat(parts)


def _lead_scores(first: pl.DataFrame, talks: pl.DataFrame, store: Store, by: str) -> pl.DataFrame:
    """The last lead score that the first conversation was given at its start, at or before the exposure."""
    clause, score = select.Clause(store.dialect), store.dialect.json_text("facts", "lead_score")
    own = talks.join(first.select("talk"), on="talk", how="semi")
    begin, end = own["started_at"].min() or first["at"].min(), first["at"].max()
    starts = store.frame(
        f"""SELECT {by} AS talk, timestamp AS told_at, {store.dialect.finite(score)} AS lead_score
            FROM {store.dialect.standing_events()}
            WHERE event_type = 'conversation_started' AND conversation_id IS NOT NULL AND {score} IS NOT NULL
              AND timestamp BETWEEN {clause.add(begin)} AND {clause.add(end)}""",
        clause.parameters,
    )
    return (
        first.select("n", "at", "talk")
        .join(starts, on="talk", how="inner")
        .filter(pl.col("told_at") <= pl.col("at"))
        .sort("told_at", "lead_score")
        .group_by("n")
        .agg(pl.col("lead_score").last())
    )


def _sentiments(first: pl.DataFrame, talks: pl.DataFrame, store: Store, by: str) -> pl.DataFrame:
    """The mean sentiment of what the unit wrote within `WATCHED` of the exposure.

    Messages are by far the most that is read here, so they are read some weeks at a time.
    """
    last = first.select(pl.col("at").max()).item() + WATCHED + MICROSECOND
    ends = [*first["at"].sort().gather_every(_READ), last]
    parts = []
    for begin, end in pairwise(ends):
        clause = select.Clause(store.dialect)
        scored = store.frame(
            f"""SELECT {by} AS talk, timestamp AS said_at, sentiment FROM {PHYSICAL["messages"]}
                WHERE sender = 'prospect' AND sentiment IS NOT NULL
                  AND timestamp >= {clause.add(begin)} AND timestamp < {clause.add(end)}""",
            clause.parameters,
        )
        soon = _since(scored, "said_at", first, talks).filter(pl.col("said_at") - pl.col("at") <= WATCHED)
        parts.append(soon.group_by("n").agg(pl.col("sentiment").sum(), pl.len().alias("messages")))
    sums = pl.concat(parts).group_by("n").agg(pl.col("sentiment", "messages").sum())
    return sums.select("n", pl.col("sentiment") / pl.col("messages"))


def _since(marks: pl.DataFrame, when: str, units: pl.DataFrame, talks: pl.DataFrame) -> pl.DataFrame:
    """What happened in the conversations of units, at or after their exposures."""
    own = marks.join(talks.select("talk", "unit"), on="talk").join(units.select("n", "unit", "at"), on="unit")
    return own.filter(pl.col(when) >= pl.col("at"))


def reached_in(found: Read, stage: str) -> pl.Series:
    """The conversation in which each of these units first came to a stage after its exposure, for `ids`."""
    pairs = found.units.select("n", "unit", "at").join(
        found.talks.select("unit", "talk", stage), on="unit", how="inner"
    )
    first = pairs.filter(pl.col(stage) >= pl.col("at")).sort(stage, "talk").group_by("n", maintain_order=True).first()
    return first["talk"]
