"""What is added up of the bot's messages: each measure of each message at a place, over contacts.

A message is the `variant` under which it was sent, else its text after the rules of `dropoff.project.wording` and the
slots of `wordings`; at position 1, where it has no variant, the variant of its conversation. Its *position* says
which message of the bot in the conversation it is, from 1; `followed` has what came after it.

What can still happen is no miss: of a rate only messages count that are as old as its maturity time M, and what
happened within M of them. M of a reply, and of what goes with it, is that of `responded`; of a booking and a conversion
it is that from the start of a conversation to there (SEMANTICS §4).
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import polars as pl

from dropoff.analyse.contacts import SUMS
from dropoff.analyse.maturity import Maturity
from dropoff.analyse.messages.followed import Sent
from dropoff.analyse.messages.wordings import messages
from dropoff.analyse.stats import NOBODY, Clustered
from dropoff.project.wording import Rule

SCALE = 1_000_000
"""Scores are added up as whole numbers of so many parts: such sums do not depend on their order."""

WITHIN = ("intent", "position")
"""What messages of one place have in common: position and intent, or the position alone."""


class Measure(NamedTuple):
    """What is asked of a message. `stage`: whose maturity time is waited for, from the start."""

    name: str
    good: Literal["up", "down"]
    stage: str
    unit: Literal["share", "score"] = "share"


MEASURES: Mapping[str, Measure] = {
    one.name: one
    for one in (
        Measure("reply_rate", "up", "responded"),
        Measure("objection_rate", "down", "responded"),
        Measure("opt_out_rate", "down", "responded"),
        Measure("sentiment_change", "up", "responded", "score"),
        Measure("booking_rate", "up", "booked"),
        Measure("conversion_rate", "up", "converted"),
    )
}


class Place(NamedTuple):
    """Where messages are compared; `intent` is empty where there is none, or where it does not matter."""

    position: int
    intent: str


class Row(NamedTuple):
    """A message at a place. `code`: that of its name in `Table.names`."""

    position: int
    intent: str
    code: int

    @property
    def place(self) -> Place:
        return Place(self.position, self.intent)


_PLACE = ["position", "intent"]
_ROW = [*_PLACE, "code"]


class Sums(NamedTuple):
    """A measure of a message: of all that were sent (x of n), and over contacts of those that are old enough."""

    x: float
    n: int
    old: Clustered


class Table(NamedTuple):
    """What is said of the messages: their names, which of them are variants, and each measure of each at a place.

    `sent`: how many and how many contacts; `examples`: the code of the text most often sent under it; `totals`: of all
    messages at a place. `repeated`: of contacts with several messages at one place what each adds to each of them, by
    `place`, `item` (its place in `rows`) and `cluster`: `x`, `n` of those old enough.
    """

    names: list[str]
    variants: set[int]
    rows: list[Row]
    sent: Mapping[Row, tuple[int, int]]
    examples: Mapping[Row, int]
    sums: Mapping[str, Mapping[Row, Sums]]
    totals: Mapping[Place, Clustered]
    repeated: pl.DataFrame


class Named(NamedTuple):
    """Messages by name: a `code` for each row of `Sent`, names by code, and the codes of variants."""

    rows: pl.DataFrame
    names: list[str]
    variants: set[int]


def named(sent: Sent, rules: Sequence[Rule], within: str = WITHIN[0]) -> Named:
    """What each of the bot's messages is called, and at which place it was sent."""
    alike = (pl.col("position") == 1) | pl.lit(within == "position")
    rows = sent.rows.with_columns(
        pl.when(alike).then(pl.lit("")).otherwise(pl.col("intent").fill_null("")).alias("intent")
    )
    counts = rows.filter(pl.col("variant").is_null()).group_by("text").len("n").drop_nulls("text")
    texts = pl.DataFrame({"text": sent.texts, "code": pl.Series(range(len(sent.texts)), dtype=pl.Int64)})
    counted = texts.join(counts.rename({"text": "code"}), on="code")
    found = messages(counted.select("text", "n"), rules).join(texts, on="text").select("code", "message")
    variants = rows["variant"].drop_nulls().unique()
    names = pl.concat([found["message"], variants]).unique().sort()
    codes = pl.DataFrame({"name": names, "item": pl.Series(range(len(names)), dtype=pl.Int64)})
    by_text = found.join(codes, left_on="message", right_on="name").select("code", pl.col("item").alias("of_text"))
    by_variant = codes.rename({"name": "variant", "item": "of_variant"})
    rows = (
        rows.join(by_text, left_on="text", right_on="code", how="left", maintain_order="left")
        .join(by_variant, on="variant", how="left", maintain_order="left")
        .with_columns(pl.coalesce("of_variant", "of_text").alias("code"))
        .filter(pl.col("code").is_not_null())  # neither a variant nor a text: nothing tells what it was
        .drop("of_variant", "of_text", "variant")
    )
    return Named(rows, names.to_list(), set(codes.filter(pl.col("name").is_in(variants.implode()))["item"]))


class Counted(NamedTuple):
    """A measure of each row: whether it counts (`n`) and what it adds (`x`), so far, and within M where old enough."""

    x: pl.Expr
    n: pl.Expr
    old_x: pl.Expr
    old_n: pl.Expr


def _counted(measure: Measure, wait: int, now: int) -> Counted:
    at, old = pl.col("at"), pl.col("at") <= now - wait
    one, no = at.is_not_null(), pl.lit(value=False)
    when = {
        "reply_rate": "replied_at", "objection_rate": "replied_at", "opt_out_rate": "opted_out_at",
        "sentiment_change": "replied_at", "booking_rate": "booked_at", "conversion_rate": "converted_at",
    }[measure.name]  # fmt: skip
    moment = pl.col(when)
    hit, soon = moment.is_not_null(), (moment - at <= wait).fill_null(no)
    if measure.name == "sentiment_change":
        known = pl.col("change").is_not_null()
        change = (pl.col("change").fill_null(0.0) * SCALE).round().cast(pl.Int64)
        return Counted(change, known, pl.when(old & soon).then(change).otherwise(0), known & old & soon)
    if measure.name == "objection_rate":
        hit = hit & pl.col("objected")
    able = (moment.is_null() | (moment > at)) if measure.name in ("booking_rate", "conversion_rate") else one
    return Counted(hit & able, able, hit & able & soon & old, able & old)


def table(found: Named, waits: Mapping[str, Maturity], rank: str, now: int) -> Table:
    """All measures that have a maturity time, of each message at each place. Instants are microseconds."""
    columns = {name: _counted(MEASURES[name], wait.micros, now) for name, wait in waits.items()}
    rows, items = _itemised(found.rows)
    keys = [Row(*one) for one in items.select(_ROW).rows()]
    so_far = rows.group_by("item").agg(
        pl.len().alias("sent"),
        *(one.x.sum().alias(f"{name}_x") for name, one in columns.items()),
        *(one.n.sum().alias(f"{name}_n") for name, one in columns.items()),
    )  # fmt: skip
    by_item, contacts = _over_contacts(rows, "item", columns)
    by_place, _ = _over_contacts(rows, "place", {rank: columns[rank]})
    examples = rows.group_by("item", "text").len().drop_nulls("text").sort("len", "text", descending=[True, False])
    first = examples.unique("item", keep="first", maintain_order=True)
    places = items.unique("place").select("place", *_PLACE).rows()
    of_all = {r["item"]: r for r in so_far.rows(named=True)}
    return Table(
        names=found.names,
        variants=found.variants,
        rows=keys,
        sent={row: (of_all[i]["sent"], contacts[i]) for i, row in enumerate(keys)},
        examples={keys[item]: text for item, text in first.select("item", "text").rows()},
        sums={
            name: {
                row: Sums(of_all[i][f"{name}_x"] / _scale(name), of_all[i][f"{name}_n"], by_item[name][i])
                for i, row in enumerate(keys)
            }
            for name in columns
        },
        totals={Place(position, intent): by_place[rank][place] for place, position, intent in places},
        repeated=_repeated(rows, columns[rank]),
    )


def _itemised(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows with `item` and `place` as small numbers, and what these are: `item`, `place` and the parts of `Row`."""
    intents = rows["intent"].unique().sort()
    size = pl.lit(rows["code"].max() or 0) + 1
    place = pl.col("position") * len(intents) + pl.col("intent").cast(pl.Enum(intents)).to_physical().cast(pl.Int64)
    rows = rows.with_columns((place * size + pl.col("code")).alias("packed"))
    known = rows["packed"].unique().sort()
    items = rows.group_by("packed").agg(pl.col(*_ROW).first()).sort("packed")
    items = items.with_columns(
        pl.int_range(pl.len(), dtype=pl.Int64).alias("item"),
        (pl.col("packed") // size).rank("dense").cast(pl.Int64).alias("place"),
    )
    item = known.search_sorted(rows["packed"]).cast(pl.Int64)
    rows = rows.drop("packed", "intent", "position", "code", "id").with_columns(item.alias("item"))
    return rows.with_columns(items["place"].gather(item).alias("place")), items


def _over_contacts(
    rows: pl.DataFrame, by: str, columns: Mapping[str, Counted]
) -> tuple[dict[str, dict[int, Clustered]], dict[int, int]]:
    """Each measure's sums over contacts, and how many contacts there are, by `item` or `place`."""
    again = _pairs(rows, by).is_duplicated()
    old = {name: (one.old_x.cast(pl.Int64), one.old_n.cast(pl.Int64)) for name, one in columns.items()}
    # Most contacts have one message here: what they add is not added up first.
    several = rows.filter(again).group_by(by, "cluster").agg(
        *(one.sum().alias(f"{name}_{part}") for name, both in old.items() for part, one in zip("xn", both, strict=True))
    )  # fmt: skip
    added = {name: (pl.col(f"{name}_x"), pl.col(f"{name}_n")) for name in columns}
    parts = [_summed(rows.filter(~again), by, old), _summed(several, by, added)]
    whole = pl.concat(parts).group_by(by).agg(pl.all().sum())
    records = {r[by]: r for r in whole.rows(named=True)}
    sums = {
        name: {key: _scaled(name, *(r[f"{name}_{part}"] for part in SUMS)) for key, r in records.items()}
        for name in columns
    }
    return sums, {key: r["contacts"] for key, r in records.items()}


def _scale(name: str) -> int:
    return SCALE if MEASURES[name].unit == "score" else 1


def _scaled(name: str, clusters: int, n: int, x: int, xx: int, xn: int, nn: int) -> Clustered:
    """Sums of whole numbers in the measure's own unit."""
    scale = _scale(name)
    return Clustered(clusters, float(n), x / scale, xx / scale**2, xn / scale, float(nn))


def _pairs(rows: pl.DataFrame, by: str) -> pl.Series:
    """A number for each contact at each item or place."""
    return rows[by] * ((rows["cluster"].max() or 0) + 1) + rows["cluster"]  # pyright: ignore[reportOperatorIssue] - a number


def _summed(rows: pl.DataFrame, by: str, columns: Mapping[str, tuple[pl.Expr, pl.Expr]]) -> pl.DataFrame:
    made = [
        one.alias(f"{name}_{part}")
        for name, (x, n) in columns.items()
        for part, one in zip(SUMS, _moments(x, n), strict=True)
    ]
    return rows.group_by(by).agg(pl.len().cast(pl.Int64).alias("contacts"), *made)


def _moments(x: pl.Expr, n: pl.Expr) -> tuple[pl.Expr, ...]:
    """In the order of `SUMS`."""
    there = (n != 0).sum().cast(pl.Int64)
    return there, n.sum(), x.sum(), (x * x).cast(pl.Int128).sum(), (x * n).sum(), (n * n).sum()


def _repeated(rows: pl.DataFrame, of: Counted) -> pl.DataFrame:
    found = rows.filter(_pairs(rows, "place").is_duplicated())
    return found.group_by("place", "item", "cluster").agg(
        of.old_x.cast(pl.Int64).sum().alias("x"), of.old_n.cast(pl.Int64).sum().alias("n")
    )


class Both(NamedTuple):
    """Of the contacts that got a message and others at its place: its sums, those of all they got there, and of the
    others; and what it and the others have in common, as in `Joint`."""

    own: Clustered
    all_of: Clustered
    others: Clustered
    xx: float
    xn: float
    nx: float
    nn: float
    clusters: int


NO_BOTH = Both(NOBODY, NOBODY, NOBODY, 0, 0, 0, 0, 0)


def shared(repeated: pl.DataFrame, name: str) -> dict[int, Both]:
    """By item."""
    total = pl.col("x", "n").sum().over("place", "cluster").name.prefix("t")
    whole = repeated.with_columns(total).with_columns(bx=pl.col("tx") - pl.col("x"), bn=pl.col("tn") - pl.col("n"))
    x, n, bx, bn = (pl.col(one) for one in ("x", "n", "bx", "bn"))
    pairs = {"own": (x, n), "all": (pl.col("tx"), pl.col("tn")), "others": (bx, bn)}
    found = whole.group_by("item").agg(
        *(one.alias(f"{part}{i}") for part, pair in pairs.items() for i, one in enumerate(_moments(*pair))),
        (x * bx).cast(pl.Int128).sum().alias("xx"), (x * bn).sum().alias("xn"), (n * bx).sum().alias("nx"),
        (n * bn).sum().alias("nn"), ((n != 0) & (bn != 0)).sum().cast(pl.Int64).alias("clusters"),
    )  # fmt: skip
    scale, both = _scale(name), {}
    for r in found.rows(named=True):
        own, all_of, others = (_scaled(name, *(r[f"{part}{i}"] for i in range(6))) for part in pairs)
        in_both = (r["xx"] / scale**2, r["xn"] / scale, r["nx"] / scale, r["nn"], r["clusters"])
        both[r["item"]] = Both(own, all_of, others, *in_both)
    return both
