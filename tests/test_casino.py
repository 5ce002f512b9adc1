"""1,030 negotiations through a mapping file: who accepted, and how content they were."""

import gzip
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from dropoff.analyse.metrics import answer
from dropoff.events import Receipt
from dropoff.intake import encode, read_events
from dropoff.metrics import named
from dropoff.periods import parse_period
from dropoff.query import Query
from dropoff.sources import load_mapping, open_source
from dropoff.store.base import Store
from worlds import RECEIVED, drain

SHARED = Path(os.environ.get("DROPOFF_SHARED", Path(__file__).parents[2] / "shared"))
FILES = sorted((SHARED / "data" / "casino").glob("*.json.gz"))
MAPPING = Path(__file__).parent / "data" / "casino.toml"
SCORES = {
    "Extremely dissatisfied": 1,
    "Slightly dissatisfied": 2,
    "Undecided": 3,
    "Slightly satisfied": 4,
    "Extremely satisfied": 5,
}

pytestmark = pytest.mark.skipif(not FILES, reason="the negotiations are not in $DROPOFF_SHARED/data/casino")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, engine: str) -> Iterator[Store]:
    payloads = []
    for file in FILES:
        with open_source(file, mapping=load_mapping(MAPPING)) as source:
            for chunk in source:
                intake = read_events(chunk.body, Receipt(RECEIVED, batch="casino"), ndjson=True)
                refused = [*intake.rejections, *chunk.refused]
                assert (refused, chunk.unused) == ([], 0)
                payloads.append(encode(intake.events))
    made = drain(tmp_path_factory.mktemp("casino"), payloads, engine=engine)
    yield made
    made.close()


@pytest.fixture(scope="module")
def dialogues() -> list[dict[str, Any]]:
    return [dialogue for file in FILES for dialogue in json.loads(gzip.decompress(file.read_bytes()))]


def asked(store: Store, *names: str) -> dict[str, dict[str, Any]]:
    query = Query(parse_period("2021-01-01", "2022-01-01", "UTC"), datetime(2023, 1, 1, tzinfo=UTC))
    return {row["metric"]: row for row in answer(store, query, named(names))["metrics"]}


def test_who_accepted_is_converted(store: Store, dialogues: list[dict[str, Any]]):
    last = [dialogue["chat_logs"][-1]["text"] for dialogue in dialogues]
    accepted = last.count("Accept-Deal")
    assert (len(last), accepted, last.count("Walk-Away")) == (1_030, 1_005, 25)
    outcomes = dict(store.select("SELECT outcome, count(*) FROM conversations GROUP BY 1").rows)
    assert outcomes == {"converted": 1_005, "lost": 25}
    found = asked(store, "conversations_started", "win_rate", "deals_closed")
    assert found["conversations_started"]["value"] == 1_030
    assert (found["win_rate"]["numerator"], found["win_rate"]["denominator"]) == (1_005, 1_030)
    assert found["deals_closed"]["value"] == 1_005


def test_satisfaction_becomes_csat(store: Store, dialogues: list[dict[str, Any]]):
    said = [d["participant_info"]["mturk_agent_2"]["outcomes"]["satisfaction"] for d in dialogues]
    expected = sum(Fraction(SCORES[word] - 1, 4) for word in said)
    row = asked(store, "csat")["csat"]
    assert (Fraction(row["numerator"]), row["denominator"]) == (expected, 1_030)
    assert row["value"] == pytest.approx(float(expected / 1_030), rel=1e-9)


def test_every_message_is_counted(store: Store, dialogues: list[dict[str, Any]]):
    sides = [message["id"] for dialogue in dialogues for message in dialogue["chat_logs"]]
    found = asked(store, "bot_messages", "human_messages", "messages_per_conversation")
    assert found["bot_messages"]["value"] == sides.count("mturk_agent_1")
    assert found["human_messages"]["value"] == sides.count("mturk_agent_2")
    assert found["messages_per_conversation"]["numerator"] == len(sides)
