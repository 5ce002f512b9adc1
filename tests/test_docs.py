"""The docs are complete, their links lead somewhere, and their examples run."""

import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import typer

from dropoff import events
from dropoff.analyse import troubles
from dropoff.cli import app
from dropoff.metrics import METRICS, Metric
from dropoff.project import funnels
from dropoff.project.custom import SIGNS
from dropoff.project.settings import Settings, load
from dropoff.query import DIMENSIONS
from servers import Server

ROOT = Path(__file__).parents[1]
DOCS = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "client/README.md"]
HERE = "http://127.0.0.1:8787"


def text(name: str) -> str:
    return (ROOT / name).read_text()


def rows(name: str) -> dict[str, str]:
    """The table rows of a page by the code of their first cell."""
    return {match[1]: match[0] for match in re.finditer(r"^\| `([^`]+)`.*$", text(name), re.MULTILINE)}


def commands() -> list[tuple[str, list[str]]]:
    """Each command with its options."""
    todo, found = [("dropoff", typer.main.get_command(app))], []
    while todo:
        name, command = todo.pop()
        inner = getattr(command, "commands", {})
        todo += [(f"{name} {word}", part) for word, part in inner.items()]
        if not inner:
            found.append((name, [o for p in command.params for o in p.opts if o.startswith("--") and o != "--help"]))
    return found


def blocks(name: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text(name), re.DOTALL)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path / "data") as running:
        yield running


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_documented(name: str):
    field, row = Settings.model_fields[name], rows("docs/operate.md")
    assert name in row
    assert field.description
    assert field.description in row[name]
    if isinstance(field.default, dict):
        assert all(f"{key} {value}" in row[name] for key, value in field.default.items())
    elif isinstance(field.default, list):
        assert all(f"`{value}`" in row[name] for value in field.default)
    else:
        shown = "none" if field.default is None else f"`{field.default}`"
        assert f"| {shown} |" in row[name]


def test_no_setting_is_documented_that_does_not_exist():
    table = text("docs/operate.md").partition("## Settings")[2].partition("## ")[0]
    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == set(Settings.model_fields)


@pytest.mark.parametrize(("command", "options"), commands())
def test_every_command_and_option_is_documented(command: str, options: list[str]):
    page = text("docs/cli.md")
    assert re.search(rf"\| `{command}( [A-Z]+)?` \|", page)
    assert [option for option in options if not re.search(rf"`[^`]*{option}\b(?!-)", page)] == []


def test_no_command_is_documented_that_does_not_exist():
    named = re.findall(r"^\| `(dropoff [a-z ]+?)(?: [A-Z]+)?` \|", text("docs/cli.md"), re.MULTILINE)
    assert sorted(named) == sorted(name for name, _ in commands())


@pytest.mark.parametrize("event_type", events.MEANING)
def test_every_event_type_and_its_properties_are_documented(event_type: str):
    row = rows("docs/events.md")[event_type]
    read = (*events.MEANING[event_type], *troubles.READ.get(event_type, ()))
    assert [name for name in read if f"`{name}`" not in row] == []


@pytest.mark.parametrize("alias", events.ALIASES)
def test_every_other_spelling_is_documented(alias: str):
    assert f"`{alias}`" in text("docs/events.md")


@pytest.mark.parametrize("reason", events.REASONS)
def test_every_refusal_is_documented(reason: str):
    said = rows("docs/events.md")[reason].replace("`", "").replace(",", "")
    assert events.REASONS[reason].replace("`", "").replace(",", "") in said


@pytest.mark.parametrize("field", events.Envelope.__struct_fields__)
def test_every_field_of_the_envelope_is_documented(field: str):
    table = text("docs/events.md").partition("## The envelope")[2].partition("## ")[0]
    assert f"`{field}`" in table


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_every_dimension_is_documented(dimension: str):
    assert f"`{dimension}`" in text("docs/cli.md")


@pytest.mark.parametrize("metric", METRICS.values(), ids=lambda metric: metric.name)
def test_every_metric_is_documented(metric: Metric):
    good = metric.good or "–"
    row = f"| `{metric.name}` | {metric.unit} | {metric.clock} | {good} | {metric.description} |"
    assert rows("docs/metrics.md")[metric.name] == row


def test_no_metric_is_documented_that_does_not_exist():
    table = text("docs/metrics.md").partition("| metric |")[2].partition("## ")[0]
    assert re.findall(r"^\| `(\w+)`", table, re.MULTILINE) == list(METRICS)


def test_the_metrics_of_the_example_are_taken():
    (example,) = blocks("docs/metrics.md", "toml")
    metrics = load(**tomllib.loads(example)).metrics
    assert [(name, metric.unit) for name, metric in metrics.items()] == [
        ("pro_share", "share"),
        ("large_orders", "count"),
    ]
    table = text("docs/metrics.md").partition("| condition |")[2]
    assert [sign for sign in SIGNS if f"`{sign}" not in table] == []


def test_the_funnels_of_the_examples_are_taken():
    (toml,), (example,) = blocks("docs/funnels.md", "toml"), blocks("docs/funnels.md", "json")
    given = load(**tomllib.loads(toml)).funnels
    assert {name: funnel.mode for name, funnel in given.items()} == {"fast_lane": "ordered", "seat_by_seat": "any"}
    assert funnels.parse_json(example).names == ("qualified", "meeting_booked")


@pytest.mark.parametrize("part", [funnels.Funnel, funnels.Step, funnels.Exclusion])
def test_every_key_of_a_funnel_is_documented(part: type[msgspec.Struct]):
    page = text("docs/funnels.md")
    assert [key for key in part.__struct_fields__ if f"`{key}`" not in page] == []
    assert [mode for mode in funnels.MODES if f"\n| `{mode}` |" not in page] == []


def test_the_rules_for_test_traffic_of_the_example_are_taken():
    (example,) = blocks("docs/operate.md", "toml")
    assert all(load(**tomllib.loads(example)).test)


@pytest.mark.parametrize("page", DOCS, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path):
    targets = re.findall(r"\]\(([^)#\s]+)", page.read_text())
    assert [t for t in targets if not t.startswith("http") and not (page.parent / t).exists()] == []


def test_the_tests_that_hold_the_invariants_exist():
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text("docs/architecture.md"))
    assert named
    assert [(file, test) for file, test in named if f"def {test}(" not in text(file)] == []


def test_every_folder_of_the_package_has_its_job_named():
    folders = [path.name for path in (ROOT / "src/dropoff").iterdir() if path.is_dir() and path.name != "__pycache__"]
    named = rows("docs/architecture.md")
    assert [folder for folder in folders if f"{folder}/" not in named] == []


def test_the_first_events_of_the_readme_arrive(server: Server):
    (python,), (curl,) = blocks("README.md", "python"), blocks("README.md", "sh")
    subprocess.run([sys.executable, "-c", python.replace(HERE, f"http://{server.address}")], check=True, timeout=60)
    assert _post(server, curl)["accepted"] == 1
    server.drain()
    found = server.get("/api/v1/conversations/abc123").json()
    assert (found["channel"], found["source"], found["message_count"]) == ("sms", "website_form", 1)


def test_the_example_of_the_door_is_answered_as_written(server: Server):
    (curl,), answers = blocks("docs/events.md", "sh"), blocks("docs/events.md", "json")
    assert _post(server, curl) == json.loads(answers[1])
    assert server.post(answers[0].encode()).json()["accepted"] == 1


def _post(server: Server, curl: str) -> dict:
    """What the door answers to the body of a curl command."""
    _, url, option, body = shlex.split(curl.replace("\\\n", " "))
    assert (url, option) == (f"{HERE}/v1/events", "--json")
    return server.post(body.encode(), Content_Type="application/json").json()
