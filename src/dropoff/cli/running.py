"""Commands that run the flow, and bring data in and out."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from dropoff.cli.answers import connected, settings_of, show, terminal
from dropoff.cli.options import Data, Json, To, Zone, app
from dropoff.errors import InvalidInput

PANEL = "Run"


@app.command(rich_help_panel=PANEL)
def serve(
    data: Data = None,
    host: Annotated[str | None, typer.Option(help="address to listen on [127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="port to listen on; 0 takes a free one [8787]")] = None,
    role: Annotated[str | None, typer.Option(help="all, ingest, worker, web or alerts [all]")] = None,
    queue: Annotated[str | None, typer.Option(help="address of the queue: nats://HOST:PORT/NAME, … [embedded]")] = None,
    store: Annotated[str | None, typer.Option(help="address of the store: clickhouse://…, … [embedded]")] = None,
) -> None:
    """Take events, process them, and show the dashboard; or one of these alone."""
    from dropoff.server import serve as server

    settings = settings_of(data=data, host=host, port=port, role=role, queue=queue, store=store)
    server.run(settings, Console(stderr=True, highlight=False))


@app.command(rich_help_panel=PANEL)
def demo(
    data: Annotated[Path, typer.Option("--data", help="data directory of the demo")] = Path("demo-data"),
    port: Annotated[int | None, typer.Option(help="port to listen on; 0 takes a free one [8787]")] = None,
    conversations: Annotated[int, typer.Option(help="how many conversations", min=1)] = 20_000,
    seed: Annotated[int, typer.Option(help="another seed is another world")] = 7,
    end: Annotated[str | None, typer.Option(help="the day (UTC) at whose start the data ends [today]")] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="do not open the page")] = False,
    generate_only: Annotated[bool, typer.Option("--generate-only", help="print the events as NDJSON and stop")] = False,
) -> None:
    """Open a running dashboard on generated, realistic conversations (docs/demo.md says what is planted in them)."""
    from dropoff.server import serve as server

    world = server.World(conversations, seed, None if end is None else server.end_of(end))
    if generate_only:
        server.print_demo(world, sys.stdout.buffer)
        return
    console = Console(stderr=True, highlight=False)
    server.run_demo(settings_of(data=data, port=port), console, world, browser=not no_browser)


@app.command("import", rich_help_panel=PANEL)
def import_files(
    files: Annotated[list[Path], typer.Argument(help="NDJSON, JSON, CSV or Parquet; also .gz", show_default=False)],
    format: Annotated[str, typer.Option(help="auto, ndjson, json, csv or parquet")] = "auto",  # noqa: A002
    map: Annotated[Path | None, typer.Option("--map", help="TOML: columns → fields (docs/import.md)")] = None,  # noqa: A002
    data: Data = None,
    json: Json = False,
) -> None:
    """Import files through the same door as HTTP. A second time, everything is a duplicate."""
    from dropoff.jobs.importing import import_all

    result = import_all(settings_of(data=data), files, format, map, Console(stderr=True, quiet=json, highlight=False))
    show(result, json, terminal().imported)
    if result["rejected"]:
        raise typer.Exit(1)


@app.command(rich_help_panel=PANEL)
def export(
    to: Annotated[Path, typer.Option("--to", help="a new or empty directory, or one with an unfinished export")],
    tables: Annotated[str, typer.Option(help="which tables, with commas between; default: all")] = "",
    data: Data = None,
    json: Json = False,
) -> None:
    """Write every table as a Parquet file, test traffic included, with a manifest of rows and checksums."""
    from dropoff.jobs.exporting import export as export_all

    names = [name.strip() for name in tables.split(",") if name.strip()]
    console = Console(stderr=True, quiet=json, highlight=False)
    show(export_all(settings_of(data=data), to, names, console), json, terminal().exported)


@app.command(rich_help_panel=PANEL)
def copy(
    to: Annotated[str, typer.Option("--to", help="another data directory, clickhouse://… or chdb:///…")],
    control: Annotated[str | None, typer.Option(help="where the keys go beside a store's address: nats://…")] = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """Carry the data over to another store and compare both. Again, it goes on where it stopped."""
    from dropoff.jobs.copying import copy as copy_all

    result = copy_all(settings_of(data=data), to, Console(stderr=True, quiet=json, highlight=False), control)
    show(result, json, terminal().copied)
    if not result["equal"]:
        raise typer.Exit(1)


@app.command(rich_help_panel=PANEL)
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
    from dropoff.jobs import enrich as enriching
    from dropoff.periods import parse_instant, parse_zone, to_micros
    from dropoff.project.labelling import LabelRules, load

    settings = settings_of(data=data)
    zone = parse_zone(timezone or settings.timezone)
    first, last = (
        None if text is None else to_micros(parse_instant(name, text, zone))
        for name, text in (("from", start), ("to", end))
    )
    if first is not None and last is not None and first >= last:
        raise InvalidInput("to", end, f"later than from ({start})")
    chosen = load(labeller, settings.labels or LabelRules())
    with connected(data) as connection, terminal().progress("labelling messages", quiet=json) as done:
        answer = enriching.enrich(connection, chosen, first, last, dry_run=dry_run, done=done)
    show(answer, json, terminal().enriched)
    if answer["refused"]:
        raise typer.Exit(1)
