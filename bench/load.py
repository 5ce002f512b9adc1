"""The client: sends bodies over keep-alive connections, each with one request under way, and says how long it took.

    python -m bench.load HOST:PORT BODIES CONNECTIONS

BODIES is a file with a MessagePack list of request bodies. All requests are built before the clock starts.
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import msgspec
import uvloop


class Caller(asyncio.Protocol):
    """One connection: takes the next request when the last one is answered."""

    def __init__(self, requests: Iterator[bytes], waits: list[float], done: asyncio.Future[None]) -> None:
        self._requests, self._waits, self._done = requests, waits, done
        self._answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name
        self._next()

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, end, body = self._answer.partition(b"\r\n\r\n")
        if end and len(body) >= _length(head):
            self._waits.append(time.perf_counter() - self._sent)
            if head[9:12] != b"202":
                self._done.set_exception(RuntimeError(self._answer[:500].decode()))
                return
            self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(exc or RuntimeError("the server closed the connection"))

    def _next(self) -> None:
        self._answer = b""
        request = next(self._requests, None)
        if request is None:
            self._done.set_result(None)
            self._transport.close()
            return
        self._sent = time.perf_counter()
        self._transport.write(request)


def _length(head: bytes) -> int:
    return next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))


def request(host: str, body: bytes) -> bytes:
    """The bytes of one POST."""
    head = f"POST /v1/events HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


async def send(address: str, bodies: list[bytes], connections: int) -> dict[str, float]:
    """Send everything; seconds, and the median and 99th percentile of a request in milliseconds."""
    requests, waits = iter([request(address, body) for body in bodies]), list[float]()
    host, port = address.rsplit(":", 1)
    loop = asyncio.get_running_loop()
    done = [loop.create_future() for _ in range(connections)]
    begin = time.perf_counter()
    for future in done:
        await loop.create_connection(lambda future=future: Caller(requests, waits, future), host, int(port))
    await asyncio.gather(*done)
    seconds = time.perf_counter() - begin
    waits.sort()
    return {"seconds": seconds, "p50_ms": waits[len(waits) // 2] * 1e3, "p99_ms": waits[len(waits) * 99 // 100] * 1e3}


if __name__ == "__main__":
    bodies = msgspec.msgpack.decode(Path(sys.argv[2]).read_bytes(), type=list[bytes])
    print(json.dumps(uvloop.run(send(sys.argv[1], bodies, int(sys.argv[3])))))
