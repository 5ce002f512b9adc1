"""Where what a rule said can be looked at."""

from datetime import UTC, datetime, timedelta

import pytest

from dropoff.alerts.files import Place
from dropoff.alerts.links import link
from dropoff.alerts.rules import parse
from dropoff.metrics import METRICS
from dropoff.project.funnels import parse_json

NOON = datetime(2024, 1, 15, 12, tzinfo=UTC)
FAST = parse_json('{"steps":[{"event":"conversation_started"},{"event":"message_received"}],"window":"10m"}')


@pytest.mark.parametrize(
    ("changes", "segment", "path"),
    [
        (
            {}, None,
            "/trends?metric=fallback_rate&interval=hour&from=2024-01-15T09%3A00%3A00Z&to=2024-01-15T14%3A00%3A00Z",
        ),
        (
            {"window": "3d", "where": "channel=sms", "by": "country"}, "country=de",
            "/trends?metric=fallback_rate&interval=day&from=2024-01-06T12%3A00%3A00Z&to=2024-01-18T13%3A00%3A00Z"
            "&where=channel%3Dsms&where=country%3Dde",
        ),
        ({"metric": "funnel:fast"}, None, "/?name=fast&from=2024-01-15T09%3A00%3A00Z&to=2024-01-15T14%3A00%3A00Z"),
    ],
)  # fmt: skip
def test_it_leads_to_what_was_measured_around_that_time(changes, segment, path):
    table = {"name": "r", "metric": "fallback_rate", "condition": "exceeds", "threshold": 0.5, "window": "1h"}
    (rule,) = parse([table | changes], Place("r"), METRICS, {"fast": FAST})
    assert link(rule, segment, NOON, NOON + timedelta(hours=1)) == path
