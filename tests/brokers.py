"""A real `nats-server` with JetStream, on a free port of the loopback, to be used and to be killed."""

import hashlib
import logging
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dropoff.broker import Place
from dropoff.control.nats import NatsControl
from dropoff.queue.kafka import KafkaQueue
from dropoff.queue.nats import NatsQueue

ADDRESS = "DROPOFF_TEST_NATS"
KAFKA_ADDRESS = "DROPOFF_TEST_KAFKA"
PATIENCE = 30.0
BINARY = shutil.which("nats-server") or shutil.which("nats-server", path="/usr/sbin:/usr/local/sbin")


def need_nats() -> str:
    """The program, or the test is skipped."""
    if BINARY is None:
        missing = "nats-server is missing (make system)"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    return BINARY


class NatsServer:
    """`nats-server -js`; `spawn` after `kill` goes on with the same files on the same port."""

    def __init__(self, directory: Path, config: str = "") -> None:
        self.binary = need_nats()
        self.directory = directory
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        self._options = ["-js", "-a", "127.0.0.1", "-p", str(self.port), "-sd", str(directory / "js")]
        if config:
            (directory / "nats.conf").write_text(config)
            self._options += ["-c", str(directory / "nats.conf")]

    def __enter__(self) -> "NatsServer":
        self.spawn()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def spawn(self) -> None:
        """Start it and wait until it listens."""
        with (self.directory / "nats.log").open("ab") as log:
            self.process = subprocess.Popen([self.binary, *self._options], stdout=log, stderr=log)
        end = time.monotonic() + PATIENCE
        while not self._listens():
            assert self.process.poll() is None, (self.directory / "nats.log").read_text()
            assert time.monotonic() < end, (self.directory / "nats.log").read_text()
            time.sleep(0.02)

    def kill(self) -> None:
        """As a power switch does."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def name_of(directory: Path) -> str:
    """A name for a stream or bucket that belongs to this directory."""
    return "t" + hashlib.sha256(str(directory).encode()).hexdigest()[:16]


def nats_queue(directory: Path, partitions: int = 1, own: Set[int] | None = None, **options: Any) -> NatsQueue:
    """A queue of this directory on the server of the session, which reads all partitions, or `own`."""
    queue = NatsQueue(Place([os.environ[ADDRESS]]), name_of(directory), partitions=partitions, **options)
    queue.own(set(range(partitions)) if own is None else own)
    return queue


def nats_control(directory: Path) -> NatsControl:
    return NatsControl(Place([os.environ[ADDRESS]]), f"{name_of(directory)}-control")


@contextmanager
def kafka_mock() -> Iterator[str]:
    """The address of a mock cluster that lives as long as the producer that made it."""
    from confluent_kafka import Producer

    quiet = logging.getLogger("kafka mock")
    quiet.addHandler(logging.NullHandler())
    quiet.propagate = False
    made = Producer({"bootstrap.servers": "mock", "test.mock.num.brokers": 1, "logger": quiet})
    yield ",".join(f"{broker.host}:{broker.port}" for broker in made.list_topics(timeout=10).brokers.values())


MOCK_PARTITIONS = 4
"""Of every topic of the mock, which makes one when it is asked for it, and cannot make any other."""


def kafka_queue(directory: Path, own: Set[int] | None = None) -> KafkaQueue:
    """A queue of this directory on the mock cluster of the session."""
    from confluent_kafka import Producer

    address, name = os.environ[KAFKA_ADDRESS], name_of(directory)
    asking = Producer({"bootstrap.servers": address})
    for topic in (name, f"{name}-dead"):
        asking.list_topics(topic, timeout=10)
    queue = KafkaQueue([address], name, partitions=MOCK_PARTITIONS)
    queue.own(set(range(MOCK_PARTITIONS)) if own is None else own)
    return queue
