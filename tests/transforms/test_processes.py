"""The processes table adds up, whatever its length."""

import numpy as np
import pytest

from pipeline.tables import PROCESSES
from pipeline.transforms.counters import Intervals
from pipeline.transforms.processes import OTHER, Program, process_rows
from pipeline.transforms.scaphandre_faults import used_by_programs
from tests.transforms.made import START, stamp_ms, window_of
from tests.transforms.made_scaphandre import POD, MadeScaphandre, flat, register
from tests.transforms.test_scaphandre import AT

PROGRAMS = [
    Program("n1", "java", "a"),
    Program("n1", "java", "b"),
    Program("n1", "sh", "c"),
    Program("n2", "java", "a"),
]


def spent(*entries: tuple[int, float, float, float]) -> Intervals:
    """(program, begin second, end second, joules)."""
    code, begin, end, joules = zip(*entries, strict=True)
    stamps = (np.array([stamp_ms(second) for second in part], dtype=np.int64) for part in (begin, end))
    return Intervals(np.array(code), *stamps, np.array(joules, dtype=np.float64))


USED = spent((0, 0, 30, 5), (1, 0, 30, 7), (2, 0, 30, 1), (3, 3570, 3630, 60), (0, 30, 60, 4))


def test_a_tail_beyond_the_top_is_one_row_and_a_node_hour_adds_up() -> None:
    rows = process_rows(PROGRAMS, USED, window_of(0, 2), "demo", "scaphandre", top=1).to_pylist()
    assert [(r["hour_utc"] == START, r["node"], r["exe"], r["cmdline"], r["energy_joules"]) for r in rows] == [
        (True, "n1", "java", "a", 9), (True, "n1", OTHER, None, 8), (True, "n2", "java", "a", 30),
        (False, "n2", "java", "a", 30),
    ]  # fmt: skip


def test_equal_programs_are_one_and_ties_go_by_name() -> None:
    twins = [Program("n1", "z", ""), Program("n1", "b", ""), Program("n1", "z", ""), Program("n1", "a", "")]
    used = spent((0, 0, 30, 1), (1, 0, 30, 2), (2, 0, 30, 1), (3, 0, 30, 2))
    rows = process_rows(twins, used, window_of(0, 1), "demo", "kepler").to_pylist()
    assert [(row["exe"], row["energy_joules"], row["meter"]) for row in rows] == [
        ("a", 2, "kepler"), ("b", 2, "kepler"), ("z", 2, "kepler"),
    ]  # fmt: skip


def test_what_used_nothing_has_no_row_and_the_schema_is_the_tables_own() -> None:
    table = process_rows(PROGRAMS, spent((0, 0, 30, 0.0)), window_of(0, 1), "demo", "scaphandre")
    assert table.num_rows == 0
    assert [*table.schema.names, "run_id", "revision"] == PROCESSES.names


def test_scaphandre_processes_are_packages_and_dram_together() -> None:
    made = MadeScaphandre().version(1.02, AT).socket(register(100, AT)).dram(register(20, AT, wraps=65_712.999613))
    made.process(1, flat(12, AT), "kubelet").process(2, flat(24, AT), **POD).process(3, flat(3, AT), **POD)
    rows = process_rows(*used_by_programs(made.usage()), window_of(0, 1), "demo", "scaphandre").to_pylist()
    assert [(row["exe"], row["energy_joules"]) for row in rows] == [
        ("app", pytest.approx(27 * 3600)), ("kubelet", pytest.approx(12 * 3600)),
    ]  # fmt: skip
    nodes = made.fold().nodes.to_pylist()
    assert sum(row["energy_joules"] for row in rows) == pytest.approx(
        sum(row["workload_joules"] + row["system_joules"] for row in nodes)
    )
