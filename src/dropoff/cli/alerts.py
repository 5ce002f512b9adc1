"""Rules that alert, and what people do about them."""

import json
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from dropoff.cli.answers import ask, builtins, control_of, settings_of, show, terminal, who, zone_of
from dropoff.cli.options import AsOf, Data, Json, To, given_of
from dropoff.errors import InvalidInput

alerts_app = typer.Typer(no_args_is_help=True, help="Rules that alert: how they stand, stood, and would have stood.")


Rules = Annotated[Path | None, typer.Option("--rules", help="rules in a TOML or JSON file [those of the project]")]


@alerts_app.command("check")
def check_alerts(
    rules: Rules = None,
    coverage: Annotated[bool, typer.Option("--coverage", help="also how often they had enough data")] = False,
    as_of: AsOf = None, data: Data = None, json: Json = False,
) -> None:  # fmt: skip
    """Every rule as it stands: its value, and its state. Exit code 1 where one fires."""
    params = given_of(rules=_rules_of(rules), as_of=as_of, coverage=1 if coverage else None)
    answer = ask(data, "alerts", params)
    show(answer, json, terminal().alerts, zone_of(data))
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

    settings = settings_of()
    known = registry(settings.metrics)
    others = starters() if rules is None else read(rules, known, settings.funnels)
    answer = rehearse.answer(rehearse.run(file, known, settings.funnels, others))
    show(answer, json, terminal().rehearsals)
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
    params = given_of(rules=_rules_of(rules), per_month=per_month, **{"from": start, "to": end})
    params |= {"rule": rule} if rule else {}
    show(ask(data, "alerts/backtest", params), json, terminal().backtest)


@alerts_app.command("history")
def alerts_history(
    rule: Annotated[str | None, typer.Option(help="only the rule of this name")] = None,
    limit: Annotated[int | None, typer.Option(help="how many [100]", min=1, max=1000)] = None,
    data: Data = None, json: Json = False,
) -> None:  # fmt: skip
    """When alerts fired, the latest first."""
    show(ask(data, "alerts/history", given_of(rule=rule, limit=limit)), json, terminal().episodes, zone_of(data))


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
    given = {"rule": rule, "segment": segment, "for": span, "until": until, "comment": comment, "by": who()}
    with _desk(data) as desk:
        made = desk.silence({key: text for key, text in given.items() if text})
        show(builtins({"silences": [made]}), json, terminal().silences, zone_of(data))


@alerts_app.command("acknowledge")
def acknowledge_alerts(
    rule: Annotated[str, typer.Argument(help="its name", show_default=False)],
    segment: SegmentOf = None, comment: Comment = "", data: Data = None, json: Json = False,
) -> None:  # fmt: skip
    """Somebody looks after what fires of a rule now: no repeats of it. Its end is told."""
    given = {"rule": rule, "segment": segment, "comment": comment, "by": who()}
    with _desk(data) as desk:
        made = desk.acknowledge({key: text for key, text in given.items() if text})
        show(builtins({"acknowledgements": [made]}), json, terminal().silences, zone_of(data))


@alerts_app.command("silences")
def list_silences(data: Data = None, json: Json = False) -> None:
    """The silences and acknowledgements there are, with their ids."""
    with _desk(data) as desk:
        found = {"silences": desk.silences(), "acknowledgements": desk.acknowledgements()}
        show(builtins(found), json, terminal().silences, zone_of(data))


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
    data: Data = None,
) -> None:
    """Send a made notice to a receiver, at once. Needs no data and no server. Exit code 1 where it is not taken."""
    from dropoff.notify.texts import made
    from dropoff.server.parts import open_notifier
    from dropoff.server.remote import find_server

    settings = settings_of(data=data)
    named = {each.name: each for each in settings.receivers}
    if receiver not in named:
        raise InvalidInput(
            "receiver", receiver, f"one of {', '.join(named) or '[[receivers]], of which there are none'}"
        )
    server = None if settings.public_url else find_server(settings.data)
    link = settings.public_url or (server.url if server else f"http://{settings.host}:{settings.port}")
    open_notifier(named[receiver]).send(made(datetime.now(UTC), link, settings.zone))
    Console(highlight=False).print(f"{receiver} took it: {named[receiver].shown()}", markup=False, soft_wrap=True)


@contextmanager
def _desk(data: Path | None) -> Any:
    """Silences and acknowledgements, which rest in the control state: no server is needed, none is in the way."""
    from dropoff.alerts.starters import configured
    from dropoff.analyse.custom import registry
    from dropoff.dashboard.api.desk import Desk

    settings = settings_of(data=data)
    rules = {rule.name: rule.by for rule in configured(settings, registry(settings.metrics))}
    with control_of(data) as control:
        yield Desk(control, rules, settings.zone)


def _rules_of(path: Path | None) -> str | None:
    """The rules in a file as the parameter `rules`; where one is wrong, with its line."""
    if path is None:
        return None
    from dropoff.alerts.files import written
    from dropoff.alerts.rules import parse
    from dropoff.analyse.custom import registry

    settings = settings_of()
    raw, place = written(path)
    parse(raw, place, registry(settings.metrics), settings.funnels)
    return json.dumps(raw, separators=(",", ":"))
