"""The commands `carbon-etl grid ...`: parse, build, call, print, exit."""
# ruff: noqa: FBT002, PLC0415, PLR0913, PLR0917 # typer reads the signature; a command imports what it needs

import os
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pipeline.errors import ConfigError
from pipeline.terminal import (
    DEFAULT_CONFIG,
    ConfigOption,
    DryRunOption,
    EndOption,
    JsonOption,
    StartOption,
    SystemClock,
    load_settings,
    print_findings,
    tell,
)
from pipeline.window import HOUR, Window, floor_hour, parse_time

if TYPE_CHECKING:
    from pipeline.grid.zone import Wanted, Zone
    from pipeline.settings import Settings

grid_app = typer.Typer(no_args_is_help=True, help="The grid: how clean its power was, is and is expected to be.")

ZoneArgument = Annotated[str | None, typer.Argument(help="As in grid_zone; or give --cluster.")]
OneClusterOption = Annotated[str | None, typer.Option("--cluster", help="The zone and providers of this cluster.")]
ProviderOption = Annotated[str | None, typer.Option("--provider", help="Only this provider.")]
SignalOption = Annotated[Literal["average", "marginal"], typer.Option("--signal", help="Which intensity.")]
FactorOption = Annotated[Literal["lifecycle", "direct"] | None, typer.Option("--factor-type", help="Which factors.")]
DAY, OUTLOOK = timedelta(days=1), timedelta(hours=72)


@grid_app.command()
def fetch(
    zone: ZoneArgument = None,
    config: ConfigOption = DEFAULT_CONFIG,
    cluster: OneClusterOption = None,
    start: StartOption = None,
    end: EndOption = None,
    provider: ProviderOption = None,
    signal: SignalOption = "average",
    factor_type: FactorOption = None,
    forecast: Annotated[bool, typer.Option("--forecast", help="The newest forecast, instead of hours.")] = False,
    dry_run: DryRunOption = False,
) -> None:
    """Ask the providers of a zone, store what differs, say what changed and what was refused."""
    from pipeline.grid.fetch import fetch as fetch_hours
    from pipeline.grid.forecasts import fetch_forecasts
    from pipeline.grid.zone import Wanted
    from pipeline.job import Job

    if forecast and (start or end):
        raise ConfigError("--forecast is the newest one: leave out --start and --end")
    settings = load_settings(config)
    here = _zone(settings, zone, cluster, Wanted(signal, factor_type, provider))
    job = Job(settings, os.environ, SystemClock(), dry_run=dry_run)
    fetched = fetch_forecasts(job, here) if forecast else fetch_hours(job, here, _past(start, end))
    tell(*fetched.lines())
    tell(*(f"error: {error}" for error in fetched.errors), err=True)
    raise typer.Exit(fetched.exit_code)


@grid_app.command()
def show(
    zone: ZoneArgument = None,
    config: ConfigOption = DEFAULT_CONFIG,
    cluster: OneClusterOption = None,
    start: StartOption = None,
    end: EndOption = None,
    provider: ProviderOption = None,
    signal: SignalOption = "average",
    factor_type: FactorOption = None,
    forecast: Annotated[bool, typer.Option("--forecast", help="The newest forecast of hours to come.")] = False,
    json: JsonOption = False,
) -> None:
    """Chart what the warehouse knows of a zone; asks nobody."""
    from pipeline.grid.show import show as show_hours
    from pipeline.grid.show import show_forecast
    from pipeline.grid.zone import Wanted
    from pipeline.sinks.opening import open_warehouse

    settings = load_settings(config)
    here = _zone(settings, zone, cluster, Wanted(signal, factor_type, provider))
    warehouse, now = open_warehouse(settings.warehouse, os.environ), SystemClock().now()
    if forecast:
        first = floor_hour(now) if start is None else parse_time(start, "--start")
        window = Window(first, first + OUTLOOK if end is None else parse_time(end, "--end"))
        shown = show_forecast(here, warehouse, window)
    else:
        shown = show_hours(here, warehouse, _past(start, end), now)
    if json:
        typer.echo(shown.to_json())
    else:
        tell(*shown.lines())


@grid_app.command()
def check(
    zone: ZoneArgument = None,
    config: ConfigOption = DEFAULT_CONFIG,
    cluster: OneClusterOption = None,
    provider: ProviderOption = None,
) -> None:
    """Ask each provider what its credentials reach; of every cluster unless one or a zone is named. Stores nothing."""
    from pipeline.grid.access import check as check_zone
    from pipeline.grid.zone import Wanted

    settings = load_settings(config)
    settings = settings.model_copy(update={"http": settings.http.model_copy(update={"retry_seconds": 0.0})})
    clusters = [cluster] if cluster or zone else [one.name for one in settings.clusters]
    asked = [_zone(settings, zone, name, Wanted(None, None, provider)) for name in clusters]
    print_findings(finding for one in asked for finding in check_zone(one))


@grid_app.command()
def zones(
    text: Annotated[str, typer.Argument(help="Part of a code, a country, a place or a region.")] = "",
    near: Annotated[str | None, typer.Option("--near", metavar="LAT,LON", help="Regions by distance.")] = None,
    cloud: Annotated[Literal["aws", "gcp", "azure"] | None, typer.Option("--cloud", help="Only its regions.")] = None,
    region: Annotated[str | None, typer.Option("--region", help="Only this one, with --cloud.")] = None,
) -> None:
    """Look up grid zones and cloud regions in the embedded tables; needs no configuration."""
    from pipeline.grid.lookup import look_up

    if region is not None and cloud is None:
        raise ConfigError("--region goes with --cloud")
    tell(*look_up(text, near, cloud, region))


def _zone(settings: "Settings", zone: str | None, cluster: str | None, wanted: "Wanted") -> "Zone":
    from pipeline.grid.zone import open_zone

    return open_zone(settings, zone, cluster, wanted, os.environ, SystemClock())


def _past(start: str | None, end: str | None) -> Window:
    """The hours that are named; by default the day up to this hour."""
    this_hour = floor_hour(SystemClock().now())
    last = this_hour if end is None else parse_time(end, "--end")
    if last > this_hour + HOUR:
        raise ConfigError(f"--end {end} lies ahead: --forecast is for hours to come")
    return Window(last - DAY if start is None else parse_time(start, "--start"), last)
