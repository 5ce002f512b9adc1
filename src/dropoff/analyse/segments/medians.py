"""Medians of segments: their intervals and differences, also where contacts repeat."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from dropoff.analyse import select, stats
from dropoff.analyse.contacts import Cells, Pair, are_independent, head, is_plain, read
from dropoff.analyse.metrics import source_rows
from dropoff.analyse.segments.readings import FACTS, When, as_it_stands
from dropoff.analyse.stats import Clustered, Comparison, Interval
from dropoff.metrics import Metric
from dropoff.query import Query
from dropoff.store.base import Store

if TYPE_CHECKING:
    import numpy as np


class Woodruff(NamedTuple):
    """A median over contacts: its value, interval and standard error."""

    value: float
    interval: Interval
    error: float


class Medians(NamedTuple):
    """What is known of the median of each segment.

    `cells` has as x how many of n values lie up to it; `values` those of segments without repeated contacts, ascending.
    """

    cells: Cells
    values: Mapping[str, "np.ndarray"]
    repeated: Mapping[str, Woodruff]

    def value(self, name: str) -> float | None:
        """The median of a segment."""
        if name in self.values:
            middle = len(self.values[name]) // 2
            return float(self.values[name][middle] + self.values[name][-1 - middle]) / 2
        return self.repeated[name].value if name in self.repeated else None

    def interval(self, name: str) -> Interval | None:
        """Of order statistics where no contact repeats, else Woodruff's."""
        if is_plain(self.cells.sums[name]):
            return stats.median_interval(self.values[name])
        return self.repeated[name].interval if name in self.repeated else None

    def compare(self, pair: Pair) -> Comparison | None:
        """The difference of two medians: Price and Bonett's where no contact repeats, else over contacts."""
        if are_independent(pair):
            return stats.price_bonett(self.values[pair.a], self.values[pair.b])
        if not {pair.a, pair.b} <= set(self.repeated):
            return None
        return over_contacts(self.repeated[pair.a], self.repeated[pair.b], pair.joint.clusters - 1)

    def tendency(self, pair: Pair) -> tuple[bool, float] | None:
        """Whether the first tends to be larger, and the p-value that neither does; None where contacts repeat."""
        if not are_independent(pair):
            return None
        a, b = self.values[pair.a], self.values[pair.b]
        p = stats.mann_whitney(a, b)
        below = sum(float(b.searchsorted(a, side).sum()) for side in ("left", "right")) / 2
        return None if p is None else (below >= len(a) * len(b) / 2, p)


def read_medians(store: Store, query: Query, metric: Metric, when: When) -> Medians:
    """The medians of a query's segments: one statement, one for values of segments without repeated contacts, and one
    for quantiles of the others."""
    found = read(store, query, as_it_stands(metric, query, when))
    cells = found.get("", Cells({}, {}))
    plain = [name for name, one in cells.sums.items() if is_plain(one)]
    repeats = len(plain) < len(cells.sums) or any(shared.clusters for shared in cells.shared.values())
    values = _values(store, query, metric, when) if plain else {}
    return Medians(cells, values, _repeated(store, query, metric, when, cells.sums) if repeats else {})


def _statement(query: Query, metric: Metric, when: When, clause: select.Clause, columns: str) -> str:
    rows = source_rows(metric.source, query, clause, FACTS)
    return f"""{head(query, clause)} SELECT segment, {columns} FROM ({rows})
      WHERE {metric.quantile} IS NOT NULL AND {select.in_period("moment", query.period, clause)} AND {when(clause)}"""


def _values(store: Store, query: Query, metric: Metric, when: When) -> dict[str, "np.ndarray"]:
    clause = select.Clause(store.dialect)
    text = _statement(query, metric, when, clause, f"CAST({metric.quantile} AS DOUBLE) AS value")
    found = store.frame(text, clause.parameters).sort("segment", "value")
    parts = found.partition_by("segment", as_dict=True, maintain_order=True)
    return {str(name): part["value"].to_numpy() for (name,), part in parts.items()}


def _repeated(
    store: Store, query: Query, metric: Metric, when: When, sums: Mapping[str, Clustered]
) -> dict[str, Woodruff]:
    """Woodruff's interval: that of the share up to the median, 1/2, read off the values (Woodruff 1952)."""
    shares = {name: found for name, one in sums.items() if (found := _around_half(one)) is not None}
    levels = sorted({0.5, *(bound for share in shares.values() for bound in share)})
    clause = select.Clause(store.dialect)
    columns = clause.sql.quantiles(f"CAST({metric.quantile} AS DOUBLE)", levels) + " AS quantiles"
    text = f"{_statement(query, metric, when, clause, columns)} GROUP BY segment"
    found = {}
    for name, quantiles in store.select(text, clause.parameters).rows:
        if name in shares:
            at = dict(zip(levels, quantiles, strict=True))
            low, high = (at[bound] for bound in shares[name])
            found[name] = Woodruff(at[0.5], (low, high), (high - low) / (2 * stats.t_quantile(sums[name].clusters - 1)))
    return found


def _around_half(one: Clustered) -> Interval | None:
    """Between which shares of the values the median lies."""
    if one.clusters < 2:
        return None
    n = one.effective
    return stats.wilson(n / 2, n, stats.t_quantile(one.clusters - 1))


def over_contacts(a: Woodruff, b: Woodruff, df: int) -> Comparison:
    """The difference of two medians by their standard errors.

    What contacts in both have in common is left out: where they are alike in both the interval is too wide.
    """
    return stats.by_t(a.value - b.value, a.error**2 + b.error**2, df, "medians over contacts")
