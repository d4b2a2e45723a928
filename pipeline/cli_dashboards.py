"""The commands `carbon-etl dashboards ...`: parse, build, call, print, exit."""
# ruff: noqa: FBT002, PLC0415, PLR0913, PLR0917, S107 # typer reads the signature; a command imports what it needs

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline import __version__
from pipeline.errors import ConfigError
from pipeline.terminal import (
    DEFAULT_CONFIG,
    ConfigOption,
    ForceOption,
    JsonOption,
    SystemClock,
    load_settings,
    print_result,
)

if TYPE_CHECKING:
    from pipeline.settings import Settings, StoreSettings
    from pipeline.settings.servers import SecuredServer

dashboards_app = typer.Typer(no_args_is_help=True, help="The dashboards, for a Grafana: as files, or by its API.")

FOLDER = "Carbon"
MOUNTED_AT = "/var/lib/grafana/dashboards/carbon-etl"
StoreOption = Annotated[str | None, typer.Option("--store", help="Of several stores the one that is shown.")]
FolderOption = Annotated[str, typer.Option("--folder", help="Title of the folder in Grafana.")]
NoTeamsOption = Annotated[bool, typer.Option("--no-teams", help="Each namespace its own team, whatever the map says.")]


@dashboards_app.command()
def export(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where the tree goes.")],
    config: ConfigOption = DEFAULT_CONFIG,
    store: StoreOption = None,
    datasource_name: Annotated[str, typer.Option(help="How Grafana is to call the store.")] = "carbon-etl",
    datasource_uid: Annotated[str, typer.Option(help="Its uid there.")] = "carbon-etl",
    datasource_url: Annotated[str | None, typer.Option(help="Where Grafana asks it; as in query_url else.")] = None,
    folder: FolderOption = FOLDER,
    mounted_at: Annotated[str, typer.Option(help="Where Grafana sees DIR/dashboards.")] = MOUNTED_AT,
    no_teams: NoTeamsOption = False,
    force: ForceOption = False,
    json: JsonOption = False,
) -> None:
    """Write what a Grafana loads at its start: data source, provider, dashboards."""
    from pipeline.handover.dashboards import DataSource
    from pipeline.handover.export import export as write
    from pipeline.handover.provisioning import tree

    settings = load_settings(config)
    shown, source = _store(settings, store), DataSource(datasource_name, datasource_uid)
    if datasource_url is not None:
        shown = shown.model_copy(update={"query_url": _server(datasource_url).url})
    files = tree(shown, source, folder, mounted_at, {} if no_teams else _teams(settings))
    done = write(directory, files, force=force)
    print_result(asdict(done), done.lines(directory), json=json)


@dashboards_app.command()
def push(
    url: Annotated[str, typer.Option(help="Address of the Grafana, with its path prefix.")],
    token_env: Annotated[str, typer.Option(help="Variable of its token.")] = "GRAFANA_TOKEN",
    token_file: Annotated[Path | None, typer.Option(help="A file of it, instead.")] = None,
    ca_file: Annotated[Path | None, typer.Option(help="Who may sign its certificate.")] = None,
    datasource: Annotated[str | None, typer.Option(help="Name or uid of its data source; by query_url else.")] = None,
    datasource_uid: Annotated[str | None, typer.Option(help="The uid, for tokens that may not list them.")] = None,
    folder: FolderOption = FOLDER,
    message: Annotated[str | None, typer.Option(help="For the dashboards' histories; our version else.")] = None,
    no_teams: NoTeamsOption = False,
    config: ConfigOption = DEFAULT_CONFIG,
    store: StoreOption = None,
    force: Annotated[bool, typer.Option("--force", help="Also replace dashboards that are not ours.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Ask and compare, write nothing.")] = False,
    json: JsonOption = False,
) -> None:
    """Write the dashboards into a Grafana by its API, where they differ from what it has."""
    from pipeline.handover.dashboards import DataSource, shipped
    from pipeline.handover.grafana import Grafana
    from pipeline.handover.push import find_data_source
    from pipeline.handover.push import push as write

    settings = load_settings(config)
    variable = token_env if token_file is None else None
    server = _server(url, bearer_token_env=variable, bearer_token_file=token_file, ca_file=ca_file)
    grafana = Grafana(server, settings.http, os.environ, SystemClock())
    if datasource_uid is not None:
        source = DataSource(datasource or datasource_uid, datasource_uid)
    else:
        query_url = None if datasource else _store(settings, store).query_url
        source = find_data_source(grafana, datasource, query_url)
    boards = list(shipped(source, {} if no_teams else _teams(settings)).values())
    done = write(grafana, boards, folder, message or f"carbon-etl {__version__}", force=force, dry_run=dry_run)
    print_result([asdict(one) for one in done], (one.line(dry_run=dry_run) for one in done), json=json)


def _teams(settings: "Settings") -> dict[str, str]:
    """The map of today."""
    from pipeline.handover.teams import teams_on
    from pipeline.sinks.opening import open_warehouse

    warehouse = open_warehouse(settings.warehouse, os.environ)
    return teams_on(warehouse.root, SystemClock().now().date())


def _server(url: str, **keys: str | Path | None) -> "SecuredServer":
    from pydantic import ValidationError

    from pipeline.settings.servers import SecuredServer

    try:
        return SecuredServer.model_validate({"url": url} | keys)
    except ValidationError as error:
        raise ConfigError("; ".join(found["msg"].removeprefix("Value error, ") for found in error.errors())) from None


def _store(settings: "Settings", name: str | None) -> "StoreSettings":
    """The store that the dashboards show: by name, else the only one."""
    found = [store for store in settings.remote_write if name in (None, store.name)]
    if len(found) == 1:
        return found[0]
    names = ", ".join(store.name for store in settings.remote_write)
    if not names:
        raise ConfigError("the config has no [[remote_write]] store, so there are no series to show")
    raise ConfigError(f"no store is named {name!r}: {names}" if not found else f"give --store, one of {names}")
