"""`carbon-etl doctor --explain NODE HOUR`: one node-hour from samples to grams, line by line. Read only.

Folded anew from what the cluster's server holds now; what the warehouse holds stands at the end, beside it.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.checks import SCOPES, SHARDS, Remark
from pipeline.equality import RELATIVE_TOLERANCE
from pipeline.errors import ConfigError
from pipeline.extraction import MeterFold
from pipeline.meters import METERS
from pipeline.prices import Fresh, Known
from pipeline.refresh import PueRefresh, Refresh, Refreshed
from pipeline.samples import Bools, Int64s
from pipeline.settings import nearest
from pipeline.sinks.warehouse import Warehouse
from pipeline.site import Site
from pipeline.tables import values
from pipeline.transforms.accounting import GROUP_OF, Candidate, Place, accounting, candidates
from pipeline.transforms.counters import Intervals
from pipeline.transforms.emissions import slots_with_energy
from pipeline.transforms.evidence import counters_of, values_at
from pipeline.transforms.folded import Marks
from pipeline.transforms.selection import MISSING, SLOTS, Answer, SelectionRule, Vintages
from pipeline.units import JOULES_PER_KWH, MS_PER_MINUTE, MS_PER_SECOND
from pipeline.window import Window, from_ms

TOP = 10
Rows = list[dict[str, Any]]


def explain(site: Site, warehouse: Warehouse, node: str, hour_utc: datetime, now: datetime) -> Iterator[str]:
    """Lines about one node-hour.

    Args:
        site: the cluster.
        warehouse: what earlier runs stored; only read.
        node: as the meters call it.
        hour_utc: left edge of the hour.
        now: the present, for providers that are asked anew.

    Raises:
        ConfigError: not a whole hour, or no meter knows the node in it.
        SourceError: the server did not give all of it.
    """
    window = Window.of_hour(hour_utc)
    folds = {fold.number: fold.meters for fold in site.fold_servers(window)}
    joined = site.join((n, {name: fold.energy for name, fold in of.items()}) for n, of in folds.items())
    places = candidates({name: one.energy for name, one in joined.items()}, site.orders)
    _refuse_unknown(node, hour_utc, places)
    chosen = site.account(joined, window)
    counted = site.counted_once(chosen)
    yield f"{node} in cluster {site.name}, {window}"
    for place, offers in sorted(places.items()):
        if place.node == node:
            winner = accounting(offers)
            by_server = joined[winner].offers[place]
            yield from _choice(place, offers)
            yield from _servers(site, winner, by_server)
            fold = folds[int(accounting(by_server))][winner]
            yield from _folding(fold, place, window, site.rules.max_gap_ms)
    yield from _balance(_of_node(chosen.nodes, node))
    yield from _quarantine(_of_node(chosen.withheld, node))
    yield from _decisions(counted.remarks, node)
    needed = slots_with_energy(counted.rows).get(hour_utc, np.zeros(SLOTS, dtype=bool))
    known = _known(site, warehouse, window, now)
    vintages = known.vintages
    answer = vintages.select(hour_utc, needed, site.prices.rule, now)
    priced = site.prices.price_by(_only(counted.rows, node), {hour_utc: answer}, known.pues)
    yield from _workloads(priced.to_pylist())
    yield from _intensity(site, vintages, hour_utc, needed, answer, now)
    yield from _grams(priced)
    yield from _stored(warehouse, site.name, node, hour_utc, priced)


def _refuse_unknown(node: str, hour_utc: datetime, places: Iterable[Place]) -> None:
    known = sorted({place.node for place in places})
    if node not in known:
        there = nearest(node, known) if known else ": no node at all is"
        raise ConfigError(f"node {node!r} is read by no configured meter in {hour_utc:%FT%H:%MZ}{there}")


def _only(table: pa.Table, node: str) -> pa.Table:
    return table.filter(pc.equal(table["node"], pa.scalar(node)))


def _of_node(table: pa.Table, node: str) -> Rows:
    return _only(table, node).to_pylist()


def _choice(place: Place, offers: Sequence[Candidate]) -> Iterator[str]:
    """Who reads the group, who accounts for it, and why."""
    winner = accounting(offers)
    best = max(offers, key=lambda offer: offer.coverage_ratio)
    yield f"meters of its {place.group}:"
    for offer in offers:
        joules = ", ".join(f"{name} {_joules(value)}" for name, value in sorted(offer.metered_joules.items()))
        verdict = "accounts" if offer.meter == winner else "cross-check only"
        yield f"  {METERS[offer.meter].title}: covers {offer.coverage_ratio:.2%}, {joules}: {verdict}"
    if len(offers) == 1:
        yield "  it is the only one"
    elif winner == offers[0].meter:
        yield "  the first in the config, and no other covers more than 1 % of the hour more"
    else:
        yield f"  {best.meter} covers the most; those before {winner} in the config lack more than 1 % of the hour"


def _servers(site: Site, meter: str, offers: Sequence[Candidate]) -> Iterator[str]:
    """Of several servers that show the group by the accounting meter: which one accounts."""
    if len(site.servers) == 1:
        return
    yield f"  {meter} on {len(offers)} of {len(site.servers)} servers:"
    for offer in offers:
        joules = ", ".join(f"{name} {_joules(value)}" for name, value in sorted(offer.metered_joules.items()))
        verdict = "accounts" if offer.meter == accounting(offers) else "cross-check only"
        yield f"    {site.servers.names[int(offer.meter)]}: covers {offer.coverage_ratio:.2%}, {joules}: {verdict}"


def _joules(value: float | None) -> str:
    return "nothing joined" if value is None else f"{value:,.1f} J"


def _folding(fold: MeterFold, place: Place, window: Window, max_gap_ms: int) -> Iterator[str]:
    """How the samples of the accounting meter became energy, component by component."""
    folded = fold.folded
    unplaced = folded.unplaced(window.start_ms, 1)
    for meter, (node, component) in enumerate(folded.meters):
        if node != place.node or GROUP_OF[component] != place.group:
            continue
        stamps = np.sort(folded.readings.stamp_ms[folded.readings.meter == meter])
        inside = stamps[(stamps > window.start_ms) & (stamps <= window.end_ms)]
        yield f"{component} by {folded.meter}: {len(inside)} samples in the hour"
        for edge in (window.start_ms, window.end_ms):
            yield from _edge(fold.samples, node, component, stamps, edge)
        marks = (("exporter restarts", folded.restarts), ("register wraps", folded.wraps))
        for what, found in marks:
            at = _inside(found, meter, window)
            yield f"  {what}: {', '.join(_clock(stamp) for stamp in at) or 'none'}"
        gaps = _gaps(folded.active.where(folded.active.code == meter), window)
        yield f"  gaps longer than {max_gap_ms // MS_PER_MINUTE} min, or taken out: " + (
            ", ".join(f"{_clock(a)} to {_clock(b)} ({(b - a) / MS_PER_SECOND:,.0f} s)" for a, b in gaps) or "none"
        )
        missing = unplaced[meter, 0]
        yield "  placed in no hour because of gaps: " + ("unknown" if np.isnan(missing) else _joules(float(missing)))


def _edge(samples: object, node: str, component: str, stamps: Int64s, edge_ms: int) -> Iterator[str]:
    """The counters at the samples on both sides of an edge of the hour."""
    known = counters_of(samples)
    for stamp in (*stamps[stamps <= edge_ms][-1:].tolist(), *stamps[stamps > edge_ms][:1].tolist()):
        read = ", ".join(f"{name} {value:,.3f}" for name, value in values_at(known, node, component, None, stamp))
        yield f"  counters at {_clock(stamp)}: {read or 'read, but not by this name'}"


def _inside(marks: Marks, meter: int, window: Window) -> list[int]:
    mine = marks.stamp_ms[marks.meter == meter]
    return sorted(set(mine[(mine > window.start_ms) & (mine <= window.end_ms)].tolist()))


def _gaps(intervals: Intervals, window: Window) -> list[tuple[int, int]]:
    """Spans of the hour that no interval covers."""
    order = np.argsort(intervals.start_ms)
    spans = [(window.start_ms, window.start_ms)]
    for start, end in zip(intervals.start_ms[order].tolist(), intervals.end_ms[order].tolist(), strict=True):
        if end > window.start_ms and start < window.end_ms:
            spans.append((max(start, window.start_ms), min(end, window.end_ms)))
    spans.append((window.end_ms, window.end_ms))
    return [(left[1], right[0]) for left, right in pairwise(spans) if right[0] > left[1]]


def _clock(stamp_ms: int) -> str:
    return f"{from_ms(stamp_ms):%H:%M:%S}"


def _balance(nodes: Rows) -> Iterator[str]:
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


def _decisions(remarks: Iterable[Remark], node: str) -> Iterator[str]:
    for remark in remarks:
        if remark.node == node:
            what = {SCOPES: "left out", SHARDS: "counted once"}.get(remark.check, "not scaled")
            yield f"{what}, {_joules(remark.joules)}: {remark.text}"


def _quarantine(withheld: Rows) -> Iterator[str]:
    for row in withheld:
        who = f"{row['namespace']}/{row['pod']}" if row["pod_uid"] else "the node meter"
        yield f"quarantined {row['component']} of {who}, {row['energy_joules']:,.1f} J: {row['evidence']}"


def _workloads(rows: Rows) -> Iterator[str]:
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
        yield f"  {namespace}/{pod} ({kind} {workload}, {source}): {_joules(joules)}, {mass}"


def _known(site: Site, warehouse: Warehouse, window: Window, now: datetime) -> Known:
    """All that may price the hour, the user's files and PUE query as they are now; no provider is asked."""
    told = Refreshed(Refresh(site.prices, warehouse, "explain", now, dry_run=True).files([window.start]))
    pues = PueRefresh(site.prices, warehouse, "explain", now, dry_run=True).ask([window.start], told)
    return site.prices.known(warehouse, window, Fresh(told.fresh, pues))


def _intensity(
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


def _grams(priced: pa.Table) -> Iterator[str]:
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


def _stored(warehouse: Warehouse, cluster: str, node: str, hour_utc: datetime, priced: pa.Table) -> Iterator[str]:
    """What the warehouse holds of the node-hour, and whether it is the same."""
    stored = _only(warehouse.read_day("emissions", cluster, hour_utc.date()), node)
    stored = stored.filter(pa.array([hour == hour_utc for hour in values(stored, "hour_utc")], pa.bool_()))
    if stored.num_rows == 0:
        yield "warehouse: holds nothing of this node-hour"
        return
    commits = set(zip(values(stored, "run_id"), values(stored, "revision"), strict=True))
    joules, grams = _sum(stored, "energy_joules"), _sum(stored, "emissions_gco2e")
    mass = "grams unknown" if grams is None else f"{grams:,.3f} gCO2e"
    runs = ", ".join(f"run {run}, revision {revision}" for run, revision in sorted(commits))
    yield f"warehouse: {_joules(joules)}, {mass} ({runs})"
    for what, column in (("energy", "energy_joules"), ("grams", "emissions_gco2e")):
        old, new = _sum(stored, column), _sum(priced, column)
        same = old == new if old is None or new is None else math.isclose(old, new, rel_tol=RELATIVE_TOLERANCE)
        yield f"  {what} {'as above' if same else 'not as above: samples, settings or intensities have changed since'}"


def _sum(rows: pa.Table, column: str) -> float | None:
    """The sum of a column, None where any of it is unknown."""
    held = values(rows, column)
    return None if None in held else math.fsum(held)
