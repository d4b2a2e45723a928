"""The command line: parse, build, call, print, exit. With `cli_grid` the only reader of the environment."""

import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline import __version__, cli_books, cli_publish, cli_report, cli_run, cli_sql
from pipeline.cli_dashboards import dashboards_app
from pipeline.cli_deploy import deploy_app
from pipeline.cli_grid import grid_app
from pipeline.errors import CarbonEtlError, ConfigError
from pipeline.terminal import (
    DEFAULT_CONFIG,
    ClusterOption,
    ConfigOption,
    JsonOption,
    SystemClock,
    chosen_clusters,
    configure_logs,
    load_settings,
    print_findings,
    tell,
)
from pipeline.window import parse_time

if TYPE_CHECKING:
    from pipeline.settings import Settings

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
config_app = typer.Typer(no_args_is_help=True, help="The configuration.")
app.add_typer(config_app, name="config")
app.add_typer(grid_app, name="grid")
app.add_typer(deploy_app, name="deploy")
app.add_typer(dashboards_app, name="dashboards")


def _version(value: bool) -> None:
    if value:
        typer.echo(f"carbon-etl {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log every effect.")] = False,
) -> None:
    """Energy counters in Prometheus become audited grams of CO2e: parquet, SQL and Grafana series."""
    del version
    configure_logs(logging.INFO if verbose or not sys.stderr.isatty() else logging.WARNING)


for command in (
    cli_run.run,
    cli_run.backfill,
    cli_run.reprice,
    cli_publish.publish,
    cli_books.close,
    cli_books.verify,
    cli_books.repair,
    cli_books.export,
    cli_books.prune,
    cli_report.report,
    cli_sql.sql,
):
    app.command()(command)


@app.command()
def doctor(
    config: ConfigOption = DEFAULT_CONFIG,
    cluster: ClusterOption = None,
    explain: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="NODE HOUR", help="Walk one node-hour from samples to grams: n1 2026-11-01T08:00Z."),
    ] = None,
) -> None:
    """Say what each cluster has, what is missing and what to do; read only."""
    from pipeline import doctor as examination

    settings = load_settings(config)
    chosen = chosen_clusters(settings, cluster)
    if explain is not None:
        _explain(settings, chosen, *explain)
        return
    clusters = [settings.cluster(name) for name in chosen]
    print_findings(examination.examine(settings, clusters, os.environ, SystemClock()))


def _explain(settings: "Settings", clusters: list[str], node: str, hour: str) -> None:
    """One node-hour of one cluster, line by line."""
    from pipeline.explain import explain
    from pipeline.sinks.opening import open_warehouse
    from pipeline.site import open_site

    hour_utc, clock = parse_time(hour, "HOUR"), SystemClock()
    if len(clusters) != 1:
        raise ConfigError(f"--explain needs to know whose node: add --cluster, one of {', '.join(clusters)}")
    site = open_site(clusters[0], settings, os.environ, clock)
    for line in explain(site, open_warehouse(settings.warehouse, os.environ), node, hour_utc, clock.now()):
        tell(line)


@app.command()
def settled(
    config: ConfigOption = DEFAULT_CONFIG,
    cluster: ClusterOption = None,
    since: Annotated[str | None, typer.Option(help="Leave out earlier days: ISO 8601 with a zone.")] = None,
    json: JsonOption = False,
) -> None:
    """Say day by day how final the figures are: by quality, age and what was asked again; asks nobody."""
    from pipeline.job import Job
    from pipeline.settled import settled as look_back
    from pipeline.settled import to_json

    settings = load_settings(config)
    clusters = chosen_clusters(settings, cluster)
    first = None if since is None else parse_time(since, "--since")
    found = look_back(Job(settings, os.environ, SystemClock(), dry_run=True), clusters, first)
    if json:
        typer.echo(to_json(found))
    else:
        tell(*(line for one in found for line in one.lines()))


@config_app.command("check")
def config_check(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Read the configuration as a run would, and say what is wrong with it."""
    from pipeline.credentials.exposure import exposed
    from pipeline.discovery import NOTE, Finding
    from pipeline.grid.access import would_ask

    settings = load_settings(config)
    sites = cli_run.check(settings, [cluster.name for cluster in settings.clusters])
    findings = [finding for site in sites for finding in would_ask(site, os.environ)]
    for path, mode in exposed(settings).items():
        findings.append(Finding(NOTE, str(path), f"holds a secret that everybody here can read ({mode}): chmod 640 it"))
    wrong = sum(finding.is_failure for finding in findings) or "nothing"
    tell(f"{config}: {len(sites)} clusters, {len(settings.remote_write)} stores, {wrong} wrong")
    print_findings(findings, failed=ConfigError.exit_code)


@app.command()
def demo(
    folder: Annotated[Path, typer.Option(help="Where everything goes.")] = Path("demo"),
    keep: Annotated[bool, typer.Option("--keep", help="Leave Prometheus running until Ctrl-C.")] = False,
) -> None:
    """Two simulated days of a small cluster, from a real Prometheus to grams, tables and series."""
    from rich.console import Console

    from pipeline.demo.show import show

    configure_logs(logging.WARNING)
    show(folder, keep=keep, env=os.environ, clock=SystemClock(), console=Console(highlight=False))


def main() -> None:
    """Run the command; every expected failure is one line on stderr and its exit code."""
    try:
        app()
    except CarbonEtlError as error:
        tell(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if os.environ.get("CARBON_ETL_DEBUG"):
            raise
        tell(f"error: unexpected {type(error).__name__}: {error} (CARBON_ETL_DEBUG=1 shows where)", err=True)
        sys.exit(1)
