"""The command `publish`: parse, build, call, print, exit."""
# ruff: noqa: FBT002, PLC0415 # typer reads the signature; a command imports what it needs

from typing import Annotated

import typer

from pipeline.cli_run import How, write
from pipeline.terminal import DEFAULT_CONFIG, ClusterOption, ConfigOption, DryRunOption, JsonOption
from pipeline.window import parse_time


def publish(
    since: Annotated[
        str | None, typer.Option(help="Look at every hour from here on, and correct it now: ISO 8601 with a zone.")
    ] = None,
    discard: Annotated[
        list[str] | None, typer.Option(metavar="SET", help="Forget this block set first; may be repeated.")
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    cluster: ClusterOption = None,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Make every store show what the warehouse holds; asks no provider and no cluster's Prometheus."""
    from pipeline.job import Workers
    from pipeline.publish_stored import publish_stored

    first = None if since is None else parse_time(since, "--since")
    how = How(workers=Workers(), restate_closed=False, dry_run=dry_run, json=json)
    write(config, cluster, lambda job, names: publish_stored(job, names, first, discard or []), how)
