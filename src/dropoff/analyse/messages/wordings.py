"""From the texts that a bot sent to the messages they are: rules first, then slots that the texts themselves show."""

from collections.abc import Sequence

import polars as pl

from dropoff.project.wording import Rule

SLOT = "<…>"
"""Stands for what the texts themselves show to be filled in."""

VALUES = 5
"""So many different values in one place, all else being equal, make a slot of it."""

WORDS = 3
"""A slot holds at most so many words, of which the first and the last begin with a capital letter or a digit."""

LEARNED_FROM = 50_000
"""From so many texts, the most frequent ones, slots are learned."""

ROUNDS = 3
"""So often: a text can have several slots, and one is seen more clearly once another is closed."""


def normalise(texts: pl.Series, rules: Sequence[Rule]) -> pl.Series:
    """The texts after these rules, blanks as single ones."""
    found = texts.str.replace_all(r"\s+", " ").str.strip_chars()
    for rule in rules:
        found = found.str.replace_all(rule.pattern, rule.replace)
    return found


def messages(texts: pl.DataFrame, rules: Sequence[Rule]) -> pl.DataFrame:
    """`text` and `message` for the distinct texts of a frame `text`, `n` (how often each was sent).

    Texts that differ in one place only, by one to three words that look like a name, are one message where that place
    has five or more different values. Depends on the texts alone, not on their order.
    """
    found = texts.with_columns(normalise(texts["text"], rules).alias("message"))
    for _ in range(ROUNDS):
        seen = found.group_by("message").agg(pl.col("n").sum()).sort(["n", "message"], descending=[True, False])
        slots = _slots(seen["message"].head(LEARNED_FROM).to_list())
        if not slots:
            break
        found = found.with_columns(pl.col("message").replace(slots))
    return found.select("text", "message")


def _slots(texts: Sequence[str]) -> dict[str, str]:
    """For each text in which a slot is found the text with the slot: the one with the most values, else the first."""
    places: dict[tuple[str, str], set[str]] = {}
    for text in texts:
        for before, value, after in _candidates(text):
            places.setdefault((before, after), set()).add(value)
    found = {}
    for text in texts:
        known = [
            (-len(places[before, after]), f"{before}{SLOT}{after}")
            for before, _, after in _candidates(text)
            if len(places[before, after]) >= VALUES
        ]
        if known:
            found[text] = min(known)[1]
    return found


def _candidates(text: str) -> list[tuple[str, str, str]]:
    """What a slot may hold, with the text before and after it; punctuation at its ends is outside.

    A message is more than what is filled in: the whole text is no slot.
    """
    words, starts, at = text.split(" "), [], 0
    for word in words:
        starts.append(at)
        at += len(word) + 1
    able = [_looks_like_a_name(word) for word in words]
    found = []
    for i, first in enumerate(able):
        if not first or len(words) == 1:
            continue
        for last in range(i, min(i + WORDS, len(words))):
            if last > i and words[last - 1][-1] in ".,;:!?":
                break  # a name does not go on behind a mark
            if not able[last] or (i, last) == (0, len(words) - 1):
                continue
            whole = text[starts[i] : starts[last] + len(words[last])]
            value = whole.strip(_MARKS)
            begin = starts[i] + whole.index(value)
            found.append((text[:begin], value, text[begin + len(value) :]))
    return found


_MARKS = ".,;:!?\"'()[]“”‘’…–-"


def _looks_like_a_name(word: str) -> bool:
    bare = word.strip(_MARKS)
    return bool(bare) and (bare[0].isupper() or bare[0].isdigit())
