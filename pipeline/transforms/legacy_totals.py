"""`kepler_container_joules_total` of Kepler 0.5 to 0.9: what it is worth in which version, and how it is split.

The total adds package, dram, gpu and other, and in some versions something else: the energy sensors' sheet, 2.3. It is
used only at scrapes without component series of containers. It is corrected where the version that exposed it is
known; where nobody declares a version, a wrong unit shows as workloads above their node, and the node-hour is withheld.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from pipeline.checks import Check
from pipeline.samples import Floats, Int64s, LegacySamples, Samples
from pipeline.transforms.containers import Used
from pipeline.transforms.counters import StampIndex, merge
from pipeline.transforms.metered import Metered
from pipeline.units import MS_PER_SECOND

VERSION = re.compile(r"v?(\d+)\.(\d+)\.(\d+)")
MILLIJOULES = (0, 7, 3)
UNCORE_TWICE_UNTIL = (0, 7, 2)
WHOLE_JOULES_UNTIL = (0, 7, 10)
PER_JOULE = 1_000
SUSPECT = (200.0, 5_000.0)  # how far above a node's energy its containers' totals look like millijoules


class Finding(NamedTuple):
    """What is known to be wrong with a node's totals.

    Attributes:
        node: its name.
        problem: `millijoules`, `whole_joules`, `uncore_twice` or `millijoules_suspected`.
        evidence: one line: what was seen, and what was done.
    """

    node: str
    problem: str
    evidence: str


def findings(samples: LegacySamples) -> list[Finding]:
    """Nodes whose totals are or would be wrong, sorted."""
    with_totals = {str(row["node"]) for row in samples.totals.identity.to_pylist()}
    found, declared = [], set()
    for row in samples.versions.identity.to_pylist():
        node, version = str(row["node"]), str(row["version"])
        problem = _problem(_release(version))
        declared |= {node} if _release(version) else set()
        if problem is not None:
            done = _remedy(problem) if node in with_totals else "component series are used, which are right"
            found.append(Finding(node, problem, f"kepler_container_joules_total of Kepler {version}: {done}"))
    for node in sorted(with_totals - declared):
        ratio = _ratio(samples, node)
        if SUSPECT[0] < ratio < SUSPECT[1]:
            line = (
                f"totals of its containers rose {ratio:.0f} times as much as its own counters, of no declared version"
            )
            found.append(Finding(node, "millijoules_suspected", f"{line}: its workloads are withheld, not scaled"))
    return sorted(found)


PROBLEMS = ("millijoules", "millijoules_suspected", "uncore_twice", "whole_joules")


def known_faults(samples: LegacySamples) -> Iterator[Check]:
    """The findings as notes of a run, one a problem."""
    found = findings(samples)
    for problem in PROBLEMS:
        nodes = [finding for finding in found if finding.problem == problem]
        more = f" and {len(nodes) - 1} more nodes" if len(nodes) > 1 else ""
        detail = f"{nodes[0].node}{more}: {nodes[0].evidence}" if nodes else ""
        yield Check(f"kepler_legacy_{problem}", required=False, passed=not nodes, detail=detail)


def _problem(release: tuple[int, ...] | None) -> str | None:
    if release is None or release > WHOLE_JOULES_UNTIL:
        return None
    if release <= UNCORE_TWICE_UNTIL:
        return "uncore_twice"
    return "millijoules" if release == MILLIJOULES else "whole_joules"


def _remedy(problem: str) -> str:
    return {
        "millijoules": "counts millijoules, divided by 1000",
        "whole_joules": "drops what is below a joule, at most 1 J a container",
        "uncore_twice": "counts uncore twice where there is one; what exceeds the node is withheld",
    }[problem]


def _release(version: str) -> tuple[int, ...] | None:
    """The release of that very version; None for builds between releases, which may hold its faults or not."""
    match = VERSION.fullmatch(version)
    return tuple(int(part) for part in match.groups()) if match else None


def _ratio(samples: LegacySamples, node: str) -> float:
    """Rises of a node's totals over rises of its own active counters."""
    active = [row["node"] == node and row["mode"] == "dynamic" for row in samples.sockets.identity.to_pylist()]
    totals = [row["node"] == node for row in samples.totals.identity.to_pylist()]
    below = _rises(samples.sockets, active)
    return _rises(samples.totals, totals) / below if below > 0 else 0.0


def _rises(samples: Samples, wanted: Sequence[bool]) -> float:
    own = np.array(wanted, dtype=bool)[samples.code]
    counters = merge(samples.code[own], samples.stamp_ms[own], samples.value[own], samples.name[own])
    steps = np.diff(counters.value)[~counters.first[1:]]
    return float(steps[steps > 0].sum())


def in_joules(totals: Samples, versions: Samples) -> Samples:
    """Totals whose scrape declares the release that counts millijoules, divided by 1000; the others as they are."""
    rows = versions.identity.to_pylist()
    nodes = sorted({row["node"] for row in rows if _release(row["version"]) == MILLIJOULES})
    number = {node: i for i, node in enumerate(nodes)}
    faulty = [number[r["node"]] if _release(r["version"]) == MILLIJOULES else -1 for r in rows]
    code = np.array(faulty, dtype=np.int64)[versions.code]
    declared = np.unique(np.stack((code[code >= 0], versions.stamp_ms[code >= 0])), axis=1)
    node = np.array([number.get(name, -1) for name in totals.identity["node"].to_pylist()], dtype=np.int64)
    hit = StampIndex.of(*declared).find(node[totals.code], totals.stamp_ms) >= 0
    return replace(totals, value=np.where(hit, totals.value / PER_JOULE, totals.value))


def shares(used: Used, of_node: Int64s, parts: Metered) -> Floats:
    """Each component's part of the active power of an interval's node; where all stood still, the first one's is 1.

    Args:
        used: energy over all components, from scrape to scrape, `meter` numbering nodes.
        of_node: (components, nodes), each component's meter in `parts`, -1 where a node lacks it.
        parts: meters of one component each.

    Returns:
        Array of shape (components, intervals): parts that add up to 1; NaN where a component is not joined.
    """
    readings = parts.readings
    index = StampIndex.of(readings.meter, readings.stamp_ms)
    watts = np.full(len(readings.meter) + 1, np.nan)  # of the interval that begins with a reading
    begins, seconds = parts.pair[parts.joined], (parts.active.end_ms - parts.active.start_ms) / MS_PER_SECOND
    watts[begins] = parts.active.joules / seconds
    power = np.full((len(of_node), len(used.meter)), np.nan)
    for row, meters in enumerate(of_node):
        meter = meters[used.meter]
        at = index.count_to(meter, used.intervals.start_ms) - 1
        own = (meter >= 0) & (at >= 0) & (np.append(readings.meter, -1)[at] == meter)
        power[row] = np.where(own, watts[at], np.nan)
    there = np.isfinite(power)
    whole = np.nansum(power, axis=0)
    alone = there & (np.cumsum(there, axis=0) == 1)
    parted = np.divide(power, whole, out=alone.astype(np.float64), where=whole > 0)
    return np.where(there, parted, np.nan)
