"""SEMANTICS §1, contact events: where each belongs, one rule a test, through the whole pipeline."""

import random
import time
from collections import Counter
from collections.abc import Iterable

import polars as pl
import pytest

from dropoff.aliases import components
from dropoff.process import attribute, frames
from dropoff.store import tables
from worlds import (
    Dict,
    attended,
    booked,
    canceled,
    chunks,
    event,
    fallback,
    lost,
    opportunity,
    outcome,
    payload,
    received,
    rescheduled,
    retracted,
    sent,
    started,
    won,
)

DAY = 24 * 60
"""In minutes, as `at` is."""


def chat(name: str, at: float = 0, contact: str = "p", **fields: object) -> Dict:
    return started(at, conversation_id=name, contact_id=contact, **fields)


def of(contact: str, made: Dict, name: str | None = None) -> Dict:
    """The same event, known only of a contact."""
    return {**{k: v for k, v in made.items() if k != "conversation_id"}, "contact_id": contact, "event_id": name}


def identified(*ids: str, at: float = 0, name: str | None = None) -> Dict:
    return event("contact_identified", at, None, contact_id=ids[0], aliases=list(ids[1:]), event_id=name)


def found(*events: Dict) -> dict[str, tuple[str | None, str]]:
    """Where the contact events belong, and by which rule; the same in other orders and batches."""
    tables = outcome([list(events)])
    shuffled = random.Random(len(events)).sample(events, len(events))
    assert outcome([[one] for one in shuffled[:-1]], [shuffled], apart=True) == tables
    return {a["event_id"]: (a["conversation_id"], a["attributed_by"]) for a in tables["attributions"]}


def row(tables: dict[str, list[Dict]], name: str) -> Dict:
    return next(c for c in tables["conversations"] if c["id"] == name)


# The rules, in their order


def test_the_same_meeting_id_comes_first():
    talk = [chat("a"), booked(at=1, meeting_id="m", conversation_id="a"), chat("b", 5)]
    talk += [booked(at=6, meeting_id="n", conversation_id="b")]
    assert found(*talk, of("p", attended(meeting_id="m"), "e")) == {"e": ("a", "object_id")}


def test_an_id_named_later_by_a_conversation_holds_for_earlier_events():
    talk = [chat("a"), chat("b", 5), attended(at=90, meeting_id="m", conversation_id="a")]
    assert found(*talk, of("p", booked(at=6, meeting_id="m"), "e")) == {"e": ("a", "object_id")}


def test_an_id_named_by_a_contact_event_holds_from_then_on():
    talk = [chat("a"), of("p", opportunity(at=5, opportunity_id="o"), "e"), chat("b", 6)]
    assert found(*talk, of("p", opportunity(at=7, opportunity_id="o"), "f")) == {
        "e": ("a", "latest"),
        "f": ("a", "object_id"),
    }


def test_one_id_of_a_meeting_and_of_a_deal_are_two_things():
    talk = [chat("a"), booked(at=1, meeting_id="1", conversation_id="a"), canceled(at=2, conversation_id="a")]
    assert found(*talk, chat("b", 5), of("p", won(deal_id="1"), "e")) == {"e": ("a", "booking")}


def test_a_meeting_belongs_to_the_latest_live_booking():
    talk = [chat("a"), booked(at=1, conversation_id="a"), chat("b", 2), booked(at=3, conversation_id="b"), chat("c", 9)]
    assert found(*talk, of("p", attended(), "e")) == {"e": ("b", "live_booking")}
    gone = canceled(at=5, conversation_id="b")
    assert found(*talk, gone, of("p", attended(), "e")) == {"e": ("a", "live_booking")}
    back = rescheduled(at=7, conversation_id="b", meeting_id=None)
    assert found(*talk, gone, back, of("p", attended(), "e")) == {"e": ("b", "live_booking")}


def test_a_booking_is_live_only_from_then_on():
    talk = [chat("a"), chat("b", 2), booked(at=50, conversation_id="a")]
    assert found(*talk, of("p", attended(at=40), "e")) == {"e": ("b", "latest")}


@pytest.mark.parametrize("made", [opportunity(at=60), won(at=60), lost(at=60)])
def test_money_belongs_to_the_latest_opportunity_else_to_a_booking(made: Dict):
    talk = [chat("a"), booked(at=1, conversation_id="a"), canceled(at=2, conversation_id="a"), chat("b", 5)]
    assert found(*talk, of("p", made, "e")) == {"e": ("a", "booking")}
    known = [chat("z", -5), opportunity(at=-4, conversation_id="z")]
    assert found(*talk, *known, of("p", made, "e")) == {"e": ("z", "opportunity")}


def test_else_the_latest_conversation_of_180_days():
    talk = [chat("a"), chat("b", 5), chat("later", 200 * DAY)]
    assert found(*talk, of("p", attended(at=6), "e")) == {"e": ("b", "latest")}
    assert found(*talk, of("p", attended(at=5), "e")) == {"e": ("b", "latest")}
    assert found(*talk, of("p", attended(at=4), "e")) == {"e": ("a", "latest")}
    assert found(*talk, of("p", attended(at=5 + 180 * DAY), "e")) == {"e": ("b", "latest")}
    assert found(*talk, of("p", attended(at=6 + 180 * DAY), "e")) == {"e": (None, "unmatched")}


def test_ties_go_by_id():
    assert found(chat("a"), chat("c"), chat("b"), of("p", event("enriched", 3), "e")) == {"e": ("c", "latest")}


def test_before_any_conversation_or_of_another_contact_it_is_unmatched():
    assert found(chat("a", 5), of("p", attended(at=4), "e")) == {"e": (None, "unmatched")}
    assert found(chat("a"), of("q", attended(at=4), "e")) == {"e": (None, "unmatched")}


# A history as it happens: two conversations, a reminder, a reschedule, a second deal


STORY = [
    chat("first"),
    booked(at=5, meeting_id="m1", meeting_date="2024-01-20", conversation_id="first"),
    of("p", rescheduled(at=100, meeting_id="m1", meeting_date="2024-01-22"), "moved"),
    chat("reminder", 6 * DAY),
    sent("see you tomorrow", at=6 * DAY + 1, conversation_id="reminder"),
    of("p", attended(at=7 * DAY), "been"),
    of("p", opportunity(at=8 * DAY, opportunity_id="o1", amount=10, currency="EUR"), "chance"),
    of("p", won(at=9 * DAY, deal_id="d1", amount=10, currency="EUR"), "deal"),
    chat("second", 30 * DAY),
    of("p", won(at=31 * DAY, deal_id="d2", amount=5, currency="EUR"), "more"),
    of("q", won(at=32 * DAY), "nobody"),
]


def test_each_event_of_a_history_lands_where_it_belongs_in_every_order():
    for seed in range(5):
        shuffled = random.Random(seed).sample(STORY, len(STORY))
        assert outcome(chunks(shuffled, [seed + 2, 7])) == outcome([STORY])
    assert found(*STORY) == {
        "moved": ("first", "object_id"),
        "been": ("first", "live_booking"),
        "chance": ("first", "booking"),
        "deal": ("first", "opportunity"),
        "more": ("first", "opportunity"),
        "nobody": (None, "unmatched"),
    }
    made = outcome([STORY])
    rules = Counter(a["attributed_by"] for a in made["attributions"])
    assert rules == {"object_id": 1, "live_booking": 1, "booking": 1, "opportunity": 2, "unmatched": 1}
    first, reminder = row(made, "first"), row(made, "reminder")
    assert (first["final"], first["revenue"]) == ("converted", '{"EUR": "15"}')
    assert (reminder["attended_at"], reminder["converted_at"]) == (None, None)
    assert [(m["conversation_id"], m["state"], m["reschedules"]) for m in made["meetings"]] == [
        ("first", "attended", 1)
    ]
    assert sorted(d["deal_id"] for d in made["deals"]) == ["d1", "d2"]


# Later evidence


def test_the_conversation_may_come_after_the_event():
    late = [[[of("p", attended(at=9), "e")]], [[chat("a")]]]
    made = outcome(*late)
    assert [a["conversation_id"] for a in made["attributions"]] == ["a"]
    assert [m["conversation_id"] for m in made["meetings"]] == ["a"]


def test_an_event_moves_with_all_it_left_behind():
    said = [of("p", attended(at=9), "e"), of("p", fallback(at=10), "f"), of("p", received("hm", at=11), "g")]
    made = outcome([[chat("a"), sent(at=1, conversation_id="a"), *said]], [[chat("b", 5)]])
    assert {a["conversation_id"] for a in made["attributions"]} == {"b"}
    for table in ("meetings", "turns"):
        assert {r["conversation_id"] for r in made[table]} == {"b"}
    assert [(m["conversation_id"], m["sender"]) for m in made["messages"]] == [("a", "bot"), ("b", "prospect")]
    assert row(made, "a")["attended_at"] is None


def test_a_contact_that_changes_takes_its_events_along():
    talk = [chat("a"), chat("b", 1, "q"), event("enriched", 3, "a", contact_id="q")]
    assert found(*talk[:2], of("p", attended(at=9), "e")) == {"e": ("a", "latest")}
    assert found(*talk, of("p", attended(at=9), "e")) == {"e": (None, "unmatched")}
    assert found(*talk, of("q", attended(at=2), "e")) == {"e": ("b", "latest")}


def test_a_retracted_contact_event_never_happened_until_its_retraction_is_retracted():
    told = [chat("a"), of("p", attended(at=9), "e")]
    undo = retracted("e", own="r", conversation_id=None, contact_id="p")
    again = retracted("r", own="s", conversation_id=None, contact_id="p")
    assert found(*told, undo) == {}
    assert row(outcome([[*told, undo]]), "a")["attended_at"] is None
    assert found(*told, undo, again) == {"e": ("a", "latest")}


def test_a_conversation_that_was_retracted_whole_did_not_happen(engine: str):
    told = [chat("a"), event("conversation_started", 5, "b", contact_id="p", event_id="start")]
    told.append(of("p", attended(at=9), "e"))
    undo = retracted("start", own="r", conversation_id="b", contact_id="p")
    again = retracted("r", own="s", conversation_id="b")
    assert where_it_belongs(outcome([told], engine=engine)) == ({"a", "b"}, "b")
    assert where_it_belongs(outcome([told], [[undo]], engine=engine)) == ({"a"}, "a")
    assert where_it_belongs(outcome([[undo]], [told], engine=engine)) == ({"a"}, "a")
    assert where_it_belongs(outcome([told], [[undo]], [[again]], engine=engine)) == ({"a", "b"}, "b")


def where_it_belongs(made: dict[str, list[Dict]]) -> tuple[set[str], str]:
    """The conversations there are, and the one with the only contact event and its meeting."""
    (attribution,), (meeting,) = made["attributions"], made["meetings"]
    assert meeting["conversation_id"] == attribution["conversation_id"]
    return {c["id"] for c in made["conversations"]}, attribution["conversation_id"]


def test_a_conversation_does_not_retract_the_events_of_its_contact():
    assert found(chat("a"), of("p", attended(at=9), "e"), retracted("e", conversation_id="a")) == {"e": ("a", "latest")}
    made = outcome([[chat("a"), of("p", attended(at=9), "e"), retracted("e", conversation_id="a")]])
    assert row(made, "a")["attended_at"] == row(made, "a")["started_at"].replace(minute=9)


def test_of_one_event_id_each_owner_has_its_own_event():
    events = [chat("a"), booked(at=3, event_id="e", conversation_id="a"), of("p", attended(at=3), "e")]
    events += [identified("p", "q"), of("q", canceled(at=3), "e")]
    found(*events)
    assert row(outcome([events]), "a")["event_count"] == 4


# Aliases


def test_aliases_are_one_contact_and_go_by_the_smallest_id():
    events = [chat("a", contact="q"), identified("q", "p", at=50), identified("r", "q", at=60)]
    assert found(*events, of("r", attended(at=9), "e")) == {"e": ("a", "latest")}
    assert row(outcome([events]), "a")["contact_id"] == "p"


def test_a_retracted_alias_parts_them_again():
    events = [chat("a", contact="q"), identified("q", "p", name="i"), of("p", attended(at=9), "e")]
    undo = retracted("i", own="r", conversation_id=None, contact_id="q")
    again = retracted("r", own="s", conversation_id=None, contact_id="q")
    assert found(*events) == {"e": ("a", "latest")}
    assert found(*events, undo) == {"e": (None, "unmatched")}
    assert row(outcome([events], [[undo]]), "a")["contact_id"] == "q"
    assert found(*events, undo, again) == {"e": ("a", "latest")}


def test_an_alias_told_in_a_conversation_holds_too():
    events = [chat("a", contact="q"), event("contact_identified", 1, "a", contact_id="q", aliases=["p"])]
    assert found(*events, of("p", attended(at=9), "e")) == {"e": ("a", "latest")}


@pytest.mark.parametrize(("ids", "merged"), [(50, True), (51, False)])
def test_above_50_ids_nothing_is_merged(ids: int, merged: bool):
    names = [f"p{i:02}" for i in range(ids)]
    made = outcome([[chat("a", contact="p07"), identified(*names), of("p30", attended(at=9), "e")]])
    assert [a["conversation_id"] for a in made["attributions"]] == ["a" if merged else None]
    assert row(made, "a")["contact_id"] == ("p00" if merged else "p07")


def test_the_component_does_not_depend_on_the_order_of_links():
    links = [["b", "a"], ["d", "c"], ["c", "b"], ["x", "y"]]
    merged = components(links)
    assert merged == components(links[::-1])
    assert {min(members) for members in merged.values()} == {"a", "x"}


# What a contact event leaves alone


def test_contact_events_never_move_start_or_end():
    own = [chat("a", 5), sent(at=6, conversation_id="a")]
    late = [of("p", event(kind, 60), kind) for kind in ("conversation_started", "enriched", "escalated")]
    late += [
        of("p", received("x", at=61), "said"),
        of("p", sent("y", at=62), "answered"),
        of("p", attended(at=63), "m"),
    ]
    for events in (own, own[1:], [event("enriched", 5, "a", contact_id="p")]):
        with_contact = [{**events[0], "contact_id": "p"}, *events[1:]]
        before, after = row(outcome([with_contact]), "a"), row(outcome([[*with_contact, *late]]), "a")
        assert after["event_count"] == before["event_count"] + 6
        assert [after[k] for k in ("started_at", "ended_at")] == [before[k] for k in ("started_at", "ended_at")]


# One id for everybody


def frame(events: Iterable[Dict]) -> pl.DataFrame:
    rows = frames.read_lines(payload(list(events)))
    return rows.with_columns(pl.lit(None, pl.Int64).alias("seq")).select(tables.names("events"))


def test_a_contact_that_many_share_costs_no_more_than_many_contacts():
    def events(shared: bool) -> list[Dict]:
        made = []
        for i in range(3_000):
            who = "everybody" if shared else f"p{i}"
            made += [chat(f"c{i}", i, who), booked(at=i, conversation_id=f"c{i}", contact_id=who)]
            made.append(of(who, canceled(at=i + 4000), f"e{i}"))
        return made

    def seconds(rows: pl.DataFrame) -> float:
        begin = time.process_time()
        assert len(attribute.attribute(rows, {})) == 3_000
        return time.process_time() - begin

    apart, together = frame(events(shared=False)), frame(events(shared=True))
    seconds(apart)
    assert seconds(together) < 5 * seconds(apart) + 0.2


def test_the_latest_live_booking_of_many_is_found_after_each_ends():
    rows = [chat(f"c{i}", i) for i in range(3)] + [booked(at=10, conversation_id=f"c{i}") for i in range(3)]
    rows += [of("p", canceled(at=20 + i), f"e{i}") for i in range(4)]
    assert found(*rows) == {
        "e0": ("c2", "live_booking"),
        "e1": ("c1", "live_booking"),
        "e2": ("c0", "live_booking"),
        "e3": ("c2", "latest"),
    }
