"""The command `dropoff`. It asks the server that holds the data directory, or opens the directory itself."""

import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from dropoff.errors import DropoffError, InvalidInput, NotFound, Unauthorized, did_you_mean

app = typer.Typer(
    name="dropoff", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    help="Self-hosted analytics for sales bots: how many convert, where and why people drop off.",
)  # fmt: skip
conversations_app = typer.Typer(no_args_is_help=True, help="List conversations, or show one.")


class _ShowFirst(TyperGroup):
    """`dropoff experiments NAME` is short for `dropoff experiments show NAME`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        is_known = bool(args) and (args[0] in self.commands or args[0] == "--help")
        return super().parse_args(ctx, args if is_known else ["show", *args])


experiments_app = typer.Typer(cls=_ShowFirst, help="Which variant is better, and what to do; or plan an experiment.")
alerts_app = typer.Typer(no_args_is_help=True, help="Rules that alert: how they stand, stood, and would have stood.")
keys_app = typer.Typer(no_args_is_help=True, help="Keys that may send events, and tokens that may read.")
rejected_app = typer.Typer(no_args_is_help=True, help="Events that were refused, and why.")
dead_app = typer.Typer(no_args_is_help=True, help="Accepted events that could not be processed, and why.")
app.add_typer(conversations_app, name="conversations")
app.add_typer(experiments_app, name="experiments")
app.add_typer(alerts_app, name="alerts")
app.add_typer(keys_app, name="keys")
app.add_typer(rejected_app, name="rejected")
app.add_typer(dead_app, name="dead")

Data = Annotated[Path | None, typer.Option("--data", help="data directory [DROPOFF_DATA, else ./dropoff-data]")]
From = Annotated[str | None, typer.Option("--from", help="first day, or instant; default: the last 30 days with data")]
To = Annotated[str | None, typer.Option("--to", help="the day or instant after the last (exclusive)")]
Zone = Annotated[str | None, typer.Option("--timezone", help="IANA zone of the days; default: the project's")]
WhereOption = Annotated[list[str] | None, typer.Option("--where", help="dimension=value; repeatable")]
By = Annotated[str | None, typer.Option("--by", help="split by a dimension, like channel")]
Test = Annotated[bool, typer.Option("--include-test", help="put test traffic back")]
AsOf = Annotated[str | None, typer.Option("--as-of", help="a past day or instant: only what had happened before it")]
Json = Annotated[bool, typer.Option("--json", help="print the JSON of the API")]
Name = Annotated[str | None, typer.Option("--name", help="the funnel: sales, mission or one of your own [sales]")]
Definition = Annotated[Path | None, typer.Option("--definition", help="a funnel in a JSON or TOML file")]
Mode = Annotated[str | None, typer.Option("--mode", help="your own in another mode: reached, recorded, ordered, …")]
Threshold = Annotated[float, typer.Option("--threshold", help="only drop-offs above this rate, 0 to 1")]


_UNSAFE = (0x7F, *range(0x80, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_ESCAPES = {code: f"\\u{code:04x}" for code in (*_UNSAFE, *range(0xD800, 0xE000))}


def main() -> None:
    """Run the command. Exit codes: 0 fine, 1 it cannot be done now, 2 bad usage or input."""
    try:
        app()
    except (InvalidInput, NotFound, Unauthorized) as error:
        _fail(error, 2)
    except DropoffError as error:
        _fail(error, 1)


def _fail(error: Exception, code: int) -> None:
    from dropoff.terminal import plain

    Console(stderr=True, highlight=False).print(f"dropoff: {plain(error)}", markup=False, soft_wrap=True)
    sys.exit(code)


@app.command()
def serve(
    data: Data = None,
    host: Annotated[str | None, typer.Option(help="address to listen on [127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="port to listen on; 0 takes a free one [8787]")] = None,
    role: Annotated[str | None, typer.Option(help="all, ingest, worker, web or alerts [all]")] = None,
    queue: Annotated[str | None, typer.Option(help="address of the queue: nats://HOST:PORT/NAME, … [embedded]")] = None,
    store: Annotated[str | None, typer.Option(help="address of the store: clickhouse://…, … [embedded]")] = None,
) -> None:
    """Take events, process them, and show the dashboard; or one of these alone."""
    from dropoff import serve as server

    settings = _settings(data=data, host=host, port=port, role=role, queue=queue, store=store)
    server.run(settings, Console(stderr=True, highlight=False))


@app.command()
def demo(
    data: Annotated[Path, typer.Option("--data", help="data directory of the demo")] = Path("demo-data"),
    port: Annotated[int | None, typer.Option(help="port to listen on; 0 takes a free one [8787]")] = None,
    conversations: Annotated[int, typer.Option(help="how many conversations", min=1)] = 20_000,
    seed: Annotated[int, typer.Option(help="another seed is another world")] = 7,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="do not open the page")] = False,
    generate_only: Annotated[bool, typer.Option("--generate-only", help="print the events as NDJSON and stop")] = False,
) -> None:
    """Open a running dashboard on generated, realistic conversations (docs/demo.md says what is planted in them)."""
    from dropoff import serve as server

    if generate_only:
        server.print_demo(conversations, seed, sys.stdout.buffer)
        return
    settings = _settings(data=data, port=port)
    server.run_demo(settings, Console(stderr=True, highlight=False), conversations, seed, browser=not no_browser)


@app.command("import")
def import_files(
    files: Annotated[list[Path], typer.Argument(help="NDJSON, JSON, CSV or Parquet; also .gz", show_default=False)],
    format: Annotated[str, typer.Option(help="auto, ndjson, json, csv or parquet")] = "auto",  # noqa: A002
    map: Annotated[Path | None, typer.Option("--map", help="TOML: columns → fields (docs/import.md)")] = None,  # noqa: A002
    data: Data = None,
    json: Json = False,
) -> None:
    """Import files through the same door as HTTP. A second time, everything is a duplicate."""
    from dropoff.importing import import_all

    result = import_all(_settings(data=data), files, format, map, Console(stderr=True, quiet=json, highlight=False))
    _print(result, json, _terminal().imported)
    if result["rejected"]:
        raise typer.Exit(1)


@app.command()
def export(
    to: Annotated[Path, typer.Option("--to", help="a new or empty directory, or one with an unfinished export")],
    tables: Annotated[str, typer.Option(help="which tables, with commas between; default: all")] = "",
    data: Data = None,
    json: Json = False,
) -> None:
    """Write every table as a Parquet file, test traffic included, with a manifest of rows and checksums."""
    from dropoff.exporting import export as export_all

    names = [name.strip() for name in tables.split(",") if name.strip()]
    console = Console(stderr=True, quiet=json, highlight=False)
    _print(export_all(_settings(data=data), to, names, console), json, _terminal().exported)


@app.command()
def copy(
    to: Annotated[str, typer.Option("--to", help="another data directory, clickhouse://… or chdb:///…")],
    control: Annotated[str | None, typer.Option(help="where the keys go beside a store's address: nats://…")] = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """Carry the data over to another store and compare both. Again, it goes on where it stopped."""
    from dropoff.copying import copy as copy_all

    result = copy_all(_settings(data=data), to, Console(stderr=True, quiet=json, highlight=False), control)
    _print(result, json, _terminal().copied)
    if not result["equal"]:
        raise typer.Exit(1)


@app.command()
def enrich(
    labeller: Annotated[
        str, typer.Option(help="rules ([labels] in dropoff.toml), vader, or module:attribute")
    ] = "rules",
    start: Annotated[
        str | None, typer.Option("--from", help="messages from this day or instant on; default: all")
    ] = None,
    end: To = None,
    timezone: Zone = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what would be labelled")] = False,
    data: Data = None,
    json: Json = False,
) -> None:
    """Label prospects' messages for bots that do not: intent and sentiment, wherever the bot sent neither."""
    from dropoff import enrich as enriching
    from dropoff.labelling import LabelRules, load
    from dropoff.periods import parse_instant, parse_zone, to_micros

    settings = _settings(data=data)
    zone = parse_zone(timezone or settings.timezone)
    first, last = (
        None if text is None else to_micros(parse_instant(name, text, zone))
        for name, text in (("from", start), ("to", end))
    )
    if first is not None and last is not None and first >= last:
        raise InvalidInput("to", end, f"later than from ({start})")
    chosen = load(labeller, settings.labels or LabelRules())
    with _connect(data) as connection, _terminal().progress("labelling messages", quiet=json) as done:
        answer = enriching.enrich(connection, chosen, first, last, dry_run=dry_run, done=done)
    _print(answer, json, _terminal().enriched)
    if answer["refused"]:
        raise typer.Exit(1)


@app.command()
def funnel(
    name: Name = None, definition: Definition = None, mode: Mode = None, threshold: Threshold = 0.0,
    interval: Annotated[str | None, typer.Option(help="of your own also over time: hour, day, week, month")] = None,
    start: From = None, end: To = None, timezone: Zone = None, where: WhereOption = None, by: By = None,
    include_test: Test = False, as_of: AsOf = None, data: Data = None, json: Json = False,
) -> None:  # fmt: skip
    """Stages, the rates between them, and where people drop off."""
    params = _params(
        start, end, timezone, where, include_test, as_of=as_of, by=by, name=name, definition=_json_of(definition),
        mode=mode, threshold=threshold, interval=interval,
    )  # fmt: skip
    _print(_ask(data, "funnel", params), json, _terminal().funnel)


@app.command()
def dropoffs(
    name: Name = None, definition: Definition = None, mode: Mode = None, threshold: Threshold = 0.0,
    sort: Annotated[str, typer.Option(help="rate, volume or matured: which comes first")] = "rate",
    explain: Annotated[str, typer.Option(help="all, worst, none, or the stage it begins at")] = "all",
    start: From = None, end: To = None, timezone: Zone = None, where: WhereOption = None, by: By = None,
    include_test: Test = False, as_of: AsOf = None, data: Data = None, json: Json = False,
) -> None:  # fmt: skip
    """Between which stages conversations are lost, the highest rate first, and why."""
    params = _params(
        start, end, timezone, where, include_test, as_of=as_of, by=by, name=name, definition=_json_of(definition),
        mode=mode, threshold=threshold, sort=sort, explain=explain,
    )  # fmt: skip
    _print(_ask(data, "dropoffs", params), json, _terminal().drop_offs)


@app.command()
def metrics(
    names: Annotated[list[str] | None, typer.Argument(help="which metrics; default: all", show_default=False)] = None,
    definitions: Annotated[bool, typer.Option("--definitions", help="say what each metric means")] = False,
    start: From = None, end: To = None, timezone: Zone = None, where: WhereOption = None, by: By = None,
    include_test: Test = False, as_of: AsOf = None, data: Data = None, json: Json = False,
) -> None:  # fmt: skip
    """The values of metrics in a period, with what they are made of."""
    if definitions:
        _print(_definitions(data, names or []), json, _terminal().definitions)
        return
    params = _params(start, end, timezone, where, include_test, as_of=as_of, by=by)
    params |= {"metric": names} if names else {}
    _print(_ask(data, "metrics", params), json, _terminal().metrics)


def _definitions(data: Path | None, names: list[str]) -> dict[str, Any]:
    found = {row["metric"]: row for row in _ask(data, "definitions", {})["metrics"]}
    for name in names:
        if name not in found:
            raise InvalidInput("metric", name, f"one of {', '.join(found)}{did_you_mean(name, found, '; ')}")
    return {"metrics": [found[name] for name in names] if names else list(found.values())}


@app.command()
def trend(
    metric: Annotated[str, typer.Argument(help="which metric", show_default=False)],
    interval: Annotated[str, typer.Option(help="hour, day, week or month")] = "day",
    start: From = None, end: To = None, timezone: Zone = None, where: WhereOption = None, by: By = None,
    include_test: Test = False, as_of: AsOf = None, data: Data = None, json: Json = False,
) -> None:  # fmt: skip
    """A metric over time, beside the period before."""
    params = _params(start, end, timezone, where, include_test, as_of=as_of, by=by, metric=metric, interval=interval)
    _print(_ask(data, "trend", params), json, _terminal().trend)


@app.command()
def cohorts(
    stage: Annotated[str | None, typer.Option(help="a stage of the funnel sales [the last recorded]")] = None,
    interval: Annotated[str, typer.Option(help="day, week or month")] = "week",
    start: From = None, end: To = None, timezone: Zone = None, where: WhereOption = None, include_test: Test = False,
    as_of: AsOf = None, data: Data = None, json: Json = False,
) -> None:  # fmt: skip
    """By the week in which they began: which share had come to a stage at which age."""
    params = _params(start, end, timezone, where, include_test, as_of=as_of, stage=stage, interval=interval)
    _print(_ask(data, "cohorts", params), json, _terminal().cohorts)


@app.command()
def executive(
    start: From = None, end: To = None, timezone: Zone = None, where: WhereOption = None, include_test: Test = False,
    as_of: AsOf = None, data: Data = None, json: Json = False,
) -> None:  # fmt: skip
    """A few metrics against target and the period before, and what changed by more than chance."""
    params = _params(start, end, timezone, where, include_test, as_of=as_of)
    _print(_ask(data, "executive", params), json, _terminal().executive)


CompareFrom = Annotated[str | None, typer.Option("--compare-from", help="first day, or instant, of the other period")]
CompareTo = Annotated[str | None, typer.Option("--compare-to", help="the day or instant after its last (exclusive)")]
Follow = Annotated[str | None, typer.Option("--follow", help="how long conversations are followed, like 14d")]


@app.command()
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
    params = _params(
        start, end, timezone, where, include_test, as_of=as_of, metric=metric, by=by, units=units, compare=compare,
        compare_from=compare_from, compare_to=compare_to, follow=follow,
    )  # fmt: skip
    params |= {"segment": segment} if segment else {}
    _print(_ask(data, "segments", params), json, _terminal().segments)


Success = Annotated[str, typer.Option(help="the stage that is a success")]
Cut = Annotated[str | None, typer.Option(help="paths end before this stage [booked, or success if earlier]")]
Groups = Annotated[str, typer.Option(help="failed are: closed, all that ended; mission, those dropped or disqualified")]
Steps = Annotated[str | None, typer.Option(help="bot,prospect,agent,objections,fallbacks,escalations,sentiment,types")]
Repeats = Annotated[str, typer.Option(help="kept, or merged: equal steps in a row are one")]


@app.command()
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
    params = _params(
        start, end, timezone, where, include_test, as_of=as_of, success=success, cut=cut, groups=groups,
        steps=steps, repeats=repeats, anchor=anchor, support=support, compare=compare,
    )  # fmt: skip
    params |= {"segment": segment} if segment else {}
    with _connect(data) as connection, _terminal().progress("looking for patterns", quiet=json) as done:
        answer = connection.ask("patterns", params, done)
    _print(answer, json, _terminal().patterns)


@app.command()
def optimization(
    goal: Annotated[str | None, typer.Option(help="the stage that is a success [booked, else the last]")] = None,
    work: Annotated[str, typer.Option(help="all, or ready: of what takes long only what is worked out")] = "all",
    start: From = None, end: To = None, timezone: Zone = None, where: WhereOption = None, include_test: Test = False,
    as_of: AsOf = None, data: Data = None, json: Json = False,
) -> None:  # fmt: skip
    """What may be done better, and what to test next."""
    params = _params(start, end, timezone, where, include_test, as_of=as_of, goal=goal, work=work)
    with _connect(data) as connection, _terminal().progress("looking for what to do better", quiet=json) as done:
        answer = connection.ask("optimization", params, done)
    _print(answer, json, _terminal().optimization)


@app.command()
def explain(
    metric: Annotated[str, typer.Argument(help="a share, a score or a ratio", show_default=False)],
    by: Annotated[str | None, typer.Option("--by", help="one dimension; default: all that are suitable")] = None,
    compare_from: CompareFrom = None, compare_to: CompareTo = None, follow: Follow = None,
    start: From = None, end: To = None, timezone: Zone = None, where: WhereOption = None, include_test: Test = False,
    as_of: AsOf = None, data: Data = None, json: Json = False,
) -> None:  # fmt: skip
    """Which segments account for the change of a metric since another period, by default the one before."""
    params = _params(
        start, end, timezone, where, include_test, as_of=as_of, metric=metric, by=by, compare_from=compare_from,
        compare_to=compare_to, follow=follow,
    )  # fmt: skip
    _print(_ask(data, "explain", params), json, _terminal().explain)


@app.command()
def messages(
    rank: Annotated[
        str, typer.Option(help="reply_rate, objection_rate, opt_out_rate, sentiment_change, booking_rate, …")
    ] = "reply_rate",
    position: Annotated[int | None, typer.Option(help="only the how-manieth message of the bot", min=1)] = None,
    within: Annotated[str, typer.Option(help="intent or position: what compared messages have in common")] = "intent",
    limit: Annotated[int | None, typer.Option(help="how many are listed [100]", min=1, max=1000)] = None,
    start: From = None, end: To = None, timezone: Zone = None, where: WhereOption = None, include_test: Test = False,
    as_of: AsOf = None, data: Data = None, json: Json = False,
) -> None:  # fmt: skip
    """Which of the bot's messages do best and worst at their place in the conversation."""
    params = _params(
        start, end, timezone, where, include_test, as_of=as_of, rank=rank, position=position, within=within,
        limit=limit,
    )  # fmt: skip
    _print(_ask(data, "messages", params), json, _terminal().messages)


@app.command()
def operations(
    interval: Annotated[str | None, typer.Option(help="hour, day, week or month [by the length of the period]")] = None,
    start: From = None, end: To = None, timezone: Zone = None, where: WhereOption = None, include_test: Test = False,
    as_of: AsOf = None, data: Data = None, json: Json = False,
) -> None:  # fmt: skip
    """How the bot is running: what stands out, what went wrong and why, how fast it answers, data health."""
    params = _params(start, end, timezone, where, include_test, as_of=as_of, interval=interval)
    _print(_ask(data, "operations", params), json, _terminal().operations)


@experiments_app.command("show")
def show_experiments(
    name: Annotated[str | None, typer.Argument(help="one experiment; default: all", show_default=False)] = None,
    goal: Annotated[list[str] | None, typer.Option(help="only this stage; repeatable [all recorded]")] = None,
    horizon: Annotated[str, typer.Option(help="sequential: read at any time; fixed: once, at the end")] = "sequential",
    start: From = None, end: To = None, timezone: Zone = None, where: WhereOption = None, include_test: Test = False,
    as_of: AsOf = None, data: Data = None, json: Json = False,
) -> None:  # fmt: skip
    """Which variant is better per exposed unit, and what to do: ship, roll back, keep running, invalid."""
    params = _params(start, end, timezone, where, include_test, as_of=as_of, name=name, horizon=horizon)
    params |= {"goal": goal} if goal else {}
    _print(_ask(data, "experiments", params), json, _terminal().experiments)


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
    from dropoff.analyse import plans

    given = {"base": base, "effect": effect, "power": power, "daily": daily, "arms": arms, "planned": planned}
    params = {key: [str(value)] for key, value in {**given, "horizon": horizon}.items() if value is not None}
    _print(plans.answer(params), json, _terminal().plan)


@conversations_app.command("list")
def list_conversations(
    stage: Annotated[str | None, typer.Option(help="only those that reached this stage")] = None,
    within: Annotated[str | None, typer.Option(help="with --stage: before they were so old, like 2w")] = None,
    dropped: Annotated[str | None, typer.Option(help="only those that reached it and not the next")] = None,
    passed: Annotated[str | None, typer.Option(help="only those that reached it and the next")] = None,
    said: Annotated[str | None, typer.Option(help="in which the bot said this intent at that stage")] = None,
    last_intent: Annotated[str | None, typer.Option(help="that fell silent after this intent")] = None,
    instead: Annotated[str | None, typer.Option(help="what the lost did next: silence, objection, …")] = None,
    reason: Annotated[str | None, typer.Option(help="with this reason there: fallback, slow_reply, …")] = None,
    experiment: Annotated[str | None, typer.Option(help="with --variant: in which units were first exposed")] = None,
    variant: Annotated[str | None, typer.Option(help="with --experiment: to this variant")] = None,
    goal: Annotated[str | None, typer.Option(help="with --experiment: in which they came to this stage")] = None,
    pattern: Annotated[list[str] | None, typer.Option(help="a step of a pattern; repeatable, in order")] = None,
    kind: Annotated[str | None, typer.Option(help="of the pattern: step, run, gapped, beginning, after")] = None,
    group: Annotated[str | None, typer.Option(help="with --pattern: successful or failed")] = None,
    success: Annotated[str | None, typer.Option(help="with --pattern: the stage that is a success")] = None,
    cut: Cut = None,
    groups: Annotated[str | None, typer.Option(help="with --pattern: closed or mission")] = None,
    steps: Steps = None,
    repeats: Annotated[str | None, typer.Option(help="with --pattern: kept or merged")] = None,
    message: Annotated[str | None, typer.Option(help="with --position: in which the bot said this there")] = None,
    position: Annotated[int | None, typer.Option(help="with --message: the how-manieth of the bot", min=1)] = None,
    trigger: Annotated[str | None, typer.Option(help="with a fallback that this triggered")] = None,
    utterance: Annotated[str | None, typer.Option(help="in which the bot did not understand this")] = None,
    error: Annotated[str | None, typer.Option(help="with an error of this kind")] = None,
    escalation: Annotated[str | None, typer.Option(help="handed to a human first for this reason")] = None,
    keyword: Annotated[str | None, typer.Option(help="that opted out first with this word")] = None,
    opted_out_after: Annotated[str | None, typer.Option(help="that opted out after this intent of the bot")] = None,
    health: Annotated[str | None, typer.Option(help="tied: whose path depends on a tie")] = None,
    text: Annotated[str | None, typer.Option(help="words, or phrases in quotes, that are said in it")] = None,
    intent: Annotated[str | None, typer.Option(help="with this intent; with --message: of that one")] = None,
    objection: Annotated[str | None, typer.Option(help="with this objection")] = None,
    outcome: Annotated[str | None, typer.Option(help="with this outcome: converted, lost, dropped, …")] = None,
    ending: Annotated[str | None, typer.Option(help="with this ending: converted, lost, dropped, …")] = None,
    status: Annotated[str | None, typer.Option(help="open or closed")] = None,
    contact_id: Annotated[str | None, typer.Option(help="of this contact")] = None,
    id: Annotated[str | None, typer.Option(help="the one with this id")] = None,  # noqa: A002
    limit: Annotated[int | None, typer.Option(help="how many [50]", min=1, max=1000)] = None,
    after: Annotated[str | None, typer.Option(help="the `next` of the page before")] = None,
    csv: Annotated[bool, typer.Option("--csv", help="print the whole list as CSV")] = False,
    save: Annotated[str | None, typer.Option(help="also save these filters, under this name")] = None,
    name: Name = None, definition: Definition = None, mode: Mode = None, start: From = None, end: To = None,
    timezone: Zone = None, where: WhereOption = None, include_test: Test = False, as_of: AsOf = None,
    data: Data = None, json: Json = False,
) -> None:  # fmt: skip
    """The conversations started in a period, the latest first."""
    given = {"stage": stage, "within": within, "dropped": dropped, "limit": limit, "after": after}
    given |= {"passed": passed, "said": said, "last_intent": last_intent, "instead": instead, "reason": reason}
    given |= {"name": name, "definition": _json_of(definition), "mode": mode}
    given |= {"experiment": experiment, "variant": variant, "goal": goal}
    given |= {"kind": kind, "group": group, "success": success, "cut": cut, "groups": groups, "steps": steps}
    given |= {"message": message, "position": position, "text": text, "intent": intent, "objection": objection}
    given |= {"outcome": outcome, "ending": ending, "status": status, "contact_id": contact_id, "id": id}
    given |= {"trigger": trigger, "utterance": utterance, "error": error, "escalation": escalation}
    given |= {"keyword": keyword, "opted_out_after": opted_out_after, "health": health}
    params = _params(start, end, timezone, where, include_test, as_of=as_of, repeats=repeats, **given)
    params |= {"pattern": pattern} if pattern else {}
    if save is not None:
        with _filters(data) as filters:
            filters.save(save, params, _who())
    if csv:
        if json:
            raise InvalidInput("csv", True, "left out with json")
        with _connect(data) as connection:
            _write(connection.export(params))
        return
    _print(_ask(data, "conversations", params), json, _terminal().conversations)


@conversations_app.command("show")
def show_conversation(
    id: Annotated[str, typer.Argument(help="its id")],  # noqa: A002
    timezone: Zone = None,
    as_of: AsOf = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """One conversation: its facts, its messages, its events."""
    params = _params(None, None, timezone, None, include_test=False, as_of=as_of)
    with _connect(data) as connection:
        _print(connection.conversation(id, params), json, _terminal().conversation)


@conversations_app.command("sample")
def sample_conversations(
    success: Annotated[str | None, typer.Option(help="the stage that is a success [booked]")] = None,
    limit: Annotated[int, typer.Option(help="so many of each group", min=1, max=20)] = 5,
    start: From = None, end: To = None, timezone: Zone = None, where: WhereOption = None, include_test: Test = False,
    as_of: AsOf = None, data: Data = None, json: Json = False,
) -> None:  # fmt: skip
    """A few to read: some that failed and some that succeeded, unlike one another."""
    params = _params(start, end, timezone, where, include_test, as_of=as_of, success=success, limit=limit)
    _print(_ask(data, "sample", params), json, _terminal().sample)


@app.command()
def report(
    kind: Annotated[str, typer.Argument(help="weekly or monthly", show_default=False)],
    format: Annotated[str, typer.Option(help="html, md, pdf or json")] = "html",  # noqa: A002
    output: Annotated[Path | None, typer.Option(help="file to write, - for standard output [named by period]")] = None,
    start: Annotated[str | None, typer.Option("--from", help="first day, or instant [of the last whole one]")] = None,
    end: To = None, timezone: Zone = None, where: WhereOption = None, include_test: Test = False, as_of: AsOf = None,
    data: Data = None,
) -> None:  # fmt: skip
    """The report of a week or a month as a file that opens and prints anywhere."""
    params = _params(start, end, timezone, where, include_test, as_of=as_of, kind=kind, format=format)
    with _connect(data) as connection:
        name, body = connection.report(params)
    if str(output) == "-":
        _write([body])
        return
    path = output or Path(name)
    path.write_bytes(body)
    Console(stderr=True, highlight=False).print(str(path), markup=False, soft_wrap=True)


@conversations_app.command("filters")
def list_filters(
    remove: Annotated[str | None, typer.Option(help="remove the one with this name")] = None,
    data: Data = None, json: Json = False,
) -> None:  # fmt: skip
    """The saved filters of the list. One is saved by `conversations list … --save NAME`."""
    with _filters(data) as filters:
        if remove is not None:
            filters.remove(remove)
        _print({"filters": _builtins(filters.all())}, json, _terminal().filters)


Rules = Annotated[Path | None, typer.Option("--rules", help="rules in a TOML or JSON file [those of the project]")]


@alerts_app.command("check")
def check_alerts(
    rules: Rules = None,
    coverage: Annotated[bool, typer.Option("--coverage", help="also how often they had enough data")] = False,
    as_of: AsOf = None, data: Data = None, json: Json = False,
) -> None:  # fmt: skip
    """Every rule as it stands: its value, and its state. Exit code 1 where one fires."""
    params = _given(rules=_rules_of(rules), as_of=as_of, coverage=1 if coverage else None)
    answer = _ask(data, "alerts", params)
    _print(answer, json, _terminal().alerts)
    if any(alert["state"] == "firing" for alert in answer["alerts"]):
        raise typer.Exit(1)


@alerts_app.command("test")
def rehearse_alerts(
    file: Annotated[Path, typer.Argument(help="a made time line with expected states (docs/alerts.md)")],
    rules: Rules = None, json: Json = False,
) -> None:  # fmt: skip
    """Try rules against a made time line. Needs no data. Exit code 1 where an expectation is not met."""
    from dropoff.alerts import rehearse
    from dropoff.alerts.rules import read
    from dropoff.alerts.starters import starters
    from dropoff.analyse.custom import registry

    settings = _settings()
    known = registry(settings.metrics)
    others = starters() if rules is None else read(rules, known, settings.funnels)
    answer = rehearse.answer(rehearse.run(file, known, settings.funnels, others))
    _print(answer, json, _terminal().rehearsals)
    if answer["failed"]:
        raise typer.Exit(1)


@alerts_app.command("backtest")
def backtest_alerts(
    rules: Rules = None,
    rule: Annotated[list[str] | None, typer.Option(help="only the rule of this name; repeatable")] = None,
    per_month: Annotated[float, typer.Option(help="how often in 30 days is seldom enough")] = 1.0,
    start: Annotated[str | None, typer.Option("--from", help="first day, or instant [the last 4 weeks]")] = None,
    end: To = None, data: Data = None, json: Json = False,
) -> None:  # fmt: skip
    """When rules would have fired, and which threshold is quiet enough."""
    params = _given(rules=_rules_of(rules), per_month=per_month)
    params |= {name: [text] for name, text in {"from": start, "to": end}.items() if text is not None}
    params |= {"rule": rule} if rule else {}
    _print(_ask(data, "alerts/backtest", params), json, _terminal().backtest)


@alerts_app.command("history")
def alerts_history(
    rule: Annotated[str | None, typer.Option(help="only the rule of this name")] = None,
    limit: Annotated[int | None, typer.Option(help="how many [100]", min=1, max=1000)] = None,
    data: Data = None, json: Json = False,
) -> None:  # fmt: skip
    """When alerts fired, the latest first."""
    _print(_ask(data, "alerts/history", _given(rule=rule, limit=limit)), json, _terminal().episodes)


SegmentOf = Annotated[str | None, typer.Option("--segment", help="only in this segment, like channel=sms")]
Comment = Annotated[str, typer.Option("--comment", help="why")]


@alerts_app.command("silence")
def silence_alerts(
    rule: Annotated[str | None, typer.Argument(help="its name; default: any, with --segment")] = None,
    span: Annotated[str | None, typer.Option("--for", help="how long, like 2h")] = None,
    until: Annotated[str | None, typer.Option("--until", help="or till when: a day or an instant")] = None,
    segment: SegmentOf = None, comment: Comment = "", data: Data = None, json: Json = False,
) -> None:  # fmt: skip
    """Tell nobody for a time. States and history go on; what still fires at the end is told then."""
    given = {"rule": rule, "segment": segment, "for": span, "until": until, "comment": comment, "by": _who()}
    with _desk(data) as desk:
        made = desk.silence({key: text for key, text in given.items() if text})
        _print(_builtins({"silences": [made]}), json, _terminal().silences)


@alerts_app.command("acknowledge")
def acknowledge_alerts(
    rule: Annotated[str, typer.Argument(help="its name", show_default=False)],
    segment: SegmentOf = None, comment: Comment = "", data: Data = None, json: Json = False,
) -> None:  # fmt: skip
    """Somebody looks after what fires of a rule now: no repeats of it. Its end is told."""
    given = {"rule": rule, "segment": segment, "comment": comment, "by": _who()}
    with _desk(data) as desk:
        made = desk.acknowledge({key: text for key, text in given.items() if text})
        _print(_builtins({"acknowledgements": [made]}), json, _terminal().silences)


@alerts_app.command("silences")
def list_silences(data: Data = None, json: Json = False) -> None:
    """The silences and acknowledgements there are, with their ids."""
    with _desk(data) as desk:
        found = {"silences": desk.silences(), "acknowledgements": desk.acknowledgements()}
        _print(_builtins(found), json, _terminal().silences)


@alerts_app.command("expire")
def expire_silence(
    id: Annotated[str, typer.Argument(help="of a silence or an acknowledgement", show_default=False)],  # noqa: A002
    data: Data = None,
) -> None:
    """End a silence now, or take an acknowledgement back."""
    with _desk(data) as desk:
        if any(each.id == id for each in desk.acknowledgements()):
            desk.withdraw({"id": id})
        else:
            desk.expire({"id": id})


@alerts_app.command("ping")
def ping_receiver(
    receiver: Annotated[str, typer.Argument(help="its name in [[receivers]]", show_default=False)],
) -> None:
    """Send a made notice to a receiver, at once. Needs no data and no server. Exit code 1 where it is not taken."""
    from dropoff.notify.texts import made
    from dropoff.parts import open_notifier

    settings = _settings()
    named = {each.name: each for each in settings.receivers}
    if receiver not in named:
        raise InvalidInput(
            "receiver", receiver, f"one of {', '.join(named) or '[[receivers]], of which there are none'}"
        )
    link = settings.public_url or f"http://{settings.host}:{settings.port}"
    open_notifier(named[receiver]).send(made(datetime.now(UTC), link, settings.zone))
    Console(highlight=False).print(f"{receiver} took it: {named[receiver].shown()}", markup=False, soft_wrap=True)


def _who() -> str:
    """Who sits at this command line, if that can be told."""
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""


@contextmanager
def _desk(data: Path | None) -> Any:
    """Silences and acknowledgements, which rest in the control state: no server is needed, none is in the way."""
    from dropoff.alerts.starters import configured
    from dropoff.analyse.custom import registry
    from dropoff.dashboard.desk import Desk

    settings = _settings(data=data)
    names = [rule.name for rule in configured(settings, registry(settings.metrics))]
    with _control(data) as control:
        yield Desk(control, names, settings.zone)


@contextmanager
def _filters(data: Path | None) -> Any:
    """Saved filters, which rest in the control state, too."""
    from dropoff.dashboard.filters import Filters

    with _control(data) as control:
        yield Filters(control)


def _builtins(value: Any) -> Any:
    import msgspec

    return msgspec.to_builtins(value)


def _given(**given: Any) -> dict[str, list[str]]:
    """Options that were given, as URL parameters."""
    return {name: [str(value)] for name, value in given.items() if value is not None}


def _rules_of(path: Path | None) -> str | None:
    """The rules in a file as the parameter `rules`; where one is wrong, with its line."""
    if path is None:
        return None
    from dropoff.alerts.rules import parse, written
    from dropoff.analyse.custom import registry

    settings = _settings()
    raw, place = written(path)
    parse(raw, place, registry(settings.metrics), settings.funnels)
    return json.dumps(raw, separators=(",", ":"))


@keys_app.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="what it is for")],
    kind: Annotated[str, typer.Option(help="write: may send events; admin: may read pages and API")] = "write",
    data: Data = None,
) -> None:
    """Make a key and print its secret: this is the only time."""
    from dropoff import access

    with _control(data, create=True) as control:
        print(access.create_key(control, name, kind, time.time()))  # noqa: T201 - the secret alone, for scripts


@keys_app.command("list")
def list_keys(data: Data = None, json: Json = False) -> None:
    """The keys there are, without their secrets."""
    from dropoff import access

    with _control(data) as control:
        found = access.list_keys(control)
    rows = [
        {"name": k.name, "kind": k.kind, "created_at": datetime.fromtimestamp(k.created_at, UTC).isoformat()}
        for k in found
    ]
    _print({"keys": rows}, json, _terminal().keys)


@keys_app.command("revoke")
def revoke_key(name: Annotated[str, typer.Argument(help="its name")], data: Data = None) -> None:
    """Forget a key. It stops working within two seconds."""
    from dropoff import access

    with _control(data) as control:
        access.revoke_key(control, name)


@app.command()
def query(
    sql: Annotated[str, typer.Argument(help="one SELECT over events, messages, conversations, metrics_daily, …")],
    data: Data = None,
    json: Json = False,
) -> None:
    """Your own SQL over the views: read-only, 10 seconds, 10,000 rows."""
    with _connect(data) as connection:
        _print(connection.query(sql), json, _terminal().query)


@rejected_app.command("list")
def list_rejected(
    limit: Annotated[int, typer.Option(help="how many", min=1)] = 20, data: Data = None, json: Json = False
) -> None:
    """Refused events, the newest first, with the reason and what was sent."""
    _print(_ask(data, "rejected", {"limit": [str(limit)]}), json, _terminal().rejected)


@rejected_app.command("replay")
def replay_rejected(data: Data = None, json: Json = False) -> None:
    """Try all refused events again; those that pass now are taken and forgotten here."""
    from dropoff.importing import replay

    with _connect(data) as connection:
        _print(replay(connection), json, _terminal().imported)


@dead_app.command("list")
def list_dead(
    limit: Annotated[int, typer.Option(help="how many", min=1)] = 20, data: Data = None, json: Json = False
) -> None:
    """Accepted events that could not be processed, the newest first, with the error."""
    with _connect(data) as connection:
        _print(connection.dead(limit), json, _terminal().dead)


@dead_app.command("replay")
def replay_dead(data: Data = None, json: Json = False) -> None:
    """Process all of them once more, as after an upgrade that mends the error; those that fail again come back."""
    with _connect(data) as connection:
        _print(connection.replay_dead(), json, _terminal().replayed)


def _settings(**given: Any) -> Any:
    from dropoff.settings import load

    return load(**given)


def _connect(data: Path | None) -> Any:
    from dropoff.connect import connect

    return connect(_settings(data=data))


def _control(data: Path | None, *, create: bool = False) -> Any:
    from contextlib import closing

    from dropoff.connect import check_data
    from dropoff.parts import EMBEDDED, control_address, open_control

    settings = _settings(data=data)
    if control_address(settings) == EMBEDDED and not create:
        check_data(settings)
    return closing(open_control(settings))


def _terminal() -> Any:
    from dropoff import terminal

    return terminal


def _ask(data: Path | None, question: str, params: Mapping[str, list[str]]) -> dict[str, Any]:
    with _connect(data) as connection:
        return connection.ask(question, params)


def _json_of(definition: Path | None) -> str | None:
    """The funnel in a file as the parameter `definition`."""
    from dropoff.funnels import parse_file

    return None if definition is None else parse_file(definition).to_json().decode()


def _params(
    start: str | None, end: str | None, timezone: str | None, where: list[str] | None, include_test: bool, **more: Any
) -> dict[str, list[str]]:
    """The options as URL parameters."""
    given = {"from": start, "to": end, "timezone": timezone, "include_test": 1 if include_test else None, **more}
    params = {name: [str(value)] for name, value in given.items() if value is not None}
    return params | ({"where": where} if where else {})


def _write(chunks: Iterable[bytes]) -> None:
    """Bytes as they are to a file or a pipe; a terminal would obey the control characters among them."""
    from dropoff.terminal import plain

    for chunk in chunks:
        sys.stdout.buffer.write(plain(chunk.decode(errors="replace")).encode() if sys.stdout.isatty() else chunk)
    sys.stdout.buffer.flush()


def _print(answer: Mapping[str, Any], as_json: bool, show: Callable[[Mapping[str, Any], Console], None]) -> None:
    if as_json:
        # JSON itself escapes the control characters below 0x20; a terminal obeys these, too.
        print(json.dumps(answer, ensure_ascii=False).translate(_ESCAPES))  # noqa: T201 - the answer is the output
    else:
        show(answer, Console(highlight=False))
