"""The bare server: it decodes the JSON, appends one row an event to SQLite (WAL, synchronous FULL), and answers 202.

    python -m bench.peer DIR

It knows nothing of events: no types, no keys, no limits, no worker. Appends that wait share a commit, as in Dropoff.
"""

import asyncio
import sqlite3
import sys
import threading
from collections import deque
from concurrent.futures import Future
from pathlib import Path

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bench.processes import serve

GROUP_ROWS = 10_000


class Log:
    """Rows in a table, written by one thread; the future of `append` is done when they are on disk."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.executescript(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 4000;"
            "CREATE TABLE log (id INTEGER PRIMARY KEY, event BLOB NOT NULL);"
        )
        self._waiting: deque[tuple[list[bytes], Future[None]]] = deque()
        self._arrived = threading.Condition()
        threading.Thread(target=self._run, daemon=True).start()

    def append(self, rows: list[bytes]) -> Future[None]:
        """Write rows with the next commit."""
        future: Future[None] = Future()
        with self._arrived:
            self._waiting.append((rows, future))
            self._arrived.notify()
        return future

    def _run(self) -> None:
        while True:
            with self._arrived:
                self._arrived.wait_for(lambda: self._waiting)
                group = self._take()
            self._connection.execute("BEGIN IMMEDIATE")
            rows = ((row,) for rows, _ in group for row in rows)
            self._connection.executemany("INSERT INTO log (event) VALUES (?)", rows)
            self._connection.execute("COMMIT")
            for _, future in group:
                future.set_result(None)

    def _take(self) -> list[tuple[list[bytes], Future[None]]]:
        group, size = [], 0
        while self._waiting and size < GROUP_ROWS:
            group.append(self._waiting.popleft())
            size += len(group[-1][0])
        return group


def application(log: Log) -> Starlette:
    """`POST /v1/events` and nothing else."""

    async def take(request: Request) -> Response:
        body = msgspec.json.decode(await request.body())
        events = body if isinstance(body, list) else [body]
        await asyncio.wrap_future(log.append([msgspec.json.encode(event) for event in events]))
        return JSONResponse({"accepted": len(events)}, 202)

    return Starlette(routes=[Route("/v1/events", take, methods=["POST"])])


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    serve(application(Log(folder / "log.db")), folder)
