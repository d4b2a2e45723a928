"""Folded arrays on their way into rows: energy rows, withheld workload rows and node_energy rows, hour by hour."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.samples import Bools, Floats, Int64s
from pipeline.tables import EMISSIONS, METHOD_VERSION, NODE_ENERGY, QUARANTINE
from pipeline.transforms.coverage import Presence
from pipeline.transforms.folded import Folded
from pipeline.transforms.identities import texts, who
from pipeline.transforms.owners import Owners
from pipeline.transforms.reconciliation import Reconciled
from pipeline.units import MS_PER_HOUR
from pipeline.window import Window

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
    owners: Sequence[Owners]  # one an hour
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
        hour, consumer = np.nonzero(self.used_ms.T > 0)
        meter = self.folded.consumer_meter[consumer]
        used = self.joules(self.result.used_joules, consumer, hour)
        tails = self.joules(self.tail_joules, consumer, hour).sum(axis=1)
        rows = self._table(hour, meter, used, tails, who(self.folded, self.window, self.owners, consumer, hour))
        gone = self.result.withheld[meter, hour]
        withheld = self._withheld(rows, hour, consumer, meter, gone) if gone.any() else WITHHELD.empty_table()
        kept = [rows.filter(pa.array(~gone)) if gone.any() else rows]
        remainder = ~self.result.measured | self.result.withheld
        for kind, shown, joules in (
            ("system", (self.covered_ms > 0) & remainder, self.result.system_joules),
            ("idle", (self.covered_ms > 0) & (self.idle_ms > 0), self.result.idle_joules),
        ):
            hour, meter = np.nonzero(shown.T)
            per_step, none = self.joules(joules, meter, hour), np.zeros(len(meter))
            kept.append(self._table(hour, meter, per_step, none, {"kind": pa.repeat(kind, len(meter))}))
        return pa.concat_tables(kept), withheld

    def joules(self, per_step: Floats, code: Int64s, hour: Int64s) -> Floats:
        """The steps of some hours; shape (hours asked for, steps in an hour)."""
        by_hour: Floats = per_step.reshape(len(per_step), self.window.hour_count, self.steps_per_hour)
        return by_hour[code, hour]

    def _table(
        self, hour: Int64s, meter: Int64s, joules: Floats, tail_joules: Floats, of_whom: Mapping[str, Any]
    ) -> pa.Table:
        """Rows of node meters; `of_whom` are the columns that say whose they are."""
        count, steps = len(meter), self.steps_per_hour
        columns: dict[str, Any] = {
            **self.places(hour, meter),
            **of_whom,
            "energy_joules": pa.array(joules.sum(axis=1)),
            "tail_joules": pa.array(tail_joules),
            "coverage_ratio": pa.array(self.covered_ms[meter, hour] / MS_PER_HOUR),
        }
        if steps > 1:
            columns["step_joules"] = pa.FixedSizeListArray.from_arrays(pa.array(joules.reshape(-1)), steps)
        return filled(ENERGY, columns, count)

    def places(self, hour: Int64s, meter: Int64s) -> dict[str, Any]:
        """The columns that say which node meter in which hour, and by whose word."""
        nodes, components = ([meter[part] for meter in self.folded.meters] for part in (0, 1))
        return {
            "hour_utc": pa.array((self.window.start_ms + hour * MS_PER_HOUR) * 1_000, pa.timestamp("us", "UTC")),
            "cluster": pa.repeat(self.rules.cluster, len(meter)),
            "node": texts(nodes, meter),
            "component": texts(components, meter),
            "meter": pa.repeat(self.folded.meter, len(meter)),
            "method_version": pa.repeat(METHOD_VERSION, len(meter)),
        }

    def _withheld(self, rows: pa.Table, hour: Int64s, consumer: Int64s, meter: Int64s, gone: Bools) -> pa.Table:
        """Those of `rows` that are `gone`, with what they would have had, and why they have not."""
        hour, consumer, meter = hour[gone], consumer[gone], meter[gone]
        joules = self.joules(self.result.withheld_joules, consumer, hour).sum(axis=1)
        cell, place = np.unique(meter * self.window.hour_count + hour, return_inverse=True)
        evidence = [self._evidence(*divmod(one, self.window.hour_count)) for one in cell.tolist()]
        told: dict[str, Any] = {
            "energy_joules": pa.array(joules),
            "check": self.checks(meter, hour),
            "evidence": texts(evidence, place),
        }
        columns = {
            name: rows[name].filter(pa.array(gone)) for name in WITHHELD.names if name in rows.column_names
        } | told
        return filled(WITHHELD, columns, len(joules))

    def _evidence(self, m: int, hour: int) -> str:
        active = self.joules(self.result.active_joules, np.array([m]), np.array([hour])).sum()
        if self.result.excess_joules[m, hour] == 0:
            return f"workloads and system miss the node's active {active:.3f} J by more than 5 %"
        return f"workloads exceed the node's active {active:.3f} J by {self.result.excess_joules[m, hour]:.3f} J"

    def checks(self, meter: Int64s, hour: Int64s) -> "pa.Array[Any]":
        """Which check node-hours failed, null for none."""
        withheld, excess = self.result.withheld[meter, hour], self.result.excess_joules[meter, hour] > 0
        failed = np.where(withheld, np.where(excess, 0, 1), np.where(self.implausible_joules[meter, hour] > 0, 2, -1))
        return texts((EXCESS, RESIDUAL, IMPLAUSIBLE), failed)


def filled(schema: pa.Schema, columns: Mapping[str, Any], count: int) -> pa.Table:
    """`count` rows of a schema; a column that is not given is null."""
    every = [
        pa.nulls(count, f.type) if f.name not in columns
        else columns[f.name].cast(f.type) if hasattr(columns[f.name], "cast")
        else pa.array(columns[f.name], f.type)
        for f in schema
    ]  # fmt: skip
    return pa.Table.from_arrays(every, schema=schema)
