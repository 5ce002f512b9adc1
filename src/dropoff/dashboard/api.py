"""The JSON API, `/api/v1`: the same questions, parameters and numbers as page and command line."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, Any

import msgspec
from fastapi import Depends, FastAPI, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse

from dropoff.analyse.analytics import Analytics
from dropoff.analyse.conversations import COLUMNS
from dropoff.dashboard import shapes, spreadsheet
from dropoff.dashboard.openapi import describe_what_is_no_model
from dropoff.dashboard.reports_page import ReportFile
from dropoff.errors import Conflict, DropoffError, InvalidInput, NewerSchema, NotFound, Unauthorized, Unavailable
from dropoff.query import DIMENSIONS, Params, one

STATUS: dict[type[DropoffError], tuple[int, str]] = {
    InvalidInput: (400, "invalid_input"),
    Unauthorized: (401, "unauthorized"),
    NotFound: (404, "not_found"),
    Conflict: (409, "conflict"),
    NewerSchema: (503, "newer_schema"),
    Unavailable: (503, "unavailable"),
}


def _common(
    start: Annotated[str | None, Query(alias="from", description="first day, or an instant with an offset")] = None,
    end: Annotated[str | None, Query(alias="to", description="the day or instant after the last: exclusive")] = None,
    timezone: Annotated[str | None, Query(description="IANA zone of the days; default: the project's")] = None,
    where: Annotated[list[str] | None, Query(description=f"dimension=value; {', '.join(DIMENSIONS)}")] = None,
    include_test: Annotated[str | None, Query(description="1 puts test traffic back")] = None,
    as_of: Annotated[str | None, Query(description="a day or an instant: only what had happened before it")] = None,
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
    mode: Annotated[str | None, Query(description="of your own in another mode: reached, recorded, ordered, …")] = None,
    by: Annotated[str | None, Query(description="dimension to split by; of your own also event:<property>")] = None,
    threshold: Annotated[str | None, Query(description="drop-offs above this rate, 0 to 1; default 0")] = None,
) -> None:
    """As above."""


def _of_dropoffs(
    sort: Annotated[str | None, Query(description="rate (default), volume or matured: what comes first")] = None,
    explain: Annotated[str | None, Query(description="all (default), worst, none, or the stage it begins at")] = None,
) -> None:
    """As above."""


def _of_own_funnel(
    interval: Annotated[str | None, Query(description="of your own also by hour, day, week or month")] = None,
) -> None:
    """As above."""


def _of_listing(
    name: Annotated[str | None, Query(description="the funnel whose stages are meant; default sales")] = None,
    definition: Annotated[str | None, Query(description="in place of a name: a funnel as JSON")] = None,
    mode: Annotated[str | None, Query(description="of your own in another mode: reached, recorded, ordered, …")] = None,
    threshold: Annotated[str | None, Query(description="of the funnel that led here; changes nothing")] = None,
    stage: Annotated[str | None, Query(description="only those that reached this stage")] = None,
    within: Annotated[str | None, Query(description="with stage: before they were so old, like 2w")] = None,
    dropped: Annotated[str | None, Query(description="only those that reached this stage and not the next")] = None,
    passed: Annotated[str | None, Query(description="only those that reached this stage and the next")] = None,
    said: Annotated[str | None, Query(description="of a stage: in which the bot said this intent there")] = None,
    last_intent: Annotated[str | None, Query(description="of a stage: that fell silent after this intent")] = None,
    instead: Annotated[str | None, Query(description="of a stage: what the lost did next")] = None,
    reason: Annotated[str | None, Query(description="of a stage: with this reason, or no_event")] = None,
    experiment: Annotated[
        str | None, Query(description="with variant: in which units were first exposed to it")
    ] = None,
    variant: Annotated[str | None, Query(description="with experiment")] = None,
    goal: Annotated[str | None, Query(description="with experiment: in which they came to this stage")] = None,
    pattern: Annotated[list[str] | None, Query(description="a step of a pattern; repeatable, in order")] = None,
    kind: Annotated[
        str | None, Query(description="of the pattern: step, run, gapped (default), beginning, after")
    ] = None,
    group: Annotated[str | None, Query(description="with pattern: successful or failed")] = None,
    message: Annotated[str | None, Query(description="with position: in which the bot said this there")] = None,
    position: Annotated[str | None, Query(description="with message: the how-manieth message of the bot")] = None,
    limit: Annotated[str | None, Query(description="1 to 1000; default 50")] = None,
    after: Annotated[str | None, Query(description="`next` of the page before")] = None,
    format: Annotated[str | None, Query(description="json (default), or csv: the whole list")] = None,  # noqa: A002
) -> None:
    """As above."""


def _of_search(
    text: Annotated[
        str | None, Query(description="words, or phrases in quotes, that are said in it; case and accents are alike")
    ] = None,
    intent: Annotated[str | None, Query(description="of any message; with message: of that one")] = None,
    objection: Annotated[str | None, Query(description="that was raised")] = None,
    outcome: Annotated[str | None, Query(description="converted, lost, …, dropped, open")] = None,
    ending: Annotated[str | None, Query(description="converted, lost, opted_out, disqualified, dropped")] = None,
    status: Annotated[str | None, Query(description="open or closed")] = None,
    contact_id: Annotated[str | None, Query(description="the contact's id")] = None,
    id: Annotated[str | None, Query(description="the conversation's own id")] = None,  # noqa: A002
) -> None:
    """As above."""


def _of_troubles(
    trigger: Annotated[str | None, Query(description="with a fallback in the period that this triggered")] = None,
    utterance: Annotated[str | None, Query(description="in which the bot did not understand this")] = None,
    error: Annotated[str | None, Query(description="with an error of this kind in the period")] = None,
    escalation: Annotated[str | None, Query(description="handed to a human first for this reason")] = None,
    keyword: Annotated[str | None, Query(description="that opted out first with this word")] = None,
    opted_out_after: Annotated[str | None, Query(description="that opted out after this intent of the bot")] = None,
    health: Annotated[str | None, Query(description="tied: whose path depends on a tie")] = None,
) -> None:
    """As above."""


def _of_operations(
    interval: Annotated[
        str | None, Query(description="hour, day, week or month; default: by the length of the period")
    ] = None,
) -> None:
    """As above."""


def _of_cohorts(
    stage: Annotated[str | None, Query(description="a stage of the funnel sales; default: the last recorded")] = None,
    interval: Annotated[str | None, Query(description="day, week (default) or month")] = None,
) -> None:
    """As above."""


def _of_experiments(
    name: Annotated[str | None, Query(description="one experiment; default: all of them")] = None,
    goal: Annotated[
        list[str] | None, Query(description="a stage of the funnel sales; repeatable; default: all")
    ] = None,
    horizon: Annotated[str | None, Query(description="sequential (default), or fixed: read once at the end")] = None,
) -> None:
    """As above."""


def _of_messages(
    rank: Annotated[
        str | None,
        Query(description="reply_rate (default), objection_rate, opt_out_rate, sentiment_change, booking_rate, …"),
    ] = None,
    position: Annotated[str | None, Query(description="only the how-manieth message of the bot; default: any")] = None,
    within: Annotated[
        str | None,
        Query(description="intent (default): compared at one position and intent; position: at one position"),
    ] = None,
    limit: Annotated[str | None, Query(description="1 to 1000; default 100")] = None,
) -> None:
    """As above."""


def _of_segments(
    metric: Annotated[str | None, Query(description="the metric")] = None,
    by: Annotated[str | None, Query(description="the dimension whose values are compared")] = None,
    segment: Annotated[list[str] | None, Query(description="NAME: key=value, …; repeatable, in place of by")] = None,
    units: Annotated[
        str | None, Query(description="auto (default), matured or all: whose numbers are compared")
    ] = None,
    compare: Annotated[str | None, Query(description="previous: beside the period before")] = None,
) -> None:
    """As above."""


def _of_plan(
    base: Annotated[str | None, Query(description="the control's share of units, 0 to 1")] = None,
    effect: Annotated[str | None, Query(description="the absolute difference to find")] = None,
    power: Annotated[str | None, Query(description="the chance to find it; default 0.8")] = None,
    daily: Annotated[str | None, Query(description="new units a day, all arms together")] = None,
    arms: Annotated[str | None, Query(description="2 to 20; default 2")] = None,
    planned: Annotated[
        str | None, Query(description="the size a sequence is made for; default: what comes out")
    ] = None,
    horizon: Annotated[str | None, Query(description="sequential (default), or fixed")] = None,
) -> None:
    """As above."""


def _of_explanation(
    metric: Annotated[str | None, Query(description="a share, a score or a ratio")] = None,
    by: Annotated[str | None, Query(description="one dimension; default: all that are suitable")] = None,
) -> None:
    """As above."""


def _of_periods(
    compare_from: Annotated[str | None, Query(description="first day or instant of the other period")] = None,
    compare_to: Annotated[str | None, Query(description="the day or instant after its last: exclusive")] = None,
    follow: Annotated[str | None, Query(description="how long conversations are followed, like 14d")] = None,
) -> None:
    """As above."""


def _of_paths(
    success: Annotated[str | None, Query(description="the stage that is a success; default converted")] = None,
    cut: Annotated[str | None, Query(description="paths end before this stage; default booked, or success")] = None,
    groups: Annotated[str | None, Query(description="closed (default), or mission: its literal outcomes")] = None,
    steps: Annotated[str | None, Query(description="with commas: bot, prospect, agent, objections, …")] = None,
    repeats: Annotated[str | None, Query(description="kept (default), or merged: equal steps in a row")] = None,
) -> None:
    """As above."""


def _of_patterns(
    anchor: Annotated[str | None, Query(description="a step from which the matrices count positions")] = None,
    support: Annotated[str | None, Query(description="the least share of a group; default 0.05")] = None,
    segment: Annotated[list[str] | None, Query(description="two of NAME: key=value, …: their flows compared")] = None,
    compare: Annotated[str | None, Query(description="previous: flows beside the period before")] = None,
) -> None:
    """As above."""


def _of_optimization(
    goal: Annotated[
        str | None, Query(description="the stage that is a success; default booked, or the last recorded")
    ] = None,
    work: Annotated[
        str | None, Query(description="all (default), or ready: what takes long only where it has been worked out")
    ] = None,
) -> None:
    """As above."""


def _of_conversation(
    timezone: Annotated[str | None, Query(description="IANA zone of the day; default: the project's")] = None,
    as_of: Annotated[str | None, Query(description="a day or an instant: only what had happened before it")] = None,
) -> None:
    """As above."""


def _of_sample(
    success: Annotated[str | None, Query(description="the stage that is a success; default booked")] = None,
    limit: Annotated[str | None, Query(description="so many of each group, 1 to 20; default 5")] = None,
) -> None:
    """As above."""


def _of_report(
    kind: Annotated[str | None, Query(description="weekly or monthly")] = None,
    format: Annotated[str | None, Query(description="html (default), md, pdf or json")] = None,  # noqa: A002
) -> None:
    """As above."""


def _of_rejected(limit: Annotated[str | None, Query(description="1 to 100000; default 100")] = None) -> None:
    """As above."""


def _of_alerts(
    rules: Annotated[str | None, Query(description="in place of the project's: rules as JSON")] = None,
    as_of: Annotated[str | None, Query(description="a day or an instant: how they stood then")] = None,
    coverage: Annotated[str | None, Query(description="1: also how often they had enough data")] = None,
) -> None:
    """As above."""


def _of_episodes(
    rule: Annotated[str | None, Query(description="the name of one rule; default: all")] = None,
    limit: Annotated[str | None, Query(description="1 to 1000; default 100")] = None,
) -> None:
    """As above."""


def _of_backtest(
    start: Annotated[str | None, Query(alias="from", description="first day, or an instant with an offset")] = None,
    end: Annotated[str | None, Query(alias="to", description="the day or instant after the last: exclusive")] = None,
    rules: Annotated[str | None, Query(description="in place of the project's: rules as JSON")] = None,
    rule: Annotated[list[str] | None, Query(description="the name of one rule; repeatable; default: all")] = None,
    per_month: Annotated[str | None, Query(description="how often in 30 days is seldom enough; default 1")] = None,
) -> None:
    """As above."""


def api(
    analytics: Analytics, alerts: Callable[[str, Params], dict[str, Any]], report: Callable[[Params], ReportFile]
) -> FastAPI:
    """The application, to be mounted at `/api`. `alerts` answers what is asked about them; `report` makes one."""
    app = FastAPI(title="Dropoff", version="1", docs_url=None, redoc_url=None)
    for kind in (DropoffError, HTTPException, Exception):
        app.add_exception_handler(kind, refuse)
    refusals: Any = {status: {"model": shapes.Error} for status in (400, 401, 503)}
    of_metrics, of_trend, of_listing = ([Depends(_common), Depends(of)] for of in (_of_metrics, _of_trend, _of_listing))
    of_listing += [Depends(_of_paths), Depends(_of_troubles), Depends(_of_search)]

    @app.get("/v1/metrics", response_model=shapes.MetricsAnswer, responses=refusals, dependencies=of_metrics)
    def metrics(request: Request) -> Response:
        """The values of metrics."""
        return _json(analytics.metrics(params(request)))

    @app.get("/v1/trend", response_model=shapes.TrendAnswer, responses=refusals, dependencies=of_trend)
    def trend(request: Request) -> Response:
        """One metric over time."""
        return _json(analytics.trend(params(request)))

    @app.get("/v1/definitions", response_model=shapes.DefinitionsAnswer, responses=refusals)
    def definitions(request: Request) -> Response:
        """What every metric means."""
        return _json(analytics.definitions(params(request)))

    @app.get(
        "/v1/conversations", response_model=shapes.ConversationsAnswer, dependencies=of_listing,
        responses=refusals | {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
    )  # fmt: skip
    def conversations(request: Request) -> Response:
        """The conversations behind a number, the latest first."""
        asked = dict(params(request))
        given = one({"format": asked.pop("format", [])}, "format") or "json"
        if given not in ("json", "csv"):
            raise InvalidInput("format", given, "json or csv")
        return _csv(analytics.all_conversations(asked)) if given == "csv" else _json(analytics.conversations(asked))

    @app.get(
        "/v1/sample", response_model=shapes.SampleAnswer, responses=refusals,
        dependencies=[Depends(_common), Depends(_of_sample)],
    )  # fmt: skip
    def sample(request: Request) -> Response:
        """A few conversations to read: successful and failed ones, unlike one another."""
        return _json(analytics.sample(params(request)))

    @app.get(
        "/v1/cohorts", response_model=shapes.CohortsAnswer, responses=refusals,
        dependencies=[Depends(_common), Depends(_of_cohorts)],
    )  # fmt: skip
    def cohorts(request: Request) -> Response:
        """By the week in which they began: which share had come to a stage at which age."""
        return _json(analytics.cohorts(params(request)))

    @app.get(
        "/v1/conversations/{id:path}", responses=refusals | {404: {"model": shapes.Error}},
        dependencies=[Depends(_of_conversation)],
    )  # fmt: skip
    def conversation(id: str, request: Request) -> Response:  # noqa: A002 - its name in the URL
        """All facts of one conversation, its messages and its events."""
        return _json(analytics.conversation(id, params(request)))

    _of_comparisons(app, analytics, refusals)
    _of_trials(app, analytics, refusals)
    _of_funnels(app, analytics, refusals)
    _operate(app, analytics, refusals)
    _watch(app, alerts, refusals)
    _report(app, report, refusals)
    describe_what_is_no_model(app)
    return app


def _of_comparisons(app: FastAPI, analytics: Analytics, refusals: Any) -> None:
    periods = [Depends(_common), Depends(_of_periods)]

    @app.get(
        "/v1/executive", response_model=shapes.ExecutiveAnswer, responses=refusals, dependencies=[Depends(_common)]
    )
    def executive(request: Request) -> Response:
        """A few metrics against target and the period before, and what changed by more than chance."""
        return _json(analytics.executive(params(request)))

    @app.get(
        "/v1/segments", response_model=shapes.SegmentsAnswer, responses=refusals,
        dependencies=[*periods, Depends(_of_segments)],
    )  # fmt: skip
    def segments(request: Request) -> Response:
        """One metric by segment, and which segments truly differ."""
        return _json(analytics.segments(params(request)))

    @app.get(
        "/v1/patterns", response_model=shapes.PatternsAnswer, responses=refusals,
        dependencies=[Depends(_common), Depends(_of_paths), Depends(_of_patterns)],
    )  # fmt: skip
    def patterns(request: Request) -> Response:
        """What won conversations do and failed ones do not, and where the ways part."""
        return _json(analytics.patterns(params(request)))

    @app.get(
        "/v1/optimization", response_model=shapes.OptimizationAnswer, responses=refusals,
        dependencies=[Depends(_common), Depends(_of_optimization)],
    )  # fmt: skip
    def optimization(request: Request) -> Response:
        """What may be done better, and what to test next."""
        return _json(analytics.optimization(params(request)))

    @app.get(
        "/v1/explain", response_model=shapes.ExplainAnswer, responses=refusals,
        dependencies=[*periods, Depends(_of_explanation)],
    )  # fmt: skip
    def explain(request: Request) -> Response:
        """Which segments account for the change of a metric since another period, by default the one before."""
        return _json(analytics.explain(params(request)))

    @app.get(
        "/v1/messages", response_model=shapes.MessagesAnswer, responses=refusals,
        dependencies=[Depends(_common), Depends(_of_messages)],
    )  # fmt: skip
    def messages(request: Request) -> Response:
        """Which of the bot's messages do best and worst at their place in the conversation."""
        return _json(analytics.messages(params(request)))


def _of_trials(app: FastAPI, analytics: Analytics, refusals: Any) -> None:
    @app.get(
        "/v1/experiments", response_model=shapes.ExperimentsAnswer, responses=refusals | {404: {"model": shapes.Error}},
        dependencies=[Depends(_common), Depends(_of_experiments)],
    )  # fmt: skip
    def experiments(request: Request) -> Response:
        """Which variant is better per exposed unit, and what to do."""
        return _json(analytics.experiments(params(request)))

    @app.get(
        "/v1/experiments/plan", response_model=shapes.PlanAnswer, responses=refusals, dependencies=[Depends(_of_plan)]
    )
    def plan(request: Request) -> Response:
        """How many units an experiment needs."""
        return _json(analytics.plan(params(request)))


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
    of_dropoffs = [*of_funnel, Depends(_of_dropoffs)]

    @app.get("/v1/funnel", response_model=shapes.FunnelAnswer, responses=refusals, dependencies=of_any_funnel)
    def funnel(request: Request) -> Response:
        """Stages, the rates between them, and drop-offs."""
        return _json(analytics.funnel(params(request)))

    @app.post(
        "/v1/funnel", response_model=shapes.FunnelAnswer, responses=refusals, dependencies=of_any_funnel,
        openapi_extra={"requestBody": _reference("Funnel")},
    )  # fmt: skip
    async def funnel_of(request: Request) -> Response:
        """The same of the funnel in the body."""
        given = params(request)
        if "definition" in given:
            raise InvalidInput("definition", given["definition"][0], "left out of the URL: it is the body")
        own = {**given, "definition": [_text(await request.body())]}
        return _json(await run_in_threadpool(analytics.funnel, own))

    @app.get("/v1/dropoffs", response_model=shapes.DropOffsAnswer, responses=refusals, dependencies=of_dropoffs)
    def dropoffs(request: Request) -> Response:
        """Where conversations drop off, and why."""
        return _json(analytics.dropoffs(params(request)))


def _operate(app: FastAPI, analytics: Analytics, refusals: Any) -> None:
    @app.get(
        "/v1/operations", response_model=shapes.OperationsAnswer, responses=refusals,
        dependencies=[Depends(_common), Depends(_of_operations)],
    )  # fmt: skip
    def operations(request: Request) -> Response:
        """How the bot is running, what stands out, and whether the data is whole."""
        return _json(analytics.operations(params(request)))

    @app.post("/v1/query", response_model=shapes.QueryAnswer, responses=refusals)
    def query(own: shapes.OwnQuery) -> Response:
        """One SELECT over the views: read-only, no files, 10 seconds, 10,000 rows."""
        return _json(analytics.query(own["sql"]))

    @app.get("/v1/version", response_model=shapes.VersionAnswer, responses=refusals)
    def version() -> Response:
        """Another text once there are more events: what a page asks before it asks for numbers again."""
        return _json({"version": analytics.version()})

    @app.get("/v1/rejected", responses=refusals, dependencies=[Depends(_of_rejected)])
    def rejected(request: Request) -> Response:
        """Refused events, the newest first, and how many there are for each reason."""
        return _json(analytics.rejected(params(request)))


def _watch(app: FastAPI, alerts: Callable[[str, Params], dict[str, Any]], refusals: Any) -> None:
    @app.get("/v1/alerts", response_model=shapes.AlertsAnswer, responses=refusals, dependencies=[Depends(_of_alerts)])
    def check(request: Request) -> Response:
        """Every rule that alerts, as it stands."""
        return _json(alerts("alerts", params(request)))

    @app.get(
        "/v1/alerts/history", response_model=shapes.EpisodesAnswer, responses=refusals,
        dependencies=[Depends(_of_episodes)],
    )  # fmt: skip
    def episodes(request: Request) -> Response:
        """When alerts fired, the latest first."""
        return _json(alerts("alerts/history", params(request)))

    @app.get(
        "/v1/alerts/backtest", response_model=shapes.BacktestAnswer, responses=refusals,
        dependencies=[Depends(_of_backtest)],
    )  # fmt: skip
    def backtest(request: Request) -> Response:
        """When rules would have fired, how often they had enough data, and which threshold is quiet enough."""
        return _json(alerts("alerts/backtest", params(request)))


def _report(app: FastAPI, report: Callable[[Params], ReportFile], refusals: Any) -> None:
    kinds = {kind: {"schema": {"type": "string"}} for kind in ("text/html", "text/markdown")}
    kinds |= {"application/pdf": {"schema": {"type": "string", "format": "binary"}}}

    @app.get(
        "/v1/report", responses=refusals | {200: {"content": kinds}},
        dependencies=[Depends(_common), Depends(_of_report)],
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


def _csv(pages: Iterable[Sequence[Mapping[str, Any]]]) -> Response:
    lines = spreadsheet.lines(COLUMNS, pages)
    saved = {"content-disposition": 'attachment; filename="conversations.csv"'}
    return StreamingResponse(lines, 200, saved, media_type=spreadsheet.MEDIA_TYPE)


def _json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(value), status, headers, media_type="application/json")
