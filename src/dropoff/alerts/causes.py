"""Why a value is what it is: what it usually is, which segments moved most, and conversations to look at."""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import NamedTuple

import structlog

from dropoff.alerts import judge
from dropoff.alerts.judge import Judged, Sums
from dropoff.alerts.past import Window, earlier, sums_of
from dropoff.alerts.rules import FUNNEL, Rule
from dropoff.alerts.values import Reader
from dropoff.analyse import select
from dropoff.analyse.metrics import measure, source_rows
from dropoff.metrics import Metric, Total
from dropoff.periods import Period
from dropoff.query import Query, Where

log = structlog.get_logger()

EXAMPLES = 3
MOVED = 3
DIMENSIONS = ("channel", "bot_version", "direction", "source")
"""By which it is looked who moved."""
_FILTER = re.compile(r"count\(\*\) FILTER \(WHERE (.*)\)", re.DOTALL)


class Told(NamedTuple):
    """What a notice says beside the value."""

    usual: str | None = None
    moved: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()


class Causes:
    """Reads them when an alert fires; what cannot be read is left out, as the notice must not wait for it."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def of(self, rule: Rule, segment: str, judged: Judged, window: Window) -> Told:
        """What is told of a rule's segment whose window was judged so."""
        if rule.metric.startswith(FUNNEL):
            return Told()
        try:
            return self._told(rule, segment, judged, window)
        except Exception as error:
            log.warning("what a notice says beside its value cannot be read", rule=rule.name, error=repr(error))
            return Told()

    def _told(self, rule: Rule, segment: str, judged: Judged, window: Window) -> Told:
        metric = self._reader.registry[rule.metric]
        query = Query(Period(*window, self._reader.timezone), window.end, rule.where, test=self._reader.test)
        if rule.by is not None:
            query = replace(query, where=(*query.where, Where(rule.by, (segment,))))
        before = self._before(metric, query, rule)
        usually = judged.usual if judged.usual is not None else judge.usual([sums for sums in before if _whole(sums)])
        text = None if usually is None else f"{formatted(metric, usually)} at this time of the week"
        down = usually is not None and judged.value is not None and judged.value < usually
        down = rule.condition == "drops_below" or (rule.condition != "exceeds" and down)
        return Told(text, self._moved(metric, query, down=down), self._examples(metric, query, down=down))

    def _before(self, metric: Metric, query: Query, rule: Rule) -> list[Sums]:
        windows = self._reader.weeks_before(rule, query.period.end)[:4]
        return [self._sums(metric, replace(query, period=Period(*w, self._reader.timezone))).get("", _NOTHING)
                for w in windows]  # fmt: skip

    def _sums(self, metric: Metric, query: Query) -> dict[str, Sums]:
        found = measure(self._reader.store, query, [metric])[metric.name]
        return {cell.segment: sums_of(metric, sums) for cell, sums in found.items()}

    def _moved(self, metric: Metric, query: Query, *, down: bool) -> tuple[str, ...]:
        """The segments that moved the value most against a week before, to the side that the alert is about."""
        zone, period = self._reader.zone, query.period
        then = Period(earlier(period.start, 1, zone), earlier(period.end, 1, zone), period.timezone)
        moves: list[tuple[float, str]] = []
        for dimension in DIMENSIONS:
            if any(one.dimension == dimension for one in query.where):
                continue
            now = self._sums(metric, replace(query, by=dimension))
            before = self._sums(metric, replace(query, by=dimension, period=then))
            if len({*now, *before}) > 1:
                moves += _moves(metric, dimension, now, before, down=down)
        moves.sort(key=lambda move: (-move[0], move[1]))
        return tuple(text for _, text in moves[:MOVED])

    def _examples(self, metric: Metric, query: Query, *, down: bool) -> tuple[str, ...]:
        """Conversations of the window that have what the alert is about, the latest first."""
        chosen = which(metric, down=down)
        if chosen is None:
            return ()
        condition, order = chosen
        clause = select.Clause(self._reader.store.dialect)
        base = select.conversations(query, clause, started=False)
        name = "id" if metric.source == "conversations" else "conversation_id"
        rows = source_rows(metric.source, query, clause)
        start, end = clause.add(select.naive(query.period.start)), clause.add(select.naive(query.period.end))
        found = self._reader.store.select(
            f"""WITH c AS {clause.sql.inline} {base}
            SELECT {name} AS example, {order} AS place, max(moment) AS latest FROM ({rows})
            WHERE moment >= {start} AND moment < {end} AND ({condition})
            GROUP BY {name} ORDER BY place, latest DESC, example LIMIT {EXAMPLES}""",
            clause.parameters,
        )
        return tuple(row[0] for row in found.rows)


_NOTHING = Sums(0.0, 0.0)
_NONE = Sums(0.0, None)
_EQUAL = 1e-9


def which(metric: Metric, *, down: bool) -> tuple[str, str] | None:
    """Which rows of a metric's source an alert is about, and in which order: conditions in SQL. None: nobody knows.

    Of a share that is too low those that do not count, of one that is too high those that do; of a mean the lowest or
    the highest; of a count that is too high those that are counted.
    """
    if metric.quantile is not None:
        return f"({metric.quantile}) IS NOT NULL", f"{'min' if down else '-max'}({metric.quantile})"
    if isinstance(metric.numerator, Total):
        value, where = metric.numerator
        return f"({value}) IS NOT NULL AND ({where})", f"{'min' if down else '-max'}({value})"
    found = _FILTER.fullmatch(metric.numerator) if isinstance(metric.numerator, str) else None
    if found is None:
        return None
    if not down:
        return found[1], "0"
    if metric.denominator is None:
        return None  # what did not happen has no conversation
    of = _FILTER.fullmatch(metric.denominator) if isinstance(metric.denominator, str) else None
    return f"({of[1] if of else 'true'}) AND NOT coalesce(({found[1]}), false)", "0"


def formatted(metric: Metric, value: float) -> str:
    """A value in the metric's unit."""
    if metric.unit == "share":
        return f"{value:.1%}"
    if metric.unit == "seconds":
        return str(timedelta(seconds=round(value)))
    return f"{value:,.2f}".rstrip("0").rstrip(".")


def _whole(sums: Sums) -> bool:
    return sums.denominator is None or sums.denominator > 0


def _moves(
    metric: Metric, dimension: str, now: dict[str, Sums], before: dict[str, Sums], *, down: bool
) -> Sequence[tuple[float, str]]:
    """How much each segment moved the whole to the side that the alert is about.

    What stands on the other side of the whole explains nothing of it: a segment below it is no cause of a rise.
    """
    counts, side = metric.denominator is None and metric.quantile is None, -1 if down else 1
    whole, then, found = _all_of(now), _all_of(before), []
    for segment in sorted({*now, *before}):
        here, was = ((at.get(segment) or (_NONE if counts else _NOTHING)) for at in (now, before))
        size = _size(here, was, whole, then)
        if here.value is None or size is None or size * side <= 0:
            continue
        if not counts and (here.value - (whole.value or 0.0)) * side < -_EQUAL:
            continue
        since = "new against a week before" if was.value is None else f"a week before {formatted(metric, was.value)}"
        found.append((abs(size), f"{dimension}={segment}: {formatted(metric, here.value)}, {since}"))
    return found


def _size(here: Sums, was: Sums, whole: Sums, then: Sums) -> float | None:
    """What a segment adds to the change of the whole: its own change, by its part of what stands in the window.

    Of one of which there was nothing a week before all by which it is beyond what the whole was then.
    """
    if here.denominator is None:
        return here.numerator - was.numerator
    base = then.value if was.value is None else was.value
    if here.value is None or base is None or not whole.denominator:
        return None
    return (here.value - base) * here.denominator / whole.denominator


def _all_of(segments: dict[str, Sums]) -> Sums:
    """The whole that the segments are parts of."""
    numerator = sum(sums.numerator for sums in segments.values())
    return Sums(numerator, sum(sums.denominator or 0.0 for sums in segments.values()))
