"""Where rules are written: TOML and JSON, each key with its line, so that a refusal can say where it is wrong."""

import json
import re
import tomllib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from dropoff.errors import InvalidInput, Missing
from dropoff.tomltext import line_of, no_toml


class Place(NamedTuple):
    """Where rules were written: a file and, for a rule and a key of it ("": all of it), the line."""

    file: str
    line: Callable[[int, str], int | None] = lambda *_: None

    def refusal(self, number: int, key: str, value: object, rule: str) -> InvalidInput:
        """The refusal of a key of rule `number`, counted from 0."""
        return InvalidInput(self._name(number, key), value, rule)

    def missing(self, number: int, key: str) -> Missing:
        """The refusal of rule `number` for a key that it has to have."""
        return Missing(self._name(number, key), "given")

    def _name(self, number: int, key: str) -> str:
        line = self.line(number, key)
        where = self.file if line is None else f"{self.file}:{line}"
        return f"{where}: alerts[{number}]" + (f".{key}" if key else "")


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
    return found, Place(file, lambda number, key: line_of(text, ["alerts", str(number), *([key] if key else [])]))


def of_json(text: str, file: str) -> tuple[list[Any], Place]:
    """The rules of a JSON text."""
    found = _parsed(text, file)
    if isinstance(found, dict):
        found = found.get("alerts", [found])
    lines = _lines_of_json(text)

    def line(number: int, key: str) -> int | None:
        keys = lines[number] if number < len(lines) else {}
        return keys.get(key, keys.get(""))

    return found, Place(file, line)


def _parsed(text: str, file: str) -> Any:
    """A JSON text, or a list of its lines where each of them is one."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        with suppress(ValueError, RecursionError):
            return [json.loads(line) for line in text.splitlines() if line.strip()]
        said = f"line {error.lineno}: {error.msg}" if isinstance(error, json.JSONDecodeError) else str(error)
        raise InvalidInput(file, said, "JSON, or TOML in a file .toml") from None


_TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|[{}\[\]:]')


def _lines_of_json(text: str) -> list[dict[str, int]]:
    """Of each object in order the lines (from 1) of its keys and under "" its own; not of the one around all."""
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
