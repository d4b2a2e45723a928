"""Commits of a day: equality, revisions, required checks, atomic files."""

import os
import stat
import subprocess
import sys
import threading
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pipeline
from pipeline.errors import ConfigError, SchemaError, StoreFull, StoreUnwritable
from pipeline.sinks.partitions import partition_path
from pipeline.sinks.warehouse import DayTables, HourCommit, RunStamp, Warehouse
from pipeline.tables import EMISSIONS, INTENSITY, QUARANTINE, RUNS
from pipeline.window import Window
from tests.sinks import rows
from tests.sinks.rows import CLUSTER, DAY, FIRST, HOURS, SECOND


def files(root: Path) -> dict[str, tuple[int, int]]:
    return {str(p.relative_to(root)): (p.stat().st_mtime_ns, p.stat().st_ino) for p in root.rglob("*") if p.is_file()}


def revision_of(warehouse: Warehouse, table: str, hour: datetime) -> set[tuple[str, int]]:
    stored = warehouse.read_day(table, CLUSTER, DAY).to_pylist()
    return {(row["run_id"], row["revision"]) for row in stored if row["hour_utc"] == hour}


def test_a_commit_is_read_back_with_its_run_and_revision(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    result = rows.commit(warehouse, rows.complete(HOURS[:2]), rows.day(HOURS[:2]))
    assert result.rewritten == {HOURS[0]: 0, HOURS[1]: 0}
    stored = warehouse.read_day("emissions", CLUSTER, DAY)
    assert stored.schema == EMISSIONS
    assert stored.num_rows == 8
    assert sum(stored.column("energy_joules").to_pylist()) == pytest.approx(2 * 7.2e6)
    assert revision_of(warehouse, "emissions", HOURS[0]) == {("run-1", 0)}
    assert [row["state"] for row in warehouse.hours(CLUSTER).to_pylist()] == ["complete", "complete"]
    assert warehouse.quarantine(CLUSTER, DAY).column("energy_joules").to_pylist() == [5e9, 5e9]


def test_a_second_equal_commit_writes_nothing(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    rows.commit(warehouse, rows.complete(HOURS[:3]), rows.day(HOURS[:3]))
    before = files(tmp_path)
    result = rows.commit(
        warehouse, rows.complete(HOURS[:3]), rows.day(HOURS[:3], web_joules=3.6e6 * (1 + 1e-12)), SECOND
    )
    assert files(tmp_path) == before
    assert result.rewritten == {}
    assert result.kept == tuple(HOURS[:3])


def test_only_hours_that_differ_get_a_new_revision_and_all_their_rows_together(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    rows.commit(warehouse, rows.complete(HOURS[:2]), rows.day(HOURS[:2]))
    changed = rows.day(HOURS[:1]), rows.day(HOURS[1:2], web_joules=4e6)
    both = DayTables(*(pa.concat_tables([getattr(part, name) for part in changed]) for name in
                       ("emissions", "node_energy", "quarantine", "processes")))  # fmt: skip
    assert rows.commit(warehouse, rows.complete(HOURS[:2]), both, SECOND).rewritten == {HOURS[1]: 1}
    for table in ("emissions", "node_energy", "processes"):
        assert revision_of(warehouse, table, HOURS[0]) == {("run-1", 0)}
        assert revision_of(warehouse, table, HOURS[1]) == {("run-2", 1)}
    shown = warehouse.hours(CLUSTER).to_pylist()
    assert [(row["run_id"], row["revision"]) for row in shown] == [("run-1", 0), ("run-2", 1)]


@pytest.mark.parametrize(
    "change",
    [
        {"carbon_intensity_g_per_kwh": 100.1, "emissions_gco2e": 150.15},
        {"tail_joules": 0.0},
        {"step_joules": [1.8e6, 1.8e6]},
        {"intensity_quality": "estimated"},
        {"intensity_updated_utc": HOURS[0]},
    ],
)
def test_any_change_beyond_rounding_is_written(tmp_path: Path, change: dict[str, object]) -> None:
    warehouse = Warehouse(tmp_path)
    node = [rows.metered(HOURS[0], 3.6e6, 0, 0)]
    hours = rows.complete(HOURS[:1])
    rows.commit(warehouse, hours, rows.tables([rows.pod(HOURS[0], "web", 3.6e6)], node))
    result = rows.commit(warehouse, hours, rows.tables([rows.pod(HOURS[0], "web", 3.6e6, **change)], node), SECOND)
    assert result.rewritten == {HOURS[0]: 1}


def test_step_joules_are_compared_number_by_number(tmp_path: Path) -> None:
    warehouse, hours, node = Warehouse(tmp_path), rows.complete(HOURS[:1]), [rows.metered(HOURS[0], 3.6e6, 0, 0)]
    for steps, expected in (([1.8e6, 1.8e6], 0), ([1.8e6 * (1 + 1e-12), 1.8e6], None), ([1.7e6, 1.9e6], 1), (None, 2)):
        new = rows.tables([rows.pod(HOURS[0], "web", 3.6e6, step_joules=steps)], node)
        assert rows.commit(warehouse, hours, new, SECOND).rewritten.get(HOURS[0]) == expected


def test_a_changed_state_alone_adds_an_hours_row_and_no_file_else(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    rows.commit(warehouse, [HourCommit(HOURS[0], "partial", "hole on n2")], rows.day(HOURS[:1]))
    before = files(tmp_path)
    rows.commit(warehouse, rows.complete(HOURS[:1]), rows.day(HOURS[:1]), SECOND)
    added = set(files(tmp_path)) - set(before)
    assert [name.split("/")[0] for name in added] == ["hours"]
    (row,) = warehouse.hours(CLUSTER).to_pylist()
    assert (row["state"], row["run_id"], row["revision"], row["reason"]) == ("complete", "run-1", 0, None)


def test_an_empty_hour_is_noted_once(tmp_path: Path) -> None:
    warehouse, empty = Warehouse(tmp_path), [HourCommit(HOURS[0], "empty")]
    assert rows.commit(warehouse, empty, rows.tables([], [])).noted == (HOURS[0],)
    before = files(tmp_path)
    rows.commit(warehouse, empty, rows.tables([], []), SECOND)
    assert files(tmp_path) == before
    (row,) = warehouse.hours(CLUSTER).to_pylist()
    assert (row["state"], row["revision"]) == ("empty", None)
    assert rows.commit(warehouse, rows.complete(HOURS[:1]), rows.day(HOURS[:1]), SECOND).rewritten == {HOURS[0]: 0}


def test_a_failed_hour_keeps_what_is_stored(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    rows.commit(warehouse, rows.complete(HOURS[:1]), rows.day(HOURS[:1]))
    rows.commit(warehouse, [HourCommit(HOURS[0], "failed", "timeout")], rows.tables([], []), SECOND)
    assert warehouse.read_day("emissions", CLUSTER, DAY).num_rows == 4
    (row,) = warehouse.hours(CLUSTER).to_pylist()
    assert (row["state"], row["run_id"], row["revision"]) == ("failed", "run-1", 0)


def test_repricing_without_processes_keeps_them_in_step(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    rows.commit(warehouse, rows.complete(HOURS[:1]), rows.day(HOURS[:1]))
    rows.commit(warehouse, rows.complete(HOURS[:1]), rows.without_processes(rows.day(HOURS[:1], intensity=200)), SECOND)
    assert revision_of(warehouse, "processes", HOURS[0]) == {("run-2", 1)}
    assert warehouse.recover(CLUSTER, DAY, SECOND.priced_utc, "run-3").torn_hours == ()


def test_revisions_hold_old_and_new_figures_and_only_of_hours_that_had_some(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    rows.commit(warehouse, rows.complete(HOURS[:1]), rows.day(HOURS[:1]))
    assert rows.contents(tmp_path)["revisions"] == []
    rows.commit(warehouse, rows.complete(HOURS[:2]), rows.day(HOURS[:2], intensity=200), SECOND)
    found = rows.contents(tmp_path)["revisions"]
    assert {row["hour_utc"] for row in found} == {HOURS[0]}
    (shop,) = [row for row in found if row["namespace"] == "shop"]
    assert (shop["old_emissions_gco2e"], shop["new_emissions_gco2e"]) == pytest.approx((225, 450))
    assert (shop["cause"], shop["rows_changed"], shop["revision"]) == ("intensity", 2, 1)


WITHOUT_PUE = dict.fromkeys(("pue_ratio", "pue_source", "facility_energy_kwh", "emissions_gco2e"))
BREACHES = {
    "comes twice": lambda e, n: ([*e, e[0]], n),
    "breaks P1": lambda e, n: (e, [n[0] | {"metered_joules": n[0]["metered_joules"] * (1 + 1e-8)}]),
    "not the sum": lambda e, n: ([e[0] | {"energy_joules": 3.7e6}, *e[1:]], n),
    "no row in node_energy": lambda e, _n: (e, []),
    "has no meter": lambda e, n: ([e[0] | {"meter": None}, *e[1:]], n),
    "has no method_version": lambda e, n: (e, [n[0] | {"method_version": None}]),
    "has no pue_source": lambda e, n: ([e[0] | {"pue_source": None}, *e[1:]], n),
    "has no facility_energy_kwh": lambda e, n: ([e[0] | {"facility_energy_kwh": None}, *e[1:]], n),
    "grams although": lambda e, n: ([e[0] | {"intensity_quality": "missing"}, *e[1:]], n),
    "grams although it has no PUE": lambda e, n: ([e[0] | {"pue_ratio": None}, *e[1:]], n),
    "has no intensity_provider": lambda e, n: ([e[0] | WITHOUT_PUE | {"intensity_provider": None}, *e[1:]], n),
    "no number": lambda e, n: ([e[0] | {"tail_joules": float("nan")}, *e[1:]], n),
    "kind that is none": lambda e, n: ([e[0] | {"kind": "sytem"}, *e[1:]], n),
    "not committed": lambda e, n: ([*e, e[0] | {"hour_utc": HOURS[5]}], n),
    "rows of cluster": lambda e, n: ([*e, e[0] | {"cluster": "other"}], n),
}


@pytest.mark.parametrize("complaint", BREACHES)
def test_a_breach_of_the_table_stops_the_partition_before_anything_is_written(tmp_path: Path, complaint: str) -> None:
    good = rows.day(HOURS[:1])
    bad = BREACHES[complaint](good.emissions.to_pylist(), good.node_energy.to_pylist())
    with pytest.raises(SchemaError, match=complaint):
        rows.commit(Warehouse(tmp_path), rows.complete(HOURS[:1]), rows.tables(*bad))
    assert files(tmp_path) == {}


def test_the_first_offending_row_is_named(tmp_path: Path) -> None:
    good = rows.day(HOURS[:1]).emissions.to_pylist()
    bad = rows.tables([*good[:1], good[1] | {"meter": None}, *good[2:]], rows.day(HOURS[:1]).node_energy.to_pylist())
    with pytest.raises(SchemaError, match=r"node=n1.*workload=db.*has no meter \(1 such row\)"):
        rows.commit(Warehouse(tmp_path), rows.complete(HOURS[:1]), bad)


def test_a_missing_price_is_null_and_allowed(tmp_path: Path) -> None:
    unpriced = dict.fromkeys(("pue_ratio", "pue_source", "carbon_intensity_g_per_kwh", "intensity_provider"))
    row = rows.pod(HOURS[0], "web", 3.6e6, intensity_quality="missing", **unpriced)
    rows.commit(
        Warehouse(tmp_path), rows.complete(HOURS[:1]), rows.tables([row], [rows.metered(HOURS[0], 3.6e6, 0, 0)])
    )
    assert rows.contents(tmp_path)["emissions"][0]["emissions_gco2e"] is None


def test_a_missing_pue_is_null_beside_an_intensity_that_is_known(tmp_path: Path) -> None:
    row = rows.pod(HOURS[0], "web", 3.6e6, **WITHOUT_PUE)
    rows.commit(
        Warehouse(tmp_path), rows.complete(HOURS[:1]), rows.tables([row], [rows.metered(HOURS[0], 3.6e6, 0, 0)])
    )
    (found,) = rows.contents(tmp_path)["emissions"]
    assert (found["emissions_gco2e"], found["intensity_quality"]) == (None, "measured")


def test_hours_that_have_not_ended_or_lie_in_another_day_are_refused(tmp_path: Path) -> None:
    early = RunStamp("run-1", HOURS[0] + timedelta(minutes=59), "digest")
    with pytest.raises(SchemaError, match="has not ended"):
        rows.commit(Warehouse(tmp_path), rows.complete(HOURS[:1]), rows.day(HOURS[:1]), early)
    with pytest.raises(SchemaError, match="not a whole UTC hour"):
        Warehouse(tmp_path).commit_day(
            CLUSTER, date(2026, 11, 2), rows.complete(HOURS[:1]), rows.day(HOURS[:1]), FIRST, rows.revision_rows
        )


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
    assert files(tmp_path) == {}
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


def test_frames_are_half_open_typed_and_sorted(tmp_path: Path) -> None:
    rows.commit(Warehouse(tmp_path), rows.complete(HOURS), rows.day(HOURS))
    frame = pipeline.read_emissions(tmp_path, "2026-11-01T02:00Z", HOURS[4])
    assert sorted(set(frame["hour_utc"])) == [pd.Timestamp(hour) for hour in HOURS[2:4]]
    assert list(frame.columns) == EMISSIONS.names
    assert len(pipeline.read_node_energy(str(tmp_path))) == 24
    assert len(pipeline.read_emissions(tmp_path / "nowhere")) == 0
    with pytest.raises(ConfigError, match="no time zone"):
        pipeline.read_emissions(tmp_path, "2026-11-01T02:00")


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, pipeline; print({'pandas', 'pyarrow', 'duckdb', 'numpy', 'pydantic'} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "set()"


def vintage(start: int, end: int, grams: float | None, fetched: int, **columns: object) -> dict[str, object]:
    row: dict[str, object] = dict.fromkeys(INTENSITY.names)
    minutes = [HOURS[0] + timedelta(minutes=minute) for minute in (start, end)]
    row |= {"zone": "GB", "start_utc": minutes[0], "end_utc": minutes[1], "carbon_intensity_g_per_kwh": grams}
    row |= {"provider": "neso", "signal": "average", "factor_type": "direct", "fetched_utc": HOURS[fetched]}
    return row | columns


def test_the_newest_vintage_counts_at_every_instant_and_a_null_withdraws(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    stored = [vintage(0, 60, 100.0, 1), vintage(0, 30, 140.0, 2), vintage(60, 120, 90.0, 1), vintage(60, 120, None, 3)]
    stored += [vintage(120, 180, 5.0, 2, updated_utc=HOURS[1]), vintage(120, 180, 6.0, 2, updated_utc=HOURS[2])]
    warehouse.append("intensity", pa.Table.from_pylist(stored[:3], schema=INTENSITY), "run-1", DAY)
    warehouse.append("intensity", pa.Table.from_pylist(stored[3:], schema=INTENSITY), "run-2", date(2026, 11, 2))
    window = Window(HOURS[0], HOURS[0] + timedelta(hours=24))
    found = warehouse.intensity_vintages({"neso": "GB"}, window).to_pylist()
    minutes = [
        (row["start_utc"].hour * 60 + row["start_utc"].minute, row["carbon_intensity_g_per_kwh"]) for row in found
    ]
    assert minutes == [(0, 140.0), (30, 100.0), (60, None), (120, 6.0)]
    assert warehouse.intensity_vintages({"neso": "DE", "watttime": "GB"}, window).num_rows == 0
    assert warehouse.intensity_vintages({}, window).num_rows == 0
    assert [
        row["start_utc"] for row in warehouse.intensity_vintages({"neso": "GB"}, Window.of_hour(HOURS[1])).to_pylist()
    ] == [HOURS[1]]


def test_hours_of_stores_and_windows_are_read_apart(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    rows.commit(warehouse, rows.complete(HOURS[:3]), rows.day(HOURS[:3]))
    schema = warehouse.hours(CLUSTER).schema
    base = {"cluster": CLUSTER, "hour_utc": HOURS[0], "store": "vm", "run_id": "run-1", "revision": 0, "samples": 7}
    for state, written in (("no", 1), ("yes", 2)):
        row = (
            dict.fromkeys(schema.names)
            | base
            | {"state": state, "written_utc": datetime(2026, 11, 3, written, tzinfo=UTC)}
        )
        warehouse.append("hours", pa.Table.from_pylist([row], schema=schema), "run-1", date(2026, 11, 3))
    assert warehouse.hours(CLUSTER, Window(HOURS[1], HOURS[3])).column("hour_utc").to_pylist() == HOURS[1:3]
    assert warehouse.hours("other").num_rows == 0
