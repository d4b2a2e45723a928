"""A warehouse of schema version 1, as the first releases wrote it, kept in `year_old/`: who opens it finds it whole.

Every table lies there with the columns that it had first, among them a row of `node_energy` whose commit a kill
prevented. The files are never written again.
"""

import hashlib
import shutil
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import pandas as pd
import polars
import pyarrow.parquet as pq
import pytest

from pipeline.errors import SchemaError
from pipeline.sinks.partitions import VERSION_KEY, partition_path
from pipeline.sinks.views import DATABASE, open_views, refresh_database
from pipeline.sinks.warehouse import Warehouse
from pipeline.tables import REPLACED_TABLES, SCHEMA_VERSION, TABLES
from tests.sinks import daily, rows
from tests.sinks.rows import CLUSTER

YEAR_OLD = Path(__file__).with_name("year_old")
DAY = date(2025, 11, 1)
HOURS = [datetime(2025, 11, 1, hour, tzinfo=UTC) for hour in range(3)]
YOUNGER = {"teams"}  # tables that the first releases did not have
OLDEST = [table for table in TABLES if table not in YOUNGER]
STORED = dict.fromkeys(OLDEST, 1) | {
    "emissions": 6, "emissions_daily": 3, "node_energy": 3, "processes": 2, "hours": 2,
}  # fmt: skip
# Of the names and types of all columns, by schema version: who adds a column raises the version.
COLUMNS_SHA256 = {3: "3a21011bb457"}


def file_of(table: str) -> Path:
    (path,) = (YEAR_OLD / table).rglob("*.parquet")
    return path


def a_copy(folder: Path) -> Path:
    return Path(shutil.copytree(YEAR_OLD, folder / "warehouse"))


@pytest.mark.parametrize("table", OLDEST)
def test_columns_were_only_added_and_only_at_the_end(table: str) -> None:
    first = pq.ParquetFile(file_of(table)).schema_arrow
    names = [name for name in TABLES[table].names if name != "cluster" or table not in REPLACED_TABLES]
    assert names[: len(first.names)] == first.names
    assert [TABLES[table].field(name).type for name in first.names] == first.types


def test_who_adds_a_column_raises_the_schema_version() -> None:
    told = "\n".join(f"{table}.{field.name} {field.type}" for table, schema in TABLES.items() for field in schema)
    assert {SCHEMA_VERSION: hashlib.sha256(told.encode()).hexdigest()[:12]} == COLUMNS_SHA256


@pytest.mark.parametrize("table", OLDEST)
def test_duckdb_opens_it_with_all_columns_of_today(tmp_path: Path, table: str) -> None:
    root = a_copy(tmp_path)
    refresh_database(root)
    with duckdb.connect(str(root / DATABASE), read_only=True) as connection:
        stored = connection.sql(f"from stored.{table}").to_arrow_table()
        shown = connection.sql(f"from {table}").to_arrow_table()
    assert stored.num_rows == STORED[table]
    assert shown.num_rows == STORED[table] - (table == "node_energy")
    assert shown.column_names[:-1] == TABLES[table].names
    younger = set(TABLES[table].names) - set(pq.ParquetFile(file_of(table)).schema_arrow.names) - {"cluster"}
    assert all(shown.column(name).null_count == shown.num_rows for name in younger)
    assert shown.column(TABLES[table].names[0]).null_count == 0


def test_lists_of_steps_are_read_as_they_were_written() -> None:
    with open_views(YEAR_OLD) as connection:
        steps = connection.sql("select step_joules from emissions where kind = 'workload'").fetchall()
    assert steps == [([1.8e6, 1.8e6],)] * 2


@pytest.mark.parametrize("table", OLDEST)
def test_pandas_opens_it(table: str) -> None:
    frame = pd.read_parquet(YEAR_OLD / table)
    assert len(frame) == STORED[table]
    assert set(frame["date"].astype(str)) == {"2025-11-01" if table in REPLACED_TABLES else "2025-11-02"}


@pytest.mark.parametrize("table", OLDEST)
def test_polars_opens_it(table: str) -> None:
    frame = polars.read_parquet(YEAR_OLD / table / "**" / "*.parquet", hive_partitioning=True)
    assert frame.height == STORED[table]
    assert [str(day) for day in frame["date"].unique()] == ["2025-11-01" if table in REPLACED_TABLES else "2025-11-02"]


def test_a_commit_of_today_brings_its_partition_to_todays_schema_and_keeps_its_figures(tmp_path: Path) -> None:
    root = a_copy(tmp_path)
    warehouse = Warehouse(root)
    with warehouse.partition_lock(CLUSTER, DAY, rows.StillClock(), 10):
        assert warehouse.recover(CLUSTER, DAY, rows.FIRST.priced_utc, "run-1").torn_hours == (HOURS[2],)
        rows.commit(warehouse, rows.complete(HOURS[2:]), rows.day(HOURS[2:]))
    assert daily.rolled_up(root) == daily.summed(root) == daily.stored(root)
    assert [row["hour_utc"] for row in warehouse.read_table("node_energy").to_pylist()] == HOURS
    energy = warehouse.read_table("emissions", end=HOURS[2]).column("energy_joules").to_pylist()
    assert sum(energy) == 2 * 5.4e6
    for table in REPLACED_TABLES:
        metadata = pq.read_metadata(partition_path(root, table, CLUSTER, DAY)).metadata
        assert metadata[VERSION_KEY.encode()] == str(SCHEMA_VERSION).encode()


def test_a_partition_of_a_newer_release_is_refused_and_stays(tmp_path: Path) -> None:
    root = a_copy(tmp_path)
    path = partition_path(root, "emissions", CLUSTER, DAY)
    newer = pq.ParquetFile(path).read().replace_schema_metadata({VERSION_KEY: str(SCHEMA_VERSION + 1)})
    pq.write_table(newer, path)
    before = path.read_bytes()
    warehouse = Warehouse(root)
    with pytest.raises(SchemaError, match=rf"schema version {SCHEMA_VERSION + 1}, this carbon-etl knows"):
        rows.commit(warehouse, rows.complete(HOURS[:1]), rows.day(HOURS[:1]))
    assert path.read_bytes() == before
