"""A server in a process of its own, to be killed, traced and starved; and what it leaves behind."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

PATIENCE = 60.0


class Reply(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Server:
    """`dropoff serve` on a free port of the loopback. `before` is put in front of the command; `first` is Python that
    runs before anything else in it; `options` and `environment` are for the command."""

    def __init__(
        self, data: Path, before: Sequence[str] = (), first: str = "", options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.data = data
        self.log = data.parent / f"{data.name}.log"
        self._command = [*before, sys.executable, "-c", f"{first}\nfrom dropoff.cli import main; main()"]
        self._command += ["serve", "--port", "0", "--data", str(data), *options]
        self._environment = {**os.environ, **(environment or {})}
        self._said = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.address = ""

    def __enter__(self) -> "Server":
        self.spawn()
        self.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def spawn(self) -> None:
        self.address = ""
        (self.data / "server.json").unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self._said = log.tell()
            self.process = subprocess.Popen(self._command, stderr=log, stdout=log, env=self._environment)

    def wait(self) -> None:
        """Until it answers."""
        end = time.monotonic() + PATIENCE
        while not self._answers():
            assert self.running, self.log.read_text()
            assert time.monotonic() < end, f"no answer: {self.log.read_text()}"
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            self.find()
            return self.get("/readyz").status == 200
        except (OSError, ValueError, http.client.HTTPException):
            return False

    def find(self) -> None:
        """Its address, once it has told it: in its file, or if its role has none, in what it printed."""
        file = self.data / "server.json"
        said = re.search(r"\) is at (http://\S+)", self.log.read_bytes()[self._said :].decode())
        url = said[1] if said else json.loads(file.read_text())["url"]
        self.address = urlsplit(url).netloc

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        """Of the server itself, whatever stands in front of it."""
        return json.loads((self.data / "server.json").read_text())["pid"]

    def kill(self) -> None:
        assert self.process is not None
        self.address = ""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """As Ctrl-C does."""
        if self.running and self.process is not None:
            os.kill(self.pid if (self.data / "server.json").exists() else self.process.pid, signal.SIGINT)
            self.process.wait(PATIENCE)

    def get(self, path: str) -> Reply:
        return self.request("GET", path)

    def post(self, body: bytes, **headers: str) -> Reply:
        return self.request("POST", "/v1/events", body, {k.replace("_", "-"): v for k, v in headers.items()})

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Reply:
        connection = http.client.HTTPConnection(self.address, timeout=30)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return Reply(response.status, response.headers, response.read())
        finally:
            connection.close()

    def drain(self) -> None:
        """Until nothing waits in the queue."""
        end = time.monotonic() + PATIENCE
        while self.lagging():
            assert time.monotonic() < end, f"it does not drain: {self.log.read_text()[-2000:]}"
            time.sleep(0.05)

    def lagging(self) -> int:
        with suppress(OSError):
            ready = self.get("/readyz").json()
            assert ready["ready"], self.log.read_text()[-2000:]
            return ready["lag_events"] + (ready["lag_seconds"] > 0)
        return 1
