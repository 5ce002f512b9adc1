"""What is special about the queue in a SQLite file."""

import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from dropoff.errors import InvalidInput, StoreBusy, Unavailable
from dropoff.queue import sqlite
from dropoff.queue.sqlite import SqliteQueue

SOON = 10.0
APPEND_FOREVER = """
import sys, threading
from dropoff.queue.sqlite import SqliteQueue
queue = SqliteQueue(sys.argv[1])
def send(name):
    number = 0
    while True:
        payload = b"%d/%d" % (name, number)
        offset = queue.append(payload, 1).result()
        sys.stdout.write(f"{offset} {payload.decode()}\\n")
        sys.stdout.flush()
        number += 1
for name in range(4):
    threading.Thread(target=send, args=(name,)).start()
"""
APPEND_ONCE = """
import os, sys
from dropoff.queue.sqlite import SqliteQueue
queue = SqliteQueue(sys.argv[1])
os.write(1, b"asked")
queue.append(b"a", 1).result()
os.write(1, b"acknowledged")
os._exit(0)
"""
APPEND_BEYOND_THE_LIMIT = """
import os, resource, sys
from dropoff.errors import Unavailable
from dropoff.queue.sqlite import SqliteQueue
queue = SqliteQueue(sys.argv[1])
queue.append(b"before", 1).result()
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
for _ in range(3):
    try:
        queue.append(b"x" * 400_000, 1).result()
    except Unavailable as error:
        print("refused:", error)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
queue.append(b"after", 1).result()
print([record.payload for record in queue.read(10, 0)])
queue.close()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.db"


@pytest.fixture
def queue(path: Path) -> Iterator[SqliteQueue]:
    with closing(SqliteQueue(path)) as queue:
        yield queue


def put(queue: SqliteQueue, payload: bytes) -> int:
    return queue.append(payload, 1).result(SOON)


def rows(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT count(*) FROM log").fetchone()[0]


def run(program: str, path: Path, *before: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*before, sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=60, check=True
    )


def test_a_killed_process_keeps_what_it_acknowledged(path: Path):
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", APPEND_FOREVER, str(path)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout
            lines = [process.stdout.readline() for _ in range(200)]
            process.send_signal(signal.SIGKILL)
            lines += [line for line in process.stdout if line.endswith("\n")]
        acknowledged = {int(offset): payload.encode() for offset, payload in map(str.split, lines)}
        with closing(SqliteQueue(path)) as queue:
            found = {offset: payload for offset, payload in queue.read(10**9, 0) if offset in acknowledged}
            queue.commit(max(acknowledged))
        assert found == acknowledged


def test_a_full_disk_fails_the_append_and_nothing_else(queue: SqliteQueue):
    put(queue, b"before")
    connection = queue._log._connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    for _ in range(3):
        with pytest.raises(Unavailable, match="full"):
            put(queue, b"x" * 100_000)
    connection.execute("PRAGMA max_page_count = 1000000")
    put(queue, b"after")
    assert [record.payload for record in queue.read(10, 0)] == [b"before", b"after"]
    assert queue.lag().events == 2


def test_a_commit_on_a_full_disk_is_written_when_there_is_room(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sqlite, "RETRY_PAUSE", 0.01)
    with closing(SqliteQueue(path)) as queue:
        offset = put(queue, b"a")
        queue._log._connection.execute("PRAGMA query_only = 1")
        queue.commit(offset)
        assert queue.lag().events == 0
        time.sleep(0.05)
        queue._log._connection.execute("PRAGMA query_only = 0")
    with closing(SqliteQueue(path)) as queue:
        assert list(queue.read(10, 0)) == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits")
def test_a_failing_write_is_unavailable_and_passes(path: Path):
    output = run(APPEND_BEYOND_THE_LIMIT, path).stdout.splitlines()
    assert [line.startswith("refused: ") for line in output] == [True, True, True, False]
    assert output[-1] == "[b'before', b'after']"


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs the program strace to watch system calls")
def test_the_file_is_synced_before_the_future_is_done(path: Path, tmp_path: Path):
    trace = tmp_path / "trace"
    run(APPEND_ONCE, path, "strace", "-f", "-y", "-o", str(trace), "-e", "trace=fsync,fdatasync,write,pwrite64")
    calls = trace.read_text()
    between = calls[calls.index('"asked"') : calls.index('"acknowledged"')]
    written = [match.start() for match in re.finditer(r"pwrite64\(\d+<[^>]*queue\.db-wal>", between)]
    synced = [match.start() for match in re.finditer(r"f(data)?sync\(\d+<[^>]*queue\.db-wal>", between)]
    assert written
    assert synced
    assert synced[-1] > written[-1]


def test_records_past_the_retention_are_deleted_once_committed(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sqlite, "TRIM_PAUSE", 0.0)
    now = 1000.0
    with closing(SqliteQueue(path, retention=60, clock=lambda: now)) as queue:
        offsets = [put(queue, b"%d" % number) for number in range(50)]
        queue.commit(offsets[29])
        now = 1059.0
        put(queue, b"young")
        now = 1061.0
        put(queue, b"younger")
        deadline = time.monotonic() + SOON
        while queue._log.one("SELECT count(*) FROM log")[0] > 22 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert [record.offset for record in queue.read(20, 0)] == offsets[30:]
    assert rows(path) == 22


def test_committed_records_stay_within_the_retention(path: Path):
    with closing(SqliteQueue(path)) as queue:
        queue.commit(put(queue, b"a"))
    with closing(SqliteQueue(path)) as queue:
        assert list(queue.read(10, 0)) == []
    assert rows(path) == 1


def test_offsets_do_not_return_when_everything_was_deleted(path: Path):
    with closing(SqliteQueue(path)) as queue:
        last = [put(queue, b"a") for _ in range(5)][-1]
        queue.commit(last)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM log")
    with closing(SqliteQueue(path)) as queue:
        assert put(queue, b"b") == last + 1
        assert [record.payload for record in queue.read(10, 0)] == [b"b"]


def test_a_position_of_another_file_is_refused(queue: SqliteQueue):
    last = put(queue, b"a")
    with pytest.raises(InvalidInput, match="at most 1"):
        queue.commit(last + 1)
    assert queue.lag().events == 1


def test_a_group_is_bounded(path: Path):
    with closing(SqliteQueue(path, group_bytes=100)) as queue:
        futures = [queue.append(b"x" * 40, 1) for _ in range(20)] + [queue.append(b"x" * 500, 1)]
        assert [future.result(SOON) for future in futures] == list(range(1, 22))
    with closing(sqlite3.connect(path)) as connection:
        sizes = [size for (size,) in connection.execute("SELECT length(payload) FROM log")]
    assert sum(sizes) == 1300
    assert max(sizes[:-1]) <= 100


def test_close_writes_all_the_groups_that_wait(path: Path):
    with closing(SqliteQueue(path, group_bytes=100)) as queue:
        futures = [queue.append(b"x" * 100, 1) for _ in range(100)]
    assert [future.result(0) for future in futures] == list(range(1, 101))


def test_events_must_be_countable(queue: SqliteQueue):
    with pytest.raises(InvalidInput, match="events == -1"):
        queue.append(b"a", -1)


def test_a_payload_that_is_no_bytes_does_not_stop_the_queue(queue: SqliteQueue):
    with pytest.raises(Unavailable):
        queue.append("text", 1).result(SOON)  # pyright: ignore[reportArgumentType]
    assert put(queue, b"a") == 1


def test_the_file_has_one_connection(queue: SqliteQueue, path: Path):
    with pytest.raises(StoreBusy, match="locked"):
        SqliteQueue(path)
    assert put(queue, b"a") == 1


def test_a_queue_that_could_not_be_opened_leaves_its_file_free(path: Path, monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object) -> None:
        raise Unavailable("no disk")

    with monkeypatch.context() as patched:
        patched.setattr(sqlite._Log, "oldest", broken)
        with pytest.raises(Unavailable, match="no disk"):
            SqliteQueue(path)
    SqliteQueue(path).close()


def test_only_the_owner_may_read_it(queue: SqliteQueue, path: Path):
    put(queue, b"a")
    files = list(path.parent.iterdir())
    assert {file.name for file in files} == {"queue.db", "queue.db-wal"}
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
