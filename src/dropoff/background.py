"""Work that goes on beside everything else, in a thread of its own, until it is stopped."""

import os
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

Result = TypeVar("Result")

_NICE = 10


def give_way() -> None:
    """Let the calling thread run after those that somebody waits for. Only Linux has a priority for each thread."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


def aside(work: Callable[[], Result]) -> Result:
    """What `work` returns or raises, done in a thread that gives way to others."""
    with ThreadPoolExecutor(1, "aside", give_way) as thread:
        return thread.submit(work).result()


class Background(ABC):
    """A thread that begins with `start` and ends after `stop`; `name` is what it is called in a list of threads."""

    def __init__(self, name: str) -> None:
        self.stopping = threading.Event()
        self._thread = threading.Thread(target=self.run, name=name, daemon=True)

    @abstractmethod
    def run(self) -> None:
        """The work: returns soon after `stopping` is set."""

    @property
    def alive(self) -> bool:
        """It has not ended."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Finish what is going on, and end."""
        self.stopping.set()
        if self._thread.ident is not None:
            self._thread.join()
