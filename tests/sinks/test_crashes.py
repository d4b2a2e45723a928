"""kill -9 at every effect of a commit: readers stay consistent, and the next run ends where an undisturbed one does."""

import os
import signal
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.sinks.views import open_views
from pipeline.sinks.warehouse import Warehouse
from tests.product import apart
from tests.sinks import daily, rows
from tests.sinks.rows import CLUSTER, DAY, FIRST, HOURS, SECOND

EFFECTS = [
    f"{table}{part}"
    for table in ("revisions", "quarantine", "node_energy", "processes", "emissions", "emissions_daily", "hours")
    for part in (".temporary", "")
]

CONSISTENT = """
    select count(*) from (
        select cluster, hour_utc, node, component, sum(energy_joules) as joules from emissions group by all
    ) join node_energy using (cluster, hour_utc, node, component)
    where abs(joules - metered_joules) > 1e-6
"""


def first_commit(root: Path) -> None:
    rows.commit_like_a_run(Warehouse(root), rows.complete(HOURS[:2]), rows.day(HOURS[:2]), FIRST)


def killed_at(root: Path, effect: str) -> None:
    victim = apart("tests.sinks.dying", str(root), effect)
    assert victim.code == -signal.SIGKILL, victim.err


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, object]]]:
    root = tmp_path_factory.mktemp("undisturbed")
    first_commit(root)
    result = rows.commit_like_a_run(Warehouse(root), *rows.second_commit(), SECOND)
    assert result.rewritten == {HOURS[1]: 1, HOURS[2]: 0}
    return rows.contents(root)


@pytest.mark.parametrize("effect", EFFECTS)
def test_killed_at_any_effect_the_next_run_ends_as_an_undisturbed_one(
    tmp_path: Path, effect: str, undisturbed: dict[str, list[dict[str, object]]]
) -> None:
    first_commit(tmp_path)
    killed_at(tmp_path, effect)
    with open_views(tmp_path, CONSISTENT) as connection:
        assert connection.sql(CONSISTENT).fetchall() == [(0,)]
    assert daily.rolled_up(tmp_path) == daily.summed(tmp_path)
    is_between = EFFECTS.index("node_energy") <= EFFECTS.index(effect) < EFFECTS.index("emissions")
    assert Warehouse(tmp_path).torn_hours(CLUSTER) == (set(HOURS[1:3]) if is_between else set())
    rows.commit_like_a_run(Warehouse(tmp_path), *rows.second_commit(), rows.THIRD)
    assert rows.contents(tmp_path) == undisturbed
    assert daily.rolled_up(tmp_path) == daily.summed(tmp_path) == daily.stored(tmp_path)
    partition = tmp_path / "emissions" / f"cluster={CLUSTER}"
    assert list(partition.rglob("*.tmp")) == []
    assert Warehouse(tmp_path).recover(CLUSTER, DAY, rows.THIRD.priced_utc, "run-4") == rows.NOTHING_TO_RECOVER
    assert Warehouse(tmp_path).torn_hours(CLUSTER) == set()


@pytest.mark.parametrize("effect", ["quarantine", "node_energy", "processes", "emissions", "hours"])
def test_killed_at_any_effect_of_a_first_commit_the_next_run_completes_it(tmp_path: Path, effect: str) -> None:
    killed_at(tmp_path, effect)
    rows.commit_like_a_run(Warehouse(tmp_path), *rows.second_commit(), rows.THIRD)
    found = rows.contents(tmp_path)
    expected = {"emissions": 12, "node_energy": 3, "processes": 3, "quarantine": 3, "hours": 3, "revisions": 0}
    assert {view: len(shown) for view, shown in found.items()} == expected


def test_a_commit_whose_hours_rows_were_lost_gets_exactly_them(tmp_path: Path) -> None:
    first_commit(tmp_path)
    killed_at(tmp_path, "emissions")
    warehouse = Warehouse(tmp_path)
    assert {row["run_id"] for row in warehouse.hours(CLUSTER).to_pylist()} == {"run-1"}
    recovery = warehouse.recover(CLUSTER, DAY, rows.THIRD.priced_utc, rows.THIRD.run_id)
    assert recovery.restored_hours == tuple(HOURS[1:3])
    assert recovery.torn_hours == ()
    shown = warehouse.hours(CLUSTER).to_pylist()[1]
    expected = {"run_id": "run-2", "revision": 1, "state": "complete", "config_digest": "digest-1"}
    assert {name: shown[name] for name in expected} == expected
    assert (shown["priced_utc"], shown["written_utc"]) == (SECOND.priced_utc, rows.THIRD.priced_utc)


def test_hours_torn_between_tables_are_named_and_hidden_until_they_are_folded_again(tmp_path: Path) -> None:
    first_commit(tmp_path)
    killed_at(tmp_path, "node_energy")
    warehouse = Warehouse(tmp_path)
    recovery = warehouse.recover(CLUSTER, DAY, rows.THIRD.priced_utc, rows.THIRD.run_id)
    assert (recovery.restored_hours, recovery.torn_hours) == ((), tuple(HOURS[1:3]))
    assert (warehouse.torn_hours(CLUSTER), warehouse.torn_hours("another")) == (set(HOURS[1:3]), set())
    assert warehouse.read_table("node_energy").column("hour_utc").to_pylist() == [HOURS[0]]
    # Rows equal to both stored tables are written all the same: their stamps disagree.
    stored = rows.day(HOURS[:2])
    assert rows.commit(warehouse, rows.complete(HOURS[:2]), stored, rows.THIRD).rewritten == {HOURS[1]: 1}
    assert warehouse.read_table("node_energy").column("hour_utc").to_pylist() == HOURS[:2]


def test_a_damaged_day_hides_no_torn_hours_of_another(tmp_path: Path) -> None:
    first_commit(tmp_path)
    killed_at(tmp_path, "node_energy")
    broken = tmp_path / "node_energy" / f"cluster={CLUSTER}" / "date=2026-10-31" / "node_energy.parquet"
    broken.parent.mkdir()
    broken.write_bytes(b"no parquet")
    assert Warehouse(tmp_path).torn_hours(CLUSTER) == set(HOURS[1:3])


def test_a_torn_hour_is_written_even_if_each_table_equals_the_new_rows(tmp_path: Path) -> None:
    first_commit(tmp_path)
    new = rows.day(HOURS[:1])
    index = new.node_energy.schema.get_field_index("resets")
    new = replace(new, node_energy=new.node_energy.set_column(index, "resets", pa.array([5], pa.int64())))

    def die(effect: str) -> None:
        if effect == "node_energy":
            raise InterruptedError

    with pytest.raises(InterruptedError):
        rows.commit(Warehouse(tmp_path, die), rows.complete(HOURS[:1]), new, SECOND)
    assert rows.commit(Warehouse(tmp_path), rows.complete(HOURS[:1]), new, rows.THIRD).rewritten == {HOURS[0]: 1}
    assert Warehouse(tmp_path).read_table("node_energy").column("resets").to_pylist() == [5, 0]


def test_recovery_removes_what_the_dead_left_and_spares_files_being_written(tmp_path: Path) -> None:
    first_commit(tmp_path)
    now = rows.THIRD.priced_utc
    ages = {"emissions": 0, "hours": 59, "revisions": 61}
    for table, minutes in ages.items():
        folder = next((tmp_path / table).rglob("*.parquet"), tmp_path / table / "date=2026-11-02" / "x").parent
        folder.mkdir(parents=True, exist_ok=True)
        leftover = folder / f".{table}.parquet.tmp"
        leftover.write_bytes(b"half a file")
        written = (now - timedelta(minutes=minutes)).timestamp()
        os.utime(leftover, (written, written))
    assert Warehouse(tmp_path).recover(CLUSTER, DAY, now, "run-3") == rows.NOTHING_TO_RECOVER
    assert [path.name for path in tmp_path.rglob("*.tmp")] == [".hours.parquet.tmp"]


def test_an_intent_without_its_commit_stays_void_after_later_commits(tmp_path: Path) -> None:
    first_commit(tmp_path)
    killed_at(tmp_path, "revisions")
    rows.commit_like_a_run(
        Warehouse(tmp_path), rows.complete(HOURS[:2]), rows.day(HOURS[:2], intensity=300), rows.THIRD
    )
    with open_views(tmp_path, "revisions") as connection:
        assert connection.sql("select distinct run_id from stored.revisions order by 1").fetchall() == [
            ("run-2",),
            ("run-3",),
        ]
        assert connection.sql("select distinct run_id, cause from revisions").fetchall() == [("run-3", "intensity")]
