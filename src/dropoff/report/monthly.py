"""What only a monthly report holds: cohorts, and a review of the segments."""

from dropoff.phrases import differences, formats
from dropoff.query import Params
from dropoff.report.value import Answered, Ask, Block, Bullets, Run, Section, note, paragraph, table, words

REVIEWED = ("response_rate", "booking_rate", "win_rate")
BY = ("channel", "source", "bot_version")
_EACH = 4


def cohorts(ask: Ask, long: Params) -> Section:
    """The share of each week's conversations that had come to a meeting, by age."""
    found = ask("cohorts", {**long, "stage": ["booked"]})
    zone, ages = found.at("period", "timezone"), found.at("ages")
    shown = ages[:6]
    columns = {"began": False, "n": True, **{f"week {age}": True for age in shown}, "by now": True}
    rows = [_cohort(found, place, zone, len(shown)) for place in range(len(found.at("cohorts")))]
    return Section("Cohorts", (
        paragraph("Of the conversations that began in a week, the share that had a meeting booked at each age."),
        table("", columns, rows),
        note("In brackets: not all of them have had that age yet, the share can still grow."),
    ))  # fmt: skip


def _cohort(found: Answered, place: int, zone: str, ages: int) -> list[str | Run]:
    one, at = found.at("cohorts", place), ("cohorts", place)
    cells: list[str | Run] = [
        "" if cell is None else found.run(_share, *at, "cells", i) for i, cell in enumerate(one["cells"][:ages])
    ]
    week = formats.bucket(one["from"], "week", zone)
    return [
        f"{week} (partial)" if one["partial"] else week, found.run(formats.number, *at, "n"), *cells,
        found.run(formats.percent, *at, "total", "value"),
    ]  # fmt: skip


def _share(cell: dict) -> str:
    text = formats.percent(cell["value"])
    return f"({text})" if cell["incomplete"] else text


def segments(ask: Ask, long: Params) -> Section:
    """For each metric and dimension: what differs, and what is best."""
    blocks: list[Block] = []
    for metric in REVIEWED:
        lines = [line for by in BY for line in _differences(ask("segments", {**long, "metric": [metric], "by": [by]}))]
        if lines:
            blocks += [paragraph(f"{formats.label(metric)}:"), Bullets(tuple(lines))]
    if not blocks:
        blocks.append(note("No segment differs from another beyond chance."))
    dimensions = ", ".join(by.replace("_", " ") for by in BY)
    return Section("Segments", (note(f"Compared by {dimensions}; a difference has q below 0.05."), *blocks))


def _differences(found: Answered) -> list[tuple[Run, ...]]:
    unit, by = found.at("definition", "unit"), found.at("definition", "by")
    count = len(found.at("significant_differences"))
    lines = [
        words(
            f"{formats.label(by)}: ",
            found.run(lambda row: differences.differs_or_mixes(row, unit), "significant_differences", i),
        )
        for i in range(min(_EACH, count))
    ]
    if count > _EACH:
        lines.append(words(f"{formats.label(by)}: and {formats.number(count - _EACH)} more differences."))
    return lines
