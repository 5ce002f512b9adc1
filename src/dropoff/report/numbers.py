"""The section of numbers: the key metrics of the period beside those of the period before, and what changed."""

from collections.abc import Mapping
from typing import Any

from dropoff.dashboard import formats
from dropoff.report.links import trend_page
from dropoff.report.value import Answered, Ask, Block, Run, Runs, Section, note, table, words

RESULTS = (
    "conversations_started", "leads", "qualified_leads", "meetings_booked", "deals_closed", "revenue",
    "response_rate", "qualification_rate", "booking_rate", "meeting_show_rate", "win_rate",
)  # fmt: skip
CONDUCT = (
    "automation_rate", "escalation_rate", "fallback_rate", "error_rate", "opt_out_rate", "response_time", "csat",
    "sentiment_average",
)  # fmt: skip
"""How the bot does its work."""
_COLUMNS = {"metric": False, "value": True, "95 %": False, "of": True, "matured": False, "before": True, "": False}


def section(ask: Ask, now: Mapping[str, Any], before: Mapping[str, Any]) -> tuple[Section, tuple[Runs, ...]]:
    """The section, and its first lines for a message."""
    here, there = (ask("metrics", params) for params in (now, before))
    blocks: list[Block] = [
        table("Results", _COLUMNS, _rows(here, there, RESULTS)),
        table("How the bot works", _COLUMNS, _rows(here, there, CONDUCT)),
        note("Rates between stages are of the conversations that began in the period: some of them still go on."),
    ]
    return Section("Key metrics", tuple(blocks)), _summary(here, there)


def _rows(here: Answered, there: Answered, names: tuple[str, ...]) -> list[list[str | Run]]:
    rows: list[list[str | Run]] = []
    for place in _places(here, names):
        row, other = here.at("metrics", place), _same(there, here.at("metrics", place))
        page = trend_page(here.params, row["metric"])
        before = trend_page(there.params, row["metric"])
        rows.append([
            formats.label(row["metric"]),
            here.run(formats.measure, "metrics", place, page=page),
            formats.interval(row["interval"]) if row["interval"] else "",
            here.run(formats.basis, "metrics", place, page=page) if row["denominator"] is not None else "",
            here.run(_matured, "metrics", place, "matured", page=page) if row.get("matured") else "",
            formats.NONE if other is None else there.run(formats.measure, "metrics", other, page=before),
            formats.remarks(row),
        ])  # fmt: skip
    return rows


def _places(here: Answered, names: tuple[str, ...]) -> list[int]:
    """Where the metrics stand in the answer; money stands there once for each currency."""
    rows = here.at("metrics")
    return [place for name in names for place, row in enumerate(rows) if row["metric"] == name]


def _same(there: Answered, row: Mapping[str, Any]) -> int | None:
    """Where the same metric stands, in the same currency."""
    key = (row["metric"], row.get("currency"))
    found = [place for place, one in enumerate(there.at("metrics")) if (one["metric"], one.get("currency")) == key]
    return found[0] if found else None


def _summary(here: Answered, there: Answered) -> tuple[Runs, ...]:
    names = ("conversations_started", "qualified_leads", "meetings_booked", "response_rate")
    lines = []
    for place in _places(here, names):
        row = here.at("metrics", place)
        other = _same(there, row)
        page = trend_page(here.params, row["metric"])
        value = here.run(formats.measure, "metrics", place, page=page)
        before = formats.NONE if other is None else there.run(
            formats.measure, "metrics", other, page=trend_page(there.params, row["metric"])
        )  # fmt: skip
        lines.append(words(f"{formats.label(row['metric'])}: ", value, " (before: ", before, ")"))
    return tuple(lines)


def _matured(found: Mapping[str, Any]) -> str:
    return formats.matured({"matured": found})
