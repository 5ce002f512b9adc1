"""Sums over contacts: what numbers are made of, and what each contact adds to them.

A contact that comes back is not two independent ones. So the store adds up by contact and cell (a cell is a segment, or
a segment in one of two periods), and then over contacts. Those that are in several cells come by themselves, too, and
what two cells share is added up here.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import polars as pl

from dropoff.analyse import select, stats
from dropoff.analyse.stats import NOBODY, Clustered, Comparison, Interval, Joint, Moments, Share
from dropoff.periods import Period
from dropoff.query import REST, TOP, Query
from dropoff.store.base import Store

CONTACT = "coalesce('p' || contact_id, 'c' || id)"
"""Whom a conversation is with; without a contact it is one by itself."""

NOW, BEFORE = "n", "b"
"""What the names of cells begin with where there are two periods."""


class Reading(NamedTuple):
    """What is added up: `x` and `n`, a numerator and a denominator as SQL, over `rows` that satisfy `where`.

    The rows have `moment`, and of their conversation `segment` and `cluster`: its contact. `currency`: SQL, too.
    """

    rows: str
    x: str
    n: str
    where: str = "true"
    currency: str = ""


Written = Callable[[select.Clause], Reading]
"""Writes a reading for a statement, to which it adds its parameters."""


class Pair(NamedTuple):
    """Two groups, their sums, and what their contacts share."""

    a: str
    b: str
    of_a: Clustered
    of_b: Clustered
    joint: Joint


class Shared(NamedTuple):
    """Over the contacts in both of two cells: Σ x_a x_b, Σ x_a n_b, Σ n_a x_b, Σ n_a n_b, and how many they are."""

    xx: float = 0.0
    xn: float = 0.0
    nx: float = 0.0
    nn: float = 0.0
    clusters: int = 0


class Cells(NamedTuple):
    """The sums of each cell, and what any two share; of a cell with itself that is not there."""

    sums: Mapping[str, Clustered]
    shared: Mapping[tuple[str, str], Shared]

    def between(self, a: str, b: str) -> Shared:
        """What two cells share, or a cell with itself."""
        if a == b and a in self.sums:
            own = self.sums[a]
            return Shared(own.squares, own.cross, own.cross, own.sizes, own.clusters)
        return self.shared.get((a, b), Shared())

    def pairs(self, names: Sequence[str]) -> Iterator[Pair]:
        """All pairs of these cells."""
        for i, a in enumerate(names):
            for b in names[i + 1 :]:
                yield pair(a, b, self.sums[a], self.sums[b], self.between(a, b))


def pair(a: str, b: str, of_a: Clustered, of_b: Clustered, shared: Shared) -> Pair:
    """Two groups that share some contacts."""
    return Pair(a, b, of_a, of_b, Joint(*shared[:4], of_a.clusters + of_b.clusters - shared.clusters))


def is_plain(a: Clustered) -> bool:
    """Whether no contact repeats: each is one of the denominator, and nothing is counted beside it."""
    return a.sizes == a.n and a.cross == a.total


def are_independent(found: Pair) -> bool:
    """Whether no contact repeats in either group, and none is in both."""
    both = found.of_a.clusters + found.of_b.clusters - found.joint.clusters
    return is_plain(found.of_a) and is_plain(found.of_b) and not both


def interval_of(a: Clustered, *, share: bool) -> Interval | None:
    """Of a share or a mean: Wilson's or Student's, where contacts repeat that over contacts."""
    if not is_plain(a):
        return stats.clustered_interval(a, share)
    return stats.wilson(a.total, a.n) if share else stats.mean_interval(_moments(a))


def difference_of(found: Pair, *, share: bool) -> Comparison | None:
    """Two shares or two means, by the tests for independent ones where no contact repeats."""
    a, b = found.of_a, found.of_b
    if not are_independent(found):
        return stats.compare_clustered(a, b, found.joint, share)
    if share:
        return stats.compare_shares(Share(int(a.total), int(a.n)), Share(int(b.total), int(b.n)))
    return stats.welch(_moments(a), _moments(b))


def _moments(a: Clustered) -> Moments:
    return Moments(int(a.n), a.total, a.squares)


def read(store: Store, query: Query, reading: Written, *periods: Period) -> dict[str, Cells]:
    """By currency ('' where there is none) the cells of a query's segments.

    Of two periods, the present one first, each segment has two cells. Two statements.
    """
    asked = _Asked(query, reading, periods or (query.period,))
    sums, several = _sums(store, asked), _several(store, asked, asked)
    return {money: _cells(_of(sums, money), _of(several, money)) for money in _currencies(sums)}


def read_by(
    store: Store, query: Query, reading: Written, dimensions: Sequence[str], now: Period, before: Period
) -> dict[str, Cells]:
    """By dimension the cells of its values in two periods. One statement, of a reading without currencies.

    Of more values than `TOP` the rarer ones are taken together: those that fewer contacts have in both periods.
    """
    clause = select.Clause(store.dialect)
    text = _Asked(query, reading, (now, before)).written(clause, dimensions)
    found = store.frame(
        f"""{text.head} SELECT cluster, cell, segment, {text.adding} FROM {text.rows}
            GROUP BY cluster, cell, segment""",
        clause.parameters,
    ).filter((pl.col("x") != 0) | (pl.col("n") != 0))
    return {name: _of_values(found, place) for place, name in enumerate(dimensions)}


def _of_values(found: pl.DataFrame, place: int) -> Cells:
    """The cells of one of the dimensions whose values are listed."""
    rows = found.with_columns(value=pl.col("segment").list.get(place))
    counts = rows.group_by("value").agg(pl.len()).sort("len", "value", descending=[True, False])
    kept = counts["value"].head(TOP).to_list()
    value = pl.when(pl.col("value").is_in(kept)).then(pl.col("value")).otherwise(pl.lit(REST))
    added = rows.group_by("cluster", pl.concat_str("cell", value).alias("cell")).agg(pl.col("x", "n").sum())
    return _cells(added.group_by("cell").agg(*_added()), added.filter(pl.len().over("cluster") > 1))


class Complement(NamedTuple):
    """Those that have a value, and those that have it not."""

    has: Clustered
    has_not: Clustered
    shared: Shared


def read_complements(store: Store, query: Query, reading: Written) -> dict[str, dict[str, Complement]]:
    """By currency and value, where a conversation can have several values: those that have it, and all others."""
    asked = _Asked(query, reading, (query.period,))
    sums, several = _sums(store, asked), _several(store, asked, asked)
    whole = _Asked(replace(query, by=None), reading, (query.period,))
    totals = _several(store, whole, asked).select("currency", "cluster", tx="x", tn="n")
    totals = totals.join(several, on=["currency", "cluster"], how="semi")
    joined = several.join(totals, on=["currency", "cluster"]).with_columns(
        bx=pl.col("tx") - pl.col("x"), bn=pl.col("tn") - pl.col("n")
    )
    return {
        money: _complements(_of(sums, money), _of(joined, money), _of(totals, money)) for money in _currencies(sums)
    }


SUMS = ("clusters", "n", "x", "xx", "xn", "nn")
"""What the parts of `Clustered` are called in a frame."""

_NO_CELLS = pl.DataFrame(
    schema={"currency": pl.String, "cluster": pl.String, "cell": pl.String, "x": pl.Float64, "n": pl.Float64}
)


def head(query: Query, clause: select.Clause, each: Sequence[str] = ()) -> str:
    """The conversations of a query as the common table `c`, with `segment` (the values of `each`) and `cluster`."""
    base = select.conversations(query, clause, started=False, each=each)
    return f"WITH c AS {clause.sql.inline} (SELECT *, {CONTACT} AS cluster FROM {base})"


class _Text(NamedTuple):
    """A question as SQL: the common table of conversations, the rows with their cell, what they add up to."""

    head: str
    rows: str
    adding: str
    by_currency: bool


class _Asked(NamedTuple):
    """What is added up, over which conversations, in which periods."""

    query: Query
    reading: Written
    periods: Sequence[Period]

    def written(self, clause: select.Clause, each: Sequence[str] = ()) -> _Text:
        """As SQL, for the statement of this clause; with `each` a cell is of a period alone."""
        begin, reading = head(self.query, clause, each), self.reading(clause)
        spans = [select.in_period("moment", one, clause) for one in self.periods]
        side = f"CASE WHEN {spans[0]} THEN '{NOW}' ELSE '{BEFORE}' END"
        cell = "segment" if len(spans) == 1 else side if each else f"{side} || segment"
        money = f", coalesce({reading.currency}, '') AS money" if reading.currency else ""
        rows = f"""(SELECT *, {cell} AS cell{money}
          FROM ({reading.rows}) WHERE ({" OR ".join(spans)}) AND {reading.where})"""
        adding = f"""coalesce(CAST({reading.x} AS DOUBLE), 0) AS x, coalesce(CAST({reading.n} AS DOUBLE), 0) AS n"""
        return _Text(begin, rows, adding, bool(money))


def _sums(store: Store, asked: _Asked) -> pl.DataFrame:
    """The sums of each cell over its contacts."""
    clause = select.Clause(store.dialect)
    text = asked.written(clause)
    money, by = ("money", "money, ") if text.by_currency else ("''", "")
    found = store.frame(
        f"""{text.head} SELECT {money} AS currency, cell, count(*) AS clusters,
              sum(n) AS n, sum(x) AS x, sum(x * x) AS xx, sum(x * n) AS xn, sum(n * n) AS nn
            FROM (SELECT {by}cluster, cell, {text.adding} FROM {text.rows} GROUP BY {by}cluster, cell)
            WHERE x <> 0 OR n <> 0 GROUP BY {by}cell""",
        clause.parameters,
    )
    return found.with_columns(pl.col("clusters").cast(pl.Int64))


def _several(store: Store, asked: _Asked, of: _Asked) -> pl.DataFrame:
    """What each contact adds to each cell: of contacts that are in several cells, or that have several rows of `of`."""
    clause = select.Clause(store.dialect)
    text = asked.written(clause)
    # What those add goes along unread: a statement has to use all of its parameters.
    among = text if asked is of else of.written(clause)
    money, by = ("money", "money, ") if text.by_currency else ("''", "")
    found = store.frame(
        f"""{text.head} SELECT {money} AS currency, cluster, cell, {text.adding} FROM {text.rows}
            WHERE cluster IN (SELECT cluster FROM (
              {among.head} SELECT cluster, {among.adding} FROM {among.rows} GROUP BY cluster HAVING count(*) > 1))
            GROUP BY {by}cluster, cell""",
        clause.parameters,
    )
    if not found.height:
        return _NO_CELLS
    found = found.filter((pl.col("x") != 0) | (pl.col("n") != 0))
    return found if asked is not of else found.filter(pl.len().over("currency", "cluster") > 1)


def _currencies(sums: pl.DataFrame) -> list[str]:
    return sorted(sums["currency"].unique().to_list())


def _of(found: pl.DataFrame, currency: str) -> pl.DataFrame:
    return found.filter(pl.col("currency") == currency)


def _added(x: str = "x", n: str = "n", prefix: str = "") -> list[pl.Expr]:
    """Sums over contacts, in the order of `SUMS`."""
    one, other = pl.col(x), pl.col(n)
    there = ((one != 0) | (other != 0)).sum().cast(pl.Int64)
    found = (there, other.sum(), one.sum(), (one * one).sum(), (one * other).sum(), (other * other).sum())
    return [column.alias(prefix + name) for name, column in zip(SUMS, found, strict=True)]


def _clustered(row: Mapping[str, float], prefix: str = "") -> Clustered:
    clusters, *sums = (row[prefix + name] for name in SUMS)
    return Clustered(int(clusters), *sums)


def _total(*parts: Clustered) -> Clustered:
    return Clustered(*map(sum, zip(*parts, strict=True))) if parts else NOBODY


def _less(a: Clustered, b: Clustered) -> Clustered:
    clusters, *sums = (one - other for one, other in zip(a, b, strict=True))
    return Clustered(int(clusters), *sums)


def _cells(cells: pl.DataFrame, several: pl.DataFrame) -> Cells:
    """The sums of cells, and of the contacts that are in several what two of them share."""
    sums = {row["cell"]: _clustered(row) for row in cells.rows(named=True)}
    both = several.join(several, on="cluster", suffix="_b").filter(pl.col("cell") != pl.col("cell_b"))
    products = [(pl.col(a) * pl.col(f"{b}_b")).sum().alias(a + b) for a in "xn" for b in "xn"]
    found = both.group_by("cell", "cell_b").agg(*products, pl.len().cast(pl.Int64).alias("clusters"))
    return Cells(sums, {(a, b): Shared(*shared) for a, b, *shared in found.rows()})


def _complements(cells: pl.DataFrame, several: pl.DataFrame, totals: pl.DataFrame) -> dict[str, Complement]:
    """Of each value those that have it and those that have it not.

    A contact that is in one cell alone has its value in all, or in no conversation. Of the others `several` has what is
    with a value (x, n), in all (tx, tn) and hence without it (bx, bn), `totals` what is in all.
    """
    owns = {row["cell"]: _clustered(row) for row in cells.rows(named=True)}
    shared = [(pl.col(a) * pl.col(f"b{b}")).sum().alias(f"shared_{a}{b}") for a in "xn" for b in "xn"]
    in_both = ((pl.col("bx") != 0) | (pl.col("bn") != 0)).sum().cast(pl.Int64).alias("shared_clusters")
    rows = several.group_by("cell").agg(
        *_added(), *_added("tx", "tn", "all_"), *_added("bx", "bn", "rest_"), *shared, in_both
    )
    among = {row["cell"]: row for row in rows.rows(named=True)}
    single = {name: _less(own, _clustered(among[name])) if name in among else own for name, own in owns.items()}
    everything = _total(*single.values(), _clustered(totals.select(_added("tx", "tn")).row(0, named=True)))
    found = {}
    for name, own in owns.items():
        has_not, both = _less(everything, single[name]), Shared()
        if name in among:
            row = among[name]
            has_not = _total(_less(has_not, _clustered(row, "all_")), _clustered(row, "rest_"))
            both = Shared(*(row[f"shared_{key}"] for key in ("xx", "xn", "nx", "nn", "clusters")))
        found[name] = Complement(own, has_not, both)
    return found
