"""What may be done better in plain words, for page, terminal and report."""

from collections.abc import Mapping

from dropoff.phrases import findings
from dropoff.phrases.differences import of_mix
from dropoff.phrases.findings import step
from dropoff.phrases.formats import counted, interval, label, number, percent, points, quoted, span, sure, visible

PROOF = "It goes along with this and need not be its cause."

GOALS = {
    "responded": "answered conversations", "qualified": "qualified conversations", "booked": "booked meetings",
    "attended": "attended meetings", "opportunity": "opportunities", "converted": "won deals",
}  # fmt: skip
"""What a goal is counted in."""

WELL = {"went_on": "go on after it", "reply_rate": "are answered"}


def well(metric: str) -> str:
    """What it means that it goes well: `are answered`, `come to booked`."""
    return WELL.get(metric) or f"come to {visible(metric.removesuffix('_per_unit'))}"


def _intent(name: str) -> str:
    return visible(name).replace("_", " ")


def of_experiment(row: Mapping) -> str:
    """What to do with an experiment, and why."""
    decision = f"{visible(row['decision'])} {visible(row['variant'] or '')}".strip()
    why = visible(row["reason"]).removesuffix(".")
    return f"{visible(row['experiment'])} (n = {number(row['units'])}): {decision}. {why}"


def of_drop_off(row: Mapping) -> str:
    """How many are lost between two stages."""
    matured = row["matured"]
    known = f"; {percent(matured['value'])} of those old enough" if matured and matured["n"] else ""
    n = row["lost"] + row["went_on"]
    return (
        f"{label(row['from'])} → {visible(row['to'])}: {percent(row['drop_rate'])} of {number(n)} are lost so far "
        f"(95 %: {interval(row['interval'])}{known})"
    )


def of_said(row: Mapping) -> str:
    """After which words they fell silent."""
    rate = row["silence_rate"]
    return (
        f"after {_intent(row['intent'])} {percent(rate['value'])} fell silent (95 %: {interval(rate['interval'])}; "
        f"n = {number(rate['denominator'])}), {number(row['excess'])} more than the average there gives"
    )


def of_segment(row: Mapping) -> str:
    """Two segments that differ."""
    a, b = row["of"]
    sides = [f"{visible(one['segment'])} {percent(one['value'])} (n = {number(one['sample_size'])})" for one in (a, b)]
    mix = f". {of_mix(row).removesuffix('.')}" if row["mix"] else ""
    return (
        f"{label(row['metric'])} by {_intent(row['by'])}: {sides[0]} against {sides[1]}, {points(row['difference'])} "
        f"(95 %: {span(row['interval'], row['unit'])}; {sure(row['q_value'])}){mix}"
    )


def of_answer(objection: str, row: Mapping) -> str:
    """An answer to an objection beside the others."""
    said = findings.of_answer(objection, row)
    if row["q_value"] is None or row["difference"] is None:
        return f"{said} (95 %: {interval(row['alive']['interval'])})"
    beside = f"{points(row['difference'])} beside the other answers"
    return f"{said}, {beside} (95 %: {span(row['interval'], 'share')}; {sure(row['q_value'])})"


def of_test(row: Mapping) -> str:
    """What to test."""
    now, instead = row["now"], row["instead"]
    match row["what"]:
        case "message":
            return f"At {_intent(row['place'])}: say {quoted(instead, 110)} in place of {quoted(now, 110)}"
        case "drop_off":
            first, _, then = row["place"].partition(" → ")
            return f"Between {visible(first)} and {visible(then)}: another way to {_intent(now)}, or do without it"
        case "experiment":
            if row["reason"] == "too_small":
                weeks = counted(row["weeks"], "week")
                left = f"takes {weeks} to find: keep it running only if so small a difference matters"
            else:
                left = "may be found: let it run"
            return f"Experiment {visible(row['place'])}: what {visible(instead)} has before {visible(now)} {left}"
        case _:
            place = f"After {findings.chain([row['place']] if row['place'] else [])}"
            return f"{place}: {step(instead)} in place of {step(now)}"


def of_small(row: Mapping) -> str:
    """What is too small to test, and how long it would take."""
    return of_test(row) if row["what"] == "experiment" else f"{of_test(row)}: {counted(row['weeks'], 'week')}"


def of_size(row: Mapping, goal: str) -> str:
    """How large the test is, and what it may bring."""
    have = f", of which {number(row['have_per_arm'])} are there" if row["have_per_arm"] else ""
    effect = points(row["effect"]).removeprefix("+")
    if row["what"] == "experiment":
        effect += ", half of the one seen so far and not the one planned for,"
    return (
        f"{number(row['volume_per_week'])} a week come there, {percent(row['base'])} {well(row['metric'])} "
        f"(n = {number(row['n'])}). A rise of {effect} takes {number(row['sample_per_arm'])} in each arm{have}: "
        f"{number(row['weeks'], 1)} weeks. It may bring {gained(row)} {GOALS[goal]} a month"
    )


def gained(row: Mapping) -> str:
    """How many more a month: `54`, `0.6`."""
    return number(row["gain_per_month"], 0 if row["gain_per_month"] >= 10 else 1)
