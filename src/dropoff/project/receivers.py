"""Who is told about alerts, as it stands in `[[receivers]]` of `dropoff.toml`. Secrets never leave this module as text
unless they are asked for by name."""

import base64
import binascii
import os
import re
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from dropoff.errors import InvalidInput, Missing

SIGNED = "whsec_"
"""How a secret of Standard Webhooks begins; the rest is base64 of 24 to 64 bytes."""


class Receiver(BaseModel):
    """One entry of `[[receivers]]`. `url` and `secret` may each stand here, in a file, or in an environment variable.

    `kind` webhook: `url` is http(s) and `secret` signs. apprise: `url` is one of Apprise, and is a secret itself.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: str
    kind: Literal["webhook", "apprise"] = "webhook"
    url: SecretStr | None = None
    url_file: Path | None = None
    url_env: str | None = None
    secret: SecretStr | None = None
    secret_file: Path | None = None
    secret_env: str | None = None
    timeout: float = Field(default=10, gt=0, le=60)

    @field_validator("name")
    @classmethod
    def _plain(cls, name: str) -> str:
        if not re.fullmatch(r"[a-z0-9_-]{1,64}", name):
            raise InvalidInput("name", name, "1 to 64 of a to z, 0 to 9, _ and -")
        return name

    @model_validator(mode="after")
    def _is_whole(self) -> "Receiver":
        self._one_of("url")
        if self.kind == "webhook":
            self._one_of("secret")
            if self.secret is not None:
                _check_secret("secret", self.secret.get_secret_value().strip())
        elif self.secret or self.secret_file or self.secret_env:
            raise InvalidInput("secret", "…", "left out: an address of Apprise holds its own")
        return self

    def _one_of(self, name: str) -> None:
        keys = (name, f"{name}_file", f"{name}_env")
        given = sum(getattr(self, key) is not None for key in keys)
        rule = f"given once: as one of {', '.join(keys)}"
        if given == 0:
            raise Missing(name, rule)
        if given > 1:
            raise InvalidInput(name, "…", rule)

    def address(self) -> str:
        """Where messages go: a secret. Raises `InvalidInput`, which does not show it."""
        url = self._read("url")
        if self.kind == "webhook":
            try:
                parts = urlsplit(url)
                is_usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
            except ValueError:
                is_usable = False
            if not is_usable or not url.isascii() or not url.isprintable() or " " in url:
                raise InvalidInput(f"receivers.{self.name}.url", "…", "an address https://… or http://…")
        return url

    def key(self) -> str:
        """What a webhook is signed with. Raises `InvalidInput`, which does not show it."""
        return _check_secret(f"receivers.{self.name}.secret", self._read("secret"))

    def shown(self) -> str:
        """Where messages go, without what could be a secret: `https://host/…`, `slack://…`."""
        parts = urlsplit(self.address())
        host = parts.hostname if self.kind == "webhook" else ""
        return f"{parts.scheme}://{host}/…" if host else f"{parts.scheme}://…"

    def masked(self, text: str) -> str:
        """`text` without this receiver's secrets, whole or in their parts."""
        for secret in sorted(self._parts(), key=len, reverse=True):
            text = text.replace(secret, "…")
        return text

    def _parts(self) -> set[str]:
        url = self.address()
        host = urlsplit(url).hostname or "" if self.kind == "webhook" else ""
        words = {url, *re.split(r"[/?&=:@,]+", url.partition("://")[2])}
        words |= {self.key(), self.key().removeprefix(SIGNED)} if self.kind == "webhook" else set()
        return {word for word in words if len(word) >= 4 and word not in (host, "webhook", "webhooks", "hooks")}

    def _read(self, name: str) -> str:
        given, file, variable = (getattr(self, name + end) for end in ("", "_file", "_env"))
        where = f"receivers.{self.name}.{name}"
        if given is not None:
            text = given.get_secret_value().strip()
        elif file is not None:
            try:
                text = file.read_text().strip()
            except (OSError, UnicodeDecodeError):
                raise InvalidInput(f"{where}_file", str(file), "a text file that can be read") from None
        else:
            text = os.environ.get(variable, "").strip()
            if not text:
                raise InvalidInput(f"{where}_env", variable, "an environment variable that is set")
        if not text:
            raise InvalidInput(where, "…", "a text that is not empty")
        return text


def _check_secret(name: str, secret: str) -> str:
    try:
        size = len(base64.b64decode(secret.removeprefix(SIGNED), validate=True))
    except (binascii.Error, ValueError):
        size = 0
    if not secret.startswith(SIGNED) or not 24 <= size <= 64:
        raise InvalidInput(name, "…", f"{SIGNED} and base64 of 24 to 64 bytes")
    return secret


def check_names(receivers: list[Receiver]) -> list[Receiver]:
    """Refuse two receivers of one name. Raises `InvalidInput`."""
    names = [receiver.name for receiver in receivers]
    for name in names:
        if names.count(name) > 1:
            raise InvalidInput("name", name, "another one: two receivers have this name")
    return receivers
