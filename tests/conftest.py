"""What tests of several folders share."""

import os
from collections.abc import Iterator

import hypothesis
import pytest

from brokers import ADDRESS, KAFKA_ADDRESS, NatsServer, kafka_mock
from worlds import CHDB, EMBEDDED, ENGINES, give_back, in_memory

hypothesis.settings.register_profile("dropoff", deadline=None)  # a busy machine makes no example wrong
hypothesis.settings.load_profile("dropoff")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What `one_store` marks is long on every store but the embedded one."""
    for item in items:
        engine = getattr(getattr(item, "callspec", None), "params", {}).get("engine", EMBEDDED)
        if engine != EMBEDDED and any(_concerns(mark.args, item) for mark in item.iter_markers("one_store")):
            item.add_marker(pytest.mark.long)


def _concerns(fixtures: tuple[str, ...], item: pytest.Item) -> bool:
    return not fixtures or not set(fixtures).isdisjoint(getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """What keeps the store: the test runs on each."""
    return request.param


LONG = [pytest.mark.long, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module", params=[EMBEDDED, pytest.param(CHDB, marks=LONG)])
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """What keeps the one store of a module's engine and commands: the embedded one, in long runs ClickHouse's, too."""
    place = tmp_path_factory.mktemp("kept")
    with pytest.MonkeyPatch.context() as patch:
        if request.param == CHDB:
            patch.setenv("DROPOFF_STORE", in_memory().at(place))
        yield request.param
    give_back(place)


@pytest.fixture(scope="session")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """A running server for the whole session; processes started by a test find its address in the environment."""
    with NatsServer(tmp_path_factory.mktemp("nats")) as server:
        os.environ[ADDRESS] = server.address
        yield server
        del os.environ[ADDRESS]


@pytest.fixture(scope="session")
def kafka() -> Iterator[None]:
    """The mock cluster inside librdkafka: it speaks the protocol, and is no Kafka."""
    with kafka_mock() as address:
        os.environ[KAFKA_ADDRESS] = address
        yield
        del os.environ[KAFKA_ADDRESS]


@pytest.fixture(autouse=True)
def _stores_go_back(request: pytest.FixtureRequest) -> Iterator[None]:
    """Databases of stores in a test's own directory serve the next test."""
    own = request.getfixturevalue("tmp_path") if "tmp_path" in request.fixturenames else None
    yield
    if own is not None:
        give_back(own)
