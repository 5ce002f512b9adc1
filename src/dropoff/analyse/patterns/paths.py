"""The paths of won and failed conversations: which steps, cut where, and the same path only once.

A store gives each conversation's path as the fold left it; all else is done here, the same for every engine. A path
ends before the first success or ending of its conversation, so that nothing of the outcome is among its steps.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from dropoff.analyse import select
from dropoff.errors import InvalidInput
from dropoff.events import OBJECTION
from dropoff.query import Params, Query, choice, number, one
from dropoff.store.base import Store
from dropoff.store.keys import hashes
from dropoff.store.sql import PHYSICAL, STAGES, reached_at

if TYPE_CHECKING:
    import numpy as np

STEPS = ("bot", "prospect", "agent", "objections", "fallbacks", "escalations")
"""What a path is made of, by default all of it."""
MORE_STEPS = ("sentiment", "types")
"""Prospect messages with a band of their sentiment; messages by their type alone, without intents."""
REPEATS = ("kept", "merged")
GROUPS = ("closed", "mission")
"""Failed are all that ended without success; or, as the mission has it, those with the outcomes of `MISSION_FAILED`."""
MISSION_FAILED = ("dropped", "disqualified")
NEGATIVE = 0.25  # from here on, on either side of 0, a sentiment is called positive or negative
SIDES = {"fallback": "bot", "escalated": "bot", "message_sent": "bot", "message_received": "prospect"}

FAILED, FAILED_LATE, WON = range(3)
"""The groups: failed without a booking (or whichever stage cuts), failed with it, won."""

_EVENTS = ("message_sent", "message_received", "objection_raised", "fallback", "escalated")


class Asked(NamedTuple):
    """Which conversations are a success, before which stage all paths end, and what their steps are."""

    success: str
    cut: str
    groups: str
    steps: frozenset[str]
    merged: bool
    anchor: str | None
    support: float


class Paths(NamedTuple):
    """Conversations and their paths, each distinct path once, in an order that depends on nothing but the paths.

    `units`: a row each with `id`, `group`, `half` (0 finds, 1 confirms) and `path`, the number of its path.
    `names`: the steps, sorted. `items`: the steps of all paths, one after the other; path i is
    `items[starts[i]:starts[i + 1]]`. `counts[i, half, group]`: how many conversations have it. `left_out`: still open,
    or of another outcome.
    """

    units: pl.DataFrame
    names: tuple[str, ...]
    items: "np.ndarray"
    starts: "np.ndarray"
    counts: "np.ndarray"
    left_out: int

    def path(self, i: int) -> list[str]:
        """The steps of a path."""
        return [self.names[item] for item in self.items[self.starts[i] : self.starts[i + 1]]]


def parse(params: Params) -> Asked:
    """What is asked for; raises `InvalidInput`."""
    stages = list(STAGES)[1:]
    success = choice(params, "success", stages, "converted")
    at = stages.index(success)
    cut = choice(params, "cut", stages[: at + 1], stages[min(at, stages.index("booked"))])
    known = (*STEPS, *MORE_STEPS)
    steps = frozenset(name.strip() for text in params.get("steps", ()) for name in text.split(",") if name.strip())
    if unknown := sorted(steps - set(known)):
        raise InvalidInput("steps", ", ".join(unknown), f"some of {', '.join(known)}, with commas between")
    groups = choice(params, "groups", GROUPS, GROUPS[0])
    if groups == "mission" and success != "converted":
        raise InvalidInput("success", success, "converted or left out: the mission's groups are by outcome")
    if not steps - set(MORE_STEPS):
        steps |= set(STEPS)
    return Asked(
        success, cut, groups, steps, choice(params, "repeats", REPEATS, REPEATS[0]) == "merged", one(params, "anchor"),
        number(params, "support", 0.05, 0.001, 1),
    )  # fmt: skip


def side(step: str) -> str:
    """Whose step it is: bot, prospect or agent."""
    first = step.partition(":")[0].partition(" ")[0]
    return SIDES.get(first, "prospect" if first == "objection" else first)


def read(store: Store, query: Query, asked: Asked) -> Paths:
    """The paths of a query's conversations that are won or failed."""
    units, left_out = _units(store, query, asked)
    return of(units, asked, _bands(store, query) if "sentiment" in asked.steps else None)._replace(left_out=left_out)


def units_of(store: Store, query: Query, asked: Asked) -> pl.DataFrame:
    """What `of` takes: the won and failed conversations of a query."""
    return _units(store, query, asked)[0]


def of(units: pl.DataFrame, asked: Asked, bands: pl.DataFrame | None = None) -> Paths:
    """The same of a frame with `id`, `contact_id`, `group`, `path` and `kept`, how many of its steps are kept.

    `bands`: `id`, `position` of a message, `band` of its sentiment.
    """
    import numpy as np

    units = units.sort("id")
    names, items, lengths = _steps(units, asked, bands)
    of_path, items, starts = _distinct(items, lengths)
    halves = np.array([bit & 1 for bit in hashes(_contact(units))], np.int64)
    groups = units["group"].to_numpy().astype(np.int64)
    paths = len(starts) - 1
    counts = np.bincount((of_path * 2 + halves) * 3 + groups, minlength=paths * 6).reshape(paths, 2, 3)
    shown = units.select("id", "group").with_columns(pl.Series("half", halves), pl.Series("path", of_path))
    return Paths(shown, names, items, starts, counts, 0)


def _contact(units: pl.DataFrame) -> list[str]:
    contact = pl.when(pl.col("contact_id").is_null()).then("c" + pl.col("id")).otherwise("p" + pl.col("contact_id"))
    return units.select(contact.alias("of"))["of"].to_list()


def _units(store: Store, query: Query, asked: Asked) -> tuple[pl.DataFrame, int]:
    """The won and failed conversations with their paths, and how many there are beside them."""
    clause = select.Clause(store.dialect)
    rows = select.conversations(query, clause)
    if asked.groups == "mission":
        won, failed = "outcome = 'converted'", f"outcome IN ({', '.join(map(clause.sql.literal, MISSION_FAILED))})"
    else:
        level = list(STAGES).index(asked.success)
        won = "ending = 'converted'" if asked.success == "converted" else f"level >= {level}"
        failed = "ending IS NOT NULL"
    reached = reached_at(asked.cut)
    found = store.frame(
        f"""SELECT key, id, contact_id, path, ended_at,
              least({reached}, disqualified_at, lost_at, opted_out_at) AS cut_at,
              CASE WHEN {won} THEN {WON} WHEN NOT ({failed}) THEN NULL
                   WHEN {reached} IS NOT NULL THEN {FAILED_LATE} ELSE {FAILED} END AS "group"
            FROM {rows}""",
        clause.parameters,
    ).with_columns(pl.col("group").cast(pl.Int64))
    known = found.filter(pl.col("group").is_not_null())
    counted = known.filter(pl.col("cut_at") <= pl.col("ended_at"))
    kept = _before(store, query, counted, asked.cut) if counted.height else None
    if kept is not None:
        known = known.join(kept, on="id", how="left", maintain_order="left")
        is_cut = pl.col("cut_at") <= pl.col("ended_at")
        known = known.with_columns(pl.when(is_cut).then(pl.col("kept").fill_null(0)).alias("kept"))
    else:
        known = known.with_columns(pl.lit(None, pl.Int64).alias("kept"))
    return known.select("id", "contact_id", "group", "path", "kept"), found.height - known.height


def _before(store: Store, query: Query, counted: pl.DataFrame, stage: str) -> pl.DataFrame:
    """How many steps each conversation had before its first success or ending: `id`, `kept`.

    A step at that very instant is none of them.
    """
    clause = select.Clause(store.dialect)
    rows = select.conversations(query, clause)
    kinds = ", ".join(map(clause.sql.literal, _EVENTS))
    cut = f"least({reached_at(stage)}, disqualified_at, lost_at, opted_out_at)"
    found = store.frame(
        f"""SELECT c.id AS id, count(*) AS kept
            FROM (SELECT key, conversation_id, timestamp FROM {clause.sql.standing_events()}
                  WHERE event_type IN ({kinds})) e
            JOIN (SELECT key, id, cut_at FROM (SELECT key, id, ended_at, {cut} AS cut_at FROM {rows})
                  WHERE cut_at <= ended_at) c
            ON c.key = e.key AND c.id = e.conversation_id
            WHERE e.timestamp < c.cut_at GROUP BY 1""",
        clause.parameters,
    )
    return found.with_columns(pl.col("kept").cast(pl.Int64)).join(counted.select("id"), on="id", how="semi")


def _bands(store: Store, query: Query) -> pl.DataFrame:
    clause = select.Clause(store.dialect)
    rows = select.conversations(query, clause)
    found = store.frame(
        f"""SELECT c.id AS id, r.position AS position, r.sentiment AS sentiment
            FROM {PHYSICAL["messages"]} r JOIN (SELECT key, id FROM {rows}) c
            ON c.key = r.key AND c.id = r.conversation_id
            WHERE r.sender = 'prospect' AND r.sentiment IS NOT NULL""",
        clause.parameters,
    )
    felt = pl.col("sentiment")
    band = pl.when(felt >= NEGATIVE).then(pl.lit("positive")).when(felt <= -NEGATIVE).then(pl.lit("negative"))
    return found.select("id", pl.col("position").cast(pl.Int64), band.otherwise(pl.lit("neutral")).alias("band"))


# what a step is


def token(step: str, asked: Asked) -> str | None:
    """A step as it is asked for, or None where it is left out."""
    kind, _, _ = step.partition(":")
    part = {"objection": "objections", "fallback": "fallbacks", "escalated": "escalations"}.get(kind, kind)
    if part not in asked.steps:
        return None
    if "types" in asked.steps and kind in ("bot", "agent", "prospect"):
        return "message_received" if kind == "prospect" else "message_sent"
    return step


def is_message(step: str) -> bool:
    """Whether a step of a stored path is a message."""
    return step.partition(":")[0] in ("bot", "agent", "prospect")


def objection(step: str) -> str | None:
    """The objection that a step is."""
    import re

    kind, _, name = step.partition(":")
    name = name.partition(" [")[0]
    if kind == "objection":
        return name or None
    found = re.match(OBJECTION, name) if kind == "prospect" else None
    return found and found.group(1)


def tokens(path: Sequence[str], asked: Asked, bands: dict[int, str] | None = None) -> list[tuple[str, int]]:
    """The steps of one stored path as they are asked for, each with the position of its message, or of the last one.

    An objection that is said again, as an event right after the message, is one step. So are equal steps in a row where
    repeats are merged.
    """
    found: list[tuple[str, int]] = []
    position, before = 0, None
    for step in path:
        position += is_message(step)
        again = before is not None and is_message(before) and step.startswith("objection:")
        again = again and objection(step) is not None and objection(step) == objection(before or "")
        before = step
        name = None if again and "prospect" in asked.steps else token(step, asked)
        if name is not None and bands and is_message(step) and position in bands:
            name = f"{name} [{bands[position]}]"
        if name is not None and not (asked.merged and found and found[-1][0] == name):
            found.append((name, position))
    return found


def _steps(
    units: pl.DataFrame, asked: Asked, bands: pl.DataFrame | None
) -> tuple[tuple[str, ...], "np.ndarray", "np.ndarray"]:
    """`tokens` of all units at once: the names, the steps as numbers of names, and how many each unit has."""
    import numpy as np

    cut = units.select(
        pl.when(pl.col("kept").is_null()).then(pl.col("path")).otherwise(pl.col("path").list.head("kept")).alias("path")
    ).with_row_index("row")
    flat = cut.filter(pl.col("path").list.len() > 0).explode("path")
    raw = flat["path"].fill_null("objection").unique().sort()
    rows = flat["row"].to_numpy().astype(np.int64)
    codes = flat["path"].fill_null("objection").cast(pl.Enum(raw)).to_physical().to_numpy().astype(np.int64)
    del flat, cut
    stored = raw.to_list()
    message = np.array([is_message(step) for step in stored], bool)
    objections = {name: i for i, name in enumerate(dict.fromkeys(filter(None, map(objection, stored))), 1)}
    which = np.array([objections.get(objection(step) or "", 0) for step in stored], np.int64)
    is_event = np.array([step.startswith("objection:") for step in stored], bool)
    texts = [token(step, asked) for step in stored]
    keep = np.array([text is not None for text in texts], bool)[codes] if stored else np.zeros(0, bool)
    if len(codes) and "prospect" in asked.steps:
        again = (rows[1:] == rows[:-1]) & is_event[codes[1:]] & message[codes[:-1]] & (which[codes[1:]] > 0)
        keep[1:] &= ~(again & (which[codes[1:]] == which[codes[:-1]]))
    known = sorted({text for text in texts if text is not None})
    place = {text: i for i, text in enumerate(known)}
    named = np.array([place.get(text or "", 0) for text in texts], np.int64)
    names, items = known, named[codes] if stored else codes
    if bands is not None and known:
        names, items = _felt(units, rows, codes, message, items, known, bands)
    rows, items = rows[keep], items[keep]
    if asked.merged and len(items):
        new = np.ones(len(items), bool)
        new[1:] = (rows[1:] != rows[:-1]) | (items[1:] != items[:-1])
        rows, items = rows[new], items[new]
    used = np.unique(items)  # names of steps that were left out, or folded, are none
    items = np.searchsorted(used, items)
    return tuple(names[i] for i in used), items.astype(np.int32), np.bincount(rows, minlength=units.height)


def _felt(
    units: pl.DataFrame,
    rows: "np.ndarray",
    codes: "np.ndarray",
    message: "np.ndarray",
    items: "np.ndarray",
    known: list[str],
    bands: pl.DataFrame,
) -> tuple[list[str], "np.ndarray"]:
    """The names and numbers of steps with the band of their message, where it has one."""
    import numpy as np

    said = np.cumsum(message[codes])
    first = np.searchsorted(rows, np.arange(units.height))
    before = np.concatenate([[0], said])[first]
    at = pl.DataFrame({"row": rows, "position": said - before[rows], "message": message[codes]})
    numbered = bands.join(units.select("id").with_row_index("row").with_columns(pl.col("row").cast(pl.Int64)), on="id")
    words = ["negative", "neutral", "positive"]
    joined = at.join(numbered.select("row", "position", "band"), on=["row", "position"], how="left",
                     maintain_order="left")  # fmt: skip
    band = (
        joined.select(
            pl.when("message").then(pl.col("band").replace_strict(words, [1, 2, 3], return_dtype=pl.Int64)).fill_null(0)
        )
        .to_series()
        .to_numpy()
    )
    full = [text if not i else f"{text} [{words[i - 1]}]" for text in known for i in range(4)]
    order = sorted(range(len(full)), key=full.__getitem__)
    rank = np.empty(len(full), np.int64)
    rank[order] = np.arange(len(full))
    return [full[i] for i in order], rank[items * 4 + band]


def _distinct(items: "np.ndarray", lengths: "np.ndarray") -> tuple["np.ndarray", "np.ndarray", "np.ndarray"]:
    """The number of each unit's path, and the distinct paths: by length, then by their steps."""
    import numpy as np

    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    of_path = np.zeros(len(lengths), np.int64)
    parts, sizes = [], []
    for length in np.unique(lengths):
        mine = np.flatnonzero(lengths == length)
        if length == 0:
            found, inverse = np.zeros((1, 0), np.int32), np.zeros(len(mine), np.int64)
        else:
            rows = items[starts[mine][:, None] + np.arange(length)]
            # Big-endian bytes sort as the numbers do.
            packed = np.ascontiguousarray(rows.astype(">u4")).view(np.dtype((np.void, 4 * int(length))))
            _, index, inverse = np.unique(packed.ravel(), return_index=True, return_inverse=True)
            found = rows[index]
        of_path[mine] = sum(sizes_of for sizes_of, _ in sizes) + inverse
        parts.append(found.ravel())
        sizes.append((len(found), int(length)))
    flat = np.concatenate(parts) if parts else np.zeros(0, np.int32)
    ends = np.cumsum(np.repeat([length for _, length in sizes], [n for n, _ in sizes])) if sizes else np.zeros(0)
    return of_path, flat.astype(np.int32), np.concatenate([[0], ends]).astype(np.int64)
