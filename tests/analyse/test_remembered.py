"""What takes long is made once, and again when it would be another."""

from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Any

import pytest

from dropoff.analyse import remembered
from dropoff.analyse.remembered import LIFE, MANY, PART, SHOWN, Remembered, is_current, version
from dropoff.store.base import Answer
from worlds import drain, given, payload, started

NOW = datetime(2024, 3, 1, tzinfo=UTC)


class Counted:
    """A store of which only the number of its events is asked."""

    def __init__(self, events=1):
        self.events = events

    def select(self, sql, parameters=None):
        return Answer(["n", "seq"], [(self.events, self.events)])


def counted(events=1) -> Any:
    return Counted(events)


@pytest.fixture
def made():
    return []


@pytest.fixture
def make(made):
    def one():
        made.append(len(made))
        return made[-1]

    return one


def test_an_answer_is_made_once_while_nothing_comes(make):
    store, kept = counted(), Remembered()
    assert kept.ask(store, "a", NOW, make).answer == 0
    assert kept.ask(store, "a", NOW + LIFE, make).answer == 0
    assert kept.ask(store, "b", NOW, make).answer == 1
    assert kept.ask(store, "a", NOW + LIFE + timedelta(seconds=1), make).answer == 2


def test_after_an_event_it_is_made_anew(make):
    store, kept = counted(), Remembered()
    kept.ask(store, "a", NOW, make)
    store.events += 1
    assert kept.current(store, "a", NOW) is None
    shown = kept.shown(store, "a", NOW)
    assert shown is not None
    assert shown.answer == 0
    assert kept.ask(store, "a", NOW, make).answer == 1


def test_stores_do_not_share_answers(make):
    kept, one, other = Remembered(), counted(), counted()
    assert [kept.ask(store, "a", NOW, make).answer for store in (one, other, one)] == [0, 1, 0]


def test_a_question_that_fails_is_asked_again(make):
    store, kept = counted(), Remembered()

    def fail():
        raise LookupError

    with pytest.raises(LookupError):
        kept.ask(store, "a", NOW, fail)
    assert kept.ask(store, "a", NOW, make).answer == 0


def test_the_version_changes_with_every_event(tmp_path, engine):
    found = []
    store = given(started(), directory=tmp_path, engine=engine)
    found.append(version(store))
    store.close()
    store = drain(tmp_path, [payload([started(5, conversation_id="d")])], engine=engine)
    found.append(version(store))
    store.close()
    assert found[0] != found[1]


def test_what_is_old_is_shown_for_an_hour_and_not_longer(make):
    store, kept = counted(), Remembered()
    kept.ask(store, "a", NOW, make)
    then = NOW + SHOWN
    assert kept.current(store, "a", then) is None
    shown = kept.shown(store, "a", then)
    assert shown is not None
    assert not is_current(shown, store, then)
    assert kept.shown(store, "a", then + timedelta(seconds=1)) is None
    assert kept.shown(store, "b", NOW) is None


def test_up_to_many_events_nobody_gets_what_is_not_current(make, monkeypatch):
    monkeypatch.setattr(remembered, "PATIENCE", timedelta(-1))
    store, kept = counted(MANY - 2), Remembered()
    assert [kept.get(store, "a", NOW, make).answer for _ in range(2)] == [0, 0]
    store.events += 1
    assert kept.get(store, "a", NOW, make).answer == 1
    assert kept.get(store, "a", NOW + timedelta(seconds=59), make).answer == 1
    assert kept.get(store, "a", NOW + timedelta(seconds=60), make).answer == 2


def test_a_large_store_shows_what_it_has_and_makes_it_anew_aside(make, monkeypatch):
    monkeypatch.setattr(remembered, "PATIENCE", timedelta(-1))
    store, kept = counted(MANY), Remembered()
    first = kept.get(store, "a", NOW, make)
    store.events += 1
    soon, late = NOW + first.cost, NOW + first.cost / PART + timedelta(seconds=1)
    assert kept.get(store, "a", soon, make) is first
    kept._aside.submit(lambda: None).result(30)
    assert kept.get(store, "a", soon, make) is first  # not worth it yet
    assert kept.get(store, "a", late, make) is first  # and now it is
    kept._aside.submit(lambda: None).result(30)
    assert kept.get(store, "a", late, make).answer == 1
    assert kept.get(store, "a", late + SHOWN + timedelta(seconds=1), make).answer == 2


def test_what_takes_no_time_is_of_now_in_a_large_store_too(make, monkeypatch):
    monkeypatch.setattr(remembered, "PATIENCE", timedelta(days=1))
    store, kept = counted(MANY), Remembered()
    kept.get(store, "a", NOW, make)
    store.events += 1
    assert kept.get(store, "a", NOW, make).answer == 1


def test_while_it_is_made_anew_nobody_else_begins_and_a_failure_is_not_the_last_word(make, monkeypatch):
    monkeypatch.setattr(remembered, "PATIENCE", timedelta(-1))
    store, kept, gate, begun = counted(MANY), Remembered(), Event(), []
    kept.get(store, "a", NOW, make)
    store.events += 1

    def fail():
        begun.append(1)
        assert gate.wait(30)
        raise LookupError

    later = NOW + timedelta(minutes=30)
    assert [kept.get(store, "a", later, fail).answer for _ in range(3)] == [0, 0, 0]
    gate.set()
    kept._aside.submit(lambda: None).result(30)
    assert begun == [1]
    assert kept.get(store, "a", later, make).answer == 0
    kept._aside.submit(lambda: None).result(30)
    assert kept.get(store, "a", later, make).answer == 1
