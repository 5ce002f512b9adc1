"""How much memory DuckDB may take, and what becomes of a statement that finds too little of it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import duckdb
import polars as pl

from dropoff.store.sql import DUCKDB

OF_THREAD = 128_000_000
"""What a thread needs, in bytes: those at work on one statement have blocks and tables of their own."""
LEAST = 256_000_000
OF_FILE = 1 / 8
"""What a question needs grows with what is stored, as a median holds all of its values: over two years of 12.7 million
events, in a file of 2 GB, 256 MB are enough for each, and 128 MB are not."""
OF_MACHINE = 0.6
"""Of what DuckDB would take by itself, which is 80 % of what the machine or the container has."""

_UNITS = {"bytes": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_T = TypeVar("_T")


def furnish(connection: duckdb.DuckDBPyConnection, path: Path, given: str | None) -> None:
    """Set the memory, `given` or as machine and file have it, and no more threads than it is enough for."""
    cores = int(_setting(connection, "threads"))
    memory = given or f"{_asked(cores, path.stat().st_size, _bytes(connection)) // 1_000_000}MB"
    connection.execute(f"SET memory_limit = {DUCKDB.literal(memory)}")
    connection.execute(f"SET threads = {min(cores, max(1, round(_bytes(connection) / OF_THREAD)))}")


def _asked(cores: int, stored: int, available: int) -> int:
    """Bytes: `stored` is the size of the file, `available` what DuckDB would take by itself."""
    return max(LEAST, min(max(OF_THREAD * cores, int(stored * OF_FILE)), int(available * OF_MACHINE)))


def _bytes(connection: duckdb.DuckDBPyConnection) -> int:
    """What may be taken now."""
    number, unit = _setting(connection, "memory_limit").split()
    return int(float(number) * _UNITS[unit])


def _setting(connection: duckdb.DuckDBPyConnection, name: str) -> str:
    return str(connection.execute(f"SELECT current_setting('{name}')").fetchall()[0][0])


class Room:
    """All statements of a store that many may ask at once.

    They run side by side and share the memory. One that finds too little of it waits until no other runs, and is run
    once more with all of it: whoever asks at a busy moment waits, instead of being refused.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._running = 0
        self._is_taken = False

    def run(self, statement: Callable[[], _T]) -> _T:
        """What `statement` gives. It runs a second time if the first raises `duckdb.OutOfMemoryException`, and must
        not run another one in here."""
        try:
            with self._beside_others():
                return statement()
        except duckdb.OutOfMemoryException:
            with self._alone():
                return statement()

    @contextmanager
    def _beside_others(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._is_taken)
            self._running += 1
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._is_taken)
            self._is_taken = True
        try:
            with self._changed:
                self._changed.wait_for(lambda: self._running == 0)
            yield
        finally:
            with self._changed:
                self._is_taken = False
                self._changed.notify_all()


@contextmanager
def reading() -> Iterator[None]:
    """While rows come one after the other it is polars that says what the engine says."""
    try:
        yield
    except pl.exceptions.ComputeError as error:
        if "Out of Memory Error" in str(error):
            raise duckdb.OutOfMemoryException(str(error)) from error
        raise
