"""What stood in the same windows of the weeks before: whole, whatever else was asked, and whatever clocks did."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from dropoff.alerts.files import Place
from dropoff.alerts.past import earlier
from dropoff.alerts.rules import parse
from dropoff.alerts.values import Reader
from dropoff.metrics import METRICS
from worlds import START, given, started

WEEKS = 8
HOURLY = [started(60 * hour + 30, conversation_id=str(hour)) for hour in range(-48, (WEEKS + 1) * 7 * 24)]
SPIKE = {"metric": "conversations_started", "condition": "anomaly", "threshold": 0.001, "window": "1_hour"}


def rules(*tables):
    return parse(list(tables), Place("test"))


def before(reader, rule, now):
    """The values of the weeks before, the latest first."""
    past = reader.past([rule], now)[rule.name]
    return [past.sums("", window, now).value for window in reader.weeks_before(rule, now)]


@pytest.fixture
def reader(engine, tmp_path):
    """`reader(zone, *events)`: of a store of these."""
    stores = []

    def make(zone, *events):
        stores.append(given(*events, directory=tmp_path, engine=engine))
        return Reader(stores[-1], zone, METRICS, {})

    yield make
    for store in stores:
        store.close()


def test_rules_of_one_metric_with_other_windows_see_whole_weeks(reader):
    """The shorter one is asked first: what is kept for it does not reach as far back as the longer one looks."""
    found, now = reader("UTC", *HOURLY), START + timedelta(weeks=WEEKS, days=1)
    short, long = rules(SPIKE, SPIKE | {"window": "1_day"})
    assert before(found, short, now) == [1] * WEEKS
    assert before(found, long, now) == [24] * WEEKS


def test_weeks_before_the_clocks_went_back_are_whole(reader):
    zone, now = ZoneInfo("Europe/Berlin"), datetime(2024, 11, 20, 9, tzinfo=UTC)
    moments = [earlier(now, week, zone) - timedelta(minutes=m) for week in range(WEEKS + 1) for m in (5, 25, 45, 55)]
    events = [
        {**started(conversation_id=str(place)), "timestamp": moment.isoformat()}
        for place, moment in enumerate([*moments, now - timedelta(weeks=10)])
    ]
    (rule,) = rules(SPIKE)
    assert before(reader(zone.key, *events), rule, now) == [4] * WEEKS


def test_what_nobody_asks_for_any_more_is_let_go(reader):
    found, now = reader("UTC", *HOURLY[:100]), START + timedelta(days=2)
    for number in range(30):
        (rule,) = rules(SPIKE | {"where": f"channel=c{number}"})
        before(found, rule, now)
    kept = len(found._kept._entries)
    (rule,) = rules(SPIKE)
    before(found, rule, now + timedelta(days=1))
    assert len(found._kept._entries) < kept - 30 + 5
