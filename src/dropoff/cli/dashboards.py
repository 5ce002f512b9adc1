"""The three dashboards, and the reports."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from dropoff.cli.answers import ask, connected, settings_of, show, terminal, write
from dropoff.cli.options import AsOf, Data, From, Json, Test, To, WhereOption, Zone, app, params_of
from dropoff.errors import InvalidInput

PANEL = "Dashboards and reports"


@app.command(rich_help_panel=PANEL)
def executive(
    start: From = None, end: To = None, timezone: Zone = None, where: WhereOption = None, include_test: Test = False,
    as_of: AsOf = None, data: Data = None, json: Json = False,
) -> None:  # fmt: skip
    """A few metrics against target and the period before, and what changed by more than chance."""
    params = params_of(start, end, timezone, where, include_test, as_of=as_of)
    show(ask(data, "executive", params), json, terminal().executive)


@app.command(rich_help_panel=PANEL)
def optimization(
    goal: Annotated[str | None, typer.Option(help="the stage that is a success [booked, else the last]")] = None,
    work: Annotated[str, typer.Option(help="all, or ready: of what takes long only what is worked out")] = "all",
    start: From = None, end: To = None, timezone: Zone = None, where: WhereOption = None, include_test: Test = False,
    as_of: AsOf = None, data: Data = None, json: Json = False,
) -> None:  # fmt: skip
    """What may be done better, and what to test next."""
    params = params_of(start, end, timezone, where, include_test, as_of=as_of, goal=goal, work=work)
    with connected(data) as connection, terminal().progress("looking for what to do better", quiet=json) as done:
        answer = connection.ask("optimization", params, done)
    show(answer, json, terminal().optimization)


@app.command(rich_help_panel=PANEL)
def operations(
    interval: Annotated[str | None, typer.Option(help="hour, day, week or month [by the length of the period]")] = None,
    start: From = None, end: To = None, timezone: Zone = None, where: WhereOption = None, include_test: Test = False,
    as_of: AsOf = None, data: Data = None, json: Json = False,
) -> None:  # fmt: skip
    """How the bot is running: what stands out, what went wrong and why, how fast it answers, data health."""
    params = params_of(start, end, timezone, where, include_test, as_of=as_of, interval=interval)
    show(ask(data, "operations", params), json, terminal().operations)


@app.command(rich_help_panel=PANEL)
def doctor(data: Data = None, json: Json = False) -> None:
    """Whether a server runs and is ready, and data health. Exit code 1 where it is not."""
    from dropoff.server.remote import readiness

    found = readiness(settings_of(data=data).data)
    state = {"ready": False, "missing": {"server": "none runs"}} if found is None else found[1]
    answer: dict[str, Any] = {"server": state}
    if found is None or state["ready"]:  # the one that is not holds the directory
        whole = ask(data, "operations", {})
        lag = {name: state[name] for name in ("lag_events", "lag_seconds") if name in state}  # said once, so read once
        answer |= {"period": whole["period"], "as_of": whole["as_of"], "health": whole["health"] | lag}
    show(answer, json, terminal().doctor)
    if not state["ready"]:
        raise typer.Exit(1)


@app.command(rich_help_panel=PANEL)
def report(
    kind: Annotated[str, typer.Argument(help="weekly or monthly", show_default=False)],
    format: Annotated[str, typer.Option(help="html, md, pdf or json")] = "html",  # noqa: A002
    output: Annotated[Path | None, typer.Option(help="file to write, - for standard output [named by period]")] = None,
    start: Annotated[str | None, typer.Option("--from", help="first day, or instant [of the last whole one]")] = None,
    end: To = None, timezone: Zone = None, where: WhereOption = None, include_test: Test = False, as_of: AsOf = None,
    data: Data = None,
) -> None:  # fmt: skip
    """The report of a week or a month as a file that opens and prints anywhere."""
    params = params_of(start, end, timezone, where, include_test, as_of=as_of, kind=kind, format=format)
    with connected(data) as connection:
        name, body = connection.report(params)
    if str(output) == "-":
        write([body])
        return
    path = output or Path(name)
    try:
        with path.open("wb" if output else "xb") as file:  # a file that nobody named is not replaced
            file.write(body)
    except FileExistsError:
        said = f"{path} is there already: to replace it, name it by --output"
        raise InvalidInput("output", str(path), "given", said) from None
    except OSError as error:
        raise InvalidInput("output", str(path), f"a file that can be written ({error.strerror})") from None
    Console(stderr=True, highlight=False).print(str(path), markup=False, soft_wrap=True)
