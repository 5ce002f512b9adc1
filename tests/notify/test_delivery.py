"""The job that delivers: kills at every write, receivers that hang or refuse, one process at a time."""

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import SecretStr

from dropoff.control.base import Control
from dropoff.control.sqlite import SqliteControl
from dropoff.notify.delivery import LEASE, Delivery
from dropoff.notify.outbox import Outbox
from dropoff.notify.silences import expire, silence
from dropoff.notify.webhook import WebhookNotifier
from dropoff.project.receivers import Receiver as Settings
from notices import NOON, notice
from receiver import SECRET, Receiver, always, in_turn, receiving
from receiver import silence as says_nothing

UTC_ZONE = ZoneInfo("UTC")
STORY = [notice(segment="channel=sms"), notice(segment="channel=web"), notice("resolved", "channel=sms", after=300)]


def settings(name: str, server: Receiver, timeout: float = 5.0) -> Settings:
    return Settings(name=name, url=SecretStr(server.url), secret=SecretStr(SECRET), timeout=timeout)


def delivery(control: Control, outbox: Outbox, *receivers: Settings, holder: str = "one", **more: Any) -> Delivery:
    notifiers = [WebhookNotifier(receiver) for receiver in receivers]
    return Delivery(control, outbox, notifiers, holder, lambda: "https://bots.example", UTC_ZONE, **more)


def settle(job: Delivery, outbox: Outbox, *receivers: str, seconds: float = 20.0) -> None:
    """Beats until nothing waits for these receivers."""
    end = time.monotonic() + seconds
    while any(outbox.waiting().get(receiver) for receiver in receivers):
        assert time.monotonic() < end, outbox.waiting()
        job.beat()
        time.sleep(0.01)


class Killing:
    """A control state whose process is killed at the n-th write, before or after it happens."""

    def __init__(self, control: Control, n: int, *, after: bool) -> None:
        self._control, self._left, self._after = control, n, after
        self._lock = threading.Lock()

    def put(self, *args: Any) -> int:
        return self._write(lambda: self._control.put(*args))

    def delete(self, key: str) -> None:
        self._write(lambda: self._control.delete(key))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._control, name)

    def _write(self, write: Callable[[], Any]) -> Any:
        with self._lock:
            self._left -= 1
            if self._left == 0 and self._after:
                write()
            if self._left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return write()


def killed_at(path: Path, server: Receiver, n: int, *, after: bool) -> bool:
    """Puts and delivers the story in a process that is killed at its n-th write; False if it came to its end."""
    child = os.fork()
    if child == 0:
        try:
            control = Killing(SqliteControl(path), n, after=after)
            outbox = Outbox(control, ["ops"])  # type: ignore[arg-type]
            for each in STORY:
                outbox.put(each, NOON)
            settle(delivery(control, outbox, settings("ops", server)), outbox, "ops")  # type: ignore[arg-type]
        except BaseException:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_any_write_nothing_is_lost_and_a_copy_has_the_same_id(tmp_path: Path, after: bool):
    n, copies = 0, 0
    was_killed = True
    while was_killed:
        n += 1
        path = tmp_path / f"{n}.db"
        with receiving() as server:
            was_killed = killed_at(path, server, n, after=after)
            with closing(SqliteControl(path)) as control:
                outbox = Outbox(control, ["ops"])
                for each in STORY:  # as the evaluator puts again what it has not noted as put
                    outbox.put(each, NOON)
                settle(delivery(control, outbox, settings("ops", server)), outbox, "ops")
                assert [mark for _, mark in outbox.marks() if mark.outcome != "sent"] == []
                assert len(outbox.marks()) == len(STORY)
        posts = server.taken  # now that it has ended, and what it answered is noted
        by_id = {post.id: post for post in posts}
        assert all(post.body == by_id[post.id].body for post in posts)  # a copy is the same in all
        assert len(posts) - len(by_id) <= 1
        copies += len(posts) - len(by_id)
        told = [(a["kind"], a["rule"], a["segment"]) for p in by_id.values() for a in p.verified()["data"]["alerts"]]
        assert len(told) == len(set(told)) == len(STORY)
        assert told.index(("fired", "fallbacks", "channel=sms")) < told.index(("resolved", "fallbacks", "channel=sms"))
    assert n > 15
    # There are two messages, and for each one write before which a kill makes a copy; after it, none does.
    assert copies == (0 if after else 2)


def test_a_receiver_that_hangs_delays_no_other(tmp_path: Path):
    with receiving(says_nothing(30)) as stuck, receiving() as well, closing(SqliteControl(tmp_path / "c")) as control:
        outbox = Outbox(control, ["stuck", "well"])
        job = delivery(control, outbox, settings("stuck", stuck, timeout=2), settings("well", well))
        begin = time.monotonic()
        for number in range(5):
            outbox.put(notice(rule=f"rule {number}"), NOON)
        settle(job, outbox, "well", seconds=2)
        assert time.monotonic() - begin < 1.5
        assert len(well.wait(5)) == 5
        begin = time.monotonic()
        outbox.put(notice(rule="later"), NOON)
        assert time.monotonic() - begin < 0.5  # who evaluates does not wait either
        job.stop()


def test_a_failing_receiver_is_tried_again_and_then_told_in_order(tmp_path: Path):
    with receiving(in_turn(500, 503, 204)) as server, closing(SqliteControl(tmp_path / "c")) as control:
        counted: list[str] = []
        outbox = Outbox(control, ["ops"], lambda _, outcome: counted.append(outcome))
        job = delivery(control, outbox, settings("ops", server))
        outbox.put(notice(), NOON)
        outbox.put(notice("resolved", after=60), NOON)
        while not server.posts:
            job.beat()
        end = time.monotonic() + 5
        while not (error := outbox.waiting()["ops"][0].error) and time.monotonic() < end:
            time.sleep(0.01)
        assert error == "ops: answered 500"
        settle(job, outbox, "ops")
        first, second, third, last = server.posts
        assert first.id == second.id == third.id
        assert [post.kind for post in (third, last)] == ["alert.fired", "alert.resolved"]
        assert second.at - first.at >= 0.5
        assert counted == ["sent", "sent"]


def test_a_refusal_is_final_and_its_resolve_is_not_told(tmp_path: Path):
    with receiving(always(404)) as server, closing(SqliteControl(tmp_path / "c")) as control:
        outbox = Outbox(control, ["ops"])
        outbox.put(notice(), NOON)
        outbox.put(notice("resolved", after=60), NOON)
        settle(delivery(control, outbox, settings("ops", server)), outbox, "ops")
        assert len(server.posts) == 1
        outcomes = {mark.kind: (mark.outcome, mark.error) for _, mark in outbox.marks()}
        assert outcomes == {"fired": ("failed", "ops: answered 404"), "resolved": ("overtaken", None)}


def test_a_silence_that_ends_early_lets_the_firing_go(tmp_path: Path):
    with receiving() as server, closing(SqliteControl(tmp_path / "c")) as control:
        outbox = Outbox(control, ["ops"])
        job = delivery(control, outbox, settings("ops", server))
        now = datetime.now(UTC)
        made = silence(
            control, rule="fallbacks", segment=None, until=now + timedelta(hours=2), comment="", by="", now=now
        )
        outbox.put(notice(), NOON)
        for _ in range(5):
            job.beat()
        assert not server.posts
        expire(control, made.id)
        settle(job, outbox, "ops")
        assert [post.kind for post in server.wait(1)] == ["alert.fired"]


def test_one_process_delivers_and_another_takes_over_when_its_lease_ends(tmp_path: Path):
    with receiving() as server, closing(SqliteControl(tmp_path / "c")) as control:
        outbox = Outbox(control, ["ops"])
        outbox.put(notice(), NOON)
        now = time.time()
        assert control.lease(LEASE, "another", 60, now)
        waits = delivery(control, outbox, settings("ops", server))
        waits.beat()
        time.sleep(0.1)
        assert not server.posts
        takes = delivery(control, outbox, settings("ops", server), clock=lambda: datetime.fromtimestamp(now + 61, UTC))
        settle(takes, outbox, "ops")
        assert len(server.wait(1)) == 1


def test_an_error_that_nobody_foresaw_is_tried_again_and_says_nothing_of_the_address(tmp_path: Path):
    class Broken:
        name = "ops"

        def send(self, message: object) -> None:
            raise ValueError("https://hooks.example/secret")

    with closing(SqliteControl(tmp_path / "c")) as control:
        outbox = Outbox(control, ["ops"])
        outbox.put(notice(), NOON)
        job = Delivery(control, outbox, [Broken()], "one", str, UTC_ZONE)
        job.beat()
        job.stop()
        (each,) = outbox.waiting()["ops"]
        assert (each.attempts, each.error) == (1, "ops: ValueError")
