"""What a batch changes: its distinct events, and the rows of every conversation that they touch."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import polars as pl

from dropoff.events import MESSAGES
from dropoff.process import attribute, fold, frames, steps
from dropoff.process.contacts import Contacts, Taken
from dropoff.process.fold import Rules
from dropoff.process.lifecycle import DEALS, MEETINGS
from dropoff.process.standing import LABELLED
from dropoff.store.base import Rows, SoleStore
from dropoff.store.keys import hashes

# What a later event can change of a message that is already there.
_REACHES_BACK = (LABELLED, "message_status", "opted_out", "event_retracted", "fallback")
_OF_MESSAGES = (*MESSAGES, LABELLED, "message_status", "opted_out", "fallback", "error")
"""Contact events of these types change messages, wherever they belong or did."""
_NAMED = pl.col("conversation_id").is_not_null()
_SHAPE = ["key", "conversation_id", "contact_id", "event_type"]


class Work(NamedTuple):
    """A batch, ready for the store. `stored`: how many events of which import are new; `dropped`: why not."""

    events: pl.DataFrame
    superseded: Sequence[int]
    rows: Mapping[str, Rows]
    contacts: Taken | None
    stored: Counter[str | None]
    dropped: steps.Drops
    versions: pl.DataFrame = pl.DataFrame()


class Alone:
    """The changes of the only worker of a store."""

    def __init__(self, store: SoleStore, rules: Rules) -> None:
        self._store = store
        self._rules = rules
        self._contacts = Contacts(store)

    def prepare(self, lines: bytes) -> Work:
        """What these queue lines change. Reads the store, writes nothing."""
        return prepare(lines, self._store, self._contacts, self._rules)

    def keep(self, work: Work) -> None:
        """The changes are stored."""
        if work.contacts is not None:
            self._contacts.keep(work.contacts)


def prepare(lines: bytes, store: SoleStore, contacts: Contacts, rules: Rules) -> Work:
    """What these queue lines change. Reads the store, writes nothing."""
    rows = frames.read_lines(lines)
    history = store.history(rows["key"].unique())
    batch = steps.run(rows, history)
    new = pl.col("seq").is_null()
    fresh = batch.rows.filter(new)
    numbered = fresh.with_columns(pl.int_range(pl.len()).alias("seq") + store.next_seq())
    lost = history.filter(pl.col("seq").is_in(batch.superseded)) if batch.superseded else history.clear()
    taken = contacts.take_in(fresh.with_columns(numbered["seq"]), batch.superseded)
    return Work(
        numbered.select(history.columns),
        batch.superseded,
        _rows(batch.rows, fresh, lost, taken, store, rules),
        taken,
        Counter(dict(fresh["batch"].value_counts().rows())),
        batch.dropped,
    )


def _rows(
    standing: pl.DataFrame, fresh: pl.DataFrame, lost: pl.DataFrame, taken: Taken, store: SoleStore, rules: Rules
) -> dict[str, Rows]:
    """The rows of the conversations that changed; of their messages only those that can have changed."""
    moved = pl.concat([fresh.select(_SHAPE), lost.select(_SHAPE)])
    dirty = moved.filter(_NAMED)["key"].unique()
    touched = taken.touched(_contacts_of(standing, lost, moved, dirty))
    attributions: dict[str, Rows] = {}
    united = dirty.clear()
    spoken, said_at = united, lost["timestamp"].clear()
    if touched:
        standing, united = _with_contacts(standing, dirty, touched, store)
        dirty = pl.concat([dirty, united]).unique()
        said = ~_NAMED & pl.col("event_type").is_in(_OF_MESSAGES)
        said_at = pl.concat([standing.filter(said)["timestamp"], lost.filter(said)["timestamp"]])
        spoken = united if len(said_at) else spoken
        theirs = standing.filter(~_NAMED | pl.col("key").is_in(united.implode()))
        found = attribute.attribute(theirs, taken.canonical, rules.attribution_days)
        standing = attributed(standing, found)
        attributions["attributions"] = attribution_rows(found, touched)
    else:
        standing = standing.with_columns(pl.lit(None, pl.String).alias("attributed_by"))
    if dirty.is_empty():
        return attributions
    events = standing.filter(_NAMED & pl.col("key").is_in(dirty.implode()))
    facts = fold.fold(events, rules, taken.canonical)
    rewritten = pl.concat([_rewritten(events), lost["key"], spoken]).unique()
    changed = pl.concat(
        [facts.messages.filter(pl.col("key").is_in(rewritten.implode())), _added(facts.messages, fresh, rewritten)]
    )
    of_rewritten = events.filter(pl.col("key").is_in(rewritten.implode()))
    # Each stored message is of an event that is stored, wherever it belongs now, or of one that was lost.
    since = pl.concat([of_rewritten["timestamp"], said_at, lost["timestamp"]]).to_frame().min().item()
    troubled = pl.concat([_troubled(events), _troubled(lost), united]).unique()
    return attributions | {
        "conversations": Rows(dirty, facts.conversations.filter(pl.col("event_count") > 0)),
        "messages": Rows(rewritten, changed, since),
        "turns": Rows(troubled, facts.turns),
        "meetings": Rows(troubled, facts.meetings),
        "deals": Rows(troubled, facts.deals),
    }


def _added(messages: pl.DataFrame, fresh: pl.DataFrame, rewritten: pl.Series) -> pl.DataFrame:
    """The messages of new events, where the stored ones of their conversation stay as they are."""
    new = fresh.select("key", pl.col("id").alias("event_id"), "conversation_id").filter(
        ~pl.col("key").is_in(rewritten.implode())
    )
    return messages.join(new, on=new.columns, how="semi", maintain_order="left")


def _contacts_of(standing: pl.DataFrame, lost: pl.DataFrame, moved: pl.DataFrame, dirty: pl.Series) -> set[str]:
    """The contacts that changed conversations have, or had before."""
    of_dirty = pl.col("key").is_in(dirty.implode()) & pl.col("contact_id").is_not_null()
    found = set(standing.filter(of_dirty)["contact_id"].unique()) | set(lost["contact_id"].drop_nulls())
    return found | set(moved.filter(~_NAMED)["contact_id"])


def _with_contacts(
    standing: pl.DataFrame, dirty: pl.Series, contacts: set[str], store: SoleStore
) -> tuple[pl.DataFrame, pl.Series]:
    """The events united with all of these contacts and their conversations; and the keys of those conversations."""
    conversations = store.conversations_of(sorted(contacts))
    loose = pl.Series("key", hashes("p" + contact for contact in sorted(contacts)), pl.UInt64)
    present = standing["key"].unique()
    missing = pl.concat([conversations, loose]).unique()
    missing = missing.filter(~missing.is_in(present.implode()))
    more = store.history(missing)
    standing = pl.concat([standing, more], how="diagonal")
    theirs = pl.col("contact_id").is_in(list(contacts))
    # Copies of what is stored may have brought conversations that did not change, and that an event of theirs names one
    # of these contacts does not make them theirs; and a part of other contacts' events.
    own = standing.filter(_NAMED & theirs & pl.col("key").is_in(dirty.implode()))["key"]
    return standing.filter(_NAMED | theirs), pl.concat([conversations, own]).unique()


def attributed(standing: pl.DataFrame, found: Sequence[attribute.Attribution]) -> pl.DataFrame:
    """Contact events under the conversation they belong to."""
    targets = pl.DataFrame(
        [(a.contact_id, a.event_id, a.conversation_id, a.attributed_by) for a in found if a.conversation_id],
        schema={"contact_id": pl.String, "id": pl.String, "target": pl.String, "attributed_by": pl.String},
        orient="row",
    )
    targets = targets.with_columns(pl.Series("target_key", hashes("c" + t for t in targets["target"]), pl.UInt64))
    loose = standing.filter(~_NAMED).join(targets, on=["contact_id", "id"])
    placed = loose.with_columns(pl.col("target").alias("conversation_id"), pl.col("target_key").alias("key"))
    own = standing.filter(_NAMED).with_columns(pl.lit(None, pl.String).alias("attributed_by"))
    return pl.concat([own, placed.select(own.columns)])


def attribution_rows(found: Sequence[attribute.Attribution], contacts: set[str]) -> Rows:
    rows = [
        (hashes(["p" + a.contact_id])[0], a.contact_id, a.event_id, a.event_type, a.timestamp,
         hashes(["c" + a.conversation_id])[0] if a.conversation_id else None, a.conversation_id, a.attributed_by)
        for a in found
    ]  # fmt: skip
    gone = pl.Series("key", hashes("p" + contact for contact in sorted(contacts)), pl.UInt64)
    return Rows(gone, pl.DataFrame(rows, schema=frames.frame_schema("attributions"), orient="row"))


def _troubled(events: pl.DataFrame) -> pl.Series:
    """The keys that can have rows beside conversation and messages: few, so that few deletes are needed."""
    leaving_rows = (*MEETINGS, *DEALS, "fallback", "error")
    return events.filter(pl.col("event_type").is_in(leaving_rows))["key"].unique()


def _rewritten(events: pl.DataFrame) -> pl.Series:
    """The keys whose stored messages a new event may change: it sorts before one of them, or reaches back to it.

    In-order traffic only adds messages, and deleting from a large table is what costs most.
    """
    new = pl.col("seq").is_null() & pl.col("attributed_by").is_null()
    kind, at = pl.col("event_type"), pl.col("timestamp")
    stored_message = pl.col("seq").is_not_null() & kind.is_in(MESSAGES)
    spans = events.group_by("key").agg(
        pl.when(stored_message).then(at).max().alias("latest"),
        pl.when(new).then(at).min().alias("earliest"),
        (new & kind.is_in(_REACHES_BACK)).any().alias("reaches_back"),
        # After a fallback at the end the bot may go on with the turn before it, which answers earlier messages.
        (pl.when(kind == "fallback").then(at).max() >= pl.when(stored_message).then(at).max()).alias("goes_on"),
    )
    reached = (pl.col("earliest") <= pl.col("latest")) | pl.col("reaches_back") | pl.col("goes_on")
    return spans.filter(pl.col("latest").is_not_null() & pl.col("earliest").is_not_null() & reached)["key"]
