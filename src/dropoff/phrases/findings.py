"""Patterns, and where a conversation stands, in plain words: for page and terminal."""

from collections.abc import Mapping, Sequence

from dropoff.phrases.formats import label, number, percent, points, span, sure, visible

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
