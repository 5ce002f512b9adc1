"""The sections of what was learned: alerts, findings, experiments."""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from zoneinfo import ZoneInfo

from dropoff.analyse.stats import SIGNIFICANT
from dropoff.metrics import decimal
from dropoff.periods import Period
from dropoff.phrases import advice, findings, formats, running, utterances
from dropoff.phrases import words as names
from dropoff.phrases.addresses import common
from dropoff.query import Params
from dropoff.report.value import Answered, Ask, Block, Bullets, Run, Runs, Section, note, paragraph, table, words

_EACH = 3
_TESTS = 5


def anomalies(ask: Ask, period: Period, now: Params) -> Section:
    """The days that stand out, and the alerts that fired in the period."""
    odd = _unusual(ask("operations", now))
    return Section("Anomalies", (*(odd or [note("No day stands out.")]), *_alerts(ask, period)))


def _unusual(found: Answered) -> list[Block]:
    lines = []
    for part in running.PARTS:
        for place, span in enumerate(found.at(part.key, "unusual")):
            page = running.narrowed(span, found.answer, common(found.params))
            said = found.run(lambda one, key=part.key: running.said(key, one), part.key, "unusual", place, page=page)
            more = f"; mostly {running.most(span)}" if span["leading"] else ""
            lines.append(words(f"{running.when(span, found.answer)}: ", said, f"{more}."))
    return [Bullets(tuple(lines))] if lines else []


def _alerts(ask: Ask, period: Period) -> list[Block]:
    found, zone = ask("alerts/history", {"limit": ["1000"]}), ZoneInfo(period.timezone)
    inside = [
        place
        for place, one in enumerate(found.at("episodes"))
        if period.start <= datetime.fromisoformat(one["fired"]) < period.end
    ]
    if not inside:
        return [note("No alert fired.")]
    columns = {"fired": False, "resolved": False, "alert": False, "severity": False, "value": True, "usually": False}
    rows = [_episode(found, place, zone.key) for place in reversed(inside)]
    moved = [words(formats.visible(text)) for place in inside for text in found.at("episodes", place)["moved"][:_EACH]]
    blocks: list[Block] = [table("Alerts that fired", columns, rows)]
    if moved:
        blocks += [paragraph("What moved most when they fired:"), Bullets(tuple(dict.fromkeys(moved)))]
    return blocks


def _episode(found: Answered, place: int, zone: str) -> list[str | Run]:
    one = found.at("episodes", place)
    segment = "" if one["segment"] is None else f" · {formats.visible(one['segment'])}"
    return [
        found.run(lambda at: formats.instant(at, zone), "episodes", place, "fired"),
        formats.instant(one["resolved"], zone) if one["resolved"] else "still firing",
        f"{formats.visible(one['name'])}{segment}",
        one["severity"],
        found.run(lambda value: formats.NONE if value is None else decimal(value, 4), "episodes", place, "value"),
        formats.visible(one["usual"] or ""),
    ]


def learned(ask: Ask, long: Params) -> tuple[Section, Section]:
    """What goes along with success in a longer time, and what to test next."""
    found = ask("optimization", long)
    period = found.at("period")
    zone, goal = period["timezone"], found.at("definition", "goal")
    days = f"{formats.day(period['from'], zone)} to {formats.last_day(period['to'], zone)}"
    groups = (
        ("Where ways part", _said(found, partial(findings.of_point, goal=goal), "divergence_points")),
        (
            "What successful conversations do",
            _said(found, partial(findings.of_pattern, goal=goal), "patterns", "successful"),
        ),
        ("What failed conversations do", _said(found, partial(findings.of_pattern, goal=goal), "patterns", "failed")),
        ("Messages that do best", _messages(found, "best_messages")),
        ("Messages that do worst", _messages(found, "worst_messages")),
        ("Answers to objections", _answers(found)),
        ("Segments that differ", _said(found, advice.of_segment, "segments")),
    )
    blocks: list[Block] = [note(f"Found in {days}: a short period holds too little.")]
    for title, said in groups:
        if said:
            blocks += [paragraph(f"{title}:"), Bullets(tuple(said))]
    if len(blocks) == 1:
        blocks.append(note("Nothing is confirmed: what differs may be chance."))
    return Section("Findings", (*blocks, note(findings.HONEST))), _tests(found)


def _said(found: Answered, write: Callable[[Mapping], str], *at: str) -> list[Runs]:
    return [words(found.run(write, *at, place), ".") for place in range(min(_EACH, len(found.at(*at))))]


def _messages(found: Answered, name: str) -> list[Runs]:
    definition = found.at("messages")

    def write(row: Mapping) -> str:
        return utterances.sentence(row, definition, 120)

    return [words(found.run(write, name, place)) for place in range(min(_EACH, len(found.at(name))))]


def _answers(found: Answered) -> list[Runs]:
    """Of each objection the answers that differ from the others."""
    lines = []
    for place, one in enumerate(found.at("objections")):
        for i, row in enumerate(one["answers"]):
            if row["q_value"] is not None and row["q_value"] < SIGNIFICANT:

                def write(row: Mapping, name: str = one["objection"]) -> str:
                    return advice.of_answer(name, row)

                lines.append(words(found.run(write, "objections", place, "answers", i), "."))
    return lines[: 2 * _EACH]


def _tests(found: Answered) -> Section:
    """What to test next, the most gain for each week first; what is too small to be found stands last."""
    goal, tests = found.at("definition", "goal"), found.at("next_tests")
    worth = [
        words(found.run(lambda row: f"{advice.of_test(row)}. {advice.of_size(row, goal)}", "next_tests", place), ".")
        for place, row in enumerate(tests)
        if row["reason"] == "worth_it"
    ]
    small = [
        words(found.run(advice.of_small, "next_tests", place))
        for place, row in enumerate(tests)
        if row["reason"] == "too_small"
    ]
    blocks: list[Block] = [Bullets(tuple(worth[:_TESTS]))] if worth else [note("Nothing is large enough to be tested.")]
    if small:
        blocks += [paragraph("Too small to be found in time:"), Bullets(tuple(small[:_TESTS]))]
    proof = "Half of what was seen is taken for plausible, and the rank is the gain for each week of testing."
    return Section("What to test next", (*blocks, note(proof)))


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
