"""Filters that people saved: a name, and the parameters of a list of conversations. Every process sees them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

import msgspec

from dropoff.control.base import Control
from dropoff.control.whole import check_whole
from dropoff.errors import Conflict, InvalidInput, NotFound

LONGEST_NAME, MOST_TEXT, MOST = 64, 8_000, 1_000
"""Characters of a name, characters of all parameters together, and how many filters there may be."""
_FOLDER = "filters/"


@dataclass(frozen=True)
class Saved:
    """A filter `name`: the parameters of a URL, each with all its values. `by` saved it at `at`."""

    name: str
    params: Mapping[str, Sequence[str]]
    by: str
    at: datetime


def save(control: Control, name: str, params: Mapping[str, Sequence[str]], by: str, now: datetime) -> Saved:
    """Keep a filter under a name that is still free. Raises `InvalidInput`."""
    name = name.strip()
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise InvalidInput("name", name, f"1 to {LONGEST_NAME} printable characters")
    if not params:
        raise InvalidInput("params", dict(params), "one filter or more")
    if sum(len(key) + len(text) for key, texts in params.items() for text in texts) + len(by) > MOST_TEXT:
        raise InvalidInput("params", name, f"at most {MOST_TEXT} characters together")
    if len(control.list(_FOLDER)) >= MOST:
        raise InvalidInput("name", name, f"one of at most {MOST}: remove another first")
    check_whole(params=dict(params), by=by)
    made = Saved(name, {key: list(texts) for key, texts in params.items()}, by, now)
    try:
        control.put(_key(name), msgspec.json.encode(made), 0)
    except Conflict:
        raise InvalidInput("name", name, "one that no other filter has: remove that one first") from None
    return made


def saved(control: Control) -> list[Saved]:
    """All of them, by name."""
    found = [msgspec.json.decode(entry.value, type=Saved) for entry in control.list(_FOLDER).values()]
    return sorted(found, key=lambda each: (each.name.casefold(), each.name))


def remove(control: Control, name: str) -> None:
    """Forget a filter. Raises `NotFound`."""
    if not 0 < len(name) <= LONGEST_NAME or control.get(_key(name)) is None:
        raise NotFound(f"there is no filter {name!r}")
    control.delete(_key(name))


def _key(name: str) -> str:
    return _FOLDER + quote(name, safe="", errors="replace")
