"""Outbox, silences and acknowledgements in every control state that processes share: each sees what others wrote."""

from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import timedelta
from pathlib import Path

import pytest

from brokers import nats_control
from dropoff.control.base import Control
from dropoff.control.sqlite import SqliteControl
from dropoff.errors import NotFound
from dropoff.notify import silences
from dropoff.notify.outbox import Outbox, plan
from notices import NOON, notice

LATER = NOON + timedelta(hours=1)


@pytest.fixture(params=["sqlite", "nats"])
def both(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Control, Control]]:
    """The same control state, opened by the process that alerts and by the one that shows the pages."""
    if request.param == "nats":
        request.getfixturevalue("nats")
    with ExitStack() as opened:

        def make() -> Control:
            made = nats_control(tmp_path) if request.param == "nats" else SqliteControl(tmp_path / "control.db")
            return opened.enter_context(closing(made))

        yield make(), make()


def test_what_one_process_puts_another_delivers_once(both: tuple[Control, Control]):
    alerting, other = (Outbox(control, ["ops", "sales"]) for control in both)
    told = notice(segment="property:größe=<b> / *.>", examples=("a\x00b", "❴"))
    alerting.put(told, NOON)
    other.put(told, NOON)  # the evaluator that took over hands on what was owed
    waiting = other.waiting()
    assert {receiver: [each.notice for each in some] for receiver, some in waiting.items()} == {
        "ops": [told], "sales": [told],
    }  # fmt: skip
    claimed = alerting.claim("ops", waiting["ops"], NOON)
    other.postpone("ops", claimed[0], NOON, "answered 503", 5)
    (again,) = alerting.waiting()["ops"]
    assert (again.message, again.attempts, again.error) == (claimed[0].message, 1, "answered 503")

    taken = other.claim("ops", [again], LATER)
    other.sent("ops", taken, LATER)
    alerting.put(told, LATER)
    assert list(alerting.waiting()) == ["sales"]
    assert alerting.claim("ops", [again], LATER) == []  # by one who had read it before
    ((receiver, mark),) = alerting.marks()
    assert (receiver, mark.outcome, mark.at, mark.segment) == ("ops", "sent", LATER, told.segment)
    assert alerting.was_told("ops", told)
    assert not alerting.was_told("sales", told)


def test_a_kill_after_success_sends_no_second_copy(both: tuple[Control, Control]):
    alerting, other = (Outbox(control, ["ops"]) for control in both)
    for segment in ("channel=sms", "channel=chat"):
        alerting.put(notice(segment=segment), NOON)
    claimed = alerting.claim("ops", alerting.waiting()["ops"], NOON)
    both[0].put(f"notify/sent/ops/{claimed[0].message}", NOON.isoformat().encode())  # and killed here
    assert other.claim("ops", other.waiting()["ops"], LATER) == []
    assert other.waiting() == {}
    assert sorted((mark.segment or "", mark.outcome) for _, mark in other.marks()) == [
        ("channel=chat", "sent"), ("channel=sms", "sent"),
    ]  # fmt: skip


def test_silences_and_acknowledgements_count_for_every_process(both: tuple[Control, Control]):
    alerting, pages = both
    made = silences.silence(pages, rule="fallbacks", segment=None, until=LATER, comment="<é>", by="Ann", now=NOON)
    silences.acknowledge(pages, rule="fallbacks", segment="a=b/c", comment="", by="", now=NOON)
    assert silences.silences(alerting, NOON) == [made]
    (known,) = silences.acknowledgements(alerting)
    assert (known.segment, known.at) == ("a=b/c", NOON)
    outbox = Outbox(alerting, ["ops"])
    outbox.put(notice(), NOON)
    held = plan(outbox.waiting()["ops"], lambda _: False, silences.silences(alerting, NOON), [], LATER)
    assert (list(held.withdraw), [each.notice.kind for each in held.send]) == ([], ["fired"])  # it has ended
    soon = NOON + timedelta(minutes=1)
    held = plan(outbox.waiting()["ops"], lambda _: False, silences.silences(alerting, soon), [], soon)
    assert (list(held.withdraw), list(held.send)) == ([], [])
    silences.expire(alerting, made.id)
    silences.withdraw(alerting, known.id)
    assert (silences.silences(pages, NOON), silences.acknowledgements(pages)) == ([], [])
    with pytest.raises(NotFound):
        silences.expire(pages, made.id)
