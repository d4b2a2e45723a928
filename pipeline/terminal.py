"""What every command shares: its common options, the machine's clock, logs and a progress bar."""
# ruff: noqa: PLC0415, TID251 # what a command does not need is not imported; the one place that reads the clock

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.progress import TaskID

    from pipeline.discovery import Finding
    from pipeline.settings import Settings

FAILED = 65  # exit code where a finding needs somebody
DEFAULT_CONFIG = Path("carbon-etl.toml")
ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", envvar="CARBON_ETL_CONFIG", help="The configuration file.", show_default=True)
]
ClusterOption = Annotated[list[str] | None, typer.Option("--cluster", help="Only this cluster; may be repeated.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Compute and compare, write nothing.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the whole report as JSON.")]


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """The present moment in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


def load_settings(path: Path) -> "Settings":
    """The configuration, read and checked.

    Raises:
        ConfigError: one line naming the file, the key and what to write instead.
    """
    from pipeline.config import load

    return load(path, os.environ)


def print_findings(findings: "Iterable[Finding]", failed: int = FAILED) -> None:
    """One line a finding, as it comes, then the end of the command: 0, or `failed` where one is serious."""
    from rich.console import Console

    console, is_failed = Console(highlight=False), False
    for finding in findings:
        is_failed |= finding.is_failure
        console.print(
            f"{finding.mark} {finding.about}: {finding.text}", style=finding.style, soft_wrap=True, markup=False
        )
    raise typer.Exit(failed if is_failed else 0)


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """A bar of hours for each cluster on a terminal, nothing elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("hours"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as progress:
        tasks: dict[str, TaskID] = {}

        def show(cluster: str, done: int, total: int) -> None:
            if cluster not in tasks:
                tasks[cluster] = progress.add_task(cluster, total=total)
            progress.update(tasks[cluster], completed=done)

        yield show


def configure_logs(level: int) -> None:
    """Logs on stderr: readable on a terminal, JSON lines elsewhere."""
    import structlog

    renderer = structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_names: structlog.PrintLogger(sys.stderr),  # as it is at each line, not as it was here
    )
