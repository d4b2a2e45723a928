"""Not part of an ordinary run: collected only where `make test-exporters` says in which folder the programs lie."""

import os
from collections import defaultdict
from pathlib import Path

import pytest

from tests.exporters.kepler_legacy import why_not_here
from tests.exporters.programs import why_missing

FOLDER = os.environ.get("CARBON_ETL_EXPORTERS", "")
collect_ignore_glob = [] if FOLDER else ["test_*.py"]


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was not run, by reason, count and name: a skip that nobody reads looks like a pass."""
    missing = defaultdict(list)
    for report in terminalreporter.stats.get("skipped", []) if FOLDER else []:
        missing[report.longrepr[2].removeprefix("Skipped: ")].append(report.nodeid)
    for reason, names in missing.items():
        terminalreporter.section(f"{len(names)} TESTS NOT RUN", red=True, bold=True)
        terminalreporter.line(reason)
        for name in names:
            terminalreporter.line(f"  {name}")


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
def kepler_legacy() -> Path:
    """The real Kepler of before the rewrite."""
    reason = why_not_here()
    if reason is not None:
        pytest.skip(reason)
    return program("kepler_legacy")


@pytest.fixture(scope="session")
def scaphandre() -> Path:
    """The real Scaphandre."""
    return program("scaphandre")
