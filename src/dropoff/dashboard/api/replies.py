"""What the API says back: JSON, and every error as JSON with its status."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from dropoff.dashboard.api.shapes import Error
from dropoff.errors import (
    Conflict,
    DropoffError,
    InvalidInput,
    Missing,
    NewerSchema,
    NotFound,
    Unauthorized,
    Unavailable,
    path_of,
)

STATUS: dict[type[DropoffError], tuple[int, str]] = {
    InvalidInput: (400, "invalid_input"),
    Unauthorized: (401, "unauthorized"),
    NotFound: (404, "not_found"),
    Conflict: (409, "conflict"),
    NewerSchema: (503, "newer_schema"),
    Unavailable: (503, "unavailable"),
}
REFUSALS: dict[int | str, dict[str, Any]] = {status: {"model": Error} for status in (400, 401, 503)}
"""What any question may be refused with, for the schema."""
OR_LOST = REFUSALS | {404: {"model": Error}}
"""The same of what is asked for by a name."""


def as_json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A value as JSON."""
    return Response(msgspec.json.encode(value), status, headers, media_type="application/json")


def refuse(_: Request, error: Exception) -> Response:
    """Any error as JSON with its status. What an unexpected one says is for the log alone."""
    if isinstance(error, RequestValidationError):
        error = _of_body(error)
    if isinstance(error, HTTPException):
        code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
        return as_json({"code": code, "message": error.detail}, error.status_code, error.headers)
    found = next((found for kind, found in STATUS.items() if isinstance(error, kind)), None)
    if found is None:
        return as_json({"code": "internal", "message": "the reason stands in the server's log"}, 500)
    headers = {"retry-after": "5"} if found[0] == 503 else None
    return as_json({"code": found[1], "message": str(error)}, found[0], headers)


_WRONG = {"extra_forbidden": "left out: there is no such key", "string_type": "a string"}


def _of_body(error: RequestValidationError) -> InvalidInput:
    """A body of another shape, as every other mistake."""
    first = error.errors()[0]
    name = path_of(first["loc"][1:]) or "body"
    if first["type"] == "missing":
        return Missing(name, "given")
    return InvalidInput(name, first["input"], _WRONG.get(first["type"], "a JSON object"))
