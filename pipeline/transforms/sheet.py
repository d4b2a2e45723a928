"""Folded arrays on their way into rows: energy rows, withheld workload rows and node_energy rows, hour by hour."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.samples import Bools, Floats, Int64s
from pipeline.tables import EMISSIONS, METHOD_VERSION, NODE_ENERGY, QUARANTINE
from pipeline.transforms.coverage import Presence
from pipeline.transforms.folded import Consumer, Folded, Name
from pipeline.transforms.owners import Owners
from pipeline.transforms.reconciliation import Reconciled
from pipeline.units import MS_PER_HOUR
from pipeline.window import Window

WHOLE = "whole"
NAMELESS: Name = (None, None)
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


class Identity(NamedTuple):
    """Who used energy, as rows say it; null where it does not apply."""

    namespace: str | None
    pod: str | None
    pod_uid: str | None
    container: str | None
    workload_kind: str | None
    workload: str | None
    owner_source: str | None


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
        hour, consumer = np.nonzero(self.used_ms.T > 0)
        meter = self.folded.consumer_meter[consumer]
        used = self.joules(self.result.used_joules, consumer, hour)
        rows = self._table(hour, meter, used, self.joules(self.tail_joules, consumer, hour).sum(axis=1))
        rows = _with(rows, "kind", [self.folded.consumers[c].kind for c in consumer.tolist()])
        for name, values in self._identities(hour, consumer).items():
            rows = _with(rows, name, values)
        gone = self.result.withheld[meter, hour]
        withheld = self._withheld(rows, hour, consumer, meter, gone) if gone.any() else WITHHELD.empty_table()
        kept = [rows.filter(pa.array(~gone)) if gone.any() else rows]
        remainder = ~self.result.measured | self.result.withheld
        for kind, shown, joules in (
            ("system", (self.covered_ms > 0) & remainder, self.result.system_joules),
            ("idle", (self.covered_ms > 0) & (self.idle_ms > 0), self.result.idle_joules),
        ):
            hour, meter = np.nonzero(shown.T)
            part = self._table(hour, meter, self.joules(joules, meter, hour), np.zeros(len(meter)))
            kept.append(_with(part, "kind", [kind] * len(meter)))
        return pa.concat_tables(kept), withheld

    def joules(self, per_step: Floats, code: Int64s, hour: Int64s) -> Floats:
        """The steps of some hours; shape (hours asked for, steps in an hour)."""
        by_hour: Floats = per_step.reshape(len(per_step), self.window.hour_count, self.steps_per_hour)
        return by_hour[code, hour]

    def _table(self, hour: Int64s, meter: Int64s, joules: Floats, tail_joules: Floats) -> pa.Table:
        """Rows of node meters, whoever they are of: who is null."""
        count, steps = len(meter), self.steps_per_hour
        own = pa.array(meter, pa.int64())
        columns: dict[str, Any] = {
            "hour_utc": self.hours(hour),
            "cluster": pa.repeat(self.rules.cluster, count),
            "node": pa.array([node for node, _ in self.folded.meters], pa.string()).take(own),
            "component": pa.array([component for _, component in self.folded.meters], pa.string()).take(own),
            "energy_joules": pa.array(joules.sum(axis=1)),
            "tail_joules": pa.array(tail_joules),
            "coverage_ratio": pa.array(self.covered_ms[meter, hour] / MS_PER_HOUR),
            "meter": pa.repeat(self.folded.meter, count),
            "method_version": pa.repeat(METHOD_VERSION, count),
        }
        if steps > 1:
            columns["step_joules"] = pa.FixedSizeListArray.from_arrays(pa.array(joules.reshape(-1)), steps)
        return filled(ENERGY, columns, count)

    def hours(self, hour: Int64s) -> "pa.Array[Any]":
        """Numbered hours as stamps."""
        return pa.array((self.window.start_ms + hour * MS_PER_HOUR) * 1_000, pa.timestamp("us", "UTC"))

    def _identities(self, hour: Int64s, consumer: Int64s) -> dict[str, list[str | None]]:
        """Who the consumers were in those hours, column by column."""
        known: dict[tuple[int, Name, str], Identity] = {}
        found: list[Identity] = []
        for index in range(self.window.hour_count):
            splits = self.folded.splits(self.window.start_ms + index * MS_PER_HOUR)
            names = self.folded.names(self.window.start_ms + (index + 1) * MS_PER_HOUR)
            for c in consumer[hour == index].tolist():
                key = (c, names.get(c, NAMELESS), splits.get(c, WHOLE))
                if key not in known:
                    known[key] = self._identity(self.folded.consumers[c], *key[1:])
                found.append(known[key])
        columns = zip(*found, strict=True) if found else ((),) * len(Identity._fields)
        return {name: list(values) for name, values in zip(Identity._fields, columns, strict=True)}

    def _identity(self, consumer: Consumer, name: Name, split: str) -> "Identity":
        if consumer.workload is not None or consumer.kind == "system":
            named = consumer.workload or consumer.uid
            return Identity(None, None, None, None, consumer.workload_kind, named, "meter")
        owner = self.owners.of(consumer.uid, *name)
        source = owner.source if split == WHOLE else f"{owner.source}:{split}"
        return Identity(*name, consumer.uid, consumer.container, owner.workload_kind, owner.workload, source)

    def _withheld(self, rows: pa.Table, hour: Int64s, consumer: Int64s, meter: Int64s, gone: Bools) -> pa.Table:
        """Those of `rows` that are `gone`, with what they would have had, and why they have not."""
        hour, consumer, meter = hour[gone], consumer[gone], meter[gone]
        joules = self.joules(self.result.withheld_joules, consumer, hour).sum(axis=1)
        checks = [str(self.check(m, h)) for m, h in zip(meter.tolist(), hour.tolist(), strict=True)]
        evidence = [self._evidence(m, h) for m, h in zip(meter.tolist(), hour.tolist(), strict=True)]
        told: dict[str, Any] = {
            "energy_joules": pa.array(joules),
            "check": pa.array(checks),
            "evidence": pa.array(evidence),
        }
        columns = {
            name: rows[name].filter(pa.array(gone)) for name in WITHHELD.names if name in rows.column_names
        } | told
        return filled(WITHHELD, columns, len(joules))

    def _evidence(self, m: int, hour: int) -> str:
        active = self.joules(self.result.active_joules, np.array([m]), np.array([hour])).sum()
        if self.check(m, hour) == RESIDUAL:
            return f"workloads and system miss the node's active {active:.3f} J by more than 5 %"
        return f"workloads exceed the node's active {active:.3f} J by {self.result.excess_joules[m, hour]:.3f} J"

    def check(self, m: int, hour: int) -> str | None:
        """Which check a node-hour failed, None for none."""
        if not self.result.withheld[m, hour]:
            return IMPLAUSIBLE if self.implausible_joules[m, hour] > 0 else None
        return EXCESS if self.result.excess_joules[m, hour] > 0 else RESIDUAL


def _with(rows: pa.Table, name: str, values: Sequence[str | None]) -> pa.Table:
    """`rows` with another column of text."""
    return rows.set_column(rows.schema.get_field_index(name), ENERGY.field(name), pa.array(values, pa.string()))


def filled(schema: pa.Schema, columns: Mapping[str, Any], count: int) -> pa.Table:
    """`count` rows of a schema; a column that is not given is null."""
    every = [
        pa.nulls(count, f.type) if f.name not in columns
        else columns[f.name].cast(f.type) if hasattr(columns[f.name], "cast")
        else pa.array(columns[f.name], f.type)
        for f in schema
    ]  # fmt: skip
    return pa.Table.from_arrays(every, schema=schema)
