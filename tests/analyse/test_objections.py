"""Objections, against a plain reading of each conversation."""

from collections import defaultdict
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from dropoff.analyse.patterns import objections
from dropoff.analyse.patterns.paths import FAILED, FAILED_LATE, WON, of, parse, side
from pathways import units

STEPS = ["bot:a", "bot:b", "agent", "prospect:yes", "prospect:objection_price", "objection:time", "objection:price"]
TALKS = st.lists(
    st.tuples(st.lists(st.sampled_from(STEPS), max_size=7), st.sampled_from([WON, FAILED, FAILED_LATE])), max_size=12
)


def read_plainly(talks):
    """By objection: conversations, won ones, steps before the first, and of each answer n, alive and won."""
    found: dict[str, list[Any]] = defaultdict(lambda: [0, 0, [], defaultdict(lambda: [0, 0, 0])])
    for path, group in talks:
        firsts = {name: i for i, step in reversed(list(enumerate(path))) if (name := objections.objection(step))}
        for name, first in firsts.items():
            own, is_won = found[name], group == WON
            own[0] += 1
            own[1] += is_won
            own[2].append(first)
            answer = next((i for i in range(first + 1, len(path)) if side(path[i]) != "prospect"), None)
            if answer is not None:
                alive = is_won or any(side(step) == "prospect" for step in path[answer:])
                counts = own[3][path[answer]]
                counts[:] = [counts[0] + 1, counts[1] + alive, counts[2] + is_won]
    return {name: (n, won, sorted(before), dict(answers)) for name, (n, won, before, answers) in found.items()}


@settings(max_examples=100)
@given(TALKS)
def test_each_objection_is_what_reading_each_conversation_says(talks):
    made = of(units([path for path, _ in talks], [group for _, group in talks]), parse({}))
    walked = [(made.path(row["path"]), row["group"]) for row in made.units.to_dicts()]
    expected, found = read_plainly(walked), objections.answer(made)
    assert {one["objection"] for one in found["objections"]} == set(expected)
    order = [(-one["conversations"], one["objection"]) for one in found["objections"]]
    assert order == sorted(order)
    for one in found["objections"]:
        n, won, before, answers = expected[one["objection"]]
        assert (one["conversations"], one["successful"].numerator, one["failed"].numerator) == (n, won, n - won)
        assert (one["share"].denominator, one["successful"].denominator) == (
            len(talks), sum(group == WON for _, group in talks),
        )  # fmt: skip
        assert one["steps_before"][1] == before[(n - 1) // 2]
        assert {
            row["answer"]: [row["alive"].denominator, row["alive"].numerator, row["won"].numerator]
            for row in one["answers"]
        } == answers
