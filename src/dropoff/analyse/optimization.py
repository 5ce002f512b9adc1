"""What may be done better: experiments, messages, drop-offs, segments, patterns, objections, and what to test next.

Nothing is measured here: every number is that of another question, asked with the same period and filters, so it is the
same on the page that a finding leads to. What stands here is which findings come first.
"""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from dropoff.analyse import next_tests
from dropoff.analyse.answers import instant
from dropoff.analyse.next_tests import Row
from dropoff.analyse.remembered import Kept, Remembered, is_current
from dropoff.analyse.stats import SIGNIFICANT
from dropoff.analyse.young import Step, Waits
from dropoff.errors import InvalidInput
from dropoff.periods import Period
from dropoff.project.experiments import GOALS
from dropoff.query import Params, Query, choice, one
from dropoff.store.base import Store

TOP = 5
"""So many findings of a kind are given at most."""
LISTED = 20
"""And so many tests."""
RECENT = timedelta(days=30)
"""What to test next rests on the last so many days of the period: what the bot no longer says is not tested."""
RUNNING = timedelta(days=14)
"""An experiment to which nobody was exposed in the last days of as many runs no more."""

METRICS = ("response_rate", "qualification_rate", "booking_rate", "win_rate")
SPLITS = ("channel", "medium", "source", "industry", "company_size")
"""Which metrics are compared by which dimensions."""

QUESTIONS = len(METRICS) * len(SPLITS) + 10
"""About so many other questions are asked."""

WORK = ("all", "ready")
"""Whether what takes long is worked out, or only given where it has been."""

LONG = ("drop_offs", "segments", "divergence_points", "patterns", "objections", "next_tests")
"""The parts that take long."""

FIRST = "started"
_MEASURE_OF = {"booked": "booking_rate", "converted": "conversion_rate"}
"""What messages call a goal. Of another a reply is worth what it is to go on at the stage at which the message is
said."""
_ORDER = ("ship", "roll back", "invalid", "keep running")
_TEXT = (
    "What may be done better, the strongest findings of each question. Goal: {goal}. Only experiments show causes; all "
    "else goes along with success."
)

Ask = Callable[[str, Params], dict[str, Any]]
"""The answer to a question of `Analytics`, by name."""


class Asks(NamedTuple):
    """How other questions are asked, with which parameters for all of them, and how long each stage is waited for."""

    ask: Ask
    params: Params
    waits: Waits


class Asked(NamedTuple):
    """The stage that is the goal, and one of `WORK`."""

    goal: str
    work: str


def parse(params: Params, recorded: Set[str]) -> Asked:
    """`goal` (default: meetings booked where there are any, else the last recorded stage) and `work`."""
    work, goal = choice(params, "work", WORK, WORK[0]), one(params, "goal")
    known = [stage for stage in GOALS if stage in recorded]
    if goal is None:
        return Asked("booked" if "booked" in known or not known else known[-1], work)
    if goal not in GOALS:
        raise InvalidInput("goal", goal, f"one of {', '.join(GOALS)}")
    return Asked(goal, work)


@dataclass(frozen=True)
class World:
    """What the findings are of. `waits`: by goal how many days after the start it is waited for."""

    period: Period
    now: datetime
    waits: Mapping[str, float]

    @property
    def recent_start(self) -> datetime:
        """Where the last days begin."""
        return max(self.period.end - RECENT, self.period.start)

    @property
    def end(self) -> datetime:
        """Where they end, as far as they are over."""
        return min(self.period.end, self.now)

    @property
    def recent_weeks(self) -> float:
        """How many weeks they are."""
        return (self.end - self.recent_start) / timedelta(weeks=1)

    def recent(self, params: Params) -> Params:
        """The same question of the last days."""
        return {**params, "from": [self.recent_start.isoformat()], "to": [self.period.end.isoformat()]}


def definition(goal: str, world: World) -> dict[str, Any]:
    """What is said of the whole answer. `recent`: the days on which what to test next rests."""
    recent = Period(world.recent_start, world.period.end, world.period.timezone)
    return {
        "text": _TEXT.format(goal=goal), "goal": goal, "metrics": list(METRICS), "splits": list(SPLITS),
        "recent": recent.to_dict(), "longest_weeks": next_tests.LONGEST,
    }  # fmt: skip


def answer(store: Store, query: Query, asked: Asked, asks: Asks, remembered: Remembered) -> dict[str, Any]:
    """The shape `optimization` of the API."""
    ask, params, now = asks.ask, asks.params, query.now
    key = (query.period, query.where, query.include_test, asked.goal)
    first = ("quick", *key, "from" in params or "to" in params)  # else experiments are of all time
    world = World(query.period, now, waits_of(asks.waits))
    is_ready = asked.work == "ready"
    short = (remembered.get if is_ready else remembered.ask)(store, first, now, lambda: quick(ask, params))
    if is_ready:
        long = remembered.shown(store, ("long", *key), now)
    else:
        long = remembered.ask(store, ("long", *key), now, lambda: findings(ask, params, asked.goal, world))
    return {
        "period": query.period.to_dict(),
        "as_of": instant(now),
        "definition": definition(asked.goal, world),
        **short.answer,
        **(long.answer if long else dict.fromkeys(LONG)),
        "quick": _made(short, store, now),
        "worked_out": long and _made(long, store, now),
    }


def _made(kept: Kept, store: Store, now: datetime) -> dict[str, Any]:
    """When a part was made, and whether it would be no other now."""
    return {"at": instant(kept.at), "is_current": is_current(kept, store, now)}


def waits_of(waits: Waits) -> dict[str, float]:
    """Days from the start to each goal, by its stage and by its name."""
    days = {stage: waits.of(Step("started", stage)).days for stage in GOALS}
    return days | {goal.name: days[stage] for stage, goal in GOALS.items()}


# what is ready at once


def quick(ask: Ask, params: Params) -> dict[str, Any]:
    """Experiments, and the best and worst messages as far as that is no chance."""
    messages = ask("messages", params)
    return {
        "experiments": experiments(ask("experiments", params)["experiments"]),
        "best_messages": [row for row in messages["best_performing"] if row["verdict"] == "better"],
        "worst_messages": [row for row in messages["worst_performing"] if row["verdict"] == "worse"],
        "messages": {name: messages["definition"][name] for name in ("rank", "unit", "good")},
    }


def experiments(trials: Sequence[Row]) -> list[dict[str, Any]]:
    """Those that need something done first; of observational comparisons nothing is decided, so they are left out."""
    real = [trial for trial in trials if trial["decision"] is not None]
    real.sort(key=lambda trial: (_ORDER.index(trial["decision"]), -trial["units"], trial["experiment"]))
    return [_experiment(trial) for trial in real[:TOP]]


def _experiment(trial: Row) -> dict[str, Any]:
    kept = ("experiment", "decision", "variant", "reason", "units", "first_exposed_at", "last_exposed_at")
    return {
        **{name: trial[name] for name in kept},
        "variants": [arm["variant"] for arm in trial["arms"]],
        "comparison": _first(trial["comparisons"]),
        "days_left": trial["needed"][0]["days_left"] if trial["needed"] else None,
    }


def _first(rows: Sequence[Row]) -> dict[str, Any] | None:
    """Of the comparisons the surest; where none is sure, that of the first goal."""
    tested = [row for row in rows if row["q_value"] is not None]
    names = ("metric", "a", "b", "n", "difference", "interval", "q_value", "verdict")
    if not tested:
        return None
    found = min(tested, key=lambda row: row["q_value"] if row["q_value"] < SIGNIFICANT else 1.0)
    return {name: found[name] for name in names}


# what takes long


def findings(ask: Ask, params: Params, goal: str, world: World) -> dict[str, Any]:
    """The parts of `LONG`."""
    paths = ask("patterns", {**params, "success": [goal]})
    recent = world.recent(params)
    is_all = world.recent_start == world.period.start
    drops = drop_offs(ask, params, goal)
    return {
        "drop_offs": [brief(drop) for drop in drops["drop_offs"]][:TOP],
        "segments": segments(ask, params),
        "divergence_points": paths["divergence_points"][:TOP],
        "patterns": {name: paths[name][:TOP] for name in ("successful", "failed")},
        "objections": paths["objections"][:TOP],
        "next_tests": tests(
            ask, recent, goal, world,
            paths if is_all else ask("patterns", {**recent, "success": [goal]}),
            drops if is_all else drop_offs(ask, recent, goal),
        ),
    }  # fmt: skip


def drop_offs(ask: Ask, params: Params, goal: str) -> dict[str, Any]:
    """Those between the start and the goal, the highest rate first, each explained; and how many came to each stage."""
    counts = {one["stage"]: one["count"] for one in ask("funnel", params)["stages"]}
    until = list(counts).index(goal)
    plain = ask("dropoffs", {**params, "explain": ["none"]})["drop_offs"]
    wanted = [drop["from"] for drop in plain if list(counts).index(drop["to"]) <= until]
    explained = [
        next(drop for drop in ask("dropoffs", {**params, "explain": [stage]})["drop_offs"] if drop["from"] == stage)
        for stage in wanted
    ]
    return {"drop_offs": explained, "counts": counts}


def brief(drop: Row) -> dict[str, Any]:
    """A drop-off with what the bot said most often before an unusual silence."""
    why = drop["explanation"]
    kept = ("from", "to", "drop_rate", "volume_lost", "interval", "matured", "projected")
    return {
        **{name: drop[name] for name in kept},
        "lost": why["lost"], "went_on": why["went_on"], "silent": why["silent"],
        "messages": [row for row in why["messages"] if row["excess"] > 0 and not next_tests.is_natural(row)][:2],
    }  # fmt: skip


def segments(ask: Ask, params: Params) -> list[dict[str, Any]]:
    """Of each split the surest difference, where it also holds over all splits together (Bonferroni)."""
    many = len(METRICS) * len(SPLITS)
    found = []
    for metric in METRICS:
        for by in SPLITS:
            answer = ask("segments", {**params, "metric": [metric], "by": [by]})
            sure = [row for row in answer["significant_differences"] if row["q_value"] < SIGNIFICANT / many]
            if sure:
                found.append(_segment(answer, by, max(sure, key=lambda row: (_bound(row), row["a"], row["b"]))))
    return sorted(found, key=lambda row: (-_bound(row), row["metric"], row["by"]))[:TOP]


def _bound(row: Row) -> float:
    """How large a difference is at least; where no interval is known, as it is."""
    return row["interval"][0] if row["interval"] else row["difference"]


def _segment(answer: Row, by: str, row: Row) -> dict[str, Any]:
    values = {one["segment"]: one for one in answer["segments"]}
    shown = ("segment", "value", "sample_size", "clusters", "confidence", "where")
    return {
        "metric": answer["metric"], "by": by, "units": answer["definition"]["units"], "tested": answer["tested"],
        "unit": answer["definition"]["unit"], **row,
        "of": [{name: values[side][name] for name in shown} for side in (row["a"], row["b"])],
    }  # fmt: skip


# what to test next


def tests(ask: Ask, params: Params, goal: str, world: World, paths: Row, drops: Row) -> list[dict[str, Any]]:
    """All candidates of the last days, the best first."""
    weeks, waits = world.recent_weeks, world.waits
    of_all_time = {name: texts for name, texts in params.items() if name not in ("from", "to")}
    trials = [one for one in ask("experiments", of_all_time)["experiments"] if _runs(one, world.end)]
    messages = ask("messages", {**params, "limit": ["1000"]})["messages"]
    taken = {arm["variant"] for trial in trials for arm in trial["arms"]}
    soon, late = waits["responded"], waits[goal]

    def worth(stage: str) -> float:
        why = next(drop["explanation"] for drop in drops["drop_offs"] if drop["from"] == stage)
        alive = why["lost"] + why["went_on"] - why["silent"]
        return min(drops["counts"][goal] / alive, 1.0) if alive else 0.0

    said = _said_at(drops["drop_offs"])

    def of_replies(rows: Sequence[Row]) -> float | None:
        if measure := _MEASURE_OF.get(goal):
            return next_tests.of_replies(rows, measure)
        stage = said.get(rows[0]["intent"] or "")
        return None if stage is None else worth(stage)

    found = [
        *(one for drop in drops["drop_offs"] for one in next_tests.of_drop_off(drop, weeks, worth, soon)),
        *next_tests.of_messages(messages, weeks, of_replies, soon, taken),
        *next_tests.of_points(paths["divergence_points"], weeks, goal, late),
        *next_tests.of_objections(paths["objections"], weeks, soon),
        *(one for trial in trials for one in next_tests.of_experiment(trial, goal, waits)),
    ]
    return next_tests.ranked([one for one in found if not _names(one) & taken])[:LISTED]


def _said_at(drops: Sequence[Row]) -> dict[str, str]:
    """By what the bot means the stage at which it says it most often; '' is the first message."""
    counts = {
        (row["intent"], drop["from"]): row["silence_rate"]["denominator"]
        for drop in drops for row in drop["explanation"]["messages"]
    }  # fmt: skip
    return dict(sorted(counts, key=lambda one: (counts[one], one))) | (
        {"": FIRST} if any(drop["from"] == FIRST for drop in drops) else {}
    )


def _names(one: next_tests.Candidate) -> set[str]:
    """What an experiment at the same place would call its variants."""
    return set() if one.source == "experiment" else {one.now, one.instead or "", *one.keys}


def _runs(trial: Row, end: datetime) -> bool:
    last = trial["last_exposed_at"]
    return trial["decision"] is not None and last is not None and end - datetime.fromisoformat(last) <= RUNNING
