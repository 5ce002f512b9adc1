"""A funnel of one's own over the events of its units: who came how far, when, and under which value.

An *attempt* begins at an event of the first step that lies in the period. It fills the required steps after it as far
as they can be filled, each by another event at or after the one before and within the limits of time. Of all ways to
get that far it takes the earliest: there is one that is the earliest in every step at once. Optional steps are filled
afterwards, in their order, from what is left. Every instant that has such an event is tried; events of one instant
happened in whatever order helps.

An attempt is *void* if an exclusion lies strictly between the two steps that it watches; where the second was not
reached, after the first and not after the attempt's end. A void attempt takes with it those before it that got less
far. Of the others the furthest counts, the earliest of equals. Where every entry counts, void ones are left out, and
the furthest is followed by those that lie wholly before or after it, again the furthest first.

In mode `any` an attempt begins at any step's event, and the k-th step is the k-th that is filled. In the modes without
order a unit has one attempt: its first event of each step, whichever event that is.

All units are done at once in numpy, over rows in order of unit and time: one search per step finds what follows each
attempt. Where one instant's events could fill several steps in several ways, who fills what is a matching, and the
units that have such an instant go one by one through `ties`.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

import numpy as np
import polars as pl

from dropoff.analyse.funnels import ties
from dropoff.analyse.funnels.rows import FAR, Array, Rows, coded, in_common, in_order, key_of, rows_of, runs, segments
from dropoff.errors import InvalidInput
from dropoff.project.funnels import EVENT, UNTIMED, AtStep, Funnel

CHUNK = 250_000
"""How many events are looked at together; more are cut by unit, so that memory stays bounded."""

PIECE = 1_000_000
"""How many are taken apart at a time."""

WORKERS = 2
"""How many such chunks at a time: numpy lets go of the interpreter while it works."""


class _Found(NamedTuple):
    """Attempts, in order of group and start."""

    place: Array  # (attempts, steps): which row fills each step, or -1
    depth: Array  # how many required steps it came: filled, or in mode `reached` implied by a later one


Events = pl.DataFrame | Sequence[pl.DataFrame]
"""A frame, or what `in_parts` made of it."""


def in_parts(events: pl.DataFrame) -> list[pl.DataFrame]:
    """The events in frames that are looked at one by one, all of a unit in one.

    For events that are asked about several times; where nobody else holds their frame it is let go of meanwhile.
    """
    count = -(-events.height // CHUNK)
    if count <= 1:
        return [events]
    pieces = list(events.iter_slices(PIECE))
    del events
    parts: list[list[pl.DataFrame]] = [[] for _ in range(count)]
    while pieces:
        piece = pieces.pop()
        # By bits of the key: a number for each event would take as much memory as one of its columns.
        part = pl.Series("part", key_of(piece["unit"]).to_numpy().view(np.uint16)[::4] % count)
        for (number,), some in piece.with_columns(part).partition_by("part", include_key=False, as_dict=True).items():
            parts[number].append(some)
    return [pl.concat(some) for some in parts if some]


def attempts(
    events: Events,
    funnel: Funnel,
    period: tuple[int, int],
    cuts: Sequence[int] | None = None,
    units: Array | None = None,
) -> pl.DataFrame:
    """What counts: a row per unit, or per attempt where every entry counts. The order of `events` does not matter.

    `events` holds, of each unit, what satisfies a step or an exclusion (in mode `strict` all that happened), from the
    period's start to a window after its end: `unit` (any type), `at` (Int64, microseconds), `steps` (UInt32, bit i:
    satisfies step i); where the definition asks for it `exclusions` (UInt32, bit i: exclusion i), `held` (any type;
    null where it has none of the held properties), `value` (text; of the breakdown) and, in modes without order,
    `started` (Int64: when the unit began). `period` is [from, to) in microseconds. With `units`, sorted, no
    other unit counts; units are then UInt64.

    Gives `unit`; `value` with a breakdown, null for none; `bucket` with `cuts`, the ascending instants at which buckets
    begin (a unit then counts once in each); `entry`, the instant that lies in the period; `furthest`, the last required
    step that was reached, counted from 0; `at_0`, `at_1` … the instants of the steps, null where not filled.
    """

    def of_part(part: pl.DataFrame) -> pl.DataFrame:
        return _of_part(part, funnel, period, cuts, units)

    for frame in [events] if isinstance(events, pl.DataFrame) else events:  # before it is cut by one of its columns
        _check(frame, funnel)
    with ThreadPoolExecutor(WORKERS) as workers:
        return pl.concat(workers.map(of_part, _parts(events)))


def earlier(
    found: pl.DataFrame,
    events: Events,
    funnel: Funnel,
    period: tuple[int, int],
    end: int,
    units: Array | None = None,
) -> pl.DataFrame:
    """`attempts` of the same events in a period that ends earlier, in any order; `found`: those of the whole period.

    For the modes with an order. A unit of which nothing happened between the two ends has the same attempts, so only
    the others are tried again.
    """
    parts = _parts(events)
    late = [part.filter(pl.col("at").is_between(end, period[1], closed="left")) for part in parts]
    units_since = [part.select(pl.col("unit").unique()) for part in late]
    again = [part.join(since, on="unit", how="semi") for part, since in zip(parts, units_since, strict=True)]
    kept = found.join(pl.concat(units_since), on="unit", how="anti")
    return pl.concat([kept, attempts(pl.concat(again), funnel, (period[0], end), None, units)])


def _parts(events: Events) -> Sequence[pl.DataFrame]:
    return in_parts(events) if isinstance(events, pl.DataFrame) else events


def _check(events: pl.DataFrame, funnel: Funnel) -> None:
    asked = {"exclusions": funnel.exclusions, "held": funnel.hold_constant, "value": funnel.by}
    asked["started"] = funnel.mode in UNTIMED
    needed = ["unit", "at", "steps", *(name for name, is_asked in asked.items() if is_asked)]
    if not set(needed) <= set(events.columns):
        raise InvalidInput("events", events.columns, f"a frame with the columns {', '.join(needed)}")


def _of_part(
    events: pl.DataFrame, funnel: Funnel, period: tuple[int, int], cuts: Sequence[int] | None, units: Array | None
) -> pl.DataFrame:
    events, values = coded(events, funnel)
    table = in_order(events, funnel, period, units)
    rows = rows_of(table, len(values) - 1)
    if funnel.mode in UNTIMED:
        found = _firsts(rows, funnel)
        entry = table["started"].to_numpy()[found.place.max(axis=1)]
    else:
        found = _timed(rows, funnel, period)
        entry = rows.at[found.place[:, 0]]
    bucket = np.zeros(len(entry), np.int64) if cuts is None else np.searchsorted(np.array(cuts), entry, "right") - 1
    void = _void(rows, funnel, found, _exclusions(events, table, funnel))
    chosen = _chosen(rows, funnel, found, void, bucket)
    place = found.place[chosen]
    columns = {
        "unit": table["unit"].gather(place.max(axis=1)),
        "value": values.gather(_attributed(rows, funnel, place)) if funnel.by is not None else None,
        "bucket": bucket[chosen] if cuts is not None else None,
        "entry": entry[chosen],
        "furthest": _furthest(funnel, found.depth[chosen]),
        **{f"at_{i}": rows.at[place[:, i]] for i in range(len(funnel.steps))},
    }
    return _answer(pl.DataFrame({name: column for name, column in columns.items() if column is not None}), funnel)


def _answer(answer: pl.DataFrame, funnel: Funnel) -> pl.DataFrame:
    instants = [f"at_{i}" for i in range(len(funnel.steps))]
    answer = answer.with_columns(pl.when(pl.col(name) < FAR).then(name).alias(name) for name in instants)
    at_step = funnel.attribution
    return answer.filter(pl.col(instants[at_step.step]).is_not_null()) if isinstance(at_step, AtStep) else answer


# from rows to attempts


def _hits(rows: Rows, step: int) -> Array:
    """The places of all events that satisfy a step."""
    return np.flatnonzero((rows.steps & np.uint32(1 << step)) != 0)


def _later(rows: Rows, hits: Array, places: Array) -> Array:
    """For each of the places the first of the hits after it that is of its group, nobody's row for none."""
    nobody = len(rows.at) - 1
    is_hit = np.zeros(len(rows.at), bool)
    is_hit[hits] = True
    found = np.append(hits, nobody)[np.cumsum(is_hit, dtype=np.int32)[places]]
    return np.where(rows.group[found] == rows.group[places], found, nobody)


def _firsts(rows: Rows, funnel: Funnel) -> _Found:
    """Of each group the first event of each step."""
    count = len(funnel.steps)
    place = np.full((rows.group.max() + 1, count), -1)
    for i in range(count):
        hits = _hits(rows, i)
        group, first = np.unique(rows.group[hits], return_index=True)
        place[group, i] = hits[first]
    return _Found(place, (np.arange(1, count + 1) * (place >= 0)).max(axis=1))


def _timed(rows: Rows, funnel: Funnel, period: tuple[int, int]) -> _Found:
    """The attempt of each group and instant that begins one."""
    starts = _starts(rows, funnel, period)
    knotted = np.zeros(rows.owner.max() + 2, bool)
    knotted[rows.owner[_knots(rows, funnel)]] = True
    is_knotted = knotted[rows.owner[starts]]
    way = {"ordered": _ordered, "strict": _strict, "any": _any}[funnel.mode]
    place = way(rows, funnel, starts[~is_knotted])
    if is_knotted.any():
        place = np.concatenate([place, _untied(rows, funnel, starts[is_knotted])])
    if is_knotted.any() or funnel.mode == "strict":
        place = place[np.lexsort((rows.at[place[:, 0]], rows.group[place[:, 0]]))]
    depth = np.zeros(len(place), np.int64)
    for step in _counting(funnel):
        depth += place[:, step] >= 0
    instant = segments(rows.group[place[:, 0]], rows.at[place[:, 0]])
    if not len(instant) or instant[-1] == len(instant) - 1:
        return _Found(place, depth)
    # Of the events at one instant one begins the attempt, the one that leads furthest.
    best = _first_of_best(instant, depth)
    return _Found(place[best], depth[best])


def _counting(funnel: Funnel) -> list[int]:
    """The steps that say how far an attempt came."""
    return list(range(len(funnel.steps))) if funnel.mode == "any" else list(funnel.required)


def _starts(rows: Rows, funnel: Funnel, period: tuple[int, int]) -> Array:
    """The places at which attempts begin: any step's event in mode `any`, once for each instant, else the first's."""
    starts = runs(rows.group, rows.at)[:-1] if funnel.mode == "any" else _hits(rows, 0)
    at = rows.at[starts]
    return starts[(period[0] <= at) & (at < period[1])]


def _knots(rows: Rows, funnel: Funnel) -> Array:
    """The places at which it is a question who fills what."""
    several = (rows.steps & (rows.steps - np.uint32(1))) != 0
    if funnel.mode == "any":
        return np.flatnonzero(several)
    tied = (rows.owner[1:] == rows.owner[:-1]) & (rows.at[1:] == rows.at[:-1])
    if funnel.mode == "strict":
        return np.flatnonzero(tied & ((rows.steps[1:] | rows.steps[:-1]) != 0))
    alike = (rows.steps[1:] == rows.steps[:-1]) & (len(funnel.required) == len(funnel.steps))
    return np.flatnonzero(tied & (several[1:] | several[:-1]) & ~alike)


def _limit(rows: Rows, funnel: Funnel, starts: Array) -> Array:
    """The last instant of each attempt, before that of what never happened."""
    window = funnel.window_micros
    return np.full(len(starts), FAR - 1) if window is None else rows.at[starts] + window


def _ordered(rows: Rows, funnel: Funnel, starts: Array) -> Array:
    """From each start the earliest events with which it gets furthest."""
    place = np.full((len(starts), len(funnel.steps)), -1, order="F")
    hits = [_hits(rows, step) for step in funnel.required]
    waits = [funnel.within_micros[step] for step in funnel.required]
    if not any(waits):  # the earliest event of a step is then also the best to go on from
        place[:, funnel.required] = _follow(rows, hits, starts, _limit(rows, funnel, starts))
        return _with_optional(rows, funnel, place)
    left = np.arange(len(starts))
    for depth in range(len(hits), 0, -1):
        leading = _leading(rows, hits[:depth], waits)
        found = _follow(rows, leading, starts[left], _limit(rows, funnel, starts[left]))
        arrived = found[:, -1] >= 0
        for i, step in enumerate(funnel.required[:depth]):
            place[left[arrived], step] = found[arrived, i]
        left = left[~arrived]
    return _with_optional(rows, funnel, place)


def _follow(rows: Rows, hits: list[Array], starts: Array, limit: Array) -> Array:
    """From each start among the first hits, step by step the next hit that is in time, as far as it goes."""
    place = np.full((len(starts), len(hits)), -1, order="F")
    is_first = np.zeros(len(rows.at), bool)
    is_first[hits[0]] = True
    going = np.flatnonzero(is_first[starts])
    last = starts[going]
    place[going, 0] = last
    for i in range(1, len(hits)):
        found = _later(rows, hits[i], last)
        goes = np.flatnonzero(rows.at[found] <= limit[going])
        going, last = going[goes], found[goes]
        place[going, i] = last
    return place


def _leading(rows: Rows, hits: list[Array], waits: list[int | None]) -> list[Array]:
    """Of the hits of each step those from which the last of these steps is reached without waiting too long."""
    led = hits[-1:]
    for i in range(len(hits) - 2, -1, -1):
        found, wait = rows.at[_later(rows, led[0], hits[i])], waits[i + 1]
        leads = found < FAR if wait is None else found - rows.at[hits[i]] <= wait
        led = [hits[i][leads], *led]
    return led


def _with_optional(rows: Rows, funnel: Funnel, place: Array) -> Array:
    """Fills the optional steps, each by the first event between what is filled before it and the next required step."""
    limit = _limit(rows, funnel, place[:, 0])
    for i, step in enumerate(funnel.steps):
        if not step.optional:
            continue
        before = max(r for r in funnel.required if r < i)
        after = min((r for r in funnel.required if r > i), default=None)
        found = _later(rows, _hits(rows, i), place[:, before:i].max(axis=1))
        fits = (place[:, before] >= 0) & (rows.at[found] <= limit)
        if after is not None:
            fits &= (place[:, after] < 0) | (found < place[:, after])
        wait = funnel.within_micros[i]
        if wait is not None:
            fits &= rows.at[found] - rows.at[place[:, before]] <= wait
        place[fits, i] = found[fits]
    return place


def _strict(rows: Rows, funnel: Funnel, starts: Array) -> Array:
    """From each start the rows right after it, as long as each satisfies its step."""
    place = np.full((len(starts), len(funnel.steps)), -1)
    place[:, 0] = starts
    limit = _limit(rows, funnel, starts)
    going = np.arange(len(starts))
    for i, wait in enumerate(funnel.within_micros[1:], 1):
        found = np.minimum(starts[going] + i, len(rows.at) - 1)
        goes = (rows.group[found] == rows.group[starts[going]]) & (rows.at[found] <= limit[going])
        goes &= rows.steps[found] & np.uint32(1 << i) != 0
        if wait is not None:
            goes &= rows.at[found] - rows.at[found - 1] <= wait
        going = going[goes]
        place[going, i] = found[goes]
    return place


def _any(rows: Rows, funnel: Funnel, starts: Array) -> Array:
    """From each start on the first event of each step, in order of time."""
    limit, nobody = _limit(rows, funnel, starts), len(rows.at) - 1
    place = np.empty((len(starts), len(funnel.steps)), np.int64)
    for i in range(len(funnel.steps)):
        found = np.where(rows.steps[starts] & np.uint32(1 << i), starts, _later(rows, _hits(rows, i), starts))
        fits = rows.at[found] <= limit
        place[:, i] = np.where(fits, found, nobody)
    place.sort(axis=1)
    return np.where(place == nobody, -1, place)


def _untied(rows: Rows, funnel: Funnel, starts: Array) -> Array:
    """The attempts of those owners whose events cannot be told apart by their place, one owner after the other."""
    bounds = np.append(runs(rows.owner)[:-1], len(rows.at) - 1)
    asked = np.unique(np.stack([rows.owner[starts], rows.group[starts], rows.at[starts]]), axis=1).T.tolist()
    found: list[list[int]] = []
    for (owner, group), instants in groupby(asked, key=itemgetter(0, 1)):
        first, last = int(bounds[owner]), int(bounds[owner + 1])
        steps = np.where(rows.group[first:last] == group, rows.steps[first:last], 0)
        history = ties.History(rows.at[first:last].tolist(), steps.tolist(), rows.value[first:last].tolist(), funnel)
        for _, _, at in instants:
            found.append([place if place < 0 else place + first for place in history.attempt(at)])
    return np.array(found)


# which attempts count


def _exclusions(events: pl.DataFrame, table: pl.DataFrame, funnel: Funnel) -> list[tuple[Array, Array]]:
    """Of each exclusion the groups and instants of its events. One that lacks a held property is of each group."""
    if not funnel.exclusions:
        return []
    kept = in_common(funnel)
    groups = table.select("unit", *kept, "group").unique()
    found = []
    for i in range(len(funnel.exclusions)):
        one = events.filter(pl.col("exclusions") & (1 << i) != 0).join(groups, on="unit", suffix="_of_group")
        if "held" in kept:
            one = one.filter(pl.col("held").is_null() | (pl.col("held") == pl.col("held_of_group")))
        if "code" in kept:
            one = one.filter(pl.col("value").is_null() | (pl.col("code") == pl.col("code_of_group")))
        one = one.sort("group", "at")
        found.append((one["group"].to_numpy().astype(np.int64), one["at"].to_numpy()))
    return found


def _void(rows: Rows, funnel: Funnel, found: _Found, exclusions: list[tuple[Array, Array]]) -> Array:
    """Which attempts have an exclusion between its two steps."""
    void = np.zeros(len(found.depth), bool)
    if not exclusions:
        return void
    end = _end(rows, funnel, found)
    for exclusion, (group, at) in zip(funnel.exclusions, exclusions, strict=True):
        first, last = (found.place[:, step] for step in exclusion.between)
        after = _first_later(group, at, rows.group[first], rows.at[first])
        before_last = after < np.where(last < 0, np.minimum(end, FAR - 1) + 1, rows.at[last])
        void |= (first >= 0) & before_last
    return void


def _end(rows: Rows, funnel: Funnel, found: _Found) -> Array:
    """The last instant at which each attempt could have gone on."""
    end = _limit(rows, funnel, found.place[:, 0])
    if funnel.mode == "any":
        return end
    required = np.array(funnel.required)
    waits = np.array([FAR if (wait := funnel.within_micros[step]) is None else wait for step in required[1:]] + [FAR])
    reached = rows.at[found.place[np.arange(len(end)), required[found.depth - 1]]]
    return np.minimum(end, np.minimum(reached + waits[found.depth - 1], FAR))


def _first_later(group: Array, at: Array, own: Array, since: Array) -> Array:
    """For each `own` and `since` the first `at` of that group later than it, `FAR` for none."""
    clock = np.unique(np.concatenate([at, since]))  # groups and instants together exceed 64 bits; ranks do not
    span = len(clock) + 1
    keys = group * span + np.searchsorted(clock, at)
    wanted = own * span + np.searchsorted(clock, since)
    place = np.searchsorted(keys, wanted, "right")
    group, at = np.append(group, -1), np.append(at, FAR)
    return np.where(group[place] == own, at[place], FAR)


def _chosen(rows: Rows, funnel: Funnel, found: _Found, void: Array, bucket: Array) -> Array:
    """The attempts that count, in order of unit and start."""
    if funnel.mode in UNTIMED:
        return np.arange(len(found.depth))
    group, start = rows.group[found.place[:, 0]], rows.at[found.place[:, 0]]
    if funnel.re_entry == "every":
        valid = np.flatnonzero(~void)
        end = rows.at[found.place[valid]]
        end = np.where(end < FAR, end, -1).max(axis=1)
        return valid[_apart(group[valid], found.depth[valid], start[valid], end)]
    valid = np.flatnonzero(~void & ~_taken_along(group, bucket, found.depth, void))
    unit = rows.counted[found.place[valid, 0]]
    if funnel.hold_constant:  # equals of several groups: the one that is earlier, step by step
        places = [found.place[valid, i] for i in range(len(funnel.steps))]
        keys = [unit, bucket[valid], *(rows.at[place] for place in places), *(rows.value[place] for place in places)]
        order = np.lexsort(keys[::-1])
        valid, unit = valid[order], unit[order]
    return valid[_first_of_best(segments(unit, bucket[valid]), found.depth[valid])]


def _taken_along(group: Array, bucket: Array, depth: Array, void: Array) -> Array:
    """Which attempts a later void one of the same group and bucket surpasses."""
    if not void.any():
        return void
    segment = segments(group, bucket)
    # The highest depth from behind, beginning anew with each segment since its number weighs more.
    weight = (segment[-1] - segment) * 64
    behind = np.maximum.accumulate((weight + np.where(void, depth, 0))[::-1])[::-1]
    later = np.append(behind[1:], 0)
    return later - weight > depth


def _apart(group: Array, depth: Array, start: Array, end: Array) -> Array:
    """Of each group the furthest attempt, the earliest of equals; then the same of those wholly before or after it."""
    left, taken = np.arange(len(group)), []
    while len(left):
        segment = segments(group[left])
        best = left[_first_of_best(segment, depth[left])]
        taken.append(best)
        mine = best[segment]
        left = left[(end[left] < start[mine]) | (start[left] > end[mine])]
    return np.sort(np.concatenate(taken)) if taken else left


def _first_of_best(segment: Array, depth: Array) -> Array:
    """In each run of a segment the place of the first with the highest depth."""
    if not len(segment):
        return segment
    best = np.maximum.reduceat(depth, runs(segment))
    candidates = np.flatnonzero(depth == best[segment])
    return candidates[runs(segment[candidates])]


# from attempts to answers


def _furthest(funnel: Funnel, depth: Array) -> Array:
    return np.array(funnel.required)[depth - 1] if funnel.mode == "ordered" else depth - 1


def _attributed(rows: Rows, funnel: Funnel, place: Array) -> Array:
    """The code of the value under which each attempt counts."""
    by, attribution = funnel.by or "", funnel.attribution
    if not by.startswith(EVENT) or attribution == "all":  # a dimension counts as it was at the entry
        return rows.value[place.max(axis=1)] if funnel.mode in UNTIMED else rows.value[place[:, 0]]
    if isinstance(attribution, AtStep):
        return rows.value[place[:, attribution.step]]
    if funnel.mode in UNTIMED:  # elsewhere the steps are in order of time
        place = np.sort(place, axis=1)
    found = rows.value[place]
    has = found < rows.value[-1]
    column = has.argmax(axis=1) if attribution == "first" else has.shape[1] - 1 - has[:, ::-1].argmax(axis=1)
    return np.take_along_axis(found, column[:, None], axis=1)[:, 0]
