"""What is told about an alert, and the port by which it leaves."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, Protocol

from dropoff.errors import Unavailable

Kind = Literal["fired", "resolved", "repeated"]


@dataclass(frozen=True)
class Notice:
    """One change of one alert, ready to be told: facts, no text.

    `condition` and `threshold` as in the rule; `segment` is `dimension=value`, None without a split. `since`: when the
    episode began, the same in every notice of it; `at`: when this notice came to be. `value` over `n` with its
    `interval` in the `window` from which it was read, None where nothing could be read. `usual`: what the value usually
    is, in words. `moved`: the segments that moved most, in words. `link`: the page, a path of this installation.
    `examples`: ids of conversations. `receivers`: names; none means all. All times are aware.
    """

    id: str
    kind: Kind
    rule: str
    severity: str
    metric: str
    condition: str
    threshold: float
    segment: str | None
    since: datetime
    at: datetime
    value: float | None
    n: int
    interval: tuple[float, float] | None
    window: tuple[datetime, datetime]
    usual: str | None
    moved: tuple[str, ...]
    link: str
    examples: tuple[str, ...]
    receivers: tuple[str, ...]


def notice_id(rule: str, segment: str | None, since: datetime, kind: Kind, repeat: int = 0) -> str:
    """The id of a notice: the same whenever the same thing is told again, as after a crash.

    `repeat` counts the repeats of an episode from 1. That the id holds, `since` must rest in the control state before
    the notice is put: an evaluator first writes its state, then puts, then writes that it has put.
    """
    parts = [rule, segment, since.astimezone(UTC).isoformat(), kind, repeat]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Message:
    """What one receiver is told at once: the notices of one rule and one kind, never none of them.

    `id` stays the same when it is sent again, so that a receiver can drop a second copy.
    """

    id: str
    notices: tuple[Notice, ...]
    text: "Text"


@dataclass(frozen=True)
class Text:
    """A message in plain words: `subject` one line, `body` lines. Neither is markup of any kind."""

    subject: str
    body: str


@dataclass(frozen=True)
class Letter:
    """A report for one receiver. `body`: a few plain lines; `text`: the whole as Markdown.

    `attachment`: the name, media type and bytes of a file, for those who can take one. `id` stays the same when it is
    tried again.
    """

    id: str
    kind: str
    at: datetime
    title: str
    link: str
    body: str
    text: str
    period: Mapping[str, str]
    attachment: tuple[str, str, bytes]


class NotSent(Unavailable):
    """A receiver did not take a message. `retry`: trying again makes sense, not before `after` seconds."""

    def __init__(self, receiver: str, reason: str, *, retry: bool, after: float = 0.0) -> None:
        super().__init__(f"{receiver}: {reason}")
        self.receiver = receiver
        self.retry = retry
        self.after = after


class Notifier(Protocol):
    """A receiver of messages. Its `name` is its name in `[[receivers]]`."""

    name: str

    def send(self, message: Message) -> None:
        """Deliver, in bounded time. Raises `NotSent`, whose text holds no secret."""
        ...


class Carrier(Protocol):
    """A receiver of reports. Its `name` is its name in `[[receivers]]`."""

    name: str

    def deliver(self, letter: Letter) -> None:
        """Deliver, in bounded time. Raises `NotSent`, whose text holds no secret."""
        ...


class Correspondent(Notifier, Carrier, Protocol):
    """A receiver of both."""
