"""Which message does better or worse than the others at its place, and how sure that is.

Compared are messages of one *place*: the same position and the same intent of the bot, since a farewell is not worse
than a question for having no reply. First messages are one place, whatever their intent: nothing has told their
prospects apart yet.
"""

from collections.abc import Mapping, Sequence, Set
from typing import NamedTuple

from dropoff.analyse import stats
from dropoff.analyse.contacts import is_plain
from dropoff.analyse.messages.table import NO_BOTH, Measure, Place, Row, Table, shared
from dropoff.analyse.shrink import Estimate, Shrunk, shrink, shrink_shares
from dropoff.analyse.stats import ENOUGH, Clustered, Comparison, Joint, Share, family

FEW = 5
"""Where fewer have it, or have it not, at a place, nobody there is called the best or the worst."""


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
    both = shared(found.repeated, measure.name)
    compared: dict[Row, Comparison | None] = {}
    for item, row in enumerate(found.rows):
        if row in wanted:
            a, total, part = found.sums[measure.name][row].old, found.totals[row.place], both.get(item, NO_BOTH)
            # The others: all, but for those who got only this one, and for what the rest got of this one.
            parts = zip(total, a, part.own, part.all_of, part.others, strict=True)
            clusters, *sums = (t - (mine - own) - whole + other for t, mine, own, whole, other in parts)
            b = Clustered(int(clusters), *sums)
            joint = Joint(part.xx, part.xn, part.nx, part.nn, a.clusters + b.clusters - part.clusters)
            compared[row] = _compared(measure, a, b, joint) if is_enough(b) else None
    return compared


def _compared(measure: Measure, a: Clustered, b: Clustered, joint: Joint) -> Comparison | None:
    is_share = measure.unit == "share"
    if not (is_plain(a) and is_plain(b) and joint.clusters == a.clusters + b.clusters) or not is_share:
        return stats.compare_clustered(a, b, joint, share=is_share)
    return stats.compare_shares(Share(int(a.total), int(a.n)), Share(int(b.total), int(b.n)))


def q_values_of(judged: Mapping[Row, Judged]) -> dict[Row, float]:
    """All messages that are compared are one family."""
    q = family([one.against and one.against.p_value for one in judged.values()])
    return {row: q_value for row, q_value in zip(judged, q, strict=True) if q_value is not None}
