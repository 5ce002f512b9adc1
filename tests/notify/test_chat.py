"""What Apprise sends, to a real server on the loopback."""

import base64
import json
from zoneinfo import ZoneInfo

import pytest
from pydantic import SecretStr

from dropoff.errors import InvalidInput
from dropoff.notify.base import Letter, Message, NotSent
from dropoff.notify.chat import AppriseNotifier
from dropoff.notify.texts import text
from dropoff.project.receivers import Receiver
from notices import NOON, notice
from receiver import always, receiving, silence

WORD = "hunter2hunter2"

# One of its services asks the standard library for a module that goes with Python 3.13.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")


def notifier(server: str, timeout: float = 5.0) -> AppriseNotifier:
    address = server.replace("http://", f"json://user:{WORD}@")
    return AppriseNotifier(Receiver(name="team", kind="apprise", url=SecretStr(address), timeout=timeout))


def message() -> Message:
    told = (notice(segment="channel=<b>x"),)
    return Message("i", told, text(told, "https://bots.example", ZoneInfo("UTC")))


def test_subject_and_body_arrive_as_they_are():
    with receiving() as server:
        notifier(server.url).send(message())
        (post,) = server.posts
    sent = json.loads(post.body)
    assert sent["title"] == message().text.subject
    assert sent["message"] == message().text.body


@pytest.mark.parametrize("status", [302, 400, 500])
def test_a_refusal_is_tried_again_follows_no_redirect_and_tells_no_secret(status: int):
    with receiving(always(status, location="http://127.0.0.1:9/")) as server, pytest.raises(NotSent) as caught:
        notifier(server.url).send(message())
    assert caught.value.retry
    assert str(caught.value).startswith("team: ")
    assert WORD not in str(caught.value)
    assert len(server.posts) == 1


def test_a_service_that_hangs_is_left_in_time():
    with receiving(silence(8)) as server, pytest.raises(NotSent):
        notifier(server.url, timeout=0.5).send(message())


def test_an_address_that_apprise_does_not_know_is_refused_and_not_shown():
    with pytest.raises(InvalidInput, match=r"receivers.team.url == '…', must be an address that Apprise knows"):
        AppriseNotifier(Receiver(name="team", kind="apprise", url=SecretStr(f"nonsense://{WORD}")))


def test_a_report_comes_with_its_file():
    file = ("r.html", "text/html", b"<p>all of it")
    letter = Letter("i", "report.weekly", NOON, "Weekly report", "https://d.example/x", "Leads: 3", "# all", {}, file)
    with receiving() as server:
        notifier(server.url).deliver(letter)
        (post,) = server.posts
    sent = json.loads(post.body)
    assert (sent["title"], sent["message"]) == ("Weekly report", "Leads: 3")
    (attached,) = sent["attachments"]
    assert (attached["filename"], base64.b64decode(attached["base64"])) == ("r.html", b"<p>all of it")
