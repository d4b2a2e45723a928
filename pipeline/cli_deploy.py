"""The commands `carbon-etl deploy ...`: parse, build, call, print, exit."""
# ruff: noqa: FBT002, PLC0415, PLR0913, PLR0917 # typer reads the signature; a command imports what it needs

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from pipeline import __version__
from pipeline.terminal import DEFAULT_CONFIG, ConfigOption, ForceOption, load_settings, tell

deploy_app = typer.Typer(
    no_args_is_help=True, help="What runs this configuration every hour, printed for you to apply."
)

OutputOption = Annotated[
    Path | None, typer.Option("--output", help="Write a folder of files instead of printing one stream.")
]


@deploy_app.command()
def kubernetes(
    config: ConfigOption = DEFAULT_CONFIG,
    namespace: Annotated[str, typer.Option(help="Of everything that is ours.")] = "carbon-etl",
    image: Annotated[str, typer.Option(help="The image that you built and pushed.")] = f"carbon-etl:{__version__}",
    stack_namespace: Annotated[str, typer.Option(help="Of Prometheus, Alertmanager and Grafana.")] = "monitoring",
    release: Annotated[str, typer.Option(help="Of kube-prometheus-stack, which loads rules by it.")] = (
        "kube-prometheus-stack"
    ),
    schedule: Annotated[str, typer.Option(help="Of the runs, in UTC.")] = "15 * * * *",
    memory: Annotated[str, typer.Option(help="The most that a run may take.")] = "1Gi",
    no_store: Annotated[
        bool, typer.Option("--no-store", help="Parquet only, where the configuration names no store.")
    ] = False,
    output: OutputOption = None,
    force: ForceOption = False,
) -> None:
    """Print what runs this configuration beside kube-prometheus-stack: job, store, policies, dashboards, alerts."""
    from pipeline.deployment.kubernetes import manifests
    from pipeline.deployment.objects import Placement

    placement = Placement(
        image=image,
        namespace=namespace,
        stack_namespace=stack_namespace,
        release=release,
        schedule=schedule,
        memory=memory,
        with_store=not no_store,
    )
    found = manifests(load_settings(config), placement)
    _give(found.stream() if output is None else found.tree(), output, force=force)


@deploy_app.command()
def systemd(
    config: ConfigOption = DEFAULT_CONFIG,
    program: Annotated[Path, typer.Option(help="Where carbon-etl is installed.")] = Path(
        "/opt/carbon-etl/bin/carbon-etl"
    ),
    output: OutputOption = None,
    force: ForceOption = False,
) -> None:
    """Print a service, its timer and the configuration as they read it."""
    from pipeline.deployment.systemd import listing, units

    found = units(load_settings(config), program)
    _give(listing(found) if output is None else found, output, force=force)


def _give(found: str | Mapping[str, str], output: Path | None, *, force: bool) -> None:
    """One stream on stdout, or files; those of others stay."""
    if isinstance(found, str):
        tell(*found.rstrip("\n").split("\n"))
    elif output is not None:
        from pipeline.handover.export import export

        tell(*export(output, found, force=force).lines(output))
