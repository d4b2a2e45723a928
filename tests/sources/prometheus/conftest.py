"""The churning fleet that limits are tried on, and what it holds."""

import pytest

from pipeline.demo.fleet import Fleet
from pipeline.demo.transport import FleetTransport
from tests.sources.prometheus.limited import churned


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return churned()


@pytest.fixture(scope="module")
def held(fleet: Fleet) -> FleetTransport:
    return FleetTransport(fleet)
