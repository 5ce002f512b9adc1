"""A receiver of webhooks: a real HTTP server on the loopback that answers as it is told, and keeps what it took."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, cast

import msgspec
from standardwebhooks import Webhook

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Post(NamedTuple):
    """What came, and when (monotonic seconds); `status` is what was answered."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    at: float
    status: int

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    def verified(self, secret: str = SECRET) -> dict[str, Any]:
        """The payload; raises where the signature is not right."""
        return Webhook(secret).verify(self.body, dict(self.headers))

    @property
    def kind(self) -> str:
        return msgspec.json.decode(self.body)["type"]


Answer = Callable[[BaseHTTPRequestHandler, int], int]
"""Answers the n-th request (from 0) and returns the status."""


def always(status: int, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler, _: int) -> int:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("content-length", "0")
        handler.end_headers()
        return status

    return answer


def in_turn(*statuses: int) -> Answer:
    """These, and then the last for ever."""
    return lambda handler, n: always(statuses[min(n, len(statuses) - 1)])(handler, n)


def silence(seconds: float) -> Answer:
    """Takes the request, and says nothing for so long."""

    def answer(handler: BaseHTTPRequestHandler, n: int) -> int:
        _ended(handler, seconds)
        return always(204)(handler, n)

    return answer


def drip(handler: BaseHTTPRequestHandler, _: int) -> int:
    """A header that never ends, a byte each tenth of a second."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nx-slow: ")
    while not _ended(handler, 0.1):
        handler.wfile.write(b"a")
        handler.wfile.flush()
    return 0


class _Server(ThreadingHTTPServer):
    """Waits for its threads when it is closed; those that say nothing are told to end."""

    daemon_threads = False

    def __init__(self, *args: Any) -> None:
        self.ended = threading.Event()
        super().__init__(*args)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone is what many tests are about."""


def _ended(handler: BaseHTTPRequestHandler, seconds: float) -> bool:
    return cast(_Server, handler.server).ended.wait(seconds)


class Receiver:
    """Where it is, and what came."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.posts: list[Post] = []
        self._changed = threading.Condition()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                at = time.monotonic()
                body = self.rfile.read(int(self.headers["content-length"]))
                with receiver._changed:
                    place = len(receiver.posts)
                    receiver.posts.append(Post(self.path, dict(self.headers), body, at, 0))
                try:
                    status = receiver.answer(self, place)
                except OSError:  # the client has gone
                    status = 0
                with receiver._changed:
                    receiver.posts[place] = receiver.posts[place]._replace(status=status)
                    receiver._changed.notify_all()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
                pass

        self.server = _Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"

    @property
    def taken(self) -> list[Post]:
        """Those that were answered with success."""
        return [post for post in self.posts if 200 <= post.status < 300]

    def wait(self, count: int, seconds: float = 30.0) -> list[Post]:
        """Until so many were taken."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.taken) >= count, seconds), [p.status for p in self.posts]
        return self.taken


@contextmanager
def receiving(answer: Answer | None = None) -> Iterator[Receiver]:
    """A receiver that runs for the time of the block."""
    receiver = Receiver(answer or always(204))
    thread = threading.Thread(target=receiver.server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.server.ended.set()
        receiver.server.shutdown()
        receiver.server.server_close()
        thread.join()
