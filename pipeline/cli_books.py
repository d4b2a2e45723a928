"""The commands that keep the books: `close`, `verify`, `repair`, `export`, `prune`."""
# ruff: noqa: FBT002, PLC0415, PLR0913, PLR0917 # typer reads the signature; a command imports what it needs

import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from pipeline.terminal import (
    DEFAULT_CONFIG,
    FAILED,
    ClusterOption,
    ConfigOption,
    DryRunOption,
    EndOption,
    JsonOption,
    PeriodOption,
    RestateOption,
    StartOption,
    SystemClock,
    chosen_clusters,
    ending_in_order,
    load_settings,
    print_result,
    tell,
)
from pipeline.window import EPOCH, HOUR, Window, floor_hour, parse_time


def close(
    period: PeriodOption = None,
    start: StartOption = None,
    end: EndOption = None,
    as_is: Annotated[bool, typer.Option("--as-is", help="Close although something lacks.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Close anew what was closed with other totals.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Close nothing: show what is closed, against now.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    cluster: ClusterOption = None,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Keep a period's totals by namespace as reported; --show: how they were restated since."""
    from pipeline.books.closing import close_period
    from pipeline.books.periods import period_of
    from pipeline.books.restatements import lines, restatements
    from pipeline.job import Job

    settings = load_settings(config)
    clusters, job = chosen_clusters(settings, cluster), Job(settings, os.environ, SystemClock(), dry_run=dry_run)
    if show:
        name = period_of(period, start, end).name if period or start or end else None
        rows = restatements(job.warehouse(), clusters, name)
        print_result(rows, lines(rows), json=json)
        return
    found = close_period(job, clusters, period_of(period, start, end), as_is=as_is, again=again)
    closed = (one.line(dry_run=dry_run) for one in found if not one.exit_code)
    print_result([asdict(one) for one in found], closed, json=json)
    tell(*(f"error: {one.line(dry_run=dry_run)}" for one in found if one.exit_code), err=True)
    raise typer.Exit(max(one.exit_code for one in found))


def verify(
    start: StartOption = None,
    end: EndOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    cluster: ClusterOption = None,
    json: JsonOption = False,
) -> None:
    """Derive again what the warehouse says of itself and say what is off; changes nothing."""
    from pipeline.books.verification import verify as look
    from pipeline.sinks.opening import open_warehouse

    settings = load_settings(config)
    window = _span(start, end)
    warehouse = open_warehouse(settings.warehouse, os.environ)
    found = look(warehouse, chosen_clusters(settings, cluster), window, SystemClock())
    print_result(asdict(found), found.lines(), json=json)
    raise typer.Exit(FAILED if found.faults else 0)


def repair(
    start: StartOption = None,
    end: EndOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    cluster: ClusterOption = None,
    restate_closed: RestateOption = False,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Do again exactly what verify finds off, from raw samples while they last and from the warehouse."""
    from pipeline.books.repair import repair as mend
    from pipeline.job import Job

    settings = load_settings(config)
    clusters, window = chosen_clusters(settings, cluster), _span(start, end)
    with ending_in_order():
        job = Job(settings, os.environ, SystemClock(), dry_run=dry_run, restate_closed=restate_closed)
        done = mend(job, clusters, window)
    print_result(asdict(done), done.lines(), json=json)
    raise typer.Exit(FAILED if done.left else 0)


def prune(
    keep: Annotated[str, typer.Option(help="How far back hours, nodes and pods are kept: 13mo or 400d.")],
    config: ConfigOption = DEFAULT_CONFIG,
    cluster: ClusterOption = None,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Of older days keep the sums by the keys of emissions_daily, and no hours, nodes, pods or processes."""
    from pipeline.books.pruning import prune as prune_days
    from pipeline.job import Job

    settings = load_settings(config)
    with ending_in_order():
        job = Job(settings, os.environ, SystemClock(), dry_run=dry_run)
        done = prune_days(job, chosen_clusters(settings, cluster), keep)
    print_result(
        [asdict(one) for one in done], (line for one in done for line in one.lines(dry_run=dry_run)), json=json
    )


def export(
    file: Annotated[Path, typer.Argument(help="The file to write; one that is there is replaced.")],
    kind: Annotated[Literal["csv", "parquet"], typer.Option("--format", help="csv or parquet.")] = "csv",
    table: Annotated[
        Literal["emissions", "emissions_daily", "node_energy", "processes"], typer.Option(help="Which table.")
    ] = "emissions",
    start: StartOption = None,
    end: EndOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    cluster: ClusterOption = None,
    json: JsonOption = False,
) -> None:
    """Write a table as one file, CSV for spreadsheets or parquet, always in the same order."""
    from pipeline.books.export import export as write
    from pipeline.sinks.opening import open_warehouse

    settings = load_settings(config)
    warehouse, clusters = open_warehouse(settings.warehouse, os.environ), chosen_clusters(settings, cluster)
    with ending_in_order():
        rows = write(warehouse, table, clusters, _span(start, end), kind, file)
    print_result({"file": str(file), "table": table, "rows": rows}, [f"{file}: {rows:,} rows of {table}"], json=json)


def _span(start: str | None, end: str | None) -> Window | None:
    """The span of `--start` and `--end`, each of which may be left out; None without either."""
    if start is None and end is None:
        return None
    first, last = start and parse_time(start, "--start"), end and parse_time(end, "--end")
    return Window(first or EPOCH, last or floor_hour(SystemClock().now()) + HOUR)
