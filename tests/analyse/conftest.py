from datetime import UTC, datetime

import pytest

from dropoff.analyse.analytics import Analytics
from worlds import EMBEDDED, given

NOW = datetime(2024, 3, 1, tzinfo=UTC)


@pytest.fixture
def opened(tmp_path):
    """`opened(*events)`: a store in which these events have arrived; it is closed after the test."""
    stores = []

    def open_one(*events, engine=EMBEDDED):
        directory = tmp_path / str(len(stores))
        directory.mkdir()
        stores.append(given(*events, directory=directory, engine=engine))
        return stores[-1]

    yield open_one
    for store in stores:
        store.close()


@pytest.fixture
def asked(opened, engine):
    """`asked(*events)`: the analytics of a store in which these events have arrived, at `now` (1 March 2024)."""
    return lambda *events, timezone="UTC", now=NOW: Analytics(opened(*events, engine=engine), timezone, lambda: now)
