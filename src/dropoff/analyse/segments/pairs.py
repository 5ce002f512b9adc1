"""Many shares of conversations in two periods at once: what contacts add to each, in one statement."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from dropoff.analyse import select
from dropoff.analyse.contacts import BEFORE, NOW, Pair, Shared, head, pair
from dropoff.analyse.stats import Clustered
from dropoff.periods import Period
from dropoff.query import Query
from dropoff.store.base import Store

if TYPE_CHECKING:
    import numpy as np

Counted = Callable[[select.Clause], tuple[str, str]]
"""Writes a share of conversations: which of those that count have it, and which count."""

_SIDES = (NOW, BEFORE)


def read_pairs(
    store: Store, query: Query, shares: Mapping[str, Counted], now: Period, before: Period
) -> dict[str, Pair]:
    """Shares of conversations in two periods, by name. One statement for all of them."""
    clause = select.Clause(store.dialect)
    begin = head(query, clause)
    spans = [select.in_period("moment", one, clause) for one in (now, before)]
    flags, sums = [], []
    for i, counted in enumerate(shares.values()):
        x, n = counted(clause)
        flags += [f"CASE WHEN {n} AND {x} THEN 1 ELSE 0 END AS x{i}", f"CASE WHEN {n} THEN 1 ELSE 0 END AS n{i}"]
        sums += [f"coalesce(sum({part}{i}) FILTER (WHERE {side}), 0)" for side in _SIDES for part in "xn"]
    found = store.frame(
        f"""{begin} SELECT {", ".join(f"CAST({one} AS DOUBLE) AS s{i}" for i, one in enumerate(sums))} FROM (
              SELECT cluster, {spans[0]} AS {NOW}, {spans[1]} AS {BEFORE}, {", ".join(flags)}
              FROM (SELECT *, started_at AS moment FROM c) WHERE {" OR ".join(spans)})
            GROUP BY cluster""",
        clause.parameters,
    ).to_numpy()
    return {name: _pair(found[:, 4 * i : 4 * i + 4]) for i, name in enumerate(shares)}


def _pair(sums: "np.ndarray") -> Pair:
    """Of what each contact adds: hits and size now, hits and size before."""
    products, totals = sums.T @ sums, sums.sum(axis=0)
    there = sums[:, (1, 3)] != 0
    now, before = (
        Clustered(
            int(there[:, side].sum()), float(totals[n]), float(totals[x]), float(products[x, x]),
            float(products[x, n]), float(products[n, n]),
        )
        for side, (x, n) in enumerate(((0, 1), (2, 3)))
    )  # fmt: skip
    both = (float(products[a, b]) for a in (0, 1) for b in (2, 3))
    return pair(NOW, BEFORE, now, before, Shared(*both, clusters=int(there.all(axis=1).sum())))
