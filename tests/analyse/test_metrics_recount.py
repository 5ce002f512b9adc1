"""Every metric equals a plain recount from the events as sent: in all, per hour and day, and for each segment."""

import gzip
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from math import isclose
from pathlib import Path
from random import Random
from typing import Any

import pytest

import recount
from dropoff.analyse import metrics, select, trends
from dropoff.demo import DEFAULT_END, generate
from dropoff.metrics import METRICS
from dropoff.periods import Period, parse_period
from dropoff.query import NONE, REST, TOP, Query
from dropoff.store.base import Store
from recount import Figure, Talk
from worlds import EMBEDDED, event, given, minute, objected, qualified, sent, started

STAR = Path(os.environ.get("DROPOFF_SHARED", Path(__file__).parents[3] / "shared")) / "data" / "star"
ZONES = ("America/New_York", "Asia/Kolkata")
DIMENSIONS = (
    "channel", "direction", "medium", "source", "industry", "role", "company_size", "country", "bot_version",
    "first_message_variant", "qualification_path", "objection", "day_of_week", "hour_of_day", "week", "month",
    "outcome", "property:industry", "property:plan", "property:a/b",
)  # fmt: skip
Dict = dict[str, Any]


@dataclass
class World:
    """Events, in a store and as they were sent."""

    store: Store
    events: list[Dict]
    now: datetime
    period: Period
    talks: list[Talk]

    def query(self, **more: Any) -> Query:
        return Query(**({"period": self.period, "now": self.now} | more))

    def figures(self, name: str, query: Query, bucket: str | None = None, talks: list[Talk] | None = None) -> dict:
        span = (recount.micros(at.isoformat()) for at in (query.period.start, query.period.end))
        counted = self.talks if talks is None else talks
        return recount.figures(counted, name, *span, by=query.by, zone=query.period.timezone, bucket=bucket)


def world(directory: Path, engine: str, events: list[Dict], start: str, end: str, now: datetime) -> World:
    store = given(*events, directory=directory, engine=engine)
    return World(store, events, now, parse_period(start, end, "UTC"), recount.tell(events, micros_of(now)))


def micros_of(moment: datetime) -> int:
    return recount.micros(moment.isoformat())


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, engine: str) -> Iterator[World]:
    """Generated conversations, seen on their last day; New York changes its clock on 8 March 2026."""
    events = list(generate(1_500, seed=7, end=DEFAULT_END))
    made = world(tmp_path_factory.mktemp("demo"), engine, events, "2026-01-01", "2026-07-01", DEFAULT_END)
    yield made
    made.store.close()


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory, engine: str) -> Iterator[World]:
    """Conversations in which anything follows anything, many events at one instant, in three currencies."""
    now = datetime(2024, 4, 20, tzinfo=UTC)
    made = world(tmp_path_factory.mktemp("odd"), engine, list(odd_events(Random(5))), "2024-01-01", "2024-08-01", now)
    yield made
    made.store.close()


@pytest.fixture(scope="module")
def star(tmp_path_factory: pytest.TempPathFactory, engine: str) -> Iterator[World]:
    made = star_world(tmp_path_factory.mktemp("star"), engine, "sample.ndjson.gz")
    yield made
    made.store.close()


def star_world(directory: Path, engine: str, name: str) -> World:
    if not (STAR / name).exists():
        pytest.skip("the STAR conversations are not in $DROPOFF_SHARED/data/star")
    with gzip.open(STAR / name) as file:
        events = [json.loads(line) for line in file]
    return world(directory, engine, events, "2020-05-01", "2020-06-15", datetime(2020, 6, 1, tzinfo=UTC))


@pytest.fixture(params=["demo", "odd", "star"])
def made(request: pytest.FixtureRequest, engine: str) -> World:
    if engine != EMBEDDED and request.param != "odd":
        pytest.skip("one world is enough to compare the engines: that in which anything follows anything")
    return request.getfixturevalue(request.param)


# A world of its own

_SAYINGS = ["hello", "STOP", "stop it please", "End.", "nein", None]
_THINGS = [None, None, "x1", "x2"]


def odd_events(random: Random, conversations: int = 300) -> Iterator[Dict]:
    for number in range(conversations):
        # around the Sunday on which New York changes its clock
        start = minute(0) + random.randrange(80 * 24 * 60) * 60 * recount.SECOND
        top = {
            "conversation_id": f"c{number}",
            "contact_id": random.choice([None, f"p{number}", f"p{number % 90}"]),
            "channel": random.choice(["sms", "chat", "email", "voice", "whatsapp", "fax", None]),
            "direction": random.choice(["inbound", "outbound", None]),
            "is_test": random.random() < 0.05 or None,
        }
        top = {name: value for name, value in top.items() if value is not None}
        at, step = start, random.choice([0, 1, 60, 5000, 90_000])
        for i in range(random.randrange(1, 30)):
            kind, properties = _odd_event(random)
            yield _odd(f"c{number}-{i}", kind, at, properties, random, top)
            at += random.randrange(step + 1) * 1000 * 1000
        if random.random() < 0.2 and "contact_id" in top:
            kind, properties = _odd_outcome(random)
            alone = {"contact_id": top["contact_id"]}
            yield _odd(f"c{number}-crm", kind, at + random.randrange(1, 10**13), properties, random, alone)


def _odd(name: str, kind: str, at: int, properties: Dict, random: Random, top: Dict) -> Dict:
    made = {"event_id": name, "event_type": kind, "timestamp": at // 1000, **top}
    if kind in ("message_sent", "message_received", "message_status"):
        made["message_id"] = random.choice(["m1", "m2"]) if kind == "message_status" else f"m{name}"
        if random.random() < 0.6 and kind == "message_sent":
            made["message_id"] = random.choice(["m1", "m2"])
    if random.random() < 0.3:
        made["sequence"] = random.randrange(3)
    return {**made, "properties": {name: value for name, value in properties.items() if value is not None}}


def _odd_event(random: Random) -> tuple[str, Dict]:
    choice = random.choice
    draw = random.random()
    if draw < 0.3:
        cost = choice(
            [{}, {"cost": "0.1", "currency": "USD"}, {"cost": 0.2, "currency": "USD"}, {"cost": "3", "currency": "JPY"}]
        )
        return "message_sent", {
            "sender": choice(["bot", "bot", "agent", None]), "content": choice(_SAYINGS), "intent": "greet",
            "appropriate": choice([True, False, 0.25, None]), "variant": choice(["a", "b", None]), **cost,
        }  # fmt: skip
    if draw < 0.6:
        return "message_received", {
            "content": choice(_SAYINGS),
            "intent": choice(["objection_price", "Objection: too late", "objections", None]),
            "sentiment": choice([-1.0, -0.25, 0.1, 0.2, None]), "intent_confidence": choice([0.9, 0.5, 0.49, None]),
            "auto_reply": choice([True, None, None, None]),
        }  # fmt: skip
    if draw < 0.75:
        return _odd_outcome(random)
    return choice(
        [
            ("conversation_started", {"medium": choice(["paid", "a, b", None]), "variant": choice(["s", None])}),
            ("message_status", {"status": choice(["delivered", "failed", "bounced"])}),
            ("message_status", {"status": choice(["delivered", "failed", "bounced"])}),
            ("qualified", {"score": 1, "path": choice(["fast", None]), "industry": choice(["retail", None])}),
            ("disqualified", {"score": 0}),
            ("escalated", {"reason": "angry"}),
            ("fallback", {}),
            ("error", {}),
            ("objection_raised", {"objection": choice(["price", "time"])}),
            ("opted_out", {"keyword": choice(["nein", None])}),
            ("conversation_ended", {"outcome": choice(["qualified", "Booked", "nonsense", None])}),
            ("api_called", {"country": choice(["DE", "(none)", "unknown", None])}),
        ]
    )


def _odd_outcome(random: Random) -> tuple[str, Dict]:
    choice = random.choice
    date = choice([None, "2024-03-09", "2024-03-10", "2024-04-30", "2024-02-01T09:00:00+05:30"])
    amounts = [*({"amount": a, "currency": c} for a in ("0.1", "0.2", 1000) for c in ("USD", "EUR"))]
    amount = choice([{}, *amounts, {"amount": 1000, "currency": "JPY"}])
    return choice(
        [
            ("meeting_booked", {"meeting_id": choice(_THINGS), "meeting_date": date}),
            ("meeting_booked", {"meeting_id": choice(_THINGS), "meeting_date": date}),
            ("meeting_rescheduled", {"meeting_id": choice(_THINGS), "meeting_date": date}),
            ("meeting_canceled", {"meeting_id": choice(_THINGS)}),
            ("meeting_attended", {"meeting_id": choice(_THINGS)}),
            ("meeting_attended", {"meeting_id": choice(_THINGS)}),
            ("meeting_no_show", {"meeting_id": choice(_THINGS)}),
            ("opportunity_created", {"opportunity_id": choice(_THINGS), **amount}),
            ("deal_closed", {"deal_id": choice(_THINGS), "won": choice([True, False, None]), **amount}),
            ("deal_reopened", {"deal_id": choice(_THINGS)}),
            ("feedback", {"score": choice([1, 2, 5]), "scale": choice([[0, 10], [1, 5], None])}),
        ]
    )


# Comparing


def assert_same(name: str, found: dict[tuple, Dict], expected: dict[tuple, Figure], where: str) -> None:
    """Equal cells, and in each the same numbers: counts and money exactly, the rest to 1e-9."""
    context = f"{name} {where}"
    assert sorted(found, key=str) == sorted(expected, key=str), context
    for cell, figure in expected.items():
        _assert_row(METRICS[name].unit, found[cell], figure, f"{context} {cell}")


def _assert_row(unit: str, row: Dict, figure: Figure, context: str) -> None:
    assert close(row["value"], figure.value), (context, row, figure)
    if figure.quantiles is not None:
        assert row["n"] == figure.numerator, (context, row, figure)
        assert all(map(close, (row["p50"], row["p90"], row["p99"]), figure.quantiles)), (context, row, figure)
        return
    whole = unit in ("count", "share", "ratio")
    assert row["numerator"] == figure.numerator if whole else close(row["numerator"], float(figure.numerator)), context
    if row["denominator"] is not None:
        assert row["denominator"] == figure.denominator, (context, row, figure)
    if "amount" in row:
        assert Fraction(row["amount"]) == figure.numerator, (context, row, figure)
    if "unknown" in row:
        assert row["unknown"] == figure.beside, (context, row, figure)
    if "labelled_share" in row:
        assert close(row["labelled_share"], (figure.denominator or 0) / figure.beside), (context, row, figure)


def close(found: float | None, expected: float | None) -> bool:
    if found is None or expected is None:
        return found is expected
    return isclose(found, expected, rel_tol=1e-9, abs_tol=1e-9)


def rows_of(answer: Dict, name: str) -> dict[tuple, Dict]:
    """The rows of a metric by segment, bucket and currency."""
    rows = [row for row in answer["metrics"] if row["metric"] == name]
    return {(row["segment"], None, row.get("currency")): row for row in rows}


def in_buckets(made: World, query: Query, bucket: str) -> dict[str, dict[tuple, Dict]]:
    """Every metric by bucket."""
    found = metrics.measure(
        made.store, query, list(METRICS.values()), metrics.bucket_of(made.store.dialect, bucket, query.period.timezone)
    )
    recorded = select.recorded_stages(made.store)
    return {
        name: {tuple(cell): metrics.describe(METRICS[name], cell, sums, recorded) for cell, sums in cells.items()}
        for name, cells in found.items()
    }


def check_all(made: World, query: Query, talks: list[Talk] | None = None) -> None:
    """Every metric of a query, split or not."""
    answer = metrics.answer(made.store, query, list(METRICS.values()))
    for name, metric in METRICS.items():
        expected = made.figures(name, query, talks=talks)
        if not expected and query.by is None and not metric.by_currency:
            nothing = None if metric.denominator or metric.quantile else 0.0
            quantiles = (None, None, None) if metric.quantile else None
            expected = {("", None, None): Figure(nothing, Fraction(0), 0, quantiles)}
        assert_same(name, rows_of(answer, name), expected, f"by {query.by}")


def check_buckets(made: World, zone: str, bucket: str) -> None:
    query = made.query(period=Period(made.period.start, made.period.end, zone))
    found = in_buckets(made, query, bucket)
    for name in METRICS:
        assert_same(name, found[name], made.figures(name, query, bucket), f"per {bucket} in {zone}")


# Tests


def test_every_metric_is_recounted():
    assert sorted(recount.ALL) == sorted(METRICS)


def test_the_whole_period(made: World):
    check_all(made, made.query())


def test_the_worlds_have_what_is_counted(demo: World, odd: World):
    for made in (demo, odd):
        rows = metrics.answer(made.store, made.query(), list(METRICS.values()))["metrics"]
        assert [row["metric"] for row in rows if not row["value"]] == []


def test_a_part_of_the_period(demo: World):
    period = parse_period("2026-03-07T15:20:00-05:00", "2026-04-02", "America/New_York")
    check_all(demo, demo.query(period=period))


def test_with_test_traffic(made: World):
    everything = recount.tell(made.events, micros_of(made.now), include_test=True)
    check_all(made, made.query(include_test=True), everything)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("bucket", ["hour", "day", "week", "month"])
def test_per_bucket(made: World, zone: str, bucket: str):
    check_buckets(made, zone, bucket)


@pytest.mark.parametrize("by", DIMENSIONS)
def test_per_segment(made: World, by: str):
    check_all(made, made.query(by=by, period=Period(made.period.start, made.period.end, "America/New_York")))


@pytest.mark.one_store
@pytest.mark.parametrize("name", METRICS)
def test_a_trend_has_every_day_of_it(demo: World, name: str):
    query = demo.query(period=parse_period("2026-03-01", "2026-03-15", "America/New_York"))
    points = trends.answer(demo.store, query, METRICS[name], "day")["points"]
    days = {datetime.fromisoformat(p["from"]).strftime("%m-%dT%H") for p in points}
    every_day = {f"03-{day:02}T{'05' if day <= 8 else '04'}" for day in range(1, 15)}
    assert days == every_day or (METRICS[name].by_currency and days <= every_day)
    expected = demo.figures(name, query, "day")
    shown = {
        (p["segment"], (datetime.fromisoformat(p["from"]) - timedelta(hours=4)).date(), p.get("currency")): p
        for p in points
    }
    empty = {cell: row for cell, row in shown.items() if cell not in expected}
    assert_same(name, {cell: row for cell, row in shown.items() if cell in expected}, expected, "trend")
    assert all(not row["value"] and not row["numerator"] for row in empty.values())


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("bucket", ["hour", "day"])
def test_what_is_additive_adds_up_exactly(made: World, zone: str, bucket: str):
    query = made.query(period=Period(made.period.start, made.period.end, zone))
    additive = [metric for metric in METRICS.values() if metric.additive]
    whole = metrics.measure(made.store, query, additive)
    parts = metrics.measure(made.store, query, additive, metrics.bucket_of(made.store.dialect, bucket, zone))
    assert len(additive) > 25
    for metric in additive:
        (total,) = whole[metric.name].values() or [metrics.Sums(None, None)]
        found = parts[metric.name].values()
        assert sum(s.numerator or 0 for s in found) == (total.numerator or 0), metric.name
        assert sum(s.denominator or 0 for s in found) == (total.denominator or 0), metric.name


def test_every_share_lies_between_0_and_1(made: World):
    shares = [metric for metric in METRICS.values() if metric.unit == "share"]
    for bucket in (None, metrics.bucket_of(made.store.dialect, "hour", "UTC")):
        for by in (None, "channel", "objection", "outcome"):
            for name, cells in metrics.measure(made.store, made.query(by=by), shares, bucket).items():
                for sums in cells.values():
                    assert 0 <= (sums.numerator or 0) <= (sums.denominator or 0), (name, by, sums)


def test_rare_values_stand_together(demo: World):
    """A property with more values than are shown."""
    wanted = [METRICS["conversations_started"], METRICS["leads"]]
    query = demo.query(by="property:lead_score", period=parse_period("2026-03-01", "2026-04-01", "UTC"))
    rows = rows_of(metrics.answer(demo.store, query, wanted), "conversations_started")
    expected = {
        segment: float(f.numerator) for (segment, _, _), f in demo.figures("conversations_started", query).items()
    }
    shown = {segment: row["value"] for (segment, _, _), row in rows.items() if segment != REST}
    assert len(expected) > TOP == len(shown)
    assert shown == {segment: expected[segment] for segment in shown}
    assert min(shown.values()) >= max(n for segment, n in expected.items() if segment not in shown)
    assert rows[REST, None, None]["value"] == sum(expected.values()) - sum(shown.values())


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_all_of_star(tmp_path: Path, engine: str):
    made = star_world(tmp_path, engine, "events.ndjson.gz")
    check_all(made, made.query())
    for zone in ZONES:
        for bucket in ("hour", "day"):
            check_buckets(made, zone, bucket)
    for by in DIMENSIONS:
        check_all(made, made.query(by=by))
    made.store.close()


# What the worlds above cannot show

Asked = Callable[..., Any]


def shown(asked: Asked, metric: str, *events: Dict, **params: str) -> list[Dict]:
    given_params = {"metric": [metric], "from": ["2024-01-01"], "to": ["2024-03-01"]}
    return asked(*events).metrics(given_params | {name: [value] for name, value in params.items()})["metrics"]


def values(rows: list[Dict]) -> dict[str, Any]:
    return {row["segment"]: row["value"] for row in rows}


def test_a_conversation_with_two_of_the_rarer_objections_is_there_once(asked: Asked):
    often = [objected(f"o{i}", conversation_id=f"c{i}-{n}") for i in range(TOP) for n in range(2)]
    rare = [objected("rare", conversation_id="r"), objected("rarer", conversation_id="r", at=4)]
    found = values(shown(asked, "conversations_started", *often, *rare, by="objection"))
    assert len(found) == TOP + 1
    assert found[REST] == 1


def test_the_values_of_the_period_are_shown_however_common_others_were_before(asked: Asked):
    before = [event("qualified", -60 * 24 * 30, f"b{i}-{n}", plan=f"old{i}") for i in range(TOP) for n in range(2)]
    found = values(shown(asked, "conversations_started", *before, qualified(plan="new"), by="property:plan"))
    assert found == {"new": 1}


@pytest.mark.parametrize("name", ["a/b", 'a"b', "a~1b", "a.b", "a b", "*", "$", "0", "ä", "a'b"])
def test_a_property_may_have_any_name(asked: Asked, name: str):
    events = [started(conversation_id="c1", properties={name: "x"}), started(conversation_id="c2")]
    assert values(shown(asked, "leads", *events, by=f"property:{name}")) == {"x": 1, NONE: 1}
    assert values(shown(asked, "leads", *events, where=f"property:{name}=x")) == {"": 1}


def test_a_message_of_an_agent_is_not_judged(asked: Asked):
    events = [sent(appropriate=True), sent(at=2), sent(at=3, sender="agent", appropriate=False)]
    (row,) = shown(asked, "appropriateness_rate", *events)
    assert (row["value"], row["numerator"], row["denominator"], row["labelled_share"]) == (1, 1, 1, 0.5)


def test_without_a_label_there_is_no_appropriateness(asked: Asked):
    (row,) = shown(asked, "appropriateness_rate", sent(), sent(at=2))
    assert (row["value"], row["denominator"], row["labelled_share"]) == (None, 0, 0)


def test_what_became_of_a_due_meeting_may_be_unknown(asked: Asked):
    day = {"meeting_date": "2024-01-16"}
    meetings = [
        [event("meeting_booked", 1, "c1", meeting_id="a", **day), event("meeting_attended", 9, "c1", meeting_id="a")],
        [event("meeting_booked", 1, "c2", meeting_id="b", **day), event("meeting_no_show", 9, "c2", meeting_id="b")],
        [event("meeting_booked", 1, "c3", meeting_id="c", **day)],
        [event("meeting_booked", 1, "c4", meeting_id="d", **day), event("meeting_canceled", 9, "c4", meeting_id="d")],
        [event("meeting_booked", 1, "c5", meeting_id="e", meeting_date="2024-05-01")],
        [event("meeting_booked", 1, "c6", meeting_id="f")],
    ]
    (row,) = shown(asked, "meeting_show_rate", *(e for told in meetings for e in told))
    assert (row["value"], row["numerator"], row["denominator"], row["unknown"]) == (0.5, 1, 2, 1)


def test_a_rate_of_a_stage_that_is_never_recorded_is_null(asked: Asked):
    (row,) = shown(asked, "show_rate", event("meeting_booked"))
    assert (row["value"], row["interval"], row["numerator"], row["denominator"]) == (None, None, 0, 1)
    answer = asked(event("meeting_booked")).trend(
        {"metric": ["show_rate"], "from": ["2024-01-15"], "to": ["2024-01-16"]}
    )
    assert [(p["value"], p["denominator"]) for p in answer["points"]] == [(None, 1)]


@pytest.mark.parametrize(
    ("day", "expected"), [("2024-04-07", [6, 6, 3, 6, 6, 6, 3]), ("2024-10-06", [6, 6, 3, 6, 6, 6])]
)
def test_no_hour_is_lost_where_clocks_turn_by_half_an_hour(asked: Asked, day: str, expected: list[int]):
    night = datetime.fromisoformat(f"{day}T00:00+11:00")
    events = [
        event("conversation_started", None, f"c{i}", timestamp=(night + timedelta(minutes=10 * i)).isoformat())
        for i in range(36)
    ]
    now = datetime(2024, 12, 1, tzinfo=UTC)
    trend = asked(*events, timezone="Australia/Lord_Howe", now=now).trend({
        "metric": ["conversations_started"], "interval": ["hour"], "from": [day],
        "to": [(night + timedelta(days=1)).date().isoformat()],
    })  # fmt: skip
    assert [point["value"] for point in trend["points"] if point["value"]] == expected
    assert trend["total"][0]["value"] == sum(expected)
    ends = [(point["from"], point["to"]) for point in trend["points"]]
    assert all(one[1] == other[0] for one, other in pairwise(ends))


# Money


def won_for(amount: Any, currency: str, name: str, at: float = 80) -> Dict:
    return event("deal_closed", at, deal_id=name, amount=amount, currency=currency)


def amounts(rows: list[Dict]) -> dict[str, tuple[str, float]]:
    return {row["currency"]: (row["amount"], row["value"]) for row in rows}


def test_a_tenth_and_two_tenths_are_three_tenths(asked: Asked):
    found = shown(asked, "revenue", won_for(0.1, "USD", "d1"), won_for("0.2", "USD", "d2"))
    assert amounts(found) == {"USD": ("0.30", 0.3)}
    assert [row["numerator"] for row in found] == [0.3]


def test_yen_have_no_cents(asked: Asked):
    found = shown(asked, "revenue", won_for("1000", "JPY", "d1"), won_for(500.0, "JPY", "d2"))
    assert amounts(found) == {"JPY": ("1500", 1500)}


def test_a_million_small_amounts_stay_exact(asked: Asked):
    deals = [won_for("999999999999.9999", "CLF", "big"), *(won_for("0.0001", "CLF", f"d{i}") for i in range(999))]
    assert amounts(shown(asked, "revenue", *deals))["CLF"][0] == "1000000000000.0998"


def test_currencies_are_never_summed(asked: Asked):
    deals = [won_for("10.50", "USD", "d1"), won_for("20", "EUR", "d2"), won_for("300", "JPY", "d3")]
    assert amounts(shown(asked, "revenue", *deals)) == {"USD": ("10.50", 10.5), "EUR": ("20", 20), "JPY": ("300", 300)}
    by_day = asked(*deals).trend({"metric": ["revenue"], "from": ["2024-01-15"], "to": ["2024-01-16"]})
    assert amounts(by_day["points"]) == {"USD": ("10.50", 10.5), "EUR": ("20", 20), "JPY": ("300", 300)}


def test_the_currency_with_the_most_deals_comes_first(asked: Asked):
    deals = [won_for("3", "USD", f"d{i}", 80 + i) for i in range(3)] + [
        won_for("900000", "JPY", "y"),
        won_for(5, "EUR", "e"),
    ]
    store = asked(*deals)
    period = {"from": ["2024-01-15"], "to": ["2024-01-16"], "metric": ["revenue"]}
    order = ["USD", "EUR", "JPY"]
    assert [row["currency"] for row in store.metrics(period)["metrics"]] == order
    assert [row["currency"] for row in store.trend(period)["total"]] == order
    assert [point["currency"] for point in store.trend(period)["points"]] == order
    assert [row["currency"] for row in store.segments(period | {"by": ["channel"]})["segments"]] == order
    tiles = store.executive({name: period[name] for name in ("from", "to")})["metrics"]
    assert [row["currency"] for row in tiles if row["metric"] == "revenue"] == order


def test_the_cost_of_a_meeting_by_currency(asked: Asked):
    costs = [sent(at=i, cost="0.1", currency="USD", conversation_id=f"c{i % 2}") for i in range(3)]
    costs.append(sent(at=9, cost=7, currency="JPY", conversation_id="c1"))
    meetings = [event("meeting_attended", 60 + i, f"c{i % 2}", meeting_id=f"m{i}") for i in range(4)]
    found = shown(asked, "cost_per_meeting", *costs, *meetings)
    assert amounts(found) == {"USD": ("0.30", 0.075), "JPY": ("7", 1.75)}
    assert {row["denominator"] for row in found} == {4}


def test_without_a_meeting_there_is_a_cost_and_no_cost_of_a_meeting(asked: Asked):
    (row,) = shown(asked, "cost_per_meeting", sent(cost="0.1", currency="USD"), event("meeting_no_show", 60))
    assert (row["value"], row["amount"], row["denominator"]) == (None, "0.10", 0)


def test_without_a_cost_there_is_no_cost_of_a_meeting(asked: Asked):
    assert shown(asked, "cost_per_meeting", event("meeting_attended", 60)) == []


def test_a_deal_without_an_amount_is_won_and_brings_nothing(asked: Asked):
    assert shown(asked, "revenue", event("deal_closed", 80)) == []
    assert [row["value"] for row in shown(asked, "deals_closed", event("deal_closed", 80))] == [1]
