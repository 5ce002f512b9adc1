"""Fixtures for all tests."""

import pytest

from worlds import ENGINES


@pytest.fixture(scope="session", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """What keeps the store: the test runs on each."""
    return request.param
