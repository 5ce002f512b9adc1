import csv
from io import StringIO

import pytest

from dropoff.dashboard.frame import files
from dropoff.errors import InvalidInput

PERIOD = {"from": "2024-01-01T00:00:00+00:00", "to": "2024-02-01T00:00:00+00:00", "timezone": "UTC"}


def read(rows):
    return list(csv.DictReader(StringIO(b"".join(files.flat_lines(rows)).decode(), newline="")))


def test_what_is_nested_has_its_keys_in_the_name_of_its_column():
    rate = {"value": 0.1234567890123, "interval": [0.1, 0.2], "matured": None}
    aged = {"value": None, "interval": None, "matured": {"value": 0.5, "n": 3}}
    assert read([{"stage": "=booked", "rate": rate, "where": ["a=b"]}, {"stage": "x", "rate": aged}]) == [
        {
            "stage": "'=booked", "rate.value": "0.1234567890123", "rate.interval.low": "0.1",
            "rate.interval.high": "0.2", "where": '["a=b"]', "rate.matured.value": "", "rate.matured.n": "",
        },
        {
            "stage": "x", "rate.value": "", "rate.interval.low": "", "rate.interval.high": "", "where": "",
            "rate.matured.value": "0.5", "rate.matured.n": "3",
        },
    ]  # fmt: skip


def test_a_file_says_what_and_which_days_and_nothing_else():
    params = {"metric": ["win_rate"], "by": ['property:"x"/../é\r\n'], "where": ["channel=sms"]}
    name = files.file_name("/segments", params, {"period": PERIOD})
    assert name == "dropoff_segments_win_rate_property_x_2024-01-01_2024-01-31"
    name = files.file_name("/experiments", {}, {"period": PERIOD | {"from": "1901-01-01T00:00:00+00:00"}})
    assert name == "dropoff_experiments_until_2024-01-31"


def test_a_chart_that_the_page_does_not_have_is_refused():
    with pytest.raises(InvalidInput, match="rows"):
        files.csv_file("/trends", "pie", {"points": []}, "x")
