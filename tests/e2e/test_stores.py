"""Served with the engine of ClickHouse, and with NATS as well: all surfaces give the numbers of the embedded parts."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from brokers import NatsServer, name_of
from dropoff.demo import generate
from dropoff.project.settings import load
from dropoff.server.connect import connect
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


def assert_same(one: Any, other: Any, where: str) -> None:
    """Equal, but for the last digits of numbers that are no counts."""
    if isinstance(one, dict) and isinstance(other, dict):
        assert one.keys() == other.keys(), where
        for name in one:
            assert_same(one[name], other[name], f"{where}.{name}")
    elif isinstance(one, list) and isinstance(other, list):
        assert len(one) == len(other), where
        for i, pair in enumerate(zip(one, other, strict=True)):
            assert_same(*pair, f"{where}[{i}]")
    elif isinstance(one, float) and isinstance(other, float):
        assert one == pytest.approx(other, rel=1e-9, abs=1e-12), where
    else:
        assert one == other, where


@pytest.mark.parametrize(
    "queue", ["embedded", pytest.param("nats", marks=[pytest.mark.long, pytest.mark.timeout(900)])]
)
def test_every_surface_says_the_same_on_either_engine(tmp_path: Path, queue: str, nats: NatsServer):
    address = f"nats://{nats.address}/{name_of(tmp_path)}" if queue == "nats" else queue
    elsewhere = "--store", f"chdb://{tmp_path}/chdb", "--queue", address
    ours, page = served(tmp_path / "one", *elsewhere)
    theirs, other = served(tmp_path / "two")
    assert ours[0]["stages"][0]["count"] > 0
    for question, one, other_one in zip(QUESTIONS, ours, theirs, strict=True):
        assert_same(one, other_one, question)
    cells = [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", text, re.DOTALL) for text in (page, other)]
    assert cells[0] == cells[1] != []
