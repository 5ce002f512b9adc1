"""Control state in a key–value bucket of NATS JetStream, shared by all processes of an installation."""

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from dropoff.broker import LIST_SECONDS, Broker, Place
from dropoff.control.base import Versioned
from dropoff.errors import Conflict, InvalidInput

if TYPE_CHECKING:
    from nats.js.kv import KeyValue


class NatsControl:
    """A `Control` in the bucket `name`, which is made if it does not exist; a version is the bucket's revision.

    Every method raises `Unavailable` while NATS does not answer.
    """

    def __init__(self, place: Place, name: str, *, replicas: int = 1) -> None:
        self._broker = Broker(place)
        try:
            self._bucket: KeyValue = self._broker.call(self._broker.bucket(name, replicas))
        except BaseException:
            self._broker.close()
            raise

    def get(self, key: str) -> Versioned | None:
        """The value of `key`, or None."""
        from nats.js.errors import KeyNotFoundError

        try:
            entry = self._broker.call(self._bucket.get(_subject(key)))
        except KeyNotFoundError:
            return None
        return Versioned(entry.value or b"", entry.revision or 0)

    def put(self, key: str, value: bytes, version: int | None = None) -> int:
        """Store `value` and return its new version. Raises `Conflict` if `version` is not the present one."""
        from nats.js.errors import KeyWrongLastSequenceError

        subject = _subject(key)
        if version is None:
            return self._broker.call(self._bucket.put(subject, value))
        try:
            if version < 0:
                raise KeyWrongLastSequenceError
            change = self._bucket.update(subject, value, version) if version else self._bucket.create(subject, value)
            return self._broker.call(change)
        except KeyWrongLastSequenceError:
            raise Conflict(f"{key}: version is not {version}: somebody else changed it") from None

    def delete(self, key: str) -> None:
        """Remove `key`; it is fine if it does not exist."""
        self._broker.call(self._bucket.delete(_subject(key)))

    def list(self, prefix: str) -> Mapping[str, Versioned]:
        """All entries whose key begins with `prefix`, by key."""
        folder = prefix.rpartition("/")[0]
        keys = f"{_subject(folder)}.>" if folder else ">"
        found = self._broker.call(self._broker.entries(self._bucket, keys), LIST_SECONDS)
        rows = {_key(entry.key): Versioned(entry.value or b"", entry.revision or 0) for entry in found}
        return {key: rows[key] for key in sorted(rows) if key.startswith(prefix)}

    def lease(self, name: str, holder: str, seconds: float, now: float) -> bool:
        """Take or renew the lease `name` until `now + seconds`. False while another holder's lease is alive."""
        key = f"lease/{name}"
        while True:
            found = self.get(key)
            if found is not None:
                lease = json.loads(found.value)
                if lease["holder"] != holder and lease["until"] > now:
                    return False
            value = json.dumps({"holder": holder, "until": now + seconds}).encode()
            try:
                self.put(key, value, found.version if found else 0)
            except Conflict:
                continue  # somebody was faster: look who
            return True

    def close(self) -> None:
        """Close the connection. Idempotent."""
        self._broker.close()


def _subject(key: str) -> str:
    """A key as NATS takes it: `/` separates, so that a folder can be listed; what is not plain is written as `=xx`."""
    if not all(key.split("/")):
        raise InvalidInput("key", key, "a text whose parts between / are not empty")
    plain = re.sub(rb"[^A-Za-z0-9/_-]", lambda match: b"=%02x" % match[0][0], key.encode())
    return plain.decode().replace("/", ".")


def _key(subject: str) -> str:
    plain = subject.replace(".", "/").encode()
    return re.sub(rb"=([0-9a-f]{2})", lambda match: bytes([int(match[1], 16)]), plain).decode()
