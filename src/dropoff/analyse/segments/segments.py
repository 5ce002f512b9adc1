"""Segments compared: the value of a metric in each, which of them truly differ, and which is best.

The store adds up by segment and contact (`contacts`, which also has the tests), and what is done with them stands here:
all pairs are one family (Benjamini-Hochberg), below 30 contacts nothing is claimed, and of conversations that are too
young to be judged only the older ones count.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations
from typing import Any, NamedTuple

from dropoff.analyse import metrics, select
from dropoff.analyse.answers import instant
from dropoff.analyse.contacts import (
    Cells,
    Complement,
    Pair,
    difference_of,
    head,
    interval_of,
    pair,
    read,
    read_complements,
)  # fmt: skip
from dropoff.analyse.maturity import Maturity
from dropoff.analyse.segments import mix
from dropoff.analyse.segments.medians import Medians, read_medians
from dropoff.analyse.segments.readings import Written, ages, always, as_it_stands, cutoff_of, since, wait_for, when_old
from dropoff.analyse.stats import ENOUGH, SIGNIFICANT, Clustered, Comparison, Interval, q_values
from dropoff.analyse.young import Waits, Young
from dropoff.errors import InvalidInput, Missing
from dropoff.metrics import Metric
from dropoff.query import MULTIPLE, REST, Params, Query, Where, choice
from dropoff.store.base import Store

UNITS = ("auto", "matured", "all")
"""Whose numbers are compared: of conversations that are old enough, of all, or the former where any is too young."""

FEW = 5
"""Where fewer have it, or have it not, in all segments together, none is called the best: one more would change it."""


# by kind of metric


def kind_of(metric: Metric) -> str:
    """`share`, `mean`, `median` or `total`."""
    if metric.quantile is not None:
        return "median"
    if metric.denominator is None:
        return "total"
    return "share" if metric.unit == "share" else "mean"


# what is asked for


def parse_units(params: Params) -> str:
    """`units`; raises `InvalidInput`."""
    return choice(params, "units", UNITS, UNITS[0])


def check_split(query: Query) -> None:
    """Refuse a question without segments, and one with two kinds of them."""
    if query.by is None and not query.segments:
        raise Missing("by", "a dimension, unless there are named segments")
    if query.by is not None and query.segments:
        raise InvalidInput("by", query.by, "left out where there are named segments")


# whose numbers


class Basis(NamedTuple):
    """Whose numbers are compared: those of all, or of conversations that are as old as `wait`."""

    wait: Maturity | None
    is_matured: bool
    waits: Waits


class People(NamedTuple):
    """Of a segment the conversations that started in the period, and how many of those that count are too young."""

    conversations: int = 0
    too_young: int = 0


def basis_of(store: Store, query: Query, metric: Metric, young: Young) -> Basis:
    """How long a metric's conversations are waited for; of all, at first."""
    recorded = select.recorded_stages(store)
    waits = young.waits(store, query, recorded) if metric.matures else Waits({}, recorded)
    is_known = recorded >= set(metric.stages)
    return Basis(wait_for(metric, waits) if metric.matures and is_known else None, False, waits)


def _people(store: Store, query: Query, metric: Metric, basis: Basis) -> dict[str, People]:
    clause = select.Clause(store.dialect)
    begin, young = head(query, clause), "count(*) FILTER (WHERE false)"
    rows = "SELECT *, started_at AS moment FROM c"
    if basis.wait is not None:
        aged = ages(metric, query, basis.wait, basis.waits.recorded, clause)
        rows = aged.rows
        young = f"count(*) FILTER (WHERE {aged.entered}) - count(*) FILTER (WHERE {aged.old})"
    found = store.select(
        f"""{begin} SELECT segment, count(*), {young} FROM ({rows})
            WHERE {select.in_period("moment", query.period, clause)} GROUP BY segment""",
        clause.parameters,
    )
    return {segment: People(n, too_young) for segment, n, too_young in found.rows}


def _reading(metric: Metric, query: Query, basis: Basis) -> Written:
    wait = basis.wait
    if wait is None or not basis.is_matured:
        return as_it_stands(metric, query)
    return when_old(metric, query, wait, basis.waits.recorded)


# what is compared


class Found(NamedTuple):
    """A segment in one currency: what contacts add to it, its value and interval."""

    sums: Clustered
    value: float | None
    interval: Interval | None

    @property
    def is_enough(self) -> bool:
        """Whether it may be compared: 30 contacts, and a denominator of 30."""
        return self.value is not None and min(self.sums.clusters, self.sums.n) >= ENOUGH


class Result(NamedTuple):
    """Segments in one currency, and all pairs of them with what is said of a pair."""

    found: Mapping[str, Found]
    pairs: Sequence[Pair]
    compare: Callable[[Pair], Comparison | None]
    tendency: Callable[[Pair], tuple[bool, float] | None] = lambda _: None


def _results(store: Store, query: Query, metric: Metric, basis: Basis) -> dict[str, Result]:
    """By currency ('' where there is none)."""
    kind = kind_of(metric)
    if kind == "total":
        return {}
    if kind == "median":
        when = since(cutoff_of(query, basis.wait)) if basis.wait and basis.is_matured else always
        return {"": _of_medians(read_medians(store, query, metric, when), is_multiple=query.by in MULTIPLE)}
    reading = _reading(metric, query, basis)
    if query.by in MULTIPLE:
        found = read_complements(store, query, reading)
        return {money: _of_complements(kind, values) for money, values in found.items()}
    return {money: _of_cells(kind, cells) for money, cells in read(store, query, reading).items()}


def _found(kind: str, sums: Clustered) -> Found:
    if not sums.n:
        return Found(sums, None, None)
    # A share that exceeds 1 is a ratio: its numerator is no part of its denominator.
    is_share = kind == "share"
    return Found(sums, sums.ratio, None if is_share and sums.total > sums.n else interval_of(sums, share=is_share))


def found_of(metric: Metric, sums: Clustered) -> Found:
    """The value and interval of a share or mean."""
    return _found(kind_of(metric), sums)


def compare(metric: Metric, found: Pair) -> Comparison | None:
    """Two groups by a metric that is a share or mean."""
    return difference_of(found, share=kind_of(metric) == "share")


def _of_cells(kind: str, cells: Cells) -> Result:
    found = {name: _found(kind, sums) for name, sums in cells.sums.items()}
    names = [name for name, one in found.items() if one.is_enough and name != REST]
    return Result(found, list(cells.pairs(names)), partial(difference_of, share=kind == "share"))


def _of_complements(kind: str, values: Mapping[str, Complement]) -> Result:
    found = {name: _found(kind, one.has) for name, one in values.items()}
    pairs = [
        pair(name, f"not {name}", one.has, one.has_not, one.shared)
        for name, one in values.items()
        if found[name].is_enough and _found(kind, one.has_not).is_enough and name != REST
    ]
    return Result(found, pairs, partial(difference_of, share=kind == "share"))


def _of_medians(medians: Medians, *, is_multiple: bool) -> Result:
    found = {
        name: Found(sums, medians.value(name), medians.interval(name)) for name, sums in medians.cells.sums.items()
    }
    names = [name for name, one in found.items() if one.is_enough and name != REST]
    pairs = [] if is_multiple else list(medians.cells.pairs(names))
    return Result(found, pairs, medians.compare, medians.tendency)


def _overlaps(store: Store, query: Query) -> set[frozenset[str]]:
    """Which named segments have a conversation in common."""
    clause = select.Clause(store.dialect)
    pairs = list(combinations(query.segments, 2))
    if not pairs:
        return set()
    both = (
        f"count(*) FILTER (WHERE {select.inside(a.where, query, clause)} AND {select.inside(b.where, query, clause)})"
        for a, b in pairs
    )
    rows = select.conversations(query, clause, started=False, named=False)
    counts = store.select(f"SELECT {', '.join(both)} FROM {rows}", clause.parameters).rows[0]
    return {frozenset((a.name, b.name)) for (a, b), n in zip(pairs, counts, strict=True) if n}


# the answer


def answer(store: Store, query: Query, metric: Metric, young: Young, units: str = "auto") -> dict[str, Any]:
    """The shape `segments` of the API."""
    basis = basis_of(store, query, metric, young)
    people = _people(store, query, metric, basis)
    is_young = any(one.too_young for one in people.values())
    basis = basis._replace(is_matured=basis.wait is not None and (units == "matured" or (units == "auto" and is_young)))
    overlaps = _overlaps(store, query) if query.segments else set()
    is_known = basis.waits.recorded >= set(metric.stages)
    results = _results(store, query, metric, basis) if is_known else {}
    results = {
        money: result._replace(pairs=[one for one in result.pairs if frozenset((one.a, one.b)) not in overlaps])
        for money, result in results.items()
    }
    rows = _rows(store, query, metric, basis, people, results)
    compared = _compared(metric, results)
    significant = [row for row in compared if row["q_value"] < SIGNIFICANT]
    tendencies = _tendencies(results)
    return {
        "period": query.period.to_dict(),
        "as_of": instant(query.now),
        "definition": _definition(query, metric, basis),
        "metric": metric.name,
        "segments": rows,
        "best_performing": best(metric, results[""].found) if set(results) == {""} else None,
        "significant_differences": _with_mix(store, query, metric, basis, significant),
        "tested": len(compared),
        "overlapping": sorted(sorted(both) for both in overlaps),
        "tendencies": [row for row in tendencies if row["q_value"] < SIGNIFICANT],
        "notes": _notes(query, metric, basis, rows, overlaps),
    }


def _definition(query: Query, metric: Metric, basis: Basis) -> dict[str, Any]:
    wait = basis.wait
    return {
        "metric": metric.name, "unit": metric.unit, "clock": metric.clock, "good": metric.good,
        "description": metric.description, "by": query.by,
        "named": {one.name: _written(one.where) for one in query.segments},
        "units": "matured" if basis.is_matured else "all",
        "maturity_days": wait.days if wait else None, "maturity_source": wait.source if wait else None,
        "kind": kind_of(metric),
    }  # fmt: skip


def _written(wheres: Sequence[Where]) -> list[str]:
    return [f"{where.dimension}={value}" for where in wheres for value in where.values]


def _rows(
    store: Store, query: Query, metric: Metric, basis: Basis, people: Mapping[str, People],
    results: Mapping[str, Result],
) -> list[dict[str, Any]]:  # fmt: skip
    """A row for each segment and currency, the largest value first; those without one last."""
    naive = metrics.measure(store, query, [metric])[metric.name]
    wholes = _wholes(store, query, metric) if kind_of(metric) == "total" else {}
    rows = [
        _row(
            query, metric, basis, people.get(cell.segment, People()),
            metrics.describe(metric, cell, sums, basis.waits.recorded),
            results[money].found.get(cell.segment) if (money := cell.currency or "") in results else None,
            wholes.get(money),
        )
        for cell, sums in naive.items()
    ]  # fmt: skip
    named = {row["segment"] for row in rows}
    rows += [_empty(query, metric, one.name) for one in query.segments if one.name not in named]
    place = metrics.currencies(naive)
    return sorted(
        rows,
        key=lambda r: (r["value"] is None, place.get(r.get("currency") or "", 0), -(r["value"] or 0), r["segment"]),
    )


def _row(
    query: Query, metric: Metric, basis: Basis, people: People, naive: Mapping[str, Any], found: Found | None,
    whole: float | None,
) -> dict[str, Any]:  # fmt: skip
    """One segment. Its value is that of the metric, but for conversations too young to be judged."""
    shown = ("segment", "value", "numerator", "denominator", "unit")
    row = {name: naive[name] for name in shown} | {name: naive[name] for name in _BESIDE if name in naive}
    size = naive["n"] if "n" in naive else naive["denominator"]
    row |= {"confidence": found.interval if found else None, "so_far": None}
    if basis.is_matured:
        so_far = {name: naive[name] for name in ("value", "numerator", "denominator", "interval")}
        size = found.sums.n if found else 0.0
        row |= {"value": found.value if found else None, "so_far": so_far}
        if metric.quantile is None:
            row |= {"numerator": found.sums.total if found else 0.0, "denominator": size}
    return row | {
        "sample_size": None if size is None else int(size),
        "clusters": found.sums.clusters if found else None if size is None else 0,
        "enough": found is not None and found.is_enough,
        "conversations": people.conversations,
        "too_young": people.too_young,
        "share_of_total": row["value"] / whole if whole and row["value"] is not None else None,
        "where": where_of(query, row["segment"]),
    }


_BESIDE = ("currency", "amount", "n", "p50", "p90", "p99", "unknown", "labelled_share")


def _empty(query: Query, metric: Metric, name: str) -> dict[str, Any]:
    """A named segment in which there is nothing."""
    is_total = kind_of(metric) == "total"
    return {
        "segment": name, "value": 0.0 if is_total else None, "numerator": 0.0, "denominator": None if is_total else 0.0,
        "unit": metric.unit, "confidence": None, "so_far": None, "sample_size": None if is_total else 0,
        "clusters": None if is_total else 0, "enough": False, "conversations": 0, "too_young": 0,
        "share_of_total": None, "where": where_of(query, name),
    }  # fmt: skip


def _wholes(store: Store, query: Query, metric: Metric) -> dict[str, float]:
    """The value of all segments together by currency."""
    found = metrics.measure(store, replace(query, by=None, segments=()), [metric])[metric.name]
    return {cell.currency or "": metrics.value_of(metric, sums) or 0.0 for cell, sums in found.items()}


def where_of(query: Query, segment: str) -> list[str] | None:
    """The conditions `where` that a list of the segment's conversations has; None where conditions cannot say it."""
    own = next((one.where for one in query.segments if one.name == segment), None)
    if own is None:
        if segment == REST or query.by is None:
            return None
        own = (Where(query.by, (segment,)),)
    given = {where.dimension: where.values for where in query.where}
    for dimension, values in own:
        both = tuple(value for value in values if value in given.get(dimension, values))
        if dimension in MULTIPLE and dimension in given and set(given[dimension]) != set(values):
            return None
        given[dimension] = both
    return _written([Where(*one) for one in given.items()]) if all(given.values()) else None


def _compared(metric: Metric, results: Mapping[str, Result]) -> list[dict[str, Any]]:
    """All pairs as one family, each with its q-value, the smallest first; the higher value stands first."""
    found = [
        (money, one, compared)
        for money, result in results.items()
        for one in result.pairs
        if (compared := result.compare(one)) is not None and compared.p_value is not None
    ]
    q = q_values([compared.p_value or 0.0 for _, _, compared in found])
    rows = [
        compared_row(one.a, one.b, compared, metric.good)
        | {"q_value": q_value}
        | ({"currency": money} if money else {})
        for (money, one, compared), q_value in zip(found, q, strict=True)
    ]
    return sorted(rows, key=lambda row: (row["q_value"], -abs(row["difference"]), row["a"], row["b"]))


def _with_mix(
    store: Store, query: Query, metric: Metric, basis: Basis, rows: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Significant differences, each with the dimension by whose mix alone it may be; of shares by one dimension."""
    if kind_of(metric) != "share" or query.by is None or query.by in MULTIPLE or not rows:
        return [row | {"mix": None} for row in rows]
    names = dict.fromkeys(row[side] for row in rows for side in "ab")
    found = mix.tables(store, query, _reading(metric, query, basis), names)
    return [row | {"mix": one} for row, one in zip(rows, mix.explained(found, rows), strict=True)]


def compared_row(a: str, b: str, compared: Comparison, good: str) -> dict[str, Any]:
    """A comparison with the higher value first, and which is the better one."""
    difference, interval = compared.difference, compared.interval
    if difference < 0:
        a, b, difference = b, a, -difference
        interval = interval and (-interval[1], -interval[0])
    better = {"up": a, "down": b}.get(good)
    return {
        "a": a, "b": b, "difference": difference, "interval": interval, "p_value": compared.p_value,
        "test": compared.test, "better": better,
    }  # fmt: skip


def _tendencies(results: Mapping[str, Result]) -> list[dict[str, Any]]:
    """Which of two segments tends to have larger values: a family of its own, and nothing about the medians."""
    found = [
        (one, *said)
        for result in results.values()
        for one in result.pairs
        if (said := result.tendency(one)) is not None
    ]
    q = q_values([p for _, _, p in found])
    rows = [
        {"a": one.a if first else one.b, "b": one.b if first else one.a, "p_value": p, "q_value": q_value}
        for (one, first, p), q_value in zip(found, q, strict=True)
    ]
    return sorted(rows, key=lambda row: (row["q_value"], row["a"], row["b"]))


def best(metric: Metric, found: Mapping[str, Found]) -> str | None:
    """Whose bound on the bad side is the best, among those with 30 or more; None where no direction is good.

    None, too, where hardly any has it, or has it not: the bound of one in 101 is above that of none in 100.
    """
    able = {name: one.interval for name, one in found.items() if one.is_enough and one.interval and name != REST}
    if not able or not metric.good:
        return None
    if kind_of(metric) == "share":
        hits = sum(found[name].sums.total for name in able)
        misses = sum(found[name].sums.n for name in able) - hits
        if min(hits, misses) < FEW:
            return None
    if metric.good == "up":
        return max(able, key=lambda name: (able[name][0], name))
    return min(able, key=lambda name: (able[name][1], name))


def _notes(
    query: Query, metric: Metric, basis: Basis, rows: Sequence[Mapping[str, Any]], overlaps: set[frozenset[str]]
) -> list[str]:
    """What is to be known of this answer, in words."""
    kind, young = kind_of(metric), sum(row["too_young"] for row in rows)
    how_many = "some" if query.overlapping else f"{young:,}"
    number = f"{basis.wait.days:.1f}".removesuffix(".0") if basis.wait else ""
    days = f"{number} day{'' if number == '1' else 's'}"
    said = {
        "A total has no interval and no test: shown with its share of all.": kind == "total",
        f"Only conversations count that entered {days} ago or earlier, and what they did within as long; "
        f"{how_many} are too young to be judged.": basis.is_matured and bool(metric.stages),
        f"Only conversations count that began {days} ago or earlier; {how_many} are too young for that.":
            basis.is_matured and not metric.stages,
        f"{how_many.capitalize()} conversations are younger than {days} and may still count: segments of "
        "different age are not compared fairly.": bool(young) and not basis.is_matured,
        "Contacts come back: every interval and test that meets one of them is over contacts, not conversations.":
            any((row["clusters"] or 0) < (row["sample_size"] or 0) for row in rows),
        f"The rarer values stand together as {REST}, which is compared with nothing.":
            any(row["segment"] == REST for row in rows),
        "A conversation can have several values: each is compared with all that have it not.":
            query.by in MULTIPLE and kind != "median",
        "A conversation can have several values, of which medians are not compared.":
            query.by in MULTIPLE and kind == "median",
        "Segments that have conversations in common are not compared with one another.": bool(overlaps),
    }  # fmt: skip
    return [text for text, holds in said.items() if holds]
