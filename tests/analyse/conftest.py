from datetime import UTC, datetime

import pytest

from dropoff.analyse.analytics import Analytics
from worlds import given

NOW = datetime(2024, 3, 1, tzinfo=UTC)


@pytest.fixture
def asked(tmp_path, engine):
    """`asked(*events)`: the analytics of a store in which these events have arrived, at `now` (1 March 2024)."""
    stores = []

    def ask(*events, timezone="UTC", now=NOW):
        directory = tmp_path / str(len(stores))
        directory.mkdir()
        stores.append(given(*events, directory=directory, engine=engine))
        return Analytics(stores[-1], timezone, lambda: now)

    yield ask
    for store in stores:
        store.close()
