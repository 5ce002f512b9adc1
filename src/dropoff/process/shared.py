"""What a batch changes where several workers write one store that has no transactions.

Rows must be those of all events, whoever stored them and whoever dies in between. So a worker

1. folds its batch with what is stored, as a trial: an event that cannot be folded is found out before it is stored;
2. appends its new events, then reads back all that bears on the batch's conversations;
3. where somebody else has stored something meanwhile, folds that;
4. commits rows whose version is the number of events that they were made of.

What bears on a conversation is its *family*: the conversations and contacts that are linked to it by a contact id that
has events of its own or is told to be another's name. A family only ever grows, retracted events and lost revisions
included, and so does the number of its stored events. Of two workers, then, the one that read later has the higher
version or the same rows; and whoever appended a family's last event reads it all. ADR 8 has the whole argument.
"""

from collections import Counter
from typing import NamedTuple

import polars as pl

from dropoff.aliases import canonical, components, joined
from dropoff.process import attribute, changes, fold, frames, steps
from dropoff.process.changes import Work
from dropoff.process.contacts import SPEAKS_OF_ALIASES, links
from dropoff.process.fold import Rules
from dropoff.store.base import Rows, SharedStore

_LOOSE = pl.col("conversation_id").is_null()
_LINKS = ["contact_id", "key", "live"]


class Family(NamedTuple):
    """All stored events that bear on some keys, and which of those keys a live contact links: `contact_id`, `key`."""

    events: pl.DataFrame
    links: pl.DataFrame


class Among:
    """The changes of one of several workers."""

    def __init__(self, store: SharedStore, rules: Rules) -> None:
        self._store = store
        self._rules = rules

    def prepare(self, lines: bytes) -> Work:
        """What these queue lines change. Their events are stored when it returns, the rows made of them are not."""
        rows = frames.read_lines(lines)
        self._store.link(contact_links(rows))
        before = self._family(rows)
        batch = steps.run(rows, before.events)
        fresh = batch.rows.filter(pl.col("seq").is_null())
        numbered = _numbered(fresh, self._store.next_seq()).select(before.events.columns)
        seen = Family(pl.concat([before.events, numbered]), before.links)
        made = self._fold(seen)
        self._store.append(numbered)
        after = self._family(rows)
        if not _same(after, seen):
            made = self._fold(after)
        stored = Counter(dict(fresh["batch"].value_counts().rows()))
        return made._replace(events=numbered, stored=stored, dropped=batch.dropped)

    def keep(self, work: Work) -> None:
        """Nothing is remembered: another worker may know better."""

    def _family(self, rows: pl.DataFrame) -> Family:
        """What bears on the events of a batch, read until it grows no more."""
        events = self._store.history(rows["key"].unique())
        found = [events]
        names = _names(contact_links(rows)) | _names(contact_links(events))
        keys, asked = set(rows["key"].unique()), set[str]()
        linked = pl.DataFrame(schema={"contact_id": pl.String, "key": pl.UInt64})
        while more := names - asked:
            asked |= more
            linked = pl.concat([linked, self._store.related(sorted(more))])
            missing = pl.Series("key", sorted(set(linked["key"]) - keys), pl.UInt64)
            if missing.is_empty():
                break
            keys.update(missing)
            found.append(self._store.history(missing))
            names = _names(contact_links(found[-1]))
        return Family(pl.concat(found), linked)

    def _fold(self, family: Family) -> Work:
        rows, superseded = whole(family.events, self._rules)
        return Work(family.events.clear(), superseded, rows, None, Counter(), Counter(), _versions(family))


def whole(events: pl.DataFrame, rules: Rules) -> tuple[dict[str, Rows], list[int]]:
    """The rows of whole families, whose stored events these are, and the `seq` of those that lost to another."""
    settled = steps.run(_nothing_new(events), events)
    standing = settled.rows.drop("batch")
    told = standing.filter(pl.col("event_type").is_in(SPEAKS_OF_ALIASES)).select(events.columns)
    names = canonical(components(links(told)))
    rows: dict[str, Rows] = {}
    if standing.select(_LOOSE.any()).item():
        found = attribute.attribute(standing, names, rules.attribution_days)
        standing = changes.attributed(standing, found)
        rows["attributions"] = changes.attribution_rows(found, set())
    named = standing.filter(~_LOOSE)
    if len(named):
        facts = fold.fold(named, rules, names)
        rows |= {table: Rows(named["key"].unique(), frame) for table, frame in facts._asdict().items()}
    return rows, settled.superseded


def _numbered(fresh: pl.DataFrame, first: int) -> pl.DataFrame:
    return fresh.with_columns(pl.int_range(pl.len()).alias("seq") + first)


def _nothing_new(events: pl.DataFrame) -> pl.DataFrame:
    return events.clear().with_columns(pl.lit(None, pl.String).alias("batch")).drop("seq")


def _same(one: Family, other: Family) -> bool:
    """Whether nothing came in between: events are only ever added, so equally many are the same."""
    return one.events.height == other.events.height


def contact_links(events: pl.DataFrame) -> pl.DataFrame:
    """Which contacts these events name. Links are `live` where the contact has an event of its own, or another name."""
    alias = pl.col("event_type") == "contact_identified"
    given = events.filter(pl.col("contact_id").is_not_null())
    named = given.select("contact_id", "key", (_LOOSE | alias).alias("live"))
    told = frames.with_facts(events.filter(alias)) if events.select(alias.any()).item() else None
    if told is not None:
        others = told.select(pl.col("aliases").alias("contact_id"), "key", pl.lit(value=True).alias("live"))
        named = pl.concat([named, others.explode("contact_id").drop_nulls("contact_id")])
    return named.select(_LINKS).unique()


def _names(linked: pl.DataFrame) -> set[str]:
    return set(linked["contact_id"])


def _versions(family: Family) -> pl.DataFrame:
    """For each key, and each contact with events of its own, how many stored events its family has."""
    counts = family.events.group_by("key").len("version")
    of_families = roots(family.links)
    counts = counts.join(of_families, on="key", how="left").with_columns(pl.coalesce("root", "key").alias("root"))
    totals = counts.with_columns(pl.col("version").sum().over("root").cast(pl.UInt64)).select("key", "version")
    owners = family.events.select("key", pl.when(_LOOSE).then("contact_id").alias("contact_id")).unique()
    return owners.join(totals, on="key").select("key", "contact_id", "version")


def roots(linked: pl.DataFrame) -> pl.DataFrame:
    """For each linked key one that stands for its family."""
    first: dict[str, int] = {}
    found = joined((first.setdefault(contact, key), key) for contact, key in linked.rows())
    return pl.DataFrame(
        {"key": list(found), "root": list(found.values())}, schema={"key": pl.UInt64, "root": pl.UInt64}
    )
