"""Hand-made series in real servers: a few exact samples, loaded as blocks or imported, and read back."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from pipeline.samples import Block, Transport
from tests.loopback import LOOPBACK

Series = Mapping[str, list[tuple[int, float]]]
ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def written(metric: str, **labels: str) -> str:
    """A series as the exposition format writes it."""
    pairs = [f'{name}="{value.translate(ESCAPES)}"' for name, value in labels.items()]
    return f"{metric}{{{','.join(pairs)}}}"


def fill(promtool: Path, data_dir: Path, series: Series) -> None:
    """Make blocks of gauges, by series text in order of metric; samples are (ms, value)."""
    lines, family = [], ""
    for text, samples in sorted(series.items()):
        if (metric := text.partition("{")[0]) != family:
            family = metric
            lines.append(f"# TYPE {family} gauge")
        lines += [f"{text} {value!r} {ms // 1000}.{ms % 1000:03d}" for ms, value in samples]
    data_dir.mkdir(parents=True)
    path = data_dir.parent / "series.om"
    path.write_text("\n".join([*lines, "# EOF", ""]), encoding="utf-8")
    command = [str(promtool), "tsdb", "create-blocks-from", "openmetrics", "--quiet", str(path), str(data_dir)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def push(url: str, series: Series) -> None:
    """Import the same into a VictoriaMetrics and make it readable."""
    text = "\n".join(f"{one} {value!r} {ms}" for one, samples in series.items() for ms, value in samples)
    for path, body in (("/api/v1/import/prometheus", text), ("/internal/force_flush", "")):
        assert LOOPBACK.post(url + path, content=body.encode()).status_code < 300


def read_back(
    transport: Transport, selector: str, start_ms: int, end_ms: int
) -> dict[tuple[tuple[str, str], ...], list[tuple[int, float]]]:
    """All samples by label set (without the metric's name), parts put together."""
    found: dict[tuple[tuple[str, str], ...], list[tuple[int, float]]] = {}
    for block in transport.blocks(selector, start_ms, end_ms):
        for labels, samples in rows(block):
            found.setdefault(labels, []).extend(samples)
    return found


def rows(block: Block) -> list[tuple[tuple[tuple[str, str], ...], list[tuple[int, float]]]]:
    """The series of one block, and a look at its shape on the way."""
    assert block.labels.num_rows + 1 == len(block.offsets)
    assert block.offsets[-1] == len(block.stamps_ms) == len(block.values)
    assert (block.offsets.dtype, block.stamps_ms.dtype, block.values.dtype) == ("int64", "int64", "float64")
    assert all(field.type == pa.string() for field in block.labels.schema)
    listed = []
    for index, labels in enumerate(block.labels.to_pylist()):
        own = slice(block.offsets[index], block.offsets[index + 1])
        known = tuple(sorted((k, v) for k, v in labels.items() if v is not None and k != "__name__"))
        listed.append((known, list(zip(block.stamps_ms[own].tolist(), block.values[own].tolist(), strict=True))))
    return listed
