"""Between the queue and the fold: copies, conflicts, and what is counted of them."""

import json
from collections import Counter

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dropoff.events import Receipt
from dropoff.intake import encode, read_events
from dropoff.process import frames, steps
from dropoff.store import tables
from worlds import RECEIVED, Dict, booked, event, histories, payload, qualified, sent, started

LATER = RECEIVED + 60_000_000


def frame(*events: Dict, received_at: int = RECEIVED) -> pl.DataFrame:
    return frames.read_lines(payload(events, received_at))


def stored(rows: pl.DataFrame) -> pl.DataFrame:
    """These rows as history."""
    return rows.with_columns(pl.int_range(pl.len()).alias("seq")).select(tables.names("events"))


def scores(batch: steps.Batch) -> list[float]:
    return frames.with_facts(batch.rows)["score"].drop_nulls().to_list()


NOTHING = stored(frame(started()).clear())


def test_what_is_new_and_alone_stays():
    batch = steps.run(frame(started(), sent(at=1)), NOTHING)
    assert (len(batch.rows), batch.superseded, batch.dropped) == (2, [], Counter())


def test_a_copy_of_a_stored_event_is_dropped_and_counted():
    rows = frame(started(), sent(at=1))
    batch = steps.run(frame(started(), received_at=LATER), stored(rows))
    assert batch.dropped == {(None, "duplicate"): 1}
    assert batch.superseded == []


def test_copies_inside_a_batch_leave_one():
    batch = steps.run(pl.concat([frame(started())] * 3), NOTHING)
    assert (len(batch.rows), batch.dropped) == (1, {(None, "duplicate"): 2})


def test_of_equal_copies_the_earliest_received_stays():
    old = stored(frame(started(), received_at=LATER))
    batch = steps.run(frame(started(), received_at=RECEIVED), old)
    assert batch.superseded == [0]
    assert batch.rows["received_at"].to_list() == [RECEIVED]
    assert batch.dropped == {}


def test_a_stamped_event_with_an_id_keeps_its_first_time():
    copies = [frame(started(at=None, event_id="e"), received_at=at) for at in (LATER, RECEIVED)]
    batch = steps.run(pl.concat(copies), NOTHING)
    assert batch.rows["timestamp"].to_list() == [RECEIVED]


def test_a_copy_sent_with_a_wrong_clock_is_still_a_copy():
    skewed = read_events(
        b'{"event_type": "x", "conversation_id": "c", "event_id": "e", "timestamp": 1700000000, "sent_at": 1700000000}',
        Receipt(1_700_000_500_000_000),
    )
    right = read_events(
        b'{"event_type": "x", "conversation_id": "c", "event_id": "e", "timestamp": 1700000000}',
        Receipt(1_700_000_400_000_000),
    )
    batch = steps.run(frames.read_lines(encode(skewed.events + right.events)), NOTHING)
    assert batch.dropped == {(None, "duplicate"): 1}
    assert batch.rows["skew"].to_list() == [0]


@pytest.mark.parametrize("flip", [False, True])
def test_of_a_conflict_the_higher_revision_stays(flip: bool):
    rivals = [frame(qualified(event_id="e", score=1, revision=2)), frame(qualified(event_id="e", score=2, revision=1))]
    batch = steps.run(pl.concat(rivals[::-1] if flip else rivals), NOTHING)
    assert scores(batch) == [1.0]
    assert batch.dropped == {(None, "conflict"): 1}


def test_of_a_conflict_without_revisions_the_same_one_stays_in_any_order():
    rivals = [frame(qualified(event_id="e", score=score)) for score in range(5)]
    kept = {
        tuple(scores(steps.run(pl.concat(order), NOTHING))) for order in (rivals, rivals[::-1], rivals[2:] + rivals[:2])
    }
    assert len(kept) == 1


def test_a_higher_revision_supersedes_the_stored_event():
    old = stored(frame(started(), qualified(event_id="e", score=1)))
    batch = steps.run(frame(qualified(event_id="e", score=2, revision=1)), old)
    assert batch.superseded == [1]
    assert scores(batch) == [2.0]


def test_a_lower_revision_is_dropped():
    old = stored(frame(qualified(event_id="e", score=1, revision=1)))
    batch = steps.run(frame(qualified(event_id="e", score=2)), old)
    assert (batch.superseded, batch.dropped) == ([], {(None, "conflict"): 1})


def test_one_id_in_two_conversations_or_contacts_means_two_events():
    events = [
        started(event_id="e"),
        started(event_id="e", conversation_id="d"),
        event("enriched", 0, None, event_id="e", contact_id="p"),
        event("enriched", 0, None, event_id="e", contact_id="q"),
    ]
    assert len(steps.run(frame(*events), NOTHING).rows) == 4


def test_a_contact_event_is_not_a_copy_of_one_of_the_conversation():
    events = [booked(event_id="e", contact_id="p"), booked(event_id="e", contact_id="p", conversation_id=None)]
    assert len(steps.run(frame(*events), NOTHING).rows) == 2


def test_what_is_dropped_is_counted_for_its_import():
    imported = read_events(json.dumps(started()).encode(), Receipt(RECEIVED, batch="import-7"))
    twice = frames.read_lines(encode(imported.events * 2))
    assert steps.run(twice, NOTHING).dropped == {("import-7", "duplicate"): 1}
    again = steps.run(twice, stored(twice.head(1)))
    assert again.dropped == {("import-7", "duplicate"): 2}


@settings(max_examples=60)
@given(histories(), st.randoms(use_true_random=False), st.integers(0, 24))
def test_what_stays_does_not_depend_on_order_or_on_what_was_stored_first(history: list[Dict], random, cut: int):
    copies = [*history, *random.sample(history, len(history) // 2)]
    shuffled = random.sample(copies, len(copies))
    assert kept(copies, 0) == kept(shuffled, cut)


def kept(events: list[Dict], first: int) -> list[tuple]:
    """What stays when the first events were stored before the others came."""
    history = NOTHING
    for part in (events[:first], events[first:]):
        if part:
            history = stored(steps.run(frame(*part), history).rows)
    return sorted(history.drop("seq").rows(), key=repr)


def test_every_drop_reason_is_explained():
    assert set(steps.DROPS) >= {"duplicate", "conflict"}
