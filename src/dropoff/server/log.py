"""What is logged, and where to."""

import sys
from contextlib import suppress
from typing import TextIO, cast

import structlog

from dropoff.errors import InvalidInput


def log_to_stderr(level: str) -> None:
    """What is logged never mixes with a command's answer. Raises `InvalidInput` for a level that does not exist."""
    number = {"debug": 10, "info": 20, "warning": 30, "error": 40}.get(level)
    if number is None:
        raise InvalidInput("log_level", level, "debug, info, warning or error")
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, _Log(sys.stderr))),
    )


class _Log:
    """Where log lines go. One that cannot be written (a full disk, a closed pipe) must not stop what it tells of."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):
            self._stream.write(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()
