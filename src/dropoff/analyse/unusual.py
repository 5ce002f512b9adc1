"""Which hours or days stand out: when something went wrong far more often than otherwise."""

from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from dropoff.analyse.stats import ENOUGH, SIGNIFICANT, Share, p_value, q_values

TIMES = 2.0
"""How many times the usual share it takes: of many events the smallest difference is no chance, and no matter."""


class Span(NamedTuple):
    """Neighbouring parts of a period, the `first` to the `last`, that stand out: so many of them, and of all others.

    `q_value`: the largest of its parts.
    """

    first: int
    last: int
    own: Share
    others: Share
    q_value: float


def spans(parts: Sequence[Share]) -> list[Span]:
    """The spans that stand out, the most above what is usual first.

    A part stands out where its share is at least `TIMES` the median of all parts and above that of the others together
    by more than chance (q < 0.05 over all parts, Benjamini-Hochberg). Parts of fewer than 30 say nothing.
    """
    whole = _sum(parts)
    tested = [i for i, part in enumerate(parts) if part.n >= ENOUGH and whole.n - part.n >= ENOUGH]
    if len(tested) < 2:
        return []
    usual = median(parts[i].successes / parts[i].n for i in tested)
    chances = [p_value(parts[i], _without(whole, parts[i])) for i in tested]
    q = dict(zip(tested, q_values([1.0 if p is None else p for p in chances]), strict=True))
    odd = [i for i in tested if q[i] < SIGNIFICANT and _is_above(parts[i], _without(whole, parts[i]), usual)]
    found = [_span(run, parts, whole, q) for run in _runs(odd)]
    return sorted(found, key=lambda span: (-_excess(span), span.first))


def _is_above(own: Share, others: Share, usual: float) -> bool:
    share = own.successes / own.n
    return share >= TIMES * usual and share > others.successes / others.n


def _runs(places: Sequence[int]) -> list[list[int]]:
    found: list[list[int]] = []
    for place in places:
        if found and place == found[-1][-1] + 1:
            found[-1].append(place)
        else:
            found.append([place])
    return found


def _span(run: Sequence[int], parts: Sequence[Share], whole: Share, q: dict[int, float]) -> Span:
    own = _sum([parts[i] for i in run])
    return Span(run[0], run[-1], own, _without(whole, own), max(q[i] for i in run))


def _excess(span: Span) -> float:
    """How many more there are than the rest gives for as many."""
    usual = span.others.successes / span.others.n if span.others.n else 0.0
    return span.own.successes - span.own.n * usual


def _sum(parts: Sequence[Share]) -> Share:
    return Share(sum(part.successes for part in parts), sum(part.n for part in parts))


def _without(whole: Share, part: Share) -> Share:
    return Share(whole.successes - part.successes, whole.n - part.n)
