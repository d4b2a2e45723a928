"""A clock that stands until somebody sleeps on it."""

import pytest

from tests.sinks.rows import StillClock


@pytest.fixture
def clock() -> StillClock:
    return StillClock()
