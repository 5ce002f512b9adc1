"""When a worker makes rollups between its batches."""

import pytest

from dropoff.server import working
from dropoff.server.working import AT_REST, FIRST, LATEST, SELDOM, Rollups


class Clock:
    """Seconds, and when rollups were made, each for as long as `took`."""

    def __init__(self) -> None:
        self.now, self.took, self.made = 1000.0, 2.0, list[float]()

    def refresh(self, *_: object) -> None:
        self.made.append(self.now)
        self.now += self.took


@pytest.fixture
def clock(monkeypatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(working.time, "monotonic", lambda: made.now)
    monkeypatch.setattr(working, "refresh", made.refresh)
    return made


def rollups(may=None) -> Rollups:
    return Rollups(None, None, may)  # pyright: ignore[reportArgumentType] - nothing is asked of them here


def busy(one: Rollups, clock: Clock, seconds: float) -> list[float]:
    """When rollups are made under load, a batch each quarter of a second."""
    clock.made.clear()
    end = clock.now + seconds
    while clock.now < end:
        clock.now += 0.25
        one.between(False)
    return clock.made


def test_a_sender_that_pauses_goes_on_to_send(clock):
    one = rollups()
    one.between(False)
    clock.now += AT_REST / 2
    one.between(True)
    assert not clock.made
    clock.now += AT_REST
    one.between(True)
    assert len(clock.made) == 1
    assert one.current
    clock.now += 100
    one.between(True)
    assert len(clock.made) == 1  # nothing has come


def test_under_load_rollups_take_a_hundredth_of_the_time(clock):
    one = rollups()
    first, second = busy(one, clock, FIRST + SELDOM * clock.took + 10)
    assert first == pytest.approx(1000 + FIRST, abs=1)
    assert second - first == pytest.approx((SELDOM + 1) * clock.took, abs=1)
    assert not one.current


@pytest.mark.parametrize(("took", "apart"), [(20.0, LATEST), (100.0, 1000.0)])
def test_what_takes_long_is_not_put_off_for_ever(clock, took, apart):
    clock.took = took
    first, second = busy(rollups(), clock, FIRST + apart + took + 10)
    assert second - first == pytest.approx(apart + took, abs=1)


def test_of_a_shared_store_one_worker_rolls_up_again_and_again(clock):
    one, other = rollups(lambda: True), rollups(lambda: False)
    for _ in range(3):
        one.between(True)
        other.between(True)
        clock.now += 10
    assert len(clock.made) == 3
