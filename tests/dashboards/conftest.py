"""One site for all tests of the dashboards' numbers: filling the stores takes far longer than asking them."""

from collections.abc import Iterator

import pytest

from tests.dashboards.store import Site, published


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with published(tmp_path_factory.mktemp("dashboards")) as made:
        yield made
