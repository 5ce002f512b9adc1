"""The events of a funnel's units as arrays, in the order in which attempts are looked for."""

from typing import Any, NamedTuple

import numpy as np
import polars as pl

from dropoff.project.funnels import UNTIMED, Funnel

FAR = 2**62
"""An instant after all others: that of what never happened."""

Array = np.ndarray[Any, Any]


class Rows(NamedTuple):
    """Events in order of owner, instant, steps and value, then one row that is nobody's: what stands at place -1."""

    counted: Array  # number of what is counted: the unit, with attribution `all` under one of its values
    group: Array  # number of what an attempt stays in: the counted one's events with the same held values
    owner: Array  # number of what lies together: the group, in mode `strict` the unit
    at: Array  # microseconds
    steps: Array  # bit i: satisfies step i
    value: Array  # number in the order of the values, the highest for none


def coded(events: pl.DataFrame, funnel: Funnel) -> tuple[pl.DataFrame, pl.Series]:
    """The events with `code`, their value's number in the order of the values, and the values by number."""
    events = events.cast({"at": pl.Int64, "steps": pl.UInt32})
    if funnel.by is None:
        return events, pl.Series([None], dtype=pl.String)
    values = events["value"].drop_nulls().unique().sort()
    code = events["value"].cast(pl.Enum(values)).to_physical().fill_null(len(values)).cast(pl.UInt32)
    return events.with_columns(code=code), values.extend(pl.Series([None], dtype=pl.String))


def _counted(funnel: Funnel) -> list[str]:
    """What is counted: a unit; with all its values, a unit under each."""
    return ["key", "code"] if funnel.attribution == "all" else ["key"]


def in_common(funnel: Funnel) -> list[str]:
    """What all events of one attempt have in common."""
    return _counted(funnel) + (["held"] if funnel.hold_constant else [])


def in_order(events: pl.DataFrame, funnel: Funnel, period: tuple[int, int], units: Array | None) -> pl.DataFrame:
    """The events in the order of `Rows`, with the number `group`, and with `counted` and `owner` where they differ."""
    if funnel.mode != "strict" and events["steps"].min() == 0:
        events = events.filter(pl.col("steps") > 0)
    if funnel.mode in UNTIMED:
        events = events.filter(pl.col("started").is_between(*period, closed="left"))
    counted, kept = _counted(funnel), in_common(funnel)
    table = _by_unit(events, kept)
    if units is not None:
        is_counted = _among(table["unit"].to_numpy(), units)
        table = table if is_counted.all() else table.filter(is_counted)
    table = table.with_columns(group=_number(kept))
    if kept != counted:
        table = table.with_columns(counted=_number(counted))
    if funnel.mode == "strict":  # what breaks an attempt need not be of its group
        table = _ordered_by(["key"], table)
        table = table.with_columns(owner=_number(["key"]))
    return table


def key_of(unit: pl.Series) -> pl.Series:
    """What sorts faster than text."""
    return unit if unit.dtype == pl.UInt64 else unit.hash()


def _by_unit(events: pl.DataFrame, kept: list[str]) -> pl.DataFrame:
    """The events with the `key` of their unit, by `kept`, instant, steps and value."""
    if events["unit"].dtype == pl.UInt64:  # not put in order twice
        return _ordered_by(kept, events.rename({"unit": "key"})).with_columns(unit="key")
    table = _ordered_by(kept, events.with_columns(key=key_of(events["unit"])))
    if (_same(table["key"]) & ~_same(table["unit"])).any():  # two with one key
        return _ordered_by(kept, events.with_columns(key=events["unit"].rank("dense").cast(pl.UInt64)))
    return table


def _ordered_by(columns: list[str], events: pl.DataFrame) -> pl.DataFrame:
    """The events by these columns, then by instant, steps and value."""
    table = _by_key(events) if columns == ["key"] else events.sort("at").sort(columns, maintain_order=True)
    tied = _same(*(table[name] for name in (*columns, "at")))
    if not tied.any():
        return table
    places = np.flatnonzero(np.append(tied, False) | np.append(False, tied))
    run = np.cumsum(np.append(True, ~tied))[places]
    last = [table[name].to_numpy()[places] for name in ("code", "steps") if name in table.columns]
    order = np.arange(table.height)
    order[places] = places[np.lexsort((*last, run))]
    return _taken(table, order)


def _taken(events: pl.DataFrame, order: Array, **known: Array) -> pl.DataFrame:
    """The events at these places; `known`: columns of which that is known."""
    return pl.DataFrame({
        column.name: known[column.name]
        if column.name in known
        else column.to_numpy()[order]
        if column.dtype.is_integer() and not column.null_count()
        else column.gather(order)
        for column in events
    })  # fmt: skip


def _by_key(events: pl.DataFrame) -> pl.DataFrame:
    """The events by key, then by instant."""
    # Events mostly come in the order of time. So they are sorted by as much of the key as fits into 64 bits beside
    # their places, which takes a third of the time of sorting places; then whatever that leaves out of order.
    key, at = events["key"].to_numpy(), events["at"].to_numpy()
    bits = np.uint64(len(key).bit_length())
    low = np.uint64(max(0, int(key.max(initial=0)).bit_length() - 64 + int(bits)))
    packed = (key >> low << bits) | np.arange(len(key), dtype=np.uint64)
    packed.sort()
    order = (packed & ((np.uint64(1) << bits) - np.uint64(1))).astype(np.int64)
    packed >>= bits
    in_key, in_at = key[order], at[order]
    wrong = (in_key[1:] < in_key[:-1]) | ((in_key[1:] == in_key[:-1]) & (in_at[1:] < in_at[:-1]))
    wrong &= packed[1:] == packed[:-1]
    if not wrong.any():
        return _taken(events, order, key=in_key, at=in_at)
    run = segments(packed)
    is_wrong = np.zeros(run[-1] + 1, bool)
    is_wrong[run[1:][wrong]] = True
    places = np.flatnonzero(is_wrong[run])
    order[places] = order[places[np.lexsort((in_at[places], in_key[places], run[places]))]]
    return _taken(events, order)


def _among(unit: Array, units: Array) -> Array:
    """Which rows are of one of these units; both are sorted."""
    first = runs(unit)
    own = unit[first]
    place = np.minimum(np.searchsorted(units, own), len(units) - 1)
    found = units[place] == own if len(units) else np.zeros(len(own), bool)
    return np.repeat(found, np.diff(np.append(first, len(unit))))


def _same(*columns: pl.Series) -> Array:
    """Of each row but the first whether it equals the one before."""
    same = np.ones(max(len(columns[0]) - 1, 0), bool)
    for column in columns:
        same &= column.head(len(same)).eq_missing(column.tail(len(same))).to_numpy()
    return same


def _number(columns: list[str]) -> pl.Expr:
    """Numbers from 0 for the values of sorted columns."""
    return (pl.col(columns[0]) if len(columns) == 1 else pl.struct(columns)).rle_id()


def rows_of(table: pl.DataFrame, none: int) -> Rows:
    """The events that are in order as arrays; `none` is the number of no value."""

    def ended(name: str, last: int, kind: type[np.generic]) -> Array:
        column = np.empty(table.height + 1, kind)
        column[:-1], column[-1] = table[name].to_numpy(), last
        return column

    def number(name: str) -> Array:
        return ended(name, -1, np.int64) if name in table.columns else group

    group = ended("group", -1, np.int64)
    return Rows(
        counted=number("counted"),
        group=group,
        owner=number("owner"),
        at=ended("at", FAR, np.int64),
        steps=ended("steps", 0, np.uint32),
        value=ended("code", none, np.uint32) if "code" in table.columns else np.zeros(table.height + 1, np.uint32),
    )


def runs(*columns: Array) -> Array:
    """Where a new combination of values begins."""
    changes = np.zeros(len(columns[0]), bool)
    changes[:1] = True
    for column in columns:
        changes[1:] |= column[1:] != column[:-1]
    return np.flatnonzero(changes)


def segments(*columns: Array) -> Array:
    """Numbers from 0 for runs of equal values."""
    changes = np.zeros(len(columns[0]), np.int64)
    changes[runs(*columns)] = 1
    return np.cumsum(changes) - 1
