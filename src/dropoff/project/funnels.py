"""A funnel of one's own: one frozen value, the same in `dropoff.toml`, a file, a request and a URL.

{"steps": [{"event": "qualified", "where": {"score": {">=": 50}}}, {"event": "meeting_booked", "within": "3d"}],
 "mode": "ordered", "window": "14d", "exclusions": [{"event": "opted_out", "between": [0, 1]}]}
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec
from msgspec import Struct, field

from dropoff.errors import InvalidEvent, InvalidInput, Missing, did_you_mean
from dropoff.events import MAX_NAME_LENGTH, event_type_of
from dropoff.periods import MICROSECOND, parse_duration
from dropoff.project.custom import NAME, Condition, conditions
from dropoff.query import PROPERTY, dimension
from dropoff.tomltext import no_toml

ANY_EVENT = "*"
"""In place of an event type: whatever happened."""

EVENT = "event:"
"""Before the name of a property in `by`: its value on the funnel's own events."""

MIN_STEPS, MAX_STEPS, MAX_EXCLUSIONS = 2, 20, 20
MAX_WINDOW = timedelta(days=3650)

BUILT_IN = ("sales", "mission")
"""The names of Dropoff's own funnels."""

Mode = Literal["reached", "recorded", "ordered", "strict", "any"]
Unit = Literal["conversation", "contact"]
ReEntry = Literal["first", "every"]
MODES, UNITS, RE_ENTRIES = get_args(Mode), get_args(Unit), get_args(ReEntry)
UNTIMED = ("reached", "recorded")
"""The modes in which order and time between steps do not matter."""

ATTRIBUTIONS = ("first", "last", "all")


class Happening(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Events of one type, or `*`, that satisfy all conditions on their properties."""

    event: str
    where: dict[str, Any] = field(default_factory=dict)

    @property
    def conditions(self) -> list[Condition]:
        """All comparisons. A missing property satisfies `!=` and `exists = false` alone."""
        return conditions(self.where)


class Step(Happening, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One step. `within`: the longest time since the required step before it. An optional one may be left out."""

    name: str = ""
    optional: bool = False
    within: str | None = None


class Exclusion(Happening, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What voids an attempt when it happens between two steps, strictly after the one and before the other."""

    between: tuple[int, int]


class AtStep(Struct, frozen=True, forbid_unknown_fields=True):
    """The value on the event that fills this step, counted from 0."""

    step: int


class Funnel(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A checked definition, as `parse` makes it. Steps are counted from 0; its JSON is what it was made of."""

    steps: tuple[Step, ...]
    mode: Mode = "ordered"
    window: str | None = None
    exclusions: tuple[Exclusion, ...] = ()
    unit: Unit = "conversation"
    hold_constant: tuple[str, ...] = ()
    re_entry: ReEntry = "first"
    by: str | None = None
    attribution: str | AtStep = "first"

    @property
    def names(self) -> tuple[str, ...]:
        """What each step is called, no two the same: its own name, else its event, else both with its number."""
        given = [step.name or step.event for step in self.steps]
        return tuple(name if given.count(name) == 1 else f"{name} ({i + 1})" for i, name in enumerate(given))

    @property
    def required(self) -> tuple[int, ...]:
        """The steps that nobody can leave out."""
        return tuple(i for i, step in enumerate(self.steps) if not step.optional)

    @property
    def limit_micros(self) -> int | None:
        """How long after its first event an attempt can still come further; None where nothing limits it."""
        required, last = 0, 0
        for step, wait in zip(self.steps[1:], self.within_micros[1:], strict=True):
            if wait is None:
                return self.window_micros
            last = max(last, required + wait)
            required += 0 if step.optional else wait
        return last if self.window_micros is None else min(last, self.window_micros)

    @property
    def window_micros(self) -> int | None:
        """The longest time from the first step to any other, in microseconds."""
        return _micros(self.window)

    @property
    def within_micros(self) -> tuple[int | None, ...]:
        """For each step the longest time since the required step before it, in microseconds."""
        return tuple(_micros(step.within) for step in self.steps)

    def to_json(self) -> bytes:
        """The definition as JSON, without what it leaves at its default; `parse` reads it back."""
        return msgspec.json.encode(self)


def parse(given: object, name: str = "funnel") -> Funnel:
    """The funnel that a mapping from JSON or TOML means; raises `InvalidInput` with the path below `name`."""
    try:
        funnel = msgspec.convert(given, Funnel)
    except msgspec.ValidationError as error:
        raise _refusal(given, str(error), name) from None
    _check(funnel, name)
    return funnel


def parse_json(text: str | bytes, name: str = "funnel") -> Funnel:
    """The funnel that a JSON text means; raises `InvalidInput`."""
    try:
        return parse(msgspec.json.decode(text), name)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidInput(name, text, "JSON") from None


def parse_file(path: Path, name: str = "definition") -> Funnel:
    """The funnel in a JSON file, or in a TOML file, whose name ends so; raises `InvalidInput`."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError):
        raise InvalidInput(name, str(path), "a text file that can be read") from None
    try:
        return parse(tomllib.loads(text), name) if path.suffix == ".toml" else parse_json(text, name)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise no_toml(path, error, text) from None


def named(tables: Mapping[str, object]) -> dict[str, Funnel]:
    """Funnels by name, from mappings as `parse` takes them; raises `InvalidInput` with the path."""
    for name in tables:
        if not NAME.fullmatch(name):
            raise InvalidInput(name, name, "a name of a to z, 0 to 9 and _, at most 64 characters")
        if name in BUILT_IN:
            raise InvalidInput(name, name, "a name that no funnel of Dropoff has")
    return {name: parse(table, name) for name, table in tables.items()}


def split(funnel: Funnel, by: str) -> Funnel:
    """The same funnel broken down by `by` in place of its own breakdown; raises `InvalidInput` naming `by`."""
    _check_by("by", by)
    return msgspec.structs.replace(funnel, by=by, attribution="first")


def in_mode(funnel: Funnel, mode: str, name: str = "definition") -> Funnel:
    """The same funnel in another mode; raises `InvalidInput` for what is none, and for what the definition, called
    `name`, has and that mode has not."""
    if mode not in MODES:
        raise InvalidInput("mode", mode, f"one of {', '.join(MODES)}")
    changed = msgspec.structs.replace(funnel, mode=mode)
    _check(changed, name)
    return changed


def unsplit(funnel: Funnel) -> Funnel:
    """The same funnel as a whole."""
    return msgspec.structs.replace(funnel, by=None, attribution="first")


def _check(funnel: Funnel, name: str) -> None:
    """All rules that a type does not say."""
    if not MIN_STEPS <= len(funnel.steps) <= MAX_STEPS:
        raise InvalidInput(f"{name}.steps", len(funnel.steps), f"{MIN_STEPS} to {MAX_STEPS} steps")
    if len(funnel.exclusions) > MAX_EXCLUSIONS:
        raise InvalidInput(f"{name}.exclusions", len(funnel.exclusions), f"at most {MAX_EXCLUSIONS}")
    if funnel.steps[0].optional:
        raise InvalidInput(f"{name}.steps[0].optional", True, "false: an attempt begins with the first step")
    _check_duration(f"{name}.window", funnel.window)
    _check_names(funnel, name)
    for i, step in enumerate(funnel.steps):
        _check_step(funnel, step, f"{name}.steps[{i}]", first=i == 0)
    for i, exclusion in enumerate(funnel.exclusions):
        _check_exclusion(funnel, exclusion, f"{name}.exclusions[{i}]")
    for i, held in enumerate(funnel.hold_constant):
        if not _is_property(held) or held in funnel.hold_constant[:i]:
            raise InvalidInput(f"{name}.hold_constant[{i}]", held, "the name of a property, each once")
    _check_mode(funnel, name)
    _check_breakdown(funnel, name)


def _check_names(funnel: Funnel, name: str) -> None:
    for i, step in enumerate(funnel.steps):
        if len(step.name) > MAX_NAME_LENGTH or "\x00" in step.name:
            raise InvalidInput(f"{name}.steps[{i}].name", step.name, f"at most {MAX_NAME_LENGTH} characters")
        if funnel.names.count(funnel.names[i]) > 1:
            raise InvalidInput(f"{name}.steps[{i}].name", funnel.names[i], "a name that no other step has")


def _check_step(funnel: Funnel, step: Step, path: str, first: bool) -> None:
    _check_happening(step, path)
    _check_duration(f"{path}.within", step.within)
    if first and step.within is not None:
        raise InvalidInput(f"{path}.within", step.within, "left out: no step comes before the first")
    if step.within is not None and funnel.mode not in ("ordered", "strict"):
        raise InvalidInput(
            f"{path}.within", step.within, f"left out: in mode {funnel.mode} no step comes before another"
        )
    if step.optional and funnel.mode != "ordered":
        raise InvalidInput(f"{path}.optional", True, f"false in mode {funnel.mode}: only ordered has optional steps")


def _check_exclusion(funnel: Funnel, exclusion: Exclusion, path: str) -> None:
    _check_happening(exclusion, path)
    first, last = exclusion.between
    if not 0 <= first < last < len(funnel.steps):
        rule = f"two steps in order, counted from 0 to {len(funnel.steps) - 1}"
        raise InvalidInput(f"{path}.between", list(exclusion.between), rule)
    if funnel.steps[first].optional or funnel.steps[last].optional:
        raise InvalidInput(f"{path}.between", list(exclusion.between), "required steps")
    for step in funnel.steps:
        if (step.event, step.where) == (exclusion.event, exclusion.where):
            raise InvalidInput(f"{path}.event", exclusion.event, "no step of the funnel")


def _check_mode(funnel: Funnel, name: str) -> None:
    """What only attempts have: without order there is none."""
    if funnel.mode not in UNTIMED:
        return
    rule = f"left out: in mode {funnel.mode} order and time do not matter"
    for key in ("window", "exclusions", "hold_constant"):
        if getattr(funnel, key):
            raise InvalidInput(f"{name}.{key}", _plain(getattr(funnel, key)), rule)
    if funnel.re_entry == "every":
        raise InvalidInput(f"{name}.re_entry", "every", f"first: in mode {funnel.mode} a unit counts once")


def _check_breakdown(funnel: Funnel, name: str) -> None:
    if funnel.by is not None:
        _check_by(f"{name}.by", funnel.by)
    attribution = funnel.attribution
    if isinstance(attribution, AtStep):
        if not 0 <= attribution.step < len(funnel.steps):
            raise InvalidInput(f"{name}.attribution.step", attribution.step, f"from 0 to {len(funnel.steps) - 1}")
    elif attribution not in ATTRIBUTIONS:
        raise InvalidInput(f"{name}.attribution", attribution, _ATTRIBUTION)
    if attribution != "first" and not (funnel.by or "").startswith(EVENT):
        raise InvalidInput(
            f"{name}.attribution", _plain(attribution), f"left out, unless by is {EVENT} and a property's name"
        )


def _check_by(path: str, by: str) -> None:
    if not by.startswith(EVENT):
        dimension(path, by)
    elif not _is_property(by.removeprefix(EVENT)):
        raise InvalidInput(path, by, f"{EVENT} and a property's name")


def _check_happening(happening: Happening, path: str) -> None:
    if happening.event != ANY_EVENT:
        try:
            kept, _ = event_type_of(happening.event)
        except InvalidEvent as error:
            raise InvalidInput(f"{path}.event", happening.event, f"{error.rule}, or {ANY_EVENT}") from None
        if kept != happening.event:
            raise InvalidInput(f"{path}.event", happening.event, f"the name under which it is kept: {kept!r}")
    try:
        conditions(happening.where)
    except InvalidInput as error:
        raise InvalidInput(f"{path}.where.{error.name}", error.value, error.rule) from None


def _check_duration(path: str, text: str | None) -> None:
    if text is not None and not timedelta(0) < parse_duration(path, text) <= MAX_WINDOW:
        raise InvalidInput(path, text, f"longer than 0 and at most {MAX_WINDOW.days}d")


def _micros(text: str | None) -> int | None:
    return None if text is None else parse_duration("window", text) // MICROSECOND


def _plain(value: object) -> object:
    """As it stands in JSON."""
    return msgspec.json.decode(msgspec.json.encode(value))


def _is_property(name: str) -> bool:
    return 0 < len(name) <= MAX_NAME_LENGTH and "\x00" not in name


# What msgspec says of a value of another shape, in the words of Dropoff.

_ATTRIBUTION = f'one of {", ".join(ATTRIBUTIONS)} or {{"step": n}}'
_RULES: dict[str, str] = {
    "mode": f"one of {', '.join(MODES)}",
    "unit": f"one of {', '.join(UNITS)}",
    "re_entry": f"one of {', '.join(RE_ENTRIES)}",
    "attribution": _ATTRIBUTION,
    "between": "two steps like [0, 1]",
    "within": "a duration like '90m', '1_hour', '4h' or '14d'",
    "window": "a duration like '90m', '1_hour', '4h' or '14d'",
    "by": f"a dimension, {PROPERTY}<name> or {EVENT}<name>",
    "optional": "true or false",
    "where": "conditions like {\"score\": {\">=\": 50}}",
    "steps": f"a list of {MIN_STEPS} to {MAX_STEPS} steps",
    "exclusions": "a list",
    "hold_constant": "a list of properties",
}  # fmt: skip
_PLACE = re.compile(r" - at `\$(.*)`$")
_FIELD = re.compile(r"(missing required|unknown) field `(.*)`")
_PART = re.compile(r"\.?([^.\[\]]+)|\[(\d+)\]")


def _refusal(given: object, message: str, name: str) -> InvalidInput:
    """What `message`, a text of msgspec's, means: the path, the value that stands there, and the rule it breaks."""
    place = _PLACE.search(message)
    path = place[1] if place else ""
    wrong = _FIELD.search(_PLACE.sub("", message))
    owner = _at(given, path)
    if wrong and wrong[1] == "unknown":
        value = owner.get(wrong[2]) if isinstance(owner, Mapping) else None
        known = _fields(path)
        rule = f"one of {', '.join(known)}{did_you_mean(wrong[2], known, '; ')}"
        return InvalidInput(f"{name}{path}.{wrong[2]}", value, rule)
    if wrong:
        return Missing(f"{name}{path}.{wrong[2]}", "given")
    last = [part[0] for part in _PART.findall(path) if part[0]]
    inside = path.endswith("]")
    rule = _RULES.get(last[-1]) if last and (not inside or last[-1] == "between") else None
    return InvalidInput(f"{name}{path}", owner, rule or _shape(message))


def _at(given: Any, path: str) -> Any:
    for key, index in _PART.findall(path):
        given = given[key] if key else given[int(index)]
    return given


def _fields(path: str) -> Iterable[str]:
    kinds = {"steps": Step, "exclusions": Exclusion, "attribution": AtStep}
    first = _PART.findall(path)
    return (kinds[first[0][0]] if first else Funnel).__struct_fields__


def _shape(message: str) -> str:
    expected = re.search(r"Expected `(\w+)", message)
    words = {"str": "a text", "int": "a whole number", "bool": "true or false", "array": "a list", "object": "a table"}
    return words.get(expected[1], expected[1]) if expected else message
