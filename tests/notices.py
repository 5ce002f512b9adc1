"""Notices made for tests."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from dropoff.notify.base import Kind, Notice, notice_id

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def notice(
    kind: Kind = "fired", segment: str | None = None, rule: str = "fallbacks", *, since: datetime = NOON,
    after: float = 0.0, repeat: int = 0, **more: Any,
) -> Notice:  # fmt: skip
    """Of an episode that began at `since`, so many seconds `after` it."""
    at = since + timedelta(seconds=after)
    made = Notice(
        id=notice_id(rule, segment, since, kind, repeat), kind=kind, rule=rule, severity="medium",
        metric="fallback_rate", condition="exceeds", threshold=0.2, segment=segment, since=since, at=at, value=0.25,
        n=120, interval=(0.181, 0.335), window=(at - timedelta(hours=4), at), usual="3.1 %, the median of 4 weeks",
        moved=("channel=sms: 2.0 % to 41.0 %",), link="/alerts#fallbacks", examples=("c1", "c/2"), receivers=(),
    )  # fmt: skip
    return replace(made, **more)
