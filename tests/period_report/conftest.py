"""One warehouse that every test of the report reads and none writes."""

from pathlib import Path

import pytest

from pipeline.period_report.figures import Figures
from tests.period_report import small


@pytest.fixture(scope="package")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The two days of `small`."""
    folder = tmp_path_factory.mktemp("report")
    small.fill(folder)
    return folder


@pytest.fixture(scope="package")
def told(root: Path) -> Figures:
    """The figures of its second day."""
    return small.figures(root)
