import pytest

from dropoff.dashboard.charts import funnel_trend
from dropoff.dashboard.charts.charts import histogram
from dropoff.phrases.addresses import url


def rate(numerator, denominator):
    value = numerator / denominator if denominator else None
    return {"value": value, "numerator": numerator, "denominator": denominator, "interval": None}


def point(day, *counts, partial=False, immature=False):
    stages = [{"stage": f"s{i}", "count": n, "rate_from_start": rate(n, counts[0])} for i, n in enumerate(counts)]
    return {
        "from": f"2024-01-{day:02}T00:00:00Z", "to": f"2024-01-{day + 1:02}T00:00:00Z", "partial": partial,
        "immature": immature, "stages": stages,
    }  # fmt: skip


def answer(*points, mode="ordered", steps=3, annotations=()):
    return {
        "period": {"timezone": "UTC"},
        "definition": {"mode": mode},
        "stages": [{"stage": f"{{s{i}}}", "is_recorded": i != 2} for i in range(steps)],
        "trend": {"interval": "day", "points": list(points), "annotations": list(annotations)},
    }


POINTS = (point(1, 40, 20, 0), point(2, 0, 0, 0), point(3, 5, 1, 0), point(4, 50, 9, 0, immature=True))


def test_rows_say_what_is_to_be_said():
    rows = funnel_trend.rows(answer(*POINTS), None)
    assert [row.n for row in rows] == [40, 0, 5, 50]
    assert [row.note for row in rows] == ["", "", "not enough data", "immature"]
    assert [row.unsure for row in rows] == [False, True, True, True]


@pytest.mark.parametrize(("mode", "linked"), [("ordered", False), ("reached", True), ("recorded", True)])
def test_only_where_a_list_is_the_same_there_is_one(mode, linked):
    rows = funnel_trend.rows(answer(*POINTS, mode=mode), lambda **ends: url("/conversations", {}, **ends))
    first = "/conversations?from=2024-01-01&to=2024-01-02"
    assert [row.url for row in rows[:2]] == [first if linked else None, None]


def test_a_line_for_each_recorded_step_with_gaps_and_hollow_points():
    asked = answer(*POINTS)
    rows, drawn = funnel_trend.rows(asked, None), funnel_trend.lines(asked)
    assert [(line.place, line.color, line.dash) for line in drawn] == [(1, 1, "solid")]
    (series,) = funnel_trend.trend_chart(rows, drawn, asked["trend"])["series"]
    assert [item["value"] for item in series["data"]] == [50, None, 20, 18]
    assert ["itemStyle" in item for item in series["data"]] == [False, False, True, True]
    assert "{" not in series["name"]
    assert "{" not in series["data"][0]["tooltip"]["formatter"]


def test_an_annotation_is_a_vertical_line_at_its_point():
    asked = answer(*POINTS, annotations=[{"at": "2024-01-03T07:00:00Z", "text": "a {b}"}])
    series = funnel_trend.trend_chart(funnel_trend.rows(asked, None), funnel_trend.lines(asked), asked["trend"])[
        "series"
    ]
    (mark,) = series[0]["markLine"]["data"]
    assert (mark["xAxis"], mark["name"]) == (2, "a ❴b❵")


def test_twenty_steps_have_lines_that_differ():
    drawn = funnel_trend.lines(answer(*POINTS, steps=20))
    assert len(drawn) == len({(line.color, line.dash) for line in drawn}) == 18


def test_bins_are_named_by_both_ends():
    given = [{"from_seconds": 0, "count": 3}, {"from_seconds": 60, "count": 0}, {"from_seconds": 90, "count": 1}]
    bins = funnel_trend.bins({"time_to_convert": {"histogram": given}})
    assert [(one.name.replace("\u00a0", " "), one.n) for one in bins] == [
        ("0 s to 1 min", 3), ("1 min to 1 min 30 s", 0), ("1 min 30 s and more", 1),
    ]  # fmt: skip
    (series,) = histogram("the time to convert", bins)["series"]
    assert [item["value"] for item in series["data"]] == [3, 0, 1]
    assert funnel_trend.bins({"time_to_convert": {"histogram": []}}) == []
