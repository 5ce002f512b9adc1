"""`as_of` on every surface: the same answer, and the one that was given then."""

import json
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from dropoff.cli import app
from dropoff.project.settings import load
from dropoff.server.engine import Engine
from sites import Site
from worlds import Dict, attended, booked, lost, payload, received, sent, started, won

EARLIER = [
    started(contact_id="p"), sent("hi", at=1), received("yes", at=2), booked(at=3, meeting_id="m"),
    attended(at=30, conversation_id=None, contact_id="p", meeting_id="m"),
    won(at=60, conversation_id=None, contact_id="p", deal_id="x", amount="10", currency="EUR"),
    started(conversation_id="d", at=61), sent("hi", conversation_id="d", at=62),
]  # fmt: skip
LATER = [
    received("hello", conversation_id="d", at=1500),
    lost(at=1510, conversation_id=None, contact_id="p", deal_id="x"),
    started(conversation_id="e", at=1520),
]
THEN = {"as_of": "2024-01-16T00:00:00Z"}
QUESTIONS = (
    ("funnel", {}),
    ("funnel", {"definition": '{"steps": [{"event": "conversation_started"}, {"event": "message_received"}]}'}),
    ("dropoffs", {}),
    ("metrics", {}),
    ("trend", {"metric": "response_rate", "interval": "hour"}),
    ("conversations", {}),
    ("conversations", {"definition": '{"steps": [{"event": "message_sent"}, {"event": "message_received"}]}'}),
)


class Surfaces:
    """One data directory, asked through the API and as pages."""

    def __init__(self, data: Path, events: list[Dict], store: str) -> None:
        self.engine = Engine(load(data=data, store=store))
        self.engine.__enter__()
        self.engine.queue.append(payload(events), len(events)).result()
        self.engine.drain()
        self._site = Site(self.engine)

    def get(self, path: str, **params: str) -> httpx.Response:
        return self._site("GET", path, params=params)

    def close(self) -> None:
        self.engine.__exit__()


def address(engine: str, directory: Path) -> str:
    return "embedded" if engine == "duckdb" else f"chdb://memory?database={directory.name.replace('-', '_')}"


@pytest.fixture
def now(engine: str, tmp_path: Path):
    surfaces = Surfaces(tmp_path / "now", EARLIER + LATER, address(engine, tmp_path))
    yield surfaces
    surfaces.close()


@pytest.fixture
def then(tmp_path: Path):
    surfaces = Surfaces(tmp_path / "then", EARLIER, "embedded")
    yield surfaces
    surfaces.close()


def test_every_answer_is_the_one_that_only_the_earlier_events_give(now: Surfaces, then: Surfaces):
    for question, asked in QUESTIONS:
        path = f"/api/v1/{question}"
        found = now.get(path, **asked, **THEN).json()
        assert found == then.get(path, **asked, **THEN).json(), question
        assert found["as_of"] == THEN["as_of"]
        assert found["period"]["to"] == "2024-01-16T00:00:00+00:00"
        assert found != now.get(path, **asked).json() | {"as_of": found["as_of"]}, question


def test_a_conversation_is_shown_as_it_was(now: Surfaces):
    known, today = (now.get("/api/v1/conversations/d", **given).json() for given in (THEN, {}))
    assert [c["stage"] for c in (known, today)] == ["started", "responded"]
    assert [len(c["messages"]) for c in (known, today)] == [1, 2]
    assert now.get("/api/v1/conversations/e", **THEN).status_code == 404
    converted = [now.get("/api/v1/conversations/c", **given).json()["outcome"] for given in (THEN, {})]
    assert converted == ["converted", "lost"]


@pytest.mark.parametrize(
    "given",
    [
        "2999-01-01",
        "2999-01-01T00:00:00Z",
        "yesterday",
        "2024-01-16T00:00:00",
        "2024-13-01",
        "0001-01-01",
        "0001-01-01T00:00:00+05:00",
    ],
)
def test_what_is_no_moment_of_the_past_is_refused(then: Surfaces, given: str):
    answer = then.get("/api/v1/funnel", as_of=given)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_input")
    page = then.get("/", as_of=given)
    assert page.status_code == 400
    assert f'value="{given}" aria-invalid="true"' in page.text


def test_a_day_begins_at_midnight_of_the_zone(then: Surfaces):
    answer = then.get("/api/v1/funnel", as_of="2024-01-16", timezone="Asia/Kolkata").json()
    assert answer["as_of"] == "2024-01-15T18:30:00Z"


def test_pages_say_so_and_keep_it_from_one_to_the_next(now: Surfaces):
    for path in ("/", "/trends", "/conversations"):
        page = now.get(path, **THEN).text
        assert "As known on <strong>2024-01-16T00:00:00Z</strong>" in page
        assert 'href="/conversations?as_of=2024-01-16T00:00:00Z"' in page
        assert f'<a href="{path}">Back to now</a>' in page
        assert "As known on" not in now.get(path).text
    listed = now.get("/conversations", **THEN).text
    assert 'href="/conversations/d?as_of=2024-01-16T00:00:00Z"' in listed
    assert "/conversations/e" not in listed
    shown = now.get("/conversations/d", **THEN).text
    assert 'href="/conversations/d">Back to now' in shown
    assert "hello" not in shown


def test_the_command_line_gives_the_answer_of_the_api(tmp_path: Path):
    surfaces = Surfaces(tmp_path / "now", EARLIER + LATER, "embedded")
    questions = {"funnel": {}, "dropoffs": {}, "metrics": {}, "trend response_rate": {"metric": "response_rate"}}
    paths = {words: f"/api/v1/{words.partition(' ')[0]}" for words in questions}
    expected = {words: surfaces.get(paths[words], **asked, **THEN).json() for words, asked in questions.items()}
    expected["conversations list"] = surfaces.get("/api/v1/conversations", **THEN).json()
    expected["conversations show d"] = surfaces.get("/api/v1/conversations/d", **THEN).json()
    surfaces.close()
    for words, answer in expected.items():
        options = ["--as-of", THEN["as_of"], "--json", "--data", str(tmp_path / "now")]
        run = CliRunner().invoke(app, [*words.split(), *options])
        assert json.loads(run.stdout) == answer, words
