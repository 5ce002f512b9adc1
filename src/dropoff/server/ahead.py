"""What pages ask when they are opened, made ahead in a thread of its own, where it takes long: of a large store."""

from contextlib import suppress

import structlog

from dropoff.analyse.analytics import Analytics
from dropoff.background import Background, give_way
from dropoff.dashboard.pages.routes import OPENED

log = structlog.get_logger()

EVERY = 300.0
"""Seconds between two rounds. One took about 16 CPU seconds at ten million events, half of them for experiments."""


class Ahead(Background):
    """Asks what is asked of each page that is opened from the navigation, so that nobody waits for it.

    What fails is logged, and tried again in the next round.
    """

    def __init__(self, analytics: Analytics) -> None:
        super().__init__("ahead")
        self._analytics = analytics

    def run(self) -> None:
        """A round, again and again."""
        pause = self._round()  # whoever comes meanwhile waits for the very same
        give_way()
        while not self.stopping.wait(pause):
            pause = self._round()

    def _round(self) -> float:
        """Asks, if the store is large; how many seconds later to look again."""
        with suppress(Exception):  # a store that cannot be read says so to whoever asks
            if self._analytics.is_large:
                self._ask()
                return EVERY
        return EVERY / 10

    def _ask(self) -> None:
        for question, params in OPENED:
            if self.stopping.is_set():
                return
            try:
                getattr(self._analytics, question)(params)
            except Exception as error:  # a thread that ended would never ask again
                log.warning("a page is not prepared now, trying again", question=question, error=repr(error))
