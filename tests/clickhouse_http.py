"""ClickHouse's engine behind a real socket: an HTTP endpoint, in a process of its own, that hands statements to chDB.

What a client sends is what a server would get: statement and settings in the URL or the body, typed parameters, bodies
and answers in the engine's binary format, compressed; errors with their code in a header. Run as a program it prints
its port, and stops when its standard input is closed.
"""

import gzip
import re
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import NamedTemporaryFile
from threading import Lock, Thread
from urllib.parse import parse_qsl, urlsplit

import chdb
import lz4.frame

USER, PASSWORD = "dropoff", "a pass/word"
_OURS = {"query", "database", "wait_end_of_query", "query_id", "session_id", "enable_http_compression", "compress"}
_OURS |= {"send_progress_in_http_headers", "http_headers_progress_interval_ms", "client_protocol_version"}
_INSERT = re.compile(rb"\s*INSERT\s+INTO\s+.*?\bFORMAT\s+(\w+)\s*\n", re.IGNORECASE | re.DOTALL)
_FORMAT = re.compile(rb"\bFORMAT\s+(\w+)\s*;?\s*$", re.IGNORECASE)


class Endpoint(BaseHTTPRequestHandler):
    """One request is one statement."""

    protocol_version = "HTTP/1.1"
    engine: object
    one_at_a_time = Lock()

    def do_GET(self) -> None:
        self.do_POST()

    def do_POST(self) -> None:
        body = self._body()
        try:
            self._check_login()
            with self.one_at_a_time:
                self._reply(200, *self._run(body))
        except Exception as error:
            code = re.search(r"Code: (\d+)", str(error))
            head = {"X-ClickHouse-Exception-Code": code[1] if code else "1"}
            self._reply(404 if code and code[1] == "60" else 500, str(error).encode(), head)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            body = b"".join(parts)
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        return _unpacked(body, self.headers.get("Content-Encoding", ""))

    def _check_login(self) -> None:
        expected = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.headers.get("Authorization") != f"Basic {expected}":
            raise PermissionError("Code: 516. DB::Exception: Authentication failed. (AUTHENTICATION_FAILED)")

    def _run(self, body: bytes) -> tuple[bytes, dict[str, str]]:
        given = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        parameters = {name.removeprefix("param_"): value for name, value in given.items() if name.startswith("param_")}
        connection = chdb.connect(":memory:")
        try:
            if given.get("database"):
                connection.query(f"USE `{given['database']}`")
            for name, value in given.items():
                if name not in _OURS and not name.startswith("param_"):
                    connection.query("SET {} = '{}'".format(name, value.replace("'", "\\'")))
            statement = given.get("query", "").encode() + (b"\n" if "query" in given else b"") + body
            return self._answer(connection, statement, parameters)
        finally:
            connection.close()

    def _answer(self, connection, statement: bytes, parameters: dict[str, str]) -> tuple[bytes, dict[str, str]]:
        insert = _INSERT.match(statement)
        if insert is not None:
            with NamedTemporaryFile() as file:
                file.write(statement[insert.end() :])
                file.flush()
                head, _, _ = insert[0].rpartition(b"FORMAT")
                connection.query(head.decode() + f" FROM INFILE '{file.name}' FORMAT {insert[1].decode()}")
            return b"", {}
        wanted = _FORMAT.search(statement)
        form = wanted[1].decode() if wanted else "TabSeparated"
        found = connection.query(statement.decode(), form, params=parameters)
        return found.bytes() or b"", {"X-ClickHouse-Format": form}

    def _reply(self, status: int, body: bytes, head: dict[str, str]) -> None:
        if "gzip" in self.headers.get("Accept-Encoding", "") or "lz4" in self.headers.get("Accept-Encoding", ""):
            kind = "lz4" if "lz4" in self.headers["Accept-Encoding"] else "gzip"
            body, head = _packed(body, kind), {**head, "Content-Encoding": kind}
        self.send_response(status)
        for name, value in {**head, "Content-Length": str(len(body)), "X-ClickHouse-Timezone": "UTC"}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing: what a test prints is for its reader."""


def _unpacked(body: bytes, kind: str) -> bytes:
    if kind == "lz4":
        return lz4.frame.decompress(body)
    return gzip.decompress(body) if kind == "gzip" else body


def _packed(body: bytes, kind: str) -> bytes:
    if kind == "lz4":
        return lz4.frame.compress(body)
    return gzip.compress(body, 1)


def main() -> None:
    held = chdb.connect(":memory:")  # the data live as long as one connection does
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    server.daemon_threads = True
    Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)  # noqa: T201 - how the parent learns of it
    sys.stdin.read()
    server.shutdown()
    held.close()


@contextmanager
def endpoint() -> Iterator[str]:
    """The address (host:port) of an endpoint that runs meanwhile."""
    with subprocess.Popen(
        [sys.executable, str(Path(__file__))], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield f"127.0.0.1:{process.stdout.readline().strip()}"
        process.stdin.close()
        process.wait(30)


if __name__ == "__main__":
    main()
