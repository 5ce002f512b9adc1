"""What queue and control state in a SQLite file have in common: the file itself."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from dropoff.control.sqlite import SqliteControl
from dropoff.errors import NewerSchema, Unavailable
from dropoff.queue.sqlite import SqliteQueue

Open = Callable[[Path], SqliteControl | SqliteQueue]
pytestmark = pytest.mark.parametrize("opened", [SqliteControl, SqliteQueue])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file.db"


def test_only_the_owner_may_read_it(opened: Open, path: Path):
    with closing(opened(path)):
        assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}


def test_a_file_that_others_may_read_is_made_private(opened: Open, path: Path):
    path.touch(0o644)
    with closing(opened(path)):
        assert path.stat().st_mode & 0o777 == 0o600


def test_a_link_leads_to_where_nothing_is_yet(opened: Open, path: Path, tmp_path: Path):
    (tmp_path / "apart").mkdir()
    path.symlink_to(tmp_path / "apart" / "file.db")
    with closing(opened(path)):
        assert (tmp_path / "apart" / "file.db").stat().st_mode & 0o777 == 0o600


def test_a_newer_schema_is_refused_and_left_alone(opened: Open, path: Path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    before = path.read_bytes()
    with pytest.raises(NewerSchema, match=r"file\.db: schema 99, this Dropoff knows 1"):
        opened(path)
    assert path.read_bytes() == before


def test_a_file_of_another_kind_is_refused_and_kept(opened: Open, path: Path):
    path.write_bytes(b"not a database, but long enough to look like one" * 100)
    with pytest.raises(Unavailable, match="not a database"):
        opened(path)
    assert path.read_bytes().startswith(b"not a database")


def test_a_missing_directory_is_named(opened: Open, tmp_path: Path):
    with pytest.raises(Unavailable, match="nowhere"):
        opened(tmp_path / "nowhere" / "file.db")
