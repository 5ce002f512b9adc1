"""The world around the conversations: chance, the calendar and who the contacts are."""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from dropoff.demo import planted
from dropoff.demo.texts import COMPANIES, FIRST_NAMES
from dropoff.periods import EPOCH

SECOND = 1000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

Weighted = tuple[tuple[str, ...], tuple[float, ...]]

# Waiting times as quantiles of a multiple of the median: long-tailed, and plain arithmetic gives the same
# numbers on every machine, which a logarithm or an exponential need not.
_TAIL = (0.05, 0.25, 0.45, 0.65, 0.85, 1.0, 1.3, 1.8, 2.8, 5.0, 16.0)


def weighted(weights: Mapping[str, float]) -> Weighted:
    """A table to `pick` from: values and their running shares."""
    total = sum(weights.values())
    return tuple(weights), tuple(accumulate(weight / total for weight in weights.values()))


def pick(rng: Random, table: Weighted) -> str:
    """One value, by its weight."""
    values, edges = table
    return values[min(bisect_right(edges, rng.random()), len(values) - 1)]


def spread(rng: Random, median: float) -> int:
    """A long-tailed waiting time with this median, in milliseconds like it."""
    place = rng.random() * (len(_TAIL) - 1)
    low = int(place)
    return int(median * (_TAIL[low] + (_TAIL[low + 1] - _TAIL[low]) * (place - low)))


def derived(*key: object) -> Random:
    """A random stream of its own for this key, the same in every process."""
    return Random(":".join(map(str, key)))  # noqa: S311 - simulation, not secrets


def millis(instant: datetime) -> int:
    """Milliseconds since 1970."""
    return (instant - EPOCH) // timedelta(milliseconds=1)


# Share of a day's starts by local hour, of a week's by weekday (Monday first), and growth over the whole span.
_HOURS = (2, 1, 1, 1, 1, 2, 6, 18, 46, 82, 92, 88, 70, 76, 90, 88, 78, 58, 38, 30, 24, 18, 10, 4)
_WEEKDAYS = (1.05, 1.15, 1.12, 1.10, 0.95, 0.42, 0.38)
_GROWTH = 0.35
_AHEAD = 60 * DAY


class Calendar:
    """Local time and traffic of the demo's zone, for data that end at `end` (milliseconds)."""

    def __init__(self, end: int) -> None:
        self.end = end
        self.start = end - millis(EPOCH + planted.SPAN)
        zone = ZoneInfo(planted.TIMEZONE)
        hours = range(self.start // HOUR, (end + _AHEAD) // HOUR + 1)
        self._offsets = [_offset(zone, hour * HOUR) for hour in hours]

    def local(self, at: int) -> int:
        """Local wall-clock milliseconds of an instant."""
        index = at // HOUR - self.start // HOUR
        return at + self._offsets[min(max(index, 0), len(self._offsets) - 1)]

    def starts(self, rng: Random, count: int) -> list[int]:
        """`count` instants of the span, ascending: few at night and on weekends, more from week to week."""
        hours = range(self.start, self.end, HOUR)
        edges = list(accumulate(map(self._traffic, hours)))
        draws = sorted(rng.random() * edges[-1] for _ in range(count))
        return [min(self._within(hours, edges, draw), self.end - 1) for draw in draws]

    def awake(self, rng: Random, at: int) -> int:
        """The same instant, or the next morning when most people sleep."""
        of_day = self.local(at) % DAY
        if 7 * HOUR <= of_day < 22 * HOUR or rng.random() < 0.1:
            return at
        return at - of_day + (DAY if of_day >= 22 * HOUR else 0) + 7 * HOUR + int(rng.random() * 3 * HOUR)

    def slot(self, at: int, days: int, half_hour: int) -> int:
        """A meeting time: `days` later, never on a weekend, `half_hour` half hours after nine."""
        local = self.local(at) + days * DAY
        weekday = (local // DAY + 3) % 7
        local += max(0, 7 - weekday) * DAY if weekday > 4 else 0
        midnight = at + (local - local % DAY) - self.local(at)
        due = midnight + 9 * HOUR + half_hour * 30 * MINUTE
        return due - (self.local(due) - due - (self.local(at) - at))

    def _traffic(self, at: int) -> float:
        local = self.local(at)
        grown = 1 + _GROWTH * (at - self.start) / (self.end - self.start)
        return grown * _WEEKDAYS[(local // DAY + 3) % 7] * _HOURS[local % DAY // HOUR]

    def _within(self, hours: range, edges: list[float], draw: float) -> int:
        index = min(bisect_right(edges, draw), len(edges) - 1)
        before = edges[index - 1] if index else 0.0
        return hours[index] + int(HOUR * (draw - before) / (edges[index] - before))


def _offset(zone: ZoneInfo, at: int) -> int:
    shift = (EPOCH + timedelta(milliseconds=at)).astimezone(zone).utcoffset()
    return (shift or timedelta()) // timedelta(milliseconds=1)


_INDUSTRIES = weighted(
    {"Software": 20, "Healthcare": 17, "Construction": 15, "Logistics": 14, "Retail": 14, "Legal": 11, "Education": 9}
)
_SIZES = weighted({"1-10": 28, "11-50": 32, "51-200": 22, "201-1000": 12, "1000+": 6})
_ROLES = weighted({"Owner": 22, "Operations manager": 30, "Office manager": 24, "IT lead": 14, "VP Sales": 10})
_COUNTRIES = weighted({"US": 60, "CA": 10, "GB": 10, "DE": 8, "FR": 6, "AU": 4, "JP": 2})
_OTHER_MEDIA = weighted({"paid": 46, "organic": 54})
_SOURCES = {
    "paid": weighted({"google_ads": 60, "linkedin_ads": 40}),
    "organic": weighted({"website_form": 62, "newsletter": 22, "trade_show": 16}),
    "referral": weighted({"partner": 45, "customer": 55}),
}


@dataclass(frozen=True, slots=True)
class Contact:
    """One person, with everything that stays the same from conversation to conversation."""

    id: str
    name: str
    company: str
    attributes: dict[str, Any]
    fit: float
    lead_score: int
    variant: str
    signature: str
    is_test: bool

    @property
    def referred(self) -> bool:
        """Whether the contact came by the medium that is truly better."""
        return self.attributes["medium"] == planted.SEGMENTS.medium


def contact(seed: int, tag: str, number: int) -> Contact:
    """Contact `number` of this world; arms of the experiments are tossed here, so a contact sees one arm only."""
    rng = derived(seed, "contact", number)
    fit = (rng.random() + rng.random()) / 2
    return Contact(
        id=f"contact-{tag}-{number:05d}",
        name=rng.choice(FIRST_NAMES),
        company=rng.choice(COMPANIES),
        attributes=_attributes(rng),
        fit=fit,
        lead_score=min(100, max(0, round(12 + 76 * fit + 24 * (rng.random() - 0.5)))),
        variant=(planted.VARIANTS.better, planted.VARIANTS.worse)[rng.random() < 0.5],
        signature=planted.VARIANTS.null_arms[rng.random() < 0.5],
        is_test=rng.random() < planted.TEST_SHARE,
    )


def _attributes(rng: Random) -> dict[str, Any]:
    industry = pick(rng, _INDUSTRIES)
    medium = _medium(rng, industry)
    return {
        "source": pick(rng, _SOURCES[medium]),
        "medium": medium,
        "industry": industry,
        "company_size": pick(rng, _SIZES),
        "role": pick(rng, _ROLES),
        "country": pick(rng, _COUNTRIES),
    }


def _medium(rng: Random, industry: str) -> str:
    truth = planted.SEGMENTS
    share = truth.industry_medium_share if industry == truth.industry else truth.other_medium_share
    return truth.medium if rng.random() < share else pick(rng, _OTHER_MEDIA)


_TOO_EARLY = 0.155
"""The share of conversations whose drawn predecessor would lie before the first one."""


def contact_number(seed: int, conversation: int, count: int) -> int:
    """Whose conversation it is: usually a new contact's, sometimes that of one who talked some weeks ago.

    A contact carries the number of its first conversation, found by following the returns back.
    """
    rng = derived(seed, "returning", conversation)
    if rng.random() >= planted.RETURNING_SHARE / (1 - _TOO_EARLY):
        return conversation
    earlier = conversation - 1 - int(count * (0.03 + 0.25 * rng.random()))
    return conversation if earlier < 0 else contact_number(seed, earlier, count)
