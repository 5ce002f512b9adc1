"""Messages as signed webhooks: Standard Webhooks (standardwebhooks.com, specification 1.0), one POST for each."""

import http.client
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import msgspec
from standardwebhooks import Webhook

from dropoff.notify.base import Letter, Message, NotSent
from dropoff.project.receivers import Receiver

RETRIED = (408, 425, 429)
"""Beside 5xx: answers after which the same message may be taken later. Any other refusal is final."""

MOST_WAIT = 3600.0
"""Seconds that a receiver may ask for with `Retry-After`."""


class WebhookNotifier:
    """Signs and posts. An answer 2xx is success; redirects are not followed: the signature is for one receiver."""

    def __init__(self, receiver: Receiver, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.name = receiver.name
        self._receiver = receiver
        self._webhook = Webhook(receiver.key())
        self._clock = clock
        receiver.address()

    def send(self, message: Message) -> None:
        """Post it, within the receiver's timeout for the whole exchange. Raises `NotSent`."""
        self._send(message.id, payload(message))

    def deliver(self, letter: Letter) -> None:
        """The same with a report."""
        self._send(letter.id, payload_of(letter))

    def _send(self, key: str, body: bytes) -> None:
        now = self._clock()
        headers = {
            "content-type": "application/json", "user-agent": "dropoff",
            "webhook-id": key, "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._webhook.sign(key, now, body.decode()),
        }  # fmt: skip
        try:
            status, after = self._post(body, headers)
        except (OSError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
            raise NotSent(self.name, self._receiver.masked(reason), retry=True) from None
        if not 200 <= status < 300:
            is_passing = status >= 500 or status in RETRIED
            raise NotSent(self.name, f"answered {status}", retry=is_passing, after=_seconds(after, now))

    def _post(self, body: bytes, headers: dict[str, str]) -> tuple[int, str | None]:
        url, seconds = urlsplit(self._receiver.address()), self._receiver.timeout
        if url.scheme == "https":
            context = ssl.create_default_context()
            connection = http.client.HTTPSConnection(url.hostname or "", url.port, timeout=seconds, context=context)
        else:
            connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=seconds)
        # The timeout of a socket starts again with every byte: what drips is cut off by the clock.
        late = threading.Event()
        limit = threading.Timer(seconds, _cut, [connection, late])
        limit.daemon = True
        limit.start()
        try:
            target = (url.path or "/") + (f"?{url.query}" if url.query else "")
            connection.request("POST", target, body, headers)
            with connection.getresponse() as response:  # the connection alone does not close what it gave up
                if late.is_set():  # what was cut off may look complete
                    raise TimeoutError("timed out")
                return response.status, response.headers.get("retry-after")
        finally:
            limit.cancel()
            connection.close()


def payload(message: Message) -> bytes:
    """The body: `{"type", "timestamp", "data": {"subject", "body", "alerts": […]}}`, the same at every attempt."""
    first, alerts = message.notices[0], msgspec.to_builtins(message.notices)
    for one in alerts:
        del one["receivers"]  # who else is told is no business of this one
    data = {"subject": message.text.subject, "body": message.text.body, "alerts": alerts}
    return msgspec.json.encode({"type": f"alert.{first.kind}", "timestamp": first.at, "data": data})


def payload_of(letter: Letter) -> bytes:
    """The same of a report: `{"type", "timestamp", "data": {"title", "link", "text", "period"}}`, the text Markdown."""
    data = {"title": letter.title, "link": letter.link, "text": letter.text, "period": letter.period}
    return msgspec.json.encode({"type": letter.kind, "timestamp": letter.at, "data": data})


def _cut(connection: http.client.HTTPConnection, late: threading.Event) -> None:
    late.set()
    with suppress(OSError, AttributeError):  # it has just ended by itself
        connection.sock.shutdown(2)


def _seconds(after: str | None, now: datetime) -> float:
    """`Retry-After` in seconds, which may be a date."""
    if after is None:
        return 0.0
    try:
        seconds = float(after) if after.strip().isdigit() else (parsedate_to_datetime(after) - now).total_seconds()
    except (TypeError, ValueError):
        return 0.0
    return min(max(seconds, 0.0), MOST_WAIT)
