"""What was known at a moment: the tables of a store that was only ever given the earlier events."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dropoff.process import frames, past
from dropoff.process.fold import Rules
from dropoff.store import sql
from dropoff.store.base import Part, Store
from dropoff.store.duckdb import PassingStore
from worlds import (
    MADE,
    START,
    Dict,
    attended,
    booked,
    drain,
    event,
    histories,
    minute,
    payload,
    received,
    reopened,
    retracted,
    rows,
    sent,
    started,
    won,
)


def tables(store: Store) -> dict[str, list[Dict]]:
    return {name: rows(store, sql.PHYSICAL[name]) for name in (*MADE, "events")}


def moment(at: float) -> datetime:
    """`at` minutes after the start, as a store has it."""
    return (START + timedelta(minutes=at)).replace(tzinfo=None)


def known(source: Store, at: float) -> dict[str, list[Dict]]:
    """The tables of `source` as they were known `at` minutes after the start."""
    with TemporaryDirectory(prefix="dropoff-") as name:
        store = PassingStore(Path(name), "512MB")
        past.fill(store, source, moment(at), Rules())
        found = tables(store)
        store.close()
    return found


def made_of(payloads: Iterable[bytes]) -> dict[str, list[Dict]]:
    """The tables of a store to which nothing else was ever sent."""
    with TemporaryDirectory(prefix="dropoff-") as name:
        store = drain(Path(name), payloads)
        found = tables(store)
        store.close()
    return found


def standing(source: Store, at: float) -> list[bytes]:
    """The earlier ones of the events that stand in `source`, as its door took them."""
    found = pl.concat(frame for _, frame in source.scan([Part("events")])).filter(pl.col("timestamp") < moment(at))
    return [frames.write_lines(found)] if len(found) else []


def agree(history: list[Dict], at: float, engine: str) -> None:
    with TemporaryDirectory(prefix="dropoff-") as name:
        source = drain(Path(name), [payload(history)], engine=engine)
        assert known(source, at) == made_of(standing(source, at))
        source.close()


MOMENTS = st.sampled_from([0, *range(1, 9), 2999, 3000, 3001])


@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(histories() | histories(outside=True), MOMENTS)
def test_the_tables_are_those_of_the_earlier_events_alone(engine: str, history: list[Dict], at: float):
    agree(history, at, engine)


@pytest.mark.long
@pytest.mark.timeout(3000)
@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(histories() | histories(outside=True), MOMENTS)
def test_the_tables_are_those_of_the_earlier_events_alone_in_many_ways(engine: str, history: list[Dict], at: float):
    agree(history, at, engine)


ALIASED = [
    started(contact_id="p"),
    sent(at=1),
    received("yes", at=2),
    started(at=10, conversation_id="d", contact_id="q"),
    booked(at=15, conversation_id=None, contact_id="q", meeting_id="m", event_id="b"),
    event("contact_identified", 20, None, contact_id="p", aliases=["q"], event_id="same"),
    won(at=25, conversation_id=None, contact_id="p", deal_id="x", amount="10", currency="EUR"),
    booked(at=30, conversation_id="c", meeting_id="n"),
    retracted("b", at=32, conversation_id=None, contact_id="q"),
    attended(at=34, conversation_id=None, contact_id="p"),
    started(at=36, conversation_id="alone"),
    retracted("same", at=38, conversation_id=None, contact_id="p"),
    reopened(at=40, conversation_id=None, contact_id="p", deal_id="x"),
]
"""Nearly every event of it changes what another conversation is."""


def test_each_moment_is_what_only_its_events_make(engine: str, tmp_path: Path):
    source = drain(tmp_path, [payload(ALIASED)], engine=engine)
    for at in (0, 1, 12, 18, 21, 28, 31, 33, 35, 37, 39, 41):
        earlier = [e for e in ALIASED if e["timestamp"] < minute(at) // 1000]
        assert known(source, at) == made_of([payload(earlier)] if earlier else []), at
    source.close()


def test_a_later_deal_that_is_undone_was_won_then(engine: str, tmp_path: Path):
    source = drain(tmp_path, [payload(ALIASED)], engine=engine)
    converted = {at: [c["id"] for c in known(source, at)["conversations"] if c["converted_at"]] for at in (25, 26, 41)}
    assert converted == {25: [], 26: ["d"], 41: []}
    source.close()


@pytest.mark.parametrize(("winning", "expected"), [(5, ["first"]), (50, [])])
def test_of_two_with_one_id_the_one_that_stands_today_says_when_it_happened(
    engine: str, tmp_path: Path, winning: float, expected: list[str]
):
    history = [
        event("qualified", 6, "c", event_id="first", score=1),
        event("qualified", winning, "c", event_id="first", score=2, revision=1),
    ]
    source = drain(tmp_path, [payload(history)], engine=engine)
    assert [e["id"] for e in known(source, 20)["events"]] == expected
    source.close()


def test_its_state_is_another_once_an_earlier_event_was_stored_or_replaced(engine: str, tmp_path: Path):
    source = drain(tmp_path, [payload([started(), received("a", at=2, event_id="m")])], engine=engine)
    states = [past.state(source, moment(10))]
    for more in (received("later", at=10), received("earlier", at=9), received("b", at=2, event_id="m", revision=1)):
        source.close()
        source = drain(tmp_path, [payload([more])], engine=engine)
        states.append(past.state(source, moment(10)))
    assert states[0] == states[1]
    assert len(set(states)) == 3
    source.close()
