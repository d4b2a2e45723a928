"""The views: typed when empty, right when files overlap, the same in memory and in carbon.duckdb."""

import os
import stat
import subprocess
import sys
from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from pipeline.sinks.views import DATABASE, open_views, refresh_database
from pipeline.sinks.warehouse import DayTables, Warehouse
from pipeline.tables import APPEND_ONLY_TABLES, REPLACED_TABLES, RUNS, TABLES
from tests.sinks import rows
from tests.sinks.rows import CLUSTER, DAY, HOURS, SECOND

PRINT_ROWS = "import duckdb, sys; print(duckdb.connect(sys.argv[1], read_only=True).sql(sys.argv[2]).fetchall())"


@pytest.mark.parametrize("filled", [False, True])
def test_every_table_has_a_view_with_its_columns_and_types(tmp_path: Path, *, filled: bool) -> None:
    if filled:
        rows.commit(Warehouse(tmp_path), rows.complete(HOURS[:1]), rows.day(HOURS[:1]))
    with open_views(tmp_path) as connection:
        for name, schema in TABLES.items():
            answer = connection.sql(f"from {name}").to_arrow_table()
            partition = "date" if name in REPLACED_TABLES else "written_date"
            assert answer.column_names == [*schema.names, partition], name
            assert answer.select(schema.names).cast(schema).schema.types == schema.types
            assert (answer.num_rows > 0) == (filled and name in {*REPLACED_TABLES, "quarantine", "hours"}), name


def test_times_are_utc_whatever_the_machine_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    with open_views(tmp_path) as connection:
        assert connection.sql("select current_setting('TimeZone')").fetchall() == [("UTC",)]


def test_nothing_outside_the_warehouse_can_be_read_and_nothing_unlocked(tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    with open_views(tmp_path / "warehouse") as connection:
        for text in (f"from '{secret}'", "from read_text('/etc/passwd')", "set enable_external_access = true"):
            with pytest.raises(duckdb.Error, match=r"disabled by configuration|locked"):
                connection.sql(text)


@pytest.mark.parametrize("name", ["with space", "it's", "a[b]*c", "ünïcode"])
def test_awkward_folder_names_work(tmp_path: Path, name: str) -> None:
    root = tmp_path / name
    rows.commit(Warehouse(root), rows.complete(HOURS[:1]), rows.day(HOURS[:1]))
    assert Warehouse(root).read_table("node_energy").num_rows == 1
    refresh_database(root)
    with duckdb.connect(str(root / DATABASE), read_only=True) as connection:
        assert connection.sql("select count(*) from emissions").fetchall() == [(4,)]


@pytest.mark.parametrize("table", APPEND_ONLY_TABLES)
def test_a_row_that_stands_in_two_files_counts_once(tmp_path: Path, table: str) -> None:
    schema = APPEND_ONLY_TABLES[table]
    sample: dict[pa.DataType, object] = {pa.string(): "x", pa.float64(): 1.5, pa.int64(): 1, pa.binary(): b"x"}
    row = {field.name: sample.get(field.type, HOURS[0]) for field in schema}
    warehouse = Warehouse(tmp_path)
    for run_id in ("run-1", "compacted"):
        warehouse.append(table, pa.Table.from_pylist([row], schema=schema), run_id, DAY)
    with open_views(tmp_path) as connection:
        assert connection.sql(f"select count(*) from stored.{table}").fetchall() == [(1,)]


def test_a_leftover_temporary_file_is_never_read(tmp_path: Path) -> None:
    rows.commit(Warehouse(tmp_path), rows.complete(HOURS[:1]), rows.day(HOURS[:1]))
    for path in list(tmp_path.rglob("*.parquet")):
        path.with_name(f".{path.name}.tmp").write_bytes(b"half a file")
    assert len(rows.contents(tmp_path)["emissions"]) == 4


def test_quarantine_shows_the_rows_of_the_current_commit_only(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    rows.commit(warehouse, rows.complete(HOURS[:1]), rows.day(HOURS[:1]))
    rows.commit(warehouse, rows.complete(HOURS[:1]), rows.day(HOURS[:1], web_joules=4e6), SECOND)
    shown = rows.contents(tmp_path)["quarantine"]
    assert [(row["revision"], row["energy_joules"]) for row in shown] == [(1, 5e9)]


def node_hours(seen: dict[str, list[datetime]]) -> DayTables:
    emissions = [rows.emission(hour, "idle", 1e6, node=node) for node, hours in seen.items() for hour in hours]
    node_energy = [rows.metered(hour, 0, 0, 1e6, node=node) for node, hours in seen.items() for hour in hours]
    return rows.tables(emissions, node_energy)


def test_nodes_of_the_preceding_day_without_rows_are_silent(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    rows.commit(warehouse, rows.complete(HOURS[:4]), node_hours({"n1": HOURS[:4], "n2": [HOURS[0], HOURS[3]]}))
    next_day = [hour + timedelta(days=1) for hour in HOURS]
    stamp = rows.RunStamp("run-3", HOURS[0] + timedelta(days=3), "digest-1")
    rows.commit(warehouse, rows.complete(next_day[:5]), node_hours({"n1": next_day[:5]}), stamp)
    with open_views(tmp_path) as connection:
        silent = connection.sql("select hour_utc, node, last_seen_utc from silent_nodes order by all").fetchall()
        expected = connection.sql("select nodes_expected, nodes_seen from nodes_expected order by hour_utc").fetchall()
    gap, after = [(hour, "n2", HOURS[0]) for hour in HOURS[1:3]], [(hour, "n2", HOURS[3]) for hour in next_day[:4]]
    assert silent == gap + after
    assert expected == [(2, 2), (2, 1), (2, 1), (2, 2)] + [(2, 1)] * 4 + [(1, 1)]


def test_the_database_holds_views_only_and_plain_duckdb_opens_it_from_anywhere(tmp_path: Path) -> None:
    root = tmp_path / "warehouse"
    rows.commit(Warehouse(root), rows.complete(HOURS[:1]), rows.day(HOURS[:1]))
    assert refresh_database(root)
    query = "select count(*), sum(energy_joules) from emissions"
    command = [sys.executable, "-c", PRINT_ROWS, str(root / DATABASE)]
    answer = subprocess.run([*command, query], capture_output=True, text=True, check=True, cwd="/")
    assert answer.stdout.strip() == "[(4, 7200000.0)]"
    answer = subprocess.run(
        [*command, "select count(*) from duckdb_tables()"], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[(0,)]"
    assert stat.S_IMODE((root / DATABASE).stat().st_mode) == 0o640
    assert [path.name for path in root.glob(".carbon*")] == []


def test_the_database_is_rebuilt_only_when_something_changed(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    assert refresh_database(tmp_path)
    assert not refresh_database(tmp_path)
    rows.commit(warehouse, rows.complete(HOURS[:1]), rows.day(HOURS[:1]))
    assert refresh_database(tmp_path)
    rows.commit(warehouse, rows.complete(HOURS[1:2]), rows.day(HOURS[1:2]))
    inode = (tmp_path / DATABASE).stat().st_ino
    assert not refresh_database(tmp_path)
    assert (tmp_path / DATABASE).stat().st_ino == inode
    run = pa.Table.from_pylist([dict.fromkeys(RUNS.names) | {"run_id": "run-1"}], schema=RUNS)
    warehouse.append("runs", run, "run-1", date(2026, 11, 2))
    assert refresh_database(tmp_path)
    with duckdb.connect(str(tmp_path / DATABASE), read_only=True) as connection:
        assert connection.sql("select count(distinct hour_utc) from emissions").fetchall() == [(2,)]


def test_a_moved_or_broken_database_is_rebuilt(tmp_path: Path) -> None:
    root = tmp_path / "old"
    rows.commit(Warehouse(root), rows.complete(HOURS[:1]), rows.day(HOURS[:1]))
    refresh_database(root)
    moved = root.rename(tmp_path / "new")
    assert refresh_database(moved)
    (moved / DATABASE).write_bytes(b"not a database")
    assert refresh_database(moved)


def test_a_reader_of_the_old_database_goes_on_reading(tmp_path: Path) -> None:
    rows.commit(Warehouse(tmp_path), rows.complete(HOURS[:1]), rows.day(HOURS[:1]))
    refresh_database(tmp_path)
    program = PRINT_ROWS.replace("print(", "c = ").replace(".sql(sys.argv[2]).fetchall())", "") + (
        "; print('open', flush=True); sys.stdin.readline(); print(c.sql(sys.argv[2]).fetchall())"
    )
    command = [sys.executable, "-c", program, str(tmp_path / DATABASE), "select count(*) from emissions"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "open\n"
        run = pa.Table.from_pylist([dict.fromkeys(RUNS.names) | {"run_id": "run-1"}], schema=RUNS)
        Warehouse(tmp_path).append("runs", run, "run-1", DAY)
        assert refresh_database(tmp_path)
        assert reader.communicate("go\n", timeout=60)[0] == "[(4,)]\n"


def test_the_view_of_hours_orders_commits_by_revision_and_then_by_time(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    schema = TABLES["hours"]
    base = dict.fromkeys(schema.names) | {"cluster": CLUSTER, "hour_utc": HOURS[0], "run_id": "r"}
    written = [
        {"state": "failed", "revision": None, "written_utc": HOURS[9]},
        {"state": "partial", "revision": 1, "written_utc": HOURS[3]},
        {"state": "complete", "revision": 1, "written_utc": HOURS[4]},
        {"state": "empty", "revision": 0, "written_utc": HOURS[8]},
    ]
    for row in written:
        warehouse.append("hours", pa.Table.from_pylist([base | row], schema=schema), "r", DAY)
    assert warehouse.hours(CLUSTER).column("state").to_pylist() == ["complete"]


def two_days(root: Path) -> None:
    """An hour on each of two days."""
    rows.commit(Warehouse(root), rows.complete(HOURS[:1]), rows.day(HOURS[:1]))
    later = [HOURS[0] + timedelta(days=1)]
    stamp = rows.RunStamp("run-2", HOURS[0] + timedelta(days=3), "digest-1")
    rows.commit(Warehouse(root), rows.complete(later), rows.day(later), stamp)


@pytest.mark.parametrize(
    "condition", ["date = '2026-11-01'", "date < '2026-11-02' and cluster = 'prod-eu'", "cluster = 'other'"]
)
def test_a_filter_on_the_day_or_the_cluster_leaves_files_of_others_unopened(tmp_path: Path, condition: str) -> None:
    two_days(tmp_path)
    for path in tmp_path.glob("emissions/*/date=2026-11-02/*.parquet"):
        path.write_bytes(b"whoever opens this fails")
    with open_views(tmp_path, "emissions") as connection:
        found = connection.sql(f"select count(*) from emissions where {condition}").fetchall()
        assert found == [(0 if "other" in condition else 4,)]
        with pytest.raises(duckdb.Error, match="No magic bytes"):
            connection.sql("select count(energy_joules) from emissions").fetchall()


def torn(root: Path) -> None:
    """A commit of other hours of the first day that never happens."""

    def die(effect: str) -> None:
        if effect == "processes":
            raise InterruptedError

    with pytest.raises(InterruptedError):
        rows.commit(Warehouse(root, die), *rows.second_commit(), SECOND)


def footer_reads(connection: duckdb.DuckDBPyConnection, view: str) -> int:
    plan = connection.sql(f"explain (format json) select count(*) from {view}").fetchall()[0][1]
    return str(plan).count('"name": "PARQUET_KV_METADATA"')


@pytest.mark.parametrize(("view", "reads"), [("emissions_daily", 2), ("node_energy", 3), ("processes", 3)])
def test_which_rows_of_a_day_in_doubt_count_is_found_once_for_both_branches_of_a_view(
    tmp_path: Path, view: str, reads: int
) -> None:
    """Twice, and a day that is replaced in between would be shown twice or not at all; the third reads its commits."""
    two_days(tmp_path)
    torn(tmp_path)
    with open_views(tmp_path, view) as connection:
        assert footer_reads(connection, view) == reads
    refresh_database(tmp_path)
    with duckdb.connect(str(tmp_path / DATABASE), read_only=True) as connection:
        assert footer_reads(connection, view) == 2, "its commits come with the list"


@pytest.mark.parametrize("view", ["emissions_daily", "node_energy"])
def test_of_days_without_doubt_a_question_reads_no_footer_and_of_roll_ups_no_emissions(
    tmp_path: Path, view: str
) -> None:
    two_days(tmp_path)
    for path in tmp_path.glob("emissions/*/*/*.parquet"):
        footer = path.read_bytes()
        path.write_bytes(b"x" * 8 + footer[8:])  # rows that whoever reads them fails at
    with open_views(tmp_path, view) as connection:
        assert footer_reads(connection, view) == 0
        assert connection.sql(f"select count(distinct date) from {view}").fetchall() == [(2,)]


def test_rows_of_a_commit_that_never_happened_stay_hidden_after_a_commit_of_other_hours(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    rows.commit(warehouse, rows.complete(HOURS[:2]), rows.day(HOURS[:2]))
    torn(tmp_path)
    rows.commit(warehouse, rows.complete(HOURS[:1]), rows.day(HOURS[:1], web_joules=5e6), rows.THIRD)
    shown = rows.contents(tmp_path)
    assert {row["hour_utc"] for row in shown["node_energy"]} == {HOURS[0]}
    assert {row["hour_utc"] for row in shown["processes"]} == {HOURS[0]}
    rows.commit(warehouse, *rows.second_commit(), rows.THIRD)
    assert {row["hour_utc"] for row in rows.contents(tmp_path)["node_energy"]} == set(HOURS[:3])


@pytest.mark.parametrize(
    "query",
    ["FROM Emissions", 'select * from "stored"."emissions"', "from query_table('emis' || 'sions')", "show tables"],
)
def test_views_are_there_however_a_query_names_them(tmp_path: Path, query: str) -> None:
    two_days(tmp_path)
    with open_views(tmp_path, query) as connection:
        assert len(connection.sql(query).fetchall()) >= 8


def test_the_database_is_as_closed_as_the_umask_asks(tmp_path: Path) -> None:
    umask = os.umask(0o077)
    try:
        root = tmp_path / "warehouse"
        rows.commit(Warehouse(root), rows.complete(HOURS[:1]), rows.day(HOURS[:1]))
        refresh_database(root)
    finally:
        os.umask(umask)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in root.rglob("*") if path.is_file()}
    folders = {stat.S_IMODE(path.stat().st_mode) for path in [root, *root.rglob("*")] if path.is_dir()}
    assert (modes, folders) == ({0o600}, {0o700})


def test_folders_are_open_to_the_group_and_no_one_else(tmp_path: Path) -> None:
    umask = os.umask(0o022)
    try:
        root = tmp_path / "warehouse"
        rows.commit(Warehouse(root), rows.complete(HOURS[:1]), rows.day(HOURS[:1]))
    finally:
        os.umask(umask)
    assert {stat.S_IMODE(path.stat().st_mode) for path in [root, *root.rglob("*")] if path.is_dir()} == {0o750}
