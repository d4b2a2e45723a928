"""The joules of whole machines, and what they say of the meters inside: a check, or the scale of every row."""

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.checks import PLATFORM, PLATFORM_RATIOS, Remark
from pipeline.samples import Bools, Int64s, Samples
from pipeline.tables import values
from pipeline.transforms.accounting import COVERAGE_TIE, WHOLE_RATIO
from pipeline.transforms.counters import Counters, Intervals, StepGrid, joined_intervals, merge
from pipeline.transforms.emissions import Pue, price
from pipeline.transforms.energy import Energy
from pipeline.transforms.gauges import backward_steps, previous_readings
from pipeline.transforms.selection import Answer
from pipeline.units import MS_PER_HOUR
from pipeline.window import Window

SCALED_ROWS = ("energy_joules", "tail_joules")
SCALED_NODES = tuple(
    f"{part}_joules" for part in ("metered", "workload", "system", "idle", "residual", "bridged", "unplaced")
)

NodeHour: TypeAlias = tuple[datetime, str]


class PlatformReading(NamedTuple):
    """What a machine used in an hour, over the part of it that `coverage_ratio` tells."""

    joules: float
    coverage_ratio: float


class _Metered(NamedTuple):
    """What the accounting meters of a node say of an hour, all components together."""

    joules: float
    least_coverage: float
    most_coverage: float


def fold_platform(
    samples: Samples, window: Window, max_gap_ms: int, unit: Literal["watts", "joules"]
) -> dict[NodeHour, PlatformReading]:
    """Joules of each node-hour of whole hours, from samples `max_gap` beyond both edges of the window.

    Parts of a node are added up where they share a stamp. A stamp without a part that is seen both before and after it,
    each within `max_gap`, is no reading. Watts belong to the time before their stamp. Joules are differences of one and
    the same set of parts; a counter that falls begins at zero.
    """
    counters = merge(samples.code, samples.stamp_ms, samples.value, samples.name)
    of_part = values(samples.identity, "node")
    nodes = sorted(set(of_part))
    number = np.array([nodes.index(node) for node in of_part], dtype=np.int64)
    owner = number[counters.code] if nodes else counters.code
    none = np.zeros(0, dtype=np.int64)
    joined = Intervals(none, none, none, np.zeros(0))
    for code in range(len(nodes)):
        joined = joined_intervals(joined, _intervals(code, counters, owner == code, max_gap_ms, unit))
    grid = StepGrid(window.start_ms, MS_PER_HOUR, window.hour_count)
    joules, covered = grid.spread(joined, len(nodes)), grid.cover(joined, len(nodes)) / MS_PER_HOUR
    return {
        (hour, node): PlatformReading(float(joules[i, at]), float(covered[i, at]))
        for at, hour in enumerate(window.hours())
        for i, node in enumerate(nodes)
    }


def _intervals(code: int, counters: Counters, chosen: Bools, max_gap_ms: int, unit: str) -> Intervals:
    """Joined intervals of one node, from those samples that are its own."""
    stamps, at = np.unique(counters.stamp_ms[chosen], return_inverse=True)
    parts, part = np.unique(counters.code[chosen], return_inverse=True)
    shown = np.full((len(parts), len(stamps)), np.nan)
    shown[part, at] = counters.value[chosen]
    whole = _whole(np.isfinite(shown), stamps, max_gap_ms)
    stamps, shown = stamps[whole], shown[:, whole]
    codes = np.full(len(stamps), code, dtype=np.int64)
    if unit == "watts":
        return backward_steps(codes, previous_readings(codes, stamps), stamps, np.nansum(shown, axis=0), max_gap_ms)
    before, after = shown[:, :-1], shown[:, 1:]
    rise = np.where(after < before, after, after - before)
    joined = (np.isfinite(after) == np.isfinite(before)).all(axis=0) & (np.diff(stamps) <= max_gap_ms)
    return Intervals(codes[1:], stamps[:-1], stamps[1:], np.nansum(rise, axis=0)).where(joined)


def _whole(seen: Bools, stamps: Int64s, max_gap_ms: int) -> Bools:
    """Stamps at which no part is missing that was there before and will be again."""
    position = np.arange(len(stamps))
    last = np.maximum.accumulate(np.where(seen, position, -1), axis=1)
    following = np.minimum.accumulate(np.where(seen, position, len(stamps))[:, ::-1], axis=1)[:, ::-1]
    far = max_gap_ms + 1
    since = np.where(last >= 0, stamps - stamps[np.maximum(last, 0)], far)
    until = np.where(following < len(stamps), stamps[np.minimum(following, len(stamps) - 1)] - stamps, far)
    missing = ~seen & (since <= max_gap_ms) & (until <= max_gap_ms)
    return np.asarray(~missing.any(axis=0), dtype=bool)


def checked(energy: Energy, readings: Mapping[NodeHour, PlatformReading], meters: Collection[str]) -> Energy:
    """`energy` with the platform as second meter of node-hours that both cover, where none of `meters` is one.

    `cross_ratio` is the platform's joules over all that is metered of the node, whatever the component of the row.
    """
    metered = _metered(energy.nodes)
    rows = energy.nodes.to_pylist()
    for row in rows:
        own, reading = metered[row["hour_utc"], row["node"]], readings.get((row["hour_utc"], row["node"]))
        if reading is None or own.joules <= 0 or row["cross_meter"] in meters:
            continue
        if min(own.least_coverage, reading.coverage_ratio) >= WHOLE_RATIO:
            row["cross_meter"], row["cross_ratio"] = PLATFORM, reading.joules / own.joules
    return replace(energy, nodes=pa.Table.from_pylist(rows, energy.nodes.schema))


def scaled(energy: Energy, readings: Mapping[NodeHour, PlatformReading]) -> Energy:
    """`energy` with the rows of every node-hour multiplied so that they add up to the platform's joules.

    Node-hours in which the platform does not tell stay as metered and are remarked upon.
    """
    scales: dict[NodeHour, float] = {}
    remarks: list[Remark] = []
    for at, own in _metered(energy.nodes).items():
        refusal = _refusal(own, readings.get(at))
        if refusal is None:
            scales[at] = readings[at].joules / own.joules
        elif own.joules > 0:
            remarks.append(Remark(PLATFORM, at[1], own.joules, refusal))
    return replace(
        energy,
        rows=_multiplied(energy.rows, scales, SCALED_ROWS),
        nodes=_multiplied(energy.nodes, scales, SCALED_NODES),
        remarks=(*energy.remarks, *remarks),
    )


def _refusal(own: _Metered, reading: PlatformReading | None) -> str | None:
    """Why a node-hour is not scaled; None where it is."""
    least, most = PLATFORM_RATIOS
    if reading is None:
        return "the platform meter does not know it"
    if max(abs(reading.coverage_ratio - own.least_coverage), abs(reading.coverage_ratio - own.most_coverage)) > (
        COVERAGE_TIE
    ):
        return "the platform meter covers another part of the hour"
    if own.joules <= 0:
        return "nothing is metered"
    if reading.joules < least * own.joules:
        return "the platform meter reads less than the meters inside it"
    if reading.joules > most * own.joules:
        return f"the platform meter reads more than {most:g} times the meters inside it"
    return None


def _metered(nodes: pa.Table) -> dict[NodeHour, _Metered]:
    found: dict[NodeHour, list[tuple[float, float]]] = {}
    names = ("hour_utc", "node", "metered_joules", "coverage_ratio")
    for hour, node, joules, coverage in zip(*(values(nodes, name) for name in names), strict=True):
        found.setdefault((hour, node), []).append((joules or 0.0, coverage))
    return {
        at: _Metered(math.fsum(j for j, _ in held), min(c for _, c in held), max(c for _, c in held))
        for at, held in found.items()
    }


def _multiplied(table: pa.Table, scales: Mapping[NodeHour, float], names: Collection[str]) -> pa.Table:
    """Rows of scaled node-hours with those columns, and their steps, multiplied; the scale beside them."""
    places = zip(values(table, "hour_utc"), values(table, "node"), strict=True)
    scale: list[float | None] = [scales.get(at) for at in places]
    factor = pa.array([1.0 if one is None else one for one in scale], pa.float64())
    columns: dict[str, pa.Array[Any] | pa.ChunkedArray[Any]] = {
        name: pc.multiply(table[name], factor) for name in names
    }
    if "step_joules" in table.column_names:
        columns["step_joules"] = pa.array(
            _steps(values(table, "step_joules"), scale), table.schema.field("step_joules").type
        )
    columns["platform_scale"] = pa.array(scale, pa.float64())
    for name, column in columns.items():
        table = table.set_column(table.column_names.index(name), table.schema.field(name), column)
    return table


def _steps(steps: list[list[float] | None], scale: list[float | None]) -> Iterator[list[float] | None]:
    for joules, one in zip(steps, scale, strict=True):
        yield joules if joules is None or one is None else [part * one for part in joules]


def price_with_platform(
    rows: pa.Table, answers: Mapping[datetime, Answer], pues: Mapping[datetime, Pue], included: str | None
) -> pa.Table:
    """Energy rows with their prices, see `emissions.price`; what holds the PUE already is not given it again.

    Args:
        rows: energy rows.
        answers: what prices each hour.
        pues: the PUE of each hour.
        included: the source to name where a platform meter that holds the PUE scaled a row; None where it does not.
    """
    if included is None:
        return price(rows, answers, pues)
    as_metered = pc.is_null(rows["platform_scale"])
    within = dict.fromkeys(answers, Pue(1.0, included))
    metered, whole = rows.filter(as_metered), rows.filter(pc.invert(as_metered))
    return pa.concat_tables([price(metered, answers, pues), price(whole, answers, within)])
