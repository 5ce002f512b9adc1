"""Funnels of one's own: from the store and a question to an answer in the shape of Dropoff's own funnels."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import polars as pl

from dropoff.analyse import metrics, select
from dropoff.analyse.aggregates import holds
from dropoff.analyse.answers import Matured, Number, instant, ratio, share
from dropoff.analyse.funnels import funnel as builtin
from dropoff.analyse.funnels.attempts import Events, attempts, earlier, in_parts
from dropoff.analyse.funnels.rows import Array
from dropoff.analyse.funnels.tallies import Times, count, times, trend
from dropoff.analyse.maturity import DAY
from dropoff.errors import InvalidInput
from dropoff.periods import MICROSECOND, Period, to_micros
from dropoff.project.funnels import ANY_EVENT, EVENT, UNTIMED, Funnel, Happening, unsplit
from dropoff.query import MULTIPLE, NONE, REST, TOP, Query
from dropoff.store.base import Store
from dropoff.store.sql import PHYSICAL, Dialect

_MANY = "\x00"  # between the values of one conversation: no text has it
_NOTHING_HAPPENED = ("event_retracted", "message_labelled")


def answer(
    store: Store, query: Query, funnel: Funnel, name: str, threshold: float = 0.0, interval: str | None = None
) -> dict[str, Any]:
    """The funnel of a query, in the shape of DESIGN §6: with times, and with `trend` where `interval` is given.

    `segments` where the funnel has `by`; the query's own is not used. `name` is what the funnel goes by.

    Where a window or the waits between steps limit attempts, rates are `matured`: those of the same funnel over the
    entries that are as old, of which nothing can change. There is no time to learn, and none is `projected`: an attempt
    has no competing ends, and without a limit a unit may always try again.
    """
    cuts = _cuts(query.period, interval) if interval is not None else []
    whole, units = unsplit(funnel), _plain_units(store, query, funnel)
    events = in_parts(read(store, query, funnel, joined=units is None))
    recorded, all_attempts = _recorded(store, funnel), attempts(events, whole, _span(query.period), units=units)
    found = {
        "period": query.period.to_dict(),
        "as_of": instant(query.now),
        "definition": {
            "name": name, "mode": funnel.mode, "text": _text(funnel), "funnel": msgspec.to_builtins(funnel),
        },
        "test_conversations": builtin.count_test(store, query),
        **describe(all_attempts, funnel, recorded, threshold, old_of(all_attempts, events, whole, query, units)),
    }  # fmt: skip
    if interval is not None:
        found["trend"] = {"interval": interval, "points": _points(events, whole, query, cuts, recorded, units)}
    if funnel.by is not None:
        split = attempts(events, funnel, _span(query.period), units=units)
        parts, old = segments(split, funnel), old_of(split, events, funnel, query, units)
        of_old = {} if old is None else dict(segments(old, funnel, [value for value, _ in parts]))
        found |= {"by": funnel.by, "overlapping": funnel.by in MULTIPLE}
        found["segments"] = {
            value: describe(part, funnel, recorded, threshold, None if old is None else of_old.get(value, old.clear()))
            for value, part in parts
        }
    return found


def old_of(
    found: pl.DataFrame, events: Events, funnel: Funnel, query: Query, units: Array | None = None
) -> pl.DataFrame | None:
    """The attempts of the entries that are so old that none can come further; None where nothing limits them. `found`:
    those of all entries; `units` as in `attempts`."""
    limit = funnel.limit_micros
    if limit is None:
        return None
    start, end = _span(query.period)
    return earlier(found, events, funnel, (start, end), max(start, min(end, to_micros(query.now) - limit + 1)), units)


# from the store to events


def _plain_units(store: Store, query: Query, funnel: Funnel) -> Array | None:
    """The sorted keys of the conversations that count, where that is all that has to be known of them; else None.

    A join of all events to them would take longer than everything else, and most of the memory.
    """
    has_more = funnel.unit == "contact" or query.where or query.segments or _of_unit(funnel, store.dialect)
    if has_more or select.has_shared_keys(store):
        return None
    clause = select.Clause(store.dialect)
    found = store.frame(f"SELECT unit FROM ({_units(query, funnel, clause, 'key')}) u", clause.parameters)
    return np.sort(found["unit"].to_numpy())


def read(store: Store, query: Query, funnel: Funnel, *, named: bool = False, joined: bool = True) -> pl.DataFrame:
    """The events of the query's units that matter to the funnel, in the columns that `attempts` takes.

    Not `joined` to the units they are those of all conversations, by key.

    A unit is a conversation that satisfies the query, or a contact with all its conversations that do. Conversations
    are told apart by their keys, which take a fifth of the time of their ids; by ids where they are to be `named`.
    """
    clause = select.Clause(store.dialect)
    if joined:
        by_key = not select.has_shared_keys(store)
        unit = "contact_id" if funnel.unit == "contact" else "key" if by_key and not named else "id"
        statement = _statement(query, funnel, clause, unit, by_key)
    else:
        statement = _events(query, funnel, clause, {"unit": "key"})
    found = store.frame(statement, clause.parameters)
    columns = {"at": pl.col("at").cast(pl.Int64), "steps": pl.col("steps").cast(pl.UInt32)}
    if funnel.exclusions:
        columns["exclusions"] = pl.col("exclusions").cast(pl.UInt32)
    if funnel.mode in UNTIMED:
        columns["started"] = pl.col("started").cast(pl.Int64)
    if len(funnel.hold_constant) > 1:
        held = [f"held_{i}" for i in range(len(funnel.hold_constant))]
        columns["held"] = pl.when(pl.any_horizontal(pl.col(held).is_not_null())).then(
            pl.struct(held).struct.json_encode()
        )
    if funnel.by in MULTIPLE:
        columns["value"] = pl.col("value").list.join(_MANY)
    return found.with_columns(**columns)


def _statement(query: Query, funnel: Funnel, clause: select.Clause, unit: str, by_key: bool) -> str:
    """The SELECT of `read`: `unit` is the column of the conversation that tells units apart."""
    sql = clause.sql
    units = _units(query, funnel, clause, unit)
    events = _events(query, funnel, clause, {"key": "key", "conversation_id": "conversation_id"})
    given = ", ".join(f"r.{name}" for name in _of_event(funnel, sql))
    same = "c.key = r.key" if by_key else "c.key = r.key AND c.id = r.conversation_id"
    return f"""WITH c AS {sql.inline} ({units})
      SELECT c.unit, {given}{"".join(f", c.{name}" for name in _of_unit(funnel, sql))}
      FROM ({events}) r JOIN c ON {same}"""


def _events(query: Query, funnel: Funnel, clause: select.Clause, own: Mapping[str, str]) -> str:
    """The events that matter to the funnel, whosesoever they are, with `own` columns."""
    columns = ", ".join(f"{text} AS {name}" for name, text in {**own, **_of_event(funnel, clause.sql)}.items())
    matters = {"strict": "true"}.get(funnel.mode, "steps > 0" + (" OR exclusions > 0" if funnel.exclusions else ""))
    bounds = " AND ".join(_bounds(query, funnel, clause))
    return f"""SELECT * FROM (
        SELECT {columns} FROM {clause.sql.standing_events()} e WHERE {bounds}) r WHERE {matters}"""


def _of_event(funnel: Funnel, sql: Dialect) -> dict[str, str]:
    """What an event says by itself."""
    found = {"at": "timestamp", "steps": _bits(sql, funnel.steps)}
    if funnel.exclusions:
        found["exclusions"] = _bits(sql, funnel.exclusions)
    for i, name in enumerate(funnel.hold_constant):
        found["held" if len(funnel.hold_constant) == 1 else f"held_{i}"] = sql.property_text(name)
    if funnel.by is not None and funnel.by.startswith(EVENT):
        found["value"] = sql.property_text(funnel.by.removeprefix(EVENT))
    return found


def _units(query: Query, funnel: Funnel, clause: select.Clause, unit: str) -> str:
    """The conversations whose events count, each with its unit."""
    by = None if funnel.by is None or funnel.by.startswith(EVENT) or funnel.by in MULTIPLE else funnel.by
    alone = funnel.mode in UNTIMED and funnel.unit == "conversation"  # its own start says whether it counts
    rows = select.conversations(replace(query, by=by), clause, started=alone, bounded=False)
    more = "".join(f", {text} AS {name}" for name, text in _of_unit(funnel, clause.sql).items())
    return f"SELECT key, id, {unit} AS unit{more} FROM {rows} WHERE {unit} IS NOT NULL"


def _of_unit(funnel: Funnel, sql: Dialect) -> dict[str, str]:
    """What an event has from its conversation, or from its contact."""
    found = {}
    if funnel.mode in UNTIMED:
        of_contact = "min(started_at) OVER (PARTITION BY contact_id)"
        found["started"] = "started_at" if funnel.unit == "conversation" else of_contact
    if funnel.by is not None and not funnel.by.startswith(EVENT):
        found["value"] = sql.several(select.LISTS[funnel.by], NONE) if funnel.by in MULTIPLE else "segment"
    return found


def _bounds(query: Query, funnel: Funnel, clause: select.Clause) -> list[str]:
    """Which events can be part of an attempt, or void one."""
    happenings: list[Happening] = [*funnel.steps, *funnel.exclusions]
    # That something did not happen is no happening, nor is what somebody made of a message. Without a key is the event
    # of a contact that belongs to no conversation.
    found = ["key IS NOT NULL", f"event_type NOT IN ({', '.join(map(clause.sql.literal, _NOTHING_HAPPENED))})"]
    if funnel.mode != "strict" and all(one.event != ANY_EVENT for one in happenings):
        types = dict.fromkeys(one.event for one in happenings)
        found.append(f"event_type IN ({', '.join(map(clause.sql.literal, types))})")
    if funnel.mode not in UNTIMED:
        found.append(f"timestamp >= {clause.add(select.naive(query.period.start))}")
        until = _until(query.period.end, funnel.window_micros)
        if until is not None:
            found.append(f"timestamp < {clause.add(select.naive(until))}")
    return found


def _until(end: datetime, window: int | None) -> datetime | None:
    """Before when the last event of an attempt lies; None where there is no bound."""
    try:
        return None if window is None else end + timedelta(microseconds=window)
    except OverflowError:
        return None


def _bits(sql: Dialect, happenings: Sequence[Happening]) -> str:
    """A number whose bit i says whether the event is the i-th of these."""
    of_type: dict[str, int] = {}
    sums = []
    for i, one in enumerate(happenings):
        if one.conditions or one.event == ANY_EVENT:
            sums.append(f"CASE WHEN {_is(sql, one)} THEN {1 << i} ELSE 0 END")
        else:
            of_type[one.event] = of_type.get(one.event, 0) | 1 << i
    if of_type:  # one look at the type: a sum over the types takes as long as everything else
        cases = " ".join(f"WHEN {sql.literal(event)} THEN {bits}" for event, bits in of_type.items())
        sums.append(f"CASE event_type {cases} ELSE 0 END")
    return " + ".join(sums)


def _is(sql: Dialect, one: Happening) -> str:
    conditions = [] if one.event == ANY_EVENT else [f"event_type = {sql.literal(one.event)}"]
    conditions += [f"coalesce({holds(sql, condition)}, false)" for condition in one.conditions]
    return " AND ".join(conditions) or "true"


def _recorded(store: Store, funnel: Funnel) -> list[bool]:
    """For each step whether the project has any event of its type at all."""
    if funnel.mode == "any":  # a step is then the first, second, … of whichever
        return [True] * len(funnel.steps)
    types = dict.fromkeys(step.event for step in funnel.steps)
    # Each type by itself: an engine stops at the first row of it.
    found = f"EXISTS (SELECT 1 FROM {PHYSICAL['events']} WHERE event_type = {{}})"
    asked = ", ".join(found.format(store.dialect.literal(name)) for name in types)
    given = store.select(f"SELECT {asked}").rows[0]
    known = {ANY_EVENT, *(name for name, has_any in zip(types, given, strict=True) if has_any)}
    return [step.event in known for step in funnel.steps]


# from attempts to the answer


def stages(funnel: Funnel) -> tuple[str, ...]:
    """What the stages are called: as the steps; in mode `any`, where the k-th is whichever came k-th, `1 of 3` …"""
    if funnel.mode != "any":
        return funnel.names
    return tuple(f"{i + 1} of {len(funnel.steps)}" for i in range(len(funnel.steps)))


def known_stages(store: Store, funnel: Funnel) -> list[str]:
    """The required stages of which the project has any event at all."""
    names, recorded = stages(funnel), _recorded(store, funnel)
    return [names[i] for i in funnel.required if recorded[i]]


def describe(
    found: pl.DataFrame, funnel: Funnel, recorded: Sequence[bool], threshold: float, old: pl.DataFrame | None = None
) -> dict[str, Any]:
    """Stages with rates and times, drop-offs, and the time to convert: a pure function of `attempts`.

    `old`: those of which nothing can change, for matured rates.
    """
    counts = count(found, funnel)
    totals, own = counts["count"].to_list(), counts["recorded"].to_list()
    of_old = None if old is None else count(old, funnel)["count"].to_list()
    names = stages(funnel)
    rows = []
    for i, name in enumerate(names):
        before = previous(funnel, recorded, i)
        row = {
            "stage": name, "count": totals[i], "recorded": own[i], "implied": totals[i] - own[i],
            "is_recorded": recorded[i], "optional": funnel.steps[i].optional,
        }  # fmt: skip
        rows.append(row | _aged(funnel, totals, of_old, recorded, i) | _seconds(_taken(found, before, i)))
    known = [i for i in funnel.required if recorded[i]]
    losses = builtin.drop_offs({names[i]: totals[i] for i in known}, threshold, funnel.mode)
    rates = {row["stage"]: row["rate_from_previous"] for row in rows}
    return {
        "stages": rows,
        "rates": {},
        "numbers": {},
        "drop_offs": [loss.with_age(rates[loss.target]).to_dict() for loss in losses],
        "time_to_convert": _time_to_convert(found, funnel),
    }


def units(
    store: Store, query: Query, funnel: Funnel, stage: str | None = None, dropped: str | None = None
) -> list[str]:
    """The ids of the conversations behind a cell: those that came to `stage`, those that came to `dropped` and not to
    the next stage; without either all that entered. Raises `InvalidInput` for another stage, or where contacts count.
    """
    if funnel.unit != "conversation":
        raise InvalidInput("definition.unit", funnel.unit, "conversation: of contacts there is no list")
    found = attempts(read(store, query, unsplit(funnel), named=True), unsplit(funnel), _span(query.period))
    if stage is not None:
        found = found.filter(_came(funnel, _place(funnel, "stage", stage)))
    if dropped is not None:
        place = _place(funnel, "dropped", dropped)
        recorded = _recorded(store, funnel)
        after = [i for i in funnel.required if i > place and recorded[i]]
        if not after:
            raise InvalidInput("dropped", dropped, "a stage that is followed by a recorded one")
        found = found.filter(_came(funnel, place) & ~_came(funnel, after[0]))
    return found["unit"].unique().to_list()


def listed(name: str, stage: str | None, dropped: str | None) -> str:
    """Which conversations `units` gives, in words."""
    parts = [f"Conversations that entered the funnel {name} in the period"]
    if stage:
        parts.append(f"and reached {stage}")
    if dropped:
        parts.append(f"and reached {dropped} and not the next stage")
    return " ".join(parts) + "."


def _place(funnel: Funnel, name: str, stage: str) -> int:
    known = stages(funnel)
    if stage not in known:
        raise InvalidInput(name, stage, f"one of {', '.join(known)}")
    return known.index(stage)


def _came(funnel: Funnel, step: int) -> pl.Expr:
    return pl.col("furthest") >= step if funnel.mode == "reached" else pl.col(f"at_{step}").is_not_null()


def previous(funnel: Funnel, recorded: Sequence[bool], step: int) -> int | None:
    """The required step before that the project records; None for the first, and for one that is not recorded."""
    before = [i for i in funnel.required if i < step and recorded[i]]
    return before[-1] if before and recorded[step] else None


def _rates(funnel: Funnel, totals: Sequence[int], recorded: Sequence[bool], step: int) -> dict[str, Number]:
    rate = ratio if funnel.mode == "recorded" else share
    before = previous(funnel, recorded, step)
    from_previous = Number(None, totals[step], 0) if before is None else rate(totals[step], totals[before])
    known = recorded[step] and recorded[0]
    from_start = rate(totals[step], totals[0]) if known else Number(None, totals[step], totals[0])
    return {"rate_from_previous": from_previous, "rate_from_start": from_start}


def _aged(
    funnel: Funnel, totals: Sequence[int], of_old: Sequence[int] | None, recorded: Sequence[bool], step: int
) -> dict[str, Number]:
    """The same with the matured ones; from the first step itself there is nothing to wait for."""
    naive, limit = _rates(funnel, totals, recorded, step), funnel.limit_micros
    if of_old is None or limit is None or step == 0:
        return naive
    old = _rates(funnel, of_old, recorded, step)
    known = {
        "rate_from_previous": previous(funnel, recorded, step) is not None,
        "rate_from_start": recorded[step] and recorded[0],
    }
    return {
        name: replace(number, matured=_matured(old[name], limit)) if known[name] else number
        for name, number in naive.items()
    }


def _matured(old: Number, limit: int) -> Matured:
    return Matured(old.value, int(old.denominator), old.interval, limit / DAY, "configured")


def _taken(found: pl.DataFrame, source: int | None, target: int) -> Times:
    return Times(0, None, None, None, ()) if source is None else times(found, source, target)


def _seconds(taken: Times) -> dict[str, float | None]:
    return {"median_seconds": taken.median, "average_seconds": taken.average, "p90_seconds": taken.p90}


def _time_to_convert(found: pl.DataFrame, funnel: Funnel) -> dict[str, Any]:
    """From the first to the last required step; of a unit that came there several times the first time."""
    last = funnel.required[-1]
    complete = found.filter(pl.col(f"at_{last}").is_not_null())
    if funnel.re_entry == "every":
        complete = complete.sort("entry").unique("unit", keep="first", maintain_order=True)
    taken = times(complete, 0, last)
    bins = [{"from_seconds": start, "count": n} for start, n in taken.histogram]
    return {"n": taken.n, **_seconds(taken), "histogram": bins}


def segments(
    found: pl.DataFrame, funnel: Funnel, values: Sequence[str] | None = None
) -> list[tuple[str, pl.DataFrame]]:
    """`attempts` by the value under which they count, the most frequent first; the rarer of many taken together.

    `values`: those that stand for themselves, where that is settled already.
    """
    several = funnel.by in MULTIPLE
    if several:
        found = found.with_columns(pl.col("value").str.split(_MANY)).explode("value")
    found = found.with_columns(pl.col("value").fill_null(NONE))
    ranked = found.group_by("value").len().sort(["len", "value"], descending=[True, False])
    top = ranked["value"].head(TOP) if values is None else pl.Series(values, dtype=pl.String)
    parts = found.with_columns(
        pl.when(pl.col("value").is_in(top.implode())).then("value").otherwise(pl.lit(REST)).alias("value")
    ).partition_by("value", as_dict=True)
    shown = {str(value): part for (value,), part in parts.items()}
    if REST in shown and (several or funnel.attribution == "all") and funnel.re_entry == "first":
        # With two of the rarer values a unit is there once.
        furthest = shown[REST].sort(["furthest", "entry"], descending=[True, False])
        shown[REST] = furthest.unique("unit", keep="first", maintain_order=True)
    return sorted(shown.items(), key=lambda item: (-item[1].height, item[0]))


# over time


def _span(period: Period) -> tuple[int, int]:
    return to_micros(period.start), to_micros(period.end)


def _cuts(period: Period, interval: str) -> list[tuple[datetime, datetime]]:
    """The buckets of a period: when they begin and end."""
    return [(start, end) for _, start, end in metrics.cuts(period, interval)]


def _points(
    events: Events,
    funnel: Funnel,
    query: Query,
    cuts: list[tuple[datetime, datetime]],
    recorded: Sequence[bool],
    units: Array | None,
) -> list[dict[str, Any]]:
    """The stages of each bucket, in which those stand that entered in it."""
    found = attempts(events, funnel, _span(query.period), [to_micros(start) for start, _ in cuts], units)
    points = []
    for (start, end), totals in zip(cuts, trend(found, funnel, len(cuts)).tolist(), strict=True):
        points.append({
            **metrics.part_of(start, end, query),
            "immature": _is_immature(funnel, min(end, query.period.end), query.now),
            "stages": [
                {"stage": name, "count": totals[i], **_rates(funnel, totals, recorded, i)}
                for i, name in enumerate(stages(funnel))
            ],
        })  # fmt: skip
    return points


def _is_immature(funnel: Funnel, end: datetime, now: datetime) -> bool | None:
    """Whether an attempt that began before `end` may still go on; None where nothing limits it."""
    limit = funnel.limit_micros
    return None if limit is None else end + limit * MICROSECOND > now


def _text(funnel: Funnel) -> str:
    """What was counted, in words."""
    units = "Conversations" if funnel.unit == "conversation" else "Contacts"
    window = f" within {funnel.window}" if funnel.window else ""
    return {
        "reached": f"{units} that began in the period, by the furthest step of which they have an event: a later step "
        "implies the earlier ones.",
        "recorded": f"{units} that began in the period, a step counted only by its own event. Plain quotients: they "
        "can exceed 1 where a step was skipped, so they have no interval.",
        "ordered": f"{units} with an event of the first step in the period, by the steps that they took in order"
        f"{window}.",
        "strict": f"{units} with an event of the first step in the period, by the steps that they took one right after "
        f"the other{window}.",
        "any": f"{units} with an event of any step in the period, by how many of the steps they took, in whichever "
        f"order{window}.",
    }[funnel.mode] + (" Every attempt counts." if funnel.re_entry == "every" else "")
