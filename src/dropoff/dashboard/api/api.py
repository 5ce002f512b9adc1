"""The JSON API, `/api/v1`: the same questions, parameters and numbers as page and command line."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse

from dropoff.analyse.analytics import Analytics
from dropoff.analyse.conversations.conversations import COLUMNS
from dropoff.dashboard.api import parameters as of
from dropoff.dashboard.api import shapes
from dropoff.dashboard.api.openapi import describe_what_is_no_model
from dropoff.dashboard.api.replies import OR_LOST, REFUSALS, as_json, refuse
from dropoff.dashboard.frame import spreadsheet
from dropoff.errors import DropoffError, InvalidInput
from dropoff.query import Params, one


class Question(NamedTuple):
    """`GET /v1/{path}`: `about` says what it answers, in the `shape`, asked with these parameters.

    `name` is that of its method of `Analytics`, and of the operation in the schema.
    """

    path: str
    name: str
    about: str
    shape: Any
    parameters: tuple[Callable[..., None], ...] = ()
    refusals: Mapping[int | str, dict[str, Any]] = REFUSALS


_OF_ANY_FUNNEL = (of.common, of.funnel, of.own_funnel)
QUESTIONS = (
    Question("metrics", "metrics", "The values of metrics.", shapes.MetricsAnswer, (of.common, of.metrics)),
    Question("trend", "trend", "One metric over time.", shapes.TrendAnswer, (of.common, of.trend)),
    Question("definitions", "definitions", "What every metric means.", shapes.DefinitionsAnswer),
    Question("funnel", "funnel", "Stages, the rates between them, and drop-offs.", shapes.FunnelAnswer, _OF_ANY_FUNNEL),
    Question(
        "dropoffs", "dropoffs", "Where conversations drop off, and why.",
        shapes.DropOffsAnswer, (of.common, of.funnel, of.dropoffs),
    ),
    Question(
        "cohorts", "cohorts", "By the week in which they began: which share had come to a stage at which age.",
        shapes.CohortsAnswer, (of.common, of.cohorts),
    ),
    Question(
        "executive", "executive",
        "A few metrics against target and the period before, and what changed by more than chance.",
        shapes.ExecutiveAnswer, (of.common,),
    ),
    Question(
        "operations", "operations", "How the bot is running, what stands out, and whether the data is whole.",
        shapes.OperationsAnswer, (of.common, of.operations),
    ),
    Question(
        "optimization", "optimization", "What may be done better, and what to test next.",
        shapes.OptimizationAnswer, (of.common, of.optimization),
    ),
    Question(
        "segments", "segments", "One metric by segment, and which segments truly differ.",
        shapes.SegmentsAnswer, (of.common, of.periods, of.segments),
    ),
    Question(
        "explain", "explain",
        "Which segments account for the change of a metric since another period, by default the one before.",
        shapes.ExplainAnswer, (of.common, of.periods, of.explanation),
    ),
    Question(
        "experiments", "experiments", "Which variant is better per exposed unit, and what to do.",
        shapes.ExperimentsAnswer, (of.common, of.experiments), OR_LOST,
    ),
    Question("experiments/plan", "plan", "How many units an experiment needs.", shapes.PlanAnswer, (of.plan,)),
    Question(
        "patterns", "patterns", "What won conversations do and failed ones do not, and where the ways part.",
        shapes.PatternsAnswer, (of.common, of.paths, of.patterns),
    ),
    Question(
        "messages", "messages",
        "Which of the bot's messages do best and worst at their place in the conversation.",
        shapes.MessagesAnswer, (of.common, of.messages),
    ),
    Question(
        "sample", "sample", "A few conversations to read: successful and failed ones, unlike one another.",
        shapes.SampleAnswer, (of.common, of.sample),
    ),
    Question(
        "rejected", "rejected", "Refused events, the newest first, and how many there are for each reason.",
        None, (of.rejected,),
    ),
)  # fmt: skip
"""What `Analytics` is asked."""

OF_ALERTS = (
    Question("alerts", "check", "Every rule that alerts, as it stands.", shapes.AlertsAnswer, (of.alerts,)),
    Question(
        "alerts/history", "episodes", "When alerts fired, the latest first.", shapes.EpisodesAnswer, (of.episodes,)
    ),
    Question(
        "alerts/backtest", "backtest",
        "When rules would have fired, how often they had enough data, and which threshold is quiet enough.",
        shapes.BacktestAnswer, (of.backtest,),
    ),
)  # fmt: skip
"""What is asked about alerts, by path."""


class ReportFile(Protocol):
    """A report as a file, and the content security policy with which it may be shown."""

    @property
    def name(self) -> str:
        """The name of the file."""
        ...

    @property
    def media_type(self) -> str:
        """What it is."""
        ...

    @property
    def body(self) -> bytes:
        """What is in it."""
        ...

    @property
    def policy(self) -> str:
        """The policy."""
        ...


def api(
    analytics: Analytics, alerts: Callable[[str, Params], dict[str, Any]], report: Callable[[Params], ReportFile]
) -> FastAPI:
    """The application, to be mounted at `/api`. `alerts` answers what is asked about them; `report` makes one."""
    app = FastAPI(title="Dropoff", version="1", docs_url=None, redoc_url=None)
    for kind in (DropoffError, HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(kind, refuse)
    for question in QUESTIONS:
        _answer(app, question, lambda given, name=question.name: getattr(analytics, name)(given))
    for question in OF_ALERTS:
        _answer(app, question, lambda given, path=question.path: alerts(path, given))
    _of_conversations(app, analytics)
    _others(app, analytics)
    _report(app, report)
    describe_what_is_no_model(app)
    return app


def _answer(app: FastAPI, question: Question, ask: Callable[[Params], Any]) -> None:
    def answer(request: Request) -> Response:
        return as_json(ask(params(request)))

    app.add_api_route(
        f"/v1/{question.path}", answer, name=question.name, description=question.about, response_model=question.shape,
        responses={**question.refusals}, dependencies=[Depends(each) for each in question.parameters],
    )  # fmt: skip


def _of_conversations(app: FastAPI, analytics: Analytics) -> None:
    listing = (of.common, of.listing, of.paths, of.troubles, of.counted, of.search)

    @app.get(
        "/v1/conversations", response_model=shapes.ConversationsAnswer,
        dependencies=[Depends(each) for each in listing],
        responses=REFUSALS | {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
    )  # fmt: skip
    def conversations(request: Request) -> Response:
        """The conversations behind a number, the latest first."""
        asked = dict(params(request))
        given = one({"format": asked.pop("format", [])}, "format") or "json"
        if given not in ("json", "csv"):
            raise InvalidInput("format", given, "json or csv")
        if given == "json":
            return as_json(analytics.conversations(asked))
        lines = spreadsheet.lines(COLUMNS, analytics.all_conversations(asked))
        saved = {"content-disposition": 'attachment; filename="conversations.csv"'}
        return StreamingResponse(lines, 200, saved, media_type=spreadsheet.MEDIA_TYPE)

    @app.get("/v1/conversations/{id:path}", responses={**OR_LOST}, dependencies=[Depends(of.conversation)])
    def conversation(id: str, request: Request) -> Response:  # noqa: A002 - its name in the URL
        """All facts of one conversation, its messages and its events."""
        return as_json(analytics.conversation(id, params(request)))


def _others(app: FastAPI, analytics: Analytics) -> None:
    funnel = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Funnel"}}}, "required": True}

    @app.post(
        "/v1/funnel", response_model=shapes.FunnelAnswer, responses=REFUSALS,
        dependencies=[Depends(each) for each in _OF_ANY_FUNNEL], openapi_extra={"requestBody": funnel},
    )  # fmt: skip
    async def funnel_of(request: Request) -> Response:
        """Stages, the rates between them, and drop-offs, of the funnel in the body."""
        given = params(request)
        if "definition" in given:
            raise InvalidInput("definition", given["definition"][0], "left out of the URL: it is the body")
        own = {**given, "definition": [_text(await request.body())]}
        return as_json(await run_in_threadpool(analytics.funnel, own))

    @app.post("/v1/query", response_model=shapes.QueryAnswer, responses=REFUSALS)
    def query(own: shapes.OwnQuery) -> Response:
        """One SELECT over the views: read-only, no files, 10 seconds, 10,000 rows."""
        return as_json(analytics.query(own["sql"]))

    @app.get("/v1/version", response_model=shapes.VersionAnswer, responses=REFUSALS)
    def version() -> Response:
        """Another text once there are more events: what a page asks before it asks for numbers again."""
        return as_json({"version": analytics.version()})


def _text(body: bytes) -> str:
    try:
        if text := body.decode().strip():
            return text
    except UnicodeDecodeError:
        pass
    raise InvalidInput("body", body[:80], "a funnel as JSON")


def _report(app: FastAPI, report: Callable[[Params], ReportFile]) -> None:
    kinds = {kind: {"schema": {"type": "string"}} for kind in ("text/html", "text/markdown")}
    kinds |= {"application/pdf": {"schema": {"type": "string", "format": "binary"}}}

    @app.get(
        "/v1/report", responses=REFUSALS | {200: {"content": kinds}},
        dependencies=[Depends(of.common), Depends(of.report)],
    )  # fmt: skip
    def made(request: Request) -> Response:
        """A weekly or monthly report as a file; as JSON with the query and the place of every number."""
        file = report(params(request))
        headers = {
            "content-disposition": f'inline; filename="{file.name}"', "content-security-policy": file.policy,
            "x-content-type-options": "nosniff",
        }  # fmt: skip
        return Response(file.body, 200, headers, media_type=file.media_type)


def params(request: Request) -> Params:
    """The URL's parameters, each with all its values."""
    query = request.query_params
    return {name: query.getlist(name) for name in query}
