"""What a report says, as a value: made of answers alone, so its numbers are those of every other surface."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from dropoff.phrases import formats
from dropoff.query import Params
from dropoff.report import learned, losses, monthly, numbers, talks
from dropoff.report.spans import Spans, pinned
from dropoff.report.value import Answered, Ask, Kind, Report, Section

TITLES = {"weekly": "Weekly report", "monthly": "Monthly report"}


def contents(
    ask: Callable[[str, Params], Mapping[str, Any]], kind: Kind, spans: Spans, params: Params, now: datetime
) -> Report:
    """The report of these spans. `ask`: a question by its name; `params`: `where`, `include_test` and `as_of`."""

    def answered(question: str, asked: Params) -> Answered:
        return Answered(question, asked, ask(question, asked))

    here, before, long = (pinned(period, params) for period in spans)
    sections, summary = numbers.sections(answered, here, before)
    sections += [losses.section(answered, here), learned.anomalies(answered, spans.now, here)]
    if kind == "monthly":
        sections += [monthly.cohorts(answered, long), monthly.segments(answered, long)]
    found, tests = learned.learned(answered, long)
    sections += [found, _experiments(answered, kind, long, params), tests]
    sections.append(talks.section(answered, here))
    zone = ZoneInfo(spans.now.timezone)
    return Report(
        kind=kind, title=f"{TITLES[kind]}, {_days(spans, zone.key)}",
        subtitle=_subtitle(spans, params, now), period=spans.now.to_dict(),
        as_of=now.astimezone(zone).isoformat(timespec="seconds"), summary=summary, sections=tuple(sections),
    )  # fmt: skip


def _experiments(ask: Ask, kind: Kind, long: Params, params: Params) -> Section:
    # Experiments run longer than periods: all who were exposed up to the end of this one.
    asked = {"to": long["to"], "timezone": long["timezone"]}
    kept = {name: params[name] for name in ("where", "include_test", "as_of") if params.get(name)}
    return learned.experiments(ask, {**asked, **kept}, whole=kind == "monthly")


def _days(spans: Spans, zone: str) -> str:
    return f"{formats.day(spans.now.start, zone)} to {formats.last_day(spans.now.end, zone)}"


def _subtitle(spans: Spans, params: Params, now: datetime) -> str:
    zone = spans.now.timezone
    said = [f"Days of {zone}", f"made {formats.instant(now, zone)}"]
    said += [f"only {formats.visible(text)}" for text in params.get("where", ())]
    said += ["as of " + formats.visible(text) for text in params.get("as_of", ())]
    said += ["test traffic included"] if params.get("include_test") else []
    return "; ".join(said)
