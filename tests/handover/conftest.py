"""A Grafana for each test, and its address."""

from collections.abc import Iterator

import pytest

from tests.gatekeeper import Gate
from tests.handover.grafana import FakeGrafana


@pytest.fixture
def fake() -> FakeGrafana:
    return FakeGrafana()


@pytest.fixture
def gate(fake: FakeGrafana) -> Iterator[Gate]:
    with fake.gate().open() as opened:
        yield opened
