"""Rules by which the bot's texts that differ only in a name, a number or a link are one message, as in `dropoff.toml`.

Patterns are those of Rust's `regex` crate, which polars runs: no look-around and no back-references, and the time they
take grows with the text alone. `$1` in a replacement is the first group.
"""

from collections.abc import Mapping
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field, field_validator

from dropoff.errors import InvalidInput


class Rule(NamedTuple):
    """Replace what a pattern finds. The rules are applied in order, each to what the one before left."""

    name: str
    pattern: str
    replace: str


_DAY = "Mon|Tues?|Wed(?:nes)?|Thu(?:rs?)?|Fri|Sat(?:ur)?|Sun"
_MONTH = "Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sep(?:t(?:ember)?)?|Oct(?:ober)?"
_NAME = r"\p{Lu}[\p{L}\p{M}'’.-]*"
_AMOUNT = r"\d(?:[\d.,' ]*\d)?"

RULES: tuple[Rule, ...] = (
    Rule("link", r"(?i)\b(?:https?://|www\.)[^\s<>\"]*[^\s<>\".,;:!?)\]]", "<link>"),
    Rule("email", r"(?i)\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b", "<email>"),
    Rule("greeting", rf"\b(Hi|Hello|Hey|Dear|Good (?:morning|afternoon|evening)),? {_NAME}(?: {_NAME}){{0,2}}",
         "$1 <name>"),
    Rule("money", rf"(?:[$€£¥₹]|\b(?:USD|EUR|GBP|CHF) ?) ?{_AMOUNT}|\b{_AMOUNT} ?(?:[$€£¥₹]|(?:USD|EUR|GBP|CHF)\b)",
         "<money>"),
    Rule("date", rf"\b\d{{4}}-\d\d-\d\d\b|\b\d{{1,2}}[./]\d{{1,2}}[./]\d{{2,4}}\b|"
         rf"\b(?:{_MONTH}|Nov(?:ember)?|Dec(?:ember)?)\.? \d{{1,2}}(?:st|nd|rd|th)?(?:,? \d{{4}})?\b|"
         rf"\b\d{{1,2}}(?:st|nd|rd|th|\.)? (?:{_MONTH}|Nov(?:ember)?|Dec(?:ember)?)\b(?: \d{{4}}\b)?|"
         rf"\b(?:{_DAY})(?:day)?\b", "<date>"),
    Rule("time", r"(?i)\b\d{1,2}[:.]\d\d(?: ?[ap]\.?m\b)?|\b\d{1,2} ?[ap]m\b|\b\d{1,2} o’clock\b", "<time>"),
    Rule("phone", r"\+\d[\d ()/.-]{5,}\d|\(\d{2,5}\) ?\d[\d -]{4,}\d|\b\d{3}[ -]\d{3}[ -]\d{4}\b|\b0\d[\d /-]{5,}\d\b",
         "<phone>"),
    Rule("number", r"\b\d+(?:[.,]\d+)*\b", "<number>"),
)  # fmt: skip
"""What is replaced unless a project says otherwise, in this order."""


class WordingRule(BaseModel):
    """`[wording.NAME]`: a rule of a project's own, or in place of the one of that name. Without pattern it is off."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pattern: str = Field(max_length=1000)
    replace: str = Field(default="", max_length=100)

    @field_validator("pattern")
    @classmethod
    def _can_be_read(cls, pattern: str) -> str:
        if pattern:
            import polars as pl

            try:
                pl.Series([""]).str.contains(pattern)
            except pl.exceptions.ComputeError as error:
                why = str(error).partition("\n\nThis error")[0].splitlines()[-1].removeprefix("error: ")
                raise InvalidInput("pattern", pattern, f"a regular expression of Rust's regex: {why}") from None
        return pattern


def rules(own: Mapping[str, WordingRule]) -> tuple[Rule, ...]:
    """A project's rules: new ones first, in the order in which they stand; the others where the shipped one stood."""
    known = {rule.name for rule in RULES}
    first = [Rule(name, one.pattern, one.replace) for name, one in own.items() if name not in known]
    rest = [Rule(r.name, own[r.name].pattern, own[r.name].replace) if r.name in own else r for r in RULES]
    return tuple(rule for rule in (*first, *rest) if rule.pattern)
