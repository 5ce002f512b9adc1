"""Commands that ask about funnels and metrics."""

from pathlib import Path
from typing import Annotated, Any

import typer

from dropoff.cli.answers import ask, connected, show, terminal
from dropoff.cli.options import (
    AsOf,
    Began,
    By,
    Data,
    Definition,
    From,
    Json,
    Mode,
    Name,
    Test,
    Threshold,
    To,
    WhereOption,
    Zone,
    app,
    json_of,
    params_of,
)
from dropoff.errors import InvalidInput, did_you_mean

PANEL = "Ask"


@app.command(rich_help_panel=PANEL)
def funnel(
    name: Name = None, definition: Definition = None, mode: Mode = None, threshold: Threshold = 0.0,
    interval: Annotated[str | None, typer.Option(help="of your own also over time: hour, day, week, month")] = None,
    start: From = None, end: To = None, timezone: Zone = None, where: WhereOption = None, by: By = None,
    include_test: Test = False, as_of: AsOf = None, data: Data = None, json: Json = False,
) -> None:  # fmt: skip
    """Stages, the rates between them, and where people drop off."""
    params = params_of(
        start, end, timezone, where, include_test, as_of=as_of, by=by, name=name, definition=json_of(definition),
        mode=mode, threshold=threshold, interval=interval,
    )  # fmt: skip
    with connected(data) as connection:
        answer, waiting = connection.ask("funnel", params), connection.waiting()
    show(answer, json, terminal().funnel)
    if waiting and not (json or as_of):
        show({"waiting": waiting}, json, terminal().waiting)


@app.command(rich_help_panel=PANEL)
def dropoffs(
    name: Name = None, definition: Definition = None, mode: Mode = None, threshold: Threshold = 0.0,
    sort: Annotated[str, typer.Option(help="rate, volume or matured: which comes first")] = "rate",
    explain: Annotated[str, typer.Option(help="all, worst, none, or the stage it begins at")] = "all",
    start: From = None, end: To = None, timezone: Zone = None, where: WhereOption = None, by: By = None,
    include_test: Test = False, as_of: AsOf = None, data: Data = None, json: Json = False,
) -> None:  # fmt: skip
    """Between which stages conversations are lost, the highest rate first, and why."""
    params = params_of(
        start, end, timezone, where, include_test, as_of=as_of, by=by, name=name, definition=json_of(definition),
        mode=mode, threshold=threshold, sort=sort, explain=explain,
    )  # fmt: skip
    show(ask(data, "dropoffs", params), json, terminal().drop_offs)


@app.command(rich_help_panel=PANEL)
def metrics(
    names: Annotated[list[str] | None, typer.Argument(help="which metrics; default: all", show_default=False)] = None,
    definitions: Annotated[bool, typer.Option("--definitions", help="say what each metric means")] = False,
    start: From = None, end: To = None, timezone: Zone = None, where: WhereOption = None, by: By = None,
    include_test: Test = False, as_of: AsOf = None, data: Data = None, json: Json = False,
) -> None:  # fmt: skip
    """The values of metrics in a period, with what they are made of."""
    if definitions:
        show(_definitions(data, names or []), json, terminal().definitions)
        return
    params = params_of(start, end, timezone, where, include_test, as_of=as_of, by=by)
    params |= {"metric": names} if names else {}
    show(ask(data, "metrics", params), json, terminal().metrics)


def _definitions(data: Path | None, names: list[str]) -> dict[str, Any]:
    found = {row["metric"]: row for row in ask(data, "definitions", {})["metrics"]}
    for name in names:
        if name not in found:
            raise InvalidInput("metric", name, f"one of {', '.join(found)}{did_you_mean(name, found, '; ')}")
    return {"metrics": [found[name] for name in names] if names else list(found.values())}


@app.command(rich_help_panel=PANEL)
def trend(
    metric: Annotated[str, typer.Argument(help="which metric", show_default=False)],
    interval: Annotated[str, typer.Option(help="hour, day, week or month")] = "day",
    start: From = None, end: To = None, timezone: Zone = None, where: WhereOption = None, by: By = None,
    include_test: Test = False, as_of: AsOf = None, data: Data = None, json: Json = False,
) -> None:  # fmt: skip
    """A metric over time, beside the period before."""
    params = params_of(start, end, timezone, where, include_test, as_of=as_of, by=by, metric=metric, interval=interval)
    show(ask(data, "trend", params), json, terminal().trend)


@app.command(rich_help_panel=PANEL)
def cohorts(
    stage: Annotated[str | None, typer.Option(help="a stage of the funnel sales [the last recorded]")] = None,
    interval: Annotated[str, typer.Option(help="day, week or month")] = "week",
    start: Began = None, end: To = None, timezone: Zone = None, where: WhereOption = None, include_test: Test = False,
    as_of: AsOf = None, data: Data = None, json: Json = False,
) -> None:  # fmt: skip
    """By the week in which they began: which share had come to a stage at which age."""
    params = params_of(start, end, timezone, where, include_test, as_of=as_of, stage=stage, interval=interval)
    show(ask(data, "cohorts", params), json, terminal().cohorts)


@app.command(rich_help_panel=PANEL)
def query(
    sql: Annotated[str, typer.Argument(help="one SELECT over events, messages, conversations, metrics_daily, …")],
    data: Data = None,
    json: Json = False,
) -> None:
    """Your own SQL over the views: read-only, 10 seconds, 10,000 rows."""
    with connected(data) as connection:
        show(connection.query(sql), json, terminal().query)
