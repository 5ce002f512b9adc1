"""Over any time line an evaluator that is killed again and again tells what one that never was tells."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from dropoff.alerts.evaluate import Evaluator
from dropoff.alerts.files import Place
from dropoff.alerts.judge import Judged, Sums
from dropoff.alerts.memory import Memory
from dropoff.alerts.past import Window
from dropoff.alerts.rules import Rule, parse
from dropoff.alerts.values import Reading
from dropoff.control.sqlite import SqliteControl

START = datetime(2024, 1, 15, 10, tzinfo=UTC)
FOUND = {
    True: Judged(0.5, 100, None, 0.5), False: Judged(0.1, 100, None, 0.1),
    "insufficient": Judged(0.5, 5, "insufficient"), "no_data": Judged(None, 0, "no_data"),
}  # fmt: skip


class Step(NamedTuple):
    """An evaluation so many seconds after the one before: what it finds, and whether it is a new evaluator's."""

    seconds: int
    found: bool | str
    restarts: bool


class Played:
    """A reader that finds what it is told; an error where that is nothing it can find."""

    store = SimpleNamespace(shared=True)
    zone = ZoneInfo("UTC")
    found: bool | str = False

    def groups(self, rules: Sequence[Any]) -> list[list[Any]]:
        return [[rule] for rule in rules]

    def events(self) -> int:
        return 0

    def window(self, rule: Rule, now: datetime) -> Window:
        return Window(now - rule.window, now)

    def read(self, group: Sequence[Any], now: datetime) -> dict[str, list[Reading]]:
        window = self.window(group[0], now)
        return {group[0].name: [Reading("", window, Sums(0.0, 0.0), FOUND[self.found])]}

    def keep(self, *_: object) -> None:
        """For the page of alerts, which is not here."""


def told(steps: Sequence[Step], options: dict[str, str], *, restarts: bool) -> tuple[list[Any], list[Any]]:
    """The notices, and what stood after each step of what lasts: all but when it was last looked at."""
    rule = parse(
        [{"metric": "fallback_rate", "condition": "exceeds", "threshold": 0.2, "window": "1_hour", **options}],
        Place("test"),
    )
    now, reader, notices, stood = START, Played(), [], []
    with TemporaryDirectory() as directory, closing(SqliteControl(Path(directory) / "control.db")) as control:
        evaluator = None
        for step in steps:
            if evaluator is None or (restarts and step.restarts):
                evaluator = Evaluator(reader, control, rule, notices.append, "one")  # type: ignore[arg-type]
            now, reader.found = now + timedelta(seconds=step.seconds), step.found
            evaluator.evaluate(now)
            kept = Memory(control).states(rule[0].name).value.states
            stood.append({segment: replace(state, seen=None) for segment, state in kept.items()})
    return [(n.id, n.kind, n.since, n.at) for n in notices], stood


# A pause is measured from the last look that was written down, which is up to a minute old: none is drawn so near to
# the five minutes after which nobody knows what was between.
STEPS = st.lists(
    st.builds(
        Step, st.integers(2, 240) | st.integers(301, 4000), st.sampled_from([*FOUND, True, False, "error"]),
        st.booleans(),
    ),
    min_size=1, max_size=25,
)  # fmt: skip
OPTIONS = st.fixed_dictionaries(
    {
        "for": st.sampled_from(["0s", "1m", "5m"]),
        "keep_firing_for": st.sampled_from(["0s", "2m", "10m"]),
        "no_data": st.sampled_from(["ok", "keep", "alert"]),
        "repeat": st.sampled_from(["10m", "4h"]),
    }
)


@settings(max_examples=40)
@given(STEPS, OPTIONS)
def test_a_restart_at_any_point_changes_nothing(steps: list[Step], options: dict[str, str]):
    notices, stood = told(steps, options, restarts=False)
    assert told(steps, options, restarts=True) == (notices, stood)
    kinds = [kind for _, kind, _, _ in notices if kind != "repeated"]
    assert kinds == (["fired", "resolved"] * len(kinds))[: len(kinds)]
    assert len({id for id, *_ in notices}) == len(notices)  # noqa: A001
