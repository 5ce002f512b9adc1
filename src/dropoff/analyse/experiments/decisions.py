"""What to do with an experiment, and why in plain words: a pure function of what was found."""

from collections.abc import Mapping, Sequence
from math import inf
from typing import Any, NamedTuple

Row = Mapping[str, Any]
"""A comparison of an arm with the control, or what a goal still needs."""


class Facts(NamedTuple):
    """What a decision rests on. `variants`: the control first; `values`: of each goal, by arm.

    `has_control`: one variant is what there was before; without it the first one is merely the first. `too_early`: a
    test of one look is not to be looked at yet.
    """

    observed: bool
    variants: tuple[str, ...]
    has_control: bool
    sample_ratio: Row
    mixed: Row
    goals: Sequence[Row]
    guardrails: Sequence[Row]
    values: Mapping[str, Sequence[float | None]]
    needs: Sequence[Row]
    too_early: bool = False


class Decision(NamedTuple):
    """One of ship, roll back, keep running and invalid; None of what is no experiment. `variant`: the one to keep."""

    decision: str | None
    variant: str | None
    reason: str


def decide(facts: Facts) -> Decision:
    """The first rule that speaks: not an experiment, invalid, too early, ship, roll back, else keep running."""
    rules = (_observed, _invalid, _early, _ship, _roll_back)
    return next((found for rule in rules if (found := rule(facts)) is not None), _keep_running(facts))


def _observed(facts: Facts) -> Decision | None:
    if not facts.observed:
        return None
    return Decision(
        None, None,
        "An observational comparison: nothing says that the variants were assigned at random, so who got which may be "
        "the reason for the difference. Send experiment_exposed, or say randomised = true in dropoff.toml.",
    )  # fmt: skip


def _invalid(facts: Facts) -> Decision | None:
    ratio, mixed = facts.sample_ratio, facts.mixed
    if not mixed["ok"]:
        said = f"{_percent(mixed['share'])} of the units were exposed to more than one variant (at most 1 % may)"
    elif ratio["p_value"] is not None and ratio["p_value"] < ratio["limit"]:
        counts = ", ".join(f"{n:,} {name}" for name, n in zip(facts.variants, ratio["counts"], strict=True))
        said = f"units did not fall to the variants by their weights: {counts} ({_p(ratio['p_value'])})"
    elif not ratio["ok"]:
        worst = min(ratio["by_dimension"], key=lambda part: part["p_value"])
        counts = ", ".join(f"{n:,} {name}" for name, n in zip(facts.variants, worst["counts"], strict=True))
        said = (
            f"in {worst['dimension']} = {worst['value']} units did not fall to the variants by their weights: {counts}"
        )
    else:
        return None
    return Decision(
        "invalid", None, f"{said[0].upper()}{said[1:]}. Who is in which arm is not a matter of chance alone."
    )


def _early(facts: Facts) -> Decision | None:
    if not facts.too_early:
        return None
    return Decision("keep running", None, f"A test at a fixed horizon is read once, at its end. {_left(facts)}")


def _ship(facts: Facts) -> Decision | None:
    """An arm that is better by a goal, and worse by none and by no guardrail."""
    good = [arm for arm in facts.variants[1:] if _better(facts, arm) and not _harm(facts, arm)]
    if good:
        best = max(good, key=lambda arm: _value(facts, _better(facts, arm)[0]["metric"], arm))
        rows = _better(facts, best)
        return Decision("ship", best, f"{_told(facts, rows[0])}{_more(rows)}; no goal and no guardrail is worse.")
    if facts.has_control or len(facts.variants) < 2:
        return None
    # Nobody says which one is the control: the first may as well be the better one.
    first, others = facts.variants[0], facts.variants[1:]
    worse = [[row for row in facts.goals if row["a"] == arm and row["verdict"] == "worse"] for arm in others]
    spared = not any(row["verdict"] == "better" for row in (*facts.goals, *facts.guardrails))
    if all(worse) and spared:
        said = "; ".join(_told(facts, rows[0], turned=True) for rows in worse)
        return Decision("ship", first, f"{said}; no goal and no guardrail is worse.")
    return None


def _roll_back(facts: Facts) -> Decision | None:
    """Every other arm is worse than the control by a goal or a guardrail, and none is better."""
    harmed = [_harm(facts, arm) for arm in facts.variants[1:]]
    gains = [row for row in facts.goals if row["verdict"] == "better"]
    if not facts.has_control or not harmed or not all(harmed) or gains:
        return None
    return Decision("roll back", facts.variants[0], f"{'; '.join(_told(facts, rows[0]) for rows in harmed)}.")


def _keep_running(facts: Facts) -> Decision:
    if not facts.variants:
        return Decision("keep running", None, "Nobody has been exposed to it yet.")
    if len(facts.variants) < 2:
        return Decision("keep running", None, "Only one variant has been seen: there is nothing to compare it with.")
    gains = [row for row in facts.goals if row["verdict"] == "better"]
    losses = [row for row in (*facts.goals, *facts.guardrails) if row["verdict"] == "worse"]
    if gains and losses:
        said = f"{_told(facts, gains[0])}, but {_told(facts, losses[0])}: that is to be weighed, not decided by a test."
    elif losses:
        said = f"{_told(facts, losses[0])}; of the others nothing is certain yet. {_left(facts)}"
    elif facts.goals and all(row["verdict"] == "not enough data" for row in facts.goals):
        said = f"Not enough data: a difference needs 30 units in each arm and 5 of each outcome. {_left(facts)}"
    else:
        said = f"No difference is certain yet. {_left(facts)}"
    return Decision("keep running", None, said)


def _better(facts: Facts, arm: str) -> list[Row]:
    return [row for row in facts.goals if row["a"] == arm and row["verdict"] == "better"]


def _harm(facts: Facts, arm: str) -> list[Row]:
    return [row for row in (*facts.goals, *facts.guardrails) if row["a"] == arm and row["verdict"] == "worse"]


def _value(facts: Facts, metric: str, arm: str) -> float:
    return facts.values[metric][facts.variants.index(arm)] or 0.0


def _told(facts: Facts, row: Row, *, turned: bool = False) -> str:
    """`question is better than statement by responded: 61.2 % against 47.8 %, …`; `turned`: seen from b."""
    a, b, sign = (row["b"], row["a"], -1) if turned else (row["a"], row["b"], 1)
    is_better = (row["verdict"] == "better") != turned
    known = row["metric"] in facts.values
    rates = (
        f"{_percent(_value(facts, row['metric'], a))} against {_percent(_value(facts, row['metric'], b))}, "
        if known
        else ""
    )
    low, high = sorted(sign * bound for bound in row["interval"])
    apart = f"{_points(sign * row['difference'])} ({_points(low)} to {_points(high)}), q {_small(row['q_value'])}"
    if row["metric"].startswith("sentiment"):
        apart = f"{sign * row['difference']:+.3f} ({low:+.3f} to {high:+.3f}), q {_small(row['q_value'])}"
    return f"{a} is {'better' if is_better else 'worse'} than {b} by {_goal(row)}: {rates}{apart}"


def _more(rows: Sequence[Row]) -> str:
    return f"; also better by {', '.join(_goal(row) for row in rows[1:])}" if len(rows) > 1 else ""


def _goal(row: Row) -> str:
    """A goal as pages name it: `opted_out_per_unit` → `opted out`."""
    return row["metric"].removesuffix("_per_unit").replace("_", " ")


def _left(facts: Facts) -> str:
    """How long it still takes: by the first goal, and once that has its units by the one that has to wait longest."""
    if not facts.needs:
        return "No goal is recorded."
    first = facts.needs[0]
    if not first["is_reached"]:
        return f"It has {_missing(first)}"
    planned = f"The planned {first['needed']:,} units in each arm are there"
    if missing := [need for need in facts.needs if not need["is_reached"]]:
        last = max(missing, key=lambda need: inf if need["days_left"] is None else need["days_left"])
        return f"{planned} for {_goal(first)}; {_goal(last)} has {_missing(last)}"
    return (
        f"{planned}, and no difference as large as planned for was found. {_half(first)}: keep running only if so "
        "small a one matters, else end it."
    )


def _missing(need: Row) -> str:
    have = f"{need['have']:,} of {need['needed']:,} mature units planned for each arm"
    if need["days_left"] is None:
        return f"{have}, and at least one arm got no new ones in {_OF_LATE}."
    left = "1 day is" if need["days_left"] == 1 else f"{need['days_left']:,} days are"
    return f"{have}; about {left} left until those are there, as units came in {_OF_LATE}."


_OF_LATE = "the last 14 days asked about"


def _half(need: Row) -> str:
    """How long it takes to find half of what was planned for: about four times as many units."""
    missing = max(4 * need["needed"] - need["have"], 0)
    if not need["per_day"]:
        return f"One half as large takes four times as many, and no new ones came in {_OF_LATE}"
    weeks = round(missing / need["per_day"] / 7)
    more = f"{weeks:,} week{'' if weeks == 1 else 's'} more"
    return f"One half as large takes about four times as many, {more} as units came in {_OF_LATE}"


def _percent(share: float) -> str:
    return f"{share * 100:.1f} %"


def _points(difference: float) -> str:
    return f"{difference * 100:+.1f} pp"


def _small(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def _p(p: float) -> str:
    return f"p {_small(p)}"
