"""Folded arrays on their way into rows: energy rows, withheld workload rows and node_energy rows, hour by hour."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.samples import Floats
from pipeline.tables import EMISSIONS, METHOD_VERSION, NODE_ENERGY, QUARANTINE
from pipeline.transforms.attribution import Reconciled
from pipeline.transforms.counters import StepGrid
from pipeline.transforms.coverage import Presence
from pipeline.transforms.metered import Metered, unplaced_joules
from pipeline.transforms.owners import Owners
from pipeline.transforms.readings import Aligned, names_by_hour
from pipeline.units import MS_PER_HOUR
from pipeline.window import Window, from_ms

EXCESS = "workloads_exceed_active"
REGISTER = "kepler_node_cpu_joules_total"

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

    meter: str
    aligned: Aligned
    metered: Metered
    result: Reconciled
    rules: FoldRules
    window: Window
    owners: Owners
    covered_ms: Floats  # (meters, hours)
    workload_ms: Floats  # (workloads, hours)
    sightings: tuple[Presence, ...]  # the best first

    @property
    def steps_per_hour(self) -> int:
        """Number of energy steps in an hour."""
        return 60 // self.rules.step_minutes

    def rows(self) -> tuple[pa.Table, pa.Table]:
        """Energy rows and withheld workload rows of all hours."""
        kept, withheld = [], []
        for index in range(self.window.hour_count):
            steps = slice(index * self.steps_per_hour, (index + 1) * self.steps_per_hour)
            names = names_by_hour(self.aligned, self.window.start_ms + (index + 1) * MS_PER_HOUR, self.rules.max_gap_ms)
            for w in np.flatnonzero(self.workload_ms[:, index] > 0):
                m = int(self.aligned.workloads.meter[w])
                namespace, pod = names.get(int(w), (None, None))
                row = self._row(m, index, "workload", self.result.workload_joules[w, steps]) | {
                    "namespace": namespace,
                    "pod": pod,
                    "pod_uid": self.aligned.uids[w],
                }
                if self.result.withheld[m, index]:
                    withheld.append(self._withheld(row, self.result.withheld_joules[w, steps], m, index))
                    continue
                owner = self.owners.of(self.aligned.uids[w], namespace, pod)
                kept.append(
                    row
                    | {"workload_kind": owner.workload_kind, "workload": owner.workload, "owner_source": owner.source}
                )
            for meter in np.flatnonzero(self.covered_ms[:, index] > 0).tolist():
                kept.append(self._row(meter, index, "system", self.result.system_joules[meter, steps]))
                kept.append(self._row(meter, index, "idle", self.result.idle_joules[meter, steps]))
        return pa.Table.from_pylist(kept, ENERGY), pa.Table.from_pylist(withheld, WITHHELD)

    def _row(self, m: int, hour: int, kind: str, joules: Floats) -> dict[str, object]:
        node, component = self.aligned.meters[m]
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
            "meter": self.meter,
            "method_version": METHOD_VERSION,
        }

    def _withheld(self, row: dict[str, object], joules: Floats, m: int, hour: int) -> dict[str, object]:
        active = self.result.active_joules.reshape(len(self.aligned.meters), self.window.hour_count, -1)[m, hour].sum()
        evidence = f"workloads exceed the node's active {active:.3f} J by {self.result.excess_joules[m, hour]:.3f} J"
        taken = {k: row[k] for k in WITHHELD.names if k in row}
        return taken | {"energy_joules": float(joules.sum()), "check": EXCESS, "evidence": evidence}

    def nodes(self, by_hour: StepGrid) -> pa.Table:
        """node_energy rows: of every meter read in an hour; joules are null where nothing could be joined."""
        meters, hours = self.covered_ms.shape
        unplaced = unplaced_joules(
            self.metered.readings, self.metered, self.window.start_ms, hours, self.rules.max_gap_ms
        )
        ends = self._ends_by_hour()
        raw, compared, unknown = (
            by_hour.spread(self.metered.raw, meters),
            by_hour.spread(self.metered.compared, meters),
            by_hour.cover(self.metered.unknown, meters),
        )
        rows = []
        for index, hour in enumerate(self.window.hours()):
            for m in range(meters):
                if self.covered_ms[m, index] <= 0 and ends["read"][m, index] == 0:
                    continue
                node, component = self.aligned.meters[m]
                comparable = compared[m, index] > 0 and unknown[m, index] == 0
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
                        "resets": int(ends["restarted"][m, index]),
                        "wraps": int(ends["wrapped"][m, index]),
                        "skews": 0,
                        "meter": self.meter,
                        "cross_meter": REGISTER if comparable else None,
                        "cross_ratio": raw[m, index] / compared[m, index] if comparable else None,
                        "check": EXCESS if self.result.withheld[m, index] else None,
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
        of_meter = self.aligned.workloads.meter == m
        result = self.result
        parts = (result.active_joules, result.idle_joules, result.system_joules, result.bridged_joules)
        active, idle, system, bridged = (float(part[m, steps].sum()) for part in parts)
        seen = self.covered_ms[m, hour] > 0
        return {
            "metered_joules": active + idle if seen else None,
            "workload_joules": float(self.result.workload_joules[of_meter, steps].sum()) if seen else None,
            "system_joules": system if seen else None,
            "idle_joules": idle if seen else None,
            "residual_joules": None,  # system is the remainder here: this meter gives none of its own
            "bridged_joules": bridged,
            "quarantined_joules": float(self.result.withheld_joules[of_meter, steps].sum()),
            "workload_scale": float(self.result.scale[m, hour]),
        }

    def _ends_by_hour(self) -> dict[str, Floats]:
        """Counts per (meter, hour) of readings, restarts and register wraps whose stamp lies in the hour."""
        readings, metered = self.metered.readings, self.metered
        restarted = metered.pair[metered.restarted] + 1
        hours = self.window.hour_count

        def count(meter: np.ndarray, stamp_ms: np.ndarray) -> Floats:
            hour = (stamp_ms - 1 - self.window.start_ms) // MS_PER_HOUR
            inside = (hour >= 0) & (hour < hours)
            cell = meter[inside] * hours + hour[inside]
            return (
                np.bincount(cell, minlength=readings.meters * hours).reshape(readings.meters, hours).astype(np.float64)
            )

        return {
            "read": count(readings.meter, readings.stamp_ms),
            "restarted": count(readings.meter[restarted], readings.stamp_ms[restarted]),
            "wrapped": count(metered.wrapped.code, metered.wrapped.end_ms),
        }
