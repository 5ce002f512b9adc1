"""How the bot is running: the funnel, what goes wrong and why, how fast it answers, and whether its data is whole.

One question for one page. Rates are those of the registry, each with its parts of the period, so that an hour or day
that stands out is seen (`unusual`); what was behind them is counted from the rows of `troubles`.
"""

from collections.abc import Mapping, Sequence, Set
from datetime import timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import polars as pl

from dropoff.analyse import health, metrics, select, troubles, unusual
from dropoff.analyse.answers import instant, share
from dropoff.analyse.funnels import funnel
from dropoff.analyse.metrics import Cell, Sums
from dropoff.analyse.stats import Share
from dropoff.analyse.young import Waits, Young, at_minute
from dropoff.metrics import METRICS, QUANTILES, Metric
from dropoff.query import Params, Query, one
from dropoff.store.base import Store

LISTED = 20
"""So many reasons, triggers, utterances, kinds and words are listed, the most frequent."""

EDGES = (
    0, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21_600, 43_200, 86_400, 259_200, 604_800,
)  # fmt: skip
"""Where the parts of the response times begin, in seconds: each about two to three times the one before."""

_HOURLY, _DAILY = timedelta(days=3), timedelta(days=180)

TEXT = (
    "Rates of the bot's turns and what was behind them by when they happened; escalations, opt-outs and the funnel of "
    "the conversations that started in the period."
)


class Part(NamedTuple):
    """A rate and what is behind it: the rows of `troubles`, and under which name each column is listed."""

    name: str
    metric: Metric
    lists: Mapping[str, str]


PARTS = (
    Part("escalations", METRICS["escalation_rate"], {"escalation": "reasons"}),
    Part("fallbacks", METRICS["fallback_rate"], {"trigger": "triggers", "utterance": "utterances"}),
    Part("errors", METRICS["error_rate"], {"error": "kinds"}),
    Part("opt_outs", METRICS["opt_out_rate"], {"keyword": "keywords", "opted_out_after": "after"}),
)
VALUES = {
    "escalation": "reason", "trigger": "trigger", "utterance": "utterance", "error": "kind", "keyword": "keyword",
    "opted_out_after": "intent",
}  # fmt: skip
"""Under which key the value of a listed column stands."""


def interval_of(params: Params, query: Query) -> str:
    """The parts into which the period is cut: as asked, else hours of up to three days, days of up to half a year."""
    if (asked := one(params, "interval")) is not None:
        return asked
    length = query.period.end - query.period.start
    return "hour" if length <= _HOURLY else "day" if length <= _DAILY else "week"


def answer(store: Store, query: Query, young: Young, interval: str) -> dict[str, Any]:
    """The whole page, but for what of its `health` is of the moment: `health.fresh`.

    Raises `InvalidInput` for an interval that does not exist, or gives too many parts.
    """
    cuts = metrics.cuts(query.period, interval)
    recorded = select.recorded_stages(store)
    rates = _rates(store, query, interval, cuts, young.waits(store, at_minute(query), recorded), recorded)
    rows = {
        **troubles.fallbacks_and_errors(store, query),
        "escalations": troubles.escalations(store, query),
        "opt_outs": troubles.opt_outs(store, query),
    }
    whole = funnel.answer(store, query, funnel.FUNNELS["sales"], 0.0, young)
    return {
        "period": query.period.to_dict(),
        "as_of": instant(query.now),
        "definition": {"text": TEXT, "interval": interval, "times": unusual.TIMES},
        "funnel": {name: whole[name] for name in ("stages", "rates", "numbers", "drop_offs")},
        **{part.name: _part(part, rates[part.name], rows[part.name], cuts) for part in PARTS},
        "response_times": response_times(store, query),
        "health": health.answer(store, query),
    }


class Rate(NamedTuple):
    """A rate over the whole period, and in its parts."""

    whole: dict[str, Any]
    points: list[dict[str, Any]]


def _rates(
    store: Store, query: Query, interval: str, cuts: Sequence[tuple], waits: Waits, recorded: Set[str]
) -> dict[str, Rate]:
    """All rates in one statement: what is summed over the parts is the whole."""
    asked = [part.metric for part in PARTS]
    found = metrics.measure(store, query, asked, metrics.bucket_of(store.dialect, interval, query.period.timezone))
    return {
        part.name: Rate(
            metrics.describe(part.metric, Cell(), _sum(found[part.metric.name].values()), recorded),
            [_point(part.metric, found[part.metric.name], cut, query, waits) for cut in cuts],
        )
        for part in PARTS
    }


_NOTHING = Sums(Decimal(0), Decimal(0))


def _sum(parts: Any) -> Sums:
    numerators, denominators = zip((0, 0), *((one.numerator or 0, one.denominator or 0) for one in parts), strict=True)
    return Sums(Decimal(sum(numerators)), Decimal(sum(denominators)))


def _point(
    metric: Metric, found: Mapping[Cell, Sums], cut: tuple[Any, Any, Any], query: Query, waits: Waits
) -> dict[str, Any]:
    key, start, end = cut
    row = metrics.describe(metric, Cell(), found.get(Cell("", key), _NOTHING))
    span = metrics.span_of(start, end, query, metrics.wait_of(metric, waits))
    return {**span, **{name: row[name] for name in ("value", "numerator", "denominator", "interval")}}


def _part(part: Part, rate: Rate, rows: pl.DataFrame, cuts: Sequence[tuple]) -> dict[str, Any]:
    return {
        "rate": rate.whole,
        "points": rate.points,
        "unusual": [_unusual(part, span, rate.points, rows, cuts) for span in _spans(rate)],
        **{name: listed(rows, column) for column, name in part.lists.items()},
    }


def listed(rows: pl.DataFrame, column: str) -> list[dict[str, Any]]:
    """How often each value of a column is there, of all that have one, and in how many conversations."""
    known = rows.drop_nulls(column)
    found = known.group_by(column).agg(pl.len().alias("n"), pl.col("id").n_unique().alias("conversations"))
    top = found.sort(["n", column], descending=[True, False]).head(LISTED)
    return [
        {VALUES[column]: value, "count": n, "share": share(n, known.height), "conversations": conversations}
        for value, n, conversations in top.rows()
    ]


def standing_out(store: Store, query: Query, young: Young) -> dict[str, Any]:
    """`unusual` of each part, without `leading`: one statement. The numbers are those of `answer`."""
    interval = interval_of({}, query)
    cuts, recorded = metrics.cuts(query.period, interval), select.recorded_stages(store)
    rates = _rates(store, query, interval, cuts, young.waits(store, at_minute(query), recorded), recorded)
    found = {name: {"unusual": [_spanned(span, rate.points) for span in _spans(rate)]} for name, rate in rates.items()}
    return {"period": query.period.to_dict(), "definition": {"interval": interval}, **found}


def _spans(rate: Rate) -> list[unusual.Span]:
    return unusual.spans([Share(int(point["numerator"]), int(point["denominator"])) for point in rate.points])


def _unusual(
    part: Part, span: unusual.Span, points: Sequence[Mapping], rows: pl.DataFrame, cuts: Sequence[tuple]
) -> dict[str, Any]:
    """A span that stands out, and of what there is the most more in it than otherwise."""
    start, end = (select.naive(one) for one in (cuts[span.first][1], cuts[span.last][2]))
    leading = _leading(rows, (pl.col("at") >= start) & (pl.col("at") < end), next(iter(part.lists)), span)
    return _spanned(span, points) | {"leading": leading}


def _spanned(span: unusual.Span, points: Sequence[Mapping]) -> dict[str, Any]:
    return {
        "from": points[span.first]["from"],
        "to": points[span.last]["to"],
        "rate": share(*span.own),
        "others": share(*span.others),
        "q_value": span.q_value,
    }


def _leading(rows: pl.DataFrame, inside: pl.Expr, column: str, span: unusual.Span) -> dict[str, Any] | None:
    counts = rows.group_by(column).agg(
        pl.len().alias("n"), inside.sum().alias("own"), pl.col("id").filter(inside).n_unique().alias("conversations")
    )
    excess = pl.col("own") - (pl.col("n") - pl.col("own")) * (span.own.n / span.others.n)
    top = counts.filter(pl.col("own") > 0).sort(excess, column, descending=[True, False]).head(1)
    for value, _, own, conversations in top.rows():
        whole = int(counts["own"].sum())
        return {VALUES[column]: value, "count": own, "share": share(own, whole), "conversations": conversations}
    return None


def response_times(store: Store, query: Query) -> dict[str, Any]:
    """How long the bot took to answer in the period: quantiles, and how many took how long."""
    clause = select.Clause(store.dialect)
    base = select.conversations(query, clause, started=False, named=False)
    ends = (*EDGES[1:], None)
    bins = [
        f"count(s) FILTER (WHERE s >= {low}" + (f" AND s < {high})" if high is not None else ")")
        for low, high in zip(EDGES, ends, strict=True)
    ]
    median, *counts = store.select(
        f"""WITH c AS {clause.sql.inline} {base}
            SELECT {clause.sql.quantiles("s", QUANTILES.values())}, {", ".join(bins)}
            FROM (SELECT response_seconds AS s FROM ({metrics.source_rows("messages", query, clause, "c.id AS of_id")})
                  WHERE sender = 'bot' AND response_seconds IS NOT NULL
                    AND moment >= {clause.add(select.naive(query.period.start))}
                    AND moment < {clause.add(select.naive(query.period.end))})""",
        clause.parameters,
    ).rows[0]
    p50, p90, p99 = median or (None, None, None)
    return {
        "median": p50,
        "p90": p90,
        "p99": p99,
        "n": sum(counts),
        "histogram": [{"from": low, "to": high, "count": n} for low, high, n in zip(EDGES, ends, counts, strict=True)],
    }
