"""What every command shares: its common options, the machine's clock, logs and a progress bar."""
# ruff: noqa: PLC0415, TID251 # what a command does not need is not imported; the one place that reads the clock

import json as json_text
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.errors import visible

if TYPE_CHECKING:
    from rich.progress import Task, TaskID
    from structlog.typing import EventDict

    from pipeline.discovery import Finding
    from pipeline.settings import Settings

RATE_SECONDS = 600.0  # over which a rate is taken: a day of a large cluster takes minutes
FAILED = 65  # exit code where a finding needs somebody
DEFAULT_CONFIG = Path("carbon-etl.toml")
ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", envvar="CARBON_ETL_CONFIG", help="The configuration file.", show_default=True)
]
ClusterOption = Annotated[list[str] | None, typer.Option("--cluster", help="Only this cluster; may be repeated.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Compute and compare, write nothing.")]
RestateOption = Annotated[
    bool, typer.Option("--restate-closed", help="Let a new method change hours of closed periods, too.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the whole report as JSON.")]
PeriodOption = Annotated[str | None, typer.Option("--period", help="A UTC month: 2026-10.")]
StartOption = Annotated[str | None, typer.Option("--start", help="First hour, ISO 8601 with a zone.")]
EndOption = Annotated[str | None, typer.Option("--end", help="End, itself outside.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Also replace files that are not as we wrote them.")]


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


class SystemEnvironment(Mapping[str, str]):
    """The environment of whichever process looks: a worker sees its own, so that no secret has to travel."""

    def __getitem__(self, name: str) -> str:
        return os.environ[name]

    def __iter__(self) -> Iterator[str]:
        return iter(os.environ)

    def __len__(self) -> int:
        return len(os.environ)


def load_settings(path: Path) -> "Settings":
    """The configuration, read and checked.

    Raises:
        ConfigError: one line naming the file, the key and what to write instead.
    """
    from pipeline.config import load

    return load(path, os.environ)


def chosen_clusters(settings: "Settings", named: list[str] | None) -> list[str]:
    """The clusters that `--cluster` names, all of them without it.

    Raises:
        ConfigError: there is none of that name.
    """
    return [cluster.name for cluster in (map(settings.cluster, named) if named else settings.clusters)]


def tell(*lines: str, err: bool = False) -> None:
    """Print lines. Names of others stand in them: none begins a line of its own or commands the terminal."""
    for line in lines:
        typer.echo(visible(line), err=err)


def print_result(document: object, lines: Iterable[str], *, json: bool) -> None:
    """What came of a command, on stdout: as one line of JSON, or for people."""
    if json:
        typer.echo(json_text.dumps(document, default=_plain))
    else:
        tell(*lines)


def _plain(value: object) -> object:
    return sorted(map(str, value)) if isinstance(value, frozenset) else str(value)


def hand_over(text: str) -> None:
    """A document on stdout: in UTF-8 as it is to a file or a pipe, but on a terminal as `tell` has it."""
    if sys.stdout.isatty():
        tell(*text.splitlines())
    else:
        typer.echo(text.encode(), nl=False)


def print_findings(findings: "Iterable[Finding]", failed: int = FAILED) -> None:
    """One line a finding, as it comes, then the end of the command: 0, or `failed` where one is serious."""
    from rich.console import Console

    console, is_failed = Console(highlight=False), False
    for finding in findings:
        is_failed |= finding.is_failure
        line = visible(f"{finding.mark} {finding.about}: {finding.text}")
        console.print(line, style=finding.style, soft_wrap=True, markup=False)
    raise typer.Exit(failed if is_failed else 0)


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """A bar of hours for each cluster on a terminal, with its rate and what is left; nothing elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: "Task") -> Text:
            return Text("" if task.speed is None else f"{task.speed:.1f} hours/s")

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("hours"),
        Rate(),
        TimeRemainingColumn(),
    )
    console, is_shown = Console(stderr=True), sys.stderr.isatty()
    with Progress(
        *columns, console=console, disable=not is_shown, transient=True, speed_estimate_period=RATE_SECONDS
    ) as progress:
        tasks: dict[tuple[str, int], TaskID] = {}

        def show(cluster: str, done: int, total: int) -> None:
            if (cluster, total) not in tasks:  # folding and pricing again are different work
                tasks[cluster, total] = progress.add_task(cluster, total=total)
            progress.update(tasks[cluster, total], completed=done)

        yield show


@contextmanager
def ending_in_order() -> Iterator[None]:
    """Inside, SIGTERM unwinds the program as Ctrl-C does, so that workers end, locks are freed, temporary files go.

    Then the program dies of it after all, as whoever sent it expects.
    """

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("interrupted: what was committed stands, and another run goes on from there", err=True)
        raise
    except _Terminated:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)


class _Terminated(BaseException):
    """SIGTERM came."""


def configure_logs(level: int) -> None:
    """Logs on stderr: readable on a terminal, JSON lines elsewhere."""
    import structlog

    plain = structlog.dev.plain_traceback  # its default shows the values of local variables
    console = [_visible_event, structlog.dev.ConsoleRenderer(exception_formatter=plain)]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *(console if sys.stderr.isatty() else [structlog.processors.JSONRenderer()]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_names: structlog.PrintLogger(sys.stderr),  # as it is at each line, not as it was here
    )


def _visible_event(_logger: object, _method: str, event: "EventDict") -> "EventDict":
    """A log line for a terminal; JSON escapes by itself."""
    return {name: visible(value) if isinstance(value, str) else value for name, value in event.items()}


def logs_as_here() -> Callable[[], None]:
    """What makes another process log as this one does."""
    import structlog

    return partial(configure_logs, structlog.get_logger().get_effective_level())
