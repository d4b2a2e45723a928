"""Of several meters of the same energy, one accounts: per node, component group and hour.

Two meters of one machine measure the same joules, even by other names (`psys` holds `package` and `dram`): so a group
of components is taken whole from one meter or not at all. The others become the cross-check.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa

from pipeline.equality import key_ids
from pipeline.tables import values
from pipeline.transforms.energy import NOTHING, Energy
from pipeline.transforms.sheet import IMPLAUSIBLE

Group: TypeAlias = Literal["cpu", "gpu"]
NodeMeter: TypeAlias = tuple[datetime, str, str]  # in an hour: its node and component

# The components of a group; the coverage of the first that a meter has is the group's.
COMPONENTS: dict[Group, tuple[str, ...]] = {"cpu": ("package", "psys", "other", "dram"), "gpu": ("gpu",)}
GROUP_OF: dict[str, Group] = {component: group for group, held in COMPONENTS.items() for component in held}
COVERAGE_TIE = 0.01 + 1e-9  # coverages this near are equal: then the order of the config decides
WHOLE_RATIO = 0.99  # two meters are compared over hours that both cover


class Place(NamedTuple):
    """What one meter accounts for: a component group of a node in an hour."""

    hour_utc: datetime
    node: str
    group: Group


class Candidate(NamedTuple):
    """One meter's offer for a place.

    Attributes:
        meter: its name.
        coverage_ratio: of the group's leading component.
        metered_joules: by component; None where nothing could be joined.
    """

    meter: str
    coverage_ratio: float
    metered_joules: dict[str, float | None]


def choose(energies: Mapping[str, Energy], orders: Mapping[Group, Sequence[str]]) -> Energy:
    """The energy of the accounting meters alone, the best of the others beside it as cross-check.

    Args:
        energies: what each meter's fold of the same hours gave, by meter.
        orders: the meters of each group, the most trusted first; a meter outside the order has no say in that group.

    Returns:
        All rows of each (hour, node, group) from exactly one meter.
    """
    offered = candidates(energies, orders)
    chosen = {place: accounting(offers) for place, offers in offered.items()}
    parts = [of_places(energy, {p for p, of in chosen.items() if of == name}) for name, energy in energies.items()]
    joined = Energy(
        rows=pa.concat_tables([NOTHING.rows, *(part.rows for part in parts)]),
        nodes=pa.concat_tables([NOTHING.nodes, *(part.nodes for part in parts)]),
        withheld=pa.concat_tables([NOTHING.withheld, *(part.withheld for part in parts)]),
        unmetered=sorted(set(_unmetered(energies, orders, chosen))),
        processes=pa.concat_tables([NOTHING.processes, *(part.processes for part in parts)]),
        faults=tuple(fault for energy in energies.values() for fault in energy.faults),
    )
    return replace(joined, nodes=_cross_checked(joined.nodes, offered))


def with_refused(energy: Energy, refused: pa.Table) -> Energy:
    """`energy` with what a meter's own fold did not believe: quarantine rows of node meters, schema WITHHELD."""
    if refused.num_rows == 0:
        return energy
    joules: dict[NodeMeter, float] = {}
    for place, refused_joules in zip(_node_meters(refused), values(refused, "energy_joules"), strict=True):
        joules[place] = joules.get(place, 0.0) + (refused_joules or 0.0)
    nodes = energy.nodes
    left_out = [joules.get(place, 0.0) for place in _node_meters(nodes)]
    held = zip(values(nodes, "quarantined_joules"), left_out, strict=True)
    failed = zip(values(nodes, "check"), left_out, strict=True)
    nodes = _with(nodes, "quarantined_joules", [before + out for before, out in held])
    nodes = _with(nodes, "check", [check or (IMPLAUSIBLE if out > 0 else None) for check, out in failed])
    return replace(energy, nodes=nodes, withheld=pa.concat_tables([energy.withheld, refused]))


def candidates(energies: Mapping[str, Energy], orders: Mapping[Group, Sequence[str]]) -> dict[Place, list[Candidate]]:
    """Which meters read each place, in the group's order."""
    found: dict[Place, dict[str, list[tuple[str, float, float | None]]]] = {}
    for name, energy in energies.items():
        for row in energy.nodes.select(
            ["hour_utc", "node", "component", "coverage_ratio", "metered_joules"]
        ).to_pylist():
            group = GROUP_OF[row["component"]]
            if name in orders[group]:
                place = Place(row["hour_utc"], row["node"], group)
                offer = (row["component"], row["coverage_ratio"], row["metered_joules"])
                found.setdefault(place, {}).setdefault(name, []).append(offer)
    return {
        place: [_candidate(name, offers[name], place.group) for name in orders[place.group] if name in offers]
        for place, offers in found.items()
    }


def _candidate(meter: str, offers: list[tuple[str, float, float | None]], group: Group) -> Candidate:
    lead = min(offers, key=lambda offer: COMPONENTS[group].index(offer[0]))
    return Candidate(meter, lead[1], {component: joules for component, _, joules in offers})


def accounting(offers: Sequence[Candidate]) -> str:
    """The meter that accounts: the first of those covered as well as the best."""
    best = max(offer.coverage_ratio for offer in offers)
    return next(offer.meter for offer in offers if offer.coverage_ratio >= best - COVERAGE_TIE)


def cross_check(ours: Candidate, offers: Sequence[Candidate]) -> tuple[str, float] | None:
    """The best covered other meter and its joules over ours, of the components that both meter.

    None where there is no other, or where the two cannot be compared: a hole in either, or nothing in common (`psys`
    and `package` are different boundaries).
    """
    others = [offer for offer in offers if offer.meter != ours.meter]
    other = max(others, key=lambda offer: offer.coverage_ratio, default=None)
    if other is None or min(ours.coverage_ratio, other.coverage_ratio) < WHOLE_RATIO:
        return None
    both = sorted(_shared(ours, other))
    mine, theirs = (math.fsum(of.metered_joules[c] or 0.0 for c in both) for of in (ours, other))
    return (other.meter, theirs / mine) if both and mine > 0 else None


def _shared(one: Candidate, other: Candidate) -> set[str]:
    return {c for c, joules in one.metered_joules.items() if joules and other.metered_joules.get(c) is not None}


def _cross_checked(nodes: pa.Table, offered: Mapping[Place, Sequence[Candidate]]) -> pa.Table:
    """`nodes` with the second meter's ratio where there is one; the register's stays elsewhere."""
    if all(len(offers) == 1 for offers in offered.values()):
        return nodes
    cross_meter, cross_ratio = values(nodes, "cross_meter"), values(nodes, "cross_ratio")
    for row, ((hour, node, component), meter) in enumerate(
        zip(_node_meters(nodes), values(nodes, "meter"), strict=True)
    ):
        offers = offered[Place(hour, node, GROUP_OF[component])]
        ours = next(offer for offer in offers if offer.meter == meter)
        check = cross_check(ours, offers)
        if check is not None and component in _shared(ours, next(o for o in offers if o.meter == check[0])):
            cross_meter[row], cross_ratio[row] = check
    return _with(_with(nodes, "cross_meter", cross_meter), "cross_ratio", cross_ratio)


def _node_meters(table: pa.Table) -> list[NodeMeter]:
    """Of each row."""
    return list(zip(*(values(table, name) for name in ("hour_utc", "node", "component")), strict=True))


def _with(table: pa.Table, name: str, column: Sequence[object]) -> pa.Table:
    field = table.schema.field(name)
    return table.set_column(table.schema.get_field_index(name), field, pa.array(column, field.type))


def of_places(energy: Energy, places: set[Place]) -> Energy:
    """What a fold says of some places; programs are of processors."""
    names = ("rows", "nodes", "withheld", "processes")
    tables: dict[str, Any] = {name: _of_places(getattr(energy, name), places) for name in names}
    return replace(energy, **tables)


def _of_places(table: pa.Table, places: set[Place]) -> pa.Table:
    """The rows of these places, looked up once a place; nothing is copied where these are all."""
    if table.num_rows == 0:
        return table
    columns = [name for name in ("hour_utc", "node", "component") if name in table.column_names]
    (number,) = key_ids([table], columns)
    first = np.unique(number, return_index=True)[1]
    keys = table.select(columns).take(first).to_pylist()
    held = [Place(key["hour_utc"], key["node"], GROUP_OF[key.get("component", "package")]) in places for key in keys]
    return table if all(held) else table.filter(pa.array(np.array(held, dtype=np.bool_)[number]))


def _unmetered(
    energies: Mapping[str, Energy], orders: Mapping[Group, Sequence[str]], chosen: Mapping[Place, str]
) -> Iterator[tuple[datetime, str]]:
    """Hours of nodes with consumers of a meter that reads them not, unless another meter reads the same group there."""
    for name, energy in energies.items():
        groups = {group for group, order in orders.items() if name in order}
        read = {(place.hour_utc, place.node) for place in chosen if place.group in groups}
        yield from (place for place in energy.unmetered if place not in read)
