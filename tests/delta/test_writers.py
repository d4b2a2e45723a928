"""Runs on several machines, which share nothing but the store: one of two commits is refused, and both end right."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError
from deltalake.transaction import AddAction

from pipeline.errors import StoreConflict
from pipeline.sinks.delta.remote_table import RemoteTable
from tests.delta.conftest import AT_LENGTH, ObjectStore, Setting, figures
from tests.delta.s3_server import BUCKET
from tests.delta.stores import commit_first, contents, open_store
from tests.product import ROOT
from tests.sinks import rows

LATER = replace(rows.THIRD, run_id="run-4")


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param("node_energy.temporary", marks=AT_LENGTH),
        pytest.param("node_energy.pushed", marks=AT_LENGTH),
        "emissions.uploaded",
    ],
)
def test_a_commit_over_a_day_that_another_run_replaced_meanwhile_is_refused_and_leaves_that_run_whole(
    tmp_path: Path, moment: str, object_store: ObjectStore
) -> None:
    path, env = f"s3://{BUCKET}/{tmp_path.name}", object_store.env
    commit_first(open_store(path, env))
    other = open_store(path, env)

    def overtake(effect: str) -> None:
        if effect == moment:
            rows.commit_like_a_run(other, *rows.second_commit(), rows.THIRD)

    with pytest.raises(StoreConflict, match="another run changed it meanwhile"):
        rows.commit_like_a_run(open_store(path, env, overtake), *rows.second_commit(), rows.SECOND)
    after = open_store(path, env)
    rows.commit_like_a_run(after, *rows.second_commit(), LATER)
    shown = rows.contents(after.root)
    assert {view: len(found) for view, found in shown.items()} == {
        "emissions": 12, "node_energy": 3, "processes": 3, "quarantine": 3, "hours": 3, "revisions": 1,
    }  # fmt: skip


@AT_LENGTH
def test_rows_that_two_machines_add_for_one_run_are_all_kept(tmp_path: Path, object_store: ObjectStore) -> None:
    path = f"s3://{BUCKET}/{tmp_path.name}"
    both = [open_store(path, object_store.env) for _ in range(2)]
    new = rows.day(rows.HOURS[:2]).quarantine
    for warehouse, count in zip(both, (1, 2), strict=True):
        warehouse.append("quarantine", new.slice(0, count), "run-1", rows.DAY)
    log = DeltaTable(f"{path}/quarantine", storage_options=object_store.env)
    assert (log.version(), log.to_pyarrow_table().num_rows) == (2, 3)


def test_a_commit_whose_answer_was_lost_is_not_made_twice(
    tmp_path: Path, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, write = f"s3://{BUCKET}/{tmp_path.name}", RemoteTable._write
    lost: list[str] = []

    def without_answer(table: RemoteTable, log: DeltaTable, action: AddAction, partition: str | None) -> None:
        write(table, log, action, partition)
        if table.name not in lost:
            lost.append(table.name)
            raise CommitFailedError

    monkeypatch.setattr(RemoteTable, "_write", without_answer)
    warehouse = open_store(path, object_store.env)
    commit_first(warehouse)
    assert set(lost) == {"quarantine", "node_energy", "processes", "emissions", "emissions_daily", "hours"}
    for table in lost:
        log = DeltaTable(f"{path}/{table}", storage_options=object_store.env)
        assert (log.version(), len(log.file_uris())) == (1, 1), table
    assert contents(path, object_store.env) == rows.contents(warehouse.root)


@AT_LENGTH
def test_a_run_that_is_overtaken_does_its_day_again_and_finds_it_done(on_s3: Setting, on_disk: Setting) -> None:
    overtaken = []

    def overtake(effect: str) -> None:
        if effect == "node_energy.uploaded" and not overtaken:
            overtaken.append(on_s3.backfill())

    report = on_s3.backfill(overtake)
    assert [one.exit_code for one in (report, *overtaken)] == [0, 0]
    assert (overtaken[0].clusters[0].hours_rewritten, report.clusters[0].hours_rewritten) == (3, 0)
    assert figures(on_s3) == figures(on_disk)


@AT_LENGTH
def test_two_commands_at_once_end_with_what_one_leaves(on_s3: Setting, on_disk: Setting) -> None:
    command = [sys.executable, "-m", "tests.delta.backfill", str(on_s3.config)]
    both = [
        subprocess.Popen(command, cwd=ROOT, env=on_s3.job().env, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    said = [one.communicate(timeout=120)[0] for one in both]
    assert [one.returncode for one in both] == [0, 0], said
    assert figures(on_s3) == figures(on_disk)
