"""The root of all commands, the options that many share, and how they become the parameters of a question."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from typer.core import TyperGroup


class PlainHelp(TyperGroup):
    """Commands whose help is plain text: rich would take `[all]` for markup, and show nothing there."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        todo: list[Any] = [self]
        while todo:
            one = todo.pop()
            todo += [*one.params, *getattr(one, "commands", {}).values()] if hasattr(one, "params") else []
            one.help = escape(one.help) if getattr(one, "help", None) else None


app = typer.Typer(
    cls=PlainHelp, name="dropoff", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    help="Self-hosted analytics for sales bots: how many convert, where and why people drop off.",
)  # fmt: skip


Data = Annotated[Path | None, typer.Option("--data", help="data directory [DROPOFF_DATA, else ./dropoff-data]")]
From = Annotated[str | None, typer.Option("--from", help="first day, or instant; default: the last 30 days with data")]
FromAll = Annotated[str | None, typer.Option("--from", help="first day, or instant; default: all time")]
Began = Annotated[
    str | None,
    typer.Option("--from", help="first day, or instant; default: the last 12 whole weeks (30 days, 12 months)"),
]
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
CompareFrom = Annotated[str | None, typer.Option("--compare-from", help="first day, or instant, of the other period")]
CompareTo = Annotated[str | None, typer.Option("--compare-to", help="the day or instant after its last (exclusive)")]
Follow = Annotated[str | None, typer.Option("--follow", help="how long conversations are followed, like 14d")]
Success = Annotated[str, typer.Option(help="the stage that is a success")]
Cut = Annotated[str | None, typer.Option(help="paths end before this stage [booked, or success if earlier]")]
Groups = Annotated[str, typer.Option(help="failed are: closed, all that ended; mission, those dropped or disqualified")]
Steps = Annotated[str | None, typer.Option(help="bot,prospect,agent,objections,fallbacks,escalations,sentiment,types")]
Repeats = Annotated[str, typer.Option(help="kept, or merged: equal steps in a row are one")]


def given_of(**given: Any) -> dict[str, list[str]]:
    """Options that were given, as URL parameters."""
    return {name: [str(value)] for name, value in given.items() if value is not None}


def json_of(definition: Path | None) -> str | None:
    """The funnel in a file as the parameter `definition`."""
    from dropoff.project.funnels import parse_file

    return None if definition is None else parse_file(definition).to_json().decode()


def params_of(
    start: str | None, end: str | None, timezone: str | None, where: list[str] | None, include_test: bool, **more: Any
) -> dict[str, list[str]]:
    """The options as URL parameters."""
    ends = {"from": start, "to": end}
    params = given_of(**ends, timezone=timezone, include_test=1 if include_test else None, **more)
    return params | ({"where": where} if where else {})
