"""`dropoff query`: a SELECT over the views and the rollups gives the numbers of the other surfaces."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dropoff.cli import app
from dropoff.errors import InvalidInput
from dropoff.metrics import METRICS
from dropoff.project.settings import load
from dropoff.server.engine import Engine
from worlds import booked, received, sent, started

EVENTS = [
    started(direction="outbound"), sent("hi", at=1), received("yes", at=2), booked(at=3),
    started(conversation_id="d", at=5), sent("hi", conversation_id="d", at=6),
    started(conversation_id="t", is_test=True),
]  # fmt: skip
FUNNEL = "SELECT count(*), count(responded_at), count(booked_at) FROM conversations"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("query")
    file = folder / "events.ndjson"
    file.write_text("\n".join(map(json.dumps, EVENTS)))
    assert CliRunner().invoke(app, ["import", str(file), "--data", str(folder / "data")]).exit_code == 0
    return folder / "data"


def test_a_select_gives_the_funnel_of_the_page(data: Path):
    printed = CliRunner().invoke(app, ["query", FUNNEL, "--data", str(data), "--json"])
    shown = CliRunner().invoke(
        app, ["funnel", "--from", "2024-01-15", "--to", "2024-01-16", "--data", str(data), "--json"]
    )
    counts = {s["stage"]: s["recorded"] for s in json.loads(shown.stdout)["stages"]}
    assert (
        json.loads(printed.stdout)["rows"]
        == [[counts["started"], counts["responded"], counts["booked"]]]
        == [[2, 1, 1]]
    )


def test_the_daily_table_gives_the_numbers_of_the_api(data: Path):
    with Engine(load(data=data)) as engine:
        engine.drain()
        period = {"from": ["2024-01-15"], "to": ["2024-01-16"]}
        shown = {m["metric"]: m for m in engine.analytics.metrics(period)["metrics"] if not m["segment"]}
        with pytest.raises(InvalidInput, match="without lone surrogates"):
            engine.analytics.query("SELECT '\ud800'")
        rows = engine.analytics.query("SELECT metric_name, value FROM metrics_daily WHERE segment = ''")["rows"]
    assert {name for name, _ in rows} <= {m.name for m in METRICS.values() if m.additive}
    assert len(rows) > 10
    for name, value in rows:
        assert shown[name]["value"] == value, name
