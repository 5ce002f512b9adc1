"""Control state that is not analytics: keys, sessions, leases, and later the states of alert rules and silences."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol


class Versioned(NamedTuple):
    """A value and the version to give back when replacing it."""

    value: bytes
    version: int


class Control(Protocol):
    """A small, durable, versioned key–value map. Every method is atomic across threads and processes."""

    def get(self, key: str) -> Versioned | None:
        """The value of `key`, or None."""
        ...

    def put(self, key: str, value: bytes, version: int | None = None) -> int:
        """Store `value` and return its new version, durably.

        `version` is what `get` gave (0: the key must not exist yet; None: whatever is there); any other raises
        `Conflict` and changes nothing.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove `key`; it is fine if it does not exist."""
        ...

    def list(self, prefix: str) -> Mapping[str, Versioned]:
        """All entries whose key begins with `prefix`, by key."""
        ...

    def lease(self, name: str, holder: str, seconds: float, now: float) -> bool:
        """Take or renew the lease `name` until `now + seconds`. False while another holder's lease is alive."""
        ...

    def close(self) -> None:
        """Close. Idempotent."""
        ...
