"""Evaluation over a store, on both engines: what fires, what is told, once, through restarts."""

from datetime import timedelta

import pytest

from dropoff.alerts import values
from dropoff.alerts.evaluate import Alerts, Evaluator
from dropoff.alerts.files import Place
from dropoff.alerts.memory import Memory
from dropoff.alerts.rules import parse
from dropoff.alerts.starters import starters
from dropoff.alerts.values import LATELY, Reader
from dropoff.control.sqlite import SqliteControl
from dropoff.errors import Unavailable
from dropoff.metrics import METRICS
from dropoff.project.funnels import parse_json
from worlds import EMBEDDED, START, drain, fallback, given, open_store, payload, received, sent, started

FALLBACKS = {
    "metric": "fallback_rate", "condition": "exceeds", "threshold": 0.2, "window": "4_hours", "severity": "medium",
}  # fmt: skip
RESPONSES = {
    "metric": "response_rate", "condition": "drops_below", "threshold": 0.5, "window": "1_hour", "severity": "high",
}  # fmt: skip
DAY = 24 * 60


def after(minutes):
    return START + timedelta(minutes=minutes)


def rules(*tables):
    return parse(list(tables), Place("test"))


def talk(name, at=0.0, turns=1, failed=0, **more):
    """A conversation of so many bot turns, of which the first `failed` are fallbacks."""
    events = [started(at, conversation_id=name, **more)]
    for turn in range(turns):
        moment = at + turn + 0.1
        events += [fallback(moment, conversation_id=name)] if turn < failed else []
        events += [sent(at=moment + 0.1, conversation_id=name), received(at=moment + 0.5, conversation_id=name)]
    return events


class World:
    """A store that grows, a control file, and evaluators of it, one after the other."""

    def __init__(self, directory, engine, tables, funnels=None):
        self.directory, self.engine = directory, engine
        self.rules, self.funnels = tables, funnels or {}
        self.told = []
        self.control = SqliteControl(directory / "control.db")
        self.store = open_store(directory, engine)
        self.restart()

    def add(self, *events):
        self.store.close()
        self.store = drain(self.directory, [payload(events)], engine=self.engine)
        self.restart()

    def restart(self, name="one"):
        self.reader = Reader(self.store, "UTC", METRICS, self.funnels)
        self.evaluator = Evaluator(self.reader, self.control, self.rules, self.put, name)
        self.alerts = Alerts(self.reader, self.control, self.rules)

    def put(self, notice):
        if notice.id not in {one.id for one in self.told}:  # as the outbox
            self.told.append(notice)

    def at(self, minutes):
        """The states by rule, or rule and segment, after an evaluation at this minute."""
        found = self.evaluator.evaluate(after(minutes))
        return {a.rule.name if a.segment is None else (a.rule.name, a.segment): a.state.name for a in found}

    def kinds(self):
        return [notice.kind for notice in self.told]

    def close(self):
        self.store.close()
        self.control.close()


@pytest.fixture
def world(tmp_path, engine):
    made = []

    def make(*tables, funnels=None):
        made.append(World(tmp_path, engine, rules(*tables), funnels))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_a_breach_is_told_once_and_its_end_once(world):
    one = world(FALLBACKS | {"name": "f"})
    assert one.at(0) == {"f": "no_data"}
    one.add(*talk("good", turns=20), *talk("bad", turns=20, failed=12, channel="chat"))
    assert one.at(30) == {"f": "firing"}
    for minute in range(31, 60, 5):
        one.restart()
        assert one.at(minute) == {"f": "firing"}
    one.add(*talk("better", at=60, turns=60))
    assert one.at(125) == {"f": "resolved"}
    assert one.kinds() == ["fired", "resolved"]
    fired, resolved = one.told
    assert (fired.value, fired.n, fired.rule, fired.severity) == (0.3, 40, "f", "medium")
    assert fired.examples == ("bad",)
    assert fired.window == (after(30 - 240), after(30))
    assert fired.link.startswith("/trends?metric=fallback_rate&")
    assert (resolved.since, resolved.at, resolved.value) == (fired.since, after(125), 0.12)
    (episode,) = one.alerts.history()
    assert (episode.fired, episode.resolved, episode.value) == (after(30), after(125), 0.3)
    assert one.alerts.history("another") == []


def test_the_page_says_what_the_evaluator_has_found_till_something_comes(world, monkeypatch):
    one = world(FALLBACKS | {"name": "f"})
    one.add(*talk("good", turns=20), *talk("bad", turns=20, failed=12))
    assert one.at(30) == {"f": "firing"}
    read, later = one.reader.read, after(30) + LATELY

    def count(*asked):
        looked.append(asked)
        return read(*asked)

    monkeypatch.setattr(one.reader, "read", count)
    looked = []
    found = one.alerts.check(after(30))
    assert not looked
    events = one.reader.events()
    monkeypatch.setattr(one.reader, "events", lambda: events + 1)
    assert one.alerts.check(after(30)) == found
    assert len(looked) == 1
    monkeypatch.setattr(values, "MANY", 1)
    assert one.alerts.check(after(30)) == found  # of a large store for a while
    one.alerts.check(later)
    assert len(looked) == 1
    one.alerts.check(later + timedelta(seconds=1))
    one.alerts.check(after(30), one.rules)  # rules that are tried are no others' business
    assert len(looked) == 3


def test_what_moved_is_said(world):
    one = world(FALLBACKS | {"name": "f", "window": "1_hour"})
    week = 7 * DAY
    one.add(
        *talk("first", at=-DAY),
        *talk("sms before", turns=30, channel="sms"), *talk("chat before", turns=30, channel="chat"),
        *talk("sms", at=week, turns=30, channel="sms"),
        *talk("chat", at=week, turns=30, failed=24, channel="chat"),
    )  # fmt: skip
    assert one.at(week + 40) == {"f": "firing"}
    (notice,) = one.told
    assert notice.usual == "0.0% at this time of the week"
    assert notice.moved == ("channel=chat: 80.0%, a week before 0.0%",)


def test_a_version_that_is_new_is_named_and_no_innocent_one(world):
    one = world(FALLBACKS | {"name": "f", "window": "1_hour"})
    week = 7 * DAY
    one.add(
        *talk("first", at=-DAY),
        *talk("A before", turns=40, failed=1, channel="sms", bot_version="A"),
        *talk("A before in chat", turns=10, channel="chat", bot_version="A"),
        *talk("A", at=week, turns=28, failed=2, channel="sms", bot_version="A"),
        *talk("B", at=week, turns=7, failed=6, channel="chat", bot_version="B"),
        *talk("B in sms", at=week, turns=7, failed=6, channel="sms", bot_version="B"),
    )  # fmt: skip
    assert one.at(week + 45) == {"f": "firing"}
    (notice,) = one.told
    assert notice.moved == (
        "bot_version=B: 85.7%, new against a week before", "channel=chat: 85.7%, a week before 0.0%",
    )  # fmt: skip


def test_of_counts_what_is_more_than_a_week_before_is_named(world):
    one = world({**FALLBACKS, "metric": "conversations_started", "threshold": 3, "window": "1_hour", "name": "n"})
    week = 7 * DAY
    of = [("c1", 0, "chat"), ("c2", 0, "chat"), ("s1", week, "sms"), ("s2", week, "sms"), ("s3", week, "sms")]
    one.add(
        *talk("first", at=-DAY), *(e for name, at, channel in of for e in talk(name, at=at, channel=channel)),
        *talk("c3", at=week, channel="chat"),
    )  # fmt: skip
    assert one.at(week + 40) == {"n": "firing"}
    (notice,) = one.told
    assert notice.moved == ("channel=sms: 3, a week before 0",)


@pytest.mark.parametrize("stage", ["state", "put", "settled"])
def test_a_kill_between_any_two_writes_tells_each_change_once(world, monkeypatch, stage):
    one = world(FALLBACKS | {"name": "f"})
    one.add(*talk("bad", turns=40, failed=20))
    keep, put = Memory.keep, one.put
    calls = []

    def killed(*_):
        raise Unavailable("killed")

    def second_keep(memory, name, value, version):
        calls.append(name)
        return keep(memory, name, value, version) if len(calls) < 2 else killed()

    if stage == "state":
        monkeypatch.setattr(Memory, "keep", killed)
    elif stage == "put":
        one.evaluator._put = killed
    else:
        monkeypatch.setattr(Memory, "keep", second_keep)
    with pytest.raises(Unavailable):
        one.at(41)
    monkeypatch.setattr(Memory, "keep", keep)
    assert put == one.put
    one.restart()
    assert one.at(42) == {"f": "firing"}
    assert one.at(43) == {"f": "firing"}
    assert one.kinds() == ["fired"]
    assert len(one.alerts.history()) == 1


def test_one_evaluator_at_a_time_and_the_next_goes_on(world):
    one = world(FALLBACKS | {"name": "f"})
    one.add(*talk("bad", turns=40, failed=20))
    assert one.at(41) == {"f": "firing"}
    one.restart("two")
    assert one.at(41.1) == {}
    assert one.at(42) == {"f": "firing"}
    assert one.kinds() == ["fired"]


def test_a_day_of_downtime_is_no_storm(world):
    one = world(FALLBACKS | {"name": "f", "keep_firing_for": "10m"})
    one.add(*talk("bad", turns=40, failed=20), *talk("later", at=DAY, turns=40, failed=20))
    assert one.at(41) == {"f": "firing"}
    assert one.at(DAY + 41) == {"f": "firing"}
    assert one.kinds() == ["fired"]
    # After a pause nobody knows for how long it has been fine: the time it keeps firing begins now.
    assert one.at(3 * DAY) == {"f": "firing"}
    assert [one.at(3 * DAY + minute)["f"] for minute in (4, 8, 12)] == ["firing", "firing", "resolved"]
    assert one.kinds() == ["fired", "resolved"]


def test_a_split_has_a_state_for_each_value(world):
    one = world(FALLBACKS | {"name": "f", "by": "channel", "repeat": "1h"})
    one.add(
        *talk("a", turns=40, failed=20, channel="sms"), *talk("b", turns=40, channel="chat"),
        *talk("c", turns=5, failed=5, channel="email"),
    )  # fmt: skip
    assert one.at(41) == {
        ("f", "channel=chat"): "inactive", ("f", "channel=email"): "insufficient", ("f", "channel=sms"): "firing",
    }  # fmt: skip
    one.at(100)
    one.at(102)
    assert [(n.kind, n.segment) for n in one.told] == [("fired", "channel=sms"), ("repeated", "channel=sms")]
    assert one.told[0].id != one.told[1].id
    assert one.at(400)["f", "channel=sms"] == "resolved"  # nothing of it is left in the window


def test_a_night_without_traffic_fires_nothing_but_an_explicit_rule(world, engine):
    explicit = {"name": "silence", "metric": "conversations_started", "condition": "drops_below", "threshold": 1}
    none = {"name": "none", "no_data": "alert"}
    one = world(
        FALLBACKS, RESPONSES, RESPONSES | {"metric": "sentiment_average"}, explicit | {"window": "1_hour"},
        FALLBACKS | none,
    )  # fmt: skip
    if engine == EMBEDDED:  # a dozen rules more take their time elsewhere
        one.rules = [*one.rules, *starters()]
    one.add(*[event for day in range(3) for n in range(40) for event in talk(f"{day}/{n}", at=day * DAY + n, turns=3)])
    firing = set()
    for minute in range(2 * DAY + 60, 3 * DAY - 60, 300 if engine == EMBEDDED else 1200):
        firing |= {name for name, state in one.at(minute).items() if state == "firing"}
    assert firing == {"silence", "none"}


def test_a_young_hour_does_not_trip_a_rate(world):
    """Half of all answer, after ten minutes; a rule of 0.4 that looked at the literal quotient would fire."""
    one = world(RESPONSES | {"threshold": 0.4, "name": "r"}, RESPONSES | {"threshold": 0.4, "maturity": "none"})
    events = []
    for n in range(300):
        name, at = str(n), n * 0.5
        events.append(started(at, conversation_id=name))
        events += [received(at=at + 10, conversation_id=name)] if n % 2 else []
    one.add(*[event for event in events if event["timestamp"] < after(150).timestamp() * 1000])
    alerts = {alert.rule.name: alert.to_dict() for alert in one.evaluator.evaluate(after(150))}
    assert alerts["r"]["value"] == pytest.approx(0.5, abs=0.03)
    assert alerts["r"]["state"] == "inactive"
    literal = alerts["response_rate drops_below 0.4 in 1_hour"]
    assert (literal["value"], literal["n"]) == (pytest.approx(0.417, abs=0.02), 120)


def test_without_history_a_young_rate_waits_for_the_shipped_time(world):
    one = world(RESPONSES | {"name": "r"}, RESPONSES | {"name": "wait", "maturity": "wait"})
    one.add(*talk("answers", at=-3 * DAY), *[started(n / 10, conversation_id=str(n)) for n in range(100)])
    assert one.at(30) == {"r": "insufficient", "wait": "no_data"}
    # A day later nine in ten of those who will answer have, and 100 conversations count as 90: too late for an hour.
    assert one.at(DAY + 30)["wait"] == "firing"


def test_a_funnel_of_ones_own(world):
    funnel = parse_json('{"steps":[{"event":"conversation_started"},{"event":"message_received"}],"window":"10m"}')
    rule = {"name": "own", "metric": "funnel:fast", "condition": "drops_below", "threshold": 0.5, "window": "1_hour"}
    made = parse([rule], Place("test"), METRICS, {"fast": funnel})
    one = world(funnels={"fast": funnel})
    one.rules = made
    one.add(*[e for n in range(40) for e in (talk(str(n), at=n) if n < 10 else [started(n, conversation_id=str(n))])])
    (alert,) = [alert.to_dict() for alert in one.evaluator.evaluate(after(65))]
    assert [alert[name] for name in ("state", "value", "numerator", "denominator")] == ["firing", 0.25, 10, 40]
    (notice,) = one.told
    assert notice.link == "/?name=fast&from=2024-01-15T06%3A55%3A00Z&to=2024-01-15T11%3A55%3A00Z"


def test_a_rule_that_fails_is_an_error_and_no_other_rule_suffers(world, monkeypatch):
    one = world(FALLBACKS | {"name": "f"}, RESPONSES | {"name": "r"})
    one.add(*talk("bad", turns=40, failed=20))
    read = Reader.read

    def failing(reader, group, now):
        if group[0].name == "r":
            raise Unavailable("down")
        return read(reader, group, now)

    monkeypatch.setattr(Reader, "read", failing)
    assert one.at(41) == {"f": "firing", "r": "error"}


@pytest.mark.parametrize("by", [{}, {"by": "channel"}], ids=["whole", "split"])
@pytest.mark.parametrize("then", [RESPONSES, FALLBACKS | {"name": "f", "by": "bot_version"}], ids=["gone", "changed"])
def test_what_a_removed_rule_or_another_split_left_firing_ends(world, by, then):
    one = world(FALLBACKS | {"name": "f"} | by)
    one.add(*talk("bad", turns=40, failed=20, channel="sms"))
    one.at(41)
    one.rules = rules(then)
    one.restart()
    one.at(42)
    (episode,) = [each for each in one.alerts.history() if each.fired == after(41)]
    assert (episode.name, episode.resolved) == ("f", after(42))
    assert one.kinds()[0] == "fired"


def test_check_reads_afresh_and_changes_nothing(world):
    one = world(FALLBACKS | {"name": "f", "for": "5m"})
    one.add(*talk("bad", turns=40, failed=20))
    (alert,) = [alert.to_dict() for alert in one.alerts.check(after(41))]
    assert (alert["state"], alert["value"], alert["from"]) == ("pending", 0.5, "2024-01-15T06:41:00Z")
    assert one.told == []
    assert one.alerts.firing() == []
    # Rules that are only asked about stand as if they had been evaluated before.
    (alert,) = one.alerts.check(after(50), one.rules)
    assert alert.state.name == "firing"


def test_tests_of_the_store_are_told_apart(engine, tmp_path):
    store = given(*talk("a", turns=40, failed=40, is_test=True), directory=tmp_path, engine=engine)
    found = Reader(store, "UTC", METRICS, {}).read(rules(FALLBACKS), after(41))
    assert [reading.judged.blank for (reading,) in found.values()] == ["no_data"]
    store.close()
