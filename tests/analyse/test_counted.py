"""The conversations behind the value of a metric, on every store."""

import pytest

from dropoff.analyse.counted import parts_of
from dropoff.errors import InvalidInput
from dropoff.metrics import METRICS
from worlds import attended, booked, error, fallback, rated, received, sent, started, won

DAY = 24 * 60
PERIOD = {"from": ["2024-01-15"], "to": ["2024-01-16"]}


@pytest.fixture
def analytics(asked):
    """A is a lucky one, b met an error; c began the day before and met a fallback; nobody answered d."""
    return asked(
        *(one | {"conversation_id": "a"} for one in (
            started(), sent(cost="0.01", currency="USD", response_seconds=2), received("x", sentiment=0.5), booked(),
            attended(), won(amount="10", currency="EUR"), rated(4))),
        *(one | {"conversation_id": "b"} for one in (started(), sent(), error(), received("y", sentiment=-0.5))),
        *(one | {"conversation_id": "c"} for one in (
            started(-DAY), sent(at=-DAY + 1), received("z", at=5), sent(at=6), fallback(at=7))),
        started(conversation_id="d"), sent(conversation_id="d"),
    )  # fmt: skip


def behind(analytics, metric, **more):
    params = {**PERIOD, "metric": [metric], **{name: [text] for name, text in more.items()}}
    return {row["id"] for row in analytics.conversations(params)["conversations"]}


@pytest.mark.parametrize(
    ("metric", "counting", "all_of_them"),
    [
        ("conversations_started", "abd", None),
        ("leads", "abd", None),
        ("response_rate", "ab", "abd"),
        ("fallback_rate", "c", "abcd"),
        ("error_rate", "b", "abcd"),
        ("human_messages", "abc", None),
        ("sentiment_average", None, "ab"),
        ("csat", None, "a"),
        ("time_to_booking", "a", None),
        ("meetings_booked", "a", None),
        ("meeting_show_rate", "a", "a"),
        ("deals_closed", "a", None),
        ("revenue", "a", None),
        ("cost", "a", None),
        ("messages_per_conversation", "abd", "abd"),
    ],
)
def test_the_conversations_of_each_part(analytics, metric, counting, all_of_them):
    for part, expected in (("numerator", counting), ("denominator", all_of_them)):
        if expected is not None:
            assert behind(analytics, metric, part=part) == set(expected), part
        else:
            with pytest.raises(InvalidInput, match="part == "):
                behind(analytics, metric, part=part)
    assert behind(analytics, metric) == set(counting or all_of_them)


def test_every_metric_has_a_list_that_is_empty_where_nothing_counts(analytics):
    for row in analytics.metrics(PERIOD)["metrics"]:
        counts = row["n"] if "n" in row else row[parts_of(METRICS[row["metric"]])[0]]
        assert bool(behind(analytics, row["metric"])) == bool(counts), row


def test_money_is_told_by_currency_and_all_conditions_hold_together(analytics):
    assert behind(analytics, "revenue", currency="EUR") == {"a"}
    assert behind(analytics, "revenue", currency="USD") == set()
    assert behind(analytics, "error_rate", part="denominator", stage="booked") == {"a"}


@pytest.mark.parametrize(
    ("params", "rule"),
    [
        ({"part": "numerator"}, "left out where no metric is given"),
        ({"metric": "response_rate", "currency": "EUR"}, "no amount of money"),
        ({"metric": "reply_rate"}, "metric == 'reply_rate'"),
    ],
)
def test_what_is_no_part_of_a_metric_is_refused(analytics, params, rule):
    with pytest.raises(InvalidInput, match=rule):
        analytics.conversations({name: [text] for name, text in params.items()})
