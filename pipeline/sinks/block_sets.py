"""Samples that are too old for remote write, as files that `promtool` makes TSDB blocks of.

A set is a folder: its samples in the OpenMetrics format and in a ledger. It is pending until the store shows every one
of them, or somebody discards it; while it is, its hours are neither compared nor put into another.
"""

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from pipeline.errors import SinkError
from pipeline.settings import StoreSettings
from pipeline.sinks.batches import Batch
from pipeline.sinks.ledger import Ledger
from pipeline.sinks.partitions import make_folder, store_errors
from pipeline.units import MS_PER_SECOND

FOLDER, SAMPLES, LEDGER, LOADED = "blocks", "samples.om", "ledger.sqlite", "loaded"
LOAD_SECONDS = 600.0
ESCAPED = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


@dataclass(frozen=True)
class BlockSet:
    """One set, which is there until it is discarded."""

    folder: Path
    settings: StoreSettings

    def batch(self) -> Batch:
        """Its samples."""
        return Ledger(self.folder / LEDGER).unanswered()

    @property
    def command(self) -> list[str]:
        """What makes blocks of it: in the store's own folder where that is here, else beside the samples."""
        target = self.settings.data_folder or self.folder / "blocks"
        return ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(self.folder / SAMPLES), str(target)]

    def line(self) -> str:
        """Where it stands and what to do, for people."""
        if (self.folder / LOADED).is_file():
            return f"block set {self.folder.name} is loaded and not readable yet"
        then = "" if self.settings.data_folder else ", then bring those blocks to the store"
        return f"block set {self.folder.name} waits: {shlex.join(self.command)}{then}"

    def load(self, env: Mapping[str, str]) -> None:
        """Run the command where the store's folder is on this machine, once.

        Raises:
            SinkError: it failed; its last line says why.
        """
        target = self.settings.data_folder
        if target is None or (self.folder / LOADED).is_file():
            return
        if not target.is_dir():
            raise SinkError(f"{target} is not here: data_folder of store {self.settings.name} is its TSDB's folder")
        path = {"PATH": env.get("PATH", "")}
        if shutil.which("promtool", path=path["PATH"]) is None:
            raise SinkError(f"no promtool on PATH, which store {self.settings.name} needs for its older hours")
        try:
            done = subprocess.run(  # noqa: S603 # our own command line, without a shell
                self.command, env=path, capture_output=True, text=True, check=False, timeout=LOAD_SECONDS
            )
        except subprocess.TimeoutExpired:
            raise SinkError(f"{shlex.join(self.command)} took longer than {LOAD_SECONDS:.0f} s") from None
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()[-1:] or [f"ended with {done.returncode}"]
            raise SinkError(f"{shlex.join(self.command)}: {said[0][:200]}")
        with store_errors(self.folder):
            (self.folder / LOADED).touch(0o640)

    def discard(self) -> None:
        """Forget it; blocks that were made of it stay where they are."""
        with store_errors(self.folder):
            aside = self.folder.with_name(f".{self.folder.name}")
            self.folder.rename(aside)
            shutil.rmtree(aside)


@dataclass(frozen=True)
class BlockSets:
    """The sets of one store in the warehouse at `root`; whoever changes them holds the store's lock."""

    root: Path
    settings: StoreSettings

    @property
    def folder(self) -> Path:
        """Where they lie."""
        return self.root / FOLDER / quote(self.settings.name, safe="")

    def pending(self, cluster: str) -> list[BlockSet]:
        """Those of a cluster, oldest day first."""
        return [BlockSet(path, self.settings) for path in sorted(self.folder.glob(f"{cluster}--*")) if path.is_dir()]

    def named(self, name: str) -> BlockSet | None:
        """One set, if it is there."""
        known = {path.name: path for path in self.folder.glob("*--*")}
        return BlockSet(known[name], self.settings) if name in known else None

    def make(self, name: str, batch: Batch) -> BlockSet:
        """A new set, whole or not at all.

        Raises:
            StoreFull, StoreUnwritable: nothing was made.
        """
        path, aside = self.folder / name, self.folder / f".{name}"
        with store_errors(aside):
            make_folder(self.folder)
            for left in self.folder.glob(".*"):  # by a dead process, for the store's lock is held
                shutil.rmtree(left)
            aside.mkdir(0o750)
            (aside / SAMPLES).touch(0o640)
            with (aside / SAMPLES).open("w", encoding="utf-8") as file:
                file.writelines(_lines(batch))
                file.flush()
                os.fsync(file.fileno())
        Ledger(aside / LEDGER).begin(batch)
        with store_errors(path):
            aside.rename(path)
        return BlockSet(path, self.settings)


def _lines(batch: Batch) -> Iterator[str]:
    """OpenMetrics text."""
    for metric, labels, stamp_ms, value in batch.samples():
        pairs = ",".join(f'{name}="{text.translate(ESCAPED)}"' for name, text in labels)
        yield f"{metric}{{{pairs}}} {value!r} {stamp_ms / MS_PER_SECOND:.3f}\n"
    yield "# EOF\n"
