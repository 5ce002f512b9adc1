"""SEMANTICS §4 on custom funnels once more, in plain Python, one unit at a time and by trying everything.

It takes events as dictionaries (`unit`, `at` in microseconds, `steps` and `exclusions` as sets of numbers, `held`,
`value`, `started`) and gives what `dropoff.analyse.funnels.attempts.attempts` must give. Only for small histories.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby, permutations, product
from typing import Any, NamedTuple

from dropoff.project.funnels import AtStep, Funnel

Event = dict[str, Any]
NEVER = float("inf")


class Attempt(NamedTuple):
    """One attempt: which event fills each step, by number of the step."""

    filled: dict[int, Event]
    depth: int
    start: int
    end: float  # the last instant at which it could have gone on
    is_void: bool = False


def interpret(
    events: Sequence[Event], funnel: Funnel, period: tuple[int, int], cuts: Sequence[int] | None = None
) -> list[tuple]:
    """The rows of `attempts`, sorted: (unit, value, bucket, entry, furthest, instants of the steps)."""
    rows = []
    for unit in {event["unit"] for event in events}:
        own = [event for event in events if event["unit"] == unit]
        if funnel.attribution == "all":
            for value in {event["value"] for event in own}:
                rows += [
                    (unit, value, *row) for row in _unit(own, funnel, period, cuts, lambda e, v=value: e["value"] == v)
                ]
        else:
            for attempt, row in _with_attempts(own, funnel, period, cuts, lambda e: True):
                value = _value(attempt, funnel)
                if value is not LEFT_OUT:
                    rows.append((unit, value, *row))
    return sorted(rows, key=repr)


LEFT_OUT = object()


def _unit(own: list[Event], funnel: Funnel, period: Any, cuts: Any, counts: Callable[[Event], bool]) -> Iterator[tuple]:
    return (row for _, row in _with_attempts(own, funnel, period, cuts, counts))


def _with_attempts(
    own: list[Event], funnel: Funnel, period: Any, cuts: Any, counts: Callable[[Event], bool]
) -> Iterator[tuple[Attempt, tuple]]:
    """The attempts of a unit that count, each with its row, among the events that `counts` lets through."""
    for attempt in _chosen(own, funnel, period, cuts, counts):
        instants = [attempt.filled[i]["at"] if i in attempt.filled else None for i in range(len(funnel.steps))]
        furthest = [i for i, step in enumerate(funnel.steps) if not step.optional][attempt.depth - 1]
        yield attempt, (_bucket(attempt, cuts), attempt.start, furthest, *instants)


def _bucket(attempt: Attempt, cuts: Sequence[int] | None) -> int | None:
    return None if cuts is None else sum(cut <= attempt.start for cut in cuts) - 1


def _chosen(own: list[Event], funnel: Funnel, period: Any, cuts: Any, counts: Callable[[Event], bool]) -> list[Attempt]:
    if funnel.mode in ("reached", "recorded"):
        return _untimed([event for event in own if counts(event)], funnel, period)
    attempts: list[list[Attempt]] = []
    for held in {event["held"] for event in own}:
        group = [event for event in own if counts(event) and event["held"] == held]
        others = [event for event in own if event not in group]
        excluding = [
            event
            for event in own
            if event["held"] in (None, held)
            and (counts(event) or (funnel.attribution == "all" and event["value"] is None))
        ]
        attempts.append([_judged(a, excluding, funnel) for a in _all_attempts(group, others, funnel, period)])
    if funnel.re_entry == "every":
        return [attempt for group in attempts for attempt in _apart([a for a in group if not a.is_void])]
    found = []
    for bucket in {_bucket(a, cuts) for group in attempts for a in group}:
        valid = []
        for group in attempts:
            mine = [a for a in group if _bucket(a, cuts) == bucket]
            surpassed = lambda a, mine=mine: any(v.is_void and v.start > a.start and v.depth > a.depth for v in mine)  # noqa: E731
            valid += [a for a in mine if not a.is_void and not surpassed(a)]
        if valid:
            found.append(min(valid, key=lambda a: (-a.depth, a.start, _instants(a, funnel), _values(a, funnel))))
    return found


def _instants(attempt: Attempt, funnel: Funnel) -> list[float]:
    return [attempt.filled[i]["at"] if i in attempt.filled else NEVER for i in range(len(funnel.steps))]


def _values(attempt: Attempt, funnel: Funnel) -> list[tuple]:
    return [_rank(attempt.filled[i]) if i in attempt.filled else (1, "") for i in range(len(funnel.steps))]


def _rank(event: Event) -> tuple:
    return (event["value"] is None, event["value"] or "")


def _untimed(own: list[Event], funnel: Funnel, period: Any) -> list[Attempt]:
    own = [event for event in own if event["steps"] and period[0] <= event["started"] < period[1]]
    if not own:
        return []
    own.sort(key=_place)
    filled = {i: event for i in range(len(funnel.steps)) for event in reversed(own) if i in event["steps"]}
    return [Attempt(filled, max(filled) + 1, own[0]["started"], 0)]


def _place(event: Event) -> tuple:
    return (event["at"], sum(1 << step for step in event["steps"]), *_rank(event))


# all attempts of a group


def _all_attempts(group: list[Event], others: list[Event], funnel: Funnel, period: Any) -> Iterator[Attempt]:
    begins = [e for e in group if (e["steps"] if funnel.mode == "any" else 0 in e["steps"])]
    way = {"ordered": _ordered, "strict": _strict, "any": _any}[funnel.mode]
    for start in sorted({event["at"] for event in begins if period[0] <= event["at"] < period[1]}):
        limit = start + funnel.window_micros if funnel.window else NEVER
        yield way(group, others, funnel, start, limit)


def _ordered(group: list[Event], _: list[Event], funnel: Funnel, start: int, limit: float) -> Attempt:
    required = [i for i, step in enumerate(funnel.steps) if not step.optional]

    def ways(chain: list[Event]) -> Iterator[list[Event]]:
        yield chain
        if len(chain) == len(required):
            return
        step = required[len(chain)]
        within = funnel.within_micros[step]
        for event in group:
            if event["at"] < chain[-1]["at"] or event["at"] > limit or any(event is used for used in chain):
                continue
            if step in event["steps"] and (within is None or event["at"] - chain[-1]["at"] <= within):
                yield from ways([*chain, event])

    chains = [way for event in group if event["at"] == start and 0 in event["steps"] for way in ways([event])]
    depth = max(map(len, chains))
    instants = min([event["at"] for event in chain] for chain in chains if len(chain) == depth)
    plan = _with_optional(group, funnel, dict(zip(required, instants, strict=False)), limit)
    return _attempt(group, funnel, plan, depth, limit)


def _with_optional(group: list[Event], funnel: Funnel, plan: dict[int, int], limit: float) -> dict[int, int]:
    """Each optional step at the first instant at which some way to fill all planned ones leaves an event for it."""
    required = [i for i, step in enumerate(funnel.steps) if not step.optional]
    for i, step in enumerate(funnel.steps):
        before = max((r for r in required if r < i), default=-1)
        if step.optional and before in plan:
            until = min([plan[r] for r in required if r > i and r in plan] + [limit])
            within = funnel.within_micros[i]
            if within is not None:
                until = min(until, plan[before] + within)
            since = max(plan[r] for r in plan if r < i)
            for at in sorted({event["at"] for event in group if since <= event["at"] <= until}):
                if next(_assignments(group, {**plan, i: at}), None) is not None:
                    plan = {**plan, i: at}
                    break
    return plan


def _assignments(group: list[Event], plan: dict[int, int]) -> Iterator[dict[int, Event]]:
    """All ways to fill the planned steps at their instants, each by another event."""
    steps = sorted(plan)
    choices = [[e for e in group if e["at"] == plan[step] and step in e["steps"]] for step in steps]
    for events in product(*choices):
        if len({id(event) for event in events}) == len(events):
            yield dict(zip(steps, events, strict=True))


def _attempt(group: list[Event], funnel: Funnel, plan: dict[int, int], depth: int, limit: float) -> Attempt:
    filled = min(_assignments(group, plan), key=lambda way: [_rank(way[step]) for step in sorted(way)])
    required = [i for i, step in enumerate(funnel.steps) if not step.optional]
    end = limit
    within = funnel.within_micros[required[depth]] if depth < len(required) else None
    if within is not None:
        end = min(end, plan[required[depth - 1]] + within)
    return Attempt(filled, depth, plan[0], end)


def _strict(group: list[Event], others: list[Event], funnel: Funnel, start: int, limit: float) -> Attempt:
    """Every order in which all events can have happened, every event of the first step in it."""
    plans = []
    for order in _orders([*group, *others]):
        for i, event in enumerate(order):
            if event["at"] != start or 0 not in event["steps"] or not _is_in(event, group):
                continue
            chain = [event]
            for step, following in enumerate(order[i + 1 : i + len(funnel.steps)], 1):
                within = funnel.within_micros[step]
                if (
                    not _is_in(following, group)
                    or step not in following["steps"]
                    or following["at"] > limit
                    or (within is not None and following["at"] - chain[-1]["at"] > within)
                ):
                    break
                chain.append(following)
            plans.append([one["at"] for one in chain])
    depth = max(map(len, plans))
    instants = min(plan for plan in plans if len(plan) == depth)
    return _attempt(group, funnel, dict(enumerate(instants)), depth, limit)


def _is_in(event: Event, group: list[Event]) -> bool:
    return any(event is one for one in group)


def _orders(events: Iterable[Event]) -> Iterator[list[Event]]:
    ties = [list(tied) for _, tied in groupby(sorted(events, key=lambda e: e["at"]), key=lambda e: e["at"])]
    for parts in product(*(permutations(tied) for tied in ties)):
        yield [event for part in parts for event in part]


def _any(group: list[Event], _: list[Event], funnel: Funnel, start: int, limit: float) -> Attempt:
    """In order of time, each event with which more steps can be filled, whoever fills which."""
    taken: list[Event] = []
    for event in sorted((e for e in group if start <= e["at"] <= limit), key=_place):
        if _most([*taken, event]) > len(taken):
            taken.append(event)
    return Attempt(dict(enumerate(taken)), len(taken), start, limit)


def _most(events: list[Event]) -> int:
    """How many steps these events can fill, one each."""
    choices = [[*event["steps"], None] for event in events]
    ways = ([step for step in way if step is not None] for way in product(*choices))
    return max((len(way) for way in ways if len(set(way)) == len(way)), default=0)


# which attempts count


def _judged(attempt: Attempt, excluding: list[Event], funnel: Funnel) -> Attempt:
    for i, exclusion in enumerate(funnel.exclusions):
        first, last = exclusion.between
        if first not in attempt.filled:
            continue
        for event in excluding:
            since = attempt.filled[first]["at"]
            before_last = (
                event["at"] < attempt.filled[last]["at"] if last in attempt.filled else event["at"] <= attempt.end
            )
            if i in event["exclusions"] and since < event["at"] and before_last:
                return attempt._replace(is_void=True)
    return attempt


def _apart(attempts: list[Attempt]) -> list[Attempt]:
    """The furthest, the earliest of equals; then the same of those that lie wholly before or after it."""
    last = lambda a: max(event["at"] for event in a.filled.values())  # noqa: E731
    taken: list[Attempt] = []
    for attempt in sorted(attempts, key=lambda a: (-a.depth, a.start)):
        if all(last(attempt) < other.start or attempt.start > last(other) for other in taken):
            taken.append(attempt)
    return taken


def _value(attempt: Attempt, funnel: Funnel) -> Any:
    if funnel.by is None:
        return None
    events = [attempt.filled[i] for i in sorted(attempt.filled)]
    if isinstance(funnel.attribution, AtStep):
        return (
            attempt.filled[funnel.attribution.step]["value"] if funnel.attribution.step in attempt.filled else LEFT_OUT
        )
    if not funnel.by.startswith("event:"):
        return events[0]["value"]
    if funnel.mode in ("reached", "recorded"):
        events.sort(key=_place)
    given = [event["value"] for event in events if event["value"] is not None]
    return None if not given else given[0] if funnel.attribution == "first" else given[-1]
