"""Two periods at one age: how much a metric changed, and which segments account for it.

A conversation of the later period had less time than one of the earlier. So both are cut: what each conversation did
within the same time of its start counts, and where the store does not know when that was, only conversations count that
are old enough. The change is the sum of what each segment adds, by its own rate and by its size (Kitagawa 1955).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from dropoff.analyse import metrics, select
from dropoff.analyse.answers import instant
from dropoff.analyse.contacts import BEFORE, NOW, Cells, Pair, pair, read, read_by
from dropoff.analyse.segments.readings import Aged, at_one_age, can_be_cut
from dropoff.analyse.segments.segments import compare, found_of, kind_of, where_of
from dropoff.analyse.stats import NOBODY, Clustered, Interval, Share, by_t, family, kitagawa
from dropoff.analyse.young import Young, at_minute
from dropoff.errors import InvalidInput, Missing
from dropoff.metrics import Metric
from dropoff.periods import MICROSECOND, Period, parse_duration, parse_period
from dropoff.query import DIMENSIONS, Params, Query, one
from dropoff.store.base import Store

NO_CAUSES = ("outcome", "qualification_path", "objection", "week", "month")
"""Dimensions by which a change is not explained unless asked: what came of a conversation, several values, the time."""

SUITABLE = tuple(name for name in DIMENSIONS if name not in NO_CAUSES)
MOVES = 50
"""So many moves are listed with the change, and so many against it."""


# what is asked for


def parse_before(params: Params, period: Period) -> Period | None:
    """The other period: `compare_from` and `compare_to`, else with `compare=previous` the one before."""
    start, end, word = (one(params, name) for name in ("compare_from", "compare_to", "compare"))
    if word not in (None, "previous"):
        raise InvalidInput("compare", word, "previous, or compare_from and compare_to")
    if start is None and end is None:
        return metrics.period_before(period) if word else None
    if start is None or end is None:
        raise Missing("compare_to" if end is None else "compare_from", "given with the other end")
    other = parse_period(start, end, period.timezone)
    if other.start < period.end and period.start < other.end:
        raise InvalidInput("compare_from", start, "a period that has nothing in common with the other")
    return other


def parse_follow(params: Params) -> int | None:
    """`follow` in microseconds."""
    text = one(params, "follow")
    follow = None if text is None else parse_duration("follow", text) // MICROSECOND
    if follow == 0:
        raise InvalidInput("follow", text, "longer than nothing")
    return follow


# at one age


class Question(NamedTuple):
    """A metric in two periods, and how their conversations are made equally old (None: no matter)."""

    query: Query
    before: Period
    metric: Metric
    aged: Aged | None


def question(store: Store, query: Query, metric: Metric, young: Young, params: Params) -> Question | None:
    """What is asked of two periods; None where nothing is. Raises `InvalidInput` for what is no sum of its segments."""
    before, follow = parse_before(params, query.period), parse_follow(params)
    if before is None:
        return None
    if kind_of(metric) not in ("share", "mean") or metric.by_currency:
        raise InvalidInput("metric", metric.name, "a share, a score or a ratio: others do not add up over segments")
    return Question(query, before, metric, _aged(store, query, before, metric, young, follow))


def _aged(store: Store, query: Query, before: Period, metric: Metric, young: Young, follow: int | None) -> Aged | None:
    """Each conversation is followed for `follow`, else for the time that the youngest one of both periods has had."""
    if not metric.matures:
        return None
    recorded = select.recorded_stages(store)
    known = recorded >= set(metric.stages)
    wait = metrics.wait_of(metric, young.waits(store, query, recorded)) if known else None
    mature = wait.micros if wait else 0
    now = at_minute(query).now  # as of the last whole minute, like all that has to do with age
    if not can_be_cut(metric):
        return Aged(now - (follow or mature) * MICROSECOND, None)
    # While a period is not over nobody has had any time by its end: those are left out that are not mature.
    had = (now - max(query.period.end, before.end)) // MICROSECOND
    followed = follow or (had if had > 0 else mature)
    return Aged(now - followed * MICROSECOND, followed)


def _cells(store: Store, query: Query, asked: Question) -> Cells:
    reading = at_one_age(asked.metric, query, asked.aged)
    return read(store, query, reading, query.period, asked.before).get("", Cells({}, {}))


def _of_dimensions(store: Store, asked: Question) -> dict[str, Cells]:
    """The cells of the query's dimension, or of all suitable ones that it does not hold to one value."""
    query = asked.query
    if query.by is not None:
        return {query.by: _cells(store, query, asked)}
    fixed = {where.dimension for where in query.where if len(where.values) == 1}
    reading = at_one_age(asked.metric, query, asked.aged)
    return read_by(store, query, reading, [name for name in SUITABLE if name not in fixed], query.period, asked.before)


class Periods(NamedTuple):
    """Both periods as a whole: their sums, and the answer about them."""

    pair: Pair
    change: float | None
    answer: dict[str, Any]


def _periods(store: Store, asked: Question) -> Periods:
    _, before, metric, aged = asked
    both = pair_of(store, asked)
    now, then = (side(metric, one) for one in (both.of_a, both.of_b))
    compared = compare(metric, both) if both.of_a.n and both.of_b.n else None
    return Periods(both, compared and compared.difference, {
        "period": before.to_dict(),
        "follow_days": aged.follow * MICROSECOND.total_seconds() / 86_400 if aged and aged.follow is not None else None,
        "left_out": _left_out(store, asked),
        "now": now,
        "before": then,
        "change": compared and compared.difference,
        "interval": compared and compared.interval,
        "p_value": compared and compared.p_value,
        "test": compared and compared.test,
    })  # fmt: skip


def pair_of(store: Store, asked: Question) -> Pair:
    """Both periods as a whole."""
    return _between(_cells(store, replace(asked.query, by=None, segments=()), asked), NOW, BEFORE)


def _between(cells: Cells, a: str, b: str) -> Pair:
    of_a, of_b = (cells.sums.get(name, NOBODY) for name in (a, b))
    return pair(a, b, of_a, of_b, cells.between(a, b))


def side(metric: Metric, sums: Clustered) -> dict[str, Any]:
    """A metric in one period, as answers have it."""
    found = found_of(metric, sums)
    return {
        "value": found.value, "numerator": sums.total, "denominator": sums.n, "interval": found.interval,
        "clusters": sums.clusters, "enough": found.is_enough,
    }  # fmt: skip


def _left_out(store: Store, asked: Question) -> dict[str, int]:
    """How many conversations of each period are too young."""
    if asked.aged is None:
        return {"now": 0, "before": 0}
    clause = select.Clause(store.dialect)
    rows = select.conversations(replace(asked.query, by=None), clause, started=False, named=False)
    young = f"started_at > {clause.add(select.naive(asked.aged.cutoff))}"
    counts = ", ".join(
        f"count(*) FILTER (WHERE {young} AND {select.in_period('started_at', one, clause)})"
        for one in (asked.query.period, asked.before)
    )
    now, before = store.select(f"SELECT {counts} FROM {rows}", clause.parameters).rows[0]
    return {"now": now, "before": before}


# what each segment adds


class Part(NamedTuple):
    """What a segment adds to the change: by its rate and by its size, with the variance of both together."""

    rate: float
    mix: float
    variance: float

    @property
    def contribution(self) -> float:
        """Both effects."""
        return self.rate + self.mix


def parts(cells: Cells, contacts: int) -> dict[str, Part]:
    """Of segments that do not overlap, in two periods; `contacts`: how many there are in either. Empty without either.

    With m the middle of both rates the contribution of g is Σ_g (x - m n) / N now, less the same before. Its variance
    is the linearised one over contacts: m is estimated, too, and a contact may be in several segments and in both
    periods.
    """
    names = sorted({name[1:] for name in cells.sums})
    now, before = ({name: cells.sums.get(period + name, NOBODY) for name in names} for period in (NOW, BEFORE))
    effects = kitagawa(*({name: Share(one.total, one.n) for name, one in side.items()} for side in (now, before)))  # pyright: ignore[reportArgumentType] - any sums
    if not effects:
        return {}
    variances = _variances(cells, names, now, before, contacts)
    return {name: Part(effects[name].rate, effects[name].mix, variances[name]) for name in names if name in effects}


def _variances(
    cells: Cells, names: Sequence[str], now: Mapping[str, Clustered], before: Mapping[str, Clustered], contacts: int
) -> dict[str, float]:
    """The variance of each contribution: α'XXα + 2 α'XNβ + β'NNβ, α and β its derivatives by the cells' sums."""
    import numpy as np

    keys = [NOW + name for name in names] + [BEFORE + name for name in names]
    shared = [[cells.between(a, b) for b in keys] for a in keys]
    xx, xn, nn = (np.array([[getattr(one, part) for one in row] for row in shared]) for part in ("xx", "xn", "nn"))
    (x_now, n_now), (x_then, n_then) = (
        (sum(one.total for one in side.values()), sum(one.n for one in side.values())) for side in (now, before)
    )
    r_now, r_then = x_now / n_now, x_then / n_then
    middle, size = (r_now + r_then) / 2, len(names)
    found = {}
    for place, name in enumerate(names):
        one, other = now[name], before[name]
        grown = one.n / n_now - other.n / n_then
        added = ((one.total - middle * one.n) / n_now, (other.total - middle * other.n) / n_then)
        alpha = np.concatenate((np.full(size, -grown / 2 / n_now), np.full(size, -grown / 2 / n_then)))
        beta = np.concatenate((
            np.full(size, (grown * r_now / 2 - added[0]) / n_now),
            np.full(size, (grown * r_then / 2 + added[1]) / n_then),
        ))  # fmt: skip
        alpha[place] += 1 / n_now
        beta[place] -= middle / n_now
        alpha[size + place] -= 1 / n_then
        beta[size + place] += middle / n_then
        variance = float(alpha @ xx @ alpha + 2 * alpha @ xn @ beta + beta @ nn @ beta)
        found[name] = max(variance, 0.0) * (contacts / (contacts - 1) if contacts > 1 else 1.0)
    return found


def _tested(part: Part, contacts: int) -> tuple[Interval | None, float | None]:
    """The interval of a contribution, and how often chance alone makes one as large."""
    if contacts < 2:
        return None, None
    found = by_t(part.contribution, part.variance, contacts - 1, "t-test over contacts")
    return found.interval, found.p_value


def moves(store: Store, asked: Question, contacts: int) -> dict[str, list[dict[str, Any]]]:
    """By dimension, of those with several values, what each adds to the change; `contacts`: how many in either period.

    One statement.
    """
    found = {}
    for dimension, cells in _of_dimensions(store, asked).items():
        split = asked._replace(query=replace(asked.query, by=dimension))
        found[dimension] = _moves(split, cells, contacts, overlapping=False)
    return {dimension: rows for dimension, rows in found.items() if len(rows) > 1}


def _moves(asked: Question, cells: Cells, contacts: int, *, overlapping: bool) -> list[dict[str, Any]]:
    """A row for each segment: its value in both periods, and, where none overlap, what it adds to the change."""
    metric, query = asked.metric, asked.query
    added = {} if overlapping else parts(cells, contacts)
    wholes = {period: sum(one.n for name, one in cells.sums.items() if name[:1] == period) for period in (NOW, BEFORE)}
    rows = []
    for name in sorted({name[1:] for name in cells.sums}):
        both = _between(cells, NOW + name, BEFORE + name)
        now, before = (side(metric, one) for one in (both.of_a, both.of_b))
        compared = compare(metric, both) if both.of_a.n and both.of_b.n else None
        part, enough = added.get(name), _is_enough(now, before)
        interval, p_value = _tested(part, contacts) if part else (None, None)
        rows.append({
            "dimension": query.by, "segment": name, "now": now, "before": before, "enough": enough,
            "difference": compared and compared.difference, "difference_interval": compared and compared.interval,
            "weight": None if overlapping or not all(wholes.values()) else
                {"now": both.of_a.n / wholes[NOW], "before": both.of_b.n / wholes[BEFORE]},
            "rate_effect": part and part.rate, "mix_effect": part and part.mix,
            "contribution": part and part.contribution, "interval": interval, "p_value": p_value if enough else None,
            "where": where_of(query, name),
        })  # fmt: skip
    return rows


def _is_enough(now: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    """30 in both periods; a segment that one of them does not have at all, in the other."""
    there = [one for one in (now, before) if one["denominator"]]
    return bool(there) and all(one["enough"] for one in there)


def _judged(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One family of contributions, each with its q-value."""
    q = family([row["p_value"] for row in rows])
    return [{**row, "q_value": q_value} for row, q_value in zip(rows, q, strict=True)]


def _effects(rows: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Both effects of a dimension: together they are the change."""
    known = [row for row in rows if row["rate_effect"] is not None]
    return {name: sum(row[name] for row in known) if known else None for name in ("rate_effect", "mix_effect")}


# the answers


def compared(store: Store, asked: Question) -> dict[str, Any]:
    """Both periods, and each segment of the query in both: the part `compare` of the shape `segments`."""
    whole = _periods(store, asked)
    cells = _cells(store, asked.query, asked)
    rows = _judged(_moves(asked, cells, whole.pair.joint.clusters, overlapping=asked.query.overlapping))
    rows.sort(key=lambda row: (-abs(row["contribution"] or 0), row["segment"]))
    return whole.answer | _effects(rows) | {"segments": rows}


def answer(store: Store, asked: Question) -> dict[str, Any]:
    """Which segments account for the change, over one dimension or all suitable ones: the shape `explain`."""
    query, metric = asked.query, asked.metric
    if query.overlapping:
        raise InvalidInput("by", query.by, "a dimension of which a conversation has one value")
    whole = _periods(store, asked)
    by_dimension = moves(store, asked, whole.pair.joint.clusters)
    sign = -1 if (whole.change or 0) < 0 else 1
    judged = [row for row in _judged([row for found in by_dimension.values() for row in found]) if row["contribution"]]
    ranked = sorted(judged, key=lambda row: (-abs(row["contribution"]), row["dimension"], row["segment"]))
    return {
        "period": query.period.to_dict(),
        "as_of": instant(query.now),
        "definition": {
            "metric": metric.name, "unit": metric.unit, "clock": metric.clock, "good": metric.good,
            "description": metric.description, "by": query.by,
        },
        "metric": metric.name,
        "compare": whole.answer,
        "dimensions": [{"dimension": name, **_effects(found)} for name, found in by_dimension.items()],
        "segments": [row for row in ranked if row["contribution"] * sign > 0][:MOVES],
        "offsetting": [row for row in ranked if row["contribution"] * sign < 0][:MOVES],
    }  # fmt: skip
