"""The command `report`: parse, build, call, print, exit."""
# ruff: noqa: PLC0415 # typer reads the signature; a command imports what it needs

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from pipeline.errors import ConfigError
from pipeline.terminal import (
    DEFAULT_CONFIG,
    ClusterOption,
    ConfigOption,
    EndOption,
    PeriodOption,
    StartOption,
    SystemClock,
    hand_over,
    load_settings,
    tell,
)


def report(
    period: PeriodOption = None,
    start: StartOption = None,
    end: EndOption = None,
    kind: Annotated[
        Literal["html", "csv", "md", "json"] | None,
        typer.Option("--format", help="By the ending of --output, else html."),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The file to write, else stdout.")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    cluster: ClusterOption = None,
) -> None:
    """The report of a period: totals, what changed and why, who caused it, and how good the figures are."""
    from pipeline.books.periods import period_of
    from pipeline.period_report.formats import FORMATS, write_whole
    from pipeline.period_report.gathering import gather
    from pipeline.period_report.statements import statements
    from pipeline.sinks.opening import open_warehouse

    settings = load_settings(config)
    chosen = None if cluster is None else [settings.cluster(name).name for name in cluster]
    told = kind or _of_ending(output)
    if output is None and told == "html" and sys.stdout.isatty():
        raise ConfigError("a page is for a browser: add --output report.html, or --format md to read it here")
    warehouse = open_warehouse(settings.warehouse, os.environ)
    configured = [one.name for one in settings.clusters]
    figures = gather(warehouse.root, period_of(period, start, end), chosen, configured, SystemClock().now())
    text = FORMATS[told](figures)
    if output is None:
        hand_over(text)
        return
    write_whole(output, text)
    totals = [
        f"{part.now.energy_kwh:,.3f} kWh IT, {_grams(part.now.emissions_gco2e)} ({part.scope})"
        for part in figures.parts
    ]
    tell(": ".join([f"{output}: {figures.spans.title}", *totals]))
    tell(*(f"  {one.tone}: {one.text}" for one in statements(figures)))


def _grams(grams: float | None) -> str:
    return "no grams" if grams is None else f"{grams:,.1f} gCO2e"


def _of_ending(output: Path | None) -> str:
    from pipeline.period_report.formats import FORMATS

    ending = "" if output is None else output.suffix.removeprefix(".").lower()
    return ending if ending in FORMATS else "html"
