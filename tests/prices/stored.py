"""A warehouse with folded hours and vintages of the grid, and no Prometheus: what repricing works on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.job import Job
from pipeline.prices import Fresh
from pipeline.settings import Settings
from pipeline.sinks.warehouse import DayTables, HourCommit, RunStamp, Warehouse
from pipeline.site import Site, open_site
from pipeline.tables import EMISSIONS, INTENSITY, NODE_ENERGY, QUARANTINE
from pipeline.tables import PUE as PUE_SCHEMA
from pipeline.transforms.revisions import revision_rows
from pipeline.transforms.sheet import ENERGY
from pipeline.window import HOUR, Window

START = datetime(2026, 11, 3, tzinfo=UTC)
CLUSTER, ZONE = "c", "GB"
PUE = 1.25


@dataclass
class StandingClock:
    """A clock that moves only when it is set or slept on."""

    moment: datetime
    slept_seconds: float = 0.0

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.slept_seconds

    def sleep(self, seconds: float) -> None:
        self.slept_seconds += seconds


def settings(folder: Path, **cluster: object) -> Settings:
    """One cluster in GB, priced by Electricity Maps, then NESO; nothing at its address."""
    intensity = {"providers": ["electricity_maps", "neso"], "factor_type": "direct"}
    entry = {
        "name": CLUSTER, "prometheus_url": "http://127.0.0.1:9", "grid_zone": ZONE, "pue": PUE, "intensity": intensity,
    } | cluster  # fmt: skip
    return Settings.model_validate({"warehouse": {"path": str(folder)}, "clusters": [entry]})


def job(given: Settings, now: datetime, *, dry_run: bool = False) -> Job:
    return Job(given, {}, StandingClock(now), dry_run=dry_run)


def site(given: Settings, now: datetime) -> Site:
    return open_site(CLUSTER, given, {}, StandingClock(now))


def energy_rows(hours: list[datetime], steps: int = 1) -> pa.Table:
    """Two workloads and idle a hour, schema ENERGY; with steps, each hour's joules lean to its end."""
    rows = []
    for number, hour in enumerate(hours):
        for kind, pod, joules in (("workload", "web", 3.6e6), ("workload", "db", 1.8e6 + number), ("idle", None, 9e5)):
            row: dict[str, Any] = dict.fromkeys(ENERGY.names)
            lean = np.arange(1, steps + 1)
            row |= {
                "hour_utc": hour, "cluster": CLUSTER, "node": "n1", "component": "package", "kind": kind,
                "namespace": "shop" if pod else None, "pod": pod, "pod_uid": pod, "energy_joules": joules,
                "workload_kind": "Deployment" if pod else None, "workload": pod, "coverage_ratio": 1.0,
                "owner_source": "name" if pod else None, "meter": "kepler", "method_version": "1",
                "step_joules": None if steps == 1 else (joules * lean / lean.sum()).tolist(),
            }  # fmt: skip
            rows.append(row)
    return pa.Table.from_pylist(rows, ENERGY)


def node_rows(hours: list[datetime]) -> pa.Table:
    rows = []
    for number, hour in enumerate(hours):
        row: dict[str, Any] = dict.fromkeys(NODE_ENERGY.names)
        row |= {
            "hour_utc": hour, "cluster": CLUSTER, "node": "n1", "component": "package", "meter": "kepler",
            "metered_joules": 6.3e6 + number, "workload_joules": 5.4e6 + number, "system_joules": 0.0,
            "idle_joules": 9e5, "coverage_ratio": 1.0, "expected_ratio": 1.0, "method_version": "1", "resets": 0,
        }  # fmt: skip
        rows.append(row)
    return pa.Table.from_pylist(rows, NODE_ENERGY)


def fold(given: Settings, hours: list[datetime], now: datetime, run_id: str = "fold", steps: int = 1) -> Warehouse:
    """Commit these hours' energy, priced with whatever the warehouse knows at `now`."""
    here, warehouse = site(given, now), Warehouse(Path(given.warehouse.path))
    nothing_new = Fresh(INTENSITY.empty_table(), PUE_SCHEMA.empty_table())
    known = here.prices.known(warehouse, Window(hours[0], hours[-1] + HOUR), nothing_new)
    priced, _ = here.prices.price(energy_rows(hours, steps), known, now)
    stamp, nodes = RunStamp(run_id, now, here.digest), node_rows(hours)
    for day in sorted({hour.date() for hour in hours}):
        of_day = [hour for hour in hours if hour.date() == day]
        mask = pa.array([hour.date() == day for hour in priced["hour_utc"].to_pylist()], pa.bool_())
        node_mask = pa.array([hour.date() == day for hour in nodes["hour_utc"].to_pylist()], pa.bool_())
        tables = DayTables(priced.filter(mask), nodes.filter(node_mask), QUARANTINE.empty_table())
        with warehouse.partition_lock(CLUSTER, day, StandingClock(now), 5.0):
            warehouse.commit_day(
                CLUSTER, day, [HourCommit(hour, "complete") for hour in of_day], tables, stamp, revision_rows
            )
    return warehouse


def copied(make: Callable[[Path], Warehouse], folder: Path) -> Warehouse:
    """The warehouse that `make` makes in an empty folder, where it has made it before."""
    for name, content in _files(make).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return Warehouse(folder)


@cache
def _files(make: Callable[[Path], Warehouse]) -> dict[Path, bytes]:
    with TemporaryDirectory() as folder:
        make(Path(folder))
        return {path.relative_to(folder): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def vintage(
    hour: datetime, g_per_kwh: float | None, fetched: datetime, minutes: tuple[int, int] = (0, 60), **columns: object
) -> dict[str, Any]:
    """A vintage of Electricity Maps, estimated, unless told otherwise."""
    first, last = minutes
    return {
        "zone": ZONE, "start_utc": hour + timedelta(minutes=first), "end_utc": hour + timedelta(minutes=last),
        "carbon_intensity_g_per_kwh": g_per_kwh, "provider": "electricity_maps", "signal": "average",
        "factor_type": "direct", "basis": "consumption", "quality": "estimated", "updated_utc": fetched, "model": None,
        "fetched_utc": fetched, "payload_id": None,
    } | columns  # fmt: skip


def learn(warehouse: Warehouse, *rows: dict[str, Any], run_id: str = "learn") -> None:
    """Store vintages."""
    table = pa.Table.from_pylist(list(rows), INTENSITY)
    warehouse.append("intensity", table, run_id, max(row["fetched_utc"] for row in rows).date())


def figures(warehouse: Warehouse) -> list[Mapping[str, Any]]:
    """All emissions rows without what P2 and P3 leave out, grams rounded beyond what equal means."""
    names = [name for name in EMISSIONS.names if name not in {"run_id", "revision"}]
    rows = warehouse.read_table("emissions").select(names).to_pylist()
    return [{name: _rounded(value) for name, value in row.items()} for row in rows]


def _rounded(value: object) -> object:
    return float(f"{value:.12g}") if isinstance(value, float) else value
