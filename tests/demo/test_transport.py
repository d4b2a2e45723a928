"""The in-memory transport chooses and cuts as a server would."""

from collections import defaultdict
from collections.abc import Callable

import numpy as np
import pytest

from pipeline.demo.fleet import Fleet
from pipeline.demo.transport import FleetTransport
from pipeline.errors import SourceRejected

Rows = defaultdict[tuple[tuple[str, str | None], ...], list[tuple[int, float]]]


def rows(transport: FleetTransport, selector: str, start_ms: int = 0, end_ms: int = 2**62) -> Rows:
    """All samples as (labels, stamp, value), parts put together in the order they came."""
    found: Rows = defaultdict(list)
    for block in transport.blocks(selector, start_ms, end_ms):
        assert block.labels.num_rows == len(block.offsets) - 1
        assert block.offsets[-1] == len(block.stamps_ms) == len(block.values)
        for index, labels in enumerate(block.labels.to_pylist()):
            own = slice(block.offsets[index], block.offsets[index + 1])
            found[tuple(labels.items())] += zip(block.stamps_ms[own], block.values[own], strict=True)
    return found


@pytest.fixture(scope="module")
def transport(churning_fleet: Fleet) -> FleetTransport:
    return FleetTransport(churning_fleet)


@pytest.mark.parametrize(
    ("selector", "accepts"),
    [
        ("kepler_pod_cpu_joules_total", lambda _: True),
        ('kepler_pod_cpu_joules_total{node_name="node-1"}', lambda labels: labels["node_name"] == "node-1"),
        ('kepler_pod_cpu_joules_total{node_name!="node-1",}', lambda labels: labels["node_name"] != "node-1"),
        ("kepler_pod_cpu_joules_total{ state =~ 'term.*' }", lambda labels: labels["state"] == "terminated"),
        ('kepler_pod_cpu_joules_total{state!~"term"}', lambda _: True),
        ('kepler_pod_cpu_joules_total{zone="dram",pod_name=~"node.+"}', lambda labels: labels["zone"] == "dram"
         and labels["pod_name"].startswith("node")),
        ('{__name__="kepler_pod_cpu_joules_total",no_such_label=""}', lambda _: True),
        ('kepler_pod_cpu_joules_total{no_such_label="x"}', lambda _: False),
        ('kepler_pod_cpu_joules_total{pod_name="a\\"b"}', lambda _: False),
    ],
)  # fmt: skip
def test_matchers_choose_series_as_in_promql(
    selector: str, accepts: Callable[[dict[str, str | None]], bool], transport: FleetTransport
) -> None:
    everything = rows(transport, "kepler_pod_cpu_joules_total")
    expected = {key: samples for key, samples in everything.items() if accepts(dict(key))}
    assert rows(transport, selector) == expected


def test_both_ends_are_inclusive(transport: FleetTransport) -> None:
    selector = 'kepler_node_cpu_watts{node_name="node-1",zone="dram"}'
    ((_, samples),) = rows(transport, selector).items()
    stamps = [stamp for stamp, _ in samples]
    ((_, cut),) = rows(transport, selector, stamps[3], stamps[7]).items()
    assert cut == samples[3:8]
    ((_, inner),) = rows(transport, selector, stamps[3] + 1, stamps[7] - 1).items()
    assert inner == samples[4:7]


def test_a_range_without_samples_yields_no_block(transport: FleetTransport, churning_fleet: Fleet) -> None:
    early = churning_fleet.spec.start_ms - 10**9
    assert list(transport.blocks("kepler_pod_cpu_joules_total", early, early + 10**6)) == []


@pytest.mark.parametrize("part_samples", [1, 7, 100])
def test_parts_hold_the_same_samples_in_time_order(
    part_samples: int, transport: FleetTransport, churning_fleet: Fleet
) -> None:
    parted = FleetTransport(churning_fleet, part_samples=part_samples)
    blocks = list(parted.blocks("kepler_pod_cpu_joules_total", 0, 2**62))
    assert len(blocks) > 3
    assert max(int(np.diff(block.offsets).max()) for block in blocks) == part_samples
    assert rows(parted, "kepler_pod_cpu_joules_total") == rows(transport, "kepler_pod_cpu_joules_total")


@pytest.mark.parametrize("text", ["", "{}", "a b", "rate(x[5m])", 'x{a="b"', 'x{a="b" c="d"}', "x{a=b}", 'x{a=~"("}'])
def test_what_is_not_a_selector_is_refused(text: str, transport: FleetTransport) -> None:
    with pytest.raises(SourceRejected):
        list(transport.blocks(text, 0, 1))
