import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from reading import Import

from dropoff.errors import InvalidEvent, InvalidInput
from dropoff.sources import load_mapping, parse_mapping
from dropoff.sources.columns import of_records, of_table, text_of
from dropoff.sources.values import number_of

DOCS = Path(__file__).parents[2] / "docs" / "import.md"

CONVERSATIONS = """
timezone = "Europe/Berlin"
key = "{id}"
[fields]
conversation_id = "{id}"
[[events]]
type = "conversation_started"
when = "started_at"
[[events]]
type = "message_received"
when = "replied_at"
[[events]]
type = "meeting_booked"
when = "booked_at"
properties = { meeting_date = { time = "{meets_at}" } }
"""


def one(text: str = "", *, event: str = "", top: str = "") -> str:
    """A mapping of one event, with `text` in its properties."""
    return f"""
    {top}
    [[events]]
    type = "custom"
    timestamp = "2024-01-15T10:00:00Z"
    {event}
    fields = {{ conversation_id = "c" }}
    [events.properties]
    {text}
    """


def properties(imported: Import, table: str, mapping: str) -> dict[str, Any]:
    result = imported(table, mapping)
    assert not result.refused
    return result.native[0]["properties"]


def test_one_row_gives_an_event_for_each_time_it_has(imported: Import):
    table = (
        "id;started_at;replied_at;booked_at;meets_at\n"
        "a;2024-01-15 10:00;2024-01-15 10:05;2024-01-16 09:00;2024-02-01 15:00\n"
        "b;2024-07-15 10:00;;;\n"
        "c;;;;\n"
    )
    result = imported(table, CONVERSATIONS)
    assert [(e["event_id"], e["timestamp"]) for e in result.native] == [
        ("a/conversation_started", "2024-01-15T09:00:00Z"),
        ("a/message_received", "2024-01-15T09:05:00Z"),
        ("a/meeting_booked", "2024-01-16T08:00:00Z"),
        ("b/conversation_started", "2024-07-15T08:00:00Z"),
    ]
    assert result.native[2]["properties"] == {"meeting_date": "2024-02-01T14:00:00Z"}
    assert [chunk.unused for chunk in result.chunks] == [1]


def test_one_bad_cell_costs_one_event(imported: Import):
    table = "id,started_at,replied_at,booked_at,meets_at\na,2024-01-15 10:00,soon,,\n"
    result = imported(table, CONVERSATIONS)
    assert [e.event_type for e in result.events] == ["conversation_started"]
    refused = result.refused[0]
    assert (refused.line, refused.error.field, refused.error.value) == (2, "events[1].when", "soon")


def test_a_second_import_gives_the_same_bytes(imported: Import):
    table = "id,started_at,replied_at,booked_at,meets_at\na,2024-01-15 10:00,,2024-01-15,\n"
    assert imported(table, CONVERSATIONS).chunks[0].body == imported(table, CONVERSATIONS).chunks[0].body
    unkeyed = CONVERSATIONS.replace('key = "{id}"', "")
    assert [e.id for e in imported(table, unkeyed).events] == [e.id for e in imported(table, unkeyed).events]


def test_events_of_one_type_in_a_row_have_ids_of_their_own(imported: Import):
    mapping = 'key = ["{a}", "{b}"]' + one() + one()
    result = imported("a,b\nx/y,z\n", mapping)
    assert [e["event_id"] for e in result.native] == ["x//y/z/custom", "x//y/z/custom/2"]
    assert imported("a,b\nx,\n", mapping).refused[0].error.reason == "missing_id"
    long = imported(f"a,b\n{'x' * 300},z\n", mapping)
    assert len({e.id for e in long.events}) == 2


IDS = ["1", "0001", "A1", "1.0", "true", "-7", " 1", "12345678901234567890"]


@pytest.mark.parametrize("name", ["in.csv", "in.json"])
def test_a_key_is_the_text_as_it_stands(imported: Import, name: str):
    rows = [{"id": one} for one in IDS]
    table = "\n".join(["id", *IDS]) if name == "in.csv" else json.dumps(rows)
    result = imported(table, 'key = "{id}"' + one(), name)
    assert [e["event_id"] for e in result.native] == [f"{one}/custom" for one in IDS]


@given(st.lists(st.text("01.,-+eE_ atrue/é", min_size=1, max_size=6).filter(str.strip), min_size=1, max_size=9))
def test_each_spelling_of_a_key_is_a_row_of_its_own_on_every_import(cells: list[str]):
    def ids() -> list[str]:
        row = parse_mapping('key = ["{id}", "x-{id}"]' + one()).bind(of_table(["id"], frozenset({""})))
        return [event["event_id"] for cell in cells for event in row([cell], 1) if isinstance(event, dict)]

    assert ids() == ids()
    assert len(set(ids())) == len(set(cells))
    assert not any("0x" in one for one in ids())


@pytest.mark.parametrize(
    ("key", "column", "record", "expected"),
    [
        ("{lead.id}", "lead", {"lead": {"id": 7}}, "7/custom"),
        ("{lead.id}", "lead", {"lead": {"id": 12345678901234567890123}}, "12345678901234567890123/custom"),
        ("{ids.0}", "ids", {"ids": [1.5]}, "1.5/custom"),
        ("{id}", "id", {"id": True}, "true/custom"),
        ("{id}", "id", {"id": Decimal("1.50")}, "1.50/custom"),
        ("{id}", "id", {"id": UUID(int=1)}, "00000000-0000-0000-0000-000000000001/custom"),
    ],
)
def test_a_key_of_a_record_is_what_a_csv_file_would_hold(key: str, column: str, record: dict[str, Any], expected: str):
    row = parse_mapping(f'key = "{key}"' + one()).bind(of_records(frozenset({""}), [column]))
    assert [event["event_id"] for event in row(record, 1) if isinstance(event, dict)] == [expected]


@pytest.mark.parametrize("value", [Raw(b"1"), b"1", object(), None])
def test_what_no_text_can_stand_for_is_refused(value: object):
    with pytest.raises(InvalidEvent, match="must be a text, a number") as caught:
        text_of(value)
    assert "0x" not in str(caught.value)


def test_bytes_cost_their_row_and_not_the_file():
    mapping = 'key = "{id}"' + one(event='if = { id = "1" }') + one()
    row = parse_mapping(mapping).bind(of_records(frozenset({""})))
    assert [type(event) for event in row({"id": b"1"}, 1)] == [InvalidEvent]
    unkeyed = parse_mapping(mapping.replace('key = "{id}"', "")).bind(of_records(frozenset({""})))
    assert [type(event) for event in unkeyed({"id": b"1"}, 1)] == [InvalidEvent, dict]


def test_the_keys_of_the_documentation_are_the_same_in_another_process(imported: Import, tmp_path: Path):
    table, mapping = blocks("csv")[1], blocks("toml")[1]
    ids = [event["event_id"] for event in imported(table, mapping).native]
    assert ids[0] == "1/conversation_started"
    (tmp_path / "m.toml").write_text(mapping)
    script = (
        "import sys, msgspec; from pathlib import Path; from dropoff.sources import load_mapping, open_source\n"
        "source = open_source(Path(sys.argv[1]), mapping=load_mapping(Path(sys.argv[2])))\n"
        "print(*[msgspec.json.decode(l)['event_id'] for chunk in source for l in chunk.body.splitlines()], sep='\\n')"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "in.csv"), str(tmp_path / "m.toml")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == ids


# Times


@pytest.mark.parametrize(
    ("zone", "cell", "instant"),
    [
        ("Europe/Berlin", "2024-03-30 12:00", "2024-03-30T11:00:00Z"),
        ("Europe/Berlin", "2024-03-31 12:00", "2024-03-31T10:00:00Z"),
        ("Europe/Berlin", "2024-03-31 02:30", "2024-03-31T01:30:00Z"),  # does not exist: moved forward
        ("Europe/Berlin", "2024-10-27 02:30", "2024-10-27T00:30:00Z"),  # exists twice: the first
        ("Europe/Berlin", "2024-03-31T12:00:00-05:00", "2024-03-31T17:00:00Z"),
        ("Europe/Berlin", "2024-03-31", "2024-03-30T23:00:00Z"),
        ("Europe/Berlin", "2024-03-31 12:00:00 UTC", "2024-03-31T12:00:00Z"),
        ("UTC", "1705312800", "2024-01-15T10:00:00Z"),
        ("UTC", "1705312800123", "2024-01-15T10:00:00.123000Z"),
    ],
)
def test_times_are_read_in_the_zone_of_the_file(imported: Import, zone: str, cell: str, instant: str):
    mapping = f'timezone = "{zone}"' + one().replace('"2024-01-15T10:00:00Z"', '"{at}"')
    assert imported(f"at\n{cell}\n", mapping).native[0]["timestamp"] == instant


@pytest.mark.parametrize(
    ("spec", "instant"),
    [
        ('{ time = "{y} {m} {d}", format = "%Y %B %d" }', "2024-03-31T23:00:00Z"),
        ('{ time = "{y} {m} {d}", format = ["%d.%m.%Y", "%Y %B %d"], minus = "{n} days" }', "2024-03-30T00:00:00Z"),
        ('{ time = "{y} {m} {d}", format = "%Y %B %d", plus = ["1 week", "{n} hours"] }', "2024-04-08T01:00:00Z"),
    ],
)
def test_times_are_built_from_columns_and_moved(imported: Import, spec: str, instant: str):
    mapping = 'timezone = "Europe/London"' + one().replace('"2024-01-15T10:00:00Z"', spec)
    assert imported("y,m,d,n\n2024,April,1,2\n", mapping).native[0]["timestamp"] == instant


@pytest.mark.parametrize("cell", ["soon", "31.12.2024", "", "2024-01-15 10:00", "99999999999999999999"])
def test_a_time_that_cannot_be_read_is_refused(imported: Import, cell: str):
    result = imported(f"at,x\n{cell},1\n", one().replace('"2024-01-15T10:00:00Z"', '"{at}"'))
    assert [(r.line, r.error.reason) for r in result.refused] == [(2, "bad_timestamp")]


# Values


def test_values_become_what_their_field_holds(imported: Import):
    text = """
    score = "{n}"
    content = "{n}"
    guess = "{n}"
    zip = "{zip}"
    flag = "{yes}"
    auto_reply = "{yes}"
    as_text = { column = "n", as = "text" }
    scale = [1, "{n}"]
    braces = "{{{n}}}"
    gone = "{none}"
    part = "{n}-{none}"
    default = { column = "none", default = "nothing" }
    """
    assert properties(imported, "n,zip,yes,none\n12.50,01234,true, NULL\n", one(text, top='empty = ["NULL"]')) == {
        "score": 12.5, "content": "12.50", "guess": 12.5, "zip": "01234", "flag": True, "auto_reply": True,
        "as_text": "12.50", "scale": [1, 12.5], "braces": "{12.50}", "default": "nothing",
    }  # fmt: skip


def test_amounts_stay_exact(imported: Import):
    result = imported("a\n0.10\n", one('amount = "{a}"\ncurrency = "EUR"').replace('"custom"', '"deal_won"'))
    assert b'"amount":0.10' in result.chunks[0].body
    assert result.events[0].micros == 100_000


@pytest.mark.parametrize(
    ("decimal", "written", "exact"),
    [
        (".", "1,234.50", b"1234.50"),
        (".", "007", b"7"),
        (".", "+5.", b"5"),
        (",", "1.234,50", b"1234.50"),
        (",", "-0,5", b"-0.5"),
        (".", "1.5e3", b"1500"),
        (".", "12 EUR", None),
        (".", "1e999999", None),
        (".", "nan", None),
    ],
)
def test_numbers_are_read_as_the_file_writes_them(decimal: str, written: str, exact: bytes | None):
    number = number_of(written, decimal)
    assert (None if number is None else bytes(number)) == exact


@given(st.decimals(-1_000_000, 1_000_000, places=4))
def test_every_decimal_number_is_kept(number):
    assert bytes(number_of(str(number), ".")).decode() in (str(number), f"{number:f}")


def test_a_value_that_nothing_stands_for_is_refused(imported: Import):
    mapping = one('a = { column = "s", values = { x = 1 } }\nn = { column = "n", as = "number" }')
    result = imported("s,n\ny,1\nx,one\nx,1\n", mapping)
    assert [(r.line, r.error.reason) for r in result.refused] == [(2, "out_of_range"), (3, "wrong_type")]
    assert "events[0].properties.a (column s) == 'y', must be one of 'x'" in str(result.refused[0].error)
    assert len(result.events) == 1


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        ('{ s = "x" }', "x"),
        ('{ s = ["x", "y"] }', "xy"),
        ('{ s = { not = "x" } }', "y-"),
        ("{ s = { empty = true } }", "-"),
        ("{ s = { empty = false }, n = 2 }", "y"),
    ],
)
def test_conditions(imported: Import, condition: str, rows: str):
    result = imported("s,n,id\nx,1,x\ny,2,y\n,2,-\n", one('id = "{id}"', event=f"if = {condition}"))
    assert "".join(e["properties"]["id"] for e in result.native) == rows


def test_fields_of_the_whole_mapping_yield_to_those_of_an_event(imported: Import):
    mapping = """
    timestamp = "{at}"
    fields = { conversation_id = " {id} ", channel = "email" }
    properties = { a = 1, b = 2 }
    [[events]]
    type = "x"
    fields = { channel = "sms" }
    properties = { b = 3 }
    """
    event = imported("id,at\nc,2024-01-15T10:00Z\n", mapping).native[0]
    assert (event["conversation_id"], event["channel"], event["properties"]) == ("c", "sms", {"a": 1, "b": 3})


# Mistakes in the mapping


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("events = 1", "m.toml: events == 1, must be at least one"),
        ("a = ", r"m.toml is no TOML: Invalid value \(at"),
        ('zone = "UTC"', "unknown key 'zone' in m.toml: did you mean timezone"),
        (
            'timezone = "UTC"\n\nempty = [\n"a"\n',
            r"m.toml is no TOML: Unclosed array \(at end of document, begun in line 3\)$",
        ),
        ("a = [", r"m.toml is no TOML: .* \(at end of document, begun in line 1\)$"),
        ('keyy = "{Lead No}"', r"^unknown key 'keyy' in m.toml: did you mean key\?$"),
        ("a = 5", "unknown key 'a' in m.toml: known are timezone, decimal"),
        ('timezone = "Mars"', "m.toml: timezone == 'Mars', must be an IANA zone"),
        ('decimal = ";"', r"m.toml: decimal == ';', must be '.' or ','"),
        ('empty = "NULL"', "m.toml: empty == 'NULL', must be a list of texts"),
        ('key = "id"', "m.toml: key == 'id', must be a text like '{id}'"),
        ('key = "{#index}"', "must be used only where the event has 'each'"),
        (one().replace('"custom"', '"?"'), r"m.toml: events\[0\].type == '\?', must be a name"),
        (one().replace('"custom"', "5"), r"m.toml: events\[0\].type == 5, must be an event type"),
        (one().replace("conversation_id", "source"), r"unknown key 'source' in m.toml: events\[0\].fields: "),
        (
            one().replace('conversation_id = "c"', ""),
            r"events\[0\].fields == \[\], must be given, with conversation_id",
        ),
        (
            one().replace('timestamp = "2024-01-15T10:00:00Z"', ""),
            r"events\[0\].timestamp is missing: it must be given",
        ),
        (one('a = "{b"'), r"events\[0\].properties.a == '{b', must be a text with '{column}'"),
        (one('a = "{}"'), r"events\[0\].properties.a == '{}', must be a text with"),
        (one('a = "{#item.x}"'), "== '#item.x', must be used only where"),
        (one("a = { b = 1 }"), r"events\[0\].properties.a == {'b': 1}, must be a text, a number"),
        (one('a = { column = "b", foo = 1 }'), r"'foo' in m.toml: events\[0\].properties.a: known are col"),
        (one('a = { column = "{b}" }'), r"properties.a.column == '{b}', must be the name of a column"),
        (one('a = { column = "b", as = "int" }'), "properties.a.as == 'int', must be 'text' or 'number'"),
        (one('a = { column = "b", values = {} }'), "properties.a.values == {}, must be a table of at least one"),
        (one('a = { column = "b", values = { x = [] } }'), r"properties.a.values.x == \[\], must be a text"),
        (one('a = { time = "{b}", format = "%Q" }'), "properties.a.format == '%Q', must be a format like"),
        (one('a = { time = "{b}", plus = "3 moons" }'), "properties.a.plus == '3 moons', must be a span like '3 days'"),
        (one('a = { time = "{b}", plus = "x days" }'), "properties.a.plus == 'x days', must be a span"),
        (one("a = { date = 5 }"), "properties.a.date == 5, must be a text like"),
        (one(event="if = 5"), r"events\[0\].if == 5, must be a table like"),
        (one(event="if = { a = { is = 5 } }"), r"unknown key 'is' in m.toml: events\[0\].if.a: known are not"),
        (one(event="if = { a = {} }"), r"events\[0\].if.a == {}, must be {not = value}"),
        (one(event="if = { a = [] }"), r"events\[0\].if.a == \[\], must be a value or a list"),
        (one(event='when = "{a}"'), r"events\[0\].when == '{a}', must be the name of a column"),
    ],
)
def test_every_mistake_names_file_key_value_and_rule(text: str, words: str):
    with pytest.raises(InvalidInput, match=words):
        parse_mapping(text, "m.toml")


def test_a_mapping_that_cannot_be_read_is_refused(tmp_path: Path):
    with pytest.raises(InvalidInput, match="must be a file that can be read"):
        load_mapping(tmp_path / "none.toml")
    (tmp_path / "m.toml").write_bytes(b"a = '\xff'")
    with pytest.raises(InvalidInput, match="must be a text in UTF-8"):
        load_mapping(tmp_path / "m.toml")


# The documentation


def blocks(language: str) -> list[str]:
    parts = DOCS.read_text("utf-8").split(f"```{language}\n")[1:]
    return [part.split("```")[0] for part in parts]


def test_the_examples_of_the_documentation_are_complete(imported: Import):
    for table, mapping, count in zip(blocks("csv"), blocks("toml"), (3, 5), strict=False):
        result = imported(table, mapping)
        assert (len(result.events), result.refused, result.rejected) == (count, [], [])


def test_every_mapping_of_the_documentation_can_be_read():
    assert len([parse_mapping(text) for text in blocks("toml")]) >= 2
