"""What was measured: a row of the table, and the medians it is made of."""

from collections.abc import Sequence
from statistics import median
from typing import NamedTuple


class Plan(NamedTuple):
    """How much is measured."""

    conversations: int
    copies: int
    rounds: int
    batched_events: int
    single_events: int
    small_batch_events: int
    grown_events: int
    large_events: int


FULL = Plan(conversations=20_000, copies=2, rounds=3, batched_events=100_000, single_events=15_000,
            small_batch_events=100_000, grown_events=20_000_000, large_events=100_000_000)  # fmt: skip
QUICK = Plan(conversations=2_000, copies=2, rounds=1, batched_events=20_000, single_events=2_000,
             small_batch_events=20_000, grown_events=1_000_000, large_events=1_000_000)  # fmt: skip


class Row(NamedTuple):
    """One line: ours, the peer's, ours / peer, and what else is to be said. `peer` None: there is none."""

    work: str
    unit: str
    ours: float
    peer: float | None = None
    ratio: float | None = None
    peer_name: str = ""
    bar: str = ""
    note: str = ""


def compare(work: str, unit: str, ours: Sequence[float], peer: Sequence[float], peer_name: str, **more: str) -> Row:
    """The medians of both, and the median of the ratios of each round: a round's noise meets both of its halves."""
    ratios = [a / b for a, b in zip(ours, peer, strict=True)]
    return Row(work, unit, median(ours), median(peer), median(ratios), peer_name, **more)
