import json
from datetime import UTC, datetime

import pytest

from dropoff.analyse.trends import answer as answer_of
from dropoff.dashboard.pages import trends
from dropoff.metrics import METRICS
from dropoff.periods import parse_period
from dropoff.phrases import formats
from dropoff.phrases.addresses import end_of_link
from dropoff.query import Query
from worlds import given, received, started, won

NOW = datetime(2024, 11, 20, tzinfo=UTC)
ZONE = "America/New_York"


@pytest.fixture
def trend(tmp_path):
    """`trend(metric, interval, start, end, *events)`: the answer for a store of these events."""
    stores = []

    def ask(metric, interval, start, end, *events, now=NOW, by=None):
        directory = tmp_path / str(len(stores))
        directory.mkdir()
        stores.append(given(*events, directory=directory))
        query = Query(parse_period(start, end, ZONE), now, by=by)
        return answer_of(stores[-1], query, METRICS[metric], interval)

    yield ask
    for store in stores:
        store.close()


def at(text, conversation_id, **more):
    return {**started(None, conversation_id=conversation_id, **more), "timestamp": text}


AUTUMN = [  # the clock of New York goes back on 3 November 2024 at 06:00 UTC
    at("2024-11-03T03:59:59Z", "before"),
    at("2024-11-03T04:00:00Z", "first"),
    at("2024-11-03T05:30:00Z", "summer"),
    at("2024-11-03T06:30:00Z", "winter"),
    at("2024-11-04T04:59:59Z", "last"),
    at("2024-11-04T05:00:00Z", "after"),
]
SPRING = [at("2024-03-10T05:00:00Z", "first"), at("2024-03-11T03:59:59Z", "last"), at("2024-03-11T04:00:00Z", "after")]


def test_a_day_of_25_hours(trend):
    answer = trend("conversations_started", "day", "2024-11-02", "2024-11-05", *AUTUMN)
    assert [(p["from"], p["to"], p["value"]) for p in answer["points"]] == [
        ("2024-11-02T04:00:00Z", "2024-11-03T04:00:00Z", 1),
        ("2024-11-03T04:00:00Z", "2024-11-04T05:00:00Z", 4),
        ("2024-11-04T05:00:00Z", "2024-11-05T05:00:00Z", 1),
    ]
    hours = trend("conversations_started", "hour", "2024-11-03", "2024-11-04", *AUTUMN)["points"]
    assert len(hours) == 25
    assert [(i, p["value"]) for i, p in enumerate(hours) if p["value"]] == [(0, 1), (1, 1), (2, 1), (24, 1)]
    names = [formats.bucket(p["from"], "hour", ZONE) for p in hours]
    assert names[1:3] == ["2024-11-03 01:00", "2024-11-03 01:00 (second)"]
    assert len(set(names)) == 25


def test_a_day_of_23_hours(trend):
    answer = trend("conversations_started", "day", "2024-03-10", "2024-03-12", *SPRING)
    assert [p["value"] for p in answer["points"]] == [2, 1]
    hours = trend("conversations_started", "hour", "2024-03-10", "2024-03-11", *SPRING)["points"]
    assert len(hours) == 23
    assert (hours[0]["value"], hours[-1]["value"]) == (1, 1)


def test_the_period_before_has_as_many_local_days(trend):
    before = trend("conversations_started", "day", "2024-11-03", "2024-11-05", *AUTUMN)["previous"]
    assert (before["period"]["from"], before["period"]["to"]) == (
        "2024-11-01T00:00:00-04:00", "2024-11-03T00:00:00-04:00",
    )  # fmt: skip
    assert [p["value"] for p in before["points"]] == [0, 1]
    months = trend("leads", "month", "2024-01-01", "2024-04-01", *AUTUMN)["previous"]["period"]
    assert (months["from"][:10], months["to"][:10]) == ("2023-10-01", "2024-01-01")


def test_what_is_cut_or_not_over_is_partial(trend):
    now = datetime(2024, 11, 12, 15, tzinfo=UTC)
    weeks = trend("conversations_started", "week", "2024-10-30", "2024-11-13", *AUTUMN, now=now)["points"]
    assert [(p["from"][:10], p["to"][:10], p["partial"]) for p in weeks] == [
        ("2024-10-30", "2024-11-04", True), ("2024-11-04", "2024-11-11", False), ("2024-11-11", "2024-11-13", True),
    ]  # fmt: skip
    days = trend("conversations_started", "day", "2024-11-11", "2024-11-13", *AUTUMN, now=now)["points"]
    assert [p["partial"] for p in days] == [False, True]
    assert sum(p["value"] for p in weeks) == 6


def test_what_may_still_come_is_immature(trend):
    def marks(metric, now):
        answer = trend(metric, "day", "2024-11-02", "2024-11-05", *many(2, 1, 1), now=datetime(*now, tzinfo=UTC))
        return [p["immature"] for p in answer["points"]]

    # New York's midnights are 04:00 UTC before the third, 05:00 after
    assert marks("response_rate", (2024, 11, 5, 4, 59)) == [False, True, True]
    assert marks("response_rate", (2024, 11, 5, 5)) == [False, False, True]
    assert marks("qualification_rate", (2024, 11, 8, 5)) == [False, False, True]
    assert marks("win_rate", (2025, 2, 1)) == [True, True, True]
    assert marks("conversations_started", (2024, 11, 5, 5)) == marks("meetings_booked", (2024, 11, 5, 5)) == [False] * 3


def test_empty_buckets_are_there(trend):
    rate = trend("response_rate", "day", "2024-11-02", "2024-11-05", *many(2, 1, 1))
    assert [(p["value"], p["numerator"], p["denominator"]) for p in rate["points"]] == [
        (1, 1, 1), (None, 0, 0), (None, 0, 0),
    ]  # fmt: skip
    assert rate["total"][0]["value"] == 1


DEALS = [
    at("2024-11-02T12:00:00Z", "a"),
    {**won(conversation_id="a", deal_id="1", amount="10.5", currency="EUR"), "timestamp": "2024-11-02T13:00:00Z"},
    {**won(conversation_id="a", deal_id="2", amount=1000, currency="JPY"), "timestamp": "2024-11-04T13:00:00Z"},
]


def test_each_currency_is_a_line_of_its_own(trend):
    answer = trend("revenue", "day", "2024-11-02", "2024-11-05", *DEALS)
    lines = trends.lines(answer, link)
    values = {currency: [formats.measure(row.point) for row in rows] for currency, rows in lines.items()}
    assert values == {
        "EUR": ["10.50\u00a0EUR", "0.00\u00a0EUR", "0.00\u00a0EUR"],
        "JPY": ["0\u00a0JPY", "0\u00a0JPY", "1,000\u00a0JPY"],
    }  # fmt: skip
    assert set(trends.totals(answer)) == {"EUR", "JPY"}
    assert trends.lines(trend("revenue", "day", "2024-11-02", "2024-11-05", DEALS[0]), link) == {}


def many(day, count, replies, version="1"):
    for i in range(count):
        name = f"{day}-{i}"
        yield at(f"2024-11-{day:02d}T12:00:00Z", name, bot_version=version)
        if i < replies:
            yield {**received("yes", conversation_id=name), "timestamp": f"2024-11-{day:02d}T12:10:00Z"}


def test_annotations_are_marked_beside_deploys(trend):
    answer = trend("response_rate", "day", "2024-11-01", "2024-11-04", *many(1, 40, 20), *many(2, 5, 1, "2.0"))
    noted = [{"at": "2024-11-03T04:00:00Z", "text": "{a|b}" + "y" * 40}]
    rows = trends.lines(answer, link)[""]
    marks = trends.trend_chart(rows, answer | {"annotations": noted})["baseOption"]["series"][1]["markLine"]["data"]
    assert [(mark["xAxis"], mark["name"]) for mark in marks[1:]] == [(1, "2.0"), (2, "❴a|b❵" + "y" * 14 + "…")]


def link(point, **more):
    return f"/c?{point['from']}" + "".join(f"&{name}={text}" for name, text in more.items())


@pytest.fixture
def chart(trend):
    """Day 1: 40 started, 20 responded; day 2: 5 and 1, of another version; day 3: nothing."""
    versions = "{n|2}" + "x" * 40
    events = [*many(1, 40, 20), *many(2, 5, 1, versions)]
    answer = trend("response_rate", "day", "2024-11-01", "2024-11-04", *events)
    rows = trends.lines(answer, link)[""]
    return trends.trend_chart(rows, answer)["baseOption"]


def test_points_that_say_little_are_hollow(chart):
    full, small, none = chart["series"][1]["data"]
    assert (full["value"], small["value"], none["value"]) == (50, 20, None)
    assert "itemStyle" not in full
    assert small["itemStyle"]["color"] == "var(--page)"
    assert "not enough data" in small["tooltip"]["formatter"]
    assert "20\u00a0/\u00a040" in full["tooltip"]["formatter"]
    assert "95 %: 35.2–64.8\u00a0%" in full["tooltip"]["formatter"]


def test_points_lead_to_their_conversations(chart):
    assert chart["series"][1]["data"][0]["url"] == "/c?2024-11-01T04:00:00Z"
    assert "url" not in chart["series"][1]["data"][2]


@pytest.mark.parametrize(
    ("metric", "counting", "all_of_them"),
    [
        ("human_messages", "/c?2024-11-01T04:00:00Z", None),
        ("response_rate", "/c?2024-11-01T04:00:00Z", "/c?2024-11-01T04:00:00Z&part=denominator"),
        ("qualification_rate", None, None),
        ("sentiment_average", None, None),
    ],
)
def test_a_point_leads_to_what_counts_and_to_what_it_is_a_part_of(trend, metric, counting, all_of_them):
    answer = trend(metric, "day", "2024-11-01", "2024-11-03", *many(1, 2, 2))
    first, second = trends.lines(answer, link)[""]
    assert (first.url, first.of_url, second.url, second.of_url) == (counting, all_of_them, None, None)


def test_a_split_has_a_line_for_each_of_the_largest_segments(trend):
    versions = [one for i in range(8) for one in many(i + 1, 9 - i, 1, f"v{i}")]
    answer = trend("response_rate", "day", "2024-11-01", "2024-11-09", *versions, by="bot_version")
    (found,) = trends.segments(answer, link).values()
    assert [one.name for one in found] == [f"v{i}" for i in range(8)]
    assert [one.color for one in found] == [1, 2, 3, 4, 5, 6, 0, 0]
    assert (found[0].total["value"], found[0].of_url) == (1 / 9, "/c?2024-11-01T00:00:00-04:00&part=denominator")
    drawn = trends.split_chart(trends.drawn(found), answer)["baseOption"]["series"]
    assert [line["name"] for line in drawn] == [f"v{i}" for i in range(6)]
    assert [item["value"] for item in drawn[1]["data"]][:3] == [None, 12.5, None]
    assert drawn[1]["data"][1]["tooltip"]["formatter"].startswith("v1\n")
    assert drawn[1]["data"][1]["itemStyle"]["borderColor"] == "var(--chart-2)"


def test_what_is_taken_together_leads_nowhere(trend):
    answer = trend("response_rate", "day", "2024-11-01", "2024-11-02", *many(1, 2, 1), by="bot_version")
    for row in (*answer["total"], *answer["points"]):
        row["segment"] = "(rest)"
    (found,) = trends.segments(answer, link)[""]
    assert (found.url, found.of_url, found.rows[0].url, found.rows[0].of_url) == (None,) * 4


def test_deploys_are_marked_and_inert(chart):
    marks = chart["series"][1]["markLine"]["data"]
    assert [mark["xAxis"] for mark in marks] == [0, 1]
    assert marks[1]["name"] == "❴n|2❵" + "x" * 14 + "…"
    assert [mark["label"]["distance"] for mark in marks] == [3, 3]


def test_the_period_before_is_a_thin_dashed_line(chart):
    line = chart["series"][0]
    assert (line["lineStyle"]["type"], line["lineStyle"]["width"], line["data"]) == ("dashed", 1, [None, None, None])


def test_the_option_is_data_alone_and_told_in_words(chart):
    assert json.loads(json.dumps(chart, allow_nan=False)) == chart
    assert chart["tooltip"]["renderMode"] == "richText"
    text = chart["aria"]["label"]["description"]
    assert "lowest Sat 2024-11-02 with 20.0\u00a0%, highest Fri 2024-11-01 with 50.0\u00a0%" in text


@pytest.mark.parametrize(
    ("seconds", "scale"), [([1, 90], (1, " s")), ([None, 120], (1 / 60, " min")), ([9000], (1 / 3600, " h"))]
)
def test_seconds_have_the_unit_that_suits_them(seconds, scale):
    assert trends.scale("seconds", seconds) == scale


def test_ends_of_a_bucket_are_days_where_they_can_be():
    assert end_of_link("2024-11-03T04:00:00Z", ZONE) == "2024-11-03"
    assert end_of_link("2024-11-03T05:00:00Z", ZONE) == "2024-11-03T05:00:00Z"
    havana = ["2024-11-03T04:00:00Z", "2024-11-03T05:00:00Z"]  # where the clock goes back to midnight
    assert [end_of_link(moment, "America/Havana") for moment in havana] == ["2024-11-03", havana[1]]
