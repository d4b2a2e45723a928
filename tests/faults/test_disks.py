"""Disks that are full at any effect, with a little room, or read-only: old figures stand, the next run goes on."""

import itertools
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.acts import Act, NewPlace, Stories
from tests.faults.readers import Reader
from tests.faults.results import Point, some, tell
from tests.faults.scenes import Outcome, well
from tests.faults.victims import Victims

USAGE, PARTLY, LATER = 2, 69, 75
WRITES = ("open", "mkdir", "rename", "fsync")
DISK_BYTES = 4 << 20
PAGE_BYTES = 4096
DISKS = itertools.count()

Record = Callable[[str, object], None]


def _tell(record: Record, act: Act, fault: str, found: list[str], *, happened: bool = True) -> None:
    tell(record, Point("A disk that refuses", act.scene.name, fault, not found, happened=happened))


def _of_disk(effects: list[str]) -> list[str]:
    """Names of the effects that need room on a disk, each once, in the order of the first."""
    return [name for name in dict.fromkeys(effects) if name.startswith(WRITES) and "lock" not in name]


@pytest.mark.parametrize(("error", "code"), [("ENOSPC", LATER), ("EROFS", USAGE)])
def test_a_disk_that_refuses_any_effect_is_said_in_a_line_and_costs_no_figure(
    error: str, code: int, undisturbed: Stories, place: NewPlace, forks: Victims, record_property: Record
) -> None:
    first, act = undisturbed["corrected"][:2]
    own, minute = place(f"refused-{error.lower()}"), 0
    well(first.scene.play(own, forks, minute))
    faults: list[str] = []
    for name in some(_of_disk(act.effects)):  # each run comes as far as the one before, or further
        reader, minute = Reader(own.warehouse, first.after, act.after), minute + 1
        ended = act.scene.play(own, forks, minute, named=name, fate=error)
        reader.look(still=True)
        found, happened = list(reader.faults), name in ended.effects
        if happened and ended.code not in (code, PARTLY):
            found.append(f"exit code {ended.code}: {ended.said[-300:]}")
        if happened and (len(ended.errors) != 1 or "unexpected" in ended.errors[0]):
            found.append(f"{len(ended.errors)} lines: {ended.errors}")
        _tell(record_property, act, f"{error} at {name}", found, happened=happened)
        faults += [f"{name}: {one}" for one in found]
    well(act.scene.play(own, forks, minute + 1))
    faults += Outcome.of(own).differences(act.outcome)
    assert not faults, "\n".join(faults)


@pytest.fixture
def small_disk(place: NewPlace) -> Iterator[Path]:
    """The warehouse of a place, on a file system of its own of 4 MB; needs root."""
    folder = place(f"disk-{next(DISKS)}").warehouse
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _leave(folder: Path, free_bytes: int) -> None:
    """Fill the disk up to so much."""
    (folder / "ballast").unlink(missing_ok=True)
    space = os.statvfs(folder)
    (folder / "ballast").write_bytes(bytes(max(0, space.f_bavail * space.f_frsize - free_bytes)))


def test_a_disk_with_little_room_keeps_what_it_has_and_takes_the_rest_later(
    small_disk: Path, undisturbed: Stories, place: NewPlace, forks: Victims, record_property: Record
) -> None:
    first, act = undisturbed["corrected"][:2]
    own = place(small_disk.parent.name)
    well(first.scene.play(own, forks, 0))
    faults: list[str] = []
    for minute, pages in enumerate(some((0, 1, 2, 4, 7, 11, 16, 24, 40)), 1):
        _leave(small_disk, pages * PAGE_BYTES)
        reader = Reader(own.warehouse, first.after, act.after)
        ended = act.scene.play(own, forks, minute)
        reader.look(still=True)
        found = list(reader.faults)
        if ended.code not in (0, PARTLY, LATER):
            found.append(f"exit code {ended.code}: {ended.said[-300:]}")
        if ended.code and (len(ended.errors) != 1 or "free space or move the warehouse" not in ended.errors[0]):
            found.append(f"lines: {ended.errors}")
        room = f"{pages * PAGE_BYTES // 1024} kB free"
        _tell(record_property, act, room, found, happened=ended.code != 0)
        faults += [f"{room}: {one}" for one in found]
    (small_disk / "ballast").unlink()
    well(act.scene.play(own, forks, 20))
    faults += Outcome.of(own).differences(act.outcome)
    assert not faults, "\n".join(faults)


def test_a_disk_that_became_read_only_is_a_matter_for_its_owner(
    small_disk: Path, undisturbed: Stories, place: NewPlace, forks: Victims, record_property: Record
) -> None:
    first, act = undisturbed["corrected"][:2]
    own = place(small_disk.parent.name)
    well(first.scene.play(own, forks, 0))
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    reader = Reader(own.warehouse, first.after, first.after)
    ended = act.scene.play(own, forks, 1)
    reader.look(still=True)
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    assert ended.code == USAGE, ended.said
    assert len(ended.errors) == 1, ended.errors
    assert "Read-only file system; make it writable" in ended.errors[0]
    assert reader.faults == []
    well(act.scene.play(own, forks, 2))
    found = Outcome.of(own).differences(act.outcome)
    _tell(record_property, act, "read-only", found)
    assert found == []
