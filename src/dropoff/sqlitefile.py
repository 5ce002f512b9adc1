"""A SQLite file of our own: private, behind one connection and one lock. Its errors are those of Dropoff."""

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from dropoff.errors import NewerSchema, Unavailable

_VERSION = "PRAGMA user_version"


class Schema(NamedTuple):
    """How a file is opened. `first` runs before anything is read, `settings` each time, `tables` in a new file alone.

    `tables` make the schema of this `version`; they are run in one transaction.
    """

    version: int
    settings: str
    tables: Sequence[str]
    first: str = ""


class SqliteFile:
    """The file `path`, which is made if it does not exist; its directory must exist. From any thread.

    Everything raises `Unavailable` if the file cannot be used, and `busy` where another connection has kept it locked
    for `timeout` seconds. Raises `NewerSchema` if a newer Dropoff wrote the file.
    """

    def __init__(self, path: Path, schema: Schema, *, timeout: float, busy: type[Unavailable] = Unavailable) -> None:
        self.lock = threading.RLock()  # taken by every method; may be held around several
        self._path, self._busy = path, busy
        try:
            _create(path)
            self._connection = sqlite3.connect(path, timeout=timeout, isolation_level=None, check_same_thread=False)
        except (sqlite3.Error, OSError) as error:
            raise Unavailable(f"{path}: {error}") from error
        try:
            self._prepare(schema)
        except BaseException:
            self._connection.close()
            raise

    @contextmanager
    def opened(self) -> Iterator[sqlite3.Connection]:
        """The connection, for a statement of its own."""
        with self.lock:
            try:
                yield self._connection
            except (sqlite3.Error, OSError) as error:
                is_busy = getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY")
                raise (self._busy if is_busy else Unavailable)(f"{self._path}: {error}") from error

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """The connection, for statements of which all are done, durably, or none."""
        with self.opened() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # SQLite has rolled back by itself after some errors
                    connection.execute("ROLLBACK")
                raise

    def one(self, statement: str, *values: Any) -> tuple[Any, ...]:
        """The first row of a statement; empty if there is none."""
        with self.opened() as connection:
            rows = connection.execute(statement, values).fetchall()
            return rows[0] if rows else ()

    def close(self) -> None:
        """Close the connection. Idempotent."""
        with self.lock:
            self._connection.close()

    def _prepare(self, schema: Schema) -> None:
        with self.opened() as connection:
            connection.executescript(schema.first)
            self._check(schema)
            connection.executescript(schema.settings)
        with self.transaction() as connection:
            if self._check(schema) == 0:  # now that nobody else can make the tables
                for statement in schema.tables:
                    connection.execute(statement)
                connection.execute(f"{_VERSION} = {schema.version}")

    def _check(self, schema: Schema) -> int:
        version = self.one(_VERSION)[0]
        if version > schema.version:
            raise NewerSchema(f"{self._path}: schema {version}, this Dropoff knows {schema.version}")
        return version


def _create(path: Path) -> None:
    """Make an empty private file whose name survives a power cut, or make an existing one private.

    An existing file is not opened here: closing it would drop the locks that SQLite holds on it in this process.
    """
    path = path.resolve()  # a link may lead to where nothing is yet
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    except FileExistsError:
        path.chmod(0o600)
        return
    for opened in (descriptor, os.open(path.parent, os.O_RDONLY)):
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
