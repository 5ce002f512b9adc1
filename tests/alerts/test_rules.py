"""Rules: the mission's as they are, TOML, and what is refused, with its place."""

import json
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from dropoff.alerts import hours
from dropoff.alerts.files import Place, of_json
from dropoff.alerts.rules import KEYS, merged, parse, read
from dropoff.alerts.starters import check_notified, configured, starters
from dropoff.analyse.custom import registry
from dropoff.errors import InvalidInput
from dropoff.project.settings import load

MISSION = [
    {"metric": "response_rate", "condition": "drops_below", "threshold": 0.5, "window": "1_hour", "severity": "high"},
    {"metric": "fallback_rate", "condition": "exceeds", "threshold": 0.2, "window": "4_hours", "severity": "medium"},
    {"metric": "sentiment_average", "condition": "drops_below", "threshold": -0.2, "window": "1_hour",
     "severity": "high"},
]  # fmt: skip
TOML = """
timezone = "Europe/Berlin"

[[alerts]]
name = "slow"
metric = "response_time"
condition = "exceeds"
threshold = 30
window = "90m"

[[alerts]]   # by channel
metric = "fallback_rate"
condition = "exceeds"
threshold = 0.2
window = "1d"
where = ["channel=sms", "channel=chat"]
by = "bot_version"
for = "10m"
"""


@pytest.mark.parametrize("form", ["list", "object", "lines", "alone"])
def test_the_missions_rules_are_taken_as_they_are(tmp_path, form):
    text = {
        "list": json.dumps(MISSION), "object": json.dumps({"alerts": MISSION}),
        "lines": "\n".join(map(json.dumps, MISSION)), "alone": json.dumps(MISSION[0]),
    }[form]  # fmt: skip
    file = tmp_path / "rules.json"
    file.write_text(text)
    found = read(file)
    assert [rule.name for rule in found] == [
        "response_rate drops_below 0.5 in 1_hour",
        "fallback_rate exceeds 0.2 in 4_hours",
        "sentiment_average drops_below -0.2 in 1_hour",
    ][: len(found)]
    assert len(found) == (1 if form == "alone" else 3)
    assert (found[0].window, found[0].severity, found[0].min_n) == (timedelta(hours=1), "high", 30)


def test_rules_of_toml(tmp_path):
    file = tmp_path / "rules.toml"
    file.write_text(TOML)
    slow, fallbacks = read(file)
    assert (slow.name, slow.window, slow.direction) == ("slow", timedelta(minutes=90), "up")
    assert fallbacks.where[0].values == ("sms", "chat")
    assert fallbacks.name == "fallback_rate exceeds 0.2 in 1d by bot_version where channel=sms|chat"
    assert fallbacks.hold == timedelta(minutes=10)


@pytest.mark.parametrize(
    ("wrong", "line", "message"),
    [
        (("threshold = 30", 'threshold = "high"'), 8, "threshold == 'high', must be a number"),
        (('"response_time"', '"respnse_time"'), 6, "metric == 'respnse_time', must be one of conversations_started"),
        (('condition = "exceeds"', 'condition = "over"'), 7, "condition == 'over', must be one of drops_below"),
        (('"90m"', '"1 hours 30"'), 9, "window == '1 hours 30', must be like '90m'"),
        (('"90m"', '"7m"'), 9, "window == '7m', must be 5 minutes to 31 days"),
        (('name = "slow"', 'naem = "slow"'), 5, "naem == 'slow', must be left out: the keys are name,"),
        (('by = "bot_version"', 'by = "color"'), 17, "by == 'color', must be one of channel"),
        (('for = "10m"', 'for = "8d"'), 18, "for == '8d', must be at most 7 days"),
        (("threshold = 30\n", ""), 4, "threshold is missing: it must be given"),
        (("threshold = 30", "threshold = 30\nschedule = 'never'"), 9, "schedule == 'never', must be like 'mon-fri"),
        (('where = ["channel=sms"', 'where = ["channel"'), 16, "where == ['channel', 'channel=chat'], must be like"),
    ],
)
def test_a_wrong_rule_is_refused_with_file_line_key_value_and_rule(
    tmp_path, wrong: tuple[str, str], line: int, message: str
):
    file = tmp_path / "rules.toml"
    assert wrong[0] in TOML
    file.write_text(TOML.replace(wrong[0], wrong[1], 1))
    with pytest.raises(InvalidInput) as refused:
        read(file)
    assert str(refused.value).startswith(f"{file}:{line}: alerts[")
    assert message in str(refused.value)


@pytest.mark.parametrize("text", ["[" * 100_000, "9" * 5000, '{"metric": '])
def test_what_is_no_json_is_refused_as_such(text):
    with pytest.raises(InvalidInput, match=r"must be JSON, or TOML in a file \.toml"):
        of_json(text, "rules")


def test_the_line_of_a_wrong_key_in_json(tmp_path):
    file = tmp_path / "rules.json"
    file.write_text(json.dumps([*MISSION[:2], MISSION[2] | {"severity": "loud"}], indent=1))
    with pytest.raises(InvalidInput, match=r"rules\.json:21: alerts\[2\]\.severity == 'loud', must be one of low, "):
        read(file)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"metric": "revenue"}, "metric == 'revenue', must be one without a currency"),
        ({"metric": "leads", "condition": "anomaly", "threshold": 0.01}, "leads cannot be added up over its past"),
        ({"threshold": 1.5}, "threshold == 1.5, must be a share, 0 to 1"),
        ({"condition": "drops_below", "direction": "up"}, "direction == 'up', must be left out, or down"),
        ({"condition": "anomaly", "threshold": 3}, "threshold == 3, must be the chance"),
        ({"metric": "deals_closed", "no_data": "alert"}, "no_data == 'alert', must be ok or keep"),
        (
            {"metric": "funnel:mine"},
            "metric == 'funnel:mine', must be funnel:NAME or funnel:NAME/STEP of a funnel of your own: there is none",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(table, message):
    with pytest.raises(InvalidInput) as refused:
        parse([MISSION[1] | table], Place("r"))
    assert message in str(refused.value)


def test_two_rules_of_one_name_are_refused():
    with pytest.raises(InvalidInput, match=r"alerts\[1\]\.name == .* must be the name of one rule"):
        parse([MISSION[0], MISSION[0]], Place("r"))
    assert len(parse([MISSION[0], MISSION[0] | {"name": "again"}], Place("r"))) == 2


def test_the_starter_set_covers_what_the_mission_names_and_can_be_changed():
    watched = {rule.metric for rule in starters()}
    assert watched >= {
        "conversations_started", "response_rate", "fallback_rate", "error_rate", "sentiment_average", "escalation_rate",
        "booking_rate", "conversion_rate", "human_messages", "meetings_booked", "deals_closed",
    }  # fmt: skip
    assert {rule.direction for rule in starters() if rule.metric == "conversations_started"} == {"up", "down"}
    own = parse([{"name": "errors", "enabled": False}, MISSION[1] | {"name": "fallbacks"}], Place("r"))
    found = {rule.name: rule for rule in merged(own, starters())}
    assert "errors" not in found
    assert found["fallbacks"].written == "4_hours"
    assert len(found) == len(starters()) - 1


def test_rules_of_the_settings_are_refused_at_their_line(tmp_path, monkeypatch):
    (tmp_path / "dropoff.toml").write_text(TOML.replace("threshold = 30", "threshold = true"))
    monkeypatch.setenv("DROPOFF_CONFIG", str(tmp_path / "dropoff.toml"))
    settings = load()
    with pytest.raises(InvalidInput, match=r"dropoff\.toml:8: alerts\[0\]\.threshold == True, must be a number"):
        configured(settings, registry(settings.metrics))
    (tmp_path / "dropoff.toml").write_text(TOML.replace("threshold = 30", 'threshold = 30\nnotify = ["boss", "opps"]'))
    with pytest.raises(InvalidInput, match=r"dropoff\.toml:9: alerts\[0\]\.notify == 'opps', must be a receiver: boss"):
        check_notified(load(), registry({}), ["boss"])
    (tmp_path / "dropoff.toml").write_text("starter_alerts = false\n" + TOML)
    settings = load()
    assert [rule.starter for rule in configured(settings, registry(settings.metrics))] == [False, False]


BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("mon-fri 09:00-18:00", "2024-01-15T09:00", "2024-01-15T18:00"),
        ("sat,sun", "2024-01-20T00:00", "2024-01-22T00:00"),
        ("22:00-06:00", "2024-01-15T05:59", "2024-01-15T06:00"),
        ("fri 22:00-06:00", "2024-01-20T03:00", "2024-01-19T03:00"),
        ("fri-mon", "2024-01-15T12:00", "2024-01-16T12:00"),
        ("2024-12-24..2024-12-26", "2024-12-26T23:59", "2024-12-27T00:00"),
        ("2024-12-24 18:00-24:00", "2024-12-24T18:00", "2024-12-25T18:00"),
    ],
)
def test_spans_are_of_local_time(text, inside, outside):
    span = hours.parse("schedule", text)
    assert span.holds(datetime.fromisoformat(inside).replace(tzinfo=BERLIN))
    assert not span.holds(datetime.fromisoformat(outside).replace(tzinfo=BERLIN))
    utc = datetime.fromisoformat(inside).replace(tzinfo=BERLIN).astimezone(UTC)
    assert hours.watches([span], [], utc, BERLIN)
    assert not hours.watches([], [span], utc, BERLIN)


@pytest.mark.parametrize(
    "text", ["", "monday", "09:00", "09:00-25:00", "2024-02-30", "2024-02-02..2024-02-01", "a b c"]
)
def test_what_is_no_span_is_refused(text):
    with pytest.raises(InvalidInput, match="mute"):
        hours.parse("mute", text)


def test_every_key_of_a_rule_is_documented():
    from pathlib import Path

    page = (Path(__file__).parents[2] / "docs/alerts.md").read_text()
    assert [key for key in KEYS if f"| `{key}` |" not in page] == []
    assert [rule.name for rule in starters() if f"| `{rule.name}` |" not in page] == []
