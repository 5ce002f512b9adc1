"""Saved filters of the list of conversations, for page, API and command line."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, NotRequired
from urllib.parse import parse_qs

from fastapi import FastAPI
from fastapi import Path as InPath
from pydantic import ConfigDict, with_config
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from typing_extensions import TypedDict

from dropoff.analyse.analytics import check_parameters
from dropoff.control import saved
from dropoff.control.base import Control
from dropoff.control.saved import Saved
from dropoff.dashboard.api.replies import OR_LOST, REFUSALS, as_json
from dropoff.dashboard.frame.forms import Given, form, to
from dropoff.errors import InvalidInput
from dropoff.phrases.addresses import url

PATH = "/conversations"
_NOT_KEPT = ("limit", "after")
REFUSED = {
    "name": "A name has 1 to 64 printable characters, and no other filter has it.",
    "params": "There must be a filter to save, of at most 8,000 characters.",
}
"""What the page says of a filter that was not saved. Its address names the reason: it never brings a text along."""


class FilterShape(TypedDict):
    """A saved filter: the parameters of `/v1/conversations`, each with all its values."""

    name: str
    params: dict[str, list[str]]
    by: str
    at: datetime


@with_config(ConfigDict(extra="forbid"))
class NewFilter(TypedDict):
    """A name that no other filter has, and the parameters."""

    name: str
    params: dict[str, list[str]]
    by: NotRequired[str]


class FiltersAnswer(TypedDict):
    """All of them, by name."""

    filters: list[FilterShape]


class Filters:
    """One for page, API and command line. Raises what `dropoff.control.saved` does, and `InvalidInput` for a parameter
    that the list of conversations does not have."""

    def __init__(self, control: Control, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._control, self._clock = control, clock

    def all(self) -> list[Saved]:
        """All of them, by name."""
        return saved.saved(self._control)

    def save(self, name: str, params: Mapping[str, Sequence[str]], by: str = "") -> Saved:
        """Keep the parameters under a name. The place in the list is not kept."""
        kept = {key: [text for text in texts if text] for key, texts in params.items() if key not in _NOT_KEPT}
        kept = {key: texts for key, texts in kept.items() if texts}
        check_parameters("conversations", kept)
        return saved.save(self._control, name, kept, by, self._clock())

    def remove(self, name: str) -> None:
        """Forget one."""
        saved.remove(self._control, name)


def with_filters(app: FastAPI, filters: Filters) -> FastAPI:
    """The API, with saved filters."""

    @app.get("/v1/filters", response_model=FiltersAnswer, responses=REFUSALS)
    def list_filters() -> Response:
        """The saved filters of the list of conversations."""
        return as_json({"filters": filters.all()})

    @app.post("/v1/filters", response_model=FilterShape, responses=REFUSALS)
    def save_filter(given: NewFilter) -> Response:
        """Save one under a name that is still free."""
        return as_json(filters.save(given["name"], given["params"], given.get("by", "")))

    @app.delete(
        "/v1/filters/{name:path}", status_code=204,
        responses=OR_LOST | {204: {"description": "Removed"}},
    )  # fmt: skip
    def remove_filter(name: Annotated[str, InPath(description="its name")]) -> Response:
        """Remove one."""
        filters.remove(name)
        return Response(status_code=204)

    return app


def forms(filters: Filters) -> list[Route]:
    """What the forms of the page do; afterwards the list is shown again, as it was."""

    def save(given: Given) -> None:
        filters.save(given.get("name", ""), _params(given))

    def remove(given: Given) -> None:
        filters.remove(given.get("name", ""))

    def refused(_: Request, given: Given, error: InvalidInput) -> Response:
        return to(_back(given, error.name))

    return [form(f"/filters/{act.__name__}", PATH, act, refused, _back) for act in (save, remove)]


def _params(given: Given) -> dict[str, list[str]]:
    return parse_qs(given.get("query", ""), keep_blank_values=True)


def _back(given: Given, refusal: str | None = None) -> str:
    return url(PATH, _params(given), refused=refusal) + "#filters"
