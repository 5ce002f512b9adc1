"""The mapping file: how the rows of a table, or the records of a JSON file, become events (docs/import.md).

It is data and is never executed. Every mistake in it is refused when it is read (or, for a column that the file does
not have, when the file is opened), naming the file, the key, what stands there and the rule.
"""

import hashlib
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from dropoff.errors import InvalidEvent, InvalidInput, Missing, Unknown
from dropoff.events import MAX_ID_LENGTH, Envelope, event_type_of
from dropoff.periods import parse_zone
from dropoff.sources.columns import Columns, Getter, Scope, text_of
from dropoff.sources.values import Binder, Settings, column_name, kind_of, known, moment, value
from dropoff.tomltext import no_toml

Row = Callable[[Any, int], Iterator["dict[str, Any] | InvalidEvent"]]
"""(record, its number) to its events in our form, or why one of them cannot be made."""

_OWN_KEYS = ("event_type", "timestamp", "properties")
_FIELDS = tuple(name for name in Envelope.__struct_fields__ if name not in _OWN_KEYS)
_TOP = ("timezone", "decimal", "empty", "records", "key", "timestamp", "fields", "properties", "events")
_EVENT = ("type", "when", "if", "each", "timestamp", "fields", "properties")
_OWNERS = ("conversation_id", "contact_id")


Values = Sequence[tuple[str, Any]]
"""Names and their binders or, once bound, their getters."""


class _Common(NamedTuple):
    """The fields and properties that stand above all events."""

    fields: Values
    properties: Values

    def bind(self, columns: Columns) -> "_Common":
        return _Common(*([(name, one(columns)) for name, one in values] for values in self))


class _Rule(NamedTuple):
    """One `[[events]]`, read or (with getters instead of binders) bound."""

    conditions: Sequence[Any]
    each: Any
    type: Any
    timestamp: Any
    fields: Values
    properties: Values

    def bind(self, columns: Columns) -> "_Rule":
        return _Rule(
            [one(columns) for one in self.conditions],
            self.each and self.each(columns),
            self.type(columns),
            self.timestamp(columns),
            [(name, one(columns)) for name, one in self.fields],
            [(name, one(columns)) for name, one in self.properties],
        )


@dataclass(frozen=True, slots=True)
class MappingFile:
    """A mapping that has been read and found right. `records`: where in a JSON document the array of records is."""

    name: str
    settings: Settings
    records: str | None
    key: Binder | None
    common: _Common
    rules: Sequence[_Rule]

    def bind(self, columns: Columns) -> Row:
        """The function from a row to its events; raises `InvalidInput` for a column that `columns` lacks."""
        rules = [rule.bind(columns) for rule in self.rules]
        key, common = self.key and self.key(columns), self.common.bind(columns)

        def events(record: Any, number: int) -> Iterator[dict[str, Any] | InvalidEvent]:
            row = Scope(record, number)
            try:
                shared = _Shared(key, common, row)
            except InvalidEvent as error:
                yield error
                return
            for rule in rules:
                yield from _events(rule, row, shared)

        return events


def load_mapping(path: Path) -> MappingFile:
    """The mapping in a TOML file; raises `InvalidInput`."""
    try:
        return parse_mapping(path.read_text("utf-8-sig"), str(path))
    except OSError as error:
        raise InvalidInput("mapping", str(path), f"a file that can be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise InvalidInput(str(path), str(error), "a text in UTF-8") from None


def parse_mapping(text: str, name: str = "mapping") -> MappingFile:
    """The mapping in a TOML text; `name` stands before each key in the errors, all of them `InvalidInput`."""
    try:
        top = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise no_toml(name, error, text) from None
    for key in top:
        if key not in _TOP:
            raise Unknown("key", key, _TOP, f"{name}: {key}", top[key])
    settings = _settings(name, top)
    key = _key(f"{name}: key", top["key"], settings) if "key" in top else None
    records = column_name(f"{name}: records", top["records"]) if "records" in top else None
    common = _Common(
        _section("fields", f"{name}: fields", top, settings),
        _section("properties", f"{name}: properties", top, settings),
    )
    return MappingFile(name, settings, records, key, common, _rules(name, top, settings, common))


def _settings(name: str, top: Mapping[str, Any]) -> Settings:
    settings = Settings()
    if "timezone" in top:
        settings = replace(settings, zone=_zone(f"{name}: timezone", top["timezone"]))
    if top.get("decimal", ".") not in (".", ","):
        raise InvalidInput(f"{name}: decimal", top["decimal"], "'.' or ','")
    empty = top.get("empty", [])
    if not isinstance(empty, list) or not all(isinstance(one, str) for one in empty):
        raise InvalidInput(f"{name}: empty", empty, "a list of texts that mean 'no value', like ['NULL', 'n/a']")
    return replace(settings, decimal=top.get("decimal", "."), empty=frozenset(one.strip() for one in ("", *empty)))


def _zone(where: str, given: object) -> Any:
    try:
        return parse_zone(given if isinstance(given, str) else "")
    except InvalidInput as error:
        raise InvalidInput(where, given, error.rule) from None


def _key(where: str, given: object, settings: Settings) -> Binder:
    parts = given if isinstance(given, list) else [given]
    if not parts or not all(isinstance(one, str) and "{" in one for one in parts):
        raise InvalidInput(where, given, "a text like '{id}', or a list of them, that names a row for good")
    # As texts: 0001 and 1 are two rows.
    binders = [value(where, part, settings, "text") for part in parts]

    def bind(columns: Columns) -> Getter:
        getters = [binder(columns) for binder in binders]
        return lambda scope: None if None in (found := [get(scope) for get in getters]) else found

    return bind


def _rules(name: str, top: Mapping[str, Any], settings: Settings, common: _Common) -> list[_Rule]:
    given = top.get("events")
    if not isinstance(given, list) or not given:
        raise InvalidInput(f"{name}: events", given, "at least one [[events]] table")
    rules = []
    for number, one in enumerate(given):
        where = f"{name}: events[{number}]"
        rules.append(rule := _rule(where, one, top, settings, name))
        fields = [field for field, _ in (*common.fields, *rule.fields)]
        if not any(field in _OWNERS for field in fields):
            raise InvalidInput(f"{where}.fields", fields, "given, with conversation_id or contact_id")
    return rules


def _rule(where: str, given: object, top: Mapping[str, Any], settings: Settings, name: str) -> _Rule:
    event = known(where, given, _EVENT)
    nested = "each" in event
    return _Rule(
        conditions=_conditions(where, event, nested),
        each=_each(f"{where}.each", event["each"]) if nested else None,
        type=_type(f"{where}.type", event.get("type"), settings, nested),
        timestamp=_timestamp(where, event, top, settings, name),
        fields=_section("fields", f"{where}.fields", event, settings, nested),
        properties=_section("properties", f"{where}.properties", event, settings, nested),
    )


def _type(where: str, given: object, settings: Settings, nested: bool) -> Binder:
    table = isinstance(given, dict) and "column" in given
    if not table and not (isinstance(given, str) and given.strip()):
        raise InvalidInput(where, given, "an event type, '{column}', or a table with 'column' and 'values'")
    named = given.get("values", {}) if isinstance(given, dict) else {where: given}
    binder = value(where, given, settings, "name", nested=nested)
    for one in named.values():
        if not isinstance(one, str):
            raise InvalidInput(where, one, "an event type")
        if "{" not in one:
            _check_type(where, one)
    return binder


def _check_type(where: str, written: str) -> None:
    try:
        event_type_of(written)
    except InvalidEvent as error:
        raise InvalidInput(where, written, error.rule) from None


def _timestamp(where: str, event: Mapping[str, Any], top: Mapping[str, Any], settings: Settings, name: str) -> Binder:
    """Its own `timestamp`, else the column that `when` names, else the mapping's."""
    nested = "each" in event
    if "timestamp" in event:
        return moment(f"{where}.timestamp", event["timestamp"], settings, nested=nested)
    if isinstance(event.get("when"), str):
        return moment(f"{where}.when", f"{{{event['when']}}}", settings, nested=nested)
    if "timestamp" not in top:
        raise Missing(f"{where}.timestamp", "given, here, above all events, or by 'when'")
    return moment(f"{name}: timestamp", top["timestamp"], settings)


def _section(
    section: str, where: str, table: Mapping[str, Any], settings: Settings, nested: bool = False
) -> list[tuple[str, Binder]]:
    given = table.get(section, {})
    known(where, given, _FIELDS if section == "fields" else tuple(given))
    return [
        (name, value(f"{where}.{name}", one, settings, kind_of(section, name), nested=nested))
        for name, one in given.items()
    ]


def _each(where: str, given: object) -> Binder:
    name = column_name(where, given)

    def bind(columns: Columns) -> Getter:
        get = columns(name, where)

        def items(scope: Scope) -> list[Any]:
            found = get(scope)
            if found is not None and not isinstance(found, list):
                raise InvalidEvent("wrong_type", name, found, "a list")
            return found or []

        return items

    return bind


def _conditions(where: str, event: Mapping[str, Any], nested: bool) -> list[Binder]:
    when, conditions = event.get("when", []), event.get("if", {})
    names = [column_name(f"{where}.when", n, nested=nested) for n in (when if isinstance(when, list) else [when])]
    if not isinstance(conditions, dict):
        raise InvalidInput(f"{where}.if", conditions, "a table like {status = 'paid'} or {status = ['paid', 'open']}")
    return [
        *(_condition(f"{where}.when", name, lambda found: found is not None) for name in names),
        *(
            _condition(f"{where}.if", column_name(f"{where}.if", name, nested=nested), _test(f"{where}.if.{name}", one))
            for name, one in conditions.items()
        ),
    ]


def _condition(where: str, name: str, test: Callable[[Any], bool]) -> Binder:
    def bind(columns: Columns) -> Getter:
        get = columns(name, where)
        return lambda scope: test(get(scope))

    return bind


def _test(where: str, given: object) -> Callable[[Any], bool]:
    if isinstance(given, dict):
        (key, inner), *more = known(where, given, ("not", "empty")).items() or (("", None),)
        if more or (key == "empty" and not isinstance(inner, bool)) or not key:
            raise InvalidInput(where, given, "{not = value}, {not = [values]}, {empty = true} or {empty = false}")
        if key == "empty":
            return lambda found: (found is None) == inner
        unwanted = _texts(where, inner)
        return lambda found: found is None or text_of(found).strip() not in unwanted
    wanted = _texts(where, given)
    return lambda found: found is not None and text_of(found).strip() in wanted


def _texts(where: str, given: object) -> frozenset[str]:
    values = given if isinstance(given, list) else [given]
    if not values or not all(isinstance(one, (str, bool, int, float)) for one in values):
        raise InvalidInput(where, given, "a value or a list of values")
    return frozenset(text_of(one).strip() for one in values)


# What runs for each row.


class _Shared:
    """What the events of one row have in common, found once: the row's key, and the fields of the whole mapping.

    An event's id is made of the key, its type and a number; it is the same on every import.
    """

    __slots__ = ("counts", "fields", "key", "properties")

    def __init__(self, key: Getter | None, common: "_Common", scope: Scope) -> None:
        self.key = None
        if key is not None:
            parts = key(scope)
            if parts is None:
                raise InvalidEvent("missing_id", "key", None, "given in every row")
            self.key = "/".join([part.replace("/", "//") for part in parts])
        self.fields, self.properties = _found(common.fields, scope), _found(common.properties, scope)
        self.counts: dict[str, int] = {}

    def next_id(self, event_type: str) -> str | None:
        """The next id; without a key the event's content identifies it."""
        if self.key is None:
            return None
        count = self.counts[event_type] = self.counts.get(event_type, 0) + 1
        name = f"{self.key}/{event_type}/{count}" if count > 1 else f"{self.key}/{event_type}"
        return name if len(name) <= MAX_ID_LENGTH else hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:32]


def _events(rule: _Rule, row: Scope, shared: _Shared) -> Iterator[dict[str, Any] | InvalidEvent]:
    """The event of the row, or those of the items of its list, where all conditions hold."""
    scopes = [row]
    if rule.each:
        try:
            scopes = [Scope(row.record, row.row, nth, item) for nth, item in enumerate(rule.each(row), 1)]
        except InvalidEvent as error:
            yield error
            return
    for scope in scopes:
        event = _event(rule, scope, shared)
        if event is not None:
            yield event


def _event(rule: _Rule, scope: Scope, shared: _Shared) -> dict[str, Any] | InvalidEvent | None:
    """None where a condition does not hold."""
    try:
        if not all(holds(scope) for holds in rule.conditions):
            return None
        event_type = rule.type(scope)
        if event_type is None:
            raise InvalidEvent("missing_event_type", "type", None, "given")
        event: dict[str, Any] = {"event_type": event_type, "event_id": shared.next_id(event_type), **shared.fields}
        event["timestamp"] = rule.timestamp(scope)
        if event["timestamp"] is None:
            raise InvalidEvent("bad_timestamp", "timestamp", None, "given")
        event |= _found(rule.fields, scope)
        event["properties"] = {**shared.properties, **_found(rule.properties, scope)}
        return event
    except InvalidEvent as error:
        return error


def _found(getters: Sequence[tuple[str, Getter]], scope: Scope) -> dict[str, Any]:
    return {name: found for name, get in getters if (found := get(scope)) is not None}
