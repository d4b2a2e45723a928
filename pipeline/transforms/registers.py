"""Hardware energy registers read one by one: what each counted between two scrapes, across its wrap.

A register's range is not exported, only what ranges hardware has. A value beyond one of them rules it out; with those
left, exactly one explanation must stay below the physical ceiling and, where the register fell or several do, near its
own power before (or after). More than one wrap is never assumed, and what stays ambiguous is unknown.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.samples import Bools, Floats, Int64s
from pipeline.units import MS_PER_SECOND

CEILING_WATTS = 2000.0  # of one socket, where nobody says otherwise
SURGE = 4.0  # how many times its neighbouring power a register may show where it fell: once an hour, any load may begin
STEADY = 2.0  # and where a whole range more is what else it could be


@dataclass(frozen=True, slots=True)
class RegisterSteps:
    """Neighbouring readings of registers, sorted by (register, end).

    Attributes:
        register: number of the register.
        start_ms: from when the register moved, see `HostScrapes`; `end_ms`: when it was read.
        known_ms: the earliest sample that says from when it moved; steps explain only others that this is near.
        first_joules, last_joules: what it showed then.
        ranges_joules: at which values each register may wrap (indexed by register).
    """

    register: Int64s
    start_ms: Int64s
    end_ms: Int64s
    known_ms: Int64s
    first_joules: Floats
    last_joules: Floats
    ranges_joules: Sequence[tuple[float, ...]]


def rises(steps: RegisterSteps, max_gap_ms: int, ceiling_watts: float = CEILING_WATTS) -> tuple[Floats, Bools]:
    """Joules of each step, NaN where nobody knows, and whether the register wrapped in it.

    Args:
        steps: of any number of registers.
        max_gap_ms: how far around a step others explain it.
        ceiling_watts: what no register's device can draw.
    """
    rise = steps.last_joules - steps.first_joules
    seconds = (steps.end_ms - steps.start_ms) / MS_PER_SECOND
    ceiling = ceiling_watts * seconds
    near = _neighbouring_watts(steps, rise, seconds, max_gap_ms) * seconds
    smallest = np.array([min(ranges) for ranges in steps.ranges_joules])[steps.register]
    most = np.fmin(STEADY * near, ceiling)  # the ceiling alone where no neighbour is known
    ambiguous = (rise < 0) | (rise > ceiling) | (rise + smallest <= most)
    wrapped = np.zeros(len(rise), dtype=bool)
    for k in np.flatnonzero(ambiguous):
        ranges = _possible_ranges(steps, int(k), max_gap_ms)
        known = _explained(float(rise[k]), ranges, float(ceiling[k]), float(near[k]))
        wrapped[k] = known is not None and known > rise[k]
        rise[k] = np.nan if known is None else known
    return rise, wrapped


def _explained(rise: float, ranges: Sequence[float], ceiling: float, near: float) -> float | None:
    """The only believable energy, None where there are several or none.

    A fall is a wrap only near the power around it: a machine that started again falls, too, and its register then
    looks as if a whole range had been used.
    """
    candidates = [rise, *(rise + joules for joules in ranges)]
    possible = [joules for joules in candidates if 0 <= joules <= ceiling]
    if rise < 0 or len(possible) > 1:
        possible = [joules for joules in possible if joules <= (SURGE if rise < 0 else STEADY) * near]
    return possible[0] if len(possible) == 1 else None


def _possible_ranges(steps: RegisterSteps, k: int, max_gap_ms: int) -> list[float]:
    """Ranges that hold everything the register showed around step `k`."""
    begin, end = np.searchsorted(steps.register, steps.register[k] + np.array([0, 1]))
    inside = (steps.known_ms[begin:end] >= steps.end_ms[k] - max_gap_ms) & (
        steps.end_ms[begin:end] <= steps.start_ms[k] + max_gap_ms
    )
    shown = (steps.first_joules[begin:end][inside], steps.last_joules[begin:end][inside])
    own = max(steps.first_joules[k], steps.last_joules[k])
    highest = max(own, *(values.max(initial=0.0) for values in shown))
    return [joules for joules in steps.ranges_joules[steps.register[k]] if joules >= highest]


def _neighbouring_watts(steps: RegisterSteps, rise: Floats, seconds: Floats, max_gap_ms: int) -> Floats:
    """Power of the nearest rising step before each, else after it, no further than locality allows; else NaN."""
    usable = np.append(rise >= 0, False)  # and an entry that stands for none
    watts, count = np.append(rise / seconds, np.nan), len(rise)
    position = np.arange(count)
    last = np.maximum.accumulate(np.where(usable[:-1], position, -1)) if count else position
    before = np.concatenate(([-1], last[:-1]))[:count]
    later = np.minimum.accumulate(np.where(usable[:-1], position, count)[::-1])[::-1] if count else position
    after = np.concatenate((later[1:], [count]))[-count:] if count else position
    register = np.append(steps.register, -1)
    known_before = (register[before] == steps.register) & (steps.known_ms[before] >= steps.end_ms - max_gap_ms)
    last_end = np.append(steps.end_ms, 0)
    known_after = (register[after] == steps.register) & (last_end[after] <= steps.start_ms + max_gap_ms)
    return np.where(known_before, watts[before], np.where(known_after, watts[after], np.nan))
