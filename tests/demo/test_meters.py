"""Meters per node: one truth beneath all of them, and none of them disturbs another."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from pipeline.demo.binaries import PrometheusBinary
from pipeline.demo.fleet import Fleet, mixed, restarting, simulate
from pipeline.demo.meters import (
    DcgmMeter,
    GpuSpec,
    KeplerMeter,
    LegacyMeter,
    Meters,
    ScaphandreMeter,
)
from pipeline.demo.openmetrics import fill_blocks
from pipeline.demo.series import Series
from pipeline.errors import ConfigError

SeriesOf = Callable[[Fleet, str], list[Series]]
Lone = Callable[..., Fleet]

START = datetime(2026, 11, 3, 10, tzinfo=UTC)
HOUR_MS = 3_600_000
EVERYTHING = Meters(
    kepler=KeplerMeter(
        zones=("package", "dram", "psys"), levels=("node", "pod", "container", "process", "vm"), gpu=True
    ),
    legacy=LegacyMeter(),
    scaphandre=ScaphandreMeter(guest_energy_ratio=0.2),
    dcgm=DcgmMeter(activity=True),
)


@pytest.fixture(scope="module")
def full_fleet(lone: Lone) -> Fleet:
    boards = (GpuSpec("exclusive"), GpuSpec("mig"), GpuSpec("shared"))
    return lone(EVERYTHING, boards, sockets=2, platform_shares=(0.25,), guests=(2,))


def test_more_meters_leave_the_samples_of_kepler_as_they_are(series_of: SeriesOf) -> None:
    plain = simulate(restarting(seed=5, start=START, hours=4, nodes=2, pods_per_node=3))
    detail = KeplerMeter(levels=("node", "pod", "container", "process"), platform=True)
    more = Meters(kepler=detail, legacy=LegacyMeter(), scaphandre=ScaphandreMeter())
    measured = simulate(replace(plain.spec, meters=(more, more)))
    assert measured.truth_pods.equals(plain.truth_pods)
    assert measured.truth_nodes.equals(plain.truth_nodes)
    kept = {block.labels["__name__"][0].as_py(): block for block in measured.blocks()}
    for block in plain.blocks():
        same = kept.pop(block.labels["__name__"][0].as_py())
        assert block.labels.equals(same.labels)
        assert np.array_equal(block.stamps_ms, same.stamps_ms)
        assert np.array_equal(block.values, same.values)
    assert {"kepler_container_joules_total", "scaph_host_energy_microjoules"} <= set(kept)


def test_equal_specs_give_equal_mixed_fleets(mixed_fleet: Fleet) -> None:
    again = simulate(mixed_fleet.spec)
    for name in ("pods", "nodes", "containers", "processes", "gpus", "gpu_holders", "platforms"):
        assert getattr(mixed_fleet, f"truth_{name}").equals(getattr(again, f"truth_{name}"))
    for one, same in zip(mixed_fleet.blocks(), again.blocks(), strict=True):
        assert one.labels.equals(same.labels)
        assert np.array_equal(one.stamps_ms, same.stamps_ms)
        assert np.array_equal(one.values, same.values)


def test_each_node_of_the_mixed_fleet_has_its_own_meters(mixed_fleet: Fleet) -> None:
    prefixes: dict[str, set[str]] = {}
    for block in mixed_fleet.blocks():
        for labels in block.labels.to_pylist():
            name = labels["__name__"]
            kind = "legacy" if labels["job"] == "kepler-exporter" else name.split("_")[0]
            prefixes.setdefault(labels["instance"].split(":")[0], set()).add(kind)
    assert prefixes == {
        "10.0.0.11": {"kepler", "scaph"},
        "10.0.0.12": {"legacy"},
        "10.0.0.13": {"kepler", "DCGM"},
        "10.0.0.5": {"kube"},
    }
    assert {gpu.mode for gpu in mixed_fleet.nodes[2].gpus} == {"exclusive", "mig", "shared"}


def test_processes_together_are_the_active_energy_of_their_node(full_fleet: Fleet, mixed_fleet: Fleet) -> None:
    for fleet in (full_fleet, mixed_fleet):
        keys = ["hour_utc", "node", "component"]
        used = fleet.truth_processes.to_pandas().groupby(keys)["energy_joules"].sum()
        active = fleet.truth_nodes.to_pandas().query("component != 'gpu'").set_index(keys)["active_joules"]
        assert used.to_dict() == pytest.approx(active.to_dict(), rel=1e-9)


def test_containers_together_are_their_pod(full_fleet: Fleet) -> None:
    keys = ["hour_utc", "component", "pod_uid"]
    used = full_fleet.truth_containers.to_pandas().groupby(keys)["energy_joules"].sum()
    pods = full_fleet.truth_pods.to_pandas().query("component != 'gpu'").set_index(keys)["energy_joules"]
    assert used.to_dict() == pytest.approx(pods.to_dict(), rel=1e-9)
    assert full_fleet.truth_containers.to_pandas().groupby("pod_uid")["container"].nunique().max() == 2


def test_psys_is_package_and_dram_and_the_platforms_share(full_fleet: Fleet) -> None:
    for table, key, value in (("nodes", "hour_utc", "active_joules"), ("pods", "pod_uid", "energy_joules")):
        rows = getattr(full_fleet, f"truth_{table}").to_pandas()
        by_zone = rows.pivot_table(index=key, columns="component", values=value, aggfunc="sum", fill_value=0.0)
        assert (by_zone["psys"] > 0).all()
        both = by_zone["package"] + by_zone["dram"]
        assert by_zone["psys"].to_numpy() == pytest.approx(1.25 * both.to_numpy(), rel=1e-9)


def test_holders_and_nobody_together_are_the_boards(full_fleet: Fleet) -> None:
    keys = ["hour_utc", "gpu_uuid"]
    split = ["active_joules", "idle_joules"]
    holders = full_fleet.truth_gpu_holders.to_pandas()
    boards = full_fleet.truth_gpus.to_pandas().set_index(keys)[split]
    for name, column in holders.groupby(keys)[split].sum().items():
        assert column.to_dict() == pytest.approx(boards[name].to_dict(), rel=1e-9)
    assert set(holders["gpu_instance"].dropna()) == {"3", "4", "5", "6"}
    nobody = holders[holders["pod_uid"].isna()]
    assert (nobody["active_joules"] == 0).all()
    assert nobody["idle_joules"].sum() > 0


def test_the_gpu_rows_of_nodes_and_pods_agree_with_the_holders(full_fleet: Fleet) -> None:
    holders = full_fleet.truth_gpu_holders.to_pandas()
    holders["joules"] = holders["active_joules"] + holders["idle_joules"]
    held = holders[holders["pod_uid"].notna()]
    pods = full_fleet.truth_pods.to_pandas().query("component == 'gpu'")
    keys = ["hour_utc", "pod_uid"]
    wanted = held.groupby(keys)["joules"].sum().to_dict()
    assert pods.set_index(keys)["energy_joules"].to_dict() == pytest.approx(wanted, rel=1e-9)
    nodes = full_fleet.truth_nodes.to_pandas().query("component == 'gpu'").set_index("hour_utc")
    assert nodes["active_joules"].to_dict() == pytest.approx(held.groupby("hour_utc")["joules"].sum().to_dict())
    nobody = holders[holders["pod_uid"].isna()].groupby("hour_utc")["joules"].sum()
    assert nodes["idle_joules"].to_dict() == pytest.approx(nobody.to_dict(), rel=1e-6)


def test_the_platform_is_more_than_all_its_parts(full_fleet: Fleet) -> None:
    nodes = full_fleet.truth_nodes.to_pandas().query("component != 'psys'").groupby("hour_utc")
    parts = nodes["active_joules"].sum() + nodes["idle_joules"].sum()
    platform = full_fleet.truth_platforms.to_pandas().set_index("hour_utc")["energy_joules"]
    assert platform.to_dict() == pytest.approx((parts * 1.3).to_dict(), rel=1e-9)


def test_a_meter_that_comes_and_one_that_goes_share_no_stamp(lone: Lone, series_of: SeriesOf) -> None:
    upgrade = Meters(kepler=KeplerMeter(present_hours=(1, 9)), legacy=LegacyMeter(present_hours=(-9, 1)))
    fleet = lone(upgrade)
    edge = fleet.spec.start_ms + HOUR_MS
    old = series_of(fleet, 'kepler_node_package_joules_total{mode="dynamic"}')[0]
    new = series_of(fleet, 'kepler_node_cpu_active_joules_total{zone="package"}')[0]
    assert old.stamps_ms.max() < edge <= new.stamps_ms.min()
    assert edge - old.stamps_ms.max() < 31_000 > new.stamps_ms.min() - edge
    # the new one counts from its own start
    at = np.array([HOUR_MS, new.stamps_ms[0] - fleet.spec.start_ms])
    used = np.diff(fleet.active["node-1"]["package"].energy_joules(at))
    assert new.values[0] == pytest.approx(used[0], abs=2e-6)


def test_what_a_fleet_cannot_be_is_refused() -> None:
    spec = mixed(1, START, 1)
    with pytest.raises(ConfigError, match="3 nodes has 1 entries in meters"):
        replace(spec, meters=spec.meters[:1])
    with pytest.raises(ConfigError, match="platform share"):
        replace(spec, meters=(Meters(kepler=KeplerMeter(zones=("psys",))), *spec.meters[1:]))
    with pytest.raises(ConfigError, match="zone of package"):
        KeplerMeter(zones=("core",))
    with pytest.raises(ConfigError, match="old Kepler"):
        LegacyMeter(version="0.10.0")
    with pytest.raises(ConfigError, match="GPU mode"):
        GpuSpec("virtual")
    with pytest.raises(ConfigError, match="span of hours"):
        ScaphandreMeter(frozen_hours=(2, 1))


@pytest.mark.real
def test_promtool_loads_every_series(full_fleet: Fleet, prometheus_binary: PrometheusBinary, tmp_path: Path) -> None:
    count = fill_blocks(full_fleet, prometheus_binary.promtool, tmp_path / "data")
    assert count == sum(len(block.values) for block in full_fleet.blocks()) > 50_000


def test_no_series_holds_a_stamp_twice(full_fleet: Fleet) -> None:
    for block in full_fleet.blocks():
        labels = [tuple(sorted((k, v) for k, v in row.items() if v)) for row in block.labels.to_pylist()]
        seen: dict[tuple[tuple[str, str], ...], set[int]] = {}
        for index, key in enumerate(labels):
            stamps = block.stamps_ms[block.offsets[index] : block.offsets[index + 1]]
            assert (np.diff(stamps) > 0).all()
            assert not seen.setdefault(key, set()) & set(stamps.tolist()), dict(key)
            seen[key] |= set(stamps.tolist())
