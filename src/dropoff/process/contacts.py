"""Which ids mean the same contact, and which contacts have events of their own."""

from collections.abc import Iterable, Mapping

import polars as pl

from dropoff.aliases import canonical, components
from dropoff.process.frames import with_facts
from dropoff.process.standing import without_retracted
from dropoff.store.base import SoleStore

SPEAKS_OF_ALIASES = ("contact_identified", "event_retracted")


class Contacts:
    """The contacts of a store, kept in memory beside it: ids that are merged, and `loose` ones.

    Both are rebuilt from the stored events, so that a restart changes nothing.
    """

    def __init__(self, store: SoleStore) -> None:
        self._rows = store.contact_events(SPEAKS_OF_ALIASES)
        self._loose = store.loose_contacts()
        self._components = components(links(self._rows))

    def take_in(self, fresh: pl.DataFrame, superseded: Iterable[int]) -> "Taken":
        """What a batch changes; nothing is kept until `keep`."""
        said = fresh.filter(pl.col("event_type").is_in(SPEAKS_OF_ALIASES))
        gone = self._rows["seq"].is_in(list(superseded)) if superseded else None
        rows = self._rows if gone is None else self._rows.filter(~gone)
        loose = set(fresh.filter(pl.col("conversation_id").is_null())["contact_id"])
        if said.is_empty() and len(rows) == len(self._rows):
            return Taken(self._rows, self._loose | loose, self._components, loose)
        rows = pl.concat([rows, said.select(rows.columns)])
        merged = components(links(rows))
        changed = {name for name in {*merged, *self._components} if merged.get(name) != self._components.get(name)}
        return Taken(rows, self._loose | loose, merged, loose | changed)

    def keep(self, taken: "Taken") -> None:
        """The batch is stored."""
        self._rows, self._loose, self._components = taken.rows, taken.loose, taken.components


class Taken:
    """The contacts as they are with a batch. `changed`: ids to look at again whatever else the batch holds."""

    def __init__(
        self, rows: pl.DataFrame, loose: set[str], components: dict[str, frozenset[str]], changed: set[str]
    ) -> None:
        self.rows = rows
        self.loose = loose
        self.components = components
        self.changed = changed

    @property
    def canonical(self) -> Mapping[str, str]:
        """For every merged id the one it means: the smallest of its component."""
        return canonical(self.components)

    def touched(self, contacts: Iterable[str]) -> set[str]:
        """Of these contacts, with all their ids, those that have events of their own or have changed."""
        found: set[str] = set()
        for contact in {*contacts, *self.changed}:
            ids = self.components.get(contact, frozenset((contact,)))
            if contact in self.changed or not self.loose.isdisjoint(ids):
                found |= ids
        return found


def links(rows: pl.DataFrame) -> list[list[str]]:
    """The ids that each standing `contact_identified` says are one."""
    if rows.is_empty():
        return []
    told = with_facts(rows).with_columns(pl.coalesce("conversation_id", "contact_id").alias("owner"))
    standing = without_retracted(told, "owner").filter(pl.col("event_type") == "contact_identified")
    told_of = standing.select("contact_id", "aliases").rows()
    return [[*aliases] if own is None else [own, *aliases] for own, aliases in told_of]
