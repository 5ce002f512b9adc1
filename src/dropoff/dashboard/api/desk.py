"""What people do about alerts: silences and acknowledgements, for page, API and command line."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, NotRequired
from zoneinfo import ZoneInfo

from fastapi import FastAPI
from fastapi import Path as InPath
from pydantic import ConfigDict, with_config
from starlette.responses import Response
from typing_extensions import TypedDict

from dropoff.control.base import Control
from dropoff.dashboard.api.replies import OR_LOST, REFUSALS, as_json
from dropoff.errors import InvalidInput
from dropoff.notify import silences
from dropoff.notify.silences import Acknowledgement, Silence, until

_NOTHING_ELSE = with_config(ConfigDict(extra="forbid"))
"""Without it a misspelt `segment` would silence a rule everywhere."""


@_NOTHING_ELSE
class NewSilence(TypedDict("_For", {"for": str | None}, total=False), total=False):
    """`rule`, `segment` or both; and its end as `for`, like 2h, or as the instant `until`."""

    rule: str | None
    segment: str | None
    until: str | None
    comment: str
    by: str


class SilencesAnswer(TypedDict):
    """Those that are alive, the first to end first."""

    silences: list[Silence]


@_NOTHING_ELSE
class NewAcknowledgement(TypedDict):
    """`segment` null or missing: all that fire of the rule now."""

    rule: str
    segment: NotRequired[str | None]
    comment: NotRequired[str]
    by: NotRequired[str]


class AcknowledgementsAnswer(TypedDict):
    """The latest first."""

    acknowledgements: list[Acknowledgement]


_Id = Annotated[str, InPath(description="its id")]


class Desk:
    """One for page, API and command line. `rules`: what each is split by, if it is, by name. Raises what
    `dropoff.notify.silences` does, and `InvalidInput` for a rule or a segment that there cannot be."""

    def __init__(
        self, control: Control, rules: Mapping[str, str | None], zone: ZoneInfo,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:  # fmt: skip
        self.zone, self.clock = zone, clock
        self._control, self._rules = control, rules

    def silences(self) -> list[Silence]:
        """Those that are alive."""
        return silences.silences(self._control, self.clock())

    def acknowledgements(self) -> list[Acknowledgement]:
        """All of them."""
        return silences.acknowledgements(self._control)

    def silence(self, given: Mapping[str, str]) -> Silence:
        """Make one of `rule`, `segment`, `for` or `until`, `comment`, `by`; what is empty is not given."""
        rule, segment, now = given.get("rule") or None, given.get("segment") or None, self.clock()
        self._check(rule, segment)
        return silences.silence(
            self._control, rule=rule, segment=segment,
            until=until(given.get("for"), given.get("until"), now, self.zone),
            comment=given.get("comment") or "", by=given.get("by") or "", now=now,
        )  # fmt: skip

    def acknowledge(self, given: Mapping[str, str]) -> Acknowledgement:
        """Acknowledge what fires of `rule` in `segment`; with `comment` and `by`."""
        rule, segment = given.get("rule") or "", given.get("segment") or None
        self._check(rule, segment)
        return silences.acknowledge(
            self._control, rule=rule, segment=segment, comment=given.get("comment") or "",
            by=given.get("by") or "", now=self.clock(),
        )  # fmt: skip

    def expire(self, given: Mapping[str, str]) -> None:
        """End the silence `id`."""
        silences.expire(self._control, given.get("id") or "")

    def withdraw(self, given: Mapping[str, str]) -> None:
        """Take the acknowledgement `id` back."""
        silences.withdraw(self._control, given.get("id") or "")

    def _check(self, rule: str | None, segment: str | None) -> None:
        if rule is not None and rule not in self._rules:
            raise InvalidInput("rule", rule, f"one of {', '.join(self._rules)}")
        splits = sorted({by for name, by in self._rules.items() if by is not None and rule in (None, name)})
        if segment is None or any(segment.startswith(f"{by}=") for by in splits):
            return
        if splits:
            allowed = " or ".join(f"{by}=VALUE" for by in splits)
            raise InvalidInput("segment", segment, f"{allowed}, as {rule or 'a rule'} is split")
        raise InvalidInput("segment", segment, f"left out, as {f'{rule} is not' if rule else 'no rule is'} split")


def with_desk(app: FastAPI, desk: Desk) -> FastAPI:
    """The API, with silences and acknowledgements."""
    ended = OR_LOST | {204: {"description": "Ended"}}

    @app.get("/v1/alerts/silences", response_model=SilencesAnswer, responses=REFUSALS)
    def list_silences() -> Response:
        """The silences that are alive."""
        return as_json({"silences": desk.silences()})

    @app.post("/v1/alerts/silences", response_model=Silence, responses=REFUSALS)
    def make_silence(given: NewSilence) -> Response:
        """Tell nobody of a rule, of a segment, or of both, for a time. States and history go on."""
        return as_json(desk.silence(_texts(given)))

    @app.delete("/v1/alerts/silences/{id}", status_code=204, responses=ended)
    def end_silence(id: _Id) -> Response:  # noqa: A002 - its name in the URL
        """End a silence now: what was held back and still fires is told."""
        desk.expire({"id": id})
        return Response(status_code=204)

    @app.get("/v1/alerts/acknowledgements", response_model=AcknowledgementsAnswer, responses=REFUSALS)
    def list_acknowledgements() -> Response:
        """The acknowledgements."""
        return as_json({"acknowledgements": desk.acknowledgements()})

    @app.post("/v1/alerts/acknowledgements", response_model=Acknowledgement, responses=REFUSALS)
    def acknowledge(given: NewAcknowledgement) -> Response:
        """Stop the repeats of what fires of a rule now. Its end is told."""
        return as_json(desk.acknowledge(_texts(given)))

    @app.delete("/v1/alerts/acknowledgements/{id}", status_code=204, responses=ended)
    def withdraw(id: _Id) -> Response:  # noqa: A002
        """Take an acknowledgement back: repeats go on."""
        desk.withdraw({"id": id})
        return Response(status_code=204)

    return app


def _texts(given: Mapping[str, Any]) -> dict[str, str]:
    return {key: value for key, value in given.items() if value is not None}
