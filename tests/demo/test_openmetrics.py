"""promtool loads the file, and a real Prometheus returns the same samples."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.demo.fleet import Fleet
from pipeline.demo.openmetrics import fill_blocks, write_openmetrics
from pipeline.demo.series import Series
from pipeline.demo.servers import PrometheusBinary, RunningServer
from pipeline.errors import SinkError
from tests.loopback import LOOPBACK

SeriesOf = Callable[[Fleet, str], list[Series]]


def test_the_file_has_one_typed_family_a_metric_and_ends_properly(churning_fleet: Fleet, tmp_path: Path) -> None:
    count = write_openmetrics(churning_fleet, tmp_path / "fleet.om")
    lines = (tmp_path / "fleet.om").read_text().splitlines()
    types = [line for line in lines if line.startswith("# TYPE")]
    assert "# TYPE kepler_pod_cpu_joules counter" in types
    assert "# TYPE kepler_node_cpu_watts gauge" in types
    assert len(types) == len(set(types)) == len(churning_fleet.blocks())
    assert lines[-1] == "# EOF"
    assert count == len(lines) - len(types) - 1


@pytest.mark.real
@pytest.mark.parametrize(
    "metric",
    ["kepler_pod_cpu_joules_total", "kepler_node_cpu_joules_total", "kepler_node_cpu_info", "kube_pod_start_time"],
)
def test_prometheus_returns_the_very_samples_of_the_fleet(
    metric: str, small_fleet: Fleet, small_fleet_prometheus: RunningServer, series_of: SeriesOf
) -> None:
    window = small_fleet.spec
    answer = LOOPBACK.get(
        f"{small_fleet_prometheus.url}/api/v1/query",
        params={"query": f"{metric}[6h]", "time": (window.start_ms + window.end_ms) / 1000 + 60},
    ).raise_for_status()
    returned = {
        tuple(sorted(item["metric"].items())): [(round(t * 1000), float(v)) for t, v in item["values"]]
        for item in answer.json()["data"]["result"]
    }
    expected = {
        tuple(sorted(series.labels.items())): list(zip(series.stamps_ms.tolist(), series.values.tolist(), strict=True))
        for series in series_of(small_fleet, metric)
    }
    assert expected
    assert returned == expected


@pytest.mark.real
def test_all_samples_are_in_the_blocks(small_fleet: Fleet, small_fleet_prometheus: RunningServer) -> None:
    total = 0.0
    for block in small_fleet.blocks():
        # metric by metric: count_over_time drops the name
        query = f"sum(count_over_time({block.labels['__name__'][0]}[6h]))"
        when = (small_fleet.spec.start_ms + small_fleet.spec.end_ms) / 1000 + 60
        answer = LOOPBACK.get(f"{small_fleet_prometheus.url}/api/v1/query", params={"query": query, "time": when})
        total += float(answer.raise_for_status().json()["data"]["result"][0]["value"][1])
    assert total == sum(len(block.values) for block in small_fleet.blocks())
    assert math.isfinite(total)


@pytest.mark.real
def test_a_refusal_of_promtool_is_told_with_its_last_line(
    small_fleet: Fleet, prometheus_binary: PrometheusBinary, tmp_path: Path
) -> None:
    with pytest.raises(SinkError, match="promtool made no blocks"):
        # the server's program does not know promtool's commands
        fill_blocks(small_fleet, prometheus_binary.prometheus, tmp_path / "data")
