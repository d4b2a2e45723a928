"""What the configuration declares about market-based and marginal figures: contracts in a file, zones of rates.

The file has columns `cluster` or `zone`, `start_utc,end_utc,g_per_kwh,instrument,factor_type`, optionally `share` and
`note`. A line is a contract that covers a share of the energy, or the residual mix that prices what none covers.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa

from pipeline.errors import ConfigError
from pipeline.settings import ClusterSettings, Settings, nearest
from pipeline.settings.intensity import FactorType
from pipeline.sources import teams
from pipeline.sources.csv_rows import csv_rows
from pipeline.sources.grid import yearly
from pipeline.sources.grid.csv_file import intensity
from pipeline.sources.grid.steps import SHORTEST_STEP
from pipeline.tables import CLUSTER_ZONES, MARKET_FACTORS, TEAMS
from pipeline.window import EPOCH, parse_time

RESIDUAL_MIX = "residual mix"
REQUIRED = ("start_utc", "end_utc", "g_per_kwh", "instrument", "factor_type")
OPTIONAL = ("cluster", "zone", "share", "note")
FACTOR_TYPES = get_args(FactorType)
ROUNDING = 1e-9  # of shares such as 0.1 + 0.2 + 0.7

Line = dict[str, Any]


def declarations(settings: Settings, fetched_utc: datetime) -> dict[str, pa.Table]:
    """What holds for each cluster as of now, by table; a table that the configuration does not speak of is left out.

    Raises:
        ConfigError: the file, its line and what to write instead; or a cluster that does not exist.
    """
    zones = [row for cluster in settings.clusters for row in _marginal_zone(settings, cluster)]
    told = {"cluster_zones": _table(zones, CLUSTER_ZONES, fetched_utc)}
    if settings.market is not None:
        lines = list(_of_clusters(settings.market.csv, settings))
        told["market_factors"] = _table(lines, MARKET_FACTORS, fetched_utc)
    if settings.teams is not None:
        named = teams.read(settings.teams.csv, [cluster.name for cluster in settings.clusters])
        told["teams"] = _table(named, TEAMS, fetched_utc)
    return told


def _table(rows: Iterable[Line], schema: pa.Schema, fetched_utc: datetime) -> pa.Table:
    return pa.Table.from_pylist([row | {"fetched_utc": fetched_utc} for row in rows], schema)


def _marginal_zone(settings: Settings, cluster: ClusterSettings) -> Iterator[Line]:
    marginal = settings.marginal
    for name in marginal.zones:
        settings.cluster(name)  # refuses one that does not exist
    table = getattr(cluster.intensity, marginal.provider)
    zone = marginal.zones.get(cluster.name, None if table is None else table.zone)
    if zone is not None:
        yield {
            "cluster": cluster.name, "signal": "marginal", "provider": marginal.provider, "zone": zone,
            "factor_type": "direct",
        }  # fmt: skip


def read(path: Path) -> list[Line]:
    """The lines of a file as MARKET_FACTORS rows; `share_ratio` is null of a residual mix, `cluster` or `zone` of each.

    Raises:
        ConfigError: names the file, the line and what to write instead.
    """
    lines: list[Line] = []
    for where, row in csv_rows(path, REQUIRED, OPTIONAL, "market"):
        line = _line(where, row)
        if line in lines:
            raise ConfigError(f"{where}: the same line stands there twice: leave one, or give each a note")
        lines.append(line)
    _refuse_excess(path, lines)
    return lines


def _of_clusters(path: Path, settings: Settings) -> Iterator[Line]:
    """Each line for each cluster that it is about; a line of a zone keeps it."""
    lines, zones = read(path), {cluster.name: _zone(cluster) for cluster in settings.clusters}
    for name in (line["cluster"] for line in lines if line["cluster"] is not None):
        if name not in zones:
            raise ConfigError(f"{path}: no cluster {name!r} in the config{nearest(name, list(zones))}")
    found = [
        line | {"cluster": name}
        for name, zone in zones.items()
        for line in lines
        if line["cluster"] == name or (line["zone"] is not None and line["zone"] == zone)
    ]
    if lines and not found:
        listed = ", ".join(sorted(set(zones.values())))
        raise ConfigError(f"{path}: no line is of a zone of the config, which has {listed}")
    factors: dict[str, str] = {}
    for line in found:
        if factors.setdefault(line["cluster"], line["factor_type"]) != line["factor_type"]:
            raise ConfigError(
                f"{path}: cluster {line['cluster']} has lifecycle and direct lines: they never meet in a total, "
                "so leave one factor type in the file"
            )
    yield from found


def _zone(cluster: ClusterSettings) -> str:
    return yearly.place(cluster.grid_zone, cluster.cloud, cluster.region).zone


def _line(where: str, row: dict[str, str]) -> Line:
    cluster, zone = row.get("cluster") or None, row.get("zone") or None
    if (cluster is None) == (zone is None):
        raise ConfigError(f"{where}: say whose power it is: cluster or zone, one of both")
    start, end = (parse_time(row[key], f"{where}: {key}") for key in ("start_utc", "end_utc"))
    if end <= start or (start - EPOCH) % SHORTEST_STEP or (end - EPOCH) % SHORTEST_STEP:
        raise ConfigError(f"{where}: a line runs from one whole 5 minutes to a later one, not {start} to {end}")
    if not row["instrument"]:
        raise ConfigError(f"{where}: instrument is empty: write PPA, GO, REC, supplier ... or {RESIDUAL_MIX}")
    if row["factor_type"] not in FACTOR_TYPES:
        raise ConfigError(f"{where}: factor_type is one of {', '.join(FACTOR_TYPES)}, not {row['factor_type']!r}")
    g_per_kwh = intensity(row["g_per_kwh"], where)
    if g_per_kwh is None:
        raise ConfigError(f"{where}: g_per_kwh is empty: leave the line out, its energy is then not covered")
    return {
        "cluster": cluster, "zone": zone, "start_utc": start, "end_utc": end, "g_per_kwh": g_per_kwh,
        "instrument": row["instrument"], "share_ratio": _share(row, where), "factor_type": row["factor_type"],
        "note": row.get("note") or None,
    }  # fmt: skip


def _share(row: dict[str, str], where: str) -> float | None:
    text = row.get("share", "")
    if row["instrument"] == RESIDUAL_MIX:
        if text:
            raise ConfigError(f"{where}: a residual mix prices what no contract covers: leave its share empty")
        return None
    try:
        share = float(text or 1)
    except ValueError:
        share = math.nan
    if not 0 < share <= 1:
        raise ConfigError(f"{where}: share {text!r} is not a part of the energy: above 0, at most 1")
    return share


def _refuse_excess(path: Path, lines: list[Line]) -> None:
    """Contracts of one cluster or zone that cover more than all of its energy, or two residual mixes, at any moment."""
    changes: dict[tuple[object, ...], list[tuple[datetime, float]]] = defaultdict(list)
    for line in lines:
        share = 1.0 if line["share_ratio"] is None else line["share_ratio"]
        whose = (line["cluster"], line["zone"], line["factor_type"], line["share_ratio"] is None)
        changes[whose] += [(line["start_utc"], share), (line["end_utc"], -share)]
    for (cluster, zone, _, residual), steps in changes.items():
        covered = 0.0
        for moment, share in sorted(steps):  # what ends at a moment goes before what begins there
            covered += share
            if covered > 1 + ROUNDING:
                what = "two residual mixes" if residual else f"contracts for {covered:.0%} of the energy"
                raise ConfigError(
                    f"{path}: {cluster or zone} has {what} at {moment:%FT%H:%MZ}: correct a line, or its dates"
                )
