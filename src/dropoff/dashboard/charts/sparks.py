"""Small lines as SVG, drawn here: no script, no style attribute, and in words for those who do not see them."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from dropoff.phrases.formats import bucket, label

WIDTH, HEIGHT, EDGE = 240, 48, 4

Shown = Callable[[float | None, Mapping], str]
"""Writes a value in the unit of a row."""


class Mark(NamedTuple):
    """A vertical line, and what happened there."""

    x: float
    text: str


class Spark(NamedTuple):
    """Lines (a gap ends one), those that may still change, lone points, the last point, marks, and all in words."""

    lines: Sequence[str]
    young: Sequence[str]
    dots: Sequence[tuple[float, float]]
    last: tuple[float, float] | None
    marks: Sequence[Mark]
    text: str


def spark(row: Mapping, answer: Mapping, marked: Sequence[tuple[str, str]], shown: Shown) -> Spark:
    """The line of a metric. `marked`: instants with their texts; `shown` writes a value."""
    values, points = row["spark"], answer["points"]
    known = [value for value in values if value is not None]
    if not known:
        return Spark([], [], [], None, [], f"{label(row['metric'])}: no values.")
    low, high = min(known), max(known)
    if row["unit"] in ("count", "money"):
        low = min(0.0, low)
    places = [None if v is None else (_x(i, len(values)), _y(v, low, high)) for i, v in enumerate(values)]
    cut = len(places) if row["immature_from"] is None else row["immature_from"]
    runs, old, young = _runs(places), _runs(places[:cut]), _runs(places[max(cut - 1, 0) :] if cut < len(places) else [])
    marks = [Mark(_x(sum(begin <= at for begin in points) - 1, len(points)), text) for at, text in marked]
    return Spark(
        _lines(old),
        _lines(young),
        [run[0] for run in runs if len(run) == 1],
        runs[-1][-1],
        marks,
        _told(row, answer, shown),
    )


def _lines(runs: Sequence[Sequence[tuple[float, float]]]) -> list[str]:
    return [" ".join(f"{x:g},{y:g}" for x, y in run) for run in runs if len(run) > 1]


def _x(place: int, n: int) -> float:
    return round(EDGE + max(place, 0) * (WIDTH - 2 * EDGE) / max(n - 1, 1), 1)


def _y(value: float, low: float, high: float) -> float:
    part = (value - low) / (high - low) if high > low else 0.5
    return round(HEIGHT - EDGE - part * (HEIGHT - 2 * EDGE), 1)


def _runs(places: Sequence[tuple[float, float] | None]) -> list[list[tuple[float, float]]]:
    """What stands together without a gap."""
    found: list[list[tuple[float, float]]] = [[]]
    for place in places:
        if place is None:
            found.append([])
        else:
            found[-1].append(place)
    return [run for run in found if run]


def _told(row: Mapping, answer: Mapping, shown: Shown) -> str:
    zone, interval = answer["period"]["timezone"], answer["interval"]
    known = [(value, begin) for value, begin in zip(row["spark"], answer["points"], strict=True) if value is not None]
    (low, at_low), (high, at_high) = min(known), max(known)
    return (
        f"{label(row['metric'])} by {interval}: lowest {shown(low, row)} ({bucket(at_low, interval, zone)}), highest "
        f"{shown(high, row)} ({bucket(at_high, interval, zone)}), last {shown(known[-1][0], row)}."
    )
