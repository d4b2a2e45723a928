"""A warehouse at size: seeded days of a fleet, priced, in the files that the product's commits would have left.

    python -m benchmarks.warehouse_rows FOLDER [--days 365] [--pods 10000]

Pods come and go, grams follow the hour's intensity and PUE, one hour in two hundred has no figure yet. A day is written
as `Warehouse.commit_day` writes it (sorted by key, commits in the footer, its roll-up, rows of `hours`), without what a
first commit has no need of: comparing, and revisions. Months before the last are put together, as runs would have done.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.demo.grid import intensity_g_per_kwh
from pipeline.sinks import months, views
from pipeline.sinks.appended import append_file
from pipeline.sinks.commits import FOOTER_KEY, Commit, DayTables, footer_text
from pipeline.sinks.daily import DIGEST_KEY, digest
from pipeline.sinks.partitions import nothing, partition_path, replace_partition
from pipeline.sinks.plans import hours_rows
from pipeline.sinks.table_checks import KEYS
from pipeline.sinks.warehouse import Warehouse
from pipeline.tables import (
    APPEND_ONLY_TABLES,
    EMISSIONS,
    METHOD_VERSION,
    NODE_ENERGY,
    QUARANTINE,
    conform,
)
from pipeline.transforms.sheet import ENERGY
from pipeline.units import JOULES_PER_KWH
from pipeline.window import HOUR

CLUSTER, ZONE, SEED = "prod", "DE", 1
FIRST_DAY = date(2025, 11, 1)
PUE_RATIO, SECONDS = 1.25, 3600.0
NAMESPACES, PODS_PER_NODE = 40, 100
LIVES_DAYS = ((0.7, 3650), (0.2, 7), (0.1, 1))  # share of pods, days until another takes their place
UNPRICED_EVERY = 200  # hours
MARGINAL = ("CAISO_NORTH", "watttime", "marginal", "direct")
RUN_ID = "20261101T000000Z-000000"

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Size:
    """How many pods live at a time, how many of them a workload has, and in which components energy is metered."""

    pods: int = 10_000
    components: tuple[str, ...] = ("package",)
    pods_per_workload: int = 5

    @property
    def nodes(self) -> int:
        """Machines that carry them."""
        return max(1, self.pods // PODS_PER_NODE)


def priced_day(size: Size, day: date) -> DayTables:
    """All rows of one day as a run commits them: emissions and node_energy sorted by key, no quarantine."""
    midnight, pods = datetime(day.year, day.month, day.day, tzinfo=UTC), _pods(size, day)
    parts = [_hour(size, midnight + n * HOUR, pods) for n in range(24)]
    emissions, nodes = (pa.concat_tables(tables) for tables in zip(*parts, strict=True))
    return DayTables(_sorted(emissions, "emissions"), _sorted(nodes, "node_energy"), QUARANTINE.empty_table())


def priced_hour(size: Size, hour: datetime) -> pa.Table:
    """Emissions rows of one hour, as `priced_day` has them but for their order."""
    return _hour(size, hour, _pods(size, hour.date()))[0]


def has_figure(hour: datetime) -> bool:
    """Whether the grid's intensity of an hour is known."""
    return bool((hour.toordinal() * 24 + hour.hour) % UNPRICED_EVERY)


def energy_of(emissions: pa.Table) -> pa.Table:
    """Priced rows as the fold left them: schema `transforms.sheet.ENERGY`."""
    return conform(emissions.select(ENERGY.names), ENERGY)


def _pods(size: Size, day: date) -> dict[str, "pa.Array[Any]"]:
    """Identity columns of the pods of a day, in order of their places."""
    place = np.arange(size.pods)
    lives = np.random.default_rng(SEED).choice(
        [days for _, days in LIVES_DAYS], size.pods, p=[share for share, _ in LIVES_DAYS]
    )
    generation = (day.toordinal() + place) // lives
    workload = place // size.pods_per_workload
    tails = [f"{n * 0x9E3779B97F4A7C15 & (1 << 64) - 1:016x}" for n in (place * 1_000_003 + generation).tolist()]
    return {
        "namespace": pa.array([f"team-{n % NAMESPACES}" for n in workload.tolist()]),
        "pod": pa.array([f"web-{w}-{tail[:10]}" for w, tail in zip(workload.tolist(), tails, strict=True)]),
        "pod_uid": pa.array([f"{t[:8]}-{t[8:12]}-4{t[13:16]}-a{t[:3]}-{t[4:]}" for t in tails]),
        "workload": pa.array([f"web-{n}" for n in workload.tolist()]),
    }


def _hour(size: Size, hour: datetime, pods: dict[str, "pa.Array[Any]"]) -> tuple[pa.Table, pa.Table]:
    rng = np.random.default_rng((SEED, hour.toordinal(), hour.hour))
    emissions, nodes = [], []
    for component in size.components:
        base = np.random.default_rng(SEED + 1).uniform(2, 40, size.pods) * (1 if component == "package" else 0.1)
        node = np.arange(size.pods) % size.nodes
        used = base * rng.uniform(0.5, 1.5, size.pods) * SECONDS
        of_workloads = np.bincount(node, used, size.nodes)
        system, idle = of_workloads * 0.05, rng.uniform(20, 60, size.nodes) * SECONDS
        emissions.append(_rows(hour, component, "workload", node, used, pods))
        for kind, joules in (("system", system), ("idle", idle)):
            emissions.append(_rows(hour, component, kind, np.arange(size.nodes), joules, {}))
        nodes.append(_node_rows(hour, component, of_workloads, system, idle))
    return _priced(pa.concat_tables(emissions), hour), pa.concat_tables(nodes)


def _rows(
    hour: datetime, component: str, kind: str, node: Ids, joules: Floats, who: dict[str, "pa.Array[Any]"]
) -> pa.Table:
    owned: dict[str, object] = {"workload_kind": "Deployment", "owner_source": "label"} if who else {}
    fixed = {
        "hour_utc": hour, "cluster": CLUSTER, "component": component, "kind": kind, "tail_joules": 0.0,
        "coverage_ratio": 1.0, "meter": "kepler", "method_version": METHOD_VERSION, **owned,
    }  # fmt: skip
    return _table(EMISSIONS, len(joules), fixed, {"node": _node_names(node), "energy_joules": pa.array(joules), **who})


def _node_rows(hour: datetime, component: str, workloads: Floats, system: Floats, idle: Floats) -> pa.Table:
    fixed = {
        "hour_utc": hour, "cluster": CLUSTER, "component": component, "bridged_joules": 0.0, "residual_joules": 0.0,
        "quarantined_joules": 0.0, "workload_scale": 1.0, "coverage_ratio": 1.0, "expected_ratio": 1.0, "resets": 0,
        "wraps": 0, "skews": 0, "meter": "kepler", "cross_meter": "kepler_node_cpu_joules_total", "cross_ratio": 1.0,
        "method_version": METHOD_VERSION, "run_id": RUN_ID, "revision": 0,
    }  # fmt: skip
    told = {
        "node": _node_names(np.arange(len(workloads))), "metered_joules": pa.array(workloads + system + idle),
        "workload_joules": pa.array(workloads), "system_joules": pa.array(system), "idle_joules": pa.array(idle),
    }  # fmt: skip
    return _table(NODE_ENERGY, len(workloads), fixed, told)


def _priced(rows: pa.Table, hour: datetime) -> pa.Table:
    """By the hour's own figure, or by none."""
    kwh = pc.multiply(rows.column("energy_joules"), PUE_RATIO / JOULES_PER_KWH)
    told: dict[str, object] = {"pue_ratio": PUE_RATIO, "pue_source": "config", "intensity_quality": "missing"}
    grams = pa.nulls(rows.num_rows, pa.float64())
    if has_figure(hour):
        intensity = intensity_g_per_kwh(hour)
        grams = pc.multiply(kwh, intensity)
        told |= {
            "intensity_steps": 1, "carbon_intensity_g_per_kwh": intensity, "intensity_zone": ZONE,
            "intensity_provider": "csv", "intensity_factor_type": "lifecycle", "intensity_basis": "consumption",
            "intensity_quality": "measured" if hour.hour % 7 else "estimated", "intensity_updated_utc": hour + 3 * HOUR,
        }  # fmt: skip
    told |= {"run_id": RUN_ID, "revision": 0}
    whole = {name: rows.column(name) for name in ENERGY.names}
    return _table(EMISSIONS, rows.num_rows, told, {**whole, "facility_energy_kwh": kwh, "emissions_gco2e": grams})


def _table(schema: pa.Schema, count: int, fixed: dict[str, object], columns: dict[str, Any]) -> pa.Table:
    """Columns as they are, one value for all rows, or null."""
    made = [
        columns[field.name] if field.name in columns
        else pa.repeat(pa.scalar(fixed[field.name], field.type), count) if field.name in fixed
        else pa.nulls(count, field.type)
        for field in schema
    ]  # fmt: skip
    return pa.table(made, schema=schema)


def _node_names(numbers: Ids) -> "pa.Array[Any]":
    return pa.array([f"node-{n:04d}" for n in numbers.tolist()])


def _sorted(rows: pa.Table, name: str) -> pa.Table:
    """Every hour of a day has the same keys, so the order of one is that of all."""
    count = rows.num_rows // 24
    keys = [(column, "ascending") for column in KEYS[name]]
    one = pc.sort_indices(rows[:count], sort_keys=keys).to_numpy().astype(np.int64)
    return rows.take(pa.array((np.arange(24)[:, None] * count + one).ravel()))


def write_day(root: Path, day: date, tables: DayTables) -> None:
    """Put one day into the warehouse at `root`."""
    written = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1, hours=1)
    commits = [
        Commit(CLUSTER, hour, "complete", RUN_ID, 0, written, "digest")
        for hour in sorted(pc.unique(tables.emissions.column("hour_utc")).to_pylist())
    ]
    footer = footer_text(commits)
    nodes = tables.node_energy.replace_schema_metadata({DIGEST_KEY: digest(footer)})
    replace_partition(root, "node_energy", CLUSTER, day, nodes, nothing)
    rows = tables.emissions.replace_schema_metadata({FOOTER_KEY: footer})
    replace_partition(root, "emissions", CLUSTER, day, rows, nothing)
    Warehouse(root).roll_up(CLUSTER, day)
    told = append_file(root, "hours", hours_rows(one.row(written) for one in commits), RUN_ID, written.date(), nothing)
    replaced = (partition_path(root, table, CLUSTER, day) for table in ("emissions", *months.TABLES_OF_MONTHS))
    for path in filter(None, (told, *replaced)):
        os.utime(path, (written.timestamp(), written.timestamp()))


def write_figures(root: Path, first: date, days: int) -> None:
    """What prices and what is asked beside the hours: averages, marginal rates, a contract, and when all was asked."""
    start = datetime(first.year, first.month, first.day, tzinfo=UTC)
    end = start + timedelta(days=days)
    hours = [start + n * HOUR for n in range(24 * days)]
    zone, provider, signal, factor_type = MARGINAL
    average = {"zone": ZONE, "provider": "csv", "signal": "average", "factor_type": "lifecycle", "basis": "consumption"}
    marginal = {"zone": zone, "provider": provider, "signal": signal, "factor_type": factor_type, "basis": "unknown"}
    span = {"start_utc": start, "end_utc": end, "fetched_utc": end}
    told: dict[str, Iterator[dict[str, object]]] = {
        "intensity": (
            who | {"start_utc": hour, "end_utc": hour + HOUR, "quality": "measured", "fetched_utc": hour + 4 * HOUR}
            | {"carbon_intensity_g_per_kwh": intensity_g_per_kwh(hour) * factor}
            for who, factor in ((average, 1.0), (marginal, 1.5))
            for hour in hours
        ),
        "intensity_checks": (
            {name: average[name] for name in ("zone", "provider", "signal", "factor_type")}
            | {"start_utc": hour, "end_utc": hour + 24 * HOUR, "asked_utc": hour + 50 * HOUR, "outcome": "ok"}
            for hour in hours[::24]
        ),
        "market_factors": iter([
            span | {"cluster": CLUSTER, "g_per_kwh": 0.0, "instrument": "wind", "share_ratio": 0.4}
            | {"factor_type": "lifecycle"},
            span | {"cluster": CLUSTER, "g_per_kwh": 520.0, "instrument": "residual mix", "factor_type": "lifecycle"},
        ]),
        "cluster_zones": iter([
            {"cluster": CLUSTER, "signal": signal, "provider": provider, "zone": zone, "factor_type": factor_type}
            | {"fetched_utc": end}
        ]),
    }  # fmt: skip
    for table, rows in told.items():
        whole = pa.Table.from_pylist([*rows], APPEND_ONLY_TABLES[table])
        append_file(root, table, whole, RUN_ID, end.date(), nothing)


def write(root: Path, size: Size, days: int, first: date = FIRST_DAY) -> int:
    """A whole warehouse with its views; the number of emissions rows."""
    rows = 0
    for number in range(days):
        day = first + timedelta(days=number)
        tables = priced_day(size, day)
        write_day(root, day, tables)
        rows += tables.emissions.num_rows
        if number % 10 == 9:
            print(f"{number + 1} of {days} days, {rows:,} rows", file=sys.stderr)
    write_figures(root, first, days)
    last = first + timedelta(days=days - 1)  # on its evening, so that its month is not over
    months.put_together(root, datetime(last.year, last.month, last.day, 23, tzinfo=UTC), nothing)
    views.refresh_database(root)
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--pods", type=int, default=10_000)
    given = parser.parse_args(arguments)
    write(given.folder, Size(given.pods), given.days)


if __name__ == "__main__":
    main()
