"""Which ids mean the same contact."""

from collections.abc import Hashable, Iterable
from typing import TypeVar

T = TypeVar("T", bound=Hashable)
MAX_COMPONENT = 50
"""Above so many ids of one contact nothing is merged: it is a mistake of the sender, and listed."""


def components(told: Iterable[list[str]]) -> dict[str, frozenset[str]]:
    """For each id the ids it is merged with, itself included. Components above `MAX_COMPONENT` are left unmerged."""
    return {name: members for members in _members(told) if 1 < len(members) <= MAX_COMPONENT for name in members}


def unmerged(told: Iterable[list[str]]) -> list[frozenset[str]]:
    """The components that are left unmerged, the largest first."""
    return sorted(
        (found for found in _members(told) if len(found) > MAX_COMPONENT), key=lambda ids: (-len(ids), min(ids))
    )


def _members(told: Iterable[list[str]]) -> list[frozenset[str]]:
    """The ids that are said to be one, a set each."""
    members: dict[str, set[str]] = {}
    for name, root in joined((first, other) for first, *others in told for other in others).items():
        members.setdefault(root, set()).add(name)
    return [frozenset(found) for found in members.values()]


def joined(pairs: Iterable[tuple[T, T]]) -> dict[T, T]:
    """For each member of a pair the one that stands for all that pairs join with it, directly or not."""
    parent: dict[T, T] = {}

    def root(one: T) -> T:
        while parent.setdefault(one, one) != one:
            parent[one] = parent[parent[one]]
            one = parent[one]
        return one

    for one, other in pairs:
        parent[root(other)] = root(one)
    return {one: root(one) for one in parent}


def canonical(merged: dict[str, frozenset[str]]) -> dict[str, str]:
    """For every merged id the one it means: the smallest of its component."""
    return {name: min(members) for name, members in merged.items()}
