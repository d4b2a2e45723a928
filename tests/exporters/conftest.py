"""Not part of an ordinary run: collected only where `make test-exporters` says in which folder the programs lie."""

import os
from pathlib import Path

import pytest

from tests.exporters.programs import why_missing

FOLDER = os.environ.get("CARBON_ETL_EXPORTERS", "")
collect_ignore_glob = [] if FOLDER else ["test_*.py"]


def program(name: str) -> Path:
    """An exporter that was built, or a skip that says why it was not."""
    reason = why_missing(Path(FOLDER), name)
    if reason is not None:
        pytest.skip(reason)
    return Path(FOLDER).absolute() / "bin" / name


@pytest.fixture(scope="session")
def kepler() -> Path:
    """The real Kepler."""
    return program("kepler")


@pytest.fixture(scope="session")
def scaphandre() -> Path:
    """The real Scaphandre."""
    return program("scaphandre")
