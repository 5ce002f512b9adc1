"""Several workers and one store without transactions: any interleaving, any death ends in the tables of a clean run."""

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dropoff.aggregate.rollups import Plan, refresh
from dropoff.process.fold import Rules
from dropoff.process.worker import made_by
from dropoff.store import clickhouse, sql
from dropoff.store.base import Change, Store
from dropoff.store.clickhouse import ClickHouseStore
from worlds import (
    MADE,
    Dict,
    booked,
    chunks,
    drain,
    event,
    histories,
    in_memory,
    open_store,
    payload,
    received,
    refusals,
    retracted,
    rows,
    scratch,
    sent,
    started,
)

NOW = datetime(2030, 1, 1, tzinfo=UTC)
PLAN = Plan("America/New_York")
ROLLUPS = ("metrics_hourly", "metrics_daily")


class Died(BaseException):
    """A worker is killed."""


class Turns:
    """Lets one of several threads go on at a time, from one step to the next, in an order of chance."""

    def __init__(self, random: Random, threads: int) -> None:
        self._random = random
        self._alive = threads
        self._waiting: list[str] = []
        self._next: str | None = None
        self._changed = threading.Condition()

    def wait(self, name: str) -> None:
        """Until it is this thread's turn."""
        with self._changed:
            self._waiting.append(name)
            self._choose()
            self._changed.wait_for(lambda: self._next == name)
            self._next = None
            self._waiting.remove(name)

    def leave(self) -> None:
        """This thread is done."""
        with self._changed:
            self._alive -= 1
            self._choose()

    def _choose(self) -> None:
        if self._next is None and self._waiting and len(self._waiting) == self._alive:
            self._next = self._random.choice(sorted(self._waiting))
            self._changed.notify_all()


class Stepwise(ClickHouseStore):
    """The store, which before every statement of a worker asks whether it may go on, or live."""

    before: Callable[[], None] = staticmethod(lambda: None)

    def _arrow(self, statement: str, values: Sequence[Any]) -> pl.DataFrame:
        self.before()
        return super()._arrow(statement, values)

    def _insert(self, table: str, rows: pl.DataFrame) -> None:
        self.before()
        super()._insert(table, rows)

    def _command(self, statement: str) -> None:
        self.before()
        super()._command(statement)


def stepwise(directory: Path) -> Stepwise:
    place = clickhouse.Place.parse(in_memory().at(directory))
    return Stepwise(place.connect(None, None, place.database))


def absorb(store: Store, batch: list[Dict]) -> None:
    """What a worker does with a batch."""
    changes = made_by(store, Rules())
    work = changes.prepare(payload(batch))
    store.commit(Change(work.events, work.superseded, work.rows, refusals(), 0, work.versions))


class Racer:
    """A thread with a store of its own. At the steps `dying` it is killed."""

    def __init__(self, turns: Turns, name: str, directory: Path, dying: set[int]) -> None:
        self._turns = turns
        self._name = name
        self._dying = dying
        self._steps = 0
        self.failure: BaseException | None = None
        self.store = stepwise(directory)
        self.store.before = self._step

    def _step(self) -> None:
        self._steps += 1
        self._turns.wait(self._name)
        if self._steps in self._dying:
            raise Died

    def run(self, work: Callable[[Stepwise], None]) -> None:
        try:
            work(self.store)
        except BaseException as error:  # what it says must reach the test
            self.failure = error
        finally:
            self._turns.leave()
            self.store.close()


def take(batches: list[list[Dict]], store: Stepwise) -> None:
    """A worker and, where it is killed, the next one, to which its batch comes again."""
    for batch in batches:
        try:
            absorb(store, batch)
        except Died:
            take([batch], store)


def roll_up(store: Stepwise) -> None:
    for _ in range(2):
        refresh(store, PLAN, NOW)


def race(directory: Path, random: Random, shares: list[list[list[Dict]]], deaths: int) -> None:
    """Workers take their shares of batches at once, while another process rolls up. Some die, and come again."""
    jobs: list[Callable[[Stepwise], None]] = [*(partial(take, share) for share in shares), roll_up]
    # Hypothesis ends a history that becomes too long by an exception from its generator. Out of a thread nobody would
    # see it, and the others would wait for their turns for ever.
    turns = Turns(Random(random.getrandbits(64)), len(jobs))
    dying = [{random.randrange(1, 40) for _ in range(deaths)} for _ in shares]
    racers = [Racer(turns, str(i), directory, dying[i] if i < len(dying) else set()) for i in range(len(jobs))]
    threads = [threading.Thread(target=racer.run, args=(job,)) for racer, job in zip(racers, jobs, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for racer in racers:
        if racer.failure is not None:
            raise racer.failure


def tables(store: Store) -> dict[str, list[Dict]]:
    """All tables, once everything is rolled up."""
    refresh(store, PLAN, NOW)
    return {name: rows(store, name) for name in (*(sql.PHYSICAL[table] for table in (*MADE, "events")), *ROLLUPS)}


def clean(history: list[Dict]) -> dict[str, list[Dict]]:
    """The tables of the embedded store, after all in one batch."""
    with scratch() as place:
        store = drain(place, [payload(history)])
        found = tables(store)
        store.close()
    return found


def raced(history: list[Dict], random: Random, deaths: int = 0) -> dict[str, list[Dict]]:
    """The tables after two workers took batches of all of it, some of it twice."""
    twice = [*history, *random.sample(history, len(history) // 3)]
    batches = chunks(random.sample(twice, len(twice)), [random.randrange(99) for _ in range(3)])
    shares = [[b for b in batches[place::2] if b] for place in range(2)]
    with scratch() as place:
        open_store(place, "chdb").close()
        race(place, random, shares, deaths)
        store = open_store(place, "chdb")
        found = tables(store)
        store.close()
    return found


@settings(max_examples=6, suppress_health_check=[HealthCheck.too_slow])
@given(histories(12) | histories(12, outside=True), st.randoms(use_true_random=False), st.integers(0, 3))
def test_two_workers_end_in_the_tables_of_a_clean_run(history: list[Dict], random: Random, deaths: int):
    assert raced(history, random, deaths) == clean(history)


@pytest.mark.long
@pytest.mark.timeout(3000)
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(histories() | histories(outside=True), st.randoms(use_true_random=False), st.integers(0, 4))
def test_two_workers_end_in_the_tables_of_a_clean_run_in_many_ways(history: list[Dict], random: Random, deaths: int):
    assert raced(history, random, deaths) == clean(history)


ONE_CONTACT = [
    started(contact_id="p"),
    sent(at=1),
    received("yes", at=2),
    started(at=10, conversation_id="d", contact_id="q"),
    event("contact_identified", 20, None, contact_id="p", aliases=["q"], event_id="same"),
    booked(at=30, conversation_id=None, contact_id="q", meeting_id="m"),
    booked(at=31, conversation_id=None, contact_id="p", meeting_id="m", event_id="b"),
    retracted("b", at=32, conversation_id=None, contact_id="p"),
]
"""Everything of it bears on everything: two conversations of one contact under two names."""


@pytest.mark.parametrize("seed", range(6))
def test_events_of_one_contact_that_two_workers_take_at_once(seed: int):
    assert raced(ONE_CONTACT, Random(seed), deaths=seed % 3) == clean(ONE_CONTACT)
