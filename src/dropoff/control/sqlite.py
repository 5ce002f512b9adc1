"""The embedded control state: one small SQLite file that server and CLI may have open at the same time.

It keeps a rollback journal: with a write-ahead log, two connections are unsafe before SQLite 3.51 (WAL-reset bug).
"""

import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import Any

from dropoff.control.base import Versioned
from dropoff.errors import Conflict, NewerSchema, Unavailable

SCHEMA_VERSION = 1
BUSY_SECONDS = 10.0

# EXTRA: FULL alone does not sync the directory after deleting the journal, and a journal that comes back with a power
# cut takes the last commit back.
SETTINGS = """
PRAGMA journal_mode = DELETE;
PRAGMA synchronous = EXTRA;
"""
# AUTOINCREMENT: a version is never used again, so a key deleted and made anew does not look unchanged.
SCHEMA = (
    "CREATE TABLE entries (version INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, value BLOB NOT NULL)"
)
VERSION = "PRAGMA user_version"
SET_VERSION = f"PRAGMA user_version = {SCHEMA_VERSION}"
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
        self._path = Path(path)
        self._lock = threading.Lock()
        self._connection = self._open()
        try:
            self._prepare()
        except BaseException:
            self._connection.close()
            raise

    def get(self, key: str) -> Versioned | None:
        """The value of `key`, or None."""
        with self._guard() as connection:
            return _get(connection, key)

    def put(self, key: str, value: bytes, version: int | None = None) -> int:
        """Store `value` and return its new version. Raises `Conflict` if `version` is not the present one."""
        with self._transaction() as connection:
            found = _get(connection, key)
            present = found.version if found else 0
            if version not in (None, present):
                raise Conflict(f"{key}: version is {present}, not {version}: somebody else changed it")
            return _put(connection, key, value)

    def delete(self, key: str) -> None:
        """Remove `key`; it is fine if it does not exist."""
        with self._transaction() as connection:
            connection.execute(DELETE, (key,))

    def list(self, prefix: str) -> Mapping[str, Versioned]:
        """All entries whose key begins with `prefix`, by key."""
        with self._guard() as connection:
            rows = connection.execute(LIST, (prefix,)).fetchall()
        return {key: Versioned(value, version) for key, value, version in takewhile(_begins_with(prefix), rows)}

    def lease(self, name: str, holder: str, seconds: float, now: float) -> bool:
        """Take or renew the lease `name` until `now + seconds`. False while another holder's lease is alive."""
        key = f"lease/{name}"
        with self._transaction() as connection:
            found = _get(connection, key)
            if found and _is_held(json.loads(found.value), holder, now):
                return False
            _put(connection, key, json.dumps({"holder": holder, "until": now + seconds}).encode())
            return True

    def close(self) -> None:
        """Close the file. Idempotent."""
        with self._lock:
            self._connection.close()

    def _open(self) -> sqlite3.Connection:
        try:
            _create(self._path)
            return sqlite3.connect(self._path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        except (sqlite3.Error, OSError) as error:
            raise Unavailable(f"{self._path}: {error}") from error

    def _prepare(self) -> None:
        with self._guard() as connection:
            connection.executescript(SETTINGS)
        with self._transaction() as connection:
            version = connection.execute(VERSION).fetchone()[0]
            if version > SCHEMA_VERSION:
                raise NewerSchema(f"{self._path}: schema {version}, this Dropoff knows {SCHEMA_VERSION}")
            if version == 0:
                connection.execute(SCHEMA)
                connection.execute(SET_VERSION)

    @contextmanager
    def _guard(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._connection
            except (sqlite3.Error, OSError) as error:
                raise Unavailable(f"{self._path}: {error}") from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._guard() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # SQLite has rolled back by itself after some errors
                    connection.execute("ROLLBACK")
                raise


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


def _create(path: Path) -> None:
    """Make an empty private file whose name survives a power cut, or make an existing one private.

    An existing file is not opened here: closing it would drop the locks that SQLite holds on it in this process.
    """
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    except FileExistsError:
        path.chmod(0o600)
        return
    for opened in (descriptor, os.open(path.parent, os.O_RDONLY)):
        os.fsync(opened)
        os.close(opened)
