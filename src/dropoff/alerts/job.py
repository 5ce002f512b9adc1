"""The evaluator in a thread of its own."""

import threading
import time
from datetime import UTC, datetime

import structlog

from dropoff.alerts.backtest import coverage
from dropoff.alerts.evaluate import EVERY, Alerts, Evaluator
from dropoff.background import Background

log = structlog.get_logger()


SETTLED = 30
"""After so many evaluations, a minute, the start of the server is over."""


class Job(Background):
    """Evaluates every two seconds until it is stopped. What fails is logged, and tried again at the next turn.

    Once, when the server has started, it says how often each rule had enough data, and which window would have.
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
        for rule in self._alerts.rules:
            if self.stopping.is_set():
                return
            try:
                (found,) = coverage(reader, [rule], now)
            except Exception as error:
                log.warning("how often a rule has enough data cannot be told", rule=rule.name, error=repr(error))
                return
            if found.enough is not None:
                log.info(
                    "alert rule", rule=rule.name, enough_data=f"{found.enough:.0%} of the last four weeks",
                    window=rule.written, window_that_mostly_has=found.window or "none",
                )  # fmt: skip
