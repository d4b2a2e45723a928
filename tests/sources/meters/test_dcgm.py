"""What dcgm-exporter's labels mean: one board whatever label set repeats it, its node, and who holds it."""

import numpy as np
import pytest

from pipeline.demo.fleet import simulate
from pipeline.demo.meters import DcgmMeter, GpuSpec, Meters
from pipeline.demo.spec import FleetSpec
from pipeline.demo.transport import FleetTransport
from pipeline.samples import GpuSamples
from pipeline.sources.meters import dcgm
from pipeline.sources.prometheus.selectors import Matcher
from tests.sources.meters.test_kepler import Labels, Told
from tests.transforms.made import START

ENERGY, POWER, ACTIVITY = dcgm.ENERGY[0], dcgm.POWER[0], dcgm.ACTIVITY[0]
OWN = {"pod": "nvidia-dcgm-exporter-x2lqk", "namespace": "gpu-operator", "container": "nvidia-dcgm-exporter"}


def board(**labels: str | None) -> Labels:
    return {"UUID": "GPU-a", "gpu": "0", "Hostname": "n1", "instance": "10.0.0.1:9400", "job": "dcgm"} | labels


def read(*series: Labels, up: tuple[Labels, ...] = ()) -> GpuSamples:
    return dcgm.read(Told({ENERGY: list(series), dcgm.TARGETS: list(up)}), [], 0, 1)


def holders(samples: GpuSamples) -> list[tuple[str | None, ...]]:
    """Namespace, pod, container and UID of each series, in order."""
    rows = samples.energy.names.to_pylist()
    chosen = [rows[name] for name in samples.energy.name]
    return [tuple(row[column] for column in ("namespace", "pod", "container", "pod_uid")) for row in chosen]


NOBODY = (None, None, None, None)
HELD = ("llm", "vllm-0", "vllm", None)


def test_label_sets_of_a_board_are_one_counter() -> None:
    samples = read(
        board(exported_pod="a"), board(exported_pod="b", GPU_I_ID="3", GPU_I_PROFILE="1g.6gb"), board(vgpu="1")
    )
    assert samples.energy.identity.to_pylist() == [{"node": "n1", "exporter": "dcgm/10.0.0.1:9400", "board": "GPU-a"}]
    assert samples.energy.code.tolist() == [0, 0, 0]
    instances = [(row["instance"], row["profile"]) for row in samples.energy.names.to_pylist()]
    assert instances == [(None, None), ("3", "1g.6gb"), (None, None)]


def test_exported_labels_are_the_holder_and_plain_ones_the_exporter() -> None:
    labels = {"exported_pod": "vllm-0", "exported_namespace": "llm", "exported_container": "vllm"}
    assert holders(read(board(**OWN, **labels))) == [HELD]


def test_an_unheld_board_of_the_exported_dialect_shows_only_the_exporter_and_is_nobodys() -> None:
    assert holders(read(board(**OWN), board(**OWN, GPU_I_ID="3"))) == [NOBODY, NOBODY]


def test_an_exporter_of_any_name_is_known_by_its_targets_own_labels() -> None:
    renamed = {"pod": "gpu-metrics-7", "namespace": "ops", "container": "main"}
    up = ({"instance": "10.0.0.1:9400", "job": "dcgm", **renamed},)
    assert holders(read(board(**renamed), up=up)) == [NOBODY]
    assert holders(read(board(**renamed))) == [("ops", "gpu-metrics-7", "main", None)]  # nothing tells
    other = ({"instance": "10.0.0.2:9400", "job": "dcgm", **renamed},)
    assert holders(read(board(**renamed), up=other)) == [("ops", "gpu-metrics-7", "main", None)]


@pytest.mark.parametrize("prefix", [("pod", "namespace", "container"), ("pod_name", "pod_namespace", "container_name")])
def test_plain_labels_are_the_holder_where_they_are_not_the_exporters(prefix: tuple[str, str, str]) -> None:
    labels = dict(zip(prefix, ("vllm-0", "llm", "vllm"), strict=True))
    up = ({"instance": "10.0.0.1:9400", "job": "dcgm", **OWN},)
    assert holders(read(board(**labels), up=up)) == [HELD]


def test_the_old_option_names_the_holder_beside_the_exporters_plain_labels() -> None:
    labels = {"pod_name": "vllm-0", "pod_namespace": "llm", "container_name": "vllm"}
    assert holders(read(board(**OWN, **labels))) == [HELD]


def test_an_empty_pod_is_nobody() -> None:
    assert holders(read(board(pod="", namespace="", container=""), board(exported_namespace="llm"))) == [NOBODY] * 2


@pytest.mark.parametrize("label", ["pod_uid", "exported_pod_uid"])
def test_a_pod_uid_is_read_where_there_is_a_pod(label: str) -> None:
    assert holders(read(board(exported_pod="p", **{label: "u"}), board(**{label: "u"}))) == [
        (None, "p", None, "u"),
        NOBODY,
    ]


@pytest.mark.parametrize(
    ("labels", "node"),
    [
        ({}, "n1"),
        ({"Hostname": None, "hostname": "n2"}, "n2"),
        ({"Hostname": None}, "10.0.0.1"),
        ({"Hostname": "nvidia-dcgm-exporter-x2lqk"}, "10.0.0.1"),
        ({"Hostname": "nvidia-dcgm-exporter-x2lqk", "node": "n3"}, "n3"),
        ({"Hostname": "gpu-metrics-7", "pod": "gpu-metrics-7"}, "10.0.0.1"),
    ],
)
def test_r10_a_node_is_known_by_either_spelling_else_by_its_target(labels: Labels, node: str) -> None:
    assert read(board(**labels)).energy.identity["node"].to_pylist() == [node]


def test_boards_without_a_uuid_are_known_by_their_place() -> None:
    series = (board(UUID=None, uuid="GPU-b"), board(UUID=None), board(UUID=None, pci_bus_id="00000000:07:00.0"))
    found = read(*series).energy.identity["board"].to_pylist()
    assert found == ["GPU-b", "n1/0", "n1/00000000:07:00.0"]


def test_two_exporters_of_a_board_are_apart() -> None:
    samples = read(board(), board(instance="10.0.0.2:9400"), board(job="other"))
    assert samples.energy.identity.num_rows == 3


def test_millijoules_become_joules_and_watts_stay() -> None:
    samples = dcgm.read(Told({ENERGY: [board()], POWER: [board()]}, parts=2), [], 0, 1)
    assert samples.energy.value.tolist() == [0.0, pytest.approx(0.1)]
    assert samples.power.value.tolist() == [0.0, 100.0]


@pytest.mark.parametrize(
    ("value", "blank"),
    [
        (9223372036854775792.0, True),
        (2.0**47, True),
        (2.0**47 + 3, True),
        (2147483632.0, True),
        (2147483635.0, True),
        (2147483631.0, False),
        (2147483636.0, False),
        (2.0**47 - 1, False),
        (2.0**47 + 4, False),
        (0.0, False),
        (4e18, False),
    ],
)
def test_codes_for_none_are_told_from_values_beside_them(value: float, *, blank: bool) -> None:
    assert dcgm.is_blank(np.array([value])).tolist() == [blank]


def test_old_names_and_the_users_selector_are_asked_for_and_targets_only_where_they_matter() -> None:
    transport = Told({ENERGY: [board(**OWN)], POWER: [board(instance="10.0.0.9:9400", exported_pod="p")]})
    dcgm.read(transport, [Matcher("cluster", "=", "a")], 5, 9)
    metrics = (*dcgm.ENERGY, *dcgm.POWER, *dcgm.ACTIVITY)
    target = 'up{instance=~"10\\\\.0\\\\.0\\\\.1:9400",cluster="a"}'
    assert transport.asked == [(f'{metric}{{cluster="a"}}', 5, 9) for metric in metrics] + [(target, 5, 9)]


def test_nothing_there_gives_empty_tables_of_the_right_shape() -> None:
    samples = dcgm.read(Told({}), [], 0, 1)
    assert samples.meter == "dcgm"
    for part in (samples.energy, samples.power, samples.activity, samples.refused):
        assert (part.identity.schema, part.names.schema) == (dcgm.IDENTITY, dcgm.NAMES)
        assert (len(part.value), part.code.dtype, part.value.dtype) == (0, "int64", "float64")


@pytest.mark.parametrize("dialect", ["exported", "plain", "pod_name"])
def test_a_simulated_fleets_holders_are_its_pods_and_never_the_exporter(dialect: str) -> None:
    meter = DcgmMeter(dialect=dialect, sentinels=2, activity=True)
    boards = (GpuSpec("exclusive"), GpuSpec("mig"), GpuSpec("shared"))
    spec = FleetSpec(7, START, 2, sockets=(1,), pods_per_node=1, meters=(Meters(dcgm=meter),), gpus=(boards,))
    fleet = simulate(spec)
    samples = dcgm.read(FleetTransport(fleet, part_samples=50), [], 0, 1 << 60)
    pods = {(pod.namespace, pod.name) for pod in fleet.pods}
    seen = {(row["namespace"], row["pod"]) for row in samples.energy.names.to_pylist()}
    assert (None, None) in seen
    assert len(seen - {(None, None)}) > 10
    assert seen - {(None, None)} <= pods
    assert {row["board"] for row in samples.energy.identity.to_pylist()} == {g.uuid for g in fleet.nodes[0].gpus}
    assert len(samples.refused.value) > 0
    assert not dcgm.is_blank(samples.power.value).any()
