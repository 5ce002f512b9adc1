"""The evaluator in a thread of its own."""

import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime

import structlog

from dropoff.alerts.backtest import Coverage, coverage
from dropoff.alerts.evaluate import EVERY, Alerts, Evaluator
from dropoff.background import Background

log = structlog.get_logger()


SETTLED = 30
"""After so many evaluations, a minute, the start of the server is over."""

MOST = 0.5
"""A rule that has enough data in a smaller part of the time mostly lacks it."""


class Job(Background):
    """Evaluates every two seconds until it is stopped. What fails is logged, and tried again at the next turn.

    Once, when the server has started, it says which rules mostly lacked data.
    """

    def __init__(self, evaluator: Evaluator, alerts: Alerts) -> None:
        super().__init__("alerts")
        self._evaluator = evaluator
        self._alerts = alerts

    def run(self) -> None:
        """Evaluate, again and again."""
        every, turns = EVERY.total_seconds(), 0
        self.stopping.wait(every)  # the start of a server comes first
        while not self.stopping.is_set():
            begin, turns = time.monotonic(), turns + 1
            try:
                self._evaluator.evaluate(datetime.now(UTC))
            except Exception as error:  # a thread that ended would never alert again
                log.error("alerts are not evaluated now, trying again", error=repr(error))
            if turns == SETTLED:
                # Beside the evaluation, which must not wait for it.
                threading.Thread(target=self._say_coverage, name="coverage", daemon=True).start()
            self.stopping.wait(max(0.0, every - (time.monotonic() - begin)))

    def _say_coverage(self) -> None:
        reader, now = self._alerts.reader, datetime.now(UTC)
        found = []
        for rule in self._alerts.rules:
            if self.stopping.is_set():
                return
            try:
                found += coverage(reader, [rule], now)
            except Exception as error:
                log.warning("how often a rule has enough data cannot be told", rule=rule.name, error=repr(error))
                return
        say(found)


def say(found: Sequence[Coverage]) -> None:
    """How many rules watch, and each that can seldom tell; the others are for the debug log."""
    lacking = 0
    for one in found:
        if one.enough is not None:
            lacks = one.enough < MOST
            lacking += lacks
            tell = log.info if lacks else log.debug
            tell("alert rule mostly lacks data" if lacks else "alert rule", rule=one.name,
                 enough_data=f"{one.enough:.0%} of the last four weeks",
                 window_that_mostly_has=one.window or "none")  # fmt: skip
    if not found:
        return
    more = f"; {lacking} of them mostly lack data: dropoff alerts check --coverage" if lacking else ""
    text = f"{len(found)} {'rule watches' if len(found) == 1 else 'rules watch'}{more}"
    log.info(text)
