"""Signed webhooks against a real server that answers in every way it can."""

import base64
import hashlib
import hmac
import json
import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from pydantic import SecretStr

from dropoff.notify.base import Message, NotSent
from dropoff.notify.texts import text
from dropoff.notify.webhook import WebhookNotifier
from dropoff.project.receivers import Receiver
from notices import notice
from receiver import SECRET, Answer, always, drip, in_turn, receiving, silence

TOKEN = "t0psecrettoken"


def message() -> Message:
    told = (notice(segment="channel=sms"),)
    return Message(told[0].id, told, text(told, "https://bots.example", ZoneInfo("UTC")))


def notifier(url: str, timeout: float = 5.0) -> WebhookNotifier:
    return WebhookNotifier(Receiver(name="ops", url=SecretStr(url), secret=SecretStr(SECRET), timeout=timeout))


def test_it_is_signed_as_the_standard_says():
    with receiving() as server:
        notifier(f"{server.url}?token={TOKEN}").send(message())
        (post,) = server.posts
    assert post.path == f"/hook?token={TOKEN}"
    payload = post.verified()  # the library's
    key, stamp = base64.b64decode(SECRET.removeprefix("whsec_")), post.headers["webhook-timestamp"]
    signed = hmac.new(key, f"{post.id}.{stamp}.".encode() + post.body, hashlib.sha256).digest()  # the specification's
    assert post.headers["webhook-signature"] == f"v1,{base64.b64encode(signed).decode()}"
    assert abs(time.time() - int(stamp)) < 60
    assert post.id == notice(segment="channel=sms").id
    assert (payload["type"], payload["timestamp"]) == ("alert.fired", "2026-03-02T12:00:00Z")
    (alert,) = payload["data"]["alerts"]
    assert (alert["rule"], alert["segment"], alert["value"], alert["n"]) == ("fallbacks", "channel=sms", 0.25, 120)
    assert alert["interval"] == [0.181, 0.335]
    assert "receivers" not in alert


def test_an_attempt_again_has_the_same_id_and_body():
    with receiving(in_turn(500, 204)) as server:
        for _ in range(2):
            try:
                notifier(server.url).send(message())
            except NotSent:
                time.sleep(1.1)  # another timestamp
        first, second = server.posts
    assert (first.id, first.body) == (second.id, second.body)
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]


@pytest.mark.parametrize(
    ("answer", "retry", "after"),
    [
        (always(500), True, 0), (always(503, retry_after="7"), True, 7), (always(429, retry_after="99999"), True, 3600),
        (always(503, retry_after="soon"), True, 0), (always(408), True, 0), (always(425), True, 0),
        (always(400), False, 0), (always(401), False, 0), (always(404), False, 0), (always(410), False, 0),
        (always(302, location="http://127.0.0.1:9/"), False, 0), (always(308, location="/other"), False, 0),
    ],
)  # fmt: skip
def test_what_is_tried_again(answer: Answer, retry: bool, after: float):
    with receiving(answer) as server, pytest.raises(NotSent) as caught:
        notifier(f"{server.url}?token={TOKEN}").send(message())
    assert (caught.value.retry, caught.value.after) == (retry, after)
    assert str(caught.value) == f"ops: answered {server.posts[0].status}"
    assert len(server.posts) == 1  # no redirect was followed


def test_a_date_to_come_back_is_understood():
    then = datetime.now(UTC) + timedelta(seconds=90)
    later = always(503, retry_after=f"{then:%a, %d %b %Y %H:%M:%S} GMT")
    with receiving(later) as server, pytest.raises(NotSent) as caught:
        notifier(server.url).send(message())
    assert 80 < caught.value.after <= 90


@pytest.mark.parametrize("answer", [silence(3), drip], ids=["silent", "dripping"])
def test_a_receiver_that_hangs_is_left_in_time(answer: Answer):
    with receiving(answer) as server:
        begin = time.monotonic()
        with pytest.raises(NotSent) as caught:
            notifier(server.url, timeout=0.5).send(message())
    assert caught.value.retry
    assert time.monotonic() - begin < 2.5


def test_a_receiver_that_is_gone_is_tried_again_and_its_address_is_not_told():
    with receiving() as server:
        url = server.url
    with pytest.raises(NotSent, match=r"^ops: .*refused") as caught:
        notifier(f"{url}?token={TOKEN}").send(message())
    assert caught.value.retry
    assert TOKEN not in str(caught.value)


def test_a_name_that_does_not_resolve_is_tried_again():
    with pytest.raises(NotSent) as caught:
        notifier(f"http://no-such-host.invalid/{TOKEN}", timeout=2).send(message())
    assert caught.value.retry
    assert TOKEN not in str(caught.value)


def test_the_payload_is_json_whatever_a_segment_is_called():
    told = (notice(segment='property:x="\u2028</script>\x00'),)
    with receiving() as server:
        notifier(server.url).send(Message("i", told, text(told, "", ZoneInfo("UTC"))))
        (post,) = server.posts
    assert json.loads(post.body)["data"]["alerts"][0]["segment"] == told[0].segment
    post.verified()
