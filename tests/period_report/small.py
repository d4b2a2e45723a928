"""Two days of two clusters, small enough to add up on paper: three hours each.

before   prod-eu 4 kWh an hour, PUE 1.5, 200 g/kWh    12 kWh, 18 kWh of the site, 3,600 g
         prod-us 5 kWh an hour, PUE 1.2,  50 g/kWh    15 kWh, 18 kWh of the site,   900 g
now      prod-eu 5 kWh an hour, PUE 1.5, 160 g/kWh    15 kWh, 22.5 kWh,           3,600 g
         prod-us 7 kWh an hour, PUE 1.2,  50 g/kWh    21 kWh, 25.2 kWh, of the last hour nobody knows grams: 840 g
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa

from pipeline.books.periods import Period
from pipeline.period_report.amounts import Line
from pipeline.period_report.figures import Figures
from pipeline.period_report.gathering import gather
from pipeline.sinks.warehouse import RunStamp, Warehouse
from pipeline.tables import CLOSINGS, TABLES
from pipeline.window import HOUR, Window
from tests.sinks.rows import HourCommit, commit, emission, metered, tables, withheld

EU, US = "prod-eu", "prod-us"
BEFORE, NOW, AFTER = (datetime(2026, 10, 31, tzinfo=UTC) + timedelta(days=n) for n in range(3))
DAY = Period("the day", Window(NOW, AFTER))
MADE = AFTER + 9 * HOUR + timedelta(minutes=30)
KWH = 3.6e6
KINDS = ("workload", "system", "idle")
# cluster, namespace, workload or kind: kWh an hour before and now
USED = (
    (EU, "shop", "web", 2, 3),
    (EU, "shop", "db", 1, 1),
    (EU, None, "system", 0.5, 0.5),
    (EU, None, "idle", 0.5, 0.5),
    (US, "ml", "train", 4, 6),
    (US, None, "idle", 1, 1),
)
PRICES = {(EU, BEFORE): (1.5, 200.0), (EU, NOW): (1.5, 160.0), (US, BEFORE): (1.2, 50.0), (US, NOW): (1.2, 50.0)}
UNPRICED = dict.fromkeys(
    ("carbon_intensity_g_per_kwh", "intensity_zone", "intensity_provider", "intensity_factor_type", "intensity_basis")
) | {"intensity_quality": "missing"}


def fill(root: Path, days: Sequence[datetime] = (BEFORE, NOW), **columns: object) -> Warehouse:
    """Those days; `columns` of emissions as they are told."""
    warehouse = Warehouse(root)
    for day in days:
        for cluster in (EU, US):
            lacking = [NOW + 2 * HOUR] if (cluster, day) == (US, NOW) else []
            add(warehouse, cluster, [day + n * HOUR for n in range(3)], f"run-{day:%m%d}", lacking, **columns)
    return warehouse


def add(
    warehouse: Warehouse,
    cluster: str,
    hours: Sequence[datetime],
    run_id: str,
    lacking: Sequence[datetime] = (),
    **columns: object,
) -> None:
    """Hours of one day; of those that are lacking there is no intensity, a hole and something withheld."""
    rows, nodes = [], []
    for hour in hours:
        found = list(_rows(cluster, hour, columns | (UNPRICED if hour in lacking else {})))
        joules = {kind: sum(float(str(row["energy_joules"])) for row in found if row["kind"] == kind) for kind in KINDS}
        holed = {"coverage_ratio": 0.5, "check": "workloads_exceed_active"} if hour in lacking else {}
        rows, nodes = rows + found, [*nodes, metered(hour, *joules.values(), cluster=cluster, **holed)]
    states = [HourCommit(hour, "partial" if hour in lacking else "complete") for hour in hours]
    stamp = RunStamp(run_id, floor_day(hours[0]) + timedelta(days=1), "digest-1")
    kept_apart = [withheld(hour, KWH) | {"cluster": cluster} for hour in lacking]
    commit(warehouse, states, tables(rows, nodes, kept_apart), stamp, cluster)


def floor_day(moment: datetime) -> datetime:
    return moment.replace(hour=0)


def _rows(cluster: str, hour: datetime, columns: Mapping[str, object]) -> Iterator[dict[str, object]]:
    day = floor_day(hour)
    pue, intensity = PRICES[cluster, day]
    shared: dict[str, object] = {
        "cluster": cluster,
        "pue_ratio": pue,
        "carbon_intensity_g_per_kwh": intensity,
        **columns,
    }
    for of, namespace, name, before, now in USED:
        if of == cluster:
            workload = {
                "namespace": namespace,
                "workload": name,
                "workload_kind": "Deployment",
                "pod": name,
                "pod_uid": name,
            }
            joules = (before if day == BEFORE else now) * KWH
            yield emission(hour, "workload" if namespace else name, joules, **shared, **(workload if namespace else {}))


def close(warehouse: Warehouse, grams: float) -> None:
    """Close the day of prod-eu's shop with these grams."""
    row = dict.fromkeys(CLOSINGS.names) | {
        "period": DAY.name, "cluster": EU, "namespace": "shop", "energy_joules": 12 * KWH, "emissions_gco2e": grams,
        "closed_utc": AFTER + HOUR, "start_utc": NOW, "end_utc": AFTER, "intensity_factor_type": "lifecycle",
        "materiality_ratio": 0.01, "unpriced_energy_joules": 0.0, "lacking_hours": 0, "run_id": "close",
    }  # fmt: skip
    warehouse.append("closings", pa.Table.from_pylist([row], CLOSINGS), "close", AFTER.date())


def map_teams(warehouse: Warehouse) -> None:
    """`shop` is of team `sales`; nobody's are the others."""
    row = dict.fromkeys(TABLES["teams"].names) | {
        "cluster": EU,
        "namespace": "shop",
        "team": "sales",
        "fetched_utc": AFTER,
    }
    warehouse.append("teams", pa.Table.from_pylist([row], TABLES["teams"]), "teams", AFTER.date())


def figures(root: Path, period: Period = DAY, clusters: Sequence[str] | None = None, now: datetime = MADE) -> Figures:
    """The figures of the day, of whatever is stored."""
    return gather(root, period, clusters, [EU, US], now)


def amounts(line: Line) -> tuple[float | None, float | None, float | None]:
    """IT kWh, facility kWh and grams of a line now."""
    assert line.now is not None
    return line.now.energy_kwh, line.now.facility_energy_kwh, line.now.emissions_gco2e
