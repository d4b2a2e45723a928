"""What the hour of a node came to: joules, workloads, prices, grams, and the warehouse beside them."""

import math
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.checks import SCOPES, SHARDS, Remark
from pipeline.equality import RELATIVE_TOLERANCE
from pipeline.explain.readings import joules_text
from pipeline.samples import Bools
from pipeline.sinks.warehouse import Warehouse
from pipeline.site import Site
from pipeline.tables import values
from pipeline.transforms.selection import MISSING, Answer, SelectionRule, Vintages
from pipeline.units import JOULES_PER_KWH

TOP = 10
Rows = list[dict[str, Any]]


def balance(nodes: Rows) -> Iterator[str]:
    """Of each component: what was metered, who has it, how much of the hour is covered."""
    for row in nodes:
        if row["metered_joules"] is None:
            yield f"{row['component']}: nothing could be joined in this hour"
            continue
        parts = [f"{part} {row[f'{part}_joules']:,.1f}" for part in ("workload", "system", "idle")]
        if row["residual_joules"] is not None:
            parts.append(f"residual {row['residual_joules']:,.1f}")
        yield f"{row['component']}: metered {row['metered_joules']:,.1f} J = {' + '.join(parts)}"
        yield (
            f"  bridged at restarts {row['bridged_joules']:,.1f} J, quarantined {row['quarantined_joules']:,.1f} J, "
            f"workloads scaled by {row['workload_scale']:.6f}"
        )
        if row["platform_scale"] is not None:
            yield f"  all of it times {row['platform_scale']:.4f}, as the platform meter says"
        yield f"  covered {row['coverage_ratio']:.2%} of the hour; the node was there for {row['expected_ratio']:.2%}"
        cross = f"{row['cross_ratio']:.4f} of it by {row['cross_meter']}" if row["cross_meter"] else "none"
        yield f"  second meter: {cross}"
        yield f"  check: {row['check'] or 'held'}"


def decisions(remarks: Iterable[Remark], node: str) -> Iterator[str]:
    """What of the node another place counts."""
    for remark in remarks:
        if remark.node == node:
            what = {SCOPES: "left out", SHARDS: "counted once"}.get(remark.check, "not scaled")
            yield f"{what}, {joules_text(remark.joules)}: {remark.text}"


def quarantine(withheld: Rows) -> Iterator[str]:
    """What no machine can have used, and why."""
    for row in withheld:
        who = f"{row['namespace']}/{row['pod']}" if row["pod_uid"] else "the node meter"
        yield f"quarantined {row['component']} of {who}, {row['energy_joules']:,.1f} J: {row['evidence']}"


def workloads(rows: Rows) -> Iterator[str]:
    """The greatest workloads over all components."""
    used: dict[tuple[str, ...], list[float | None]] = {}
    for row in rows:
        if row["kind"] == "workload":
            names = ("namespace", "workload_kind", "workload", "pod", "owner_source")
            key = tuple(str(row[name] or "?") for name in names)
            joules, grams = used.get(key, [0.0, 0.0])
            known = grams is not None and row["emissions_gco2e"] is not None
            used[key] = [(joules or 0.0) + row["energy_joules"], grams + row["emissions_gco2e"] if known else None]
    ranked = sorted(used.items(), key=lambda item: (-(item[1][0] or 0.0), item[0]))
    yield f"workloads: {len(ranked)}" + (f", the greatest {TOP}:" if len(ranked) > TOP else "")
    for (namespace, kind, workload, pod, source), (joules, grams) in ranked[:TOP]:
        mass = "not priced" if grams is None else f"{grams:,.3f} g"
        yield f"  {namespace}/{pod} ({kind} {workload}, {source}): {joules_text(joules)}, {mass}"


def intensities(
    site: Site, vintages: Vintages, hour_utc: datetime, needed: Bools, answer: Answer, now: datetime
) -> Iterator[str]:
    """What every provider says, and which answer the rule takes."""
    rule = site.prices.rule
    yield f"intensity ({rule.factor_type}, in this order, {rule.accept} or better accepted at once):"
    for provider in rule.providers:
        said = vintages.select(hour_utc, needed, SelectionRule((provider,), rule.factor_type, rule.accept), now)
        if said is MISSING:
            yield f"  {provider}: does not cover every step that has energy"
            continue
        mean = float(np.nanmean(said.slots_g_per_kwh))
        taken = ": taken" if said.provider == answer.provider else ""
        updated = f", of {said.updated_utc:%FT%H:%MZ}" if said.updated_utc else ""
        yield f"  {provider}: {mean:,.1f} g/kWh ({said.quality}, {said.basis}, zone {said.zone}{updated}){taken}"
    if answer is MISSING:
        yield "  none: energy is kept, grams stay unknown"


def pricing(priced: pa.Table) -> Iterator[str]:
    """Joules times PUE times intensity."""
    joules, grams = math.fsum(values(priced, "energy_joules")), _sum(priced, "emissions_gco2e")
    total = "unknown" if grams is None else f"{grams:,.3f} gCO2e"
    pues = sorted(
        "that is unknown" if ratio is None else f"{ratio:g} ({source})"
        for ratio, source in set(zip(values(priced, "pue_ratio"), values(priced, "pue_source"), strict=True))
    )
    yield (
        f"grams: {joules:,.1f} J = {joules / JOULES_PER_KWH:,.6f} kWh, times PUE {' or '.join(pues) or 'of no row'}, "
        f"times intensity = {total}"
    )


def stored(warehouse: Warehouse, cluster: str, node: str, hour_utc: datetime, priced: pa.Table) -> Iterator[str]:
    """What the warehouse holds of the node-hour, and whether it is the same."""
    stored = only(warehouse.read_day("emissions", cluster, hour_utc.date()), node)
    stored = stored.filter(pa.array([hour == hour_utc for hour in values(stored, "hour_utc")], pa.bool_()))
    if stored.num_rows == 0:
        yield "warehouse: holds nothing of this node-hour"
        return
    commits = set(zip(values(stored, "run_id"), values(stored, "revision"), strict=True))
    joules, grams = _sum(stored, "energy_joules"), _sum(stored, "emissions_gco2e")
    mass = "grams unknown" if grams is None else f"{grams:,.3f} gCO2e"
    runs = ", ".join(f"run {run}, revision {revision}" for run, revision in sorted(commits))
    yield f"warehouse: {joules_text(joules)}, {mass} ({runs})"
    for what, column in (("energy", "energy_joules"), ("grams", "emissions_gco2e")):
        old, new = _sum(stored, column), _sum(priced, column)
        same = old == new if old is None or new is None else math.isclose(old, new, rel_tol=RELATIVE_TOLERANCE)
        yield f"  {what} {'as above' if same else 'not as above: samples, settings or intensities have changed since'}"


def _sum(rows: pa.Table, column: str) -> float | None:
    """The sum of a column, None where any of it is unknown."""
    held = values(rows, column)
    return None if None in held else math.fsum(held)


def only(table: pa.Table, node: str) -> pa.Table:
    """The rows of one node."""
    return table.filter(pc.equal(table["node"], pa.scalar(node)))
