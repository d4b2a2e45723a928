"""The processes table: what programs used, as detail beside the energy rows and never summed with them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.tables import METHOD_VERSION, PROCESSES
from pipeline.transforms.counters import Intervals, StepGrid
from pipeline.units import MS_PER_HOUR
from pipeline.window import Window

TOP = 20
OTHER = "(other)"
PROCESS_ROWS = pa.schema([field for field in PROCESSES if field.name not in ("run_id", "revision")])


class Program(NamedTuple):
    """Processes of one node that look alike, whatever their pids."""

    node: str
    exe: str
    cmdline: str


def process_rows(
    programs: Sequence[Program], used: Intervals, window: Window, cluster: str, meter: str, top: int = TOP
) -> pa.Table:
    """Energy of programs, one row per (hour, node, exe, cmdline), the `top` of each node-hour and the rest in one row.

    The rest is the row with exe `(other)` and no cmdline, so that a node-hour's rows add up to all its processes.
    Programs that used nothing have no row.

    Args:
        programs: whose; equal ones count as one.
        used: joules, `code` numbers `programs`.
        window: the hours wanted.
        cluster: its name.
        meter: whose word it is.
        top: how many programs of a node-hour keep their names; of equal energies the first by name.

    Returns:
        Schema PROCESS_ROWS, sorted by (hour, node, energy falling), `(other)` last.
    """
    distinct = sorted(set(programs))
    number = {program: i for i, program in enumerate(distinct)}
    code = np.array([number[program] for program in programs], dtype=np.int64)
    of_program = Intervals(code[used.code], used.start_ms, used.end_ms, used.joules)
    joules = StepGrid(window.start_ms, MS_PER_HOUR, window.hour_count).spread(of_program, len(distinct))
    rows: list[dict[str, object]] = []
    for index, hour in enumerate(window.hours()):
        shared = {"hour_utc": hour, "cluster": cluster, "meter": meter, "method_version": METHOD_VERSION}
        for node in sorted({program.node for program in distinct}):
            of_node = [i for i, program in enumerate(distinct) if program.node == node and joules[i, index] > 0]
            ranked = sorted(of_node, key=lambda i: (-joules[i, index], distinct[i]))
            for i in ranked[:top]:
                named = {"exe": distinct[i].exe, "cmdline": distinct[i].cmdline}
                rows.append(shared | named | {"node": node, "energy_joules": float(joules[i, index])})
            if ranked[top:]:
                rest = float(joules[ranked[top:], index].sum())
                rows.append(shared | {"node": node, "exe": OTHER, "cmdline": None, "energy_joules": rest})
    return pa.Table.from_pylist(rows, PROCESS_ROWS)
