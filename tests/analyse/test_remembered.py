"""What takes long is made once, and again when it would be another."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dropoff.analyse.remembered import LIFE, SHOWN, Remembered, is_current, version
from dropoff.store.base import Answer
from worlds import drain, given, payload, started

NOW = datetime(2024, 3, 1, tzinfo=UTC)


class Counted:
    """A store of which only the number of its events is asked."""

    def __init__(self):
        self.events = 1

    def select(self, sql, parameters=None):
        return Answer(["n", "seq"], [(self.events, self.events)])


def counted() -> Any:
    return Counted()


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
    shown, recent = kept.shown(store, "a", NOW), kept.recent(store, "a", NOW)
    assert shown is recent  # made this moment
    assert shown is not None
    assert shown.answer == 0
    assert kept.recent(store, "a", NOW + LIFE + timedelta(seconds=1)) is None
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
