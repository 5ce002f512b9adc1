"""What an import says of what it refuses, and how refused events are sent again."""

import json
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any, cast

import pytest
from rich.console import Console

from dropoff.events import MAX_BODY_BYTES
from dropoff.jobs.importing import import_all, replay
from dropoff.project.settings import load
from dropoff.server.connect import Connection, connect
from worlds import event


def test_all_that_is_refused_is_counted_though_not_all_is_shown(tmp_path: Path):
    file, console = tmp_path / "events.ndjson", Console(file=StringIO(), width=200)
    good = json.dumps(event("x", 1))
    file.write_text("\n".join([good, *["{}"] * 300]))
    counts = import_all(load(data=tmp_path / "data"), [file], "auto", None, console)
    assert (counts["accepted"], counts["rejected"]) == (1, 300)
    told = cast(StringIO, console.file).getvalue().splitlines()
    assert [line.partition(": ")[0] for line in told[:-1]] == [f"{file}:{number}" for number in range(2, 22)]
    assert told[-1] == f"{file}: 280 more refused (dropoff rejected list)"


class Kept:
    """A connection to data in which these bodies were refused."""

    def __init__(self, bodies: Sequence[str], reason: str = "future_timestamp") -> None:
        self.reason = reason
        self.rejected = {f"{number}": body for number, body in enumerate(bodies)}
        self.sent: list[bytes] = []

    def ask(self, *_: object) -> dict[str, Any]:
        return {"rejected": [{"id": name, "reason": self.reason, "body": b} for name, b in self.rejected.items()]}

    def send(self, lines: bytes, _: str) -> dict[str, Any]:
        self.sent.append(lines)
        return {"accepted": lines.count(b"\n") + 1}

    def delete_rejected(self, ids: Sequence[str]) -> None:
        for name in ids:
            del self.rejected[name]

    def imported(self, _: str) -> dict[str, int]:
        return {"stored": sum(lines.count(b"\n") + 1 for lines in self.sent)}


def test_refused_events_are_sent_again_in_parts_that_the_door_takes():
    large = json.dumps(event("x", 1, properties={"a": "b" * 30_000}), indent=1)
    kept = Kept([*[large] * 700, "{}"])
    assert replay(cast(Connection, kept)) == {
        "read": 700, "accepted": 700, "duplicates": 0, "rejected": 0, "reasons": {}, "kept": 1,
    }  # fmt: skip
    assert max(map(len, kept.sent)) <= MAX_BODY_BYTES
    assert list(kept.rejected.values()) == ["{}"]


@pytest.mark.parametrize("reason", ["malformed", "too_large"])
def test_what_is_not_kept_as_it_came_is_not_sent_again(reason: str):
    mended = json.dumps(event("x", 1, properties={"content": "caf\ufffd"}))
    kept = Kept([mended], reason)
    assert (replay(cast(Connection, kept))["kept"], kept.sent) == (1, [])


def test_a_line_that_is_no_utf_8_stays_refused(tmp_path: Path):
    file, settings = tmp_path / "events.ndjson", load(data=tmp_path / "data")
    file.write_bytes(json.dumps(event("x", 1, properties={"content": "cafe"})).encode().replace(b"cafe", b"caf\xe9"))
    assert import_all(settings, [file], "auto", None, Console(file=StringIO()))["rejected"] == 1
    with connect(settings) as connection:
        assert replay(connection)["kept"] == 1
