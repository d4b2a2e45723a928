"""Of several servers that show a node one accounts: per node, component group and hour, whole.

Servers are folded apart, for their clocks differ: united samples of one counter fall and rise again, and each fall is a
reset. Replicas of one shard show the same nodes: the first of those that cover an hour as well as the best accounts,
and what only another of them saw of a workload is moved to it from what the node used beside its workloads. Shards show
different nodes; of a node that two of them show, one accounts and the other's figures are left out.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import pyarrow as pa

from pipeline.checks import SHARDS, Remark
from pipeline.tables import values
from pipeline.transforms.accounting import COVERAGE_TIE, Candidate, Place, accounting, candidates, of_places
from pipeline.transforms.energy import NOTHING, Energy
from pipeline.transforms.platform import NodeHour, PlatformReading
from pipeline.transforms.seen_elsewhere import with_unseen
from pipeline.units import MS_PER_HOUR
from pipeline.window import from_ms


class ServerEnergy(NamedTuple):
    """One meter's energy by one server.

    Attributes:
        number: of the server, in the config's order.
        shard: number of the shard that it is a replica of.
        energy: of some hours.
    """

    number: int
    shard: int
    energy: Energy


class Accounted(NamedTuple):
    """One meter's energy by all servers.

    Attributes:
        energy: all rows of each (hour, node, group) from exactly one server, but for workloads that only another
            replica saw.
        offers: which servers read each place, the meter of an offer being the server's number.
        remarks: nodes that two shards show.
    """

    energy: Energy
    offers: dict[Place, list[Candidate]]
    remarks: tuple[Remark, ...] = ()


def join_servers(parts: Sequence[ServerEnergy], names: Sequence[str]) -> Accounted:
    """One meter's energy by all servers that answered, in the config's order; `names` of all servers of the config.

    Nothing of it depends on the order in which servers answered, nor on other hours.
    """
    parts = sorted(parts)
    order = [str(part.number) for part in parts]
    offers = candidates({str(part.number): part.energy for part in parts}, {"cpu": order, "gpu": order})
    if len(parts) == 1:
        return Accounted(parts[0].energy, offers)
    winner = {place: int(accounting(offered)) for place, offered in offers.items()}
    kept = [of_places(part.energy, {p for p, number in winner.items() if number == part.number}) for part in parts]
    read = {(place.hour_utc, place.node) for place in offers}
    joined = Energy(
        rows=pa.concat_tables([NOTHING.rows, *(part.rows for part in kept)]),
        nodes=pa.concat_tables([NOTHING.nodes, *(part.nodes for part in kept)]),
        withheld=pa.concat_tables([NOTHING.withheld, *(part.withheld for part in kept)]),
        unmetered=sorted({hour_and_node for part in parts for hour_and_node in part.energy.unmetered} - read),
        processes=pa.concat_tables([NOTHING.processes, *(part.processes for part in kept)]),
        faults=tuple(dict.fromkeys(fault for part in parts for fault in part.energy.faults)),
    )
    shard_of = {part.number: part.shard for part in parts}
    return Accounted(_with_unseen(joined, parts, winner), offers, _overlaps(offers, winner, shard_of, names))


def join_meters(
    answers: Iterable[tuple[int, Mapping[str, Energy]]], meters: Sequence[str], shard_of: Sequence[int],
    names: Sequence[str],
) -> dict[str, Accounted]:  # fmt: skip
    """Every meter by all servers that answered, in that order, from each one's number and energies.

    Args:
        answers: of the servers.
        meters: those of the config.
        shard_of: of each server.
        names: of each server.
    """
    parts: dict[str, list[ServerEnergy]] = {}
    for number, energies in answers:
        for meter, energy in energies.items():
            parts.setdefault(meter, []).append(ServerEnergy(number, shard_of[number], energy))
    return {meter: join_servers(parts[meter], names) for meter in meters if meter in parts}


def _with_unseen(joined: Energy, parts: Sequence[ServerEnergy], winner: Mapping[Place, int]) -> Energy:
    """`joined` with what other replicas alone saw of workloads."""
    shard_of = {part.number: part.shard for part in parts}
    others = []
    for part in parts:
        passed_over = {p for p, n in winner.items() if n != part.number and shard_of[n] == part.shard}
        if passed_over:
            others.append(of_places(part.energy, passed_over))
    return with_unseen(joined, others)


def _overlaps(
    offers: dict[Place, list[Candidate]], winner: dict[Place, int], shard_of: dict[int, int], names: Sequence[str]
) -> tuple[Remark, ...]:
    """What is left out because another shard shows the same node; lost where both together cover no more than it."""
    remarks = []
    for place, offered in sorted(offers.items()):
        ours = next(offer for offer in offered if int(offer.meter) == winner[place])
        others = {shard_of[int(offer.meter)] for offer in offered} - {shard_of[winner[place]]}
        for shard in sorted(others):
            theirs = max((o for o in offered if shard_of[int(o.meter)] == shard), key=lambda o: o.coverage_ratio)
            joules = sum(value or 0.0 for _, value in sorted(theirs.metered_joules.items()))
            apart = ours.coverage_ratio + theirs.coverage_ratio <= 1.0
            text = f"shown by shards {names[winner[place]]}, which accounts, and {names[int(theirs.meter)]}"
            remarks.append(Remark(SHARDS, place.node, joules, text, joules if apart else 0.0))
    return tuple(remarks)


def with_skews(energy: Energy, older: Collection[tuple[str, int]]) -> Energy:
    """`energy` with the number of scrapes, each (node, stamp in ms), that were older than those before them."""
    if not older:
        return energy
    hours = [from_ms(stamp - 1 - (stamp - 1) % MS_PER_HOUR) for _, stamp in older]
    count = Counter(zip(hours, (node for node, _ in older), strict=True))
    places = zip(values(energy.nodes, "hour_utc"), values(energy.nodes, "node"), strict=True)
    column = energy.nodes.schema.get_field_index("skews")
    counts = pa.array([count[place] for place in places], energy.nodes.schema.field(column).type)
    return replace(energy, nodes=energy.nodes.set_column(column, energy.nodes.schema.field(column), counts))


def best_read(answers: Sequence[Mapping[NodeHour, PlatformReading]]) -> dict[NodeHour, PlatformReading]:
    """Of each machine and hour the reading by the first server that covers it as well as the best."""
    offers: dict[NodeHour, list[PlatformReading]] = {}
    for answer in answers:
        for place, reading in answer.items():
            offers.setdefault(place, []).append(reading)
    best = {place: max(reading.coverage_ratio for reading in readings) for place, readings in offers.items()}
    return {
        place: next(reading for reading in readings if reading.coverage_ratio >= best[place] - COVERAGE_TIE)
        for place, readings in offers.items()
    }
