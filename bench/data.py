"""The events of the demo as NDJSON lines, in the order in which a server would see them, and copies with other ids."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import msgspec

from dropoff.demo import DEFAULT_END, generate

SEED = 7


class Timeline:
    """All conversations of one demo world, interleaved by time. Every id in it holds the world's tag."""

    def __init__(self, conversations: int) -> None:
        end = min(DEFAULT_END, datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0))
        events = sorted(generate(conversations, SEED, end), key=lambda event: event["timestamp"])
        self._tag = next(e["conversation_id"] for e in events if "conversation_id" in e).split("-")[1].encode()
        self._text = b"\n".join(map(msgspec.json.encode, events))
        self.events = len(events)

    def copy(self, number: int) -> list[bytes]:
        """The lines with other ids: as many distinct worlds as there are numbers."""
        return self._text.replace(self._tag, f"{number:06x}".encode()).split(b"\n")

    def copies(self, count: int) -> list[bytes]:
        """The lines of `count` worlds that go on at the same time."""
        return [line for together in zip(*map(self.copy, range(count)), strict=True) for line in together]


def arrays(lines: Sequence[bytes], size: int) -> list[bytes]:
    """JSON arrays of `size` events each."""
    return [b"[" + b",".join(part) + b"]" for part in parts(lines, size)]


def parts(lines: Sequence[bytes], size: int) -> Iterator[Sequence[bytes]]:
    """The lines, `size` at a time."""
    return (lines[start : start + size] for start in range(0, len(lines), size))
