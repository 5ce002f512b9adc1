"""What `intake` makes of a file."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from dropoff.events import Event, Receipt
from dropoff.intake import Rejection, read_events
from dropoff.sources import Chunk, Refused, open_source, parse_mapping

RECEIPT = Receipt(1_900_000_000_000_000, batch="import")
SHARED = Path(os.environ.get("DROPOFF_SHARED", Path(__file__).parents[2].parent / "shared"))


class Result(NamedTuple):
    events: list[Event]
    rejected: list[tuple[int, Rejection]]
    refused: list[Refused]
    chunks: list[Chunk]

    @property
    def native(self) -> list[dict[str, Any]]:
        """The events as the source wrote them."""
        return [msgspec.json.decode(line) for chunk in self.chunks for line in chunk.body.splitlines() if line.strip()]


Import = Callable[..., Result]


def read(path: Path, mapping: str | None = None) -> Result:
    result = Result([], [], [], [])
    with open_source(path, mapping=parse_mapping(mapping, "m.toml") if mapping else None) as source:
        for chunk in source:
            intake = read_events(chunk.body, RECEIPT, ndjson=True)
            result.chunks.append(chunk)
            result.events.extend(intake.events)
            result.rejected.extend((chunk.line(r.index), r) for r in intake.rejections)
            result.refused.extend(chunk.refused)
        assert source.position == source.size
    return result
