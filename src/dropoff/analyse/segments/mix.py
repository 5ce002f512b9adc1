"""Whether a segment is better only by its mix: two segments compared within the values of another dimension.

A segment with more of the better prospects looks better, though no kind of them does better in it. So a pair that
differs is held against each other dimension that says who a conversation is with: what is left of the difference within
its values (Mantel–Haenszel), and what of it is mix (Kitagawa 1955, a segment in the place of a period).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from dropoff.analyse import select
from dropoff.analyse.contacts import CONTACT, Written
from dropoff.analyse.stats import ENOUGH, SIGNIFICANT, Share, kitagawa
from dropoff.analyse.stratified import mantel_haenszel
from dropoff.query import REST, TOP, Query
from dropoff.store.base import Store

DIMENSIONS = (
    "channel", "direction", "medium", "source", "industry", "company_size", "role", "country", "bot_version",
)  # fmt: skip
"""By whose mix segments may differ: with whom, over what and with which bot; nothing that came of a conversation."""
LEFT = 0.5
"""Less than this part of a difference has to be left within the values of another dimension, and be no more than
chance."""
COVERED = 0.5
"""At least this part of both segments has to stand in values that both have."""


class Table(NamedTuple):
    """Of each segment (rows) and value of another dimension (columns) what a share is made of: x of n."""

    segments: list[str]
    values: list[str]
    x: np.ndarray
    n: np.ndarray


def tables(store: Store, query: Query, reading: Written, segments: Iterable[str]) -> dict[str, Table]:
    """By each of `DIMENSIONS` that is not the query's own, nor held to one value, these segments by its values.

    One statement. A contact that comes back counts as another.
    """
    held = {where.dimension for where in query.where if len(where.values) == 1} | {query.by}
    others = [name for name in DIMENSIONS if name not in held]
    clause = select.Clause(store.dialect)
    base = select.conversations(
        query, clause, started=False, bounded=False, named=False, each=(query.by or "", *others)
    )
    asked, names = reading(clause), [f"d{i}" for i in range(len(others))]
    values = ", ".join(f"segment[{i}] AS {name}" for i, name in enumerate(("own", *names), 1))
    wanted = ", ".join(clause.add(name) for name in segments)
    found = store.frame(
        f"""WITH c AS {clause.sql.inline} (SELECT *, {CONTACT} AS cluster FROM {base})
            SELECT own, {", ".join(names)}, grouping({", ".join(names)}) AS absent,
              coalesce(CAST({asked.x} AS DOUBLE), 0) AS x, coalesce(CAST({asked.n} AS DOUBLE), 0) AS n
            FROM (SELECT *, {values} FROM ({asked.rows})
                  WHERE {select.in_period("moment", query.period, clause)} AND {asked.where})
            WHERE own IN ({wanted})
            GROUP BY GROUPING SETS ({", ".join(f"(own, {name})" for name in names)})""",
        clause.parameters,
    )
    return {
        dimension: _table(select.grouped_by(found, i, len(others)).select("own", value=f"d{i}", x="x", n="n"))
        for i, dimension in enumerate(others)
    }


def _table(rows: pl.DataFrame) -> Table:
    """Of more values than `TOP` the rarer ones are taken together."""
    top = rows.group_by("value").agg(pl.col("n").sum()).sort("n", "value", descending=[True, False]).head(TOP)
    value = pl.when(pl.col("value").is_in(top["value"].implode())).then("value").otherwise(pl.lit(REST))
    rows = rows.group_by("own", value.alias("value")).agg(pl.col("x", "n").sum())
    segments, values = (rows[name].unique().sort().to_list() for name in ("own", "value"))
    x, n = np.zeros((2, len(segments), len(values)))
    places = [segments.index(one) for one in rows["own"]], [values.index(one) for one in rows["value"]]
    x[places], n[places] = rows["x"].to_numpy(), rows["n"].to_numpy()
    return Table(segments, values, x, n)


def explained(found: Mapping[str, Table], pairs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any] | None]:
    """For each of these pairs, of which `a` has the higher share, the dimension within whose values hardly anything is
    left of the `difference`; None where none is. Of several it is that with the fewest values: most are compared in it.
    """
    made: list[dict[str, Any] | None] = [None] * len(pairs)
    for dimension, table in sorted(found.items(), key=lambda item: -len(item[1].values)):
        for place, left in _gone(table, pairs):
            made[place] = {"dimension": dimension, **left}
    return made


def _gone(table: Table, pairs: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The places of those pairs, with what is left of them within the values."""
    known = [place for place, one in enumerate(pairs) if {one["a"], one["b"]} <= set(table.segments)]
    if not known:
        return
    a, b = ([table.segments.index(pairs[place][side]) for place in known] for side in "ab")
    x, n, y, m = table.x[a], table.n[a], table.x[b], table.n[b]
    both = (n > 0) & (m > 0)
    covers = [(side * both).sum(1) >= np.maximum(ENOUGH, COVERED * side.sum(1)) for side in (n, m)]
    left = mantel_haenszel(x, n, y, m)
    is_little = (left.difference < LEFT * np.array([pairs[place]["difference"] for place in known])) & (
        left.p_value >= SIGNIFICANT
    )
    for i in np.flatnonzero(covers[0] & covers[1] & (is_little | (left.difference <= 0))).tolist():
        effects = kitagawa(*(_shares(table, row) for row in (a[i], b[i])))
        yield known[i], {
            "difference": float(left.difference[i]), "interval": (float(left.low[i]), float(left.high[i])),
            "p_value": float(left.p_value[i]), "mix_effect": sum(one.mix for one in effects.values()),
        }  # fmt: skip


def _shares(table: Table, row: int) -> dict[str, Share]:
    counts = zip(table.values, table.x[row].tolist(), table.n[row].tolist(), strict=True)
    return {value: Share(x, n) for value, x, n in counts if n}
