"""Every trap of dcgm-exporter is in the simulated series."""

from collections import defaultdict
from collections.abc import Callable

import numpy as np
import pytest

from pipeline.demo.fleet import Fleet
from pipeline.demo.gpus import Gpu
from pipeline.demo.meters import DcgmMeter, GpuSpec, Meters
from pipeline.demo.series import Series

SeriesOf = Callable[[Fleet, str], list[Series]]
Lone = Callable[..., Fleet]
Key = tuple[int, float]

ENERGY, POWER = "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "DCGM_FI_DEV_POWER_USAGE"
BOARDS = (GpuSpec("exclusive"), GpuSpec("mig"), GpuSpec("shared"))
QUICK = DcgmMeter(collect_seconds=1)


@pytest.fixture(scope="module")
def fleet(lone: Lone) -> Fleet:
    return lone(Meters(dcgm=QUICK), BOARDS)


def board_samples(found: list[Series]) -> tuple[np.ndarray, np.ndarray, dict[int, int]]:
    """Stamps, values and how many series repeat the value, whatever the labels."""
    values: defaultdict[int, set[float]] = defaultdict(set)
    repeats: defaultdict[int, int] = defaultdict(int)
    for series in found:
        for stamp, value in zip(series.stamps_ms.tolist(), series.values.tolist(), strict=True):
            values[stamp].add(value)
            repeats[stamp] += 1
    assert all(len(one) == 1 for one in values.values())
    stamps = np.array(sorted(values))
    return stamps, np.array([next(iter(values[stamp])) for stamp in stamps.tolist()]), dict(repeats)


def holders_at(gpu: Gpu, at_ms: int) -> list[str]:
    return sorted(h.pod.name for h in gpu.holdings if h.span_ms[0] <= at_ms < h.span_ms[1])


@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_energy_of_a_board_is_one_counter_in_millijoules_under_changing_labels(
    number: int, fleet: Fleet, series_of: SeriesOf
) -> None:
    gpu = fleet.nodes[0].gpus[number]
    found = series_of(fleet, f'{ENERGY}{{UUID="{gpu.uuid}"}}')
    assert len({series.labels.get("exported_pod") for series in found}) >= 3
    stamps, values, _ = board_samples(found)
    at = stamps - fleet.spec.start_ms
    used = gpu.board.energy_joules(at)
    assert (np.diff(values) > 0).all()
    assert values[0] > 1e9  # since the driver was loaded: a first sample is no energy of its pod
    assert (values[-1] - values[0]) / 1000 == pytest.approx(used[-1] - used[0], rel=2e-3)


def test_a_series_of_a_new_holder_continues_the_counter_of_the_one_before(fleet: Fleet, series_of: SeriesOf) -> None:
    gpu = fleet.nodes[0].gpus[0]
    found = series_of(fleet, f'{ENERGY}{{UUID="{gpu.uuid}"}}')
    stamps, values, _ = board_samples(found)
    changes = [int(series.stamps_ms[0]) for series in found if series.stamps_ms[0] > stamps[0]]
    assert len(changes) >= 3
    for row in np.searchsorted(stamps, changes):
        assert 0 < values[row] - values[row - 1] < 400 * 31 * 1000
    idle = [series for series in found if "exported_pod" not in series.labels]
    assert len(idle) == 1
    assert len(idle[0].values) > 5


def test_each_mig_instance_repeats_the_board(fleet: Fleet, series_of: SeriesOf) -> None:
    gpu = fleet.nodes[0].gpus[1]
    for metric in (ENERGY, POWER):
        found = series_of(fleet, f'{metric}{{UUID="{gpu.uuid}"}}')
        _, _, repeats = board_samples(found)
        assert set(repeats.values()) == {4}
        profiles = {(series.labels["GPU_I_ID"], series.labels["GPU_I_PROFILE"]) for series in found}
        assert profiles == {("3", "3g.20gb"), ("4", "2g.10gb"), ("5", "1g.5gb"), ("6", "1g.5gb")}


def test_every_pod_on_a_shared_gpu_gets_the_whole_device(fleet: Fleet, series_of: SeriesOf) -> None:
    gpu = fleet.nodes[0].gpus[2]
    found = series_of(fleet, f'{POWER}{{UUID="{gpu.uuid}"}}')
    _, _, repeats = board_samples(found)
    assert {2, 3} <= set(repeats.values())
    for stamp, count in list(repeats.items())[::7]:
        named = [s.labels["exported_pod"] for s in found if stamp in s.stamps_ms and "exported_pod" in s.labels]
        assert len(named) in (count, count - 1)
        assert set(named) <= set(holders_at(gpu, stamp - fleet.spec.start_ms)) | set(
            holders_at(gpu, stamp - fleet.spec.start_ms - 1000)
        )


def test_without_virtual_gpus_one_pod_alone_is_named(lone: Lone, series_of: SeriesOf) -> None:
    fleet = lone(Meters(dcgm=DcgmMeter(virtual_gpus=False)), (GpuSpec("shared"),))
    gpu = fleet.nodes[0].gpus[0]
    found = series_of(fleet, ENERGY)
    _, _, repeats = board_samples(found)
    assert set(repeats.values()) == {1}
    assert not any("vgpu" in series.labels for series in found)
    named = {series.labels["exported_pod"] for series in found if "exported_pod" in series.labels}
    assert named < {holding.pod.name for holding in gpu.holdings}


def test_names_of_holders_follow_the_dialect(lone: Lone, series_of: SeriesOf) -> None:
    for dialect, namespace, own in (
        ("exported", "exported_namespace", "gpu-operator"),
        ("plain", "namespace", None),
        ("pod_name", "pod_namespace", "gpu-operator"),
    ):
        fleet = lone(Meters(dcgm=DcgmMeter(dialect=dialect)), BOARDS[:1])
        found = series_of(fleet, ENERGY)
        named = {series.labels.get(namespace) for series in found}
        assert named == {None, "llm", "analytics"}
        if own is not None:
            assert {series.labels["namespace"] for series in found} == {own}
            assert {series.labels["pod"][:20] for series in found} == {"nvidia-dcgm-exporter"}


def test_the_hostname_is_the_node_or_the_exporters_pod(lone: Lone, series_of: SeriesOf) -> None:
    new = series_of(lone(Meters(dcgm=DcgmMeter(hostname_label="hostname")), BOARDS[:1]), ENERGY)
    assert {(s.labels["hostname"], s.labels.get("Hostname")) for s in new} == {("node-1", None)}
    old = series_of(lone(Meters(dcgm=DcgmMeter(hostname_is_pod=True)), BOARDS[:1]), ENERGY)
    assert all(s.labels["Hostname"].startswith("nvidia-dcgm-exporter-") for s in old)


def test_scrapes_between_collections_repeat_values(lone: Lone, series_of: SeriesOf) -> None:
    fleet = lone(Meters(dcgm=DcgmMeter()), BOARDS[:1], scrape_seconds=15)
    _, values, _ = board_samples(series_of(fleet, ENERGY))
    same = np.diff(values) == 0
    assert 0.4 < same.mean() < 0.6
    assert not (same[1:] & same[:-1]).any()


def test_power_is_the_boards_at_the_collection(fleet: Fleet, series_of: SeriesOf) -> None:
    gpu = fleet.nodes[0].gpus[0]
    stamps, watts, _ = board_samples(series_of(fleet, f'{POWER}{{UUID="{gpu.uuid}"}}'))
    true = np.diff(gpu.board.energy_joules(stamps[[0, -1]] - fleet.spec.start_ms))[0]
    assert (watts[1:] * np.diff(stamps) / 1000).sum() == pytest.approx(true, rel=0.02)
    assert 20 < watts.min() < watts.max() < 400


def test_a_driver_reload_sets_the_counter_to_zero(lone: Lone, series_of: SeriesOf) -> None:
    fleet = lone(Meters(dcgm=QUICK), (GpuSpec(driver_reloads=2),))
    gpu = fleet.nodes[0].gpus[0]
    stamps, values, _ = board_samples(series_of(fleet, ENERGY))
    drops = np.flatnonzero(np.diff(values) < 0) + 1
    assert len(drops) == len(gpu.reloads_ms) == 2
    for row, reload in zip(drops, gpu.reloads_ms, strict=True):
        at = np.array([reload, stamps[row] - fleet.spec.start_ms])
        assert values[row] / 1000 == pytest.approx(np.diff(gpu.board.energy_joules(at))[0], abs=400)


def test_sentinels_stand_where_no_value_was(lone: Lone, series_of: SeriesOf) -> None:
    fleet = lone(Meters(dcgm=DcgmMeter(sentinels=3)), BOARDS[1:2])
    for metric, floor in ((ENERGY, 1e14), (POWER, 2e9)):
        _, values, _ = board_samples(series_of(fleet, metric))
        assert (values > floor).sum() == 3


def test_fields_may_be_left_out(lone: Lone, series_of: SeriesOf) -> None:
    power = lone(Meters(dcgm=DcgmMeter(energy_counter=False)), BOARDS)
    assert series_of(power, POWER)
    assert not series_of(power, ENERGY)
    energy = lone(Meters(dcgm=DcgmMeter(power_gauge=False)), BOARDS)
    assert series_of(energy, ENERGY)
    assert not series_of(energy, POWER)


def test_activity_and_slices_give_each_instances_part(lone: Lone, series_of: SeriesOf) -> None:
    fleet = lone(Meters(dcgm=DcgmMeter(collect_seconds=30, activity=True)), BOARDS[1:2])
    gpu = fleet.nodes[0].gpus[0]
    for slot in gpu.slots:
        found = series_of(fleet, f'DCGM_FI_PROF_GR_ENGINE_ACTIVE{{GPU_I_ID="{slot.instance}"}}')
        activity = np.concatenate([series.values for series in found])
        assert activity.min() >= 0
        assert activity.max() <= 1
        truth = fleet.truth_gpu_holders.to_pandas().query("gpu_instance == @slot.instance")["active_joules"].sum()
        stamps = np.concatenate([series.stamps_ms for series in found]) - fleet.spec.start_ms
        within = activity[(stamps >= 0) & (stamps < fleet.spec.hours * 3_600_000)]
        assert within.sum() * 30 * slot.full_watts == pytest.approx(truth, rel=0.02)
