"""`DATA/server.json`: written by the running server of a data directory, read by the command line."""

import os
import secrets
from pathlib import Path

import msgspec

SERVER_FILE = "server.json"


class Place(msgspec.Struct):
    """Where a server answers, and the token by which it knows this machine's own command line."""

    url: str
    token: str
    pid: int = 0


def place_of(data: Path) -> Place:
    """What the file says. Raises `OSError` where there is none, `ValueError` for one of another kind."""
    return msgspec.json.decode((data / SERVER_FILE).read_bytes(), type=Place)


class ServerFile:
    """`DATA/server.json`, 0600: how the command line finds the running server. Without `data` there is no such file:
    of a process with one role of several nothing is asked."""

    def __init__(self, data: Path | None, url: str) -> None:
        self.token = secrets.token_hex(16)
        self._path = data / SERVER_FILE if data else None
        self.url = url

    def __enter__(self) -> "ServerFile":
        if self._path is None:
            return self
        text = msgspec.json.encode(Place(self.url, self.token, os.getpid()))
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path.unlink(missing_ok=True)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(text)
        return self

    def __exit__(self, *_: object) -> None:
        if self._path is not None:
            self._path.unlink(missing_ok=True)
