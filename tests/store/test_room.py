"""DuckDB takes what it may, and a statement that finds too little memory is run again alone."""

import threading
from concurrent.futures import ThreadPoolExecutor

import duckdb
import polars as pl
import pytest

from dropoff.errors import Unavailable
from dropoff.store import room
from dropoff.store.duckdb import DuckStore

GB = 1_000_000_000


@pytest.mark.parametrize(
    ("cores", "stored", "available", "asked"),
    [
        (2, 0, 16 * GB, 256_000_000),  # the least
        (16, 0, 16 * GB, 16 * room.OF_THREAD),
        (2, 16 * GB, 16 * GB, 2 * GB),  # by what is stored
        (2, 100 * GB, 5 * GB, 3 * GB),  # no more than the machine has
        (16, 0, GB // 10, 256_000_000),
    ],
)
def test_memory_is_as_machine_and_file_have_it(cores, stored, available, asked):
    assert room._asked(cores, stored, available) == asked


@pytest.mark.parametrize(("given", "threads"), [("100MB", 1), ("512MB", 4), ("2GB", 8)])
def test_no_more_threads_than_there_is_memory_for(tmp_path, given, threads):
    with duckdb.connect(str(tmp_path / "a.duckdb"), config={"threads": 8}) as connection:
        room.furnish(connection, tmp_path / "a.duckdb", given)
        assert room._setting(connection, "threads") == str(threads)


def test_what_finds_no_memory_waits_for_the_others_and_runs_alone():
    own, calls, begun, end = room.Room(), [], threading.Event(), threading.Event()

    def long():
        begun.set()
        assert end.wait(10)
        calls.append("long")

    def large():
        calls.append("large")
        if len(calls) == 1:
            end.set()
            raise duckdb.OutOfMemoryException("no room beside another")
        return "answer"

    with ThreadPoolExecutor() as workers:
        other = workers.submit(own.run, long)
        assert begun.wait(10)
        assert own.run(large) == "answer"
        other.result()
    assert calls == ["large", "long", "large"]


def test_others_wait_while_one_runs_alone():
    own, calls = room.Room(), []

    def large():
        calls.append("large")
        if len(calls) == 1:
            raise duckdb.OutOfMemoryException
        later = workers.submit(own.run, lambda: calls.append("later"))
        with pytest.raises(TimeoutError):
            later.result(0.1)

    with ThreadPoolExecutor() as workers:
        own.run(large)
    assert calls == ["large", "large", "later"]


def test_what_never_fits_is_told(tmp_path):
    store = DuckStore(tmp_path / "store.duckdb", "64MB")
    for ask in (store.frame, store.select, lambda text: store.query(text, 10, 10)):
        with pytest.raises(Unavailable, match="Out of Memory"):
            ask("SELECT list(i) FROM range(20000000) r(i)")
    assert store.frame("SELECT 1 AS a").rows() == [(1,)]
    store.close()


def test_what_polars_says_for_the_engine_is_told_apart():
    with pytest.raises(duckdb.OutOfMemoryException), room.reading():
        raise pl.exceptions.ComputeError("got external error: IOError: Out of Memory Error: failed to allocate")
    with pytest.raises(pl.exceptions.ComputeError), room.reading():
        raise pl.exceptions.ComputeError("got external error: IOError: Conversion Error: no date")
