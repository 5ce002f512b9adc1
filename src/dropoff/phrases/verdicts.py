"""A metric against its target and the period before, in words: the same for page, terminal and report."""

from collections.abc import Mapping

from dropoff.phrases.formats import (
    NONE,
    bucket,
    decimals,
    duration,
    instant,
    label,
    measure,
    moved,
    number,
    signed,
    span,
    sure,
    visible,
)

_DAY = 86_400
_LARGE = 1000
ACCOUNTS = "Accounts for more than its part of all:"
"""Before the causes of a change: what adds up to it, which need not be its cause."""
ALL_ALIKE = "No segment stands out."
AT_ONE_AGE = (
    "Rates, and counts of stages, are compared at one age: in both periods counts what conversations did within the "
    "same time of their start; the value itself is of all that is known now."
)
UNEVEN = "not at one age"
"""Of a value that may still change beside one that may not."""


def of_target(row: Mapping) -> str:
    """Whether a target is met, in words: `met`, `missed`, `not known yet`, with what is wanted and by which value."""
    target = row["target"]
    if target is None:
        return NONE
    wanted = _wanted(target["scaled"], row)
    if target["per"] is not None:
        wanted += f" ({_wanted(target['value'], row)} per {target['per']})"
    return f"{verdict(target)}: {wanted}{_by(target)}"


def _wanted(value: float, row: Mapping) -> str:
    """A target in the unit of its row; large amounts of money without cents."""
    if row["unit"] == "money" and abs(value) >= _LARGE:
        return f"{number(value)} {visible(row['currency'])}"
    return side(value, row)


def verdict(target: Mapping) -> str:
    """`Met`, `Missed`, or that it is not known."""
    if target["met"] is None:
        return "Not known yet" if target["by"] is not None else "Not enough data"
    word = "Met" if target["met"] else "Missed"
    return f"{word}, not certain" if target["certain"] is False else word


def _by(target: Mapping) -> str:
    return f", by the {target['by']} rate" if target["by"] in ("matured", "projected") else ""


def of_previous(row: Mapping) -> str:
    """The change since the period before, beside a metric's value."""
    found = row["change"]
    if found is None or found["difference"] is None:
        return "Before: nothing to compare"
    sides = f"{side(found['now'], row)} against {side(found['before'], row)}"
    at_age = f" within {age(found)} of the start" if found["follow_days"] is not None else ""
    return f"{apart(found, row)} ({sides}{at_age}), {certainty(found)}{f', {UNEVEN}' if is_uneven(row) else ''}"


def is_uneven(row: Mapping) -> bool:
    """Whether a value that may still change stands beside that of a period that is older."""
    found = row["change"]
    return bool(row.get("immature")) and found["follow_days"] is None and found["until"] is None


def certainty(found: Mapping) -> str:
    """How sure a change is."""
    if found["q_value"] is None:
        return "not tested"
    q = sure(found["q_value"])
    return f"more than chance ({q})" if found["q_value"] < 0.05 else f"may be chance ({q})"


def side(value: float | None, row: Mapping) -> str:
    """Any value of a metric in the unit of its row; of money with as many decimals as its own value."""
    if value is not None and row["unit"] == "money":
        return f"{number(value, decimals(row))}\u00a0{visible(row.get('currency') or '?')}"
    return measure({"value": value, "unit": row["unit"], "denominator": 1, "currency": row.get("currency")})


def apart(found: Mapping, row: Mapping) -> str:
    """A difference in the unit of its row; of a count in whole numbers, of money in its currency."""
    if row["unit"] == "money":
        return f"{signed(found['difference'], decimals(row))} {visible(row['currency'])}"
    return signed(found["difference"], 0) if row["unit"] == "count" else moved(found["difference"], row["unit"])


def _bounds(found: Mapping, row: Mapping) -> str:
    if found["interval"] is None:
        return NONE
    if row["unit"] == "count":
        low, high = (signed(bound, 0) for bound in found["interval"])
        return f"{low} to {high}"
    return span(found["interval"], row["unit"])


def age(found: Mapping) -> str:
    """Within which time of their start conversations count in both periods; empty of what is compared as it stands."""
    return "" if found["follow_days"] is None else duration(found["follow_days"] * _DAY)


def of_change(one: Mapping, timezone: str) -> str:
    """What changed, as a sentence."""
    found = one["change"]
    rose = found["difference"] > 0
    better = {("up", True): " It is better.", ("down", False): " It is better."}.get(
        (one["good"], rose), " It is worse."
    )
    said = (
        f"{label(one['metric'])} {'rose' if rose else 'fell'} from {side(found['before'], one)} to "
        f"{side(found['now'], one)} ({apart(found, one)}; 95 %: {_bounds(found, one)}; "
        f"{sure(found['q_value'])})"
    )
    return f"{said}{_aged(found, timezone)}.{better if one['good'] else ''}"


def _aged(found: Mapping, timezone: str) -> str:
    """At which age both periods are compared, and what is left out for that."""
    if found["follow_days"] is None:
        return ""
    left = f", without those that began after {instant(found['until'], timezone)}" if found["until"] else ""
    return f", each conversation followed for {age(found)}{left}"


def of_cause(cause: Mapping, one: Mapping) -> str:
    """A segment that accounts for a part of a change."""
    sides = [side(cause[when], one) for when in ("now", "before")]
    name = f"{label(cause['dimension'])} {visible(cause['value'])}"
    added = moved(cause["contribution"], one["unit"])
    if cause["now"] is None or cause["before"] is None:
        there = f"{sides[0]}, new" if cause["before"] is None else f"{sides[1]} before, gone"
        return f"{name}: {added} ({there})"
    return f"{name}: {added} ({sides[1]} before, {sides[0]} now)"


def of_day(one: Mapping, interval: str, timezone: str) -> str:
    """The day or week that makes the most of a change; empty where none does."""
    found = one["apart"]
    if found is None:
        return ""
    name, value = bucket(found["from"], interval, timezone), side(found["value"], one)
    return f"Without {name} ({value} then) it would be {side(found['without'], one)}."


def why(one: Mapping) -> str:
    """What stands before the causes of a change, or in their place; nothing of a count, which is not split."""
    if one["unit"] == "count":
        return ""
    return ACCOUNTS if one["causes"] else ALL_ALIKE


def nothing(answer: Mapping) -> str:
    """What is said where nothing changed."""
    if not answer["definition"]["has_before"]:
        return "No earlier data to compare with: the first conversation began after the period before did."
    tested = sum(row["change"] is not None and row["change"]["q_value"] is not None for row in answer["metrics"])
    if not tested:
        return "There is too little to compare yet: no change could be tested."
    return f"Nothing that is shown changed by more than chance: of {tested} tested no q is below 0.05."
