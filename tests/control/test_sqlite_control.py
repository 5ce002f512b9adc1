"""What is special about the control state in a SQLite file."""

import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from dropoff.control import sqlite
from dropoff.control.sqlite import SqliteControl
from dropoff.errors import Conflict, Unavailable


def test_it_leaves_a_rollback_journal_file_no_write_ahead_log(tmp_path: Path):
    with closing(SqliteControl(tmp_path / "control.db")) as control:
        control.put("a", b"1")
        assert [path.name for path in tmp_path.iterdir()] == ["control.db"]


def test_a_lock_that_stays_is_unavailable_and_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.05)
    path = tmp_path / "control.db"
    with closing(SqliteControl(path)) as control, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Unavailable, match="locked"):
            control.put("a", b"1")
        other.execute("ROLLBACK")
        assert control.put("a", b"1") == 1


def test_put_waits_for_another_writer_and_sees_what_it_wrote(tmp_path: Path):
    path = tmp_path / "control.db"
    with closing(SqliteControl(path)) as control, closing(sqlite3.connect(path, isolation_level=None)) as other:
        version = control.put("a", b"1")
        other.execute("BEGIN IMMEDIATE")
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(control.put, "a", b"3", version)
            time.sleep(0.1)
            assert not waiting.done()
            other.execute(sqlite.PUT, ("a", b"2")).fetchall()
            other.execute("COMMIT")
            with pytest.raises(Conflict):
                waiting.result(10)


def test_a_lease_is_a_row_like_any_other(tmp_path: Path):
    with closing(SqliteControl(tmp_path / "control.db")) as control:
        control.lease("alerts", "one", 10, now=100)
        assert control.list("lease/")["lease/alerts"].value == b'{"holder": "one", "until": 110}'
