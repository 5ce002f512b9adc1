"""How metrics changed since the period before: at one age, over one span of time, as one family.

A share or mean is compared as `explain` does it. Conversations are followed for as long as the metric needs to mature,
but no longer than half of the period allows, so that deep stages say something before everybody is old enough. Counts
are compared over spans of one length; what is not over yet, with as much of the period before. Money and medians are
shown without a test.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple

from dropoff.analyse import metrics, select, volumes
from dropoff.analyse.answers import instant
from dropoff.analyse.contacts import Pair
from dropoff.analyse.metrics import Cell
from dropoff.analyse.segments import explain
from dropoff.analyse.segments.pairs import Counted, read_pairs
from dropoff.analyse.segments.readings import Aged, can_be_cut, share_within, within
from dropoff.analyse.segments.segments import compare, kind_of
from dropoff.analyse.stats import Comparison, family
from dropoff.analyse.young import Waits, at_minute
from dropoff.metrics import Contacts, Metric
from dropoff.periods import MICROSECOND, Period
from dropoff.query import Query
from dropoff.store.base import Store

MINUTE = 60_000_000


class Spans(NamedTuple):
    """A period up to now, as much of the one before, and that whole."""

    now: Period
    so_far: Period
    before: Period


def spans(query: Query) -> Spans:
    """The spans of a query."""
    period, before = query.period, metrics.period_before(query.period)
    if period.end <= query.now:
        return Spans(period, before, before)
    end = max(query.now, period.start)
    return Spans(replace(period, end=end), replace(before, end=before.start + (end - period.start)), before)


def followed(query: Query, wait: int) -> int:
    """How long conversations are followed, in microseconds: at least as long as all can be, and a minute.

    Otherwise as long as they mature, but at most so long that half of the period's days have had that time.
    """
    now = at_minute(query).now
    newest = max(min(query.period.end, now), query.period.start)
    had = max((now - newest) // MICROSECOND, 0)
    most = had + (newest - query.period.start) // MICROSECOND // 2
    return max(had, min(wait, most), MINUTE) // MINUTE * MINUTE


@dataclass(frozen=True, slots=True)
class Change:
    """A metric now and before, and what is said of the difference. `until`: what began later is left out.

    `contacts`: how many are in either period, of a rate.
    """

    now: float | None
    before: float | None
    n_now: float | None
    n_before: float | None
    compared: Comparison | None
    follow: int | None = None
    until: datetime | None = None
    contacts: int | None = None

    def to_dict(self, q_value: float | None) -> dict[str, Any]:
        """As answers have it."""
        found = self.compared
        return {
            "now": self.now, "before": self.before, "n_now": self.n_now, "n_before": self.n_before,
            "difference": found and found.difference, "interval": found and found.interval,
            "p_value": found and found.p_value, "q_value": q_value, "test": found.test if found else None,
            "contacts": self.contacts, "follow_days": None if self.follow is None else self.follow / (1440 * MINUTE),
            "until": instant(self.until),
        }  # fmt: skip


def question(query: Query, metric: Metric, waits: Waits) -> explain.Question:
    """What is asked of the two periods of a share or mean."""
    before, wait = spans(query).before, metrics.wait_of(metric, waits)
    if not metric.matures or wait is None:
        return explain.Question(query, before, metric, None)
    now = at_minute(query).now
    if not can_be_cut(metric):
        return explain.Question(query, before, metric, Aged(now - wait.micros * MICROSECOND, None))
    follow = followed(query, wait.micros)
    return explain.Question(query, before, metric, Aged(now - follow * MICROSECOND, follow))


def changes(
    store: Store, query: Query, shown: Sequence[Metric], rows: Mapping[tuple[str, str], Mapping],
    previous: Mapping[tuple[str, str], Mapping], waits: Waits,
) -> dict[tuple[str, str], dict[str, Any]]:  # fmt: skip
    """By metric and currency. `rows` and `previous`: the values of both spans, as `metrics` has them."""
    found = _of_rates(store, query, [m for m in shown if _is_rate(m) and waits.recorded >= set(m.stages)], waits)
    found |= _of_counts(store, query, [m for m in shown if m.unit == "count"], rows, previous, waits)
    for (name, currency), row in rows.items():
        if (name, currency) not in found and (before := previous.get((name, currency))) is not None:
            found[name, currency] = _untested(row, before)
    q = family([one.compared and one.compared.p_value for one in found.values()])
    return {key: one.to_dict(q_value) for (key, one), q_value in zip(found.items(), q, strict=True)}


def _is_rate(metric: Metric) -> bool:
    return kind_of(metric) in ("share", "mean") and not metric.by_currency


def _untested(row: Mapping, before: Mapping) -> Change:
    (now, n_now), (then, n_then) = ((one["value"], one.get("n", one["denominator"])) for one in (row, before))
    compared = None if now is None or then is None else Comparison(now - then, None, None, "none")
    return Change(now, then, n_now, n_then, compared)


# shares and means


def _of_rates(store: Store, query: Query, shown: Sequence[Metric], waits: Waits) -> dict[tuple[str, str], Change]:
    asked = {metric.name: question(query, metric, waits) for metric in shown}
    cut = {name: one for name, one in asked.items() if one.aged is not None and one.aged.follow is not None}
    before = spans(query).before
    whole = replace(query, by=None, segments=())
    pairs = read_pairs(store, whole, {n: counted(q) for n, q in cut.items()}, query.period, before) if cut else {}
    pairs |= {name: explain.pair_of(store, one) for name, one in asked.items() if name not in cut}
    return {(name, ""): _rate(one, pairs[name]) for name, one in asked.items()}


def counted(asked: explain.Question) -> Counted:
    """A share as conditions on conversations."""
    aged = asked.aged
    assert aged is not None  # noqa: S101
    assert aged.follow is not None  # noqa: S101
    x, n = share_within(asked.metric, aged.follow)
    return lambda clause: (x, f"{n} AND moment <= {clause.add(select.naive(aged.cutoff))}")


def _rate(asked: explain.Question, both: Pair) -> Change:
    now, before = (explain.side(asked.metric, one) for one in (both.of_a, both.of_b))
    compared = compare(asked.metric, both) if now["enough"] and before["enough"] else None
    aged, newest = asked.aged, min(asked.query.period.end, asked.query.now)
    return Change(
        now["value"], before["value"], now["denominator"], before["denominator"], compared, aged and aged.follow,
        aged.cutoff if aged is not None and aged.cutoff < newest else None, both.joint.clusters,
    )  # fmt: skip


# counts


Totals = Mapping[tuple[str, str], Mapping]


def _of_counts(
    store: Store, query: Query, shown: Sequence[Metric], rows: Totals, previous: Totals, waits: Waits
) -> dict[tuple[str, str], Change]:
    plain = [metric for metric in shown if not metric.matures]
    both = spans(query)
    days = _days(store, query, plain, both.now, both.so_far) if plain else {}
    found = {
        (m.name, ""): _count(rows[m.name, ""]["value"], previous[m.name, ""]["value"], days[m.name]) for m in plain
    }
    return found | {(m.name, ""): _young_count(store, query, m, waits) for m in shown if m.matures}


def _count(now: float, before: float, days: Sequence[volumes.Day]) -> Change:
    return Change(now, before, None, None, volumes.compare(now, before, days))


def _young_count(store: Store, query: Query, metric: Metric, waits: Waits) -> Change:
    """A count of contacts that came to a stage: what began long enough ago, and came to it within as long."""
    wait = metrics.wait_of(metric, waits)
    follow = followed(query, wait.micros if wait else 0)
    until = min(at_minute(query).now - follow * MICROSECOND, query.period.end)
    # Who came to the stage so soon has come to it: this narrows what the metric counts.
    aged = replace(metric, numerator=Contacts(within(metric.matures, follow)))
    before = spans(query).before
    if until <= query.period.start:
        return Change(None, None, None, None, None, follow, until)
    ends = (until, before.start + (until - query.period.start))
    now, then = (replace(one, end=end) for one, end in zip((query.period, before), ends, strict=True))
    values = tuple(_total(store, replace(query, period=one), aged) for one in (now, then))
    compared = volumes.compare(values[0], values[1], _days(store, query, [aged], now, then)[metric.name])
    left = until if until < min(query.period.end, query.now) else None
    return Change(values[0], values[1], None, None, compared, follow, left)


def _total(store: Store, query: Query, metric: Metric) -> float:
    sums = metrics.measure(store, query, [metric])[metric.name]
    return float(sum(one.numerator or 0 for one in sums.values()))


def _days(
    store: Store, query: Query, shown: Sequence[Metric], now: Period, before: Period
) -> dict[str, list[volumes.Day]]:
    """The whole days of two spans. One statement: no day is of both, as only whole ones count."""
    whole = replace(query, period=Period(before.start, now.end, now.timezone))
    bucket = metrics.bucket_of(store.dialect, "day", now.timezone)
    counts = metrics.measure(store, whole, shown, bucket)
    cells: list[tuple[str, Any]] = []
    for name, span in (("now", now), ("before", before)):
        cells += [
            (name, key) for key, start, end in metrics.buckets(span, "day") if span.start <= start and end <= span.end
        ]
    return {
        metric.name: [
            volumes.Day(period, day.weekday(), float(sums.numerator or 0))
            for period, day in cells
            for sums in [counts[metric.name].get(Cell("", day, None), _NOTHING)]
        ]
        for metric in shown
    }


_NOTHING = metrics.Sums(None, None)
