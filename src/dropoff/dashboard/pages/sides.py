"""Two conversations side by side, around the place where their ways part."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

BEFORE, AFTER = 5, 5
"""So many messages of a transcript are shown before the place where ways part, and after it."""


class Side(NamedTuple):
    """One way at a place, by an example. `messages`: each with whether the ways part there. `others`: more examples."""

    name: str
    outcome: str
    id: str
    messages: list[tuple[Mapping, bool]]
    others: list[tuple[str, str]]


def around(messages: Sequence[Mapping], at: int) -> list[tuple[Mapping, bool]]:
    """The messages near a position, each with whether it is the one."""
    return [(one, one["position"] == at) for one in messages if at - BEFORE <= one["position"] <= at + AFTER]
