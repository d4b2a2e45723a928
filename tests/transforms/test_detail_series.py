"""What stands behind a published hour: nodes as they were metered, programs, and what null does to them."""

from typing import Any

import pyarrow as pa
import pytest

from pipeline.sinks.published_series import DISPLAY_SERIES, REVISED_SERIES
from pipeline.tables import NODE_ENERGY, PROCESSES
from pipeline.transforms.detail_series import MAX_PROGRAMS, published_hour
from pipeline.transforms.series import hour_series
from tests.transforms.test_series import HOUR, emissions, one, row

COMMIT = {"run_id": "fold", "revision": 1}
BASE = {"hour_utc": HOUR, "cluster": "prod", "node": "n1", **COMMIT}
PRICED = emissions(row(**COMMIT), row(node="n2", **COMMIT))


def node_energy(*rows: dict[str, Any]) -> pa.Table:
    metered = {"component": "package", "meter": "kepler", "metered_joules": 90.0, "coverage_ratio": 0.5}
    empty = dict.fromkeys(NODE_ENERGY.names)
    return pa.Table.from_pylist([empty | BASE | metered | {"expected_ratio": 1.0} | one for one in rows], NODE_ENERGY)


def processes(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist([dict.fromkeys(PROCESSES.names) | BASE | one for one in rows], PROCESSES)


def details(nodes: pa.Table, programs: pa.Table) -> dict[Any, float]:
    """What is added to the hour's other series, which stay as they are."""
    samples, plain = published_hour(PRICED, nodes, programs, 10), hour_series(PRICED, 10)
    assert plain.items() <= samples.items()
    return {key: value for key, value in samples.items() if key not in plain}


def test_a_node_says_what_its_meter_counted_and_for_how_long() -> None:
    found = details(node_energy({"residual_joules": -2.0}, {"component": "dram", "metered_joules": 9.0}), processes())
    assert one(found, "carbon_node_metered_joules", component="package", meter="kepler", node="n1") == 90.0
    assert one(found, "carbon_node_metered_joules", component="dram") == 9.0
    assert one(found, "carbon_node_residual_joules", cluster="prod") == -2.0  # dram's is null: no sample
    assert one(found, "carbon_node_covered_seconds", component="dram") == 1800.0
    assert one(found, "carbon_node_expected_seconds", component="dram") == 3600.0


def test_what_a_node_does_not_know_has_no_sample() -> None:
    unknown = {"metered_joules": None, "coverage_ratio": None, "expected_ratio": None}
    assert details(node_energy(unknown), processes()) == {}


def test_command_lines_of_a_program_are_one_series() -> None:
    programs = processes(
        {"exe": "java", "cmdline": "java -jar a", "energy_joules": 3.0},
        {"exe": "java", "cmdline": "java -jar b", "energy_joules": 4.0},
        {"exe": "java", "node": "n2", "energy_joules": 5.0},
        {"exe": "(other)", "energy_joules": 1.0},
    )
    found = details(node_energy(), programs)
    assert one(found, "carbon_process_energy_joules", exe="java", node="n1") == 7.0
    assert one(found, "carbon_process_energy_joules", exe="java", node="n2") == 5.0
    assert one(found, "carbon_process_energy_joules", exe="(other)") == 1.0


def test_the_tail_of_programs_is_other_of_its_node_and_nothing_is_lost() -> None:
    count = MAX_PROGRAMS + 3
    programs = processes(*({"exe": f"p{n:04}", "energy_joules": float(1 + n)} for n in range(count)))
    found = details(node_energy(), programs)
    assert len(found) == MAX_PROGRAMS + 1
    assert one(found, "carbon_process_energy_joules", exe="(other)") == 1.0 + 2.0 + 3.0
    assert sum(found.values()) == count * (count + 1) / 2


@pytest.mark.parametrize("other", [{"run_id": "killed"}, {"revision": 2}])
def test_rows_of_a_commit_that_never_happened_are_left_out(other: dict[str, Any]) -> None:
    nodes, programs = node_energy({} | other), processes({"exe": "java", "energy_joules": 3.0} | other)
    assert details(nodes, programs) == {}


def test_every_detail_has_exactly_the_labels_that_the_publisher_looks_for() -> None:
    nodes = node_energy({"residual_joules": 1.0}, {"component": None, "meter": None, "node": "n2"})
    found = details(nodes, processes({"exe": None, "energy_joules": 1.0}))
    known = {**REVISED_SERIES, **DISPLAY_SERIES}
    for metric, labels in found:
        assert tuple(name for name, _ in labels) == known[metric]
        assert all(value for _, value in labels)
    of_emissions = {metric for metric, _ in hour_series(PRICED, 10)}
    assert {metric for metric, _ in found} | of_emissions == set(known)
