"""Workloads that only another replica saw whole: moved out of what a node used beside its workloads.

Any scrape of Kepler takes what has ended off its list, so of two replicas one misses a workload's last total; and each
has scrapes that the other missed. The node's own sum is the accounting replica's and stays: a workload's joules go from
`system`, or from the residual where a meter tells its system, step by step and never more than is there.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.equality import key_ids
from pipeline.samples import Bools, Floats, Int64s
from pipeline.transforms.accounting import COVERAGE_TIE
from pipeline.transforms.energy import Energy
from pipeline.transforms.sheet import ENERGY

CELL = ("hour_utc", "node", "component")  # one node meter in an hour
IDENTITY = (*CELL, "who", "container")
NAMES = ("namespace", "pod", "workload_kind", "workload", "owner_source")


def with_unseen(energy: Energy, others: Sequence[Energy]) -> Energy:
    """`energy`, all of it from accounting replicas, with what others alone know of its workloads; sums of nodes stay.

    A workload that the accounting replica did not see is taken over. Of one that it did see, another's figure replaces
    its own where that covers the node as well and has less of an estimated tail: there a last total was seen.

    Args:
        energy: of each (hour, node, component group) by one replica.
        others: of the same places by others, those first that are believed first at equal coverage.
    """
    seen = [part for order, other in enumerate(others) if (part := _seen(energy, other, order)).num_rows]
    return _moved(energy, _best(pa.concat_tables(seen))) if seen else energy


def _seen(energy: Energy, other: Energy, order: int) -> pa.Table:
    """Rows of another replica that are better than none, or than those of the accounting one."""
    theirs = _workloads(other.rows)
    place = _positions(theirs, energy.nodes, CELL)
    sound = _valid(other.nodes, "check")[_positions(theirs, other.nodes, CELL)] == 0
    sound &= (
        (place >= 0)
        & (_valid(energy.nodes, "check")[place] == 0)
        & (_floats(energy.nodes, "metered_joules")[place] > 0)
    )
    ours = _workloads(energy.rows)
    mine = _positions(theirs, ours, IDENTITY)
    as_well = _floats(theirs, "coverage_ratio") >= _floats(energy.nodes, "coverage_ratio")[place] - COVERAGE_TIE
    better = as_well & (_floats(theirs, "tail_joules") < np.append(_floats(ours, "tail_joules"), 0.0)[mine])
    chosen = theirs.filter(pa.array(sound & ((mine < 0) | better)))
    return chosen.append_column("order", pa.repeat(order, chosen.num_rows))


def _best(seen: pa.Table) -> pa.Table:
    """One row a workload: nothing estimated comes first, then the better covered, then the order of the replicas."""
    (number,) = key_ids([seen], IDENTITY)
    ranks = (_floats(seen, "order"), -_floats(seen, "coverage_ratio"), _floats(seen, "tail_joules"), number)
    order = np.lexsort(ranks)
    first = np.append(True, np.diff(number[order]) > 0)
    return seen.take(order[first])


def _moved(energy: Energy, theirs: pa.Table) -> Energy:
    """See `with_unseen`."""
    rows, nodes = energy.rows, energy.nodes
    kinds = rows["kind"].to_numpy()
    workloads, systems = (np.flatnonzero(kinds == kind) for kind in ("workload", "system"))
    mine = _positions(theirs, _workloads(rows), IDENTITY)
    mine = np.where(mine >= 0, np.append(workloads, -1)[mine], -1)
    system = _positions(nodes, rows.take(systems), CELL)
    system = np.where(system >= 0, np.append(systems, -1)[system], -1)
    place = _positions(theirs, nodes, CELL)
    steps = _steps(rows)
    nothing = np.zeros((1, steps.shape[1]))
    held = np.concatenate((steps, nothing))  # row -1 holds nothing
    delta = _steps(theirs) - held[mine]
    wanted = np.zeros((nodes.num_rows, steps.shape[1]))
    np.add.at(wanted, place, delta)
    share = _share(nodes, wanted, held[system])
    taken = wanted * share
    grown = np.maximum(held[mine] + delta * share[place], 0.0)
    from_system = (_valid(nodes, "residual_joules") == 0) & (system >= 0)
    steps[system[from_system]] = np.maximum(steps[system[from_system]] - taken[from_system], 0.0)
    kept = np.ones(rows.num_rows, dtype=np.bool_)
    kept[mine[mine >= 0]] = False
    touched = np.zeros(rows.num_rows, dtype=np.bool_)
    touched[system[from_system]] = True
    taken_over = _named(theirs, rows, mine)
    taken_over = _with(taken_over, "coverage_ratio", _floats(nodes, "coverage_ratio")[place])
    tails = np.append(_floats(rows, "tail_joules"), 0.0)[mine]
    tails += _part(delta, share[place]) * (_floats(theirs, "tail_joules") - tails)
    taken_over = _stepped(_with(taken_over, "tail_joules", tails), grown, np.ones(len(grown), dtype=np.bool_))
    there = (mine >= 0) | (grown.sum(axis=1) > 0)
    return replace(
        energy,
        rows=pa.concat_tables(
            [_stepped(rows, steps, touched).filter(pa.array(kept)), taken_over.filter(pa.array(there))]
        ),
        nodes=_balanced(nodes, taken.sum(axis=1)),
    )


def _share(nodes: pa.Table, wanted: Floats, system: Floats) -> Floats:
    """Of what is wanted of each node meter in each step, how much there is room for; shape (nodes, steps).

    Room is in system step by step where that is the remainder, else in the hour's residual.
    """
    residual, total = _floats(nodes, "residual_joules")[:, None], wanted.sum(axis=1, keepdims=True)
    fits = np.where(np.isnan(residual), _fitting(wanted, system), _fitting(total, np.nan_to_num(residual)))
    return np.asarray(fits, dtype=np.float64)


def _fitting(wanted: Floats, room: Floats) -> Floats:
    share: Floats = np.divide(
        np.maximum(room, 0.0), wanted, out=np.ones_like(wanted), where=wanted > np.maximum(room, 0.0)
    )
    return share


def _part(delta: Floats, share: Floats) -> Floats:
    """Which part of each row's move was made, over all its steps."""
    weight = np.abs(delta).sum(axis=1)
    made: Floats = np.divide((np.abs(delta) * share).sum(axis=1), weight, out=np.ones(len(weight)), where=weight > 0)
    return made


def _balanced(nodes: pa.Table, taken: Floats) -> pa.Table:
    """Node rows after `taken` joules went to workloads."""
    residual = _floats(nodes, "residual_joules")
    nodes = _with(nodes, "workload_joules", _floats(nodes, "workload_joules") + taken)
    system = _floats(nodes, "system_joules")
    left = np.where(np.isnan(residual), np.where(taken != 0, np.maximum(system - taken, 0.0), system), system)
    return _with(_with(nodes, "system_joules", left), "residual_joules", residual - taken)


def _named(theirs: pa.Table, rows: pa.Table, mine: Int64s) -> pa.Table:
    """Their rows as energy rows, under our names where they know none."""
    nameless = pc.and_(pc.is_null(theirs["pod"]), pa.array(mine >= 0))
    named = theirs.select(ENERGY.names)
    for name in NAMES:
        ours = rows[name].take(pa.array(mine, pa.int64(), mask=mine < 0))
        column = ENERGY.get_field_index(name)
        named = named.set_column(column, ENERGY.field(name), pc.if_else(nameless, ours, theirs[name]))
    return named


def _workloads(rows: pa.Table) -> pa.Table:
    """Rows of workloads with `who` they are: a pod's UID, whatever the pod is called; a guest's name."""
    rows = rows.filter(pc.equal(rows["kind"], pa.scalar("workload")))
    join: Any = pc.binary_join_element_wise
    guest = join(rows["workload_kind"], rows["workload"], "/", null_handling="replace")
    return rows.append_column("who", pc.if_else(pc.is_valid(rows["pod_uid"]), rows["pod_uid"], guest))


def _positions(wanted: pa.Table, known: pa.Table, key: Sequence[str]) -> Int64s:
    """Row of `known`, unique in `key`, that has the key of each row of `wanted`; -1 where none has."""
    if known.num_rows == 0 or wanted.num_rows == 0:
        return np.full(wanted.num_rows, -1, dtype=np.int64)
    ids, known_ids = key_ids([wanted, known], key)
    place = np.full(max(int(ids.max()), int(known_ids.max())) + 1, -1, dtype=np.int64)
    place[known_ids] = np.arange(known.num_rows)
    return np.asarray(place[ids], dtype=np.int64)


def _steps(rows: pa.Table) -> Floats:
    """Joules step by step, shape (rows, steps); of hours without steps one."""
    lists = rows["step_joules"].combine_chunks()
    if lists.null_count == len(lists):
        return _floats(rows, "energy_joules").reshape(-1, 1).copy()
    flat: Any = pc.list_flatten(lists)
    return np.array(flat.to_numpy(zero_copy_only=False)).reshape(len(lists), -1)


def _stepped(rows: pa.Table, steps: Floats, touched: Bools) -> pa.Table:
    """Rows with those steps, and their sums where they were touched."""
    energy = np.where(touched, steps.sum(axis=1), _floats(rows, "energy_joules"))
    rows = _with(rows, "energy_joules", energy)
    if rows["step_joules"].null_count == rows.num_rows:
        return rows
    field = rows.schema.field("step_joules")
    offsets = pa.array(np.arange(rows.num_rows + 1) * steps.shape[1], pa.int32())
    lists = pa.ListArray.from_arrays(offsets, pa.array(steps.ravel())).cast(field.type)
    return rows.set_column(rows.schema.get_field_index("step_joules"), field, lists)


def _with(table: pa.Table, name: str, numbers: Floats) -> pa.Table:
    """The table with these numbers in a column, NaN as null."""
    field = table.schema.field(name)
    return table.set_column(table.schema.get_field_index(name), field, pa.array(numbers, field.type, from_pandas=True))


def _floats(table: pa.Table, name: str) -> Floats:
    """A column of numbers, null as NaN."""
    return np.asarray(table[name].to_numpy(), dtype=np.float64)


def _valid(table: pa.Table, name: str) -> Bools:
    return np.asarray(pc.is_valid(table[name]).to_numpy(), dtype=np.bool_)
