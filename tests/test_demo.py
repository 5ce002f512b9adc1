"""The demo data: the same bytes every time, well-formed, possible, and carrying what docs/demo.md says is planted."""

import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import pairwise
from math import log, sqrt
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from typer.testing import CliRunner

from dropoff import cli
from dropoff.control.sqlite import SqliteControl
from dropoff.demo import DEFAULT_END, generate, truths
from dropoff.errors import InvalidInput
from dropoff.server import serve

Event = dict[str, Any]

SIZE = 8_000
TRUTHS = truths()
STAGES = ("qualified", "meeting_booked", "meeting_attended", "opportunity_created", "deal_closed")
AFTER = {
    "meeting_rescheduled": "meeting_booked",
    "meeting_canceled": "meeting_booked",
    "meeting_attended": "meeting_booked",
    "meeting_no_show": "meeting_booked",
    "opportunity_created": "meeting_attended",
    "deal_closed": "opportunity_created",
    "opted_out": "message_received",
    "fallback": "message_received",
    "meeting_booked": "message_received",
}
DIGEST = """
import sys
from tests.test_demo import digest
print(digest())
"""


@dataclass(frozen=True)
class Held:
    """One conversation, read back from its events the plain way. Contact events are found by their ids."""

    start: Event
    events: list[Event]

    def of(self, event_type: str) -> list[Event]:
        return [event for event in self.events if event["event_type"] == event_type]

    @property
    def turns(self) -> list[tuple[str, str]]:
        sides = {"message_sent": "bot", "message_received": "prospect"}
        return [
            (sides[e["event_type"]], e["properties"]["intent"])
            for e in self.events
            if e["event_type"] in sides and not e["properties"].get("auto_reply")
        ]

    @property
    def stage(self) -> int:
        reached = [i for i, name in enumerate(STAGES, 2) if any(map(_won, self.of(name)))]
        return max([int(self.responded), *reached])

    @property
    def responded(self) -> bool:
        first = self.turns.index(("bot", "greet"))
        return any(side == "prospect" and intent != "opt_out" for side, intent in self.turns[first:])

    def silent_after(self, intent: str) -> bool:
        """Whether no prospect message follows the first bot message of this intent."""
        return all(side == "bot" for side, _ in self.turns[self.turns.index(("bot", intent)) :])


def _won(event: Event) -> bool:
    return event["properties"].get("won", True)


def when(event: Event) -> datetime:
    return datetime.fromisoformat(event["timestamp"])


def digest() -> str:
    lines = (json.dumps(event, ensure_ascii=False) for event in generate(400, seed=3))
    return sha256("\n".join(lines).encode()).hexdigest()


@pytest.fixture(scope="module")
def events() -> list[Event]:
    return list(generate(SIZE, seed=7))


@pytest.fixture(scope="module")
def held(events: list[Event]) -> dict[str, Held]:
    grouped: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        grouped[event["event_id"].rpartition("-")[0]].append(event)
    return {key: Held(group[0], group) for key, group in grouped.items()}


@pytest.fixture(scope="module")
def mature(held: dict[str, Held]) -> list[Held]:
    """Real conversations, old enough that whatever happens in the conversation itself has happened."""
    limit = DEFAULT_END - timedelta(days=14)
    return [talk for talk in held.values() if not talk.start.get("is_test") and when(talk.start) < limit]


@pytest.fixture(scope="module")
def calm(mature: list[Held]) -> list[Held]:
    """Those the incident did not touch."""
    day = TRUTHS["incident"]["from"].date()
    return [talk for talk in mature if day not in {when(event).date() for event in talk.events}]


def share(talks: Iterable[Held], hit: Callable[[Held], bool]) -> tuple[float, int]:
    found = [hit(talk) for talk in talks]
    return sum(found) / len(found), len(found)


def near(measured: tuple[float, int], truth: float) -> bool:
    """Within four standard errors of the planted share."""
    value, n = measured
    return abs(value - truth) < 4 * sqrt(truth * (1 - truth) / n)


def log_ratio(a: tuple[float, int], b: tuple[float, int]) -> tuple[float, float]:
    """The logarithm of a ratio of shares with its standard error."""
    (p, n), (q, m) = a, b
    return log(p / q), sqrt((1 - p) / (p * n) + (1 - q) / (q * m))


def booked(talk: Held) -> bool:
    return talk.stage >= 3


# Same arguments, same bytes


def test_two_runs_and_another_process_give_the_same_bytes() -> None:
    env = {**os.environ, "PYTHONHASHSEED": "4711", "PYTHONPATH": os.pathsep.join(["src", ".", *sys.path])}
    run = subprocess.run([sys.executable, "-c", DIGEST], env=env, capture_output=True, text=True, check=True)
    assert digest() == digest() == run.stdout.strip()


def test_other_seeds_ends_and_sizes_share_no_id() -> None:
    worlds = [generate(40, 1), generate(40, 2), generate(41, 1), generate(40, 1, DEFAULT_END - timedelta(days=1))]
    ids = [event["event_id"] for world in worlds for event in world]
    assert len(ids) == len(set(ids))


def test_arguments_are_checked() -> None:
    with pytest.raises(InvalidInput, match="end"):
        generate(1, end=datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(InvalidInput, match="conversations == -1"):
        generate(-1)
    assert list(generate(0)) == []


# Well-formed and possible


def test_every_event_is_well_formed(events: list[Event]) -> None:
    for event in events:
        assert event["event_type"]
        assert event["conversation_id" if "conversation_id" in event else "contact_id"]
        assert all(len(value) <= 256 for key, value in event.items() if key.endswith("_id"))
        assert when(event).tzinfo == UTC
        assert len(json.dumps(event)) < 32_000
        assert -1 <= event["properties"].get("sentiment", 0) <= 1
        assert 0 <= event["properties"].get("intent_confidence", 0) <= 1
        assert ("message_id" in event) == event["event_type"].startswith("message_")


def test_ids_are_unique(events: list[Event]) -> None:
    assert len({event["event_id"] for event in events}) == len(events)
    messages = [event["message_id"] for event in events if event["event_type"] in {"message_sent", "message_received"}]
    assert len(set(messages)) == len(messages)


def test_the_order_of_a_conversation_rests_on_no_tie(held: dict[str, Held]) -> None:
    tied = [talk for talk in held.values() if len({event["timestamp"] for event in talk.events}) < len(talk.events)]
    assert len(tied) < 0.001 * SIZE


def test_nothing_lies_outside_the_period(events: list[Event]) -> None:
    times = [when(event) for event in events]
    assert TRUTHS["period"]["from"] <= min(times)
    assert max(times) < DEFAULT_END
    cut = generate(200, end=datetime(2026, 3, 8, 12, 34, tzinfo=UTC))
    assert all(when(event) < datetime(2026, 3, 8, 12, 34, tzinfo=UTC) for event in cut)


def test_nothing_happens_before_what_it_needs(held: dict[str, Held]) -> None:
    for talk in held.values():
        seen: set[str] = set()
        assert talk.start["event_type"] == "conversation_started"
        for event in talk.events:
            assert AFTER.get(event["event_type"], "conversation_started") in seen | {"conversation_started"}
            seen.add(event["event_type"])


def test_meetings_lie_ahead_in_business_hours(held: dict[str, Held]) -> None:
    zone = ZoneInfo(TRUTHS["period"]["timezone"])
    for talk in held.values():
        for event in [*talk.of("meeting_booked"), *talk.of("meeting_rescheduled")]:
            due = datetime.fromisoformat(event["properties"]["meeting_date"])
            local = due.astimezone(zone)
            assert due > when(event)
            assert (local.weekday() < 5, 9 <= local.hour < 17, local.minute % 30) == (True, True, 0)
        for event in talk.of("meeting_attended"):
            dates = [e["properties"]["meeting_date"] for e in talk.events if "meeting_date" in e["properties"]]
            assert when(event) > datetime.fromisoformat(dates[-1])


def test_the_funnel_is_plausible_and_its_largest_drop_is_the_planted_one(held: dict[str, Held]) -> None:
    stages = [talk.stage for talk in held.values()]
    counts = [sum(stage >= i for stage in stages) for i in range(7)]
    drops = [1 - after / before for before, after in pairwise(counts)]
    assert counts[0] == SIZE
    assert 0.02 < counts[6] / counts[0] < 0.06
    assert max(drops) == drops[1]


def test_every_kind_of_event_and_text_to_escape_occurs(events: list[Event]) -> None:
    kinds = Counter(event["event_type"] for event in events)
    assert {"error", "escalated", "feedback", "opted_out", "message_status", "conversation_ended"} <= kinds.keys()
    texts = " ".join(event["properties"].get("content", "") for event in events)
    assert all(mark in texts for mark in ("<b>", "&", '"', "'", "🙂", "é", "{first_name}"))
    amounts = {e["properties"]["currency"]: e["properties"]["amount"] for e in events if "amount" in e["properties"]}
    assert amounts.keys() == {"USD", "EUR", "JPY"}
    assert "." not in amounts["JPY"]


def test_shares_of_test_traffic_returning_contacts_and_contact_events(events: list[Event]) -> None:
    starts = [event for event in events if event["event_type"] == "conversation_started"]
    assert near((sum("is_test" in e for e in starts) / SIZE, SIZE), TRUTHS["test_share"])
    assert near((1 - len({e["contact_id"] for e in starts}) / SIZE, SIZE), TRUTHS["returning_share"])
    deals = [event for event in events if event["event_type"] == "deal_closed"]
    assert near((sum("conversation_id" not in e for e in deals) / len(deals), len(deals)), 0.10)


# What is planted


def test_the_blunt_budget_question_silences_as_stated(calm: list[Held]) -> None:
    truth = TRUTHS["drop_off"]
    asked = [talk for talk in calm if ("bot", truth["intent"]) in talk.turns]
    groups: dict[str, list[Held]] = defaultdict(list)
    for talk in asked:
        chat = talk.start["channel"] == "chat"
        new = talk.start["bot_version"] == truth["new_version"]
        groups["silent_new" if new else "silent_old_chat" if chat else "silent_old"].append(talk)
    for name, group in groups.items():
        assert near(share(group, lambda talk: talk.silent_after(truth["intent"])), truth[name]), name


def test_the_budget_question_is_the_last_word_most_often(mature: list[Held]) -> None:
    last = Counter(talk.turns[-1] for talk in mature if talk.stage == 1)
    assert last.most_common(1)[0][0] == ("bot", TRUTHS["drop_off"]["intent"])


@pytest.mark.parametrize("hit", [booked, lambda talk: talk.responded], ids=["booked", "responded"])
def test_the_better_first_message_is_better_by_the_stated_ratio(mature: list[Held], hit: Callable) -> None:
    truth = TRUTHS["variants"]
    arms = [[t for t in mature if t.start["properties"]["variant"] == truth[arm]] for arm in ("better", "worse")]
    value, error = log_ratio(share(arms[0], hit), share(arms[1], hit))
    assert abs(value - log(truth["ratio"])) < 4 * error
    assert value > 4 * error


def test_the_other_experiment_has_no_effect_and_no_contact_sees_two_arms(held: dict[str, Held]) -> None:
    seen: dict[tuple[str, str], set[str]] = defaultdict(set)
    arms: dict[str, list[Held]] = defaultdict(list)
    for talk in held.values():
        for exposure in talk.of("experiment_exposed"):
            experiment, arm = exposure["properties"]["experiment"], exposure["properties"]["variant"]
            seen[experiment, exposure["contact_id"]].add(arm)
            arms[arm].append(talk)
    assert {len(found) for found in seen.values()} == {1}
    one, other = (share(arms[arm], booked) for arm in TRUTHS["variants"]["null_arms"])
    value, error = log_ratio(one, other)
    assert abs(value) < 3 * error


def test_the_answer_to_a_price_objection_decides(calm: list[Held]) -> None:
    truth = TRUTHS["divergence"]
    branches = {name: [t for t in calm if ("bot", truth[name]) in t.turns] for name in ("good", "bad")}
    for name, talks in branches.items():
        assert near(share(talks, lambda t, name=name: t.silent_after(truth[name])), truth[f"silent_{name}"]), name
        assert near((len(talks) / sum(map(len, branches.values())), len(talks)), 0.5)
    value, error = log_ratio(share(branches["good"], booked), share(branches["bad"], booked))
    assert value > 6 * error
    beginnings = {name: Counter(map(_beginning, talks)).most_common(1)[0][0] for name, talks in branches.items()}
    assert beginnings["good"] == beginnings["bad"]


def _beginning(talk: Held) -> tuple[tuple[str, str], ...]:
    turns = talk.turns
    return tuple(turns[: turns.index(("prospect", "objection_price"))])


def test_length_does_not_explain_the_divergence(calm: list[Held]) -> None:
    truth = TRUTHS["divergence"]
    alive = [t for t in calm if ("prospect", "objection_price") in t.turns and ("bot", "propose_meeting") in t.turns]
    good, bad = ([t for t in alive if ("bot", truth[name]) in t.turns] for name in ("good", "bad"))
    value, error = log_ratio(share(good, booked), share(bad, booked))
    assert value > 4 * error


def test_the_incident_breaks_the_bot_for_its_hours_only(held: dict[str, Held]) -> None:
    inside, outside = Counter(), Counter()
    for talk in held.values():
        for at, kinds in _bot_turns(talk):
            (inside if _in_incident(at) else outside).update(kinds)
    assert 0.45 < inside["fallback"] / inside["turn"] < 0.75
    assert inside["error"] / inside["turn"] > 0.2
    assert outside["fallback"] / outside["turn"] < 0.04
    assert outside["error"] / outside["turn"] < 0.01


def _bot_turns(talk: Held) -> Iterable[tuple[datetime, set[str]]]:
    """Each run of bot messages with what belongs to it: a fallback or error in it or directly before it."""
    kinds: set[str] = set()
    at = None
    for event in talk.events:
        if event["event_type"] == "message_received" and at:
            yield at, kinds | {"turn"}
            kinds, at = set(), None
        elif event["event_type"] in {"fallback", "error"}:
            kinds = kinds | {event["event_type"]}
        elif event["event_type"] == "message_sent":
            at = at or when(event)
    if at:
        yield at, kinds | {"turn"}


def _in_incident(at: datetime) -> bool:
    return TRUTHS["incident"]["from"] <= at < TRUTHS["incident"]["to"]


def test_the_incident_hurts_mood_and_replies(held: dict[str, Held]) -> None:
    messages = [e for talk in held.values() for e in talk.of("message_received")]
    mood = {True: [0.0], False: [0.0]}
    for event in messages:
        mood[_in_incident(when(event))].append(event["properties"]["sentiment"])
    assert sum(mood[True]) / len(mood[True]) < -0.3
    assert sum(mood[False]) / len(mood[False]) > 0.1
    began = [talk for talk in held.values() if _in_incident(when(talk.start))]
    assert share(began, lambda talk: talk.responded)[0] < 0.55


def test_the_command_makes_the_world_of_any_day() -> None:
    ran = CliRunner().invoke(cli.app, ["demo", "--generate-only", "--conversations", "20", "--end", "2026-06-01"])
    assert [json.loads(line) for line in ran.stdout.splitlines()] == list(generate(20, end=DEFAULT_END))


def test_a_directory_holds_the_demo_that_it_was_made_for(tmp_path: Path) -> None:
    with closing(SqliteControl(tmp_path / "control.db")) as control:
        first = serve.held(control, serve.World(20, 7, DEFAULT_END))
        assert first == serve.held(control, serve.World(30, 8, None)) == serve.World(20, 7, DEFAULT_END)
        assert str(first) == "20 conversations up to 2026-06-01, seed 7"


def test_the_incident_is_a_tuesday_about_three_weeks_before_any_end() -> None:
    for days in range(7):
        end = DEFAULT_END + timedelta(days=days)
        incident = truths(end)["incident"]
        assert incident["from"].weekday() == incident["weekday"]
        assert timedelta(days=20) < end - incident["to"] < timedelta(days=28)


def test_referrals_are_better_and_one_industry_only_seems_so(mature: list[Held]) -> None:
    truth = TRUTHS["segments"]
    strata: dict[tuple[bool, bool], list[Held]] = defaultdict(list)
    for talk in mature:
        attributes = talk.start["properties"]
        strata[attributes["industry"] == truth["industry"], attributes["medium"] == truth["medium"]].append(talk)
    value, error = log_ratio(share(strata[False, True], booked), share(strata[False, False], booked))
    assert 3 * error < value < log(1.6)
    seeming = len(strata[True, True]) / len(strata[True, True] + strata[True, False])
    assert abs(seeming - truth["industry_medium_share"]) < 0.06
    for medium in (True, False):
        value, error = log_ratio(share(strata[True, medium], booked), share(strata[False, medium], booked))
        assert abs(value) < 3 * error
