"""Price a day of energy rows and write it as parquet: by the product, by pandas, by DuckDB; one a process.

    python -m benchmarks.rival_writers WAY FOLDER

The folder holds `energy.parquet` and `nodes.parquet` as a fold leaves them, and `grid.csv`; `written` is made in it.
"""

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.prices import Fresh
from pipeline.settings import Settings
from pipeline.sinks.warehouse import DayTables, HourCommit, RunStamp, Warehouse
from pipeline.site import open_site
from pipeline.tables import PUE, QUARANTINE
from pipeline.terminal import SystemClock
from pipeline.transforms.revisions import revision_rows
from pipeline.window import HOUR, Window

OURS, PANDAS, DUCKDB = "carbon-etl", "pandas", "DuckDB PARTITION_BY"
PUE_RATIO, JOULES_PER_KWH = 1.25, 3.6e6


def by_product(folder: Path) -> None:
    """As a run does it from the folded rows on: choose prices, price, check, compare, commit."""
    energy, nodes = (pq.read_table(folder / f"{name}.parquet") for name in ("energy", "nodes"))
    commit(price(energy, folder), nodes, folder)


def price(energy: pa.Table, folder: Path) -> pa.Table:
    """Energy rows of one cluster with what they are priced by, and grams."""
    csv = {"providers": ["csv"], "csv": {"path": str(folder / "grid.csv")}}
    name = energy.column("cluster")[0].as_py()
    cluster = {"name": name, "prometheus_url": "http://127.0.0.1:9", "grid_zone": "DE", "pue": PUE_RATIO}
    clock = SystemClock()
    prices = open_site(name, Settings.model_validate({"clusters": [cluster], "intensity": csv}), {}, clock).prices
    stamps = pc.min_max(energy.column("hour_utc")).as_py()
    window, now = Window(stamps["min"], stamps["max"] + HOUR), clock.now()
    offered = prices.files["csv"].read(prices.zones["csv"], window, prices.rule.factor_type, now)
    known = prices.known(Warehouse(folder / "written"), window, Fresh(offered, PUE.empty_table()))
    return prices.price(energy, known, now)[0]


def commit(priced: pa.Table, nodes: pa.Table, folder: Path) -> None:
    """Make priced rows of one day the warehouse's."""
    clock, warehouse = SystemClock(), Warehouse(folder / "written")
    hours = sorted(pc.unique(priced.column("hour_utc")).to_pylist())
    commits = [HourCommit(hour, "complete") for hour in hours]
    name, day = priced.column("cluster")[0].as_py(), hours[0].date()
    tables, stamp = DayTables(priced, nodes, QUARANTINE.empty_table()), RunStamp("bench", clock.now(), "digest")
    with warehouse.partition_lock(name, day, clock, 10):
        warehouse.commit_day(name, day, commits, tables, stamp, revision_rows)


def by_pandas(folder: Path) -> None:
    """A join and a partitioned write."""
    rows = pd.read_parquet(folder / "energy.parquet")
    grid = pd.read_csv(folder / "grid.csv", parse_dates=["start_utc"]).rename(columns={"start_utc": "hour_utc"})
    rows = rows.merge(grid[["hour_utc", "carbon_intensity_g_per_kwh", "quality", "basis"]], on="hour_utc", how="left")
    rows["pue_ratio"] = PUE_RATIO
    rows["facility_energy_kwh"] = rows["energy_joules"] / JOULES_PER_KWH * PUE_RATIO
    rows["emissions_gco2e"] = rows["facility_energy_kwh"] * rows["carbon_intensity_g_per_kwh"]
    rows["date"] = rows["hour_utc"].dt.date.astype(str)
    rows.to_parquet(folder / "written", partition_cols=["cluster", "date"], compression="zstd")


def by_duckdb(folder: Path) -> None:
    """The same in SQL, sorted as a reader wants it."""
    (folder / "written").mkdir()
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.execute(f"""
            copy (
                select rows.*, grid.carbon_intensity_g_per_kwh, quality, basis, {PUE_RATIO} as pue_ratio,
                    energy_joules / {JOULES_PER_KWH} * {PUE_RATIO} as facility_energy_kwh,
                    energy_joules / {JOULES_PER_KWH} * {PUE_RATIO} * grid.carbon_intensity_g_per_kwh as emissions_gco2e,
                    hour_utc::date as date
                from read_parquet('{folder}/energy.parquet') as rows
                left join read_csv('{folder}/grid.csv') as grid on grid.start_utc = rows.hour_utc
                order by hour_utc, node, component, kind, namespace, pod
            ) to '{folder}/written' (format parquet, partition_by (cluster, date), compression zstd)""")


WRITERS: Mapping[str, Callable[[Path], None]] = {OURS: by_product, PANDAS: by_pandas, DUCKDB: by_duckdb}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("way", choices=WRITERS)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args(arguments)
    pa.array([1]).take(pa.array([0]))  # imports what any run has imported by then
    began = time.perf_counter()
    WRITERS[given.way](given.folder)
    print(json.dumps({"seconds": time.perf_counter() - began}))


if __name__ == "__main__":
    main()
