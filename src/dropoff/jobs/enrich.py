"""`dropoff enrich`: labels for prospects' messages without any, outside the way of events. See docs/labels.md.

The labels go back through the door as events of their own, `message_labelled`, which the fold uses only where a message
has none. Their `revision` is negative, so that any label of somebody else (0 by default) stands before ours; a labeller
of another version takes the next one. Their time is that of their message and their id follows from it, so the same
labeller sends the same events again, and these are copies.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from dropoff.events import MESSAGES
from dropoff.jobs.importing import Import
from dropoff.periods import from_micros
from dropoff.process.standing import LABELLED, LABELS
from dropoff.project.labelling import NOTHING, Label, Labeller, ask
from dropoff.server.connect import Connection
from dropoff.store.base import Part

FIRST_REVISION = -1_000_000
"""Of our first label of a message. What others send, with a revision of 0 or more, is not ours to replace."""
_AT_ONCE = 2_000
_OWNER = ["conversation_id", "contact_id"]
_EVER = (-(2**63), 2**63 - 1)

Owner = tuple[str | None, str | None, str]
"""A message: its conversation, else its contact, and its id."""


class Known(NamedTuple):
    """What labels a message already: the highest revision, and who made it."""

    revision: int
    source: str | None


class _Message(NamedTuple):
    owner: Owner
    timestamp: int
    text: str
    known: Known | None


def enrich(
    connection: Connection,
    labeller: Labeller,
    start: int | None = None,
    end: int | None = None,
    *,
    dry_run: bool = False,
    done: Callable[[float], None] = lambda _: None,
) -> dict[str, Any]:
    """Label the messages of [start, end), in microseconds, that came without any label.

    Gives `labeller`, `dry_run`, and counts of `messages` without a label of their own; of these `labelled` for the
    first time, `replaced` (our label is of another version), `unchanged` (it is of this one), `left` (somebody else's
    label came later) and `unknown` (the labeller has none). `intents`: how many messages are given which. `refused`:
    events that the door or the worker did not take. A dry run sends nothing.
    """
    known, total = _known(connection)
    job, counts, intents = Import(connection), Counter[str](), Counter[str]()
    for messages, read in _bare(
        connection, known, (_EVER[0] if start is None else start, _EVER[1] if end is None else end)
    ):
        lines = _labelled(messages, labeller, counts, intents)
        for part in _parts(lines) if not dry_run else ():
            job.send(part)
        done(min(1.0, read / max(total, 1)))
    sent = {"refused": 0} if dry_run else {"refused": job.finish()["rejected"]}
    names = ("messages", "labelled", "replaced", "unchanged", "left", "unknown")
    told = dict(sorted(intents.items(), key=lambda one: (-one[1], one[0])))
    return {"labeller": labeller.source, "dry_run": dry_run, **{n: counts[n] for n in names}, **sent, "intents": told}


def _known(connection: Connection) -> tuple[dict[Owner, Known], int]:
    """The labels that came later, by their message; and how many events there are."""
    found: dict[Owner, Known] = {}
    total = 0
    for _, events in connection.scan([Part("events")]):
        total += len(events)
        labels = events.filter(pl.col("event_type") == LABELLED)
        for *owner, revision, source in labels.select(*_owner("message_id"), "revision", "label_source").rows():
            key = _key(owner)
            found[key] = max(found.get(key, Known(revision, source)), Known(revision, source), key=_rank)
    return found, total


def _rank(known: Known) -> tuple[int, str]:
    return known.revision, known.source or ""


def _owner(message: str) -> list[pl.Expr]:
    of_contact = pl.when(pl.col("conversation_id").is_null()).then("contact_id").alias("contact_id")
    return [pl.col("conversation_id"), of_contact, pl.col(message).alias("mid")]


def _key(owner: Sequence[Any]) -> Owner:
    conversation_id, contact_id, message_id = owner
    return conversation_id, contact_id, message_id


def _bare(
    connection: Connection, known: Mapping[Owner, Known], period: tuple[int, int]
) -> Iterator[tuple[list[_Message], int]]:
    """Prospects' messages with a text and without any label, and how many events were read to find them."""
    read = 0
    start, end = period
    for _, events in connection.scan([Part("events")]):
        read += len(events)
        prospects = pl.col("event_type").is_in(MESSAGES) & (pl.col("sender") == "prospect")
        at = pl.col("timestamp").cast(pl.Datetime("us")).cast(pl.Int64)
        unlabelled = pl.all_horizontal(pl.col(*LABELS).is_null())
        bare = events.filter(prospects & unlabelled & (at >= start) & (at < end))
        mid = bare.with_columns(pl.coalesce("message_id", "id").alias("mid"), at.alias("at"))
        rows = mid.select(*_owner("mid"), "at", "properties").rows()
        found = [(_key(owner), at, json.loads(properties).get("content")) for *owner, at, properties in rows]
        yield (
            [_Message(key, at, text, known.get(key)) for key, at, text in found if isinstance(text, str) and text],
            read,
        )


def _labelled(
    messages: Sequence[_Message], labeller: Labeller, counts: Counter[str], intents: Counter[str]
) -> list[bytes]:
    """The events to send, and what is counted of them."""
    counts["messages"] += len(messages)
    asked = []
    for message in messages:
        known = message.known
        if known is not None and (known.revision >= 0 or known.source == labeller.source):
            counts["left" if known.revision >= 0 else "unchanged"] += 1
        else:
            asked.append(message)
    lines = []
    for message, label in zip(asked, ask(labeller, [m.text for m in asked]), strict=True):
        if label == NOTHING and message.known is None:
            counts["unknown"] += 1
            continue
        counts["labelled" if message.known is None else "replaced"] += 1
        if label.intent is not None:
            intents[label.intent] += 1
        lines.append(_event(message, label, labeller.source))
    return lines


def _event(message: _Message, label: Label, source: str) -> bytes:
    conversation_id, contact_id, message_id = message.owner
    told = {"conversation_id": conversation_id} if conversation_id is not None else {"contact_id": contact_id}
    properties = {name: value for name, value in label._asdict().items() if value is not None}
    event = {
        "event_type": LABELLED, **told, "message_id": message_id,
        "timestamp": from_micros(message.timestamp).isoformat(),
        "revision": FIRST_REVISION if message.known is None else message.known.revision + 1,
        "properties": {**properties, "label_source": source},
    }  # fmt: skip
    return json.dumps(event).encode()


def _parts(lines: Sequence[bytes]) -> Iterator[bytes]:
    for first in range(0, len(lines), _AT_ONCE):
        yield b"\n".join(lines[first : first + _AT_ONCE])
