"""The attempts of one unit at a time, where an instant's events could fill several steps in several ways.

The same definitions as in `attempts`, for the few units for which sorting does not settle them: here the steps that
fall on an instant are matched with its events.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import groupby

from dropoff.project.funnels import Funnel


class History:
    """The events of one unit in order of instant, steps (as bits) and value."""

    def __init__(self, at: Sequence[int], steps: Sequence[int], values: Sequence[int], funnel: Funnel) -> None:
        self._steps, self._values, self._funnel = steps, values, funnel
        self._at = sorted(set(at))
        self._events = [list(places) for _, places in groupby(range(len(at)), key=at.__getitem__)]

    def attempt(self, at: int) -> list[int]:
        """The furthest attempt that begins at this instant: the place of the event that fills each step, or -1."""
        first = bisect_left(self._at, at)
        window = self._funnel.window_micros
        limit = self._at[-1] if window is None else at + window
        return self._in_any_order(first, limit) if self._funnel.mode == "any" else self._in_order(first, limit)

    def _in_any_order(self, first: int, limit: int) -> list[int]:
        """In order of time each event with which one more step is filled than without it."""
        count = len(self._funnel.steps)
        taken: list[int] = []
        for instant in range(first, len(self._at)):
            if self._at[instant] > limit or len(taken) == count:
                break
            for event in self._events[instant]:
                if _match([_bits(self._steps[place]) for place in [*taken, event]]):
                    taken.append(event)
        return taken + [-1] * (count - len(taken))

    def _in_order(self, first: int, limit: int) -> list[int]:
        required = self._funnel.required
        for depth in range(len(required), 0, -1):
            instants = self._earliest(required[:depth], first, limit)
            if instants is not None:
                return self._filled(self._with_optional(dict(zip(required, instants, strict=False)), limit))
        raise AssertionError("an attempt begins where the first step is satisfied")

    def _earliest(self, steps: Sequence[int], first: int, limit: int) -> list[int] | None:
        """The earliest instants at which all these steps can be filled, the first at `first`; None if they cannot."""
        dead_ends: set[tuple[int, int]] = set()

        def fill(done: int, instant: int) -> list[int] | None:
            """Instants for the steps from `done` on, beginning here with as many as this instant can fill."""
            if (done, instant) in dead_ends:
                return None
            for stop in range(len(steps), done, -1):
                if not self._can_fill(instant, steps[done:stop]):
                    continue
                here = [instant] * (stop - done)
                if stop == len(steps):
                    return here
                # Strictly, whatever else happened at this instant stands between; only at the first it can be before.
                if self._funnel.mode == "strict" and done and len(self._events[instant]) > stop - done:
                    continue
                for later in self._after(instant, steps[stop], limit):
                    rest = fill(stop, later)
                    if rest is not None:
                        return here + rest
            dead_ends.add((done, instant))
            return None

        return fill(0, first)

    def _after(self, instant: int, step: int, limit: int) -> Iterator[int]:
        """The instants at which `step` may follow a required step that was filled at `instant`."""
        wait = self._funnel.within_micros[step]
        latest = limit if wait is None else min(limit, self._at[instant] + wait)
        stop = min(instant + 2, len(self._at)) if self._funnel.mode == "strict" else len(self._at)
        for later in range(instant + 1, stop):
            if self._at[later] > latest:
                return
            yield later

    def _with_optional(self, plan: dict[int, int], limit: int) -> dict[int, int]:
        """The plan with each optional step at the first instant that still has an event for it."""
        plan = dict(plan)
        for i, step in enumerate(self._funnel.steps):
            before = max((r for r in self._funnel.required if r < i), default=-1)
            if not step.optional or before not in plan:
                continue
            following = min((plan[r] for r in self._funnel.required if r > i and r in plan), default=len(self._at) - 1)
            wait = self._funnel.within_micros[i]
            latest = limit if wait is None else min(limit, self._at[plan[before]] + wait)
            for instant in range(max(plan[r] for r in plan if r < i), following + 1):
                if self._at[instant] > latest:
                    break
                if self._can_fill(instant, [*(r for r in plan if plan[r] == instant), i]):
                    plan[i] = instant
                    break
        return plan

    def _can_fill(self, instant: int, steps: Sequence[int]) -> bool:
        return _match([[e for e in self._events[instant] if self._steps[e] >> step & 1] for step in steps])

    def _filled(self, plan: dict[int, int]) -> list[int]:
        """The events that fill the steps as planned; of several the one with the first value, step by step."""
        filled = [-1] * len(self._funnel.steps)
        for instant in set(plan.values()):
            steps = sorted(step for step in plan if plan[step] == instant)
            left = sorted(self._events[instant], key=self._values.__getitem__)
            for i, step in enumerate(steps):
                for event in (e for e in left if self._steps[e] >> step & 1):
                    others = [e for e in left if e != event]
                    if _match([[e for e in others if self._steps[e] >> later & 1] for later in steps[i + 1 :]]):
                        filled[step], left = event, others
                        break
        return filled


def _bits(steps: int) -> list[int]:
    return [i for i in range(steps.bit_length()) if steps >> i & 1]


def _match(choices: Sequence[Sequence[int]]) -> bool:
    """Whether each can have one of its choices for itself."""
    taken: dict[int, int] = {}

    def settle(one: int, asked: set[int]) -> bool:
        for choice in choices[one]:
            if choice not in asked:
                asked.add(choice)
                if choice not in taken or settle(taken[choice], asked):
                    taken[choice] = one
                    return True
        return False

    return all(settle(one, set()) for one in range(len(choices)))
