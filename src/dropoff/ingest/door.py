"""The door: `POST /v1/events`. It answers 202 only when the events are on disk.

Plain ASGI, because at ten thousand requests a second every layer shows.
"""

import asyncio
import gzip
import io
import time
import zlib
from collections import Counter
from concurrent.futures import Future
from typing import Any

import msgspec

from dropoff.control.access import Access
from dropoff.errors import Unavailable
from dropoff.events import MAX_BODY_BYTES, Receipt
from dropoff.ingest.metrics import ACCEPTED, BODIES_REJECTED, REJECTED
from dropoff.intake import BadBody, Intake, event_parts, read_events, refused_parts
from dropoff.queue.base import Queue

Scope = dict[str, Any]
JSON = ("application/json", "text/plain", "")
NDJSON = ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/jsonlines")
_INLINE_BYTES = 200_000  # what takes longer to parse than a few milliseconds goes to a thread
_INLINE_GZIP_BYTES = 20_000
_SHOWN_ERRORS = 100
_LATER = (b"retry-after", b"5")
_HEADERS = {401: [(b"www-authenticate", b"Bearer")], 405: [(b"allow", b"POST")], 429: [_LATER], 503: [_LATER]}


class Refusal(Exception):
    """An answer other than 202."""

    def __init__(self, status: int, code: str, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"code": code, "message": message, **more}
        self.headers = _HEADERS.get(status, [])


def append(queue: Queue, intake: Intake, receipt: Receipt) -> list[Future[int]]:
    """Put what came of a body into the partitions of the queue. Only when all futures are done, all of it is durable;
    if one fails, what the others hold is known again by its ids when it is sent again."""
    room = queue.partitions, queue.max_bytes
    parts = [*event_parts(intake.events, *room), *refused_parts(intake.rejections, receipt.received_at, *room)]
    return [queue.append(*part) for part in parts]


class Door:
    """The ASGI application of `/v1/events`."""

    def __init__(self, queue: Queue, access: Access, backlog_limit: int) -> None:
        self._queue = queue
        self._access = access
        self._backlog_limit = backlog_limit

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Take one request."""
        try:
            status, body, headers = 202, await self._take(scope, receive), []
        except Refusal as refusal:
            status, body, headers = refusal.status, refusal.body, refusal.headers
            if "errors" not in body:  # else each event is counted by itself
                BODIES_REJECTED.labels(body["code"]).inc()
        content = msgspec.json.encode(body)
        headers = [
            (b"content-type", b"application/json"), (b"content-length", str(len(content)).encode()), *headers,
        ]  # fmt: skip
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def _take(self, scope: Scope, receive: Any) -> dict[str, Any]:
        if scope["method"] != "POST":
            raise Refusal(405, "method_not_allowed", f"{scope['method']} /v1/events, must be POST")
        headers = dict(scope["headers"])
        if not await self._may_write(headers.get(b"authorization", b"").decode("latin-1")):
            raise Refusal(401, "unauthorized", "send a write key: 'Authorization: Bearer dw_…' (dropoff keys create)")
        ndjson = _is_ndjson(headers.get(b"content-type", b"").decode("latin-1"))
        if self._queue.backlog() > self._backlog_limit:
            raise Refusal(429, "backlog", "too much is waiting to be processed; send it again later")
        raw = await _read(receive, headers)
        body = await _unpacked(raw, headers)
        batch = headers.get(b"x-dropoff-import")
        receipt = Receipt(time.time_ns() // 1000, 0, batch.decode("latin-1")[:64] if batch else None)
        intake = await _parse(body, receipt, ndjson)
        await self._append(intake, receipt)
        return _answer(intake)

    async def _may_write(self, authorization: str) -> bool:
        try:
            if self._access.in_memory:
                return self._access.may_write(authorization)
            return await asyncio.to_thread(self._access.may_write, authorization)
        except Unavailable as error:
            raise Refusal(503, "unavailable", f"nothing was taken, send it again: {error}") from None

    async def _append(self, intake: Intake, receipt: Receipt) -> None:
        pending = append(self._queue, intake, receipt)
        try:
            for future in pending:
                await asyncio.wrap_future(future)
        except Unavailable as error:
            raise Refusal(503, "unavailable", f"not everything was taken, send it again: {error}") from None
        ACCEPTED.inc(len(intake.events))
        for rejection in intake.rejections:
            REJECTED.labels(rejection.reason).inc()


def _is_ndjson(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    if kind in NDJSON:
        return True
    if kind in JSON:
        return False
    raise Refusal(415, "unsupported_media_type", f"Content-Type == {kind!r}, must be application/json or {NDJSON[0]}")


async def _read(receive: Any, headers: dict[bytes, bytes]) -> bytes:
    length = headers.get(b"content-length", b"0")
    if length.isdigit() and int(length) > MAX_BODY_BYTES:
        raise _too_large()
    chunks, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refusal(400, "disconnected", "the body ended early; nothing was taken")
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            raise _too_large()
        chunks.append(chunk)
        if not message.get("more_body"):
            return b"".join(chunks) if len(chunks) > 1 else chunks[0]


async def _unpacked(raw: bytes, headers: dict[bytes, bytes]) -> bytes:
    encoding = headers.get(b"content-encoding", b"identity").lower()
    if encoding == b"gzip":
        return _unzip(raw) if len(raw) < _INLINE_GZIP_BYTES else await asyncio.to_thread(_unzip, raw)
    if encoding != b"identity":
        shown = encoding.decode("latin-1")
        raise Refusal(415, "unsupported_encoding", f"Content-Encoding == {shown!r}, must be gzip or identity")
    return raw


def _unzip(raw: bytes) -> bytes:
    unzipper = zlib.decompressobj(wbits=31)
    try:
        body = unzipper.decompress(raw, MAX_BODY_BYTES + 1)
        if unzipper.unused_data:  # what some clients send: several gzip members, one behind the other
            body = gzip.GzipFile(fileobj=io.BytesIO(raw)).read(MAX_BODY_BYTES + 1)
    except (zlib.error, EOFError, OSError) as error:
        raise Refusal(400, "malformed", f"the body is not gzip: {error}") from None
    if len(body) > MAX_BODY_BYTES:
        raise _too_large()
    if not unzipper.eof:
        raise Refusal(400, "malformed", "the gzip body ends early")
    return body


def _too_large() -> Refusal:
    return Refusal(
        413, "too_large", f"the body is over {MAX_BODY_BYTES} bytes (before or after gunzip): send it in parts"
    )


async def _parse(body: bytes, receipt: Receipt, ndjson: bool) -> Intake:
    try:
        if len(body) < _INLINE_BYTES:
            return read_events(body, receipt, ndjson=ndjson)
        return await asyncio.to_thread(read_events, body, receipt, ndjson=ndjson)
    except BadBody as error:
        raise Refusal(413 if error.code == "too_many_events" else 400, error.code, str(error)) from None


def _answer(intake: Intake) -> dict[str, Any]:
    errors = [
        {"index": r.index, "reason": r.reason, "field": r.field, "message": r.message}
        for r in intake.rejections[:_SHOWN_ERRORS]
    ]
    reasons = Counter(r.reason for r in intake.rejections)
    counts = {"accepted": len(intake.events), "rejected": len(intake.rejections), "reasons": reasons}
    if errors and not intake.events:
        raise Refusal(400, errors[0]["reason"], errors[0]["message"], **counts, errors=errors)
    return {**counts, "errors": errors}
