"""One small store for all benchmarks that read samples."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.end_to_end import START_MS, prepared
from benchmarks.end_to_end_ways import Bench
from benchmarks.kepler_fleet import Size

SIZE = Size(400, START_MS, 3.0, seed=2)  # no Kepler of cluster c1 restarts


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Four nodes, three hours, in a real Prometheus."""
    with prepared(tmp_path_factory.mktemp("bench"), SIZE) as bench:
        yield bench


@pytest.fixture(scope="session")
def pages() -> Path:
    """Where the committed pages are."""
    return Path(__file__).parents[2] / "benchmarks"
