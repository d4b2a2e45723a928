"""Hosts of Scaphandre without their processes: what they used is known, who used it is not."""

from datetime import UTC, datetime

import numpy as np
import pytest

from pipeline.demo.fleet import FleetSpec, simulate
from pipeline.demo.meters import Meters, ScaphandreMeter
from pipeline.demo.transport import FleetTransport
from pipeline.samples import ScaphandreSamples
from pipeline.sources.meters import scaphandre
from pipeline.sources.prometheus.selectors import Matcher
from pipeline.transforms.energy import Energy, book
from pipeline.transforms.scaphandre import fold_registers
from pipeline.transforms.sheet import FoldRules
from pipeline.window import HOUR, Window
from tests.sources.meters.test_kepler import Told
from tests.transforms.made import PACKAGE_RANGE, scrapes, unowned, window_of
from tests.transforms.made_scaphandre import GAP_MS, MadeScaphandre, register

START = datetime(2026, 11, 3, 22, tzinfo=UTC)
AT = scrapes("09:45", "11:15")


def fold(samples: ScaphandreSamples, window: Window) -> Energy:
    return book(fold_registers(samples, GAP_MS), window, FoldRules("demo", GAP_MS, 60), unowned(window), None)


def by_hand(made: MadeScaphandre) -> list[dict[str, object]]:
    energy = fold(made.samples(), window_of(0, 1))
    assert {row["kind"] for row in energy.rows.to_pylist()} <= {"system"}
    return energy.nodes.to_pylist()


def test_no_series_of_processes_is_asked_for() -> None:
    told = Told({})
    scaphandre.read(told, [Matcher("cluster", "=", "a")], 5, 9, processes=False)
    assert {asked.partition("{")[0] for asked, _, _ in told.asked} == {
        scaphandre.SOCKETS, scaphandre.DOMAINS, scaphandre.HOST, scaphandre.VERSION,
    }  # fmt: skip


def test_all_of_a_host_is_system_and_idle_is_unknown() -> None:
    made = MadeScaphandre().socket(register(100, AT)).socket(register(40, AT), "1").dram(register(20, AT))
    dram, package = by_hand(made)
    for row, watts in ((package, 140), (dram, 20)):
        assert (row["node"], row["meter"]) == ("10.0.0.1", "scaphandre")
        assert row["metered_joules"] == row["system_joules"] == pytest.approx(watts * 3600, rel=1e-6)
        assert (row["workload_joules"], row["idle_joules"], row["residual_joules"]) == (0.0, None, None)
        assert (row["coverage_ratio"], row["expected_ratio"], row["unplaced_joules"]) == (1.0, 1.0, 0.0)


def test_a_wrap_is_counted_and_a_gap_is_not_joined() -> None:
    seconds = scrapes("09:45", "10:20") + scrapes("10:40", "11:15")
    (row,) = by_hand(MadeScaphandre().socket(register(100, seconds, PACKAGE_RANGE - 100 * 1200)))
    assert row["metered_joules"] == pytest.approx(100 * 2400, rel=1e-6)
    assert (row["wraps"], row["unplaced_joules"]) == (2, None)
    assert row["coverage_ratio"] == pytest.approx(2400 / 3600)


def test_nothing_there_folds_to_nothing() -> None:
    assert by_hand(MadeScaphandre()) == []


def test_p8_node_hours_are_within_half_a_percent_of_truth() -> None:
    spec = FleetSpec(
        1,
        START,
        2,
        sockets=(2, 1),
        pods_per_node=4,
        jobs_per_hour=6.0,
        meters=(Meters(scaphandre=ScaphandreMeter()),) * 2,
    )
    fleet, window = simulate(spec), Window(START, START + 2 * HOUR)
    samples = scaphandre.read(
        FleetTransport(fleet), [], window.start_ms - GAP_MS - 1, window.end_ms + GAP_MS, processes=False
    )
    host = {node.host: node.name for node in fleet.nodes}
    truth = {
        (r["hour_utc"], r["node"], r["component"]): r["active_joules"] + r["idle_joules"]
        for r in fleet.truth_nodes.to_pylist()
    }
    found = {
        (r["hour_utc"], host[r["node"]], r["component"]): r["metered_joules"]
        for r in fold(samples, window).nodes.to_pylist()
    }
    assert sorted(found) == sorted(truth)
    assert len(found) == 8
    errors = np.array([abs(found[key] / truth[key] - 1) for key in truth])
    assert errors.max() <= 0.005
