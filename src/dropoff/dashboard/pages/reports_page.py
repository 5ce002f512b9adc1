"""The page of reports: those of the last weeks and months to open, and what became of the scheduled ones."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from starlette.requests import Request
from starlette.responses import Response

from dropoff.dashboard.api.api import ReportFile
from dropoff.dashboard.frame.rendering import render
from dropoff.phrases import formats
from dropoff.phrases.addresses import url
from dropoff.query import Params

_LATEST = 20
_COUNTS = {"weekly": 8, "monthly": 6}
STATES = {
    "waiting": "To be tried again", "sending": "Being sent", "sent": "Sent", "failed": "Failed",
    "interrupted": "Interrupted, not tried again",
}  # fmt: skip


class Shelf(NamedTuple):
    """What the page is made of: the `formats` there are, the schedules, what became of their reports, and when the
    first conversation and the latest began (`held`; None: no data)."""

    file: Callable[[Params], ReportFile]
    formats: Sequence[str]
    schedules: Sequence[Any]
    sent: Callable[[], Sequence[Any]]
    held: Callable[[], tuple[datetime, datetime] | None]
    zone: ZoneInfo


class Offered(NamedTuple):
    """A period whose report can be opened, and the address of each format."""

    name: str
    urls: Mapping[str, str]


def reports_page(shelf: Shelf, request: Request) -> Response:
    """`/reports`."""
    today, held = datetime.now(UTC).astimezone(shelf.zone).date(), shelf.held()
    days = [moment.astimezone(shelf.zone).date() for moment in held or ()]
    offered = {kind: [_offer(kind, *one, shelf) for one in spans(kind, today, *days)] for kind in _COUNTS if days}
    sent = [_row(one, shelf.zone) for one in shelf.sent()[:_LATEST]]
    return render(
        "reports.html", request, 200, offered=offered, schedules=shelf.schedules, sent=sent, zone=shelf.zone.key
    )


def spans(kind: str, today: date, first: date, latest: date) -> list[tuple[date, date]]:
    """The latest whole weeks or months before today, from that of the `first` day with data to that of the `latest`."""
    end = today - timedelta(days=today.weekday()) if kind == "weekly" else today.replace(day=1)
    found: list[tuple[date, date]] = []
    while end > first and len(found) < _COUNTS[kind]:
        start = end - timedelta(days=7) if kind == "weekly" else (end - timedelta(days=1)).replace(day=1)
        found += [(start, end)] if start <= latest else []
        end = start
    return found


def _offer(kind: str, start: date, end: date, shelf: Shelf) -> Offered:
    ends = {"from": [start.isoformat()], "to": [end.isoformat()]}
    name = f"{start.isoformat()} – {(end - timedelta(days=1)).isoformat()}"
    urls = {each: url("/api/v1/report", {"kind": [kind], "format": [each], **ends}) for each in shelf.formats}
    return Offered(name, urls)


def _row(one: Any, zone: ZoneInfo) -> dict[str, Any]:
    period = f"{formats.day(one.start, zone.key)} – {formats.last_day(one.end, zone.key)}"
    return {
        "kind": one.kind, "period": period, "receiver": one.receiver, "state": STATES[one.state],
        "at": formats.instant(one.at, zone.key), "error": one.error or "",
    }  # fmt: skip
