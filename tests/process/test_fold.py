"""SEMANTICS §3: the fold against a plain interpreter, and each of its rules once by hand."""

from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings

import naive
from dropoff.events import MICROS
from dropoff.process import fold, frames, steps
from dropoff.process.fold import Rules
from dropoff.store import tables
from worlds import (
    Dict,
    attended,
    booked,
    canceled,
    disqualified,
    ended,
    error,
    escalated,
    event,
    fallback,
    histories,
    lost,
    minute,
    no_show,
    objected,
    opportunity,
    opted_out,
    payload,
    qualified,
    rated,
    received,
    reopened,
    rescheduled,
    retracted,
    sent,
    started,
    status,
    won,
)

SECOND = MICROS
HOUR = 3600 * SECOND
DAY = 24 * HOUR
BERLIN = Rules(zone=ZoneInfo("Europe/Berlin"))


def distinct(events: list[Dict]) -> pl.DataFrame:
    """The rows of `events` for these, each event once, conflicts settled."""
    if not events:
        return frames.read_lines(payload([started()])).clear()
    new = frames.read_lines(payload(events))
    history = new.with_columns(pl.lit(None, pl.Int64).alias("seq")).select(tables.names("events")).clear()
    return steps.run(new, history).rows


def tables_of(rows: pl.DataFrame, rules: Rules) -> dict[str, list[Dict]]:
    """All that the fold makes of the events of conversations, and of what they say of contacts."""
    named = rows.filter(pl.col("conversation_id").is_not_null())
    found = fold.fold(named, rules, naive.canonical(naive.all_standing(named.to_dicts())))._asdict()
    found["conversations"] = found["conversations"].filter(pl.col("event_count") > 0)
    for table, frame in found.items():
        assert frame.columns == tables.names(table)
    return {table: frame.drop("key").to_dicts() for table, frame in found.items()}


def fold_of(rows: pl.DataFrame, rules: Rules) -> tuple[list[Dict], list[Dict]]:
    found = tables_of(rows, rules)
    return found["conversations"], found["messages"]


def of(table: str, *events: Dict, rules: Rules | None = None) -> list[Dict]:
    """The rows of a table that these events of one conversation make."""
    return [
        {k: v for k, v in row.items() if k != "conversation_id"}
        for row in tables_of(distinct(list(events)), rules or Rules())[table]
    ]


def facts(*events: Dict, rules: Rules | None = None) -> Dict:
    """The row of the one conversation that these events make."""
    [row], _ = fold_of(distinct(list(events)), rules or Rules())
    return row


def messages(*events: Dict) -> list[Dict]:
    return fold_of(distinct(list(events)), Rules())[1]


def column(name: str, *events: Dict) -> list[Any]:
    return [message[name] for message in messages(*events)]


def normal(rows: list[Dict]) -> list[Dict]:
    return sorted((dict(sorted(row.items())) for row in rows), key=repr)


@settings(max_examples=150)
@given(histories(40))
def test_the_fold_agrees_with_the_plain_interpreter(history: list[Dict]):
    rows = distinct(history).filter(pl.col("conversation_id").is_not_null())
    expected = naive.interpret(rows.to_dicts(), BERLIN.zone.key)
    for table, found in tables_of(rows, BERLIN).items():
        assert normal(found) == normal(expected.get(table, [])), table


def test_nothing_folds_to_nothing():
    assert fold_of(distinct([]), Rules()) == ([], [])


# When it began and ended


def test_it_starts_with_its_earliest_start_event_even_after_a_message():
    assert facts(sent(at=0), started(at=2), started(at=1, source="x"))["started_at"] == minute(1)


def test_it_starts_with_the_first_message_without_a_start_event():
    assert facts(escalated(at=0), sent(at=1))["started_at"] == minute(1)


def test_it_starts_with_the_first_event_without_a_message():
    assert facts(booked(at=3), escalated(at=5))["started_at"] == minute(3)


def test_it_lasts_until_the_latest_event_of_its_own():
    row = facts(started(), received(at=4), fallback(at=7))
    assert (row["ended_at"], row["duration_seconds"]) == (minute(7), 420)


def test_what_is_known_later_does_not_move_its_end():
    later = [booked(at=100), rescheduled(at=101), attended(at=102), opportunity(at=103), won(at=104), reopened(at=105)]
    more = [status("m", at=106), rated(5, at=107), event("contact_identified", 108, contact_id="p", aliases=["q"])]
    more += [retracted("x", at=109), no_show(at=110), canceled(at=111), event("meeting_reminder", 112)]
    assert facts(started(), sent(at=1), *later, *more)["ended_at"] == minute(1)


def test_an_event_of_the_contact_alone_is_no_part_of_it():
    rows = distinct([started(contact_id="p"), event("enriched", 9, conversation_id=None, contact_id="p")])
    assert fold_of(rows, Rules())[0][0]["event_count"] == 1


# Messages


def test_messages_are_counted_by_side():
    row = facts(sent(), sent(at=2, sender="agent"), received(at=3), received("x", at=4))
    counts = [row[f"{name}"] for name in ("message_count", "bot_messages", "human_messages", "prospect_messages")]
    assert counts == [4, 1, 3, 2]
    assert row["agent_messages"] == 1


def test_position_counts_messages_and_turn_counts_runs():
    talk = [sent(at=1), sent("b", at=2), received(at=3), sent("c", at=4, sender="agent"), sent("d", at=5)]
    assert column("position", *talk) == [1, 2, 3, 4, 5]
    assert column("turn", *talk) == [1, 1, 2, 3, 3]


def test_response_seconds_run_from_the_last_message_of_the_other_side():
    talk = [sent(at=1), sent("b", at=2), received(at=5), sent("c", at=6, sender="agent"), sent("d", at=7)]
    assert column("response_seconds", *talk) == [None, None, 180, 60, None]


def test_first_response_is_the_first_answer_to_the_prospect():
    assert facts(sent(at=0), received(at=1), sent("b", at=3))["first_response_seconds"] == 120
    assert facts(received(at=1), sent(at=2, sender="agent"))["first_response_seconds"] == 60
    assert facts(sent(at=0), received(at=1))["first_response_seconds"] is None


def test_a_message_goes_by_its_message_id_else_its_event_id():
    assert column("id", sent(message_id="m", event_id="e"), received(event_id="f")) == ["m", "f"]


@pytest.mark.parametrize(("word", "delivered"), [("delivered", True), ("failed", False), ("bounced", False)])
def test_the_status_of_a_message_decides_whether_it_was_delivered(word: str, delivered: bool):
    assert column("delivered", sent(message_id="m"), status("m", word)) == [delivered]


def test_the_latest_status_wins_and_none_means_delivered():
    talk = [sent(message_id="m"), sent(message_id="n"), status("m", "failed", at=5), status("m", "delivered", at=6)]
    assert column("delivered", *talk) == [True, True]
    assert facts(*talk)["delivered_bot_messages"] == 2


def test_a_status_names_its_message_in_the_properties_too():
    bounced = event("message_status", 5, properties={"message_id": "m", "status": "bounced"})
    assert column("delivered", sent(message_id="m"), bounced) == [False]


# Counted


def test_an_auto_reply_is_not_counted():
    row = facts(sent(), received(auto_reply=True))
    assert (row["responded_at"], row["counted_replies"], row["prospect_messages"]) == (None, 0, 1)


def test_a_bounced_message_is_not_counted():
    assert column("counted", received(message_id="m"), status("m", "bounced")) == [False]


@pytest.mark.parametrize("text", ["STOP", " stop. ", "Unsubscribe!", "End"])
def test_an_opt_out_keyword_is_not_counted_where_carriers_know_it(text: str):
    assert facts(started(channel="sms"), sent(), received(text))["responded_at"] is None
    assert facts(started(channel="chat"), sent(), received(text))["responded_at"] == minute(2)


def test_a_sentence_with_an_opt_out_keyword_is_counted():
    assert column("counted", received("stop calling me", channel="sms")) == [True]


def test_the_keyword_that_the_opt_out_names_is_not_counted_anywhere():
    assert facts(received("Nein!", channel="chat"), opted_out(keyword="NEIN"))["counted_replies"] == 0


def test_a_message_of_the_bot_is_never_an_opt_out_keyword():
    assert column("counted", sent("stop", channel="sms", keyword="stop"), opted_out(keyword="stop")) == [True]


# Responded


def test_outbound_any_counted_prospect_message_is_a_response():
    assert facts(started(direction="outbound"), received(at=1), sent(at=2))["responded_at"] == minute(1)


def test_inbound_only_a_message_after_the_first_of_the_bot_is_a_response():
    talk = [started(direction="inbound"), received(at=1), sent(at=2)]
    assert facts(*talk)["responded_at"] is None
    assert facts(*talk, received("more", at=3))["responded_at"] == minute(3)


def test_inbound_an_agent_is_not_the_bot():
    talk = [started(direction="inbound"), sent(at=1, sender="agent"), received(at=2)]
    assert facts(*talk)["responded_at"] is None


def test_a_missing_direction_is_not_inferred():
    row = facts(received(at=1), sent(at=2))
    assert (row["direction"], row["responded_at"]) == (None, minute(1))


# Sentiment, intents, objections, attributes


def test_one_scored_message_has_no_trend():
    row = facts(received(sentiment=0.5), sent(sentiment=-1, at=3))
    assert (row["sentiment_start"], row["sentiment_end"], row["sentiment_trend"]) == (0.5, 0.5, None)


def test_the_trend_is_end_minus_start():
    row = facts(received(at=1, sentiment=0.5), received(at=2), received(at=3, sentiment=-0.25))
    assert (row["sentiment_start"], row["sentiment_end"], row["sentiment_trend"]) == (0.5, -0.25, -0.75)


def test_intents_are_those_of_the_prospect_by_first_use():
    talk = [received(at=i, intent=intent) for i, intent in enumerate(["b", "a", "b"])]
    assert facts(*talk, sent(intent="z"))["intents_detected"] == ["b", "a"]


@pytest.mark.parametrize(
    ("intent", "objections"),
    [
        ("objection_price", ["price"]),
        ("Objection: too late", ["too late"]),
        ("objection_timing ", ["timing"]),
        ("objection", []),
        ("objections", []),
        ("no_objection", []),
    ],
)
def test_objections_come_from_prospect_intents(intent: str, objections: list[str]):
    assert facts(received(intent=intent), sent(intent="objection_reply"))["objections_raised"] == objections


def test_objections_are_distinct_by_first_use():
    talk = [
        objected("time ", at=1),
        received(at=2, intent="objection_price"),
        objected("price"),
        objected("time", at=9),
    ]
    assert facts(*talk)["objections_raised"] == ["time", "price"]


def test_attributes_are_the_last_that_were_given_but_source_and_medium_the_first():
    row = facts(
        started(at=0, source="form", industry="retail", lead_score=1, company_size=10, direction="inbound"),
        started(at=1, source="ads", medium="paid", industry="finance", direction="outbound"),
        booked(at=2, source="calendar", company_size="11-50"),
        sent(at=3, role="assistant"),
    )
    names = ("source", "medium", "industry", "lead_score", "company_size", "direction", "role")
    assert [row[n] for n in names] == ["form", "paid", "finance", 1, "11-50", "inbound", None]


def test_the_variant_is_that_of_the_first_delivered_bot_message():
    talk = [started(variant="s"), sent(message_id="m", variant="a"), sent(at=2, variant="b"), sent(at=3, variant="c")]
    assert facts(*talk)["first_message_variant"] == "a"
    assert facts(*talk, status("m", "failed"))["first_message_variant"] == "b"
    assert facts(started(variant="s"), sent())["first_message_variant"] == "s"


def test_escalation_keeps_its_first_reason_and_time():
    row = facts(escalated(at=1, reason="angry"), escalated(at=2, reason="asked"))
    assert (row["escalated"], row["escalation_reason"], row["escalated_at"]) == (True, "angry", minute(1))


def test_score_and_path_are_the_latest():
    row = facts(qualified(at=1, score=5, path="a"), disqualified(at=2, score=2), qualified(at=3, path="b"))
    assert (row["qualification_score"], row["qualification_path"], row["qualified_at"]) == (2, "b", minute(1))


def test_feedback_is_put_on_the_scale_0_to_1_and_the_last_counts():
    assert facts(rated(5, at=1), rated(2, at=2))["csat"] == 0.25
    assert facts(rated(5, scale=[0, 10]))["csat"] == 0.5


def test_faults_are_counted():
    row = facts(fallback(at=1), fallback(at=2), error(at=3))
    assert (row["fallback_count"], row["error_count"]) == (2, 1)


def test_one_event_of_test_traffic_makes_it_a_test():
    assert facts(started(), sent(is_test=True))["is_test"]
    assert not facts(started(), sent())["is_test"]


def test_the_path_holds_messages_objections_fallbacks_and_escalations_in_order():
    talk = [sent(at=1, intent="greet"), received(at=2, intent="ask"), fallback(at=3), objected("price", at=4)]
    row = facts(started(), *talk, qualified(at=5), escalated(at=6), sent(at=7, sender="agent"), ended())
    assert row["path"] == ["bot:greet", "prospect:ask", "fallback", "objection:price", "escalated", "agent"]


# Order


def test_equal_times_are_told_apart_by_sequence_kind_and_id():
    talk = [
        sent("late", at=1, event_id="a", intent="last"),
        received(at=1, event_id="z", intent="ask"),
        sent(at=1, event_id="y", intent="numbered", sequence=1),
    ]
    row = facts(*talk)
    assert row["path"] == ["bot:numbered", "prospect:ask", "bot:last"]
    assert row["tied"] is False


def test_a_path_that_hangs_on_ids_alone_is_tied():
    assert facts(sent(at=1, event_id="a", intent="x"), sent(at=1, event_id="b", intent="y"))["tied"]
    assert not facts(sent(at=1, event_id="a", intent="x"), sent(at=1, event_id="b", intent="x"))["tied"]


def test_start_comes_first_and_end_last_at_equal_times():
    row = facts(ended(at=0, event_id="a"), started(at=0, event_id="z"), received(at=0, event_id="b"), opted_out(at=0))
    assert (row["started_at"], row["closes_at"], row["final"]) == (minute(0), minute(0), "opted_out")


# Meetings


def test_a_booking_is_its_first_time_and_a_reschedule_is_not_a_second_one():
    row = facts(booked(at=4, meeting_id="a"), rescheduled(at=5, meeting_id="a", meeting_date="2024-02-01"))
    assert (row["booked_at"], row["closes_at"]) == (minute(4), due("2024-02-02T00:00:00Z") + 2 * DAY)


def due(text: str) -> int:
    return pl.Series([text]).str.to_datetime(time_zone="UTC").dt.timestamp("us")[0]


def test_cancelled_after_booking_it_stays_booked_but_is_not_attended():
    row = facts(booked(at=4), canceled(at=5))
    assert (row["booked_at"], row["attended_at"]) == (minute(4), None)


def test_the_latest_word_on_a_meeting_wins():
    row = facts(booked(meeting_id="a"), attended(at=60, meeting_id="a"), no_show(at=61, meeting_id="a"))
    assert row["attended_at"] is None
    assert facts(booked(meeting_id="a"), no_show(meeting_id="a"), attended(at=61, meeting_id="a"))["attended_at"]


def test_no_show_of_one_meeting_does_not_touch_another():
    row = facts(
        booked(at=1, meeting_id="a"), booked(at=2, meeting_id="b"), attended(meeting_id="a"), no_show(meeting_id="b")
    )
    assert row["attended_at"] == minute(60)


def test_attendance_said_twice_counts_from_the_first_time():
    assert facts(booked(), attended(at=60, meeting_id="a"), attended(at=70, meeting_id="a"))["attended_at"] == minute(
        60
    )


def test_without_an_id_the_latest_live_meeting_is_meant():
    row = facts(
        booked(at=1, meeting_id="a", meeting_date="2024-03-01"),
        booked(at=2, meeting_id="b", meeting_date="2024-02-01"),
        canceled(at=3),
    )
    assert row["closes_at"] == due("2024-03-02T00:00:00Z") + 2 * DAY


def test_without_an_id_and_a_live_meeting_a_new_one_is_meant():
    assert facts(booked(meeting_id="a"), canceled(meeting_id="a"), attended(at=60))["attended_at"] == minute(60)


def test_a_second_booking_without_an_id_is_a_reschedule():
    row = facts(booked(at=1, meeting_date="2024-03-01"), booked(at=2, meeting_date="2024-02-01"))
    assert row["closes_at"] == due("2024-02-02T00:00:00Z") + 2 * DAY


def test_an_unknown_meeting_event_says_nothing_of_the_meeting():
    row = facts(booked(meeting_id="a"), event("meeting_reminder", 5, meeting_id="a"))
    assert row["closes_at"] == minute(4) + 14 * DAY


# Deals and money


def test_a_deal_lost_after_it_was_won_is_lost():
    row = facts(won(at=80, deal_id="d", amount=10, currency="EUR"), lost(at=90, deal_id="d"))
    assert (row["converted_at"], row["lost_at"], row["final"], row["revenue"]) == (None, minute(90), "lost", None)


def test_a_reopened_deal_is_neither_won_nor_lost():
    for closed in (won, lost):
        row = facts(closed(deal_id="d"), reopened(deal_id="d"))
        assert (row["converted_at"], row["lost_at"], row["final"]) == (None, None, None)


def test_a_deal_won_again_converts_when_it_was_won_again():
    row = facts(
        won(at=80, deal_id="d"), reopened(at=90, deal_id="d"), won(at=95, deal_id="d", amount=1, currency="EUR")
    )
    assert row["converted_at"] == minute(95)


def test_one_lost_deal_beside_a_won_one_is_still_converted():
    row = facts(won(at=80, deal_id="a"), lost(at=90, deal_id="b"))
    assert (row["converted_at"], row["final"]) == (minute(80), "converted")


def test_closing_without_an_id_is_about_the_one_unnamed_deal():
    assert facts(won(at=80), lost(at=90))["final"] == "lost"
    assert facts(won(at=80, deal_id="d"), lost(at=90))["final"] == "converted"


def test_a_corrected_amount_replaces_the_first_and_keeps_the_time():
    row = facts(won(at=80, amount=10, currency="EUR"), won(at=90, amount="12.5", currency="EUR"))
    assert (row["revenue"], row["converted_at"]) == ('{"EUR": "12.50"}', minute(80))


def test_money_is_exact():
    row = facts(won(deal_id="a", amount=0.1, currency="EUR"), won(deal_id="b", amount=0.2, currency="eur"))
    assert row["revenue"] == '{"EUR": "0.30"}'


def test_currencies_are_never_added_and_yen_have_no_decimals():
    row = facts(won(deal_id="a", amount="1.05", currency="EUR"), won(deal_id="b", amount=1000, currency="JPY"))
    assert row["revenue"] == '{"EUR": "1.05", "JPY": "1000"}'


def test_a_won_deal_without_an_amount_has_no_revenue():
    assert facts(won())["revenue"] is None


def test_costs_of_messages_add_up_by_currency():
    row = facts(
        sent(cost="0.1", currency="USD"), sent(at=2, cost=0.2, currency="USD"), sent(at=3, cost=1, currency="EUR")
    )
    assert row["cost"] == '{"EUR": "1", "USD": "0.30"}'


# Endings


@pytest.mark.parametrize(("end", "word"), [(opted_out, "opted_out"), (disqualified, "disqualified"), (lost, "lost")])
def test_a_negative_end_stands_until_the_prospect_or_a_stage_goes_on(end: Any, word: str):
    assert facts(started(), received(at=1), end(at=5))["final"] == word
    assert facts(started(), end(at=5), received(at=6))["final"] is None
    assert facts(started(), end(at=5), booked(at=6))["final"] is None
    assert facts(started(), end(at=5), sent(at=6))["final"] == word


def test_what_is_not_counted_does_not_take_an_end_back():
    assert facts(started(channel="sms"), opted_out(at=5), received("STOP", at=6))["final"] == "opted_out"


def test_the_loss_that_counts_is_that_of_a_deal_that_is_lost_now():
    row = facts(lost(at=1, deal_id="a"), booked(at=2), lost(at=3, deal_id="b"), reopened(at=4, deal_id="b"))
    assert (row["lost_at"], row["final"]) == (minute(1), None)


def test_the_reported_outcome_is_kept():
    assert facts(ended(outcome=" Not Interested "))["reported_outcome"] == "not_interested"


# closes_at


@pytest.mark.parametrize(
    ("channel", "seconds"),
    [
        ("chat", 1800), ("voice", 600), ("WhatsApp", 86_400), ("SMS", 259_200), ("e-mail", 604_800),
        ("fax", 86_400), (None, 86_400),
    ],
)  # fmt: skip
def test_silence_closes_it_after_the_idle_limit_of_its_channel(channel: str | None, seconds: int):
    assert facts(started(channel=channel), received(at=2))["closes_at"] == minute(2) + seconds * SECOND


def test_its_end_closes_it_unless_something_follows():
    assert facts(started(channel="chat"), ended(at=10))["closes_at"] == minute(10)
    assert facts(started(channel="chat"), ended(at=10), received(at=11))["closes_at"] == minute(41)


def test_a_booked_meeting_keeps_it_open_until_two_days_after_it_is_due():
    row = facts(booked(meeting_date="2024-02-01T09:00:00+01:00"), ended())
    assert row["closes_at"] == due("2024-02-01T08:00:00Z") + 2 * DAY


def test_a_meeting_on_a_date_is_due_at_the_end_of_that_day_in_the_zone():
    meeting = booked(meeting_date="2024-03-31")
    assert facts(meeting)["closes_at"] == due("2024-04-01T00:00:00Z") + 2 * DAY
    assert facts(meeting, rules=BERLIN)["closes_at"] == due("2024-03-31T22:00:00Z") + 2 * DAY


def test_a_booking_without_a_date_keeps_it_open_for_14_days():
    assert facts(booked(at=4), ended())["closes_at"] == minute(4) + 14 * DAY


def test_from_attendance_on_it_waits_for_the_deal():
    assert facts(booked(), attended(at=60), ended(at=70))["closes_at"] == minute(60) + 90 * DAY
    assert facts(booked(), attended(at=60), rules=Rules(deal_horizon_days=7))["closes_at"] == minute(60) + 7 * DAY


def test_a_cancelled_meeting_no_longer_keeps_it_open():
    assert facts(started(channel="chat"), booked(at=4), canceled(at=5))["closes_at"] == minute(35)
    assert facts(started(channel="chat"), booked(at=4), canceled(at=5), ended(at=6))["closes_at"] == minute(6)


def test_what_happens_after_it_closed_opens_it_again():
    row = facts(started(channel="chat"), booked(meeting_date="2024-01-15"), received(at=9 * 1440))
    assert row["closes_at"] == minute(9 * 1440) + 1800 * SECOND


def test_a_later_meeting_keeps_it_open_beyond_the_deal_horizon():
    row = facts(attended(meeting_id="a"), booked(at=70, meeting_id="b", meeting_date="2024-12-01"))
    assert row["closes_at"] == due("2024-12-02T00:00:00Z") + 2 * DAY


# Retractions


def test_a_retracted_event_never_happened():
    row = facts(started(), booked(event_id="b"), retracted("b"))
    assert (row["booked_at"], row["event_count"]) == (None, 2)


@pytest.mark.parametrize("at", [98, 99, 100])
def test_a_retraction_can_be_retracted_whatever_its_time(at: float):
    row = facts(booked(event_id="b"), retracted("b", own="r1", at=99), retracted("r1", own="r2", at=at))
    assert row["booked_at"] == minute(4)


def test_of_retractions_in_a_circle_the_latest_stands():
    row = facts(booked(event_id="b"), retracted("r2", own="r1", at=1), retracted("r1", own="r2", at=2))
    assert row["event_count"] == 2


def test_an_event_cannot_be_retracted_from_another_conversation():
    other = retracted("b", conversation_id="other")
    rows, _ = fold_of(distinct([booked(event_id="b"), other]), Rules())
    assert [r["booked_at"] for r in rows if r["id"] == "c"] == [minute(4)]


# The bot's turns


def turns(*events: Dict) -> list[tuple]:
    """Of each troubled turn: its minute, fallback, error, alone."""
    rows = of("turns", *events)
    order = sorted(rows, key=lambda row: row["timestamp"])
    return [((r["timestamp"] - minute(0)) / MICROS / 60, r["fallback"], r["error"], r["alone"]) for r in order]


def test_a_fallback_before_a_bot_message_belongs_to_its_turn():
    talk = [received(at=1), fallback(at=2), sent(at=3), received(at=4)]
    assert turns(*talk) == [(3, True, False, False)]
    assert column("opens_turn", *talk) == [False, True, False]


def test_two_bot_messages_with_a_fallback_between_are_one_turn():
    talk = [received(at=1), sent(at=2), fallback(at=3), error(at=4), sent("b", at=5)]
    assert turns(*talk) == [(2, True, True, False)]
    assert column("opens_turn", *talk) == [False, True, False]


def test_a_fallback_followed_by_the_prospect_is_a_turn_of_its_own():
    talk = [sent(at=1), fallback(at=2), received(at=3), error(at=4), received("b", at=5), sent("b", at=6)]
    assert turns(*talk) == [(2, True, False, True), (4, False, True, True)]
    assert column("opens_turn", *talk) == [True, False, False, True]


def test_a_fallback_followed_by_an_agent_or_by_nobody_is_a_turn_of_its_own():
    assert turns(sent(at=1), fallback(at=2), sent(at=3, sender="agent")) == [(2, True, False, True)]
    assert turns(sent(at=1), fallback(at=2), fallback(at=3)) == [(2, True, False, True)]


def test_turns_without_trouble_are_only_marked_at_their_first_message():
    talk = [sent(at=1), sent("b", at=2), received(at=3), sent("c", at=4), sent(at=5, sender="agent"), sent("d", at=6)]
    assert turns(*talk) == []
    assert column("opens_turn", *talk) == [True, False, False, True, False, True]


@pytest.mark.parametrize(
    ("after", "last"),
    [([], True), ([received(at=5)], True), ([sent(at=5)], True), ([received(at=4), sent(at=5)], False)],
)
def test_a_conversation_may_end_in_a_fallback(after: list[Dict], last: bool):
    assert facts(sent(at=1), received(at=2), fallback(at=3), *after)["ends_in_fallback"] is last


def test_without_a_turn_it_does_not_end_in_a_fallback():
    assert facts(started(), received(at=2))["ends_in_fallback"] is False


# Understood


@pytest.mark.parametrize(("confidence", "understood"), [(0.5, True), (0.49, False), (None, None)])
def test_a_confident_intent_is_understood_unless_a_fallback_answers(confidence: float | None, understood: bool | None):
    asked = received(at=1, intent_confidence=confidence)
    assert column("understood", asked, sent(at=2)) == [understood, None]
    assert column("understood", asked, fallback(at=2), sent(at=3)) == [False, None]
    assert column("understood", asked, sent(at=2), fallback(at=3), sent(at=4)) == [False, None, None]
    assert column("understood", asked, fallback(at=2)) == [False]
    assert column("understood", asked, error(at=2), sent(at=3)) == [understood, None]


def test_a_turn_answers_the_whole_run_before_it_and_no_more():
    talk = [received(at=1, intent_confidence=1), sent(at=2), received("b", at=3), received("c", at=4), fallback(at=5)]
    assert column("understood", *talk) == [True, None, False, False]


def test_a_fallback_between_two_prospect_messages_answers_the_first():
    talk = [received(at=1, intent_confidence=1), fallback(at=2), received("b", at=3, intent_confidence=1), sent(at=4)]
    assert column("understood", *talk) == [False, True, None]


def test_an_answer_of_an_agent_is_not_one_of_the_bot():
    talk = [received(at=1, intent_confidence=1), sent(at=2, sender="agent"), fallback(at=3), sent(at=4)]
    assert column("understood", *talk) == [True, None, None]


# Agents, touches


def test_taken_over_is_an_agent_after_the_escalation():
    agent = sent(at=5, sender="agent")
    assert facts(escalated(at=4), agent)["taken_over"] is True
    assert facts(escalated(at=6), agent)["taken_over"] is False
    assert facts(agent)["taken_over"] is False
    assert facts(escalated(at=4), sent(at=5))["taken_over"] is False


def test_touches_are_bot_and_agent_messages_up_to_the_conversion():
    talk = [sent(at=1), received(at=2), sent(at=3, sender="agent"), sent("b", at=9)]
    assert facts(*talk, won(at=5))["touches"] == 2
    assert facts(*talk, won(at=9))["touches"] == 3
    assert facts(*talk, lost(at=9))["touches"] == 0


# Meetings and deals as rows


def test_a_meeting_keeps_its_booking_its_date_and_its_latest_state():
    events = [
        booked(at=4, meeting_id="a", meeting_date="2024-02-01"),
        rescheduled(at=5, meeting_id="a", meeting_date="2024-02-02", by="host"),
        booked(at=6, meeting_id="a", meeting_date="2024-03-31"),
        booked(at=7, meeting_id="a", meeting_date="2024-03-31"),
        no_show(at=60, meeting_id="a", by="guest"),
    ]
    [meeting] = of("meetings", *events, rules=BERLIN)
    assert meeting == {
        "meeting_id": "a", "booked_at": minute(4), "due_at": due("2024-03-31T22:00:00Z"), "state": "no_show",
        "state_at": minute(60), "by": "guest", "reschedules": 2,
    }  # fmt: skip


def test_by_is_who_canceled_or_stayed_away():
    canceled_once = [booked(at=1, by="guest"), canceled(at=2, by="guest")]
    assert [m["by"] for m in of("meetings", *canceled_once)] == ["guest"]
    assert [m["by"] for m in of("meetings", booked(at=1, by="guest"), attended(by="host"))] == [None]
    again = [booked(at=1, meeting_id="a"), canceled(at=2, meeting_id="a", by="guest"), booked(at=3, meeting_id="a")]
    assert [m["by"] for m in of("meetings", *again, no_show(meeting_id="a"))] == [None]


def test_a_meeting_whose_booking_never_came_has_no_time_of_booking():
    [meeting] = of("meetings", attended(at=60, meeting_id="a"))
    assert (meeting["booked_at"], meeting["state"], meeting["due_at"]) == (None, "attended", None)


def test_a_second_booking_is_a_reschedule_only_with_another_date():
    first = booked(at=1, meeting_date="2024-02-01")
    for date, times in [("2024-02-01", 0), (None, 0), ("2024-02-02", 1)]:
        assert [m["reschedules"] for m in of("meetings", first, booked(at=2, meeting_date=date))] == [times]


def test_a_deal_keeps_its_latest_state_and_amount():
    events = [
        won(at=80, deal_id="d", amount=10, currency="EUR"),
        won(at=90, deal_id="d", amount="12.5", currency="EUR"),
    ]
    row = {"deal_id": "d", "micros": 12_500_000, "currency": "EUR"}
    assert of("deals", *events) == [{**row, "state": "won", "state_at": minute(80), "won_at": minute(80)}]
    later = reopened(at=95, deal_id="d")
    assert of("deals", *events, later) == [{**row, "state": "open", "state_at": minute(95), "won_at": None}]


def test_a_deal_of_which_only_the_reopening_is_known_is_open_since_then():
    assert [(d["state"], d["state_at"]) for d in of("deals", reopened(at=90))] == [("open", minute(90))]
