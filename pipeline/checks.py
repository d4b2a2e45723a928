"""Findings about a run's figures, as data: what was looked at, whether it held, and in one line what to do.

Required checks withhold what they failed on and end the command with exit code 65; the others only speak.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.tables import values
from pipeline.units import JOULES_PER_KWH

HOLE_RATIO = 0.01  # a shorter hole is a scrape's jitter
CROSS_TOLERANCE = 0.02
SYSTEM_SHARE = 0.20
UNPRICED = ["hour_utc", "energy_joules", "pue_ratio", "intensity_quality", "emissions_gco2e"]
NAMED = 3  # how many culprits a line names before it counts the rest
TOLD = 10  # and how many decisions
PLATFORM = "platform"  # of `cross_meter`, and the check that tells where it does not scale
PLATFORM_RATIOS = (1.0, 5.0)  # what a machine can use, in terms of what its meters inside show
SCOPES = "scopes"
SHARDS = "shards"

# (name of the finding, `check` of the rows it is about, what became of them)
WITHHELD_BY = (
    (
        "workloads_within_active",
        "workloads_exceed_active",
        "their workloads are withheld (table quarantine) and booked as system",
    ),
    (
        "residual",
        "residual",
        "workloads and system miss active energy by more than 5 %: withheld (table quarantine) and booked as system",
    ),
    (
        "implausible",
        "implausible",
        "no machine can use that much: left out of every sum (table quarantine; limit: energy.ceiling_watts)",
    ),
)


@dataclass(frozen=True, slots=True)
class Check:
    """One finding.

    Attributes:
        name: short and stable: a label of `carbon_etl_check_failed`.
        required: whether failing it ends the command with 65.
        passed: whether it held.
        detail: one line: where it failed and what to do; empty when it held.
    """

    name: str
    required: bool
    passed: bool
    detail: str = ""


class Remark(NamedTuple):
    """A decision about one node-hour that is no fault, and told with its joules.

    Attributes:
        check: name of the finding that tells it.
        node: whose.
        joules: how many it is about.
        text: why; decisions of one node with one text are told together.
        lost_joules: those of them that no other row holds.
    """

    check: str
    node: str
    joules: float
    text: str
    lost_joules: float = 0.0


class Findings:
    """What the checks of one cluster look at, gathered over the partitions of a run."""

    def __init__(self) -> None:
        self._nodes: list[pa.Table] = []
        self._unpriced: list[pa.Table] = []
        self._unmetered: set[str] = set()
        self._faults: dict[str, Check] = {}
        self._remarks: list[Remark] = []

    def add(
        self,
        nodes: pa.Table,
        priced: pa.Table,
        unmetered: Sequence[str],
        faults: Sequence[Check],
        remarks: Sequence[Remark] = (),
    ) -> None:
        """Add a partition: node_energy rows, priced rows, nodes without meters, faults of meters, decisions."""
        self._remarks += remarks
        self._nodes.append(nodes)
        self._unpriced.append(priced.filter(pc.is_null(priced["emissions_gco2e"])).select(UNPRICED))
        self._unmetered.update(unmetered)
        for fault in faults:
            known = self._faults.get(fault.name)
            if known is None or known.passed:
                self._faults[fault.name] = fault

    def checks(self) -> list[Check]:
        """All findings; none where nothing was added. Of a fault found in several partitions the first is told."""
        if not self._nodes:
            return []
        of_energy = check_energy(pa.concat_tables(self._nodes), sorted(self._unmetered), self._remarks)
        return [*of_energy, *self._faults.values(), *check_prices(pa.concat_tables(self._unpriced))]


def has_hole(nodes: pa.Table) -> pa.BooleanArray:
    """Which node_energy rows miss more than 1 % of the hour in which their node existed."""
    return pc.greater(pc.subtract(nodes["expected_ratio"], nodes["coverage_ratio"]), pa.scalar(HOLE_RATIO))


def check_energy(nodes: pa.Table, unmetered: Sequence[str], remarks: Sequence[Remark] = ()) -> Iterator[Check]:
    """Findings about node_energy rows of one cluster, nodes with pods but no meter of their own, and decisions."""
    for name, check, remedy in WITHHELD_BY:
        failed = nodes.filter(pc.equal(nodes["check"], pa.scalar(check)))
        yield _of_nodes(name, failed, required=True, remedy=remedy)
    yield Check(
        "node_meter",
        required=True,
        passed=not unmetered,
        detail=f"{_named(unmetered)}: pods but no node counters, so not counted: let the meter export its node level"
        if unmetered
        else "",
    )
    holes = nodes.filter(has_hole(nodes))
    yield _of_nodes(
        "coverage",
        holes,
        required=False,
        remedy="samples are missing there: these hours are partial and are folded again for 48 h",
    )
    whole = pc.greater_equal(nodes["coverage_ratio"], pa.scalar(0.99))
    yield _of_nodes(
        "cross_meter", nodes.filter(pc.and_(_disagrees(nodes), whole)), required=False,
        remedy="a second meter or the node's own register disagrees by more than 2 %, or the platform meter reads what "
        "no machine does: see cross_ratio in node_energy",
    )  # fmt: skip
    active = pc.subtract(nodes["metered_joules"], nodes["idle_joules"])
    unattributed = nodes.filter(pc.greater(nodes["system_joules"], pc.multiply(active, pa.scalar(SYSTEM_SHARE))))
    yield _of_nodes(
        "system_share", unattributed, required=False,
        remedy="more than 20 % of active energy belongs to no pod: host daemons, or pods that Kepler does not see",
    )  # fmt: skip

    yield _of_remarks(SCOPES, "left out", remarks)
    yield _of_remarks(SHARDS, "counted once", remarks)
    yield _of_remarks(PLATFORM, "not scaled", remarks)


def _disagrees(nodes: pa.Table) -> pa.BooleanArray:
    """Which rows' second meter cannot be of the same energy; a platform meter reads more than what it holds."""
    least, most = PLATFORM_RATIOS
    ratio, off = nodes["cross_ratio"], pa.scalar(CROSS_TOLERANCE)
    implausible = pc.or_(pc.less(ratio, pa.scalar(least - CROSS_TOLERANCE)), pc.greater(ratio, pa.scalar(most)))
    apart = pc.greater(pc.abs(pc.subtract(ratio, pa.scalar(1.0))), off)
    of_platform = pc.is_in(nodes["cross_meter"], pa.array([PLATFORM], pa.string()))  # false of null
    return pc.or_(pc.and_(of_platform, implausible), pc.and_(pc.invert(of_platform), apart))


def _of_remarks(name: str, head: str, remarks: Sequence[Remark]) -> Check:
    """The decisions of one kind, node by node, those of most joules first."""
    told: dict[tuple[str, str], list[Remark]] = {}
    for remark in remarks:
        if remark.check == name:
            told.setdefault((remark.node, remark.text), []).append(remark)
    lines = []
    for (node, text), held in told.items():
        joules, lost = math.fsum(one.joules for one in held), math.fsum(one.lost_joules for one in held)
        line = f"{node}'s {joules:,.0f} J in {len(held)} h: {text}"
        lines.append((-joules, line + (f", {lost:,.0f} J are in no figure" if lost else "")))
    shown = [line for _, line in sorted(lines)[:TOLD]]
    more = f"; and {len(lines) - TOLD} more" if len(lines) > TOLD else ""
    return Check(name, required=False, passed=not lines, detail=f"{head}: {'; '.join(shown)}{more}" if lines else "")


def check_prices(emissions: pa.Table) -> Iterator[Check]:
    """Findings about priced rows of one cluster."""
    unpriced = emissions.filter(pc.is_null(emissions["emissions_gco2e"]))
    missing = unpriced.filter(pc.equal(unpriced["intensity_quality"], pa.scalar("missing")))
    yield _of_hours("priced", missing, "intensity", "add a provider that covers them")
    yield _of_hours(
        "pue", unpriced.filter(pc.is_null(unpriced["pue_ratio"])), "PUE",
        "their grams are unknown until its file or query gives one of 1 to 3; `carbon-etl doctor` shows what it gives",
    )  # fmt: skip


def _of_hours(name: str, rows: pa.Table, lacks: str, remedy: str) -> Check:
    hours = sorted(set(values(rows, "hour_utc")))
    if not hours:
        return Check(name, required=False, passed=True)
    kwh = math.fsum(values(rows, "energy_joules")) / JOULES_PER_KWH
    first = f"first {hours[0]:%FT%H:%MZ}, {kwh:,.3f} kWh in all"
    return Check(name, required=False, passed=False, detail=f"{len(hours)} hours have no {lacks} ({first}): {remedy}")


def _of_nodes(name: str, nodes: pa.Table, *, required: bool, remedy: str) -> Check:
    if nodes.num_rows == 0:
        return Check(name, required, passed=True)
    culprits = sorted(set(values(nodes, "node")))
    return Check(name, required, passed=False, detail=f"{nodes.num_rows} node-hours on {_named(culprits)}: {remedy}")


def _named(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
