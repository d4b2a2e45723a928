"""Folded arrays on their way into rows: energy rows, withheld workload rows and node_energy rows, hour by hour."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.samples import Floats
from pipeline.tables import EMISSIONS, METHOD_VERSION, NODE_ENERGY, QUARANTINE
from pipeline.transforms.counters import StepGrid
from pipeline.transforms.coverage import Presence
from pipeline.transforms.folded import Consumer, Folded, Marks
from pipeline.transforms.owners import Owners
from pipeline.transforms.reconciliation import Reconciled
from pipeline.units import MS_PER_HOUR
from pipeline.window import Window, from_ms

WHOLE = "whole"
EXCESS = "workloads_exceed_active"
RESIDUAL = "residual"
IMPLAUSIBLE = "implausible"

PRICE_COLUMNS = (
    "pue_ratio", "pue_source", "intensity_steps", "facility_energy_kwh", "carbon_intensity_g_per_kwh", "intensity_zone",
    "intensity_provider", "intensity_factor_type", "intensity_basis", "intensity_quality", "intensity_updated_utc",
    "emissions_gco2e",
)  # fmt: skip
COMMIT_COLUMNS = ("run_id", "revision")

ENERGY = pa.schema([f for f in EMISSIONS if f.name not in (*PRICE_COLUMNS, *COMMIT_COLUMNS)])
NODES = pa.schema([f for f in NODE_ENERGY if f.name not in COMMIT_COLUMNS])
WITHHELD = pa.schema([f for f in QUARANTINE if f.name not in COMMIT_COLUMNS])


@dataclass(frozen=True, slots=True)
class FoldRules:
    """How a cluster's samples are folded.

    Attributes:
        cluster: its name.
        max_gap_ms: the longest joined interval.
        step_minutes: length of an energy step: 60, 30, 15 or 5.
    """

    cluster: str
    max_gap_ms: int
    step_minutes: int


@dataclass(frozen=True, slots=True)
class Sheet:
    """Folded arrays on their way into rows."""

    folded: Folded
    rules: FoldRules
    window: Window
    owners: Owners
    result: Reconciled
    tail_joules: Floats  # (consumers, steps), the estimated part of what is used
    covered_ms: Floats  # (meters, hours)
    idle_ms: Floats  # (meters, hours): 0 where the meter does not tell idle energy, which is then null and not 0
    used_ms: Floats  # (consumers, hours)
    sightings: tuple[Presence, ...]  # the best first
    implausible_joules: Floats  # (meters, hours), already taken out

    @property
    def steps_per_hour(self) -> int:
        """Number of energy steps in an hour."""
        return 60 // self.rules.step_minutes

    def rows(self) -> tuple[pa.Table, pa.Table]:
        """Energy rows and withheld workload rows of all hours."""
        kept, withheld = [], []
        for index in range(self.window.hour_count):
            steps = slice(index * self.steps_per_hour, (index + 1) * self.steps_per_hour)
            splits = self.folded.splits(self.window.start_ms + index * MS_PER_HOUR)
            names = self.folded.names(self.window.start_ms + (index + 1) * MS_PER_HOUR)
            for c in np.flatnonzero(self.used_ms[:, index] > 0).tolist():
                consumer = self.folded.consumers[c]
                row = self._row(consumer.meter, index, consumer.kind, self.result.used_joules[c, steps])
                row["tail_joules"] = float(self.tail_joules[c, steps].sum())
                row |= self._identity(consumer, *names.get(c, (None, None)), splits.get(c, WHOLE))
                if self.result.withheld[consumer.meter, index]:
                    withheld.append(self._withheld(row, self.result.withheld_joules[c, steps], consumer.meter, index))
                else:
                    kept.append(row)
            for meter in np.flatnonzero(self.covered_ms[:, index] > 0).tolist():
                if not self.result.measured[meter, index] or self.result.withheld[meter, index]:
                    kept.append(self._row(meter, index, "system", self.result.system_joules[meter, steps]))
                if self.idle_ms[meter, index] > 0:
                    kept.append(self._row(meter, index, "idle", self.result.idle_joules[meter, steps]))
        return pa.Table.from_pylist(kept, ENERGY), pa.Table.from_pylist(withheld, WITHHELD)

    def _identity(self, consumer: Consumer, namespace: str | None, pod: str | None, split: str) -> dict[str, object]:
        if consumer.workload is not None or consumer.kind == "system":
            named = consumer.workload or consumer.uid
            return {"workload_kind": consumer.workload_kind, "workload": named, "owner_source": "meter"}
        owner = self.owners.of(consumer.uid, namespace, pod)
        return {
            "namespace": namespace,
            "pod": pod,
            "pod_uid": consumer.uid,
            "container": consumer.container,
            "workload_kind": owner.workload_kind,
            "workload": owner.workload,
            "owner_source": owner.source if split == WHOLE else f"{owner.source}:{split}",
        }

    def _row(self, m: int, hour: int, kind: str, joules: Floats) -> dict[str, object]:
        node, component = self.folded.meters[m]
        return {
            "hour_utc": from_ms(self.window.start_ms + hour * MS_PER_HOUR),
            "cluster": self.rules.cluster,
            "node": node,
            "component": component,
            "kind": kind,
            "energy_joules": float(joules.sum()),
            "step_joules": joules.tolist() if self.steps_per_hour > 1 else None,
            "tail_joules": 0.0,
            "coverage_ratio": self.covered_ms[m, hour] / MS_PER_HOUR,
            "meter": self.folded.meter,
            "method_version": METHOD_VERSION,
        }

    def _withheld(self, row: dict[str, object], joules: Floats, m: int, hour: int) -> dict[str, object]:
        active = self.result.active_joules.reshape(len(self.folded.meters), self.window.hour_count, -1)[m, hour].sum()
        evidence = f"workloads exceed the node's active {active:.3f} J by {self.result.excess_joules[m, hour]:.3f} J"
        if self._check(m, hour) == RESIDUAL:
            evidence = f"workloads and system miss the node's active {active:.3f} J by more than 5 %"
        taken = {k: row[k] for k in WITHHELD.names if k in row}
        return taken | {"energy_joules": float(joules.sum()), "check": self._check(m, hour), "evidence": evidence}

    def nodes(self, by_hour: StepGrid) -> pa.Table:
        """node_energy rows: of every meter read in an hour; joules are null where nothing could be joined."""
        meters, hours = self.covered_ms.shape
        unplaced = self.folded.unplaced(self.window.start_ms, hours)
        read, restarted, wrapped = (
            self._count(marks) for marks in (self.folded.readings, self.folded.restarts, self.folded.wraps)
        )
        ratio = self._cross_ratio(by_hour)
        rows = []
        for index, hour in enumerate(self.window.hours()):
            for m in range(meters):
                if self.covered_ms[m, index] <= 0 and read[m, index] == 0:
                    continue
                node, component = self.folded.meters[m]
                rows.append(
                    self._balance(m, index)
                    | {
                        "hour_utc": hour,
                        "cluster": self.rules.cluster,
                        "node": node,
                        "component": component,
                        "unplaced_joules": None if np.isnan(unplaced[m, index]) else float(unplaced[m, index]),
                        "coverage_ratio": self.covered_ms[m, index] / MS_PER_HOUR,
                        "expected_ratio": self._expected_ratio(node, self.window.start_ms + index * MS_PER_HOUR),
                        "resets": int(restarted[m, index]),
                        "wraps": int(wrapped[m, index]),
                        "skews": 0,
                        "meter": self.folded.meter,
                        "cross_meter": self.folded.cross.name if self.folded.cross and ratio[m, index] >= 0 else None,
                        "cross_ratio": float(ratio[m, index]) if ratio[m, index] >= 0 else None,
                        "check": self._check(m, index),
                        "method_version": METHOD_VERSION,
                    }
                )
        return pa.Table.from_pylist(rows, NODES)

    def _expected_ratio(self, node: str, hour_ms: int) -> float:
        """By the first presence that saw the node in the hour: kube-state-metrics may itself have been silent."""
        seen = (p.expected_ratio(node, hour_ms, self.rules.max_gap_ms) for p in self.sightings if p.saw(node, hour_ms))
        return next(seen, 0.0)

    def _balance(self, m: int, hour: int) -> dict[str, object]:
        """The joules of one node-hour, null where nothing was metered."""
        steps = slice(hour * self.steps_per_hour, (hour + 1) * self.steps_per_hour)
        of_meter = (self.folded.consumer_meter == m) & ~self.folded.is_system
        result = self.result
        parts = (result.active_joules, result.idle_joules, result.system_joules, result.bridged_joules)
        active, idle, system, bridged = (float(part[m, steps].sum()) for part in parts)
        residual = float(result.residual_joules[m, steps].sum()) if result.measured[m, hour] else None
        seen = self.covered_ms[m, hour] > 0
        return {
            "metered_joules": active + idle if seen else None,
            "workload_joules": float(result.used_joules[of_meter, steps].sum()) if seen else None,
            "system_joules": system if seen else None,
            "idle_joules": idle if self.idle_ms[m, hour] > 0 else None,
            "residual_joules": residual if seen else None,  # null where system is the remainder
            "bridged_joules": bridged,
            "quarantined_joules": float(result.withheld_joules[self.folded.consumer_meter == m][:, steps].sum())
            + float(self.implausible_joules[m, hour]),
            "workload_scale": float(result.scale[m, hour]),
        }

    def _check(self, m: int, hour: int) -> str | None:
        if not self.result.withheld[m, hour]:
            return IMPLAUSIBLE if self.implausible_joules[m, hour] > 0 else None
        return EXCESS if self.result.excess_joules[m, hour] > 0 else RESIDUAL

    def _cross_ratio(self, by_hour: StepGrid) -> Floats:
        """Second meter over accounting meter per (meter, hour), NaN where they cannot be compared."""
        shape = self.covered_ms.shape
        cross = self.folded.cross
        if cross is None:
            return np.full(shape, np.nan)
        measured, compared = by_hour.spread(cross.measured, shape[0]), by_hour.spread(cross.compared, shape[0])
        known = (compared > 0) & (by_hour.cover(cross.unknown, shape[0]) == 0)
        ratio: Floats = np.divide(measured, compared, out=np.full(shape, np.nan), where=known)
        return ratio

    def _count(self, marks: Marks) -> Floats:
        """Marks per (meter, hour), a mark at an hour's end being of that hour."""
        meters, hours = self.covered_ms.shape
        hour = (marks.stamp_ms - 1 - self.window.start_ms) // MS_PER_HOUR
        inside = (hour >= 0) & (hour < hours)
        cell = marks.meter[inside] * hours + hour[inside]
        return np.bincount(cell, minlength=meters * hours).reshape(meters, hours).astype(np.float64)
