"""The commands that write figures, `run`, `backfill` and `reprice`: parse, build, call, print, exit."""
# ruff: noqa: FBT002, PLC0415, PLR0913, PLR0917 # typer reads the signature; a command imports what it needs

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pipeline.errors import ConfigError
from pipeline.terminal import (
    DEFAULT_CONFIG,
    ClusterOption,
    ConfigOption,
    DryRunOption,
    JsonOption,
    RestateOption,
    SystemClock,
    SystemEnvironment,
    chosen_clusters,
    ending_in_order,
    load_settings,
    logs_as_here,
    progress_bar,
    tell,
)
from pipeline.window import Window, parse_time

if TYPE_CHECKING:
    from pipeline.job import Job, Workers
    from pipeline.report import RunReport
    from pipeline.settings import Settings
    from pipeline.site import Site

WorkersOption = Annotated[int, typer.Option("--workers", min=1, help="How many days are worked on at once.")]
EngineOption = Annotated[
    Literal["processes", "dask"], typer.Option("--engine", help="Who works: processes of this machine, or Dask.")
]
SchedulerOption = Annotated[
    str | None,
    typer.Option("--scheduler", help="Of --engine dask: the scheduler, tcp://host:8786; else one is started."),
]


def run(
    config: ConfigOption = DEFAULT_CONFIG,
    cluster: ClusterOption = None,
    workers: WorkersOption = 1,
    engine: EngineOption = "processes",
    scheduler: SchedulerOption = None,
    restate_closed: RestateOption = False,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Fold, price and publish every closed hour that is not done."""
    from pipeline.job import Workers
    from pipeline.run import run as run_job

    staff = Workers(workers, engine, scheduler, logs_as_here())
    how = How(workers=staff, restate_closed=restate_closed, dry_run=dry_run, json=json)
    write(config, cluster, lambda job, names: run_job(job, names, None), how)


def backfill(
    start: Annotated[str, typer.Option(help="First hour, ISO 8601 with a zone: 2026-11-01T00:00Z.")],
    end: Annotated[str, typer.Option(help="End, itself outside.")],
    resume: Annotated[
        bool, typer.Option("--resume", help="Leave out hours that are done under this configuration.")
    ] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    cluster: ClusterOption = None,
    workers: WorkersOption = 1,
    engine: EngineOption = "processes",
    scheduler: SchedulerOption = None,
    restate_closed: RestateOption = False,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """The same over a given range; hours whose figures come out equal are left as they are."""
    from pipeline.job import Workers
    from pipeline.run import run as run_job

    window = Window(parse_time(start, "--start"), parse_time(end, "--end"))
    staff = Workers(workers, engine, scheduler, logs_as_here())
    how = How(workers=staff, restate_closed=restate_closed, dry_run=dry_run, json=json)
    write(config, cluster, lambda job, names: run_job(job, names, window, resume=resume), how)


def reprice(
    since: Annotated[
        str | None, typer.Option(help="Price every hour from here on, however it was priced: ISO 8601 with a zone.")
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    cluster: ClusterOption = None,
    restate_closed: RestateOption = False,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Price stored hours again from what the warehouse knows; joules stay. Asks no provider and no Prometheus."""
    from pipeline.job import Workers
    from pipeline.reprice import reprice as reprice_job

    first = None if since is None else parse_time(since, "--since")
    how = How(workers=Workers(), restate_closed=restate_closed, dry_run=dry_run, json=json)
    write(config, cluster, lambda job, names: reprice_job(job, names, first), how)


@dataclass(frozen=True, kw_only=True)
class How:
    """What the options that all writing commands share say."""

    workers: "Workers"
    restate_closed: bool
    dry_run: bool
    json: bool


def write(config: Path, cluster: list[str] | None, command: "Callable[[Job, list[str]], RunReport]", how: How) -> None:
    """Check everything first, do the command with a progress bar, print what came of it and exit as it says."""
    from pipeline.job import Job

    settings = load_settings(config)
    clusters = chosen_clusters(settings, cluster)
    check(settings, clusters)  # before the first cluster's hours are folded, not after
    with ending_in_order(), progress_bar() as show:
        job = Job(
            settings,
            SystemEnvironment(),
            SystemClock(),
            dry_run=how.dry_run,
            restate_closed=how.restate_closed,
            on_progress=show,
            workers=how.workers,
        )
        report = command(job, clusters)
    if how.json:
        typer.echo(report.to_json())
    else:
        tell(*report.summary())
    tell(*(f"error: {text}" for text in report.error_lines()), err=True)
    raise typer.Exit(report.exit_code)


def check(settings: "Settings", clusters: list[str]) -> "list[Site]":
    """The clusters, and all that a run needs of the config, its files and its secrets, without asking any server."""
    from pipeline.sinks import store_client
    from pipeline.site import open_site
    from pipeline.sources.market import declarations

    warehouse = Path(settings.warehouse.path)
    if warehouse.exists() and not warehouse.is_dir():
        raise ConfigError(f"warehouse.path {warehouse} is a file: give a folder")
    sites = [open_site(name, settings, SystemEnvironment(), SystemClock()) for name in clusters]
    declarations(settings, SystemClock().now())
    for store in settings.remote_write:
        store_client.check(store, SystemEnvironment())
    return sites
