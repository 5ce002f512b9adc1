"""The background job that tells receivers what waits in the outbox: one at a time in an installation, by lease."""

import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import structlog

from dropoff.background import Background
from dropoff.control.base import Control
from dropoff.errors import DropoffError, Unavailable
from dropoff.notify import silences
from dropoff.notify.base import Message, Notifier, NotSent
from dropoff.notify.outbox import KEPT, Outbox, Waiting, plan
from dropoff.notify.texts import text

log = structlog.get_logger()

LEASE = "notify"
LEASE_SECONDS = 15.0
BEAT_SECONDS = 0.5
TIDY_SECONDS = 3600.0
STOP_SECONDS = 3.0


class Delivery(Background):
    """Plans in one thread, and sends in a thread of its own for each receiver: one that hangs delays nobody else.

    `holder` is who takes the lease; what `link` gives is put before the links in messages.
    """

    def __init__(
        self, control: Control, outbox: Outbox, notifiers: Sequence[Notifier], holder: str, link: Callable[[], str],
        zone: ZoneInfo, clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:  # fmt: skip
        super().__init__("notify")
        self._control, self._outbox, self._holder, self._link, self._zone = control, outbox, holder, link, zone
        self._notifiers = {notifier.name: notifier for notifier in notifiers}
        self._clock = clock
        self._sending: dict[str, threading.Thread] = {}
        self._tidied = float("-inf")

    def stop(self) -> None:
        """End; what is being sent has three seconds to come to its mark, and is sent again otherwise."""
        super().stop()
        end = time.monotonic() + STOP_SECONDS
        for thread in self._sending.values():
            thread.join(max(0.0, end - time.monotonic()))

    def beat(self) -> None:
        """Look once at all that waits; begin to send what is due. Raises `Unavailable`."""
        now = self._clock()
        if not self._control.lease(LEASE, self._holder, LEASE_SECONDS, now.timestamp()):
            return
        if time.monotonic() - self._tidied >= TIDY_SECONDS:
            self._outbox.tidy(now)
            silences.tidy(self._control, now, KEPT)
            self._tidied = time.monotonic()
        # Before looking at what waits: who ends in between has changed it.
        idle = {receiver for receiver in self._notifiers if not self._is_sending(receiver)}
        waiting = self._outbox.waiting()
        if not waiting:
            return
        silent, acknowledged = silences.silences(self._control, now), silences.acknowledgements(self._control)
        for receiver, each in waiting.items():
            if receiver in idle:
                found = plan(each, lambda n, r=receiver: self._outbox.was_told(r, n), silent, acknowledged, now)
                for withdrawn, outcome in found.withdraw:
                    self._outbox.finish(receiver, withdrawn, outcome, now)
                if found.send:
                    self._begin(receiver, found.send)

    def run(self) -> None:
        """Plan, again and again."""
        while not self.stopping.wait(BEAT_SECONDS):
            try:
                self.beat()
            except Unavailable as error:
                log.warning("notices wait: the control state is away", error=str(error))
            except Exception:
                log.exception("a beat of the notices failed")

    def _begin(self, receiver: str, group: Sequence[Waiting]) -> None:
        thread = threading.Thread(target=self._send, args=(receiver, group), name=f"notify-{receiver}", daemon=True)
        self._sending[receiver] = thread
        thread.start()

    def _is_sending(self, receiver: str) -> bool:
        return receiver in self._sending and self._sending[receiver].is_alive()

    def _send(self, receiver: str, group: Sequence[Waiting]) -> None:
        try:
            claimed = self._outbox.claim(receiver, group, self._clock())
            if claimed:
                self._attempt(receiver, claimed)
        except DropoffError as error:  # the control state is away: what was sent may be sent again, under its id
            log.warning("a notice could not be marked", receiver=receiver, error=str(error))

    def _attempt(self, receiver: str, claimed: Sequence[Waiting]) -> None:
        notices = tuple(each.notice for each in claimed)
        message = Message(claimed[0].message or notices[0].id, notices, text(notices, self._link(), self._zone))
        try:
            self._notifiers[receiver].send(message)
        except Exception as error:
            # Of an error that nobody foresaw only the kind is told: its text may hold an address.
            failure = error if isinstance(error, NotSent) else NotSent(receiver, type(error).__name__, retry=True)
            log.warning("a notice was not sent", error=str(failure), retry=failure.retry)
            for each in claimed:
                if failure.retry:
                    self._outbox.postpone(receiver, each, self._clock(), str(failure), failure.after)
                else:
                    self._outbox.finish(receiver, each, "failed", self._clock(), str(failure))
        else:
            self._outbox.sent(receiver, claimed, self._clock())
