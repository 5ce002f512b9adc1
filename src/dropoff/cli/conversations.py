"""Conversations: lists, one of them, samples, saved filters."""

from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from dropoff.cli.answers import ask, builtins, connected, control_of, show, terminal, who, write, zone_of
from dropoff.cli.options import (
    AsOf,
    Cut,
    Data,
    Definition,
    From,
    Json,
    Mode,
    Name,
    Steps,
    Test,
    To,
    WhereOption,
    Zone,
    json_of,
    params_of,
)
from dropoff.errors import InvalidInput

conversations_app = typer.Typer(no_args_is_help=True, help="List conversations, or show one.")


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
    position: Annotated[int | None, typer.Option(help="with --message: which of the bot: 1 is first", min=1)] = None,
    trigger: Annotated[str | None, typer.Option(help="with a fallback that this triggered")] = None,
    utterance: Annotated[str | None, typer.Option(help="in which the bot did not understand this")] = None,
    error: Annotated[str | None, typer.Option(help="with an error of this kind")] = None,
    escalation: Annotated[str | None, typer.Option(help="handed to a human first for this reason")] = None,
    keyword: Annotated[str | None, typer.Option(help="that opted out first with this word")] = None,
    opted_out_after: Annotated[str | None, typer.Option(help="that opted out after this intent of the bot")] = None,
    health: Annotated[str | None, typer.Option(help="tied: whose path depends on a tie")] = None,
    metric: Annotated[str | None, typer.Option(help="those behind this metric's value")] = None,
    part: Annotated[str | None, typer.Option(help="with --metric: numerator, those that count, or denominator")] = None,
    currency: Annotated[str | None, typer.Option(help="with a metric of money: in this currency")] = None,
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
    given |= {"name": name, "definition": json_of(definition), "mode": mode}
    given |= {"experiment": experiment, "variant": variant, "goal": goal}
    given |= {"kind": kind, "group": group, "success": success, "cut": cut, "groups": groups, "steps": steps}
    given |= {"message": message, "position": position, "text": text, "intent": intent, "objection": objection}
    given |= {"outcome": outcome, "ending": ending, "status": status, "contact_id": contact_id, "id": id}
    given |= {"trigger": trigger, "utterance": utterance, "error": error, "escalation": escalation}
    given |= {"keyword": keyword, "opted_out_after": opted_out_after, "health": health}
    given |= {"metric": metric, "part": part, "currency": currency}
    params = params_of(start, end, timezone, where, include_test, as_of=as_of, repeats=repeats, **given)
    params |= {"pattern": pattern} if pattern else {}
    if csv and json:
        raise InvalidInput("csv", True, "left out with json")
    if csv:
        with connected(data) as connection:
            write(connection.export(params))
    else:
        show(ask(data, "conversations", params), json, terminal().conversations)
    if save is not None:  # what was answered can be asked again
        with _filters(data) as filters:
            filters.save(save, params, who())


@conversations_app.command("show")
def show_conversation(
    id: Annotated[str, typer.Argument(help="its id")],  # noqa: A002
    timezone: Zone = None,
    as_of: AsOf = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """One conversation: its facts, its messages, its events."""
    params = params_of(None, None, timezone, None, include_test=False, as_of=as_of)
    with connected(data) as connection:
        show(connection.conversation(id, params), json, terminal().conversation, zone_of(data, timezone))


@conversations_app.command("sample")
def sample_conversations(
    success: Annotated[str | None, typer.Option(help="the stage that is a success [booked]")] = None,
    limit: Annotated[int, typer.Option(help="so many of each group", min=1, max=20)] = 5,
    start: From = None, end: To = None, timezone: Zone = None, where: WhereOption = None, include_test: Test = False,
    as_of: AsOf = None, data: Data = None, json: Json = False,
) -> None:  # fmt: skip
    """A few to read: some that failed and some that succeeded, unlike one another."""
    params = params_of(start, end, timezone, where, include_test, as_of=as_of, success=success, limit=limit)
    show(ask(data, "sample", params), json, terminal().sample)


@conversations_app.command("filters")
def list_filters(
    remove: Annotated[str | None, typer.Option(help="remove the one with this name")] = None,
    data: Data = None, json: Json = False,
) -> None:  # fmt: skip
    """The saved filters of the list. One is saved by `conversations list … --save NAME`."""
    with _filters(data) as filters:
        if remove is not None:
            filters.remove(remove)
        show({"filters": builtins(filters.all())}, json, terminal().filters)


@contextmanager
def _filters(data: Path | None) -> Any:
    """Saved filters, which rest in the control state, too."""
    from dropoff.dashboard.api.filters import Filters

    with control_of(data) as control:
        yield Filters(control)
