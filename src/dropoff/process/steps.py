"""What happens to a batch between the queue and the fold: a list of named steps, each of which keeps a row or drops
it with an enumerated reason."""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import polars as pl

DROPS = {
    "duplicate": "an equal copy of an event that came earlier",
    "conflict": "another event with the same id and a higher revision, or a smaller content hash, stands instead",
    "dead": "it cannot be processed, and is kept in the queue's dead letters",
}
"""Why an event of a batch is not stored."""

Drops = Counter[tuple[str | None, str]]
"""How many events of which import (None: of none) were dropped for which reason."""

OWNER = ["key", "conversation_id", "contact_owner"]
_CONTENT = [
    "event_type", "sent", "stamped", "contact_id", "account_id", "message_id", "channel", "direction", "bot_id",
    "bot_version", "sequence", "revision", "is_test", "facts", "properties",
]  # fmt: skip


@dataclass(slots=True)
class Batch:
    """The rows of one batch in the making: `rows` holds history (with a `seq`) and what is new (without)."""

    rows: pl.DataFrame
    superseded: list[int] = field(default_factory=list)
    dropped: Drops = field(default_factory=Counter)

    def keep(self, mask: pl.Series, reason: str) -> None:
        """Keep the rows where `mask` holds. Stored rows that fall away are superseded by what stays."""
        gone = self.rows.filter(~mask)
        self.superseded += gone["seq"].drop_nulls().to_list()
        for name, count in gone.filter(pl.col("seq").is_null())["batch"].value_counts().rows():
            self.dropped[name, reason] += count
        self.rows = self.rows.filter(mask)


Step = Callable[[Batch], None]


def run(rows: pl.DataFrame, history: pl.DataFrame, steps: Sequence[Step] | None = None) -> Batch:
    """The batch `rows` united with what is stored of its conversations, after all steps."""
    old = history.with_columns(pl.lit(None, pl.String).alias("batch"))
    new = rows.with_columns(pl.lit(None, pl.Int64).alias("seq")).select(old.columns)
    batch = Batch(pl.concat([old, new]).with_columns(_contact_owner(), _sent()))
    for step in STEPS if steps is None else steps:
        step(batch)
    return batch


def _contact_owner() -> pl.Expr:
    return pl.when(pl.col("conversation_id").is_null()).then("contact_id").alias("contact_owner")


def _sent() -> pl.Expr:
    # The time as sent; one stamped at the door is a fact of that receipt, not of the event.
    return pl.when(~pl.col("stamped")).then(pl.col("timestamp") - pl.col("skew")).alias("sent")


def drop_copies(batch: Batch) -> None:
    """Of equal copies the earliest received stays."""
    repeated = _repeated(batch.rows)
    if repeated is None:
        return
    rank = (
        batch.rows.with_row_index("i").filter(repeated).sort("received_at", "timestamp", "skew", "seq", nulls_last=True)
    )
    first = rank.unique([*OWNER, "id", *_CONTENT], keep="first", maintain_order=True)["i"]
    batch.keep(_only(batch.rows, repeated, first), "duplicate")


def settle_conflicts(batch: Batch) -> None:
    """Of different events with one id the higher revision stays, then the smaller content hash: never the first."""
    repeated = _repeated(batch.rows)
    if repeated is None:
        return
    rivals = batch.rows.with_row_index("i").filter(repeated)
    hashes = [hashlib.sha256(repr(row).encode()).digest() for row in rivals.select(_CONTENT).rows()]
    rivals = rivals.with_columns(pl.Series("hash", hashes, dtype=pl.Binary))
    rivals = rivals.sort("revision", "hash", descending=[True, False], maintain_order=True)
    first = rivals.unique([*OWNER, "id"], keep="first", maintain_order=True)["i"]
    batch.keep(_only(batch.rows, repeated, first), "conflict")


STEPS: tuple[Step, ...] = (drop_copies, settle_conflicts)


def _repeated(rows: pl.DataFrame) -> pl.Series | None:
    """Which rows share their identity with another, or None if none do."""
    repeated = rows.select(pl.struct(*OWNER, "id").is_duplicated().alias("repeated"))["repeated"]
    return repeated if repeated.any() else None


def _only(rows: pl.DataFrame, among: pl.Series, kept: pl.Series) -> pl.Series:
    """True for the rows outside of `among`, and for those of the `kept` numbers."""
    chosen = pl.int_range(rows.height, dtype=pl.UInt32, eager=True).is_in(kept.implode())
    return ~among | chosen
