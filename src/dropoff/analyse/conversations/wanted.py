"""Words looked for in what was said: what counts as the same letter, as one pattern for stores and pages alike.

Case and accents do not matter: `cafe` finds `Café`. The pattern is in the syntax that RE2 and Python share.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from dropoff.errors import InvalidInput

MOST_TERMS, LONGEST = 10, 200
_BEFORE, _SHOWN = 60, 160
"""How much of a text is shown before the first place that was found, and how much in all, in characters."""
_MARKS = "\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
_MARK = re.compile(f"[{_MARKS}]")
_SPACE = "[ \\t\\n\\r\\f\\v\u00a0\u2000-\u200a\u202f\u3000]+"
_ALPHABETS = (range(0x80, 0x3000), range(0xA640, 0xAC00), range(0xFF21, 0xFF5B), range(0x10400, 0x10600))
"""Where letters with case or accents are, beside ASCII."""


class Found(NamedTuple):
    """A part of a text, and where in it something was found: `[start, end)` of each place, in characters."""

    text: str
    marks: list[tuple[int, int]]


def terms(text: str) -> tuple[str, ...]:
    """The words of a search, and its phrases in double quotes, as they are compared. Raises `InvalidInput`."""
    given = [phrase or word for phrase, word in re.findall(r'"([^"]+)"|([^\s"]+)', text)]
    found = tuple(dict.fromkeys(term for one in given if (term := " ".join(folded(one).split()))))
    if not found or len(found) > MOST_TERMS or len(text) > LONGEST:
        raise InvalidInput("text", text, f"1 to {MOST_TERMS} words or phrases in quotes, at most {LONGEST} characters")
    return found


def folded(text: str) -> str:
    """A text in lower case and without accents."""
    # Letter by letter, so that a pattern can be made of it; a sigma is the same at the end of a word.
    lower = "".join(letter.lower() for letter in text).replace("ς", "σ")
    return unicodedata.normalize("NFC", _MARK.sub("", unicodedata.normalize("NFD", lower)))


def pattern(term: str) -> str:
    """What a text has to match in which the term stands."""
    words = ("".join(f"[{''.join(map(_literal, _forms(letter)))}][{_MARKS}]*" for letter in w) for w in term.split(" "))
    return _SPACE.join(words)


def any_of(wanted: Sequence[str]) -> re.Pattern[str]:
    """Whatever of these terms stands in a text."""
    return re.compile("|".join(map(pattern, sorted(wanted, key=len, reverse=True))))


def marks(text: str, wanted: re.Pattern[str]) -> list[tuple[int, int]]:
    """Where in a text something wanted stands."""
    return [found.span() for found in wanted.finditer(text)]


def snippet(text: str, wanted: re.Pattern[str]) -> Found:
    """The part of a text around the first place, with an ellipsis where something is left out."""
    places = marks(text, wanted)
    first = places[0][0] if places else 0
    start = max(0, first - _BEFORE) if len(text) > _SHOWN else 0
    end = min(len(text), start + _SHOWN)
    before, after = "…" if start else "", "…" if end < len(text) else ""
    move = len(before) - start
    inside = [(low + move, min(high, end) + move) for low, high in places if low < end]
    return Found(before + text[start:end] + after, inside)


def _literal(letter: str) -> str:
    return f"\\{letter}" if letter in "\\]^-[&~|" else letter


def _forms(letter: str) -> str:
    return _alphabet().get(letter, letter)


@cache
def _alphabet() -> dict[str, str]:
    """Each folded letter with all letters that are folded to it."""
    found: dict[str, str] = {}
    for code in (*range(0x80), *(code for part in _ALPHABETS for code in part)):
        letter = chr(code)
        if len(same := folded(letter)) == 1:
            found[same] = found.get(same, "") + letter
    return found
