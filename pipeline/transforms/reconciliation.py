"""Workloads + system + idle + residual = metered, in every step of every node meter (promise P1)."""

from dataclasses import dataclass

import numpy as np

from pipeline.samples import Bools, Floats, Int64s

ROUNDING_JOULES = 1e-9
SCALE_TOLERANCE = 0.01  # workloads above active by more than this share are not believed
RESIDUAL_TOLERANCE = 0.05  # nor is a meter whose own parts miss its active energy by more than this


@dataclass(frozen=True, slots=True)
class Reconciled:
    """Energy per step, per node meter and per consumer, adding up.

    Attributes:
        used_joules: (consumers, steps), workloads after scaling; zero where withheld.
        withheld_joules: (consumers, steps), what a failed node-hour would have given them.
        active_joules, idle_joules, bridged_joules, system_joules, residual_joules: (meters, steps).
        scale: (meters, hours), workload energy that fits into active over workload energy measured.
        measured: (meters, hours), system is measured and not the remainder.
        withheld: (meters, hours), the hour failed its check.
        excess_joules: (meters, hours), by how much workloads exceed active where that failed it, else 0.
    """

    used_joules: Floats
    withheld_joules: Floats
    active_joules: Floats
    idle_joules: Floats
    bridged_joules: Floats
    system_joules: Floats
    residual_joules: Floats
    scale: Floats
    measured: Bools
    withheld: Bools
    excess_joules: Floats


def reconcile(
    used: Floats, meter: Int64s, is_system: Bools, measured: Bools, active: Floats, idle: Floats, bridged: Floats
) -> Reconciled:
    """Make every step add up to the node meter.

    Workloads above active by up to 1 % of the hour are scaled down to it step by step. Beyond that, or where a meter's
    own system leaves a residual above 5 % of active, the node-hour is withheld: all its active energy is system.

    Args:
        used: (consumers, steps) joules.
        meter: node meter of each consumer.
        is_system: consumers that the meter itself measures outside workloads.
        measured: (meters, hours) in which it does so: system is then their sum and the rest is residual; elsewhere
            system is the remainder.
        active: (meters, steps), as are `idle` and `bridged`.
        idle: see `active`.
        bridged: see `active`.
    """
    meters, hours = measured.shape
    per_hour = active.shape[1] // hours
    workloads, measured_system = (_by_meter(used, meter, chosen, meters) for chosen in (~is_system, is_system))
    measures_system = np.repeat(measured, per_hour, axis=1)
    over = workloads > active
    excess = _by_hour(np.where(over, workloads - active, 0.0), hours)
    too_much = excess > SCALE_TOLERANCE * _by_hour(active, hours) + ROUNDING_JOULES
    factor = np.divide(active, workloads, out=np.ones_like(active), where=over)
    fitting = np.where(over, active, workloads)
    residual = np.where(measures_system, active - fitting - measured_system, 0.0)
    off = np.abs(_by_hour(residual, hours)) > RESIDUAL_TOLERANCE * _by_hour(active, hours) + ROUNDING_JOULES
    withheld = too_much | off
    gone = np.repeat(withheld, per_hour, axis=1)
    kept = np.where(gone[meter], 0.0, np.where(is_system[:, None], 1.0, factor[meter]))
    remainder = np.where(over, 0.0, active - workloads)
    total, fits = _by_hour(workloads, hours), _by_hour(fitting, hours)
    return Reconciled(
        used_joules=used * kept,
        withheld_joules=used * gone[meter],
        active_joules=active,
        idle_joules=idle,
        bridged_joules=bridged,
        system_joules=np.where(gone, active, np.where(measures_system, measured_system, remainder)),
        residual_joules=np.where(gone, 0.0, residual),
        scale=np.divide(fits, total, out=np.ones_like(fits), where=total > 0),
        measured=measured,
        withheld=withheld,
        excess_joules=np.where(too_much, excess, 0.0),
    )


def _by_meter(used: Floats, meter: Int64s, chosen: Bools, meters: int) -> Floats:
    steps = used.shape[1]
    cell = meter[chosen][:, None] * steps + np.arange(steps)[None, :]
    sums = np.bincount(cell.ravel(), used[chosen].ravel(), minlength=meters * steps)
    return np.asarray(sums, dtype=np.float64).reshape(meters, steps)


def _by_hour(per_step: Floats, hours: int) -> Floats:
    steps = per_step.shape[1] // hours
    return np.asarray(per_step.reshape(per_step.shape[0], hours, steps).sum(axis=2), dtype=np.float64)
