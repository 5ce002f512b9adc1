"""Where in a TOML text something stands: in which line it is no TOML, in which line a value begins."""

from collections.abc import Sequence
from contextlib import suppress
from tomllib import TOMLDecodeError, loads
from typing import Any

from dropoff.errors import InvalidInput

NOTHING = object()
"""What stands where nothing stands."""


def no_toml(file: object, error: Exception, text: str) -> InvalidInput:
    """The refusal of a file that is no TOML, with the line and what is wrong there."""
    reason = str(error)
    if reason.endswith("(at end of document)"):
        reason = f"{reason[:-1]}, begun in line {_begun(text)})"
    return InvalidInput(str(file), reason, "TOML", f"{file} is no TOML: {reason}")


def _begun(text: str) -> int:
    """In which line what never ends begins: before it all is well."""
    lines = text.splitlines()
    for number in range(len(lines) - 1, 0, -1):
        with suppress(TOMLDecodeError, RecursionError):
            loads("\n".join(lines[:number]))
            return number + 1
    return 1


def value_at(document: Any, path: Sequence[str]) -> Any:
    """What stands under these keys, and numbers of entries from 0; `NOTHING` where nothing does."""
    for part in path:
        if isinstance(document, dict) and part in document:
            document = document[part]
        elif isinstance(document, list) and part.isdecimal() and int(part) < len(document):
            document = document[int(part)]
        else:
            return NOTHING
    return document


def line_of(text: str, path: Sequence[str]) -> int | None:
    """The line, from 1, in which the value at `path` begins, or the innermost table around where it should stand.

    None where there is none of these either. `text` is TOML.
    """
    document, lines = loads(text), text.splitlines()
    there = next((path[:n] for n in range(len(path), 0, -1) if value_at(document, path[:n]) is not NOTHING), ())
    word = next((part for part in reversed(there) if not part.isdecimal()), None)
    for number, line in enumerate(lines, 1):
        if word is not None and word in line and value_at(_until(lines, number), there) is not NOTHING:
            return number
    return None


def _until(lines: Sequence[str], number: int) -> dict[str, Any]:
    """What stands up to the end of what a line begins."""
    for end in range(number, len(lines) + 1):
        with suppress(TOMLDecodeError):  # it goes on in the next line
            return loads("\n".join(lines[:end]))
    return {}
