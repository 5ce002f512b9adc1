"""What waits, what is sent, what is withdrawn."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropoff.control.sqlite import SqliteControl
from dropoff.notify import outbox as outbox_module
from dropoff.notify.base import Notice, notice_id
from dropoff.notify.outbox import GIVE_UP, GROUPED, KEPT, Outbox, Plan, Waiting, backoff, plan
from dropoff.notify.silences import Acknowledgement, Silence
from notices import NOON, notice

LATER = NOON + timedelta(hours=1)


@pytest.fixture
def control(tmp_path: Path) -> Iterator[SqliteControl]:
    with closing(SqliteControl(tmp_path / "control.db")) as opened:
        yield opened


@pytest.fixture
def outbox(control: SqliteControl) -> Outbox:
    return Outbox(control, ["ops", "sales"])


def silence(rule: str | None = "fallbacks", segment: str | None = None, until: datetime = LATER) -> Silence:
    return Silence("s", rule, segment, until, "", "", NOON)


def acknowledged(segment: str | None = None, at: datetime = NOON) -> Acknowledgement:
    return Acknowledgement("a", "fallbacks", segment, at, "", "")


def planned(
    *notices: Notice, told: bool = False, silences: list[Silence] | None = None,
    acks: list[Acknowledgement] | None = None, after: float = 1800.0,
) -> Plan:  # fmt: skip
    waiting = [Waiting(each, each.at) for each in notices]
    return plan(waiting, lambda _: told, silences or [], acks or [], NOON + timedelta(seconds=after))


def kinds(found: Plan) -> tuple[list[str], list[tuple[str, str]]]:
    return [each.notice.kind for each in found.send], [(w.notice.kind, outcome) for w, outcome in found.withdraw]


def test_an_id_is_that_of_the_episode_whatever_its_zone():
    there = NOON.astimezone(datetime.fromisoformat("2026-03-02T17:30:00+05:30").tzinfo)
    assert notice_id("r", "channel=sms", NOON, "fired") == notice_id("r", "channel=sms", there, "fired")
    others = [
        notice_id("r", None, NOON, "fired"), notice_id("r", "None", NOON, "fired"),
        notice_id("r", None, LATER, "fired"), notice_id("r", None, NOON, "resolved"),
        notice_id("r", None, NOON, "repeated", 1), notice_id("r", None, NOON, "repeated", 2),
    ]  # fmt: skip
    assert len(set(others)) == len(others)


def test_a_notice_put_twice_waits_once_and_after_its_end_no_more(outbox: Outbox):
    outbox.put(notice(), NOON)
    outbox.put(notice(), NOON)
    assert {receiver: len(each) for receiver, each in outbox.waiting().items()} == {"ops": 1, "sales": 1}
    (each,) = outbox.waiting()["ops"]
    outbox.finish("ops", each, "sent", LATER)
    outbox.put(notice(), NOON)
    assert list(outbox.waiting()) == ["sales"]
    mark = outbox.mark("ops", notice().id)
    assert mark
    assert (mark.outcome, mark.rule, mark.at) == ("sent", "fallbacks", LATER)


def test_a_notice_names_its_receivers_and_those_that_do_not_exist_are_left_out(outbox: Outbox):
    outbox.put(notice(receivers=("sales", "nobody")), NOON)
    assert list(outbox.waiting()) == ["sales"]


def test_what_waits_comes_back_as_it_was(outbox: Outbox, control: SqliteControl):
    told = notice(segment="property:größe=<b>", interval=None, value=None, usual=None, examples=("a\x00b", "❴"))
    outbox.put(told, NOON)
    assert [each.notice for each in Outbox(control, ["ops"]).waiting()["ops"]] == [told]


def test_a_full_queue_drops_the_oldest_and_counts_it(control: SqliteControl, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(outbox_module, "MOST_WAITING", 3)
    counted: list[tuple[str, str]] = []
    outbox = Outbox(control, ["ops"], lambda receiver, outcome: counted.append((receiver, outcome)))
    for second in range(5):
        outbox.put(notice(rule=f"rule {second}", after=second), NOON)
    outbox.put(notice(rule="rule 2", after=2), NOON)  # waits already: nobody has to make room for it
    assert [each.notice.rule for each in outbox.waiting()["ops"]] == ["rule 2", "rule 3", "rule 4"]
    assert counted == [("ops", "dropped")] * 2
    assert sorted((mark.rule, mark.outcome) for _, mark in outbox.marks()) == [
        ("rule 0", "dropped"),
        ("rule 1", "dropped"),
    ]


def test_attempts_are_given_up_after_a_day(outbox: Outbox):
    outbox.put(notice(), NOON)
    (each,) = outbox.claim("ops", outbox.waiting()["ops"], NOON)
    outbox.postpone("ops", each, NOON + GIVE_UP - timedelta(seconds=1), "answered 500", 0)
    (each,) = outbox.waiting()["ops"]
    assert (each.attempts, each.error) == (1, "answered 500")
    outbox.postpone("ops", each, NOON + GIVE_UP, "answered 500", 0)
    assert "ops" not in outbox.waiting()
    mark = outbox.mark("ops", notice().id)
    assert mark
    assert (mark.outcome, mark.error) == ("failed", "answered 500")


def test_a_receiver_may_ask_for_a_longer_pause(outbox: Outbox):
    outbox.put(notice(), NOON)
    (each,) = outbox.waiting()["ops"]
    outbox.postpone("ops", each, NOON, "answered 429", 120)
    assert outbox.waiting()["ops"][0].next == NOON + timedelta(seconds=120)


def test_pauses_double_up_to_five_minutes_and_differ():
    spans = [(min(backoff(n) for _ in range(200)), max(backoff(n) for _ in range(200))) for n in (1, 2, 5, 30)]
    for (low, high), most in zip(spans, (1, 2, 16, 300), strict=True):
        assert most / 2 <= low < most * 0.6
        assert most * 0.9 < high <= most


def test_marks_are_forgotten_after_a_while_and_lost_receivers_have_failed(outbox: Outbox, control: SqliteControl):
    outbox.put(notice(), NOON)
    outbox.finish("ops", outbox.waiting()["ops"][0], "sent", NOON)
    left = Outbox(control, ["ops"])
    left.tidy(NOON + KEPT - timedelta(seconds=1))
    assert [(receiver, mark.outcome) for receiver, mark in left.marks()] == [("sales", "failed"), ("ops", "sent")]
    left.tidy(NOON + KEPT)
    assert [receiver for receiver, _ in left.marks()] == ["sales"]


def test_segments_of_one_rule_and_kind_make_one_message():
    fired = [notice(segment=f"channel={name}") for name in ("sms", "web", "voice")]
    other = notice(rule="another", after=1)
    assert [each.notice for each in planned(*fired, other).send] == fired


def test_a_message_waits_a_moment_for_the_other_segments():
    assert not planned(notice(), after=GROUPED.total_seconds() - 0.01).send
    assert planned(notice(), after=GROUPED.total_seconds()).send


def test_a_group_that_was_tried_stays_the_same_under_its_id(outbox: Outbox):
    for name in ("sms", "web"):
        outbox.put(notice(segment=f"channel={name}", receivers=("ops",)), NOON)
    first = outbox.claim("ops", outbox.waiting()["ops"], NOON)
    outbox.put(notice(segment="channel=voice", after=1, receivers=("ops",)), NOON)
    again = plan(outbox.waiting()["ops"], lambda _: False, [], [], LATER).send
    assert list(again) == first
    assert {each.message for each in outbox.claim("ops", again, LATER)} == {first[0].message}
    for each in again:
        outbox.finish("ops", each, "sent", LATER)
    (rest,) = plan(outbox.waiting()["ops"], lambda _: False, [], [], LATER).send
    assert rest.notice.segment == "channel=voice"
    assert outbox.claim("ops", [rest], LATER)[0].message != first[0].message


def test_what_was_marked_before_a_kill_is_removed_and_not_sent(outbox: Outbox, control: SqliteControl):
    outbox.put(notice(receivers=("ops",)), NOON)
    (each,) = outbox.waiting()["ops"]
    left = control.get(f"notify/out/ops/{each.notice.id}")
    outbox.finish("ops", each, "sent", NOON)
    assert left
    control.put(f"notify/out/ops/{each.notice.id}", left.value)  # as a kill between mark and removal leaves it
    assert outbox.claim("ops", outbox.waiting()["ops"], LATER) == []
    assert outbox.waiting() == {}


def test_a_resolve_waits_for_the_firing_and_is_told_to_those_who_were_told():
    assert kinds(planned(notice(), notice("resolved", after=60))) == (["fired"], [])
    assert kinds(planned(notice("resolved", after=60), told=True)) == (["resolved"], [])
    assert kinds(planned(notice("resolved", after=60), told=False)) == ([], [("resolved", "overtaken")])


def test_a_silence_holds_a_firing_back_and_lets_it_go_when_it_ends():
    assert kinds(planned(notice(), silences=[silence()])) == ([], [])
    ended = silence(until=NOON + timedelta(minutes=10))
    assert kinds(planned(notice(), silences=[ended])) == (["fired"], [])


def test_what_began_and_ended_in_a_silence_is_never_told():
    first = planned(notice(), notice("resolved", after=60), silences=[silence()])
    assert kinds(first) == ([], [("fired", "silenced")])
    assert kinds(planned(notice("resolved", after=60), silences=[silence()])) == ([], [("resolved", "silenced")])


def test_the_resolve_of_what_was_told_comes_in_a_silence_too():
    assert kinds(planned(notice("resolved", after=60), told=True, silences=[silence()])) == (["resolved"], [])


@pytest.mark.parametrize(
    ("rule", "segment", "is_held"),
    [
        ("fallbacks", None, True), ("fallbacks", "channel=sms", True), (None, "channel=sms", True),
        ("another", None, False), ("fallbacks", "channel=web", False), (None, "channel=web", False),
    ],
)  # fmt: skip
def test_a_silence_is_of_a_rule_or_of_a_segment_or_of_both(rule: str | None, segment: str | None, is_held: bool):
    found = planned(notice(segment="channel=sms"), silences=[silence(rule, segment)])
    assert (not found.send) is is_held


def test_repeats_stop_by_silence_by_acknowledgement_and_by_what_came_later():
    repeat = notice("repeated", after=600, repeat=1)
    assert kinds(planned(repeat, told=True)) == (["repeated"], [])
    assert kinds(planned(repeat, told=True, silences=[silence()])) == ([], [("repeated", "silenced")])
    assert kinds(planned(repeat, told=True, acks=[acknowledged()])) == ([], [("repeated", "acknowledged")])
    before = acknowledged(at=NOON - timedelta(seconds=1))  # of an earlier episode
    assert kinds(planned(repeat, told=True, acks=[before])) == (["repeated"], [])
    over = planned(repeat, notice("resolved", after=700), told=True)
    assert kinds(over) == ([], [("repeated", "overtaken")])
    twice = planned(repeat, notice("repeated", after=1200, repeat=2), told=True)
    assert kinds(twice) == (["repeated"], [("repeated", "overtaken")])


def test_an_acknowledgement_stops_neither_the_firing_nor_the_resolve():
    acks = [acknowledged(at=LATER)]
    assert kinds(planned(notice(), acks=acks)) == (["fired"], [])
    assert kinds(planned(notice("resolved", after=60), told=True, acks=acks)) == (["resolved"], [])


SEGMENTS = ("channel=sms", "channel=web")
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["change", "put again", "succeed", "fail", "silence", "unsilence", "acknowledge"]),
        st.sampled_from(SEGMENTS),
    ),
    max_size=40,
)


class World:
    """One receiver, and the control state as dictionaries: what waits, what became of it, what was heard."""

    def __init__(self) -> None:
        self.now = NOON
        self.waiting: dict[str, Waiting] = {}
        self.marks: dict[str, str] = {}
        self.heard: list[Notice] = []
        self.silences: list[Silence] = []
        self.acknowledged: list[Acknowledgement] = []
        self.made: dict[str, list[Notice]] = {segment: [] for segment in SEGMENTS}

    def change(self, segment: str) -> None:
        """The alert fires, is repeated twice, resolves, fires again."""
        past = self.made[segment]
        is_firing = bool(past) and past[-1].kind != "resolved"
        since = past[-1].since if is_firing else self.now
        kind = "resolved" if is_firing and len(past) % 3 else "repeated" if is_firing else "fired"
        after = (self.now - since).total_seconds()
        past.append(notice(kind, segment, since=since, after=after, repeat=len(past) if kind == "repeated" else 0))
        self.put(past[-1])

    def put(self, made: Notice) -> None:
        if made.id not in self.marks:
            self.waiting.setdefault(made.id, Waiting(made, made.at))

    def put_again(self, segment: str) -> None:
        for made in self.made[segment]:
            self.put(made)

    def succeed(self, _: str) -> None:
        for each in self._planned():
            self.marks[each.notice.id] = "sent"
            self.heard.append(each.notice)
            del self.waiting[each.notice.id]

    def fail(self, _: str) -> None:
        for each in self._planned():
            self.waiting[each.notice.id] = Waiting(each.notice, each.put_at, each.notice.id, self.now, 1)

    def silence(self, segment: str) -> None:
        self.silences.append(silence(until=self.now + timedelta(days=1), segment=segment))

    def unsilence(self, _: str) -> None:
        self.silences.clear()

    def acknowledge(self, segment: str) -> None:
        self.acknowledged.append(acknowledged(segment, self.now))

    def _planned(self) -> Sequence[Waiting]:
        order = sorted(self.waiting.values(), key=outbox_module._age)
        found = plan(order, self._was_told, self.silences, self.acknowledged, self.now)
        for each, outcome in found.withdraw:
            self.marks[each.notice.id] = outcome
            del self.waiting[each.notice.id]
        return found.send

    def _was_told(self, of: Notice) -> bool:
        return self.marks.get(notice_id(of.rule, of.segment, of.since, "fired")) == "sent"


@given(EVENTS)
def test_whatever_happens_each_episode_is_heard_in_order_and_once(events: list[tuple[str, str]]):
    world = World()
    for what, segment in [*events, ("unsilence", ""), *[("succeed", "")] * 60]:
        world.now += timedelta(seconds=30)
        getattr(world, what.replace(" ", "_"))(segment)
    assert not world.waiting
    assert len({each.id for each in world.heard}) == len(world.heard)
    for segment, made in world.made.items():
        for since in {each.since for each in made}:
            kinds = [each.kind for each in world.heard if (each.segment, each.since) == (segment, since)]
            assert kinds == sorted(kinds, key=["fired", "repeated", "resolved"].index)
            assert kinds[:1] in ([], ["fired"])
            has_ended = any(each.since == since and each.kind == "resolved" for each in made)
            assert ("resolved" in kinds) == (has_ended and "fired" in kinds)
            assert has_ended or kinds  # what fires now is known
