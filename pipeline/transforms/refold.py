"""An hour folded again: of the stored and the new figures of a node, the better covered stay.

Raw samples expire; folding an hour again after they did must never lower what is known of it.
"""

from dataclasses import replace

import pyarrow as pa

from pipeline.tables import values
from pipeline.transforms.accounting import GROUP_OF, Place
from pipeline.transforms.energy import Energy

COVERAGE_TOLERANCE = 1e-6  # the same samples give the same coverage; anything more is a real difference


def better_covered(
    new: Energy, old_rows: pa.Table, old_nodes: pa.Table, old_quarantine: pa.Table, old_processes: pa.Table
) -> Energy:
    """Per (hour, node, component group) the rows of the better covered fold; ties go to the new one.

    Args:
        new: the new fold of some hours.
        old_rows: stored emissions rows of the same hours.
        old_nodes: stored node_energy rows of the same hours.
        old_quarantine: stored quarantine rows of the same hours.
        old_processes: stored processes rows of the same hours.
    """
    new_coverage, old_coverage = _coverage(new.nodes), _coverage(old_nodes)
    stays = {key for key, ratio in old_coverage.items() if ratio > new_coverage.get(key, -1.0) + COVERAGE_TOLERANCE}

    def merged(fresh: pa.Table, stored: pa.Table) -> pa.Table:
        kept = _only(stored.select(fresh.column_names), stays, kept=True)
        return pa.concat_tables([_only(fresh, stays, kept=False), kept])

    if not stays:
        return new
    return replace(
        new,
        rows=merged(new.rows, old_rows),
        nodes=merged(new.nodes, old_nodes),
        withheld=merged(new.withheld, old_quarantine),
        processes=merged(new.processes, old_processes),
    )


def _keys(table: pa.Table) -> list[Place]:
    """Which place each row is of; programs are of processors."""
    if "component" not in table.column_names:
        return [Place(h, n, "cpu") for h, n in zip(values(table, "hour_utc"), values(table, "node"), strict=True)]
    keys = zip(values(table, "hour_utc"), values(table, "node"), values(table, "component"), strict=True)
    return [Place(hour, node, GROUP_OF[component]) for hour, node, component in keys]


def _coverage(nodes: pa.Table) -> dict[Place, float]:
    """The least covered component of each place."""
    coverage: dict[Place, float] = {}
    for key, ratio in zip(_keys(nodes), values(nodes, "coverage_ratio"), strict=True):
        coverage[key] = min(coverage.get(key, 1.0), ratio)
    return coverage


def _only(table: pa.Table, keys: set[Place], *, kept: bool) -> pa.Table:
    return table.filter(pa.array([(key in keys) is kept for key in _keys(table)], pa.bool_()))
