"""Publishing at size: encoding, a first write to real servers, and a second one that finds nothing to do.

    python -m benchmarks.remote_write [--quick]

Encoding is compared with protobuf objects (`rival_protobuf`) over the same series and must give the same bytes; the
same samples are written to real servers. Then one hour of 20,000 workloads is published (`sinks.publish`: read, write,
see it, compare) to a Prometheus and a VictoriaMetrics, and published again unchanged. The receiver's CPU is its
process's; requests are counted as they leave.
"""

import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import httpx
import numpy as np

from benchmarks.accuracy_report import table
from benchmarks.page import Goal, document, finish, parser, versions
from benchmarks.rival_protobuf import RIVAL, encoded
from benchmarks.stopwatch import await_idle, cpu_seconds
from benchmarks.warehouse_rows import CLUSTER, Size, has_figure, priced_hour
from pipeline.demo.servers import RunningServer, find_prometheus, free_port, start_prometheus, start_victoria_metrics
from pipeline.settings import HttpSettings, StoreSettings
from pipeline.sinks.batches import Batch, Point, Series
from pipeline.sinks.publish import PublishReport, publish
from pipeline.sinks.rounds import MAX_REQUEST_SAMPLES
from pipeline.sinks.stores import Store
from pipeline.sinks.write_request import encode
from pipeline.terminal import SystemClock
from pipeline.transforms.series import hour_series
from pipeline.units import MS_PER_HOUR
from pipeline.window import HOUR, floor_hour, to_ms

PAGE = Path(__file__).with_name("remote_write.md")
WORKLOADS, QUICK_WORKLOADS, POINTS = 20_000, 1_000, 24
PROMETHEUS, VICTORIA = "Prometheus", "VictoriaMetrics"
METRIC = "carbon_energy_joules"
READS = ("query", "query_range", "export", "read")
ENCODING = f"""\
In requests of {MAX_REQUEST_SAMPLES:,} samples, as they are sent. Labels are encoded once and kept: a backfill writes
the same series every day. Both sides are told their samples by series, and both give the same bytes."""
READING = f"""\
A day is written series by series in requests of {MAX_REQUEST_SAMPLES:,} samples and not read back. An hour of another
cluster is published as a run does it: what the store holds is read, what it lacks written, awaited until it can be
seen, and compared; the same again finds nothing to write."""


@dataclass(frozen=True, slots=True)
class Published:
    """One call of `publish`: what it took here and there, and how often the server was asked and written to."""

    seconds: float
    cpu_seconds: float
    server_cpu_seconds: float
    reads: int
    writes: int
    samples: int


def day_of(workloads: int, name: str = "web") -> dict[Series, list[Point]]:
    """A day of one metric: the samples of each series."""
    end_ms = to_ms(floor_hour(SystemClock().now()))
    stamps = [end_ms - n * MS_PER_HOUR for n in range(POINTS, 0, -1)]
    values = np.random.default_rng(1).uniform(1, 1e6, (workloads, POINTS)).round(6).tolist()
    found: dict[Series, list[Point]] = {}
    for n, row in enumerate(values):
        labels = (
            ("cluster", "older"), ("component", "package"), ("kind", "workload"), ("namespace", f"team-{n % 40}"),
            ("revision", "0"), ("workload", f"{name}-{n}"), ("workload_kind", "Deployment"),
        )  # fmt: skip
        found[METRIC, labels] = list(zip(stamps, row, strict=True))
    return found


@dataclass(frozen=True, slots=True)
class Encoding:
    """CPU seconds of encoding one day: of series never seen, of series that were, and the rival's objects."""

    first: float
    again: float
    rival: float


def encoding(workloads: int, rounds: int) -> Encoding:
    """Medians over rounds with series of their own, in requests as they are sent; labels begin as text on both sides.

    Raises:
        SystemExit: the bytes differ.
    """
    found = []
    for number in range(rounds):
        day = day_of(workloads, f"web{number}")
        parts = Batch.of_points(day).parts(MAX_REQUEST_SAMPLES // POINTS * POINTS)
        objects = [[(*series, day[series]) for series in part.series] for part in parts]
        made = map(_made, (map(encode, parts), map(encode, parts), map(encoded, objects)))
        took, digests = zip(*made, strict=True)
        if len(set(digests)) > 1:
            raise SystemExit("the two encodings differ")
        found.append(took)
    return Encoding(*map(median, zip(*found, strict=True)))


def _made(bodies: Iterator[bytes]) -> tuple[float, bytes]:
    """CPU seconds of making bodies, each gone before the next as when they are sent, and what they come to."""
    seconds, digest = 0.0, sha256()
    while True:
        began = time.process_time()
        body = next(bodies, None)
        seconds += time.process_time() - began
        if body is None:
            return seconds, digest.digest()
        digest.update(body)


def hour_of(workloads: int) -> tuple[datetime, Mapping[tuple[str, tuple[tuple[str, str], ...]], float]]:
    """A recent priced hour as the series that a run publishes."""
    hour = floor_hour(SystemClock().now()) - 3 * HOUR
    while not has_figure(hour):
        hour -= HOUR
    rows = priced_hour(Size(pods=workloads, pods_per_workload=1), hour)
    return hour, hour_series(rows, workloads)


@contextmanager
def receiver(kind: str, folder: Path) -> Iterator[RunningServer]:
    """An empty server that takes remote writes."""
    path = os.environ.get("PATH", "")
    if kind == PROMETHEUS:
        started = start_prometheus(find_prometheus(folder, path), folder / kind, free_port(), SystemClock())
    else:
        program = Path(shutil.which("victoria-metrics", path=path) or "victoria-metrics")
        started = start_victoria_metrics(program, folder / kind, free_port(), SystemClock())
    with started as server:
        yield server


def opened(server: RunningServer) -> Store:
    """It as the product's config would name it."""
    settings = StoreSettings.model_validate({"url": f"{server.url}/api/v1/write", "name": "bench"})
    return Store(settings, HttpSettings(timeout_seconds=120), {}, SystemClock())


def sent(server: RunningServer, day: Mapping[Series, Sequence[Point]]) -> Published:
    """Write samples as the publisher does, in requests of its size, without reading anything."""
    began, cpu, server_cpu = time.perf_counter(), time.process_time(), cpu_seconds(server.process.pid)
    with opened(server) as store, counted() as requests:
        batch = Batch.of_points(day)
        for part in batch.parts(MAX_REQUEST_SAMPLES):
            store.send(part)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    await_idle(server.process.pid)  # some do the work after the answer
    return Published(seconds, cpu, cpu_seconds(server.process.pid) - server_cpu, 0, requests["write"], len(batch))


def published(server: RunningServer, hour: datetime, samples: Mapping[object, float]) -> Published:
    """Publish one hour."""
    began, cpu, server_cpu = time.perf_counter(), time.process_time(), cpu_seconds(server.process.pid)
    with opened(server) as store, counted() as requests:
        report: PublishReport = publish(store, {hour: samples}, [CLUSTER], "bench")  # type: ignore[dict-item] # keys as hour_series makes them
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    server_cpu = cpu_seconds(server.process.pid) - server_cpu
    if report.error is not None or report.unpublished_hours:
        raise SystemExit(f"not published: {report}")
    reads = sum(requests[name] for name in READS)
    return Published(seconds, cpu, server_cpu, reads, requests["write"], report.written)


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """How many requests are sent meanwhile, by the end of their path."""
    found: Counter[str] = Counter()
    send = httpx.Client.send

    def counting(client: httpx.Client, request: httpx.Request, **options: Any) -> httpx.Response:  # noqa: ANN401
        found[request.url.path.rpartition("/")[2]] += 1
        return send(client, request, **options)

    with patch.object(httpx.Client, "send", counting):
        yield found


def compare(kind: str, workloads: int, rounds: int) -> tuple[Published, Published, Published, int]:
    """The medians of sending a day, of publishing an hour and of doing so again; how many samples the hour has."""
    hour, samples = hour_of(workloads)
    bare, first, again = [], [], []
    for number in range(rounds):
        with tempfile.TemporaryDirectory(prefix="remote-write-") as folder, receiver(kind, Path(folder)) as server:
            bare.append(sent(server, day_of(workloads)))
            first.append(published(server, hour, samples))  # type: ignore[arg-type]
            again.append(published(server, hour, samples))  # type: ignore[arg-type]
        print(f"{kind}, round {number + 1}: {first[-1].seconds:.2f} s, again {again[-1].seconds:.2f} s", flush=True)
    return _middle(bare), _middle(first), _middle(again), len(samples)


def _middle(found: Sequence[Published]) -> Published:
    seconds, cpu, server, *counts = (median(getattr(one, name) for one in found) for name in Published.__slots__)
    return Published(seconds, cpu, server, *map(int, counts))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    options = parser(__doc__, "one round, fewer series")
    given = options.parse_args(arguments)
    workloads, rounds = (QUICK_WORKLOADS, 1) if given.quick else (WORKLOADS, given.rounds)
    took, size = encoding(workloads, rounds), workloads * POINTS
    goals = [Goal(f"encode {workloads:,} series x {POINTS}: faster than protobuf objects", 20, took.rival / took.again)]
    ways = (("carbon-etl", took.again), ("carbon-etl, series never seen", took.first), (RIVAL, took.rival))
    rows = [[name, f"{cpu / took.again:.1f}", f"{size / cpu / 1e6:.2f}", f"{cpu:.3f}"] for name, cpu in ways]
    parts = [f"## Encoding {size:,} samples", *table(["", "times ours", "M samples/s", "CPU s"], rows), ENCODING]
    lines = []
    for kind in (PROMETHEUS, VICTORIA):
        bare, first, again, held = compare(kind, workloads, rounds)
        share = 100 * bare.cpu_seconds / max(bare.server_cpu_seconds, 0.01)
        spent = again.cpu_seconds + again.server_cpu_seconds
        told = f"{again.reads} reads, {again.writes} writes, {spent:.1f} s of CPU in all"
        goals += [
            Goal(f"{kind}: CPU of writing {size:,} samples over the receiver's", 10, share, at_most=True, unit="%"),
            Goal(f"{kind}: {held:,} samples unchanged", 2, again.seconds, at_most=True, unit="s", note=told),
            Goal(f"{kind}: reads of an unchanged hour", 1, again.reads, at_most=True, unit="reads"),
        ]
        told_ways = (("a day written", bare), ("an hour published", first), ("the same again", again))
        lines += [_line(f"{kind}, {name}", one) for name, one in told_ways]
    head = ["", "CPU / receiver's", "reads", "writes", "samples written", "seconds", "CPU s", "receiver's CPU s"]
    parts += ["## Real receivers", *table(head, lines), READING]
    setup = versions("carbon-etl", "httpx", "numpy", "pyarrow", programs=["prometheus"]) + ", VictoriaMetrics of Debian"
    goals = [] if given.quick else goals
    text = document("Remote write", "python -m benchmarks.remote_write", setup, goals, parts, rounds)
    finish(PAGE, text, quick=given.quick)


def _line(name: str, one: Published) -> list[str]:
    share = one.cpu_seconds / max(one.server_cpu_seconds, 0.01)
    return [name, f"{share:.0%}", str(one.reads), str(one.writes), f"{one.samples:,}", f"{one.seconds:.2f}",
            f"{one.cpu_seconds:.2f}", f"{one.server_cpu_seconds:.2f}"]  # fmt: skip


if __name__ == "__main__":
    main()
