"""Rules: what is watched, as it stands in `[[alerts]]` of `dropoff.toml`, in a file of rules or in the mission's JSON.

    {"metric": "response_rate", "condition": "drops_below", "threshold": 0.5, "window": "1_hour", "severity": "high"}

A rule is a frozen value, checked when it is loaded: a wrong one is refused with its file, line, key, value and rule.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, get_args

from dropoff.alerts import hours
from dropoff.alerts.files import Place, written
from dropoff.alerts.hours import Span
from dropoff.errors import InvalidInput, did_you_mean
from dropoff.metrics import METRICS, Metric, decimal
from dropoff.periods import parse_duration
from dropoff.project.funnels import Funnel
from dropoff.query import Where, dimension, parse_where

Condition = Literal["drops_below", "exceeds", "changes_by", "anomaly"]
Severity = Literal["low", "medium", "high", "critical"]
Direction = Literal["up", "down", "both"]
NoData = Literal["ok", "keep", "alert"]
Wait = Literal["auto", "wait", "none"]
CONDITIONS, SEVERITIES, DIRECTIONS = get_args(Condition), get_args(Severity), get_args(Direction)
NO_DATA, WAITS = get_args(NoData), get_args(Wait)

FUNNEL = "funnel:"
"""Before the name of a funnel of one's own, as a metric: the share of its entries that reach its last step; with
`/STEP` after the name, this step."""

TAIL = 0.001
"""The chance below which a value is an anomaly, where a rule names none."""
SHORTEST, LONGEST = timedelta(minutes=5), timedelta(days=31)
LONGEST_HOLD = timedelta(days=7)
OF_HISTORY = ("changes_by", "anomaly")
"""Conditions that compare with what was."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. `name` tells it apart from all others, and is what its states and notices go by.

    `hold` is `for`: how long it must be breached before it fires. `min_n`: what stands behind a value before it counts;
    of a count compared with its past, how many are usual. `repeat`: after how long a firing alert is told again, zero
    for never. `where`: only these conversations. `starter`: it came with the product.
    """

    name: str
    metric: str
    condition: Condition
    threshold: float
    window: timedelta
    written: str
    severity: Severity = "medium"
    hold: timedelta = timedelta(0)
    keep_firing_for: timedelta = timedelta(0)
    min_n: int = 30
    no_data: NoData = "ok"
    by: str | None = None
    where: tuple[Where, ...] = ()
    maturity: Wait = "auto"
    notify: tuple[str, ...] = ()
    repeat: timedelta = timedelta(0)
    direction: Direction = "both"
    schedule: tuple[Span, ...] = ()
    mute: tuple[Span, ...] = ()
    description: str = ""
    enabled: bool = True
    starter: bool = field(default=False, compare=False)

    @property
    def of_history(self) -> bool:
        """Whether it compares with what was."""
        return self.condition in OF_HISTORY

    def to_dict(self) -> dict[str, Any]:
        """What every answer says of it."""
        return {
            "name": self.name, "metric": self.metric, "condition": self.condition, "threshold": self.threshold,
            "window": self.written, "severity": self.severity,
        }  # fmt: skip


def parse(
    raw: object,
    place: Place,
    registry: Mapping[str, Metric] = METRICS,
    funnels: Mapping[str, Funnel] | None = None,
) -> list[Rule]:
    """The rules of a list of tables. Raises `InvalidInput` for the first that is wrong, and for a name used twice."""
    if not isinstance(raw, list):
        raise place.refusal(0, "", raw, "a list of rules")
    found: dict[str, Rule] = {}
    for number, table in enumerate(raw):
        rule = _rule(number, table, place, registry, funnels or {})
        if rule.name in found:
            raise place.refusal(number, "name", rule.name, "the name of one rule (rules that are alike need a name)")
        found[rule.name] = rule
    return list(found.values())


def read(
    path: Path, registry: Mapping[str, Metric] = METRICS, funnels: Mapping[str, Funnel] | None = None
) -> list[Rule]:
    """The rules in a file: TOML with `[[alerts]]`, or JSON: one rule, a list, `{"alerts": […]}` or a rule a line."""
    raw, place = written(path)
    return parse(raw, place, registry, funnels)


def merged(own: Sequence[Rule], starters: Sequence[Rule]) -> list[Rule]:
    """A project's rules and the starter set, of which those go whose name the project uses."""
    names = {rule.name for rule in own}
    return [rule for rule in (*own, *(one for one in starters if one.name not in names)) if rule.enabled]


# one rule


def _rule(
    number: int, table: object, place: Place, registry: Mapping[str, Metric], funnels: Mapping[str, Funnel]
) -> Rule:
    if not isinstance(table, dict):
        raise place.refusal(number, "", table, "a table of keys")

    def refuse(key: str, rule: str) -> InvalidInput:
        return place.refusal(number, key, table.get(key), rule)

    for key in table:
        if key not in _KEYS:
            raise refuse(str(key), f"left out: the keys are {', '.join(_KEYS)}{did_you_mean(key, _KEYS, '; ')}")
    if table.get("enabled") is False and set(table) == {"name", "enabled"}:
        name = _name(table["name"])
        return Rule(name, "", "exceeds", 0.0, SHORTEST, "", enabled=False)
    given: dict[str, Any] = {}
    for key, value in table.items():
        try:
            given[_KEYS[key].field] = _KEYS[key].parse(value)
        except InvalidInput as error:
            raise refuse(key, error.rule) from None
    for key in ("metric", "condition", "window", "threshold"):
        if key not in table and (key, given.get("condition")) != ("threshold", "anomaly"):
            raise place.missing(number, key)
    made = _complete(given, refuse)
    _check_metric(made, registry, funnels, refuse)
    return made


def _complete(given: dict[str, Any], refuse: Callable[[str, str], InvalidInput]) -> Rule:
    """What follows from other keys: the window in seconds, the direction, the threshold of an anomaly, the name."""
    condition = given["condition"]
    window = _duration(given["written"])
    if not SHORTEST <= window <= LONGEST or window % SHORTEST:
        raise refuse("window", "5 minutes to 31 days, whole steps of 5 minutes")
    threshold = given.setdefault("threshold", TAIL)
    if condition == "anomaly" and not 0 < threshold < 0.5:
        raise refuse("threshold", "the chance below which a value is an anomaly, above 0 and below 0.5")
    if condition == "changes_by" and threshold <= 0:
        raise refuse("threshold", "above 0: 0.5 is half as much again, or half as much")
    fixed = {"drops_below": "down", "exceeds": "up"}.get(condition)
    if fixed is not None and given.get("direction", fixed) != fixed:
        raise refuse("direction", f"left out, or {fixed}: {condition} says it")
    if fixed is not None:
        given["direction"] = fixed
    rule = Rule(name=given.pop("name", ""), window=window, **given)
    return rule if rule.name else replace(rule, name=_made_up(rule))


def _made_up(rule: Rule) -> str:
    """The name of a rule that has none: all that makes it another alert than others."""
    parts = [written_out(rule.to_dict())]
    if rule.of_history and rule.direction != "both":
        parts.append(rule.direction)
    if rule.by is not None:
        parts.append(f"by {rule.by}")
    parts += [f"where {one.dimension}={'|'.join(one.values)}" for one in rule.where]
    return " ".join(parts)


def _check_metric(
    rule: Rule,
    registry: Mapping[str, Metric],
    funnels: Mapping[str, Funnel],
    refuse: Callable[[str, str], InvalidInput],
) -> None:
    if rule.metric.startswith(FUNNEL):
        _check_funnel(rule, funnels, refuse)
    elif rule.metric not in registry:
        hint = did_you_mean(rule.metric, registry, "; ")
        raise refuse("metric", f"one of {', '.join(registry)}, or {FUNNEL}NAME{hint}")
    else:
        _check_registered(rule, registry[rule.metric], refuse)


def _check_funnel(rule: Rule, funnels: Mapping[str, Funnel], refuse: Callable[[str, str], InvalidInput]) -> None:
    name, step = funnel_of(rule.metric)
    if name not in funnels:
        raise refuse(
            "metric",
            f"{FUNNEL}NAME or {FUNNEL}NAME/STEP of a funnel of your own: {', '.join(funnels) or 'there is none'}",
        )
    if step is not None and step not in funnels[name].names:
        raise refuse("metric", f"{FUNNEL}{name}/STEP with one of {', '.join(funnels[name].names)}")
    if rule.by is not None:
        raise refuse("by", "left out: a funnel of your own is split by itself")
    if rule.of_history:
        raise refuse("condition", "drops_below or exceeds for a funnel of your own")


def _check_registered(rule: Rule, metric: Metric, refuse: Callable[[str, str], InvalidInput]) -> None:
    if metric.by_currency:
        raise refuse("metric", "one without a currency: amounts of several are not added")
    if rule.of_history and not metric.additive and not metric.stages:
        raise refuse("condition", f"drops_below or exceeds: {rule.metric} cannot be added up over its past")
    if metric.unit == "share" and not rule.of_history and not 0 <= rule.threshold <= 1:
        raise refuse("threshold", "a share, 0 to 1")
    if rule.no_data == "alert" and metric.unit == "count":
        raise refuse("no_data", "ok or keep: a count of nothing is 0 (use drops_below 1)")


def written_out(rule: Mapping[str, Any]) -> str:
    """A rule, as `to_dict` says it, in the words of its keys: `fallback_rate exceeds 0.2 in 4_hours`.

    It is the name of a rule that has none, by which states and silences are kept: no text to be changed.
    """
    return f"{rule['metric']} {rule['condition']} {decimal(rule['threshold'])} in {rule['window']}"


def funnel_of(metric: str) -> tuple[str, str | None]:
    """The funnel and the step that `funnel:NAME/STEP` names."""
    name, _, step = metric.removeprefix(FUNNEL).partition("/")
    return name, step or None


# keys


@dataclass(frozen=True, slots=True)
class _Key:
    """A key of a rule: which field it fills, and how."""

    field: str
    parse: Callable[[Any], Any]


def _word(*words: str) -> Callable[[Any], str]:
    def parse_word(value: Any) -> str:
        if value not in words:
            raise InvalidInput("", value, f"one of {', '.join(words)}")
        return value

    return parse_word


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InvalidInput("", value, "a text that is not empty")
    return value


def _name(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 120 or not value.isprintable() or value != value.strip():
        raise InvalidInput("", value, "a text of 1 to 120 printable characters")
    return value


def _duration(value: Any) -> timedelta:
    return parse_duration("", _text(value))


def _hold(value: Any) -> timedelta:
    found = _duration(value)
    if found > LONGEST_HOLD:
        raise InvalidInput("", value, "at most 7 days")
    return found


def _span(value: Any) -> str:
    _duration(value)
    return value.strip()


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e15:
        raise InvalidInput("", value, "a number")
    return float(value)


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 10**9:
        raise InvalidInput("", value, "a whole number, 0 or more")
    return value


def _yes(value: Any) -> bool:
    if not isinstance(value, bool):
        raise InvalidInput("", value, "true or false")
    return value


def _texts(value: Any) -> list[str]:
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, list) or not all(isinstance(one, str) and one for one in given):
        raise InvalidInput("", value, "a text, or a list of texts")
    return given


_KEYS: Mapping[str, _Key] = {
    "name": _Key("name", _name),
    "description": _Key("description", _text),
    "metric": _Key("metric", _text),
    "condition": _Key("condition", _word(*CONDITIONS)),
    "threshold": _Key("threshold", _number),
    "window": _Key("written", _span),
    "severity": _Key("severity", _word(*SEVERITIES)),
    "for": _Key("hold", _hold),
    "keep_firing_for": _Key("keep_firing_for", _hold),
    "min_n": _Key("min_n", _count),
    "no_data": _Key("no_data", _word(*NO_DATA)),
    "by": _Key("by", lambda value: dimension("", _text(value))),
    "where": _Key("where", lambda value: parse_where(_texts(value), "")),
    "maturity": _Key("maturity", _word(*WAITS)),
    "notify": _Key("notify", lambda value: tuple(_texts(value))),
    "repeat": _Key("repeat", _hold),
    "direction": _Key("direction", _word(*DIRECTIONS)),
    "schedule": _Key("schedule", lambda value: tuple(hours.parse("", one) for one in _texts(value))),
    "mute": _Key("mute", lambda value: tuple(hours.parse("", one) for one in _texts(value))),
    "enabled": _Key("enabled", _yes),
}
KEYS = tuple(_KEYS)
"""What can stand in a rule."""
assert {key.field for key in _KEYS.values()} <= {one.name for one in fields(Rule)}  # noqa: S101
