"""Which installation this is."""

import secrets
from contextlib import suppress

from dropoff.control.base import Control
from dropoff.errors import Conflict

_KEY = "identity"


def identity(control: Control) -> str:
    """The random name of an installation, by which what belongs to it is known again."""
    with suppress(Conflict):
        control.put(_KEY, secrets.token_hex(16).encode(), 0)
    found = control.get(_KEY)
    assert found is not None  # noqa: S101
    return found.value.decode()
