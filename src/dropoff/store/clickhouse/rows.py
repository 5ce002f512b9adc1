"""Frames as the tables of ClickHouse take and give them: a conversation with all that is of it in one row."""

from collections.abc import Iterable
from typing import Any

import polars as pl

from dropoff.store import tables
from dropoff.store.base import Change
from dropoff.store.clickhouse.schema import CHILDREN, OWNER, inner
from dropoff.store.tables import Column


def naive(rows: Any) -> pl.DataFrame:
    frame = pl.DataFrame(rows)
    instants = [name for name, kind in frame.schema.items() if isinstance(kind, pl.Datetime)]
    return frame.with_columns(pl.col(instants).dt.replace_time_zone(None).cast(pl.Datetime("us")))


def with_instants(rows: pl.DataFrame, columns: Iterable[Column]) -> pl.DataFrame:
    instants = [c.name for c in columns if c.type == "instant"]
    return rows.with_columns(pl.col(instants).cast(pl.Datetime("us")).dt.replace_time_zone("UTC"))


def conversations(change: Change) -> pl.DataFrame:
    """One row for each conversation that was folded, holding all that the fold made of it."""
    whole = with_instants(change.rows["conversations"].fresh, tables.CONVERSATIONS)
    for table in CHILDREN:
        whole = whole.join(
            _nested(table, change.rows[table].fresh),
            left_on=["key", "id"], right_on=["key", "conversation_id"], how="left",
        )  # fmt: skip
    lists = [name for name in whole.columns if "." in name]
    versions = change.versions.filter(pl.col("contact_id").is_null()).select("key", "version")
    return whole.with_columns(pl.col(lists).fill_null([])).join(versions, on="key", how="inner")


def contacts(change: Change) -> pl.DataFrame:
    """One row for each contact with events of its own, holding where they belong."""
    owners = change.versions.filter(pl.col("contact_id").is_not_null())
    found = _nested("attributions", change.rows["attributions"].fresh)
    whole = owners.join(found, on=["key", "contact_id"], how="left")
    return whole.with_columns(pl.col([name for name in whole.columns if "." in name]).fill_null([]))


def _nested(table: str, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of each owner as lists, one for each column."""
    owner, columns = ["key", OWNER[table]], inner(table)
    ready = with_instants(rows, tables.TABLES[table])
    return ready.group_by(owner, maintain_order=True).agg(
        pl.col(column.name).alias(f"{table}.{column.name}") for column in columns
    )


def slots(change: Change) -> pl.DataFrame:
    """The quarters of an hour in which what each conversation holds is counted."""
    found = [
        rows.fresh.select("key", pl.col(name).cast(pl.Datetime("us", "UTC")).alias("slot"))
        for table, rows in change.rows.items()
        for name in tables.MOMENTS.get(table, ())
    ]
    return pl.concat(found).drop_nulls().with_columns(pl.col("slot").dt.truncate("15m")).unique()
