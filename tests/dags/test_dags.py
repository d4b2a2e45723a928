"""The DAGs of deploy/airflow by `airflow dags test` in an environment of their own, over a real Prometheus.

Run by `make test-airflow`, which builds that environment and names it in CARBON_ETL_AIRFLOW.
"""

import json
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.airflow.ranges import month_before
from pipeline.demo.fleet import churning, simulate
from pipeline.demo.openmetrics import fill_blocks
from pipeline.demo.servers import PrometheusBinary, RunningServer, free_port, start_prometheus
from pipeline.sinks.sql import run_query
from pipeline.window import HOUR, Window
from tests.conftest import RealClock
from tests.product import Product

ROOT = Path(__file__).parents[2]
ENVIRONMENT = Path(os.environ["CARBON_ETL_AIRFLOW"]).absolute()
HOURS = 4
EMISSIONS = "select * exclude (run_id) from emissions where hour_utc < {end} order by all"
SECONDS = 600  # four processes of Airflow, each with its own imports, also on a busy machine
TRIGGERED = "running trigger in line"
CONFIG = """
[warehouse]
path = "{warehouse}"
[[clusters]]
name = "lab"
prometheus_url = "{url}"
grid_zone = "DE"
pue = 1.25
[intensity]
providers = ["csv"]
csv = {{ path = "GRID" }}
[http]
retry_seconds = 0
"""


@dataclass(frozen=True)
class Airflow:
    """An installation with its own database, whose DAGs folder is deploy/airflow."""

    home: Path

    def started(self, *arguments: str, config: Path | None = None) -> "subprocess.Popen[bytes]":
        """One `airflow` command; what it prints goes into `log`."""
        env = {
            "PATH": os.environ["PATH"], "HOME": str(self.home), "AIRFLOW_HOME": str(self.home), "PYTHONPATH": str(ROOT),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False", "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "deploy" / "airflow"),
            "CARBON_ETL_CONFIG": str(config), "PYTHONDONTWRITEBYTECODE": "1",
        }  # fmt: skip
        command = [str(ENVIRONMENT / "bin" / "airflow"), *arguments]
        with self.log.open("wb") as log:
            return subprocess.Popen(command, env=env, cwd=self.home, stdout=log, stderr=log)

    @property
    def log(self) -> Path:
        return self.home / "printed.txt"

    def ended(self, process: "subprocess.Popen[bytes]") -> str:
        """What a command that must succeed printed."""
        assert process.wait(SECONDS) == 0, self.log.read_text()
        return self.log.read_text()

    def test(
        self, dag: str, logical_date: datetime, conf: dict[str, object], config: Path
    ) -> "subprocess.Popen[bytes]":
        """A DAG run in one process."""
        return self.started("dags", "test", dag, logical_date.isoformat(), "-c", json.dumps(conf), config=config)


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Airflow:
    installed = Airflow(tmp_path_factory.mktemp("airflow"))
    for command in (
        ["db", "migrate"],
        ["pools", "set", "carbon_etl_prometheus", "2", "days that ask Prometheus at once"],
    ):
        installed.ended(installed.started(*command))
    return installed


@pytest.fixture(scope="module")
def window(clock: RealClock) -> Window:
    """The last hours of a month that ended at least three days ago."""
    _, _, end = month_before(clock.now() - timedelta(days=3))
    return Window(datetime.fromisoformat(end) - HOURS * HOUR, datetime.fromisoformat(end))


@pytest.fixture(scope="module")
def prometheus(
    window: Window, prometheus_binary: PrometheusBinary, tmp_path_factory: pytest.TempPathFactory, clock: RealClock
) -> Iterator[RunningServer]:
    spec = churning(seed=8, start=window.start, hours=HOURS, nodes=1, pods_per_node=3)
    data = tmp_path_factory.mktemp("prometheus") / "data"
    fill_blocks(simulate(replace(spec, scrape_seconds=120)), prometheus_binary.promtool, data)
    with start_prometheus(prometheus_binary, data, free_port(), clock, out_of_order="5y") as server:
        yield server


def product(folder: Path, server: RunningServer, window: Window) -> Product:
    folder.mkdir(exist_ok=True)
    lines = ["zone,start_utc,end_utc,carbon_intensity_g_per_kwh"]
    lines += [f"DE,{hour.isoformat()},{(hour + HOUR).isoformat()},{300 + n}" for n, hour in enumerate(window.hours())]
    (folder / "grid.csv").write_text("\n".join(lines) + "\n")
    return Product(folder, server.url, CONFIG.replace("GRID", str(folder / "grid.csv")))


def backfill(window: Window) -> Sequence[str]:
    return ("backfill", "--start", window.start.isoformat(), "--end", window.end.isoformat(), "--json")


def whole_month(window: Window) -> Window:
    return Window((window.end - timedelta(days=1)).replace(day=1, hour=0), window.end)


def rows(one: Product, window: Window) -> pa.Table:
    """Of the window: `finish` does what else is due."""
    return run_query(one.warehouse, EMISSIONS.format(end=f"timestamptz '{window.end.isoformat()}'"))


def test_a_range_by_hand_gives_the_rows_of_backfill_and_again_changes_nothing(
    airflow: Airflow, prometheus: RunningServer, window: Window, tmp_path: Path
) -> None:
    by_hand = product(tmp_path / "by-hand", prometheus, window)
    assert by_hand.call(*backfill(window)).code == 0
    mapped = product(tmp_path / "mapped", prometheus, window)
    conf: dict[str, object] = {"start": window.start.isoformat(), "end": window.end.isoformat()}
    airflow.ended(airflow.test("carbon_etl", window.end + timedelta(minutes=10), conf, mapped.config))
    assert rows(mapped, window).num_rows > 0
    assert rows(mapped, window).equals(rows(by_hand, window))
    before = mapped.published
    airflow.ended(airflow.test("carbon_etl", window.end + timedelta(minutes=20), conf, mapped.config))
    emissions = {name: content for name, content in mapped.published.items() if name.startswith("emissions/")}
    assert emissions == {name: content for name, content in before.items() if name.startswith("emissions/")}


def test_closing_waits_for_the_month_to_settle_and_then_keeps_its_totals(
    airflow: Airflow, prometheus: RunningServer, window: Window, tmp_path: Path
) -> None:
    late = product(tmp_path, prometheus, window)
    conf: dict[str, object] = {"every_seconds": 1, "as_is": True}
    waiting = airflow.test("carbon_etl_close", window.end + timedelta(days=2), conf, late.config)
    deadline = time.monotonic() + SECONDS
    while TRIGGERED not in airflow.log.read_text() and waiting.poll() is None and time.monotonic() < deadline:
        time.sleep(0.2)
    assert late.call(*backfill(window)).code == 0
    assert TRIGGERED in airflow.ended(waiting)
    lacking = sum(1 for _ in whole_month(window).hours()) - HOURS
    kept = run_query(late.warehouse, "select distinct period, cluster, lacking_hours from closings").to_pylist()
    assert kept == [{"period": f"{window.start:%Y-%m}", "cluster": "lab", "lacking_hours": lacking}]
    total = run_query(late.warehouse, "select sum(emissions_gco2e) as g from closings").to_pylist()[0]["g"]
    assert total == pytest.approx(sum(value for value in rows(late, window)["emissions_gco2e"].to_pylist()), rel=1e-9)


def test_errors_are_tried_again_only_where_that_may_help(airflow: Airflow) -> None:
    snippet = """
from airflow.sdk.exceptions import AirflowFailException
from pipeline.airflow.endings import ended_well, tried_again_if_it_helps
from pipeline.errors import ConfigError, SourceUnavailable

def kind(error):
    try:
        with tried_again_if_it_helps():
            raise error
    except Exception as raised:
        return type(raised).__name__

def end(code):
    try:
        return ended_well({"exit_code": code, "errors": ["why"]})["errors"][0]
    except Exception as raised:
        return f"{type(raised).__name__}: {raised}"

print(kind(ConfigError("x")), kind(SourceUnavailable("x")), kind(ValueError("x")))
print([end(code) for code in (0, 65, 75)])
"""
    python = str(ENVIRONMENT / "bin" / "python")
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "AIRFLOW_HOME": str(airflow.home)}
    said = subprocess.run(
        [python, "-c", snippet], env=env, capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert said.splitlines()[-2:] == [
        "AirflowFailException SourceUnavailable ValueError",
        "['why', 'AirflowFailException: exit code 65: why', 'StoreBusy: why']",
    ]
