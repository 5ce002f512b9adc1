"""The sections of what was learned: alerts, findings, experiments."""

from collections.abc import Callable, Mapping
from datetime import datetime
from zoneinfo import ZoneInfo

from dropoff.dashboard import findings, formats
from dropoff.dashboard import words as names
from dropoff.periods import Period
from dropoff.query import Params
from dropoff.report.value import Answered, Ask, Block, Bullets, Run, Runs, Section, note, paragraph, table, words

_EACH = 3


def anomalies(ask: Ask, period: Period) -> Section:
    """The alerts that fired in the period."""
    found, zone = ask("alerts/history", {"limit": ["1000"]}), ZoneInfo(period.timezone)
    inside = [
        place
        for place, one in enumerate(found.at("episodes"))
        if period.start <= datetime.fromisoformat(one["fired"]) < period.end
    ]
    if not inside:
        return Section("Anomalies", (note("No alert fired in this period."),))
    columns = {"fired": False, "resolved": False, "alert": False, "severity": False, "value": True, "usually": False}
    rows = [_episode(found, place, zone.key) for place in reversed(inside)]
    moved = [words(formats.visible(text)) for place in inside for text in found.at("episodes", place)["moved"][:_EACH]]
    blocks: list[Block] = [table("", columns, rows)]
    if moved:
        blocks += [paragraph("What moved most when they fired:"), Bullets(tuple(dict.fromkeys(moved)))]
    return Section("Anomalies", tuple(blocks))


def _episode(found: Answered, place: int, zone: str) -> list[str | Run]:
    one = found.at("episodes", place)
    segment = "" if one["segment"] is None else f" · {formats.visible(one['segment'])}"
    return [
        found.run(lambda at: formats.instant(at, zone), "episodes", place, "fired"),
        formats.instant(one["resolved"], zone) if one["resolved"] else "still firing",
        f"{formats.visible(one['name'])}{segment}",
        one["severity"],
        found.run(lambda value: formats.NONE if value is None else f"{value:.4g}", "episodes", place, "value"),
        formats.visible(one["usual"] or ""),
    ]


def learned(ask: Ask, long: Params) -> Section:
    """Patterns, messages and objections of a longer time."""
    patterns, messages = ask("patterns", long), ask("messages", long)
    period = patterns.at("period")
    zone = period["timezone"]
    days = f"{formats.day(period['from'], zone)} to {formats.last_day(period['to'], zone)}"
    groups = (
        ("Where ways part", _said(patterns, "divergence_points", findings.of_point)),
        ("What successful conversations do", _said(patterns, "successful", findings.of_pattern)),
        ("What failed conversations do", _said(patterns, "failed", findings.of_pattern)),
        ("Messages that do best", _messages(messages, "best_performing")),
        ("Messages that do worst", _messages(messages, "worst_performing")),
        ("Answers to objections", _answers(patterns)),
    )
    blocks: list[Block] = [note(f"Found in {days}: a short period holds too little.")]
    for title, found in groups:
        if found:
            blocks += [paragraph(f"{title}:"), Bullets(tuple(found))]
    if len(blocks) == 1:
        blocks.append(note("Nothing is confirmed: what differs may be chance."))
    return Section("Findings", (*blocks, note(findings.HONEST)))


def _said(found: Answered, name: str, write: Callable[[Mapping], str]) -> list[Runs]:
    return [words(found.run(write, name, place), ".") for place in range(min(_EACH, len(found.at(name))))]


def _messages(found: Answered, name: str) -> list[Runs]:
    definition = found.at("definition")

    def write(row: Mapping) -> str:
        name, place = formats.message_name(row, 120), formats.message_place(row)
        return f"{name} ({place}): {formats.message_said(row, definition)}"

    return [words(found.run(write, name, place)) for place in range(min(_EACH, len(found.at(name))))]


def _answers(found: Answered) -> list[Runs]:
    """The best and the worst answer to each objection whose answers differ."""
    lines = []
    for place, one in enumerate(found.at("objections")):
        differ = [i for i, row in enumerate(one["answers"]) if row["q_value"] is not None and row["q_value"] < 0.05]
        for i in differ[:2]:
            written = found.run(
                lambda row, name=one["objection"]: findings.of_answer(name, row), "objections", place, "answers", i
            )
            q = found.run(lambda q: f"q = {q:.2g}", "objections", place, "answers", i, "q_value")
            lines.append(words(written, ", ", q, "."))
    return lines[: 2 * _EACH]


def experiments(ask: Ask, params: Params, *, whole: bool) -> Section:
    """Every experiment with its decision; `whole` with what is still needed, as a portfolio."""
    found = ask("experiments", params)
    trials = found.at("experiments")
    if not trials:
        return Section("Experiments", (note("Nobody was exposed to a variant."),))
    columns = {"experiment": False, "decision": False, "units": True, "why": False}
    blocks: list[Block] = [table("", columns, [_trial(found, place) for place in range(len(trials))])]
    if whole:
        rows = [row for place in range(len(trials)) for row in _arms(found, place)]
        columns = {"experiment": False, "difference": False, "goal": False, "": True, "95 %": False, "q": True}
        blocks.append(table("Differences of goals", columns | {" ": False}, rows))
    return Section("Experiment portfolio" if whole else "Experiments", tuple(blocks))


def _trial(found: Answered, place: int) -> list[str | Run]:
    trial = found.at("experiments", place)
    decision = names.DECISIONS.get(trial["decision"], "Observational comparison")
    return [
        formats.visible(trial["experiment"]),
        f"{decision} {formats.visible(trial['variant'] or '')}".rstrip(),
        found.run(formats.number, "experiments", place, "units"),
        found.run(formats.visible, "experiments", place, "reason"),
    ]


def _arms(found: Answered, place: int) -> list[list[str | Run]]:
    trial = found.at("experiments", place)
    at = ("experiments", place, "comparisons")
    return [
        [
            formats.visible(trial["experiment"]), f"{formats.visible(row['a'])} − {formats.visible(row['b'])}",
            formats.label(row["metric"].removesuffix("_per_unit")),
            found.run(lambda d, metric=row["metric"]: formats.apart(d, metric), *at, i, "difference"),
            formats.apart_interval(row["interval"], row["metric"]),
            found.run(formats.chance, *at, i, "q_value"), row["verdict"],
        ]
        for i, row in enumerate(trial["comparisons"])
    ]  # fmt: skip
