"""Why conversations are lost: what the store's rows give is what looking at each conversation by itself gives."""

import re
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import naive
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dropoff.analyse import dropoffs
from dropoff.analyse.dropoffs import ENDS, HAPPENINGS, INSTEAD, NO_EVENT, NOTHING, REASONS, Step
from dropoff.analyse.funnel import FUNNELS
from dropoff.errors import InvalidInput
from dropoff.periods import MICROSECOND, Period, to_micros
from dropoff.query import NONE, Query
from dropoff.store.sql import STAGES
from worlds import (
    START, booked, canceled, disqualified, error, escalated, fallback, histories, no_show, objected, opted_out,
    payload, drain, qualified, received, rows, sent, started, status,
)  # fmt: skip

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


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(worlds=st.lists(histories(24, outside=True) | histories(24), min_size=6, max_size=12))
def test_any_histories_are_what_each_conversation_by_itself_gives(engine, worlds):
    events = [made for number, history in enumerate(worlds) for made in renamed(history, number)]
    with TemporaryDirectory(prefix="dropoff-") as name:
        store = drain(Path(name), [payload(events)], engine=engine)
        plain = Plain([micros(row) for row in rows(store, "event_rows")])
        for funnel, step in STEPS:
            found = dropoffs.read(store, QUERY, FUNNELS[funnel], step)
            assert as_plain(found) == plain.at(FUNNELS[funnel], step), (funnel, step)
        store.close()
