"""Why conversations are lost: what the store's rows give is what looking at each conversation by itself gives."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import naive
from dropoff.analyse import select
from dropoff.analyse.analytics import Analytics
from dropoff.analyse.funnels import dropoffs, lost
from dropoff.analyse.funnels.funnel import FUNNELS
from dropoff.analyse.funnels.lost import ENDS, HAPPENINGS, INSTEAD, NO_EVENT, NOTHING, REASONS, Step
from dropoff.analyse.stats import ENOUGH
from dropoff.demo import DEFAULT_END as END
from dropoff.demo import generate
from dropoff.demo.planted import DROP_OFF, SPAN, TIMEZONE, deployed_at
from dropoff.errors import InvalidInput
from dropoff.periods import Period, last_days, to_micros
from dropoff.query import NONE, Query
from dropoff.store.sql import STAGES
from worlds import (
    START,
    booked,
    disqualified,
    drain,
    escalated,
    fallback,
    histories,
    objected,
    opted_out,
    payload,
    qualified,
    received,
    rows,
    sent,
    started,
)  # fmt: skip
from worlds import given as arrived

NOW = datetime(2024, 1, 15, 11, tzinfo=UTC)  # some conversations are still open
EVER = Period(datetime(2023, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC), "UTC")
WHENEVER = {"from": ["2023-01-01"], "to": ["2025-01-01"]}
QUERY = Query(EVER, NOW, include_test=True)
STEPS = [
    (name, Step(source, target))
    for name in ("sales", "mission")
    for source, target in zip(FUNNELS[name].stages, FUNNELS[name].stages[1:], strict=False)
]


# Each conversation by itself


def micros(row):
    """A row of the store with its instants as numbers."""
    return {
        name: to_micros(value.replace(tzinfo=UTC)) if isinstance(value, datetime) else value
        for name, value in row.items()
    }


class Plain:
    """The conversations that events make, as the plain interpreter of the tables has them."""

    def __init__(self, events):
        tables = naive.interpret(events)
        self.conversations = tables.get("conversations", [])
        self.messages = tables.get("messages", [])
        owner = {(a["contact_id"], a["event_id"]): a["conversation_id"] for a in tables["attributions"]}
        self.events = {}
        for event in naive.all_standing(events):
            name = event["conversation_id"] or owner.get((event["contact_id"], event["id"]))
            self.events.setdefault(name, []).append(event)

    def at(self, funnel, step):
        """What became of each conversation at a stage, by its id."""
        found = {}
        for facts in self.conversations:
            source, onward = (self.reached(facts, funnel, stage) for stage in step)
            if source is not None:
                found[facts["id"]] = self.one(facts, source, onward)
        answers = {}
        for facts in self.conversations:
            if facts["id"] in found:
                answers.setdefault(facts["channel"], []).extend(found[facts["id"]]["answers"])
        for facts in self.conversations:
            if one := found.get(facts["id"]):
                own = one.pop("answers")
                if own and own[-1] > np.percentile(answers[facts["channel"]], 90):
                    one["reasons"].add("slow_reply")
                if not one["reasons"]:
                    one["reasons"].add(NO_EVENT)
        return found

    def reached(self, facts, funnel, stage):
        columns = [STAGES[stage]]
        if funnel.mode == "reached":
            columns = list(STAGES.values())[list(STAGES).index(stage) :]
        return min((facts[column] for column in columns if facts[column] is not None), default=None)

    def one(self, facts, source, onward):
        def meanwhile(rows):
            return [r for r in rows if r["timestamp"] >= source and (onward is None or r["timestamp"] < onward)]

        every = [m for m in self.messages if m["conversation_id"] == facts["id"]]
        spoken = meanwhile(sorted(every, key=lambda m: m["position"]))
        bot = [m for m in spoken if m["sender"] == "bot"]
        happened = self.happenings(facts, source, onward, meanwhile)
        kinds = {what for _, _, what in happened}
        closed = to_micros(NOW) >= facts["closes_at"]
        unanswered = bool(spoken) and spoken[-1]["sender"] == "prospect" and spoken[-1]["position"] == len(every)
        lost = onward is None
        return {
            "lost": lost,
            "last_intent": (bot[-1]["intent"] or NONE) if bot else NOTHING,
            "said": {m["intent"] or NONE for m in bot} or {NOTHING},
            "silent": lost and closed and not unanswered and not kinds & set(ENDS),
            "instead": None if not lost else self.instead(happened, closed, unanswered),
            "reasons": kinds | ({"undelivered"} if bot and not bot[-1]["delivered"] else set()),
            "answers": [m["response_seconds"] for m in bot if m["response_seconds"] is not None],
        }

    def happenings(self, facts, source, onward, meanwhile):
        found = []
        for event in meanwhile(self.events.get(facts["id"], [])):
            what = {"objection_raised": "objection"}.get(event["event_type"], event["event_type"])
            if event["event_type"] == "message_received" and event["sender"] == "prospect":
                objects = re.match(r"objection[\W_]+[^\W_]", event["intent"] or "", re.IGNORECASE)
                what = "objection" if objects else ""
            if what in HAPPENINGS and what != "deal_lost":
                found.append((event["timestamp"], HAPPENINGS.index(what), what))
        if onward is None and facts["lost_at"] is not None and facts["lost_at"] >= source:
            found.append((facts["lost_at"], HAPPENINGS.index("deal_lost"), "deal_lost"))
        return sorted(found)

    def instead(self, happened, closed, unanswered):
        if happened:
            return happened[0][2]
        return "open" if not closed else "unanswered" if unanswered else "silence"


def as_plain(found):
    """The rows of `read` in the same form."""
    said = {}
    for unit, intent in found.said.rows():
        said.setdefault(unit, set()).add(intent)
    return {
        row["id"]: {
            "said": said[row["unit"]],
            **{name: row[name] for name in ("lost", "last_intent", "silent", "instead")},
            "reasons": {reason for reason in (*REASONS, NO_EVENT) if row[reason]},
        }
        for row in found.units.to_dicts()
    }


def renamed(history, number):
    """The same of other conversations and contacts."""
    return [
        made | {name: f"{number}{made[name]}" for name in ("conversation_id", "contact_id") if made.get(name)}
        for made in history
    ]


@pytest.mark.one_store
@settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    worlds=st.lists(histories(24, outside=True) | histories(24), min_size=6, max_size=12),
    steps=st.lists(st.sampled_from(STEPS), min_size=3, max_size=3, unique=True),
)
def test_any_histories_are_what_each_conversation_by_itself_gives(engine, worlds, steps):
    events = [made for number, history in enumerate(worlds) for made in renamed(history, number)]
    with TemporaryDirectory(prefix="dropoff-") as name:
        store = drain(Path(name), [payload(events)], engine=engine)
        plain = Plain([micros(row) for row in rows(store, "event_rows")])
        for funnel, step in steps:
            found = lost.read(store, QUERY, FUNNELS[funnel], step)
            assert as_plain(found) == plain.at(FUNNELS[funnel], step), (funnel, step)
        store.close()


# A small world, counted by hand


def talk(name, *more, channel="sms"):
    own = [started(channel=channel), sent("Hi!", at=1, intent="greet"), received("hello", at=2), *more]
    return [made | {"conversation_id": name} for made in own]


def asks(at=3, **more):
    return sent("  How much\n can you pay?", at=at, intent="ask_budget", **more)


WORLD = [
    *talk("fit", asks(), received("a lot", at=4), qualified(at=5)),
    *talk("silent", asks(), channel="chat"),
    *talk("silent2", asks(), fallback(at=3)),
    *talk("objects", asks(), received("too much", at=4, intent="objection_price"), sent("Sorry", at=5, intent="bye")),
    *talk("stops", asks(), opted_out(at=4)),
    *talk("no", asks(), received("no", at=4), disqualified(at=5), sent("Bye", at=6, intent="bye")),
    *talk("ignored", asks(), received("and now?", at=4)),
    *talk("human", escalated(at=3), sent("Hi, it is Jo", at=9, sender="agent")),
    *[made | {"conversation_id": "young"} for made in (
        started(at=64_800, channel="sms"), sent("Hi!", at=64_801, intent="greet"), received("hello", at=64_802),
        asks(at=64_803),
    )],
]  # fmt: skip


def explanation(analytics, more: dict[str, list[str]] | None = None, stage="responded"):
    drops = analytics.dropoffs({**WHENEVER, "explain": [stage], **(more or {})})["drop_offs"]
    return next(drop["explanation"] for drop in drops if drop["from"] == stage)


def test_a_small_world_counted_by_hand(asked):
    why = explanation(asked(*WORLD))
    assert (why["lost"], why["went_on"], why["silent"]) == (8, 1, 3)
    said = {m["intent"]: (m["silent"], m["silence_rate"]["denominator"], m["example"]) for m in why["messages"]}
    assert said == {
        "ask_budget": (2, 8, "How much can you pay?"),
        "bye": (1, 2, "Sorry"),
        NOTHING: (0, 1, None),
    }
    instead = {i["what"]: i["share"]["numerator"] for i in why["instead"]}
    assert list(instead) == sorted(INSTEAD, key=lambda what: (-instead[what], INSTEAD.index(what)))
    assert {what: n for what, n in instead.items() if n} == {
        "opted_out": 1, "disqualified": 1, "escalated": 1, "objection": 1, "fallback": 1, "open": 1, "unanswered": 1,
        "silence": 1,
    }  # fmt: skip
    assert sum(i["share"]["value"] for i in why["instead"]) == pytest.approx(1)
    reasons = {r["reason"]: r["lost"]["numerator"] for r in why["reasons"]}
    assert {reason: n for reason, n in reasons.items() if n} == {
        "opted_out": 1, "disqualified": 1, "escalated": 1, "objection": 1, "fallback": 1,
        "slow_reply": 1, NO_EVENT: 3,
    }  # fmt: skip
    assert not any(r["is_reason"] or r["q_value"] is not None for r in why["reasons"])  # 9 are too few
    chat = next(s for s in why["segments"] if s["value"] == "chat")
    assert (chat["rate"]["numerator"], chat["rate"]["denominator"], chat["over_contributes"]) == (1, 1, False)
    assert chat["excess"] == pytest.approx(1 - 8 / 9)


@pytest.mark.one_store
def test_every_count_leads_to_as_many_conversations(asked):
    analytics = asked(*WORLD)

    def count(**more):
        return analytics.conversations({**WHENEVER, **{name: [text] for name, text in more.items()}})["total"]

    why, stage = explanation(analytics), "responded"
    assert count(dropped=stage) == why["lost"]
    assert count(passed=stage) == why["went_on"]
    for row in why["messages"]:
        assert count(dropped=stage, last_intent=row["intent"]) == row["silent"]
        assert count(stage=stage, said=row["intent"]) == row["silence_rate"]["denominator"]
    for row in why["instead"][:9]:  # one of those that did not happen included
        assert count(dropped=stage, instead=row["what"]) == row["share"]["numerator"]
    for row in (row for row in why["reasons"] if row["lost"]["numerator"]):
        assert count(dropped=stage, reason=row["reason"]) == row["lost"]["numerator"]
    assert count(passed=stage, reason=NO_EVENT) == 1
    segments = [row for row in why["segments"] if row["dimension"] in ("channel", "day_of_week")]
    assert len(segments) == 4
    for row in segments:
        where = f"{row['dimension']}={row['value']}"
        assert count(dropped=stage, where=where) == row["rate"]["numerator"]
        assert count(stage=stage, where=where) == row["rate"]["denominator"]


@pytest.mark.one_store
def test_a_funnel_of_ones_own_is_explained_like_those_that_are_built_in(asked):
    analytics = asked(*WORLD, *talk("b", asks(), qualified(at=4), sent("Tuesday?", at=5), objected("time", at=6)))
    steps = [{"event": kind} for kind in ("conversation_started", "qualified", "disqualified")]
    for mode in ("recorded", "ordered"):
        own = {"definition": [f'{{"steps": {json.dumps(steps)}, "mode": "{mode}"}}']}
        (first, _) = sorted(analytics.dropoffs({**WHENEVER, **own})["drop_offs"], key=lambda drop: drop["to"])[::-1]
        assert (first["from"], first["to"]) == ("conversation_started", "qualified")
        mine = first["explanation"]
        store, query = analytics._asked(WHENEVER)
        theirs = dropoffs.explain(store, query, FUNNELS["mission"], Step("started", "qualified"))
        theirs = json.loads(msgspec.json.encode(theirs))
        assert json.loads(msgspec.json.encode(mine)) == theirs
        listed = analytics.conversations(
            {**WHENEVER, **own, "dropped": ["conversation_started"], "reason": ["fallback"]}
        )
        assert [c["id"] for c in listed["conversations"]] == ["silent2"]


def test_counts_and_their_explanation_are_of_one_period(asked, monkeypatch):
    """Where none is given an event that comes meanwhile moves the default one."""
    later = [last_days(START + timedelta(days=days), "UTC") for days in (90, 0)]
    monkeypatch.setattr(select, "default_period", lambda *_: later[-1] if len(later) == 1 else later.pop())
    drop = next(one for one in asked(*WORLD)._dropoffs({})["drop_offs"] if one["from"] == "responded")
    assert drop["explanation"]["lost"] == drop["volume_lost"]


def test_contacts_have_no_explanation(asked):
    steps = [{"event": "conversation_started"}, {"event": "qualified"}]
    own = {"definition": [json.dumps({"steps": steps, "unit": "contact"})]}
    contacts = [made | {"contact_id": "p"} for made in WORLD]
    drops = asked(*contacts).dropoffs({**WHENEVER, **own, "explain": ["all"]})["drop_offs"]
    assert all(drop["explanation"] is None for drop in drops)


def test_by_rate_or_by_volume_and_only_what_is_asked_for(asked):
    analytics = asked(*WORLD, *talk("b", qualified(at=4), booked(at=5)), *talk("s")[:1])

    def drops(**more):
        return analytics.dropoffs({**WHENEVER, **{name: [text] for name, text in more.items()}})["drop_offs"]

    assert [d["from"] for d in drops()] == ["responded", "qualified", "started"]
    assert [d["volume_lost"] for d in drops(sort="volume")] == [8, 1, 1]
    assert [d["explanation"] is not None for d in drops()] == [True] * 3
    assert [d["explanation"] is not None for d in drops(explain="worst")] == [True, False, False]
    assert [d["explanation"] is not None for d in drops(explain="started")] == [False, False, True]
    assert all(d["explanation"] is None for d in drops(explain="none"))


@pytest.mark.parametrize(
    ("params", "refusal"),
    [
        ({"sort": "size"}, "sort == 'size', must be one of rate, volume"),
        ({"explain": "lunch"}, "explain == 'lunch', must be one of all, worst, none, started,"),
    ],
)
def test_what_is_not_there_is_refused(asked, params, refusal):
    with pytest.raises(InvalidInput, match=re.escape(refusal)):
        asked(*WORLD).dropoffs({name: [text] for name, text in params.items()})


@pytest.mark.parametrize(
    ("params", "refusal"),
    [
        ({"said": "x"}, "said == ['x'], must be given with one of stage, dropped, passed"),
        ({"dropped": "responded", "reason": "rain"}, "reason == 'rain', must be one of opted_out,"),
        ({"dropped": "responded", "instead": "tea"}, "instead == 'tea', must be one of opted_out,"),
        ({"passed": "lunch"}, "stage == 'lunch', must be one of started,"),
        ({"passed": "qualified"}, "stage == 'qualified', must be a stage that is followed by a recorded one"),
    ],
)
def test_a_list_that_is_not_there_is_refused(asked, params, refusal):
    with pytest.raises(InvalidInput, match=re.escape(refusal)):
        asked(*WORLD).conversations({name: [text] for name, text in params.items()})


# What is planted in the demo


@pytest.fixture(scope="module")
def demo(engine, tmp_path_factory):
    store = arrived(*generate(5000, 7, END), directory=tmp_path_factory.mktemp("demo"), engine=engine)
    yield Analytics(store, TIMEZONE, lambda: END + timedelta(days=30))
    store.close()


def day(moment):
    return moment.date().isoformat()


WHOLE = {"from": [day(END - SPAN)], "to": [day(END)]}


def blamed(why):
    return [(s["dimension"], s["value"]) for s in why["segments"] if s["over_contributes"]]


def test_the_planted_drop_off_is_found_first_with_its_reason(demo):
    for sort in ("rate", "volume"):
        worst = demo.dropoffs({**WHOLE, "sort": [sort], "explain": ["worst"]})["drop_offs"][0]
        assert (worst["from"], worst["to"]) == ("responded", "qualified")
        why = worst["explanation"]
        assert why["messages"][0]["intent"] == DROP_OFF.intent
        assert why["instead"][0]["what"] == "silence"
        assert blamed(why)[0] == ("bot_version", DROP_OFF.old_version)
    assert blamed(explanation(demo, {**WHOLE, "where": [f"bot_version={DROP_OFF.old_version}"]}))[0] == (
        "channel",
        "chat",
    )


def test_a_young_stage_comes_last_and_a_rate_that_nobody_waits_for_stands_where_it_is():
    def drop(name, rate, matured=None, projected=None):
        shown = {"matured": matured and {"value": matured[0], "n": matured[1]}, "projected": projected}
        return {"from": name, "drop_rate": rate, "volume_lost": 1, **shown}

    young = drop("young", 0.9, (None, 0))
    small = drop("small", 0.8, (0.99, ENOUGH - 1), {"value": 0.3})
    settled = drop("settled", 0.4, (0.5, ENOUGH))
    ordered = [one["from"] for one in dropoffs.ordered([young, small, settled], "matured")]
    assert ordered == ["settled", "small", "young"]
    recorded = [drop("less", 0.2), drop("more", 0.6)]
    assert [one["from"] for one in dropoffs.ordered(recorded, "matured")] == ["more", "less"]


def test_what_is_lost_in_the_end_is_the_rest_of_what_goes_on(demo):
    answer = demo.funnel(WHOLE)
    rates = {stage["stage"]: stage["rate_from_previous"] for stage in answer["stages"]}
    for drop in answer["drop_offs"]:
        for age in ("matured", "projected"):
            gone, stayed = rates[drop["to"]][age], drop[age]
            assert stayed["value"] == 1 - gone["value"]
            assert tuple(stayed["interval"]) == tuple(1 - bound for bound in reversed(gone["interval"]))
            assert stayed["n"] == gone["n"]


def test_the_planted_rates_lie_within_their_intervals(demo):
    for version, channel, share in (
        (DROP_OFF.old_version, "chat", DROP_OFF.silent_old_chat),
        (DROP_OFF.old_version, "sms", DROP_OFF.silent_old),
        (DROP_OFF.new_version, "chat", DROP_OFF.silent_new),
    ):
        where = {"where": [f"bot_version={version}", f"channel={channel}"]}
        messages = explanation(demo, WHOLE | where)["messages"]
        low, high = next(m["silence_rate"]["interval"] for m in messages if m["intent"] == DROP_OFF.intent)
        assert low < share < high


def test_of_the_newer_version_nothing_is_claimed_that_is_not_planted(demo):
    why = explanation(demo, {**WHOLE, "where": [f"bot_version={DROP_OFF.new_version}"]})
    assert not {"channel", "bot_version"} & {dimension for dimension, _ in blamed(why)}
    (asked,) = (m for m in why["messages"] if m["intent"] == DROP_OFF.intent)
    assert asked["silence_rate"]["value"] < 0.2


def test_the_new_version_shows_as_mix_where_it_came_and_as_rate_by_channel(demo):
    """Half the span before the deploy, half after: of `bot_version` it is all mix, of chat a rate that fell."""
    deployed = deployed_at(END)
    later = {"from": [day(deployed)], "to": [day(END)]}
    why = explanation(demo, later)
    for dimension in {s["dimension"] for s in why["segments"]}:
        effects = [s for s in why["segments"] if s["dimension"] == dimension]
        total = sum(s["rate_effect"] + s["mix_effect"] for s in effects)
        assert total == pytest.approx(why["before"]["change"], abs=1e-12)
    chat = next(s for s in why["segments"] if (s["dimension"], s["value"]) == ("channel", "chat"))
    assert why["before"]["change"] < -0.05
    assert chat["rate_effect"] < 10 * -abs(chat["mix_effect"])
