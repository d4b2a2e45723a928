"""Locks between processes, and what happens to those of the dead."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.errors import StoreBusy
from pipeline.sinks.locks import probe_locks, store_lock_path
from pipeline.sinks.warehouse import Warehouse
from tests.sinks.rows import CLUSTER, DAY, StillClock

HOLD = """
import sys
from datetime import date
from pathlib import Path
from pipeline.sinks.warehouse import Warehouse
from tests.sinks.rows import CLUSTER, DAY, StillClock
warehouse = Warehouse(Path(sys.argv[1]))
with warehouse.partition_lock(CLUSTER, DAY, StillClock(), 0), warehouse.store_lock("vm", StillClock(), 0):
    print("held", flush=True)
    sys.stdin.readline()
"""


@contextmanager
def holder(root: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLD, str(root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_lock_held_by_another_process_is_waited_for_and_then_refused(tmp_path: Path) -> None:
    clock = StillClock()
    with holder(tmp_path):
        lock = Warehouse(tmp_path).partition_lock(CLUSTER, DAY, clock, 5)
        with pytest.raises(StoreBusy, match="prod-eu 2026-11-01 is locked") as refusal, lock:
            pytest.fail("two processes held one lock")
        assert refusal.value.exit_code == 75
        assert 5 <= clock.seconds < 6
        with pytest.raises(StoreBusy, match="store vm is locked"), Warehouse(tmp_path).store_lock("vm", clock, 0):
            pytest.fail("two publishers to one store")


def test_other_days_clusters_and_stores_are_free_meanwhile(tmp_path: Path) -> None:
    warehouse, clock = Warehouse(tmp_path), StillClock()
    with (
        holder(tmp_path),
        warehouse.partition_lock("other", DAY, clock, 0),
        warehouse.partition_lock(CLUSTER, DAY.replace(day=2), clock, 0),
        warehouse.store_lock("x", clock, 0),
    ):
        assert clock.seconds == 0


def test_a_dead_process_holds_nothing(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        with Warehouse(tmp_path).partition_lock(CLUSTER, DAY, StillClock(), 0):
            pass


def test_a_lock_ends_with_its_block_also_by_an_error(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    with pytest.raises(ZeroDivisionError), warehouse.partition_lock(CLUSTER, DAY, StillClock(), 0):
        raise ZeroDivisionError
    with warehouse.partition_lock(CLUSTER, DAY, StillClock(), 0):
        pass


def test_two_holders_in_one_process_exclude_each_other_too(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    first, second = (warehouse.partition_lock(CLUSTER, DAY, StillClock(), 0) for _ in range(2))
    with first, pytest.raises(StoreBusy), second:
        pytest.fail("one lock twice")


def test_the_probe_proves_a_local_disk_with_two_processes_and_leaves_nothing(tmp_path: Path) -> None:
    assert probe_locks(tmp_path).honoured
    assert list((tmp_path / ".locks").iterdir()) == []


def test_a_store_name_cannot_leave_the_lock_folder(tmp_path: Path) -> None:
    assert store_lock_path(tmp_path, "../../etc/x").parent == tmp_path / ".locks"
