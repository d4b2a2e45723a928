"""An hour folded again never knows less than before."""

from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest

from pipeline.tables import EMISSIONS, NODE_ENERGY, PROCESSES, QUARANTINE
from pipeline.transforms.energy import Energy
from pipeline.transforms.refold import better_covered
from pipeline.transforms.sheet import ENERGY, NODES, WITHHELD
from tests.transforms.made import START

LATER = START + timedelta(hours=1)

Fold = tuple[pa.Table, pa.Table, pa.Table]


def fold(*nodes: tuple[Any, ...], stored: bool = False) -> Fold:
    """One system row and one node row a (hour, node, component, coverage, joules)."""
    rows = [
        {"hour_utc": h, "node": n, "component": c, "coverage_ratio": k, "kind": "system", "energy_joules": j}
        for h, n, c, k, j in nodes
    ]
    metered = [
        {"hour_utc": h, "node": n, "component": c, "coverage_ratio": k, "metered_joules": j} for h, n, c, k, j in nodes
    ]
    withheld = [{"hour_utc": h, "node": n, "component": c, "energy_joules": j} for h, n, c, _, j in nodes]
    schemas = (EMISSIONS, NODE_ENERGY, QUARANTINE) if stored else (ENERGY, NODES, WITHHELD)
    tables = (pa.Table.from_pylist(t, s) for t, s in zip((rows, metered, withheld), schemas, strict=True))
    return tuple(tables)


def kept(new: Fold, old: Fold) -> dict[tuple[Any, ...], float]:
    energy = better_covered(Energy(*new, []), *old, PROCESSES.empty_table())
    assert (energy.rows.schema, energy.nodes.schema, energy.withheld.schema) == (ENERGY, NODES, WITHHELD)
    of_rows, of_nodes, of_withheld = (
        {(r["hour_utc"], r["node"], r["component"]): r[amount] for r in table.to_pylist()}
        for table, amount in (
            (energy.rows, "energy_joules"),
            (energy.nodes, "metered_joules"),
            (energy.withheld, "energy_joules"),
        )
    )
    assert of_rows == of_nodes == of_withheld
    assert len(of_rows) == energy.rows.num_rows
    return of_rows


@pytest.mark.parametrize(
    ("new", "old", "joules"),
    [
        (0.5, 1.0, 1.0),  # raw samples have expired since
        (1.0, 0.5, 2.0),
        (0.9, 0.9, 2.0),  # a tie goes to the new: another name, another owner
        (0.9, 0.9 + 1e-9, 2.0),  # rounding is a tie
    ],
)
def test_the_better_covered_fold_stays(new: float, old: float, joules: float) -> None:
    found = kept(fold((START, "n1", "package", new, 2.0)), fold((START, "n1", "package", old, 1.0), stored=True))
    assert found == {(START, "n1", "package"): joules}


def test_nodes_and_hours_are_judged_apart() -> None:
    new = fold(
        (START, "n1", "package", 0.2, 2.0), (START, "n2", "package", 1.0, 2.0), (LATER, "n1", "package", 1.0, 2.0)
    )
    old = fold(
        (START, "n1", "package", 1.0, 1.0),
        (START, "n2", "package", 0.9, 1.0),
        (LATER, "n1", "package", 0.5, 1.0),
        stored=True,
    )
    assert kept(new, old) == {
        (START, "n1", "package"): 1.0,
        (START, "n2", "package"): 2.0,
        (LATER, "n1", "package"): 2.0,
    }


def test_a_node_that_is_gone_from_the_samples_keeps_its_figures() -> None:
    new, old = fold((START, "n2", "package", 1.0, 2.0)), fold((START, "n1", "package", 0.7, 1.0), stored=True)
    assert kept(new, old) == {(START, "n1", "package"): 1.0, (START, "n2", "package"): 2.0}


def test_a_fold_that_finds_nothing_any_more_changes_nothing() -> None:
    new, old = fold(), fold((START, "n1", "package", 0.5, 1.0), stored=True)
    assert kept(new, old) == {(START, "n1", "package"): 1.0}


def test_the_components_of_a_node_stay_together_and_the_worst_decides() -> None:
    new = fold((START, "n1", "package", 1.0, 2.0), (START, "n1", "dram", 0.1, 2.0))
    old = fold((START, "n1", "package", 0.8, 1.0), (START, "n1", "dram", 0.8, 1.0), stored=True)
    assert kept(new, old) == {(START, "n1", "package"): 1.0, (START, "n1", "dram"): 1.0}


def test_nothing_stored_changes_nothing() -> None:
    assert kept(fold((START, "n1", "package", 0.1, 2.0)), fold(stored=True)) == {(START, "n1", "package"): 2.0}
