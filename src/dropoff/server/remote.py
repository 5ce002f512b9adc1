"""A running server, as the command line speaks to it."""

import http.client
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import msgspec
import polars as pl
import pyarrow as pa

from dropoff.control.access import run_of
from dropoff.errors import DropoffError, InvalidInput, NotFound, Unauthorized, Unavailable
from dropoff.intake import Rejection
from dropoff.query import Params
from dropoff.server.serverfile import place_of
from dropoff.store import stream
from dropoff.store.base import Part

_ERRORS: dict[str, type[DropoffError]] = {
    "invalid_input": InvalidInput, "unauthorized": Unauthorized, "not_found": NotFound, "unavailable": Unavailable,
}  # fmt: skip
_SECONDS = 60.0
_SCAN_SECONDS = 900.0  # a large join may take long before its first row
_CHUNK = 1 << 16


class Remote:
    """A `Connection` to a running server."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self._token = token

    def ask(self, question: str, params: Params, done: Callable[[float], None] | None = None) -> dict[str, Any]:
        if done is not None:  # a question that takes its time
            return self.get(_path(question, params), _SCAN_SECONDS)
        if question == "funnel" and "definition" in params:  # which may be longer than a URL
            (definition,) = params["definition"]
            others = {name: texts for name, texts in params.items() if name != "definition"}
            return self._post(_path(question, others), msgspec.Raw(definition.encode()), _patience(params))
        return self.get(_path(question, params), _patience(params))

    def conversation(self, conversation_id: str, params: Params) -> dict[str, Any]:
        return self.get(_path(f"conversations/{quote(conversation_id, safe='')}", params), _patience(params))

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

    def waiting(self) -> int:
        return self.ready().get("lag_events", 0)

    def scan(self, parts: Sequence[Part]) -> Iterator[tuple[Part, pl.DataFrame]]:
        with self._stream(_path("scan", {"part": list(map(str, parts))})) as response:
            yield from stream.decode(response, parts)

    def report(self, params: Params) -> tuple[str, bytes]:
        with self._stream(_path("report", params)) as response:
            named = response.headers.get_filename() or "report"
            return PurePath(named).name, response.read()  # wherever it is put, the server has no say in it

    def export(self, params: Params) -> Iterator[bytes]:
        with self._stream(_path("conversations", {**params, "format": ["csv"]})) as response:
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
        except (OSError, http.client.HTTPException, msgspec.DecodeError, pa.ArrowInvalid) as error:
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


def find_server(data: Path) -> Remote | None:
    """The server that holds `data`, if one answers and is ready."""
    found = readiness(data)
    return found[0] if found and found[1]["ready"] else None


def readiness(data: Path) -> tuple[Remote, dict[str, Any]] | None:
    """The server that holds `data`, and what it says of itself, ready or not; None where none answers.

    The file of one that was killed may name another one's address.
    """
    try:
        found = place_of(data)
        server = Remote(found.url, found.token)
        state = server.ready()
    except (OSError, ValueError, DropoffError):
        return None
    return (server, state) if state.get("run") == run_of(found.token) else None


def _path(question: str, params: Params) -> str:
    return f"/api/v1/{question}?{urlencode(params, doseq=True)}"


def _patience(params: Params) -> float:
    """How many seconds to wait for an answer: what was known in the past may have to be made first,
    and what rules would have done is a long story."""
    return _SCAN_SECONDS if "as_of" in params or "per_month" in params else _SECONDS


def _error(status: int, answer: Mapping[str, Any]) -> DropoffError:
    kind = _ERRORS.get(str(answer.get("code")), DropoffError)
    error = kind.__new__(kind)  # the message is complete already
    Exception.__init__(error, answer.get("message", f"the server answered {status}"))
    return error
