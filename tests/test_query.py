from datetime import UTC, datetime

import pytest

from dropoff.errors import InvalidInput
from dropoff.periods import Period, parse_duration
from dropoff.query import DIMENSIONS, Where, flag, number, one, parse_query, parse_where, whole_number

NOW = datetime(2024, 3, 1, tzinfo=UTC)
DEFAULT = Period(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 31, tzinfo=UTC), "UTC")


def query(**params):
    params = {name.rstrip("_"): [value] if isinstance(value, str) else value for name, value in params.items()}
    return parse_query(params, NOW, DEFAULT)


def test_without_parameters_everything_of_the_default_period():
    found = query()
    assert (found.period, found.now, found.where, found.by, found.include_test) == (DEFAULT, NOW, (), None, False)


def test_empty_parameters_are_not_given():
    assert query(from_="", to="", by="", include_test="", timezone="") == query()


def test_a_query_is_a_value():
    assert hash(query(by="channel")) == hash(query(by="channel"))


def test_dates_are_days_of_the_zone_and_instants_are_exact():
    found = query(from_="2024-01-15", to="2024-01-16T12:00+01:00", timezone="America/New_York")
    assert found.period.start == datetime(2024, 1, 15, 5, tzinfo=UTC)
    assert found.period.end == datetime(2024, 1, 16, 11, tzinfo=UTC)


def test_one_end_alone_keeps_the_other_of_the_default():
    assert query(from_="2024-01-15").period.end == DEFAULT.end
    assert query(to="2024-01-15").period.start == DEFAULT.start


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"from_": "yesterday"}, "from == 'yesterday', must be a date like '2024-01-31' or an instant with an offset"),
        ({"from_": "2024-02-30"}, "from == '2024-02-30', must be a date"),
        ({"from_": "2024-01-15T10:00"}, "from == '2024-01-15T10:00', must be a date"),
        ({"from_": "2024-01-20", "to": "2024-01-10"}, "to == '2024-01-10', must be later than from (2024-01-20)"),
        ({"from_": "2024-01-20", "to": "2024-01-20"}, "to == '2024-01-20', must be later than from (2024-01-20)"),
        ({"timezone": "Mars/Base"}, "timezone == 'Mars/Base', must be an IANA zone like 'Europe/Berlin'"),
        ({"timezone": "../etc/passwd"}, "timezone == '../etc/passwd', must be an IANA zone"),
        ({"by": "shoe_size"}, "by == 'shoe_size', must be one of channel, direction, medium"),
        ({"by": "chanel"}, "or property:<name>; did you mean channel?"),
        ({"where": "channel"}, "where == 'channel', must be like 'channel=sms'"),
        ({"where": "id=1"}, "where == 'id', must be one of channel"),
        ({"include_test": "perhaps"}, "include_test == 'perhaps', must be 1 or 0"),
        ({"from_": ["2024-01-01", "2024-01-02"]}, "must be given once"),
    ],
)
def test_what_is_wrong_is_named_with_its_value_and_rule(params, message):
    with pytest.raises(InvalidInput) as caught:
        query(**params)
    assert message in str(caught.value)


def test_conditions_join_by_dimension():
    found = parse_where(["channel=sms", "source = a=b ", "channel=chat"])
    assert found == (Where("channel", ("sms", "chat")), Where("source", ("a=b",)))


def test_a_channel_is_found_however_it_is_written():
    found = parse_where(["channel=E-Mail", "channel=web-chat", "channel=(none)", "channel=--", "source=Web-Site"])
    assert found == (Where("channel", ("email", "chat", "(none)", "--")), Where("source", ("Web-Site",)))


def test_every_dimension_can_be_asked_for():
    assert {w.dimension for w in parse_where([f"{name}=x" for name in DIMENSIONS])} == set(DIMENSIONS)


def test_flags_and_numbers():
    assert [flag({"a": [text]}, "a") for text in ("1", "TRUE", "on", "0", "no")] == [True, True, True, False, False]
    assert number({"a": ["0.3"]}, "a", 0, 0, 1) == 0.3
    assert number({}, "a", 7, 0, 10) == 7
    for text in ("2", "-1", "nan", "inf", "x", "1e999"):
        with pytest.raises(InvalidInput, match="must be a number from 0 to 1"):
            number({"a": [text]}, "a", 0, 0, 1)
    with pytest.raises(InvalidInput, match=r"must be a number from 0\.051 to 1000000000"):
        number({"a": ["0"]}, "a", 1, 0.051, 1e9)
    assert one({"a": ["", "x"]}, "a") == "x"


def test_what_is_counted_is_whole():
    assert [whole_number({"a": [text]}, "a", 1, 0, 9) for text in ("", "5", "5.0", "9")] == [1, 5, 5, 9]
    with pytest.raises(InvalidInput, match=r"a == '2\.5', must be a whole number from 0 to 9"):
        whole_number({"a": ["2.5"]}, "a", 1, 0, 9)
    with pytest.raises(InvalidInput, match="must be a number from 0 to 9"):
        whole_number({"a": ["10"]}, "a", 1, 0, 9)


@pytest.mark.parametrize(
    "ends", [("0001-01-01", "2024-01-01"), ("2024-01-01", "9999-12-31"), ("0001-01-02", "9999-12-30")]
)
def test_a_period_of_another_age_is_refused_before_its_neighbours_are_computed(ends):
    with pytest.raises(InvalidInput, match="of the years 1900 to 2200"):
        query(from_=ends[0], to=ends[1])


@pytest.mark.parametrize("text", ["36501d", "99999999999h", "9" * 5000 + "s"])
def test_a_duration_longer_than_anybody_waits_is_refused(text):
    with pytest.raises(InvalidInput, match="at most 36500 days"):
        parse_duration("within", text)
    assert parse_duration("within", "36500d").days == 36_500
