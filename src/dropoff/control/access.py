"""Who may write events and who may read: keys, the admin token, logins. Secrets are shown once and kept as hashes."""

import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass

from dropoff.control.base import Control
from dropoff.errors import InvalidInput, NotFound, Unauthorized, Unavailable

WRITE = "write"
ADMIN = "admin"
KINDS = {WRITE: "may send events", ADMIN: "may read pages and API"}
SESSION_SECONDS = 14 * 86_400
COOKIE = "dropoff_session"
_PREFIX = {WRITE: "dw_", ADMIN: "da_"}
_KEYS, _SESSIONS = "key/", "session/"
_RELOAD_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Key:
    """What is known of a key, without its secret. `created_at` in seconds since the epoch."""

    name: str
    kind: str
    created_at: float


def create_key(control: Control, name: str, kind: str, now: float) -> str:
    """A new key; returns its secret, which is kept nowhere. 128 random bits: a plain SHA-256 keeps them safe."""
    if kind not in KINDS:
        raise InvalidInput("kind", kind, " or ".join(KINDS))
    if not name or len(name) > 64:
        raise InvalidInput("name", name, "a text of 1 to 64 characters")
    if any(key.name == name for key in list_keys(control)):
        raise InvalidInput("name", name, "a name that no other key has")
    secret = _PREFIX[kind] + secrets.token_hex(16)
    record = {"name": name, "kind": kind, "created_at": now}
    control.put(_KEYS + _hash(secret), json.dumps(record).encode(), 0)
    return secret


def list_keys(control: Control) -> list[Key]:
    """All keys, the oldest first."""
    found = [Key(**json.loads(entry.value)) for entry in control.list(_KEYS).values()]
    return sorted(found, key=lambda key: (key.created_at, key.name))


def revoke_key(control: Control, name: str) -> None:
    """Forget the key of that name; raises `NotFound`. All logins end, too: nobody knows by which key they were made."""
    for place, entry in control.list(_KEYS).items():
        if json.loads(entry.value)["name"] == name:
            control.delete(place)
            for session in control.list(_SESSIONS):
                control.delete(session)
            return
    raise NotFound(f"there is no key named {name!r}")


class Access:
    """Decides on requests. `local` is the token of this machine's own command line, of this run only.

    Without any key everything is open, where `may_be_open` (on loopback): elsewhere the last key revoked shuts the
    doors. Keys made by another process count within two seconds.
    """

    def __init__(
        self, control: Control, local: str, clock: Callable[[], float] = time.time, *, may_be_open: bool = True
    ) -> None:
        self._control = control
        self._local = _hash(local)
        self._may_be_open = may_be_open
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: dict[str, str] = {}
        self._loaded = float("-inf")
        self._known = False

    @property
    def in_memory(self) -> bool:
        """Whether a key is checked without asking the control state, which takes as long as that is busy."""
        return self._clock() - self._loaded <= _RELOAD_SECONDS

    @property
    def open(self) -> bool:
        """No key is configured, and none is needed."""
        return self._may_be_open and not self._by_hash()

    @property
    def run(self) -> str:
        """What tells this run of a server from any other one: public, and nothing follows from it."""
        return _hash(self._local)[:16]

    def may_write(self, authorization: str | None) -> bool:
        """Whether this `Authorization` header may send events."""
        return self._allows(authorization, WRITE)

    def may_read(self, authorization: str | None, session: str | None) -> bool:
        """Whether this header or session cookie may see pages and API."""
        return self._allows(authorization, ADMIN) or (session is not None and self._lasts(session))

    def login(self, token: str) -> str:
        """The value of a new session cookie; raises `Unauthorized` for an unknown token."""
        if self._by_hash().get(_hash(token)) != ADMIN:
            raise Unauthorized("this token is not known, or may not read")
        now, session = self._clock(), secrets.token_urlsafe(24)
        for place, entry in self._control.list(_SESSIONS).items():
            if json.loads(entry.value)["until"] <= now:
                self._control.delete(place)
        self._control.put(_session(session), json.dumps({"until": now + SESSION_SECONDS}).encode(), 0)
        return session

    def _allows(self, authorization: str | None, kind: str) -> bool:
        if self.open:
            return True
        scheme, _, secret = (authorization or "").partition(" ")
        hashed = _hash(secret.strip())
        return scheme.lower() == "bearer" and (hashed == self._local or self._by_hash().get(hashed) == kind)

    def _lasts(self, session: str) -> bool:
        found = self._control.get(_session(session))
        return found is not None and json.loads(found.value)["until"] > self._clock()

    def _by_hash(self) -> dict[str, str]:
        # While one asks the control state, and while that is away, what was known last counts.
        if not self.in_memory and self._lock.acquire(blocking=not self._known):
            try:
                if not self.in_memory:
                    with suppress(Unavailable) if self._known else nullcontext():
                        self._load()
                    self._loaded = self._clock()
            finally:
                self._lock.release()
        return self._keys

    def _load(self) -> None:
        entries = self._control.list(_KEYS)
        self._keys = {k.removeprefix(_KEYS): json.loads(e.value)["kind"] for k, e in entries.items()}
        self._known = True


def run_of(local: str) -> str:
    """`Access.run` of the server whose local token this is."""
    return _hash(_hash(local))[:16]


def _session(session: str) -> str:
    """Where a login is kept."""
    return _SESSIONS + _hash(session)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
