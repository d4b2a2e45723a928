"""Two days of the published series of two clusters with two nodes each, and their sums by plain addition.

The second day is ten times the first, so that an hour counted on the wrong side of midnight shows. Hours 26 and 27 of
alpha were estimated first and settled later (a negative revision 1); hour 30 of beta has no intensity: joules, no
grams. The same is there as rows of the warehouse, from which the pipeline makes the series.
"""

import math
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from pipeline.sinks.warehouse import DayTables
from tests.sinks.rows import emission, metered, process, tables

FIRST_HOUR = int(datetime(2025, 3, 10, tzinfo=UTC).timestamp())
HOURS = 48
RUN_AFTER_SECONDS = 725
PUE = {"alpha": 1.25, "beta": 1.5}
FACTORS = {"alpha": (("DE", 400.0)), "beta": (("SE", 30.0))}
SETTLED = {("alpha", 26): 250.0, ("alpha", 27): 380.0}
UNPRICED = ("beta", 30)
TEAMS = {"storefront, with $1": "shop"}  # `batch` is nobody's
MARGINAL = ("alpha", "DE_NORTH")  # whose marginal rates are known, and their zone

WORKLOADS = (
    ("shop", "Deployment", "web", "workload", 3.0),
    ("shop", "StatefulSet", "db", "workload", 2.0),
    ("batch", "CronJob", "report", "workload", 1.0),
    ("(system)", "(system)", "(system)", "system", 0.5),
    ("(idle)", "(idle)", "(idle)", "idle", 4.0),
)
COMPONENTS = (("package", 1.0), ("dram", 0.25))
PROGRAMS = (
    ("/usr/bin/java", "java -jar shop.jar", 1, 300.0),
    ("/usr/bin/java", "java -jar search.jar", 1, 200.0),
    ("/usr/sbin/backup", "backup --all", 6, 900.0),
    ("(other)", None, 1, 50.0),
)


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


def hour_utc(hour: int) -> datetime:
    """Where hour `hour` of the fleet begins."""
    return datetime.fromtimestamp(FIRST_HOUR, UTC) + timedelta(hours=hour)


def day_tables(cluster: str, hours: list[int], *, settled: bool) -> DayTables:
    """What a run commits of these hours of a cluster, before or after the grid's figures have settled."""
    emissions, nodes, programs = [], [], []
    for hour in hours:
        for node in (0, 1):
            emissions += _emissions(hour, cluster, node, settled=settled)
            nodes += _node_energy(hour, cluster, node)
            programs += _processes(hour, cluster, node)
    return tables(emissions, nodes, processes=programs)


def _emissions(hour: int, cluster: str, node: int, *, settled: bool) -> list[dict[str, object]]:
    newer = SETTLED.get((cluster, hour)) if settled else None
    grid: dict[str, object] = {"carbon_intensity_g_per_kwh": newer or _intensity(hour, cluster)}
    grid["intensity_quality"] = "estimated" if (cluster, hour) in SETTLED and not newer else "measured"
    if (cluster, hour) == UNPRICED:
        grid = {"carbon_intensity_g_per_kwh": None, "intensity_quality": "missing", "intensity_provider": None}
    grid |= {"intensity_zone": FACTORS[cluster][0], "intensity_provider": grid.get("intensity_provider", "csv")}
    grid |= {"cluster": cluster, "node": f"{cluster}-{node}", "pue_ratio": PUE[cluster]}
    return [
        emission(
            hour_utc(hour), kind, _joules(hour, cluster, node, weight * part), component=component, **grid,
            **({"namespace": namespace, "workload_kind": workload_kind, "workload": workload,
                "pod": f"{workload}-{node}", "pod_uid": f"uid-{workload}-{node}"} if kind == "workload" else {}),
        )
        for namespace, workload_kind, workload, kind, weight in WORKLOADS
        for component, part in COMPONENTS
    ]  # fmt: skip


def _node_energy(hour: int, cluster: str, node: int) -> list[dict[str, object]]:
    """Alpha's meter measures system itself and leaves a residual; beta's leaves system as the remainder."""
    rows = []
    for component, part in COMPONENTS:
        workload, system, idle = (
            math.fsum(_joules(hour, cluster, node, weight * part) for *_, kind, weight in WORKLOADS if kind == wanted)
            for wanted in ("workload", "system", "idle")
        )
        residual = -0.01 * workload if cluster == "alpha" else None
        rows.append(
            metered(
                hour_utc(hour), workload, system, idle, cluster=cluster, node=f"{cluster}-{node}", component=component,
                residual_joules=residual, metered_joules=workload + system + idle + (residual or 0.0),
                coverage_ratio=0.75 if (cluster, node, hour) == ("alpha", 1, 40) else 1.0,
                meter="scaphandre" if cluster == "alpha" else "kepler",
            )
        )  # fmt: skip
    return rows


def _processes(hour: int, cluster: str, node: int) -> list[dict[str, object]]:
    return [
        process(hour_utc(hour), exe, joules * (1 + node) * (1 + 0.01 * hour))
        | {"cluster": cluster, "node": f"{cluster}-{node}", "cmdline": cmdline}
        for exe, cmdline, every, joules in PROGRAMS
        if hour % every == 0
    ]


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
            "provider": "csv",
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
    stamp = FIRST_HOUR + (hour + 1) * 3600 + RUN_AFTER_SECONDS
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
    """The series of the emissions, in the order of the hours."""
    return [
        Sample(metric, tuple(sorted(labels.items())), FIRST_HOUR + (hour + 1) * 3600 - 60, value)
        for hour in range(HOURS)
        for cluster in PUE
        for metric, labels, value in _hour(hour, cluster)
    ]


def run_samples() -> list[Sample]:
    """What every run but the last said of itself."""
    return [
        Sample(metric, tuple(sorted(labels.items())), FIRST_HOUR + (hour + 1) * 3600 + RUN_AFTER_SECONDS, value)
        for hour in range(HOURS - 1)
        for cluster in PUE
        for metric, labels, value in _run(hour, cluster)
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
