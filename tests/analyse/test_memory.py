"""What is remembered of a store: who waits for it, how old it may be, and that one failure is not the last word."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Any

import pytest

from dropoff.analyse.memory import FRESH, OLD, PATIENCE, Memory

NOW = datetime(2024, 3, 1, tzinfo=UTC)
QUICK, SLOW = PATIENCE / 2, 2 * PATIENCE


class Store:
    """Of no importance: it is only told apart from others."""


class World:
    """Learning takes `takes` seconds of its clock, and gives how often it was done. `answer`: what it does besides."""

    def __init__(self, takes):
        self.takes, self.clock, self.times = takes, 1000.0, 0
        self.answer: Callable[[], object] = lambda: None
        self.store: Any = Store()
        self.memory, self.done = Memory[int](lambda: self.clock), Event()

    def ask(self, key="a", later=0.0, store: Any = None):
        return self.memory.get(store or self.store, key, NOW + timedelta(seconds=later), self.learn)

    def learn(self):
        self.clock += self.takes
        self.answer()
        self.times += 1
        self.done.set()
        return self.times

    def wait(self):
        """Until somebody has learned, and has put it down."""
        assert self.done.wait(30)
        self.memory._aside.submit(lambda: None).result(30)


def test_what_is_fresh_is_not_learned_again():
    world = World(SLOW)
    assert [world.ask(), world.ask(), world.ask(later=FRESH)] == [1, 1, 1]
    assert [world.ask("b"), world.ask(store=Store()), world.ask()] == [2, 3, 1]


@pytest.mark.parametrize("how", ["clock", "now"])
def test_what_is_learned_in_no_time_is_learned_by_who_asks(how):
    world = World(QUICK)
    world.ask()
    world.clock += FRESH if how == "clock" else 0
    assert world.ask(later=FRESH + 1 if how == "now" else 0) == 2


def test_of_what_takes_long_the_old_is_given_and_the_new_is_learned_aside():
    world = World(SLOW)
    world.ask()
    world.clock += FRESH
    world.done.clear()
    gate = Event()
    world.answer = lambda: gate.wait(30)
    assert [world.ask(), world.ask()] == [1, 1]
    gate.set()
    world.wait()
    assert (world.ask(), world.times) == (2, 2)  # learned once for both


@pytest.mark.parametrize(("takes", "due"), [(5, 500), (100, OLD / 2)])
def test_a_hundredth_of_the_time_is_spent_on_learning_aside(takes, due):
    world = World(takes)
    world.ask()
    world.clock += due - 1
    assert (world.ask(), world.ask()) == (1, 1)
    world.memory._aside.submit(lambda: None).result(30)
    assert world.times == 1
    world.clock += 1
    world.done.clear()
    assert world.ask() == 1
    world.wait()
    assert world.ask() == 2


@pytest.mark.parametrize(("clock", "later"), [(OLD, 0), (0, OLD + 1), (0, -OLD - 1)])
def test_nothing_older_than_an_hour_is_given(clock, later):
    world = World(SLOW)
    world.ask()
    world.clock += clock
    assert world.ask(later=later) == 2


def test_who_could_not_learn_aside_tries_again_and_an_hour_later_says_why():
    world = World(SLOW)
    world.ask()
    world.clock += FRESH

    def fails():
        world.done.set()
        raise OSError("the disk is gone")

    world.answer = fails
    for _ in range(2):
        world.done.clear()
        assert world.ask() == 1
        world.wait()
    world.clock += OLD
    with pytest.raises(OSError, match="the disk is gone"):
        world.ask()
    world.answer = lambda: None
    assert world.ask() == 2
