"""Which of the bot's messages do best and worst, compared with what else it says at the same place.

A message is the `variant` under which it was sent, else its text after the rules of `dropoff.project.wording` and the
slots of `wordings`; at position 1, where it has no variant, the variant of its conversation. Its *position* is the
how-manieth message of the bot it is in the conversation, `followed` has what came after it. Compared are messages of
one *place*: the same position and the same intent of the bot, since a farewell is not worse than a question for having
no reply. First messages are one place, whatever their intent: nothing has told their prospects apart yet.

What can still happen is no miss: of a rate only messages count that are as old as its maturity time M, and what
happened within M of them. M of a reply, and of what goes with it, is that of `responded`; of a booking and a conversion
it is that from the start of a conversation to there (SEMANTICS §4).
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import polars as pl

from dropoff.analyse import select, stats
from dropoff.analyse.answers import divide, instant
from dropoff.analyse.contacts import SUMS, interval_of, is_plain
from dropoff.analyse.maturity import Maturity
from dropoff.analyse.messages.followed import Sent, read
from dropoff.analyse.messages.wordings import messages as messages_of
from dropoff.analyse.shrink import Estimate, Shrunk, shrink, shrink_shares
from dropoff.analyse.stats import ENOUGH, NOBODY, SIGNIFICANT, Clustered, Comparison, Joint, Share, family
from dropoff.analyse.young import Step, Waits, Young, at_minute
from dropoff.errors import InvalidInput
from dropoff.periods import to_micros
from dropoff.project.wording import Rule
from dropoff.query import Params, Query, choice, one, whole_number
from dropoff.store.base import Store

FEW = 5
"""Where fewer have it, or have it not, at a place, nobody there is called the best or the worst."""
SCALE = 1_000_000
"""Scores are added up as whole numbers of so many parts: such sums do not depend on their order."""

LISTED = 5
"""So many are the best, and so many the worst."""
LIMIT = 100
MOST = 1000


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

_TEXT = (
    "What followed the bot's messages before its next one, and what their conversations came to. Messages count once "
    "they are old enough, and are compared with the others at the same place."
)


# what is asked for


WITHIN = ("intent", "position")
"""What messages of one place have in common: position and intent, or the position alone."""


class Asked(NamedTuple):
    """By which measure messages are ranked, at which position (None: any), within what, and how many are listed."""

    rank: Measure
    position: int | None
    within: str
    limit: int


def parse(params: Params) -> Asked:
    """`rank`, `position`, `within`, `limit`; raises `InvalidInput`."""
    rank, within = choice(params, "rank", MEASURES, "reply_rate"), choice(params, "within", WITHIN, WITHIN[0])
    return Asked(MEASURES[rank], _position(params), within, whole_number(params, "limit", LIMIT, 1, MOST))


def _position(params: Params) -> int | None:
    text = one(params, "position")
    if text is not None and not (text.isascii() and text.isdigit() and 0 < int(text) <= 1_000_000):
        raise InvalidInput("position", text, "1 or more")
    return None if text is None else int(text)


BEHIND = ("message", "position", "intent")
"""What the list of conversations takes."""


class Behind(NamedTuple):
    """Which conversations are meant: those in which the bot's message at a position is this one, with this intent."""

    message: str
    position: int
    intent: str | None


def parse_behind(params: Params) -> Behind | None:
    """The message whose conversations are meant; None where none is."""
    message, position, intent = one(params, "message"), _position(params), one(params, "intent")
    if message is None and position is None:  # an intent alone is looked for in every message
        return None
    if message is None or position is None:
        missing = "position" if message is not None else "message"
        raise InvalidInput(missing, None, "given: what is meant is a message at a position")
    return Behind(message, position, intent)


# what is added up


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
    found = messages_of(counted.select("text", "n"), rules).join(texts, on="text").select("code", "message")
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


# what is compared


class Judged(NamedTuple):
    """A message among those of its place: where it truly lies, and beside all the others there."""

    estimate: Estimate
    drawn_to: float
    mean: float
    against: Comparison | None

    @property
    def lead(self) -> float:
        """How far above the mean of its place it is thought to be."""
        return self.estimate.value - self.mean

    def bound(self, good: str) -> tuple[float, float]:
        """How far it is better at least, and worse at least, than the mean of its place; negative: maybe not."""
        low, high = self.estimate.interval
        return (low - self.mean, self.mean - high) if good == "up" else (self.mean - high, low - self.mean)


def is_enough(sums: Clustered) -> bool:
    """Whether a message may be compared: 30 of them, with 30 contacts."""
    return min(sums.clusters, sums.n) >= ENOUGH


def judge(found: Table, measure: Measure) -> dict[Row, Judged]:
    """The messages with enough behind them, at places that have two of them or more."""
    by_place: dict[Place, list[Row]] = {}
    for row, sums in found.sums.get(measure.name, {}).items():
        if is_enough(sums.old) and (measure.unit == "share" or sums.old.residuals > 0):
            by_place.setdefault(row.place, []).append(row)
    kept = {
        place: rows for place, rows in by_place.items()
        if len(rows) > 1 and (measure.unit == "score" or _varies(found.totals[place]))
    }  # fmt: skip
    against = _against_others(found, measure, {row for rows in kept.values() for row in rows})
    judged = {}
    for place, rows in kept.items():
        shrunk = _shrunk(measure, [found.sums[measure.name][row].old for row in rows])
        mean = found.totals[place].ratio
        for row, estimate in zip(rows, shrunk.estimates, strict=True):
            judged[row] = Judged(estimate, shrunk.mean, mean, against[row])
    return judged


def _varies(sums: Clustered) -> bool:
    """Whether more than a few have it, and more than a few have it not: one more would change who is best."""
    return min(sums.total, sums.n - sums.total) >= FEW


def _shrunk(measure: Measure, sums: Sequence[Clustered]) -> Shrunk:
    """Towards the place's own mean, shares at n / deff."""
    if measure.unit == "share":
        sizes = [one.n if is_plain(one) else one.effective for one in sums]
        return shrink_shares([(one.ratio * size, size) for one, size in zip(sums, sizes, strict=True)])
    return shrink([one.ratio for one in sums], [one.residuals * one.clusters / (one.clusters - 1) for one in sums])


def _against_others(found: Table, measure: Measure, wanted: Set[Row]) -> dict[Row, Comparison | None]:
    """Each message beside all others of its place; contacts that got both are in both."""
    both = _shared(found.repeated, measure.name)
    compared: dict[Row, Comparison | None] = {}
    for item, row in enumerate(found.rows):
        if row in wanted:
            a, total, part = found.sums[measure.name][row].old, found.totals[row.place], both.get(item, _NONE)
            # The others: all, but for those who got only this one, and for what the rest got of this one.
            parts = zip(total, a, part.own, part.all_of, part.others, strict=True)
            clusters, *sums = (t - (mine - own) - whole + other for t, mine, own, whole, other in parts)
            b = Clustered(int(clusters), *sums)
            joint = Joint(part.xx, part.xn, part.nx, part.nn, a.clusters + b.clusters - part.clusters)
            compared[row] = _compared(measure, a, b, joint) if is_enough(b) else None
    return compared


class _Both(NamedTuple):
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


_NONE = _Both(NOBODY, NOBODY, NOBODY, 0, 0, 0, 0, 0)


def _shared(repeated: pl.DataFrame, name: str) -> dict[int, _Both]:
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
        both[r["item"]] = _Both(own, all_of, others, *in_both)
    return both


def _compared(measure: Measure, a: Clustered, b: Clustered, joint: Joint) -> Comparison | None:
    is_share = measure.unit == "share"
    if not (is_plain(a) and is_plain(b) and joint.clusters == a.clusters + b.clusters) or not is_share:
        return stats.compare_clustered(a, b, joint, share=is_share)
    return stats.compare_shares(Share(int(a.total), int(a.n)), Share(int(b.total), int(b.n)))


# the answer


def answer(store: Store, query: Query, young: Young, rules: Sequence[Rule], asked: Asked) -> dict[str, Any]:
    """The shape `messages` of the API."""
    query = replace(query, by=None, segments=())
    waits = young.waits(store, query, select.recorded_stages(store))
    known, now = _waits(waits), to_micros(at_minute(query).now)
    if asked.rank.name not in known:
        raise InvalidInput("rank", asked.rank.name, f"one of {', '.join(known)}: the project records no more")
    sent = read(store, query)
    found = table(named(sent, rules, asked.within), known, asked.rank.name, now)
    judged = judge(found, asked.rank)
    q = q_values_of(judged)
    wanted = [row for row in found.sent if asked.position in (None, row.position)]
    ranked = sorted(wanted, key=lambda row: (-found.sent[row][0], *row.place, found.names[row.code]))
    best, worst = (_ranked(found, judged, asked, worst=worst) for worst in (False, True))
    first = _first(found, judged, wanted, asked)
    shown = {
        row: _row(found, sent, known, asked.rank, row, judged.get(row), q.get(row))
        for row in dict.fromkeys([*ranked[: asked.limit], *best, *worst, *first])
    }
    return {
        "period": query.period.to_dict(),
        "as_of": instant(query.now),
        "definition": _definition(asked, known, rules),
        "messages": [shown[row] for row in ranked[: asked.limit]],
        "best_performing": [shown[row] for row in best],
        "worst_performing": [shown[row] for row in worst],
        "first_messages": [shown[row] for row in first],
        "total": len(ranked),
        "tested": len(q),
    }


def _waits(waits: Waits) -> dict[str, Maturity]:
    """By measure how long a message is waited for; without those of stages that the project does not record."""
    return {
        one.name: waits.of(Step("started", one.stage))
        for one in MEASURES.values()
        if one.stage == "responded" or one.stage in waits.recorded
    }


def _definition(asked: Asked, waits: Mapping[str, Maturity], rules: Sequence[Rule]) -> dict[str, Any]:
    rank = asked.rank
    return {
        "text": _TEXT, "rank": rank.name, "unit": rank.unit, "good": rank.good, "position": asked.position,
        "within": asked.within,
        "maturity": {name: {"days": wait.days, "source": wait.source} for name, wait in waits.items()},
        "rules": [rule._asdict() for rule in rules],
    }  # fmt: skip


def q_values_of(judged: Mapping[Row, Judged]) -> dict[Row, float]:
    """All messages that are compared are one family."""
    q = family([one.against and one.against.p_value for one in judged.values()])
    return {row: q_value for row, q_value in zip(judged, q, strict=True) if q_value is not None}


def _ranked(found: Table, judged: Mapping[Row, Judged], asked: Asked, *, worst: bool) -> list[Row]:
    """Those whose bound on the bad side is the best, or the worst: how far from the mean of their place at least."""
    good = asked.rank.good
    able = [
        row for row, one in judged.items()
        if asked.position in (None, row.position) and one.lead != 0 and (one.lead > 0) is ((good == "up") is not worst)
    ]  # fmt: skip
    ordered = sorted(able, key=lambda row: (-judged[row].bound(good)[worst], *row.place, found.names[row.code]))
    return ordered[:LISTED]


def _first(found: Table, judged: Mapping[Row, Judged], rows: Sequence[Row], asked: Asked) -> list[Row]:
    """The variants of the first message, by their bound on the bad side; those with too few last."""
    first = [row for row in rows if row.position == 1 and row.code in found.variants]
    bounds = {row: judged[row].bound(asked.rank.good)[0] for row in first if row in judged}
    first.sort(key=lambda row: (row not in bounds, -bounds.get(row, 0.0), found.names[row.code]))
    return first[: asked.limit]


def _row(
    found: Table, sent: Sent, waits: Mapping[str, Maturity], rank: Measure, row: Row, judged: Judged | None,
    q_value: float | None,
) -> dict[str, Any]:  # fmt: skip
    name, (n, contacts), text = found.names[row.code], found.sent[row], found.examples.get(row)
    sums = found.sums[rank.name][row]
    verdict = None
    if judged and judged.against and q_value is not None and q_value < SIGNIFICANT:
        verdict = "better" if (judged.against.difference > 0) is (rank.good == "up") else "worse"
    return {
        "message": name, "variant": name if row.code in found.variants else None, "position": row.position,
        "intent": row.intent or None,
        "example": None if text is None else sent.texts[text], "n": n, "contacts": contacts,
        **{one: _number(MEASURES[one], found.sums[one][row], waits[one]) if one in waits else None for one in MEASURES},
        "enough": is_enough(sums.old),
        "shrunk": judged and {
            "value": judged.estimate.value, "interval": judged.estimate.interval, "weight": judged.estimate.weight,
            "drawn_to": judged.drawn_to,
        },
        "position_mean": found.totals[row.place].ratio if found.totals[row.place].n else None,
        "lead": judged and judged.lead,
        "difference": judged and judged.against and judged.against.difference,
        "interval": judged and judged.against and judged.against.interval,
        "p_value": judged and judged.against and judged.against.p_value,
        "q_value": q_value,
        "verdict": verdict,
    }  # fmt: skip


def _number(measure: Measure, sums: Sums, wait: Maturity) -> dict[str, Any]:
    """A NUMBER: so far, and `matured`: of those old enough, with its interval over contacts."""
    old, is_share = sums.old, measure.unit == "share"
    return {
        "value": divide(sums.x, sums.n), "numerator": sums.x, "denominator": sums.n,
        "interval": stats.wilson(sums.x, sums.n) if is_share else None,
        "matured": {
            "value": divide(old.total, old.n), "n": int(old.n), "clusters": old.clusters,
            "interval": interval_of(old, share=is_share) if old.n else None,
            "maturity_days": wait.days, "source": wait.source,
        },
        "projected": None,
    }  # fmt: skip


# the conversations behind a message


def units(store: Store, query: Query, rules: Sequence[Rule], behind: Behind) -> list[str]:
    """The ids of the conversations that are meant."""
    found = named(read(store, replace(query, by=None, segments=())), rules)
    if behind.message not in found.names:
        return []
    meant = (pl.col("position") == behind.position) & (pl.col("code") == found.names.index(behind.message))
    if behind.intent is not None:
        meant &= pl.col("intent") == behind.intent
    return found.rows.filter(meant)["id"].to_list()


def described(behind: Behind) -> str:
    """Which conversations `units` gives, in words."""
    return f"Conversations in which message {behind.position} of the bot is: {behind.message}"
