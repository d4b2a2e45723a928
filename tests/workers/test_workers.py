"""Days in parallel: the same rows, revisions and totals whoever does which day; one lost day costs only itself."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from distributed import LocalCluster

from pipeline import __version__
from pipeline.config import load
from pipeline.day import Day
from pipeline.demo.fleet import churning, simulate
from pipeline.demo.openmetrics import fill_blocks
from pipeline.demo.servers import PrometheusBinary, RunningServer, free_port, start_prometheus
from pipeline.engines.dask_cluster import attempt
from pipeline.errors import ConfigError, SourceUnavailable, StoreFull
from pipeline.job import Job, Workers
from pipeline.run import run
from pipeline.sinks.sql import run_query
from pipeline.sinks.warehouse import Warehouse
from pipeline.tasks import days, do_day
from pipeline.terminal import SystemEnvironment
from pipeline.window import HOUR, Window
from tests.clocks import FixedClock
from tests.conftest import RealClock
from tests.product import Product, Said
from tests.workers.courses import (
    LAST_DAY,
    LONG,
    NOW,
    SHORT,
    START,
    WHOLE_DAY,
    Course,
    assert_equal,
    assert_same_course,
    backfill,
    configured,
    course,
    done,
    figures,
    told,
)
from tests.workers.groups import ctrl_c, ended, kill, started, terminate, until_a_day_is_committed
from tests.workers.worker_traps import CLUSTER, Kill, Refuse


@pytest.fixture(scope="module")
def prometheus(
    prometheus_binary: PrometheusBinary, tmp_path_factory: pytest.TempPathFactory, clock: RealClock
) -> Iterator[RunningServer]:
    """One node with restarts and jobs over three UTC days, scraped every two minutes."""
    spec = churning(seed=8, start=START, hours=LONG.hour_count, nodes=1, pods_per_node=3)
    fleet = simulate(replace(spec, scrape_seconds=120, kepler_restarts=3, jobs_per_hour=1.0))
    data_dir = tmp_path_factory.mktemp("three-days") / "data"
    fill_blocks(fleet, prometheus_binary.promtool, data_dir)
    with start_prometheus(prometheus_binary, data_dir, free_port(), clock, out_of_order="5y") as server:
        yield server


@pytest.fixture(scope="module")
def plain(prometheus: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> dict[Window, Course]:
    """Both windows done by one process."""
    return {window: course(prometheus, tmp_path_factory.mktemp("plain"), Workers(), window) for window in (LONG, SHORT)}


# --- the same figures


@pytest.mark.parametrize("count", [2, 4])
def test_any_number_of_workers_gives_the_rows_revisions_and_totals_of_one(
    count: int, prometheus: RunningServer, plain: dict[Window, Course], tmp_path: Path
) -> None:
    assert_same_course(course(prometheus, tmp_path, Workers(count), LONG), plain[LONG])


def test_dask_gives_the_rows_revisions_and_totals_of_one_process_and_says_nothing(
    prometheus: RunningServer, plain: dict[Window, Course], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert_same_course(course(prometheus, tmp_path, Workers(2, "dask"), SHORT), plain[SHORT])
    assert "distributed" not in capfd.readouterr().err


def test_a_dry_run_in_parallel_adds_up_to_the_same_and_writes_nothing(
    prometheus: RunningServer, plain: dict[Window, Course], tmp_path: Path
) -> None:
    config = configured(prometheus, tmp_path)
    assert told(done(config, Workers(2), dry_run=True).clusters[0]) == plain[SHORT].told[0]
    assert not list((tmp_path / "warehouse").rglob("*.parquet"))


def test_tasks_as_json_in_any_order_give_the_rows_and_a_run_of_its_own_each(
    prometheus: RunningServer, plain: dict[Window, Course], tmp_path: Path
) -> None:
    config = configured(prometheus, tmp_path)
    tasks = json.loads(json.dumps(days(config, CLUSTER, SHORT.start.isoformat(), SHORT.end.isoformat())))
    assert [len(task["hours"]) for task in tasks] == [2, 2]
    tasks = tasks[::-1]
    reports = [do_day(config, task) for task in [*tasks, tasks[0]]]
    assert [report["exit_code"] for report in reports] == [0] * 3
    assert reports[-1]["clusters"][0]["hours_rewritten"] == 0
    assert_equal(figures(tmp_path), plain[SHORT].figures[0])
    unknown = "select count(*) as n from emissions anti join runs using (run_id)"
    assert run_query(tmp_path / "warehouse", unknown).to_pylist() == [{"n": 0}]


def test_what_parallel_days_committed_is_published_whole_by_the_parent(
    prometheus: RunningServer, empty_prometheus: RunningServer, tmp_path: Path
) -> None:
    store = f'[[remote_write]]\nname = "own"\nurl = "{empty_prometheus.url}/api/v1/write"'
    report = done(configured(prometheus, tmp_path, store), Workers(2))
    assert report.exit_code == 0, report.summary()
    (outcome,) = report.clusters[0].stores
    assert (outcome.hours_published, outcome.hours_unpublished) == (4, 0)


# --- days that fail, workers that die


@pytest.mark.parametrize("count", [1, 2])
def test_a_day_that_fails_costs_itself_and_no_other(
    count: int, prometheus: RunningServer, plain: dict[Window, Course], tmp_path: Path
) -> None:
    config = configured(prometheus, tmp_path)
    damaged = tmp_path / "warehouse" / "emissions" / f"cluster={CLUSTER}" / f"date={WHOLE_DAY}" / "emissions.parquet"
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"not parquet")
    report = done(config, Workers(count))
    assert report.exit_code == 69
    (failure,) = report.clusters[0].failures
    assert failure.startswith(f"{WHOLE_DAY}: ")
    assert "is damaged" in failure
    assert report.clusters[0].states == {"complete": 2}
    damaged.unlink()
    assert done(config, Workers(count)).exit_code == 0
    assert_equal(figures(tmp_path), plain[SHORT].figures[0])


def test_a_worker_that_is_killed_costs_its_day_which_the_next_run_completes(
    prometheus: RunningServer, plain: dict[Window, Course], tmp_path: Path
) -> None:
    config = configured(prometheus, tmp_path)
    report = done(config, Workers(2), on_effect=Kill("node_energy", tmp_path / "killed"))
    assert report.exit_code == 69
    (failure,) = report.clusters[0].failures
    assert "its worker was lost (SIGKILL)" in failure
    assert report.clusters[0].states == {"complete": 2}
    assert done(config, Workers(2)).exit_code == 0
    assert_equal(figures(tmp_path), plain[SHORT].figures[0])


def test_a_dask_worker_that_is_killed_leaves_the_figures_as_they_would_have_been(
    prometheus: RunningServer, plain: dict[Window, Course], tmp_path: Path
) -> None:
    """Dask gives its day to another worker."""
    config = configured(prometheus, tmp_path)
    report = done(config, Workers(2, "dask"), on_effect=Kill("node_energy", tmp_path / "killed"))
    assert (tmp_path / "killed").exists()
    assert report.exit_code == 0, report.summary()
    assert_equal(figures(tmp_path), plain[SHORT].figures[0])


def test_a_disk_that_refuses_three_days_in_a_row_is_not_asked_for_a_fourth(
    prometheus: RunningServer, tmp_path: Path
) -> None:
    config, week = configured(prometheus, tmp_path), Window(START - timedelta(days=6), START + HOUR)
    disk = Refuse(tmp_path / "freed")
    job = Job(load(config, {}), SystemEnvironment(), FixedClock(NOW), on_effect=disk)
    report = run(job, [CLUSTER], week)
    assert [type(error) for error in report.errors] == [StoreFull] * 3
    assert report.clusters[0].failures[-1].startswith("2026-10-29 to 2026-11-01: not tried")
    (tmp_path / "freed").touch()
    report = run(job, [CLUSTER], week)
    assert (report.exit_code, report.clusters[0].failures) == (0, [])
    assert report.clusters[0].states == {"empty": 143, "partial": 1, "complete": 1}


def test_days_are_not_tried_when_prometheus_is_gone(
    prometheus: RunningServer, prometheus_binary: PrometheusBinary, clock: RealClock, tmp_path: Path
) -> None:
    ignored = shutil.ignore_patterns("lock", "wal", "chunks_head", "queries.active")
    shutil.copytree(prometheus.log.parent, tmp_path / "data", ignore=ignored)
    with start_prometheus(prometheus_binary, tmp_path / "data", free_port(), clock) as mortal:
        report = done(
            configured(mortal, tmp_path),
            Workers(),
            LONG,
            on_effect=Kill("hours", tmp_path / "gone", mortal.process.pid),
        )
    assert report.exit_code == 69
    assert report.clusters[0].states == {"complete": 2}
    first, second = report.clusters[0].failures
    assert first.startswith(f"{WHOLE_DAY}: ")
    assert second.startswith(f"{LAST_DAY} to {LAST_DAY}: not tried")
    assert [type(error) for error in report.errors] == [SourceUnavailable]


# --- the command: signals, two at once, resumed


@pytest.fixture
def product(prometheus: RunningServer, tmp_path: Path) -> Product:
    """The command with the configuration of these tests."""
    made = Product(tmp_path, prometheus.url)
    configured(prometheus, tmp_path)
    return made


@pytest.mark.parametrize(
    ("stop", "code", "says"),
    [
        (ctrl_c, 130, "interrupted: what was committed stands, and another run goes on from there\n"),
        (terminate, -signal.SIGTERM, ""),
        (kill, -signal.SIGKILL, ""),
    ],
)
def test_a_stopped_backfill_leaves_no_worker_and_is_resumed(
    stop: Callable[[subprocess.Popen[str]], None],
    code: int,
    says: str,
    product: Product,
    plain: dict[Window, Course],
    clock: RealClock,
) -> None:
    """Somebody else holds the last day, so that no backfill is done before it is stopped."""
    last_day = Warehouse(product.warehouse).partition_lock(CLUSTER, date.fromisoformat(LAST_DAY), clock, 0.0)
    with ExitStack() as held:
        held.enter_context(last_day)
        with started(product, *backfill(LONG, "--workers", "2")) as process:
            lines = until_a_day_is_committed(process)
            stop(process)
            assert process.wait(60) == code
            held.close()
            assert ended(process)
            assert process.stderr is not None
            rest = [line for line in [*lines, *process.stderr] if not line.startswith("{")]
    assert "".join(rest) == says
    stopped = run_query(product.warehouse, "select count(*) as n from hours").to_pylist()[0]["n"]
    assert stopped in (2, 24, 26, 3, 25, 27)  # whole days; workers that were not told to stop end theirs
    resumed = json.loads(product.call(*backfill(LONG, "--workers", "2", "--resume")).out)
    assert resumed["exit_code"] == 0
    assert resumed["clusters"][0]["states"] == ({"complete": 27 - stopped} if stopped < 27 else {})
    assert_equal(figures(product.folder), plain[LONG].figures[0])
    again = json.loads(product.call(*backfill(LONG, "--resume")).out)
    assert again["clusters"][0]["states"] == {}


def test_what_was_done_under_another_configuration_is_not_left_out(product: Product) -> None:
    command = backfill(SHORT, "--resume")
    assert json.loads(product.call(*command).out)["clusters"][0]["states"] == {"complete": 4}
    product.replace("pue = 1.25", "pue = 1.5")
    assert json.loads(product.call(*command).out)["clusters"][0]["hours_rewritten"] == 4


def test_two_backfills_at_once_wait_for_each_other_day_by_day(product: Product, plain: dict[Window, Course]) -> None:
    with ThreadPoolExecutor(2) as pool:
        both: list[Said] = list(pool.map(lambda count: product.call(*backfill(SHORT, "--workers", count)), "12"))
    assert [said.code for said in both] == [0, 0], both
    written = [json.loads(said.out)["clusters"][0]["hours_rewritten"] for said in both]
    assert sum(written) == 4
    assert_equal(figures(product.folder), plain[SHORT].figures[0])


def test_workers_log_as_the_command_does(product: Product) -> None:
    said = product.call(*backfill(SHORT, "--workers", "2"))
    logs = [json.loads(line) for line in said.err.splitlines()]
    assert [log["due_hours"] for log in logs] == [4, 4]
    assert [log["done_hours"] for log in logs] == [2, 4]


def test_a_terminal_sees_how_fast_it_goes(product: Product) -> None:
    """Under a pseudo terminal: hours a second, and the time that is left."""
    recorder = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)"
    said = product.call(*backfill(SHORT), through=[sys.executable, "-c", recorder])
    assert said.code == 0
    assert "hours/s" in said.out
    assert "/4 hours" in re.sub(r"\x1b\[[0-9;]*m", "", said.out)


# --- Dask


def test_a_scheduler_that_is_there_is_used_and_one_that_is_not_is_said(
    product: Product, plain: dict[Window, Course]
) -> None:
    with LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address=None, silence_logs=40) as cluster:
        address = cluster.scheduler_address
        said = product.call(*backfill(SHORT, "--workers", "2", "--engine", "dask", "--scheduler", address))
        assert (said.code, said.errors) == (0, [])
    assert_equal(figures(product.folder), plain[SHORT].figures[0])
    said = product.call(*backfill(SHORT, "--engine", "dask", "--scheduler", "tcp://127.0.0.1:9"))
    assert said.code == 2
    assert "no Dask scheduler answers at tcp://127.0.0.1:9" in said.only_error()


def test_a_dask_worker_that_cannot_do_the_job_says_what_to_mend(prometheus: RunningServer, tmp_path: Path) -> None:
    job = Job(load(configured(prometheus, tmp_path), {}), {}, FixedClock(NOW))
    day = Day(CLUSTER, (START,), 0, "run")
    with pytest.raises(ConfigError, match="let them be equal"):
        attempt(job, day, "0.0.0", tmp_path)
    with pytest.raises(ConfigError, match="the warehouse must be one folder"):
        attempt(job, day, __version__, tmp_path / "warehouse" / ".locks" / "dask-1")


def test_dask_that_is_not_installed_and_a_scheduler_without_it_are_usage_errors(product: Product) -> None:
    program = "import sys; sys.modules['distributed'] = None; from pipeline.cli import main; main()"
    command = [sys.executable, "-c", program, *backfill(SHORT, "--engine", "dask")]
    env = os.environ | {"CARBON_ETL_CONFIG": str(product.config)}
    root = Path(__file__).parents[2]
    said = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert (said.returncode, said.stderr) == (2, "error: --engine dask needs Dask: pip install 'carbon-etl[dask]'\n")
    lonely = product.call(*backfill(SHORT, "--scheduler", "tcp://127.0.0.1:9"))
    assert lonely.code == 2
    assert "add --engine dask" in lonely.only_error()
