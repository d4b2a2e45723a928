"""A fleet as an OpenMetrics file, and as the blocks of a Prometheus data folder made from it."""

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from pipeline.demo.series import METRIC
from pipeline.errors import SinkError
from pipeline.samples import Block
from pipeline.units import MS_PER_SECOND

ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
BLOCK_HOURS = 54  # promtool reads the whole file once a block: few long blocks are made far faster than many short ones


class HasBlocks(Protocol):
    """A fleet, or what a server would hold of it."""

    def blocks(self) -> list[Block]:
        """All samples: one block a metric."""
        ...


def write_openmetrics(fleet: HasBlocks, path: Path) -> int:
    """Write all samples, one metric family after the other; the number of samples.

    Values are written so that they read back as the same float64, stamps in seconds with three decimals.
    """
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for block in fleet.blocks():
            name = str(block.labels[METRIC][0])
            family, kind = (name.removesuffix("_total"), "counter") if name.endswith("_total") else (name, "gauge")
            file.write(f"# TYPE {family} {kind}\n")
            file.writelines(_lines(block))
            count += len(block.values)
        file.write("# EOF\n")
    return count


def _lines(block: Block) -> Iterator[str]:
    offsets = block.offsets.tolist()
    stamps = [f"{ms // MS_PER_SECOND}.{ms % MS_PER_SECOND:03d}" for ms in block.stamps_ms.tolist()]
    values = [repr(value) for value in block.values.tolist()]
    for index, labels in enumerate(block.labels.to_pylist()):
        text = ",".join(f'{k}="{v.translate(ESCAPES)}"' for k, v in labels.items() if v is not None and k != METRIC)
        series = f"{labels[METRIC]}{{{text}}}"
        own = slice(offsets[index], offsets[index + 1])
        yield "".join(f"{series} {v} {t}\n" for v, t in zip(values[own], stamps[own], strict=True))


def fill_blocks(fleet: HasBlocks, promtool: Path, data_dir: Path) -> int:
    """Make the blocks of `data_dir` from the fleet; the number of samples. A server must not be running on it.

    Raises:
        SinkError: promtool refused the file; its last line is in the message.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=data_dir.parent) as folder:
        text = Path(folder) / "fleet.om"
        count = write_openmetrics(fleet, text)
        command = [
            str(promtool), "tsdb", "create-blocks-from", "openmetrics", "--quiet",
            f"--max-block-duration={BLOCK_HOURS}h", str(text), str(data_dir),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 # our own file and folder
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines() or ["no output"]
        raise SinkError(f"promtool made no blocks in {data_dir}: {said[-1]}")
    return count
