"""Which meters of a node account in which hour, where several may hold the same energy.

Package (with dram beside it) before psys, which holds both, before sensors of another kind, of which nobody knows what
they hold: of those one, the greatest. Decided by hour from that hour's own intervals, so that no joule is in two rows
and every cut of a range gives the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.samples import Bools, Floats, Int64s
from pipeline.transforms.counters import Intervals, StepGrid
from pipeline.transforms.folded import Marks
from pipeline.units import MS_PER_HOUR

OTHER = "other/"  # followed by the zone's name
COVERAGE_TOLERANCE = 0.01  # of an hour: a meter that covers so much less than the best still counts as equal
RAPL = ("package", "dram")


@dataclass(frozen=True, slots=True)
class HourMask:
    """Hours since the epoch, from `first` on, in which things count; shape of `chosen` (things, hours)."""

    first: int
    chosen: Bools

    def clip(self, intervals: Intervals, things: Int64s | None = None) -> Intervals:
        """The parts of intervals in hours in which their thing counts; they are cut at hour edges only for that.

        `things` are those of the intervals' codes, where a code is none itself.
        """
        if self.chosen.all() or len(intervals.code) == 0:
            return intervals
        thing = intervals.code if things is None else things[intervals.code]
        always = np.all(self.chosen, axis=1)[thing]
        left, right = intervals.start_ms // MS_PER_HOUR, (intervals.end_ms - 1) // MS_PER_HOUR
        pieces = np.where(always, 1, right - left + 1)
        owner = np.repeat(np.arange(len(thing)), pieces)
        hour = np.arange(len(owner)) - np.repeat(np.cumsum(pieces) - pieces, pieces) + left[owner]
        start, end, whole = intervals.start_ms[owner], intervals.end_ms[owner], always[owner]
        begin = np.where(whole, start, np.maximum(start, hour * MS_PER_HOUR))
        stop = np.where(whole, end, np.minimum(end, (hour + 1) * MS_PER_HOUR))
        joules = intervals.joules[owner] * ((stop - begin) / (end - start))
        cut = Intervals(intervals.code[owner], begin, stop, joules)
        return cut.where(whole | self.chosen[thing[owner], np.clip(hour - self.first, 0, self.chosen.shape[1] - 1)])

    def marks(self, marks: Marks) -> Marks:
        """Marks of the hours in which their meter counts; a mark at an hour's end is of that hour."""
        if self.chosen.all():
            return marks
        inside = self.chosen[marks.meter, (marks.stamp_ms - 1) // MS_PER_HOUR - self.first]
        return Marks(marks.meter[inside], marks.stamp_ms[inside])


def component_of(zone: str) -> str:
    """The component of a meter's zone."""
    return "other" if zone.startswith(OTHER) else zone


def accounting(meters: Sequence[tuple[str, str]], active: Intervals, idle: Intervals, readings: Marks) -> HourMask:
    """When each (node, zone) accounts.

    Of the zones of a node that were read in an hour, the first whose joined time is within 0.01 h of the best; among
    sensors of another kind the one with the most energy. Dram accounts beside package only, or where nothing else is.
    """
    rival_nodes = {node for node, zone in meters if zone not in RAPL}
    grid = _hours_of(readings)
    chosen = np.ones((len(meters), grid.count), dtype=bool)
    if rival_nodes:
        covered = grid.cover(active, len(meters))
        joules = grid.spread(active, len(meters)) + grid.spread(idle, len(meters))
        read = np.zeros_like(chosen)
        read[readings.meter, (readings.stamp_ms - 1 - grid.start_ms) // MS_PER_HOUR] = True
        for node in sorted(rival_nodes):
            own = [m for m, (name, _) in enumerate(meters) if name == node]
            rivals = [m for m in own if meters[m][1] != "dram"]
            for hour in range(grid.count):
                zones = [meters[m][1] for m in rivals]
                best = _best(zones, read[rivals, hour], covered[rivals, hour], joules[rivals, hour])
                if best is None:
                    continue
                winner = rivals[best]
                chosen[own, hour] = False
                chosen[winner, hour] = True
                if meters[winner][1] == "package":
                    chosen[[m for m in own if meters[m][1] == "dram"], hour] = True
    return HourMask(grid.start_ms // MS_PER_HOUR, chosen)


def _best(zones: Sequence[str], read: Bools, covered: Floats, joules: Floats) -> int | None:
    """The position of the one that accounts; None where none was read."""
    near = [i for i in np.flatnonzero(read).tolist() if covered[i] >= covered.max() - COVERAGE_TOLERANCE * MS_PER_HOUR]
    rank = {"package": 0, "psys": 1}
    return min(near, key=lambda i: (rank.get(zones[i], 2), -joules[i], zones[i]), default=None)


def whole_hours(part: Intervals, whole: Intervals, readings: Marks, count: int) -> HourMask:
    """Hours in which `part` covers all that `whole` does, to 0.01 h, for each of `count` codes of both."""
    grid = _hours_of(readings)
    missing = grid.cover(whole, count) - grid.cover(part, count)
    enough: Bools = np.asarray(missing <= COVERAGE_TOLERANCE * MS_PER_HOUR)
    return HourMask(grid.start_ms // MS_PER_HOUR, enough)


def _hours_of(readings: Marks) -> StepGrid:
    """All hours that readings, and so intervals between them, lie in."""
    if len(readings.stamp_ms) == 0:
        return StepGrid(0, MS_PER_HOUR, 1)
    first, last = (int(edge - 1) // MS_PER_HOUR for edge in (readings.stamp_ms.min(), readings.stamp_ms.max()))
    return StepGrid(first * MS_PER_HOUR, MS_PER_HOUR, last - first + 1)
