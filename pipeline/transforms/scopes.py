"""Hosts and their guests: one machine read twice, and counted once.

A guest's joules are part of its host's, so per (hour, component group) either the host accounts or its guests do. To be
asked of an hour's final figures: which side is better known may change when the hour is folded again.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import pyarrow as pa

from pipeline.checks import SCOPES, Remark
from pipeline.tables import values
from pipeline.transforms.accounting import COMPONENTS, COVERAGE_TIE, GROUP_OF, Place
from pipeline.transforms.energy import Energy


@dataclass(frozen=True, slots=True)
class Host:
    """A machine, the nodes on it, and which of the two shall account."""

    node: str
    guests: tuple[str, ...]
    count: Literal["host", "guests"]


class _Reading(NamedTuple):
    """What a node's meters say of a place; joules None where nothing could be joined."""

    coverage_ratio: float
    joules: float | None


def counted_once(energy: Energy, hosts: Sequence[Host]) -> Energy:
    """`energy` without the side of each host and its guests that does not account; what is left out is remarked upon.

    With `count = "host"` the host accounts where it covers the hour as well as its best covered guest. Where it does
    not, both are less than the machine used, and the greater accounts. With `count = "guests"` the guests account where
    any of them has energy.
    """
    if not hosts:
        return energy
    readings = _readings(energy.nodes)
    places = sorted({(place.hour_utc, place.group) for place in readings})
    left: set[Place] = set()
    remarks: list[Remark] = []
    for host in hosts:
        for hour, group in places:
            own = readings.get(Place(hour, host.node, group), _Reading(0.0, None))
            guests = {g: readings[at] for g in host.guests if (at := Place(hour, g, group)) in readings}
            if own.joules is None or all(guest.joules is None for guest in guests.values()):
                continue
            if _host_accounts(host, own, list(guests.values())):
                left |= {Place(hour, guest, group) for guest in guests}
                text = f"inside {host.node}'s reading"
                remarks += [Remark(SCOPES, g, held.joules, text) for g, held in guests.items() if held.joules]
            else:
                left.add(Place(hour, host.node, group))
                kept = math.fsum(guest.joules or 0.0 for guest in guests.values())
                text = "its guests account" if host.count == "guests" else "its guests are better covered"
                remarks.append(Remark(SCOPES, host.node, own.joules, text, max(0.0, own.joules - kept)))
    return replace(
        energy,
        rows=_without(energy.rows, left),
        nodes=_without(energy.nodes, left),
        withheld=_without(energy.withheld, left),
        processes=_without(energy.processes, left),
        remarks=(*energy.remarks, *remarks),
    )


def _host_accounts(host: Host, own: _Reading, guests: Sequence[_Reading]) -> bool:
    """Which side accounts, where both have energy."""
    if host.count == "guests":
        return False
    best = max(guest.coverage_ratio for guest in guests if guest.joules is not None)
    kept = math.fsum(guest.joules or 0.0 for guest in guests)
    return own.coverage_ratio >= best - COVERAGE_TIE or (own.joules or 0.0) >= kept


def _readings(nodes: pa.Table) -> dict[Place, _Reading]:
    """Each place's coverage, of its leading component, and its joules."""
    found: dict[Place, list[tuple[int, float, float | None]]] = {}
    names = ("hour_utc", "node", "component", "coverage_ratio", "metered_joules")
    for hour, node, component, coverage, joules in zip(*(values(nodes, name) for name in names), strict=True):
        group = GROUP_OF[component]
        found.setdefault(Place(hour, node, group), []).append((COMPONENTS[group].index(component), coverage, joules))
    return {
        place: _Reading(
            min(held)[1],
            math.fsum(known) if (known := [joules for _, _, joules in held if joules is not None]) else None,
        )
        for place, held in found.items()
    }


def _without(table: pa.Table, left: set[Place]) -> pa.Table:
    """The rows of other places; programs are of processors."""
    components = values(table, "component") if "component" in table.column_names else ["package"] * table.num_rows
    keys = zip(values(table, "hour_utc"), values(table, "node"), components, strict=True)
    return table.filter(pa.array([Place(h, n, GROUP_OF[c]) not in left for h, n, c in keys], pa.bool_()))
