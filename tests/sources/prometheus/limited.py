"""Servers that give only so much at once: a real Prometheus with any flags, one in memory that words its refusals."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest

from pipeline.demo.fleet import Fleet, churning, simulate
from pipeline.demo.transport import FleetTransport
from pipeline.samples import Transport
from pipeline.settings import HttpSettings, PrometheusEndpoint
from pipeline.sources.prometheus.bulk import BulkServer
from tests.conftest import RealClock
from tests.misbehaving import Answer, Asked, Misbehaving, data, misbehaving
from tests.sinks.rows import StillClock
from tests.sinks.servers import RealStore, free_port
from tests.sources.prometheus.test_matrix_json import ENVELOPES, compact
from tests.sources.series import rows

RANGE = re.compile(r"(.*)\[(\d+)ms\]", re.DOTALL)
HOUR_MS = 3_600_000
PODS = "kepler_pod_cpu_joules_total{}"
START = datetime(2026, 11, 1, 8, tzinfo=UTC)
HOURS = 3


@cache
def churned() -> Fleet:
    """Pods that come and go on two nodes."""
    return simulate(churning(seed=11, start=START, hours=HOURS, nodes=2, pods_per_node=4))


def span(fleet: Fleet) -> tuple[int, int]:
    """All of it, and a little before."""
    return fleet.spec.start_ms - 600_001, fleet.spec.start_ms + HOURS * HOUR_MS


def server(
    url: str, transport: str = "query", clock: RealClock | StillClock | None = None, **http: object
) -> BulkServer:
    """A server that must not warn of anything."""
    limits = HttpSettings.model_validate({"timeout_seconds": 10, "retry_seconds": 0} | http)
    endpoint = PrometheusEndpoint.model_validate({"url": url, "transport": transport})
    return BulkServer(endpoint, limits, {}, clock or RealClock(), pytest.fail)


@contextmanager
def prometheus(data_dir: Path, *flags: str) -> Iterator[RealStore]:
    """A Prometheus over blocks that are there already."""
    program = shutil.which("prometheus")
    assert program, "prometheus is not on PATH: `make test` puts it there"
    config = data_dir / "prometheus.yml"
    config.write_text("{}\n")
    port = free_port()
    command = [program, f"--config.file={config}", f"--storage.tsdb.path={data_dir}", "--log.level=warn"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--storage.tsdb.retention.time=10y", *flags]
    store = RealStore(command, port, "/-/ready", data_dir / "log")
    store.start()
    try:
        yield store
    finally:
        store.kill()


class Store:
    """What a limited server holds, and how it refuses.

    Args:
        held: its samples.
        refuses: given the number of series and of samples that were asked for: a refusal, or None.
    """

    def __init__(self, held: Transport, refuses: Callable[[int, int], Answer | None]) -> None:
        self._held, self._refuses = held, refuses
        self.refused = 0

    def answer(self, asked: Asked) -> Answer:
        """To a query of the API for a range; of anything else it knows nothing."""
        match = RANGE.fullmatch(asked.parameters.get("query", ""))
        if asked.path != "/api/v1/query" or match is None:
            return data([], "vector") if asked.path == "/api/v1/query" else Answer(404)
        end_ms = round(float(asked.parameters["time"]) * 1000)
        blocks = list(self._held.blocks(match[1], end_ms - int(match[2]) + 1, end_ms))
        refusal = self._refuses(sum(b.labels.num_rows for b in blocks), sum(len(b.values) for b in blocks))
        if refusal is not None:
            self.refused += 1
            return refusal
        items = [{"metric": dict(labels), "samples": samples} for block in blocks for labels, samples in rows(block)]
        return Answer(body=ENVELOPES[0].format(compact(items)).encode(), headers={"Content-Type": "application/json"})


@contextmanager
def limited(held: FleetTransport, refuses: Callable[[int, int], Answer | None]) -> Iterator[tuple[Misbehaving, Store]]:
    """That server, running."""
    store = Store(held, refuses)
    with misbehaving(decide=store.answer) as server:
        yield server, store


def refusal(status: int, text: str, kind: str = "execution") -> Answer:
    """A refusal as a Prometheus and all that follow it word one."""
    return Answer(status, json.dumps({"status": "error", "errorType": kind, "error": text}).encode())
