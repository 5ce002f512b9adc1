"""Which events of a conversation stand, and in which order: without what was retracted, labels on what they label."""

from collections import Counter
from collections.abc import Iterable

import polars as pl

from dropoff.events import MESSAGES

RETRACTED = "event_retracted"
"""A conversation of which nothing but these stands did not happen: its `event_count` is 0."""
LABELLED = "message_labelled"
"""These say what a message means, and nothing of the conversation: they happen nowhere in it."""
LABELS = ("intent", "intent_confidence", "sentiment", "label_source")
IDENTITY = ["key", "conversation_id"]
# Of equal ids the conversation's own event comes first, then those of its contact's several names.
_NAMES = [pl.col("id"), pl.col("attributed_by").is_not_null(), pl.col("contact_id")]


def standing(events: pl.DataFrame) -> pl.DataFrame:
    """The events of conversations that stand, those of contacts among them under the conversation they belong to."""
    attributed = events.filter(pl.col("attributed_by").is_not_null())  # what retracts them is of their contact, too
    if attributed.is_empty():
        return without_retracted(events)
    return pl.concat([without_retracted(events.filter(pl.col("attributed_by").is_null())), attributed])


def without_retracted(events: pl.DataFrame, owner: str = "conversation_id") -> pl.DataFrame:
    """The events that stand: without those that an `event_retracted`, not itself retracted, undoes.

    An event and its retraction have the same owner: a conversation, else a contact.
    """
    retractions = events.filter(pl.col("event_type") == RETRACTED)
    if retractions.is_empty():
        return events
    by_owner: dict[str, list[tuple[int, str, str]]] = {}
    for name, at, own, target in retractions.select(owner, "timestamp", "id", "target_id").rows():
        by_owner.setdefault(name, []).append((at, own, target))
    gone = [(name, target) for name, found in by_owner.items() for target in _undone(found)]
    schema = {owner: pl.String, "id": pl.String}
    return events.join(
        pl.DataFrame(gone, schema=schema, orient="row"), on=list(schema), how="anti", maintain_order="left"
    )


def _undone(retractions: Iterable[tuple[int, str, str]]) -> set[str]:
    """The ids that retractions (time, id, target) undo; one that is undone itself undoes nothing.

    Time decides only where they undo one another in a circle: there the latest stands. None undoes itself.
    """
    aims = {own: aim for _, own, aim in sorted(retractions) if own != aim}
    threats: Counter[str | None] = Counter(aims.values())
    free = [own for own in aims if not threats[own]]
    gone: set[str] = set()
    stood: set[str] = set()
    while aims:
        own = free.pop() if free else next(reversed(aims))
        stood.add(own)
        aim = aims.pop(own)
        if aim in stood:
            continue
        gone.add(aim)
        spared = aims.pop(aim, None)
        threats[spared] -= 1
        if spared in aims and not threats[spared]:
            free.append(spared)
    return gone


def labelled(events: pl.DataFrame) -> pl.DataFrame:
    """The standing events without those that label messages: what these say stands on the messages instead.

    A prospect's message that came with any label keeps its own. Of several events for one message the highest revision
    counts, then the latest time.
    """
    is_label = pl.col("event_type") == LABELLED
    labels = events.filter(is_label)
    if labels.is_empty():
        return events
    ranked = labels.sort("revision", "timestamp", *_NAMES, descending=True, nulls_last=True)
    chosen = ranked.unique([*IDENTITY, "message_id"], keep="first", maintain_order=True)
    says = chosen.filter(pl.any_horizontal(pl.col(*LABELS[:3]).is_not_null()))
    given = says.select(*IDENTITY, pl.col("message_id").alias("bare"), pl.col(*LABELS).name.prefix("later_"))
    prospects = pl.col("event_type").is_in(MESSAGES) & (pl.col("sender") == "prospect")
    is_bare = prospects & pl.all_horizontal(pl.col(*LABELS).is_null())
    rest = events.filter(~is_label).with_columns(pl.when(is_bare).then(pl.coalesce("message_id", "id")).alias("bare"))
    rest = rest.join(given, on=[*IDENTITY, "bare"], how="left", maintain_order="left")
    return rest.with_columns(pl.coalesce(name, f"later_{name}").alias(name) for name in LABELS).select(events.columns)


def in_order(events: pl.DataFrame) -> pl.DataFrame:
    """Sorted by conversation and, inside it, SEMANTICS §1; `g` numbers the conversations, `n` the rows."""
    kind, sender = pl.col("event_type"), pl.col("sender")
    rank = (
        pl.when(kind == "conversation_started").then(0)
        .when(kind == "conversation_ended").then(4)
        .when(kind.is_in(MESSAGES) & (sender == "prospect")).then(1)
        .when(kind.is_in(MESSAGES)).then(3)
        .otherwise(2)
    )  # fmt: skip
    ordered = _sorted(events.with_columns(rank.cast(pl.Int8).alias("rank")))
    new = differs(ordered, *IDENTITY)
    ordered = ordered.with_columns(new.cum_sum().cast(pl.UInt32).alias("g")).with_row_index("n")
    channel = pl.when(pl.col("attributed_by").is_null()).then("channel")
    return ordered.with_columns(channel.forward_fill().over("g").alias("spoken_on"))


def _sorted(events: pl.DataFrame) -> pl.DataFrame:
    """By conversation, then SEMANTICS §1. Ids are compared only where nothing else tells two events apart."""
    numbers = ["key", "timestamp", "sequence", "rank"]
    ordered = events.sort(numbers, nulls_last=True)
    tied = ~differs(ordered, *numbers)
    if (differs(ordered, *IDENTITY) != differs(ordered, "key")).any():  # two conversations with one key
        return events.sort(*IDENTITY, *numbers[1:], *_NAMES, nulls_last=True)
    if not tied.any():
        return ordered
    tied |= tied.shift(-1, fill_value=False)
    return ordered.sort(*numbers, *(pl.when(tied).then(name) for name in _NAMES), nulls_last=True)


def differs(frame: pl.DataFrame, *columns: str) -> pl.Series:
    """True where a row differs from the one before it in any of the columns."""
    differs = pl.lit(value=False)
    for name in columns:
        differs = differs | pl.col(name).ne_missing(pl.col(name).shift(1))
    return frame.select((differs | (pl.int_range(pl.len()) == 0)).alias("new"))["new"]
