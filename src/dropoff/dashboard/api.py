"""The JSON API, `/api/v1`: the same questions, parameters and numbers as page and command line."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any, NotRequired

import msgspec
from fastapi import Depends, FastAPI, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import Response
from typing_extensions import TypedDict

from dropoff.analyse.analytics import Analytics
from dropoff.analyse.answers import Number
from dropoff.errors import Conflict, DropoffError, InvalidInput, NewerSchema, NotFound, Unauthorized, Unavailable
from dropoff.events import Envelope
from dropoff.funnels import Funnel
from dropoff.query import DIMENSIONS, Params

STATUS: dict[type[DropoffError], tuple[int, str]] = {
    InvalidInput: (400, "invalid_input"),
    Unauthorized: (401, "unauthorized"),
    NotFound: (404, "not_found"),
    Conflict: (409, "conflict"),
    NewerSchema: (503, "newer_schema"),
    Unavailable: (503, "unavailable"),
}


class Error(TypedDict):
    """What every refusal says: `code` for programs, `message` for people."""

    code: str
    message: str


class PeriodShape(TypedDict("PeriodShape", {"from": str, "to": str})):
    """The half-open period, instants in RFC 3339, and the zone its days are of."""

    timezone: str


class DefinitionShape(TypedDict):
    """What was counted; `funnel`: the definition of one's own, without what it leaves at its default."""

    name: str
    mode: str
    text: str
    funnel: NotRequired[dict[str, Any]]


class StageShape(TypedDict):
    """One stage. `recorded`: by its own event; `implied`: only by a later one.

    Of a funnel of one's own also whether it is `optional`, and how long it took from the required step before.
    """

    stage: str
    count: int
    recorded: int
    implied: int
    is_recorded: bool
    rate_from_previous: Number
    rate_from_start: Number
    optional: NotRequired[bool]
    median_seconds: NotRequired[float | None]
    average_seconds: NotRequired[float | None]
    p90_seconds: NotRequired[float | None]


class BinShape(TypedDict):
    """How many took as long as this, and less than the next bin says."""

    from_seconds: int
    count: int


class TimeToConvertShape(TypedDict):
    """From the first to the last required step."""

    n: int
    median_seconds: float | None
    average_seconds: float | None
    p90_seconds: float | None
    histogram: list[BinShape]


class StageOfPoint(TypedDict):
    """A stage of those that entered in a bucket."""

    stage: str
    count: int
    rate_from_previous: Number
    rate_from_start: Number


class FunnelPoint(TypedDict("FunnelPoint", {"from": str, "to": str})):
    """One bucket. `immature`: attempts in it may still go on; null where no window limits them."""

    partial: bool
    immature: bool | None
    stages: list[StageOfPoint]


class FunnelTrend(TypedDict):
    """A funnel over time."""

    interval: str
    points: list[FunnelPoint]


class DropOffShape(TypedDict("DropOffShape", {"from": str, "to": str})):
    """A drop between two consecutive stages, with its Wilson 95 % interval."""

    drop_rate: float
    volume_lost: int
    interval: tuple[float, float] | None


class FunnelBody(TypedDict):
    """Stages, plain rates (0/0 is null) and drop-offs above the threshold."""

    stages: list[StageShape]
    rates: dict[str, float | None]
    numbers: dict[str, Number]
    drop_offs: list[DropOffShape]
    time_to_convert: NotRequired[TimeToConvertShape]


class Answer(TypedDict):
    """What every answer begins with."""

    period: PeriodShape
    as_of: str


class FunnelAnswer(Answer, FunnelBody, total=False):
    """A funnel; `segments` where `by` was given, `trend` where `interval` was."""

    definition: DefinitionShape
    test_conversations: int
    by: str
    segments: dict[str, FunnelBody]
    trend: FunnelTrend


class DropOffsAnswer(Answer, total=False):
    """The drop-offs of a funnel."""

    definition: DefinitionShape
    test_conversations: int
    drop_offs: list[DropOffShape]
    segments: dict[str, dict[str, list[DropOffShape]]]


class ConversationsAnswer(Answer):
    """A page of conversations; `next` goes into `after` for the following one."""

    definition: dict[str, str]
    conversations: list[dict[str, Any]]
    total: int
    next: str | None


class MetricShape(TypedDict):
    """The value of a metric. Numerator and denominator are null for a median, which has `n` and quantiles.

    `amount`: exact, in `currency`. `unknown`, `labelled_share`: what stands beside a metric that leaves rows out.
    """

    metric: str
    segment: str
    value: float | None
    numerator: float | None
    denominator: float | None
    interval: tuple[float, float] | None
    unit: str
    clock: str
    currency: NotRequired[str | None]
    amount: NotRequired[str | None]
    n: NotRequired[int]
    p50: NotRequired[float | None]
    p90: NotRequired[float | None]
    p99: NotRequired[float | None]
    unknown: NotRequired[float | None]
    labelled_share: NotRequired[float | None]


class SplitShape(TypedDict):
    """By what the values are split; `overlapping`: a conversation can stand in several segments."""

    by: str | None
    overlapping: bool


class MetricsAnswer(Answer):
    """A row for each metric, segment and currency."""

    definition: SplitShape
    test_conversations: int
    metrics: list[MetricShape]


class MetricDefinition(TypedDict):
    """What a metric means. `clock`: cohort (by the conversation's start) or activity (by the event's time).

    `maturity_days`: how long after a conversation's start its part may still change; 0 where events are counted.
    """

    metric: str
    unit: str
    clock: str
    good: str
    maturity_days: int
    description: str
    additive: bool


class DefinitionsAnswer(TypedDict):
    """Every metric there is."""

    metrics: list[MetricDefinition]


class PointShape(TypedDict("PointShape", {"from": str, "to": str}), MetricShape):
    """One bucket of a trend. `partial`: cut by the period, or not over yet; `immature`: what counts may still come."""

    partial: bool
    immature: bool


class PreviousShape(TypedDict):
    """The period before."""

    period: PeriodShape
    total: list[MetricShape]
    points: list[PointShape]


class DeployShape(TypedDict):
    """The first conversation of a bot version."""

    bot_id: str | None
    bot_version: str
    at: str


class TrendAnswer(Answer):
    """A metric over time, its value in the whole period, the same of the period before, and deploys."""

    definition: MetricDefinition
    interval: str
    test_conversations: int
    total: list[MetricShape]
    points: list[PointShape]
    previous: PreviousShape
    deploys: list[DeployShape]


class OwnQuery(TypedDict):
    """SQL in the store's own dialect: one SELECT."""

    sql: str


class QueryAnswer(TypedDict):
    """Its rows; exact decimals as text, instants in RFC 3339. `truncated`: there are more."""

    columns: list[str]
    rows: list[list[Any]]
    truncated: bool


def _common(
    start: Annotated[str | None, Query(alias="from", description="first day, or an instant with an offset")] = None,
    end: Annotated[str | None, Query(alias="to", description="the day or instant after the last: exclusive")] = None,
    timezone: Annotated[str | None, Query(description="IANA zone of the days; default: the project's")] = None,
    where: Annotated[list[str] | None, Query(description=f"dimension=value; {', '.join(DIMENSIONS)}")] = None,
    include_test: Annotated[str | None, Query(description="1 puts test traffic back")] = None,
) -> None:
    """Declared for the schema alone: `Analytics` reads the URL itself, so every surface parses it in one place."""


def _of_metrics(
    metric: Annotated[list[str] | None, Query(description="a metric; repeatable; default: all of them")] = None,
    by: Annotated[str | None, Query(description="dimension to split by")] = None,
) -> None:
    """As above."""


def _of_trend(
    metric: Annotated[str | None, Query(description="the metric")] = None,
    interval: Annotated[str | None, Query(description="hour, day (default), week or month")] = None,
    by: Annotated[str | None, Query(description="dimension to split by")] = None,
) -> None:
    """As above."""


def _of_funnel(
    name: Annotated[str | None, Query(description="sales (default), mission or one of your own")] = None,
    definition: Annotated[str | None, Query(description="in place of a name: a funnel as JSON")] = None,
    by: Annotated[str | None, Query(description="dimension to split by; of your own also event:<property>")] = None,
    threshold: Annotated[str | None, Query(description="drop-offs above this rate, 0 to 1; default 0")] = None,
) -> None:
    """As above."""


def _of_own_funnel(
    interval: Annotated[str | None, Query(description="of your own also by hour, day, week or month")] = None,
) -> None:
    """As above."""


def _of_listing(
    name: Annotated[str | None, Query(description="the funnel whose stages are meant; default sales")] = None,
    definition: Annotated[str | None, Query(description="in place of a name: a funnel as JSON")] = None,
    threshold: Annotated[str | None, Query(description="of the funnel that led here; changes nothing")] = None,
    stage: Annotated[str | None, Query(description="only those that reached this stage")] = None,
    dropped: Annotated[str | None, Query(description="only those that reached this stage and not the next")] = None,
    limit: Annotated[str | None, Query(description="1 to 1000; default 50")] = None,
    after: Annotated[str | None, Query(description="`next` of the page before")] = None,
) -> None:
    """As above."""


def _of_rejected(limit: Annotated[str | None, Query(description="1 to 100000; default 100")] = None) -> None:
    """As above."""


def api(analytics: Analytics) -> FastAPI:
    """The application, to be mounted at `/api`."""
    app = FastAPI(title="Dropoff", version="1", docs_url=None, redoc_url=None)
    for kind in (DropoffError, HTTPException, Exception):
        app.add_exception_handler(kind, refuse)
    refusals: Any = {status: {"model": Error} for status in (400, 401, 503)}
    common, of_listing = Depends(_common), Depends(_of_listing)

    @app.get(
        "/v1/metrics", response_model=MetricsAnswer, responses=refusals, dependencies=[common, Depends(_of_metrics)]
    )
    def metrics(request: Request) -> Response:
        """The values of metrics."""
        return _json(analytics.metrics(params(request)))

    @app.get("/v1/trend", response_model=TrendAnswer, responses=refusals, dependencies=[common, Depends(_of_trend)])
    def trend(request: Request) -> Response:
        """One metric over time."""
        return _json(analytics.trend(params(request)))

    @app.get("/v1/definitions", response_model=DefinitionsAnswer, responses=refusals)
    def definitions(request: Request) -> Response:
        """What every metric means."""
        return _json(analytics.definitions(params(request)))

    @app.get(
        "/v1/conversations", response_model=ConversationsAnswer, responses=refusals, dependencies=[common, of_listing]
    )
    def conversations(request: Request) -> Response:
        """The conversations behind a number, the latest first."""
        return _json(analytics.conversations(params(request)))

    @app.get("/v1/conversations/{id:path}", responses=refusals | {404: {"model": Error}})
    def conversation(id: str, request: Request) -> Response:  # noqa: A002 - its name in the URL
        """All facts of one conversation, its messages and its events."""
        return _json(analytics.conversation(id, params(request)))

    _of_funnels(app, analytics, refusals)
    _operate(app, analytics, refusals)
    _describe_what_is_no_model(app)
    return app


def _text(body: bytes) -> str:
    try:
        if text := body.decode().strip():
            return text
    except UnicodeDecodeError:
        pass
    raise InvalidInput("body", body[:80], "a funnel as JSON")


def _reference(schema: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"required": True, "content": content}


def _of_funnels(app: FastAPI, analytics: Analytics, refusals: Any) -> None:
    of_funnel = [Depends(_common), Depends(_of_funnel)]
    of_any_funnel = [*of_funnel, Depends(_of_own_funnel)]

    @app.get("/v1/funnel", response_model=FunnelAnswer, responses=refusals, dependencies=of_any_funnel)
    def funnel(request: Request) -> Response:
        """Stages, the rates between them, and drop-offs."""
        return _json(analytics.funnel(params(request)))

    @app.post(
        "/v1/funnel", response_model=FunnelAnswer, responses=refusals, dependencies=of_any_funnel,
        openapi_extra={"requestBody": _reference("Funnel")},
    )  # fmt: skip
    async def funnel_of(request: Request) -> Response:
        """The same of the funnel in the body."""
        given = params(request)
        if "definition" in given:
            raise InvalidInput("definition", given["definition"][0], "left out of the URL: it is the body")
        own = {**given, "definition": [_text(await request.body())]}
        return _json(await run_in_threadpool(analytics.funnel, own))

    @app.get("/v1/dropoffs", response_model=DropOffsAnswer, responses=refusals, dependencies=of_funnel)
    def dropoffs(request: Request) -> Response:
        """Where conversations drop off."""
        return _json(analytics.dropoffs(params(request)))


def _operate(app: FastAPI, analytics: Analytics, refusals: Any) -> None:
    @app.post("/v1/query", response_model=QueryAnswer, responses=refusals)
    def query(own: OwnQuery) -> Response:
        """One SELECT over the views: read-only, no files, 10 seconds, 10,000 rows."""
        return _json(analytics.query(own["sql"]))

    @app.get("/v1/rejected", responses=refusals, dependencies=[Depends(_of_rejected)])
    def rejected(request: Request) -> Response:
        """Refused events, the newest first, and how many there are for each reason."""
        return _json(analytics.rejected(params(request)))


def _describe_what_is_no_model(app: FastAPI) -> None:
    """Events go in at an application of its own, and funnels are read as structs; who reads this document looks for
    both here."""
    _, structs = msgspec.json.schema_components([Funnel], ref_template="#/components/schemas/{name}")
    written = app.openapi

    def openapi() -> dict[str, Any]:
        document = written()
        document["paths"].setdefault("/v1/events", _DOOR)
        document["components"]["schemas"].update(structs)
        return document

    app.openapi = openapi


_INSTANT = {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "number"}]}
_FIELD_TYPES = {"timestamp": _INSTANT, "sent_at": _INSTANT, "properties": {"type": "object"}} | {
    "sequence": {"type": "integer"}, "revision": {"type": "integer"}, "is_test": {"type": "boolean"},
}  # fmt: skip
_EVENT = {
    "type": "object",
    "required": ["event_type"],
    "properties": {name: _FIELD_TYPES.get(name, {"type": "string"}) for name in Envelope.__struct_fields__},
    "example": {
        "event_type": "message_received", "conversation_id": "abc123", "channel": "sms",
        "timestamp": "2024-01-15T10:00:00Z", "properties": {"content": "Tell me more", "intent": "interested"},
    },
}  # fmt: skip
_REFUSED = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}
_COUNTS = {
    "type": "object",
    "properties": {
        "accepted": {"type": "integer"}, "rejected": {"type": "integer"},
        "reasons": {"type": "object", "additionalProperties": {"type": "integer"}},
        "errors": {"type": "array", "items": {"type": "object"}},
    },
}  # fmt: skip
_DOOR = {
    "post": {
        "servers": [{"url": "/"}],
        "summary": "Send events",
        "description": "One event, an array of them, or a line each (application/x-ndjson); gzip is fine. The answer "
        "comes when they are on disk. Each event that is refused is named by its index, field and reason.",
        "operationId": "send_events",
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"anyOf": [_EVENT, {"type": "array", "items": _EVENT}]}},
                "application/x-ndjson": {"schema": {"type": "string"}},
            },
        },
        "responses": {
            "202": {"description": "Taken", "content": {"application/json": {"schema": _COUNTS}}},
            **{
                status: {"description": text, **_REFUSED}
                for status, text in {
                    "400": "Nothing could be taken", "401": "No write key", "413": "Too large: send it in parts",
                    "415": "Not JSON, NDJSON or gzip", "429": "Too much is waiting: see Retry-After",
                    "503": "Not everything was taken: see Retry-After, and send it again",
                }.items()
            },
        },
    },
}  # fmt: skip


def params(request: Request) -> Params:
    """The URL's parameters, each with all its values."""
    query = request.query_params
    return {name: query.getlist(name) for name in query}


def refuse(_: Request, error: Exception) -> Response:
    """Any error as JSON with its status. What an unexpected one says is for the log alone."""
    if isinstance(error, HTTPException):
        code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
        return _json({"code": code, "message": error.detail}, error.status_code, error.headers)
    found = next((found for kind, found in STATUS.items() if isinstance(error, kind)), None)
    if found is None:
        return _json({"code": "internal", "message": "the reason stands in the server's log"}, 500)
    headers = {"retry-after": "5"} if found[0] == 503 else None
    return _json({"code": found[1], "message": str(error)}, found[0], headers)


def _json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(value), status, headers, media_type="application/json")
