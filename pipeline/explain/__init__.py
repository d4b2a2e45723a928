"""`carbon-etl doctor --explain NODE HOUR`: one node-hour from samples to grams, line by line. Read only.

Folded anew from what the cluster's server holds now; what the warehouse holds stands at the end, beside it.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime

import numpy as np
import pyarrow as pa

from pipeline.errors import ConfigError
from pipeline.explain import figures, readings
from pipeline.prices import Fresh, Known
from pipeline.refresh import Refresh, Refreshed
from pipeline.refresh.pue import PueRefresh
from pipeline.settings import nearest
from pipeline.sinks.warehouse import Warehouse
from pipeline.site import Site
from pipeline.transforms.accounting import Place, accounting, candidates
from pipeline.transforms.emissions import slots_with_energy
from pipeline.transforms.selection import SLOTS
from pipeline.window import Window


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
            yield from readings.choice(place, offers)
            yield from readings.servers(site, winner, by_server)
            fold = folds[int(accounting(by_server))][winner]
            yield from readings.folding(fold, place, window, site.rules.max_gap_ms)
    yield from figures.balance(_of_node(chosen.nodes, node))
    yield from figures.quarantine(_of_node(chosen.withheld, node))
    yield from figures.decisions(counted.remarks, node)
    needed = slots_with_energy(counted.rows).get(hour_utc, np.zeros(SLOTS, dtype=bool))
    known = _known(site, warehouse, window, now)
    vintages = known.vintages
    answer = vintages.select(hour_utc, needed, site.prices.rule, now)
    priced = site.prices.price_by(figures.only(counted.rows, node), {hour_utc: answer}, known.pues)
    yield from figures.workloads(priced.to_pylist())
    yield from figures.intensities(site, vintages, hour_utc, needed, answer, now)
    yield from figures.pricing(priced)
    yield from figures.stored(warehouse, site.name, node, hour_utc, priced)


def _refuse_unknown(node: str, hour_utc: datetime, places: Iterable[Place]) -> None:
    known = sorted({place.node for place in places})
    if node not in known:
        there = nearest(node, known) if known else ": no node at all is"
        raise ConfigError(f"node {node!r} is read by no configured meter in {hour_utc:%FT%H:%MZ}{there}")


def _of_node(table: pa.Table, node: str) -> figures.Rows:
    return figures.only(table, node).to_pylist()


def _known(site: Site, warehouse: Warehouse, window: Window, now: datetime) -> Known:
    """All that may price the hour, the user's files and PUE query as they are now; no provider is asked."""
    told = Refreshed(Refresh(site.prices, warehouse, "explain", now, dry_run=True).files([window.start]))
    pues = PueRefresh(site.prices, warehouse, "explain", now, dry_run=True).ask([window.start], told)
    return site.prices.known(warehouse, window, Fresh(told.fresh, pues))
