"""Replicas in real Prometheus servers: one of them accounts, what only another saw is kept, a silent one is told."""

from itertools import pairwise
from pathlib import Path

import pytest

from pipeline.demo.fleet import Fleet
from pipeline.demo.openmetrics import fill_blocks
from pipeline.demo.servers import PrometheusBinary, free_port, start_prometheus
from pipeline.errors import SourceUnavailable
from pipeline.job import Job
from pipeline.run import run
from pipeline.sinks.warehouse import Warehouse
from pipeline.site import Site
from pipeline.tables import values
from pipeline.window import HOUR, Window
from tests.conftest import RealClock
from tests.servers.several import (
    HOURS,
    START,
    assert_conserved,
    entry,
    folded,
    node_errors,
    pod_error,
    settings,
    site_of,
)
from tests.transforms.made import differences, joined


def test_replicas_give_the_fleets_joules_once_and_not_61_times(of_pair: Site, fleets: tuple[Fleet, ...]) -> None:
    energy = folded(of_pair)
    assert_conserved(energy)
    errors = node_errors(fleets[0], energy)
    assert len(errors) == HOURS * 2 * 2
    assert max(map(abs, errors.values())) < 0.005
    assert {row["coverage_ratio"] > 0.99 for row in energy.nodes.to_pylist()} == {True}


def test_the_better_covered_replica_accounts_and_ties_go_to_the_first(of_pair: Site) -> None:
    for hour, winner in ((0, 0), (1, 1), (2, 0)):
        window = Window.of_hour(START + HOUR * hour)
        offers = of_pair.joined(window)["kepler"].offers
        alone = [fold.meters["kepler"].energy for fold in of_pair.fold_servers(window)]
        assert len(offers) == 2
        chosen = of_pair.fold(Window.of_hour(window.start)).nodes.to_pylist()
        metered = {(row["node"], row["component"]): row["metered_joules"] for row in alone[winner].nodes.to_pylist()}
        assert {(row["node"], row["component"]): row["metered_joules"] for row in chosen} == metered


def test_what_only_the_other_replica_saw_of_a_workload_is_kept(of_pair: Site, fleets: tuple[Fleet, ...]) -> None:
    """Each end of a pod is shown to the first scrape after it: of two replicas each misses about half of them."""
    hours = [START, START + 2 * HOUR]
    both = folded(of_pair)
    alone = [
        joined(
            [fold.meters["kepler"].energy for hour in hours for fold in [of_pair.fold_servers(Window.of_hour(hour))[n]]]
        )
        for n in (0, 1)
    ]
    errors = [pod_error(fleets[0], energy, hours) for energy in alone]
    assert pod_error(fleets[0], both, hours) < 0.5 * min(errors)
    ours = set(zip(values(alone[0].rows, "hour_utc"), values(alone[0].rows, "pod_uid"), strict=True))
    gained = [
        row
        for row in both.rows.to_pylist()
        if row["hour_utc"] in hours and (row["hour_utc"], row["pod_uid"]) not in ours
    ]
    assert all(row["kind"] == "workload" and row["workload"] for row in gained)


def test_p2_replicas_folded_over_any_windows_give_equal_rows(of_pair: Site) -> None:
    whole = of_pair.account(of_pair.joined(Window(START, START + HOURS * HOUR)), Window(START, START + HOURS * HOUR))
    for cuts in ([0, 1, 3], [0, 2, 3], [0, 1, 2, 3]):
        windows = [Window(START + HOUR * begin, START + HOUR * end) for begin, end in pairwise(cuts)]
        parts = [of_pair.account(of_pair.joined(window), window) for window in windows]
        assert differences(whole, joined(parts[::-1])) == []


def test_p2_the_order_in_which_replicas_answer_does_not_matter(of_pair: Site) -> None:
    window = Window(START, START + HOURS * HOUR)
    answers = [(f.number, {n: m.energy for n, m in f.meters.items()}) for f in of_pair.fold_servers(window)]
    one, other = (of_pair.join(order)["kepler"].energy for order in (answers, answers[::-1]))
    assert one.rows.equals(other.rows)
    assert one.nodes.equals(other.nodes)


def test_steps_of_five_minutes_add_up_too(pair: list[str], tmp_path: Path, clock: RealClock) -> None:
    site = site_of(tmp_path, [entry(url, "a") for url in pair], clock, energy_step="5m")
    hourly = site_of(tmp_path, [entry(url, "a") for url in pair], clock)
    fine = folded(site)
    assert_conserved(fine)
    for table in ("metered_joules", "coverage_ratio"):
        assert values(fine.nodes, table) == pytest.approx(values(folded(hourly).nodes, table), rel=1e-9)


def test_p3_a_second_run_over_replicas_writes_nothing(pair: list[str], tmp_path: Path, clock: RealClock) -> None:
    job = Job(settings(tmp_path, [entry(url, "a") for url in pair]), {}, clock)
    window = Window(START, START + HOURS * HOUR)
    first, second = (run(job, ["demo"], window).clusters[0] for _ in range(2))
    assert first.hours_rewritten == HOURS
    assert second.hours_rewritten == 0
    assert first.warnings == second.warnings == []


def test_a_silent_replica_is_told_and_the_other_serves(pair: list[str], tmp_path: Path, clock: RealClock) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    job = Job(settings(tmp_path / "w", [entry(dead, "a"), entry(pair[1], "a")]), {}, clock)
    window = Window(START, START + HOUR)
    outcome = run(job, ["demo"], window).clusters[0]
    assert outcome.failures == []
    assert outcome.states == {"complete": 1}
    (warning,) = outcome.warnings
    assert warning.startswith(f"replica {dead} gives nothing, the others of its shard serve alone: ")
    alone = site_of(tmp_path, [entry(pair[1])], clock).fold(Window.of_hour(START))
    stored = Warehouse(tmp_path / "w").read_day("node_energy", "demo", START.date())
    assert sorted(values(stored, "metered_joules")) == pytest.approx(sorted(values(alone.nodes, "metered_joules")))


def test_a_replica_that_dies_between_two_hours_leaves_them_to_the_other(
    fleets: tuple[Fleet, ...], prometheus_binary: PrometheusBinary, pair: list[str], tmp_path: Path, clock: RealClock
) -> None:
    fill_blocks(fleets[0], prometheus_binary.promtool, tmp_path / "data")
    with start_prometheus(prometheus_binary, tmp_path / "data", free_port(), clock) as dying:
        site = site_of(tmp_path, [entry(dying.url, "a"), entry(pair[1], "a")], clock)
        before = site.fold(Window.of_hour(START))
        assert site.warnings == []
        dying.process.kill()
        dying.process.wait()
        after = site.fold(Window.of_hour(START + 2 * HOUR))
    assert len(site.warnings) == 1
    alone = site_of(tmp_path, [entry(pair[1])], clock)
    assert differences(after, alone.fold(Window.of_hour(START + 2 * HOUR))) == []
    assert (
        differences(before, site_of(tmp_path, [entry(u, "a") for u in pair], clock).fold(Window.of_hour(START))) == []
    )


def test_all_replicas_silent_fail_the_hour_and_may_be_tried_again(tmp_path: Path, clock: RealClock) -> None:
    dead = [f"http://127.0.0.1:{free_port()}" for _ in range(2)]
    report = run(
        Job(settings(tmp_path, [entry(url, "a") for url in dead]), {}, clock), ["demo"], Window(START, START + HOUR)
    )
    assert [type(error) for error in report.errors] == [SourceUnavailable]
    assert all(url in str(report.errors[0]) for url in dead)
    assert report.exit_code == 75
