"""Every error a user of Dropoff can meet.

DropoffError
├── InvalidInput         bad usage or input: names the thing, its value and the rule       (exit 2, HTTP 400)
│   ├── Missing          it was not given
│   └── InvalidEvent     one event is refused: field, value, rule and an enumerated reason
├── NotFound             what was asked for does not exist                                 (exit 2, HTTP 404)
├── Unauthorized         no key, token or login, or an unknown one                         (exit 2, HTTP 401)
├── Unavailable          cannot be done now; nothing was lost; try again                   (exit 1, HTTP 503)
│   └── StoreBusy        another process holds the data directory
├── NewerSchema          the data was written by a newer Dropoff                           (exit 1)
└── Conflict             somebody else changed the value in between                        (HTTP 409)
"""


class DropoffError(Exception):
    """Base of all errors raised on purpose."""


class InvalidInput(DropoffError, ValueError):
    """`name == value, must be rule`: what was given, and what would be right."""

    def __init__(self, name: str, value: object, rule: str) -> None:
        super().__init__(self._said(name, value, rule))
        self.name = name
        self.value = value
        self.rule = rule

    @staticmethod
    def _said(name: str, value: object, rule: str) -> str:
        return f"{name} == {_short(value)}, must be {rule}"

    def renamed(self, name: str) -> "InvalidInput":
        """The same of a thing that has another name from outside."""
        return InvalidInput(name, self.value, self.rule)


class Missing(InvalidInput):
    """`name is missing: it must be rule`."""

    def __init__(self, name: str, rule: str) -> None:
        super().__init__(name, None, rule)

    @staticmethod
    def _said(name: str, value: object, rule: str) -> str:  # noqa: ARG004
        return f"{name} is missing: it must be {rule}"

    def renamed(self, name: str) -> "InvalidInput":
        """The same of a thing that has another name from outside."""
        return Missing(name, self.rule)


class InvalidEvent(InvalidInput):
    """One event is refused. `reason` is one of `dropoff.events.REASONS`."""

    def __init__(self, reason: str, field: str, value: object, rule: str) -> None:
        super().__init__(field, value, rule)
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


def _short(value: object, limit: int = 80) -> str:
    text = repr(value)
    if len(text) <= limit:
        return text
    return f"{text[: limit // 2]}…{text[1 - limit // 2 :]}"  # of a path it is the end that tells
