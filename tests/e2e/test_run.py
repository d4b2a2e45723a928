"""`carbon-etl run` as a scheduler calls it: every closed hour once, late samples picked up, nothing skipped."""

from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.config import load
from pipeline.run import run
from pipeline.settings import Settings
from pipeline.sinks import partitions
from pipeline.sinks.sql import run_query
from pipeline.tables import NODE_ENERGY, values
from pipeline.window import HOUR, Window
from tests.e2e.conftest import CLUSTER, DAY, PublishedDay, job, write_config


@pytest.fixture
def settings(published_day: PublishedDay, tmp_path: Path) -> Settings:
    """The day's Prometheus, an empty warehouse, no store."""
    return load(write_config(tmp_path, published_day.prometheus.url, {}), {})


def _hours(settings: Settings) -> dict[str, str]:
    rows = run_query(Path(settings.warehouse.path), "select hour_utc, state from hours order by hour_utc").to_pylist()
    return {f"{row['hour_utc']:%d %H}": row["state"] for row in rows}


def test_the_first_run_starts_at_the_oldest_sample_and_takes_every_closed_hour(settings: Settings) -> None:
    report = run(job(settings, DAY + timedelta(hours=3, minutes=11)), [CLUSTER], None)
    assert report.exit_code == 0, report.summary()
    # The samples begin 15 minutes before the day; 02 to 03 ended 11 minutes ago, which is less than `settle`.
    assert _hours(settings) == {"02 23": "partial", "03 00": "complete", "03 01": "complete"}


def test_a_run_an_hour_later_adds_the_new_hour_and_leaves_equal_ones(settings: Settings) -> None:
    run(job(settings, DAY + timedelta(hours=2, minutes=13)), [CLUSTER], None)
    report = run(job(settings, DAY + timedelta(hours=3, minutes=13)), [CLUSTER], None)
    assert (report.clusters[0].hours_rewritten, report.clusters[0].hours_unchanged) == (1, 1)
    assert list(_hours(settings)) == ["02 23", "03 00", "03 01", "03 02"]


def test_a_pause_is_caught_up(settings: Settings) -> None:
    run(job(settings, DAY + timedelta(hours=1, minutes=13)), [CLUSTER], None)
    report = run(job(settings, DAY + timedelta(hours=9, minutes=13)), [CLUSTER], None)
    assert report.clusters[0].hours_rewritten == 8
    assert list(_hours(settings).values()) == ["partial", *["complete"] * 9]


def test_hours_that_raw_samples_no_longer_reach_are_empty_and_said_so(settings: Settings) -> None:
    early = settings.model_copy(
        update={"clusters": (settings.clusters[0].model_copy(update={"start": DAY - 3 * HOUR}),)}
    )
    run(job(early, DAY + timedelta(hours=1, minutes=13)), [CLUSTER], None)
    assert _hours(early) == {"02 21": "empty", "02 22": "empty", "02 23": "partial", "03 00": "complete"}
    rows = run_query(Path(early.warehouse.path), "select min(hour_utc) as first from emissions").to_pylist()
    assert rows == [{"first": DAY - HOUR}]


def test_an_hour_that_a_killed_run_left_between_two_commits_is_folded_again(settings: Settings) -> None:
    """Of another fold its node_energy is there, its emissions are not; and the day has no other hour that is due."""
    now, root = DAY + timedelta(hours=3, minutes=13), Path(settings.warehouse.path)
    run(job(settings, now), [CLUSTER], None)
    shown = "select * exclude (run_id, revision) from node_energy order by all"
    before, rows = (
        run_query(root, shown),
        partitions.read_partition(root, "node_energy", CLUSTER, DAY.date()).to_pylist(),
    )
    of_killed = {"run_id": "killed", "revision": 1, "metered_joules": 1e6, "residual_joules": 1e6}
    torn = pa.Table.from_pylist(
        [row | (of_killed if row["hour_utc"] == DAY + HOUR else {}) for row in rows], NODE_ENERGY
    )
    partitions.replace_partition(root, "node_energy", CLUSTER, DAY.date(), torn, partitions.nothing)
    assert run_query(root, shown).num_rows < before.num_rows
    report = run(job(settings, now), [CLUSTER], None)
    assert (report.exit_code, report.clusters[0].hours_rewritten) == (0, 1)
    assert run_query(root, shown).equals(before)
    assert run(job(settings, now), [CLUSTER], None).clusters[0].hours_rewritten == 0


def test_a_dry_run_writes_nothing_and_counts_what_it_would(settings: Settings) -> None:
    dry = job(settings, DAY + timedelta(hours=4, minutes=13))
    report = run(type(dry)(dry.settings, dry.env, dry.clock, dry_run=True), [CLUSTER], None)
    assert report.clusters[0].states == {"partial": 1, "complete": 4}
    assert sum(report.clusters[0].energy_joules.values()) > 0
    assert not list(Path(settings.warehouse.path).glob("**/*.parquet"))


def test_figures_priced_anew_keep_the_old_ones_and_say_why(settings: Settings) -> None:
    """P4 as far as built: a backfill after the grid's figures changed; a repeated one changes nothing more."""
    window, now = Window(DAY + 2 * HOUR, DAY + 4 * HOUR), DAY + timedelta(hours=5)
    root = Path(settings.warehouse.path)
    run(job(settings, now), [CLUSTER], window)
    before = run_query(root, "select sum(emissions_gco2e) as g from emissions").to_pylist()[0]["g"]
    grid = root.parent / "grid.csv"
    grid.write_text(grid.read_text().replace(",126.0", ",252.0"))  # 02:00 to 03:00, twice as much
    for _ in range(2):
        run(job(settings, now + timedelta(minutes=5)), [CLUSTER], window)
    rows = run_query(root, "select * from revisions").to_pylist()
    assert {row["cause"] for row in rows} == {"intensity"}
    assert {row["revision"] for row in rows} == {1}
    after = run_query(root, "select sum(emissions_gco2e) as g from emissions").to_pylist()[0]["g"]
    changed = sum(row["new_emissions_gco2e"] - row["old_emissions_gco2e"] for row in rows)
    assert after - before == pytest.approx(changed, rel=1e-9)
    assert changed == pytest.approx(sum(row["old_emissions_gco2e"] for row in rows), rel=1e-9)
    revisions = values(run_query(root, "select distinct hour_utc, revision from emissions order by 1"), "revision")
    assert revisions == [1, 0]
