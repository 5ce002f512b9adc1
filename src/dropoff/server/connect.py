"""How the command line reaches a data directory: through the server that holds it, or by opening it itself."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import msgspec
import polars as pl

from dropoff.analyse.conversations.conversations import COLUMNS
from dropoff.dashboard.frame import spreadsheet
from dropoff.errors import InvalidInput
from dropoff.events import Receipt
from dropoff.ingest.dead import dead, replay_dead
from dropoff.ingest.door import append
from dropoff.intake import Intake, Rejection, read_events
from dropoff.project.settings import Settings
from dropoff.query import Params
from dropoff.server.engine import Engine, Jobs
from dropoff.server.log import log_to_stderr
from dropoff.server.parts import EMBEDDED, has_shared_store
from dropoff.server.remote import find_server
from dropoff.store.base import Part


class Connection(Protocol):
    """A data directory, wherever it is open."""

    def ask(self, question: str, params: Params, done: Callable[[float], None] | None = None) -> dict[str, Any]:
        """The answer to a question of `Analytics`, or about alerts, as the API gives it.

        `done`, for a question that takes it, is told which part is done, between 0 and 1; a server does not tell.
        """
        ...

    def conversation(self, conversation_id: str, params: Params) -> dict[str, Any]:
        """One conversation; raises `NotFound`."""
        ...

    def export(self, params: Params) -> Iterator[bytes]:
        """The whole list of conversations as CSV, in chunks."""
        ...

    def report(self, params: Params) -> tuple[str, bytes]:
        """A report as a file: its name, and what is in it."""
        ...

    def query(self, text: str) -> dict[str, Any]:
        """The rows of one SELECT."""
        ...

    def waiting(self) -> int:
        """How many accepted events no answer has yet; 0 where that is not known."""
        ...

    def scan(self, parts: Sequence[Part]) -> Iterator[tuple[Part, pl.DataFrame]]:
        """As `Store.scan`."""
        ...

    def send(self, lines: bytes, batch: str) -> dict[str, Any]:
        """Send events, a JSON line each, as part of the import `batch`: the answer of the door."""
        ...

    def imported(self, batch: str) -> dict[str, int]:
        """What became of the events of an import so far."""
        ...

    def keep_refused(self, rejections: Sequence[Rejection]) -> None:
        """Keep rows of a file that never became events among the refused ones."""
        ...

    def delete_rejected(self, ids: list[str]) -> None:
        """Forget refused events that were replayed."""
        ...

    def dead(self, limit: int) -> dict[str, Any]:
        """Accepted events that could not be processed: `{"dead": [{"at", "reason", "body"}], "total"}`."""
        ...

    def replay_dead(self) -> dict[str, Any]:
        """Let them be processed once more: `{"replayed": n}`."""
        ...


@contextmanager
def connect(settings: Settings, *, create: bool = False) -> Iterator[Connection]:
    """The running server of the data directory, else the directory itself, opened for the time of the block.

    Raises `InvalidInput` for a directory that does not exist, unless the command may `create` it.
    """
    server = find_server(settings.data)
    if server is not None:
        yield server
        return
    if settings.store == EMBEDDED and not create:
        check_data(settings)
    log_to_stderr(settings.log_level)
    if has_shared_store(settings):  # its own workers do the work
        with Engine(settings, Jobs(door=True, read=True)) as engine:
            yield Local(engine)
        return
    with Engine(settings, Jobs(door=True, work=True, read=True)) as engine:  # which alerts nobody
        engine.drain()
        yield Local(engine)


def check_data(settings: Settings) -> None:
    """Refuse a data directory that does not exist: most likely its name is mistyped."""
    if not settings.data.is_dir():
        raise InvalidInput("data", str(settings.data), "a directory that exists (dropoff serve and import make one)")


class Local:
    """The data directory, opened by this process."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def ask(self, question: str, params: Params, done: Callable[[float], None] | None = None) -> dict[str, Any]:
        if done is None:
            return msgspec.to_builtins(self._engine.ask(question, params))
        return msgspec.to_builtins(getattr(self._engine.analytics, question)(params, done=done))

    def conversation(self, conversation_id: str, params: Params) -> dict[str, Any]:
        return self._engine.analytics.conversation(conversation_id, params)

    def report(self, params: Params) -> tuple[str, bytes]:
        file = self._engine.reports.file(params)
        return file.name, file.body

    def export(self, params: Params) -> Iterator[bytes]:
        return spreadsheet.lines(COLUMNS, self._engine.analytics.all_conversations(params))

    def query(self, text: str) -> dict[str, Any]:
        return self._engine.analytics.query(text)

    def waiting(self) -> int:
        lag = self._engine.lag()
        return lag.events if lag else 0

    def scan(self, parts: Sequence[Part]) -> Iterator[tuple[Part, pl.DataFrame]]:
        return self._engine.store.scan(parts)

    def send(self, lines: bytes, batch: str) -> dict[str, Any]:
        receipt = Receipt(time.time_ns() // 1000, 0, batch)
        intake = read_events(lines, receipt, ndjson=True)
        self._append(intake, receipt)
        reasons = Counter(r.reason for r in intake.rejections)
        errors = [{"index": r.index, "message": r.message} for r in intake.rejections[:100]]
        return {
            "accepted": len(intake.events), "rejected": len(intake.rejections), "reasons": reasons, "errors": errors,
        }  # fmt: skip

    def keep_refused(self, rejections: Sequence[Rejection]) -> None:
        self._append(Intake([], list(rejections)), Receipt(time.time_ns() // 1000))

    def _append(self, intake: Intake, receipt: Receipt) -> None:
        for future in append(self._engine.queue, intake, receipt):
            future.result()

    def imported(self, batch: str) -> dict[str, int]:
        return self._engine.imports.get(batch)

    def delete_rejected(self, ids: list[str]) -> None:
        """Forget refused events that were replayed."""
        self._engine.store.delete_rejected(ids)

    def dead(self, limit: int) -> dict[str, Any]:
        return dead(self._engine.queue, limit)

    def replay_dead(self) -> dict[str, Any]:
        answer = replay_dead(self._engine.queue)
        self._engine.drain()
        return answer
