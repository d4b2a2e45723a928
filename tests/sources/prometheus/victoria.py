"""Real VictoriaMetrics with any flags, and ways to fill one: lines of a fleet, samples bit by bit by remote write."""

import json
import shutil
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pyarrow as pa

from pipeline.demo.openmetrics import HasBlocks
from tests.sinks.servers import RealStore, free_port
from tests.sources.prometheus.chunk_writer import field, number

Labels = Mapping[str, str]


@contextmanager
def victoria(folder: Path, *flags: str) -> Iterator[RealStore]:
    """A VictoriaMetrics with these flags and no others than it must have."""
    program = shutil.which("victoria-metrics")
    assert program, "victoria-metrics is not on PATH: `make test` puts it there"
    folder.mkdir(parents=True)
    port = free_port()
    command = [program, f"-storageDataPath={folder / 'data'}", f"-httpListenAddr=127.0.0.1:{port}"]
    command += ["-retentionPeriod=10y", "-loggerLevel=ERROR", *flags]
    store = RealStore(command, port, "/health", folder / "log")
    store.start()
    try:
        yield store
    finally:
        store.kill()


def import_fleet(url: str, fleet: HasBlocks) -> None:
    """All samples of a fleet, as lines of VictoriaMetrics' own import."""
    for block in fleet.blocks():
        lines = []
        for row, labels in enumerate(block.labels.to_pylist()):
            own = slice(block.offsets[row], block.offsets[row + 1])
            metric = {name: value for name, value in labels.items() if value is not None}
            values, stamps = block.values[own].tolist(), block.stamps_ms[own].tolist()
            lines.append(json.dumps({"metric": metric, "values": values, "timestamps": stamps}))
        _post(f"{url}/api/v1/import", "\n".join(lines).encode())
    flush(url)


def remote_write(url: str, series: Sequence[tuple[Labels, Sequence[tuple[int, int]]]]) -> None:
    """Samples as (ms, the bits of a float64)."""
    body = b"".join(field(1, _series(labels, samples)) for labels, samples in series)
    packed = pa.compress(body, codec="snappy", asbytes=True)
    headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}
    _post(f"{url}/api/v1/write", bytes(packed), headers)
    flush(url)


def flush(url: str) -> None:
    """Make what was written readable."""
    _post(f"{url}/internal/force_flush", b"")


def _series(labels: Labels, samples: Sequence[tuple[int, int]]) -> bytes:
    names = b"".join(field(1, field(1, k.encode()) + field(2, v.encode())) for k, v in sorted(labels.items()))
    return names + b"".join(field(2, b"\x09" + struct.pack("<Q", bits) + number(2, ms)) for ms, bits in samples)


def _post(url: str, body: bytes, headers: Mapping[str, str] | None = None) -> None:
    answer = httpx.post(url, content=body, headers=headers, trust_env=False, timeout=30)
    assert answer.status_code < 300, answer.text
