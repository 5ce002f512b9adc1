"""The embedded control state: one small SQLite file that server and CLI may have open at the same time.

It keeps a rollback journal: with a write-ahead log, two connections are unsafe before SQLite 3.51 (WAL-reset bug).
"""

import json
import os
import sqlite3
from collections.abc import Callable, Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any

from dropoff.control.base import Versioned
from dropoff.errors import Conflict
from dropoff.sqlitefile import Schema, SqliteFile

BUSY_SECONDS = 10.0

SCHEMA = Schema(
    version=1,
    # EXTRA: FULL alone does not sync the directory after deleting the journal, and a journal that comes back with a
    # power cut takes the last commit back.
    settings="""
PRAGMA journal_mode = DELETE;
PRAGMA synchronous = EXTRA;
""",
    # AUTOINCREMENT: a version is never used again, so a key deleted and made anew does not look unchanged.
    tables=(
        """CREATE TABLE entries (
    version INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, value BLOB NOT NULL
)""",
    ),
)
GET = "SELECT value, version FROM entries WHERE key = ?"
PUT = "INSERT OR REPLACE INTO entries (key, value) VALUES (?, ?) RETURNING version"
DELETE = "DELETE FROM entries WHERE key = ?"
LIST = "SELECT key, value, version FROM entries WHERE key >= ? ORDER BY key"


class SqliteControl:
    """A `Control` in the file `path`, readable by its owner only; created if missing, its directory must exist.

    Every method raises `Unavailable` if the file cannot be used, or stays locked for 10 seconds.
    Raises `NewerSchema` if a newer Dropoff wrote the file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._file = SqliteFile(Path(path), SCHEMA, timeout=BUSY_SECONDS)

    def get(self, key: str) -> Versioned | None:
        """The value of `key`, or None."""
        with self._file.opened() as connection:
            return _get(connection, key)

    def put(self, key: str, value: bytes, version: int | None = None) -> int:
        """Store `value` and return its new version. Raises `Conflict` if `version` is not the present one."""
        with self._file.transaction() as connection:
            found = _get(connection, key)
            present = found.version if found else 0
            if version not in (None, present):
                raise Conflict(f"{key}: version is {present}, not {version}: somebody else changed it")
            return _put(connection, key, value)

    def delete(self, key: str) -> None:
        """Remove `key`; it is fine if it does not exist."""
        with self._file.transaction() as connection:
            connection.execute(DELETE, (key,))

    def list(self, prefix: str) -> Mapping[str, Versioned]:
        """All entries whose key begins with `prefix`, by key."""
        with self._file.opened() as connection:
            rows = connection.execute(LIST, (prefix,)).fetchall()
        return {key: Versioned(value, version) for key, value, version in takewhile(_begins_with(prefix), rows)}

    def lease(self, name: str, holder: str, seconds: float, now: float) -> bool:
        """Take or renew the lease `name` until `now + seconds`. False while another holder's lease is alive."""
        key = f"lease/{name}"
        with self._file.transaction() as connection:
            found = _get(connection, key)
            if found and _is_held(json.loads(found.value), holder, now):
                return False
            _put(connection, key, json.dumps({"holder": holder, "until": now + seconds}).encode())
            return True

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._file.close()


def _get(connection: sqlite3.Connection, key: str) -> Versioned | None:
    rows = connection.execute(GET, (key,)).fetchall()
    return Versioned(*rows[0]) if rows else None


def _put(connection: sqlite3.Connection, key: str, value: bytes) -> int:
    return connection.execute(PUT, (key, value)).fetchall()[0][0]


def _is_held(lease: Mapping[str, Any], holder: str, now: float) -> bool:
    """Whether somebody other than `holder` has it."""
    return lease["holder"] != holder and lease["until"] > now


def _begins_with(prefix: str) -> Callable[[tuple[str, bytes, int]], bool]:
    return lambda row: row[0].startswith(prefix)
