"""Scheduled reports: once for each receiver, whatever is killed; one missed run is caught up, and no more."""

from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import pytest
from pydantic import SecretStr

from dropoff.control.sqlite import SqliteControl
from dropoff.errors import InvalidInput
from dropoff.notify.base import NotSent
from dropoff.notify.webhook import WebhookNotifier
from dropoff.project.receivers import Receiver
from dropoff.project.schedules import Schedule
from dropoff.report.job import Post
from dropoff.report.reports import File
from dropoff.report.sent import Memory
from made_reports import report
from receiver import SECRET, in_turn, receiving

UTC_ZONE = ZoneInfo("UTC")
SUNDAY = datetime(2026, 5, 24, 12, tzinfo=UTC)
MONDAY = datetime(2026, 5, 25, 8, tzinfo=UTC)


class Killed(BaseException):
    """The process ends here."""


class Made:
    """Reports that say which period they are of; `asked`: how often one was made."""

    def __init__(self) -> None:
        self.asked = []

    def report(self, params):
        self.asked.append(params["from"][0])
        start = datetime.fromisoformat(params["from"][0]).replace(tzinfo=UTC)
        period = {"from": start.isoformat(), "to": (start + timedelta(days=7)).isoformat(), "timezone": "UTC"}
        return replace(report("<b>*x*</b>"), period=period)

    def written(self, report, name):
        return File(f"r.{name}", "text/html; charset=utf-8", f"{name} of {report.period['from'][:10]}".encode(), "")


class Hand:
    """A receiver that does as it is told: the errors it raises one after the other, then none."""

    def __init__(self, name="team", *errors):
        self.name, self.errors, self.letters = name, list(errors), []

    def deliver(self, letter):
        self.letters.append(letter)
        if self.errors and (error := self.errors.pop(0)):
            raise error


class Office:
    """An installation whose processes come and go."""

    def __init__(self, place, *hands, kinds=("weekly",)):
        self.control = SqliteControl(place / "control.db")
        self.hands, self.kinds, self.made, self.now = hands, kinds, Made(), SUNDAY

    def process(self, holder="one", **more):
        schedules = [Schedule(kind=kind, **more) for kind in self.kinds]
        return Post(
            self.control, self.made, schedules, self.hands, holder, lambda: "https://d.example", UTC_ZONE,
            lambda: self.now,
        )  # fmt: skip

    def beat(self, now, holder="one", **more):
        self.now = now
        self.process(holder, **more).beat()

    def states(self):
        return [one.state for one in Memory(self.control).all()]


@pytest.fixture
def office(tmp_path):
    made = []

    def open_one(*hands, **more):
        made.append(Office(tmp_path, *hands, **more))
        return made[-1]

    yield open_one
    for one in made:
        one.control.close()


def test_nothing_before_it_is_due_and_then_once_over_restarts(office):
    hand, other = Hand(), Hand("boss")
    one = office(hand, other)
    one.beat(SUNDAY)  # the first look: what was due before is not told
    one.beat(MONDAY - timedelta(seconds=1))
    assert not hand.letters
    for minutes in (0, 1, 60, 6000):
        one.beat(MONDAY + timedelta(minutes=minutes))
    assert [letter.period["from"][:10] for letter in hand.letters] == ["2026-05-18"]
    assert len(other.letters) == 1
    assert hand.letters[0].id != other.letters[0].id
    assert one.made.asked == ["2026-05-18"]  # made once for both
    assert one.states() == ["sent", "sent"]


def test_who_missed_weeks_is_told_of_the_last_only(office):
    hand = Hand()
    one = office(hand)
    one.beat(SUNDAY)
    one.beat(MONDAY + timedelta(weeks=5, days=3))
    one.beat(MONDAY + timedelta(weeks=5, days=3, hours=1))
    assert [letter.period["from"][:10] for letter in hand.letters] == ["2026-06-22"]


def test_killed_while_sending_it_is_not_sent_again(office):
    hand = Hand("team", Killed())
    one = office(hand)
    one.beat(SUNDAY)
    with pytest.raises(Killed):
        one.beat(MONDAY)
    for hours in (1, 30):
        one.beat(MONDAY + timedelta(hours=hours))
    assert len(hand.letters) == 1
    assert one.states() == ["interrupted"]
    one.beat(MONDAY + timedelta(weeks=1))
    assert len(hand.letters) == 2


def test_killed_while_making_it_is_made_again_and_sent_once(office, monkeypatch):
    hand = Hand()
    one = office(hand)
    one.beat(SUNDAY)
    with monkeypatch.context() as broken:
        broken.setattr(Made, "written", lambda *_: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            one.beat(MONDAY)
    one.beat(MONDAY + timedelta(minutes=1))
    one.beat(MONDAY + timedelta(minutes=2))
    assert len(hand.letters) == 1


def test_a_refusal_is_tried_again_later_and_given_up_after_a_day(office):
    refused = NotSent("team", "answered 503", retry=True)
    hand = Hand("team", *[refused] * 1000)
    one = office(hand)
    one.beat(SUNDAY)
    one.beat(MONDAY)
    one.beat(MONDAY)
    assert len(hand.letters) == 1  # not at once
    for hours in range(1, 40):
        one.beat(MONDAY + timedelta(hours=hours))
    assert one.states() == ["failed"]
    assert len(hand.letters) == 25
    assert len({letter.id for letter in hand.letters}) == 1


@pytest.mark.parametrize("error", [NotSent("team", "answered 410", retry=False), None])
def test_a_final_refusal_is_final(office, error):
    hand = Hand("team", error)
    one = office(hand)
    one.beat(SUNDAY)
    for hours in range(3):
        one.beat(MONDAY + timedelta(hours=hours))
    assert (len(hand.letters), one.states()) == (1, ["failed" if error else "sent"])


def test_of_two_processes_one_sends(office):
    hand = Hand()
    one = office(hand)
    one.beat(SUNDAY, "one")
    one.beat(MONDAY, "one")
    one.beat(MONDAY, "two")
    one.beat(MONDAY + timedelta(hours=1), "two")
    assert len(hand.letters) == 1


def test_both_kinds_and_only_who_is_named(office):
    hand, other = Hand(), Hand("boss")
    one = office(hand, other, kinds=("weekly", "monthly"))
    one.beat(SUNDAY, receivers=["boss"])
    one.beat(datetime(2026, 6, 1, 9, tzinfo=UTC), receivers=["boss"])
    assert not hand.letters
    assert sorted(letter.period["from"][:10] for letter in other.letters) == ["2026-05-01", "2026-05-25"]
    with pytest.raises(InvalidInput, match=r"reports.weekly: receivers == 'nobody', must be a receiver: team, boss"):
        one.process(receivers=["nobody"])


def test_a_report_that_cannot_be_made_keeps_no_other_back(office, monkeypatch):
    report = Made.report

    def failing(made, params):
        if params["kind"] == ["weekly"]:
            raise InvalidInput("format", "pdf", "html or md")
        return report(made, params)

    monkeypatch.setattr(Made, "report", failing)
    hand = Hand()
    one = office(hand, kinds=("weekly", "monthly"))
    one.beat(SUNDAY)
    one.beat(datetime(2026, 6, 1, 9, tzinfo=UTC))
    assert [letter.period["from"][:10] for letter in hand.letters] == ["2026-05-01"]


def test_a_webhook_gets_title_link_and_text_signed(tmp_path):
    with receiving(in_turn(503, 204)) as server, closing(SqliteControl(tmp_path / "control.db")) as control:
        settings = Receiver(name="team", url=SecretStr(server.url), secret=SecretStr(SECRET))
        clock = [SUNDAY]
        post = Post(
            control, Made(), [Schedule(kind="weekly", format="md")], [WebhookNotifier(settings)], "one",
            lambda: "https://d.example", UTC_ZONE, lambda: clock[0],
        )  # fmt: skip
        for clock[0] in (SUNDAY, MONDAY, MONDAY + timedelta(minutes=1), MONDAY + timedelta(hours=1)):
            post.beat()
        first, second = server.posts
    assert first.id == second.id
    data = second.verified()["data"]
    assert data["title"] == "Weekly report, <b>*x*</b>"
    assert (
        data["link"]
        == "https://d.example/api/v1/report?kind=weekly&format=html&from=2026-05-18&to=2026-05-25&timezone=UTC"
    )
    assert data["text"] == "md of 2026-05-18"
    assert msgspec.json.decode(second.body)["type"] == "report.weekly"
