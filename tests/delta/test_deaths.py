"""A run that dies between two commits: readers stay consistent, and the next one ends where an undisturbed one does.

Here death is an error that nothing catches: what a process has in its own folder nobody else ever sees. With
CARBON_ETL_S3=1 (`make test-s3`) it is SIGKILL, after each effect.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.sinks.views import open_views
from pipeline.sinks.warehouse import Warehouse
from tests.delta.conftest import AT_LENGTH, ObjectStore
from tests.delta.s3_server import BUCKET
from tests.delta.stores import EFFECTS, commit_first, contents, open_store
from tests.product import ROOT
from tests.sinks import rows
from tests.sinks.test_crashes import CONSISTENT


class Death(BaseException):
    """What no code of the product catches."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, object]]]:
    """On a disk: what an object store has to hold, too."""
    warehouse = Warehouse(tmp_path_factory.mktemp("undisturbed"))
    rows.commit_like_a_run(warehouse, rows.complete(rows.HOURS[:2]), rows.day(rows.HOURS[:2]), rows.FIRST)
    result = rows.commit_like_a_run(warehouse, *rows.second_commit(), rows.SECOND)
    assert result.rewritten == {rows.HOURS[1]: 1, rows.HOURS[2]: 0}
    return rows.contents(warehouse.root)


def ends_undisturbed(path: str, store: ObjectStore, undisturbed: dict[str, list[dict[str, object]]]) -> None:
    """Readers of what is left, then of what the next run made of it."""
    warehouse = open_store(path, store.env)
    with open_views(warehouse.root, CONSISTENT) as connection:
        assert connection.sql(CONSISTENT).fetchall() == [(0,)]
    rows.commit_like_a_run(warehouse, *rows.second_commit(), rows.THIRD)
    assert contents(path, store.env) == undisturbed


@pytest.mark.parametrize("effect", [pytest.param("node_energy.pushed", marks=AT_LENGTH), "emissions.pushed"])
def test_after_a_death_between_two_commits_the_next_run_ends_as_an_undisturbed_one(
    tmp_path: Path, effect: str, object_store: ObjectStore, undisturbed: dict[str, list[dict[str, object]]]
) -> None:
    path = f"s3://{BUCKET}/{tmp_path.name}"

    def die(told: str) -> None:
        if told == effect:
            raise Death

    commit_first(open_store(path, object_store.env))
    with pytest.raises(Death):
        rows.commit_like_a_run(open_store(path, object_store.env, die), *rows.second_commit(), rows.SECOND)
    ends_undisturbed(path, object_store, undisturbed)


@AT_LENGTH
@pytest.mark.parametrize("effect", EFFECTS)
def test_killed_at_any_effect_the_next_run_ends_as_an_undisturbed_one(
    tmp_path: Path, effect: str, object_store: ObjectStore, undisturbed: dict[str, list[dict[str, object]]]
) -> None:
    path = f"s3://{BUCKET}/{tmp_path.name}"
    commit_first(open_store(path, object_store.env))
    command = [sys.executable, "-m", "tests.delta.stores", path, effect]
    victim = subprocess.run(command, cwd=ROOT, env=os.environ | object_store.env, capture_output=True, check=False)
    assert victim.returncode == -signal.SIGKILL, victim.stderr
    ends_undisturbed(path, object_store, undisturbed)
