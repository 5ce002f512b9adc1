"""What was known at a moment: the facts of the events before it, in a store of their own. See docs/adr/0011.

Facts are a pure function of the set of events, so a question as of then is the same question, asked of a store that
holds the earlier events alone. Of a family of conversations and contacts (see `shared`) none of whose events is later,
the rows are today's: they are copied. Only the other families are folded again, by the workers' own function.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from itertools import groupby
from operator import itemgetter
from typing import Any

import polars as pl

from dropoff.process import shared
from dropoff.process.fold import Rules
from dropoff.store import tables
from dropoff.store.base import Change, Part, Rows, Store
from dropoff.store.sql import PHYSICAL

AT_ONCE = 131_072
"""So many rows are written, and events folded, together; or one family of more."""
_MADE = (*tables.OF_CONVERSATIONS, "attributions")
_NO_KEYS = pl.Series("key", [], pl.UInt64)
_NO_ROWS = pl.DataFrame()


def state(source: Store, until: datetime) -> tuple[Any, ...]:
    """What is another one once an event before `until`, naive and in UTC, has been stored or replaced."""
    before = source.dialect.parameter("until", until)
    text = f"SELECT count(*), sum(seq) FROM {PHYSICAL['events']} WHERE timestamp < {before}"
    return source.select(text, {"until": until}).rows[0]


def fill(target: Store, source: Store, until: datetime, rules: Rules) -> None:
    """Put into the empty `target` what `source` would hold, had it been given its events before `until` alone.

    `target` has one worker, this one. `until` is naive and in UTC.
    """
    families = _Families(until)
    # Where no snapshot spans several tables, the rows may be of other events than those that are read here.
    copied = () if source.shared else _MADE
    for part, read in groupby(source.scan([Part("events"), *map(Part, copied)]), key=itemgetter(0)):
        found = (frame for _, frame in read)
        if part.table == "events":
            for events in _large(map(families.take_in, found)):
                _add_events(target, events)
        else:
            changed = families.changed["key"].implode()
            for same in _large(frame.filter(~pl.col("key").is_in(changed)) for frame in found):
                _commit(target, {part.table: Rows(_NO_KEYS, same)})
    for keys in _batches(target, families.all if source.shared else families.changed):
        made, superseded = shared.whole(target.history(keys), rules)
        _commit(
            target, {table: Rows(_NO_KEYS, _happened(table, rows.fresh)) for table, rows in made.items()}, superseded
        )


def _happened(table: str, rows: pl.DataFrame) -> pl.DataFrame:
    """Without conversations of which no event stands: a store of one worker does not keep them."""
    return rows.filter(pl.col("event_count") > 0) if table == "conversations" else rows


def _large(frames: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The same rows, many at a time: few large commits cost less than many small ones, and take less space."""
    waiting: list[pl.DataFrame] = []
    for frame in frames:
        waiting.append(frame)
        if sum(map(len, waiting)) >= AT_ONCE:
            yield pl.concat(waiting)
            waiting = []
    if waiting:
        yield pl.concat(waiting)


def _add_events(target: Store, events: pl.DataFrame) -> None:
    """Add events in the order in which they come, which is all that `seq` says."""
    numbered = events.with_columns((pl.int_range(pl.len(), dtype=pl.Int64) + target.next_seq()).alias("seq"))
    target.commit(Change(numbered, (), {}, _NO_ROWS, 0))


def _commit(target: Store, rows: Mapping[str, Rows], superseded: Sequence[int] = ()) -> None:
    target.commit(Change(_NO_ROWS, superseded, rows, _NO_ROWS, 0))


def _batches(target: Store, families: pl.DataFrame) -> Iterator[pl.Series]:
    """The keys of whole families, in the order of their first event: what was stored together is read together."""
    stored = target.frame(f"SELECT key, count(*) AS events, min(seq) AS first FROM {PHYSICAL['events']} GROUP BY key")
    whole = families.join(stored, on="key").group_by("root").agg("key", pl.sum("events"), pl.min("first"))
    ordered = whole.sort("first").with_columns((pl.col("events").cum_sum() // AT_ONCE).alias("batch"))
    for _, batch in ordered.group_by("batch", maintain_order=True):
        yield batch["key"].explode()


class _Families:
    """Which keys are of one family, and whether it has an event at `until` or later: from one pass over all events.

    A hash stands for each contact. Two contacts with one hash join their families, which is more work and no mistake.
    """

    def __init__(self, until: datetime) -> None:
        self._until = until
        self._late: list[pl.DataFrame] = []
        self._links: list[pl.DataFrame] = []

    def take_in(self, events: pl.DataFrame) -> pl.DataFrame:
        """The earlier ones of these events."""
        late = pl.col("timestamp") >= self._until
        self._late.append(events.group_by("key").agg(late.any().alias("late")))
        self._links.append(shared.contact_links(events).with_columns(pl.col("contact_id").hash()))
        return events.filter(~late)

    @cached_property
    def all(self) -> pl.DataFrame:
        """Every `key` with the `root` of its family, and whether the family has a `late` event."""
        keys = pl.concat(self._late).group_by("key").agg(pl.col("late").any())
        links = pl.concat(self._links).unique()
        live = links.filter("live")["contact_id"].unique()
        linked = links.filter(pl.col("contact_id").is_in(live.implode())).select("contact_id", "key")
        rooted = keys.join(shared.roots(linked), on="key", how="left")
        return rooted.with_columns(pl.coalesce("root", "key").alias("root")).with_columns(
            pl.col("late").any().over("root")
        )

    @cached_property
    def changed(self) -> pl.DataFrame:
        """The same of the families that have one."""
        return self.all.filter("late")
