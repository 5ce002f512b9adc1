"""Patterns, and where a conversation stands, in plain words: for page and terminal."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from dropoff.phrases.formats import NONE, label, number, percent, points, signed, span, sure, visible

HONEST = (
    "What goes along with success need not cause it: each finding was made in one half of the contacts and confirmed "
    "in the other, and only an experiment can show a cause."
)

TELLING = 200
"""With fewer successes only large differences are confirmed."""
HINTS = 3
"""So many other stages are named."""

WHY = {
    "absent_in_successful": "hardly any successful conversation has it",
    "absent_in_failed": "hardly any failed conversation has it",
    "only_of_those_that_went_on": "hardly any has it but those that went on",
    "in_all_successful": "nearly all successful conversations have it",
    "in_all_failed": "nearly all failed conversations have it",
}

_SIDES = {"bot": "Bot", "prospect": "Prospect", "agent": "Agent", "objection": "Objection"}


def step(name: str) -> str:
    """A step as people read it: `bot:ask_need` → `Bot: ask need`, `prospect` → `Prospect`."""
    first, colon, rest = visible(name).partition(":")
    words = rest.replace("_", " ")
    return f"{_SIDES.get(first, first)}: {words}" if colon else _SIDES.get(first, first[:1].upper() + first[1:])


def chain(names: Sequence[str]) -> str:
    """Steps one after the other."""
    return " → ".join(map(step, names)) or "the beginning"


def path(names: Sequence[str]) -> str:
    """A whole path."""
    return chain(names) if names else "(nothing)"


def of_pattern(found: Mapping, goal: str) -> str:
    """A confirmed pattern as a sentence. `goal`: the stage that is the success."""
    how = {"step": "with ", "run": "with, one right after the other, ", "gapped": "with, in this order, "}[
        found["kind"]
    ]
    return f"Of the conversations {how}{chain(found['pattern'])} {_came(found, goal, 'length')}"


def of_point(found: Mapping, goal: str) -> str:
    """A place where ways part as a sentence. `goal`: the stage that is the success."""
    when = f"After the first {chain(found['after'])}" if found["kind"] == "after" else f"After {chain(found['after'])}"
    came = _came(found, goal, "how late that is")
    return f"{when}: of the conversations that went on with {step(found['branch'])} {came}"


def _came(found: Mapping, goal: str, by: str) -> str:
    """How many came to the goal, and the difference within strata.

    That of the two shares may have the other sign, so the others' share has no place here.
    """
    rate, apart = found["with"], f"{points(found['difference'])} [{span(found['interval'], 'share')}]"
    return (
        f"{percent(rate['value'])} (n = {number(rate['denominator'])}) came to {visible(goal)}; adjusted for {by}, "
        f"{apart} beside the others, {sure(found['q_value'])}"
    )


def nothing_found(answer: Mapping) -> bool:
    """Whether no pattern and no place is confirmed."""
    return not (answer["divergence_points"] or answer["successful"] or answer["failed"])


def more_telling(answer: Mapping) -> dict[str, int]:
    """Where few succeed, the earlier stages to which enough conversations came, the latest first, with how many."""
    if answer["conversations"]["successful"] >= TELLING:
        return {}
    stages = list(answer["reached"])
    earlier = stages[: stages.index(answer["definition"]["success"])]
    known = [(stage, n) for stage in reversed(earlier) if (n := answer["reached"][stage]) >= TELLING]
    return dict(known[:HINTS])


def compared(answer: Mapping) -> str:
    """Which two groups stand side by side, and from where their positions count."""
    both, n = answer["compared"], answer["compared"]["conversations"]
    anchor = f", around the first {step(both['anchor'])}" if both["anchor"] else ""
    return f"{visible(both['a'])} (n = {number(n[0])}) beside {visible(both['b'])} (n = {number(n[1])}){anchor}"


def positions(answer: Mapping) -> list[str]:
    """The columns of both matrices: from 1, or around the anchor."""
    return [signed(one, 0) if answer["compared"]["anchor"] else str(one) for one in answer["step_matrix"]["positions"]]


class Transition(NamedTuple):
    """How often a step follows another in either group, by itself and for each of its conversations."""

    step: str
    then: str
    a: str
    each_a: str
    b: str
    each_b: str
    difference: str


def transitions(answer: Mapping) -> list[Transition]:
    """The most frequent first."""
    totals = answer["compared"]["conversations"]
    return [_transition(one, totals) for one in answer["transitions"]]


def _transition(one: Mapping, totals: Sequence[int]) -> Transition:
    a, b = one["counts"]
    each = [n / total if total else None for n, total in zip((a, b), totals, strict=True)]
    apart = NONE if each[0] is None or each[1] is None else signed(each[0] - each[1], 2)
    return Transition(
        step(one["from"]), step(one["to"]), number(a), number(each[0], 2), number(b), number(each[1], 2), apart
    )


def shares(answer: Mapping) -> list[tuple[str, list[str]]]:
    """The step matrix: of either group the share at a step at each position, `66 / 65` in per cent."""
    matrix, totals = answer["step_matrix"], answer["compared"]["conversations"]
    return [
        (step(name), [_both(a, b, totals) for a, b in zip(*counts, strict=True)])
        for name, *counts in zip(matrix["steps"], matrix["a"], matrix["b"], strict=True)
    ]


def _both(a: int, b: int, totals: Sequence[int]) -> str:
    """Empty where nobody is."""
    of_each = (
        percent(n / total if total else None, 0).rstrip("\xa0%") for n, total in zip((a, b), totals, strict=True)
    )
    return " / ".join(of_each) if a or b else ""


def differences(answer: Mapping) -> list[tuple[str, list[str]]]:
    """The difference matrix in percentage points."""
    matrix = answer["difference_matrix"]
    return [
        (step(name), [apart(value) for value in row])
        for name, row in zip(matrix["steps"], matrix["values"], strict=True)
    ]


def apart(value: float) -> str:
    """A difference of two shares, `+4.2`; empty where it is less than half a point."""
    return points(value).removesuffix("pp").strip() if abs(value) >= 0.005 else ""


def of_answer(objection: str, row: Mapping) -> str:
    """An answer to an objection as a sentence."""
    alive = row["alive"]
    return (
        f"After {step(row['answer'])} to “{visible(objection).replace('_', ' ')}” {percent(alive['value'])} "
        f"(n = {number(alive['denominator'])}) went on"
    )


def next_step(conversation: Mapping) -> str:
    """What comes next in the funnel and what it takes, or why nothing does."""
    following = conversation["funnel"]["next"]
    if following is None:
        return "It reached the last stage."
    stage = label(following["stage"])
    event = label(following["event"]).lower()
    ending = conversation["ending"]
    if ending is not None and ending != "converted":
        return f"It ended as {label(ending).lower()} before {stage.lower()}: no event “{event}” came."
    return f"Next is {stage.lower()}: the event “{event}” has not come."
