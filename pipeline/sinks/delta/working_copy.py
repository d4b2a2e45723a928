"""A warehouse's files on this machine, made of hard links to objects that were downloaded once.

    <cache>/<address>/objects/<table>/<path of the object>   as it lies in the store, where it never changes; for all
    <cache>/<address>/trees/<n>/                             the folder that one process works in, gone with it
    <cache>/<address>/.locks/                                between processes of this machine

A killed process leaves its tree; the next one that begins removes it.
"""

import fcntl
import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from pipeline.errors import StoreUnreachable
from pipeline.sinks.partitions import make_folder, store_errors

CLAIM = ".claim"
ATTEMPTS = 3


class WorkingCopy:
    """The folder of one process.

    Args:
        url: the address of the warehouse.
        cache: where objects are kept; None for a temporary folder that ends with this one.

    Attributes:
        cache: that folder.
        here: what of it is about this address.
        tree: what this process works in.
    """

    def __init__(self, url: str, cache: Path | None) -> None:
        self.cache = cache.absolute() if cache is not None else Path(tempfile.mkdtemp(prefix="carbon-etl-"))
        self.here = self.cache / quote(url.partition("://")[2], safe="")
        self._objects, trees = self.here / "objects", self.here / "trees"
        with store_errors(self.here):
            make_folder(self._objects)
            make_folder(trees)
            _remove_abandoned(trees)
            unclaimed = Path(tempfile.mkdtemp(dir=trees, prefix="."))
            claim = os.open(unclaimed / CLAIM, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
            fcntl.flock(claim, fcntl.LOCK_EX)
            self.tree = unclaimed.rename(trees / unclaimed.name.lstrip("."))
        weakref.finalize(self, _end, self.tree if cache is not None else self.cache, claim)

    def place(self, name: str, size: int, local: Path, download: Callable[[Path], None]) -> None:
        """Make `local` the object of that name and size, downloading it where it is not here."""
        kept = self._objects / name
        with store_errors(local):
            make_folder(local.parent)
            local.unlink(missing_ok=True)
            for _ in range(ATTEMPTS):
                if not (kept.exists() and kept.stat().st_size == size):
                    _download(kept, size, download)
                with suppress(FileNotFoundError):  # another process has no use for it
                    os.link(kept, local)
                    return
        raise StoreUnreachable(f"{kept} is removed by others as soon as it is there: run again")

    def keep(self, name: str, local: Path) -> None:
        """Know a file as the object of that name."""
        kept = self._objects / name
        with store_errors(kept):
            make_folder(kept.parent)
            os.link(local, kept)

    def forget_others(self, names: Collection[str]) -> None:
        """Delete the objects that no table names any more."""
        with store_errors(self._objects):
            for path in self._objects.rglob("*.parquet"):
                if str(path.relative_to(self._objects)) not in names:
                    path.unlink(missing_ok=True)


def _download(kept: Path, size: int, download: Callable[[Path], None]) -> None:
    make_folder(kept.parent)
    descriptor, name = tempfile.mkstemp(dir=kept.parent, prefix=".", suffix=".tmp")
    partial = Path(name)
    try:
        download(partial)
        os.fsync(descriptor)
        if partial.stat().st_size != size:
            raise StoreUnreachable(f"{kept.name} came with {partial.stat().st_size:,} of {size:,} bytes: run again")
        partial.chmod(0o640)
        partial.replace(kept)
    finally:
        os.close(descriptor)
        partial.unlink(missing_ok=True)


def _remove_abandoned(trees: Path) -> None:
    """Remove the trees of dead processes: of which nobody holds the claim."""
    for tree in trees.glob("[!.]*"):
        with suppress(FileNotFoundError, BlockingIOError):
            descriptor = os.open(tree / CLAIM, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(tree, ignore_errors=True)
            finally:
                os.close(descriptor)


def _end(folder: Path, claim: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    os.close(claim)
