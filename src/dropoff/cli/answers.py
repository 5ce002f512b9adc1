"""Asking, and printing what was answered."""

import json
import sys
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

_UNSAFE = (0x7F, *range(0x80, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_ESCAPES = {code: f"\\u{code:04x}" for code in (*_UNSAFE, *range(0xD800, 0xE000))}


def who() -> str:
    """Who sits at this command line, if that can be told."""
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""


def builtins(value: Any) -> Any:
    import msgspec

    return msgspec.to_builtins(value)


def settings_of(**given: Any) -> Any:
    from dropoff.project.settings import load

    return load(**given)


def connected(data: Path | None) -> Any:
    from dropoff.server.connect import connect

    return connect(settings_of(data=data))


def control_of(data: Path | None, *, create: bool = False) -> Any:
    from contextlib import closing

    from dropoff.server.connect import check_data
    from dropoff.server.parts import EMBEDDED, control_address, open_control

    settings = settings_of(data=data)
    if control_address(settings) == EMBEDDED and not create:
        check_data(settings)
    return closing(open_control(settings))


def terminal() -> Any:
    from dropoff import terminal

    return terminal


def ask(data: Path | None, question: str, params: Mapping[str, list[str]]) -> dict[str, Any]:
    with connected(data) as connection:
        return connection.ask(question, params)


def write(chunks: Iterable[bytes]) -> None:
    """Bytes as they are to a file or a pipe; a terminal would obey the control characters among them."""
    from dropoff.terminal import plain

    decode = getincrementaldecoder("utf-8")("replace").decode  # a chunk may end in the middle of a character
    for chunk in chunks:
        sys.stdout.buffer.write(plain(decode(chunk)).encode() if sys.stdout.isatty() else chunk)
    sys.stdout.buffer.flush()


def zone_of(data: Path | None, timezone: str | None = None) -> str:
    """The zone in which times are shown: the one asked for, else the project's."""
    return timezone or settings_of(data=data).timezone


def show(
    answer: Mapping[str, Any], as_json: bool, form: Callable[[Mapping[str, Any], Console], None], zone: str = "UTC"
) -> None:
    """Print an answer; `zone` is that of the times in a table of one that names none."""
    if as_json:
        # JSON itself escapes the control characters below 0x20; a terminal obeys these, too.
        print(json.dumps(answer, ensure_ascii=False).translate(_ESCAPES))  # noqa: T201 - the answer is the output
    else:
        form({"timezone": zone, **answer}, terminal().output())
