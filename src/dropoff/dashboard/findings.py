"""Patterns, and where a conversation stands, in plain words: for page and terminal."""

from collections.abc import Mapping, Sequence

from dropoff.dashboard.formats import label, number, percent, points, span, visible

HONEST = (
    "What goes along with success need not cause it: each finding was made in one half of the contacts and confirmed "
    "in the other, and only an experiment can show a cause."
)

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


def of_pattern(found: Mapping) -> str:
    """A confirmed pattern as a sentence."""
    how = {"step": "with ", "run": "with, one right after the other, ", "gapped": "with, in this order, "}[
        found["kind"]
    ]
    return f"Conversations {how}{chain(found['pattern'])} {_won(found)} of others as long: {_apart(found)}"


def of_point(found: Mapping) -> str:
    """A place where ways part as a sentence."""
    when = f"After the first {chain(found['after'])}" if found["kind"] == "after" else f"After {chain(found['after'])}"
    way = f"conversations that went on with {step(found['branch'])}"
    return f"{when}: {way} {_won(found)} of those that went on otherwise: {_apart(found)}"


def _won(found: Mapping) -> str:
    one, other = found["with"], found["without"]
    return (
        f"were won in {percent(one['value'])} (n = {number(one['denominator'])}) against {percent(other['value'])} "
        f"(n = {number(other['denominator'])})"
    )


def _apart(found: Mapping) -> str:
    """The difference within strata: it need not be that of the two shares."""
    return f"{points(found['difference'])} [{span(found['interval'], 'share')}], q = {found['q_value']:.2g}"


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
