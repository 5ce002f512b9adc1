"""The rollups: the same tables whatever the history, and no bucket touched that did not change."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import given as for_all
from hypothesis import strategies as st

from dropoff.aggregate.rollups import Plan, refresh
from dropoff.analyse.metrics import Cell, measure
from dropoff.metrics import METRICS
from dropoff.periods import Period
from dropoff.process.fold import Rules
from dropoff.process.worker import Worker
from dropoff.query import Query, TestTraffic
from dropoff.queue.sqlite import SqliteQueue
from worlds import (
    Dict,
    booked,
    event,
    fallback,
    histories,
    open_store,
    payload,
    received,
    retracted,
    scratch,
    sent,
    started,
)

NOW = datetime(2030, 1, 1, tzinfo=UTC)
NEW_YORK = Plan("America/New_York")
KOLKATA = Plan("Asia/Kolkata")
Tables = tuple[list[tuple], list[tuple]]


class World:
    """A store with its queue and worker; `tell` sends events and brings the rollups up to date."""

    def __init__(self, directory: Path, engine: str) -> None:
        self._queue = SqliteQueue(directory / "queue.db")
        self.store = open_store(directory, engine)
        self._worker = Worker(self._queue, self.store, Rules())

    def tell(self, *events: Dict, plan: Plan = NEW_YORK):
        """What was computed anew."""
        if events:
            self._queue.append(payload(list(events)), len(events)).result()
            self._worker.step(1)
        return refresh(self.store, plan, NOW)

    def tables(self) -> Tables:
        hourly = self.store.select("SELECT * FROM metrics_hourly ORDER BY ALL").rows
        return hourly, self.store.select("SELECT * FROM metrics_daily ORDER BY ALL").rows

    def hourly(self, metric: str, segment: str = "") -> dict[datetime, float | None]:
        found = self.store.select(
            f"""SELECT timestamp, value FROM metrics_hourly
                WHERE metric_name = {self.store.dialect.literal(metric)}
                AND segment = {self.store.dialect.literal(segment)}""",
        )
        return dict(found.rows)

    def close(self) -> None:
        self._queue.close()
        self.store.close()


@pytest.fixture
def world(tmp_path: Path, engine: str) -> Iterator[World]:
    found = World(tmp_path, engine)
    yield found
    found.close()


def tables_of(engine: str, *batches: list[Dict], plans: tuple[Plan, ...] = (NEW_YORK,)) -> Tables:
    """Both tables after these batches, rolled up after each; at the end by the last plan."""
    with scratch() as place:
        world = World(place, engine)
        for batch in batches:
            world.tell(*batch, plan=plans[0])
        for plan in plans:
            world.tell(plan=plan)
        found = world.tables()
        world.close()
    return found


@settings(max_examples=4, suppress_health_check=[HealthCheck.too_slow])
@for_all(histories(outside=True), st.randoms(use_true_random=False))
def test_any_history_ends_in_the_tables_of_the_clean_one(engine: str, history: list[Dict], random: Random):
    shuffled = random.sample([*history, *history], 2 * len(history))
    half = len(shuffled) // 2
    assert tables_of(engine, shuffled[:half], shuffled[half:]) == tables_of(engine, history)


def test_another_zone_makes_both_tables_anew(engine: str):
    history = [started(), sent(at=1), received(at=35), booked(at=70)]
    moved = tables_of(engine, history, plans=(NEW_YORK, KOLKATA))
    assert moved == tables_of(engine, history, plans=(KOLKATA,))
    assert moved != tables_of(engine, history)


def test_hours_begin_where_the_zone_says(world: World):
    world.tell(started(at=0), plan=KOLKATA)  # 10:00 UTC is 15:30 there
    assert list(world.hourly("conversations_started")) == [datetime(2024, 1, 15, 9, 30)]  # noqa: DTZ001 - as the store gives instants


def test_only_touched_hours_are_computed(world: World):
    world.tell(started(), *(sent(at=60 * i, event_id=f"e{i}") for i in range(1, 40)))
    assert world.tell() == (0, 0)
    assert world.tell(started(at=60 * 5, conversation_id="other")) == (1, 1)
    late = world.tell(fallback(at=60 * 30 + 1, conversation_id="other"))
    assert late.hours <= 2


def test_a_retracted_event_moves_the_past(world: World):
    world.tell(started(), booked(at=200, event_id="b"))
    at = datetime(2024, 1, 15, 13)  # noqa: DTZ001 - as the store gives instants
    assert world.hourly("meetings_booked") == {at: 1.0}
    world.tell(retracted("b", at=999))
    assert world.hourly("meetings_booked") == {}


def test_test_traffic_is_not_rolled_up(world: World):
    world.tell(started(is_test=True), started(conversation_id="d", channel="fax"))
    assert sum(v or 0 for v in world.hourly("conversations_started").values()) == 1
    world.tell(plan=Plan("America/New_York", test=TestTraffic(channels=("fax",))))
    assert world.hourly("conversations_started") == {}


def test_segments_stand_beside_the_whole(world: World):
    world.tell(started(channel="sms"), started(conversation_id="d"), sent(conversation_id="d", at=1))
    assert list(world.hourly("conversations_started", "channel=sms").values()) == [1.0]
    assert list(world.hourly("conversations_started", "channel=(none)").values()) == [1.0]
    assert list(world.hourly("conversations_started").values()) == [2.0]


@settings(max_examples=4, suppress_health_check=[HealthCheck.too_slow])
@for_all(histories())
def test_hours_and_days_add_up_to_the_period(engine: str, history: list[Dict]):
    with scratch() as place:
        world = World(place, engine)
        world.tell(*history)
        whole = measure(
            world.store,
            Query(Period(datetime(2000, 1, 1, tzinfo=UTC), NOW, "America/New_York"), NOW),
            [m for m in METRICS.values() if m.additive],
        )
        for table in ("metrics_hourly", "metrics_daily"):
            sums = world.store.select(
                f"SELECT metric_name, sum(numerator), sum(denominator) FROM {table} WHERE segment = '' GROUP BY 1"
            ).rows
            for metric, numerator, denominator in sums:
                expected = whole[metric][Cell("", None, None)]
                assert (numerator, denominator) == (expected.numerator or 0, expected.denominator), metric
        world.close()


def test_a_day_of_25_hours_has_25(world: World):
    fall_back = datetime(2024, 11, 3, 4, tzinfo=UTC)  # midnight in New York
    first = round((fall_back - datetime(2024, 1, 15, 10, tzinfo=UTC)) / timedelta(minutes=1))
    world.tell(*(started(at=first + 60 * i, conversation_id=f"c{i}") for i in range(26)))
    days = world.store.select(
        "SELECT date, value FROM metrics_daily WHERE metric_name = 'conversations_started' AND segment = '' ORDER BY 1"
    ).rows
    assert [value for _, value in days] == [25.0, 1.0]
    assert len(world.hourly("conversations_started")) == 26


def test_events_of_unknown_types_change_no_bucket(world: World):
    world.tell(started())
    assert world.tell(event("api_called", at=500)).hours <= 1
