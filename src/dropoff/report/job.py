"""Sends reports when they are due: one process of an installation, by lease, and each at most once.

The order of the writes is what counts: a sending is written down as begun before it is tried, and as ended afterwards.
Who finds one that was begun and has not ended knows that a process was killed in between; nobody can tell whether the
receiver took it, so it is not tried again.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

import structlog

from dropoff.background import Background
from dropoff.control.base import Control
from dropoff.errors import Conflict, DropoffError, InvalidInput, Unavailable
from dropoff.notify.base import Carrier, Letter, NotSent
from dropoff.notify.outbox import GIVE_UP, backoff
from dropoff.notify.texts import inert
from dropoff.periods import Period
from dropoff.phrases.addresses import url
from dropoff.project.schedules import Schedule
from dropoff.query import Params
from dropoff.report.reports import File
from dropoff.report.sent import Kept, Memory, Sending, begun, ended, report_id
from dropoff.report.spans import pinned, spans
from dropoff.report.value import Report, Runs

log = structlog.get_logger()

LEASE = "reports"
LEASE_SECONDS = 900.0
"""Longer than making a report and trying a receiver take."""
BEAT_SECONDS = 20.0


class Maker(Protocol):
    """Who makes reports, and writes them."""

    def report(self, params: Params) -> Report:
        """A report as a value."""
        ...

    def written(self, report: Report, name: str) -> File:
        """It as a file of a format."""
        ...


class Post(Background):
    """Looks what is due, in a thread of its own. `link` gives what is put before the address of a report."""

    def __init__(
        self, control: Control, reports: Maker, schedules: Sequence[Schedule], carriers: Sequence[Carrier],
        holder: str, link: Callable[[], str], zone: ZoneInfo,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:  # fmt: skip
        super().__init__("reports")
        self._control, self._reports, self._schedules, self._holder = control, reports, schedules, holder
        self._link, self._zone, self._clock = link, zone, clock
        self._memory = Memory(control)
        self._carriers = {carrier.name: carrier for carrier in carriers}
        check_receivers(schedules, list(self._carriers))

    def beat(self) -> None:
        """Look once, and send what is due. Raises `Unavailable`."""
        now = self._clock()
        if not self._schedules or not self._control.lease(LEASE, self._holder, LEASE_SECONDS, now.timestamp()):
            return
        self._memory.forget(now)
        for schedule in self._schedules:
            due = schedule.due(now, self._zone)
            if due > self._memory.since(schedule.kind, now):
                try:
                    self._send(schedule, spans(schedule.kind, {}, due, self._zone).now)
                except Unavailable:
                    raise
                except Exception:  # one that cannot be made must not keep the others back
                    log.exception("a report could not be made", report=schedule.kind)

    def run(self) -> None:
        """Look what is due, again and again."""
        while not self.stopping.wait(BEAT_SECONDS):
            try:
                self.beat()
            except Unavailable as error:
                log.warning("reports wait: a part is away", error=str(error))
            except Exception:
                log.exception("a look at the reports failed")

    def _send(self, schedule: Schedule, period: Period) -> None:
        """To each receiver that is still to get it; it is made once for all of them."""
        made: Report | None = None
        for receiver in schedule.receivers or self._carriers:
            if self.stopping.is_set():
                return
            kept = self._memory.get(report_id(schedule.kind, period.to_dict()["from"], receiver))
            self._break_off(kept)
            if self._is_due(kept.sending):
                made = made or self._reports.report({"kind": [schedule.kind], **pinned(period, {})})
                self._attempt(schedule, made, receiver, kept)

    def _is_due(self, sending: Sending | None) -> bool:
        if sending is None:
            return True
        return sending.state == "waiting" and (sending.next is None or sending.next <= self._clock())

    def _break_off(self, kept: Kept) -> None:
        """Give up what another process had begun to send when it ended."""
        sending = kept.sending
        if sending is not None and sending.state == "sending":
            error = "the process ended while it was sent: it may have come or not"
            self._keep(ended(sending, "interrupted", self._clock(), error), kept.version)
            log.warning("a report was broken off", report=sending.kind, receiver=sending.receiver)

    def _attempt(self, schedule: Schedule, made: Report, receiver: str, kept: Kept) -> None:
        now, start = self._clock(), made.period["from"]
        sending = kept.sending or begun(
            report_id(schedule.kind, start, receiver), schedule.kind, dict(made.period), receiver, now
        )
        try:
            letter = letter_of(self._reports, made, schedule.format, sending.id, self._link(), now)
            claimed = self._memory.put(ended(sending, "sending", now), kept.version)
        except Conflict:  # somebody else has taken it
            return
        self._keep(self._tried(sending, letter, receiver), claimed.version)

    def _tried(self, sending: Sending, letter: Letter, receiver: str) -> Sending:
        try:
            self._carriers[receiver].deliver(letter)
        except Exception as error:
            # Of an error that nobody foresaw only the kind is told: its text may hold an address.
            failure = error if isinstance(error, NotSent) else NotSent(receiver, type(error).__name__, retry=True)
            log.warning("a report was not sent", error=str(failure), retry=failure.retry)
            return failed(sending, failure, self._clock())
        log.info("report sent", report=sending.kind, receiver=receiver)
        return ended(sending, "sent", self._clock())

    def _keep(self, sending: Sending, version: int) -> None:
        try:
            self._memory.put(sending, version)
        except DropoffError as error:  # it stands as begun, and is not sent again
            log.warning("what became of a report could not be written down", error=str(error))


def failed(sending: Sending, failure: NotSent, now: datetime) -> Sending:
    """It was not taken: to be tried again, or given up after a day."""
    attempts = sending.attempts + 1
    if not failure.retry or now - sending.first >= GIVE_UP:
        return ended(replace(sending, attempts=attempts), "failed", now, str(failure))
    wait = timedelta(seconds=max(failure.after, backoff(attempts)))
    return replace(sending, state="waiting", at=now, attempts=attempts, next=now + wait, error=str(failure))


def letter_of(reports: Maker, made: Report, name: str, id: str, base: str, now: datetime) -> Letter:  # noqa: A002
    """A report as receivers get it: a few lines, the whole as Markdown, a link, and a file."""
    file = reports.written(made, name)
    summary = [_plain(runs) for runs in made.summary]
    zone = ZoneInfo(made.period["timezone"])
    start, end = (datetime.fromisoformat(made.period[name]) for name in ("from", "to"))
    period = Period(start, end, zone.key)
    link = base + url("/api/v1/report", {"kind": [made.kind], "format": ["html"], **pinned(period, {})})
    return Letter(
        id=id, kind=f"report.{made.kind}", at=now, title=made.title, link=link,
        body="\n".join([*summary, "", f"The report: {link}"]),
        text=reports.written(made, "md").body.decode(), period=made.period,
        attachment=(file.name, file.media_type.partition(";")[0], file.body),
    )  # fmt: skip


def _plain(runs: Runs) -> str:
    return inert("".join(run.text for run in runs))


def check_receivers(schedules: Sequence[Schedule], known: Sequence[str]) -> None:
    """Refuse a schedule that names a receiver there is not. Raises `InvalidInput`."""
    for schedule in schedules:
        for name in schedule.receivers:
            if name not in known:
                rule = f"a receiver: {', '.join(known) or 'none is configured'}"
                raise InvalidInput(f"reports.{schedule.kind}: receivers", name, rule)
