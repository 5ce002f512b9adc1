"""The deploy files name only what Dropoff, its lock and each other have. docs/deploy.md says what else was checked."""

import importlib.util
import re
import tomllib
from importlib.metadata import distribution
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from dropoff.cli import app
from dropoff.project.settings import Settings
from dropoff.server.app import Guard

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
CHART = ROOT / "deploy/helm/dropoff"
TEMPLATES = {path.name: path.read_text() for path in sorted((CHART / "templates").iterdir())}
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
COMPOSE = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())
DROPOFF = {name: service for name, service in COMPOSE["services"].items() if "build" in service}
DEPLOY_FILES = [ROOT / "Dockerfile", *(path for path in (ROOT / "deploy").rglob("*") if path.is_file())]
ROLES = ("ingest", "worker", "web")


def options(command: str) -> list[str]:
    """The options of a command."""
    found = typer.main.get_command(app).commands[command]  # type: ignore[attr-defined]
    return [option for parameter in found.params for option in parameter.opts]


def variables(text: str) -> set[str]:
    """The environment variables of Dropoff that a text names."""
    return set(re.findall(r"\bDROPOFF_([A-Z][A-Z_]*)\b", text))


@pytest.mark.parametrize("path", DEPLOY_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_settings_that_exist_are_named(path: Path):
    known = {name.upper() for name in Settings.model_fields}
    assert variables(path.read_text()) <= known


@pytest.mark.parametrize("role", ROLES)
def test_every_role_is_started_with_options_that_exist(role: str):
    command, *words = DROPOFF[role]["command"]
    assert (command, words) == ("serve", ["--role", role])
    assert "--role" in options("serve")
    assert "args: [serve, --role, {{ $role }}]" in TEMPLATES["roles.yaml"]
    assert 'list "ingest" "worker" "web"' in TEMPLATES["roles.yaml"]
    assert role in str(Settings.model_fields["role"].annotation)


# The image


def subset() -> ModuleType:
    spec = importlib.util.spec_from_file_location("subset", ROOT / "deploy/subset.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def closure(roots: list[str]) -> set[str]:
    """What is installed with these requirements on this machine."""
    found: dict[str, set[str]] = {}
    todo = [Requirement(root) for root in roots]
    while todo:
        one = todo.pop()
        name = canonicalize_name(one.name)
        new = {"", *one.extras} - found.get(name, set())
        if new:
            found.setdefault(name, set()).update(new)
            needs = map(Requirement, distribution(name).requires or ())
            todo += [n for n in needs if n.marker is None or any(n.marker.evaluate({"extra": e}) for e in new)]
    return set(found)


def test_the_image_has_what_dropoff_and_its_extras_need_and_nothing_else():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = [need for needs in project["project"]["optional-dependencies"].values() for need in needs]
    cut = subset()
    lists = {name: cut.names((ROOT / f"deploy/{name}.txt").read_text()) for name in ("runtime", "build")}
    assert set(lists["runtime"]) == closure([*project["project"]["dependencies"], *extras])
    assert set(lists["build"]) == closure(project["build-system"]["requires"])


def test_a_subset_of_the_lock_has_whole_entries_with_hashes():
    cut, lock = subset(), (ROOT / "requirements.lock").read_text()
    there = cut.entries(lock)
    assert "".join(there[name] for name in sorted(there)) != ""
    assert sum(map(len, there.values())) == len(lock)
    assert all("==" in entry and "--hash=sha256:" in entry for entry in there.values())
    assert there["numpy"].count("numpy==") == 2  # one for each range of Python versions
    assert cut.subset(lock, "msgspec # a comment\n\nrich\n") == there["msgspec"] + there["rich"]
    with pytest.raises(KeyError, match="no-such"):
        cut.subset(lock, "no-such")


def test_all_that_the_image_copies_exists_and_is_let_through():
    let = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copied = [
        word for line in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE) for word in line.split()
    ]
    assert copied
    for path in copied:
        assert (ROOT / path).exists(), path
        assert any(path == one or path.startswith(f"{one}/") for one in let), path


def test_the_image_runs_as_nobody_in_particular_and_says_how_it_is():
    assert re.findall(r"^USER (.*)$", DOCKERFILE, re.MULTILINE) == ["10001:10001"]
    assert re.findall(r"^VOLUME (.*)$", DOCKERFILE, re.MULTILINE) == ["/data"]
    assert re.findall(r"^ENTRYPOINT (.*)$", DOCKERFILE, re.MULTILINE) == ['["dropoff"]']
    assert "http://127.0.0.1:8787/healthz" in DOCKERFILE
    assert f"EXPOSE {Settings.model_fields['port'].default}\n" in DOCKERFILE
    assert DOCKERFILE.count("--require-hashes") == DOCKERFILE.count("pip install") - 1  # the wheel itself
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == project["version"]
    assert {service["image"] for service in DROPOFF.values()} == {f"dropoff:{project['version']}"}


# Compose


def test_compose_publishes_on_the_loopback_alone():
    published = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]
    assert published == ["127.0.0.1:8787:8787", "127.0.0.1:8788:8787"]


def test_every_service_is_bounded_checked_and_restarted():
    for name, service in COMPOSE["services"].items():
        assert service["restart"] == "unless-stopped", name
        assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}, name
        # Dropoff's own check stands in the image.
        assert "healthcheck" in service or name in DROPOFF, name
        for other, how in service.get("depends_on", {}).items():
            assert "healthcheck" in COMPOSE["services"][other]
            assert how == {"condition": "service_healthy"}
    assert COMPOSE["services"]["worker"]["deploy"]["replicas"] == 2
    assert all(service["user"] == "10001:10001" and service["read_only"] for service in DROPOFF.values())


def test_compose_names_only_what_it_defines():
    for name, service in COMPOSE["services"].items():
        assert set(service.get("secrets", ())) <= COMPOSE["secrets"].keys(), name
        assert {volume.partition(":")[0] for volume in service.get("volumes", ())} <= COMPOSE["volumes"].keys(), name
        assert {config["source"] for config in service.get("configs", ())} <= COMPOSE["configs"].keys(), name
        for variable, value in service.get("environment", {}).items():
            for secret in re.findall(r"/run/secrets/(\w+)", str(value)):
                assert secret in service["secrets"], (name, variable)
            for host in re.findall(r"@(\w+):", str(value)):
                assert host in COMPOSE["services"], (name, variable)
    assert (ROOT / "deploy" / COMPOSE["configs"]["nats"]["file"]).exists()
    assert not (ROOT / "deploy/secrets").exists()


def test_no_password_is_written_down():
    for path in DEPLOY_FILES:
        assert not re.search(r"\w+://[^/\s@]*:[^/\s@]+@", path.read_text()), path


# The chart


def used(text: str) -> set[tuple[str, ...]]:
    """The paths of values that a template names."""
    return {tuple(path.split(".")) for path in re.findall(r"\.Values\.([\w.]+)", text)}


def found(path: tuple[str, ...]) -> Any:
    value: Any = VALUES
    for name in path:
        assert isinstance(value, dict), path
        assert name in value, path
        value = value[name]
    return value


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_value_that_a_template_uses_exists(name: str):
    for path in used(TEMPLATES[name]):
        found(path)


def test_every_value_is_used():
    everywhere = {path for text in TEMPLATES.values() for path in used(text)}
    # `$part` is the role's own table.
    everywhere |= {(role, field) for role in ROLES for field in re.findall(r"\$part\.(\w+)", TEMPLATES["roles.yaml"])}

    def leaves(value: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
        if isinstance(value, dict) and value:
            return [leaf for name, inner in value.items() for leaf in leaves(inner, (*path, name))]
        return [path]

    unused = [path for path in leaves(VALUES) if not any(path[: len(one)] == one for one in everywhere)]
    assert unused == []


def test_every_role_has_what_the_templates_ask_of_it():
    needed = set(re.findall(r"\$part\.(\w+)", TEMPLATES["roles.yaml"])) - {"host"}
    assert all(needed <= VALUES[role].keys() for role in ROLES)
    assert {VALUES[role]["port"] for role in ROLES} == {Settings.model_fields["port"].default}


def test_settings_of_the_chart_are_settings():
    assert VALUES["settings"].keys() <= Settings.model_fields.keys()


def test_every_include_is_defined():
    defined = re.findall(r'define "([\w.]+)"', TEMPLATES["_helpers.tpl"])
    for name, text in TEMPLATES.items():
        assert set(re.findall(r'include "([\w.]+)"', text)) <= set(defined), name
        opened = len(re.findall(r"{{-? *(?:if|range|with|define)\b", text))
        assert opened == len(re.findall(r"{{-? *end *-?}}", text)), name


def test_probes_ask_what_the_server_answers_without_a_login():
    asked = set(re.findall(r'"path" "(/\w+)"', TEMPLATES["roles.yaml"]))
    assert asked == {"/healthz", "/readyz"}
    assert asked <= set(Guard.OPEN)
    assert "127.0.0.1" in Guard.LOOPBACK


def test_pods_have_no_rights_they_do_not_need():
    assert "runAsNonRoot: true" in TEMPLATES["_helpers.tpl"]
    assert "readOnlyRootFilesystem: true" in TEMPLATES["_helpers.tpl"]
    for name in ("roles.yaml", "nats.yaml"):
        assert 'include "dropoff.podSecurity"' in TEMPLATES[name]
        assert 'include "dropoff.containerSecurity"' in TEMPLATES[name]
    assert VALUES["ingress"]["enabled"] is False
    assert all(
        "automountServiceAccountToken: false" in TEMPLATES[n] for n in ("roles.yaml", "nats.yaml", "clickhouse.yaml")
    )
