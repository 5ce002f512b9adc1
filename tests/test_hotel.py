"""119,390 hotel bookings through a mapping file: what became of each, as a plain recount of the CSV file has it."""

import csv
import gzip
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from dropoff.analyse.metrics import answer
from dropoff.events import Receipt
from dropoff.intake import encode, read_events
from dropoff.metrics import named
from dropoff.periods import parse_period
from dropoff.process.fold import Rules
from dropoff.query import Query
from dropoff.sources import load_mapping, open_source
from dropoff.store.base import Store
from worlds import RECEIVED, drain

SHARED = Path(os.environ.get("DROPOFF_SHARED", Path(__file__).parents[2] / "shared"))
FILE = SHARED / "data" / "hotel_bookings" / "hotel_bookings.csv.gz"
MAPPING = Path(__file__).parent / "data" / "hotel_bookings.toml"
ZONE = "Europe/Lisbon"
EVERY = 12
NAMES = ["conversations_started", "meetings_booked", "show_rate", "meeting_show_rate"]
CHANNELS = {"Online TA": "online_ta", "Offline TA/TO": "offline_ta_to"}
Row = dict[str, str]


@dataclass
class Hotels:
    """Bookings, in a store and as they stand in the file."""

    store: Store
    rows: list[Row]


def imported(directory: Path, file: Path, engine: str) -> Hotels:
    payloads = []
    with open_source(file, mapping=load_mapping(MAPPING)) as source:
        for chunk in source:
            intake = read_events(chunk.body, Receipt(RECEIVED, batch="hotel"), ndjson=True)
            refused = [*intake.rejections, *chunk.refused]
            assert (refused, chunk.unused) == ([], 0)
            payloads.append(encode(intake.events))
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    return Hotels(drain(directory, payloads, Rules(zone=ZoneInfo(ZONE)), engine=engine), rows)


@pytest.fixture(
    scope="module",
    params=[EVERY, pytest.param(1, marks=[pytest.mark.long, pytest.mark.timeout(1800)])],
    ids=["sample", "all"],
)
def hotels(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, engine: str) -> Iterator[Hotels]:
    """One booking in twelve, or all of them."""
    if not FILE.exists():
        pytest.skip("the hotel bookings are not in $DROPOFF_SHARED/data/hotel_bookings")
    directory = tmp_path_factory.mktemp("hotel")
    sample = directory / "hotel.csv.gz"
    with gzip.open(FILE, "rb") as whole, gzip.open(sample, "wb", compresslevel=1) as part:
        part.writelines(line for number, line in enumerate(whole) if number % request.param == 0)
    made = imported(directory, sample, engine)
    yield made
    made.store.close()


def booked_on(row: Row) -> datetime:
    day = f"{row['arrival_date_year']} {row['arrival_date_month']} {row['arrival_date_day_of_month']}"
    return datetime.strptime(day, "%Y %B %d") - timedelta(days=int(row["lead_time"]))  # noqa: DTZ007 - a calendar day


def recounted(rows: list[Row], value: Callable[[Row], str]) -> dict[str, dict[str, tuple[int, int]]]:
    """For each value the numerator and denominator of each of `NAMES`; a count has no denominator."""
    ends = Counter((value(row), row["reservation_status"]) for row in rows)
    found = {}
    for name in {name for name, _ in ends}:
        attended, canceled, away = (ends[name, end] for end in ("Check-Out", "Canceled", "No-Show"))
        booked = attended + canceled + away
        found[name] = {"conversations_started": (booked, 0), "meetings_booked": (booked, 0)}
        found[name] |= {"show_rate": (attended, booked), "meeting_show_rate": (attended, attended + away)}
        if not attended + away:  # a segment has no row of a metric of which it has nothing
            del found[name]["meeting_show_rate"]
    return found


def asked(hotels: Hotels, by: str | None) -> dict[str, dict[str, tuple[int, int]]]:
    period = parse_period("2013-01-01", "2018-01-01", ZONE)
    rows = answer(hotels.store, Query(period, datetime(2018, 1, 1, tzinfo=UTC), by=by), named(NAMES))["metrics"]
    found: dict[str, dict[str, tuple[int, int]]] = {}
    for row in rows:
        found.setdefault(row["segment"], {})[row["metric"]] = (row["numerator"], row["denominator"] or 0)
    return found


def test_what_became_of_every_booking(hotels: Hotels):
    states = dict(hotels.store.select("SELECT state, count(*) FROM meetings GROUP BY 1").rows)
    ends = Counter(row["reservation_status"] for row in hotels.rows)
    assert states == {"attended": ends["Check-Out"], "canceled": ends["Canceled"], "no_show": ends["No-Show"]}
    if len(hotels.rows) > 100_000:
        assert len(hotels.rows) == 119_390
        assert states == {"attended": 75_166, "canceled": 43_017, "no_show": 1_207}


def test_in_all(hotels: Hotels):
    assert asked(hotels, None) == recounted(hotels.rows, lambda _: "")


def test_who_canceled_or_stayed_away_has_not_attended(hotels: Hotels):
    stages = hotels.store.select(
        """SELECT m.state, count(*), count(c.booked_at), count(c.attended_at)
           FROM meetings m JOIN conversations c ON c.id = m.conversation_id GROUP BY 1 ORDER BY 1"""
    ).rows
    assert all(booked == count for _, count, booked, _ in stages)
    assert {state: attended == count for state, count, _, attended in stages if attended} == {"attended": True}
    assert [state for state, _, _, attended in stages if attended == 0] == ["canceled", "no_show"]


def test_by_hotel(hotels: Hotels):
    assert asked(hotels, "property:hotel") == recounted(hotels.rows, lambda row: row["hotel"])


def test_by_market_segment(hotels: Hotels):
    assert asked(hotels, "property:market_segment") == recounted(hotels.rows, lambda row: row["market_segment"])


def test_by_channel(hotels: Hotels):
    def channel(row: Row) -> str:
        return CHANNELS.get(row["market_segment"], row["market_segment"].lower())

    assert asked(hotels, "channel") == recounted(hotels.rows, channel)


def test_by_month_of_the_booking(hotels: Hotels):
    assert asked(hotels, "month") == recounted(hotels.rows, lambda row: f"{booked_on(row):%Y-%m}")
