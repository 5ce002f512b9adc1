"""Many shares of conversations in two periods at once: what contacts add to each, in one statement."""

from collections.abc import Callable, Mapping, Sequence

from dropoff.analyse import select
from dropoff.analyse.contacts import BEFORE, NOW, Pair, Shared, head, pair
from dropoff.analyse.stats import Clustered
from dropoff.periods import Period
from dropoff.query import Query
from dropoff.store.base import Store

Counted = Callable[[select.Clause], tuple[str, str]]
"""Writes a share of conversations: which of those that count have it, and which count."""

_SIDES = (NOW, BEFORE)
_OF_SIDE = (
    "count(*) FILTER (WHERE n{i}_{s} <> 0)", "sum(n{i}_{s})", "sum(x{i}_{s})", "sum(x{i}_{s} * x{i}_{s})",
    "sum(x{i}_{s} * n{i}_{s})", "sum(n{i}_{s} * n{i}_{s})",
)  # fmt: skip
_OF_BOTH = (
    *(f"sum({a}{{i}}_{NOW} * {b}{{i}}_{BEFORE})" for a in "xn" for b in "xn"),
    f"count(*) FILTER (WHERE n{{i}}_{NOW} <> 0 AND n{{i}}_{BEFORE} <> 0)",
)  # fmt: skip


def read_pairs(
    store: Store, query: Query, shares: Mapping[str, Counted], now: Period, before: Period
) -> dict[str, Pair]:
    """Shares of conversations in two periods, by name. One statement for all of them."""
    clause = select.Clause(store.dialect)
    begin = head(query, clause)
    spans = [f"(moment >= {clause.add(select.naive(p.start))} AND moment < {clause.add(select.naive(p.end))})"
             for p in (now, before)]  # fmt: skip
    flags, sums, totals = [], [], []
    for i, counted in enumerate(shares.values()):
        x, n = counted(clause)
        flags += [f"CASE WHEN {n} THEN 1 ELSE 0 END AS n{i}", f"CASE WHEN {n} AND {x} THEN 1 ELSE 0 END AS x{i}"]
        sums += [
            f"coalesce(sum({part}{i}) FILTER (WHERE {side}), 0) AS {part}{i}_{side}"
            for side in _SIDES for part in "xn"
        ]  # fmt: skip
        totals += [total.format(i=i, s=side) for side in _SIDES for total in _OF_SIDE]
        totals += [total.format(i=i) for total in _OF_BOTH]
    found = store.frame(
        f"""{begin} SELECT {", ".join(f"coalesce({total}, 0) AS t{i}" for i, total in enumerate(totals))} FROM (
              SELECT cluster, {", ".join(sums)} FROM (
                SELECT cluster, {spans[0]} AS {NOW}, {spans[1]} AS {BEFORE}, {", ".join(flags)}
                FROM (SELECT *, started_at AS moment FROM c) WHERE {" OR ".join(spans)})
              GROUP BY cluster)""",
        clause.parameters,
    ).row(0)
    width = len(totals) // len(shares)
    return {name: _pair_of(found[i * width : (i + 1) * width]) for i, name in enumerate(shares)}


def _pair_of(totals: Sequence[float]) -> Pair:
    now, before = (Clustered(int(part[0]), *map(float, part[1:])) for part in (totals[:6], totals[6:12]))
    return pair(NOW, BEFORE, now, before, Shared(*map(float, totals[12:16]), clusters=int(totals[16])))
