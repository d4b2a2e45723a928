"""An S3 server, three hours of a small fleet, and the product as told to keep its warehouse there."""

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pyarrow as pa
import pytest

from pipeline.config import load
from pipeline.demo.servers import RunningServer, free_port
from pipeline.job import Job, Workers
from pipeline.report import RunReport
from pipeline.run import run
from pipeline.sinks.partitions import OnEffect, nothing
from pipeline.sinks.sql import run_query
from pipeline.window import HOUR, Window
from tests.clocks import FixedClock
from tests.conftest import RealClock
from tests.delta.s3_server import BUCKET, KEY, SECRET
from tests.e2e.conftest import CLUSTER
from tests.product import ROOT

WINDOW = Window(datetime(2026, 11, 1, 8, tzinfo=UTC), datetime(2026, 11, 1, 11, tzinfo=UTC))
AT_LENGTH = pytest.mark.skipif("CARBON_ETL_S3" not in os.environ, reason="make test-s3")
NOW = WINDOW.end + timedelta(minutes=20)
CONFIG = """\
[warehouse]
path = "{path}"
{cache}
[[clusters]]
name = "{cluster}"
prometheus_url = "{prometheus}"
grid_zone = "XX"
pue = {pue}
[intensity]
providers = ["csv"]
csv = {{ path = "{grid}" }}
[http]
retry_seconds = 0
{more}"""


@dataclass(frozen=True)
class ObjectStore:
    """A server of buckets, and how it lets in."""

    url: str
    process: subprocess.Popen[bytes]

    @property
    def env(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
        }


@pytest.fixture(scope="session")
def object_store(clock: RealClock) -> Iterator[ObjectStore]:
    """One bucket; tests keep apart by their prefix."""
    port = free_port()
    command = [sys.executable, "-m", "tests.delta.s3_server", str(port)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        store = ObjectStore(f"http://127.0.0.1:{port}", process)
        while True:
            assert process.poll() is None, "the S3 server did not start: python -m tests.delta.s3_server 9000"
            try:
                httpx.get(store.url)
                break
            except httpx.TransportError:
                clock.sleep(0.1)
        yield store
        process.kill()


ALONE = Workers()
RUNS = itertools.count(1)


@dataclass(frozen=True)
class Setting:
    """A warehouse somewhere, and what it is filled from."""

    folder: Path
    prometheus: str
    path: str
    env: Mapping[str, str]
    cache: Path | None = None
    pue: float = 1.25
    more: str = ""

    @property
    def config(self) -> Path:
        """The configuration file, written anew."""
        (self.folder / "grid.csv").write_text(
            "zone,start_utc,end_utc,carbon_intensity_g_per_kwh\n"
            + "".join(
                f"XX,{hour.isoformat()},{(hour + HOUR).isoformat()},{100 + 13 * hour.hour}\n" for hour in WINDOW.hours()
            )
        )
        config = self.folder / "carbon-etl.toml"
        cache = "" if self.cache is None else f'cache = "{self.cache}"'
        named = {"cluster": CLUSTER, "prometheus": self.prometheus, "pue": self.pue, "grid": self.folder / "grid.csv"}
        config.write_text(CONFIG.format(path=self.path, cache=cache, more=self.more, **named))
        return config

    def job(self, on_effect: OnEffect = nothing, workers: Workers = ALONE) -> Job:
        """What a command is given; no two at one moment."""
        clock = FixedClock(NOW + timedelta(seconds=next(RUNS)))
        return Job(load(self.config, {}), os.environ | self.env, clock, on_effect=on_effect, workers=workers)

    def backfill(self, on_effect: OnEffect = nothing, workers: Workers = ALONE, window: Window = WINDOW) -> RunReport:
        """The window's hours, folded and priced, and published where there is a store."""
        return run(self.job(on_effect, workers), [CLUSTER], window)


@pytest.fixture
def on_s3(tmp_path: Path, small_fleet_prometheus: RunningServer, object_store: ObjectStore) -> Setting:
    """An empty warehouse in the object store."""
    return Setting(tmp_path, small_fleet_prometheus.url, f"s3://{BUCKET}/{tmp_path.name}", object_store.env)


@pytest.fixture(scope="session")
def on_disk(tmp_path_factory: pytest.TempPathFactory, small_fleet_prometheus: RunningServer) -> Setting:
    """The same hours in a folder: what every store must come to."""
    folder = tmp_path_factory.mktemp("on-disk")
    setting = Setting(folder, small_fleet_prometheus.url, str(folder / "warehouse"), {})
    assert setting.backfill().exit_code == 0
    return setting


TABLES = {
    "emissions": "select * exclude (run_id, revision) from emissions order by all",
    "node_energy": "select * exclude (run_id, revision) from node_energy order by all",
    "processes": "select * exclude (run_id, revision) from processes order by all",
    "emissions_daily": "select * exclude (source_digest) from emissions_daily order by all",
    "hours": "select hour_utc, state, reason from hours where store is null order by all",
    "intensity": "select * exclude (fetched_utc, updated_utc, written_date) from intensity order by all",
}


def figures(setting: Setting) -> dict[str, pa.Table]:
    """What the tables hold, without what no two runs have in common."""
    warehouse = setting.job().warehouse()
    return {name: run_query(warehouse.root, query) for name, query in TABLES.items()}
