"""A project's own metrics: what `dropoff.toml` may say, and what is counted then."""

import tomllib
from datetime import UTC, datetime

import pytest

from dropoff.analyse.analytics import Analytics
from dropoff.analyse.custom import registry
from dropoff.errors import InvalidInput
from dropoff.project.settings import load
from worlds import attended, booked, event, retracted, started

NOW = datetime(2024, 3, 1, tzinfo=UTC)


def settings(text, **more):
    return load(**tomllib.loads(text), **more)


def metric(text):
    """The registry in which the metric `own` is defined by its keys."""
    return registry(settings(f'[metrics.own]\ndescription = "ours"\n{text}').metrics)


@pytest.fixture
def value(opened, engine):
    """`value(definition, *events, **params)`: the row of the metric `own` in a store of these events."""

    def ask(text, *events, **params):
        analytics = Analytics(opened(*events, engine=engine), "UTC", lambda: NOW, registry=metric(text))
        params = {name.rstrip("_"): [text] for name, text in params.items()}
        rows = analytics.metrics({"metric": ["own"], **params})["metrics"]
        return {row["segment"]: row for row in rows} if "by" in params else rows[0]

    return ask


def count(where, per="event"):
    return f'unit = "count"\nnumerator = {{ event = "plan_chosen", per = "{per}", where = {where} }}'


def chosen(at=1, **properties):
    return event("plan_chosen", at, **properties)


PLANS = [
    started(),
    chosen(1, plan="pro", seats=5, trial=True),
    chosen(2, plan="basic", seats="7", trial=False),
    chosen(3, plan="pro plus", seats=50.5),
    chosen(4, seats="many"),
]


@pytest.mark.parametrize(
    ("where", "n"),
    [
        ("{}", 4),
        ('{ plan = "pro" }', 1),
        ('{ plan = { "=" = "pro" } }', 1),
        ('{ plan = { "!=" = "pro" } }', 3),
        ('{ plan = { in = ["pro", "basic"] } }', 2),
        ('{ plan = { not_in = ["pro", "basic"] } }', 1),
        ('{ plan = { contains = "pro" } }', 2),
        ("{ plan = { exists = true } }", 3),
        ("{ plan = { exists = false } }", 1),
        ("{ seats = 5 }", 1),
        ('{ seats = { ">=" = 7 } }', 2),
        ('{ seats = { ">" = 7 } }', 1),
        ('{ seats = { "<" = 7 } }', 1),
        ('{ seats = { "<=" = 7 } }', 2),
        ('{ seats = { ">" = 5, "<" = 50 } }', 1),
        ('{ seats = { "!=" = 5 } }', 3),
        ('{ seats = { in = [5, "many"] } }', 2),
        ("{ trial = true }", 1),
        ('{ trial = { "!=" = true } }', 3),
        ('{ seats = { ">" = 1 }, plan = "pro" }', 1),
        ('{ nothing = "x" }', 0),
    ],
)
def test_conditions_on_properties(value, where, n):
    assert value(count(where), *PLANS)["value"] == n


NASTY = ["a'b", 'a"b', "a/b", "a~1b", "$.a", "a;--", "é✓", "*", "a\\b"]


def test_names_and_values_are_data(value):
    """Quotes and the signs of paths in a name or a value select nothing else, and break nothing."""
    events = [chosen(i, properties={name: name}) for i, name in enumerate(NASTY)]
    for name in NASTY:
        text = f"'{name}'" if "'" not in name else f'"{name}"'
        assert value(count(f"{{ {text} = {text} }}"), started(), *events)["value"] == 1, name


def test_conversations_are_counted_once(value):
    events = [*PLANS, event("plan_chosen", 1, "d", plan="pro"), started(conversation_id="d")]
    assert value(count("{}"), *events)["value"] == 5
    assert value(count("{}", "conversation"), *events)["value"] == 2


SHARE = """unit = "{}"
numerator = {{ event = "plan_chosen", where = {{ plan = "pro" }} }}
denominator = {{ event = "{}" }}"""


def test_a_share_has_an_interval(value):
    row = value(SHARE.format("share", "plan_chosen"), *PLANS)
    assert (row["value"], row["numerator"], row["denominator"], row["unit"]) == (0.25, 1, 4, "share")
    assert row["interval"][0] < 0.25 < row["interval"][1]


def test_a_share_that_is_none_is_shown_as_a_ratio(value):
    row = value(SHARE.format("share", "conversation_started"), *PLANS, chosen(6, plan="pro"))
    assert (row["value"], row["unit"], row["interval"]) == (2, "ratio", None)
    assert value(SHARE.format("ratio", "plan_chosen"), *PLANS)["interval"] is None
    assert value(SHARE.format("share", "never_sent"), *PLANS)["value"] is None


def test_by_the_time_of_the_event_or_of_the_start(value):
    late = 5 * 1440
    events = [started(), chosen(late, plan="pro")]
    first_day = {"from_": "2024-01-15", "to": "2024-01-16"}
    assert value(count("{}"), *events, **first_day)["value"] == 0
    assert value('clock = "cohort"\n' + count("{}"), *events, **first_day)["value"] == 1


def test_filters_splits_and_test_traffic_hold_for_them(value):
    events = [
        started(channel="sms"), chosen(), started(conversation_id="d", channel="chat"),
        event("plan_chosen", 1, "d"), started(conversation_id="t", is_test=True), event("plan_chosen", 1, "t"),
    ]  # fmt: skip
    assert value(count("{}"), *events)["value"] == 2
    assert value(count("{}"), *events, include_test="1")["value"] == 3
    assert value(count("{}"), *events, where="channel=sms")["value"] == 1
    assert {name: row["value"] for name, row in value(count("{}"), *events, by="channel").items()} == {
        "sms": 1, "chat": 1,
    }  # fmt: skip


def test_what_was_retracted_is_not_counted(value):
    first, second = chosen(1, event_id="e1"), chosen(2, event_id="e2")
    undo = retracted("e1", 5, "r1")
    assert value(count("{}"), started(), first, second, undo)["value"] == 1
    assert value(count("{}"), started(), first, second, undo, retracted("r1", 6, "r2"))["value"] == 2
    again = (retracted("r1", 6, "r2"), retracted("r2", 7, "r3"))
    assert value(count("{}"), started(), first, second, undo, *again)["value"] == 1


def test_contact_events_stand_under_their_conversation(value):
    came = attended(60, conversation_id=None, contact_id="p", place="Hall")
    text = 'unit = "count"\nnumerator = { event = "meeting_attended", where = { place = "Hall" } }'
    assert value(text, started(contact_id="p", channel="sms"), booked(), came, where="channel=sms")["value"] == 1


COUNT = '[metrics.own]\ndescription = "ours"\nunit = "count"\n'


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        (COUNT, "metrics.own.numerator is missing: it must be given"),
        ('[metrics.own]\nunit = "count"\nnumerator = { event = "x" }', "own.description is missing: it must be given"),
        (COUNT + 'numerator = { event = "x" }\ndenominator = { event = "y" }', "own.denominator == 'y', must be left"),
        (COUNT.replace("count", "share") + 'numerator = { event = "x" }', "must be given: a share has one"),
        (COUNT.replace("count", "money") + 'numerator = { event = "x" }', "own.unit == 'money', must be 'count'"),
        (COUNT + 'numerator = { event = "x", were = {} }', "dropoff.toml: metrics.own.numerator: did you mean where?"),
        (COUNT + 'numerator = { event = "Deal won" }', "must be the name under which it is kept: 'deal_closed'"),
        (COUNT + 'numerator = { event = "" }', "metrics.own.numerator.event == ''"),
        (COUNT + 'numerator = { event = "x", per = "contact" }', "numerator.per == 'contact', must be 'event' or"),
        (COUNT + 'numerator = { event = "x", where = { a = { ">" = "5" } } }', "where.a.> == '5', must be a number"),
        (COUNT + 'numerator = { event = "x", where = { a = { "~" = 5 } } }', "where.a.~ == 5, must be under one of =,"),
        (COUNT + 'numerator = { event = "x", where = { a = { in = "b" } } }', "where.a.in == 'b', must be a list of"),
        (COUNT + 'numerator = { event = "x", where = { a = { exists = 1 } } }', "a.exists == 1, must be true or false"),
        (COUNT + 'numerator = { event = "x", where = { a = inf } }', "where.a.= == inf, must be a text, a number"),
        (COUNT.replace("own", "win_rate") + 'numerator = { event = "x" }', "a name that no metric of Dropoff has"),
        (COUNT.replace("own", "Own") + 'numerator = { event = "x" }', "must be a name of a to z, 0 to 9 and _"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(text, refusal):
    with pytest.raises(InvalidInput) as caught:
        settings(text)
    assert refusal in str(caught.value)


def test_a_count_of_events_adds_up_and_one_of_conversations_does_not():
    assert metric(count("{}"))["own"].additive
    assert not metric(count("{}", "conversation"))["own"].additive
