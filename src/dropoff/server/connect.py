"""How the command line reaches a data directory: through the server that holds it, or by opening it itself."""

import http.client
import secrets
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, TextIO, cast
from urllib.parse import quote, urlencode, urlsplit

import msgspec
import polars as pl
import pyarrow as pa
import structlog

from dropoff.analyse.conversations.conversations import COLUMNS
from dropoff.control.access import run_of
from dropoff.control.base import Control
from dropoff.dashboard import spreadsheet
from dropoff.errors import Conflict, DropoffError, InvalidInput, NotFound, Unauthorized, Unavailable
from dropoff.events import Receipt
from dropoff.ingest.door import append, dead, replay_dead
from dropoff.intake import Intake, Rejection, read_events
from dropoff.project.settings import Settings
from dropoff.query import Params
from dropoff.server.app import SERVER_FILE
from dropoff.server.engine import Engine, Jobs
from dropoff.server.parts import EMBEDDED, has_shared_store
from dropoff.store import stream
from dropoff.store.base import Part

_ERRORS: dict[str, type[DropoffError]] = {
    "invalid_input": InvalidInput, "unauthorized": Unauthorized, "not_found": NotFound, "unavailable": Unavailable,
}  # fmt: skip
_SECONDS = 60.0
_SCAN_SECONDS = 900.0  # a large join may take long before its first row
_CHUNK = 1 << 16
_IDENTITY = "identity"
_DONE = ("stored", "duplicate", "conflict", "dead")


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


class _Place(msgspec.Struct):
    """Where a server answers, as it wrote it down."""

    url: str
    token: str


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


def find_server(data: Path) -> "Remote | None":
    """The server that holds `data`, if one answers and is ready."""
    found = readiness(data)
    return found[0] if found and found[1]["ready"] else None


def readiness(data: Path) -> "tuple[Remote, dict[str, Any]] | None":
    """The server that holds `data`, and what it says of itself, ready or not; None where none answers.

    The file of one that was killed may name another one's address.
    """
    try:
        found = msgspec.json.decode((data / SERVER_FILE).read_bytes(), type=_Place)
        server = Remote(found.url, found.token)
        state = server.ready()
    except (OSError, ValueError, msgspec.DecodeError, DropoffError):
        return None
    return (server, state) if state.get("run") == run_of(found.token) else None


def identity(control: Control) -> str:
    """The random name of an installation, by which what belongs to it is known again."""
    with suppress(Conflict):
        control.put(_IDENTITY, secrets.token_hex(16).encode(), 0)
    found = control.get(_IDENTITY)
    assert found is not None  # noqa: S101
    return found.value.decode()


class Remote:
    """A running server."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self._token = token

    def ask(self, question: str, params: Params, done: Callable[[float], None] | None = None) -> dict[str, Any]:
        if done is not None:  # a question that takes its time
            return self.get(f"/api/v1/{question}?{urlencode(params, doseq=True)}", _SCAN_SECONDS)
        if question == "funnel" and "definition" in params:  # which may be longer than a URL
            (definition,) = params["definition"]
            others = {name: texts for name, texts in params.items() if name != "definition"}
            path = f"/api/v1/funnel?{urlencode(others, doseq=True)}"
            return self._post(path, msgspec.Raw(definition.encode()), _patience(params))
        return self.get(f"/api/v1/{question}?{urlencode(params, doseq=True)}", _patience(params))

    def conversation(self, conversation_id: str, params: Params) -> dict[str, Any]:
        path = f"/api/v1/conversations/{quote(conversation_id, safe='')}?{urlencode(params, doseq=True)}"
        return self.get(path, _patience(params))

    def send(self, lines: bytes, batch: str) -> dict[str, Any]:
        headers = {"Content-Type": "application/x-ndjson", "X-Dropoff-Import": batch}
        while True:
            status, answer, after = self._request("POST", "/v1/events", lines, headers)
            if status in (429, 503):
                time.sleep(after)
            elif "accepted" in answer:
                return answer
            else:
                raise _error(status, answer)

    def imported(self, batch: str) -> dict[str, int]:
        return self.get(f"/api/v1/imports/{batch}")

    def delete_rejected(self, ids: list[str]) -> None:
        """Forget refused events that were replayed."""
        self._post("/api/v1/rejected/forget", ids)

    def keep_refused(self, rejections: Sequence[Rejection]) -> None:
        self._post("/api/v1/rejected/keep", rejections)

    def dead(self, limit: int) -> dict[str, Any]:
        return self.get(f"/api/v1/dead?limit={limit}")

    def replay_dead(self) -> dict[str, Any]:
        return self._post("/api/v1/dead/replay", None)

    def query(self, text: str) -> dict[str, Any]:
        return self._post("/api/v1/query", {"sql": text})

    def scan(self, parts: Sequence[Part]) -> Iterator[tuple[Part, pl.DataFrame]]:
        with self._stream(f"/api/v1/scan?{urlencode({'part': parts}, doseq=True)}") as response:
            yield from stream.decode(response, parts)

    def report(self, params: Params) -> tuple[str, bytes]:
        with self._stream(f"/api/v1/report?{urlencode(params, doseq=True)}") as response:
            named = response.headers.get_filename() or "report"
            return named, response.read()

    def export(self, params: Params) -> Iterator[bytes]:
        with self._stream(f"/api/v1/conversations?{urlencode({**params, 'format': ['csv']}, doseq=True)}") as response:
            while chunk := response.read1(_CHUNK):
                yield chunk

    @contextmanager
    def _stream(self, path: str) -> Iterator[http.client.HTTPResponse]:
        """The body of a GET, to be read piece by piece."""
        connection = self._connect(_SCAN_SECONDS)
        try:
            connection.request("GET", path, headers=self._authorization)
            response = connection.getresponse()
            if response.status != 200:
                raise _error(response.status, msgspec.json.decode(response.read(), type=dict[str, Any]))
            yield response
        except (OSError, http.client.HTTPException, pa.ArrowInvalid) as error:
            raise Unavailable(f"the server at {self.url} broke off: {error}") from error
        finally:
            connection.close()

    @property
    def _authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"}

    def _connect(self, timeout: float) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=timeout)

    def _post(self, path: str, value: object, patience: float = _SECONDS) -> dict[str, Any]:
        body, headers = msgspec.json.encode(value), {"Content-Type": "application/json"}
        status, answer, _ = self._request("POST", path, body, headers, patience)
        if status != 200:
            raise _error(status, answer)
        return answer

    def ready(self) -> dict[str, Any]:
        """What it says of itself, ready or not."""
        return self._request("GET", "/readyz", None, {})[1]

    def get(self, path: str, patience: float = _SECONDS) -> dict[str, Any]:
        """The JSON of a GET; raises the error that the server names."""
        status, answer, _ = self._request("GET", path, None, {}, patience)
        if status != 200:
            raise _error(status, answer)
        return answer

    def _request(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], patience: float = _SECONDS
    ) -> tuple[int, dict[str, Any], float]:
        connection = self._connect(patience)
        try:
            connection.request(method, path, body, {**self._authorization, **headers})
            response = connection.getresponse()
            after = float(response.headers.get("Retry-After") or 1)
            return response.status, msgspec.json.decode(response.read(), type=dict[str, Any]), after
        except (OSError, http.client.HTTPException, msgspec.DecodeError) as error:
            raise Unavailable(f"the server at {self.url} does not answer: {error}") from error
        finally:
            connection.close()


def _patience(params: Params) -> float:
    """How many seconds to wait for an answer: what was known in the past may have to be made first,
    and what rules would have done is a long story."""
    return _SCAN_SECONDS if "as_of" in params or "per_month" in params else _SECONDS


def _error(status: int, answer: Mapping[str, Any]) -> DropoffError:
    kind = _ERRORS.get(str(answer.get("code")), DropoffError)
    error = kind.__new__(kind)  # the message is complete already
    Exception.__init__(error, answer.get("message", f"the server answered {status}"))
    return error


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


class Import:
    """One import: what was read, and what became of it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._batch = secrets.token_hex(8)
        self._sent = 0
        self.rejected: Counter[str] = Counter()

    def send(self, lines: bytes) -> list[dict[str, Any]]:
        """Send a chunk; returns the refused events by `index` in it, with their `message` (the first 100)."""
        answer = self._connection.send(lines, self._batch)
        self._sent += answer["accepted"]
        self.rejected.update(answer.get("reasons", {}))
        return answer.get("errors", [])

    def refuse(self, rejections: Sequence[Rejection]) -> None:
        """Keep and count rows that could not even become an event."""
        if rejections:
            self._connection.keep_refused(rejections)
            self.rejected.update(r.reason for r in rejections)

    def finish(self, patience: float = 60.0) -> dict[str, Any]:
        """Wait until all is processed; the counts of `dropoff import`. Raises `Unavailable` when nothing moves."""
        done, last, moved = {}, -1, time.monotonic()
        while sum(done.get(name, 0) for name in _DONE) < self._sent:
            done = self._connection.imported(self._batch)
            processed = sum(done.get(name, 0) for name in _DONE)
            if processed != last:
                last, moved = processed, time.monotonic()
            elif time.monotonic() - moved > patience:
                raise Unavailable(f"{processed} of {self._sent} accepted events are processed, and nothing moves")
            time.sleep(0.02)
        refused = sum(self.rejected.values())
        return {
            "read": self._sent + refused,
            "accepted": done.get("stored", 0),
            "duplicates": done.get("duplicate", 0) + done.get("conflict", 0),
            "rejected": refused + done.get("dead", 0),
            "reasons": dict(self.rejected) | ({"dead": done["dead"]} if done.get("dead") else {}),
        }
