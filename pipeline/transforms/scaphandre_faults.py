"""Known faults of Scaphandre, looked for in its own figures: said with numbers, never repaired in silence.

That guests measured from the host's side show a fifth of their energy is known, too, but cannot be seen here.
"""

from collections.abc import Iterator

import numpy as np

from pipeline.checks import Check
from pipeline.samples import Bools, Floats, Int64s, ScaphandreSamples
from pipeline.transforms.counters import Intervals, StampIndex, StepGrid
from pipeline.transforms.processes import Program
from pipeline.transforms.scaphandre_hosts import host_numbers, merged
from pipeline.transforms.scaphandre_usage import Usage
from pipeline.units import MS_PER_HOUR
from pipeline.window import Window

EXCESS = 1.01  # of the registers
TOO_LITTLE = 0.1  # of what the busy share of the cores lets expect
BUSY = 0.01  # below this share of all cores rounding hides the rest


def used_by_programs(usage: Usage) -> tuple[list[Program], Intervals]:
    """Energy of every label set of a process gauge, packages and dram together, for `processes.process_rows`."""
    keys, code = np.unique(np.stack((usage.node[usage.spent.code], usage.label)), axis=1, return_inverse=True)
    labels = usage.gauges.labels
    programs = [Program(usage.nodes[node], labels[label].exe, labels[label].cmdline) for node, label in keys.T.tolist()]
    joules = usage.spent.joules * usage.per_joule.sum(axis=0)[usage.spent.code]
    return programs, Intervals(code.ravel().astype(np.int64), usage.spent.start_ms, usage.spent.end_ms, joules)


def find_faults(samples: ScaphandreSamples, usage: Usage, window: Window) -> Iterator[Check]:
    """Findings about the hours of a window."""
    yield _frozen(usage, window)
    yield _without_processes(usage, window)
    used, metered, expected = _per_node_hour(samples, usage, window)
    yield _of_ratios(
        "scaphandre_processes_exceed_host", usage, used, metered, used > EXCESS * metered,
        "processes above the registers: a Scaphandre before 1.0, or scraped by two; upgrade it",
    )  # fmt: skip
    yield _of_ratios(
        "scaphandre_processes_too_low", usage, used, expected, used < TOO_LITTLE * expected,
        "of the energy that their CPU time lets expect (known of some 1.0): compare with another meter",
    )  # fmt: skip


def _frozen(usage: Usage, window: Window) -> Check:
    inside = (usage.scrapes.stamp_ms > window.start_ms) & (usage.scrapes.stamp_ms <= window.end_ms)
    frozen = inside & usage.scrapes.repeated
    nodes = _nodes(usage, usage.scrape_node[frozen])
    return Check(
        "scaphandre_frozen", required=False, passed=not nodes,
        detail=f"{frozen.sum()} of {inside.sum()} scrapes repeat the one before ({nodes}): it is asked more often than "
        "every 2 s, mostly by a second scraper, and then measures nothing" if nodes else "",
    )  # fmt: skip


def _without_processes(usage: Usage, window: Window) -> Check:
    inside = (usage.scrapes.stamp_ms > window.start_ms) & (usage.scrapes.stamp_ms <= window.end_ms)
    without = inside & usage.unknown & ~usage.scrapes.unknown
    nodes = _nodes(usage, usage.scrape_node[without])
    return Check(
        "scaphandre_process_power", required=False, passed=not nodes,
        detail=f"{without.sum()} of {inside.sum()} scrapes have registers but no process power ({nodes}): their energy "
        "is not counted, for nobody could tell use from idleness" if nodes else "",
    )  # fmt: skip


def _per_node_hour(samples: ScaphandreSamples, usage: Usage, window: Window) -> tuple[Floats, Floats, Floats]:
    """Joules of processes, of what they are part of, and as CPU time lets expect (NaN where unknown or hardly any)."""
    grid = StepGrid(window.start_ms, MS_PER_HOUR, window.hour_count)
    spans = usage.intervals

    def hourly(joules: Floats) -> Floats:
        return grid.spread(Intervals(usage.node, spans.start_ms, spans.end_ms, joules), len(usage.nodes))

    used = np.bincount(usage.spent.code, usage.spent.joules, minlength=len(usage.node)).astype(np.float64)
    host = np.divide(spans.joules[0], usage.per_joule[0], out=np.zeros(len(usage.node)), where=usage.per_joule[0] > 0)
    busy = merged(samples.busy, host_numbers(samples.busy.identity, usage.scrapes.hosts))
    at = StampIndex.of(busy.code, busy.stamp_ms).find(spans.host, spans.end_ms)
    share = np.append(busy.value, np.nan)[at]
    known = np.isfinite(share)
    metered, expected = hourly(host), hourly(np.where(known, share * host, 0.0))
    told = (hourly(np.where(known, host, 0.0)) > 0.5 * metered) & (expected >= BUSY * metered)
    return hourly(used), metered, np.where(told, expected, np.nan)


def _of_ratios(name: str, usage: Usage, part: Floats, whole: Floats, failed: Bools, remedy: str) -> Check:
    failed = failed & (whole > 0)
    nodes = _nodes(usage, np.flatnonzero(failed.any(axis=1)))
    if not nodes:
        return Check(name, required=False, passed=True)
    ratio = part[failed].sum() / whole[failed].sum()
    return Check(
        name, required=False, passed=False, detail=f"{failed.sum()} node-hours ({nodes}) at {ratio:.4g} times: {remedy}"
    )


def _nodes(usage: Usage, numbers: Int64s) -> str:
    return ", ".join(usage.nodes[int(node)] for node in np.unique(numbers))
