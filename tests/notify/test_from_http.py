"""The whole way: events posted to a running server, a rule of the mission, a signed message; kills in between."""

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from receiver import SECRET, Receiver, always, receiving, silence
from servers import Server

RULE = {"metric": "fallback_rate", "condition": "exceeds", "threshold": 0.2, "window": "4_hours", "severity": "medium"}
EVALUATED = 5.0
"""Seconds in which the server evaluates more than once."""


GONE = "http://127.0.0.1:9/hook"
"""Where nobody listens."""


def server(data: Path, receiver: Receiver, **others: str) -> Server:
    """With this rule alone, and this receiver; beside it others by name and address."""
    named = {**others, "ops": receiver.url}
    receivers = [{"name": name, "url": url, "secret": SECRET} for name, url in named.items()]
    environment = {
        "DROPOFF_ALERTS": json.dumps([RULE]), "DROPOFF_STARTER_ALERTS": "false",
        "DROPOFF_RECEIVERS": json.dumps(receivers), "DROPOFF_PUBLIC_URL": "https://bots.example",
    }  # fmt: skip
    return Server(data, environment=environment)


def talk(name: str, turns: int, *, fails: bool) -> bytes:
    """Conversations of now, each with one turn of the bot, which understands or does not."""
    now = datetime.now(UTC) - timedelta(seconds=5)
    events = []
    for number in range(turns):
        common = {"conversation_id": f"{name}-{number}", "channel": "sms", "timestamp": now.isoformat()}
        events += [
            {**common, "event_type": "conversation_started"},
            {**common, "event_type": "message_received", "properties": {"content": "?"}},
            {**common, "event_type": "message_sent", "properties": {"content": "!"}},
        ]
        if fails:
            events.append({**common, "event_type": "fallback", "properties": {"trigger": "low_confidence"}})
    return json.dumps(events).encode()


def sent(running: Server) -> int:
    """How many notices the server has marked as sent since it was started."""
    text = running.get("/metrics").body.decode()
    return sum(int(float(line.split()[-1])) for line in text.splitlines()
               if line.startswith('dropoff_notices_total{outcome="sent",receiver="ops"}'))  # fmt: skip


def wait_until_marked(running: Server, count: int) -> None:
    end = time.monotonic() + 30
    while sent(running) < count:
        assert time.monotonic() < end, running.log.read_text()
        time.sleep(0.05)


def restart(running: Server) -> None:
    running.kill()
    running.spawn()
    running.wait()


def test_a_stream_of_fallbacks_is_told_once_and_its_end_once_whatever_is_killed_in_between(tmp_path: Path):
    """Beside receivers that hang, refuse and are gone, which are told nothing and keep nobody from being told."""
    with (
        receiving() as receiver, receiving(silence(3600)) as hangs, receiving(always(500)) as refuses,
        server(tmp_path / "data", receiver, hangs=hangs.url, refuses=refuses.url, gone=GONE) as running,
    ):  # fmt: skip
        assert running.post(talk("good", 40, fails=False)).status == 202
        time.sleep(EVALUATED)
        assert receiver.posts == []

        assert running.post(talk("bad", 30, fails=True)).status == 202
        (fired,) = receiver.wait(1)
        wait_until_marked(running, 1)
        restart(running)
        time.sleep(EVALUATED)  # it is breached still
        assert len(receiver.posts) == 1

        assert running.post(talk("better", 150, fails=False)).status == 202
        _, resolved = receiver.wait(2)
        wait_until_marked(running, 1)
        restart(running)
        time.sleep(EVALUATED)
        assert [post.kind for post in receiver.posts] == ["alert.fired", "alert.resolved"]

        assert hangs.posts
        assert refuses.posts
        assert not hangs.taken + refuses.taken

        told, ended = (post.verified()["data"] for post in (fired, resolved))
        (alert,), (end,) = told["alerts"], ended["alerts"]
        assert (alert["rule"], alert["severity"]) == ("fallback_rate exceeds 0.2 in 4_hours", "medium")
        assert (alert["value"], alert["n"]) == (30 / 70, 70)
        assert (end["value"], end["n"]) == (30 / 220, 220)
        assert alert["since"] == end["since"]
        assert alert["interval"][0] > 0.2
        assert len(alert["examples"]) == 3
        assert told["subject"] == "Medium: fallback_rate exceeds 0.2 in 4_hours is firing: 42.9%"
        assert f"https://bots.example/conversations/{alert['examples'][0]}" in told["body"]


def test_a_kill_while_the_receiver_holds_the_message_has_the_same_message_sent_again(tmp_path: Path):
    with receiving() as receiver:
        running = server(tmp_path / "data", receiver)
        answer = receiver.answer

        def kills(handler: object, n: int) -> int:
            if n == 0:
                running.kill()
            return answer(handler, n)  # type: ignore[arg-type]

        receiver.answer = kills
        running.spawn()
        running.wait()
        assert running.post(talk("bad", 40, fails=True)).status == 202
        end = time.monotonic() + 30
        while running.running:
            assert time.monotonic() < end
            time.sleep(0.05)
        running.spawn()
        running.wait()
        try:
            wait_until_marked(running, 1)
            time.sleep(EVALUATED)
            first, second = receiver.posts
            assert (first.id, first.body) == (second.id, second.body)  # by which a receiver drops it
            second.verified()
        finally:
            running.stop()
