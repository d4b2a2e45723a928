"""The fold's tables as a whole: what a row says, and that arrival and cutting do not matter."""

from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.demo.fleet import simulate, steady
from pipeline.demo.transport import FleetTransport
from pipeline.samples import Block, MeterSamples
from pipeline.sources.meters import kepler
from pipeline.tables import METHOD_VERSION, values
from pipeline.transforms.sheet import ENERGY, NODES, WITHHELD
from tests.transforms.made import (
    START,
    Made,
    differences,
    joules,
    line,
    only,
    owners_of,
    scrapes,
    stamp_ms,
    where,
    window_of,
)

AT = scrapes("09:45", "12:15")


def two_components() -> Made:
    """100 W package and 10 W dram active, half of each a pod's."""
    made = Made().node(line(100, AT), line(50, AT), line(150, AT))
    made.node(line(10, AT), line(5, AT), component="dram")
    return made.pod("uid", line(50, AT)).pod("uid", line(5, AT), component="dram")


def test_tables_have_their_schemas_also_when_empty() -> None:
    for energy in (two_components().fold(), Made().fold()):
        assert (energy.rows.schema, energy.nodes.schema, energy.withheld.schema) == (ENERGY, NODES, WITHHELD)
    assert Made().fold(0, 3, step_minutes=5).rows.num_rows == 0


def test_a_node_hour_in_full() -> None:
    assert only(two_components().fold(1).nodes, component="package") == {
        "hour_utc": START + timedelta(hours=1),
        "cluster": "demo",
        "node": "n1",
        "component": "package",
        "metered_joules": pytest.approx(540_000),
        "workload_joules": pytest.approx(180_000),
        "system_joules": pytest.approx(180_000),
        "idle_joules": pytest.approx(180_000),
        "residual_joules": None,  # g13: system is the remainder
        "bridged_joules": 0.0,
        "unplaced_joules": 0.0,
        "quarantined_joules": 0.0,
        "workload_scale": 1.0,
        "coverage_ratio": pytest.approx(1.0),
        "expected_ratio": 1.0,
        "resets": 0,
        "wraps": 0,
        "skews": 0,
        "meter": "kepler",
        "cross_meter": "kepler_node_cpu_joules_total",
        "cross_ratio": pytest.approx(1.0),
        "check": None,
        "method_version": METHOD_VERSION,
        "platform_scale": None,
    }


def test_r1_components_are_apart() -> None:
    energy = two_components().fold()
    assert joules(energy, "uid") == pytest.approx(180_000)
    assert joules(energy, "uid", component="dram") == pytest.approx(18_000)
    assert only(energy.nodes, component="dram")["metered_joules"] == pytest.approx(54_000)


def test_a_workload_row_names_its_owner_and_its_provenance() -> None:
    owners = owners_of({"uid": ("StatefulSet", "db")})
    row = only(two_components().fold(owners=owners).rows, kind="workload", component="package")
    assert (row["workload_kind"], row["workload"], row["owner_source"]) == ("StatefulSet", "db", "kube-state-metrics")
    assert (row["meter"], row["method_version"], row["coverage_ratio"]) == (
        "kepler",
        METHOD_VERSION,
        pytest.approx(1.0),
    )
    assert (row["tail_joules"], row["container"], row["step_joules"]) == (0.0, None, None)


@pytest.mark.parametrize(("minutes", "steps"), [(30, 2), (15, 4), (5, 12)])
def test_steps_are_equal_parts_of_the_hour_and_add_up_to_it(minutes: int, steps: int) -> None:
    row = only(two_components().fold(step_minutes=minutes).rows, kind="workload", component="package")
    assert row["step_joules"] == pytest.approx([180_000 / steps] * steps)
    assert row["energy_joules"] == pytest.approx(sum(row["step_joules"]), rel=1e-12)


def test_a_pod_has_rows_only_in_hours_in_which_it_was_metered() -> None:
    made = Made().node(line(100, AT), line(50, AT)).pod("uid", line(1, [s for s in AT if 600 < s <= 1_200]))
    energy = made.fold(0, 2)
    assert [row["hour_utc"] for row in where(energy.rows, kind="workload")] == [START]


def test_f28_system_and_idle_rows_have_no_workload() -> None:
    for kind in ("system", "idle"):
        row = only(two_components().fold().rows, kind=kind, component="package")
        assert {row[name] for name in ("namespace", "pod", "pod_uid", "container", "workload", "owner_source")} == {
            None
        }


def test_a_node_read_but_never_joined_has_a_row_of_nulls_not_zeros() -> None:
    energy = Made().node([(60.0, 5.0)], [(60.0, 5.0)]).fold()
    row = only(energy.nodes)
    assert energy.rows.num_rows == 0
    assert row["coverage_ratio"] == 0.0
    assert [row[f"{part}_joules"] for part in ("metered", "workload", "system", "idle", "unplaced")] == [None] * 5


def read(*series: tuple[dict[str, str], list[tuple[float, float]]]) -> MeterSamples:
    """What the meter takes from these series, each given as its labels and (second, value) pairs."""
    transport = FleetTransport(simulate(steady(seed=1, start=START, hours=1, nodes=1, pods_per_node=1)))
    transport.metrics = {
        f"{labels['__name__']} {number}": Block(
            labels=pa.Table.from_pylist([labels]),
            offsets=np.array([0, len(points)], dtype=np.int64),
            stamps_ms=np.array([stamp_ms(second) for second, _ in points], dtype=np.int64),
            values=np.array([value for _, value in points], dtype=np.float64),
        )
        for number, (labels, points) in enumerate(series)
    }
    return kepler.read(transport, [], 0, 1 << 60)


def test_r1_zones_that_contain_others_are_not_read() -> None:
    points = [(0.0, 1.0), (30.0, 2.0)]
    zones = ("psys", "package", "core", "uncore", "dram")
    samples = read(
        *(
            ({"__name__": metric, "node_name": "n1", "zone": zone, "pod_id": "u"}, points)
            for metric in (kepler.ACTIVE, kepler.IDLE, kepler.RAW, kepler.PODS)
            for zone in zones
        )
    )
    for part in (samples.active, samples.idle, samples.raw, samples.workloads):
        assert sorted(values(part.identity, "component")) == ["dram", "package"]


def test_r2_only_the_pod_level_is_a_workload() -> None:
    points = [(0.0, 1.0), (30.0, 2.0)]
    labels = {"node_name": "n1", "zone": "package", "pod_id": "u"}
    samples = read(
        *(
            ({"__name__": f"kepler_{level}_cpu_joules_total"} | labels, points)
            for level in ("process", "container", "vm", "pod")
        )
    )
    assert samples.workloads.identity["pod_uid"].to_pylist() == ["u"]
    assert len(samples.workloads.value) == 2


def test_r3_states_and_restarted_targets_are_one_counter() -> None:
    labels = {"__name__": kepler.PODS, "node_name": "n1", "zone": "package", "pod_id": "u"}
    samples = read(
        (labels | {"state": "running", "instance": "10.0.0.1:28282"}, [(0.0, 1.0)]),
        (labels | {"state": "terminated", "instance": "10.0.0.1:28282"}, [(30.0, 2.0)]),
        (labels | {"state": "running", "instance": "10.0.0.2:28282", "pod": "kepler-x"}, [(60.0, 3.0)]),
    )
    assert samples.workloads.identity.num_rows == 1
    assert samples.workloads.code.tolist() == [0, 0, 0]


def test_a_node_without_a_name_is_known_by_its_instance() -> None:
    labels = {"__name__": kepler.ACTIVE, "zone": "package", "instance": "bare-metal-7:28282"}
    assert read((labels, [(0.0, 1.0)])).active.identity["node"].to_pylist() == ["bare-metal-7"]


def test_the_order_of_arrival_does_not_matter() -> None:
    one, other = Made(), Made()
    pieces: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
        ("node", (line(100, AT), line(50, AT)), {"node": "n1"}),
        ("node", (line(80, AT), line(20, AT)), {"node": "n2"}),
        ("pod", ("a", line(30, AT)), {"node": "n1", "name": "late", "namespace": "x"}),
        ("pod", ("a", line(30, AT)), {"node": "n1", "name": None, "namespace": None}),
        ("pod", ("b", line(20, AT)), {"node": "n2"}),
    ]
    for made, order in ((one, pieces), (other, pieces[::-1])):
        for method, arguments, names in order:
            getattr(made, method)(*arguments, **names)
    assert differences(one.fold(0, 2), other.fold(0, 2)) == []


def test_only_whole_hours_of_the_window_are_given() -> None:
    energy = two_components().fold(1, 1)
    assert set(energy.rows["hour_utc"].to_pylist()) == {window_of(1, 1).start}
