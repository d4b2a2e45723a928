"""Who reads a node in an hour, who accounts for it, and how the samples of that meter became energy."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from pipeline.extraction import MeterFold
from pipeline.meters import METERS
from pipeline.samples import Int64s
from pipeline.site import Site
from pipeline.transforms.accounting import GROUP_OF, Candidate, Place, accounting
from pipeline.transforms.counters import Intervals
from pipeline.transforms.evidence import counters_of, values_at
from pipeline.transforms.folded import Marks
from pipeline.units import MS_PER_MINUTE, MS_PER_SECOND
from pipeline.window import Window, from_ms


def choice(place: Place, offers: Sequence[Candidate]) -> Iterator[str]:
    """Who reads the group, who accounts for it, and why."""
    winner = accounting(offers)
    best = max(offers, key=lambda offer: offer.coverage_ratio)
    yield f"meters of its {place.group}:"
    for offer in offers:
        joules = ", ".join(f"{name} {joules_text(value)}" for name, value in sorted(offer.metered_joules.items()))
        verdict = "accounts" if offer.meter == winner else "cross-check only"
        yield f"  {METERS[offer.meter].title}: covers {offer.coverage_ratio:.2%}, {joules}: {verdict}"
    if len(offers) == 1:
        yield "  it is the only one"
    elif winner == offers[0].meter:
        yield "  the first in the config, and no other covers more than 1 % of the hour more"
    else:
        yield f"  {best.meter} covers the most; those before {winner} in the config lack more than 1 % of the hour"


def servers(site: Site, meter: str, offers: Sequence[Candidate]) -> Iterator[str]:
    """Of several servers that show the group by the accounting meter: which one accounts."""
    if len(site.servers) == 1:
        return
    yield f"  {meter} on {len(offers)} of {len(site.servers)} servers:"
    for offer in offers:
        joules = ", ".join(f"{name} {joules_text(value)}" for name, value in sorted(offer.metered_joules.items()))
        verdict = "accounts" if offer.meter == accounting(offers) else "cross-check only"
        yield f"    {site.servers.names[int(offer.meter)]}: covers {offer.coverage_ratio:.2%}, {joules}: {verdict}"


def joules_text(value: float | None) -> str:
    """Joules as every line shows them."""
    return "nothing joined" if value is None else f"{value:,.1f} J"


def folding(fold: MeterFold, place: Place, window: Window, max_gap_ms: int) -> Iterator[str]:
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
        yield "  placed in no hour because of gaps: " + (
            "unknown" if np.isnan(missing) else joules_text(float(missing))
        )


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
