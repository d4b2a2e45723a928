"""Whose a platform meter's series are, and that parts stay apart."""

import pytest

from pipeline.sources.meters import platform
from pipeline.sources.prometheus.selectors import Matcher
from tests.sources.meters.test_kepler import Labels, Told

METRIC = "kepler_platform_watts"
SUPPLY: Labels = {"node_name": "n1", "instance": "10.0.0.1:28282", "chassis_id": "1", "source_id": "0"}


def nodes(series: list[Labels], node_label: str = "node_name") -> list[str]:
    samples = platform.read(Told({METRIC: series}), [], 0, 1, METRIC, node_label)
    return [row["node"] for row in samples.identity.to_pylist()]


def test_each_label_set_is_a_part_of_its_node_and_a_part_in_pieces_is_one() -> None:
    told = Told({METRIC: [SUPPLY, SUPPLY | {"source_id": "1"}, SUPPLY | {"node_name": "n2"}]}, parts=2)
    samples = platform.read(told, [], 0, 5_000, METRIC, "node_name")
    assert [row["node"] for row in samples.identity.to_pylist()] == ["n1", "n1", "n2"]
    assert len({row["part"] for row in samples.identity.to_pylist()}) == 3
    assert samples.code.tolist() == [0, 1, 2, 0, 1, 2]
    assert samples.value.tolist() == [0.0, 1.0, 2.0, 100.0, 101.0, 102.0]


@pytest.mark.parametrize(
    ("label", "labels", "node"),
    [
        ("node_name", {}, "n1"),
        ("host", {"host": "n7"}, "n7"),
        ("host", {}, "10.0.0.1"),
        ("node_name", {"node_name": ""}, "10.0.0.1"),
        ("instance", {}, "10.0.0.1"),
        ("instance", {"instance": "[fd00::1]:9290"}, "[fd00::1]"),
        ("instance", {"instance": "n1"}, "n1"),
    ],
)
def test_a_node_is_what_the_label_says_else_the_address_without_its_port(label: str, labels: Labels, node: str) -> None:
    assert nodes([SUPPLY | labels], label) == [node]


def test_the_meter_is_asked_for_under_both_selectors() -> None:
    told = Told({})
    matchers = [Matcher("cluster", "=", "a"), Matcher("source_type", "=", "PowerControl")]
    assert platform.read(told, matchers, 5, 9, "pdu_watts", "host").identity.num_rows == 0
    assert told.asked == [('pdu_watts{cluster="a",source_type="PowerControl"}', 5, 9)]
