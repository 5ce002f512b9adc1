"""The disk: an acknowledged event is synced before the answer leaves, and a full disk loses nothing."""

import json
import os
import re
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dropoff.client import Client
from dropoff.queue.sqlite import SqliteQueue
from dropoff.store.duckdb import DuckStore
from servers import Server
from worlds import Dict, event

CALLS = "read,recvfrom,recvmsg,write,writev,sendto,sendmsg,pwrite64,fsync,fdatasync"
QUEUE_LOG = "queue.db-wal>"


def need(tool: str) -> None:
    if shutil.which(tool) is None:
        assert os.environ.get("CI") != "true", f"{tool} is missing"
        pytest.skip(f"{tool} is missing")


def test_the_queue_is_synced_between_the_request_and_the_202(tmp_path: Path):
    need("strace")
    trace = tmp_path / "trace"
    before = ["strace", "-f", "-y", "-s", "64", "-o", str(trace), "-e", f"trace={CALLS}"]
    with Server(tmp_path / "data", before) as server:
        for number in range(5):
            events = [event("x", number, event_id=f"e{number}-{i}") for i in range(1 + 50 * (number % 2))]
            assert server.post(json.dumps(events).encode()).status == 202
    spans = requests(trace.read_text(errors="replace").splitlines())
    assert len(spans) == 5
    for span in spans:
        written = [i for i, line in enumerate(span) if line.startswith("pwrite64(") and QUEUE_LOG in line]
        synced = [i for i, line in enumerate(span) if line.startswith(("fdatasync(", "fsync(")) and QUEUE_LOG in line]
        assert written, span
        assert synced[-1] > written[-1], span
        assert span[synced[-1]].endswith("= 0")


def requests(lines: list[str]) -> list[list[str]]:
    """The calls that ended between the arrival of each POST and the moment its 202 began to leave."""
    spans: list[list[str]] = []
    span: list[str] | None = None
    for call, begins in calls(lines):
        if '"POST /v1/events' in call and not begins:
            span = []
        elif '"HTTP/1.1 202' in call and span is not None:
            spans.append(span)
            span = None
        elif span is not None and not begins:
            span.append(call)
    return spans


def calls(lines: list[str]) -> Iterator[tuple[str, bool]]:
    """Each call where it ends, in one piece; one that did not end at once also where it begins."""
    begun: dict[str, str] = {}
    for line in lines:
        thread, _, call = line.partition(" ")
        call = call.strip()
        if call.endswith("<unfinished ...>"):
            begun[thread] = call.removesuffix("<unfinished ...>").rstrip()
            yield begun[thread], True
        elif resumed := re.match(r"<\.\.\. \w+ resumed>", call):
            yield begun.pop(thread, "") + call[resumed.end() :], False
        else:
            yield call, False


# Full disks


@contextmanager
def small_disk(place: Path, megabytes: int) -> Iterator[Path]:
    """A file system of that size, where this process may make one."""
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip(f"no file system can be mounted here: {made.stderr.decode().strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill_up(disk: Path) -> Path:
    """A file that takes all the space there is."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1_000_000, 4096, 1):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                continue
    return ballast


def refuses(server: Server, event_id: str) -> bool:
    """Whether the door says that it cannot write now, as it should."""
    reply = server.post(json.dumps(event("x", 0, event_id=event_id, padding="p" * 20_000)).encode())
    if reply.status == 202:
        return False
    assert (reply.status, reply.json()["code"]) == (503, "unavailable")
    assert reply.headers["content-type"] == "application/json"
    assert int(reply.headers["retry-after"]) > 0
    return True


def stored(data: Path) -> list[str]:
    store = DuckStore(data / "store.duckdb")
    queue = SqliteQueue(data / "queue.db")
    try:
        assert not queue.dead_letters()
        return sorted(row[0] for row in store.select("SELECT id FROM event_rows").rows)
    finally:
        store.close()
        queue.close()


def tell(client: Client, numbers: range) -> list[str]:
    return [client.track("x", "c", event_id=f"sdk{number:03}") or "" for number in numbers]


def until(true: Callable[[], Any], patience: float = 30) -> None:
    end = time.monotonic() + patience
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_while_the_queue_cannot_be_written_the_sdk_waits_and_nothing_is_lost(tmp_path: Path):
    data = tmp_path / "data"
    with Server(data) as server, Client(f"http://{server.address}", flush_interval=0.01) as client:
        told = tell(client, range(10))
        assert client.flush(30)
        server.drain()
        allow(server, 0)
        assert refuses(server, "refused")
        told += tell(client, range(10, 20))
        time.sleep(1.5)  # a few attempts
        assert client.stats[:4] == (10, 0, 0, 0)
        assert server.get("/readyz").status == 200
        assert server.get("/healthz").status == 200
        allow(server, resource.RLIM_INFINITY)
        assert client.flush(30)
        assert client.stats[:4] == (20, 0, 0, 0)
        server.drain()
    assert stored(data) == told


def allow(server: Server, size: int) -> None:
    """The size to which any file of the server may grow from now on."""
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def test_on_a_full_disk_the_door_refuses_and_takes_again(tmp_path: Path):
    with small_disk(tmp_path / "disk", 40) as disk, Server(disk / "data") as server:
        accepted = []
        assert not refuses(server, "a")
        server.drain()
        ballast = fill_up(disk)
        for number in range(400):  # the queue's log first fills the pages it already has
            if refuses(server, f"b{number:03}"):
                break
            accepted.append(f"b{number:03}")
        else:
            pytest.fail("never refused")
        ready = server.get("/readyz")
        assert ready.status == 200
        ballast.unlink()
        assert not refuses(server, "c")
        server.drain()
        server.stop()
        assert stored(disk / "data") == sorted(["a", *accepted, "c"])


def test_while_the_stores_disk_is_full_the_queue_takes_everything(tmp_path: Path):
    with small_disk(tmp_path / "disk", 20) as disk:
        data, apart = disk / "data", tmp_path / "apart"
        data.mkdir()
        apart.mkdir()
        (data / "queue.db").symlink_to(apart / "queue.db")
        with Server(data) as server:
            ballast = fill_up(disk)
            sent = [events(batch) for batch in range(20)]
            for batch in sent:
                assert server.post(json.dumps(batch).encode()).status == 202
            time.sleep(2.5)  # the worker tries and tries again
            assert server.get("/readyz").json()["lag_events"] > 0
            ballast.unlink()
            server.drain()
        assert stored(data) == sorted(one["event_id"] for batch in sent for one in batch)


def events(batch: int) -> list[Dict]:
    return [event("x", i, f"c{i}", event_id=f"{batch}-{i}", padding=os.urandom(1000).hex()) for i in range(100)]
