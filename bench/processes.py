"""Servers and clients in processes of their own."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import uvicorn

PATIENCE = 300.0
DROPOFF = (sys.executable, "-c", "from dropoff.cli import main; main()")


def serve(application: Any, folder: Path) -> None:
    """Serve on a free port as `dropoff serve` does, and say where in `folder/server.json`."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    found = {"url": f"http://127.0.0.1:{listening.getsockname()[1]}", "pid": os.getpid()}
    (folder / "server.json").write_text(json.dumps(found))
    options: dict[str, Any] = {"log_level": "warning", "access_log": False, "server_header": False, "lifespan": "off"}
    uvicorn.Server(uvicorn.Config(application, **options)).run(sockets=[listening])


class Serving:
    """A server process that writes `server.json` into `folder`. `patience`: seconds that anything may take."""

    def __init__(self, command: Sequence[str], folder: Path, patience: float = PATIENCE) -> None:
        self._command = command
        self._patience = patience
        self.folder = folder
        self.address = ""

    def __enter__(self) -> "Serving":
        self.folder.mkdir(parents=True, exist_ok=True)
        log = self.folder.with_suffix(".log")
        with log.open("w") as file:
            self._process = subprocess.Popen(self._command, stdout=file, stderr=file)
        end = time.monotonic() + self._patience
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"{' '.join(self._command)} does not start: {log.read_text()}")
            time.sleep(0.02)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(self._patience)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def _answers(self) -> bool:
        try:
            self.address = urlsplit(json.loads((self.folder / "server.json").read_text())["url"]).netloc
            self.ask("/readyz")
        except (OSError, ValueError, http.client.HTTPException):
            return False
        return True

    def ask(self, path: str) -> bytes:
        """The body of a GET."""
        connection = http.client.HTTPConnection(self.address, timeout=self._patience)
        try:
            connection.request("GET", path)
            return connection.getresponse().read()
        finally:
            connection.close()

    def drain(self) -> float:
        """Wait until nothing waits in Dropoff's queue; returns the seconds."""
        begin = time.perf_counter()
        while json.loads(self.ask("/readyz"))["lag_events"]:
            if time.perf_counter() - begin > self._patience:
                raise RuntimeError(f"the worker does not get through: {self.folder.with_suffix('.log').read_text()}")
            time.sleep(0.02)
        return time.perf_counter() - begin

    def rest(self) -> None:
        """Wait until it does next to nothing for some seconds."""
        end = time.monotonic() + self._patience
        while time.monotonic() < end:
            before = cpu_seconds(self.pid)
            time.sleep(3.0)
            if cpu_seconds(self.pid) - before < 0.5:
                return

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    @property
    def peak_bytes(self) -> int:
        """The most memory the process ever held (Linux; 0 elsewhere)."""
        status = Path(f"/proc/{self._process.pid}/status")
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
        return int(found[1]) * 1024 if found else 0


def cpu_seconds(pid: int) -> float:
    """The CPU time that a process and its threads have taken (Linux; 0 elsewhere)."""
    status = Path(f"/proc/{pid}/stat")
    if not status.exists():
        return 0.0
    user, system = status.read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def run(*command: str) -> str:
    """What a command prints; raises if it fails."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=PATIENCE).stdout


def timed(*command: str) -> float:
    """The seconds a process takes from its start to its end."""
    begin = time.perf_counter()
    run(*command)
    return time.perf_counter() - begin
