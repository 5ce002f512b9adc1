"""What happened outside of the data, as `[[annotations]]` in `dropoff.toml` has it: marked in every chart over time."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, field_validator

from dropoff.errors import InvalidInput
from dropoff.periods import Period, parse_instant


class Annotation(BaseModel):
    """One entry of `[[annotations]]`. `at`: a day, or an instant with an offset; as text or as TOML writes it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    at: str
    text: str = Field(min_length=1, max_length=200)

    @field_validator("at", mode="before")
    @classmethod
    def _instant(cls, given: Any) -> str:
        text = given.isoformat() if isinstance(given, date) else given  # which a datetime is, too
        if not isinstance(text, str):
            raise InvalidInput("at", str(given), "a day like 2024-01-31, or an instant with an offset")
        parse_instant("at", text, ZoneInfo("UTC"))
        return text


class Mark(NamedTuple):
    """An instant, and what happened then."""

    at: datetime
    text: str


def marks(annotations: Sequence[Annotation], zone: ZoneInfo) -> tuple[Mark, ...]:
    """All of them, the earliest first; a day begins in this zone."""
    return tuple(sorted(Mark(parse_instant("at", one.at, zone), one.text) for one in annotations))


def shown(given: Sequence[Mark], period: Period, now: datetime) -> list[dict[str, str]]:
    """Those of a period that are not still to come, as answers have them."""
    return [
        {"at": mark.at.astimezone(UTC).isoformat().replace("+00:00", "Z"), "text": mark.text}
        for mark in given
        if period.start <= mark.at < min(period.end, now)
    ]
