"""The command `dropoff`. It asks the server that holds the data directory, or opens the directory itself."""

import sys

from rich.console import Console

# isort: off
# In the order in which --help shows them.
from dropoff.cli import running, dashboards, questions, comparisons, conversations, alerts, keeping

# isort: on
from dropoff.cli.options import app
from dropoff.errors import DropoffError, InvalidInput, NotFound, Unauthorized

__all__ = ["app", "dashboards", "main", "questions", "running"]

for commands, name, panel in (
    (conversations.conversations_app, "conversations", questions.PANEL),
    (comparisons.experiments_app, "experiments", comparisons.PANEL),
    (alerts.alerts_app, "alerts", "Watch"),
    (keeping.keys_app, "keys", "Keep"),
    (keeping.rejected_app, "rejected", "Keep"),
    (keeping.dead_app, "dead", "Keep"),
):
    app.add_typer(commands, name=name, rich_help_panel=panel)


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
