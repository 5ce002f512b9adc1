"""Receivers in the settings: what is refused, and that no secret is told."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from dropoff.errors import InvalidInput
from dropoff.project.receivers import Receiver
from dropoff.project.settings import load
from dropoff.server.parts import open_notifier

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
URL = "https://hooks.example/services/T0ABCDEF/secretpath"
HOOK = {"name": "ops", "url": URL, "secret": SECRET}


def receiver(**changes: Any) -> Receiver:
    (made,) = load(receivers=[{**HOOK, **changes}]).receivers
    return made


def test_a_webhook_and_an_address_of_apprise_are_taken():
    chat = {"name": "team", "kind": "apprise", "url": "slack://TokenA/TokenB/TokenC/#sales"}
    first, second = load(receivers=[HOOK, chat]).receivers
    assert (first.kind, first.address(), first.key(), first.timeout) == ("webhook", URL, SECRET, 10)
    assert (second.kind, second.shown()) == ("apprise", "slack://…")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"name": "Ops Team"}, r"name == 'Ops Team', must be 1 to 64 of a to z"),
        ({"kind": "pigeon"}, r"receivers\[0\].kind == '…', must be 'webhook' or 'apprise'"),
        (
            {"secret": None},
            r"receivers\[0\] \(ops\): secret is missing: it must be given once: as one of secret, secret_f",
        ),
        ({"url": None}, r"receivers\[0\] \(ops\): url is missing: it must be given once"),
        ({"secret": "hush"}, r"receivers\[0\] \(ops\): secret == '…', must be whsec_ and base64 of 24 to 64 bytes"),
        ({"url_env": "X"}, r"receivers\[0\] \(ops\): url == '…', must be given once"),
        ({"kind": "apprise"}, r"\(ops\): secret == '…', must be left out"),
        ({"timeout": 0}, r"timeout == '…', must be greater than 0"),
        ({"secrett": SECRET}, r"unknown setting 'secrett' in dropoff.toml: receivers\[0\]: did you mean secret\?"),
        ({"url": 5}, r"receivers\[0\].url == '…'"),
        ({"url": ["https://x/secretpath"]}, r"receivers\[0\].url == '…'"),
    ],
)
def test_what_is_wrong_is_named_without_what_stands_there(given: dict[str, Any], said: str):
    with pytest.raises(InvalidInput, match=said) as caught:
        load(receivers=[{**HOOK, **given}])
    for secret in ("secretpath", "hush", SECRET):
        assert secret not in str(caught.value)


def test_two_of_one_name_are_refused():
    with pytest.raises(InvalidInput, match="name == 'ops', must be another one"):
        load(receivers=[HOOK, HOOK])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"url": "ftp://host/x"}, r"receivers.ops.url == '…', must be an address https://"),
        ({"url": "https:///secretpath"}, r"receivers.ops.url"),
        ({"url": "https://host:port/x"}, r"receivers.ops.url"),
        ({"url": "https://host/a b"}, r"receivers.ops.url"),
        ({"url": "https://host/x\r\nHost: y"}, r"receivers.ops.url"),
        ({"secret": None, "secret_env": "DROPOFF_NO_SUCH"}, r"receivers.ops.secret_env == 'DROPOFF_NO_SUCH'"),
        ({"url": None, "url_file": "/no/such/file"}, r"receivers.ops.url_file == '/no/such/file'"),
    ],
)
def test_a_receiver_that_cannot_be_told_is_refused_when_it_is_opened(changes: dict[str, Any], said: str):
    with pytest.raises(InvalidInput, match=said) as caught:
        open_notifier(receiver(**changes))
    assert "hunter2" not in str(caught.value)


def test_secrets_come_from_a_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    monkeypatch.setenv("OPS_URL", URL)
    made = receiver(secret=None, secret_file=str(tmp_path / "secret"), url=None, url_env="OPS_URL")
    assert (made.key(), made.address()) == (SECRET, URL)
    open_notifier(made)
    (tmp_path / "secret").write_text("hunter2hunter2")
    with pytest.raises(InvalidInput, match=r"receivers.ops.secret == '…', must be whsec_ and base64") as caught:
        open_notifier(made)
    assert "hunter2" not in str(caught.value)


def test_the_command_of_the_documentation_makes_a_secret():
    text = (Path(__file__).parents[2] / "docs/notifications.md").read_text()
    (command,) = [line.strip() for line in text.splitlines() if line.startswith('    echo "whsec_')]
    made = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True).stdout.strip()
    assert receiver(secret=made).key() == made


def test_the_file_of_settings_may_name_receivers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    lines = [f"{key} = {json.dumps(value)}" for key, value in HOOK.items()]
    Path("dropoff.toml").write_text("\n".join(['public_url = "https://bots.example/"', "[[receivers]]", *lines]))
    settings = load()
    assert settings.receivers[0].key() == SECRET
    assert settings.public_url == "https://bots.example"


def test_neither_print_nor_json_shows_a_secret():
    settings = load(receivers=[HOOK])
    for shown in (repr(settings), settings.model_dump_json(), str(settings.receivers)):
        assert "secretpath" not in shown
        assert SECRET not in shown


def test_masking_takes_out_the_whole_and_the_parts():
    chat = receiver(kind="apprise", url="tgram://123456:AAbbCCdd/98765/", secret=None)
    assert chat.masked("POST https://api/bot123456:AAbbCCdd/send to 98765 failed: 404") == (
        "POST https://api/bot…:…/send to … failed: 404"
    )
    assert receiver().masked(f"{URL} and {SECRET} at hooks.example") == "… and … at hooks.example"
    assert receiver().shown() == "https://hooks.example/…"
