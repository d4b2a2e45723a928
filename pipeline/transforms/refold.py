"""An hour folded again: of the stored and the new figures of a node, the better covered stay.

Raw samples expire; folding an hour again after they did must never lower what is known of it.
"""

import pyarrow as pa

from pipeline.tables import values
from pipeline.transforms.energy import ENERGY, NODES

COVERAGE_TOLERANCE = 1e-6  # the same samples give the same coverage; anything more is a real difference


def better_covered(
    new_rows: pa.Table, new_nodes: pa.Table, old_rows: pa.Table, old_nodes: pa.Table
) -> tuple[pa.Table, pa.Table]:
    """Energy rows and node rows of some hours, per (node, hour) of the better covered fold; ties go to the new.

    Args:
        new_rows: schema ENERGY.
        new_nodes: schema NODES.
        old_rows: stored emissions rows of the same hours.
        old_nodes: stored node_energy rows of the same hours.
    """
    new_coverage, old_coverage = _coverage(new_nodes), _coverage(old_nodes)
    stays = {key for key, ratio in old_coverage.items() if ratio > new_coverage.get(key, -1.0) + COVERAGE_TOLERANCE}
    if not stays:
        return new_rows, new_nodes
    return (
        pa.concat_tables([_only(new_rows, stays, kept=False), _only(old_rows.select(ENERGY.names), stays, kept=True)]),
        pa.concat_tables([_only(new_nodes, stays, kept=False), _only(old_nodes.select(NODES.names), stays, kept=True)]),
    )


def _keys(table: pa.Table) -> list[tuple[object, object]]:
    return list(zip(values(table, "hour_utc"), values(table, "node"), strict=True))


def _coverage(nodes: pa.Table) -> dict[tuple[object, object], float]:
    """The least covered component of each (hour, node)."""
    coverage: dict[tuple[object, object], float] = {}
    for key, ratio in zip(_keys(nodes), values(nodes, "coverage_ratio"), strict=True):
        coverage[key] = min(coverage.get(key, 1.0), ratio)
    return coverage


def _only(table: pa.Table, keys: set[tuple[object, object]], *, kept: bool) -> pa.Table:
    return table.filter(pa.array([(key in keys) is kept for key in _keys(table)], pa.bool_()))
