"""Hand-made days of a warehouse: small enough to add up on paper, used by the tests and by the processes they kill."""

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa

from pipeline.sinks.views import open_views
from pipeline.sinks.warehouse import DayResult, DayTables, HourCommit, Recovery, RunStamp, Warehouse
from pipeline.tables import EMISSIONS, NODE_ENERGY, PROCESSES, QUARANTINE
from pipeline.transforms.revisions import revision_rows

CLUSTER = "prod-eu"
DAY = date(2026, 11, 1)
HOURS = [datetime(2026, 11, 1, hour, tzinfo=UTC) for hour in range(24)]
FIRST = RunStamp("run-1", datetime(2026, 11, 2, 1, tzinfo=UTC), "digest-1")
SECOND = RunStamp("run-2", datetime(2026, 11, 2, 2, tzinfo=UTC), "digest-1")
THIRD = RunStamp("run-3", datetime(2026, 11, 2, 3, tzinfo=UTC), "digest-1")
NOTHING_TO_RECOVER = Recovery((), ())


class StillClock:
    """A clock whose time only passes by sleeping on it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return datetime(2026, 11, 2, 3, tzinfo=UTC)

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


def emission(hour: datetime, kind: str, joules: float, **columns: object) -> dict[str, object]:
    """A priced row: 100 g/kWh at PUE 1.5 unless `columns` say otherwise."""
    pue, intensity = columns.get("pue_ratio", 1.5), columns.get("carbon_intensity_g_per_kwh", 100.0)
    kwh = None if pue is None else joules / 3.6e6 * float(str(pue))
    row: dict[str, object] = dict.fromkeys(EMISSIONS.names)
    row |= {"hour_utc": hour, "cluster": CLUSTER, "node": "n1", "component": "package", "kind": kind}
    row |= {"energy_joules": joules, "pue_ratio": pue, "pue_source": "config", "intensity_steps": 1}
    row |= {"facility_energy_kwh": kwh, "carbon_intensity_g_per_kwh": intensity, "intensity_zone": "DE"}
    row |= {"intensity_provider": "csv", "intensity_factor_type": "lifecycle", "intensity_basis": "consumption"}
    row |= {"intensity_quality": "measured", "coverage_ratio": 1.0, "meter": "kepler", "method_version": "1"}
    row["emissions_gco2e"] = None if kwh is None or intensity is None else kwh * float(str(intensity))
    return row | columns


def pod(hour: datetime, name: str, joules: float, **columns: object) -> dict[str, object]:
    """A workload row of Deployment `name` in namespace `shop`."""
    identity = {"namespace": "shop", "pod": f"{name}-0", "pod_uid": f"uid-{name}", "workload_kind": "Deployment"}
    return emission(hour, "workload", joules, **(identity | {"workload": name, "owner_source": "label"} | columns))


def metered(hour: datetime, workload: float, system: float, idle: float, **columns: object) -> dict[str, object]:
    row: dict[str, object] = dict.fromkeys(NODE_ENERGY.names)
    row |= {"hour_utc": hour, "cluster": CLUSTER, "node": "n1", "component": "package", "meter": "kepler"}
    row |= {"metered_joules": workload + system + idle, "workload_joules": workload, "system_joules": system}
    row |= {"idle_joules": idle, "coverage_ratio": 1.0, "expected_ratio": 1.0, "method_version": "1", "resets": 0}
    return row | columns


def process(hour: datetime, exe: str, joules: float) -> dict[str, object]:
    row = {"hour_utc": hour, "cluster": CLUSTER, "node": "n1", "exe": exe, "cmdline": exe, "energy_joules": joules}
    return row | {"meter": "kepler", "method_version": "1", "run_id": None, "revision": None}


def withheld(hour: datetime, joules: float) -> dict[str, object]:
    row: dict[str, object] = dict.fromkeys(QUARANTINE.names)
    row |= {"hour_utc": hour, "cluster": CLUSTER, "node": "n1", "component": "package", "energy_joules": joules}
    return row | {"meter": "kepler", "check": "ceiling", "evidence": f"{joules} J", "method_version": "1"}


def tables(
    emissions: list[dict[str, object]],
    node_energy: list[dict[str, object]],
    quarantine: list[dict[str, object]] | None = None,
    processes: list[dict[str, object]] | None = None,
) -> DayTables:
    return DayTables(
        pa.Table.from_pylist(emissions, schema=EMISSIONS),
        pa.Table.from_pylist(node_energy, schema=NODE_ENERGY),
        pa.Table.from_pylist(quarantine or [], schema=QUARANTINE),
        None if processes is None else pa.Table.from_pylist(processes, schema=PROCESSES),
    )


def day(hours: list[datetime], web_joules: float = 3.6e6, intensity: float = 100.0) -> DayTables:
    """Per hour: `web`, `db` 1.8 MJ, system 0.9 MJ, idle 0.9 MJ, one process, one quarantined interval."""
    priced: dict[str, object] = {"carbon_intensity_g_per_kwh": intensity}
    emissions, node_energy, quarantine, processes = [], [], [], []
    for hour in hours:
        emissions += [pod(hour, "web", web_joules, **priced), pod(hour, "db", 1.8e6, **priced)]
        emissions += [emission(hour, "system", 0.9e6, **priced), emission(hour, "idle", 0.9e6, **priced)]
        node_energy.append(metered(hour, web_joules + 1.8e6, 0.9e6, 0.9e6))
        quarantine.append(withheld(hour, 5e9))
        processes.append(process(hour, "/bin/web", web_joules))
    return tables(emissions, node_energy, quarantine, processes)


def complete(hours: list[datetime]) -> list[HourCommit]:
    return [HourCommit(hour, "complete") for hour in hours]


def commit(
    warehouse: Warehouse, hours: list[HourCommit], new: DayTables, stamp: RunStamp = FIRST, cluster: str = CLUSTER
) -> DayResult:
    return warehouse.commit_day(cluster, hours[0].hour_utc.date(), hours, new, stamp, revision_rows)


def commit_like_a_run(warehouse: Warehouse, hours: list[HourCommit], new: DayTables, stamp: RunStamp) -> DayResult:
    """Lock, recover, commit: what run.py does with a day."""
    with warehouse.partition_lock(CLUSTER, DAY, StillClock(), 10):
        warehouse.recover(CLUSTER, DAY, stamp.priced_utc, stamp.run_id)
        return commit(warehouse, hours, new, stamp)


def contents(root: Path) -> dict[str, list[dict[str, object]]]:
    """What readers see in every view, without what P2 and P3 leave out."""
    shown = ("emissions", "node_energy", "processes", "quarantine", "revisions", "hours")
    left_out = {"run_id", "written_utc", "priced_utc", "written_date"}
    found = {}
    with open_views(root, " ".join(shown)) as connection:
        for view in shown:
            rows = connection.sql(f"from {view} order by all").to_arrow_table().to_pylist()
            found[view] = sorted(
                ({name: value for name, value in row.items() if name not in left_out} for row in rows), key=repr
            )
    return found


def without_processes(new: DayTables) -> DayTables:
    return replace(new, processes=None)


def second_commit() -> tuple[list[HourCommit], DayTables]:
    """Hour 0 as `day` has it, hour 1 with `web` at 4 MJ, hour 2 new."""
    parts = [day(HOURS[:1]), day(HOURS[1:2], web_joules=4e6), day(HOURS[2:3])]
    columns = ("emissions", "node_energy", "quarantine", "processes")
    return complete(HOURS[:3]), DayTables(
        *(pa.concat_tables([getattr(part, name) for part in parts]) for name in columns)
    )


def files(root: Path) -> dict[str, tuple[int, int]]:
    """Every file with what changes when it is written again."""
    return {str(p.relative_to(root)): (p.stat().st_mtime_ns, p.stat().st_ino) for p in root.rglob("*") if p.is_file()}
