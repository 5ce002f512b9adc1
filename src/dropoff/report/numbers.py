"""The sections of numbers: the key metrics against their targets and the period before, and what changed."""

from collections.abc import Mapping
from typing import Any

from dropoff.phrases import formats, verdicts
from dropoff.phrases.addresses import common, url
from dropoff.query import Params
from dropoff.report.links import trend_page
from dropoff.report.value import Answered, Ask, Block, Bullets, Run, Runs, Section, note, paragraph, table, words

CONDUCT = (
    "automation_rate", "escalation_rate", "fallback_rate", "error_rate", "opt_out_rate", "response_time", "csat",
    "sentiment_average",
)  # fmt: skip
"""How the bot does its work."""
_TOLD = ("conversations_started", "qualified_leads", "meetings_booked", "response_rate", "win_rate")
"""What a message tells of a report."""
_COLUMNS = {"metric": False, "value": True, "95 %": False, "of": True, "in the end": False}
_OF_CHANGE = {"metric": False, "now": True, "before": True, "within": False, "change": True, "q": True, "": False}
_OF_CONDUCT = {"metric": False, "value": True, "95 %": False, "of": True, "before": True, "": False}


def sections(ask: Ask, now: Params, before: Params) -> tuple[list[Section], tuple[Runs, ...]]:
    """The sections, and the first lines for a message."""
    found = ask("executive", now)
    zone, previous = found.at("period", "timezone"), found.at("definition", "previous")
    wanted = any(row["target"] for row in found.at("metrics"))
    columns = _COLUMNS | ({"target": False} if wanted else {})
    dates = f"{formats.day(previous['from'], zone)} to {formats.last_day(previous['to'], zone)}"
    since = _since(found)
    blocks: list[Block] = [
        table("Results", columns, [_row(found, place, wanted) for place in range(len(found.at("metrics")))]),
        *([table("Against the period before", _OF_CHANGE, since)] if since else []),
        note(
            f"Before: {dates}. {verdicts.AT_ONE_AGE} A change is more than chance with q below 0.05; money is not "
            "tested."
        ),
        _conduct(ask, now, before),
    ]
    return [Section("Key metrics", tuple(blocks)), _changed(found, zone)], _summary(found)


def _row(found: Answered, place: int, wanted: bool) -> list[str | Run]:
    row, at = found.at("metrics", place), ("metrics", place)
    page = trend_page(found.params, row["metric"])
    cells: list[str | Run] = [
        _name(row),
        found.run(formats.measure, *at, page=page),
        formats.interval(row["interval"]) if row["interval"] else "",
        found.run(formats.basis, *at, page=page) if formats.sample(row) is not None else "",
        _in_the_end(found, place, page) if row["immature"] else "",
    ]
    return [*cells, found.run(verdicts.of_target, *at, page=page) if row["target"] else ""] if wanted else cells


def _name(row: Mapping[str, Any]) -> str:
    return formats.label(row["metric"]) + (f", {formats.visible(row['currency'])}" if row.get("currency") else "")


def _since(found: Answered) -> list[list[str | Run]]:
    """A row for each metric that can be compared: both values at one age, the difference, and how sure that is."""
    rows = enumerate(found.at("metrics"))
    return [_change(found, place) for place, row in rows if row["change"] and row["change"]["difference"] is not None]


def _change(found: Answered, place: int) -> list[str | Run]:
    row, at = found.at("metrics", place), ("metrics", place, "change")
    page = trend_page(found.params, row["metric"])

    def side(value: float | None) -> str:
        return verdicts.side(value, row)

    return [
        _name(row),
        found.run(side, *at, "now", page=page),
        found.run(side, *at, "before", page=page),
        verdicts.age(row["change"]),
        found.run(lambda one: verdicts.apart(one, row), *at, page=page),
        found.run(lambda q: "" if q is None else formats.chance(q), *at, "q_value", page=page),
        verdicts.UNEVEN if verdicts.is_uneven(row) else "",
    ]


def _in_the_end(found: Answered, place: int, page: str) -> str | Run:
    """What a young rate comes to: projected, else matured."""
    row = found.at("metrics", place)
    if row.get("projected"):
        return found.run(lambda one: formats.projected({"projected": one}), "metrics", place, "projected", page=page)
    if row.get("matured"):
        return found.run(lambda one: formats.matured({"matured": one}), "metrics", place, "matured", page=page)
    return "still grows"


def _conduct(ask: Ask, now: Params, before: Params) -> Block:
    here, there = (ask("metrics", {**params, "metric": list(CONDUCT)}) for params in (now, before))
    rows = []
    for place, row in enumerate(here.at("metrics")):
        then = trend_page(_without_metric(there.params), row["metric"])
        page = trend_page(_without_metric(here.params), row["metric"])
        rows.append([
            formats.label(row["metric"]),
            here.run(formats.measure, "metrics", place, page=page),
            formats.interval(row["interval"]) if row["interval"] else "",
            here.run(formats.basis, "metrics", place, page=page) if formats.sample(row) is not None else "",
            there.run(formats.measure, "metrics", place, page=then),
            formats.remarks(row),
        ])  # fmt: skip
    return table("How the bot works", _OF_CONDUCT, rows)


def _without_metric(params: Params) -> Params:
    return {name: texts for name, texts in params.items() if name != "metric"}


def _changed(found: Answered, zone: str) -> Section:
    """A sentence for each change, and what accounts for it."""
    blocks: list[Block] = []
    for place, one in enumerate(found.at("changes")):
        at = ("changes", place)
        page = url("/trends", common(found.params), metric=one["metric"])
        said = found.run(lambda given: verdicts.of_change(given, zone), *at, page=page)
        blocks.append(paragraph(said, *_without(found, place, zone), f" {verdicts.why(one)}".rstrip()))
        causes = [
            words(
                found.run(
                    lambda given, of=one: verdicts.of_cause(given, of), *at, "causes", i, page=_listed(found, one, i)
                )
            )
            for i in range(len(one["causes"]))
        ]
        blocks += [Bullets(tuple(causes))] if causes else []
    return Section("What changed", tuple(blocks) if blocks else (note(verdicts.nothing(found.answer)),))


def _without(found: Answered, place: int, zone: str) -> list[str | Run]:
    """The day that makes the most of a change, where one does."""
    interval, one = found.at("interval"), found.at("changes", place)
    if one["apart"] is None:
        return []
    return [" ", found.run(lambda given: verdicts.of_day(given, interval, zone), "changes", place)]


def _listed(found: Answered, one: Mapping[str, Any], place: int) -> str | None:
    """The conversations of a cause, where conditions can say which."""
    where = one["causes"][place]["where"]
    return None if where is None else url("/conversations", {**common(found.params), "where": where})


def _summary(found: Answered) -> tuple[Runs, ...]:
    lines = []
    for name in _TOLD:
        for place, row in enumerate(found.at("metrics")):
            if row["metric"] == name:
                value = found.run(formats.measure, "metrics", place)
                since = found.run(verdicts.of_previous, "metrics", place)
                lines.append(words(f"{_name(row)}: ", value, "; ", since))
    return tuple(lines)
