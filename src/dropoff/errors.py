"""Every error a user of Dropoff can meet.

DropoffError
├── InvalidInput         bad usage or input: names the thing, its value and the rule       (exit 2, HTTP 400)
│   ├── Missing          it was not given
│   ├── Unknown          there is no such name: says which one is like it
│   └── InvalidEvent     one event is refused: field, value, rule and an enumerated reason
├── NotFound             what was asked for does not exist                                 (exit 2, HTTP 404)
├── Unauthorized         no key, token or login, or an unknown one                         (exit 2, HTTP 401)
├── Unavailable          cannot be done now; nothing was lost; try again                   (exit 1, HTTP 503)
│   └── StoreBusy        another process holds the data directory
├── NewerSchema          the data was written by a newer Dropoff                           (exit 1)
└── Conflict             somebody else changed the value in between                        (HTTP 409)
"""

from collections.abc import Iterable
from difflib import get_close_matches


class DropoffError(Exception):
    """Base of all errors raised on purpose."""


class InvalidInput(DropoffError, ValueError):
    """`name == value, must be rule`: what was given, and what would be right."""

    def __init__(self, name: str, value: object, rule: str, said: str | None = None) -> None:
        """`said`: the sentence, where this one says it badly."""
        super().__init__(said or f"{name} == {_short(value)}, must be {rule}")
        self.name = name
        self.value = value
        self.rule = rule

    def renamed(self, name: str) -> "InvalidInput":
        """The same of a thing that has another name from outside."""
        return InvalidInput(name, self.value, self.rule)


class Missing(InvalidInput):
    """`name is missing: it must be rule`."""

    def __init__(self, name: str, rule: str) -> None:
        super().__init__(name, None, rule, _missing(name, rule))

    def renamed(self, name: str) -> "InvalidInput":
        """The same of a thing that has another name from outside."""
        return Missing(name, self.rule)


class Unknown(InvalidInput):
    """`unknown kind 'key' in place: did you mean …?`, where `name` is the place and the key."""

    def __init__(self, kind: str, key: str, known: Iterable[str], name: str, value: object) -> None:
        self.kind, self.key, self.known = kind, key, tuple(known)
        hint = did_you_mean(key, self.known) or f"known are {', '.join(self.known)}"
        place = name.removesuffix(key).rstrip(".: ")
        where = f" in {place}" if place else ""
        said = f"unknown {kind} {_short(key)}{where}: {hint}"
        super().__init__(name, value, f"left out; {hint}", said)

    def renamed(self, name: str) -> "InvalidInput":
        """The same of a thing that has another name from outside."""
        return Unknown(self.kind, self.key, self.known, name, self.value)


def path_of(parts: Iterable[str | int]) -> str:
    """`receivers[0].url`: where in a document something stands. Entries of lists are counted from 0."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).removeprefix(".")


def did_you_mean(given: object, known: Iterable[str], before: str = "") -> str:
    """`did you mean …?` if one of the known names is much like the given one, with `before` in front; else nothing."""
    near = get_close_matches(str(given), tuple(known), 1)
    return f"{before}did you mean {near[0]}?" if near else ""


class InvalidEvent(InvalidInput):
    """One event is refused. `reason` is one of `dropoff.events.REASONS`."""

    def __init__(self, reason: str, field: str, value: object, rule: str) -> None:
        super().__init__(field, value, rule, _missing(field, rule) if value is None else None)
        self.reason = reason
        self.field = field


class NotFound(DropoffError, LookupError):
    """What was asked for does not exist."""


class Unauthorized(DropoffError):
    """No key, token or login, or an unknown one."""


class Unavailable(DropoffError):
    """It cannot be done now. Nothing was lost: try again."""


class StoreBusy(Unavailable):
    """Another process holds the data directory."""


class NewerSchema(DropoffError):
    """The data was written by a newer Dropoff than this one."""


class Conflict(DropoffError):
    """Somebody else changed the value since it was read."""


def _missing(name: str, rule: str) -> str:
    return f"{name} is missing: it must be {rule}"


def _short(value: object, limit: int = 80) -> str:
    text = repr(value)
    if len(text) <= limit:
        return text
    return f"{text[: limit // 2]}…{text[1 - limit // 2 :]}"  # of a path it is the end that tells
