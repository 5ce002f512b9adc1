"""Which ids mean the same contact."""

from collections.abc import Iterable

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
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for first, *others in told:
        for other in others:
            parent[root(other)] = root(first)
    members: dict[str, set[str]] = {}
    for name in parent:
        members.setdefault(root(name), set()).add(name)
    return [frozenset(found) for found in members.values()]


def canonical(merged: dict[str, frozenset[str]]) -> dict[str, str]:
    """For every merged id the one it means: the smallest of its component."""
    return {name: min(members) for name, members in merged.items()}
