"""A warehouse of two months, two clusters and a map of teams, small enough to add up on paper.

    cluster  hour              node  kind      of               MJ   PUE  g/kWh   grams
    prod-eu  2026-10-31T22     n1    workload  shop/web         7.2  1.5  200      600
    prod-eu  2026-10-31T22     n1    idle                       3.6  1.5  200      300
    prod-eu  2026-11-01T00     n1    workload  shop/web         3.6  1.5  100      150
    prod-eu  2026-11-01T00     n1    workload  ml/train         7.2  1.5  100      300
    prod-eu  2026-11-01T00     n1    workload  ml/train (gpu)   3.6  1.5  100      150
    prod-eu  2026-11-01T00     n1    system                     1.8  1.5  100       75
    prod-eu  2026-11-01T00     n1    idle                       5.4  1.5  100      225
    prod-eu  2026-11-01T00     n1    idle (gpu)                 0.9  1.5  100       37.5
    prod-eu  2026-11-01T01     n1    workload  shop/web-0, -1   1.8  1.5  300      2 x 225 / 2
    prod-eu  2026-11-01T01     n1    workload  (no name)        1.8  1.5  300      225
    prod-eu  2026-11-01T01     n1    idle                       1.8  1.5  300      225
    prod-eu  2026-11-01T01     n2    idle                       0.9  1.5  300      112.5
    stage    2026-11-01T00     m1    workload  shop/web         3.6  1.0  none     none

Namespace `shop` is of team blue until the end of October, of green from then on; `ml` is of green and `(idle)` of
platform.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa

from pipeline.sinks.warehouse import HourCommit, RunStamp, Warehouse
from pipeline.tables import TEAMS
from tests.sinks import rows

Line: TypeAlias = tuple[str | None, str | None, datetime | None, datetime | None]

OCTOBER = datetime(2026, 10, 31, 22, tzinfo=UTC)
FIRST, SECOND = (datetime(2026, 11, 1, hour, tzinfo=UTC) for hour in (0, 1))
STAMP = RunStamp("run-1", datetime(2026, 11, 2, 1, tzinfo=UTC), "digest-1")
NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)
MAP: list[Line] = [("shop", "blue", None, NOVEMBER), ("shop", "green", NOVEMBER, None), ("ml", "green", None, None),
       ("(idle)", "platform", None, None)]  # fmt: skip
UNPRICED = {"carbon_intensity_g_per_kwh": None, "intensity_quality": "missing", "intensity_basis": None}
GPU = {"component": "gpu", "meter": "dcgm"}


def october() -> list[dict[str, object]]:
    of_grid = {"carbon_intensity_g_per_kwh": 200.0}
    return [rows.pod(OCTOBER, "web", 7.2e6, **of_grid), rows.emission(OCTOBER, "idle", 3.6e6, **of_grid)]


def november() -> list[dict[str, object]]:
    train = {"namespace": "ml", "workload_kind": "Job"}
    of_grid = {"carbon_intensity_g_per_kwh": 300.0}
    pods = [rows.pod(SECOND, "web", 0.9e6, pod=f"web-{n}", pod_uid=f"uid-{n}", **of_grid) for n in range(2)]
    nameless = dict.fromkeys(("namespace", "pod", "pod_uid", "workload_kind", "workload", "owner_source"))
    return [
        rows.pod(FIRST, "web", 3.6e6),
        rows.pod(FIRST, "train", 7.2e6, **train),
        rows.pod(FIRST, "train", 3.6e6, **train, **GPU),
        rows.emission(FIRST, "system", 1.8e6),
        rows.emission(FIRST, "idle", 5.4e6),
        rows.emission(FIRST, "idle", 0.9e6, **GPU),
        *pods,
        rows.pod(SECOND, "", 1.8e6, **nameless, **of_grid),
        rows.emission(SECOND, "idle", 1.8e6, **of_grid),
        rows.emission(SECOND, "idle", 0.9e6, node="n2", **of_grid),
    ]


def metered(emissions: list[dict[str, Any]]) -> list[dict[str, object]]:
    """The node_energy rows that emissions add up to; the second hour of n1 is covered by half."""
    found: dict[tuple[datetime, str, str], dict[str, float]] = {}
    for row in emissions:
        kinds = found.setdefault((row["hour_utc"], row["node"], row["component"]), {})
        kinds[row["kind"]] = kinds.get(row["kind"], 0.0) + row["energy_joules"]
    return [
        rows.metered(
            hour, kinds.get("workload", 0.0), kinds.get("system", 0.0), kinds.get("idle", 0.0), node=node,
            component=component, coverage_ratio=0.5 if (hour, node) == (SECOND, "n1") else 1.0,
        )
        for (hour, node, component), kinds in found.items()
    ]  # fmt: skip


def processes() -> list[dict[str, object]]:
    """`/bin/web` draws 1 kW and then 0.5 kW, `/bin/cron` 1 W in one hour of two."""
    told = [(FIRST, "/bin/web", 3.6e6), (FIRST, "/bin/cron", 3.6e3), (SECOND, "/bin/web", 1.8e6)]
    return [rows.process(*one) for one in told] + [rows.process(SECOND, "(other)", 9e6)]


def fill(root: Path, teams: list[Line] | None = None) -> Warehouse:
    """Commit both months and declare the map."""
    warehouse = Warehouse(root)
    before, after = october(), november()
    staged = [dict(rows.pod(FIRST, "web", 3.6e6, node="m1", pue_ratio=1.0, **UNPRICED), cluster="stage")]
    rows.commit(warehouse, rows.complete([OCTOBER]), rows.tables(before, metered(before)), STAMP)
    hours = [*rows.complete([FIRST]), HourCommit(SECOND, "partial", "hole on n1")]
    withheld = [dict(rows.withheld(FIRST, 5e9), namespace="shop")]
    rows.commit(warehouse, hours, rows.tables(after, metered(after), withheld, processes()), STAMP)
    of_stage = [dict(row, cluster="stage") for row in metered(staged)]
    rows.commit(warehouse, rows.complete([FIRST]), rows.tables(staged, of_stage), STAMP, "stage")
    declare(warehouse, MAP if teams is None else teams, STAMP.priced_utc)
    return warehouse


def declare(warehouse: Warehouse, teams: list[Line], fetched_utc: datetime) -> None:
    """What a run stores of a map, for both clusters."""
    names = ("namespace", "team", "start_utc", "end_utc")
    lines = [
        {"cluster": cluster, **dict(zip(names, line, strict=True)), "fetched_utc": fetched_utc}
        for cluster in ("prod-eu", "stage")
        for line in teams
    ]
    warehouse.append("teams", pa.Table.from_pylist(lines, TEAMS), "run-1", fetched_utc.date())
