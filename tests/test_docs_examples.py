"""What the docs show is what works: their commands are run, their settings are taken, their site is built."""

import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer
from typer.core import TyperGroup
from typer.testing import CliRunner

from dropoff.cli import app
from dropoff.demo import generate
from dropoff.project.settings import Settings, load
from dropoff.sources.mapping import parse_mapping

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
END = datetime(2026, 6, 1, tzinfo=UTC)
REHEARSED = "tests"
"""A made time line of alerts, which a test of its own plays."""
ASKED_OF_A_STORE = {
    "cohorts", "conversations", "dropoffs", "executive", "experiments", "explain", "funnel", "messages", "metrics",
    "operations", "optimization", "patterns", "query", "segments", "trend",
}  # fmt: skip
"""Commands that only read. Of all others it is checked that they would be understood."""


def commands() -> list[str]:
    """Every line of the docs that is a command, without its remark."""
    found = (re.findall(r"^    (dropoff .*?)(?:\s{2,}#.*)?$", page.read_text(), re.MULTILINE) for page in PAGES)
    return sorted({line for lines in found for line in lines})


def blocks(language: str) -> list[Any]:
    """Every block in a language, by its page and place."""
    return [
        pytest.param(text, id=f"{page.stem}-{place}")
        for page in PAGES
        for place, text in enumerate(re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL))
    ]


def understood(words: list[str]) -> None:
    """Raises where a command or an option is unknown, or a value is of the wrong kind."""
    command: Any = typer.main.get_command(app)
    while isinstance(command, TyperGroup):
        with command.make_context("dropoff", list(words)) as context:
            _, inner, words = command.resolve_command(context, words)
        assert inner is not None
        command = inner
    command.make_context("dropoff", list(words))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with data of the demo, and the funnel and settings that the docs speak of."""
    home = tmp_path_factory.mktemp("project")
    settings = next(text for (text,) in (block.values for block in blocks("toml")) if "[funnels" in text)
    (home / "dropoff.toml").write_text(settings)
    (home / "fast.toml").write_text(settings.split("\n\n")[0].partition("\n")[2])
    events = home / "events.ndjson"
    events.write_bytes(b"\n".join(map(msgspec.json.encode, generate(400, 7, END))))
    assert CliRunner().invoke(app, ["import", str(events), "--data", str(home / "dropoff-data")]).exit_code == 0
    return home


@pytest.mark.parametrize("line", commands())
def test_a_command_of_the_docs_works(line: str, project: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(project)
    words = shlex.split(line.partition(" > ")[0])[1:]
    if words[0] not in ASKED_OF_A_STORE or words[:2] == ["conversations", "show"] or "--remove" in words:
        understood(words)
        return
    ran = CliRunner().invoke(app, words, catch_exceptions=False)
    assert ran.exit_code == 0, ran.output


@pytest.mark.parametrize("block", blocks("toml"))
def test_settings_of_the_docs_are_taken(block: str):
    given = tomllib.loads(block)
    if REHEARSED in given:
        return
    if given.keys() <= Settings.model_fields.keys():
        assert load(**given) is not None
    else:
        assert parse_mapping(block) is not None


@pytest.mark.parametrize("block", [block for block in blocks("python") if not str(block.id).startswith("README")])
def test_python_of_the_docs_runs(block: str):
    """That of the README, which needs a server, is run in `test_docs.py`."""
    names: dict[str, Any] = {}
    exec(block, names)
    assert names["Polite"]().label(["yes please", "no"]) == [("thanks", None, 0.5), (None, None, None)]


def test_the_reference_of_the_api_is_that_of_the_code():
    """`make docs` renews it."""
    made = runpy.run_path(str(ROOT / "docs/reference.py"))["reference"]()
    assert (ROOT / "docs/api.md").read_text() == made


def test_the_site_is_built_whole_and_asks_nobody(tmp_path: Path):
    """A page without a place in the contents, and a link that leads nowhere, are warnings; here they are errors."""
    build = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", str(ROOT / "docs"), str(tmp_path / "site")]
    subprocess.run(build, check=True, timeout=240)
    pages = list((tmp_path / "site").rglob("*.html"))
    asked = [
        found
        for page in pages
        for found in re.findall(r'(?:src|<link[^>]*href)="(?:https?:)?//[^"]*', page.read_text())
    ]
    assert len(pages) > 20
    assert asked == []
