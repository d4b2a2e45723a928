"""The commands that write figures, `run`, `backfill` and `reprice`: parse, build, call, print, exit."""
# ruff: noqa: FBT002, PLC0415, PLR0913, PLR0917 # typer reads the signature; a command imports what it needs

from collections.abc import Callable
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
    SystemClock,
    SystemEnvironment,
    ending_in_order,
    load_settings,
    logs_as_here,
    progress_bar,
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
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Fold, price and publish every closed hour that is not done."""
    from pipeline.job import Workers
    from pipeline.run import run as run_job

    staff = Workers(workers, engine, scheduler, logs_as_here())
    _write(config, cluster, lambda job, names: run_job(job, names, None), staff, dry_run=dry_run, json=json)


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
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """The same over a given range; hours whose figures come out equal are left as they are."""
    from pipeline.job import Workers
    from pipeline.run import run as run_job

    window = Window(parse_time(start, "--start"), parse_time(end, "--end"))
    staff = Workers(workers, engine, scheduler, logs_as_here())
    _write(
        config,
        cluster,
        lambda job, names: run_job(job, names, window, resume=resume),
        staff,
        dry_run=dry_run,
        json=json,
    )


def reprice(
    since: Annotated[
        str | None, typer.Option(help="Price every hour from here on, however it was priced: ISO 8601 with a zone.")
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    cluster: ClusterOption = None,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Price stored hours again from what the warehouse knows; joules stay. Asks no provider and no Prometheus."""
    from pipeline.job import Workers
    from pipeline.reprice import reprice as reprice_job

    first = None if since is None else parse_time(since, "--since")
    _write(config, cluster, lambda job, names: reprice_job(job, names, first), Workers(), dry_run=dry_run, json=json)


def _write(
    config: Path,
    cluster: list[str] | None,
    command: "Callable[[Job, list[str]], RunReport]",
    workers: "Workers",
    *,
    dry_run: bool,
    json: bool,
) -> None:
    """Check everything first, do the command with a progress bar, print what came of it and exit as it says."""
    from pipeline.job import Job

    settings = load_settings(config)
    clusters = [settings.cluster(name).name for name in cluster] if cluster else [c.name for c in settings.clusters]
    check(settings, clusters)  # before the first cluster's hours are folded, not after
    with ending_in_order(), progress_bar() as show:
        job = Job(settings, SystemEnvironment(), SystemClock(), dry_run=dry_run, on_progress=show, workers=workers)
        report = command(job, clusters)
    typer.echo(report.to_json() if json else "\n".join(report.summary()))
    for text in report.error_lines():
        typer.echo(f"error: {text}", err=True)
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
