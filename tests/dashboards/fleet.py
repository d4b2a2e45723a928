"""Two days of the published series of two clusters with two nodes each, and their sums by plain addition.

The second day is ten times the first, so that an hour counted on the wrong side of midnight shows. Hours 26 and 27 of
alpha were estimated first and settled later (a negative revision 1); hour 30 of beta has no intensity: joules, no
grams.
"""

import math
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

FIRST_HOUR = int(datetime(2025, 3, 10, tzinfo=UTC).timestamp())
HOURS = 48
PUE = {"alpha": 1.25, "beta": 1.5}
FACTORS = {"alpha": (("DE", 400.0)), "beta": (("SE", 30.0))}
SETTLED = {("alpha", 26): 250.0, ("alpha", 27): 380.0}
UNPRICED = ("beta", 30)

WORKLOADS = (
    ("shop", "Deployment", "web", "workload", 3.0),
    ("shop", "StatefulSet", "db", "workload", 2.0),
    ("batch", "CronJob", "report", "workload", 1.0),
    ("(system)", "(system)", "(system)", "system", 0.5),
    ("(idle)", "(idle)", "(idle)", "idle", 4.0),
)
COMPONENTS = (("package", 1.0), ("dram", 0.25))


class Sample(NamedTuple):
    """One sample of one series."""

    metric: str
    labels: tuple[tuple[str, str], ...]
    stamp_seconds: int
    value: float


def _joules(hour: int, cluster: str, node: int, weight: float) -> float:
    day = 1.0 if hour < 24 else 10.0
    return 1000.0 * day * weight * (1 + node) * (1.0 + 0.01 * hour) * (1.0 if cluster == "alpha" else 0.7)


def _intensity(hour: int, cluster: str) -> float:
    return FACTORS[cluster][1] + 5.0 * (hour % 24)


def _amounts(hour: int, cluster: str) -> Iterator[tuple[str, dict[str, str], float]]:
    """Metric, labels without revision, and joules or grams per intensity 1 of every series of a cluster-hour."""
    for namespace, workload_kind, workload, kind, weight in WORKLOADS:
        for component, part in COMPONENTS:
            by_node = [_joules(hour, cluster, node, weight * part) for node in (0, 1)]
            same = {"cluster": cluster, "component": component, "kind": kind}
            labels = same | {"namespace": namespace, "workload_kind": workload_kind, "workload": workload}
            facility = sum(by_node) * PUE[cluster]
            yield "carbon_energy_joules", labels, sum(by_node)
            yield "carbon_facility_energy_joules", labels, facility
            yield "carbon_emissions_grams", labels, facility / 3.6e6
            for node, joules in enumerate(by_node):
                of_node = same | {"node": f"{cluster}-{node}", "workload": workload, "namespace": namespace}
                yield "carbon_node_energy_joules", of_node, joules
                yield "carbon_node_emissions_grams", of_node, joules * PUE[cluster] / 3.6e6


def _hour(hour: int, cluster: str) -> Iterator[tuple[str, dict[str, str], float]]:
    first, settled = _intensity(hour, cluster), SETTLED.get((cluster, hour))
    unpriced = (cluster, hour) == UNPRICED
    joules = 0.0
    nodes: dict[tuple[str, ...], float] = defaultdict(float)
    for metric, labels, value in _amounts(hour, cluster):
        grams = metric.endswith("_grams")
        if metric == "carbon_energy_joules":
            joules += value
        if grams and unpriced:
            continue
        if "node" in labels:
            nodes[metric, labels["node"], labels["component"], labels["kind"]] += value
            continue
        yield metric, labels | {"revision": "0"}, value * first if grams else value
        if grams and settled is not None:
            yield metric, labels | {"revision": "1"}, value * (settled - first)
    for (metric, node, component, kind), value in nodes.items():
        labels = {"cluster": cluster, "node": node, "component": component, "kind": kind}
        yield metric, labels | {"revision": "0"}, value * first if metric.endswith("_grams") else value
        if metric.endswith("_grams") and settled is not None:
            yield metric, labels | {"revision": "1"}, value * (settled - first)
    yield from _quality(cluster, joules, unpriced=unpriced, settled=settled is not None)
    if not unpriced:
        zone = {
            "zone": FACTORS[cluster][0],
            "provider": "electricity_maps",
            "signal": "average",
            "factor_type": "lifecycle",
        }
        yield "carbon_grid_intensity_grams_per_kwh", {"cluster": cluster} | zone, first
    yield "carbon_pue_ratio", {"cluster": cluster}, PUE[cluster]


def _quality(
    cluster: str, joules: float, *, unpriced: bool, settled: bool
) -> Iterator[tuple[str, dict[str, str], float]]:
    first = "missing" if unpriced else "estimated" if settled else "measured"
    entries = [(first, "0", joules)]
    if settled:
        entries += [("estimated", "1", -joules), ("measured", "0", joules)]
    for quality, revision, value in entries:
        labels = {"cluster": cluster, "intensity_quality": quality, "revision": revision}
        yield "carbon_quality_energy_joules", labels, value


def _run(hour: int, cluster: str) -> Iterator[tuple[str, dict[str, str], float]]:
    """What the run twelve minutes after the hour says of itself."""
    stamp = FIRST_HOUR + (hour + 1) * 3600 + 725
    yield "carbon_etl_last_success_timestamp_seconds", {"cluster": cluster}, stamp
    yield "carbon_etl_run_seconds", {"cluster": cluster}, 4.0
    yield "carbon_etl_rows", {"cluster": cluster}, 20.0
    yield (
        "carbon_etl_check_failed",
        {"cluster": cluster, "check": "cross_meter"},
        float(hour == 40 and cluster == "beta"),
    )
    yield "carbon_etl_residual_joules", {"cluster": cluster}, -2.5 if cluster == "alpha" else 0.0
    yield "carbon_etl_unpublished_hours", {"cluster": cluster}, float(cluster == "beta")


def samples() -> list[Sample]:
    """Everything, in the order of the hours."""
    return [
        Sample(metric, tuple(sorted(labels.items())), FIRST_HOUR + (hour + 1) * 3600 + late, value)
        for hour in range(HOURS)
        for cluster in PUE
        for late, source in ((-60, _hour), (725, _run))
        for metric, labels, value in source(hour, cluster)
    ]


FLEET = samples()


def total(metric: str, start_ms: int, end_ms: int, **where: str) -> float:
    """Sum of all samples of `metric` with `start_ms < stamp <= end_ms` whose labels are those of `where`."""
    wanted = set(where.items())
    return math.fsum(
        sample.value
        for sample in FLEET
        if sample.metric == metric and start_ms < sample.stamp_seconds * 1000 <= end_ms and wanted <= set(sample.labels)
    )
