"""What the engines write differently stands in one file, and means the same."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

import dropoff
from dropoff.store import sql
from dropoff.store.base import Store
from worlds import given, started

SOURCES = Path(dropoff.__file__).parent
MAY = {"store/sql.py", "store/duckdb.py", "store/room.py", "store/spans.py", "server/parts.py"}
NAMES = r"duckdb|clickhouse|chdb"
FUNCTIONS = [
    "epoch_us",
    "make_timestamp",
    "strftime",
    "timezone",
    "json_extract_string",
    "list_has_any",
    "list_contains",
    "unnest",
    "quantile_cont",
    "arg_max",
    "isfinite",
    "ends_with",
    "regexp_matches",
    "TRY_CAST",
    "toUnixTimestamp64Micro",
    "fromUnixTimestamp64Micro",
    "toDateTime64",
    "formatDateTime",
    "toTimeZone",
    "JSONExtract\\w*",
    "JSONType",
    "hasAny",
    "arrayJoin",
    "argMax",
    "quantilesExact\\w*",
    "isFinite",
    "endsWith",
    "lowerUTF8",
    "toFloat64OrNull",
    "multiIf",
    "sumIf",
    "countIf",
    "groupArray",
    "now64",
]
WORDS = re.compile(rf"\b(?:{NAMES})|\b(?:{'|'.join(FUNCTIONS)})\s*\(|::[A-Z]{{3,}}|\bMATERIALIZED\b", re.IGNORECASE)
METHODS = re.compile(r"\.(strftime|endswith|ends_with|unnest|arg_max|argmax|timezone|contains|local_\w+)\(")
"""What polars, datetime and a dialect call so."""
_ADDRESSES = {"clickhouse", "clickhouses", "ClickHouse", "chdb"}
NAMED = {"project/settings.py": {"DuckDB", *_ADDRESSES}, "cli/running.py": _ADDRESSES}
"""The help of an option names what it is an option of, and which addresses it takes."""


@pytest.mark.parametrize("path", sorted(SOURCES.rglob("*.py")), ids=lambda p: p.relative_to(SOURCES).as_posix())
def test_no_module_but_the_adapters_knows_an_engine(path: Path):
    name = path.relative_to(SOURCES).as_posix()
    if name in MAY or name.startswith("store/clickhouse/"):
        return
    found = set(WORDS.findall(METHODS.sub("", path.read_text())))
    assert found <= NAMED.get(name, set())


@pytest.fixture(scope="module")
def store(engine: str, tmp_path_factory: pytest.TempPathFactory):
    store = given(started(), directory=tmp_path_factory.mktemp("one"), engine=engine)
    yield store
    store.close()


def one(store: Store, expression: str, table: str = "(SELECT 1 AS one)"):
    return store.select(f"SELECT {expression} AS found FROM {table}").rows[0][0]


JSON = """{"text": "a\\"b\\u00fc", "empty": "", "int": 7, "whole": 1.0, "real": 0.1, "exponent": 1e3, "small": 1e-7,
 "yes": true, "none": null, "list": [1, "x"], "object": {"a" : 1}, "a/b~c": "slash",
 "it's": "quote", "back\\\\slash": "b", "int": 8}"""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("text", 'a"bü'), ("empty", ""), ("int", "7"), ("whole", "1.0"), ("real", "0.1"), ("exponent", "1000.0"),
        ("small", "1e-7"), ("yes", "true"), ("none", None), ("missing", None), ("list", '[1,"x"]'),
        ("object", '{"a":1}'), ("a/b~c", "slash"), ("it's", "quote"), ("back\\slash", "b"),
    ],
)  # fmt: skip
def test_members_of_a_json_object(store: Store, name: str, text: str | None):
    table = f"(SELECT {store.dialect.literal(JSON)} AS properties)"
    assert one(store, store.dialect.property_text(name), table) == text


@pytest.mark.parametrize(
    ("text", "number"),
    [("7", 7), (" 7.5 ", 7.5), ("-1e3", -1000), ("0.1", 0.1), ("x", None), ("", None), ("inf", None), ("nan", None),
     ("1,5", None), ("123456789012345678901234567890", 123456789012345678901234567890.0), ("7x", None)],
)  # fmt: skip
def test_texts_as_numbers(store: Store, text: str, number: float | None):
    assert one(store, store.dialect.finite(store.dialect.literal(text))) == number


INSTANTS = ("2024-03-10 06:59:59.999999", "2024-03-10 07:00:00", "2024-11-03 05:30:00", "2024-11-03 06:30:00",
            "2024-12-30 00:00:00", "1969-12-31 23:59:59.999999", "2023-01-01 12:00:00")  # fmt: skip
ZONES = ("UTC", "America/New_York", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia")


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("instant", INSTANTS)
def test_local_times_are_those_of_python(store: Store, instant: str, zone: str):
    moment = datetime.fromisoformat(instant).replace(tzinfo=UTC)
    local = moment.astimezone(ZoneInfo(zone))
    past = timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
    day, d = local.date(), store.dialect
    expected = {
        d.local_hour("t", zone): (moment - past).replace(tzinfo=None),
        d.local_date("day", "t", zone): day,
        d.local_date("week", "t", zone): day - timedelta(days=day.weekday()),
        d.local_date("month", "t", zone): day.replace(day=1),
        d.local_part("day_of_week", "t", zone): f"{local:%A}",
        d.local_part("hour_of_day", "t", zone): f"{local:%H}",
        d.local_part("week", "t", zone): f"{local:%G-W%V}",
        d.local_part("month", "t", zone): f"{local:%Y-%m}",
    }
    table = f"(SELECT CAST('{instant}' AS {d.types['instant']}) AS t)"
    found = store.select(f"SELECT {', '.join(expected)} FROM {table}").rows[0]
    assert list(found) == list(expected.values())


def test_totals_are_exact_and_rounded_away_from_zero(store: Store):
    values = [0.1, 0.2, 0.29, 0.57, 1.0000005, -1.0000005, -0.1, None]
    rows = " UNION ALL ".join(f"SELECT {'NULL' if v is None else sql.number(v)} AS v" for v in values)
    assert one(store, store.dialect.total("v", "true"), f"({rows})") == Decimal("1.06")
    assert one(store, store.dialect.total("v", "v > 0.5 AND v < 0.6"), f"({rows})") == Decimal("0.57")
    assert one(store, store.dialect.total("v", "v > 99"), f"({rows})") is None


def test_quantiles_are_interpolated(store: Store):
    rows = " UNION ALL ".join(f"SELECT {sql.number(v)} AS v" for v in (1, 2, 4, 8, 16.5))
    levels = (0.1, 0.5, 0.9, 0.99)
    assert one(store, store.dialect.quantiles("v", levels), f"({rows})") == pytest.approx([1.4, 4, 13.1, 16.16])
    assert not one(store, store.dialect.quantiles("v", levels), f"(SELECT * FROM ({rows}) WHERE v > 99)")


def test_patterns_are_those_of_re2(store: Store):
    d = store.dialect
    for text, found in {"Straße": True, "STRAßE": True, "strasse": False}.items():
        assert bool(one(store, d.matches(d.literal(text), d.literal("(?i)raß")))) == found


def test_texts_are_compared_alike(store: Store):
    d = store.dialect
    assert one(store, d.contains("'100%_a'", d.literal("%_"))) in (True, 1)
    assert one(store, d.contains("'100'", d.literal("%"))) in (False, 0)
    assert one(store, d.ends_with("'Ü@EXAMPLE.com'", d.literal("@example.com"))) in (True, 1)
    assert one(store, d.ends_with("'ÀÜ'", d.literal("àü"))) in (True, 1)
