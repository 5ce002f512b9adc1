"""A copy has what its source has, whatever killed it on the way, and says so only when it is true."""

import io
import json
import re
import signal
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from rich.console import Console
from typer.testing import CliRunner

from brokers import NatsServer, name_of
from clickhouse_http import PASSWORD, USER, endpoint
from dropoff import terminal
from dropoff.cli import app
from dropoff.control.access import Access, create_key, list_keys
from dropoff.control.sqlite import SqliteControl
from dropoff.demo import generate
from dropoff.errors import InvalidInput
from dropoff.jobs.copying import Digest, copy
from dropoff.jobs.importing import import_all
from dropoff.project.settings import Settings, load
from dropoff.server.connect import connect
from dropoff.server.parts import open_control, open_queue
from dropoff.server.serve import _today
from dropoff.store import sql
from dropoff.store.duckdb import DuckStore
from dropoff.store.tables import TABLES
from servers import Server
from test_star import STAR
from worlds import Dict, booked, given, payload, qualified, received, retracted, rows, sent, started

QUIET = Console(quiet=True)
CONVERSATIONS = 150


def demo(seed: int = 7) -> list[Dict]:
    """Of a larger demo the conversations that began last, with all that became of their contacts: rolling up takes its
    time for each week."""
    events = list(generate(4 * CONVERSATIONS, seed, _today()))
    begun = [e for e in events if e["event_type"] == "conversation_started"]
    last = sorted(begun, key=lambda e: e["timestamp"])[-CONVERSATIONS:]
    ids, contacts = {e["conversation_id"] for e in last}, {e["contact_id"] for e in last}
    return [
        e for e in events if (e["conversation_id"] in ids if e.get("conversation_id") else e["contact_id"] in contacts)
    ]


def taken_in(settings: Settings, events: list[Dict], refused: int = 0) -> None:
    file = settings.data.parent / "in.ndjson"
    bad = [{"event_type": "qualified", "conversation_id": n} for n in range(refused)]
    file.write_text("".join(json.dumps(one) + "\n" for one in [*events, *bad]))
    assert import_all(settings, [file], "auto", None, QUIET)["rejected"] == refused


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with demo events, refused ones and keys. It is copied, so that no test changes it."""
    settings = load(data=tmp_path_factory.mktemp("copying") / "data")
    taken_in(settings, demo(), refused=3)
    return settings.data


@pytest.fixture
def settings(filled: Path, tmp_path: Path) -> Settings:
    subprocess.run(["cp", "-r", str(filled), str(tmp_path / "data")], check=True)
    return load(data=tmp_path / "data")


@pytest.fixture(scope="module")
def copied(filled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `data` and its `copy`."""
    folder = tmp_path_factory.mktemp("copied")
    subprocess.run(["cp", "-r", str(filled), str(folder / "data")], check=True)
    copy(load(data=folder / "data"), str(folder / "copy"), QUIET)
    return folder


@pytest.fixture
def pair(copied: Path, tmp_path: Path) -> tuple[Settings, Path]:
    """Data and its copy, which a test may change."""
    subprocess.run(["cp", "-r", f"{copied}/data", f"{copied}/copy", str(tmp_path)], check=True)
    return load(data=tmp_path / "data"), tmp_path / "copy"


def tables(data: Path) -> dict[str, list[Dict]]:
    """All rows of all tables, as the store gives them: without the checksums that the copy itself makes."""
    store = DuckStore(data / "store.duckdb")
    try:
        return {table: rows(store, sql.PHYSICAL[table]) for table in TABLES}
    finally:
        store.close()


def same(first: Path, second: Path) -> None:
    ours, theirs = tables(first), tables(second)
    for table in TABLES:
        assert ours[table] == theirs[table], table


def test_a_copy_has_the_same_tables(settings: Settings, tmp_path: Path):
    answer = copy(settings, str(tmp_path / "copy"), QUIET)
    assert answer["equal"]
    assert (answer["later"], answer["dead"]) == (0, 0)
    assert [one["table"] for one in answer["tables"]] == list(TABLES)
    assert all(one["equal"] for one in answer["tables"])
    counts = {one["table"]: one["source"]["rows"] for one in answer["tables"]}
    assert (answer["carried"]["events"], answer["carried"]["refused events"]) == (counts["events"], 3)
    assert min(count for table, count in counts.items() if table != "attributions") > 0
    same(settings.data, tmp_path / "copy")
    shown = said(answer)
    assert re.search(r"conversations +150 +150  equal", shown)
    assert "refused events carried: 3" in shown
    assert "came later" not in shown
    answer["tables"][2]["equal"], answer["later"] = False, 1
    assert re.search(r"conversations +150 +150  DIFFERENT", said(answer))
    assert "1 event came later" in said(answer)


def said(answer: dict[str, Any]) -> str:
    """What the command prints."""
    console = Console(record=True, file=io.StringIO(), width=120)
    terminal.copied(answer, console)
    return console.export_text()


def test_the_copy_answers_as_the_source_does(pair: tuple[Settings, Path]):
    settings, to = pair
    answers = []
    for data in (settings.data, to):
        with connect(load(data=data)) as connection:
            answers.append([connection.ask(question, {}) for question in ("funnel", "metrics", "conversations")])
    for ours, theirs in zip(*answers, strict=True):
        assert {**ours, "as_of": ""} == {**theirs, "as_of": ""}


def test_keys_are_carried_and_logins_are_not(settings: Settings, tmp_path: Path):
    with closing(SqliteControl(settings.data / "control.db")) as control:
        secret = create_key(control, "website", "write", 1.0)
        control.put("session/x", b"{}")
    copy(settings, str(tmp_path / "copy"), QUIET)
    with closing(SqliteControl(tmp_path / "copy/control.db")) as control:
        assert [key.name for key in list_keys(control)] == ["website"]
        assert secret.startswith("dw_")
        assert not control.list("session/")
        assert control.get("identity") is not None
        assert not control.list("copy/")


def test_the_copy_takes_events_of_its_own(settings: Settings, tmp_path: Path):
    """Its queue begins at the beginning: nothing that comes is taken for known."""
    copy(settings, str(tmp_path / "copy"), QUIET)
    before = len(tables(tmp_path / "copy")["events"])
    taken_in(load(data=tmp_path / "copy"), [started(conversation_id="new"), booked(conversation_id="new")])
    assert len(tables(tmp_path / "copy")["events"]) == before + 2


def test_a_later_run_carries_only_what_came_since(settings: Settings, tmp_path: Path):
    to = str(tmp_path / "copy")
    first = copy(settings, to, QUIET)
    known = tables(settings.data)["events"][0]
    more = [
        received("late", at=1, conversation_id=known["conversation_id"]),
        started(conversation_id="new", contact_id="p"), qualified(event_id="q", conversation_id="new"),
        retracted("q", conversation_id="new"), booked(5, conversation_id=None, contact_id="p"),
    ]  # fmt: skip
    taken_in(settings, more, refused=1)
    second = copy(settings, to, QUIET)
    assert second["carried"]["events"] == len(more)
    assert second["carried"]["refused events"] == 1
    assert second["equal"]
    assert second["tables"][0]["target"]["rows"] == first["tables"][0]["target"]["rows"] + len(more)
    assert copy(settings, to, QUIET)["carried"]["events"] == 0
    same(settings.data, tmp_path / "copy")


def test_events_that_replaced_others_since_replace_them_in_the_copy(settings: Settings, tmp_path: Path):
    to = str(tmp_path / "copy")
    taken_in(settings, [sent("one", event_id="e", revision=1)])
    copy(settings, to, QUIET)
    taken_in(settings, [sent("two", event_id="e", revision=2)])
    answer = copy(settings, to, QUIET)
    assert (answer["carried"]["events"], answer["equal"]) == (1, True)
    same(settings.data, tmp_path / "copy")


def test_what_is_dead_stays_is_said_and_is_carried_once_it_lives(settings: Settings, tmp_path: Path):
    to = str(tmp_path / "copy")
    with closing(open_queue(settings)) as queue:
        queue.dead_letter(payload([started(conversation_id="revived")]), "an old mistake")
    answer = copy(settings, to, QUIET)
    assert (answer["dead"], answer["equal"]) == (1, True)
    assert "1 event could not be processed and stay here: dropoff dead replay, then copy again" in said(answer)
    with connect(settings) as connection:
        assert connection.replay_dead() == {"replayed": 1}
    answer = copy(settings, to, QUIET)
    assert (answer["carried"]["events"], answer["dead"], answer["equal"]) == (1, 0, True)


def test_refused_events_forgotten_at_the_source_are_forgotten(settings: Settings, tmp_path: Path):
    to = str(tmp_path / "copy")
    copy(settings, to, QUIET)
    with connect(settings) as connection:
        found = connection.ask("rejected", {})["rejected"]
        connection.delete_rejected([found[0]["id"]])
    answer = copy(settings, to, QUIET)
    assert answer["equal"]
    assert answer["tables"][-1]["target"]["rows"] == 2


def test_a_target_that_was_emptied_is_filled_again(pair: tuple[Settings, Path]):
    settings, to = pair
    (to / "store.duckdb").unlink()
    answer = copy(settings, str(to), QUIET)
    assert answer["equal"]
    assert answer["carried"]["events"] == answer["tables"][0]["source"]["rows"]


def test_a_target_with_other_data_is_refused(settings: Settings, tmp_path: Path):
    given(started(), directory=tmp_path).close()
    with pytest.raises(InvalidInput, match="must be empty, or what an earlier copy of this data made"):
        copy(settings, str(tmp_path), QUIET)
    with pytest.raises(InvalidInput, match="must be another directory"):
        copy(settings, f"{settings.data}/", QUIET)


CHANGES = {
    "a message gone": ("messages", "DELETE FROM message_rows WHERE id = (SELECT min(id) FROM message_rows)"),
    "a conversation twice": (
        "conversations", "INSERT INTO conversation_rows SELECT * FROM conversation_rows ORDER BY key LIMIT 1"),
    "an instant moved": (
        "events", "UPDATE event_rows SET timestamp = timestamp + INTERVAL 1 MICROSECOND WHERE seq = 100"),
    "a value gone": ("conversations", "UPDATE conversation_rows SET path = path[2:] WHERE len(path) > 3"),
    "a sum changed": ("metrics_daily", "UPDATE metrics_daily SET numerator = numerator + 0.000001"),
}  # fmt: skip


@pytest.mark.parametrize(("table", "change"), CHANGES.values(), ids=CHANGES)
def test_a_difference_is_found_and_ends_with_1(pair: tuple[Settings, Path], table: str, change: str):
    settings, to = pair
    with duckdb.connect(str(to / "store.duckdb")) as connection:
        connection.execute(change)
    done = CliRunner().invoke(app, ["copy", "--to", str(to), "--data", str(settings.data), "--json"])
    assert done.exit_code == 1, done.output
    answer = json.loads(done.stdout)
    assert not answer["equal"]
    assert [one["table"] for one in answer["tables"] if not one["equal"]] == [table]


def test_checksums_do_not_depend_on_order_or_frames():
    frame = pl.DataFrame(
        {
            "key": [1, 2, 2], "conversation_id": ["a", None, None], "timestamp": [0, 1, 1],
            "fallback": [True, None, None], "error": [False] * 3, "alone": [None, True, True],
        },
        schema_overrides={"key": pl.UInt64, "timestamp": pl.Datetime("us")},
    )  # fmt: skip

    def of(*parts: pl.DataFrame) -> dict[str, Any]:
        digest = Digest("turns")
        for part in parts:
            digest.add(part)
        return digest.to_dict()

    assert of(frame) == of(frame[2:], frame[:2]) == of(frame.reverse())
    zoned = frame.with_columns(pl.col("timestamp").dt.replace_time_zone("UTC"))
    assert of(frame) == of(zoned.select(reversed(zoned.columns)))
    assert of(frame)["checksum"] != of(frame[:2])["checksum"] != of(frame[[0, 0, 1]])["checksum"]


# Killed

SMALL = "import dropoff.store.duckdb as duckdb; duckdb.ROW_GROUP = 500"
"""Many small batches instead of one."""
DIE = """
import os
from dropoff.control.sqlite import SqliteControl
put, puts = SqliteControl.put, []
def put_and_die(self, key, value, version=None):
    counts = key.startswith("copy/") and b'"seq":-1' not in value
    puts.extend([key] * counts)
    if counts and len(puts) == {put} and not {after}:
        os.kill(os.getpid(), 9)
    done = put(self, key, value, version)
    if counts and len(puts) == {put} and {after}:
        os.kill(os.getpid(), 9)
    return done
SqliteControl.put = put_and_die
"""
DIE_LATER = """
import os
import dropoff.jobs.copying as copying
copying.refresh = lambda *_: os.kill(os.getpid(), 9)
"""


def run(*more: str, settings: Settings, to: Path | str, first: str = "") -> subprocess.CompletedProcess[bytes]:
    """`dropoff copy` by a process of its own. `first` is Python that runs before anything else in it."""
    code = f"{first}\nfrom dropoff.cli import main; main()"
    command = [sys.executable, "-c", code, "copy", "--to", str(to), "--data", str(settings.data), *more]
    return subprocess.run(command, check=False, timeout=240, capture_output=True)


@pytest.mark.parametrize(
    ("first", "batches"),
    [
        (DIE.format(put=1, after=False), 0), (DIE.format(put=3, after=False), 2), (DIE.format(put=3, after=True), 3),
        (DIE_LATER, None),
    ],
    ids=["before the first mark", "before a mark", "after a mark", "before the rollups"],
)  # fmt: skip
def test_a_killed_copy_goes_on_where_it_stopped(settings: Settings, tmp_path: Path, first: str, batches: int | None):
    to = tmp_path / "copy"
    killed = run(settings=settings, to=to, first=f"{SMALL}\n{first}")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    answer = copy(settings, str(to), QUIET)
    assert answer["equal"]
    everything = answer["tables"][0]["source"]["rows"]
    assert answer["carried"]["events"] == (0 if batches is None else everything - 500 * batches)
    same(settings.data, to)


def test_a_killed_copy_into_clickhouse_goes_on_where_it_stopped(settings: Settings, tmp_path: Path):
    pytest.importorskip("chdb")
    to = f"chdb://{tmp_path}/chdb"
    killed = run(settings=settings, to=to, first=f"{SMALL}\n{DIE.format(put=3, after=False)}")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    done = run("--json", settings=settings, to=to)
    assert done.returncode == 0, done.stderr + done.stdout
    answer = json.loads(done.stdout)
    assert answer["equal"]
    assert answer["carried"]["events"] == answer["tables"][0]["source"]["rows"] - 2 * 500
    assert all(one["target"]["rows"] for one in answer["tables"] if one["table"] in ("messages", "metrics_daily"))


def test_into_clickhouse_over_http_with_the_keys_in_nats(settings: Settings, tmp_path: Path, nats: NatsServer):
    with closing(SqliteControl(settings.data / "control.db")) as control:
        secret = create_key(control, "website", "write", 1.0)
    keys = f"nats://{nats.address}/{name_of(tmp_path)}"
    with endpoint() as address:
        given, to = load(data=settings.data, store_password=PASSWORD), f"clickhouse://{USER}@{address}/dropoff"
        answer = copy(given, to, QUIET, keys)
        assert (answer["equal"], answer["carried"]["control entries"]) == (True, 1)
        again = copy(given, to, QUIET, keys)
        assert (again["equal"], again["carried"]["events"]) == (True, 0)
    with closing(open_control(load(control=keys))) as control:
        access = Access(control, "", may_be_open=False)
        assert access.may_write(f"Bearer {secret}")
        assert not access.may_write("Bearer dw_wrong")


@pytest.mark.long
def test_a_copy_killed_at_any_moment_loses_and_repeats_nothing(settings: Settings, tmp_path: Path):
    to = tmp_path / "copy"
    code = f"{SMALL}\nfrom dropoff.cli import main; main()"
    command = [sys.executable, "-c", code, "copy", "--to", str(to), "--data", str(settings.data)]
    kills = 0
    for round_ in range(30):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            # Every round a little later, so that the kills go through all of its life.
            assert process.wait(1.2 + 0.6 * round_) == 0
            break
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
    assert kills >= 3
    assert copy(settings, str(to), QUIET)["equal"]
    same(settings.data, to)


# From a running server


def test_a_server_that_takes_events_meanwhile_is_copied_as_of_one_moment(settings: Settings, tmp_path: Path):
    to = tmp_path / "copy"
    with Server(settings.data) as server:
        stop, posted = threading.Event(), []

        def post() -> None:
            name = f"live-{len(posted)}"
            events = [started(conversation_id=name), received("hi", conversation_id=name)]
            assert server.post(json.dumps(events).encode()).status == 202
            posted.append(name)

        def post_on() -> None:
            while not stop.is_set():
                post()

        post()
        server.drain()
        sender = threading.Thread(target=post_on)
        sender.start()
        try:
            first = copy(settings, str(to), QUIET)
        finally:
            stop.set()
            sender.join()
        server.drain()
        assert first["equal"], first
        assert first["later"] > 0
        second = copy(settings, str(to), QUIET)
        assert second["equal"]
        assert 0 < second["carried"]["events"] < 2 * len(posted)
        assert second["later"] == 0
        third = copy(settings, str(to), QUIET)
        assert third["carried"]["events"] == 0
    same(settings.data, to)


@pytest.mark.skipif(not (STAR / "events.ndjson.gz").exists(), reason="the STAR conversations are not there")
def test_real_conversations(tmp_path: Path):
    settings = load(data=tmp_path / "data")
    assert import_all(settings, [STAR / "events.ndjson.gz"], "auto", None, QUIET)["accepted"] == 149_732
    answer = copy(settings, str(tmp_path / "copy"), QUIET)
    assert answer["equal"]
    assert answer["tables"][0]["target"]["rows"] == 149_732
