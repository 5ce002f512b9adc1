"""A server whose store is ClickHouse's engine: page, API and command line give the numbers of the embedded store."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from dropoff.connect import connect
from dropoff.demo import generate
from dropoff.settings import load
from servers import Server

QUESTIONS = ("funnel", "metrics", "dropoffs", "conversations")
END = datetime(2026, 6, 1, tzinfo=UTC)


def served(data: Path, *options: str) -> tuple[list[dict[str, Any]], str]:
    """What the command line gets through the server, which is what the API says; and the text of the funnel's page."""
    with Server(data, options=options) as server:
        events = b"\n".join(map(msgspec.json.encode, generate(60, 7, END)))
        assert server.post(events, Content_Type="application/x-ndjson").status == 202
        server.drain()
        with connect(load(data=data)) as connection:
            answers = [connection.ask(question, {}) | {"as_of": ""} for question in QUESTIONS]
        for question, answer in zip(QUESTIONS, answers, strict=True):
            assert server.get(f"/api/v1/{question}").json() | {"as_of": ""} == answer
        return answers, server.get("/").body.decode()


def test_every_surface_says_the_same_on_either_engine(tmp_path: Path):
    ours, page = served(tmp_path / "one", "--store", f"chdb://{tmp_path}/chdb")
    theirs, other = served(tmp_path / "two")
    assert ours[0]["stages"][0]["count"] > 0
    assert ours == theirs
    cells = [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", text, re.DOTALL) for text in (page, other)]
    assert cells[0] == cells[1] != []
