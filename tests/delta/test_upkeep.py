"""What grows in an object store is kept small, and no reader notices; what killed processes left here goes."""

import os
import signal
import subprocess
import sys
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from pipeline.sinks.delta.access import Access
from pipeline.sinks.delta.remote_table import RemoteTable
from pipeline.sinks.delta.warehouse import ObjectStoreWarehouse
from pipeline.sinks.delta.working_copy import WorkingCopy
from pipeline.tables import EMISSIONS, TABLES
from tests.delta.conftest import AT_LENGTH, ObjectStore
from tests.delta.s3_server import BUCKET
from tests.delta.stores import commit_first, contents, open_store
from tests.product import ROOT
from tests.sinks import rows


@pytest.fixture
def path(tmp_path: Path) -> str:
    return f"s3://{BUCKET}/{tmp_path.name}"


@AT_LENGTH
def test_small_objects_of_past_days_become_one_and_no_row_changes(path: str, object_store: ObjectStore) -> None:
    warehouse = open_store(path, object_store.env)
    commit_first(warehouse)
    rows.commit_like_a_run(warehouse, *rows.second_commit(), rows.SECOND)
    before = rows.contents(warehouse.root)
    assert warehouse.compact(rows.StillClock()) == 0  # all of it was written today
    tomorrow = rows.StillClock()
    tomorrow.now = lambda: rows.StillClock().now().replace(day=3)  # type: ignore[method-assign]
    assert warehouse.compact(tomorrow) == 2  # hours and quarantine
    after = open_store(path, object_store.env)
    assert rows.contents(after.root) == before
    assert len(list((after.root / "hours").rglob("*.parquet"))) == 1
    assert warehouse.compact(tomorrow) == 0
    commit_again = rows.commit_like_a_run(warehouse, *rows.second_commit(), rows.THIRD)
    assert commit_again.rewritten == {}


@AT_LENGTH
def test_a_table_of_an_older_release_gets_the_columns_it_lacks(path: str, object_store: ObjectStore) -> None:
    access = Access.of(path, object_store.env)
    older = pa.schema([field for field in TABLES["quarantine"] if field.name != "evidence"])
    DeltaTable.create(
        f"{path}/quarantine", older.append(pa.field("date", pa.date32())), partition_by=["date"],
        storage_options=access.options,
    )  # fmt: skip
    warehouse = open_store(path, object_store.env)
    commit_first(warehouse)
    read = DeltaTable(f"{path}/quarantine", storage_options=access.options).to_pyarrow_table()
    assert set(read["evidence"].to_pylist()) == {"5000000000.0 J"}
    assert contents(path, object_store.env)["quarantine"][0]["evidence"] == "5000000000.0 J"


@AT_LENGTH
def test_a_cache_spares_what_was_downloaded_and_forgets_what_no_table_names(
    tmp_path: Path, path: str, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    access, cache = Access.of(path, object_store.env), tmp_path / "cache"
    commit_first(open_store(path, object_store.env))
    downloads: list[str] = []
    download = RemoteTable.download

    def counted(table: RemoteTable, name: str, target: Path) -> None:
        downloads.append(f"{table.name}/{name}")
        download(table, name, target)

    monkeypatch.setattr(RemoteTable, "download", counted)
    first = ObjectStoreWarehouse(access, cache)
    assert len(downloads) == 6  # four partitions, hours, quarantine
    second = ObjectStoreWarehouse(access, cache)
    assert rows.contents(second.root) == rows.contents(first.root)
    assert len(downloads) == 6
    replaced = next(cache.glob("*/objects/emissions/*/*/*.parquet"))
    rows.commit_like_a_run(first, *rows.second_commit(), rows.SECOND)
    third = ObjectStoreWarehouse(access, cache)
    assert rows.contents(third.root) == rows.contents(first.root)
    assert len(downloads) == 6  # what was committed here is here
    assert not replaced.exists()


@AT_LENGTH
def test_the_folder_of_a_process_goes_with_it_and_that_of_a_killed_one_with_the_next(tmp_path: Path) -> None:
    script = "import sys, pathlib; from pipeline.sinks.delta.working_copy import WorkingCopy as W\n"
    script += "copy = W('s3://b/p', pathlib.Path(sys.argv[1])); print(copy.tree, flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", script, str(tmp_path)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        tree = Path(process.stdout.readline().strip())
        alive = WorkingCopy("s3://b/p", tmp_path)
        assert (tree.is_dir(), alive.tree.is_dir()) == (True, True)
        os.kill(process.pid, signal.SIGKILL)
    gone = alive.tree
    another = WorkingCopy("s3://b/p", tmp_path)
    assert (tree.exists(), gone.is_dir(), another.tree.is_dir()) == (False, True, True)
    del alive
    assert not gone.exists()


@AT_LENGTH
def test_a_pruned_day_keeps_one_commit_less_its_processes(path: str, object_store: ObjectStore) -> None:
    warehouse = open_store(path, object_store.env)
    commit_first(warehouse)
    with warehouse.partition_lock(rows.CLUSTER, rows.DAY, rows.StillClock(), 10):
        warehouse.remove_day("processes", rows.CLUSTER, rows.DAY)
        warehouse.remove_day("processes", "another", date(2026, 11, 1))
    log = DeltaTable(f"{path}/processes", storage_options=object_store.env)
    assert (log.version(), log.file_uris()) == (2, [])
    after = open_store(path, object_store.env)
    assert after.read_day("processes", rows.CLUSTER, rows.DAY).num_rows == 0
    assert after.read_day("emissions", rows.CLUSTER, rows.DAY).schema == EMISSIONS
