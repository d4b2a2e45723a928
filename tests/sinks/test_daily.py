"""`emissions_daily` is the sum of `emissions`, whatever became of the files: commits, crashes, leftovers, old days."""

import random
import shutil
import tempfile
import threading
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.sinks.daily import daily_rows
from pipeline.sinks.views import open_views
from pipeline.sinks.warehouse import DayTables, RunStamp, Warehouse
from pipeline.tables import EMISSIONS, EMISSIONS_DAILY
from tests.sinks import rows
from tests.sinks.daily import rolled_up, stored, summed
from tests.sinks.rows import CLUSTER, DAY, HOURS, SECOND

UNPRICED = {"intensity_quality": "missing", "carbon_intensity_g_per_kwh": None, "emissions_gco2e": None}
EFFECTS = ("node_energy", "emissions.temporary", "emissions", "emissions_daily.temporary", "emissions_daily", "hours")


class Killed(BaseException):
    """The end of a process, as far as what it still would have done is concerned."""


def commit(root: Path, number: int, hours: list[int], joules: float, grams: float | None, dies_at: str | None) -> None:
    """A run: recover, then commit these hours, or die after an effect."""

    def die(effect: str) -> None:
        if effect == dies_at:
            raise Killed

    chosen = [HOURS[hour] for hour in hours]
    new = rows.day(chosen, web_joules=joules, intensity=100.0 if grams is None else grams)
    if grams is None:
        unpriced = [row | UNPRICED if row["pod"] == "web-0" else row for row in new.emissions.to_pylist()]
        new = replace(new, emissions=pa.Table.from_pylist(unpriced, schema=EMISSIONS))
    stamp = RunStamp(f"run-{number}", rows.FIRST.priced_utc + timedelta(minutes=number), "digest")
    with suppress(Killed):
        rows.commit_like_a_run(Warehouse(root, die), rows.complete(chosen), new, stamp)


@settings(max_examples=12, deadline=None)
@given(
    history=st.lists(
        st.tuples(
            st.lists(st.integers(0, 3), min_size=1, max_size=3, unique=True),
            st.sampled_from([1e6, 3.6e6, 0.1]),
            st.sampled_from([100.0, 333.3, None]),
            st.sampled_from([None, *EFFECTS]),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_after_any_history_it_is_the_sum_of_the_hours(
    history: list[tuple[list[int], float, float | None, str | None]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for number, (hours, joules, grams, dies_at) in enumerate(history):
            commit(root, number, hours, joules, grams, dies_at)
            assert rolled_up(root) == summed(root), (number, dies_at)
        Warehouse(root).recover(CLUSTER, DAY, rows.THIRD.priced_utc, "run-last")
        assert rolled_up(root) == summed(root) == stored(root)


def test_energy_without_grams_is_counted_beside_the_grams_of_the_rest(tmp_path: Path) -> None:
    hours = HOURS[:3]
    emissions = [rows.pod(hour, "web", 3.6e6) for hour in hours]
    emissions[1] |= dict.fromkeys(("pue_ratio", "pue_source", "facility_energy_kwh", "emissions_gco2e"))
    emissions.append(rows.pod(hours[2], "db", 1.8e6) | UNPRICED)
    nodes = [rows.metered(hour, 3.6e6 if hour != hours[2] else 5.4e6, 0, 0) for hour in hours]
    rows.commit(Warehouse(tmp_path), rows.complete(hours), rows.tables(emissions, nodes))
    table = pa.Table.from_pylist(emissions, schema=EMISSIONS)
    found = {row["workload"]: row for row in daily_rows(table, "x").to_pylist()}
    web, db = found["web"], found["db"]
    assert (web["energy_joules"], web["emissions_gco2e"], web["facility_energy_kwh"]) == (10.8e6, 300.0, 3.0)
    assert (web["unpriced_energy_joules"], web["hours"], web["unpriced_hours"]) == (3.6e6, 3, 1)
    assert (db["emissions_gco2e"], db["unpriced_energy_joules"], db["hours"]) == (None, 1.8e6, 1)
    assert rolled_up(tmp_path) == summed(tmp_path)


def test_no_order_of_rows_changes_a_bit() -> None:
    numbers = random.Random(1)  # noqa: S311 # no secret
    made = [rows.pod(hour, f"web-{n % 3}", numbers.uniform(0, 1e9), pod=f"p{n}") for hour in HOURS for n in range(20)]
    exact = daily_rows(pa.Table.from_pylist(made, schema=EMISSIONS), "x")
    numbers.shuffle(made)
    assert daily_rows(pa.Table.from_pylist(made, schema=EMISSIONS), "x").equals(exact)


def test_days_of_several_clusters_and_dates_stay_apart(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    next_day = [hour + timedelta(days=1) for hour in HOURS[:2]]
    stamp = RunStamp("run-9", datetime(2026, 11, 5, tzinfo=UTC), "digest")
    rows.commit(warehouse, rows.complete(HOURS[:2]), rows.day(HOURS[:2]), stamp)
    rows.commit(warehouse, rows.complete(next_day), rows.day(next_day, web_joules=1e6), stamp)
    other = rows.day(HOURS[:1])
    renamed = DayTables(*(_of(table, "other") for table in (other.emissions, other.node_energy, other.quarantine)))
    rows.commit(warehouse, rows.complete(HOURS[:1]), renamed, stamp, cluster="other")
    assert rolled_up(tmp_path) == summed(tmp_path) == stored(tmp_path)
    assert len({key[:2] for key in rolled_up(tmp_path)}) == 3


def _of(table: pa.Table, cluster: str) -> pa.Table:
    names = pa.array([cluster] * table.num_rows, pa.string())
    return table.set_column(table.schema.get_field_index("cluster"), "cluster", names)


@pytest.mark.parametrize("leftover", ["none", "of another commit", "of another day"])
def test_a_day_without_its_own_sum_is_added_up_by_the_view_until_a_run_touches_it(
    tmp_path: Path, leftover: str
) -> None:
    warehouse = Warehouse(tmp_path)
    file = tmp_path / "emissions_daily" / f"cluster={CLUSTER}" / f"date={DAY.isoformat()}" / "emissions_daily.parquet"
    rows.commit(warehouse, rows.complete(HOURS[:2]), rows.day(HOURS[:2], web_joules=1e6))
    before = tmp_path / "before"
    shutil.copy(file, before)
    rows.commit(warehouse, rows.complete(HOURS[:2]), rows.day(HOURS[:2]), SECOND)
    file.unlink()
    if leftover == "of another commit":
        shutil.copy(before, file)
    if leftover == "of another day":
        other = file.parent.with_name("date=2026-10-31")
        other.mkdir()
        shutil.copy(before, other / file.name)
    assert rolled_up(tmp_path) == summed(tmp_path)
    warehouse.recover(CLUSTER, DAY, rows.THIRD.priced_utc, "run-3")
    assert file.exists()
    assert rolled_up(tmp_path) == summed(tmp_path)
    assert not warehouse.roll_up(CLUSTER, DAY)


def test_a_commit_of_equal_rows_leaves_it_alone_and_so_does_a_recovery(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    rows.commit(warehouse, rows.complete(HOURS[:2]), rows.day(HOURS[:2]))
    (file,) = tmp_path.glob("emissions_daily/*/*/*.parquet")
    inode = file.stat().st_ino
    rows.commit_like_a_run(warehouse, rows.complete(HOURS[:2]), rows.day(HOURS[:2]), SECOND)
    assert file.stat().st_ino == inode
    assert not warehouse.roll_up(CLUSTER, DAY)


def test_a_reader_meanwhile_sees_the_day_as_it_was_or_as_it_is(tmp_path: Path) -> None:
    sizes = (1e6, 2e6, 4e6)
    expected = {round(2 * (size + 1.8e6 + 0.9e6 + 0.9e6)) for size in sizes}
    rows.commit(Warehouse(tmp_path), rows.complete(HOURS[:2]), rows.day(HOURS[:2], web_joules=sizes[0]))
    seen: list[float] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            with open_views(tmp_path, "emissions_daily") as connection:
                seen.append(connection.sql("select sum(energy_joules) from emissions_daily").fetchall()[0][0])

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(1, 25):
        commit(tmp_path, number, [0, 1], sizes[number % 3], 100.0, None)
    done.set()
    reader.join()
    assert {round(total) for total in seen} <= expected
    assert len(seen) > 3


def test_rows_have_the_columns_of_the_table(tmp_path: Path) -> None:
    rows.commit(Warehouse(tmp_path), rows.complete(HOURS[:1]), rows.day(HOURS[:1]))
    assert Warehouse(tmp_path).read_day("emissions_daily", CLUSTER, DAY).schema.equals(EMISSIONS_DAILY)
    assert daily_rows(EMISSIONS.empty_table(), "x").schema.equals(EMISSIONS_DAILY)
