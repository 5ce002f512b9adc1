import gzip
import os
from collections import Counter
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from reading import RECEIPT, Import, read

from dropoff.errors import InvalidInput
from dropoff.events import MAX_BATCH_EVENTS
from dropoff.intake import read_events
from dropoff.sources import load_mapping, open_source, parse_mapping

DATA = Path(__file__).parents[1] / "data"
EVENT = b'{"event_type":"conversation_started","conversation_id":"c%d","timestamp":1700000000}'
MAPPING = """
[[events]]
type = "{event}"
timestamp = "{at}"
fields = { conversation_id = "{id}" }
properties = { content = "{text}", note = "{note}" }
"""
HEADER = "id,event,at,text,note\n"


def ids(result):
    return [event.conversation_id for event in result.events]


# Native events


@pytest.mark.parametrize("name", ["in.ndjson", "in.jsonl.gz", "in.json"])
def test_lines_pass_through_as_they_are(imported: Import, name: str):
    body = b"\n".join(EVENT % n for n in range(3)) + b"\n"
    result = imported(body, name=name)
    assert result.chunks[0].body == body
    assert ids(result) == ["c0", "c1", "c2"]


def test_a_malformed_line_harms_no_other_and_is_named_by_its_line(imported: Import):
    result = imported(b"\n".join([EVENT % 1, b"", b"{broken", EVENT % 2, b"\xff\xfe"]), name="in.ndjson")
    assert ids(result) == ["c1", "c2"]
    assert [(line, one.reason) for line, one in result.rejected] == [(3, "malformed"), (5, "malformed")]


def test_byte_order_mark_and_windows_line_ends(imported: Import):
    assert ids(imported(b"\xef\xbb\xbf" + EVENT % 1 + b"\r\n" + EVENT % 2 + b"\r\n", name="in.ndjson")) == ["c1", "c2"]


def test_chunks_hold_at_most_ten_thousand_events_and_lines_are_counted_through(imported: Import):
    lines = [EVENT % n for n in range(40_000)]
    lines[35_000] = b"[]"
    result = imported(b"\n".join(lines), name="in.ndjson.gz")
    assert max(chunk.body.count(b"\n") for chunk in result.chunks) <= MAX_BATCH_EVENTS
    assert len(result.events) == 39_999
    assert [line for line, _ in result.rejected] == [35_001]


def test_an_endless_line_is_refused_without_its_neighbours(imported: Import):
    result = imported(b"\n".join([EVENT % 1, b'"' + b"x" * 20_000_000, EVENT % 2]), name="in.ndjson")
    assert ids(result) == ["c1", "c2"]
    assert [(one.line, one.error.reason, len(one.raw)) for one in result.refused] == [(2, "too_large", 32_768)]
    assert "20000002 bytes" in str(result.refused[0].error)
    assert [chunk.first_line for chunk in result.chunks if chunk.body] == [1, 3]


@pytest.mark.parametrize("name", ["in.json", "in.ndjson"])
def test_a_json_array_is_accepted_under_both_names(imported: Import, name: str):
    result = imported(b"\n [\n" + (EVENT % 1).replace(b",", b",\n") + b",\n 7,\n" + EVENT % 2 + b"]", name=name)
    assert ids(result) == ["c1", "c2"]
    assert [(line, one.reason) for line, one in result.rejected] == [(2, "wrong_type")]


def test_an_empty_file_has_no_events(imported: Import):
    assert imported(b"", name="in.ndjson").events == []


# Files that cannot be read


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("in.xlsx", b"", "in.xlsx.*must be named .ndjson"),
        ("in.csv", b"a,b\n", "mapping is missing: it must be given for a csv file"),
        ("in.json", b"[1, 2", "must be a JSON array"),
        ("in.json", "[]".encode("utf-16"), "must be UTF-8"),
        ("in.ndjson", gzip.compress(EVENT % 1)[:-9], "must be a complete gzip file"),
        ("in.ndjson", gzip.compress(os.urandom(9_000_000))[:-9], "must be a complete gzip file"),
    ],
    ids=["unknown suffix", "no mapping", "broken array", "UTF-16", "cut at once", "cut later"],
)
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, name: str, content: bytes, words: str):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidInput, match=words), open_source(tmp_path / name) as source:
        list(source)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("in.csv", b"", "no header"),
        ("in.csv", b"id;event;when\n", r"m.toml: events\[0\].timestamp.time == 'at', must be a column of the file"),
        ("in.csv", b"id,event,at,text,Note\n", "did you mean Note"),
        ("in.csv", b"id,event,at,text,note,at\n", "stands in the file once"),
        ("in.parquet", b"PAR?", "must be a Parquet file"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(imported: Import, name: str, content: bytes, words: str):
    with pytest.raises(InvalidInput, match=words):
        imported(content, MAPPING, name)


def test_missing_files_and_unknown_formats_are_named(tmp_path: Path):
    with pytest.raises(InvalidInput, match="must be a file that can be read"):
        open_source(tmp_path / "none.ndjson")
    with pytest.raises(InvalidInput, match="format == 'xml', must be auto or ndjson"):
        open_source(tmp_path / "none.ndjson", "xml")


# CSV


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("name", ["in.csv", "in.csv.gz"])
def test_csv_in_every_dress(imported: Import, delimiter: str, name: str):
    rows = [
        ["id", "event", "at", "text", "note"],
        ["a", "message_received", "2024-01-15T10:00:00Z", '"two, ""lines"";\nhere"', ""],
        ["b", "message_sent", "1705312800", "plain", "x"],
    ]
    result = imported("\ufeff" + "\r\n".join(delimiter.join(row) for row in rows), MAPPING, name)
    assert [event["properties"] for event in result.native] == [
        {"content": 'two, "lines";\nhere'},
        {"content": "plain", "note": "x"},
    ]
    assert [event.timestamp for event in result.events] == [1_705_312_800_000_000] * 2
    assert list(result.chunks[0].lines) == [2, 4]


def test_broken_rows_are_refused_by_line_and_harm_no_other(imported: Import):
    body = HEADER.encode() + b"\n".join(
        [
            b"a,started,2024-01-15T10:00:00Z,,",
            b"b,started,2024-01-15T10:00:00Z,too short",
            b'c,started,2024-01-15T10:00:00Z,"quo"te,',
            b"",
            b"d,started,2024-01-15T10:00:00Z,\xff,",
            b"e,started,yesterday,,",
            b"f,,2024-01-15T10:00:00Z,,",
            b",started,2024-01-15T10:00:00Z,,",
            b"g,started,2024-01-15T10:00:00Z,,,,",
        ]
    )
    result = imported(body, MAPPING)
    assert ids(result) == ["a", "g"]
    assert [(one.line, one.error.reason, one.error.field) for one in result.refused] == [
        (3, "malformed", "row"),
        (4, "malformed", "row"),
        (6, "malformed", "row"),
        (7, "bad_timestamp", "events[0].timestamp"),
        (8, "missing_event_type", "type"),
    ]
    assert b"yesterday" in result.refused[3].raw
    assert [(line, one.reason) for line, one in result.rejected] == [(9, "missing_id")]


def test_an_unclosed_quote_does_not_swallow_the_file(imported: Import):
    rows = "".join(f"r{n},started,2024-01-15T10:00:00Z,{'x' * 100},\n" for n in range(3_000))
    result = imported(HEADER + 'a,started,2024-01-15T10:00:00Z,"open,\n' + rows, MAPPING)
    assert result.refused[0].line == 2
    assert len(result.events) > 1_500


# Parquet and JSON records


def test_parquet_columns_keep_their_types(tmp_path: Path):
    table = pa.table(
        {
            "id": [1, 2],
            "at": [datetime.fromisoformat(f"2024-{month}-15T10:00") for month in ("01", "07")],
            "due": [date(2024, 2, 1), None],
            "amount": [Decimal("12.50"), None],
            "who": [{"role": "cto"}, {"role": None}],
        }
    )
    pq.write_table(table, tmp_path / "in.parquet")
    mapping = """
    timezone = "Europe/Berlin"
    key = "{id}"
    timestamp = "{at}"
    [fields]
    conversation_id = "{id}"
    [[events]]
    type = "meeting_booked"
    [events.properties]
    meeting_date = { date = "{due}" }
    value = "{amount}"
    role = "{who.role}"
    """
    result = read(tmp_path / "in.parquet", mapping)
    assert [(e["conversation_id"], e["timestamp"], e["properties"]) for e in result.native] == [
        ("1", "2024-01-15T09:00:00Z", {"meeting_date": "2024-02-01", "value": 12.5, "role": "cto"}),
        ("2", "2024-07-15T08:00:00Z", {}),
    ]
    assert [event.id for event in result.events] == ["1/meeting_booked", "2/meeting_booked"]


NESTED = """
records = "data.items"
key = "{id}"
timestamp = { time = "{at}", plus = "{#index} seconds" }
[fields]
conversation_id = "{id}"
[[events]]
each = "log"
if = { "#item.text" = { empty = false } }
timestamp = { time = "{at}", plus = "{#index} seconds" }
type = { column = "#item.by", values = { bot = "message_sent" }, default = "message_received" }
fields = { sequence = "{#index}" }
properties = { content = "{#item.text}", last = "{log.-1.text}" }
"""


def test_nested_records_give_an_event_per_item(imported: Import):
    document = {
        "data": {
            "items": [
                {"id": 7, "at": 1700000000, "log": [{"by": "bot", "text": "hi"}, {"text": "5"}, {"text": ""}]},
                {"id": 8, "at": 1700000000, "log": "none"},
                {"id": 9, "at": 1700000000},
                "no record",
            ]
        }
    }
    mapping = NESTED.replace('timestamp = { time = "{at}", plus = "{#index} seconds" }\n[fields]', "[fields]")
    result = imported(msgspec.json.encode(document), mapping, "in.json")
    assert [(e["event_id"], e["timestamp"], e["sequence"], e["properties"]) for e in result.native] == [
        ("7/message_sent", "2023-11-14T22:13:21Z", 1, {"content": "hi"}),
        ("7/message_received", "2023-11-14T22:13:22Z", 2, {"content": "5"}),
    ]
    assert [(one.line, one.error.field) for one in result.refused] == [(2, "log"), (4, "record")]
    assert sum(chunk.unused for chunk in result.chunks) == 1


def test_ndjson_records_can_be_mapped_too(imported: Import):
    lines = b'{"id":1,"event":"a","at":1700000000}\n\n{"id":\n{"id":3,"event":"b","at":1700000000}'
    result = imported(lines, MAPPING, "in.ndjson")
    assert ids(result) == ["1", "3"]
    assert [(one.line, one.error.reason) for one in result.refused] == [(3, "malformed")]


# Public data sets


def counted(path: Path, mapping: Path | None) -> tuple[Counter[str], list]:
    counts, events = Counter(), []
    with open_source(path, mapping=load_mapping(mapping) if mapping else None) as source:
        for chunk in source:
            intake = read_events(chunk.body, RECEIPT, ndjson=True)
            assert not chunk.refused
            assert not intake.rejections
            assert not chunk.unused
            counts.update(event.event_type for event in intake.events)
            events.extend(e for e in intake.events if e.event_type in ("deal_closed", "feedback"))
    return counts, events


def test_hotel_bookings(shared: Path):
    counts, _ = counted(shared / "hotel_bookings" / "hotel_bookings.csv.gz", DATA / "hotel_bookings.toml")
    assert counts == {
        "conversation_started": 119_390,
        "meeting_booked": 119_390,
        "meeting_attended": 75_166,
        "meeting_canceled": 43_017,
        "meeting_no_show": 1_207,
    }


def test_hotel_bookings_first_row(shared: Path):
    path = shared / "hotel_bookings" / "hotel_bookings.csv.gz"
    with open_source(path, mapping=load_mapping(DATA / "hotel_bookings.toml")) as source:
        first = [msgspec.json.decode(line) for line in next(iter(source)).body.split(b"\n")[:3]]
    assert [(e["event_id"], e["timestamp"], e["channel"]) for e in first] == [
        ("1/conversation_started", "2014-07-23T23:00:00Z", "Direct"),  # 1 July 2015 less 342 days, in Lisbon
        ("1/meeting_booked", "2014-07-23T23:00:00Z", "Direct"),
        ("1/meeting_attended", "2015-06-30T23:00:00Z", "Direct"),
    ]
    assert first[1]["properties"] == {
        "meeting_id": "hotel-1",
        "meeting_date": "2015-07-01",
        "meeting_type": "Resort Hotel",
    }
    assert first[0]["properties"]["lead_time"] == 342


def test_casino(shared: Path):
    counts, kept = Counter(), []
    for part in ("train", "valid", "test"):
        found, some = counted(shared / "casino" / f"casino_{part}.json.gz", DATA / "casino.toml")
        counts += found
        kept += some
    deals = Counter(event.won for event in kept if event.event_type == "deal_closed")
    assert counts["conversation_started"] == counts["feedback"] == 1_030
    assert deals == {True: 1_005, False: 25}
    assert {event.csat for event in kept if event.event_type == "feedback"} == {0, 0.25, 0.5, 0.75, 1}


def test_star_sample_passes_through(shared: Path):
    counts, _ = counted(shared / "star" / "sample.ndjson.gz", None)
    with gzip.open(shared / "star" / "sample.ndjson.gz") as lines:
        assert sum(counts.values()) == sum(1 for _ in lines)


def test_a_source_is_closed_after_use(tmp_path: Path):
    (tmp_path / "in.csv").write_bytes(HEADER.encode())
    with open_source(tmp_path / "in.csv", mapping=parse_mapping(MAPPING)) as source:
        assert [chunk.body for chunk in source] == [b""]
