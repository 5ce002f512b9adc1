"""`dropoff alerts test`: rules against a made time line with expected states.

    interval = "1m"

    [[alerts]]
    name = "fallbacks"
    …

    [[tests]]
    name = "an outage of ten minutes"
    start = "2026-05-05T09:00:00+02:00"      # only schedules, mute windows and days need it

    [[tests.series]]
    metric = "fallback_rate"
    values = "0.02/100 x 10, 0.6/100 x 10, - x 5, error, 0.02/100 x 10"

    [[tests.expect]]
    rule = "fallbacks"
    at = "12m"
    state = "firing"

One value an evaluation: what stands in the rule's window then, over how many; of a count a number alone; `-` for
nothing at all, `error` for an evaluation that fails. After the last value the last one holds.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, get_args
from zoneinfo import ZoneInfo

import msgspec

from dropoff.alerts.files import Place, of_json, of_toml
from dropoff.alerts.judge import WEEKS, Sums, breaks, judge
from dropoff.alerts.rules import FUNNEL, Rule, parse
from dropoff.alerts.state import INACTIVE, Blank, Name, State, step
from dropoff.errors import InvalidInput
from dropoff.metrics import METRICS, Metric, Unit
from dropoff.periods import parse_duration, parse_instant, parse_zone
from dropoff.project.funnels import Funnel

STATES = get_args(Name)
_VALUE = re.compile(r"(-?\d+(?:\.\d+)?)(?:/(\d+))?")
_MOST = 100_000
_START = datetime(2024, 1, 15, tzinfo=UTC)


class Failure(NamedTuple):
    """An expectation that is not met."""

    rule: str
    segment: str
    at: str
    expected: str
    got: str


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What became of one test."""

    name: str
    expectations: int
    failures: tuple[Failure, ...]


class _Expected(msgspec.Struct, forbid_unknown_fields=True):
    """In which state a rule is at a time after the start."""

    rule: str
    at: str
    state: str
    segment: str = ""


class _Series(msgspec.Struct, forbid_unknown_fields=True):
    """What a metric is at each evaluation; `before`: what it was in each of the weeks before, the latest first."""

    metric: str
    values: str
    segment: str = ""
    before: list[str] = []


class _Test(msgspec.Struct, forbid_unknown_fields=True):
    """One time line."""

    name: str
    series: list[_Series]
    expect: list[_Expected]
    start: str | None = None


class _File(msgspec.Struct, forbid_unknown_fields=True):
    """A file of tests."""

    tests: list[_Test]
    alerts: list[Any] = []
    interval: str = "1m"
    timezone: str = "UTC"


def run(
    path: Path,
    registry: Mapping[str, Metric] = METRICS,
    funnels: Mapping[str, Funnel] | None = None,
    others: Sequence[Rule] = (),
) -> list[Rehearsal]:
    """The tests of a file, of its own rules and of `others`. Raises `InvalidInput` for what is no such file."""
    file, place = _read(path)
    rules = {rule.name: rule for rule in others} | {
        rule.name: rule for rule in parse(file.alerts, place, registry, funnels)
    }
    zone, every = parse_zone(file.timezone), parse_duration("interval", file.interval)
    if not timedelta(0) < every <= timedelta(days=1):
        raise InvalidInput("interval", file.interval, "more than 0 and at most 1d")
    return [_run(test, rules, registry, zone, every) for test in file.tests]


def _read(path: Path) -> tuple[_File, Place]:
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError):
        raise InvalidInput("file", str(path), "a file of tests, TOML or JSON, that can be read") from None
    is_toml = path.suffix == ".toml"
    _, place = of_toml(text, str(path)) if is_toml else of_json(text, str(path))
    try:
        return msgspec.convert(tomllib.loads(text) if is_toml else msgspec.json.decode(text), _File), place
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidInput("file", str(path), f"a file of tests: {error}") from None


def _run(
    test: _Test, rules: Mapping[str, Rule], registry: Mapping[str, Metric], zone: ZoneInfo, every: timedelta
) -> Rehearsal:
    start = parse_instant("start", test.start, zone) if test.start else _START
    wanted: dict[tuple[str, str], list[_Expected]] = {}
    for one in test.expect:
        if one.rule not in rules:
            raise InvalidInput("rule", one.rule, f"one of {', '.join(rules)}")
        if one.state not in STATES:
            raise InvalidInput("state", one.state, f"one of {', '.join(STATES)}")
        wanted.setdefault((one.rule, one.segment), []).append(one)
    failures = []
    for (name, segment), expected in wanted.items():
        rule = rules[name]
        line = _line(test, rule, segment, registry)
        turns = [_turn(one.at, every) for one in expected]
        states = list(play(rule, line, start, every, max(turns) + 1, zone))
        for one, turn in zip(expected, turns, strict=True):
            if (got := states[turn]).name != one.state:
                failures.append(Failure(name, segment, one.at, one.state, got.name))
    return Rehearsal(test.name, len(test.expect), tuple(failures))


def _turn(at: str, every: timedelta) -> int:
    """Which evaluation that is, counted from 0."""
    turn = parse_duration("at", at) // every
    if turn >= _MOST:
        raise InvalidInput("at", at, f"before evaluation {_MOST:,}")
    return turn


def play(
    rule: Rule, line: Sequence[bool | Blank], start: datetime, every: timedelta, count: int, zone: ZoneInfo
) -> Iterator[State]:
    """The states of a rule over what each evaluation finds; after the last finding, that one holds."""
    state = INACTIVE
    for number in range(count):
        now = start + number * every
        state = step(state, line[min(number, len(line) - 1)], now, rule, zone)
        yield state


def _line(test: _Test, rule: Rule, segment: str, registry: Mapping[str, Metric]) -> list[bool | Blank]:
    """What each evaluation of a rule's segment finds."""
    series = next((one for one in test.series if (one.metric, one.segment) == (rule.metric, segment)), None)
    if series is None:
        raise InvalidInput("series", rule.metric, f"given for the rule {rule.name} and the segment {segment!r}")
    is_funnel = rule.metric.startswith(FUNNEL)
    unit: Unit = "share" if is_funnel else registry[rule.metric].unit
    counts = not is_funnel and registry[rule.metric].denominator is None and registry[rule.metric].quantile is None
    before = [_sums("before", text, counts) for text in series.before]
    weeks = WEEKS.get(rule.condition, 0)
    before = before * weeks if len(before) == 1 else before
    return [
        value if isinstance(value, str) else breaks(rule, judge(rule, unit, value, before[:weeks]))
        for value in _values(series.values, counts)
    ]


def _values(text: str, counts: bool) -> list[Sums | Blank]:
    found: list[Sums | Blank] = []
    for part in text.split(","):
        value, _, times = part.strip().partition("x")
        repeat = times.strip() or "1"
        if not repeat.isdecimal() or not 0 < int(repeat) <= _MOST:
            raise InvalidInput("values", part.strip(), "like '0.02/100 x 10', '-', 'error x 3'")
        word = value.strip()
        one: Sums | Blank = "error" if word == "error" else _sums("values", word, counts)
        found.extend(one for _ in range(int(repeat)))
    return found


def _sums(name: str, text: str, counts: bool) -> Sums:
    if text.strip() == "-":
        return Sums(0.0, None if counts else 0.0)
    match = _VALUE.fullmatch(text.strip())
    if not match or (counts and match[2]) or not (counts or match[2]):
        raise InvalidInput(name, text, "a number like '12'" if counts else "a value over how many, like '0.02/100'")
    value = float(match[1])
    return Sums(value, None) if counts else Sums(value * int(match[2]), float(match[2]))


def answer(found: Sequence[Rehearsal]) -> dict[str, Any]:
    """`{"tests": [{"name", "ok", "expectations", "failures": […]}], "passed", "failed"}`."""
    failed = sum(bool(one.failures) for one in found)
    return {
        "tests": [
            {
                "name": one.name, "ok": not one.failures, "expectations": one.expectations,
                "failures": [failure._asdict() for failure in one.failures],
            }
            for one in found
        ],
        "passed": len(found) - failed,
        "failed": failed,
    }  # fmt: skip
