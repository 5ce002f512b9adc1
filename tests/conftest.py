"""What tests of several folders share."""

import os
from collections.abc import Iterator

import pytest

from brokers import ADDRESS, NatsServer


@pytest.fixture(scope="session")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """A running server for the whole session; processes started by a test find its address in the environment."""
    with NatsServer(tmp_path_factory.mktemp("nats")) as server:
        os.environ[ADDRESS] = server.address
        yield server
        del os.environ[ADDRESS]
