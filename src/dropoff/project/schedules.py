"""When reports are made and who gets them, as it stands in `[[reports]]` of `dropoff.toml`."""

import re
from datetime import UTC, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, model_validator

from dropoff.errors import InvalidInput

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DEFAULTS = {"weekly": "mon 08:00", "monthly": "1 08:00"}
_RULES = {"weekly": "a day and a time like 'mon 08:00'", "monthly": "a day from 1 to 28 and a time like '1 08:00'"}


class Schedule(BaseModel):
    """One entry of `[[reports]]`: the report `kind`, when it is made, and the names of those who get it.

    `at`: weekly `mon 08:00`, monthly `1 08:00`, on the clock of the project's zone. No receivers: all of them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["weekly", "monthly"]
    at: str = ""
    receivers: list[str] = []
    format: Literal["html", "md", "pdf"] = "html"

    @model_validator(mode="after")
    def _is_known(self) -> "Schedule":
        self.moment()
        return self

    @property
    def when(self) -> str:
        """`at`, or its default."""
        return (self.at or _DEFAULTS[self.kind]).strip().lower()

    def moment(self) -> tuple[int, time]:
        """The day, of the week from Monday = 0 or of the month, and the time of day. Raises `InvalidInput`."""
        match = re.fullmatch(r"(\w+) ([01]\d|2[0-3]):([0-5]\d)", self.when)
        day = _day(self.kind, match[1]) if match else None
        if match is None or day is None:
            raise InvalidInput("at", self.at, _RULES[self.kind])
        return day, time(int(match[2]), int(match[3]))

    def due(self, now: datetime, zone: ZoneInfo) -> datetime:
        """The last moment at or before `now` at which the report was due.

        On the day on which the clock skips that time it is the moment of the jump by as much later; on the day on
        which the clock shows it twice, it is the first.
        """
        day, clock = self.moment()
        today = now.astimezone(zone).date()
        for back in range(63):
            date = today - timedelta(days=back)
            if (date.weekday() if self.kind == "weekly" else date.day) != day:
                continue
            moment = datetime.combine(date, clock, zone).astimezone(UTC)
            if moment <= now:
                return moment
        raise AssertionError("every day comes within two months")


def _day(kind: str, text: str) -> int | None:
    if kind == "weekly":
        return DAYS.index(text) if text in DAYS else None
    return int(text) if text.isdecimal() and 1 <= int(text) <= 28 else None
