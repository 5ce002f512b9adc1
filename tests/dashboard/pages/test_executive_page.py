"""What the executive page says and draws: verdicts in words, small lines, links."""

import pytest

from dropoff.dashboard.charts.sparks import spark
from dropoff.dashboard.pages import executive
from dropoff.phrases import formats, verdicts

PERIOD = {"from": "2024-01-01T00:00:00Z", "to": "2024-01-05T00:00:00Z", "timezone": "UTC"}
POINTS = [f"2024-01-0{day}T00:00:00Z" for day in range(1, 5)]
TARGET = {"value": 0.5, "per": None, "scaled": 0.5, "met": True, "by": "value", "certain": True}
CHANGE = {
    "now": 0.6, "before": 0.5, "n_now": 100, "n_before": 90, "difference": 0.1, "interval": (0.02, 0.18),
    "p_value": 0.001, "q_value": 0.01, "test": "x", "follow_days": 1.5, "until": "2024-01-03T00:00:00Z",
}  # fmt: skip


def row(**more):
    return {
        "metric": "response_rate", "value": 0.6, "numerator": 60.0, "denominator": 100.0, "interval": (0.5, 0.7),
        "unit": "share", "clock": "cohort", "good": "up", "immature": False, "previous": None, "change": CHANGE,
        "target": None, "spark": [0.5, 0.6, None, 0.7], "immature_from": None, **more,
    }  # fmt: skip


def answer(*rows, changes=()):
    return {
        "period": PERIOD, "interval": "day", "points": POINTS, "metrics": list(rows), "changes": list(changes),
        "deploys": [{"bot_id": None, "bot_version": "2.0", "at": "2024-01-02T09:00:00Z"}],
        "annotations": [{"at": "2024-01-04T00:00:00Z", "text": "a\u202eb"}],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, "Met: 50.0\u00a0%"),
        ({"met": False}, "Missed: 50.0\u00a0%"),
        ({"certain": False}, "Met, not certain: 50.0\u00a0%"),
        ({"met": False, "by": "matured"}, "Missed: 50.0\u00a0%, by the matured rate"),
        ({"met": None, "by": None, "certain": None}, "Not enough data: 50.0\u00a0%"),
        ({"met": None, "certain": None}, "Not known yet: 50.0\u00a0%"),
    ],
)
def test_a_target_in_words(more, said):
    assert verdicts.of_target(row(target=TARGET | more)) == said


def test_a_target_that_adds_up_says_what_it_is_of():
    target = TARGET | {"value": 1500.0, "scaled": 3100.4, "per": "month", "certain": None}
    assert verdicts.of_target(row(unit="count", target=target)) == "Met: 3,100 (1,500 per month)"
    money = row(unit="money", currency="EUR", target=target)
    assert verdicts.of_target(money) == "Met: 3,100 EUR (1,500 EUR per month)"


def test_a_change_as_a_sentence():
    one = {"metric": "response_rate", "unit": "share", "good": "up", "clock": "cohort", "change": CHANGE, "causes": []}
    said = verdicts.of_change(one, "UTC")
    assert said.replace("\u00a0", " ") == (
        "Response rate rose from 50.0 % to 60.0 % (+10.0 pp; 95 %: +2.0 to +18.0 pp; q = 0.010), each conversation "
        "followed for 1 d 12 h, without those that began after 2024-01-03 00:00. It is better."
    )
    fell = {**one, "good": "down", "change": CHANGE | {"difference": -0.1, "follow_days": None}}
    assert verdicts.of_change(fell, "UTC").endswith("q = 0.010). It is better.")
    assert verdicts.why(one) == verdicts.ALL_ALIKE


def test_what_may_be_chance_is_said_so():
    assert "may be chance (q = 0.300)" in verdicts.of_previous(row(change=CHANGE | {"q_value": 0.3}))
    assert verdicts.of_previous(row(change=CHANGE | {"q_value": None})).endswith("not tested")
    assert verdicts.of_previous(row(change=None)) == "Before: nothing to compare"


def test_a_line_ends_at_a_gap_and_says_its_extremes():
    (tile,) = executive.tiles(answer(row(immature_from=1)), {"from": ["2024-01-01"], "limit": ["5"]})
    found = tile.spark
    assert (found.lines, found.young) == ([], ["4,44 81.3,24"])
    assert found.dots == [(236, 4)]
    assert found.last == (236, 4)
    assert [(mark.x, mark.text) for mark in found.marks] == [(81.3, "version 2.0"), (236, "a⟨U+202E⟩b")]
    assert "lowest 50.0\u00a0% (Mon 2024-01-01)" in found.text
    assert "last 70.0\u00a0%" in found.text
    assert tile.url == "/trends?from=2024-01-01&metric=response_rate&interval=day"


def test_when_operations_stand_out_is_one_sentence():
    def on(*days):
        return {
            "unusual": [{"from": f"2024-01-0{day}T00:00:00Z", "to": f"2024-01-0{day + 1}T00:00:00Z"} for day in days]
        }

    whole = {"period": PERIOD, "definition": {"interval": "day"}}
    told = whole | {"fallbacks": on(2, 3), "errors": on(2), "escalations": on(), "opt_outs": on()}
    assert executive.odd(told) == "Tue 2024-01-02 (fallbacks, errors); Wed 2024-01-03 (fallbacks) stand out."
    one = told | {"fallbacks": on(), "errors": on(2)}
    assert executive.odd(one) == "Tue 2024-01-02 (errors) stands out."
    assert executive.odd(one | {"errors": on()}) == "no day of the period is far above what is usual."
    many = executive.odd(told | {"opt_outs": on(4, 5, 6)})
    assert many.endswith("Thu 2024-01-04 (opt-outs), and 2 more stand out.")


@pytest.mark.parametrize("values", [[None] * 4, [0.0] * 4, [None, 3.0, None, None]])
def test_a_line_of_nothing_or_of_one_value_is_drawn(values):
    found = spark(row(spark=values), answer(), [], verdicts.side)
    assert "no values" in found.text if not any(v is not None for v in values) else found.last is not None


def test_a_cause_leads_to_its_conversations_and_its_segment_in_both_periods():
    cause = {
        "dimension": "bot_version", "value": "2.0", "contribution": 0.08, "interval": (0.05, 0.1), "rate_effect": 0.0,
        "mix_effect": 0.08, "q_value": 0.001, "where": ["bot_version=2.0"], "now": 0.6, "before": None,
        "weight": {"now": 1.0, "before": 0.0},
    }  # fmt: skip
    one = {"metric": "response_rate", "unit": "share", "good": "up", "clock": "cohort", "change": CHANGE}
    gone = cause | {"value": "1.0", "now": None, "before": 0.5, "where": ["bot_version=1.0"]}
    day = {"from": "2024-01-02T00:00:00Z", "to": "2024-01-03T00:00:00Z", "value": 0.9, "without": 0.52}
    told = {**one, "causes": [cause, gone], "apart": day}
    (found,) = executive.news(answer(changes=[told]), {"where": ["channel=sms"]})
    assert found.day is not None
    assert found.day.text.replace("\u00a0", " ") == "Without Tue 2024-01-02 (90.0 % then) it would be 52.0 %."
    assert found.day.url == (
        "/trends?where=channel=sms&metric=response_rate&interval=hour&from=2024-01-02&to=2024-01-03"
    )
    assert [said.url for said in found.causes] == ["/conversations?where=bot_version=2.0", None]
    assert found.causes[0].text.replace("\u00a0", " ") == "Bot version 2.0: +8.0 pp (60.0 %, new)"
    assert found.url == (
        "/segments?where=channel=sms&metric=response_rate&by=bot_version&compare=previous&follow=2160m#periods"
    )
    (count,) = executive.news(answer(changes=[{**one, "unit": "count", "causes": [], "apart": None}]), {})
    assert count.url == "/segments?metric=response_rate&by=channel"


def test_where_nothing_was_tested_that_is_said():
    untested = row(change=CHANGE | {"q_value": None})
    found = answer(untested, row(change=None)) | {"definition": {"has_before": True}}
    assert verdicts.nothing(found) == "There is too little to compare yet: no change could be tested."
    tested = answer(untested, row(change=CHANGE | {"q_value": 0.3})) | {"definition": {"has_before": True}}
    assert "of 1 tested no q" in verdicts.nothing(tested)


def test_money_has_as_many_decimals_before_as_now():
    change = CHANGE | {"now": 1500.5, "before": 1200.5, "difference": 300.0, "q_value": None, "follow_days": None}
    one = row(unit="money", currency="EUR", denominator=None, amount="1500.5", value=1500.5, change=change)
    assert formats.measure(one) == "1,500.50\u00a0EUR"
    said = verdicts.of_previous(one).replace("\u00a0", " ")
    assert said == "+300.00 EUR (1,500.50 EUR against 1,200.50 EUR), not tested"
    yen = {**one, "currency": "JPY", "amount": "1500"}
    assert verdicts.side(1200.0, yen) == "1,200\u00a0JPY"


def test_a_young_mean_of_money_is_not_compared_as_if_it_were_final():
    change = CHANGE | {"q_value": None, "follow_days": None, "until": None}
    young = row(unit="money", currency="EUR", immature=True, change=change)
    assert verdicts.of_previous(young).endswith("not tested, not at one age")
    assert not verdicts.is_uneven(young | {"immature": False})
    assert not verdicts.is_uneven(row(immature=True))
