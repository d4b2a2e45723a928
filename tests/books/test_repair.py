"""Repair does again what verify finds off, from raw samples, from the warehouse, or from the files; or says why not."""

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.books.repair import Repaired, repair
from pipeline.books.verification import verify
from pipeline.demo.servers import RunningServer
from pipeline.job import Job
from pipeline.run import run
from pipeline.settings import Settings
from pipeline.sinks.partitions import partition_path
from pipeline.sinks.warehouse import Warehouse
from pipeline.window import HOUR, Window
from tests.books.booked import HOURS, LATER, booked, given, rows, tables
from tests.books.test_verification import rewrite, times, with_value
from tests.clocks import FixedClock
from tests.conftest import SMALL_FLEET_START
from tests.prices.stored import CLUSTER, StandingClock, figures, job

DEMO = "demo"
WINDOW = Window(SMALL_FLEET_START, SMALL_FLEET_START + 3 * HOUR)
NOW = WINDOW.end + timedelta(hours=1)


def metered(folder: Path, url: str) -> Job:
    """A cluster whose raw samples are there."""
    cluster = {"name": DEMO, "prometheus_url": url, "grid_zone": "DE", "pue": 1.2}
    settings = Settings.model_validate({"warehouse": {"path": str(folder)}, "clusters": [cluster]})
    return Job(settings, os.environ, FixedClock(NOW))


@pytest.fixture
def filled(tmp_path: Path, small_fleet_prometheus: RunningServer) -> Job:
    """Three hours of the small fleet, folded and priced."""
    made = metered(tmp_path, small_fleet_prometheus.url)
    assert run(made, [DEMO], WINDOW).exit_code == 0
    return made


def mended(made: Job, cluster: str = DEMO) -> Repaired:
    return repair(made, [cluster], None)


def in_order(made: Job, cluster: str = DEMO) -> bool:
    return not verify(made.warehouse(), [cluster], None, made.clock).faults


def alter(made: Job, table: str, change: Callable[[pa.Table], pa.Table]) -> None:
    rewrite(made.warehouse().root, table, change, DEMO, SMALL_FLEET_START.date())


def truncate(made: Job, table: str) -> Path:
    path = partition_path(made.warehouse().root, table, DEMO, SMALL_FLEET_START.date())
    path.write_bytes(path.read_bytes()[:-50])
    return path


@pytest.mark.parametrize(
    "harm",
    [
        lambda made: alter(made, "emissions", with_value("energy_joules", 1, 9e9)),
        lambda made: alter(made, "node_energy", with_value("metered_joules", 1, 9e9)),
        lambda made: alter(made, "emissions", lambda rows: pa.concat_tables([rows, rows.slice(0, 1)])),
        lambda made: truncate(made, "emissions"),
        lambda made: truncate(made, "node_energy"),
    ],
    ids=["joules", "meter", "double", "emissions cut", "node_energy cut"],
)
def test_what_raw_samples_still_tell_is_folded_again(filled: Job, harm: Callable[[Job], object]) -> None:
    before = figures(filled.warehouse())
    harm(filled)
    done = mended(filled)
    assert (len(done.mended) > 0, done.left) == (True, [])
    assert in_order(filled)
    assert figures(filled.warehouse()) == before
    assert not list(filled.warehouse().root.rglob("*.damaged"))


def test_what_raw_samples_no_longer_tell_stays_and_is_said(filled: Job, empty_prometheus: RunningServer) -> None:
    path = truncate(filled, "emissions")
    damaged = path.read_bytes()
    done = mended(metered(filled.warehouse().root, empty_prometheus.url))
    ((fault, why),) = done.left
    assert (fault.is_unreadable, why) == (True, "raw samples are gone: none is left")
    assert path.read_bytes() == damaged
    assert not done.mended


def test_a_file_that_cannot_be_folded_again_is_put_back(filled: Job, small_fleet_prometheus: RunningServer) -> None:
    path = truncate(filled, "emissions")
    damaged = path.read_bytes()
    full = replace(filled, on_effect=_no_space)
    ((fault, why),) = mended(full).left
    assert (fault.is_unreadable, "No space left" in why) == (True, True), why
    assert path.read_bytes() == damaged
    assert mended(filled).left == []


def _no_space(effect: str) -> None:
    if effect == "node_energy.temporary":
        raise OSError(28, "no space left on device")


def test_a_price_is_made_again_from_the_warehouse_alone(tmp_path: Path) -> None:
    warehouse, here = booked(tmp_path), job(given(tmp_path), LATER)
    before = figures(warehouse)
    rewrite(tmp_path, "emissions", times("emissions_gco2e", 2.0))
    done = repair(here, [CLUSTER], None)
    assert (len(done.mended), done.left) == (24, [])
    assert figures(warehouse) == before
    assert in_order(here, CLUSTER)


def test_a_price_by_other_settings_is_left_to_a_person(tmp_path: Path) -> None:
    booked(tmp_path)
    rewrite(tmp_path, "emissions", with_value("emissions_gco2e", 1, 9e9))
    before = tables(tmp_path)
    ((fault, why),) = repair(job(given(tmp_path, pue=1.5), LATER), [CLUSTER], None).left
    assert (fault.hours, "carbon-etl reprice --since" in why) == ({HOURS[0]}, True)
    assert {name: text for name, text in tables(tmp_path).items() if name in before} == before


def test_daily_sums_are_made_again_from_their_rows(tmp_path: Path) -> None:
    booked(tmp_path)
    before = rows(tmp_path, "emissions_daily")
    rewrite(tmp_path, "emissions_daily", times("emissions_gco2e", 1.5))
    done = repair(job(given(tmp_path), LATER), [CLUSTER], None)
    assert (len(done.mended), done.left) == (1, [])
    assert rows(tmp_path, "emissions_daily") == before


def test_hours_get_their_rows_back_from_the_footer(tmp_path: Path) -> None:
    warehouse = booked(tmp_path)
    before = warehouse.hours(CLUSTER).drop_columns(["written_utc"]).to_pylist()
    for path in tmp_path.glob("hours/date=*/*.parquet"):
        path.unlink()
    done = repair(job(given(tmp_path), LATER), [CLUSTER], None)
    assert (len(done.mended), done.left) == (26, [])
    assert warehouse.hours(CLUSTER).drop_columns(["written_utc"]).to_pylist() == before


def test_a_dry_run_says_what_it_would_mend_and_changes_nothing(tmp_path: Path) -> None:
    booked(tmp_path)
    rewrite(tmp_path, "emissions_daily", times("emissions_gco2e", 1.5))
    before = tables(tmp_path)
    done = repair(job(given(tmp_path), LATER, dry_run=True), [CLUSTER], None)
    assert next(done.lines()).startswith("would be mended: c 2026-11-03: emissions_daily")
    assert tables(tmp_path) == before


def test_where_nothing_is_off_nothing_is_done(tmp_path: Path) -> None:
    booked(tmp_path)
    before = tables(tmp_path)
    assert list(repair(job(given(tmp_path), LATER), [CLUSTER], None).lines()) == ["no faults"]
    assert tables(tmp_path) == before
    assert verify(Warehouse(tmp_path), [CLUSTER], None, StandingClock(LATER)).faults == []
