"""Where rules are written: TOML and JSON, each key with its line, so that a refusal can say where it is wrong."""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from dropoff.errors import InvalidInput
from dropoff.tomltext import no_toml


class Place:
    """Where rules were written: a file and, for each rule, the lines of its keys."""

    def __init__(self, file: str, lines: Sequence[Mapping[str, int]] = ()) -> None:
        self._file = file
        self._lines = lines

    def refusal(self, number: int, key: str, value: object, rule: str) -> InvalidInput:
        """The refusal of a key of rule `number`, counted from 0."""
        lines = self._lines[number] if number < len(self._lines) else {}
        line = lines.get(key, lines.get(""))
        where = self._file if line is None else f"{self._file}:{line}"
        return InvalidInput(f"{where}: alerts[{number}]" + (f".{key}" if key else ""), value, rule)


def written(path: Path) -> tuple[list[Any], Place]:
    """What stands in a file of rules, unchecked, and where."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError):
        raise InvalidInput("rules", str(path), "a file of rules, TOML or JSON, that can be read") from None
    if path.suffix == ".toml":
        return of_toml(text, str(path))
    return of_json(text, str(path))


def of_toml(text: str, file: str) -> tuple[list[Any], Place]:
    """The tables `[[alerts]]` of a TOML text."""
    try:
        found = tomllib.loads(text).get("alerts", [])
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise no_toml(file, error, text) from None
    return found, Place(file, list(_lines_of_toml(text)))


def of_json(text: str, file: str) -> tuple[list[Any], Place]:
    """The rules of a JSON text."""
    found = _parsed(text, file)
    if isinstance(found, dict):
        found = found.get("alerts", [found])
    return found, Place(file, list(_lines_of_json(text)))


def _parsed(text: str, file: str) -> Any:
    """A JSON text, or a list of its lines where each of them is one."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        with suppress(ValueError, RecursionError):
            return [json.loads(line) for line in text.splitlines() if line.strip()]
        said = f"line {error.lineno}: {error.msg}" if isinstance(error, json.JSONDecodeError) else str(error)
        raise InvalidInput(file, said, "JSON, or TOML in a file .toml") from None


_TABLE = re.compile(r"\s*\[\[?[\w .-]+\]\]?\s*(#.*)?$")
_OURS = re.compile(r"\s*\[\[\s*alerts\s*\]\]")
_ASSIGNMENT = re.compile(r"""\s*["']?([\w-]+)["']?\s*=""")


def _lines_of_toml(text: str) -> Iterator[dict[str, int]]:
    """For each `[[alerts]]` the lines, from 1, of its keys; under "" that of the header."""
    current: dict[str, int] | None = None
    for number, line in enumerate(text.splitlines(), 1):
        if _TABLE.match(line):
            if current is not None:
                yield current
            current = {"": number} if _OURS.match(line) else None
        elif current is not None and (found := _ASSIGNMENT.match(line)):
            current.setdefault(found[1], number)
    if current is not None:
        yield current


_TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|[{}\[\]:]')


def _lines_of_json(text: str) -> list[dict[str, int]]:
    """The same for each object, in the order in which they begin, without the one around them."""
    found: list[dict[str, int]] = []
    open_ones: list[dict[str, int]] = []
    last, at, line = "", 0, 1
    for token in _TOKEN.finditer(text):
        line += text.count("\n", at, token.start())
        at, word = token.start(), token[0]
        if word == "{":
            open_ones.append({"": line})
            found.append(open_ones[-1])
        elif word == "}" and open_ones:
            open_ones.pop()
        elif word == ":" and open_ones and last.startswith('"'):
            open_ones[-1].setdefault(last[1:-1], line)
        last = word
    return [lines for lines in found if "alerts" not in lines]
