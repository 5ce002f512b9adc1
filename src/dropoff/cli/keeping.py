"""Keys, and the events that were refused or could not be processed."""

import time
from datetime import UTC, datetime
from typing import Annotated

import typer

from dropoff.cli.answers import ask, connected, control_of, show, terminal, zone_of
from dropoff.cli.options import Data, Json

keys_app = typer.Typer(no_args_is_help=True, help="Keys that may send events, and tokens that may read.")


rejected_app = typer.Typer(no_args_is_help=True, help="Events that were refused, and why.")


dead_app = typer.Typer(no_args_is_help=True, help="Accepted events that could not be processed, and why.")


@keys_app.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="what it is for")],
    kind: Annotated[str, typer.Option(help="write: may send events; admin: may read pages and API")] = "write",
    data: Data = None,
) -> None:
    """Make a key and print its secret: this is the only time."""
    from dropoff.control import access

    with control_of(data, create=True) as control:
        print(access.create_key(control, name, kind, time.time()))  # noqa: T201 - the secret alone, for scripts


@keys_app.command("list")
def list_keys(data: Data = None, json: Json = False) -> None:
    """The keys there are, without their secrets."""
    from dropoff.control import access

    with control_of(data) as control:
        found = access.list_keys(control)
    rows = [
        {"name": k.name, "kind": k.kind, "created_at": datetime.fromtimestamp(k.created_at, UTC).isoformat()}
        for k in found
    ]
    show({"keys": rows}, json, terminal().keys, zone_of(data))


@keys_app.command("revoke")
def revoke_key(name: Annotated[str, typer.Argument(help="its name")], data: Data = None) -> None:
    """Forget a key. It stops working within two seconds."""
    from dropoff.control import access

    with control_of(data) as control:
        access.revoke_key(control, name)


@rejected_app.command("list")
def list_rejected(
    limit: Annotated[int, typer.Option(help="how many", min=1)] = 20, data: Data = None, json: Json = False
) -> None:
    """Refused events, the newest first, with the reason and what was sent."""
    show(ask(data, "rejected", {"limit": [str(limit)]}), json, terminal().rejected, zone_of(data))


@rejected_app.command("replay")
def replay_rejected(data: Data = None, json: Json = False) -> None:
    """Try all refused events again; those that pass now are taken and forgotten here."""
    from dropoff.jobs.importing import replay

    with connected(data) as connection:
        show(replay(connection), json, terminal().retried)


@dead_app.command("list")
def list_dead(
    limit: Annotated[int, typer.Option(help="how many", min=1)] = 20, data: Data = None, json: Json = False
) -> None:
    """Accepted events that could not be processed, the newest first, with the error."""
    with connected(data) as connection:
        show(connection.dead(limit), json, terminal().dead, zone_of(data))


@dead_app.command("replay")
def replay_dead(data: Data = None, json: Json = False) -> None:
    """Process all of them once more, as after an upgrade that mends the error; those that fail again come back."""
    with connected(data) as connection:
        show(connection.replay_dead(), json, terminal().replayed)
