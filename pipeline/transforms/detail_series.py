"""What stands behind a published hour as series: what nodes were metered at and how fully, and what programs used.

Keys are as in `series`. Only rows of the commit that the hour's emissions are of count: a run that was killed may have
left others beside them. Null is not 0: what a node-hour does not know has no sample.
"""

import math
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from pipeline.transforms.series import OTHER, UNKNOWN, Key, hour_series
from pipeline.units import MS_PER_HOUR, MS_PER_SECOND

SECONDS_PER_HOUR = MS_PER_HOUR // MS_PER_SECOND
NODE_AMOUNTS = {
    "carbon_node_covered_seconds": ("coverage_ratio", SECONDS_PER_HOUR),
    "carbon_node_expected_seconds": ("expected_ratio", SECONDS_PER_HOUR),
    "carbon_node_residual_joules": ("residual_joules", 1),
}
NODE_COLUMNS = [
    "cluster", "node", "component", "meter", "metered_joules", *(column for column, _ in NODE_AMOUNTS.values()),
    "run_id", "revision",
]  # fmt: skip
PROGRAM_COLUMNS = ["cluster", "node", "exe", "energy_joules", "run_id", "revision"]
METERED = "carbon_node_metered_joules"
PROCESS = "carbon_process_energy_joules"
MAX_PROGRAMS = 500  # of a cluster-hour, (node, exe); `processes` keeps twenty of each node-hour


def published_hour(
    emissions: pa.Table, node_energy: pa.Table, processes: pa.Table, max_series: int
) -> dict[Key, float]:
    """Every sample of one cluster-hour: `hour_series` of its emissions, and the details beside them.

    Args:
        emissions: rows of `tables.EMISSIONS`, all of one cluster and hour.
        node_energy: rows of `tables.NODE_ENERGY` of the same.
        processes: rows of `tables.PROCESSES` of the same.
        max_series: see `hour_series`.

    Raises:
        SchemaError: see `hour_series`.
    """
    samples = hour_series(emissions, max_series)
    commits = emissions.group_by(["run_id", "revision"]).aggregate([]).to_pylist()
    committed = {(row["run_id"], row["revision"]) for row in commits}
    nodes, programs = (
        [row for row in rows.select(columns).to_pylist() if (row["run_id"], row["revision"]) in committed]
        for rows, columns in ((node_energy, NODE_COLUMNS), (processes, PROGRAM_COLUMNS))
    )
    return samples | dict(_of_nodes(nodes)) | _of_programs(programs)


def _of_nodes(rows: list[dict[str, Any]]) -> Iterator[tuple[Key, float]]:
    """One row is one node and component: nothing is summed."""
    for row in rows:
        place = ("cluster", row["cluster"]), ("component", row["component"] or UNKNOWN)
        node = ("node", row["node"] or UNKNOWN)
        if row["metered_joules"] is not None:
            yield (METERED, (*place, ("meter", row["meter"] or UNKNOWN), node)), row["metered_joules"]
        for metric, (column, unit) in NODE_AMOUNTS.items():
            if row[column] is not None:
                yield (metric, (*place, node)), row[column] * unit


def _of_programs(rows: list[dict[str, Any]]) -> dict[Key, float]:
    """By program, command lines put together; the tail beyond `MAX_PROGRAMS` is `(other)` of its node."""
    used: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for row in rows:
        used[row["cluster"], row["exe"] or UNKNOWN, row["node"] or UNKNOWN].append(row["energy_joules"])
    ranked = sorted(used, key=lambda place: (-math.fsum(used[place]), place))
    for cluster, exe, node in ranked[MAX_PROGRAMS:]:
        used[cluster, OTHER, node] = used.get((cluster, OTHER, node), []) + used.pop((cluster, exe, node))
    return {
        (PROCESS, tuple(zip(("cluster", "exe", "node"), place, strict=True))): math.fsum(joules)
        for place, joules in sorted(used.items())
    }
