"""Locks between processes: `flock` on files in `<warehouse>/.locks/`, freed by the kernel when their holder dies.

Not `fcntl`, whose locks drop when any descriptor of the file closes in the process. Lock files are never deleted: a
process waiting on a deleted file would hold a lock that no one else sees.
"""

import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from urllib.parse import quote

from pipeline.errors import StoreBusy
from pipeline.sinks.partitions import make_folder, store_errors
from pipeline.window import Clock

LOCK_FOLDER = ".locks"
RETRY_SECONDS = 0.2

# A second process, because one process may see its own locks even where the file system tells no one else.
SECOND_PROCESS = """
import fcntl, os, sys
descriptor = os.open(sys.argv[1], os.O_RDWR)
try:
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    print("refused")
else:
    print("granted")
"""


@dataclass(frozen=True)
class LockProbe:
    """Whether the file system of the warehouse keeps two processes apart, and in words why not."""

    honoured: bool
    detail: str


def partition_lock_path(root: Path, cluster: str, day: date) -> Path:
    """The file that one (cluster, day) is locked by."""
    return root / LOCK_FOLDER / f"partition-{cluster}-{day.isoformat()}.lock"


def store_lock_path(root: Path, store: str) -> Path:
    """The file that publishing to one store is locked by."""
    return root / LOCK_FOLDER / f"store-{quote(store, safe='')}.lock"


def compaction_lock_path(root: Path) -> Path:
    """The file that compaction is locked by."""
    return root / LOCK_FOLDER / "compaction.lock"


@contextmanager
def held_lock(path: Path, what: str, clock: Clock, wait_seconds: float) -> Iterator[None]:
    """Hold the lock of `path` inside the block, waiting for it at most `wait_seconds`.

    Raises:
        StoreBusy: someone else held it all that time.
        StoreUnwritable: the lock file cannot be made.
    """
    descriptor = _open(path)
    try:
        deadline = clock.monotonic() + wait_seconds
        while not _taken(descriptor, path):
            if clock.monotonic() >= deadline:
                raise StoreBusy(f"{what} is locked by another run ({path}): try again when it has ended")
            clock.sleep(RETRY_SECONDS)
        yield
    finally:
        os.close(descriptor)


def probe_locks(root: Path) -> LockProbe:
    """Prove with two processes that the file system under `root` honours `flock` (NFS and overlays may not).

    Raises:
        StoreUnwritable: the lock file cannot be made.
    """
    path = root / LOCK_FOLDER / f"probe-{os.getpid()}.lock"
    descriptor = _open(path)
    try:
        if not _taken(descriptor, path):
            return LockProbe(honoured=False, detail=f"a new file's lock was refused on {root}")
        while_held = _second_process(path)
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        when_free = _second_process(path)
    finally:
        os.close(descriptor)
        path.unlink(missing_ok=True)
    if (while_held, when_free) == ("refused", "granted"):
        return LockProbe(honoured=True, detail="a second process was kept out, and let in afterwards")
    detail = (
        f"a second process was {while_held or 'broken'} while the lock was held and {when_free or 'broken'} after it"
    )
    return LockProbe(honoured=False, detail=f"{detail}: put the warehouse on a local disk, or mount NFS with locking")


def _open(path: Path) -> int:
    with store_errors(path):
        make_folder(path.parent)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)


def _taken(descriptor: int, path: Path) -> bool:
    with store_errors(path):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                return False
            raise
    return True


def _second_process(path: Path) -> str:
    command = [sys.executable, "-I", "-c", SECOND_PROCESS, str(path)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603 # our own text
    return answer.stdout.strip()
