"""The values of a mapping: texts with `{column}`, look-ups, times, constants.

Each is made in two steps. Reading the mapping gives a `Binder`; binding that to the columns of a file gives a
`Getter`, which is all that runs for a row.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, get_args, get_type_hints
from zoneinfo import ZoneInfo

from msgspec import Raw

from dropoff.errors import InvalidEvent, InvalidInput, Unknown
from dropoff.events import Envelope, Properties
from dropoff.sources import times
from dropoff.sources.columns import INDEX, ITEM, Columns, Getter, Scope, text_of

Binder = Callable[[Columns], Getter]
KINDS = ("text", "number", "boolean")
_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_JSON_NUMBER = re.compile(r"-?(0|[1-9]\d{0,14})(\.\d{1,12})?", re.ASCII)
_WRITTEN_NUMBER = re.compile(r"[+-]?(\d{1,15}|\d{1,3}(,\d{3}){1,4})(\.\d{0,12})?([eE][+-]?\d{1,2})?", re.ASCII)
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_VALUE_RULE = "a text, a number, true or false, a list of them, or a table with 'column', 'time' or 'date'"
_TIME_KEYS = ("format", "plus", "minus")
_TABLES = {
    "column": ("column", "values", "default", "as"),
    "time": ("time", *_TIME_KEYS),
    "date": ("date", *_TIME_KEYS),
}


@dataclass(frozen=True, slots=True)
class Settings:
    """What holds for all values of a mapping: how its file writes times, numbers and nothing."""

    zone: ZoneInfo | None = None
    decimal: str = "."
    empty: frozenset[str] = frozenset({""})


def known(where: str, table: object, keys: Sequence[str]) -> dict[str, Any]:
    """`table` itself; raises `InvalidInput` if it is none, or has another key than `keys`."""
    if not isinstance(table, dict):
        raise InvalidInput(where, table, "a table")
    for key in table:
        if key not in keys:
            raise Unknown("key", key, keys, f"{where}.{key}", table[key])
    return table


def column_name(where: str, name: object, *, nested: bool = False) -> str:
    """The name of a column, as `when`, `if`, `each` and `column` give it; raises `InvalidInput`."""
    if not isinstance(name, str) or not name.strip() or "{" in name:
        raise InvalidInput(where, name, "the name of a column, without braces")
    if not nested and name.partition(".")[0] in (INDEX, ITEM):
        raise InvalidInput(where, name, "used only where the event has 'each'")
    return name


def value(where: str, given: object, settings: Settings, kind: str = "", *, nested: bool = False) -> Binder:
    """The binder of any value; raises `InvalidInput` naming `where`, what stands there and the rule."""
    if isinstance(given, str):
        return _converted(template(where, given, nested=nested), kind, settings, where)
    if isinstance(given, (bool, int, float)):
        return lambda _: lambda _: given
    if isinstance(given, list):
        return _listed([value(f"{where}[{n}]", one, settings, nested=nested) for n, one in enumerate(given)])
    form = next((key for key in _TABLES if isinstance(given, dict) and key in given), None)
    if form is None or not isinstance(given, dict):
        raise InvalidInput(where, given, _VALUE_RULE)
    known(where, given, _TABLES[form])
    if form == "column":
        return _lookup(where, given, settings, kind, nested)
    return moment(where, given, settings, nested=nested, day=form == "date")


def template(where: str, written: str, *, nested: bool = False) -> Binder:
    """A text in which `{column}` stands for a value; alone it is the value itself. Nothing if one of them is empty."""
    parts = _parts(where, written, nested)
    names = [name for _, name in parts if name]
    if not names:
        text = "".join(text for text, _ in parts)
        return lambda _: lambda _: text
    if len(parts) == 1:
        return lambda columns: columns(names[0], where)
    pattern = "".join("%s" if name else text.replace("%", "%%") for text, name in parts)
    return lambda columns: _joined(pattern, [columns(name, where) for name in names])


def _parts(where: str, written: str, nested: bool) -> list[tuple[str, str | None]]:
    parts: list[tuple[str, str | None]] = []
    end = 0
    for token in _TOKEN.finditer(written):
        if token.start() > end:
            parts.append((written[end : token.start()], None))
        end = token.end()
        if token[0] in ("{{", "}}"):
            parts.append((token[0][0], None))
        elif not token[1]:
            raise InvalidInput(where, written, "a text with '{column}'; a brace itself is written twice")
        else:
            parts.append(("", column_name(where, token[1], nested=nested)))
    return [*parts, (written[end:], None)] if end < len(written) or not parts else parts


def _joined(pattern: str, getters: Sequence[Getter]) -> Getter:
    def get(scope: Scope) -> str | None:
        texts = []
        for one in getters:
            found = one(scope)
            if found is None:
                return None
            texts.append(found if type(found) is str else text_of(found))
        return pattern % tuple(texts)

    return get


def _listed(binders: Sequence[Binder]) -> Binder:
    def bind(columns: Columns) -> Getter:
        getters = [binder(columns) for binder in binders]
        return lambda scope: [one for get in getters if (one := get(scope)) is not None]

    return bind


def _lookup(where: str, given: Mapping[str, Any], settings: Settings, kind: str, nested: bool) -> Binder:
    name = column_name(f"{where}.column", given["column"], nested=nested)
    kind = given.get("as", kind)
    if "as" in given and kind not in KINDS:
        raise InvalidInput(f"{where}.as", kind, " or ".join(map(repr, KINDS)))
    default = given.get("default")
    if default is not None:
        _constant(f"{where}.default", default)
    column: Binder = lambda columns: columns(name, f"{where}.column")  # noqa: E731
    if "values" in given:
        found = _among(where, name, column, _values(f"{where}.values", given["values"]), default)
    else:
        found = _converted(column, kind, settings, where, strict="as" in given)
    return found if default is None else _or_default(found, default)


def _values(where: str, given: object) -> dict[str, Any]:
    if not isinstance(given, dict) or not given:
        raise InvalidInput(where, given, "a table of at least one value of the column")
    return {written: _constant(f"{where}.{written}", meant) for written, meant in given.items()}


def _constant(where: str, given: object) -> object:
    if not isinstance(given, (str, bool, int, float)):
        raise InvalidInput(where, given, "a text, a number, true or false")
    return given


def _among(where: str, name: str, column: Binder, values: dict[str, Any], default: object) -> Binder:
    field = where.rpartition(": ")[2]
    rule = f"one of {', '.join(map(repr, values))}, or the mapping must give a value or a default for it"

    def bind(columns: Columns) -> Getter:
        get = column(columns)

        def look_up(scope: Scope) -> Any:
            written = get(scope)
            meant = None if written is None else values.get(text_of(written).strip(), default)
            if meant is None and written is not None:
                raise InvalidEvent("out_of_range", f"{field} (column {name})", written, rule)
            return meant

        return look_up

    return bind


def _or_default(found: Binder, default: object) -> Binder:
    def bind(columns: Columns) -> Getter:
        get = found(columns)
        return lambda scope: default if (one := get(scope)) is None else one

    return bind


# Texts become what their field holds: the event's own fields by their type, others if they look like it.


def kind_of(section: str, name: str) -> str:
    """What `name` in "fields" or "properties" holds: a name (without blanks around it), text, number, boolean.

    "" where it is not known: then a value is what it looks like.
    """
    kind = _KINDS[section].get(name, "")
    return "name" if kind == "text" and section == "fields" else kind


def _kind(hint: Any) -> str:
    members = set(get_args(hint)) - {type(None)} or {hint}
    bases = {get_args(one)[0] if hasattr(one, "__metadata__") else one for one in members}
    if bases <= {str}:
        return "text"
    if bases <= {bool}:
        return "boolean"
    return "number" if bases <= {int, float, Decimal} else ""


_KINDS: dict[str, dict[str, str]] = {
    "fields": {name: _kind(hint) for name, hint in get_type_hints(Envelope, include_extras=True).items()},
    "properties": {name: _kind(hint) for name, hint in get_type_hints(Properties, include_extras=True).items()},
}
_KINDS["properties"] |= {"meeting_id": "text", "opportunity_id": "text", "deal_id": "text"}


def _converted(found: Binder, kind: str, settings: Settings, where: str, *, strict: bool = False) -> Binder:
    """What `found` gives, as `kind`. Only where the mapping says `as` is anything else refused here."""
    if kind in ("text", "name"):
        return lambda columns: _as_text(found(columns), blanks=kind == "text")
    convert = _CONVERT[kind]
    field = where.rpartition(": ")[2]

    def one_as(one: Any) -> Any:
        meant = convert(one, settings.decimal)
        if meant is None and strict:
            raise InvalidEvent("wrong_type", field, one, f"a {kind}")
        return one if meant is None else meant

    # Only texts: 1, 1.0 and True would be one key.
    text_as = lru_cache(maxsize=4096)(one_as)

    def bind(columns: Columns) -> Getter:
        get = found(columns)

        def converted(scope: Scope) -> Any:
            one = get(scope)
            if one is None:
                return None
            return text_as(one) if type(one) is str else one_as(one)

        return converted

    return bind


def _as_text(get: Getter, *, blanks: bool) -> Getter:
    def text(scope: Scope) -> str | None:
        one = get(scope)
        if one is None:
            return None
        written = one if type(one) is str else text_of(one)
        return written if blanks else written.strip()

    return text


def number_of(one: Any, decimal: str) -> Any:
    """A number, exactly as written; None for anything else. Thousands may be grouped."""
    if not isinstance(one, str):
        return one if isinstance(one, (int, float, Decimal)) and not isinstance(one, bool) else None
    text = one.strip()
    if decimal == ",":
        text = text.translate(_SWAP)
    if _JSON_NUMBER.fullmatch(text):
        return Raw(text.encode())
    return Raw(f"{Decimal(text.replace(',', '')):f}".encode()) if _WRITTEN_NUMBER.fullmatch(text) else None


_SWAP = str.maketrans(",.", ".,")


def boolean_of(one: Any, _: str = ".") -> bool | None:
    """true or false, also as yes/no or 1/0; None for anything else."""
    return one if isinstance(one, bool) else _BOOLEANS.get(text_of(one).strip().lower())


def _as_it_looks(one: Any, decimal: str) -> Any:
    if not isinstance(one, str):
        return None
    text = one.strip()
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    plain = text.replace(",", ".", 1) if decimal == "," and "." not in text else text
    return Raw(plain.encode()) if _JSON_NUMBER.fullmatch(plain) else None


_CONVERT: dict[str, Callable[[Any, str], Any]] = {
    "number": number_of,
    "boolean": boolean_of,
    "": _as_it_looks,
}


def moment(where: str, given: object, settings: Settings, *, nested: bool = False, day: bool = False) -> Binder:
    """A time: `"{column}"`, or a table with `time` (or `date`), `format`, `plus`, `minus`.

    Its getter gives an instant in UTC as RFC 3339, or the date, and raises `InvalidEvent`.
    """
    form = "date" if day else "time"
    table = known(where, {form: given} if isinstance(given, str) else given, (form, *_TIME_KEYS))
    written = table.get(form)
    if not isinstance(written, str):
        raise InvalidInput(f"{where}.{form}", written, "a text like '{column}'")
    field = where.rpartition(": ")[2]
    text = template(f"{where}.{form}", written, nested=nested)
    read = times.reader(field, _formats(f"{where}.format", table.get("format", [])))
    shifts = [*_shifts(where, table, "plus", nested), *_shifts(where, table, "minus", nested)]
    units = [(sign, unit) for sign, _, unit in shifts]

    def moved(found: Any, *amounts: Any) -> str:
        spans = [(sign, amount, unit) for amount, (sign, unit) in zip(amounts, units, strict=True)]
        return _written(field, read(found), spans, settings.zone, day)

    return lambda columns: _moved(text(columns), [amount(columns) for _, amount, _ in shifts], moved)


def _moved(get: Getter, amounts: Sequence[Getter], moved: Callable[..., str]) -> Getter:
    # Dates repeat in most files.
    moved_text = lru_cache(maxsize=65_536)(moved)

    def when(scope: Scope) -> str | None:
        found = get(scope)
        if found is None:
            return None
        return (moved_text if type(found) is str else moved)(found, *[amount(scope) for amount in amounts])

    return when


def _formats(where: str, given: object) -> list[str]:
    formats = [given] if isinstance(given, str) else given
    if not isinstance(formats, list) or not all(isinstance(one, str) for one in formats):
        raise InvalidInput(where, given, "a format like '%Y-%m-%d %H:%M', or a list of them")
    return [times.check_format(where, one) for one in formats]


def _shifts(where: str, table: Mapping[str, Any], key: str, nested: bool) -> list[tuple[int, Binder, str]]:
    given = table.get(key, [])
    spans = given if isinstance(given, list) else [given]
    return [_shift(f"{where}.{key}", one, 1 if key == "plus" else -1, nested) for one in spans]


def _shift(where: str, span: object, sign: int, nested: bool) -> tuple[int, Binder, str]:
    amount, _, unit = span.strip().rpartition(" ") if isinstance(span, str) else ("", "", "")
    unit = unit.removesuffix("s")
    if unit not in times.UNITS or not ("{" in amount or _WRITTEN_NUMBER.fullmatch(amount)):
        raise InvalidInput(where, span, f"a span like '3 days' or '{{column}} days', in {', '.join(times.UNITS)}s")
    return sign, template(where, amount.strip(), nested=nested), unit


def _written(field: str, at: datetime, shifts: Sequence[tuple[int, Any, str]], zone: ZoneInfo | None, day: bool) -> str:
    # Days are counted on the calendar of the file's zone, hours on the clock.
    for sign, amount, unit in shifts:
        if day or unit in ("day", "week"):
            at = times.shift(field, at, amount, unit, sign)
    if day:
        return times.local_date(at, zone).isoformat()
    at = times.in_utc(field, at, zone)
    for sign, amount, unit in shifts:
        if unit not in ("day", "week"):
            at = times.shift(field, at, amount, unit, sign)
    return at.isoformat().replace("+00:00", "Z")
