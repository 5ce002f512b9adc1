"""What the page of alerts shows of messages, and its chart."""

from types import SimpleNamespace
from typing import Any, cast

from dropoff.dashboard.pages import alerts_page
from dropoff.notify.outbox import Waiting
from notices import NOON, notice


def point(hour, value):
    return {
        "from": f"2026-03-02T{hour:02}:00:00Z", "to": f"2026-03-02T{hour + 1:02}:00:00Z", "value": value, "segment": "",
        "unit": "share", "numerator": 1.0, "denominator": 40.0, "interval": None, "partial": False, "immature": False,
    }  # fmt: skip


ANSWER = {
    "period": {"timezone": "UTC"}, "interval": "hour", "definition": {"metric": "fallback_rate", "clock": "activity"},
    "points": [point(hour, 0.1) for hour in range(10, 14)], "previous": {"points": []},
    "deploys": [], "labellers": [], "annotations": [],
}  # fmt: skip


def test_who_has_much_waiting_does_not_hide_the_others():
    waiting = {
        "gone": [Waiting(notice(after=n), NOON) for n in range(30)],
        "ops": [Waiting(notice(rule="later", after=60), NOON)],
    }
    outbox = SimpleNamespace(waiting=lambda: waiting, marks=list)
    shown = alerts_page.messages(cast("Any", outbox), "UTC")
    assert [(row["receiver"], row["rule"]) for row in shown[:2]] == [("ops", "later"), ("gone", "fallbacks")]
    assert len(shown) == 20


def test_the_chart_says_how_often_the_rule_fired():
    episode = {"name": "a", "fired": "2026-03-02T11:10:00Z", "resolved": "2026-03-02T12:30:00Z"}
    for count, said in ((0, "0 times"), (1, "1 time "), (2, "2 times")):
        option = alerts_page.alert_chart(ANSWER, [episode] * count, 0.2)
        assert option is not None
        assert f"The rule fired {said}" in option["baseOption"]["aria"]["label"]["description"]
    (area,) = alerts_page.alert_chart(ANSWER, [episode], 0.2)["baseOption"]["series"][-1]["markArea"]["data"]  # type: ignore[index]
    assert [end["xAxis"] for end in area] == [1, 2]
