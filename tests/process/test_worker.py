"""The worker: facts are a function of the set of events, whatever happens on the way."""

import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import naive
from dropoff.errors import Unavailable
from dropoff.intake import REFUSED, Rejected
from dropoff.process import fold, worker
from dropoff.process.fold import Rules
from dropoff.process.worker import Tally, Worker
from dropoff.queue.sqlite import SqliteQueue
from dropoff.store import tables
from dropoff.store.base import Change
from dropoff.store.duckdb import DuckStore
from worlds import (
    MADE,
    RECEIVED,
    Dict,
    booked,
    chunks,
    event,
    fallback,
    histories,
    opted_out,
    outcome,
    payload,
    received,
    retracted,
    rows,
    sent,
    started,
    status,
)

WAYS = given(histories() | histories(outside=True), st.randoms(use_true_random=False), st.booleans())


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@WAYS
def test_order_duplication_splits_and_restarts_do_not_matter(history: list[Dict], random: Random, apart: bool):
    """The central invariant: one batch in order gives the tables that any other way gives."""
    check_another_way(history, random, apart)


@pytest.mark.long
@pytest.mark.timeout(3600)
@settings(max_examples=250, suppress_health_check=[HealthCheck.too_slow])
@WAYS
def test_order_duplication_splits_and_restarts_do_not_matter_in_many_ways(
    history: list[Dict], random: Random, apart: bool
):
    """The same, more often."""
    check_another_way(history, random, apart)


def check_another_way(history: list[Dict], random: Random, apart: bool) -> None:
    groups = other_way(history, random)
    expected = outcome([history])
    assert outcome(*groups, apart=apart) == expected
    assert_facts_match(expected)


@settings(max_examples=4, suppress_health_check=[HealthCheck.too_slow])
@given(histories() | histories(outside=True), st.randoms(use_true_random=False))
def test_the_tables_of_another_engine_are_the_same(history: list[Dict], random: Random):
    assert outcome(*other_way(history, random), engine="chdb") == outcome([history])


def other_way(history: list[Dict], random: Random) -> list[list[list[Dict]]]:
    """Payloads in groups, after each of which the store is opened anew: shuffled, some of it twice."""
    copies = [*history, *random.sample(history, len(history) // 2)]
    shuffled = random.sample(copies, len(copies))
    return [chunks(group, [random.randrange(99) for _ in range(3)]) for group in chunks(shuffled, [len(copies) // 2])]


def assert_facts_match(found: dict[str, list[Dict]]) -> None:
    """The tables hold what the plain interpreter makes of the stored events."""
    events = [{**e, "timestamp": micros(e["timestamp"])} for e in found["events"]]
    expected = naive.interpret(events)
    for table in MADE:
        assert bare(found[table]) == bare(expected.get(table, [])), table


def bare(table: list[Dict]) -> list[list[tuple[str, str]]]:
    return sorted(sorted((k, repr(micros(v))) for k, v in row.items() if k not in KEYS) for row in table)


KEYS = ("key", "conversation_key")


def micros(value: Any) -> Any:
    return round((value - EPOCH).total_seconds() * 1_000_000) if hasattr(value, "year") else value


EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - as the store gives instants


# One worker, step by step


class World:
    """A queue, a store and a worker in one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.queue = SqliteQueue(directory / "queue.db")
        self.store = DuckStore(directory / "store.duckdb")
        self.worker = Worker(self.queue, self.store, Rules())

    def send(self, *events: Dict) -> None:
        self.send_payload(payload(events), len(events))

    def send_payload(self, one: bytes, events: int = 1) -> None:
        self.queue.append(one, events).result()

    def step(self) -> Tally:
        tally = self.worker.step(0)
        assert tally is not None
        return tally

    def count(self, table: str) -> int:
        return self.store.select(f"SELECT count(*) FROM {table}").rows[0][0]

    def ids(self) -> list[str]:
        return [id_ for (id_,) in self.store.select("SELECT id FROM event_rows ORDER BY id").rows]

    def messages(self) -> list[tuple]:
        return self.store.select("SELECT event_id, position, counted FROM message_rows ORDER BY position").rows

    def restart(self) -> None:
        self.close()
        self.__init__(self.directory)

    def close(self) -> None:
        self.queue.close()
        self.store.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


def test_a_step_without_records_does_nothing(world: World):
    assert world.worker.step(0) is None


def test_a_batch_is_told_of(world: World):
    told: list[Tally] = []
    world.worker = Worker(world.queue, world.store, Rules(), told.append)
    world.send(started(event_id="a"), started(event_id="a"), sent(at=1))
    tally = world.step()
    assert told == [tally]
    assert (tally.offset, tally.events) == (1, 3)
    assert (tally.stored, tally.dropped) == ({None: 2}, {(None, "duplicate"): 1})
    assert world.queue.lag().events == 0
    assert world.store.offset() == 1


def test_in_order_messages_are_added_to_those_that_are_there(world: World):
    world.send(sent(event_id="a", at=1))
    world.step()
    world.send(received(event_id="b", at=2))
    world.step()
    assert world.messages() == [("a", 1, True), ("b", 2, True)]


def test_a_late_message_moves_those_that_are_there(world: World):
    world.send(sent(event_id="a", at=1))
    world.step()
    world.send(received(event_id="b", at=0))
    world.step()
    assert world.messages() == [("b", 1, True), ("a", 2, True)]


@pytest.mark.parametrize(
    ("late", "left"),
    [
        (retracted("a", at=9), []),
        (status("m", "bounced", at=9), [("a", 1, False)]),
        (opted_out(keyword="nein", at=9), [("a", 1, False)]),
    ],
)
def test_what_reaches_back_changes_messages_that_are_there(world: World, late: Dict, left: list[tuple]):
    world.send(received("Nein", event_id="a", message_id="m"))
    world.step()
    world.send(late)
    world.step()
    assert world.messages() == left


def test_a_turn_that_goes_on_after_a_fallback_changes_what_it_answers(world: World):
    world.send(received(at=1, intent_confidence=1), sent(at=2), fallback(at=3))
    world.step()
    understood = "SELECT understood FROM message_rows ORDER BY position"
    assert world.store.select(understood).rows == [(True,), (None,)]
    world.send(sent("b", at=4))
    world.step()
    assert world.store.select(understood).rows == [(False,), (None,), (None,)]


def test_a_copy_of_a_contact_event_amid_others_changes_nothing(world: World):
    both = [started(conversation_id=f"c{p}", contact_id=p) for p in "pq"]
    loose = [event("enriched", 5, None, contact_id=p, event_id=p) for p in "pq"]
    world.send(*both, *loose)
    world.step()
    before = rows(world.store, "attribution_rows")
    world.send(loose[0], event("enriched", 6, "cq", contact_id="q"))
    world.step()
    assert rows(world.store, "attribution_rows") == before


def test_a_copy_of_an_event_amid_those_of_a_former_contact_changes_nothing(world: World):
    first = started(contact_id="former", message_id="a")
    world.send(first, sent(at=1, contact_id="p"), booked(at=3, conversation_id=None, contact_id="p"))
    world.step()
    before = rows(world.store, "meeting_rows")
    assert before
    world.send(first, booked(at=5, conversation_id=None, contact_id="former"))
    world.step()
    assert rows(world.store, "meeting_rows") == before


@pytest.mark.parametrize("name", ["deal_id", "meeting_id", "opportunity_id", "company_size", "sequence_number"])
def test_a_number_of_many_digits_is_no_event_that_cannot_be_processed(world: World, name: str):
    world.send(event("anything", 1, properties={name: -(10**40)}), event("message_sent", 2, properties={name: 10**40}))
    world.step()
    assert not world.queue.dead_letters()
    assert world.count("event_rows") == 2


def test_the_first_moment_of_1970_is_a_time_like_any_other(world: World):
    at_zero = {"event_type": "deal_closed", "contact_id": "p", "timestamp": 0, "event_id": "a"}
    world.send(at_zero, started(contact_id="p", event_id="b"), {**at_zero, "timestamp": 1, "event_id": "c"})
    world.step()
    assert not world.queue.dead_letters()
    assert world.store.select("SELECT timestamp FROM event_rows WHERE id = 'a'").rows == [(EPOCH,)]


def test_one_event_id_in_two_conversations_leaves_the_messages_of_each_alone(world: World):
    world.send(sent(event_id="a", at=1))
    world.step()
    world.send(sent(event_id="a", at=1, conversation_id="other"), received(event_id="b", at=2))
    world.step()
    assert world.count("message_rows") == 3


# Poison


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of an event that makes the fold raise."""
    whole = fold.fold

    def raises(events: pl.DataFrame, *others: Any) -> fold.Facts:
        if (events["id"] == "poison").any():
            raise ZeroDivisionError("poison")
        return whole(events, *others)

    monkeypatch.setattr(fold, "fold", raises)
    return "poison"


@pytest.mark.parametrize("place", [0, 3, 8])
def test_an_event_that_crashes_the_fold_ends_alone_in_the_dead_letters(world: World, poison: str, place: int):
    good = [started(event_id=f"e{i}", conversation_id=f"c{i}") for i in range(8)]
    world.send(*good[:place], sent(event_id=poison), *good[place:])
    world.send(started(event_id="f"))
    tally = world.step()
    assert world.ids() == ["e0", "e1", "e2", "e3", "e4", "e5", "e6", "e7", "f"]
    [letter] = world.queue.dead_letters()
    assert msgspec.json.decode(letter.payload)["#id"] == poison
    assert "ZeroDivisionError" in letter.reason
    assert tally.dropped == {(None, "dead"): 1}
    assert tally.stored == {None: 9}
    assert world.store.offset() == 2


def test_after_a_crash_amid_poison_nothing_is_lost_or_doubled(world: World, poison: str, monkeypatch):
    events = [started(event_id=f"e{i}", conversation_id=f"c{i}") for i in range(8)]
    world.send(*events[:4], sent(event_id=poison), *events[4:])
    commits = 0
    whole = world.store.commit

    def fails_later(change: Change) -> None:
        nonlocal commits
        commits += 1
        if commits == 2:
            raise Unavailable("full")
        whole(change)

    monkeypatch.setattr(world.store, "commit", fails_later)
    with pytest.raises(Unavailable):
        world.step()
    world.restart()
    world.step()
    assert world.ids() == [f"e{i}" for i in range(8)]
    assert len(world.queue.dead_letters()) == 1


def test_an_import_is_told_of_its_dead_event(world: World, poison: str):
    line = payload([sent(event_id=poison)]).rstrip(b"}\n") + b',"#batch":"i1"}\n'
    world.send_payload(line)
    assert world.step().dropped == {("i1", "dead"): 1}


def test_a_line_that_is_no_event_ends_in_the_dead_letters(world: World):
    world.send_payload(payload([started(event_id="a")]) + b"{not json\n" + payload([started(event_id="b")]), 3)
    world.step()
    assert world.ids() == ["a", "b"]
    assert [letter.payload for letter in world.queue.dead_letters()] == [b"{not json\n"]


# Failure of the store, crashes


def test_an_unavailable_store_repeats_the_batch(world: World, monkeypatch: pytest.MonkeyPatch):
    world.send(started(event_id="a"))
    with monkeypatch.context() as patch:
        patch.setattr(world.store, "commit", unavailable)
        for _ in range(2):
            with pytest.raises(Unavailable):
                world.step()
    assert world.queue.lag().events == 1
    world.send(sent(event_id="b"))
    assert world.step().stored == {None: 1}
    assert world.step().stored == {None: 1}
    assert world.ids() == ["a", "b"]
    assert world.worker.step(0) is None


def unavailable(change: Change) -> None:
    raise Unavailable("the disk is full")


def test_run_goes_on_when_the_store_comes_back(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(worker, "_RETRY_SECONDS", 0.01)
    failures, whole, stop = [1, 2, 3], world.store.commit, threading.Event()

    def flaky(change: Change) -> None:
        if failures:
            failures.pop()
            raise Unavailable("not yet")
        whole(change)
        stop.set()

    monkeypatch.setattr(world.store, "commit", flaky)
    world.send(started(event_id="a"))
    thread = threading.Thread(target=world.worker.run, args=(stop,))
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    assert world.ids() == ["a"]


def test_after_a_crash_between_store_and_queue_nothing_is_taken_twice(world: World, monkeypatch):
    world.send(started(event_id="a"))
    monkeypatch.setattr(world.queue, "commit", crash)
    with pytest.raises(KeyboardInterrupt):
        world.step()
    world.restart()
    world.send(sent(event_id="b"))
    tally = world.step()
    assert (tally.events, tally.stored, tally.dropped) == (1, {None: 1}, {})
    assert world.ids() == ["a", "b"]


def crash(offset: int) -> None:
    raise KeyboardInterrupt


def test_a_batch_wholly_stored_already_is_only_acknowledged(world: World, monkeypatch: pytest.MonkeyPatch):
    world.send(started(event_id="a"))
    monkeypatch.setattr(world.queue, "commit", crash)
    with pytest.raises(KeyboardInterrupt):
        world.step()
    world.restart()
    assert world.step().events == 0
    assert world.queue.lag().events == 0
    assert world.store.offset() == 1


# Refused events


def refusal(name: str) -> Rejected:
    return Rejected(id=name, received_at=RECEIVED, reason="malformed", field="event", message="not JSON", body="{")


def test_refused_events_are_stored_once(world: World, monkeypatch: pytest.MonkeyPatch):
    world.send_payload(REFUSED + msgspec.json.encode([refusal("r1"), refusal("r2")]), 0)
    world.send(started(event_id="a"))
    monkeypatch.setattr(world.queue, "commit", crash)
    with pytest.raises(KeyboardInterrupt):
        world.step()
    world.restart()
    world.step()
    assert [row[0] for row in world.store.select("SELECT id FROM rejected_events ORDER BY id").rows] == ["r1", "r2"]
    assert world.ids() == ["a"]


def test_refused_events_alone_move_the_offset(world: World):
    world.send_payload(REFUSED + msgspec.json.encode([refusal("r1")]), 0)
    world.step()
    assert world.store.offset() == 1
    assert world.count("rejected_events") == 1


def test_refused_events_survive_a_poisoned_batch_once(world: World, poison: str):
    world.send_payload(REFUSED + msgspec.json.encode([refusal("r1")]), 0)
    world.send(started(event_id="a"), sent(event_id=poison), booked(event_id="b", conversation_id="d"))
    world.step()
    assert (world.count("rejected_events"), world.ids()) == (1, ["a", "b"])


def test_refused_events_fit_the_table():
    assert list(Rejected.__struct_fields__) == tables.names("rejected_events")
