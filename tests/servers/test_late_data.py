"""Samples that come late: an hour is folded again while they last, revised when it is better covered, never lowered."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.demo.fleet import Fleet, FleetSpec, simulate
from pipeline.demo.replicas import shard
from pipeline.discovery import NOTE, OK
from pipeline.discovery.holes import holes
from pipeline.job import Job
from pipeline.report import RunReport
from pipeline.run import run
from pipeline.sinks.sql import run_query, shipped_queries
from pipeline.sinks.views import open_views
from pipeline.sinks.warehouse import Warehouse
from pipeline.site import open_site
from pipeline.window import HOUR, Window
from tests.clocks import FixedClock
from tests.servers.several import HOURS, START, Serve, entry, settings

WINDOW = Window(START, START + HOURS * HOUR)
YOUNG, OLD = WINDOW.end + HOUR, WINDOW.end + timedelta(days=4)
HOLED = START + HOUR  # the first replica was down in it for half an hour


def ran(folder: Path, urls: list[str], now: datetime, window: Window | None, replica_of: str | None = "a") -> RunReport:
    given = settings(folder, [entry(url, replica_of) for url in urls])
    return run(Job(given, {}, FixedClock(now)), ["demo"], window)


def rows(folder: Path, view: str) -> list[dict[str, Any]]:
    with open_views(folder, view) as connection:
        return connection.sql(f"from {view} order by all").to_arrow_table().to_pylist()


def covered(folder: Path) -> dict[tuple[datetime, str], float]:
    return {(row["hour_utc"], row["node"]): row["coverage_ratio"] for row in rows(folder, "node_energy")}


def of_hour(folder: Path, hour: datetime) -> list[dict[str, Any]]:
    return [row for row in rows(folder, "emissions") if row["hour_utc"] == hour]


def doctor(folder: Path, url: str, now: datetime) -> list[tuple[int, str]]:
    site = open_site("demo", settings(folder, [entry(url)]), {}, FixedClock(now))
    return [(one.level, one.text) for one in holes(site, Warehouse(folder), now)]


def test_a_hole_is_rows_with_their_coverage_and_is_told_by_doctor_and_query(pair: list[str], tmp_path: Path) -> None:
    ran(tmp_path, pair[:1], YOUNG, WINDOW)
    nodes = {node for _, node in covered(tmp_path)}
    for node in nodes:
        assert covered(tmp_path)[HOLED, node] == pytest.approx(0.5, abs=0.02)
        assert covered(tmp_path)[START, node] > 0.99
    held = [row for row in rows(tmp_path, "node_energy") if row["hour_utc"] == HOLED]
    assert all(row["metered_joules"] > 0 for row in held)
    ((level, text),) = doctor(tmp_path, pair[0], YOUNG)
    assert (level, "2 node-hours of the last 30 days have holes" in text, "backfill" in text) == (NOTE, True, False)
    ((_, old),) = doctor(tmp_path, pair[0], OLD)
    assert "`carbon-etl backfill --start 2026-11-01T09:00Z --end 2026-11-01T10:00Z` fills them" in old
    told = run_query(tmp_path, shipped_queries()["holes"]).to_pylist()
    assert {(row["hour_utc"], row["node"]) for row in told} == {(HOLED, node) for node in nodes}
    states = {row["hour_utc"]: row["state"] for row in rows(tmp_path, "hours")}
    assert states[HOLED] == "partial"


@pytest.mark.parametrize(("now", "window"), [(YOUNG, None), (OLD, WINDOW)], ids=["run, young", "backfill, old"])
def test_an_hour_that_is_better_covered_now_is_revised_and_never_lowered_again(
    pair: list[str], tmp_path: Path, now: datetime, window: Window | None
) -> None:
    ran(tmp_path, pair[:1], YOUNG, WINDOW)
    before = {row["hour_utc"]: row["revision"] for row in rows(tmp_path, "hours")}
    ran(tmp_path, pair, now + HOUR, window)  # the other replica came back
    assert {ratio > 0.99 for (hour, _), ratio in covered(tmp_path).items() if hour in WINDOW} == {True}
    after = {row["hour_utc"]: (row["revision"], row["state"]) for row in rows(tmp_path, "hours")}
    assert after[HOLED] == (before[HOLED] + 1, "complete")
    revised = [row for row in rows(tmp_path, "revisions") if row["hour_utc"] == HOLED]
    assert {row["cause"] for row in revised} == {"energy"}
    idle = next(row for row in revised if row["kind"] == "idle")
    assert idle["new_energy_joules"] > 1.5 * idle["old_energy_joules"]
    if window is not None:  # a run takes the hours after the last samples, too, and those have holes
        assert doctor(tmp_path, pair[0], now + HOUR) == [(OK, "no holes in what is stored of the last 30 days")]
    best, coverage = of_hour(tmp_path, HOLED), covered(tmp_path)
    ran(tmp_path, pair[:1], now + 2 * HOUR, WINDOW)  # and is gone again
    assert of_hour(tmp_path, HOLED) == best
    assert {key: covered(tmp_path)[key] >= ratio - 1e-6 for key, ratio in coverage.items()} == dict.fromkeys(
        coverage, True
    )


def test_a_run_leaves_an_old_hole_to_a_person(pair: list[str], tmp_path: Path) -> None:
    ran(tmp_path, pair[:1], YOUNG, WINDOW)
    ran(tmp_path, pair, OLD, None)
    assert max(ratio for (hour, _), ratio in covered(tmp_path).items() if hour == HOLED) < 0.6


def test_a_shard_that_arrives_late_adds_its_nodes_and_changes_no_other(
    spec: FleetSpec, serve: Serve, tmp_path: Path
) -> None:
    fleet: Fleet = simulate(spec)
    first, second = sorted(node.name for node in fleet.nodes)
    urls = [serve(shard(fleet, {name}, with_ksm=name == first)).url for name in (first, second)]
    ran(tmp_path, urls[:1], YOUNG, WINDOW, None)
    assert {node for _, node in covered(tmp_path)} == {first}
    before = [row for row in rows(tmp_path, "node_energy") if row["node"] == first]
    ran(tmp_path, urls, YOUNG + HOUR, WINDOW, None)
    after = rows(tmp_path, "node_energy")
    assert {row["node"] for row in after} == {first, second}
    figures = ("hour_utc", "component", "metered_joules", "workload_joules", "coverage_ratio")
    assert [[row[name] for name in figures] for row in after if row["node"] == first] == [
        [row[name] for name in figures] for row in before
    ]
    assert {row["revision"] for row in rows(tmp_path, "hours")} == {1}
