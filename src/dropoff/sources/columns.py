"""How the value of a column is found: by position in a table, by path in a JSON record."""

import math
from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from dropoff.errors import InvalidEvent, InvalidInput, did_you_mean

ROW, INDEX, ITEM = "#row", "#index", "#item"


class Scope(NamedTuple):
    """Where a value is looked up: the record, its number, and within `each` the item and its number (from 1)."""

    record: Any
    row: int
    nth: int = 0
    item: Any = None


Getter = Callable[[Scope], Any]
"""The value in a scope; None if there is none."""

Columns = Callable[[str, str], Getter]
"""The getter of a column: (name, where the mapping names it). Raises `InvalidInput` for a column the file lacks."""

_OWN: dict[str, Getter] = {ROW: lambda scope: scope.row, INDEX: lambda scope: scope.nth}


def of_table(header: Sequence[str], empty: frozenset[str]) -> Columns:
    """Columns of rows that are lists of texts."""

    def column(name: str, where: str) -> Getter:
        if name in _OWN:
            return _OWN[name]
        position = _position(header, name, where)

        def get(scope: Scope) -> str | None:
            cell = scope[0][position]
            return None if cell.strip() in empty else cell

        return get

    return column


def _position(header: Sequence[str], name: str, where: str) -> int:
    if name not in header:
        hint = did_you_mean(name, header, "; ")
        raise InvalidInput(where, name, f"a column of the file ({', '.join(header[:40])}){hint}")
    if header.count(name) > 1:
        raise InvalidInput(where, name, "a column that stands in the file once")
    return header.index(name)


def of_records(empty: frozenset[str], header: Sequence[str] | None = None) -> Columns:
    """Columns of records that are dictionaries: `name`, or a path like `customer.address.city`, `messages.-1.text`.

    With a `header`, the first name of each path must be in it.
    """

    def column(name: str, where: str) -> Getter:
        if name in _OWN:
            return _OWN[name]
        root, _, rest = name.partition(".")
        inner = rest.split(".") if rest else []
        if root == ITEM:
            return lambda scope: _present(_at(scope.item, inner), empty)
        if header is not None and name not in header:
            _position(header, root, where)
        return lambda scope: _present(_found(scope.record, name, root, inner), empty)

    return column


def _found(record: dict[str, Any], name: str, root: str, inner: Sequence[str]) -> Any:
    value = record.get(name)
    return value if value is not None or not inner else _at(record.get(root), inner)


def _at(value: Any, path: Sequence[str]) -> Any:
    for key in path:
        if isinstance(value, dict):
            value = value.get(key)
        elif isinstance(value, list) and key.lstrip("-").isdecimal() and -len(value) <= int(key) < len(value):
            value = value[int(key)]
        else:
            return None
    return value


def _present(value: Any, empty: frozenset[str]) -> Any:
    if isinstance(value, str) and value.strip() in empty:
        return None
    return None if isinstance(value, float) and math.isnan(value) else value


_AS_THEY_ARE = (int, float, Decimal, UUID, time, timedelta)
"""What `str` writes in full. Anything else, like a `Raw`, it only describes, at an address that changes."""


def text_of(value: Any) -> str:
    """A value as a text: as it would stand in a CSV file. Raises `InvalidEvent` for what no text can stand for."""
    if isinstance(value, str):
        return value
    if type(value) is int:
        return str(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, (bool, list, dict)):
        return msgspec.json.encode(value).decode()
    if isinstance(value, _AS_THEY_ARE):
        return str(value)
    raise InvalidEvent("wrong_type", "value", type(value).__name__, "a text, a number, true or false, or a time")
