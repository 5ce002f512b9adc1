"""What to test next: places where another way may win more, each with how long a test takes and what it may bring.

A candidate is a place with so many conversations a week, the share of them that goes well now, and a plausible
effect: half of what the observed difference is thought to be once it is drawn towards its group, since who met which
way was not tossed for, and the largest of many differences is partly luck. A test of two arms is sized as
`dropoff experiments plan` does it. The rank is the expected gain by week of testing; what would take more than
`LONGEST` weeks is too small to be found, and comes last.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from dropoff.analyse.experiments import plans
from dropoff.analyse.shrink import shrink_shares
from dropoff.analyse.stats import ENOUGH, SIGNIFICANT

HALF = 0.5
"""The part of an observed difference that is taken for plausible."""
LONGEST = 26
"""A test that needs more weeks is too small to be worth it."""
MONTH = 365.25 / 12 / 7
"""Weeks of a month."""
LEAST = 0.0005
"""An effect that rounds to nothing is none."""
FEW = 5
"""An intent after which fewer fell silent is no place where conversations end."""
BY_NATURE = 0.5
"""Where more fall silent, it is taken for a farewell or a follow-up: silence is what it is about."""

Source = Literal["drop_off", "message", "divergence", "objection", "experiment"]
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Candidate:
    """A place and another way to go on there.

    `now`, `instead`: what is said, and what might be (None: something yet to be written). `volume`: conversations a
    week that come there; `affected`: the part of them that a change would reach. `worth`: of those with which it goes
    well the share that comes to the goal. `have`: units that each arm of a running experiment has already; `arms`.
    `keys`: names under which other findings mean the same place.
    """

    source: Source
    place: str
    now: str
    instead: str | None
    metric: str
    volume: float
    base: float
    effect: float
    worth: float
    n: int
    affected: float = 1.0
    have: int = 0
    arms: int = 2
    wait_days: float = 0.0
    q_value: float | None = None
    observed: float | None = None
    keys: frozenset[str] = frozenset()
    where: Mapping[str, str | list[str]] = field(default_factory=dict)


# sizing


def sized(one: Candidate) -> dict[str, Any] | None:
    """A candidate with its sample, weeks and gain; None where there is nothing to find or nobody to ask."""
    base, effect = round(one.base, 4), round(one.effect, 4)
    if effect < LEAST or not (0 < base < 1 and base + effect < 1) or one.volume <= 0:
        return None
    plan = plans.answer({"base": [repr(base)], "effect": [repr(effect)], "arms": [str(one.arms)]})
    missing = max(plan["units_per_arm"] - one.have, 0)
    weeks = missing * one.arms / one.volume + one.wait_days / 7
    gain = one.volume * one.affected * MONTH * effect * one.worth
    return {
        "what": one.source, "place": one.place, "now": one.now, "instead": one.instead, "metric": one.metric,
        "volume_per_week": one.volume, "base": base, "effect": effect, "observed": one.observed,
        "sample_per_arm": plan["units_per_arm"], "have_per_arm": one.have, "arms": one.arms, "weeks": weeks,
        "gain_per_month": gain, "gain_per_week": gain / max(weeks, 1.0), "n": one.n, "q_value": one.q_value,
        "reason": "too_small" if weeks > LONGEST else "worth_it", "behind": dict(one.where),
    }  # fmt: skip


def ranked(candidates: Iterable[Candidate]) -> list[dict[str, Any]]:
    """The best first, those too small last; of candidates that mean one place the best alone."""
    rows = [(row, one) for one in candidates if (row := sized(one)) is not None]
    rows.sort(key=lambda pair: _order(pair[0]))
    taken: set[str] = set()
    kept = []
    for row, one in rows:
        if not taken & one.keys:
            kept.append(row)
            taken |= one.keys
    return kept


def _order(row: Row) -> tuple[Any, ...]:
    gain = -row["gain_per_week"]
    return row["reason"] == "too_small", gain, row["what"], row["place"], row["now"], row["instead"] or ""


# where the candidates come from


def is_natural(row: Row) -> bool:
    """Whether silence after an intent is what it is about, rather than its fault."""
    return row["silence_rate"]["value"] > BY_NATURE


def of_drop_off(drop: Row, weeks: float, worth: Callable[[str], float], wait: float) -> list[Candidate]:
    """What the bot says where conversations fall silent, against what else ends conversations at that stage."""
    said = [
        row for row in drop["explanation"]["messages"]
        if row["silence_rate"]["denominator"] >= ENOUGH and row["silent"] >= FEW
        and not is_natural(row) and not row["intent"].startswith("(")
    ]  # fmt: skip
    if len(said) < 2:
        return []
    shrunk = shrink_shares([(row["silent"], row["silence_rate"]["denominator"]) for row in said])
    found = []
    for row, estimate in zip(said, shrunk.estimates, strict=True):
        n, gap = row["silence_rate"]["denominator"], estimate.value - shrunk.mean
        found.append(
            Candidate(
                "drop_off", f"{drop['from']} → {drop['to']}", row["intent"], None, "went_on", n / weeks,
                1 - estimate.value, HALF * gap, worth(drop["from"]), int(n), wait_days=wait, observed=gap,
                keys=frozenset({row["intent"]}), where={"stage": drop["from"], "said": row["intent"]},
            )
        )  # fmt: skip
    return found


Worth = Callable[[Sequence[Row]], float | None]
"""Of those that answer a message (given at all of its places) the share that comes to the goal; None: not known."""


def of_messages(rows: Sequence[Row], weeks: float, worth: Worth, wait: float, taken: set[str]) -> list[Candidate]:
    """Each message that does worse than the best other one at its place: at all of its places together."""
    places: dict[tuple[int, str | None], list[Row]] = {}
    for row in rows:
        if row["shrunk"] is not None:
            places.setdefault((row["position"], row["intent"]), []).append(row)
    gaps: dict[tuple[str, str | None], list[tuple[Row, Row]]] = {}
    for (_, intent), there in places.items():
        best = max(there, key=lambda row: (row["shrunk"]["value"], row["message"]))
        if not any(row["variant"] in taken for row in there):
            for row in there:
                if row is not best:
                    gaps.setdefault((row["message"], intent), []).append((row, best))
    return [
        _of_message(pairs, weeks, known, wait)
        for _, pairs in sorted(gaps.items(), key=lambda one: str(one[0]))
        if (known := worth([row for row, _ in pairs])) is not None
    ]


def _of_message(pairs: Sequence[tuple[Row, Row]], weeks: float, worth: float, wait: float) -> Candidate:
    n = sum(row["n"] for row, _ in pairs)
    base, gap = (
        sum(row["n"] * value for (row, _), value in zip(pairs, values, strict=True)) / n
        for values in (
            [row["shrunk"]["value"] for row, _ in pairs],
            [best["shrunk"]["value"] - row["shrunk"]["value"] for row, best in pairs],
        )
    )
    row, best = max(pairs, key=lambda pair: (pair[0]["n"], -pair[0]["position"]))
    place = row["intent"] or f"message {row['position']}"
    q = min((one["q_value"] for one, _ in pairs if one["q_value"] is not None), default=None)
    return Candidate(
        "message", place, row["message"], best["message"], "reply_rate", n / weeks, base, HALF * gap,
        worth, n, wait_days=wait, q_value=q, observed=gap,
        keys=frozenset({place}),
        where={"message": row["message"], "position": str(row["position"])}
        | ({"intent": row["intent"]} if row["intent"] else {}),
    )  # fmt: skip


def of_replies(rows: Sequence[Row], goal: str) -> float:
    """Of those that answered the share that came to the goal afterwards, as far as both are known.

    `goal`: the measure of messages that is the goal.
    """
    known = [(row[goal]["matured"], row["reply_rate"]["matured"], row["n"]) for row in rows if row[goal] is not None]
    came = sum(then["value"] * n for then, reply, n in known if then["n"] and reply["n"])
    answered = sum(reply["value"] * n for then, reply, n in known if then["n"] and reply["n"])
    return min(came / answered, 1.0) if answered else 0.0


def of_points(points: Sequence[Row], weeks: float, goal: str, wait: float) -> list[Candidate]:
    """Places where the bot decides: those that go the worse way, sent the better one."""
    return [_of_point(one, weeks, goal, wait) for one in points if one["side"] == "bot" and len(one["branches"]) > 1]


def _of_point(point: Row, weeks: float, goal: str, wait: float) -> Candidate:
    ways = {one["step"]: one["rate"] for one in point["branches"]}
    branch, n = point["branch"], sum(rate["denominator"] for rate in ways.values())
    others = {step: rate for step, rate in ways.items() if step != branch}
    largest = max(others, key=lambda step: (others[step]["denominator"], step))
    better, worse = (branch, largest) if point["difference"] > 0 else (largest, branch)
    # The half that confirmed it had no part in choosing it: nothing has to be drawn in.
    base = point["without" if point["difference"] > 0 else "with"]["value"]
    last = point["after"][-1] if point["after"] else ""
    return Candidate(
        "divergence", last, worse, better, goal, n / weeks, base, HALF * abs(point["difference"]), 1.0, int(n),
        affected=ways[worse]["denominator"] / n, wait_days=wait, q_value=point["q_value"],
        observed=abs(point["difference"]), keys=frozenset({_bare(worse), last}),
        where={"pattern": [*point["after"], worse], "kind": point["kind"]},
    )  # fmt: skip


def _bare(step: str) -> str:
    """The intent of a step."""
    return step.partition(":")[2] or step


def of_objections(objections: Sequence[Row], weeks: float, wait: float) -> list[Candidate]:
    """The answers to an objection after which fewer went on than after the others, where that is no chance."""
    found = []
    for one in objections:
        answers = [row for row in one["answers"] if row["alive"]["denominator"] >= ENOUGH]
        if len(answers) > 1:
            shrunk = shrink_shares([(row["alive"]["numerator"], row["alive"]["denominator"]) for row in answers])
            rated = [(row, estimate.value) for row, estimate in zip(answers, shrunk.estimates, strict=True)]
            found += [
                _of_answer(one["objection"], row, value, rated, weeks, wait)
                for row, value in rated
                if row["q_value"] is not None and row["q_value"] < SIGNIFICANT and row["difference"] < 0
            ]
    return found


def _of_answer(
    objection: str, row: Row, value: float, rated: Sequence[tuple[Row, float]], weeks: float, wait: float
) -> Candidate:
    best, top = max(rated, key=lambda one: (one[1], one[0]["answer"]))
    n = sum(one["alive"]["denominator"] for one, _ in rated)
    alive, won = (sum(one[name]["numerator"] for one, _ in rated) for name in ("alive", "won"))
    places = {f"prospect:objection_{objection}", f"objection:{objection}"}
    return Candidate(
        "objection", f"objection:{objection}", row["answer"], best["answer"], "went_on", n / weeks, value,
        HALF * (top - value), won / alive if alive else 0.0, int(n),
        affected=row["alive"]["denominator"] / n, wait_days=wait, q_value=row["q_value"], observed=top - value,
        keys=frozenset({_bare(row["answer"]), *places}),
        where={"where": [f"objection={objection}"]},
    )  # fmt: skip


def of_experiment(trial: Row, goal: str, waits: Mapping[str, float]) -> list[Candidate]:
    """What a running experiment would find, if its best arm were better by half of what is seen so far."""
    names = {metric for arm in trial["arms"] for metric in arm["metrics"]}
    rows = [row for row in trial["comparisons"] if trial["needed"] and row["metric"] == trial["needed"][0]["metric"]]
    seen = [row for row in rows if row["difference"] is not None]
    if trial["decision"] != "keep running" or not seen or f"{goal}_per_unit" not in names or _is_weighed(trial):
        return []
    best = max(seen, key=lambda row: (row["difference"], row["a"]))
    arms, need = trial["arms"], trial["needed"][0]
    control = next(arm for arm in arms if arm["variant"] == best["b"])["metrics"]
    value, came = control[need["metric"]]["value"], control[f"{goal}_per_unit"]["value"]
    return [
        Candidate(
            "experiment", trial["experiment"], best["b"], best["a"], need["metric"], need["per_day"] * 7 * len(arms),
            value or 0.0, HALF * best["difference"], min((came or 0.0) / value, 1.0) if value else 0.0, best["n"],
            affected=(len(arms) - 1) / len(arms), have=need["have"], arms=len(arms),
            wait_days=waits.get(need["metric"], 0.0), q_value=best["q_value"], observed=best["difference"],
            keys=frozenset({f"experiment {trial['experiment']}"}), where={"experiment": trial["experiment"]},
        )
    ]  # fmt: skip


def _is_weighed(trial: Row) -> bool:
    """Something is certain already: what is left is to be weighed, and no test decides it."""
    return any(row["verdict"] in ("better", "worse") for row in (*trial["comparisons"], *trial["guardrails"]))
