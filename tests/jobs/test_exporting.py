"""What is exported is whole, typed, taken up again after a kill, and can be imported."""

import hashlib
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from io import BytesIO, StringIO
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from rich.console import Console

from dropoff import terminal
from dropoff.control.access import create_key
from dropoff.control.sqlite import SqliteControl
from dropoff.errors import InvalidInput
from dropoff.jobs.exporting import UNFINISHED, export
from dropoff.jobs.importing import import_all
from dropoff.project.settings import Settings, load
from dropoff.server.connect import connect
from dropoff.sources import open_source
from dropoff.store import sql, stream
from dropoff.store.base import Part
from dropoff.store.duckdb import DuckStore
from dropoff.store.tables import TABLES
from servers import Server
from worlds import (
    MADE,
    Dict,
    booked,
    event,
    lost,
    minute,
    opportunity,
    opted_out,
    qualified,
    rated,
    received,
    retracted,
    rows,
    sent,
    started,
    status,
    won,
)

QUIET = Console(quiet=True)
BOOKKEEPING = ("seq", "received_at", "skew", "stamped", "identity")
"""Columns of events that tell of one delivery; an import is another one."""


def world() -> list[Dict]:
    """Events of every kind whose stored form differs from the one sent."""
    yours = {"conversation_id": "d", "contact_id": "p", "channel": "Web-Chat"}
    return [
        started(source="ads", lead_score=70.5, contact_id="q", is_test=True, direction="Outbound"),
        sent("hello", at=1, message_id="m1", cost="0.012345", currency="eur", variant="a"),
        event("message_failed", 2, message_id="m1"),
        opted_out(at=4),
        received("STOP.", at=3, sentiment=-0.25, intent="no", intent_confidence=0.875),
        started(0, **yours),
        sent("hi", at=1, message_id="m2", **yours),
        status("m2", "delivered", 2, **yours),
        received("zwölf 🎉\n\"quoted\"", at=3, event_id="r1", revision=2, sequence=7, **yours),
        qualified(4, event_id="q1", score=80, **yours),
        retracted("q1", 5, **yours),
        rated(4, 6, **yours),
        event("dealLost", 80, deal_id=7, amount="12.50", currency="USD", conversation_id="d"),
        lost(81, deal_id=8, conversation_id="d"),
        booked(20, conversation_id=None, contact_id="p", meeting_id="x", meeting_date="2024-02-01"),
        opportunity(30, conversation_id=None, contact_id="alias", amount=1000, currency="EUR"),
        won(90, conversation_id=None, contact_id="alias", amount="99.999", currency="KWD"),
        event("contact_identified", 40, None, contact_id="p", aliases=["alias"]),
        event("api_called", None, "d", properties={"nested": {"a": [1, 2.5, None, "#x"]}}),
    ]  # fmt: skip


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return filled(tmp_path / "data", world())


def filled(data: Path, events: list[Dict], refused: int = 2) -> Settings:
    """Settings of a data directory into which these events came, and so many that were refused."""
    file = data.parent / "events.ndjson"
    bad = [{"event_type": "qualified", "conversation_id": n} for n in range(refused)]
    file.write_text("".join(json.dumps(one) + "\n" for one in [*events, *bad]))
    settings = load(data=data)
    assert import_all(settings, [file], "auto", None, QUIET)["rejected"] == refused
    return settings


def contents(settings: Settings) -> dict[str, list[Dict]]:
    """All rows that are facts."""
    store = DuckStore(settings.data / "store.duckdb")
    try:
        found = {table: rows(store, sql.PHYSICAL[table]) for table in ("events", *MADE)}
    finally:
        store.close()
    found["events"] = [{k: v for k, v in row.items() if k not in BOOKKEEPING} for row in found["events"]]
    return found


def test_what_was_exported_can_be_imported_and_gives_the_same_tables(settings: Settings, tmp_path: Path):
    export(settings, tmp_path / "out", (), QUIET)
    again = load(data=tmp_path / "again")
    counts = import_all(again, [tmp_path / "out/events.parquet"], "auto", None, QUIET)
    assert (counts["accepted"], counts["rejected"], counts["duplicates"]) == (len(world()), 0, 0)
    assert contents(again) == contents(settings)
    assert len(contents(again)["deals"]) == 3


def test_an_export_imported_where_it_came_from_is_all_copies(settings: Settings, tmp_path: Path):
    before = contents(settings)
    export(settings, tmp_path / "out", ["events"], QUIET)
    file = tmp_path / "out/events.parquet"
    # An event without a time got that of its receipt; brought as its own it is another event of the same id.
    pl.read_parquet(file).filter(~pl.col("stamped")).write_parquet(file)
    counts = import_all(settings, [file], "auto", None, QUIET)
    assert (counts["accepted"], counts["rejected"]) == (0, 0)
    assert contents(settings) == before


def test_the_files_are_typed_and_the_manifest_tells_them(settings: Settings, tmp_path: Path):
    manifest = export(settings, tmp_path / "out", (), QUIET)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(
        ["manifest.json", *(f"{name}.parquet" for name in TABLES)]
    )
    assert json.loads((tmp_path / "out/manifest.json").read_text()) == manifest
    assert manifest["schema"] == 1
    types = {
        "instant": pl.Datetime("us", "UTC"), "exact": pl.Decimal(38, 6), "date": pl.Date(), "text": pl.String(),
        "texts": pl.List(pl.String), "int": pl.Int64(), "uint": pl.UInt64(),
        "float": pl.Float64(), "bool": pl.Boolean(),
    }  # fmt: skip
    for name, told in manifest["tables"].items():
        path = tmp_path / "out" / told["file"]
        frame = pl.read_parquet(path)
        assert {c.name: types[c.type] for c in TABLES[name]}.items() <= dict(frame.schema).items(), name
        assert told["rows"] == len(frame)
        assert told["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert manifest["tables"]["rejected_events"]["rows"] == 2
    console = Console(record=True, file=StringIO(), width=120)
    terminal.exported(manifest, console)
    assert re.search(rf"events +{len(world())} +\d", console.export_text())


def test_readers_find_what_the_views_add_and_test_traffic(settings: Settings, tmp_path: Path):
    export(settings, tmp_path / "out", ["conversations", "messages"], QUIET)
    conversations = pl.read_parquet(tmp_path / "out/conversations.parquet").sort("id")
    assert conversations.select("id", "is_test", "outcome").rows() == [
        ("c", True, "opted_out"),
        ("d", False, "converted"),
    ]
    messages = pl.read_parquet(tmp_path / "out/messages.parquet")
    assert set(messages["content"]) == {"hello", "STOP.", "hi", 'zwölf 🎉\n"quoted"'}
    assert not (tmp_path / "out/events.parquet").exists()


def test_a_directory_with_anything_else_is_refused(settings: Settings, tmp_path: Path):
    out = tmp_path / "out"
    export(settings, out, ["deals"], QUIET)
    with pytest.raises(InvalidInput, match="must be a new or empty directory"):
        export(settings, out, (), QUIET)
    with pytest.raises(InvalidInput, match="must be a new or empty directory"):
        export(settings, out / "manifest.json", (), QUIET)
    with pytest.raises(InvalidInput, match="tables == 'users', must be one of events"):
        export(settings, tmp_path / "new", ["users"], QUIET)
    assert not (tmp_path / "new").exists()


# Interrupted

DIE = """
import os
import dropoff.jobs.exporting as exporting
keep, kept = exporting._keep, []
def keep_and_die(*given):
    keep(*given)
    kept.append(given)
    if len(kept) == 4:
        os.kill(os.getpid(), 9)
exporting._keep = keep_and_die
"""
DIE_NAMING = """
import os
import dropoff.jobs.exporting as exporting
replace = exporting._replace
def die(path, content):
    if path.name == "manifest.json":
        os.kill(os.getpid(), 9)
    replace(path, content)
exporting._replace = die
"""


def killed(first: str, settings: Settings, out: Path) -> None:
    """An export by a process of its own that kills itself."""
    command = ["export", "--to", str(out), "--data", str(settings.data)]
    code = f"{first}\nfrom dropoff.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, *command], check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL


@pytest.mark.parametrize(("first", "complete"), [(DIE, 3), (DIE_NAMING, len(TABLES))], ids=["a table", "naming"])
def test_a_killed_export_is_taken_up_again(settings: Settings, tmp_path: Path, first: str, complete: int):
    out = tmp_path / "out"
    killed(first, settings, out)
    assert not (out / "manifest.json").exists()
    before = json.loads((out / UNFINISHED).read_text())["files"]
    assert len(before) == complete
    inodes = {path.name.removesuffix(".part"): path.stat().st_ino for path in out.glob("*.parquet*")}
    manifest = export(settings, out, (), QUIET)
    assert list(manifest["tables"]) == list(TABLES)
    for name, told in before.items():
        assert manifest["tables"][name] == told
        assert (out / told["file"]).stat().st_ino == inodes[told["file"]]
    assert {path.suffix for path in out.iterdir()} == {".parquet", ".json"}
    assert not (out / UNFINISHED).exists()


def test_what_a_killed_export_left_is_not_mixed_with_later_data(settings: Settings, tmp_path: Path):
    killed(DIE, settings, tmp_path / "out")
    filled(settings.data, [received("later", at=100, conversation_id="e")], refused=1)
    manifest = export(settings, tmp_path / "out", (), QUIET)
    assert {name: manifest["tables"][name]["rows"] for name in ("events", "conversations", "rejected_events")} == {
        "events": len(world()) + 1, "conversations": 3, "rejected_events": 3,
    }  # fmt: skip
    assert len(pl.read_parquet(tmp_path / "out/events.parquet")) == len(world()) + 1


def test_what_a_killed_export_of_other_data_left_is_refused(settings: Settings, tmp_path: Path):
    killed(DIE, settings, tmp_path / "out")
    other = filled(tmp_path / "other", [started()])
    with pytest.raises(InvalidInput, match="another data directory"):
        export(other, tmp_path / "out", (), QUIET)


# Through a server


@pytest.fixture
def server(settings: Settings) -> Iterator[Server]:
    with closing(SqliteControl(settings.data / "control.db")) as control:
        create_key(control, "someone", "write", 0)
        create_key(control, "somebody", "admin", 0)
    with Server(settings.data) as running:
        yield running


def test_a_running_server_gives_the_same_files(settings: Settings, tmp_path: Path):
    alone = export(settings, tmp_path / "alone", (), QUIET)
    with Server(settings.data) as server:
        through = export(settings, tmp_path / "through", (), QUIET)
        assert server.running
    for name, told in alone["tables"].items():
        ours, theirs = (pl.read_parquet(tmp_path / where / told["file"]) for where in ("alone", "through"))
        assert sorted(ours.rows(), key=repr) == sorted(theirs.rows(), key=repr), name
        assert ours.schema == theirs.schema
    assert through["schema"] == alone["schema"]


def test_nobody_scans_without_a_token(server: Server):
    assert server.get("/api/v1/scan?part=events").status == 401
    with connect(load(data=server.data)) as connection:
        assert next(part for part, _ in connection.scan([Part("deals")])) == Part("deals")
        with pytest.raises(InvalidInput, match="table == 'pragma_user', must be one of events, "):
            list(connection.scan([Part("pragma_user")]))


def test_a_stream_that_breaks_off_is_not_taken_for_a_whole_one(settings: Settings):
    parts = [Part("events"), Part("meetings")]
    store = DuckStore(settings.data / "store.duckdb")
    sent_bytes = b"".join(stream.encode(store.scan(parts)))
    store.close()
    assert sum(len(frame) for part, frame in stream.decode(BytesIO(sent_bytes), parts) if part == parts[0]) == len(
        world()
    )
    for cut in (len(sent_bytes) // 2, len(sent_bytes) * 9 // 10):
        with pytest.raises((OSError, pa.ArrowInvalid)):
            list(stream.decode(BytesIO(sent_bytes[:cut]), parts))


# Parquet of one's own in our form


def test_parquet_whose_columns_are_those_of_events_needs_no_mapping(tmp_path: Path):
    frame = pl.DataFrame(
        {
            "event_type": ["conversation_started", "message_received", "meeting_booked"],
            "conversation_id": ["c", "c", "c"],
            "timestamp": [minute(0) // 1000, minute(1) // 1000, None],
            "properties": [{"source": "ads", "content": None}, {"source": None, "content": "hello"}, None],
            "other": [1, 2, 3],
        }
    )
    frame.write_parquet(tmp_path / "own.parquet")
    settings = load(data=tmp_path / "data")
    assert import_all(settings, [tmp_path / "own.parquet"], "auto", None, QUIET)["accepted"] == 3
    (conversation,) = contents(settings)["conversations"]
    assert (conversation["source"], conversation["prospect_messages"]) == ("ads", 1)
    assert conversation["booked_at"] is not None


@pytest.mark.parametrize("facts", ["{}", "[]", "no JSON", '{"won": "no", "status": 7}', '{"status": "lost"}'])
def test_parquet_whose_facts_are_not_ours_is_read_without_them(tmp_path: Path, facts: str):
    frame = pl.DataFrame(
        {
            "event_type": ["deal_closed", "message_status"], "conversation_id": ["c", "c"], "facts": [facts] * 2,
            "properties": ['{"amount": 1, "currency": "EUR"}', '{"message_id": "m", "status": "failed"}'],
        }
    )  # fmt: skip
    frame.write_parquet(tmp_path / "own.parquet")
    with open_source(tmp_path / "own.parquet") as source:
        lines = b"\n".join(chunk.body for chunk in source).splitlines()
    assert [json.loads(line)["event_type"] for line in lines] == ["deal_closed", "message_status"]


def test_other_parquet_needs_one(tmp_path: Path):
    pl.DataFrame({"event": ["sale"], "at": [1]}).write_parquet(tmp_path / "own.parquet")
    with pytest.raises(
        InvalidInput, match="mapping is missing: it must be given for a parquet file without the columns"
    ):
        open_source(tmp_path / "own.parquet")
