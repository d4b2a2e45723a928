"""Files of the warehouse: whole or not there, private, and errors that say what to mend."""

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import SchemaError, StoreFull, StoreUnwritable
from pipeline.sinks.partitions import partition_path
from pipeline.sinks.warehouse import Warehouse
from pipeline.tables import EMISSIONS, QUARANTINE, RUNS
from tests.sinks import rows
from tests.sinks.rows import CLUSTER, DAY, HOURS, SECOND


def test_the_file_holds_no_partition_column_and_pandas_reads_the_folder(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    rows.commit(warehouse, rows.complete(HOURS[:1]), rows.day(HOURS[:1]))
    schema = pq.read_schema(partition_path(tmp_path, "emissions", CLUSTER, DAY))
    assert schema.names == [name for name in EMISSIONS.names if name != "cluster"]
    assert schema.field("hour_utc").type == pa.timestamp("us", tz="UTC")
    frame = pd.read_parquet(tmp_path / "emissions")
    assert (len(frame), set(frame["cluster"].astype(str)), set(frame["date"].astype(str))) == (
        4,
        {CLUSTER},
        {"2026-11-01"},
    )
    for table in ("hours", "quarantine"):
        assert len(pd.read_parquet(tmp_path / table)) == 1


def test_files_are_not_readable_by_everyone(tmp_path: Path) -> None:
    umask = os.umask(0o022)
    try:
        rows.commit(Warehouse(tmp_path), rows.complete(HOURS[:1]), rows.day(HOURS[:1]))
    finally:
        os.umask(umask)
    parquet = list(tmp_path.rglob("*.parquet"))
    assert len(parquet) == 6
    assert {stat.S_IMODE(path.stat().st_mode) for path in parquet} == {0o640}


def test_a_column_younger_than_the_file_reads_as_null(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    rows.commit(warehouse, rows.complete(HOURS[:1]), rows.day(HOURS[:1]))
    path = partition_path(tmp_path, "node_energy", CLUSTER, DAY)
    with path.open("rb") as source:
        old = pq.ParquetFile(source).read().drop_columns(["cross_ratio"])
    pq.write_table(old, path)
    assert warehouse.read_day("node_energy", CLUSTER, DAY).column("cross_ratio").to_pylist() == [None]
    assert warehouse.read_table("node_energy").column("cross_ratio").to_pylist() == [None]


def test_a_damaged_partition_is_named(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    rows.commit(warehouse, rows.complete(HOURS[:1]), rows.day(HOURS[:1]))
    path = partition_path(tmp_path, "emissions", CLUSTER, DAY)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(SchemaError, match=r"emissions.parquet is damaged"):
        warehouse.read_day("emissions", CLUSTER, DAY)


def test_appended_files_are_immutable_numbered_and_absent_without_rows(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    assert warehouse.append("runs", RUNS.empty_table(), "run-1", DAY) is None
    assert rows.files(tmp_path) == {}
    row = pa.Table.from_pylist([dict.fromkeys(RUNS.names) | {"run_id": "run-1", "exit_code": 0}], schema=RUNS)
    paths = [warehouse.append("runs", row, "run-1", DAY) for _ in range(3)]
    assert [path.name for path in paths if path] == ["run-1-0.parquet", "run-1-1.parquet", "run-1-2.parquet"]
    with pytest.raises(SchemaError, match="columns missing"):
        warehouse.append("runs", QUARANTINE.empty_table(), "run-1", DAY)


def test_writers_of_one_run_never_overwrite_each_other(tmp_path: Path) -> None:
    row = pa.Table.from_pylist([dict.fromkeys(RUNS.names) | {"run_id": "run-1"}], schema=RUNS)
    written: list[Path | None] = []
    threads = [
        threading.Thread(
            target=lambda: written.extend(Warehouse(tmp_path).append("runs", row, "run-1", DAY) for _ in range(10))
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(written)) == 40
    assert len(list((tmp_path / "runs").rglob("*.parquet"))) == 40


def test_readers_see_the_old_partition_or_the_new_one(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    rows.commit(warehouse, rows.complete(HOURS), rows.day(HOURS, web_joules=1e6))
    seen: list[float] = []
    done = threading.Event()

    def read() -> None:
        connection = duckdb.connect()
        query = f"select sum(energy_joules) from read_parquet('{tmp_path}/emissions/*/*/emissions.parquet')"
        while not done.is_set():
            seen.append(connection.sql(query).fetchall()[0][0] / 24 - 3.6e6)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for turn in range(15):
            rows.commit(warehouse, rows.complete(HOURS), rows.day(HOURS, web_joules=(2 - turn % 2) * 1e6), SECOND)
    finally:
        done.set()
        reader.join()
    assert len(seen) > 5
    assert {round(value) for value in seen} <= {1_000_000, 2_000_000}


FILL_DISK = """
import resource, sys
from pathlib import Path
from pipeline.errors import StoreFull
from pipeline.sinks.warehouse import Warehouse
from tests.sinks import rows
root, limit = Path(sys.argv[1]), int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    rows.commit(Warehouse(root), rows.complete(rows.HOURS), rows.day(rows.HOURS, web_joules=1e6), rows.SECOND)
except StoreFull as error:
    print(error.exit_code, error)
"""


def test_a_file_that_cannot_grow_leaves_the_old_partition_and_no_temporary_file(tmp_path: Path) -> None:
    rows.commit(Warehouse(tmp_path), rows.complete(HOURS), rows.day(HOURS))
    partition = partition_path(tmp_path, "emissions", CLUSTER, DAY)
    before = partition.read_bytes()
    limit = str(len(before) // 2)
    answer = subprocess.run(
        [sys.executable, "-c", FILL_DISK, str(tmp_path), limit], capture_output=True, text=True, check=True
    )
    assert answer.stdout.startswith("75 cannot write")
    assert "free space" in answer.stdout
    assert partition.read_bytes() == before
    assert [path for path in tmp_path.rglob("*") if path.name.endswith(".tmp")] == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Path:
    """A file system of 256 kB; needs root."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = os.geteuid() == 0 and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], check=False
    )
    if not mounted or mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_an_error_to_try_again_and_the_next_run_completes(small_disk: Path) -> None:
    warehouse = Warehouse(small_disk)
    rows.commit(warehouse, rows.complete(HOURS[:1]), rows.day(HOURS[:1]))
    expected = rows.contents(small_disk)["emissions"]
    ballast = small_disk / "ballast"
    free = os.statvfs(small_disk)
    ballast.write_bytes(os.urandom(free.f_bavail * free.f_frsize - 8192))
    with pytest.raises(StoreFull, match="free space"):
        rows.commit_like_a_run(warehouse, rows.complete(HOURS), rows.day(HOURS), SECOND)
    assert rows.contents(small_disk)["emissions"] == expected
    assert [path for path in small_disk.rglob("*") if path.name.endswith(".tmp")] == []
    ballast.unlink()
    rows.commit_like_a_run(warehouse, rows.complete(HOURS), rows.day(HOURS), SECOND)
    assert len(rows.contents(small_disk)["emissions"]) == 96


UNWRITABLE = """
import os, sys
from pathlib import Path
from pipeline.errors import StoreUnwritable
from pipeline.sinks.warehouse import Warehouse
from tests.sinks import rows
if os.geteuid() == 0:
    os.setgid(65534); os.setuid(65534)
try:
    rows.commit_like_a_run(Warehouse(Path(sys.argv[1])), *rows.second_commit(), rows.FIRST)
except StoreUnwritable as error:
    print(error.exit_code, error)
"""


def test_a_folder_without_permission_is_a_usage_error_with_its_path(tmp_path: Path) -> None:
    folder = tmp_path / "warehouse"
    folder.mkdir(mode=0o555)
    for parent in folder.parents:
        if parent.stat().st_uid == os.geteuid() and parent != parent.parent:
            parent.chmod(parent.stat().st_mode | 0o055)
        if parent.name.startswith("pytest-of"):
            break
    answer = subprocess.run([sys.executable, "-c", UNWRITABLE, str(folder)], capture_output=True, text=True, check=True)
    assert answer.stdout.startswith("2 cannot use")
    assert str(folder) in answer.stdout
    assert "Permission denied" in answer.stdout


def test_a_file_in_the_folders_place_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "warehouse").write_text("in the way")
    with pytest.raises(StoreUnwritable, match=r"set warehouse\.path"):
        rows.commit(Warehouse(tmp_path / "warehouse"), rows.complete(HOURS[:1]), rows.day(HOURS[:1]))
