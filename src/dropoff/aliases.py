"""Which ids mean the same contact."""

from collections.abc import Iterable

MAX_COMPONENT = 50
"""Above so many ids of one contact nothing is merged: it is a mistake of the sender, and listed."""


def components(told: Iterable[list[str]]) -> dict[str, frozenset[str]]:
    """For each id the ids it is merged with, itself included. Components above `MAX_COMPONENT` are left unmerged."""
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
    return {name: frozenset(found) for found in members.values() if 1 < len(found) <= MAX_COMPONENT for name in found}


def canonical(merged: dict[str, frozenset[str]]) -> dict[str, str]:
    """For every merged id the one it means: the smallest of its component."""
    return {name: min(members) for name, members in merged.items()}
