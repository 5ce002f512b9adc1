"""Commands that compare: segments, periods, experiments, patterns, messages."""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from dropoff.cli.answers import ask, connected, show, terminal
from dropoff.cli.options import (
    AsOf,
    By,
    CompareFrom,
    CompareTo,
    Cut,
    Data,
    Follow,
    From,
    FromAll,
    Groups,
    Json,
    Repeats,
    Steps,
    Success,
    Test,
    To,
    WhereOption,
    Zone,
    app,
    given_of,
    params_of,
)

PANEL = "Compare"


class _ShowFirst(TyperGroup):
    """`dropoff experiments NAME` is short for `dropoff experiments show NAME`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        is_known = bool(args) and (args[0] in self.commands or args[0] == "--help")
        return super().parse_args(ctx, args if is_known else ["show", *args])


experiments_app = typer.Typer(cls=_ShowFirst, help="Which variant is better, and what to do; or plan an experiment.")


@app.command(rich_help_panel=PANEL)
def segments(
    metric: Annotated[str, typer.Argument(help="which metric", show_default=False)],
    by: By = None,
    segment: Annotated[list[str] | None, typer.Option(help="'NAME: key=value, …' in place of --by; repeatable")] = None,
    units: Annotated[str, typer.Option(help="auto, matured or all: whose numbers are compared")] = "auto",
    compare: Annotated[str | None, typer.Option(help="previous: beside the period before")] = None,
    compare_from: CompareFrom = None, compare_to: CompareTo = None, follow: Follow = None,
    start: From = None, end: To = None, timezone: Zone = None, where: WhereOption = None, include_test: Test = False,
    as_of: AsOf = None, data: Data = None, json: Json = False,
) -> None:  # fmt: skip
    """One metric by segment, and which segments truly differ."""
    params = params_of(
        start, end, timezone, where, include_test, as_of=as_of, metric=metric, by=by, units=units, compare=compare,
        compare_from=compare_from, compare_to=compare_to, follow=follow,
    )  # fmt: skip
    params |= {"segment": segment} if segment else {}
    show(ask(data, "segments", params), json, terminal().segments)


@app.command(rich_help_panel=PANEL)
def patterns(
    success: Success = "converted", cut: Cut = None, groups: Groups = "closed", steps: Steps = None,
    repeats: Repeats = "kept",
    anchor: Annotated[str | None, typer.Option(help="a step from which the matrices count, like bot:pitch")] = None,
    support: Annotated[float, typer.Option(help="the least share of a group that has a pattern")] = 0.05,
    segment: Annotated[list[str] | None, typer.Option(help="'NAME: key=value, …', two: compare their flows")] = None,
    compare: Annotated[str | None, typer.Option(help="previous: compare flows with the period before")] = None,
    start: From = None, end: To = None, timezone: Zone = None, where: WhereOption = None, include_test: Test = False,
    as_of: AsOf = None, data: Data = None, json: Json = False,
) -> None:  # fmt: skip
    """What won conversations do and failed ones do not: patterns, and where the ways part."""
    params = params_of(
        start, end, timezone, where, include_test, as_of=as_of, success=success, cut=cut, groups=groups,
        steps=steps, repeats=repeats, anchor=anchor, support=support, compare=compare,
    )  # fmt: skip
    params |= {"segment": segment} if segment else {}
    with connected(data) as connection, terminal().progress("looking for patterns", quiet=json) as done:
        answer = connection.ask("patterns", params, done)
    show(answer, json, terminal().patterns)


@app.command(rich_help_panel=PANEL)
def explain(
    metric: Annotated[str, typer.Argument(help="a share, a score or a ratio", show_default=False)],
    by: Annotated[str | None, typer.Option("--by", help="one dimension; default: all that are suitable")] = None,
    compare_from: CompareFrom = None, compare_to: CompareTo = None, follow: Follow = None,
    start: From = None, end: To = None, timezone: Zone = None, where: WhereOption = None, include_test: Test = False,
    as_of: AsOf = None, data: Data = None, json: Json = False,
) -> None:  # fmt: skip
    """Which segments account for the change of a metric since another period, by default the one before."""
    params = params_of(
        start, end, timezone, where, include_test, as_of=as_of, metric=metric, by=by, compare_from=compare_from,
        compare_to=compare_to, follow=follow,
    )  # fmt: skip
    show(ask(data, "explain", params), json, terminal().explain)


@app.command(rich_help_panel=PANEL)
def messages(
    rank: Annotated[
        str, typer.Option(help="reply_rate, objection_rate, opt_out_rate, sentiment_change, booking_rate, …")
    ] = "reply_rate",
    position: Annotated[int | None, typer.Option(help="only this message of the bot: 1 is its first", min=1)] = None,
    within: Annotated[str, typer.Option(help="intent or position: what compared messages have in common")] = "intent",
    limit: Annotated[int | None, typer.Option(help="how many are listed [100]", min=1, max=1000)] = None,
    start: From = None, end: To = None, timezone: Zone = None, where: WhereOption = None, include_test: Test = False,
    as_of: AsOf = None, data: Data = None, json: Json = False,
) -> None:  # fmt: skip
    """Which of the bot's messages do best and worst at their place in the conversation."""
    params = params_of(
        start, end, timezone, where, include_test, as_of=as_of, rank=rank, position=position, within=within,
        limit=limit,
    )  # fmt: skip
    show(ask(data, "messages", params), json, terminal().messages)


@experiments_app.command("show")
def show_experiments(
    name: Annotated[str | None, typer.Argument(help="one experiment; default: all", show_default=False)] = None,
    goal: Annotated[list[str] | None, typer.Option(help="only this stage; repeatable [all recorded]")] = None,
    horizon: Annotated[str, typer.Option(help="sequential: read at any time; fixed: once, at the end")] = "sequential",
    start: FromAll = None, end: To = None, timezone: Zone = None, where: WhereOption = None, include_test: Test = False,
    as_of: AsOf = None, data: Data = None, json: Json = False,
) -> None:  # fmt: skip
    """Which variant is better per exposed unit, and what to do: ship, roll back, keep running, invalid."""
    params = params_of(start, end, timezone, where, include_test, as_of=as_of, name=name, horizon=horizon)
    params |= {"goal": goal} if goal else {}
    show(ask(data, "experiments", params), json, terminal().experiments)


@experiments_app.command("plan")
def plan_experiment(
    base: Annotated[float, typer.Option(help="the control's share of units, 0 to 1")],
    effect: Annotated[float, typer.Option(help="the absolute difference to find, like 0.05")],
    power: Annotated[float, typer.Option(help="the chance to find it")] = 0.8,
    daily: Annotated[float | None, typer.Option(help="new units a day, all arms together")] = None,
    arms: Annotated[int, typer.Option(help="how many, the control included")] = 2,
    planned: Annotated[int | None, typer.Option(help="the size the sequence is made for [what comes out]")] = None,
    horizon: Annotated[str, typer.Option(help="sequential: read at any time; fixed: once, at the end")] = "sequential",
    json: Json = False,
) -> None:
    """How many units an experiment needs, and how long that takes. Needs no data."""
    from dropoff.analyse.experiments import plans

    params = given_of(
        base=base, effect=effect, power=power, daily=daily, arms=arms, planned=planned, horizon=horizon
    )  # fmt: skip
    show(plans.answer(params), json, terminal().plan)
