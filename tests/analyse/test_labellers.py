"""A trend is marked where another labeller begins."""

import pytest

from worlds import received, started

ASKED = {"from": ["2024-01-15"], "to": ["2024-01-20"]}
DAY = 1440


def scored(at, source, **fields):
    key = f"c{at}"
    return [
        started(at, conversation_id=key),
        received("Yes", at=at + 1, conversation_id=key, sentiment=0.5, label_source=source, **fields),
    ]


@pytest.mark.parametrize("metric", ["sentiment_average", "sentiment_trend", "understanding_rate"])
def test_another_labeller_is_marked_once(asked, metric):
    events = [
        *scored(0, "a@1"),
        *scored(DAY, "a@2"),
        *scored(DAY + 60, "a@2"),
        *scored(2 * DAY, None),
        *scored(9 * DAY, "b"),
    ]
    found = asked(*events).trend({**ASKED, "metric": [metric]})
    assert found["labellers"] == [
        {"label_source": "a@2", "at": "2024-01-16T10:01:00Z"}, {"label_source": "(none)", "at": "2024-01-17T10:01:00Z"}
    ]  # fmt: skip


def test_what_does_not_rest_on_labels_is_not_marked(asked):
    events = [*scored(0, "a@1"), *scored(DAY, "a@2")]
    assert asked(*events).trend({**ASKED, "metric": ["response_rate"]})["labellers"] == []
