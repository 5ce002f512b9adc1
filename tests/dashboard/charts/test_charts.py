import json

from dropoff.dashboard.charts.funnel_chart import describe_funnel, funnel_chart
from dropoff.phrases.addresses import url


def number(numerator, denominator, none=False):
    value = None if none or not denominator else numerator / denominator
    return {"value": value, "numerator": numerator, "denominator": denominator, "interval": None}


def stage(name, count, previous, is_recorded=True):
    return {
        "stage": name,
        "count": count,
        "recorded": count,
        "implied": 0,
        "is_recorded": is_recorded,
        "rate_from_previous": number(count, previous, none=not is_recorded),
        "rate_from_start": number(count, 100, none=not is_recorded),
    }


ANSWER = {
    "stages": [
        stage("started", 100, 0),
        stage("responded", 60, 100),
        stage("qualified", 20, 60, is_recorded=False),
        stage("booked", 20, 60),
    ]
}


def series(option, index):
    return option["baseOption"]["series"][index]["data"]


def figures(option):
    return option["baseOption"]["yAxis"][1]["data"]


def test_bars_are_the_reached_and_the_lost():
    option = funnel_chart(ANSWER)
    assert [item["value"] for item in series(option, 0)] == [100, 60, 20, 20]
    assert [item["value"] for item in series(option, 1)] == [0, 40, 0, 40]


def test_a_stage_that_is_not_recorded_has_no_rate_and_no_loss():
    assert figures(funnel_chart(ANSWER))[2] == "{n|20}{r|not recorded}"
    assert "itemStyle" not in series(funnel_chart(ANSWER), 1)[2]


def test_small_numbers_are_not_given_as_a_rate():
    small = {"stages": [stage("started", 12, 0), stage("responded", 6, 12)]}
    assert figures(funnel_chart(small)) == ["{n|12}", "{n|6}{r|not enough data}"]


def test_every_bar_leads_to_its_conversations():
    option = funnel_chart(ANSWER, lambda **changes: url("/conversations", {"where": ["channel=sms"]}, **changes))
    assert series(option, 0)[3]["url"] == "/conversations?where=channel=sms&stage=booked"
    assert series(option, 1)[3]["url"] == "/conversations?where=channel=sms&dropped=responded"


def test_a_quotient_above_one_loses_nothing():
    more = {"stages": [stage("started", 50, 0), stage("responded", 60, 50)]}
    assert [item["value"] for item in series(funnel_chart(more), 1)] == [0, 0]


def test_the_option_is_data_alone_and_drawn_as_text():
    option = funnel_chart(ANSWER)
    assert json.loads(json.dumps(option)) == option
    assert option["baseOption"]["tooltip"]["renderMode"] == "richText"
    assert "function" not in json.dumps(option)


def test_the_chart_is_told_in_words():
    text = describe_funnel(ANSWER)
    assert "Responded 60, 60.0\u00a0% of the stage before" in text
    assert "Qualified 20, not recorded" in text
    assert funnel_chart(ANSWER)["baseOption"]["aria"]["label"]["description"] == text


def test_an_empty_funnel_is_an_empty_chart():
    assert series(funnel_chart({"stages": []}), 0) == []


def test_who_leaves_out_an_optional_stage_is_not_lost():
    def stage(name, count, optional=False):
        rate = {"value": 0.5, "denominator": 100}
        return {"stage": name, "count": count, "is_recorded": True, "optional": optional, "rate_from_previous": rate}

    drawn = funnel_chart({"stages": [stage("a", 100), stage("b", 10, optional=True), stage("c", 40)]})
    assert [item["value"] for item in drawn["baseOption"]["series"][1]["data"]] == [0, 0, 60]
